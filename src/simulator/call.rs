//! A request as the services see it: head and body already read, so that a batch can make one as
//! well as a connection.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::gzip;
use super::journal::Received;

/// See the module.
pub(super) struct Call {
    /// The entry in the journal.
    pub(super) number: u64,
    /// `https`, or `http` on the plain listener.
    pub(super) scheme: &'static str,
    pub(super) method: Method,
    /// `host` or `host:port`, as the request named it.
    pub(super) authority: String,
    /// Path and query, byte for byte.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Received,
}

impl Call {
    /// An operation of the batch that this call is.
    pub(super) fn inner(
        &self,
        method: Method,
        target: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Self {
        Self {
            number: self.number,
            scheme: self.scheme,
            method,
            authority: self.authority.clone(),
            target,
            headers,
            body: Received::whole(body),
        }
    }

    /// The beginning of every absolute link to the service that was asked.
    pub(super) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// The target without its query.
    pub(super) fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&self.target, |(path, _)| path)
    }

    /// The query, without the question mark; empty without one.
    pub(super) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The value of a query option, as it stands there. Names are compared decoded: `%24top` is
    /// `$top`.
    pub(super) fn raw_option(&self, name: &str) -> Option<&str> {
        let pairs = self
            .query()
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let mut named = pairs.filter(|(own, _)| percent_decode_str(own).eq(name.bytes()));
        named.next().map(|(_, value)| value)
    }

    /// The value of a query option, decoded.
    pub(super) fn option(&self, name: &str) -> Option<Cow<'_, str>> {
        self.raw_option(name)
            .map(|raw| percent_decode_str(raw).decode_utf8_lossy())
    }

    /// A query option that is a number.
    pub(super) fn number_option(&self, name: &str) -> Option<u64> {
        self.raw_option(name)?.parse().ok()
    }

    /// The first value of a header field, when it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type of the body, in lower case and without parameters.
    pub(super) fn media_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        let essence = value.split(';').next().unwrap_or(value);
        Some(essence.trim().to_ascii_lowercase())
    }

    /// The body as JSON; `None` when it is not or is not said to be, or was too long to keep.
    pub(super) fn json(&self) -> Option<Value> {
        if self.media_type()? != "application/json" {
            return None;
        }
        let bytes = self.body.bytes.as_deref()?;
        if self.header("content-encoding") == Some("gzip") {
            return serde_json::from_slice(&gzip::unpacked(bytes)?).ok();
        }
        serde_json::from_slice(bytes).ok()
    }
}
