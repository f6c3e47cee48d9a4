//! The laws of the small values: what is accepted, what comes back, and what never gets through.

use proptest::prelude::*;

use super::check_credential::{client_id, tenant_id};
use super::value::{
    BaseUrl, HostName, HostPattern, Name, PathPrefix, Scope, parse_bytes, parse_duration,
    parse_workers, split_port,
};

#[test]
fn a_base_url_is_scheme_host_port_and_prefix() {
    let url = BaseUrl::parse("HTTPS://Graph.Microsoft.com.:443/v1.0/").unwrap();
    assert!(url.origin.secure);
    assert_eq!(url.origin.authority(), "graph.microsoft.com");
    assert_eq!(url.prefix.as_str(), "/v1.0");
    let url = BaseUrl::parse("http://[::1]:8080").unwrap();
    assert_eq!(url.to_string(), "http://[::1]:8080");
    assert_eq!(url.origin.port, 8080);
}

#[test]
fn a_base_url_has_no_user_query_fragment_or_odd_host() {
    for wrong in [
        "",
        "https:/x",
        "https://",
        "https:///x",
        "https://a:b@c",
        "https://a@b",
        "https://a?b",
        "https://a/b?c",
        "https://a#b",
        "https://a/#b",
        "https://a b",
        "https://a:",
        "https://a:x",
        "https://a:65536",
        "https://[::1",
        "https://::1",
        "https://a..b",
        "https://-a",
        "https://a/%2e",
        "https://a/b//c",
        "https://a/../b",
        "https://127.1",
        "https://0x7f.1",
        "https://2130706433",
        "https://a.0x7f000001",
        "https://ä.com",
        "file:///etc/passwd",
    ] {
        assert!(BaseUrl::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn loopback_is_known_by_name_and_by_address() {
    let loopback = |text| HostName::parse(text).unwrap().is_loopback();
    for host in [
        "localhost",
        "a.LOCALHOST",
        "127.0.0.1",
        "127.9.9.9",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ] {
        assert!(loopback(host), "{host}");
    }
    for host in [
        "localhost.com",
        "notlocalhost",
        "10.0.0.1",
        "[::2]",
        "128.0.0.1",
    ] {
        assert!(!loopback(host), "{host}");
    }
}

#[test]
fn an_address_of_ipv6_is_one_host_however_it_is_written() {
    let host = HostName::parse("[fd00::1]").unwrap();
    for same in ["[FD00::1]", "[fd00:0:0::1]", "[fd00:0:0:0:0:0:0:1]"] {
        assert_eq!(HostName::parse(same).as_ref(), Ok(&host), "{same}");
    }
    assert_eq!(host.as_str(), "[fd00::1]");
}

#[test]
fn a_suffix_needs_a_label_in_front() {
    let pattern = HostPattern::parse("*.Contoso.com").unwrap();
    assert!(pattern.matches("a.contoso.com"));
    assert!(pattern.matches("a.b.contoso.com"));
    assert!(!pattern.matches("contoso.com"));
    assert!(!pattern.matches(".contoso.com"));
    assert!(!pattern.matches("evilcontoso.com"));
    for wrong in ["*", "*.", "*contoso.com", "a.*.com", "**.com"] {
        assert!(HostPattern::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_scope_is_one_resource() {
    let scope = Scope::parse("https://management.azure.com//.default").unwrap();
    assert_eq!(scope.resource(), "https://management.azure.com/");
    for wrong in [
        "",
        "/.default",
        ".default",
        "https://a/User.Read",
        "a/.default b/.default",
        "ä/.default",
    ] {
        assert!(Scope::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn durations_and_sizes_have_units_and_bounds() {
    assert_eq!(parse_duration("1500ms").unwrap().as_millis(), 1500);
    assert_eq!(parse_duration("24h").unwrap().as_secs(), 86_400);
    assert!(parse_workers("5").is_ok() && parse_workers("+5").is_err());
    for wrong in [
        "",
        "5",
        "s",
        "1.5s",
        "-1s",
        "1 s",
        "1d",
        "25h",
        "99999999999999999999s",
        "18446744073709551615h",
    ] {
        assert!(parse_duration(wrong).is_err(), "{wrong}");
    }
    assert_eq!(parse_bytes("4MiB"), Ok(4 << 20));
    assert_eq!(parse_bytes("17"), Ok(17));
    for wrong in [
        "",
        "KiB",
        "4MB",
        "4 MiB",
        "-1",
        "1.5MiB",
        "18446744073709551615GiB",
    ] {
        assert!(parse_bytes(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_url_has_a_port_that_can_be_reached() {
    assert!(BaseUrl::parse("https://a.com:65535").is_ok());
    for port in ["0", "00", "65536", "", "x"] {
        let error = BaseUrl::parse(&format!("https://a.com:{port}/a")).unwrap_err();
        assert!(error.contains("from 1 to 65535"), "{port}: {error}");
    }
}

#[test]
fn ports_are_split_behind_brackets() {
    assert_eq!(split_port("a:80"), Ok(("a", Some(80))));
    assert_eq!(split_port("[::1]"), Ok(("[::1]", None)));
    assert_eq!(split_port("[::1]:0"), Ok(("[::1]", Some(0))));
    assert!(split_port("a:").is_err());
    assert!(split_port("a:70000").is_err());
}

#[test]
fn names_are_as_long_as_dns_and_entra_have_them_and_no_longer() {
    let (label, most) = ("a".repeat(63), "a".repeat(64));
    let host = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    for right in [&host, &label, "a-b", "1a", "a.a1", "a.0xfg"] {
        assert!(HostName::parse(right).is_ok(), "{right}");
    }
    for wrong in [&format!("{host}a"), &most, "", "a-.com", "-a.com"] {
        assert!(HostName::parse(wrong).is_err(), "{wrong}");
    }
    assert!(Name::parse(&most).is_ok());
    assert!(Name::parse(&format!("{most}a")).is_err() && Name::parse("").is_err());
    let text = |length| "a".repeat(length);
    assert!(tenant_id(&text(253)).is_ok() && tenant_id("a.b.").is_ok());
    assert!(tenant_id(&text(254)).is_err() && tenant_id(".a").is_err());
    assert!(client_id(&text(256)).is_ok() && client_id(&text(257)).is_err());
    for wrapped in ["'a", "a'", " a", "a\r"] {
        for read in [tenant_id, client_id] {
            assert!(read(wrapped).unwrap_err().contains("alone"), "{wrapped:?}");
        }
    }
}

#[test]
fn an_address_is_no_name_and_a_pattern_is_shown_as_it_is_written() {
    let is_address = |text| HostName::parse(text).unwrap().is_address();
    assert!(is_address("[::1]") && is_address("10.0.0.1") && !is_address("a.com"));
    for text in ["*.a.com", "a.com"] {
        assert_eq!(HostPattern::parse(text).unwrap().to_string(), text);
    }
    let exact = HostPattern::parse("a.com").unwrap();
    assert!(exact.matches("a.com") && !exact.matches("b.com"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_url_that_is_accepted_comes_back_the_same(text in "https?://[a-z0-9.:\\[\\]/@?#%_-]{0,30}") {
        if let Ok(url) = BaseUrl::parse(&text) {
            prop_assert_eq!(BaseUrl::parse(&url.to_string()), Ok(url));
        }
    }

    #[test]
    fn a_prefix_holds_nothing_that_changes_a_path(text in "/\\PC{0,30}") {
        if let Ok(prefix) = PathPrefix::parse(&text) {
            let path = prefix.as_str();
            prop_assert!(!path.contains(['%', '?', '#', ';', '\\', ' ']) && path.is_ascii());
            prop_assert!(!path.ends_with('/') && !path.contains("//") && !path.contains("/../"));
        }
    }

    #[test]
    fn a_host_holds_nothing_but_a_host(text in "\\PC{0,30}") {
        if let Ok(host) = HostName::parse(&text) {
            prop_assert!(host.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'@'));
        }
        if let Ok(name) = Name::parse(&text) {
            prop_assert!(name.as_str().len() <= 64);
        }
    }
}
