//! Tests of the folder's parts together.

mod batch_property;
mod corpus;
#[cfg(unix)]
mod cost;
mod decode;
mod host;
mod link;
mod model;
mod multipart;
mod plan;
mod request;
mod scan;
mod scan_property;
