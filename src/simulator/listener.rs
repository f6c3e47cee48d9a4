//! Sockets: accepting, the TLS handshake (or its spoiling), and one task for each connection, owned
//! by the listener that accepted it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::fault::Handshake;
use super::host;
use super::service::{Entrance, exchange};
use super::wire::{Ending, Link, Transport, Wire};
use super::world::World;
use crate::clock::{self, HyperTimer};

/// Pause after a failed accept, which as a rule means that descriptors have run out.
const BREATH: Duration = Duration::from_millis(10);
/// More than a proxy forwards (100 fields) with its own added.
const HEADERS: usize = 256;
/// Longest head: a 40 KiB target and 64 KiB of fields, with room to spare.
const HEAD_BYTES: u32 = 256 * 1024;

/// Accepts for ever. Dropping the future ends every connection.
pub(super) async fn serve(world: Arc<World>, listener: TcpListener, entrance: Entrance) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => {
                    connections.spawn(connection(Arc::clone(&world), tcp, entrance));
                }
                Err(_) => clock::sleep(BREATH).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(world: Arc<World>, tcp: TcpStream, entrance: Entrance) {
    // Small answers should not wait for an acknowledgement; without it they are only slower.
    drop(tcp.set_nodelay(true));
    match entrance {
        Entrance::Plain => {
            let link = world.link(host::METADATA.to_owned());
            if world.faults.handshake(host::METADATA) == Some(Handshake::Reset) {
                drop(tcp.set_zero_linger());
                return;
            }
            let wire = Wire::new(Transport::Plain(tcp), Arc::clone(&link));
            speak_http1(world, link, wire, entrance).await;
        }
        Entrance::Tls => {
            let Some((tls, name)) = handshake(&world, tcp).await else {
                return;
            };
            let speaks_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            let link = world.link(name);
            let wire = Wire::new(Transport::Tls(Box::new(tls)), Arc::clone(&link));
            if speaks_http2 {
                speak_http2(world, link, wire).await;
            } else {
                speak_http1(world, link, wire, entrance).await;
            }
        }
    }
}

/// Shakes hands, as the host that is asked for does it. Returns the name asked for as well.
async fn handshake(world: &World, tcp: TcpStream) -> Option<(TlsStream<TcpStream>, String)> {
    let acceptor = LazyConfigAcceptor::new(Acceptor::default(), tcp);
    let start = acceptor.await.ok()?;
    let name = start
        .client_hello()
        .server_name()
        .unwrap_or_default()
        .to_ascii_lowercase();
    // An address is never named in a handshake.
    let spoilt = world
        .faults
        .handshake(if name.is_empty() { "127.0.0.1" } else { &name });
    match spoilt {
        Some(Handshake::Reset) => {
            drop(start.io.set_zero_linger());
            return None;
        }
        Some(Handshake::Stall) => std::future::pending().await,
        Some(
            Handshake::Expired | Handshake::Unsettled | Handshake::Untrusted | Handshake::WrongName,
        )
        | None => {}
    }
    let config = world
        .chains
        .pick(spoilt, world.http2.load(Ordering::Relaxed));
    let tls = start.into_stream(config).await.ok()?;
    Some((tls, name))
}

async fn speak_http1(world: Arc<World>, link: Arc<Link>, wire: Wire, entrance: Entrance) {
    let service = {
        let (world, link) = (Arc::clone(&world), Arc::clone(&link));
        service_fn(move |request: Request<Incoming>| {
            exchange(Arc::clone(&world), Arc::clone(&link), entrance, request)
        })
    };
    let mut connection = http1::Builder::new()
        .timer(HyperTimer)
        // An idle connection stays until the client or a test ends it.
        .header_read_timeout(None)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(wire), service);
    loop {
        tokio::select! {
            biased;
            () = link.hung_up() => break,
            () = link.retired() => std::pin::Pin::new(&mut connection).graceful_shutdown(),
            ended = &mut connection => {
                if ended.is_err() {
                    link.end_by_default(Ending::Close);
                }
                break;
            }
        }
    }
    world.unlink(&link);
    connection.into_parts().io.into_inner().end().await;
}

async fn speak_http2(world: Arc<World>, link: Arc<Link>, wire: Wire) {
    let service = {
        let (world, link) = (Arc::clone(&world), Arc::clone(&link));
        service_fn(move |request: Request<Incoming>| {
            exchange(
                Arc::clone(&world),
                Arc::clone(&link),
                Entrance::Tls,
                request,
            )
        })
    };
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(HyperTimer).max_header_list_size(HEAD_BYTES);
    let connection = builder.serve_connection(TokioIo::new(wire), service);
    let mut connection = std::pin::pin!(connection);
    loop {
        tokio::select! {
            biased;
            () = link.hung_up() => break,
            () = link.retired() => connection.as_mut().graceful_shutdown(),
            _ = connection.as_mut() => break,
        }
    }
    world.unlink(&link);
}
