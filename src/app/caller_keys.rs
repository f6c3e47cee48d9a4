//! The API keys of callers, kept current: they follow their files. Runs on the control side;
//! requests only ever read.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::complaint::Complaint;
use crate::chain::Chain;
use crate::config::{KEY_HELP, Name};
use crate::proxy::generation::{Generation, InForce};
use crate::secret::file_reader::{FileReader, Successive};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Follows the keys of whatever configuration is in force, for ever. A reload reads them itself.
pub(super) async fn watch(in_force: Arc<InForce>) {
    let mut readers = Successive::default();
    let mut complaint = Complaint::of("API keys");
    let mut known = Guessable::default();
    loop {
        let generation = in_force.load();
        let reader = readers.reader(&generation.config.callers);
        let (unread, shortened) = look(&generation, &reader, &mut known).await;
        // What it holds, connections above all, is not kept from one look to the next.
        drop(generation);
        for caller in shortened {
            tracing::warn!(caller = %caller, "the new API key of a caller is short: {KEY_HELP}");
        }
        complaint.renew(&unread.join("; "), "those known before stay in use");
        tokio::time::sleep(LOOK).await;
    }
}

/// The callers whose keys could be guessed at the last look, and of which configuration they are.
#[derive(Default)]
struct Guessable {
    of: Weak<Generation>,
    callers: Vec<Name>,
}

/// Reads the keys again; what is wrong with them, and the callers whose keys can be guessed since. What
/// was so before was told when the configuration was read. What the last look gave up may have been
/// read after it, and is told by this one.
async fn look(
    generation: &Arc<Generation>,
    reader: &FileReader,
    known: &mut Guessable,
) -> (Vec<String>, Vec<Name>) {
    if !generation.callers.have_api_keys() {
        return Default::default();
    }
    let of = Arc::downgrade(generation);
    if !known.of.ptr_eq(&of) {
        let callers = generation.callers.guessable();
        *known = Guessable { of, callers };
    }
    let reading = Arc::clone(generation);
    let unread = match reader.run(move || reading.callers.refresh()).await {
        Ok(failures) => failures.iter().map(|one| Chain(one).to_string()).collect(),
        Err(slow) => vec![slow.to_string()],
    };
    let guessable = generation.callers.guessable();
    let mut shortened = guessable.clone();
    shortened.retain(|caller| !known.callers.contains(caller));
    known.callers = guessable;
    (unread, shortened)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::runtime::Handle;

    use super::*;
    use crate::app::prepare;
    use crate::config::{self, Source};
    use crate::metrics::Metrics;
    use crate::token::TokenCache;

    #[tokio::test]
    async fn a_file_whose_new_key_can_be_guessed_is_told_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |key: &str| std::fs::write(file.path(), key).unwrap();
        write("a key that nobody guesses\n");
        let path = file.path().display();
        let text = format!(
            "credentials: {{a: {{managed_identity: system}}}}\n\
             callers: {{cron: {{api_key_file: '{path}'}}}}\n\
             routes: [{{name: a, path: /a, upstream: 'https://a.com', callers: [cron]}}]\n"
        );
        let config = config::load(&Source::alone(&text)).unwrap().config;
        let now = SystemTime::now();
        let tokens = TokenCache::new(Handle::current(), Metrics::new(now).refreshes());
        let generation = Arc::new(prepare(config, now).unwrap().build(&tokens).1);
        let reader = FileReader::default();
        let mut known = Guessable::default();
        let mut told = async || look(&generation, &reader, &mut known).await.1.len();
        assert_eq!(told().await, 0);
        write("letmein\n");
        assert_eq!(told().await, 1);
        assert_eq!(told().await, 0);
        write("another that nobody guesses");
        assert_eq!(told().await, 0);
        write("letmein");
        assert_eq!(told().await, 1);
        // It may be read by a look that was given up, and later.
        write("another that nobody guesses");
        assert_eq!(told().await, 0);
        write("letmein");
        assert!(generation.callers.refresh().is_empty());
        assert_eq!(told().await, 1);
        assert_eq!(told().await, 0);
    }
}
