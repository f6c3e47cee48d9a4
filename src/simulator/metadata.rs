//! Managed identity: the metadata services of a virtual machine, of App Service and of Azure Arc.
//! Each hands out the token it already has until that has expired; asking again forces nothing.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::directory::{self, CLIENT_ID};
use super::entra::lay_over;
use super::ident::{base64url, epoch, random};
use super::locked;
use super::token::Grant;
use super::world::World;
use crate::clock::Now;
use crate::secret::Secret;

/// The object id of the user-assigned identity; its client id is the app's.
pub const OBJECT_ID: &str = "aaaaaaaa-1111-4bbb-8ccc-000000000002";
/// The resource id of the user-assigned identity.
pub const RESOURCE_ID: &str = "/subscriptions/aaaaaaaa-1111-4bbb-8ccc-000000000003/resourceGroups/tools/providers/Microsoft.ManagedIdentity/userAssignedIdentities/tokenferry";
/// Begins what App Service and Arc ask for, so that a leak is found by searching for it.
pub const IDENTITY_CANARY: &str = "CANARY-IDENTITY-";

/// Where the virtual machine and Arc have it.
const MACHINE: &str = "/metadata/identity/oauth2/token";
/// Where App Service has it.
const APP_SERVICE: &str = "/msi/token";
/// The versions of Arc's protocol; it shares its path with the virtual machine's.
const ARC_VERSIONS: &[&str] = &["2019-11-01", "2020-06-01"];

/// What the metadata services remember.
pub(super) struct Metadata {
    pub(super) calls: AtomicU64,
    /// What `X-IDENTITY-HEADER` has to be.
    pub(super) header: Secret,
    /// Arc's key file and what is in it.
    arc: Mutex<Option<(String, Secret)>>,
    /// The token handed out last, by resource and identity.
    current: Mutex<HashMap<(String, String), String>>,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            calls: AtomicU64::new(0),
            header: canary(),
            arc: Mutex::default(),
            current: Mutex::default(),
        }
    }
}

fn canary() -> Secret {
    Secret::new(format!("{IDENTITY_CANARY}{}", base64url(random::<18>())).into_bytes())
}

impl Metadata {
    /// Names the key file that Arc's challenge points at; returns what has to be in it.
    pub(super) fn arc_key(&self, path: &str) -> Secret {
        let key = canary();
        *locked(&self.arc) = Some((path.to_owned(), key.clone()));
        key
    }
}

/// Whether a path is one of the metadata services'.
pub(super) fn serves(path: &str) -> bool {
    [MACHINE, APP_SERVICE]
        .iter()
        .any(|own| own.eq_ignore_ascii_case(path))
}

/// Answers a request to one of the metadata services.
pub(super) fn answer(world: &World, call: &Call) -> Answer {
    let kind = call.path().to_ascii_lowercase();
    let version = call.option("api-version").unwrap_or_default();
    let allowed = if kind == APP_SERVICE {
        app_service(world, call, &version)
    } else if ARC_VERSIONS.contains(&&*version) {
        arc(world, call)
    } else {
        machine(world, call, &version)
    };
    match allowed.and_then(|()| token(world, call, kind == APP_SERVICE)) {
        Ok(document) => Answer::json(StatusCode::OK, "application/json", &document),
        Err(answer) => *answer,
    }
}

fn refuse(error: &str, description: &str) -> Box<Answer> {
    let document = json!({"error": error, "error_description": description});
    Box::new(Answer::json(
        StatusCode::BAD_REQUEST,
        "application/json",
        &document,
    ))
}

/// How App Service refuses whatever is wrong with a request: without a word why.
fn unexpected() -> Box<Answer> {
    let document = json!({"statusCode": 500, "message": "An unexpected error occurred."});
    Box::new(Answer::json(
        StatusCode::INTERNAL_SERVER_ERROR,
        "application/json",
        &document,
    ))
}

fn bare(status: StatusCode) -> Box<Answer> {
    Box::new(Answer::new(status))
}

/// What the virtual machine's service asks for.
fn machine(world: &World, call: &Call, version: &str) -> Result<(), Box<Answer>> {
    if call.method != Method::GET {
        return Err(bare(StatusCode::METHOD_NOT_ALLOWED));
    }
    if call.headers.contains_key("x-forwarded-for") {
        world.offend(call, "a metadata request with a forwarding field");
        return Err(refuse("bad_request", "Forwarded requests are not served"));
    }
    if call.header("metadata") != Some("true") {
        return Err(refuse(
            "bad_request_102",
            "Required metadata header not specified",
        ));
    }
    if version != "2018-02-01" {
        return Err(refuse(
            "bad_request_101",
            "Required api-version is missing or unknown",
        ));
    }
    Ok(())
}

/// What App Service asks for.
fn app_service(world: &World, call: &Call, version: &str) -> Result<(), Box<Answer>> {
    let shown = call
        .headers
        .get("x-identity-header")
        .map(|value| value.as_bytes());
    if version != "2019-08-01" || call.method != Method::GET {
        return Err(unexpected());
    }
    if shown.is_some_and(|shown| world.metadata.header.matches(shown)) {
        return Ok(());
    }
    Err(bare(StatusCode::UNAUTHORIZED))
}

/// What Arc asks for: proof that the client can read a file.
fn arc(world: &World, call: &Call) -> Result<(), Box<Answer>> {
    let arc = locked(&world.metadata.arc);
    let Some((path, key)) = arc.as_ref() else {
        return Err(bare(StatusCode::NOT_FOUND));
    };
    if call.header("metadata") != Some("true") {
        return Err(refuse(
            "bad_request_102",
            "Required metadata header not specified",
        ));
    }
    let shown = call
        .header("authorization")
        .and_then(|value| value.strip_prefix("Basic "));
    let is_key = |shown: &str| {
        let decoded = STANDARD.decode(shown).unwrap_or_default();
        key.matches(shown.as_bytes()) || key.matches(&decoded)
    };
    if shown.is_some_and(is_key) {
        return Ok(());
    }
    let challenge = format!("Basic realm={path}");
    let answer = Answer::new(StatusCode::UNAUTHORIZED);
    Err(Box::new(answer.with("www-authenticate", &challenge)))
}

/// The identity that a request asks for: the machine's own, or the assigned one by any of its names.
fn identity(call: &Call, app_service: bool) -> Result<&'static str, Box<Answer>> {
    let resource_id = if app_service {
        "mi_res_id"
    } else {
        "msi_res_id"
    };
    let names = [
        ("client_id", CLIENT_ID),
        ("object_id", OBJECT_ID),
        (resource_id, RESOURCE_ID),
    ];
    let asked: Vec<_> = names
        .iter()
        .filter_map(|(name, own)| Some((call.option(name)?, *own)))
        .collect();
    match asked.as_slice() {
        [] => Ok("system"),
        [(value, own)] if value == own => Ok("user"),
        _ if app_service => Err(unexpected()),
        _ => Err(refuse("invalid_request", "Identity not found")),
    }
}

/// The token document: text in every member.
fn token(world: &World, call: &Call, app_service: bool) -> Result<Value, Box<Answer>> {
    let identity = identity(call, app_service)?;
    let resource = call.option("resource").unwrap_or_default().into_owned();
    if resource.ends_with("/.default") {
        world.offend(call, "a metadata request for a scope instead of a resource");
    }
    if !directory::is_resource(&resource) {
        return Err(if app_service {
            unexpected()
        } else {
            refuse("invalid_resource", "The resource is unknown")
        });
    }
    let now = Now::read();
    let (text, left) = hand_out(world, &resource, identity, now);
    let expires = epoch(now.wall + left);
    let mut document = json!({
        "access_token": text,
        "expires_on": expires.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    if app_service {
        document["client_id"] = json!(CLIENT_ID);
    } else {
        document["refresh_token"] = json!("");
        document["expires_in"] = json!(left.as_secs().to_string());
        document["not_before"] = json!(epoch(now.wall).to_string());
    }
    lay_over(&mut document, &world.entra.issuance().patch);
    Ok(document)
}

/// The token at hand, or a new one.
fn hand_out(world: &World, resource: &str, identity: &str, now: Now) -> (String, Duration) {
    let mut current = locked(&world.metadata.current);
    let key = (resource.to_owned(), identity.to_owned());
    if let Some(text) = current.get(&key)
        && let Some(left) = world.tokens.remaining(text, now)
    {
        return (text.clone(), left);
    }
    let issuance = world.entra.issuance();
    let lifetime = issuance.lifetime;
    let grant = Grant {
        audience: resource.to_owned(),
        lifetime,
        roles: issuance.roles,
        claims: None,
    };
    let text = world.tokens.issue(grant, now);
    current.insert(key, text.clone());
    (text, lifetime)
}
