//! Tests of both readers.

mod json;
mod multipart;
mod name;
mod reference;
mod sdk;
