//! What an upstream's answer to a probe means, and what to do about it.

use super::api::Api;
use super::claims::Claims;
use super::finding::{Finding, Subject};
use super::probe::Answer;
use crate::config::{Origin, RouteSpec, is_sharepoint, takes};

const APPLICATION_USER: &str = "add the app as an application user of this environment, in its business unit and with a security role (Power Platform admin center, S2S apps)";

/// Reads the answer to a probe of this route with a token of these claims.
pub(super) fn judge(answer: &Answer, api: Api, route: &RouteSpec, claims: &Claims) -> Vec<Finding> {
    let (status, words, resource) = match answer {
        Answer::Failed(words) => return vec![Finding::problem(Subject::Upstream, words.clone())],
        Answer::Answered {
            status,
            words,
            resource,
        } => (*status, words, resource.as_deref()),
    };
    let finding = match (status, api) {
        (200..=299, _) => return Vec::new(),
        (401, _) => {
            let advice = refused(api, route, claims, resource);
            let message = format!("the upstream refuses the token ({words}); {advice}");
            Finding::problem(Subject::Upstream, message)
        }
        (403, _) => forbidden(api, words, claims),
        (429, _) => Finding::warning(
            Subject::Upstream,
            format!(
                "the upstream asks for quiet ({words}): it was asked too often, not necessarily from here"
            ),
        ),
        (500.., _) => Finding::problem(
            Subject::Upstream,
            format!(
                "the upstream is unwell, status {status} ({words}); nothing here has to be changed"
            ),
        ),
        (404, Api::Dataverse) => Finding::warning(
            Subject::Upstream,
            "there is no Web API at this address; upstream is the environment's URL, such as https://org.crm.dynamics.com",
        ),
        (300..=399, _) => Finding::warning(
            Subject::Upstream,
            format!(
                "the upstream answers with a redirect, status {status}; upstream should be where the API is, not a page that leads there"
            ),
        ),
        (_, _) => Finding::note(
            Subject::Upstream,
            format!(
                "status {status} says nothing of the token: the upstream is there and does not refuse it; call something that exists to be sure"
            ),
        ),
    };
    vec![finding]
}

/// 401: the token is not one for this API.
fn refused(api: Api, route: &RouteSpec, claims: &Claims, resource: Option<&str>) -> String {
    let own = route.scope.resource().trim_end_matches('/');
    let wanted = resource.map(|resource| resource.trim_end_matches('/'));
    if let Some(wanted) = wanted.filter(|wanted| !wanted.eq_ignore_ascii_case(own)) {
        return format!("it takes tokens for {wanted}: set the route's scope to {wanted}/.default");
    }
    let host = route.upstream.origin.host.as_str();
    let audience = &claims.audience;
    if audience.contains("://") && !suits(audience, api, route) {
        return format!(
            "the token is for {audience} and the upstream is {host}: set the route's scope to what this API asks for"
        );
    }
    match api {
        Api::Dataverse => APPLICATION_USER.to_owned(),
        Api::Other if is_sharepoint(host) => {
            "SharePoint takes app-only tokens of certificate credentials only: give the route a credential with certificate_file; if it has one, check the app's SharePoint permissions".to_owned()
        }
        Api::Graph | Api::Other => {
            "check the route's scope, the credential's cloud, and the Conditional Access policies for workload identities".to_owned()
        }
    }
}

/// Whether a token for this audience is what the API behind the upstream takes, as far as that is known.
fn suits(audience: &str, api: Api, route: &RouteSpec) -> bool {
    let origin = &route.upstream.origin;
    let twin = origin.twin();
    let is_named = |origin: &Origin| audience.contains(origin.host.as_str());
    // A name of the house in front of an API says nothing of what that takes.
    let is_behind = api != Api::Other && twin.is_none() && !origin.is_graph();
    is_named(origin)
        || twin.as_ref().is_some_and(is_named)
        || is_behind
        || takes(origin.host.as_str(), &route.scope)
}

/// 403: the token is understood, and does not suffice.
fn forbidden(api: Api, words: &str, claims: &Claims) -> Finding {
    match api {
        Api::Dataverse => Finding::problem(
            Subject::Upstream,
            format!("Dataverse does not let the app in ({words}); {APPLICATION_USER}"),
        ),
        Api::Graph if claims.roles.is_empty() => Finding::problem(
            Subject::Upstream,
            format!(
                "Graph understands the token and lets it do nothing ({words}), because it holds no roles: grant application permissions and admin consent, and wait for the next token"
            ),
        ),
        Api::Graph => Finding::note(
            Subject::Upstream,
            format!(
                "Graph takes the token; this probe reads the organisation, which needs Organization.Read.All ({words}): no fault unless this route is to read it"
            ),
        ),
        Api::Other => Finding::warning(
            Subject::Upstream,
            format!(
                "the upstream understands the token and does not let it read its root ({words}); if calls are refused as well, give the app a role there"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Severity;
    use crate::cli::doctor::sample::route;

    const GRAPH: &str = "https://graph.microsoft.com";
    const ORGANISATION: &str = "https://org.crm.dynamics.com";

    /// The one finding of a status, with a token for `audience` that has this role.
    fn found(upstream: &str, status: u16, audience: &str, role: &str) -> Option<Finding> {
        let answer = Answer::Answered {
            status,
            words: "code: X".to_owned(),
            resource: None,
        };
        let claims = Claims {
            audience: audience.to_owned(),
            roles: role.split_whitespace().map(str::to_owned).collect(),
            ..Claims::default()
        };
        let route = route(upstream, "");
        let mut all = judge(&answer, Api::of(&route), &route, &claims);
        assert!(all.len() < 2);
        all.pop()
    }

    #[test]
    fn success_is_not_worth_a_word() {
        for upstream in [GRAPH, ORGANISATION, "https://other.example"] {
            for status in [200, 299] {
                assert_eq!(found(upstream, status, upstream, ""), None);
            }
        }
    }

    #[test]
    fn each_status_means_what_it_means_at_this_api() {
        use Severity::{Note, Problem, Warning};
        for (upstream, status, role, severity, said) in [
            (GRAPH, 401, "A", Problem, "Conditional Access"),
            (ORGANISATION, 401, "", Problem, "application user"),
            (
                "https://contoso.sharepoint.com",
                401,
                "A",
                Problem,
                "certificate credentials only",
            ),
            (GRAPH, 403, "", Problem, "no roles"),
            (GRAPH, 403, "Mail.Send", Note, "Organization.Read.All"),
            (ORGANISATION, 403, "", Problem, "application user"),
            ("https://other.example", 403, "", Warning, "a role there"),
            ("https://other.example", 404, "", Note, "does not refuse it"),
            (ORGANISATION, 404, "", Warning, "no Web API"),
            (ORGANISATION, 300, "", Warning, "redirect"),
            (ORGANISATION, 399, "", Warning, "redirect"),
            (GRAPH, 499, "A", Note, "does not refuse it"),
            (GRAPH, 429, "A", Warning, "asks for quiet"),
            (GRAPH, 503, "A", Problem, "unwell"),
        ] {
            let finding = found(upstream, status, upstream, role).unwrap();
            assert_eq!(finding.severity, severity, "{upstream} {status}");
            assert!(finding.message.contains(said), "{finding:?}");
        }
    }

    #[test]
    fn a_token_for_another_resource_is_recognised() {
        for upstream in [GRAPH, ORGANISATION] {
            let finding = found(upstream, 401, "https://management.azure.com", "A").unwrap();
            let host = upstream.trim_start_matches("https://");
            let said =
                format!("the token is for https://management.azure.com and the upstream is {host}");
            assert!(finding.message.contains(&said), "{finding:?}");
        }
        let answer = Answer::Answered {
            status: 401,
            words: String::new(),
            resource: Some("https://other.crm.dynamics.com/".to_owned()),
        };
        let route = route(ORGANISATION, "");
        let found = judge(&answer, Api::Dataverse, &route, &Claims::default());
        let said = "set the route's scope to https://other.crm.dynamics.com/.default";
        assert!(found[0].message.contains(said), "{found:?}");
    }

    #[test]
    fn the_same_resource_in_another_spelling_is_not_another_one() {
        let answer = Answer::Answered {
            status: 401,
            words: String::new(),
            resource: Some("HTTPS://ORG.crm.dynamics.com".to_owned()),
        };
        let route = route(ORGANISATION, &format!("scope: {ORGANISATION}//.default"));
        let found = judge(&answer, Api::Dataverse, &route, &Claims::default());
        assert!(found[0].message.contains("application user"), "{found:?}");
    }

    #[test]
    fn a_scope_that_this_api_takes_is_not_blamed() {
        let powerbi = "scope: https://analysis.windows.net/powerbi/api/.default";
        let graph = "scope: https://graph.microsoft.com/.default";
        let environment = "scope: https://org.crm.dynamics.com/.default";
        for (upstream, scope, said) in [
            ("https://api.powerbi.com", powerbi, "Conditional Access"),
            ("https://graph.corp", graph, "Conditional Access"),
            (
                "https://org.api.crm.dynamics.com",
                environment,
                "application user",
            ),
        ] {
            let route = route(upstream, scope);
            let answer = Answer::Answered {
                status: 401,
                words: String::new(),
                resource: None,
            };
            let claims = Claims {
                audience: route.scope.resource().to_owned(),
                ..Claims::default()
            };
            let found = judge(&answer, Api::of(&route), &route, &claims);
            assert!(found[0].message.contains(said), "{upstream}: {found:?}");
        }
    }

    #[test]
    fn an_upstream_that_is_not_reached_is_a_problem_in_its_own_words() {
        let answer = Answer::Failed("no way".to_owned());
        let found = judge(&answer, Api::Graph, &route(GRAPH, ""), &Claims::default());
        assert_eq!(found, [Finding::problem(Subject::Upstream, "no way")]);
    }
}
