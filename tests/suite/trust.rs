//! Which authorities vouch for upstreams and for those who issue tokens, and when they change.

use std::fs;

use crate::cli::{desk, with_file};
use crate::harness::program::run;
use crate::harness::stage::Stage;
use crate::tls::Authority;

#[tokio::test]
async fn what_the_authorities_file_holds_counts_after_a_reload_not_only_its_name() {
    let stage = Stage::cold("workers: 1\n", |_| {}).await;
    let file = stage.folder().join("own.pem");
    let own = format!("workers: 1\ntrust: {{ca_file: '{}'}}\n", file.display());
    let put = |pem: &str| fs::write(&file, pem).expect("the folder can be written");
    let first = stage.simulator.ca_pem().to_owned();
    put(&first);
    stage.reload(&own);
    stage.attempted().await;
    stage.get("/graph/sim/bytes/1").await.expect(200);

    put(&Authority::new().pem);
    stage.reload(&own);
    let withdrawn = stage.get("/graph/sim/bytes/1").await;
    assert_eq!(withdrawn.refusal(), (502, "upstreamUnreachable".to_owned()));

    put(&first);
    stage.reload(&own);
    stage.get("/graph/sim/bytes/1").await.expect(200);
}

#[tokio::test]
async fn variables_that_lead_to_no_certificate_are_refused_and_not_passed_over() {
    let (simulator, folder) = desk("").await;
    let at = |name: &str| folder.path().join(name);
    fs::write(at("good.pem"), simulator.ca_pem()).expect("the folder can be written");
    fs::write(at("other.pem"), "not a certificate").expect("the folder can be written");
    fs::create_dir(at("empty")).expect("the folder can be written");
    let (file, folders) = ("SSL_CERT_FILE", "SSL_CERT_DIR");
    for (variables, code, words) in [
        (vec![(file, "good.pem")], 0, ""),
        (
            vec![(file, "typo.pem")],
            2,
            "typo.pem\", where no CA certificate",
        ),
        (
            vec![(file, "other.pem")],
            2,
            "other.pem\", where no CA certificate",
        ),
        (
            vec![(folders, "typo")],
            2,
            "typo\", where no CA certificate",
        ),
        (
            vec![(folders, "empty")],
            2,
            "empty\", where no CA certificate",
        ),
        (
            vec![(file, "typo.pem"), (folders, "empty")],
            2,
            "typo.pem\", where",
        ),
        (
            vec![(file, "good.pem"), (folders, "typo")],
            0,
            "what cannot is not trusted",
        ),
    ] {
        let mut command = with_file(&["check"], folder.path());
        command.envs(variables.iter().map(|(name, path)| (name, at(path))));
        let (own, out, err) = run(command).await;
        assert_eq!(own, code, "{variables:?}: {out}{err}");
        assert!(err.contains(words), "{variables:?}: {err}");
        let told = err.matches("No such file").count();
        assert!(told < 2, "{variables:?}: {err}");
        assert_eq!(
            err.contains("warning"),
            code == 0 && !words.is_empty(),
            "{err}"
        );
    }
}
