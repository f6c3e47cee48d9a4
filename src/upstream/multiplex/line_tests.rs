//! In which order those who wait get a place.

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Waker};

use super::super::{Egress, Upstream, UpstreamSpec};
use super::tests::{LIMIT, Silent};
use super::*;
use crate::config::{HostName, Origin, UpstreamHttp, UpstreamTimeouts};
use crate::forward_proxy::ForwardProxy;
use crate::policy::response_header::Unread;

/// One that speaks HTTP/2 on one connection.
fn narrow() -> Upstream {
    let spec = UpstreamSpec {
        origin: Origin {
            secure: true,
            host: HostName::parse("graph.microsoft.com").unwrap(),
            port: 443,
        },
        http: UpstreamHttp::Http2,
        timeouts: UpstreamTimeouts {
            connect: LIMIT,
            response_head: LIMIT,
            response_body_idle: LIMIT,
        },
        connections: 1,
        unread: Unread::default(),
    };
    let trust = crate::trust::load(None).unwrap();
    let egress = Egress::new(trust, BTreeMap::new(), ForwardProxy::none());
    let clock = AlarmClock::new(LIMIT);
    Upstream::new(spec, egress, clock, Box::new(|_, _| {}))
}

#[tokio::test(flavor = "local")]
async fn who_looks_without_being_told_leaves_a_place_to_who_came_before() {
    let upstream = narrow();
    let mut peer = Silent::with_one(&upstream.multiplex).await;
    peer.settle(&upstream.multiplex, 1).await;
    let held = upstream.ready(false).unwrap();
    let cx = &mut Context::from_waker(Waker::noop());
    let mut first = pin!(upstream.acquire(false));
    let mut second = pin!(upstream.acquire(false));
    assert!(first.as_mut().poll(cx).is_pending());
    assert!(second.as_mut().poll(cx).is_pending());
    // The patience of both has an end, and what comes free then is for the first.
    tokio::time::sleep(PATIENCE).await;
    drop(held);
    assert!(second.as_mut().poll(cx).is_pending());
    drop(first.await.expect("it has the place"));
    second.await.expect("it has the place after that");
}
