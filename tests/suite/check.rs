//! `check`, and the other commands before they begin: every problem at once, each at its place.

use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use tokenferry::simulator::{CLIENT_ID, TENANT_ID};

use crate::cli::{desk, with_file};
use crate::harness::program::run;

/// A certificate and its key, in these files of a folder.
pub(crate) fn write_pair(folder: &Path, certificate: &str, key: &str) {
    let pair = KeyPair::generate().expect("a key can be made");
    let params = CertificateParams::new(["gateway.corp".to_owned()]).expect("the name is one");
    let made = params.self_signed(&pair).expect("it can be signed");
    write(folder, certificate, &made.pem());
    write(folder, key, &pair.serialize_pem());
}

pub(crate) fn write(folder: &Path, name: &str, content: &str) {
    std::fs::write(folder.join(name), content).expect("the folder can be written");
}

/// The first line of each problem that `check` and `run` tell about these lines, with the names of
/// folders left out.
pub(crate) async fn problems(own: &str, prepare: impl Fn(&Path)) -> Vec<String> {
    let (_simulator, folder) = desk("").await;
    prepare(folder.path());
    let place = format!("{}/", folder.path().display());
    let file = folder.path().join("routes.yaml");
    let app = format!("tenant_id: {TENANT_ID}\n    client_id: {CLIENT_ID}");
    let own = own.replace("FOLDER/", &place).replace("APP", &app);
    std::fs::write(&file, own).expect("the folder can be written");
    let told = |text: &str| -> Vec<String> {
        let shorten = |line: &str| line.replace(&place, "");
        let first = |line: &&str| {
            let is_one = ![": warning: ", ": refused, "]
                .iter()
                .any(|no| line.contains(no));
            line.starts_with(&place) && is_one
        };
        text.lines().filter(first).map(shorten).collect()
    };
    let (code, out, err) = run(with_file(&["check"], folder.path())).await;
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    let checked = told(&err);
    assert!(
        err.contains(&format!("refused, {} problem", checked.len())),
        "{err}"
    );
    let (code, _, err) = run(with_file(&["run"], folder.path())).await;
    assert_eq!(code, 2, "{err}");
    assert_eq!(told(&err), checked);
    checked
}

#[tokio::test]
async fn no_problem_hides_another() {
    let own = "\
tls:
  certificate_file: FOLDER/tls.pem
  key_file: FOLDER/other.key
trust:
  ca_file: FOLDER/none
credentials:
  one:
    client_secret_file: FOLDER/none
    APP
  two:
    client_secret: ${NONE}
    APP
  three:
    certificate_file: FOLDER/tls.pem
    APP
  four:
    client_id: a
    client_secret_file: FOLDER/none
  one: {client_secret_file: FOLDER/second}
routes:
  - {name: a, path: a, upstream: 'https://a.com', credential: one}
";
    let told = problems(own, |folder| {
        write_pair(folder, "tls.pem", "tls.key");
        write_pair(folder, "other.pem", "other.key");
    })
    .await;
    assert_told(
        &told,
        &[
            "3:13: the key in other.key does not belong to the first certificate in tls.pem",
            "5:12: cannot read none",
            "8:25: cannot read none",
            "12:20: environment variable NONE is not set",
            "16:23: credential \"three\": no private key",
            "19:3: \"tenant_id\" is missing",
            "21:25: cannot read none",
            "22:3: \"one\" is given twice",
            "24:21: \"path\" takes a path",
        ],
    );
}

#[tokio::test]
async fn the_name_of_a_file_that_is_not_there_turns_no_text_around() {
    let own = "\
credentials:
  one:
    client_secret_file: \"FOLDER/\\u202enone\\u200b\"
    APP
routes: [{name: a, path: /a, upstream: 'https://a.com'}]
";
    let told = problems(own, |_| {}).await;
    assert_told(&told, &["3:25: cannot read \u{fffd}none\u{fffd}: "]);
}

/// Each of these lines begins with the place and the words beside it.
pub(crate) fn assert_told(told: &[String], expected: &[&str]) {
    let begin =
        |(told, expected): (&String, &&str)| told.starts_with(&format!("routes.yaml:{expected}"));
    let all = told.iter().zip(expected).all(begin) && told.len() == expected.len();
    assert!(all, "{told:#?} is not {expected:#?}");
}

#[tokio::test]
async fn a_file_is_judged_alike_whatever_its_path_is() {
    // The path is in a folder here, and so no plain word.
    let told = problems("foobar: x\nlistn: x\nroutes: []\ncredentials: {}\n", |_| {}).await;
    assert_told(
        &told,
        &[
            "1:1: unknown key \"foobar\"",
            "2:1: unknown key \"listn\"",
            "3:1: there is no route",
            "4:14: no credential is given",
        ],
    );
    assert!(!told[0].contains("a key is a word"), "{told:?}");
    let told = problems("- name: graph\n", |_| {}).await;
    assert_told(&told, &["1:1: the file is a list, not a mapping"]);
}

#[tokio::test]
async fn two_callers_with_one_key_are_refused() {
    let own = "\
callers:
  one:
    api_key_file: FOLDER/one
  two:
    api_key_file: FOLDER/two
  three:
    api_key: ${PATH_OF_NOTHING}
  four:
    api_key: ${PATH_OF_NOTHING}
routes:
  - {name: a, path: /a, upstream: 'https://a.com', callers: [one, two, three, four]}
";
    let told = problems(own, |folder| {
        write(folder, "one", "the-key-of-both-callers");
        write(folder, "two", "the-key-of-both-callers\n");
    })
    .await;
    let words = "5:19: callers \"one\" and \"two\" have the same API key";
    let found = told
        .iter()
        .any(|told| told.starts_with(&format!("routes.yaml:{words}")));
    assert!(found, "{told:#?}");
    assert!(!told.concat().contains("the-key-of"), "{told:#?}");
}

#[tokio::test]
async fn a_key_of_several_lines_is_refused() {
    let own = "\
callers:
  one:
    api_key_file: FOLDER/one
routes:
  - {name: a, path: /a, upstream: 'https://a.com', callers: [one]}
";
    let told = problems(own, |folder| {
        write(folder, "one", "the-key-of-cron-jobs\nthe-key-of-alice\n");
    })
    .await;
    let begin = "routes.yaml:3:19: the API key of caller \"one\" is of several lines";
    assert!(told.iter().any(|told| told.starts_with(begin)), "{told:#?}");
    assert!(!told.concat().contains("the-key-of"), "{told:#?}");
}

#[tokio::test]
async fn a_file_without_the_keys_of_the_cluster_is_refused() {
    for (content, said) in [
        ("hi", "this is not a JSON Web Key Set"),
        ("{\"keys\":[]}", "this key set holds no RSA or P-256 key"),
    ] {
        let own = "\
kubernetes:
  issuer: https://issuer.corp
  audience: tokenferry
  jwks_file: FOLDER/keys.json
callers: {job: {service_account: a/b}}
credentials:
  app:
    client_secret_file: FOLDER/secret
    APP
routes: [{name: a, path: /a, upstream: 'https://a.com', callers: [job]}]
";
        let told = problems(own, |folder| write(folder, "keys.json", content)).await;
        assert_told(
            &told,
            &["4:14: keys.json cannot be used as kubernetes.jwks_file"],
        );
        assert!(
            told[0].contains(said) && !told[0].contains("serves"),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn one_file_under_two_keys_is_told_where_it_is_wrong() {
    let own = "\
tls:
  certificate_file: FOLDER/key.pem
  key_file: FOLDER/key.pem
credentials:
  app:
    client_secret_file: FOLDER/secret
    APP
routes: [{name: a, path: /a, upstream: 'https://a.com'}]
";
    let told = problems(own, |folder| {
        write_pair(folder, "certificate.pem", "key.pem")
    })
    .await;
    assert_told(&told, &["2:21: key.pem holds no PEM certificate"]);
    let told = problems(own, |folder| write_pair(folder, "key.pem", "other.key")).await;
    assert_told(&told, &["3:13: key.pem holds no PEM private key"]);
}

#[tokio::test]
async fn a_file_that_is_not_text_is_told_where_it_stops_being_it() {
    let (_simulator, folder) = desk("").await;
    let file = folder.path().join("routes.yaml");
    std::fs::write(&file, b"listen: localhost:0\nhosts: [b\xfccher.corp]\n").unwrap();
    let (code, _, err) = run(with_file(&["check"], folder.path())).await;
    assert_eq!(code, 2, "{err}");
    assert!(
        err.contains("routes.yaml:2:10: byte 30 is not UTF-8\n"),
        "{err}"
    );
}

#[tokio::test]
async fn an_end_that_is_near_is_told_where_it_is_written() {
    let own = "\
credentials:
  declared:
    tenant_id: a
    client_id: a
    client_secret_file: SECRET_FILE
    expires: 2026-01-01
routes: [{name: a, path: /a, upstream: 'https://a.com'}]
";
    let (_simulator, folder) = desk(own).await;
    let (code, _, err) = run(with_file(&["check"], folder.path())).await;
    assert_eq!(code, 0, "{err}");
    let text = std::fs::read_to_string(folder.path().join("routes.yaml")).unwrap();
    let line = text
        .lines()
        .position(|line| line.contains("expires"))
        .unwrap()
        + 1;
    let warning = format!(":{line}:14: warning: credential \"declared\" expired on 2026-01-01");
    assert!(err.contains(&warning), "{warning} in {err}");
}

#[tokio::test]
async fn a_variable_that_is_not_set_is_told_once() {
    let own = "\
tls:
  certificate_file: '${NONE}/tls.pem'
  key_file: '/run/${NONE}'
  client_ca_file: '${NONE}'
trust:
  ca_file: '${NONE}'
kubernetes:
  issuer: https://issuer.corp
  audience: tokenferry
  jwks_file: '${NONE}'
callers: {job: {service_account: a/b}, cron: {api_key_file: '${NONE}'}}
credentials:
  one:
    client_secret_file: '${NONE}'
    APP
  two:
    certificate_file: FOLDER/secret
    certificate_password_file: '${NONE}'
    APP
  three:
    client_secret: '${NONE}'
    APP
routes: [{name: a, path: /a, upstream: 'https://a.com', credential: one, callers: [job, cron]}]
";
    let told = problems(own, |_| {}).await;
    let places = [
        "2:22", "3:19", "4:20", "6:13", "10:15", "11:62", "14:26", "19:33", "23:20",
    ];
    let expected = places.map(|place| format!("{place}: environment variable NONE is not set"));
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert_told(&told, &expected);
}

#[tokio::test]
async fn a_fixed_address_that_token_calls_would_not_follow_is_refused() {
    let own = "\
credentials:
  one: {client_secret_file: FOLDER/secret, authority: 'https://10.0.0.1', tenant_id: a, client_id: a}
  two: {client_secret_file: FOLDER/secret, authority: 'https://[::1]:8443', tenant_id: a, client_id: a}
  three: {client_secret_file: FOLDER/secret, authority: 'http://127.0.0.1:8443', tenant_id: a, client_id: a}
resolve:
  10.0.0.1:443: 10.0.0.2:443
  10.0.0.1:444: 10.0.0.2:443
  '[::1]:8443': 10.0.0.2:443
  127.0.0.1:8443: 127.0.0.1:8444
routes:
  - {name: a, path: /a, upstream: 'https://10.0.0.1', scope: 'https://a.com/.default', credential: one}
";
    let told = problems(own, |_| {}).await;
    assert_told(
        &told,
        &[
            "6:3: \"10.0.0.1:443\" is the authority of a credential",
            "8:3: \"[::1]:8443\" is the authority of a credential",
        ],
    );
}

#[tokio::test]
async fn token_refuses_a_file_only_for_what_its_route_needs() {
    let none = format!("tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, client_secret_file: /no");
    let own = format!(
        "tls: {{certificate_file: /no, key_file: /no}}\ncredentials:\n  \
         app: {{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, client_secret_file: SECRET_FILE}}\n  \
         none: {{{none}}}\nroutes:\n  \
         - {{name: graph, path: /graph, upstream: 'https://GRAPH', credential: app}}\n  \
         - {{name: none, path: /none, upstream: 'https://GRAPH', credential: none}}\n"
    );
    let (_simulator, folder) = desk(&own).await;
    let (code, out, err) = run(with_file(&["token", "graph"], folder.path())).await;
    assert_eq!((code, err.lines().count()), (0, 1), "{out}{err}");
    let (code, out, err) = run(with_file(&["token", "none"], folder.path())).await;
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.contains(": cannot read /no: "), "{err}");
    assert!(err.ends_with("routes.yaml: refused, 1 problem\n"), "{err}");
}

#[tokio::test]
async fn more_workers_than_any_machine_has_cores_for_are_refused() {
    let (_simulator, folder) = desk("").await;
    let command = with_file(&["run", "--workers", "2147483647"], folder.path());
    let (code, _, err) = run(command).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("a whole number from 1 to 1024"), "{err}");
}

#[tokio::test]
async fn a_variable_that_is_not_utf_8_is_told_as_such_and_not_as_missing() {
    use std::os::unix::ffi::OsStringExt as _;
    let not_text = std::ffi::OsString::from_vec(b"hunter\xff2".to_vec());
    for (own, vars) in [
        ("listen: '${ODD}'", &["ODD"][..]),
        ("callers: {job: {api_key: '${ODD}'}}", &["ODD"]),
        ("listen: '${ODD:-localhost:0}'", &["ODD"]),
        ("workers: 1", &["AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"]),
    ] {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let routes = "routes: [{name: a, path: /a, upstream: 'https://a.com'}]";
        write(folder.path(), "routes.yaml", &format!("{own}\n{routes}\n"));
        let mut command = with_file(&["check"], folder.path());
        command
            .env("AZURE_TENANT_ID", TENANT_ID)
            .env("AZURE_CLIENT_ID", CLIENT_ID)
            .env("AZURE_CLIENT_SECRET", "value")
            .envs(vars.iter().map(|name| (name, &not_text)));
        let (code, out, err) = run(command).await;
        assert_eq!(code, 2, "{own}: {out}{err}");
        assert!(!err.contains("is not set"), "{own}: {err}");
        assert!(!err.contains("hunter"), "{own}: {err}");
        for name in vars {
            let words = format!("environment variable {name} is not UTF-8");
            assert!(err.contains(&words), "{own}: {err}");
        }
    }
}
