//! Microsoft's own token library and tokenferry ask the same identity service with the same proof:
//! what they send is the same, but for what each is listed to do otherwise.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokenferry::simulator::{CLIENT_ID, LOGIN, Seen, Simulator, TENANT_ID};

use crate::cli::{desk, with_file};
use crate::harness::program::run;
use crate::proofs::{app, place, write};

/// Python with the library.
fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/msal/bin/python");
    assert!(
        python.exists(),
        "msal is not there; tests/clients/install fetches it"
    );
    python
}

/// What msal and then tokenferry send for this kind of proof, which is in `file`.
async fn both(
    kind: &str,
    keys: &str,
    file: &Path,
    simulator: &Simulator,
    folder: &Path,
) -> [Seen; 2] {
    let mut msal = Command::new(python());
    msal.env_clear()
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/acquire.py"))
        .arg(simulator.address().to_string())
        .arg(folder.join("ca.pem"))
        .arg(format!("https://{LOGIN}/{TENANT_ID}"))
        .args([CLIENT_ID, "https://graph.microsoft.com/.default", kind])
        .arg(file);
    let (code, out, err) = run(msal).await;
    assert_eq!((code, out.as_str()), (0, "fine\n"), "{out}{err}");
    let (code, out, err) = run(with_file(&["token", "graph"], folder)).await;
    assert_eq!(code, 0, "{keys}: {out}{err}");
    let mut calls = simulator.seen();
    calls.retain(|seen| seen.method == "POST");
    assert!(
        calls
            .iter()
            .all(|call| call.status.is_some_and(|it| it.is_success()))
    );
    assert_eq!(
        simulator.violations().len(),
        0,
        "{:?}",
        simulator.violations()
    );
    calls.try_into().expect("one call of each")
}

fn form(call: &Seen) -> BTreeMap<String, String> {
    let body = call.body.bytes.clone().unwrap_or_default();
    url::form_urlencoded::parse(&body).into_owned().collect()
}

/// The same for both, once this is taken away from the first: names of fields or members.
fn alike<V: PartialEq + std::fmt::Debug>(
    msal: &BTreeMap<String, V>,
    ours: &BTreeMap<String, V>,
    only_msal: &[&str],
    only_ours: &[&str],
) {
    let without = |all: &BTreeMap<String, V>, names: &[&str]| {
        for name in names {
            assert!(all.contains_key(*name), "{name} is sent: {all:?}");
        }
        let kept = all
            .iter()
            .filter(|(name, _)| !names.contains(&name.as_str()));
        kept.map(|(name, value)| format!("{name}={value:?}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(without(msal, only_msal), without(ours, only_ours));
}

/// The parts of the assertion in a form: its header and its claims.
fn assertion(form: &BTreeMap<String, String>) -> [BTreeMap<String, Value>; 2] {
    let mut parts = form["client_assertion"].split('.');
    let mut part = || {
        let json = URL_SAFE_NO_PAD.decode(parts.next().expect("a part"));
        serde_json::from_slice(&json.expect("it is base64url")).expect("it is an object")
    };
    [part(), part()]
}

/// The same target, host and media type.
fn same_place(calls: &[Seen; 2]) {
    let place = |call: &Seen| {
        let kind = call.header("content-type").unwrap_or_default();
        (call.host.clone(), call.target(), kind)
    };
    assert_eq!(place(&calls[0]), place(&calls[1]));
}

#[tokio::test]
async fn a_secret_is_sent_as_microsofts_library_sends_it() {
    let (_place, file) = place();
    let keys = "    client_secret_file: 'FILE'\n";
    let (simulator, folder) = desk(&app(keys, &file)).await;
    // It holds every character that form encoding has to look after.
    write(&file, simulator.client_secret().expect("a secret").expose());
    let calls = both("secret", keys, &file, &simulator, folder.path()).await;
    same_place(&calls);
    let [msal, ours] = calls.each_ref().map(form);
    // A hint for Microsoft's routing that has no meaning without a user.
    alike(&msal, &ours, &["client_info"], &[]);
    assert_eq!(ours.len(), 4, "{ours:?}");
}

#[tokio::test]
async fn a_certificate_proves_the_app_as_in_microsofts_library() {
    let (_place, file) = place();
    let keys = "    certificate_file: 'FILE'\n    send_chain: true\n";
    let (simulator, folder) = desk(&app(keys, &file)).await;
    write(&file, simulator.make_certificate().expect("a key"));
    let calls = both("certificate", keys, &file, &simulator, folder.path()).await;
    same_place(&calls);
    let [msal, ours] = calls.each_ref().map(form);
    alike(
        &msal,
        &ours,
        &["client_info", "client_assertion"],
        &["client_assertion"],
    );
    let ([mut msal_header, msal_claims], [our_header, our_claims]) =
        (assertion(&msal), assertion(&ours));
    // msal pads the one and leaves line ends in the other, against RFC 7515 sections 4.1.8 and 4.1.6.
    let plain = |value: &Value| value.to_string().replace(['='], "").replace("\\n", "");
    for name in ["x5t#S256", "x5c"] {
        let value = serde_json::from_str(&plain(&msal_header[name])).expect("it stays JSON");
        msal_header.insert(name.to_owned(), value);
    }
    let mut our_header = our_header;
    let chain = serde_json::from_str(&plain(&our_header["x5c"])).expect("it stays JSON");
    our_header.insert("x5c".to_owned(), chain);
    alike(&msal_header, &our_header, &[], &[]);
    assert_eq!(our_header["alg"], "PS256");
    // Times and the identifier are of each call; ours begins a little back, against clock skew.
    let own = ["exp", "iat", "jti"];
    alike(
        &msal_claims,
        &our_claims,
        &own,
        &[&own[..], &["nbf"]].concat(),
    );
    let life = |claims: &BTreeMap<String, Value>| {
        let number = |name: &str| claims[name].as_f64().expect("a number");
        number("exp") - number("iat")
    };
    assert!(
        life(&our_claims) <= life(&msal_claims),
        "{our_claims:?} {msal_claims:?}"
    );
    let form_of_id = |claims: &BTreeMap<String, Value>| {
        let id = claims["jti"].as_str().expect("text");
        id.split('-').map(str::len).collect::<Vec<_>>()
    };
    assert_eq!(
        form_of_id(&msal_claims),
        form_of_id(&our_claims),
        "both are UUIDs"
    );
    assert_ne!(msal_claims["jti"], our_claims["jti"]);
}
