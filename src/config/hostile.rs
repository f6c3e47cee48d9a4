//! What no file can do, whoever wrote it: make the check slow, make it panic, or make it show a
//! secret.

use std::time::Duration;

use proptest::prelude::*;

use super::node::{self, Content, Node};
use super::report::Span;
use super::tests::{EVERY_KEY, check};
use super::variable::SECRET_KEYS;
use super::{MOST_BYTES, Source, load};
use crate::clock::processor_time;

/// Far above what it takes in an unoptimised build, far below anything that grows with the square
/// of the file.
const AT_MOST: Duration = Duration::from_secs(2);

fn refused_quickly(text: &str) -> String {
    let started = processor_time();
    let problems = check(text).unwrap_err();
    let rendered = problems.to_string();
    let took = processor_time() - started;
    assert!(
        took < AT_MOST,
        "{took:?} for {}",
        &text[..40.min(text.len())]
    );
    assert!(
        rendered.len() < 1 << 20,
        "{} bytes of output",
        rendered.len()
    );
    rendered
}

#[test]
fn a_bomb_of_aliases_is_refused_at_once() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let alias = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(", "));
    }
    assert!(refused_quickly(&text).contains("anchors are not used"));
}

#[test]
fn deep_nesting_is_refused_at_once() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        format!("routes: {}{}", "[".repeat(100_000), "]".repeat(100_000)),
        "- ".repeat(100_000),
        (0..1000)
            .map(|level| format!("{}a:\n", " ".repeat(level)))
            .collect(),
    ] {
        refused_quickly(&text);
    }
}

#[test]
fn a_file_of_a_megabyte_is_refused_at_once() {
    let fill = |unit: &str| unit.repeat((MOST_BYTES - 200) / unit.len());
    let routes = "routes: [{name: a, path: /a, upstream: \"https://a.com\"}]\n";
    for text in [
        fill("x"),
        fill("\n"),
        fill("- x\n") + ":",
        fill("a: b\n"),
        format!("[{}]", fill("x,")),
        format!("hosts: [{}]\n{routes}a: b", fill("x,")),
        format!("listen: [{}]\n{routes}", fill("localhost:1,")),
        format!("resolve: {{{}}}\n{routes}a: b", fill("a:1: x,")),
        format!("{routes}credentials:\n{}", fill(" a: {}\n")),
        format!("{routes}{}", fill("clientt_secret: x\n")),
        format!("{routes}log: {{{}}}", fill("zzzzzzzz: x,")),
        format!(
            "routes:\n{}",
            fill("- {name: a, path: /a, upstream: \"http://a\"}\n")
        ),
        format!("x: \"{}", fill("${A}")),
        format!("hosts: [\"{}\"]\n{routes}", fill("${A}")),
        fill("client_secret: \"\n"),
    ] {
        refused_quickly(&text);
    }
    let chain: String = (0..9000)
        .map(|at| format!(" a{at}: {{fallback: a{}}}\n", at + 1))
        .collect();
    refused_quickly(&format!("credentials:\n{chain}{routes}"));
    let full = refused_quickly(&"#".repeat(MOST_BYTES));
    assert!(full.contains("is empty"), "{full}");
    let larger = refused_quickly(&"#".repeat(MOST_BYTES + 1));
    assert!(larger.starts_with("routes.yaml: the file is larger than 1 MiB"));
}

#[test]
fn a_thousand_routes_are_checked_at_once() {
    let route = |at| {
        format!("- {{name: r{at}, path: /r{at}, upstream: \"https://a.com\", allow: [GET /**]}}\n")
    };
    let text = format!("routes:\n{}", (0..1000).map(route).collect::<String>());
    let started = processor_time();
    assert_eq!(check(&text).unwrap().config.routes.len(), 1000);
    let took = processor_time() - started;
    assert!(took < AT_MOST, "{took:?}");
}

/// The places of all single values, except references to secrets.
fn scalars(node: &Node, found: &mut Vec<Span>) {
    match &node.content {
        Content::Empty => {}
        Content::List(items) => items.iter().for_each(|item| scalars(item, found)),
        Content::Mapping(entries) => {
            let secret = |key: &str| SECRET_KEYS.contains(&key);
            let open = entries.iter().filter(|entry| !secret(&entry.key.text));
            open.for_each(|entry| scalars(&entry.value, found));
        }
        Content::Scalar(_) => found.push(node.span),
    }
}

#[test]
fn any_value_may_come_from_a_variable_that_a_pipeline_does_not_have() {
    let mut places = Vec::new();
    scalars(&node::parse(EVERY_KEY).unwrap(), &mut places);
    assert!(places.len() > 100);
    for place in places {
        for unset in ["${UNSET}", "x${UNSET}", "*.${UNSET}", "http://${UNSET}/x"] {
            let (before, after) = (&EVERY_KEY[..place.start], &EVERY_KEY[place.end..]);
            let text = format!("{before}\"{unset}\"{after}");
            let source = Source {
                allow_missing_env: true,
                ..Source::alone(&text)
            };
            let problems = load(&source).err();
            assert_eq!(
                problems,
                None,
                "{unset} instead of {}",
                &EVERY_KEY[place.start..place.end]
            );
        }
    }
}

#[test]
fn a_value_that_is_empty_or_of_another_shape_is_told_with_what_its_key_takes() {
    let (mut places, mut accepted) = (Vec::new(), 0);
    scalars(&node::parse(EVERY_KEY).unwrap(), &mut places);
    for place in places {
        let (before, after) = (&EVERY_KEY[..place.start], &EVERY_KEY[place.end..]);
        for wrong in ["' '", "{zz: {}}"] {
            let told = check(&format!("{before}{wrong}{after}")).err();
            let told = told.unwrap_or_default().to_string();
            accepted += usize::from(told.is_empty());
            assert!(told.is_empty() || told.contains(" | "), "{before}{wrong}");
            assert!(!told.contains("not only spaces"), "{told}");
        }
    }
    assert_eq!(accepted, 3, "the values of headers may be empty");
}

/// A secret that no message can hold by chance.
const SECRET: &str = "Zq7RkWx2";

/// How people write secrets, right and wrong; `<>` stands for the secret.
const WRITTEN: &[&str] = &[
    "client_secret: <>",
    "client_secret: \"<>",
    "client_secret: '<>' x",
    "client_secret: <>: <>",
    "client_secret: ${A:-<>}",
    "client_secret:\n      <>",
    "client_secret:\n    <>: <>",
    "client_secret:\n<>: <>",
    "client_secret:\n      - <>",
    "client_secret: |\n      <>\n      <>",
    "client_secret: \"a\n      <>\n      <>\"",
    "client_secret: {<>: <>}",
    "client_secret: [<>, <>]",
    "client_secret: @<>",
    "client_secret: *<>",
    "client_secret: !<> <>",
    "client_secret <>",
    "clientSecret: <>",
    "client_secert: <>",
    "client_secert: @<>",
    "? client_secret\n    : <>",
    "certificate_password: <>",
    "api_key: <>",
    "client_id: ${SECRET_VARIABLE}",
    "tenant_id: ${SECRET_VARIABLE}/x",
    "fallback: ${SECRET_VARIABLE}",
    "expires: ${SECRET_VARIABLE}",
];

/// What may follow, so that the file is not YAML or not a configuration.
const BROKEN: &[&str] = &[
    "",
    "\n    bogus: 1",
    "\n   x: y",
    "\n\tx",
    "\n    a: \"",
    "}",
    "\n    client_id: {",
];

fn with_a_secret() -> impl Strategy<Value = String> {
    let place = prop::sample::select(WRITTEN);
    let tail = prop::sample::select(BROKEN);
    let flow = any::<bool>();
    (place, tail, flow).prop_map(|(place, tail, flow)| {
        let place = place.replace("<>", SECRET);
        let body = if flow { format!("{{{place}, tenant_id: a.com}}") } else { format!("\n    {place}") };
        let routes = "routes:\n  - {name: a, path: /a, upstream: \"https://a.com\", scope: \"https://${SECRET_VARIABLE}.com/.default\"}\n";
        format!("credentials:\n  contoso: {body}{tail}\n{routes}")
    })
}

fn messages(text: &str) -> String {
    let source = Source {
        file: "routes.yaml",
        text,
        env: &|name| (name != "AZURE_AUTHORITY_HOST").then(|| SECRET.into()),
        allow_missing_env: false,
    };
    match load(&source) {
        Ok(checked) => format!("{}{:?}", checked.warnings, checked.config),
        Err(problems) => format!("{problems}\n{problems:?}"),
    }
}

#[test]
fn a_secret_in_the_place_of_an_id_is_not_shown() {
    for (line, shown) in [
        ("client_id: abC8Q~thirty-two-characters-and-more é", false),
        ("tenant_id: abC8Q~thirty-two-characters-and-more", false),
        ("tenant_id: abC8Q~thirty.two-characters-and-more", false),
        ("tenant_id: .a-subsidiary-of-contoso.onmicrosoft.com", true),
        ("authority: me@contoso.com:hunter2@login.corp", false),
    ] {
        let text =
            format!("credentials:\n  a:\n    {line}\n    client_secret: ${{S}}\nroutes: []\n");
        let told = messages(&text);
        assert!(told.contains("    3 | "), "{told}");
        assert_eq!(told.contains(line), shown, "{told}");
    }
}

#[test]
fn a_secret_in_the_place_of_an_id_is_not_shown_where_the_file_is_no_yaml() {
    let secret = "abC8Q~thirty-two-characters-and-more";
    for (line, shown) in [
        (format!("tenant_id: {secret}"), false),
        (format!("client_id: '{secret}' # app"), false),
        (format!("b: {{tenant_id: t, client_id: {secret}"), false),
        (
            "tenant_id: a-subsidiary-of-contoso.onmicrosoft.com".to_owned(),
            true,
        ),
        (
            "client_id: 11111111-2222-3333-4444-555555555555".to_owned(),
            true,
        ),
        (
            "client_id: ${THE_CLIENT_ID_OF_AN_APP_OF_CONTOSO}".to_owned(),
            true,
        ),
    ] {
        let text = format!("credentials:\n  a:\n    cloud: public\n      {line}\nroutes: []\n");
        let told = messages(&text);
        assert!(told.contains("    4 | "), "{told}");
        assert_eq!(told.contains(&line), shown, "{told}");
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn the_file_of_a_secret_in_the_place_of_the_configuration_is_not_shown() {
    for text in [
        "hunter",
        "\"hunter\"",
        "a hunter\n",
        "[hunter]",
        "- - hunter\n",
        "hunter\nhunter\n",
    ] {
        let told = messages(text);
        assert!(!told.contains("hunter"), "{text:?}: {told}");
        assert!(told.contains("not a mapping"), "{text:?}: {told}");
    }
}

#[test]
fn a_secret_below_its_key_is_not_shown_whatever_words_it_is_made_of() {
    for (line, shown) in [
        ("hunterTwoSecretPhrase", false),
        ("my_token: hunterTwoSecretPhrase", false),
        ("tenant_id hunterTwoSecretPhrase", false),
        ("tenant_id: a: b", true),
    ] {
        let text = format!("credentials:\n  a:\n    client_secret:\n\n    {line}\nroutes: []\n");
        let told = messages(&text);
        assert!(!told.contains("hunter"), "{told}");
        assert_eq!(told.contains("| ") && told.contains(line), shown, "{told}");
    }
}

#[test]
fn what_follows_a_damaged_key_is_not_shown_as_a_key() {
    let routes = "routes:\n  - {name: a, path: /a, upstream: \"https://a.com\"}\n";
    let told = |key: &str| {
        messages(&format!(
            "credentials:\n  contoso:* {{client_secret:\n      {key}, tenant_id: a.com}}}}\n{routes}"
        ))
    };
    let letters = SECRET.replace(|c: char| c.is_ascii_digit(), "");
    let shown = told(&letters);
    assert!(!shown.contains(&letters), "{shown}");
    assert!(shown.contains("unknown key: a key is a word"), "{shown}");
    let shown = messages(&format!(
        "credentials:\n  :`  client_secret: {{{letters}: x}}\n{routes}"
    ));
    assert!(!shown.contains(&letters), "{shown}");
    let shown = told("client_secert");
    assert!(shown.contains("unknown key \"client_secert…\""), "{shown}");
}

#[test]
fn a_list_below_a_secret_in_what_is_no_yaml_is_not_shown() {
    let shown = messages(&format!(
        "credentials:\n  contoso: {{client_secret: !x\n- {SECRET}, tenant_id: a.com}}\n"
    ));
    assert!(shown.contains("this is not valid YAML"), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn what_stands_for_a_name_without_a_mapping_is_not_shown() {
    let routes = "routes:\n  - {name: a, path: /a, upstream: \"https://a.com\"}\n";
    for credentials in [
        format!("  #contoso:\n    client_secret:\n    {SECRET}: {SECRET}\n"),
        format!("  contoso:\n    client_secret:\n  {SECRET}: {SECRET}\n"),
        format!("  # contoso: {{client_secret:\n      {SECRET}, tenant_id: a.com}}\n"),
        format!("  contoso:\n    secrets: {{name: {SECRET}}}\n"),
    ] {
        let shown = messages(&format!("credentials:\n{credentials}{routes}"));
        assert!(!shown.contains(SECRET), "{shown}");
    }
    let shown = messages(&format!("credentials:\n  contoso: x\n{routes}"));
    assert!(shown.contains("\"contoso\" takes a mapping"), "{shown}");
    let shown = messages(&format!("credentials:\n  contoso2:\n{routes}"));
    assert!(shown.contains("\"contoso2\" has no value"), "{shown}");
    assert!(shown.contains("|   contoso2:"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_check_panic(text in "\\PC{0,200}") {
        messages(&text);
    }

    #[test]
    fn no_damage_makes_the_check_panic(
        at in any::<prop::sample::Index>(),
        length in 0usize..20,
        put in "[-\\[\\]{}:,#&*!|>'\"%@`\\t\\n a-z$é]{0,4}",
    ) {
        let mut text: Vec<char> = EVERY_KEY.chars().collect();
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        text.splice(start..end, put.chars());
        let text: String = text.into_iter().collect();
        let _ = check(&text);
    }

    #[test]
    fn no_message_shows_a_secret(text in with_a_secret()) {
        let shown = messages(&text).to_lowercase();
        prop_assert!(!shown.contains(&SECRET.to_lowercase()), "{text}\n{shown}");
    }

    #[test]
    fn a_secret_in_a_damaged_file_is_not_shown(
        text in with_a_secret(),
        at in any::<prop::sample::Index>(),
        put in "[-\\[\\]{}:,#&*!|>'\"%@`\\t\\n ]{1,2}",
    ) {
        let mut text: Vec<char> = text.chars().collect();
        let start = at.index(text.len());
        text.splice(start..start, put.chars());
        let text: String = text.into_iter().collect();
        let shown = messages(&text).to_lowercase();
        prop_assert!(!shown.contains(&SECRET.to_lowercase()), "{text}\n{shown}");
    }
}
