//! Reads the files of one thing, such as a credential, on a thread of its own, in time and one at a
//! time. A file system that does not answer holds up that thing and nothing else: neither the
//! runtime, which all tokens share, nor the threads that may block, which all such things share.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// Reading takes microseconds, and decrypting a key a good part of a second on purpose.
const WITHIN: Duration = Duration::from_secs(5);

/// What reads the files of one thing.
#[derive(Debug)]
pub struct FileReader {
    /// Held by what reads, however long that takes: as long as one file hangs, nothing else is
    /// begun that would hang there too.
    turn: Arc<Semaphore>,
    within: Duration,
}

/// The time that reading took was too long.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the files were not read within {} s; check the file systems that they are on", within.as_secs())]
pub struct TooSlow {
    /// How long was waited.
    pub within: Duration,
}

impl Default for FileReader {
    fn default() -> Self {
        Self::patient_for(WITHIN)
    }
}

impl FileReader {
    /// One that waits this long. Nothing is being read.
    pub fn patient_for(within: Duration) -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            within,
        }
    }

    /// Does what may wait for a file.
    ///
    /// # Errors
    /// When it has not ended in time. It goes on, and has no effect but that the next waits for it.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TooSlow> {
        let within = self.within;
        let ended = tokio::time::timeout(within, self.turn(work)).await;
        ended.map_err(|_| TooSlow { within })
    }

    fn turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> {
        let turn = Arc::clone(&self.turn);
        async move {
            let held = turn.acquire_owned().await;
            let work = move || {
                let _held = held;
                work()
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(done) => done,
                Err(failed) => match failed.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is shutting down.
                    Err(_) => std::future::pending().await,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_file_that_hangs_is_given_up_and_holds_one_thread_only() {
        let reader = FileReader::patient_for(Duration::from_millis(20));
        let (release, hangs) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let first = reader.run(move || hangs.recv()).await;
        assert_eq!(
            first.map(|_| ()),
            Err(TooSlow {
                within: reader.within
            })
        );
        let again = tell.clone();
        let second = reader.run(move || again.send(())).await;
        assert!(second.is_err() && told.try_recv().is_err(), "it began");
        release.send(()).unwrap();
        // It comes back as soon as the file system does.
        let patient = FileReader {
            turn: Arc::clone(&reader.turn),
            within: WITHIN,
        };
        patient.run(move || tell.send(())).await.unwrap().unwrap();
        told.try_recv().unwrap();
    }
}
