//! Links that lead past this proxy are turned back to it. An answer's links of an upstream (`header`
//! and `scan`) become links of the route, because clients follow them as they are and would arrive
//! there without a token; a request's links of this proxy (`request`) become links of the upstream,
//! which knows no others. `plan` decides whether an answer's body is touched at all.
//!
//! Pure: bytes in, bytes out.

pub mod accept;
pub mod address;
mod authority;
pub mod body;
pub mod decode;
mod grammar;
pub mod header;
mod key;
pub mod link;
mod message;
mod multipart;
mod name;
mod nesting;
mod plan;
mod preauthenticated;
mod representation;
pub mod request;
pub mod scan;
mod site;
mod spelling;
mod string_end;
mod text;

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

pub use accept::accept_encoding_for_upstream;
pub use address::{Links, PublicBase};
pub use body::Rewriter;
pub use decode::DecodeError;
pub use link::{LinkMap, LinkRoute};
pub use plan::{Asked, DIGESTS, names_file, plan, without_digests};
pub use representation::{Representation, is_json};
