//! Tests of the folder's parts together.

mod corpus;
mod host;
mod link;
mod multipart;
mod plan;
mod request;
mod scan;
mod scan_property;
