//! `check`: every problem of a configuration at once, or its warnings and a table of its routes.
//! No socket is opened, and nobody is asked for a token.

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use super::inspection::{self, Purpose};
use super::{FINE, REFUSED};
use crate::config::{self, Config, RouteSpec};

/// Checks a file: problems and warnings to `err`, the table to `out`. Returns the exit code.
///
/// # Errors
/// When `out` cannot be written.
pub(super) fn check(
    path: &Path,
    allow_missing_env: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let purpose = match allow_missing_env {
        true => Purpose::CheckWithoutSecrets,
        false => Purpose::Check,
    };
    let found = inspection::inspect(path, purpose, SystemTime::now());
    // Who stopped reading the problems does not make them none.
    let _ = found.tell(path, err);
    // Those went to the other stream, which a pipeline may fold away.
    let warned = match found.warnings.0.len() {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        count => format!(", {count} warnings"),
    };
    match found.usable() {
        Some(config) => {
            table(&config, out)?;
            writeln!(out, "{}: fine{warned}", config::shown(path))?;
            Ok(FINE)
        }
        None => Ok(REFUSED),
    }
}

fn table(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    const HEAD: [&str; 6] = [
        "ROUTE",
        "MATCHES",
        "UPSTREAM",
        "SCOPE",
        "CREDENTIAL",
        "ALLOW",
    ];
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(config.routes.iter().map(|route| row(config, route)));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn row(config: &Config, route: &RouteSpec) -> [String; 6] {
    let credential = config.credentials.get(route.credential);
    [
        route.name.to_string(),
        route.matches(),
        route.upstream.to_string(),
        route.scope.to_string(),
        credential.map_or(String::new(), |credential| credential.name.to_string()),
        match &route.allow {
            None => "everything".to_owned(),
            Some(lines) if lines.len() == 1 => "1 pattern".to_owned(),
            Some(lines) => format!("{} patterns", lines.len()),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit code, and what was printed to both.
    fn run(text: &str, allow_missing_env: bool) -> (u8, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes.yaml");
        std::fs::write(&path, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = check(&path, allow_missing_env, &mut out, &mut err).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let shorten = |text: String| text.replace(&path.display().to_string(), "routes.yaml");
        (code, shorten(text(out)), shorten(text(err)))
    }

    const FINE_FILE: &str = "routes:\n  - {name: graph, path: /graph, host: \"*.a.com\", upstream: \"https://graph.microsoft.com\", allow: [GET /**]}\n";

    #[test]
    fn a_good_file_is_shown_as_a_table() {
        let (code, out, err) = run(FINE_FILE, true);
        assert_eq!((code, err.as_str()), (0, ""));
        let expected = "\
            ROUTE  MATCHES        UPSTREAM                     SCOPE                                 CREDENTIAL   ALLOW\n\
            graph  *.a.com/graph  https://graph.microsoft.com  https://graph.microsoft.com/.default  environment  1 pattern\n\
            routes.yaml: fine\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_missing_secret_file_is_a_problem_except_in_a_pipeline() {
        let text = format!(
            "credentials:\n  a: {{tenant_id: a.com, client_id: 11111111-2222-3333-4444-555555555555, client_secret_file: /nowhere/x}}\n{FINE_FILE}"
        );
        let (code, _, err) = run(&text, false);
        assert_eq!(code, 2);
        assert!(
            err.starts_with("routes.yaml:2:94: cannot read /nowhere/x"),
            "{err}"
        );
        let (code, out, err) = run(&text, true);
        assert_eq!(code, 0);
        assert!(
            err.starts_with("routes.yaml:2:94: warning: cannot read /nowhere/x"),
            "{err}"
        );
        assert!(out.ends_with("routes.yaml: fine, 1 warning\n"), "{out}");
        let (_, out, _) = run(&text.replace("GET /**", "GET /users, GET /me"), true);
        assert!(out.ends_with("routes.yaml: fine, 3 warnings\n"), "{out}");
    }

    #[test]
    fn problems_that_nobody_reads_are_problems() {
        let (mut out, mut nowhere) = (Vec::new(), [].as_mut_slice());
        let path = Path::new("/nowhere/routes.yaml");
        assert_eq!(check(path, false, &mut out, &mut nowhere).unwrap(), 2);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_refused() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let path = Path::new("/nowhere/routes.yaml");
        assert_eq!(check(path, false, &mut out, &mut err).unwrap(), 2);
        let err = String::from_utf8(err).unwrap();
        assert!(
            err.starts_with("/nowhere/routes.yaml: cannot be read"),
            "{err}"
        );
        assert!(err.contains("name another with -c FILE"), "{err}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_without_end_is_refused_at_once() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = check(Path::new("/dev/zero"), false, &mut out, &mut err).unwrap();
        assert_eq!(code, 2);
    }
}
