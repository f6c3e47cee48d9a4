//! What a whole file means: every key arrives where it belongs, and nothing else is accepted.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::json;

use super::load::load;
use super::{
    BatchRule, Checked, Config, CredentialKind, HostName, IdentitySelector, Limits, ListenAddress,
    MOST_BYTES, Problems, Replaced, RetrySpec, RewriteLinks, Scope, Source, Throttle, Timeouts,
    UpstreamHttp, UpstreamTimeouts, look, schema,
};
use crate::secret::SecretSource;

const EXAMPLE: &str = include_str!("../../tests/config/valid/example.yaml");
pub(super) const EVERY_KEY: &str = include_str!("../../tests/config/valid/every_key.yaml");

pub(super) fn check(text: &str) -> Result<Checked, Problems> {
    let source = Source {
        file: "routes.yaml",
        text,
        env: &|name| match name {
            "WORKERS" => Some("4".into()),
            "PORT" => Some("8080".into()),
            "AZURE_AUTHORITY_HOST" => None,
            _ => Some("value-of-a-variable".into()),
        },
        allow_missing_env: false,
    };
    load(&source)
}

fn every_key() -> Config {
    let socket = "unix:/run/tokenferry.sock";
    let other = if cfg!(unix) { socket } else { "'[::1]:8091'" };
    check(&EVERY_KEY.replace(socket, other)).unwrap().config
}

#[test]
fn a_route_whose_credential_is_not_known_and_none_are_defined_is_a_problem() {
    for roster in [
        "credentails:\n  a: {}\n",
        "credentials: {}\n",
        "credentials: 3\n",
        "",
    ] {
        let text = format!(
            "{roster}routes:\n  - {{name: a, path: /a, upstream: https://a.com, credential: \"${{AZURE_AUTHORITY_HOST}}\"}}\n"
        );
        assert!(check(&text).is_err(), "{roster}");
    }
}

#[test]
fn a_file_that_says_no_more_than_it_must_has_every_default() {
    let config = check(EXAMPLE).unwrap().config;
    assert_eq!(config.listen, [ListenAddress::Loopback(8080)]);
    assert_eq!(config.admin, [ListenAddress::Loopback(8081)]);
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(config.limits, Limits::default());
    assert!(config.log.access);
    let formatted = format!("log: {{format: json}}\n{EXAMPLE}");
    assert!(check(&formatted).unwrap().config.log.access);
    let graph = &config.routes[0];
    assert_eq!(graph.path.as_str(), "/graph");
    assert_eq!(graph.allow.as_ref().map(Vec::len), Some(2));
    assert_eq!(graph.rewrite_links, RewriteLinks::On);
    assert_eq!(graph.batch, BatchRule::Check);
    assert_eq!(graph.max_batch_bytes, 4 << 20);
    assert_eq!(graph.throttle, Throttle::Pass);
    assert_eq!(graph.upstream_http, UpstreamHttp::Http1);
    assert_eq!(graph.retry, None);
    assert_eq!(graph.timeouts, UpstreamTimeouts::default());
    assert_eq!(graph.max_concurrency, None);
    assert_eq!(graph.max_body_bytes, None);
    assert!(graph.callers.is_empty() && graph.follow_downloads.is_empty());
    let dynamics = &config.routes[1];
    let scope = "https://myorg.crm.dynamics.com/.default";
    assert_eq!(dynamics.scope, Scope::parse(scope).unwrap());
    assert_eq!(dynamics.credential, 0);
    let CredentialKind::ClientSecret { app, secret } = &config.credentials[0].kind else {
        panic!("not a client secret");
    };
    assert_eq!(
        app.authority.to_string(),
        "https://login.microsoftonline.com"
    );
    assert_eq!(*secret, SecretSource::Env("AZURE_CLIENT_SECRET".to_owned()));
}

#[test]
fn every_key_of_the_top_level_arrives() {
    let config = every_key();
    assert_eq!(config.listen.len(), 4);
    assert_eq!(config.listen[0], ListenAddress::Loopback(8080));
    assert_eq!(config.admin, []);
    assert_eq!(config.workers, NonZeroUsize::new(4));
    assert_eq!(config.trust_ca_file, Some("/etc/ssl/contoso.pem".into()));
    let graph = (HostName::parse("graph.microsoft.com").unwrap(), 443);
    assert_eq!(
        config.resolve[&graph],
        SocketAddr::from(([10, 0, 0, 4], 443))
    );
    assert_eq!(config.timeouts.drain_delay, Duration::ZERO);
    assert_eq!(config.timeouts.drain, Duration::from_secs(60));
    assert_eq!(config.timeouts.token_wait, Duration::from_millis(500));
    assert_eq!(config.limits.header_block, 32 * 1024);
    assert_eq!(config.limits.streams, 10);
    assert!(!config.log.access);
    assert_eq!(config.callers.len(), 4);
    let issuer = config.kubernetes.map(|kubernetes| kubernetes.issuer);
    assert_eq!(
        issuer.as_deref(),
        Some("https://kubernetes.default.svc.cluster.local/")
    );
}

#[test]
fn every_key_of_a_credential_arrives() {
    let credentials = every_key().credentials;
    assert_eq!(credentials[0].expires, Some(1_803_859_200));
    assert!(credentials[0].continuous_access);
    assert_eq!(
        credentials[0].fallback.as_ref().unwrap().as_str(),
        "certificate"
    );
    let CredentialKind::ClientSecret { app, secret } = &credentials[1].kind else {
        panic!("not a client secret");
    };
    assert_eq!(
        app.authority.to_string(),
        "https://login.microsoftonline.us"
    );
    assert_eq!(*secret, SecretSource::File("/run/secrets/graph".into()));
    let CredentialKind::Certificate {
        send_chain,
        password,
        ..
    } = &credentials[2].kind
    else {
        panic!("not a certificate");
    };
    assert!(send_chain);
    assert_eq!(
        *password,
        Some(SecretSource::File("/run/secrets/app.password".into()))
    );
    let system = CredentialKind::ManagedIdentity(IdentitySelector::System);
    assert_eq!(credentials[4].kind, system);
    let id = IdentitySelector::ObjectId("11111111-2222-3333-4444-555555555555".to_owned());
    assert_eq!(credentials[6].kind, CredentialKind::ManagedIdentity(id));
}

#[test]
fn every_key_of_a_route_arrives() {
    let routes = every_key().routes;
    let graph = &routes[0];
    let retry = RetrySpec {
        attempts: 4,
        statuses: vec![429, 502],
        max_wait: Duration::from_secs(60),
    };
    assert_eq!(graph.retry, Some(retry));
    assert_eq!(graph.upstream.to_string(), "https://graph.microsoft.com");
    assert_eq!(graph.callers.len(), 4);
    assert_eq!(graph.keep_headers[1], "mscrm.bypasscustompluginexecution");
    assert_eq!(graph.timeouts.response_body_idle, Duration::from_secs(3));
    assert_eq!(graph.max_body_bytes, Some(256 << 20));
    assert_eq!(graph.follow_downloads.len(), 2);
    let (name, value) = &graph.request_headers.set[1];
    assert_eq!(
        (name.as_str(), value.as_bytes()),
        ("x-key", &b"value-of-a-variable"[..])
    );
    assert!(
        value.is_sensitive(),
        "a header from a variable may be a key"
    );
    let dynamics = &routes[1];
    assert_eq!(dynamics.throttle, Throttle::Hold(Duration::from_secs(20)));
    assert_eq!(dynamics.retry.as_ref().unwrap().statuses, [429, 503, 504]);
    assert_eq!(dynamics.timeouts.response_body_idle, Duration::from_secs(8));
    assert_eq!(routes[2].throttle, Throttle::Hold(Duration::ZERO));
    assert_eq!(routes[7].path.as_str(), "");
}

#[test]
fn every_key_is_documented() {
    let manual = include_str!("../../docs/configuration.md");
    for key in super::file::keys() {
        let explained = manual.contains(&format!("`{key}`"))
            || manual.contains(&format!("`{key}: "))
            || manual.contains(&format!("{{{key}: "));
        assert!(explained, "{key}");
    }
}

#[test]
fn the_schema_names_every_key_and_refuses_others() {
    let schema = schema();
    for key in super::file::keys() {
        let text = schema.to_string();
        assert!(text.contains(&format!("\"{key}\":")), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["$defs"]["RawRoute"]["required"][0], "name");
    assert_eq!(schema["$defs"]["RawRoute"]["additionalProperties"], false);
}

#[test]
fn the_schema_takes_durations_as_the_check_does() {
    let schema = schema();
    let keep_alive = &schema["$defs"]["RawTimeouts"]["properties"]["keep_alive"];
    let pattern = r"^[0-9]+(ms|s|m|h)$|\$\{";
    assert_eq!(keep_alive["type"], "string", "{keep_alive}");
    assert_eq!(keep_alive["pattern"], pattern, "{keep_alive}");
    let own = "routes: [{name: a, path: /a, upstream: 'https://a.com'}]\ntimeouts:";
    assert!(check(&format!("{own} {{keep_alive: 10}}")).is_err());
    for unit in ["ms", "s", "m", "h"] {
        assert!(check(&format!("{own} {{keep_alive: 10{unit}}}")).is_ok());
    }
}

#[test]
fn the_schema_takes_texts_that_look_like_numbers_as_the_check_does() {
    let schema = schema();
    let route = &schema["$defs"]["RawRoute"]["properties"];
    let set = &schema["$defs"]["RawHeaderEdits"]["properties"]["set"]["additionalProperties"];
    let file = &schema["$defs"]["RawCredential"]["properties"]["client_secret_file"];
    for text in [&route["name"], set, file] {
        assert_eq!(
            text["type"],
            json!(["string", "number", "boolean"]),
            "{text}"
        );
    }
    let words = &route["rewrite_links"]["anyOf"][0]["enum"];
    assert_eq!(*words, json!([true, false, "true", "all", "false"]));
    let own = "routes: [{name: 365, path: /a, upstream: 'https://a.com', rewrite_links: \"true\", \
               request_headers: {set: {X-Version: 2, X-Beta: true}}}]";
    assert!(check(own).is_ok());
}

#[test]
fn the_schema_takes_a_variable_in_the_place_of_a_word_as_the_check_does() {
    let schema = schema();
    let of = |mapping: &str, key: &str| schema["$defs"][mapping]["properties"][key].clone();
    for value in [
        schema["properties"]["tls"].clone(),
        of("RawRoute", "throttle"),
        of("RawCredential", "managed_identity"),
    ] {
        let reference = json!({ "type": "string", "pattern": r"\$\{" });
        let any = value["anyOf"].as_array().unwrap();
        assert!(any.contains(&reference), "{value}");
    }
    let own = "tls: '${X:-local}'\ncredentials: {a: {managed_identity: '${Y:-system}'}}\n\
               routes: [{name: a, path: /a, upstream: 'https://a.com', throttle: '${Z:-hold}'}]";
    assert!(load(&Source::alone(own)).is_ok());
}

#[test]
fn the_schema_refuses_what_is_empty_as_the_check_does() {
    let schema = schema();
    assert_eq!(schema["required"], json!(["routes"]));
    let (top, defs) = (&schema["properties"], &schema["$defs"]);
    let route = &defs["RawRoute"]["properties"];
    let retry = &defs["RawRetry"]["properties"];
    for list in [
        &top["listen"],
        &top["routes"],
        &route["allow"],
        &route["callers"],
        &retry["statuses"],
    ] {
        assert_eq!(list["minItems"], 1, "{list}");
    }
    assert_eq!(top["credentials"]["minProperties"], 1);
    for own in ["listen: []", "credentials: {}"] {
        let routes = "routes: [{name: a, path: /a, upstream: 'https://a.com'}]";
        assert!(check(&format!("{own}\n{routes}")).is_err(), "{own}");
    }
}

#[test]
fn a_header_may_be_named_as_the_key_of_a_secret_is() {
    let text = |table: &str| {
        format!(
            "routes: [{{name: a, path: /a, upstream: 'https://a.com', \
             {table}: {{set: {{api_key: '${{WORKERS}}', client_secret: plain}}}}}}]"
        )
    };
    for table in ["request_headers", "response_headers"] {
        let config = check(&text(table)).unwrap().config;
        let route = &config.routes[0];
        let set = [&route.request_headers.set, &route.response_headers.set].map(|it| it.as_slice());
        let [(key, value), (_, plain)] = set.concat().try_into().unwrap();
        assert_eq!((key.as_str(), value.as_bytes()), ("api_key", &b"4"[..]));
        assert!(value.is_sensitive());
        assert_eq!(plain, "plain");
    }
    // And a caller may be named as the key of headers is, with its secret left in its place.
    let caller = "callers: {set: {api_key: '${KEY}'}}\n".to_owned();
    assert!(check(&(caller + &text("request_headers"))).is_ok());
    // Where secrets live one is not written down, whatever the names around it are.
    for wrong in [
        "callers: {set: {api_key: plain-plain-plain}}",
        "callers: {request_headers: {api_key: plain-plain-plain}}",
        "callers: {api_key: '${WORKERS}'}",
        "request_headers: {set: {api_key: plain-plain-plain}}",
    ] {
        let problems = check(&format!("{wrong}\n{}", text("request_headers"))).unwrap_err();
        assert!(!problems.to_string().contains("plain-plain"), "{problems}");
    }
}

#[test]
fn downloads_lead_out_unless_each_of_their_hosts_has_an_address() {
    let leads_out = |downloads: &str| {
        let text = format!(
            "credentials: {{a: {{tenant_id: t, client_id: c, client_secret: \"${{S}}\"}}}}\nroutes: [{{name: a, path: /a, upstream: https://a.com, follow_downloads: [{downloads}]}}]\nresolve: {{\"login.microsoftonline.com:443\": \"127.0.0.1:1\", \"a.com:443\": \"127.0.0.1:1\", \"b.com:443\": \"127.0.0.1:1\"}}\n"
        );
        check(&text).unwrap().config.leads_out()
    };
    assert!(!leads_out("b.com"));
    assert!(leads_out("b.com, c.com"));
    assert!(leads_out("'*.b.com'"));
}

#[test]
fn nothing_is_taken_of_a_file_that_is_larger_than_a_megabyte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.yaml");
    for (bytes, fine) in [(MOST_BYTES, true), (MOST_BYTES + 1, false)] {
        let text = format!("{EXAMPLE}{}", "#".repeat(bytes - EXAMPLE.len()));
        std::fs::write(&path, text).unwrap();
        let found = look(&path, true, Replaced::default()).problems;
        assert_eq!(found.0.is_empty(), fine, "{bytes}");
    }
}

#[test]
fn sixty_four_addresses_are_listened_on_and_no_more() {
    let text = |addresses: u16| {
        let all: Vec<_> = (1..=addresses).map(|n| format!("127.0.0.1:{n}")).collect();
        EXAMPLE.replace("localhost:8080", &format!("[{}]", all.join(", ")))
    };
    assert_eq!(check(&text(64)).unwrap().config.listen.len(), 64);
    let problems = check(&text(65)).unwrap_err().to_string();
    assert!(problems.contains("more than 64 addresses"), "{problems}");
}

#[test]
fn a_service_account_has_names_of_253_bytes_and_no_longer_ones() {
    let account = |length| {
        let name = "a".repeat(length);
        let callers = format!("callers: {{job: {{service_account: tools/{name}}}}}\n");
        let keys = "kubernetes: {issuer: \"https://i.corp\", audience: a, jwks_file: /keys.json}\n";
        check(&(callers + keys + EXAMPLE))
    };
    assert!(account(253).is_ok());
    let problems = account(254).unwrap_err().to_string();
    assert!(problems.contains("takes a service account"), "{problems}");
}

#[test]
fn an_upstream_that_resolve_leads_here_by_a_mapped_address_leads_back() {
    let resolve = "resolve: {\"graph.microsoft.com:443\": \"[::ffff:127.0.0.1]:8080\"}\n";
    for (port, fine) in [("8080", false), ("8083", true)] {
        let listen = format!("127.0.0.1:{port}");
        let text = resolve.to_owned() + &EXAMPLE.replace("localhost:8080", &listen);
        assert_eq!(check(&text).is_ok(), fine, "{port}");
    }
}

#[test]
fn no_fixed_address_leads_away_from_this_machine_what_goes_without_tls() {
    for (here, address, fine) in [
        ("http://a.localhost:5", "10.0.0.4:80", false),
        ("http://a.localhost:5", "[::ffff:127.0.0.2]:80", true),
        ("https://a.localhost:5", "10.0.0.4:443", true),
    ] {
        for (authority, upstream) in [(here, "https://b.com"), ("https://b.com", here)] {
            let text = format!(
                "credentials: {{a: {{tenant_id: t, client_id: c, client_secret: \"${{S}}\", authority: \"{authority}\"}}}}\nroutes: [{{name: a, path: /a, upstream: \"{upstream}\"}}]\nresolve: {{\"a.localhost:5\": \"{address}\"}}\n"
            );
            assert_eq!(check(&text).is_ok(), fine, "{text}");
        }
    }
}
