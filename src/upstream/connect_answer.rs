//! Reads the answer to CONNECT (RFC 9110 section 9.3.6), byte by byte: what follows it belongs to the
//! tunnel. Pure.

use httparse::Status;

/// More than any proxy's answer to CONNECT, interim ones with it; what is longer is not one.
const LARGEST: usize = 8 * 1024;
/// Many more fields than any has.
const MOST_FIELDS: usize = 64;
/// How an answer begins: as long as that lasts, each byte is looked at, so that what is none is known
/// without an end of its line.
const BEGIN: usize = b"HTTP/1.1".len();

/// Why it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectAnswerError {
    /// It is longer than any.
    #[error("its answer does not end")]
    Endless,
    /// It is something else.
    #[error("its answer is not HTTP")]
    Malformed,
}

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub struct ConnectAnswer {
    /// The current head.
    head: Vec<u8>,
    /// The length of those before it.
    before: usize,
}

impl ConnectAnswer {
    /// Reads on; the status behind all interim ones (RFC 9110 section 15.2), once its head has ended.
    /// 101 would be no tunnel, and is not interim.
    ///
    /// # Errors
    /// When it is no answer, as soon as that is clear.
    pub fn push(&mut self, byte: u8) -> Result<Option<u16>, ConnectAnswerError> {
        if self.before + self.head.len() == LARGEST {
            return Err(ConnectAnswerError::Endless);
        }
        self.head.push(byte);
        if byte != b'\n' && self.head.len() > BEGIN {
            return Ok(None);
        }
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut answer = httparse::Response::new(&mut fields);
        match answer.parse(&self.head) {
            Ok(Status::Partial) => return Ok(None),
            Ok(Status::Complete(_)) => {}
            Err(_) => return Err(ConnectAnswerError::Malformed),
        }
        let status = answer.code.filter(|code| *code == 101 || *code >= 200);
        self.before += self.head.len();
        self.head.clear();
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    const DONE: &str = "HTTP/1.1 200 OK\r\n\r\n";

    /// What comes of this text, and how much of it is read for that.
    fn read(text: &str) -> (Result<Option<u16>, ConnectAnswerError>, usize) {
        let mut answer = ConnectAnswer::default();
        for (index, byte) in text.bytes().enumerate() {
            match answer.push(byte) {
                Ok(None) => {}
                end => return (end, index + 1),
            }
        }
        (Ok(None), text.len())
    }

    #[test]
    fn the_answer_to_connect_is_the_final_one() {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        let switched = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
        let refused = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
        let old = "HTTP/1.0 200 OK\nProxy-agent: old\n\n";
        for (answer, status) in [
            (format!("{INTERIM}{early}{DONE}"), 200),
            (format!("{INTERIM}{refused}"), 407),
            (switched.to_owned(), 101),
            (old.to_owned(), 200),
        ] {
            let found = read(&format!("{answer}{DONE}"));
            assert_eq!(found, (Ok(Some(status)), answer.len()), "{answer}");
        }
    }

    #[test]
    fn what_is_no_answer_is_known_as_soon_as_it_is_none() {
        for (text, length) in [
            ("220 mail.corp ESMTP\r\n", 1),
            ("\u{15}\u{3}\u{3}\0\u{2}\u{2}F", 1),
            ("HTTP/2.0 200 OK\r\n\r\n", 6),
            ("HTTP/1.1 2x0 OK\r\n\r\n", 17),
        ] {
            assert_eq!(read(text), (Err(ConnectAnswerError::Malformed), length));
        }
    }

    #[test]
    fn an_answer_that_does_not_end_is_none() {
        let endless = INTERIM.repeat(LARGEST / INTERIM.len() + 1) + DONE;
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(LARGEST));
        for text in [endless, long] {
            assert_eq!(read(&text), (Err(ConnectAnswerError::Endless), LARGEST + 1));
        }
    }
}
