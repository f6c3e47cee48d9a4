//! The configuration of `run`: the file, and the command line laid over it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use super::RunArgs;
use super::inspection::{self, Purpose};
use crate::config::{Config, ListenAddress, Problems, Replaced};

/// What a file says, with its warnings; or every problem.
pub(super) type Loaded = Result<(Config, Problems), Vec<String>>;

/// Reads and inspects the file, and lays the command line over it. `open` is where this process
/// listens already.
///
/// # Errors
/// Every problem.
pub(super) fn load(path: &Path, args: &RunArgs, open: &[SocketAddr]) -> Loaded {
    let replaced = Replaced {
        listen: args.listen.is_some(),
        admin: args.admin.is_some(),
    };
    let found = inspection::inspect(path, Purpose::Run(replaced), SystemTime::now());
    let mut problems: Vec<String> = found.problems.0.iter().map(ToString::to_string).collect();
    let mut config = found.config;
    if let Some(config) = &mut config {
        problems.extend(overlay(config, args, open));
    }
    match config {
        Some(config) if problems.is_empty() => Ok((config, found.warnings)),
        _ => Err(problems),
    }
}

/// Lays the command line over the file. Returns every problem of that.
fn overlay(config: &mut Config, args: &RunArgs, open: &[SocketAddr]) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(listen) = &args.listen {
        match address("--listen", listen, "") {
            Ok(address) => config.listen = vec![address],
            Err(words) => problems.push(words),
        }
    }
    match args.admin.as_deref() {
        None => {}
        Some("off") => config.admin.clear(),
        Some(admin) => match address("--admin", admin, "; or off, to have none") {
            Ok(address) => config.admin = vec![address],
            Err(words) => problems.push(words),
        },
    }
    if args.workers.is_some() {
        config.workers = args.workers;
    }
    // Of addresses that nobody asked for there is nothing to say.
    if problems.is_empty() {
        problems.extend(unusable(config, open));
    }
    problems
}

/// Why these addresses cannot be listened on together.
fn unusable(config: &Config, open: &[SocketAddr]) -> Option<String> {
    if let Some((first, second)) = config.colliding() {
        return Some(format!(
            "tokenferry: {first} and {second} cannot both be listened on; another port or path for one of the two"
        ));
    }
    let route = config.leading_back(open)?;
    Some(format!(
        "tokenferry: the upstream of route \"{}\", {}, would be this proxy itself; name another upstream, or listen elsewhere",
        route.name, route.upstream
    ))
}

fn address(option: &str, text: &str, or: &str) -> Result<ListenAddress, String> {
    ListenAddress::parse(text).map_err(|words| {
        format!("tokenferry: {option} takes an address, not \"{text}\": {words}{or}")
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn what_the_command_line_replaces_is_not_held_against_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes.yaml");
        let file = "listen: localhost:8081\ncredentials: {a: {managed_identity: system}}\n\
                    routes: [{name: a, path: /a, upstream: 'http://localhost:PORT'}]\n";
        for (port, listen, admin, fine) in [
            ("8081", Some("localhost:1"), Some("off"), true),
            ("8081", None, Some("off"), false),
            ("1", Some("localhost:1"), None, false),
            ("2", None, Some("localhost:1"), true),
            ("2", Some("localhost:1"), None, true),
            ("2", None, None, false),
        ] {
            std::fs::write(&path, file.replace("PORT", port)).unwrap();
            let args = RunArgs {
                listen: listen.map(str::to_owned),
                admin: admin.map(str::to_owned),
                workers: None,
            };
            let loaded = load(&path, &args, &[]);
            assert_eq!(loaded.is_ok(), fine, "{args:?}: {loaded:?}");
        }
    }

    #[test]
    fn what_the_command_line_says_takes_the_place_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes.yaml");
        let file = "listen: localhost:1\nadmin: localhost:2\nworkers: 1\n\
                    credentials: {a: {managed_identity: system}}\n\
                    routes: [{name: a, path: /a, upstream: 'https://a.com'}]\n";
        std::fs::write(&path, file).unwrap();
        let args = RunArgs {
            listen: Some("localhost:3".to_owned()),
            admin: Some("localhost:4".to_owned()),
            workers: NonZeroUsize::new(2),
        };
        let (config, _) = load(&path, &args, &[]).unwrap();
        assert_eq!(config.listen, [ListenAddress::Loopback(3)]);
        assert_eq!(config.admin, [ListenAddress::Loopback(4)]);
        assert_eq!(config.workers, NonZeroUsize::new(2));
    }

    #[test]
    fn what_the_command_line_replaces_may_be_wrong_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes.yaml");
        let file = "listen: localhost\nadmin: ${NOT_SET}\n\
                    credentials: {a: {managed_identity: system}}\n\
                    routes: [{name: a, path: /a, upstream: 'https://a.com'}]\n";
        std::fs::write(&path, file).unwrap();
        for (listen, admin, problems) in [
            (Some("localhost:1"), Some("off"), 0),
            (None, Some("localhost:1"), 1),
            (Some("localhost:1"), None, 1),
            (None, None, 2),
        ] {
            let args = RunArgs {
                listen: listen.map(str::to_owned),
                admin: admin.map(str::to_owned),
                workers: None,
            };
            let told = load(&path, &args, &[]).err().unwrap_or_default();
            assert_eq!(told.len(), problems, "{args:?}: {told:?}");
        }
    }
}
