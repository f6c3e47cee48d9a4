//! Lines of `allow` that no role of the token serves: the commonest fault of a new app is a
//! permission that was not granted. Silent wherever a right may stand that is not known here.

use http::Method;

use super::finding::{Finding, Subject};
use super::roles::{Meeting, below_version, families, family, meet, writes};
use super::territory::{EVERYWHERE, is_known};
use crate::config::{AllowSpec, PatternSegment, RouteSpec};

/// Paths inside territories that ask, also or only, for a family that is not listed there.
const OTHERS: &[&str] = &[
    "applications/*/appManagementPolicies/**",
    "communications/**",
    "deviceManagement/deviceEnrollmentConfigurations/**",
    "deviceManagement/roleAssignments/**",
    "deviceManagement/roleDefinitions/**",
    "deviceManagement/virtualEndpoint/**",
    "deviceManagement/windowsAutopilotDeviceIdentities/**",
    "directory/attributeSets/**",
    "directory/customSecurityAttributeDefinitions/**",
    "directory/deviceLocalCredentials/**",
    "directory/federationConfigurations/**",
    "directory/onPremisesSynchronization/**",
    "directory/publicKeyInfrastructure/**",
    "directory/recommendations/**",
    "identity/apiConnectors/**",
    "identity/authenticationEventsFlows/**",
    "identity/b2xUserFlows/**",
    "identity/customAuthenticationExtensions/**",
    "identity/identityProviders/**",
    "identity/userFlowAttributes/**",
    "places/**",
    "reports/healthMonitoring/**",
    "reports/partners/**",
    "reports/security/**",
    "roleManagement/cloudPC/**",
    "roleManagement/deviceManagement/**",
    "roleManagement/entitlementManagement/**",
    "servicePrincipals/*/appManagementPolicies/**",
    "sites/*/termStore/**",
    "sites/*/termStores/**",
    "teams/*/channels/*/tabs/**",
    "teams/*/installedApps/**",
    "teams/*/schedule/**",
    "teams/*/sendActivityNotification",
    "teams/*/tags/**",
    "users/*/agreementAcceptances/**",
    "users/*/authentication/**",
    "users/*/cloudPCs/**",
    "users/*/createdObjects/**",
    "users/*/informationProtection/**",
    "users/*/insights/**",
    "users/*/onlineMeetings/*/attendanceReports/**",
    "users/*/onlineMeetings/*/recordings/**",
    "users/*/onlineMeetings/*/transcripts/**",
    "users/*/onlineMeetings/getAllRecordings/**",
    "users/*/onlineMeetings/getAllTranscripts/**",
    "users/*/ownedObjects/**",
    "users/*/people/**",
    "users/*/presence/**",
    "users/*/security/**",
    "users/*/teamwork/**",
];

/// So many lines are named.
const MOST: usize = 5;

/// What is to be said of the lines that these roles do not suffice for.
pub(super) fn judge(roles: &[String], route: &RouteSpec) -> Option<Finding> {
    // That there are none is told with the token's claims.
    if roles.is_empty() || !roles.iter().all(|role| is_known(family(role))) {
        return None;
    }
    let prefix = route.upstream.prefix.as_str();
    let rules = route.allow.iter().flatten();
    let lines: Vec<String> = rules
        .filter_map(|rule| unserved(rule, prefix, roles))
        .collect();
    let named = lines.get(..MOST).unwrap_or(&lines).join(", ");
    let more = match lines.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "no role of the token seems to permit {named}{more}: Graph answers 403 until a permission as in brackets is granted with admin consent, unless Exchange (RBAC for applications) or Teams (resource-specific consent) grants it, which no token shows"
    );
    (!lines.is_empty()).then(|| Finding::note(Subject::Roles, message))
}

/// The line with the methods that no role serves, and which families would.
fn unserved(rule: &AllowSpec, prefix: &str, roles: &[String]) -> Option<String> {
    let pattern = below_version(&rule.pattern, prefix)?;
    let meets = |path: &&str| meet(&pattern, path);
    if EVERYWHERE.iter().any(|path| meets(path) != Meeting::None)
        || OTHERS.iter().any(|path| meets(path) == Meeting::Spelt)
    {
        return None;
    }
    let mut families = families(&pattern);
    if families.contains("User") {
        // When users signed in is told beside them, not alone.
        families.remove("AuditLog");
    }
    if families.is_empty() {
        return None;
    }
    let is_sending = |method: &Method| {
        let last = pattern.last();
        method == Method::POST
            && matches!(last, Some(PatternSegment::Literal(word)) if word.eq_ignore_ascii_case("sendMail"))
    };
    let is_writing =
        |method: &Method| [Method::DELETE, Method::PATCH, Method::PUT].contains(method);
    let is_served = |method: &Method| {
        let mut own = roles.iter().filter(|role| families.contains(family(role)));
        own.any(|role| match method {
            method if is_sending(method) => role == "Mail.Send",
            method if is_writing(method) => writes(role),
            // A POST may as well be a question.
            _ => true,
        })
    };
    let unserved = rule.methods.iter().filter(|method| !is_served(method));
    let unserved: Vec<&Method> = unserved.collect();
    let (first, rest) = unserved.split_first()?;
    let methods = rest
        .iter()
        .fold(first.to_string(), |all, method| format!("{all},{method}"));
    let names = if unserved.iter().all(|method| is_sending(method)) {
        "Mail.Send".to_owned()
    } else {
        let names = families.into_iter().collect::<Vec<_>>().join(", ");
        let writes = unserved.iter().any(|method| is_writing(method));
        if writes {
            format!("{names}; to write")
        } else {
            names
        }
    };
    Some(format!("{methods} {} ({names})", path(&rule.pattern)))
}

/// A pattern as the file spells it.
fn path(pattern: &[PatternSegment]) -> String {
    let words = pattern.iter().map(|segment| match segment {
        PatternSegment::AnyNumber => "/**".to_owned(),
        PatternSegment::AnyOne => "/*".to_owned(),
        PatternSegment::Keyed(name) => format!("/{name}(*)"),
        PatternSegment::Literal(word) => format!("/{word}"),
    });
    words.collect()
}
