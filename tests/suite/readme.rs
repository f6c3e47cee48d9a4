//! What the README and the documents tell people to type works: configurations are accepted,
//! commands are commands of this program, and the README's calls are answered.

use std::fs;
use std::path::Path;

use clap::Parser as _;
use tokenferry::cli::Args;
use tokenferry::config::{Source, load};
use tokenferry::simulator::{CLIENT_ID, Simulator, TENANT_ID};

use crate::harness::program::{Program, command, run};

/// The fenced blocks of a page in this language, without the indentation of a list around them.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some((indent, tag)) = line.split_once("```") else {
            continue;
        };
        let inner = lines
            .by_ref()
            .take_while(|line| line.trim() != "```")
            .map(|line| line.strip_prefix(indent).unwrap_or(line));
        let text: String = inner.flat_map(|line| [line, "\n"]).collect();
        if tag == language {
            found.push(text);
        }
    }
    found
}

/// The arguments of this program in a line of shell, if the line calls it.
fn arguments(line: &str) -> Option<Vec<&str>> {
    let line = line.split(" #").next().unwrap_or(line);
    let line = line.split(" > ").next().unwrap_or(line);
    let words: Vec<&str> = line.split_whitespace().collect();
    let start = match words.as_slice() {
        ["tokenferry", ..] => 0,
        ["cargo", "run", rest @ ..] => 2 + rest.iter().position(|word| *word == "--")?,
        // In the program's container, or with variables before its name.
        ["docker", "run", rest @ ..] => 2 + rest.iter().position(|word| *word == "tokenferry")?,
        words => words
            .iter()
            .position(|word| word.ends_with("/bin/tokenferry"))?,
    };
    Some(words[start + 1..].to_vec())
}

/// The commands of this program in a page: lines of its shell blocks and blocks without a
/// language, and code in its sentences.
fn commands(page: &str) -> Vec<String> {
    let shell = ["sh", ""].map(|language| blocks(page, language).concat());
    let lines = shell.concat().replace("\\\n", " ");
    let spans = page.split('`').skip(1).step_by(2);
    let spans = spans.filter(|span| span.starts_with("tokenferry ") && !span.contains('\n'));
    lines
        .lines()
        .chain(spans)
        .filter_map(|line| Some(arguments(line)?.join(" ")))
        .collect()
}

/// Why the program would refuse these arguments.
fn refusal(arguments: &str) -> Option<String> {
    let words = ["tokenferry"]
        .into_iter()
        .chain(arguments.split_whitespace());
    let error = Args::try_parse_from(words).err()?;
    error.use_stderr().then(|| error.to_string())
}

/// The addresses that a page calls with curl: whether it is the admin listener's, and the target.
fn calls(page: &str) -> Vec<(bool, String)> {
    let lines = blocks(page, "sh").concat();
    let urls = lines.lines().filter_map(|line| line.strip_prefix("curl "));
    urls.map(|url| {
        let url = url.trim_matches('\'');
        let rest = url.strip_prefix("http://localhost:808");
        let (port, target) = rest.and_then(|it| it.split_at_checked(1)).expect(url);
        (port == "1", target.to_owned())
    })
    .collect()
}

/// The fragment by which a heading is linked to.
fn fragment(heading: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
    let letters = heading.trim().chars().filter(kept);
    letters.collect::<String>().to_lowercase().replace(' ', "-")
}

fn has_heading(page: &str, wanted: &str) -> bool {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| fragment(line.trim_start_matches('#')))
        .any(|heading| heading == wanted)
}

/// The files and headings that a page in `folder` links to and that are not there.
fn dead_links(folder: &Path, page: &str) -> Vec<String> {
    let is_dead = |target: &str| {
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let file = folder.join(file);
        if target.starts_with('#') {
            return !has_heading(page, heading);
        }
        let found = |text: String| has_heading(&text, heading);
        !file.exists() || (!heading.is_empty() && !fs::read_to_string(file).is_ok_and(found))
    };
    let targets = page.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets
        .filter(|target| !target.contains("://") && is_dead(target))
        .map(str::to_owned)
        .collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("the page is there")
}

/// All pages: those at the top and those in `docs`.
fn pages() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = ["", "docs/"].into_iter().flat_map(|folder| {
        let files = fs::read_dir(root.join(folder)).expect("the folder is there");
        files.filter_map(move |file| {
            let name = file.ok()?.file_name().into_string().ok()?;
            name.ends_with(".md").then(|| format!("{folder}{name}"))
        })
    });
    let found: Vec<String> = listed.collect();
    assert!(found.len() > 6, "{found:?}");
    found
}

#[test]
fn every_configuration_of_the_pages_is_accepted() {
    for name in ["README.md", "docs/clients.md", "docs/configuration.md"] {
        let configurations = blocks(&page(name), "yaml");
        assert!(!configurations.is_empty(), "{name}");
        for text in &configurations {
            let source = Source {
                file: name,
                allow_missing_env: true,
                ..Source::alone(text)
            };
            load(&source).unwrap_or_else(|problems| panic!("{problems}"));
        }
    }
}

#[test]
fn every_command_of_the_pages_is_one() {
    let commands = |name: &str| commands(&page(name));
    let readme = commands("README.md");
    for expected in ["demo --exit", "check", "doctor", "run"] {
        assert!(
            readme.iter().any(|it| it == expected),
            "{expected} in {readme:?}"
        );
    }
    for name in pages() {
        for arguments in commands(&name) {
            assert_eq!(refusal(&arguments), None, "{name}: tokenferry {arguments}");
        }
    }
    let operations = commands("docs/operations.md");
    let doctor = operations.iter().filter(|it| it.starts_with("doctor"));
    assert!(doctor.count() > 2, "{operations:?}");
}

#[tokio::test]
async fn the_configuration_of_the_readme_serves_the_calls_of_the_readme() {
    let page = page("README.md");
    // The reader's own organisation is the simulated one.
    let own = blocks(&page, "yaml")[0].replace("myorg", "contoso");
    tokenferry::trust::install_provider();
    let simulator = Simulator::start().await.expect("the simulator starts");
    let secret = simulator.client_secret().expect("there is a secret");
    let vars = [
        ("AZURE_TENANT_ID", TENANT_ID),
        ("AZURE_CLIENT_ID", CLIENT_ID),
        (
            "AZURE_CLIENT_SECRET",
            std::str::from_utf8(secret.expose()).unwrap(),
        ),
    ];
    let program = Program::within(simulator, &own, &vars).await;
    for words in [&["check"][..], &["token", "graph"]] {
        let mut command = command();
        command.args(words).envs(vars).current_dir(program.folder());
        let (code, out, err) = run(command).await;
        assert_eq!(code, 0, "{words:?}: {out}{err}");
    }
    let calls = calls(&page);
    assert!(calls.len() > 3, "{calls:?}");
    for (admin, target) in calls {
        let answer = match admin {
            true => program.get_admin(&target).await,
            false => program.get(&target).await,
        };
        answer.expect(200);
    }
}

#[test]
fn every_link_of_the_pages_leads_to_a_file_and_its_heading() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = pages().into_iter();
    for name in pages.chain(["benches/README.md".to_owned()]) {
        let folder = root
            .join(&name)
            .parent()
            .expect("a file has one")
            .to_owned();
        assert_eq!(dead_links(&folder, &page(&name)), [""; 0], "{name}");
    }
    let right = "# Top of it\n[a](README.md#try-it) [b](https://a.com) [c](#top-of-it)";
    assert_eq!(dead_links(root, right), [""; 0]);
    let wrong = "[a](README.md#x) [c](#top) [d](src/nothing.rs)";
    assert_eq!(
        dead_links(root, wrong),
        ["README.md#x", "#top", "src/nothing.rs"]
    );
}

#[test]
fn a_command_that_is_none_is_seen() {
    let page = "Run `tokenferry cehck`, or:\n\n   ```sh\n   docker run -e A \\\n     tokenferry run --listne 1\n   curl x\n   cargo run --release -- demo --exit\n   ```\n";
    assert_eq!(commands(page), ["run --listne 1", "demo --exit", "cehck"]);
    assert!(refusal("cehck").is_some());
    assert!(refusal("run --listne 1").is_some());
    assert_eq!(refusal("demo --exit"), None);
}
