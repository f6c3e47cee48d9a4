//! What one exchange of a small proxy costs on one runtime for each thread, whose connections stay where
//! they are, and on one that lets idle threads take tasks from busy ones. The code is the same, and so
//! are the callers and the upstream, which are processes of their own; only CPU time of the proxy counts,
//! so that it does not matter that all share the machine's cores.
//!
//!     cargo run --release --locked --manifest-path benches/runtimes/Cargo.toml

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener as Listener, TcpStream as Socket};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1::Builder as Server;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

const THREADS: usize = 2;
const ROUNDS: usize = 5;
/// Of one measurement: about a second of CPU time.
const EXCHANGES: usize = 20_000;
/// Before it, so that pools and caches are as they stay.
const WARM_UP: usize = 2_000;
const REQUEST: &[u8] = b"GET /v1.0/users HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => compare(),
        ["upstream"] => alone()?.block_on(upstream()),
        ["callers", address, connections, count] => alone()?.block_on(callers(
            address.parse()?,
            connections.parse()?,
            count.parse()?,
        )),
        _ => bail!("usage: runtimes"),
    }
}

fn compare() -> Result<()> {
    let program = std::env::current_exe()?;
    let mut child = Command::new(&program)
        .arg("upstream")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    let upstream: SocketAddr = line.trim().parse()?;
    let outcome = rounds(upstream);
    child.kill()?;
    child.wait()?;
    outcome
}

fn rounds(upstream: SocketAddr) -> Result<()> {
    for connections in [1_usize, 4, 64] {
        let (mut own, mut stealing) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            own.push(measure(upstream, connections, own_runtimes)?);
            stealing.push(measure(upstream, connections, work_stealing)?);
        }
        let (own, stealing) = (median(own), median(stealing));
        println!(
            "{connections:>3} connections: {own:.1} us of CPU on runtimes of one thread, {stealing:.1} on one that steals ({:.2})",
            stealing / own
        );
    }
    Ok(())
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Microseconds of CPU time for each exchange.
fn measure(
    upstream: SocketAddr,
    connections: usize,
    proxy: fn(Listener, SocketAddr) -> Result<()>,
) -> Result<f64> {
    let listener = Listener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    proxy(listener, upstream)?;
    let run = |count: usize| -> Result<()> {
        let mut callers = Command::new(std::env::current_exe()?);
        callers.args(["callers", &address.to_string()]);
        callers.args([connections.to_string(), count.to_string()]);
        let status = callers.status()?;
        status.success().then_some(()).context("a caller failed")
    };
    run(WARM_UP)?;
    let before = cpu();
    run(EXCHANGES)?;
    let spent = cpu().saturating_sub(before);
    Ok(spent.as_secs_f64() * 1e6 / EXCHANGES as f64)
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn alone() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_io().build()?)
}

/// A thread for each runtime; connections are dealt out in turn, and each thread has a pool.
fn own_runtimes(listener: Listener, upstream: SocketAddr) -> Result<()> {
    let mut inboxes = Vec::new();
    for _ in 0..THREADS {
        let (orders, mut inbox) = mpsc::unbounded_channel::<Socket>();
        inboxes.push(orders);
        let runtime = alone()?;
        std::thread::spawn(move || {
            runtime.block_on(async {
                let pool = Pool::default();
                while let Some(socket) = inbox.recv().await {
                    serve(socket, upstream, pool.clone());
                }
            });
        });
    }
    std::thread::spawn(move || {
        for (socket, orders) in listener.incoming().zip(inboxes.iter().cycle()) {
            let _ = socket.map(|socket| orders.send(socket));
        }
    });
    Ok(())
}

/// One runtime with as many threads, and one pool.
fn work_stealing(listener: Listener, upstream: SocketAddr) -> Result<()> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_io()
        .build()?;
    let pool = Pool::default();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let _inside = runtime.enter();
            serve(socket, upstream, pool.clone());
        }
    });
    Ok(())
}

/// Connections to the upstream that rest.
type Pool = Arc<Mutex<Vec<SendRequest<Incoming>>>>;

fn serve(socket: Socket, upstream: SocketAddr, pool: Pool) {
    let serving = async move {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let socket = TokioIo::new(TcpStream::from_std(socket)?);
        let service = service_fn(|request| forward(request, upstream, &pool));
        anyhow::Ok(Server::new().serve_connection(socket, service).await?)
    };
    tokio::spawn(serving);
}

async fn forward(
    request: Request<Incoming>,
    upstream: SocketAddr,
    pool: &Pool,
) -> Result<Response<Full<Bytes>>> {
    let rests = pool.lock().expect("nothing panics with it").pop();
    let mut sender = match rests {
        Some(sender) => sender,
        None => dial(upstream).await?,
    };
    sender.ready().await?;
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    pool.lock().expect("nothing panics with it").push(sender);
    Ok(Response::from_parts(parts, Full::new(body)))
}

async fn dial(upstream: SocketAddr) -> Result<SendRequest<Incoming>> {
    let socket = TcpStream::connect(upstream).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Answers everything with 1 KB.
async fn upstream() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let answer =
            |_| async { anyhow::Ok(Response::new(Full::new(Bytes::from_static(&[b'x'; 1024])))) };
        tokio::spawn(Server::new().serve_connection(TokioIo::new(socket), service_fn(answer)));
    }
}

/// All exchanges, over so many connections at once.
async fn callers(address: SocketAddr, connections: usize, count: usize) -> Result<()> {
    let each = count / connections;
    let all: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(exchanges(address, each)))
        .collect();
    for one in all {
        one.await??;
    }
    Ok(())
}

async fn exchanges(address: SocketAddr, count: usize) -> Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let mut answer = vec![0; 4096];
    for _ in 0..count {
        socket.write_all(REQUEST).await?;
        let mut length = 0;
        loop {
            let read = socket.read(&mut answer[length..]).await?;
            length += read;
            let head = answer[..length]
                .windows(4)
                .position(|end| end == b"\r\n\r\n");
            if read == 0 {
                bail!("the proxy closed");
            }
            if head.is_some_and(|head| length >= head + 4 + 1024) {
                break;
            }
        }
    }
    Ok(())
}
