//! File columns: sent whole or in pieces, through an address that carries the session and needs the
//! token.

use http::{Method, StatusCode};

use super::answer::Answer;
use super::call::Call;
use super::dataverse::{error, link, missing};
use super::download::content_range;
use super::world::World;

/// Bytes in a piece, as the service proposes it.
const PIECE: &str = "4194304";
/// The session, encoded in lower case where others write upper.
const SESSION: &str = "FAKE%2bSESSION%3d";
/// The session as clients send it that write every encoding in upper case, which is the same
/// (RFC 3986 section 6.2.2.1): those on Python's urllib3.
const SESSION_OF_URLLIB3: &str = "FAKE%2BSESSION%3D";

/// Whether a path below the root leads to a file column.
pub(super) fn is_file(path: &str) -> bool {
    path.contains(")/") && path.ends_with("filecolumn")
}

/// Answers for file columns.
pub(super) fn answer(world: &World, call: &Call, path: &str) -> Answer {
    if call.method != Method::PATCH {
        return missing(call);
    }
    let session = call.raw_option("sessiontoken");
    let name = call
        .header("x-ms-file-name")
        .or_else(|| call.raw_option("x-ms-file-name"));
    if session.is_none() && name.is_none() {
        return error(400, "0x80090001", "x-ms-file-name is missing.");
    }
    if call.header("x-ms-transfer-mode") == Some("chunked") {
        let location = link(call, format_args!("{path}?sessiontoken={SESSION}"));
        return Answer::new(StatusCode::OK)
            .with("accept-ranges", "bytes")
            .with("location", &location)
            .with("x-ms-chunk-size", PIECE)
            .with("access-control-expose-headers", "x-ms-chunk-size");
    }
    match session {
        None => Answer::new(StatusCode::NO_CONTENT),
        Some(SESSION | SESSION_OF_URLLIB3) => piece(call),
        Some(_) => {
            world.offend(
                call,
                "an upload address that was not followed byte for byte",
            );
            error(400, "0x80090001", "The session token is not valid.")
        }
    }
}

fn piece(call: &Call) -> Answer {
    let Some((first, last, total)) = content_range(call) else {
        return error(400, "0x80090001", "Content-Range is missing.");
    };
    if last.checked_sub(first).map(|length| length + 1) != Some(call.body.length) || last >= total {
        return error(400, "0x80090001", "Content-Range and body differ.");
    }
    if last + 1 == total {
        Answer::new(StatusCode::NO_CONTENT)
    } else {
        Answer::new(StatusCode::PARTIAL_CONTENT)
    }
}
