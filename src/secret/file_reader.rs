//! Reads the files of one thing, such as a credential, on a thread of its own, in time and one at a
//! time. A file system that does not answer holds up that thing and nothing else: neither the
//! runtime, which all tokens share, nor the threads that may block, which all such things share.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

/// Reading takes microseconds, and decrypting a key a good part of a second on purpose.
const WITHIN: Duration = Duration::from_secs(5);

/// What reads the files of one thing. A clone takes turns with it.
#[derive(Clone, Debug)]
pub struct FileReader {
    /// Held by what reads, however long that takes: as long as one file hangs, nothing else is
    /// begun that would hang there too.
    turn: Arc<Semaphore>,
    /// How much is being read just now.
    reading: Arc<AtomicUsize>,
    within: Duration,
}

/// The reader of a thing that may become another: what hangs of the one before does not hold up its
/// files.
#[derive(Debug)]
pub struct Successive<T> {
    thing: Option<T>,
    reader: FileReader,
}

/// Why the files were not read.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unread {
    /// The work panicked, which was logged where it happened. What waits for it goes on: one bad file
    /// must not end the process.
    #[error(
        "the work on the files stopped unexpectedly, which is a fault in tokenferry; please report what the log says of it"
    )]
    Fault,
    /// It was not even begun.
    #[error("no thread to read the files with was to be had within {} s; raise the limit of processes and threads", within.as_secs())]
    NoThread {
        /// How long was waited.
        within: Duration,
    },
    /// It was begun, or something before it, and has not ended.
    #[error("the files were not read within {} s; check the file systems that they are on", within.as_secs())]
    TooSlow {
        /// How long was waited.
        within: Duration,
    },
}

impl Default for FileReader {
    fn default() -> Self {
        Self::patient_for(WITHIN)
    }
}

impl FileReader {
    /// One that waits this long. Nothing is being read.
    pub fn patient_for(within: Duration) -> Self {
        Self::of_turns(1, within)
    }

    /// The same where each turn may read other files than the one before: so many may hang before the
    /// next has to wait for one of them.
    pub fn of_turns(turns: usize, within: Duration) -> Self {
        Self {
            turn: Arc::new(Semaphore::new(turns)),
            reading: Arc::default(),
            within,
        }
    }

    /// Does what may wait for a file.
    ///
    /// # Errors
    /// When it panics, or has not ended in time. If it has begun then, it goes on, and has no effect
    /// but that the next waits for it.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unread> {
        let within = self.within;
        match tokio::time::timeout(within, self.turn(work)).await {
            Ok(done) => done,
            Err(_) if self.reading.load(Ordering::Relaxed) > 0 => Err(Unread::TooSlow { within }),
            Err(_) => Err(Unread::NoThread { within }),
        }
    }

    fn turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, Unread>> {
        let (turn, reading) = (Arc::clone(&self.turn), Arc::clone(&self.reading));
        async move {
            let held = turn.acquire_owned().await;
            let queued = Queued(Arc::new(Mutex::new(Some((held, work)))));
            let place = Arc::clone(&queued.0);
            let work = move || {
                let (_held, work) = take(&place)?;
                let _reading = Reading::begun(reading);
                Some(work())
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(Some(done)) => Ok(done),
                Err(failed) if failed.is_panic() => Err(Unread::Fault),
                // The runtime is shutting down.
                Ok(None) | Err(_) => std::future::pending().await,
            }
        }
    }
}

/// Work that no thread has begun yet. Who gives it up takes it back, and its turn with it: the next
/// asks for a thread again.
struct Queued<W>(Arc<Mutex<Option<W>>>);

impl<W> Drop for Queued<W> {
    fn drop(&mut self) {
        drop(take(&self.0));
    }
}

fn take<W>(place: &Mutex<Option<W>>) -> Option<W> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Tells that something is read, as long as it is.
struct Reading(Arc<AtomicUsize>);

impl Reading {
    fn begun(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T> Default for Successive<T> {
    fn default() -> Self {
        Self {
            thing: None,
            reader: FileReader::default(),
        }
    }
}

impl<T: Clone + PartialEq> Successive<T> {
    /// The reader of this thing, which is the one of before unless the thing is another.
    pub fn reader(&mut self, thing: &T) -> FileReader {
        if self.thing.as_ref() != Some(thing) {
            *self = Self {
                thing: Some(thing.clone()),
                ..Self::default()
            };
        }
        self.reader.clone()
    }
}

#[cfg(test)]
impl FileReader {
    /// Something is read that hangs until the sender is used or dropped.
    pub async fn hang(&self) -> std::sync::mpsc::Sender<()> {
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        let (begins, begun) = tokio::sync::oneshot::channel();
        let work = move || (begins.send(()), hangs.recv());
        // Given up once it has begun, however long a thread is waited for: no time takes part.
        tokio::select! {
            _ = self.turn(work) => panic!("it does not hang"),
            begun = begun => begun.expect("it begins"),
        }
        release
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// The same reader, but one that waits for a busy machine.
    fn patient(reader: &FileReader) -> FileReader {
        FileReader {
            within: WITHIN,
            ..reader.clone()
        }
    }

    #[tokio::test]
    async fn a_file_that_hangs_is_given_up_and_holds_one_thread_only() {
        let within = Duration::from_millis(20);
        let reader = FileReader::patient_for(within);
        let release = reader.hang().await;
        let (tell, told) = mpsc::channel();
        let again = tell.clone();
        let second = reader.run(move || again.send(())).await;
        assert_eq!(second.map(|_| ()), Err(Unread::TooSlow { within }));
        assert!(told.try_recv().is_err(), "it began");
        release.send(()).unwrap();
        // It comes back as soon as the file system does.
        let last = patient(&reader).run(move || tell.send(())).await;
        last.unwrap().unwrap();
        told.try_recv().unwrap();
    }

    #[tokio::test]
    async fn a_fault_of_ours_in_the_work_costs_that_work_only() {
        let reader = FileReader::default();
        // A panic without the back trace, which may take longer than files are waited for.
        let fault = || std::panic::resume_unwind(Box::new("a fault"));
        let failed = reader.run(fault).await;
        assert!(failed.is_err_and(|why: Unread| why.to_string().contains("a fault in tokenferry")));
        assert_eq!(reader.run(|| 1).await, Ok(1));
    }

    #[tokio::test]
    async fn what_hangs_holds_up_as_many_turns_as_there_are() {
        let within = Duration::from_millis(20);
        let reader = FileReader::of_turns(3, within);
        let mut hung = Vec::new();
        for _ in 0..3 {
            patient(&reader).run(|| ()).await.unwrap();
            hung.push(reader.hang().await);
        }
        let next = reader.run(|| ()).await;
        assert_eq!(next, Err(Unread::TooSlow { within }));
    }

    #[tokio::test]
    async fn what_hangs_of_one_thing_does_not_hold_up_another() {
        let mut readers = Successive::default();
        let _release = readers.reader(&"old").hang().await;
        let same = readers.reader(&"old");
        assert_eq!(
            same.turn.available_permits(),
            0,
            "one thread hangs, no more"
        );
        readers.reader(&"new").run(|| ()).await.unwrap();
    }

    #[test]
    fn what_no_thread_has_begun_is_not_blamed_on_the_file_and_never_done() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let within = Duration::from_millis(20);
            let reader = FileReader::patient_for(within);
            // What was read before is none of what is read.
            patient(&reader).run(|| ()).await.unwrap();
            let (release, hangs) = mpsc::channel::<()>();
            let other = tokio::task::spawn_blocking(move || hangs.recv());
            let (tell, told) = mpsc::channel();
            for _ in 0..2 {
                let tell = tell.clone();
                let outcome = reader.run(move || tell.send(())).await;
                assert_eq!(outcome.map(|_| ()), Err(Unread::NoThread { within }));
            }
            release.send(()).unwrap();
            other.await.unwrap().unwrap();
            patient(&reader).run(|| ()).await.unwrap();
            assert!(told.try_recv().is_err(), "it was given up");
        });
    }
}
