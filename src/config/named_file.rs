//! Where a configuration names files, so that what is wrong with one is told at the place of its
//! name. What is found out on disk comes as words, in which the file is named as the key names it.

use super::node::{Content, Node};
use super::problem::{Place, Problem, Problems, Severity, located};
use super::report::{Fault, Span};

/// The places at which files are named, in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedFiles(Vec<(String, Place)>);

impl NamedFiles {
    pub(super) fn of(file: &str, text: &str, hidden: &[Span], root: &Node) -> Self {
        let mut names = Vec::new();
        collect(root, &mut names);
        let Problems(found) = located(file, text, hidden, names, Severity::Error);
        let named = |problem: Problem| (problem.message, problem.place);
        Self(found.into_iter().map(named).collect())
    }

    /// What these words say, at the place of the file that they name; of all of `routes_yaml` when
    /// they name none.
    pub fn problem(&self, routes_yaml: &str, words: &str, severity: Severity) -> Problem {
        let named = self.0.iter().filter(|(name, _)| words.contains(name));
        let place = named.max_by_key(|(name, _)| name.len());
        Problem {
            place: place.map_or_else(|| Place::of_file(routes_yaml), |(_, place)| place.clone()),
            severity,
            message: words.to_owned(),
            help: None,
        }
    }
}

/// Every value of a key that names a file.
fn collect(node: &Node, names: &mut Vec<Fault>) {
    match &node.content {
        Content::List(items) => items.iter().for_each(|item| collect(item, names)),
        Content::Mapping(entries) => {
            for entry in entries {
                match &entry.value.content {
                    Content::Scalar(text) if entry.key.text.ends_with("_file") => {
                        names.push(Fault {
                            span: entry.value.span,
                            // As messages name it.
                            message: entry.value.written.as_ref().unwrap_or(text).clone(),
                            help: None,
                        });
                    }
                    _ => collect(&entry.value, names),
                }
            }
        }
        Content::Empty | Content::Scalar(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load};

    const TEXT: &str = "\
credentials:
  one: {tenant_id: a, client_id: a, client_secret_file: /run/one}
  two: {tenant_id: b, client_id: b, client_secret_file: \"${FOLDER}/one.pem\"}
routes:
  - {name: a, path: /a, upstream: \"https://a.com\", credential: one}
  - {name: b, path: /b, upstream: \"https://b.com\", credential: two}
";

    fn told(words: &str) -> String {
        let source = Source {
            file: "routes.yaml",
            text: TEXT,
            env: &|_| Some("/run".into()),
            allow_missing_env: false,
        };
        let files = load(&source).unwrap().files;
        let problem = files.problem("routes.yaml", words, Severity::Error);
        problem.to_string().lines().next().unwrap().to_owned()
    }

    #[test]
    fn words_about_a_file_stand_where_it_is_named() {
        assert_eq!(
            told("cannot read /run/one: no"),
            "routes.yaml:2:57: cannot read /run/one: no"
        );
        assert_eq!(
            told("${FOLDER}/one.pem is empty"),
            "routes.yaml:3:57: ${FOLDER}/one.pem is empty"
        );
        assert_eq!(told("no such thing"), "routes.yaml: no such thing");
    }
}
