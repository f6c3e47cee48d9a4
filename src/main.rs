//! The `tokenferry` command.
fn main() {}
