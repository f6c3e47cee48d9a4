//! How the operations of a batch refer to one another: `$1` at the beginning of a target stands for
//! what the operation of that id makes (OData 4.0 Protocol section 11.7.3.1, OData JSON Format 4.01
//! section 19.1). `AspNetCoreOData` looks for `$1` in all of a query, its forerunners in all of a
//! target, and both forget what stands in front of it: no target gets past here with an id anywhere
//! but at its beginning.

use std::borrow::Cow;
use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::percent_decode;

use super::context::{judged, no_fragment, no_space};
use super::{Fault, Operation, is_batch, refused};
use crate::code::Code;
use crate::policy::{Refusal, path};

pub(super) const CONTENT_ID: HeaderName = HeaderName::from_static("content-id");

/// The longest path that a reference stands for: each reference is a copy of it, and a batch has up to
/// 5000. Paths with keys and all, which have no query, are a tenth of this.
pub(super) const LONGEST: usize = 2048;

/// How much of an id a message shows: a GUID and more.
const SHOWN: usize = 64;

/// What has been read of a batch whose operations may refer to one another.
#[derive(Default)]
pub(super) struct References<'a> {
    /// What `$1` stands for once the operation of that id was read; nothing for a change set.
    made: HashMap<Cow<'a, str>, Option<String>>,
    /// What of each target is not a reference that was understood.
    rests: Vec<Cow<'a, str>>,
}

impl<'a> References<'a> {
    /// The path that a target stands for which begins with a reference to what an earlier operation
    /// makes, and where in the target the reference ends. `None` for another target.
    pub(super) fn resolve(&self, target: &str) -> Result<Option<(String, usize)>, Fault> {
        let Some(text) = target.strip_prefix('$') else {
            return Ok(None);
        };
        if is_batch(target) {
            return Err(Fault::forbidden("it is a batch itself"));
        }
        let (id, rest) = text.split_at(text.find(['/', '?']).unwrap_or(text.len()));
        let Some(Some(made)) = self.made.get(id).filter(|_| is_id(id)) else {
            return Ok(None);
        };
        if made.len() > LONGEST {
            return Err(Fault::unreadable(
                "its target refers to a path of more than 2048 bytes; make it shorter",
            ));
        }
        no_space(target)?;
        let path = rest.split('?').next().unwrap_or_default();
        no_fragment(path)?;
        // The mark for what is made is not ASCII, so that no pattern but a wildcard matches it.
        judged(path.to_owned() + if path.is_empty() { "/" } else { "" })?;
        Ok(Some((format!("{made}{path}"), target.len() - rest.len())))
    }

    /// Notes an operation, its id and what of its target is not a reference that was understood.
    pub(super) fn operation(
        &mut self,
        id: Option<Cow<'a, str>>,
        operation: &Operation,
        rest: Cow<'a, str>,
    ) -> Result<(), Fault> {
        self.rests.push(rest);
        let Some(id) = id else {
            return Ok(());
        };
        let made = match operation.method {
            Method::POST => format!("{}(…)", operation.path),
            _ => operation.path.clone(),
        };
        if self.made.insert(id, Some(made)).flatten().is_some() {
            return Err(Fault::unreadable("its id or Content-ID is not its own"));
        }
        Ok(())
    }

    /// Notes the id of a change set.
    pub(super) fn change_set(&mut self, id: &'a str) {
        self.made.entry(Cow::Borrowed(id)).or_default();
    }

    /// Whether ids stand where services might or might not take them for references. Later ones
    /// count as well: what comes first is not the same to all services.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        for (index, rest) in self.rests.iter().enumerate() {
            if let Some(id) = self.any(rest) {
                let problem = format!(
                    "\"${id:.SHOWN$}\" in its target may be taken for what the operation of that \
                     id makes; give that operation another id"
                );
                return Err(refused(Code::BadRequest, index + 1, &problem));
            }
        }
        Ok(())
    }

    /// The first id that a text refers to, at any level of percent-decoding, or in overlong spelling.
    fn any(&self, text: &str) -> Option<&str> {
        if self.made.is_empty() {
            return None;
        }
        let mut level = Cow::Borrowed(text.as_bytes());
        let mut found = self.plain(&level);
        for _ in 0..path::LEVELS {
            let Cow::Owned(decoded) = percent_decode(&level).into() else {
                break;
            };
            found = found.or_else(|| self.plain(&decoded));
            level = Cow::Owned(decoded);
        }
        found.or_else(|| self.plain(&path::deepest(text.as_bytes())))
    }

    fn plain(&self, text: &[u8]) -> Option<&str> {
        let starts = memchr::memchr_iter(b'$', text);
        starts
            .filter_map(|at| {
                let rest = &text[at + 1..];
                let end = rest.iter().position(|&byte| !may_be_in_id(byte));
                let run = std::str::from_utf8(&rest[..end.unwrap_or(rest.len())]).ok()?;
                let (id, _) = self.made.get_key_value(run).filter(|_| !run.is_empty())?;
                Some(&**id)
            })
            .next()
    }
}

/// The id of an operation. It belongs to its part, or beside its method, but some clients write it
/// among the operation's own headers, and services look for it there where it is not elsewhere.
pub(super) fn id<'t>(
    given: Option<Cow<'t, str>>,
    headers: &HeaderMap,
) -> Result<Option<Cow<'t, str>>, Fault> {
    let own = headers.get(CONTENT_ID).map(HeaderValue::to_str);
    let Some(own) = own.transpose().unwrap_or_default() else {
        return Ok(given);
    };
    match given {
        Some(given) if given != own => Err(Fault::unreadable(
            "its Content-ID is not that of its part, or not its id; leave one of them out",
        )),
        Some(given) => Ok(Some(given)),
        None => Ok(Some(Cow::Owned(own.to_owned()))),
    }
}

/// Whether a target may begin with `$` and this, as a reference and nothing else: it is spelt as an
/// id is (OData 4.01 ABNF, `content-id`), and means nothing to OData itself.
fn is_id(text: &str) -> bool {
    let taken = ["all", "entity", "metadata"];
    let is_taken = taken.iter().any(|name| name.eq_ignore_ascii_case(text));
    !text.is_empty() && !is_taken && text.bytes().all(may_be_in_id)
}

fn may_be_in_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}
