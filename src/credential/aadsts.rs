//! The AADSTS codes worth explaining: what each means, what a person does about it, and how soon
//! asking again can help.
//!
//! Microsoft reserves the right to add and change codes ("Microsoft Entra authentication and
//! authorization error codes"), so a code refines what status and OAuth `error` already decided and
//! an unknown one is no surprise.

/// How soon asking again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Only a person's change helps.
    Permanent,
    /// A change that has been made needs minutes to arrive everywhere, or clocks disagree.
    Slow,
    /// Entra says that it was asked too often.
    Throttled,
    /// Entra is unwell.
    Transient,
}

/// What a code blames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blamed {
    /// The proof itself, as invalid or expired: another credential of the app may do. OAuth says it
    /// with `invalid_client`, and Entra by no means always.
    Credential,
    /// What is asked for, or a policy refuses it: another credential of the app would be told the same,
    /// and this one may do for another scope. OAuth may call it `invalid_client` still.
    Request,
    /// Another thing, or it does not say.
    Else,
}

/// One code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number behind `AADSTS`.
    pub code: u32,
    /// How soon asking again can help.
    pub class: Class,
    /// What it blames.
    pub blamed: Blamed,
    /// What it means, in a few words.
    pub meaning: &'static str,
    /// What to do, in one sentence without a full stop.
    pub remedy: &'static str,
}

/// Finds a code.
pub fn look_up(code: u32) -> Option<&'static Entry> {
    TABLE
        .binary_search_by_key(&code, |entry| entry.code)
        .ok()
        .map(|at| &TABLE[at])
}

/// Finds a code as it is meant where another issuer's token was the assertion: nobody here signed it,
/// and the app has no certificate to upload.
pub fn look_up_federated(code: u32) -> Option<&'static Entry> {
    let own = FEDERATED.iter().find(|entry| entry.code == code);
    own.or_else(|| look_up(code))
}

const fn entry(
    code: u32,
    class: Class,
    blamed: Blamed,
    meaning: &'static str,
    remedy: &'static str,
) -> Entry {
    Entry {
        code,
        class,
        blamed,
        meaning,
        remedy,
    }
}

const CERTIFICATE: &str = "upload a new certificate to the app registration and put it with its key in place of the old one";
const WAIT: &str = "nothing needs to be changed, it is asked again";
const RESOURCE: &str = "check the scope's host for a typing error, that the product exists in this tenant, and the cloud; Power BI, Key Vault, Azure DevOps and some others have a resource of another name than their host";
const CLOUD: &str = "set `cloud` or `authority` to the cloud that the tenant lives in";
const ONE_RESOURCE: &str = "give the route one scope of the form https://host/.default";
const CONSENT: &str = "add the API permission to the app registration and grant admin consent";
const FEDERATION: &str = "compare iss, sub and aud of the token in the file with the app's federated credential: case and a trailing slash count, and a new one takes minutes to work";
const FOREIGN: &str = "make sure that the file holds a current token (RS256) of the issuer, subject and audience that the app's federated credential names";
const ASSERTION: &str =
    "check client_id, authority and this machine's clock; report it if they are right";
const ASSIGNMENT: &str = "grant the app one of the resource's app roles with admin consent, or set \"Assignment required\" of the resource to No under Enterprise applications";
const POLICY: &str =
    "change the Conditional Access policy for workload identities, or call from an allowed address";
const REPORT: &str = "report it with the trace id";

use Blamed::{Credential, Else, Request};
use Class::{Permanent, Slow, Throttled, Transient};

/// Sorted by code.
#[rustfmt::skip]
const TABLE: &[Entry] = &[
    entry(28002, Permanent, Request, "the scope is empty or not valid", ONE_RESOURCE),
    entry(28003, Permanent, Request, "the scope is empty or names several resources", ONE_RESOURCE),
    entry(50001, Permanent, Request, "the resource is unknown or disabled in this tenant", RESOURCE),
    entry(50012, Permanent, Credential, "the client assertion is not valid", ASSERTION),
    entry(50013, Permanent, Credential, "the client assertion is not valid", ASSERTION),
    entry(50027, Permanent, Credential, "the client assertion is not a valid JWT", ASSERTION),
    entry(50033, Transient, Else, "the directory is temporarily unavailable", WAIT),
    entry(50048, Permanent, Credential, "issuer and subject of the client assertion differ", ASSERTION),
    entry(50087, Transient, Else, "the directory is temporarily unavailable", WAIT),
    entry(50105, Permanent, Request, "the resource is for assigned apps only, and this one is not", ASSIGNMENT),
    entry(50194, Permanent, Else, "the app is not multi-tenant and cannot be used on a shared authority", "set tenant_id to the tenant's GUID"),
    entry(50196, Throttled, Else, "the same token was asked for too often", "look for another process that asks with this app and does not cache"),
    entry(53003, Permanent, Request, "Conditional Access blocks this app", POLICY),
    entry(65001, Permanent, Request, "consent is missing", CONSENT),
    entry(70002, Permanent, Else, "the credential was not accepted", "check the secret's value, and which credential kind the app registration expects"),
    entry(70011, Permanent, Request, "the scope is not valid", ONE_RESOURCE),
    entry(70021, Slow, Credential, "no federated credential of the app matches", FEDERATION),
    entry(90002, Permanent, Else, "the tenant was not found", "check tenant_id, and `cloud` or `authority`"),
    entry(90006, Transient, Else, "an internal service did not answer", WAIT),
    entry(90012, Transient, Else, "the request to the directory timed out", WAIT),
    entry(90014, Permanent, Else, "a required parameter is missing", REPORT),
    entry(90024, Transient, Else, "the directory is temporarily unavailable", WAIT),
    entry(90033, Transient, Else, "the directory is temporarily unavailable", WAIT),
    entry(90036, Permanent, Else, "Entra failed and says that asking again does not help", REPORT),
    entry(90038, Permanent, Else, "the tenant belongs to another cloud", CLOUD),
    entry(90055, Throttled, Else, "the tenant sent too many requests", "look for clients of this tenant that do not cache tokens"),
    entry(90061, Slow, Else, "Entra cannot reach the issuer of the federated token", "make the issuer's OpenID metadata reachable from the internet"),
    entry(90090, Transient, Else, "an internal service did not answer", WAIT),
    entry(100_007, Permanent, Else, "the regional endpoint cannot be used like this", "set `authority` to the global one of the cloud"),
    entry(500_011, Permanent, Request, "the resource has no service principal in this tenant", RESOURCE),
    entry(500_014, Permanent, Request, "the resource's service principal is disabled", "enable it under Enterprise applications"),
    entry(501_051, Permanent, Request, "the resource is for assigned apps only, and this one is not", ASSIGNMENT),
    entry(530_035, Permanent, Request, "a security default or policy blocks this app", POLICY),
    entry(650_052, Permanent, Request, "the organisation has not subscribed to the service", "subscribe to the service, or enable its service principal, in this tenant"),
    entry(650_056, Permanent, Request, "the app registration is misconfigured or consent is missing", CONSENT),
    entry(650_057, Permanent, Request, "the resource is not among the app's requested permissions", CONSENT),
    entry(700_016, Permanent, Else, "the app was not found in this tenant", "check client_id and tenant_id; an app of another tenant needs admin consent here first"),
    entry(700_022, Permanent, Request, "the scope names several resources", ONE_RESOURCE),
    entry(700_023, Permanent, Request, "the scope names no resource", ONE_RESOURCE),
    entry(700_024, Slow, Credential, "the client assertion is outside its validity", "set this machine's clock; for a federated token, check that its file is still being renewed"),
    entry(700_025, Permanent, Else, "the app is registered as a public client", "allow client credentials in the app registration"),
    entry(700_027, Permanent, Credential, "the certificate is not registered with the app", "upload the public certificate to the app registration, or use the key that belongs to the uploaded one"),
    entry(700_030, Permanent, Credential, "the certificate's subject or issuer is not authorised", "upload the certificate itself to the app registration, or remove send_chain"),
    entry(700_211, Permanent, Credential, "no federated credential of the app matches the issuer", FEDERATION),
    entry(700_212, Permanent, Credential, "no federated credential of the app matches the audience", FEDERATION),
    entry(700_213, Permanent, Credential, "no federated credential of the app matches the subject", FEDERATION),
    entry(700_229, Permanent, Credential, "this kind of token cannot be used as a federated credential", "use a service-account token or another app-only token"),
    entry(900_023, Permanent, Else, "the tenant identifier is malformed", "set tenant_id to the tenant's GUID or a verified domain"),
    entry(900_144, Permanent, Else, "a required parameter is missing", REPORT),
    entry(900_382, Permanent, Else, "the app belongs to another cloud", CLOUD),
    entry(900_432, Permanent, Else, "confidential clients do not work across clouds", CLOUD),
    entry(900_561, Permanent, Else, "the endpoint only takes POST", "look for a proxy between here and Entra that changes or redirects requests"),
    entry(1_000_502, Permanent, Credential, "the certificate is outside its validity", CERTIFICATE),
    entry(1_002_012, Permanent, Request, "client credentials take a scope that ends in /.default", ONE_RESOURCE),
    entry(5_000_225, Permanent, Else, "the tenant is blocked, because nobody has used it for long", "have an administrator reactivate the tenant, which is possible for 20 days"),
    entry(7_000_112, Permanent, Else, "the app is disabled", "enable the app's service principal under Enterprise applications"),
    entry(7_000_214, Permanent, Credential, "the certificate was revoked", CERTIFICATE),
    entry(7_000_215, Permanent, Credential, "the client secret is not the app's", "use the secret's value, not its id and without quotes, and check client_id"),
    entry(7_000_216, Permanent, Else, "the request held no credential", "check which credential kind the app registration expects"),
    entry(7_000_218, Permanent, Else, "the request held no credential", "check which credential kind the app registration expects"),
    entry(7_000_222, Permanent, Credential, "the client secret has expired", "create a new secret for the app and put it in place of the old one"),
    entry(7_000_229, Permanent, Else, "the app has no service principal in this tenant", "create the enterprise application, or grant admin consent, in this tenant"),
    entry(7_000_274, Permanent, Credential, "the certificate is outside its validity", CERTIFICATE),
    entry(7_000_277, Permanent, Credential, "the certificate was revoked", CERTIFICATE),
    entry(7_002_137, Permanent, Credential, "no federated credential of the app matches", FEDERATION),
    entry(7_002_138, Permanent, Credential, "no federated credential of the app matches", FEDERATION),
    entry(9_001_023, Permanent, Else, "the grant does not work on a shared authority", "set tenant_id to the tenant's GUID"),
];

/// What differs where `federated_token_file` gives the assertion.
#[rustfmt::skip]
const FEDERATED: &[Entry] = &[
    entry(50012, Permanent, Credential, "the token in federated_token_file is not valid", FOREIGN),
    entry(50013, Permanent, Credential, "the token in federated_token_file is not valid", FOREIGN),
    entry(50027, Permanent, Credential, "federated_token_file does not hold a valid JWT", "put the issuer's token into the file, alone: not the JSON that it came in"),
    entry(50048, Permanent, Credential, "the token in federated_token_file was taken for the app's own assertion", FOREIGN),
    entry(700_027, Permanent, Credential, "Entra does not know the key that signed the token in federated_token_file", "make sure that the app's federated credential names the token's issuer, and that the issuer publishes its keys"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_because_the_table_is_sorted() {
        assert!(TABLE.is_sorted_by(|a, b| a.code < b.code));
        for entry in TABLE {
            assert_eq!(look_up(entry.code), Some(entry));
        }
        assert_eq!(look_up(7_000_213), None);
    }

    #[test]
    fn a_code_means_something_else_of_another_issuers_token() {
        for entry in FEDERATED {
            let usual = look_up(entry.code).unwrap();
            assert_eq!(look_up_federated(entry.code), Some(entry));
            assert_eq!(entry.class, usual.class, "only the words differ");
            assert_ne!(entry.remedy, usual.remedy, "{}", entry.code);
        }
        assert_eq!(look_up_federated(7_000_222), look_up(7_000_222));
    }

    #[test]
    fn the_manual_names_codes_that_are_known_here() {
        let manual = include_str!("../../docs/operations.md");
        let codes = manual.split("AADSTS").skip(1).map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
            rest[..end].to_owned()
        });
        let codes: Vec<u32> = codes.filter_map(|code| code.parse().ok()).collect();
        assert!(codes.len() > 15, "{codes:?}");
        for code in codes {
            assert!(look_up(code).is_some(), "AADSTS{code}");
        }
    }

    #[test]
    fn texts_read_as_parts_of_a_sentence() {
        for entry in TABLE.iter().chain(FEDERATED) {
            for text in [entry.meaning, entry.remedy] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{}", entry.code);
            }
        }
    }

    #[test]
    fn an_expired_secret_is_permanent_and_a_directory_outage_is_not() {
        assert_eq!(look_up(7_000_222).unwrap().class, Permanent);
        assert_eq!(look_up(90033).unwrap().class, Transient);
        assert_eq!(look_up(90055).unwrap().class, Throttled);
        assert_eq!(look_up(700_213).unwrap().class, Permanent);
        assert_eq!(look_up(70021).unwrap().class, Slow);
    }
}
