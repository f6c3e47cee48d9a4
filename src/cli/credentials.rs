//! What `check` and `run` find out about the credentials of a configuration before anybody is asked
//! for a token: files that cannot be used, and secrets and certificates whose end comes near.

use std::time::SystemTime;

use crate::app;
use crate::chain::Chain;
use crate::config::Config;
use crate::config::disk::Disk;
use crate::credential::ending;

/// Adds to what was found on disk. Files that are missing are known already, so this looks only
/// where there are none.
pub(super) fn inspect(config: &Config, disk: &mut Disk, now: SystemTime) {
    if !disk.problems.is_empty() {
        return;
    }
    let outside = match app::outside(config) {
        Ok(outside) => outside,
        Err(error) => return disk.problems.push(Chain(&error).to_string()),
    };
    for credential in &outside.credentials {
        let name = credential.name();
        if let Err(error) = credential.check() {
            let words = error.words();
            disk.problems
                .push(format!("credential \"{name}\": {words}"));
        } else if let Some(end) = credential.expiry() {
            disk.warnings.extend(ending(name, end, now));
        }
    }
}
