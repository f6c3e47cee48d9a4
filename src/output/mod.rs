//! Lines for standard output or standard error that never hold up whoever writes them.
//!
//! Writers append to lanes in memory; one thread of its own carries them to the sink. A lane is
//! bounded: when the sink does not keep up, whole lines are dropped and counted. Closing waits for
//! the sink only as long as it is told to.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Bytes a lane holds: some 3,500 access-log lines, a third of a second of one busy core.
const LANE_BYTES: usize = 1024 * 1024;

/// How long the thread lets lines gather once the first has come. Waking it, and a write for every
/// line, would cost whoever writes more than the line itself; nobody reads a log faster than this.
const GATHER: Duration = Duration::from_millis(10);

/// What a drained buffer keeps, so that one burst does not hold a megabyte for ever.
const KEPT_BYTES: usize = 64 * 1024;

/// How long the thread rests at first, and at most, when a sink takes nothing now and does not wait
/// either: a pipe that whoever shares it has made non-blocking.
const REST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// A sink with its thread and its lanes.
#[derive(Debug)]
pub struct Output {
    slots: Arc<[Arc<Slot>]>,
    writer: Thread,
    closing: Arc<AtomicBool>,
    ended: Mutex<Receiver<()>>,
}

/// One writer's way to the sink. Worker threads have a lane each, so that they do not meet.
#[derive(Clone, Debug)]
pub struct Lane {
    slot: Arc<Slot>,
    writer: Thread,
}

/// Aligned to two cache lines, which processors fetch in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot {
    lines: Mutex<Vec<u8>>,
    dropped: AtomicU64,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    /// Starts the thread that writes to `sink`. There is at least one lane.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        thread_name: &str,
        sink: impl Write + Send + 'static,
        lanes: usize,
    ) -> io::Result<Self> {
        let slots: Arc<[Arc<Slot>]> = (0..lanes.max(1)).map(|_| Arc::default()).collect();
        let closing = Arc::new(AtomicBool::new(false));
        let (alive, ended) = channel();
        let carried = (Arc::clone(&slots), Arc::clone(&closing));
        let thread = std::thread::Builder::new()
            .name(thread_name.to_owned())
            .spawn(move || carry(&carried.0, &carried.1, sink, alive))?;
        Ok(Self {
            slots,
            writer: thread.thread().clone(),
            closing,
            ended: Mutex::new(ended),
        })
    }

    /// The lane of a worker.
    pub fn lane(&self, worker: usize) -> Lane {
        Lane {
            slot: Arc::clone(&self.slots[worker % self.slots.len()]),
            writer: self.writer.clone(),
        }
    }

    /// Lines that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        let of = |slot: &Arc<Slot>| slot.dropped.load(Ordering::Relaxed);
        self.slots.iter().map(of).sum()
    }

    /// Writes what the lanes hold and ends the thread. Returns whether all of it went out before
    /// `patience` was over; a sink that is stuck for longer is left to the end of the process.
    pub fn close(&self, patience: Duration) -> bool {
        self.closing.store(true, Ordering::Release);
        self.writer.unpark();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(ended.recv_timeout(patience), Err(RecvTimeoutError::Timeout))
    }
}

impl Lane {
    /// Lets `line` append one line, its newline included; or drops it when the lane is full.
    pub fn write(&self, line: impl FnOnce(&mut Vec<u8>)) {
        let mut lines = self.slot.lock();
        if lines.len() >= LANE_BYTES {
            drop(lines);
            self.slot.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let idle = lines.is_empty();
        line(&mut lines);
        drop(lines);
        // Lines that are waiting already have woken the thread.
        if idle {
            self.writer.unpark();
        }
    }
}

/// The thread: carries lanes to the sink until closed. Dropping `_alive` tells that it has ended.
fn carry(slots: &[Arc<Slot>], closing: &AtomicBool, mut sink: impl Write, _alive: Sender<()>) {
    let mut batch = Vec::new();
    let mut torn = false;
    loop {
        // Read before the lanes are looked at: whatever was written before closing is carried.
        let last = closing.load(Ordering::Acquire);
        let mut idle = true;
        for slot in slots {
            std::mem::swap(&mut *slot.lock(), &mut batch);
            if batch.is_empty() {
                continue;
            }
            idle = false;
            let lost = deliver(&mut sink, &batch, &mut torn);
            slot.dropped.fetch_add(lost, Ordering::Relaxed);
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
        }
        if idle && last {
            return;
        }
        if idle {
            std::thread::park();
        }
        gather(closing);
    }
}

/// Writes whole lines; returns how many of them the sink does not have. `torn` tells that it broke
/// off inside a line before: the next line must not become the rest of that one.
fn deliver(sink: &mut impl Write, batch: &[u8], torn: &mut bool) -> u64 {
    if *torn {
        *torn = write(sink, b"\n") == 0;
    }
    let taken = if *torn { 0 } else { write(sink, batch) };
    let (taken, rest) = batch.split_at(taken);
    *torn |= taken.last().is_some_and(|last| *last != b'\n');
    // A line of which only the newline is missing will have one.
    let rest = match taken.is_empty() {
        true => rest,
        false => rest.strip_prefix(b"\n").unwrap_or(rest),
    };
    // What was taken is with the system, which says of none of it again that it is lost.
    let _ = sink.flush();
    memchr::memchr_iter(b'\n', rest).count() as u64
}

/// Writes as much as the sink takes before it fails; returns how much. Waits for one that says it
/// would block for as long as for one that blocks: lanes are bounded in either case.
fn write(sink: &mut impl Write, bytes: &[u8]) -> usize {
    let (mut taken, mut rest) = (0, REST.0);
    while taken < bytes.len() {
        match sink.write(&bytes[taken..]) {
            Ok(0) => break,
            Ok(more) => (taken, rest) = (taken + more, REST.0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::park_timeout(rest);
                rest = REST.1.min(rest * 2);
            }
            Err(_) => break,
        }
    }
    taken
}

/// Standard output for one that writes whole batches, without the library's buffer: what that has
/// taken and cannot write is neither out nor lost.
///
/// # Errors
/// When the system gives no other descriptor.
pub fn standard_output() -> io::Result<impl Write + Send + 'static> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        let own = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(std::fs::File::from(own))
    }
    // A console of Windows does not take bytes, and the library knows what it takes.
    #[cfg(not(unix))]
    Ok(io::stdout())
}

/// Whether a character shows a line as what it is not: it turns the text's direction, ends a line, or
/// has no width. All of them lie below U+10000.
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
    )
}

/// Waits for [`GATHER`], or less when it is time to close.
fn gather(closing: &AtomicBool) {
    let until = Instant::now() + GATHER;
    while !closing.load(Ordering::Acquire) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
pub(crate) mod tests;
