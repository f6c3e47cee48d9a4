//! The token endpoint, version 2.0, for client credentials. It takes exactly the form that the
//! documentation asks for, verifies every proof for real and refuses with the codes of the real one.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::aadsts::{JSON, dressed, refuse};
use super::answer::Answer;
use super::assertion;
use super::call::Call;
use super::directory::{self, CLIENT_ID, SecretState};
use super::token::Grant;
use super::world::World;
use crate::clock::Now;
use crate::guid;
use crate::lock::locked;

/// What `client_assertion_type` has to be.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What a client may send, each at most once.
const FIELDS: &[&str] = &[
    "claims",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_info",
    "client_secret",
    "grant_type",
    "scope",
];

/// How tokens are issued from now on.
#[derive(Clone)]
pub(super) struct Issuance {
    pub(super) lifetime: Duration,
    pub(super) refresh_in: Option<Duration>,
    pub(super) roles: Vec<String>,
    /// Laid over the success document, member by member; `null` takes a member away.
    pub(super) patch: Value,
}

impl Default for Issuance {
    fn default() -> Self {
        let roles = [
            "User.ReadWrite.All",
            "Group.ReadWrite.All",
            "Directory.Read.All",
            "Files.ReadWrite.All",
            "Sites.Read.All",
            "Mail.Send",
            "Mail.Read",
            "Calendars.Read",
            "Reports.Read.All",
            "Team.Create",
            "OnlineMeetings.Read.All",
            "AuditLog.Read.All",
        ];
        Self {
            // A second less than an hour is what Entra gives most often.
            lifetime: Duration::from_secs(3599),
            refresh_in: None,
            roles: roles.map(str::to_owned).to_vec(),
            patch: Value::Null,
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Entra {
    issuance: Mutex<Issuance>,
}

impl Entra {
    pub(super) fn issuance(&self) -> Issuance {
        locked(&self.issuance).clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Issuance)) {
        change(&mut locked(&self.issuance));
    }
}

/// A refusal: the code, and the thing at fault.
type Fault = (u32, String);

/// Answers a request to the identity service.
pub(super) fn answer(world: &World, call: &Call) -> Answer {
    if let Some(tenant) = call.path().strip_suffix(METADATA) {
        return metadata(call, tenant);
    }
    let correlation = call
        .header("client-request-id")
        .map_or_else(guid::fresh, str::to_owned);
    let answer = match grant(world, call) {
        Ok(grant) => success(world, grant),
        Err((code, about)) => refuse(code, &about, &correlation),
    };
    if call.header("return-client-request-id") == Some("true") {
        answer.with("client-request-id", &correlation)
    } else {
        answer
    }
}

/// Where an authority describes itself (OpenID Connect Discovery 1.0, section 4).
const METADATA: &str = "/v2.0/.well-known/openid-configuration";

/// What Microsoft's own libraries look up before their first token call.
fn metadata(call: &Call, tenant: &str) -> Answer {
    if let Err((code, about)) = judge_tenant(tenant.strip_prefix('/').unwrap_or_default()) {
        return refuse(code, &about, &guid::fresh());
    }
    let at = format!("{}{tenant}", call.origin());
    let document = json!({
        "authorization_endpoint": format!("{at}/oauth2/v2.0/authorize"),
        "issuer": format!("{at}/v2.0"),
        "token_endpoint": format!("{at}/oauth2/v2.0/token"),
    });
    Answer::json(StatusCode::OK, JSON, &document)
}

fn grant(world: &World, call: &Call) -> Result<Grant, Fault> {
    judge_tenant(conduct(world, call)?)?;
    let form = form(world, call)?;
    if required(&form, "grant_type")? != "client_credentials" {
        return Err((70003, form["grant_type"].clone()));
    }
    let client = required(&form, "client_id")?;
    if client != CLIENT_ID {
        return Err((700_016, client.to_owned()));
    }
    let audience = resource(required(&form, "scope")?)?;
    prove(world, call, &form)?;
    if !directory::is_resource(&audience) {
        return Err((500_011, audience));
    }
    let claims = form.get("claims").map(|text| serde_json::from_str(text));
    let claims = claims
        .transpose()
        .map_err(|_| (90014, "claims".to_owned()))?;
    let issuance = world.entra.issuance();
    Ok(Grant {
        audience,
        lifetime: issuance.lifetime,
        roles: issuance.roles,
        claims: claims.map(Value::Object),
    })
}

/// What must be so before anything is read; gives the tenant.
fn conduct<'a>(world: &World, call: &'a Call) -> Result<&'a str, Fault> {
    if call.method != Method::POST {
        world.offend(call, "a token request that is not a POST");
        return Err((900_561, call.method.to_string()));
    }
    let Some(tenant) = tenant(call) else {
        world.offend(
            call,
            "a token request to another address than the endpoint's",
        );
        return Err((90014, "address".to_owned()));
    };
    if call.media_type().as_deref() != Some("application/x-www-form-urlencoded") {
        world.offend(call, "a token request that is not a form");
        return Err((900_144, "grant_type".to_owned()));
    }
    if call.headers.contains_key("authorization") {
        world.offend(call, "a token request with an Authorization field");
        return Err((90014, "authorization".to_owned()));
    }
    Ok(tenant)
}

/// The tenant of `/TENANT/oauth2/v2.0/token`. A slash more, as between an authority that ends in one
/// and the tenant, leads elsewhere.
fn tenant(call: &Call) -> Option<&str> {
    let (tenant, rest) = call.target.strip_prefix('/')?.split_once('/')?;
    (rest == "oauth2/v2.0/token").then_some(tenant)
}

fn judge_tenant(tenant: &str) -> Result<(), Fault> {
    let looks_right = tenant.contains('.') || tenant.len() == 36;
    match tenant {
        "common" | "consumers" | "organizations" => Err((50194, tenant.to_owned())),
        tenant if directory::is_tenant(tenant) => Ok(()),
        tenant if looks_right => Err((90002, tenant.to_owned())),
        tenant => Err((900_023, tenant.to_owned())),
    }
}

fn form(world: &World, call: &Call) -> Result<HashMap<String, String>, Fault> {
    let body = call.body.bytes.as_deref().unwrap_or_default();
    let mut fields = HashMap::new();
    for (name, value) in url::form_urlencoded::parse(body) {
        if !FIELDS.contains(&&*name) {
            world.offend(
                call,
                &format!("a token request with the unknown field {name}"),
            );
            return Err((90014, name.into_owned()));
        }
        if fields
            .insert(name.to_string(), value.into_owned())
            .is_some()
        {
            world.offend(call, &format!("a token request with {name} twice"));
            return Err((90014, name.into_owned()));
        }
    }
    Ok(fields)
}

fn required<'a>(form: &'a HashMap<String, String>, name: &str) -> Result<&'a str, Fault> {
    match form.get(name) {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err((900_144, name.to_owned())),
    }
}

/// The resource that a scope stands for.
fn resource(scope: &str) -> Result<String, Fault> {
    if scope.split_ascii_whitespace().count() > 1 {
        return Err((28003, scope.to_owned()));
    }
    let Some(resource) = scope.strip_suffix("/.default") else {
        return Err((1_002_012, scope.to_owned()));
    };
    if !resource.contains("://") {
        return Err((70011, scope.to_owned()));
    }
    Ok(resource.to_owned())
}

/// Checks the proof of the client's identity.
fn prove(world: &World, call: &Call, form: &HashMap<String, String>) -> Result<(), Fault> {
    let secret = form.get("client_secret");
    let assertion = form.get("client_assertion");
    if secret.is_some() && (assertion.is_some() || form.contains_key("client_assertion_type")) {
        world.offend(call, "a token request with two proofs");
        return Err((90014, "client_secret".to_owned()));
    }
    if let Some(secret) = secret {
        return match world.directory.secret_state(secret.as_bytes()) {
            SecretState::Valid => Ok(()),
            SecretState::Expired => Err((7_000_222, CLIENT_ID.to_owned())),
            SecretState::Unknown => Err((7_000_215, CLIENT_ID.to_owned())),
        };
    }
    let Some(assertion) = assertion else {
        return Err((7_000_216, CLIENT_ID.to_owned()));
    };
    if required(form, "client_assertion_type")? != JWT_BEARER {
        return Err((90014, "client_assertion_type".to_owned()));
    }
    let endpoint = format!("{}{}", call.origin(), call.path());
    assertion::verify(world, call, assertion, &endpoint, Now::read())
}

fn success(world: &World, grant: Grant) -> Answer {
    let issuance = world.entra.issuance();
    let seconds = grant.lifetime.as_secs();
    let token = world.tokens.issue(grant, Now::read());
    let mut document = json!({
        "token_type": "Bearer",
        "expires_in": seconds,
        "ext_expires_in": seconds,
        "access_token": token,
    });
    if let Some(refresh_in) = issuance.refresh_in {
        document["refresh_in"] = json!(refresh_in.as_secs());
    }
    lay_over(&mut document, &issuance.patch);
    dressed(
        Answer::json(StatusCode::OK, JSON, &document),
        &guid::fresh(),
    )
}

/// Lays the members of one object over another; `null` takes a member away (RFC 7396, one level).
pub(super) fn lay_over(document: &mut Value, patch: &Value) {
    let (Some(document), Some(patch)) = (document.as_object_mut(), patch.as_object()) else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            document.remove(name);
        } else {
            document.insert(name.clone(), value.clone());
        }
    }
}
