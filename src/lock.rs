//! Locks that are held for a few lines.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic of another holder: in those few lines nothing can fail half way.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
