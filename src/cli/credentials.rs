//! What `check` and `run` find out about the credentials of a configuration before anybody is asked
//! for a token: files that cannot be used, and secrets and certificates whose end comes near.

use std::sync::Arc;
use std::time::SystemTime;

use crate::app;
use crate::chain::Chain;
use crate::config::Config;
use crate::config::disk::Disk;
use crate::credential::{Credential, ending};

/// Adds to what was found on disk, and returns the credentials as far as they could be made. Files
/// that are missing are known already, so this looks only where there are none.
pub(super) fn inspect(config: &Config, disk: &mut Disk) -> Vec<Arc<Credential>> {
    if !disk.problems.is_empty() {
        return Vec::new();
    }
    let credentials = match app::outside(config) {
        Ok(outside) => outside.credentials,
        Err(error) => {
            disk.problems.push(Chain(&error).to_string());
            return Vec::new();
        }
    };
    for credential in &credentials {
        if let Err(error) = credential.check() {
            let (name, words) = (credential.name(), error.words());
            let problem = format!("credential \"{name}\": {words}");
            disk.problems.push(problem);
        }
    }
    credentials
}

/// What ends soon. A running program tells that itself, every day.
pub(super) fn endings(credentials: &[Arc<Credential>], now: SystemTime) -> Vec<String> {
    let told = |credential: &Arc<Credential>| ending(credential.name(), credential.expiry()?, now);
    credentials.iter().filter_map(told).collect()
}
