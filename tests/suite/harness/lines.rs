//! Lines that somebody writes meanwhile: the access log, or an output of the binary.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;
use tokenferry::lock::locked;
use tokio::sync::watch;

use super::PATIENCE;

/// The lines so far. Clones share them.
#[derive(Clone)]
pub(crate) struct Lines {
    text: Arc<Mutex<Vec<u8>>>,
    changes: Arc<watch::Sender<u64>>,
    held: Arc<(Mutex<bool>, Condvar)>,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self {
            text: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
            held: Arc::default(),
        }
    }

    /// Follows a pipe in a thread of its own until it is closed.
    pub(crate) fn follow(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self::new();
        let mut writer = lines.clone();
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                // Never fails: it is memory.
                let _ = writer.write_all(&line);
                line.clear();
            }
        });
        lines
    }

    /// Whether whoever writes has to wait, as for a pipe that nobody reads.
    pub(crate) fn hold(&self, on: bool) {
        let (held, changed) = &*self.held;
        *locked(held) = on;
        changed.notify_all();
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&locked(&self.text)).into_owned()
    }

    /// The complete lines so far.
    pub(crate) fn all(&self) -> Vec<String> {
        let text = self.text();
        let end = text.rfind('\n').map_or(0, |end| end + 1);
        text[..end].lines().map(str::to_owned).collect()
    }

    /// The first line for which `wanted` has something to say.
    pub(crate) async fn find<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        let search = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = self.all().iter().find_map(|line| wanted(line)) {
                    return found;
                }
                // The sender lives as long as `self`.
                let _ = changes.changed().await;
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(found) => found,
            Err(_) => panic!("no line with {what} in:\n{}", self.text()),
        }
    }

    /// Waits for a line that contains this.
    pub(crate) async fn says(&self, text: &str) {
        self.find(text, |line| line.contains(text).then_some(()))
            .await;
    }

    /// The first JSON line in which this pointer holds this text.
    pub(crate) async fn with(&self, pointer: &str, text: &str) -> Value {
        let what = format!("{text} at {pointer}");
        self.find(&what, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line.pointer(pointer)?.as_str() == Some(text)).then_some(line)
        })
        .await
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (held, changed) = &*self.held;
        let free = locked(held);
        drop(changed.wait_while(free, |held| *held));
        locked(&self.text).extend_from_slice(bytes);
        self.changes.send_modify(|version| *version += 1);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
