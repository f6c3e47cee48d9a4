//! `/sim/…`: answers that exist for tests and benchmarks only, on every API host and with a token
//! like the rest. Sizes, statuses, pauses and framings are asked for in the address.
//!
//! | target | answers |
//! | --- | --- |
//! | `bytes/{n}` | `n` bytes; `?chunked=1` without a length |
//! | `echo` | what was received, as JSON |
//! | `sink` | length and SHA-256 of the body, whatever its size |
//! | `mirror` | the body, as it comes |
//! | `page/{kb}`, `gzip-page/{kb}` | a page of users of about that size, the second always compressed |
//! | `slow?head_ms=&body_ms=` | after a pause, with a pause in the middle |
//! | `status/{code}` | that status, with an error document |
//! | `trailers` | chunks and two trailer fields |
//! | `feed/{name}` | what a test sends through its [`Feed`]; `?type=` for another media type |

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::answer::Answer;
use super::call::Call;
use super::flow::{Broken, Drip, Fed, Piece, Repeat, Unmeasured};
use super::ident::hex;
use super::world::World;
use super::{graph, gzip, user};
use crate::lock::locked;

/// What is sent over and over by `bytes`: as large as a TLS record, several times.
const PIECE: usize = 64 * 1024;
/// The largest page, in KiB.
const PAGE_MOST: usize = 16 * 1024;
/// How long a test waits for its piece to be taken; a slow machine needs less.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pages kept ready.
const PAGES: usize = 64;

/// What the probes remember.
#[derive(Default)]
pub(super) struct Probe {
    feeds: Mutex<HashMap<String, mpsc::Receiver<Piece>>>,
    pages: Mutex<HashMap<(String, usize, bool), Bytes>>,
    piece: Mutex<Option<Bytes>>,
}

/// A body that a test sends piece by piece. Dropping it ends the body.
pub struct Feed(mpsc::Sender<Piece>);

impl Feed {
    /// Sends a piece; false when the other side is gone, or has not taken the piece before this one
    /// within 20 s.
    pub async fn send(&self, piece: impl Into<Bytes>) -> bool {
        let piece = Ok(Frame::data(piece.into()));
        self.0.send_timeout(piece, PATIENCE).await.is_ok()
    }

    /// Breaks the body off; gives up when the piece before it has not been taken within 20 s.
    pub async fn break_off(self) {
        // When nobody listens any more, the body is broken off already.
        drop(self.0.send_timeout(Err(Broken::Here), PATIENCE).await);
    }

    /// Waits until nobody listens any more.
    pub async fn abandoned(&self) {
        self.0.closed().await;
    }
}

impl Probe {
    /// A feed for `/sim/feed/{name}`, for the next request there.
    pub(super) fn feed(&self, name: &str) -> Feed {
        let (sender, receiver) = mpsc::channel(1);
        locked(&self.feeds).insert(name.to_owned(), receiver);
        Feed(sender)
    }

    fn piece(&self) -> Bytes {
        locked(&self.piece)
            .get_or_insert_with(|| Bytes::from(vec![b'x'; PIECE]))
            .clone()
    }

    fn page(&self, origin: &str, kb: usize, packed: bool) -> Bytes {
        let key = (origin.to_owned(), kb, packed);
        if let Some(page) = locked(&self.pages).get(&key) {
            return page.clone();
        }
        let page = page(origin, kb * 1024);
        let page = if packed {
            gzip::packed(&page).unwrap_or_default()
        } else {
            page
        };
        let mut pages = locked(&self.pages);
        if pages.len() == PAGES {
            pages.clear();
        }
        pages.insert(key, page.clone());
        page
    }
}

/// Answers `/sim/{rest}`.
pub(super) fn answer(world: &World, call: &Call, rest: &str) -> Answer {
    let (name, argument) = rest.split_once('/').unwrap_or((rest, ""));
    match name {
        "bytes" => bytes(world, call, argument.parse().unwrap_or(0)),
        "echo" => echo(call),
        "sink" => {
            let sha256 = call.body.sha256.map(|hash| hex(&hash));
            let document = json!({"length": call.body.length, "sha256": sha256});
            Answer::json(StatusCode::OK, "application/json", &document)
        }
        "mirror" => Answer::new(StatusCode::OK).with("content-type", "application/octet-stream"),
        "page" => ready_page(world, call, argument, gzip::is_welcome(&call.headers)),
        "gzip-page" => ready_page(world, call, argument, true),
        "slow" => slow(call),
        "status" => {
            let status = argument.parse().unwrap_or(400);
            graph::error(
                call,
                status,
                "SimulatedStatus",
                "This status was asked for.",
            )
        }
        "trailers" => trailers(),
        "feed" => feed(world, call, argument),
        _ => Answer::new(StatusCode::NOT_FOUND),
    }
}

fn bytes(world: &World, call: &Call, length: u64) -> Answer {
    let repeat = Repeat {
        piece: world.probe.piece(),
        left: length,
    };
    let flow = if call.raw_option("chunked") == Some("1") {
        Unmeasured::new(repeat).boxed_unsync()
    } else {
        repeat.boxed_unsync()
    };
    Answer::new(StatusCode::OK)
        .with("content-type", "application/octet-stream")
        .flowing(flow)
}

fn echo(call: &Call) -> Answer {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut headers = Map::new();
    for (name, value) in &call.headers {
        let values = headers.entry(name.as_str()).or_insert_with(|| json!([]));
        if let (Some(values), true) = (values.as_array_mut(), name != "authorization") {
            values.push(json!(text(value.as_bytes())));
        }
    }
    let document = json!({
        "method": call.method.as_str(),
        "authority": call.authority,
        "target": call.target,
        "headers": headers,
        "body": call.body.bytes.as_deref().map(text),
        "length": call.body.length,
    });
    Answer::json(StatusCode::OK, "application/json", &document)
}

fn ready_page(world: &World, call: &Call, size: &str, packed: bool) -> Answer {
    let kb = size.parse().unwrap_or(1).clamp(1, PAGE_MOST);
    let page = world.probe.page(&call.origin(), kb, packed);
    let answer = Answer::content(StatusCode::OK, graph::JSON, page);
    if packed {
        answer.with("content-encoding", "gzip")
    } else {
        answer
    }
}

/// A page of users of at least this many bytes, with links where Graph has them.
fn page(origin: &str, size: usize) -> Bytes {
    let root = format!("{origin}/v1.0");
    let mut page = json!({
        "@odata.context": format!("{root}/$metadata#users"),
        "@odata.nextLink": format!("{root}/users?$top=999&$skiptoken=RFNwdAIAAQAAABpG%2523%7B1%7d"),
        "value": [],
    });
    let mut users: Vec<Value> = Vec::new();
    let mut length = page.to_string().len();
    while length < size {
        let id = user::id(users.len());
        let mut one = json!({
            "id": id,
            "displayName": format!("Adele Vance {}", users.len()),
            "mail": format!("adele{}@contoso-fake.example", users.len()),
            "jobTitle": "Retail Manager",
            "officeLocation": "18/2111",
            "businessPhones": ["+1 425 555 0109"],
        });
        if users.len() % 16 == 15 {
            one["manager@odata.context"] =
                json!(format!("{root}/$metadata#directoryObjects/$entity"));
            one["directReports@odata.nextLink"] = json!(format!(
                "{root}/users/{id}/directReports?$skiptoken=RFNwdA%2523"
            ));
        }
        length += one.to_string().len() + 1;
        users.push(one);
    }
    page["value"] = Value::Array(users);
    Bytes::from(page.to_string())
}

fn slow(call: &Call) -> Answer {
    let pause = |name| Duration::from_millis(call.number_option(name).unwrap_or(0));
    let body = Full::new(Bytes::from_static(b"{\"first\":1,\"second\":2}"));
    let body = body.map_err(|never| match never {}).boxed_unsync();
    // Two pieces, the pause between them.
    let drip = Drip::new(body, 11, pause("body_ms"));
    let mut answer = Answer::new(StatusCode::OK)
        .with("content-type", "application/json")
        .flowing(drip.boxed_unsync());
    answer.delay = pause("head_ms");
    answer
}

fn trailers() -> Answer {
    let mut fields = HeaderMap::new();
    fields.insert("x-sim-checksum", http::HeaderValue::from_static("abc"));
    fields.insert("x-sim-rows", http::HeaderValue::from_static("2"));
    let (sender, receiver) = mpsc::channel(3);
    for frame in [
        Frame::data(Bytes::from_static(b"one\n")),
        Frame::data(Bytes::from_static(b"two\n")),
        Frame::trailers(fields),
    ] {
        // The channel has room for all three.
        drop(sender.try_send(Ok(frame)));
    }
    Answer::new(StatusCode::OK)
        .with("content-type", "text/plain")
        .with("trailer", "x-sim-checksum, x-sim-rows")
        .flowing(Fed(receiver).boxed_unsync())
}

fn feed(world: &World, call: &Call, name: &str) -> Answer {
    let Some(receiver) = locked(&world.probe.feeds).remove(name) else {
        return Answer::new(StatusCode::NOT_FOUND);
    };
    let media_type = call.option("type");
    Answer::new(StatusCode::OK)
        .with(
            "content-type",
            media_type.as_deref().unwrap_or("text/event-stream"),
        )
        .flowing(Fed(receiver).boxed_unsync())
}
