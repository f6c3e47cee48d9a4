//! What a token says about itself, and what of that is not as the configuration expects. For people:
//! access tokens are opaque to clients, and one that cannot be read may still be right.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::api::Api;
use super::finding::{Finding, Subject};
use crate::config::AppIdentity;
use crate::guid::is_guid;

/// Clocks of machines that keep time differ by less.
const SKEW: u64 = 60;

/// The claims that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    /// `aud`: what it is for.
    pub(super) audience: String,
    /// `appid` of version 1, `azp` of version 2.
    pub(super) app: String,
    /// `tid`.
    pub(super) tenant: String,
    /// `roles`.
    pub(super) roles: Vec<String>,
    /// `nbf`, or `iat`, in seconds since 1970.
    pub(super) begins: Option<u64>,
    /// `exp`, likewise.
    pub(super) expires: Option<u64>,
}

impl Claims {
    /// Picks them out of a decoded token.
    pub(super) fn of(document: &Value) -> Self {
        let text = |names: [&str; 2]| {
            let found = names.iter().find_map(|name| document[*name].as_str());
            found.map(plain).unwrap_or_default()
        };
        let roles = document["roles"].as_array().into_iter().flatten();
        Self {
            audience: text(["aud", "aud"]),
            app: text(["appid", "azp"]),
            tenant: text(["tid", "tid"]),
            roles: roles.filter_map(Value::as_str).map(plain).collect(),
            begins: document["nbf"]
                .as_u64()
                .or_else(|| document["iat"].as_u64()),
            expires: document["exp"].as_u64(),
        }
    }

    /// When it expires.
    pub(super) fn end(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.expires?))
    }

    /// What is not as expected; `app` is who asked, where that is configured.
    pub(super) fn judge(
        &self,
        app: Option<&AppIdentity>,
        api: Api,
        now: SystemTime,
    ) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.clock(now).into_iter().collect();
        if let Some(app) = app {
            let other = |own: &str, known: &str| {
                !own.is_empty() && is_guid(known) && !own.eq_ignore_ascii_case(known)
            };
            for (what, own, known) in [
                ("app", &self.app, &app.client_id),
                ("tenant", &self.tenant, &app.tenant_id),
            ] {
                if other(own, known) {
                    let words = format!("the token is for {what} {own}, and {known} is configured");
                    findings.push(Finding::warning(Subject::Token, words));
                }
            }
        }
        if api == Api::Graph && self.roles.is_empty() {
            let words = "the token holds no roles: add application permissions (not delegated ones) to the app registration and grant admin consent; permissions on single sites, teams or mailboxes do not show here";
            findings.push(Finding::warning(Subject::Roles, words));
        }
        findings
    }

    /// A clock that is wrong makes tokens die early, or live too long.
    fn clock(&self, now: SystemTime) -> Option<Finding> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let set = "set this machine's clock by NTP";
        let words = match (self.begins, self.expires) {
            (_, Some(end)) if end <= now => {
                let ahead = now - end;
                format!("by this machine's clock the new token expired {ahead} s ago; {set}")
            }
            (Some(begin), _) if begin > now + SKEW => {
                let behind = begin - now;
                format!("by this machine's clock the token begins in {behind} s; {set}")
            }
            _ => return None,
        };
        Some(Finding::warning(Subject::Token, words))
    }
}

/// Text of others as a terminal may show it.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::BaseUrl;

    const APP: &str = "22222222-aaaa-4bbb-8ccc-000000000002";
    const NOW: u64 = 1_800_000_000;

    fn judged(change: &Value) -> Vec<String> {
        let mut document = json!({
            "aud": "https://graph.microsoft.com", "appid": APP, "tid": "contoso", "roles": ["User.Read.All"],
            "nbf": NOW, "exp": NOW + 3600,
        });
        for (name, value) in change.as_object().unwrap() {
            document[name] = value.clone();
        }
        let app = AppIdentity {
            authority: BaseUrl::parse("https://login.microsoftonline.com").unwrap(),
            tenant_id: "contoso.example".to_owned(),
            client_id: APP.to_uppercase(),
        };
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let found = Claims::of(&document).judge(Some(&app), Api::Graph, now);
        found.into_iter().map(|it| it.message).collect()
    }

    #[test]
    fn a_token_as_configured_gives_nothing_to_say() {
        assert_eq!(judged(&json!({})), [""; 0]);
        assert_eq!(judged(&json!({"tid": "a-guid-of-a-domain"})), [""; 0]);
        assert_eq!(judged(&json!({"nbf": NOW + 30})), [""; 0]);
    }

    #[test]
    fn what_is_not_as_configured_is_said() {
        for (change, said) in [
            (json!({"appid": "other"}), "app other"),
            (json!({"roles": []}), "no roles"),
            (json!({"exp": NOW - 7}), "expired 7 s ago"),
            (json!({"nbf": NOW + 600}), "begins in 600 s"),
        ] {
            let found = judged(&change);
            assert_eq!(found.len(), 1, "{said}");
            assert!(found[0].contains(said), "{found:?}");
        }
    }

    #[test]
    fn whatever_a_token_says_it_is_shown_as_plain_text() {
        let odd = json!({"aud": "a\u{1b}[2Jb", "appid": 7, "roles": [1, "A\nB"], "exp": -1});
        let claims = Claims::of(&odd);
        assert_eq!(claims.audience, "a[2Jb");
        assert_eq!(claims.roles, ["AB"]);
        assert_eq!((claims.app.as_str(), claims.expires), ("", None));
        assert_eq!(Claims::of(&json!([])), Claims::default());
    }
}
