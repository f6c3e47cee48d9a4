//! Tests of both readers.

mod json;
mod multipart;
mod name;
mod sdk;
