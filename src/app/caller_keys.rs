//! The API keys of callers, kept current: they follow their files. Runs on the control side;
//! requests only ever read.

use std::sync::Arc;
use std::time::Duration;

use super::complaint::Complaint;
use crate::chain::Chain;
use crate::clock;
use crate::proxy::generation::{Generation, InForce};
use crate::secret::file_reader::{FileReader, Successive};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Follows the keys of whatever configuration is in force, for ever. A reload reads them itself.
pub(super) async fn watch(in_force: Arc<InForce>) {
    let mut readers = Successive::default();
    let mut complaint = Complaint::of("API keys");
    loop {
        // What it holds, connections above all, is not kept from one look to the next.
        let generation = in_force.load();
        let reader = readers.reader(&generation.config.callers);
        let unread = look(generation, &reader).await;
        complaint.renew(&unread.join("; "), "those known before stay in use");
        clock::sleep(LOOK).await;
    }
}

/// Reads the keys again; what is wrong with them.
async fn look(generation: Arc<Generation>, reader: &FileReader) -> Vec<String> {
    if !generation.callers.have_api_keys() {
        return Vec::new();
    }
    match reader.run(move || generation.callers.refresh()).await {
        Ok(failures) => failures.iter().map(|one| Chain(one).to_string()).collect(),
        Err(slow) => vec![slow.to_string()],
    }
}
