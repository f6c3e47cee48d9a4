//! What the doctor has to say of a route, for people and for programs. Never the token.

use std::io::{self, Write};
use std::time::SystemTime;

use serde::Serialize;

use super::finding::{Finding, Severity};
use crate::config::printable;
use crate::timestamp::Timestamp;

/// A route, examined.
#[derive(Debug, Serialize)]
pub(super) struct Diagnosis {
    /// The route's name.
    pub(super) route: String,
    /// Where it leads.
    pub(super) upstream: String,
    /// What its token is for.
    pub(super) scope: String,
    /// Whether nothing keeps it from working.
    pub(super) works: bool,
    /// The token, when there was one.
    pub(super) token: Option<Token>,
    /// The request to the upstream, when there was a token for it.
    pub(super) probe: Option<Probe>,
    /// What was found, the worst first.
    pub(super) findings: Vec<Finding>,
}

/// A token without the token.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Token {
    /// The credential that it was had with.
    pub(super) credential: String,
    /// Its kind, as the configuration spells it.
    pub(super) kind: &'static str,
    /// Who gave it.
    pub(super) from: String,
    /// How long that took.
    pub(super) took_ms: u64,
    /// Seconds it lives.
    pub(super) expires_in: u64,
    /// Whether it can be read: an opaque one has none of what follows.
    pub(super) readable: bool,
    /// What it is for.
    pub(super) audience: String,
    /// Who it is for.
    pub(super) app: String,
    /// Whose directory gave it.
    pub(super) tenant: String,
    /// What it permits.
    pub(super) roles: Vec<String>,
    /// When it expires by its own word.
    pub(super) expires: Option<String>,
    /// When the secret or certificate does, where that is known.
    pub(super) credential_expires: Option<String>,
}

/// A request to an upstream.
#[derive(Debug, Serialize)]
pub(super) struct Probe {
    /// Always GET.
    pub(super) method: &'static str,
    /// With its query.
    pub(super) path: String,
    /// Of the answer, when there was one.
    pub(super) status: Option<u16>,
}

/// All routes, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether every route works.
    pub(super) works: bool,
    /// In the order of the file.
    pub(super) routes: Vec<Diagnosis>,
}

/// A moment to the second.
pub(super) fn moment(at: SystemTime) -> String {
    format!("{}Z", &Timestamp::of(at).as_str()[..19])
}

impl Diagnosis {
    /// For people: a few lines.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mark = if self.works { "ok" } else { "FAILS" };
        writeln!(out, "{} ({mark}): {}", self.route, self.upstream)?;
        if let Some(token) = &self.token {
            token.write(out)?;
        }
        if let Some(probe) = &self.probe {
            let answer = match probe.status {
                Some(status) => format!("answered {status}"),
                None => "was not answered".to_owned(),
            };
            let Probe { method, path, .. } = probe;
            line(out, "upstream", &format!("{method} {path} {answer}"))?;
        }
        for finding in &self.findings {
            line(out, &finding.severity.to_string(), &finding.message)?;
        }
        Ok(())
    }
}

impl Token {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self {
            credential,
            kind,
            from,
            took_ms,
            ..
        } = self;
        let source = format!("from {from}, by credential {credential} ({kind}), in {took_ms} ms");
        line(out, "token", &source)?;
        let left = format!("in {} min", self.expires_in / 60);
        if self.readable {
            self.write_claims(&left, out)?;
        } else {
            line(out, "expires", &left)?;
            line(out, "claims", "none that can be read: the token is opaque")?;
        }
        match &self.credential_expires {
            Some(at) => line(out, "credential", &format!("expires {at}")),
            None => Ok(()),
        }
    }

    fn write_claims(&self, left: &str, out: &mut dyn Write) -> io::Result<()> {
        line(out, "audience", &self.audience)?;
        line(out, "app", &self.app)?;
        line(out, "tenant", &self.tenant)?;
        let roles = if self.roles.is_empty() {
            "none".to_owned()
        } else {
            self.roles.join(", ")
        };
        line(out, "roles", &roles)?;
        match &self.expires {
            Some(at) => line(out, "expires", &format!("{at}, {left}")),
            None => line(out, "expires", left),
        }
    }
}

/// What upstreams and tokens say may hold anything.
fn line(out: &mut dyn Write, name: &str, value: &str) -> io::Result<()> {
    let value: String = value.chars().map(printable).collect();
    writeln!(out, "  {name:<10} {value}")
}

/// The last line: how many routes, and how many findings that matter, with the warnings of the file.
pub(super) fn summary(routes: &[Diagnosis], of_file: usize) -> String {
    let count = |severity| {
        let all = routes.iter().flat_map(|route| &route.findings);
        all.filter(|finding| finding.severity == severity).count()
    };
    let some = |number: usize, noun: &str| {
        let plural = if number == 1 { "" } else { "s" };
        format!("{number} {noun}{plural}")
    };
    let problems = count(Severity::Problem);
    let warnings = count(Severity::Warning) + of_file;
    format!(
        "{}: {}, {}",
        some(routes.len(), "route"),
        some(problems, "problem"),
        some(warnings, "warning")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Subject;

    #[test]
    fn no_word_of_an_upstream_turns_a_line_of_the_terminal() {
        let message = "code: \u{202e}evil\u{1b}[2J\n  note       fake";
        let diagnosis = Diagnosis {
            route: "graph".to_owned(),
            upstream: "https://graph.microsoft.com".to_owned(),
            scope: "https://graph.microsoft.com/.default".to_owned(),
            works: true,
            token: None,
            probe: None,
            findings: vec![Finding::warning(Subject::Upstream, message)],
        };
        let mut out = Vec::new();
        diagnosis.write(&mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().count(), 2, "{out}");
        assert!(!out.contains(['\u{202e}', '\u{1b}']), "{out:?}");
    }

    #[test]
    fn the_end_of_a_secret_is_shown_whatever_its_token_looks_like() {
        for readable in [false, true] {
            let token = Token {
                credential: "contoso".to_owned(),
                kind: "client_secret",
                from: "login.microsoftonline.com".to_owned(),
                took_ms: 7,
                expires_in: 3600,
                readable,
                audience: String::new(),
                app: String::new(),
                tenant: String::new(),
                roles: Vec::new(),
                expires: None,
                credential_expires: Some("2027-03-01T00:00:00Z".to_owned()),
            };
            let mut out = Vec::new();
            token.write(&mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            let line = "  credential expires 2027-03-01T00:00:00Z";
            assert!(out.lines().any(|own| own == line), "{out}");
        }
    }
}
