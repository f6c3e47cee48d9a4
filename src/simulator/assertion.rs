//! Client assertions (RFC 7523), verified for real: the signature with the key that belongs to the
//! thumbprint or the issuer, then every claim. An assertion counts once.

use std::collections::HashSet;
use std::sync::Mutex;

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::call::Call;
use super::directory::CLIENT_ID;
use super::ident::epoch;
use super::proof::{FEDERATED_AUDIENCE, FEDERATED_ISSUER, FEDERATED_SUBJECT};
use super::world::World;
use crate::clock::Now;
use crate::lock::locked;

/// Identifiers remembered; no test sends more.
const IDENTIFIERS: usize = 100_000;

/// The `jti` of every certificate assertion so far.
#[derive(Default)]
pub(super) struct Identifiers(Mutex<HashSet<String>>);

impl Identifiers {
    /// Whether this one is new.
    fn enter(&self, identifier: &str) -> bool {
        let mut known = locked(&self.0);
        if known.len() >= IDENTIFIERS {
            known.clear();
        }
        known.insert(identifier.to_owned())
    }
}

/// A refusal: the code, and the thing at fault.
type Fault = (u32, String);

/// A JWT in its parts.
struct Jwt<'a> {
    header: Value,
    claims: Value,
    /// What was signed.
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        Some(Self {
            header: decode(header)?,
            claims: decode(claims)?,
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    fn text(&self, claim: &str) -> &str {
        self.claims[claim].as_str().unwrap_or_default()
    }

    fn is_signed_by(&self, algorithm: &'static RsaParameters, key: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(algorithm, key);
        key.verify(self.signed.as_bytes(), &self.signature).is_ok()
    }

    /// Whether now is between `nbf`, or `iat` without one, and `exp`: numbers with or without a
    /// fraction (RFC 7519 section 2, NumericDate), or in a string, as Microsoft's library for .NET
    /// writes them.
    fn is_timely(&self, now: Now) -> Result<(), Fault> {
        let now = epoch(now.wall) as f64;
        let number = |name: &str| match &self.claims[name] {
            Value::String(digits) => digits
                .parse()
                .ok()
                .filter(|number: &f64| number.is_finite()),
            other => other.as_f64(),
        };
        match (number("nbf").or_else(|| number("iat")), number("exp")) {
            // The moment itself is told in whole seconds here.
            (Some(from), Some(until)) if from < now + 1.0 && now < until => Ok(()),
            (Some(from), Some(until)) => {
                Err((700_024, format!("now {now}, from {from}, until {until}")))
            }
            _ => Err((50027, "nbf and iat, or exp, are not numbers".to_owned())),
        }
    }
}

/// Verifies an assertion that was sent to `endpoint`.
pub(super) fn verify(
    world: &World,
    call: &Call,
    assertion: &str,
    endpoint: &str,
    now: Now,
) -> Result<(), Fault> {
    let Some(jwt) = Jwt::parse(assertion) else {
        return Err((50027, "it has not three parts of base64url".to_owned()));
    };
    if jwt.header.get("x5t#S256").is_none() && jwt.header.get("x5t").is_none() {
        return federated(world, &jwt, now);
    }
    certificate(world, call, &jwt)?;
    let fault = |code: u32, text: &str| Err((code, text.to_owned()));
    if jwt.text("iss") != jwt.text("sub") {
        return fault(50048, "iss and sub");
    }
    if jwt.text("iss") != CLIENT_ID {
        return fault(50013, "iss is not the client");
    }
    if jwt.text("aud") != endpoint {
        return fault(50013, "aud is not this endpoint");
    }
    jwt.is_timely(now)?;
    match jwt.text("jti") {
        "" => fault(50027, "jti is missing"),
        identifier if world.identifiers.enter(identifier) => Ok(()),
        _ => {
            world.offend(call, "an assertion that was used before");
            fault(50013, "jti was used before")
        }
    }
}

/// A thumbprint in unpadded base64url (RFC 7515 section 4.1.8). Microsoft's library for Python pads,
/// which is let in.
fn thumbprint(member: &Value) -> Option<&str> {
    Some(member.as_str()?.trim_end_matches('='))
}

/// The same in the form of old, of which the other alphabet is let in, too: Microsoft's library for
/// Rust writes it. In the new form Entra does not find such a key.
fn old_thumbprint(member: &Value) -> Option<String> {
    Some(thumbprint(member)?.replace('+', "-").replace('/', "_"))
}

/// Checks header and signature against the registered certificates.
fn certificate(world: &World, call: &Call, jwt: &Jwt<'_>) -> Result<(), Fault> {
    let is_jwt = jwt.header["typ"] == "JWT";
    // RS256 is what older libraries sign with.
    let algorithm = match jwt.header["alg"].as_str() {
        Some("PS256") if is_jwt => &RSA_PSS_2048_8192_SHA256,
        Some("RS256") if is_jwt => &RSA_PKCS1_2048_8192_SHA256,
        _ => {
            world.offend(
                call,
                "an assertion that is not a JWT signed with PS256 or RS256",
            );
            return Err((50027, "alg or typ".to_owned()));
        }
    };
    let new = thumbprint(&jwt.header["x5t#S256"]);
    let old = old_thumbprint(&jwt.header["x5t"]);
    let certificates = locked(&world.proofs.certificates);
    let known = certificates.iter().find(|known| match new {
        Some(thumbprint) => known.thumbprint == thumbprint,
        None => old.as_ref() == Some(&known.old_thumbprint),
    });
    let Some(known) = known else {
        let thumbprint = new.or(old.as_deref()).unwrap_or_default();
        return Err((700_027, format!("key not found, thumbprint '{thumbprint}'")));
    };
    if let Some(chain) = jwt.header.get("x5c") {
        let links = chain.as_array().map(Vec::as_slice).unwrap_or_default();
        // Microsoft's library for Python leaves the line ends of PEM in.
        let der = |link: &Value| {
            STANDARD
                .decode(link.as_str()?.replace(['\r', '\n'], ""))
                .ok()
        };
        let leaf = links.first().and_then(der);
        if leaf.as_deref() != Some(&known.der) || !links.iter().all(|link| der(link).is_some()) {
            world.offend(
                call,
                "an x5c that is not the certificate and its chain in base64",
            );
            return Err((50027, "x5c".to_owned()));
        }
    }
    if jwt.is_signed_by(algorithm, &known.key) {
        Ok(())
    } else {
        Err((700_027, "the signature is not by the key".to_owned()))
    }
}

/// Checks a token of the outside issuer.
fn federated(world: &World, jwt: &Jwt<'_>, now: Now) -> Result<(), Fault> {
    let mismatch = |code: u32, claim: &str| {
        let value = jwt.claims[claim].as_str().map(str::to_owned);
        Err((code, value.unwrap_or_else(|| jwt.claims[claim].to_string())))
    };
    if jwt.text("iss") != FEDERATED_ISSUER {
        return mismatch(700_211, "iss");
    }
    let audience = &jwt.claims["aud"];
    let named = audience
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one == FEDERATED_AUDIENCE));
    if !named && audience != FEDERATED_AUDIENCE {
        return mismatch(700_212, "aud");
    }
    if jwt.text("sub") != FEDERATED_SUBJECT {
        return mismatch(700_213, "sub");
    }
    jwt.is_timely(now)?;
    let key = world
        .proofs
        .issuer_key()
        .map_err(|_| (90061, "the issuer has no key".to_owned()))?;
    if jwt.header["alg"] == "RS256" && jwt.is_signed_by(&RSA_PKCS1_2048_8192_SHA256, &key) {
        Ok(())
    } else {
        Err((50013, "the signature is not by the issuer".to_owned()))
    }
}
