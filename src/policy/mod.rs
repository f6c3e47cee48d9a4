//! What may pass: pure decisions on the request as it arrived, taken before anything is forwarded.
//!
//! In the order of an exchange: [`target`] (form, path, `Host`), [`host`] (is it served here),
//! [`browser`] (web pages of other sites), [`allow`] (method and path), [`request_header`] and
//! [`response_header`] (what crosses). Nothing here repairs a request: it passes as it is, or not.

pub mod allow;
pub mod authority;
pub mod batch;
pub mod browser;
pub mod header;
pub mod host;
pub mod path;
mod percent;
pub mod request_header;
pub mod response_header;
pub mod target;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::code::Code;

/// Why a request does not pass: the code of the answer and what the caller or operator can do.
///
/// The message holds no secret; where it quotes the request it quotes header names only, and of an
/// operation of a batch method and path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Decides status and error type of the answer.
    pub code: Code,
    /// One sentence, lower case, without a full stop.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// Which bytes are letters, digits or one of `others`: a look-up where a class is asked per byte.
const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}
