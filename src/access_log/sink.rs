//! What the access log is written to, and who hears that it cannot be: a disk that is full, or a reader
//! that has gone, looks like a log without requests.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

/// What goes on is told again after this time: the program may run for months.
const AGAIN: Duration = Duration::from_hours(1);

/// A sink whose failures are told.
pub(super) struct Told<W> {
    sink: W,
    told: Option<Instant>,
}

impl<W> Told<W> {
    pub(super) fn of(sink: W) -> Self {
        Self { sink, told: None }
    }

    /// Whether a failure now is news. A disk that is nearly full takes a line now and then.
    fn is_news(&mut self, now: Instant) -> bool {
        let told = self.told;
        let is_news = told.is_none_or(|told| now.duration_since(told) >= AGAIN);
        if is_news {
            self.told = Some(now);
        }
        is_news
    }
}

impl<W: Write> Write for Told<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes);
        if let Err(error) = &written
            && !matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
            && self.is_news(Instant::now())
        {
            tracing::warn!(
                %error,
                "standard output cannot be written, and lines of the access log are lost; make room where it leads, or start what reads it again"
            );
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_stays_full_is_told_of_once_an_hour() {
        let mut sink = Told::of(io::sink());
        let start = Instant::now();
        let second = |n| start + Duration::from_secs(n);
        let told: Vec<u64> = (0..7201).filter(|n| sink.is_news(second(*n))).collect();
        assert_eq!(told, [0, 3600, 7200]);
    }
}
