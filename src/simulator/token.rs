//! The tokens that were issued, and what the APIs think of the ones they are shown. A token can be
//! expired or revoked while its own dates still say otherwise, and an API can ask for one that was
//! issued for particular claims (continuous access evaluation).

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::directory::{CLIENT_ID, TENANT_ID};
use super::host;
use super::ident::{base64url, epoch, random};
use crate::clock::Now;
use crate::guid;
use crate::lock::locked;

/// Begins the signature of every token, so that a leak is found by searching for it.
pub const TOKEN_CANARY: &str = "CANARY-TOKEN-";

/// Tokens remembered; older ones are unknown to the APIs.
const REMEMBERED: usize = 20_000;

/// What a token was issued for.
#[derive(Clone)]
pub(super) struct Grant {
    /// The resource, as it stands in `aud`.
    pub(super) audience: String,
    pub(super) lifetime: Duration,
    pub(super) roles: Vec<String>,
    /// The `claims` parameter of the token request, if it carried one.
    pub(super) claims: Option<Value>,
}

impl Grant {
    /// Whether the client declared that it can handle claims challenges (`xms_cc` = `cp1`).
    fn is_capable(&self) -> bool {
        let declared = self
            .claims
            .as_ref()
            .map(|claims| &claims["access_token"]["xms_cc"]["values"]);
        let values = declared.and_then(Value::as_array);
        values.is_some_and(|values| values.iter().any(|value| value == "cp1"))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Expired,
    Good,
    Revoked,
}

struct Issued {
    grant: Grant,
    expires: Now,
    standing: Standing,
}

/// Why an API refuses what it was shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No `Authorization`, or not a bearer token.
    Absent,
    /// For another API.
    Audience(String),
    /// These claims are asked for, as JSON text.
    Claims(String),
    /// Past its own dates.
    Dead,
    /// Declared expired here.
    Expired,
    /// Declared revoked here.
    Revoked,
    /// More than one `Authorization`.
    Several,
    /// Never issued here.
    Unknown,
}

impl Refusal {
    /// What the client did wrong, when it could have known.
    pub(super) fn offence(&self) -> Option<String> {
        match self {
            Self::Absent => Some("no bearer token on an API request".to_owned()),
            Self::Audience(audience) => Some(format!("a token for {audience} on another API")),
            Self::Dead => Some("a token past its expiry".to_owned()),
            Self::Several => Some("more than one Authorization field".to_owned()),
            Self::Unknown => Some("a token that was never issued".to_owned()),
            Self::Claims(_) | Self::Expired | Self::Revoked => None,
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Tokens {
    ledger: Mutex<Ledger>,
    demands: Mutex<HashMap<String, Value>>,
}

#[derive(Default)]
struct Ledger {
    issued: HashMap<String, Issued>,
    order: VecDeque<String>,
}

impl Tokens {
    /// Issues a token.
    pub(super) fn issue(&self, grant: Grant, now: Now) -> String {
        let text = write(&grant, now);
        let expires = Now {
            mono: now.mono + grant.lifetime,
            wall: now.wall + grant.lifetime,
        };
        let mut ledger = locked(&self.ledger);
        if ledger.order.len() == REMEMBERED
            && let Some(oldest) = ledger.order.pop_front()
        {
            ledger.issued.remove(&oldest);
        }
        ledger.order.push_back(text.clone());
        let standing = Standing::Good;
        ledger.issued.insert(
            text.clone(),
            Issued {
                grant,
                expires,
                standing,
            },
        );
        text
    }

    /// Every token issued so far and still remembered, oldest first.
    pub(super) fn texts(&self) -> Vec<String> {
        locked(&self.ledger).order.iter().cloned().collect()
    }

    /// Whether this token is good and stays so for a moment: what a metadata service asks itself
    /// before it hands out the same one again.
    pub(super) fn remaining(&self, text: &str, now: Now) -> Option<Duration> {
        let ledger = locked(&self.ledger);
        let issued = ledger.issued.get(text)?;
        let left = issued.expires.mono.checked_duration_since(now.mono)?;
        (issued.standing != Standing::Expired).then_some(left)
    }

    /// From now on the APIs take this token (or all issued so far) for expired.
    pub(super) fn expire(&self, text: Option<&str>) {
        self.stand(text, Standing::Expired);
    }

    /// From now on the APIs take this token (or all issued so far) for revoked.
    pub(super) fn revoke(&self, text: Option<&str>) {
        self.stand(text, Standing::Revoked);
    }

    fn stand(&self, text: Option<&str>, standing: Standing) {
        let mut ledger = locked(&self.ledger);
        for (own, issued) in &mut ledger.issued {
            if text.is_none_or(|text| text == own) {
                issued.standing = standing;
            }
        }
    }

    /// From now on this host answers a claims challenge to a token that was not asked for with at
    /// least these claims; `None` ends it.
    pub(super) fn demand(&self, host: &str, claims: Option<Value>) {
        let mut demands = locked(&self.demands);
        match claims {
            Some(claims) => demands.insert(host.to_owned(), claims),
            None => demands.remove(host),
        };
    }

    /// Judges what a request to `authority` carries.
    pub(super) fn judge(
        &self,
        authority: &str,
        headers: &HeaderMap,
        now: Now,
    ) -> Result<(), Refusal> {
        let text = shown(headers)?;
        let ledger = locked(&self.ledger);
        let issued = ledger.issued.get(text).ok_or(Refusal::Unknown)?;
        let audience = &issued.grant.audience;
        if !serves(audience, authority) {
            return Err(Refusal::Audience(audience.clone()));
        }
        match issued.standing {
            Standing::Expired => return Err(Refusal::Expired),
            Standing::Revoked => return Err(Refusal::Revoked),
            Standing::Good => {}
        }
        if issued.expires.mono <= now.mono || issued.expires.wall <= now.wall {
            return Err(Refusal::Dead);
        }
        let demands = locked(&self.demands);
        let demanded = demands.get(host::name(authority));
        let claims = issued.grant.claims.as_ref().unwrap_or(&Value::Null);
        match demanded.filter(|demanded| !holds(claims, demanded)) {
            Some(demanded) => Err(Refusal::Claims(demanded.to_string())),
            None => Ok(()),
        }
    }
}

/// The one bearer token of a request.
fn shown(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Absent)?;
    if values.next().is_some() {
        return Err(Refusal::Several);
    }
    let text = value
        .to_str()
        .ok()
        .and_then(|value| value.strip_prefix("Bearer "));
    text.ok_or(Refusal::Absent)
}

/// Whether a token for this audience is meant for this host.
fn serves(audience: &str, authority: &str) -> bool {
    let (_, own) = audience.split_once("://").unwrap_or(("", audience));
    host::same_api(own.trim_end_matches('/'), authority)
}

/// Whether everything in `demanded` is somewhere in `own` too.
fn holds(own: &Value, demanded: &Value) -> bool {
    match (own, demanded) {
        (Value::Object(own), Value::Object(demanded)) => demanded
            .iter()
            .all(|(name, value)| own.get(name).is_some_and(|own| holds(own, value))),
        (Value::Array(own), Value::Array(demanded)) => {
            demanded.iter().all(|value| own.contains(value))
        }
        (own, demanded) => own == demanded,
    }
}

/// The token as text, about 1.5 KiB like a real one. The signature is random: clients must not
/// look into a token, and the APIs here know theirs by heart.
fn write(grant: &Grant, now: Now) -> String {
    let issued = epoch(now.wall);
    let thumbprint = base64url(random::<20>());
    let header = json!({"typ": "JWT", "alg": "RS256", "x5t": thumbprint, "kid": thumbprint});
    let mut payload = json!({
        "aud": grant.audience,
        "iss": format!("https://sts.windows.net/{TENANT_ID}/"),
        "iat": issued,
        "nbf": issued,
        "exp": issued + grant.lifetime.as_secs(),
        "aio": base64url(random::<60>()),
        "app_displayname": "Simulated tool",
        "appid": CLIENT_ID,
        "appidacr": "1",
        "idp": format!("https://sts.windows.net/{TENANT_ID}/"),
        "idtyp": "app",
        "oid": "aaaaaaaa-1111-4bbb-8ccc-000000000001",
        "rh": format!("1.{}.", base64url(random::<40>())),
        "roles": grant.roles,
        "sub": "aaaaaaaa-1111-4bbb-8ccc-000000000001",
        "tenant_region_scope": "EU",
        "tid": TENANT_ID,
        "uti": base64url(random::<16>()),
        "ver": "1.0",
        "wids": [guid::fresh()],
        "xms_ftd": base64url(random::<50>()),
        "xms_tcdt": 1_600_000_000,
    });
    if grant.is_capable() {
        payload["xms_cc"] = json!(["cp1"]);
    }
    let signature = base64url(random::<247>());
    let (header, payload) = (
        base64url(header.to_string()),
        base64url(payload.to_string()),
    );
    format!("{header}.{payload}.{TOKEN_CANARY}{signature}")
}
