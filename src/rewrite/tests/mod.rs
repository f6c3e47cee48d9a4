//! Tests of the folder's parts together.

mod link;
mod plan;
mod scan;
mod scan_property;
