//! Where the operations of a batch go: what their targets are relative to, and which of them stay
//! below the route's upstream.

use super::{Fault, is_batch};
use crate::config::BaseUrl;
use crate::policy::authority::Authority;
use crate::policy::path;

/// Where a batch was sent.
#[derive(Clone, Copy, Debug)]
pub struct BatchContext<'a> {
    /// The route's upstream.
    pub upstream: &'a BaseUrl,
    /// The raw path below the route's prefix, `$batch` included.
    pub path: &'a str,
}

/// What relative targets are relative to.
pub(super) struct Root<'a> {
    /// The path below the upstream.
    path: &'a str,
    /// The path from the root of the host.
    full: String,
    /// Whether Graph reads the batch, to whom a leading slash means the version, and who knows no
    /// references.
    pub(super) graph: bool,
}

impl<'a> BatchContext<'a> {
    /// Where a batch is: the path without its last segment.
    ///
    /// Graph is recognised by its hosts, or loopback, where what stands in for it is tested, and by
    /// a root that is one of its versions and nothing else.
    ///
    /// # Errors
    /// When that segment is not plainly `$batch`: then its root is anybody's guess.
    pub(super) fn root(&self) -> Result<Root<'a>, &'static str> {
        let path = self.path.trim_end_matches('/');
        let (root, last) = path
            .rsplit_once('/')
            .ok_or("its path does not begin with \"/\"")?;
        if !last.eq_ignore_ascii_case("$batch") && !last.eq_ignore_ascii_case("%24batch") {
            return Err("spell the last segment of its path $batch");
        }
        let full = format!("{}{root}", self.upstream.prefix.as_str());
        let origin = &self.upstream.origin;
        let graph = (origin.is_graph() || origin.host.is_loopback())
            && full.strip_prefix('/').is_some_and(is_version_of_graph);
        Ok(Root {
            path: root,
            full,
            graph,
        })
    }

    /// The path below the upstream of a target in a JSON batch, which is relative to `root`.
    ///
    /// Graph takes a leading slash to mean the version, other services the root of the host (OData
    /// JSON Format 4.01 section 19.1): there such a target has to name the root in full, so that
    /// both mean the same.
    pub(super) fn relative(&self, root: &Root<'_>, target: &str) -> Result<String, Fault> {
        // The SDK for .NET undoes all encoding, so a query may hold anything, a "#" too; only what
        // stands before it is judged.
        no_space(target)?;
        no_fragment(target.split('?').next().unwrap_or_default())?;
        if target.starts_with("//") || has_scheme(target) {
            return Err(Fault::forbidden(
                "its url is not relative; write it below the version",
            ));
        }
        let target = path_of(target)?;
        let Root { path, full, graph } = root;
        // Graph takes targets with and without a slash alike.
        if *graph && begins_with_version(target.strip_prefix('/').unwrap_or(target)) {
            return Err(Fault::unreadable(
                "its url begins with a version; the batch's own applies to all",
            ));
        }
        let path = match target.strip_prefix('/') {
            Some(_) if *graph => format!("{path}{target}"),
            Some(_) => below(target, full)
                .and_then(|_| below(target, self.upstream.prefix.as_str()))
                .ok_or(Fault::unreadable(
                    "its url begins with \"/\"; leave the slash out",
                ))?
                .to_owned(),
            None => format!("{path}/{target}"),
        };
        judged(path)
    }

    /// The path below the upstream of the target of a request line: absolute, from the root of the
    /// host, or relative to `root` (OData 4.0 Protocol section 11.7.2).
    pub(super) fn of_line(&self, root: &Root<'_>, target: &str) -> Result<String, Fault> {
        plain(target, |byte| !(0x21..0x7f).contains(&byte))?;
        no_fragment(target)?;
        if !target.starts_with(['/', '*']) && !has_scheme(target) {
            return judged(format!("{}/{}", root.path, path_of(target)?));
        }
        let rest = if target.starts_with('/') && !target.starts_with("//") {
            target
        } else {
            self.after_origin(target).ok_or(Fault::forbidden(
                "its target is neither a path nor a URL of the upstream",
            ))?
        };
        let path = path_of(rest)?;
        let path = below(path, self.upstream.prefix.as_str()).ok_or(Fault::forbidden(
            "its target is outside of the route's upstream",
        ))?;
        judged(path.to_owned())
    }

    /// Whether this `host[:port]` is the upstream's.
    pub(super) fn is_host(&self, authority: &str) -> bool {
        self.is_authority(self.upstream.origin.secure, authority)
    }

    fn is_authority(&self, secure: bool, authority: &str) -> bool {
        let origin = &self.upstream.origin;
        let Some(parsed) = Authority::parse(authority) else {
            return false;
        };
        let twin = origin.twin();
        let is_name = |host: &str| host == parsed.host;
        let same_host =
            is_name(origin.host.as_str()) || twin.is_some_and(|twin| is_name(twin.host.as_str()));
        same_host && secure == origin.secure && parsed.port_or_default(secure) == origin.port
    }

    fn after_origin<'t>(&self, target: &'t str) -> Option<&'t str> {
        let (scheme, rest) = target.split_once("://")?;
        let secure = if scheme.eq_ignore_ascii_case("https") {
            true
        } else if scheme.eq_ignore_ascii_case("http") {
            false
        } else {
            return None;
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#'])?);
        self.is_authority(secure, authority).then_some(path)
    }
}

/// Judges a path as that of a request of its own would be.
pub(super) fn judged(path: String) -> Result<String, Fault> {
    path::check(&path).map_err(|fault| Fault::unreadable(fault.text()))?;
    if is_batch(&path) {
        return Err(Fault::forbidden("it is a batch itself"));
    }
    Ok(path)
}

/// Nothing that a URL parser would drop, as far as a target that is not encoded goes.
pub(super) fn no_space(target: &str) -> Result<(), Fault> {
    plain(target, |byte| byte < 0x20 || byte == 0x7f)
}

/// Nothing that a URL parser would drop.
fn plain(target: &str, strange: impl Fn(u8) -> bool) -> Result<(), Fault> {
    if target.bytes().any(strange) || target.trim() != target {
        return Err(Fault::unreadable(
            "its url holds white space or a control character",
        ));
    }
    Ok(())
}

/// Nothing that a URL parser would end at.
pub(super) fn no_fragment(target: &str) -> Result<(), Fault> {
    if target.contains('#') {
        return Err(Fault::unreadable(
            "its url holds a fragment; write %23 for a \"#\"",
        ));
    }
    Ok(())
}

/// The target without its query.
fn path_of(target: &str) -> Result<&str, Fault> {
    let path = target.split('?').next().unwrap_or_default();
    if path.is_empty() {
        return Err(Fault::unreadable("its url has no path"));
    }
    Ok(path)
}

/// What of `path` is below `prefix`; the root is `/`.
fn below<'t>(path: &'t str, prefix: &str) -> Option<&'t str> {
    match path.strip_prefix(prefix)? {
        "" => Some("/"),
        rest => rest.starts_with('/').then_some(rest),
    }
}

/// RFC 3986 section 3.1.
fn has_scheme(target: &str) -> bool {
    let scheme = target.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Whether the first segment is `beta` or like `v1.0`, in any case and once encoded or not.
fn begins_with_version(target: &str) -> bool {
    let first = plainly(target.split('/').next().unwrap_or_default());
    let number = first.strip_prefix('v').unwrap_or_default();
    first == "beta"
        || (number.starts_with(|c: char| c.is_ascii_digit())
            && number.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

/// Whether this is one segment and a version that Graph has, in any case and once encoded or not.
fn is_version_of_graph(root: &str) -> bool {
    matches!(plainly(root).as_str(), "v1.0" | "beta")
}

/// Decoded once, in lower case.
fn plainly(text: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    decoded.to_ascii_lowercase()
}
