//! A whole exchange in process: caller's socket, proxy with one worker, TLS to the simulator in a
//! process of its own, so that only the proxy is counted. Prints time, CPU and allocations of each.
//! `cargo bench --bench exchange`.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokenferry::access_log::AccessLog;
use tokenferry::app::App;
use tokenferry::config::{self, Source};
use tokenferry::simulator::{CLIENT_ID, GRAPH, Simulator, TENANT_ID};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Enough for means that differ by less than a per cent from run to run.
const EXCHANGES: u32 = 2000;
/// What connections, buffers and caches need to reach their size.
const WARM_UP: u32 = 200;
/// The argument that makes this program the simulator.
const UPSTREAM: &str = "--as-upstream";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokenferry::trust::install_provider();
    match arguments.iter().position(|argument| argument == UPSTREAM) {
        Some(at) => {
            let folder = arguments
                .get(at + 1)
                .context("the upstream needs a folder")?;
            runtime.block_on(upstream(Path::new(folder)))
        }
        None => measure(&runtime),
    }
}

/// The simulator, until standard input ends.
async fn upstream(folder: &Path) -> anyhow::Result<()> {
    let simulator = Simulator::start().await?;
    // A record of every request would only grow.
    simulator.record(false);
    let secret = simulator
        .client_secret()
        .context("the simulator has no secret")?;
    std::fs::write(folder.join("ca.pem"), simulator.ca_pem())?;
    std::fs::write(folder.join("secret"), secret.expose())?;
    let resolve: String = simulator
        .resolve_entries()
        .iter()
        .map(|(name, address)| format!("  \"{name}\": \"{address}\"\n"))
        .collect();
    let folder = folder.display();
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: off\nworkers: 1\n\
         credentials:\n  bench:\n    tenant_id: {TENANT_ID}\n    client_id: {CLIENT_ID}\n    client_secret_file: {folder}/secret\n\
         routes:\n  - {{name: graph, path: /graph, upstream: 'https://{GRAPH}'}}\n\
         trust:\n  ca_file: {folder}/ca.pem\nresolve:\n{resolve}",
    );
    std::fs::write(format!("{folder}/routes.yaml"), text)?;
    writeln!(std::io::stdout(), "ready")?;
    let ended =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    ended.await??;
    simulator.shutdown().await;
    Ok(())
}

fn measure(runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut child = start_upstream(folder.path())?;
    let text = std::fs::read_to_string(folder.path().join("routes.yaml"))?;
    let config = config::load(&Source::alone(&text))?.config;
    let app = runtime.block_on(App::start(config, AccessLog::off()))?;
    let address = *app.data_addresses().first().context("nothing listens")?;
    // The caller blocks, so it has a thread of its own while the runtime accepts and renews.
    let caller = std::thread::spawn(move || exchanges(address));
    runtime.block_on(async {
        while !caller.is_finished() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    let outcome = caller.join();
    app.stop();
    // Its standard input ends, and so does it.
    drop(child.stdin.take());
    child.wait()?;
    outcome.unwrap_or_else(|_| bail!("the caller panicked"))
}

fn start_upstream(folder: &Path) -> anyhow::Result<Child> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(UPSTREAM)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ready = [0; 6];
    let output = child
        .stdout
        .as_mut()
        .context("the upstream has no output")?;
    output
        .read_exact(&mut ready)
        .context("the upstream did not start")?;
    Ok(child)
}

fn exchanges(address: SocketAddr) -> anyhow::Result<()> {
    let mail = r#"{"message":{"subject":"Hello","body":{"contentType":"Text","content":"Hello"},"toRecipients":[{"emailAddress":{"address":"a@contoso.example"}}]}}"#;
    let post = format!(
        "POST /graph/v1.0/users/a@contoso.example/sendMail HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{mail}",
        mail.len()
    );
    let get = |path: &str| {
        format!(
            "GET /graph/v1.0/{path} HTTP/1.1\r\nHost: {address}\r\nAccept: application/json\r\nUser-Agent: bench/1.0\r\n\r\n"
        )
    };
    let work = [
        ("two users, a next link", get("users?$top=2")),
        ("all users", get("users")),
        ("an error of the upstream", get("nothing/here")),
        ("a mail sent", post),
    ];
    for (name, request) in work {
        let mut caller = Caller::new(address)?;
        let size = caller.repeat(request.as_bytes(), WARM_UP)?;
        let (cpu, start, region) = (worker_cpu()?, Instant::now(), Region::new(ALLOCATOR));
        caller.repeat(request.as_bytes(), EXCHANGES)?;
        let (spent, took) = (region.change(), start.elapsed());
        let each = |sum: f64| sum / f64::from(EXCHANGES);
        writeln!(
            std::io::stdout(),
            "{name:<26} {size:6} bytes answer {:8.1} µs {:8.1} µs CPU {:7.1} allocations {:6.1} reallocations {:8.0} bytes",
            each(took.as_secs_f64() * 1e6),
            each((worker_cpu()? - cpu) / 1e3),
            each(spent.allocations as f64),
            each(spent.reallocations as f64),
            each(spent.bytes_allocated as f64),
        )?;
    }
    Ok(())
}

/// Nanoseconds that the worker thread has run, from the scheduler's accounts; not a number where
/// the system keeps none.
fn worker_cpu() -> anyhow::Result<f64> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return Ok(f64::NAN);
    };
    for task in tasks {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.trim_end() == "worker-0" {
            let account = std::fs::read_to_string(task.join("schedstat"))?;
            return Ok(account
                .split(' ')
                .next()
                .context("an empty account")?
                .parse()?);
        }
    }
    Ok(f64::NAN)
}

/// A caller on one connection, which allocates nothing once it exists.
struct Caller {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Caller {
    fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            buffer: vec![0; 1 << 20],
        })
    }

    /// Makes that many exchanges, one after the other; the bytes of the last answer.
    fn repeat(&mut self, request: &[u8], times: u32) -> anyhow::Result<usize> {
        let mut size = 0;
        for _ in 0..times {
            self.socket.write_all(request)?;
            size = self.answer()?;
        }
        Ok(size)
    }

    /// Reads one answer to its end.
    fn answer(&mut self) -> anyhow::Result<usize> {
        let mut filled = 0;
        loop {
            let free = self.buffer.get_mut(filled..).unwrap_or_default();
            let read = self.socket.read(free)?;
            if read == 0 {
                bail!("the proxy closed the connection, or the answer is too large");
            }
            filled += read;
            if is_whole(self.buffer.get(..filled).unwrap_or_default()) {
                return Ok(filled);
            }
        }
    }
}

/// Whether this is a head and the body that it announces.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return false;
    };
    let (head, body) = bytes.split_at(end + 4);
    if memchr::memmem::find(head, b"transfer-encoding: chunked").is_some() {
        return body.ends_with(b"\r\n0\r\n\r\n") || body == b"0\r\n\r\n";
    }
    let length = memchr::memmem::find(head, b"content-length: ").map_or(0, |at| {
        let digits = head
            .iter()
            .skip(at + 16)
            .take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
    });
    body.len() >= length
}
