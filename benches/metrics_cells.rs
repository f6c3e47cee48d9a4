//! What counting one request costs, alone and with every core counting at once; beside it the same
//! number of additions to shared atomics, which is what the cells are there to avoid.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokenferry::metrics::{MethodLabel, Metrics, RouteCells, TokenCells};

const REQUESTS: u32 = 5_000_000;

/// Additions that [`count`] makes.
const ADDITIONS: usize = 11;

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let metrics = Metrics::new(std::time::SystemTime::now());
    for threads in [1, cores] {
        let cells = each(threads, |worker| {
            let route = metrics.route_cells(worker, "graph");
            let token = metrics.token_cells(worker, "contoso", "scope");
            move || count(&route, &token)
        });
        let shared: &[AtomicU64; ADDITIONS] = Box::leak(Box::default());
        let atomics = each(threads, |_| || shared.iter().for_each(add));
        println!("{threads} threads: {cells:.1} ns in cells, {atomics:.1} ns in shared atomics");
    }
}

/// Nanoseconds per call, when every thread makes its calls at the same time.
fn each<Call: FnMut() + Send>(threads: usize, call: impl Fn(usize) -> Call) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..threads {
            let mut call = call(worker);
            scope.spawn(move || (0..REQUESTS).for_each(|_| call()));
        }
    });
    start.elapsed().as_secs_f64() * 1e9 / f64::from(REQUESTS)
}

fn count(route: &RouteCells, token: &TokenCells) {
    route.request_started();
    token.hit();
    route.head_arrived(black_box(Duration::from_micros(740)));
    route.links_rewritten(1);
    let took = black_box(Duration::from_micros(910));
    route.request_ended(black_box(MethodLabel::Get), black_box(200), took, 0, 1024);
}

fn add(shared: &AtomicU64) {
    shared.fetch_add(1, Ordering::Relaxed);
}
