//! Which route a request belongs to ([`table`]), and what path goes up ([`path`]). Pure: built once
//! per configuration, asked once per request, on raw bytes; whoever decides on a path forwards it.

pub mod path;
pub mod table;

#[cfg(test)]
mod tests;
