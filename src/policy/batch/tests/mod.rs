//! Tests of both readers.

mod header;
mod json;
mod multipart;
mod name;
mod reference;
mod sdk;
mod words;
