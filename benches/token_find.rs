//! A cache hit: nanoseconds per look-up with its clone and drop, on 1 to N threads, and allocations.
//! Held to under 50 ns, none, and flat in the number of threads. `cargo bench --bench token_find`.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use tokenferry::clock::Now;
use tokenferry::config::{IdentitySelector, Name, Scope};
use tokenferry::credential::{AccessToken, Identity};
use tokenferry::secret::Secret;
use tokenferry::token::{Supplier, TokenCache, TokenEntry, TokenKey, TokenReader};

const ROUNDS: usize = 300;
const CALLS: u32 = 10_000;

/// A cache whose only token, as long as real ones, is there.
fn warm(runtime: &tokio::runtime::Runtime) -> (TokenCache, Arc<TokenEntry>) {
    let cache = TokenCache::new(runtime.handle().clone(), Arc::default());
    let identity = Identity::ManagedIdentity(IdentitySelector::System);
    let scope = Scope::parse("https://graph.microsoft.com/.default").expect("a scope");
    let supplier = Supplier::new(|_demand| async {
        Ok(AccessToken {
            secret: Secret::new(vec![b'x'; 2000]),
            expires_in: Duration::from_secs(86_400),
            refresh_in: None,
            fallback: None,
        })
    });
    let label = Name::parse("bench").expect("a name");
    let entry = cache.entry_from(TokenKey::plain(identity, None, scope), &label, supplier);
    let first = TokenReader::new(Arc::clone(&entry));
    let came = runtime.block_on(first.wait(Now::read(), Duration::from_secs(1)));
    came.expect("the supplier gives one");
    (cache, entry)
}

/// The best round of one thread, in nanoseconds per look-up.
fn measure(reader: &TokenReader, now: Now) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        for _ in 0..CALLS {
            black_box(reader.find(black_box(now)));
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    best
}

/// The slowest of so many threads that look up the same token at the same time.
fn together(entry: &Arc<TokenEntry>, threads: usize) -> f64 {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let (reader, now) = (TokenReader::new(Arc::clone(entry)), Now::read());
                    assert!(reader.find(now).is_some(), "a cache hit is measured");
                    start.wait();
                    measure(&reader, now)
                })
            })
            .collect();
        let times = workers.into_iter().map(|worker| worker.join());
        times.fold(0.0_f64, |worst, time| worst.max(time.expect("no panic")))
    })
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (_cache, entry) = warm(&runtime);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    for threads in 1..=cores {
        let nanoseconds = together(&entry, threads);
        println!("token look-up, {threads} threads {nanoseconds:>16.1} ns");
    }
    let (reader, now) = (TokenReader::new(entry), Now::read());
    black_box(reader.find(now));
    let counted = allocation_counter::measure(|| {
        for _ in 0..CALLS {
            black_box(reader.find(now));
        }
    });
    println!(
        "allocations in {CALLS} look-ups {:>12}",
        counted.count_total
    );
    assert_eq!(counted.count_total, 0, "a look-up allocates");
}
