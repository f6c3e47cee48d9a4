//! The files of deploy/ fit one another and the program: names, ports, paths and periods. A typing
//! error in a manifest shows in a cluster only, and there late.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokenferry::config::{Config, ListenAddress, Source, load};

use crate::harness::stage::Stage;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(name: &str) -> String {
    let file = root().join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn yaml(name: &str) -> Value {
    serde_yaml::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a path of members and indices leads to, which must be there.
#[track_caller]
fn at<'a>(document: &'a Value, pointer: &str) -> &'a Value {
    let found = document.pointer(pointer);
    found.unwrap_or_else(|| panic!("there is no {pointer} in {document}"))
}

#[track_caller]
fn word<'a>(document: &'a Value, pointer: &str) -> &'a str {
    let found = at(document, pointer).as_str();
    found.unwrap_or_else(|| panic!("{pointer} is no text in {document}"))
}

#[track_caller]
fn list<'a>(document: &'a Value, pointer: &str) -> &'a [Value] {
    let found = at(document, pointer).as_array();
    found.unwrap_or_else(|| panic!("{pointer} is no list in {document}"))
}

/// The files below a folder that end like this.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

const CONTAINER: &str = "/spec/template/spec/containers/0";

fn deployment() -> Value {
    yaml("deploy/kubernetes/deployment.yaml")
}

fn container() -> Value {
    at(&deployment(), CONTAINER).clone()
}

/// The configuration that Kubernetes and compose start with.
fn config() -> Config {
    let name = "deploy/kubernetes/routes.yaml";
    let text = text(name);
    let source = Source {
        file: name,
        ..Source::alone(&text)
    };
    let checked = load(&source).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(checked.warnings.0.is_empty(), "{}", checked.warnings);
    checked.config
}

/// The container's port of this name.
fn port(name: &str) -> u64 {
    let container = container();
    let named = |port: &&Value| port["name"] == name;
    let port = list(&container, "/ports").iter().find(named);
    let port = port.unwrap_or_else(|| panic!("the container has no port {name}"));
    port["containerPort"].as_u64().expect("a port is a number")
}

#[test]
fn every_file_is_yaml() {
    let all = files(&root().join("deploy"), ".yaml");
    assert!(all.len() >= 12, "{all:?}");
    for file in all {
        let text = fs::read_to_string(&file).expect("it can be read");
        let document: Result<Value, _> = serde_yaml::from_str(&text);
        let document = document.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(document.is_object(), "{}", file.display());
    }
}

#[test]
fn ports_are_those_that_are_listened_on() {
    let config = config();
    for (addresses, name) in [(&config.listen, "http"), (&config.admin, "admin")] {
        let [ListenAddress::Tcp(address)] = addresses.as_slice() else {
            panic!("one address is listened on: {addresses:?}");
        };
        assert!(address.ip().is_unspecified(), "{address}");
        assert_eq!(u64::from(address.port()), port(name));
        let published = format!("127.0.0.1:{0}:{0}", address.port());
        let compose = yaml("deploy/compose.yaml");
        assert!(list(&compose, "/services/tokenferry/ports").contains(&published.into()));
    }
}

#[tokio::test]
async fn probes_and_scrapes_ask_for_what_is_there() {
    let container = container();
    let mut asked = Vec::new();
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = at(&container, &format!("/{probe}/httpGet"));
        assert_eq!(get["port"], "admin", "{probe}");
        asked.push(word(get, "/path").to_owned());
    }
    let monitor = yaml("deploy/monitoring/podmonitor.yaml");
    let endpoint = at(&monitor, "/spec/podMetricsEndpoints/0");
    assert_eq!(endpoint["port"], "admin");
    asked.push(word(endpoint, "/path").to_owned());
    let stage = Stage::open().await;
    for path in asked {
        let answer = stage.ask_admin(&format!("GET {path} HTTP/1.1")).await;
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[test]
fn who_is_meant_is_called_by_its_name() {
    let deployment = deployment();
    let labels = at(&deployment, "/spec/template/metadata/labels");
    for (file, selector) in [
        ("deployment", "/spec/selector/matchLabels"),
        ("service", "/spec/selector"),
        ("networkpolicy", "/spec/podSelector/matchLabels"),
        ("poddisruptionbudget", "/spec/selector/matchLabels"),
    ] {
        let document = yaml(&format!("deploy/kubernetes/{file}.yaml"));
        let wanted = at(&document, selector).as_object().expect("labels");
        assert!(!wanted.is_empty(), "{file}");
        for (name, value) in wanted {
            assert_eq!(&labels[name], value, "{file}: {name}");
        }
    }
    let account = yaml("deploy/kubernetes/serviceaccount.yaml");
    let used = word(&deployment, "/spec/template/spec/serviceAccountName");
    assert_eq!(used, word(&account, "/metadata/name"));

    let service = yaml("deploy/kubernetes/service.yaml");
    assert_eq!(word(&service, "/spec/ports/0/targetPort"), "http");
    let url = match at(&service, "/spec/ports/0/port").as_u64() {
        Some(80) => "`http://tokenferry/graph/".to_owned(),
        port => format!("`http://tokenferry:{}/graph/", port.expect("a number")),
    };
    assert!(text("README.md").contains(&url), "the README says {url}");
    let policy = yaml("deploy/kubernetes/networkpolicy.yaml");
    for rule in list(&policy, "/spec/ingress") {
        port(word(rule, "/ports/0/port"));
    }
}

#[test]
fn kustomize_finds_what_it_is_told_of() {
    let kustomization = yaml("deploy/kubernetes/kustomization.yaml");
    let folder = root().join("deploy/kubernetes");
    let maps = "/configMapGenerator/0/files";
    for name in [
        list(&kustomization, "/resources"),
        list(&kustomization, maps),
    ]
    .concat()
    {
        let name = name.as_str().expect("a file");
        assert!(folder.join(name).exists(), "{name}");
    }
    let listed = list(&kustomization, "/resources").len();
    let autoscaling = files(&folder.join("autoscaling"), ".yaml").len();
    // All but itself and routes.yaml, which becomes the ConfigMap.
    let all = files(&folder, ".yaml").len() - autoscaling;
    assert_eq!(all, listed + 2);
    let deployment = deployment();
    let volume = "/spec/template/spec/volumes/0/configMap/name";
    let made = word(&kustomization, "/configMapGenerator/0/name");
    assert_eq!(word(&deployment, volume), made);
    let image = word(&deployment, &format!("{CONTAINER}/image"));
    assert_eq!(word(&kustomization, "/images/0/name"), image);
    let tag = word(&kustomization, "/images/0/newTag");
    assert_eq!(tag, env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_autoscaler_is_a_line_away_and_scales_what_is_there() {
    let offered = "# components:\n#   - autoscaling\n";
    assert!(text("deploy/kubernetes/kustomization.yaml").contains(offered));
    let component = yaml("deploy/kubernetes/autoscaling/kustomization.yaml");
    assert_eq!(component["kind"], "Component");
    let resources = list(&component, "/resources");
    assert_eq!(resources, ["horizontalpodautoscaler.yaml"]);
    let scaler = yaml("deploy/kubernetes/autoscaling/horizontalpodautoscaler.yaml");
    let deployment = deployment();
    let named = word(&deployment, "/metadata/name");
    assert_eq!(word(&scaler, "/spec/scaleTargetRef/name"), named);
    assert_eq!(word(&component, "/patches/0/target/name"), named);
    // What the patch removes is there, and nothing goes below it.
    let replicas = at(&deployment, "/spec/replicas");
    assert_eq!(at(&scaler, "/spec/minReplicas"), replicas);
}

#[test]
fn the_secret_is_where_the_configuration_looks_for_it() {
    let routes = yaml("deploy/kubernetes/routes.yaml");
    let file = word(&routes, "/credentials/contoso/client_secret_file");
    let container = container();
    let mounts = list(&container, "/volumeMounts");
    let mount = |name: &str| {
        let mount = mounts.iter().find(|mount| mount["name"] == name);
        word(mount.expect("it is mounted"), "/mountPath").to_owned()
    };
    let secret = yaml_secret(&deployment());
    let create = format!("create secret generic {secret} --from-file=client-secret=FILE");
    assert!(text("README.md").contains(&create), "{create}");
    assert_eq!(file, format!("{}/client-secret", mount("credentials")));
    let routes_file = format!("{}/routes.yaml", mount("routes"));
    let args = list(&container, "/args");
    assert_eq!(args.last().and_then(Value::as_str), Some(&*routes_file));

    let compose = yaml("deploy/compose.yaml");
    let service = at(&compose, "/services/tokenferry");
    assert_eq!(word(service, "/secrets/0/target"), file);
    let volume = word(service, "/volumes/0");
    assert!(volume.ends_with(&format!(":{routes_file}:ro")), "{volume}");
    let held = word(&compose, "/secrets/client-secret/file");
    let held = held.replacen("./", "/deploy/", 1);
    let ignored = text(".gitignore");
    assert!(
        ignored.lines().any(|line| line == held),
        "{held} could be committed"
    );
}

fn yaml_secret(deployment: &Value) -> String {
    let secret = "/spec/template/spec/volumes/1/secret/secretName";
    word(deployment, secret).to_owned()
}

#[test]
fn as_many_exchanges_as_are_let_in_fit_into_the_container() {
    let memory = at(&container(), "/resources/limits/memory").clone();
    let memory = memory.as_str().and_then(|text| text.strip_suffix("Mi"));
    let memory: usize = memory.expect("MiB").parse().expect("a number");
    let limits = config().limits;
    // Each holds a quarter of a MiB at most; 32 MiB are the program and its tokens, 64 are for batches
    // and 16 for bodies that may be sent again.
    for limit in [limits.connections, limits.in_flight] {
        assert!(
            limit / 4 + 32 + 64 + 16 <= memory,
            "{limit} do not fit into {memory} MiB"
        );
    }
    // One caller must not take the place of all.
    assert!(limits.connections_per_peer < limits.connections);
}

#[test]
fn whoever_ends_it_waits_until_it_has_drained() {
    let timeouts = config().timeouts;
    let needed = timeouts.drain_delay + timeouts.drain + Duration::from_secs(5);
    let grace = "/spec/template/spec/terminationGracePeriodSeconds";
    let kubernetes = at(&deployment(), grace).as_u64().expect("seconds");
    let compose = yaml("deploy/compose.yaml");
    let compose = word(&compose, "/services/tokenferry/stop_grace_period");
    let unit = text("deploy/systemd/tokenferry.service");
    let systemd = unit
        .lines()
        .find_map(|line| line.strip_prefix("TimeoutStopSec="));
    for (who, seconds) in [
        ("Kubernetes", kubernetes.to_string()),
        ("compose", compose.trim_end_matches('s').to_owned()),
        ("systemd", systemd.expect("a limit").to_owned()),
    ] {
        let seconds: u64 = seconds.parse().expect("a number of seconds");
        assert!(Duration::from_secs(seconds) >= needed, "{who}: {seconds}");
    }
}

/// The conditions on labels that a text puts to metrics of ours: metric, label, and the value when
/// it is to be exactly that.
fn conditions(text: &str) -> Vec<(&str, &str, Option<&str>)> {
    let mut found = Vec::new();
    for piece in text.split("tokenferry_").skip(1) {
        let Some((metric, rest)) = piece.split_once('{') else {
            continue;
        };
        if !metric
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            continue;
        }
        let (labels, _) = rest.split_once('}').expect("a brace closes");
        for condition in labels.split(',') {
            let end = condition.find(['=', '!']).expect("a condition compares");
            let (label, compared) = condition.split_at(end);
            let value = compared
                .strip_prefix("=\"")
                .and_then(|value| value.strip_suffix('"'));
            found.push((metric, label.trim(), value));
        }
    }
    found
}

#[tokio::test]
async fn alerts_ask_for_labels_and_values_that_exist() {
    let rules = text("deploy/monitoring/rules.yaml");
    let conditions = conditions(&rules);
    assert!(conditions.len() > 8, "{conditions:?}");
    let stage = Stage::open().await;
    // Statuses are there once one has been answered.
    stage.get("/graph/sim/status/429").await.expect(429);
    let page = stage.ask_admin("GET /metrics HTTP/1.1").await.text();
    for (metric, label, value) in conditions {
        let series = format!("tokenferry_{metric}{{");
        let wanted = format!(
            "{label}=\"{}",
            value.map_or(String::new(), |value| format!("{value}\""))
        );
        let there = |line: &str| line.starts_with(&series) && line.contains(&wanted);
        assert!(page.lines().any(there), "{metric} {wanted}");
    }
}

/// A file that .dockerignore keeps back fails the build of an image, which no other test makes.
#[test]
fn the_build_of_the_image_gets_the_files_that_it_names() {
    let ignored = text(".dockerignore");
    let let_in: Vec<&str> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    let dockerfile = text("Dockerfile");
    let commands = dockerfile.lines().filter(|line| !line.starts_with('#'));
    let words = commands.flat_map(|line| line.split([' ', ';']));
    let named = |word: &&str| word.starts_with("deploy/") || word.starts_with("LICENSE-");
    let named: Vec<&str> = words.filter(named).collect();
    assert!(named.len() >= 4, "{named:?}");
    for file in named {
        assert!(root().join(file).exists(), "{file}");
        assert!(let_in.contains(&file), "{file} is not in .dockerignore");
    }
}

/// What `.cargo/config.toml` is for: a build that does not read it starts 30 ms later.
#[test]
fn the_program_gathers_no_entropy_from_the_jitter_of_the_processor() {
    let program = fs::read(env!("CARGO_BIN_EXE_tokenferry")).expect("it is built");
    let names = |name: &str| memchr::memmem::find(&program, name.as_bytes()).is_some();
    assert!(names("_RAND_bytes"), "its functions have their names");
    assert!(!names("jent_entropy_collector"), "jitterentropy is in it");
}
