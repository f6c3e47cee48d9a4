//! The status page: plain HTML with one style of its own, no script, nothing from elsewhere. It
//! reads in light and dark, by keyboard and by ear, and reloads itself until it is told not to.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

use super::status::{RouteStatus, Snapshot, TokenStatus};
use super::words::{Escaped, Span, Words};
use crate::timestamp::Timestamp;
use crate::token::TokenState;

/// Seconds between two loads: about what a person watches with patience.
const RELOAD_SECONDS: u32 = 10;

const STYLE: &str = "\
:root{color-scheme:light dark;--dim:#59636e;--line:#d1d9e0;--bad:#b3261e;--good:#1a7f37}\
@media(prefers-color-scheme:dark){:root{--dim:#9198a1;--line:#3d444d;--bad:#ff8a80;--good:#3fb950}}\
body{font:16px/1.5 system-ui,sans-serif;max-width:80rem;margin:0 auto;padding:1rem}\
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem}\
p{margin:.25rem 0}.dim{color:var(--dim)}.bad{color:var(--bad);font-weight:600}\
.good{color:var(--good)}.wide{overflow-x:auto}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;\
border-bottom:1px solid var(--line)}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}pre{white-space:pre-wrap}";

/// The page of a snapshot.
pub(super) struct Page<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// Whether it stays as it is until it is reloaded by hand.
    pub(super) still: bool,
}

/// The page may use its one style, by its hash, and nothing else (Content Security Policy level 3).
pub(super) fn policy() -> HeaderValue {
    let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.summary(f)?;
        self.configuration(f)?;
        self.tokens(f)?;
        self.routes(f)?;
        self.refusals(f)?;
        f.write_str("</main></body></html>\n")
    }
}

impl Page<'_> {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">")?;
        f.write_str("<meta name=\"viewport\" content=\"width=device-width\">")?;
        if !self.still {
            write!(
                f,
                "<meta http-equiv=\"refresh\" content=\"{RELOAD_SECONDS}\">"
            )?;
        }
        let lacking = self.lacking();
        let title = match lacking {
            0 => String::new(),
            1 => ": 1 token is missing".to_owned(),
            more => format!(": {more} tokens are missing"),
        };
        write!(
            f,
            "<title>tokenferry{title}</title><style>{STYLE}</style></head><body>"
        )
    }

    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot { version, now, .. } = self.snapshot;
        write!(f, "<header><h1>tokenferry</h1><p>{}</p>", self.verdict())?;
        write!(
            f,
            "<p class=\"dim\">Version {version}, as of <time>{now}</time>. "
        )?;
        if self.still {
            f.write_str("<a href=\"/\">Reload by itself</a></p></header><main>")
        } else {
            write!(
                f,
                "Reloads every {RELOAD_SECONDS} seconds. <a href=\"/?still\">Stop that</a></p></header><main>"
            )
        }
    }

    fn verdict(&self) -> &'static str {
        if self.snapshot.draining {
            "<span class=\"bad\">Draining</span>: requests in flight are finished, new ones go elsewhere."
        } else if !self.snapshot.ready {
            "<span class=\"bad\">Not ready yet</span>: starting."
        } else if self.lacking() > 0 {
            "<span class=\"bad\">Ready, but tokens are missing</span>: see below."
        } else {
            "<span class=\"good\">Ready</span>."
        }
    }

    fn lacking(&self) -> usize {
        let lacks = |token: &&TokenStatus| !token.state.is_served();
        self.snapshot.tokens.iter().filter(lacks).count()
    }

    fn configuration(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let configuration = &self.snapshot.configuration;
        write!(
            f,
            "<h2>Configuration</h2><p>Loaded {}.</p>",
            Timestamp::of(configuration.loaded)
        )?;
        if let Some(refused) = &configuration.refused {
            write!(
                f,
                "<p><span class=\"bad\">The file as it is now was refused</span> at {}; the one \
                 before it is still in force.</p><pre>",
                Timestamp::of(refused.at)
            )?;
            for problem in &refused.problems {
                writeln!(f, "{}", Escaped(problem))?;
            }
            f.write_str("</pre>")?;
        }
        Ok(())
    }

    fn tokens(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            "Credential",
            "Scope",
            "State",
            "Time left",
            "Renewed",
            "Last error",
        ];
        open_table(f, "Tokens", &columns, 6)?;
        for token in &self.snapshot.tokens {
            token_row(f, token)?;
        }
        close_table(f)
    }

    fn routes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [
            "Route",
            "Matches",
            "Upstream",
            "Token",
            "Requests",
            "In flight",
            "4xx",
            "5xx",
            "Throttled",
            "Mean time",
        ];
        open_table(f, "Routes", &columns, 4)?;
        for route in &self.snapshot.routes {
            route_row(f, route)?;
        }
        close_table(f)
    }

    fn refusals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.snapshot.refused.is_empty() {
            return Ok(());
        }
        open_table(f, "Answered here", &["Code", "Requests"], 1)?;
        for (code, count) in &self.snapshot.refused {
            write!(
                f,
                "<tr><th scope=\"row\">{code}</th><td class=\"n\">{count}</td></tr>"
            )?;
        }
        close_table(f)
    }
}

/// A heading and a table; columns from `numbers` on hold numbers.
fn open_table(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    columns: &[&str],
    numbers: usize,
) -> fmt::Result {
    let id = title.to_lowercase().replace(' ', "-");
    write!(f, "<h2 id=\"{id}\">{title}</h2>")?;
    // Wide tables scroll inside their region, by keyboard too.
    write!(f, "<div class=\"wide\" role=\"region\" tabindex=\"0\" ")?;
    write!(f, "aria-labelledby=\"{id}\"><table><thead><tr>")?;
    for (at, column) in columns.iter().enumerate() {
        let class = if at >= numbers { " class=\"n\"" } else { "" };
        write!(f, "<th scope=\"col\"{class}>{column}</th>")?;
    }
    f.write_str("</tr></thead><tbody>")
}

fn close_table(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("</tbody></table></div>")
}

fn token_row(f: &mut fmt::Formatter<'_>, token: &TokenStatus) -> fmt::Result {
    write!(f, "<tr><th scope=\"row\">{}", Escaped(&token.credential))?;
    if let Some(fallback) = &token.fallback {
        write!(
            f,
            "<br><span class=\"bad\">replaced by {}</span>",
            Escaped(fallback)
        )?;
    }
    if let Some(seconds) = token.credential_expires_in_seconds {
        write!(
            f,
            "<br><span class=\"dim\">expires {}</span>",
            Span(seconds)
        )?;
    }
    write!(f, "</th><td><code>{}</code></td>", Escaped(&token.scope))?;
    write!(f, "<td>{}</td><td>", State(token.state))?;
    match token.expires_in_seconds {
        Some(seconds) if seconds > 0 => write!(f, "{}", Words(seconds))?,
        Some(_) => f.write_str("<span class=\"bad\">expired</span>")?,
        None => f.write_str("none")?,
    }
    f.write_str("</td><td>")?;
    match token.renewed_seconds_ago {
        Some(seconds) => write!(f, "{}", Span(-seconds))?,
        None => f.write_str("never")?,
    }
    let next = Span(token.next_attempt_in_seconds);
    write!(f, "<br><span class=\"dim\">next {next}</span>")?;
    f.write_str("</td><td>")?;
    if let Some(failure) = &token.failure {
        let (message, ago) = (Escaped(&failure.message), Span(-failure.seconds_ago));
        write!(f, "{message} <span class=\"dim\">({ago})</span>")?;
    } else if let Some(reason) = &token.fallback_reason {
        // A failure with a fallback names both.
        write!(f, "{} ", Escaped(reason))?;
    }
    if let Some(past) = &token.past_failure {
        let (over, ago) = (
            Words(past.over_seconds_ago),
            Span(-past.failure.seconds_ago),
        );
        let message = Escaped(&past.failure.message);
        write!(
            f,
            "<span class=\"dim\">Over for {over}. The last call that failed, {ago}: {message}</span>"
        )?;
    }
    f.write_str("</td></tr>")
}

fn route_row(f: &mut fmt::Formatter<'_>, route: &RouteStatus) -> fmt::Result {
    let own = &route.route;
    write!(f, "<tr><th scope=\"row\">{}</th>", Escaped(&own.name))?;
    write!(f, "<td><code>{}</code></td>", Escaped(&own.matches))?;
    write!(f, "<td><code>{}</code></td>", Escaped(&own.upstream))?;
    write!(f, "<td>{}</td>", State(route.token))?;
    let numbers = [
        route.requests,
        route.in_flight,
        route.client_errors,
        route.server_errors,
        route.throttled,
    ];
    for number in numbers {
        write!(f, "<td class=\"n\">{number}</td>")?;
    }
    match route.mean_seconds {
        Some(seconds) => write!(f, "<td class=\"n\">{:.1} ms</td></tr>", seconds * 1000.0),
        None => f.write_str("<td class=\"n\">none yet</td></tr>"),
    }
}

/// A token's state, by word and by colour.
struct State(TokenState);

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.0 {
            TokenState::Valid => "good",
            TokenState::Pending => "dim",
            TokenState::Failing | TokenState::Rejected | TokenState::Unavailable => "bad",
        };
        write!(f, "<span class=\"{class}\">{}</span>", self.0.words())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::report::{Configuration, RefusedReload};
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            version: "1",
            now: "now".into(),
            ready: true,
            draining: false,
            configuration: Configuration::loaded(UNIX_EPOCH),
            routes: Vec::new(),
            tokens: Vec::new(),
            refused: [].into(),
        }
    }

    #[test]
    fn the_page_reloads_itself_unless_it_is_to_be_still() {
        let snapshot = &snapshot();
        let reloads = |still| Page { snapshot, still }.to_string().contains("http-equiv");
        assert!(reloads(false));
        assert!(!reloads(true));
    }

    #[test]
    fn text_of_others_cannot_become_markup() {
        let mut snapshot = snapshot();
        snapshot.configuration.refused = Some(RefusedReload {
            at: UNIX_EPOCH,
            problems: vec!["<script>alert('&\"')</script>".into()],
        });
        let page = Page {
            snapshot: &snapshot,
            still: true,
        };
        let page = page.to_string();
        assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;"));
        assert!(!page.contains("<script"));
    }

    #[test]
    fn the_policy_lets_the_style_of_the_page_through_and_nothing_else() {
        // The hash is of the text between the tags, so that must be the constant as it is.
        let page = Page {
            snapshot: &snapshot(),
            still: false,
        };
        let page = page.to_string();
        let style = page
            .split("<style>")
            .nth(1)
            .and_then(|rest| rest.split("</style>").next());
        assert_eq!(style, Some(STYLE));
        let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
        let policy = policy();
        let policy = policy.to_str().unwrap();
        assert!(policy.contains(&format!("style-src 'sha256-{hash}'")));
        assert!(!policy.contains("unsafe"));
        assert!(!page.contains("style=\""), "inline styles do not pass");
    }
}
