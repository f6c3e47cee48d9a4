//! `check`: every problem of a configuration at once, or its warnings and a table of its routes.
//! No socket is opened and no secret is read.

use std::io::{self, Write};
use std::path::Path;

use crate::config::{self, Checked, Config, HostPattern, RouteSpec};

/// Fine.
const FINE: u8 = 0;
/// The configuration is refused.
const REFUSED: u8 = 2;

/// Checks a file: problems and warnings to `err`, the table to `out`. Returns the exit code.
///
/// # Errors
/// When `out` or `err` cannot be written.
pub fn check(
    path: &Path,
    allow_missing_env: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let Checked { config, warnings } = match config::read(path, allow_missing_env) {
        Ok(checked) => checked,
        Err(problems) => {
            writeln!(err, "{problems}")?;
            writeln!(err, "{}", refused(path, problems.0.len()))?;
            return Ok(REFUSED);
        }
    };
    for warning in &warnings.0 {
        writeln!(err, "{warning}")?;
    }
    let disk = config::disk::inspect(&config, path);
    for warning in &disk.warnings {
        writeln!(err, "{}: warning: {warning}", path.display())?;
    }
    for problem in &disk.problems {
        // A pipeline that has no secrets has no files with secrets either.
        let severity = if allow_missing_env { "warning: " } else { "" };
        writeln!(err, "{}: {severity}{problem}", path.display())?;
    }
    if !allow_missing_env && !disk.problems.is_empty() {
        writeln!(err, "{}", refused(path, disk.problems.len()))?;
        return Ok(REFUSED);
    }
    table(&config, out)?;
    writeln!(out, "{}: fine", path.display())?;
    Ok(FINE)
}

fn refused(path: &Path, problems: usize) -> String {
    let noun = if problems == 1 { "problem" } else { "problems" };
    format!("{}: refused, {problems} {noun}", path.display())
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
    let host = match &route.host {
        None => String::new(),
        Some(HostPattern::Exact(host)) => host.to_string(),
        Some(HostPattern::Suffix(suffix)) => format!("*.{suffix}"),
    };
    let credential = config.credentials.get(route.credential);
    [
        route.name.to_string(),
        format!("{host}{}/", route.path.as_str()),
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
