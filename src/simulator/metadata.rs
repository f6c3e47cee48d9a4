//! Managed identity: the metadata services of a virtual machine, of App Service and of Azure Arc.
//! Each hands out the token it already has until that has expired; asking again forces nothing.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::directory::{self, CLIENT_ID};
use super::entra::lay_over;
use super::ident::{base64url, epoch, random};
use super::token::Grant;
use super::world::World;
use crate::clock::Now;
use crate::lock::locked;
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

/// Which of the services was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Platform {
    AppService,
    Arc,
    Machine,
}

impl Platform {
    fn of(call: &Call) -> Self {
        let version = call.option("api-version").unwrap_or_default();
        if call.path().eq_ignore_ascii_case(APP_SERVICE) {
            Self::AppService
        } else if ARC_VERSIONS.contains(&&*version) {
            Self::Arc
        } else {
            Self::Machine
        }
    }

    /// The query options that name an identity, each with the one that is assigned. Arc has the
    /// machine's own alone.
    fn selectors(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::AppService => &[
                ("client_id", CLIENT_ID),
                ("object_id", OBJECT_ID),
                ("mi_res_id", RESOURCE_ID),
            ],
            Self::Arc => &[],
            Self::Machine => &[
                ("client_id", CLIENT_ID),
                ("object_id", OBJECT_ID),
                ("msi_res_id", RESOURCE_ID),
            ],
        }
    }

    /// App Service refuses whatever is wrong with a request without a word why.
    fn refuse(self, error: &str, description: &str) -> Box<Answer> {
        let (status, document) = match self {
            Self::AppService => (
                StatusCode::INTERNAL_SERVER_ERROR,
                json!({"statusCode": 500, "message": "An unexpected error occurred."}),
            ),
            Self::Arc | Self::Machine => (
                StatusCode::BAD_REQUEST,
                json!({"error": error, "error_description": description}),
            ),
        };
        Box::new(Answer::json(status, "application/json", &document))
    }
}

/// Answers a request to one of the metadata services.
pub(super) fn answer(world: &World, call: &Call) -> Answer {
    let platform = Platform::of(call);
    let document = admit(world, call, platform).and_then(|()| token(world, call, platform));
    match document {
        Ok(document) => Answer::json(StatusCode::OK, "application/json", &document),
        Err(answer) => *answer,
    }
}

/// Checks the form of a request, and what its platform asks for.
fn admit(world: &World, call: &Call, platform: Platform) -> Result<(), Box<Answer>> {
    if call.method != Method::GET {
        return Err(bare(StatusCode::METHOD_NOT_ALLOWED));
    }
    if let Some(option) = unknown_option(call, platform) {
        // The real ones overlook it, and give another identity's token where it was to name one.
        world.offend(
            call,
            &format!("a metadata request with the unknown option {option}"),
        );
        return Err(platform.refuse("invalid_request", "Unknown option"));
    }
    match platform {
        Platform::AppService => app_service(world, call),
        Platform::Arc => arc(world, call),
        Platform::Machine => machine(world, call),
    }
}

fn unknown_option(call: &Call, platform: Platform) -> Option<&str> {
    let mut names = call
        .query()
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or_default());
    let selectors = platform.selectors();
    names.find(|name| {
        !["api-version", "resource"].contains(name) && !selectors.iter().any(|(own, _)| own == name)
    })
}

fn bare(status: StatusCode) -> Box<Answer> {
    Box::new(Answer::new(status))
}

/// The field by which a forwarded request is told from one of this machine.
fn marked(call: &Call, platform: Platform) -> Result<(), Box<Answer>> {
    if call.header("metadata") == Some("true") {
        return Ok(());
    }
    let text = "Required metadata header not specified";
    Err(platform.refuse("bad_request_102", text))
}

/// What the virtual machine's service asks for.
fn machine(world: &World, call: &Call) -> Result<(), Box<Answer>> {
    if call.headers.contains_key("x-forwarded-for") {
        world.offend(call, "a metadata request with a forwarding field");
        let text = "Forwarded requests are not served";
        return Err(Platform::Machine.refuse("bad_request", text));
    }
    marked(call, Platform::Machine)?;
    if call.option("api-version").as_deref() != Some("2018-02-01") {
        let text = "Required api-version is missing or unknown";
        return Err(Platform::Machine.refuse("bad_request_101", text));
    }
    Ok(())
}

/// What App Service asks for.
fn app_service(world: &World, call: &Call) -> Result<(), Box<Answer>> {
    if call.option("api-version").as_deref() != Some("2019-08-01") {
        return Err(Platform::AppService.refuse("", ""));
    }
    let shown = call.headers.get("x-identity-header");
    if shown.is_some_and(|shown| world.metadata.header.matches(shown.as_bytes())) {
        return Ok(());
    }
    Err(bare(StatusCode::UNAUTHORIZED))
}

/// What Arc asks for: proof that the client can read a file. What is in it is shown as it is, without
/// the encoding that `Basic` has elsewhere.
fn arc(world: &World, call: &Call) -> Result<(), Box<Answer>> {
    let arc = locked(&world.metadata.arc);
    let Some((path, key)) = arc.as_ref() else {
        return Err(bare(StatusCode::NOT_FOUND));
    };
    marked(call, Platform::Arc)?;
    let shown = call
        .header("authorization")
        .and_then(|value| value.strip_prefix("Basic "));
    if shown.is_some_and(|shown| key.matches(shown.as_bytes())) {
        return Ok(());
    }
    let challenge = format!("Basic realm={path}");
    let answer = Answer::new(StatusCode::UNAUTHORIZED);
    Err(Box::new(answer.with("www-authenticate", &challenge)))
}

/// The identity that a request asks for: the machine's own, or the assigned one by any of its names.
fn identity(call: &Call, platform: Platform) -> Result<&'static str, Box<Answer>> {
    let asked: Vec<_> = platform
        .selectors()
        .iter()
        .filter_map(|(name, own)| Some((call.option(name)?, *own)))
        .collect();
    match asked.as_slice() {
        [] => Ok("system"),
        [(value, own)] if value == own => Ok("user"),
        _ => Err(platform.refuse("invalid_request", "Identity not found")),
    }
}

/// The token document: text in every member.
fn token(world: &World, call: &Call, platform: Platform) -> Result<Value, Box<Answer>> {
    let identity = identity(call, platform)?;
    let resource = call.option("resource").unwrap_or_default().into_owned();
    if resource.ends_with("/.default") {
        world.offend(call, "a metadata request for a scope instead of a resource");
    }
    if !directory::is_resource(&resource) {
        return Err(platform.refuse("invalid_resource", "The resource is unknown"));
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
    if platform == Platform::AppService {
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
