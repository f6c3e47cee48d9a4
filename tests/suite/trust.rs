//! Which authorities vouch for upstreams and for those who issue tokens, and when they change.

use std::fs;

use crate::harness::stage::Stage;
use crate::tls::Authority;

#[tokio::test]
async fn what_the_authorities_file_holds_counts_after_a_reload_not_only_its_name() {
    let stage = Stage::cold("workers: 1\n", |_| {}).await;
    let file = stage.folder().join("own.pem");
    let own = format!("workers: 1\ntrust: {{ca_file: '{}'}}\n", file.display());
    let put = |pem: &str| fs::write(&file, pem).expect("the folder can be written");
    let first = stage.simulator.ca_pem();
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
