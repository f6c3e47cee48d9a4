//! One request on its way through a route: what the rooms of the request path need to know of it.

use std::rc::Rc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, TRAILER, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, Version};

use super::generation::Route;
use super::known_host::KnownHost;
use super::lane::{Lane, LaneRoute};
use crate::config::RewriteLinks;
use crate::rewrite::{Asked, Links, PublicBase};

/// The name of a file that Dataverse is to take.
const FILE_NAME: HeaderName = HeaderName::from_static("x-ms-file-name");

/// A request that has found its route.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    /// Its head.
    pub(super) parts: &'a Parts,
    /// The worker's share of the configuration.
    pub(super) lane: &'a Lane,
    /// The route's index.
    pub(super) index: usize,
    /// The raw path below the route's prefix.
    pub(super) rest: &'a str,
    /// The authority that was asked, as it was written.
    pub(super) authority: &'a str,
    /// The same where it is known.
    pub(super) host: Option<&'a KnownHost>,
    /// Whether the caller's connection is TLS.
    pub(super) secure: bool,
    /// Whether it is a `$batch`.
    pub(super) batch: bool,
    /// Whether a body comes with it, which may be empty.
    pub(super) has_body: bool,
    /// Whether a file is asked for, or a part of something.
    pub(super) file: bool,
}

impl<'a> Call<'a> {
    /// The route.
    pub(super) fn route(&self) -> &'a Route {
        self.lane.route(self.index)
    }

    /// The worker's share of the route.
    pub(super) fn own(&self) -> &'a LaneRoute {
        &self.lane.routes[self.index]
    }

    /// How long it may wait for a token.
    pub(super) fn token_wait(&self) -> Duration {
        self.lane.generation.config.timeouts.token_wait
    }

    /// Whether the route rewrites links at all.
    pub(super) fn rewrites_links(&self) -> bool {
        self.route().spec.rewrite_links != RewriteLinks::Off
    }

    /// Where the operations of a batch begin: its path without the last segment.
    pub(super) fn batch_root(&self) -> &'a str {
        let path = self.rest.trim_end_matches('/');
        path.rsplit_once('/').map_or("", |(root, _)| root)
    }

    /// The links between this proxy, as the caller addressed it, and the upstreams; `None` when the
    /// route leaves them alone.
    pub(super) fn links(&self) -> Option<Links> {
        if !self.rewrites_links() {
            return None;
        }
        let base = match self.host {
            Some(known) => Rc::clone(&known.base),
            None => PublicBase::new(self.secure, self.authority)?.into(),
        };
        Some(Links::new(self.lane.links.clone(), self.index, base))
    }

    /// Whether it is certain that links in the body of its answer are rewritten, if the answer comes
    /// with such a body: a host that is known makes links, and edits might make another body of it.
    pub(super) fn rewrites_answer(&self) -> bool {
        let edits = self.route().response_rules.edits();
        self.rewrites_links() && self.host.is_some() && !self.file && !edits
    }

    /// The length of the body, where it is declared.
    pub(super) fn declared_length(&self) -> Option<u64> {
        let length = self.parts.headers.get(CONTENT_LENGTH)?;
        length.to_str().ok()?.parse().ok()
    }

    /// Whether trailers may follow a body: they are announced, and it is not of a known length.
    pub(super) fn announces_trailers(&self) -> bool {
        let headers = &self.parts.headers;
        let chunked = || headers.contains_key(TRANSFER_ENCODING);
        let streamed =
            || self.parts.version == Version::HTTP_2 && !headers.contains_key(CONTENT_LENGTH);
        self.has_body && headers.contains_key(TRAILER) && (chunked() || streamed())
    }

    /// Whether the body is a file or a part of one, whose bytes belong to somebody: as for answers,
    /// and as Dataverse has it (`x-ms-file-name`, and `Content-Range` for a part).
    pub(super) fn sends_file(&self) -> bool {
        let headers = &self.parts.headers;
        let marks = [&CONTENT_RANGE, &FILE_NAME];
        self.file || marks.iter().any(|name| headers.contains_key(*name))
    }

    /// What was asked for, as far as the rewriting of the answer goes.
    pub(super) fn asked(&self) -> Asked<'a> {
        Asked {
            method: &self.parts.method,
            file: self.file,
            batch: self.batch,
        }
    }
}
