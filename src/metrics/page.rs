//! A strict reader of Prometheus' text format 0.0.4. It accepts less than Prometheus does: families
//! in one piece with HELP and TYPE first, no series twice, histograms that add up.

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// A page that was read.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Kind by family.
    pub(super) kinds: BTreeMap<String, String>,
    /// Value by sample name and labels.
    samples: BTreeMap<(String, Labels), f64>,
}

impl Page {
    /// Reads a page; panics at the first thing that is not as it must be.
    pub(super) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no newline");
        let mut page = Self::default();
        let mut family = String::new();
        let mut helped = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("HELP has a text");
                assert!(!help.is_empty() && !page.kinds.contains_key(name), "{line}");
                helped = name.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("TYPE has a kind");
                assert_eq!(name, helped, "HELP comes before TYPE");
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                page.kinds.insert(name.to_owned(), kind.to_owned());
                family = name.to_owned();
            } else {
                page.sample(line, &family);
            }
        }
        page.histograms_add_up();
        page
    }

    fn sample(&mut self, line: &str, family: &str) {
        let ((name, labels), value) = sample(line);
        let suffix = name
            .strip_prefix(family)
            .expect("samples follow their TYPE");
        match self.kinds[family].as_str() {
            "histogram" => assert!(matches!(suffix, "_bucket" | "_sum" | "_count"), "{line}"),
            "counter" => assert!(family.ends_with("_total") && suffix.is_empty(), "{line}"),
            _ => assert_eq!(suffix, "", "{line}"),
        }
        assert!(value.is_finite(), "{line}");
        let twice = self.samples.insert((name, labels), value);
        assert_eq!(twice, None, "the series comes twice: {line}");
    }

    fn histograms_add_up(&self) {
        for (family, _) in self.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            let count = format!("{family}_count");
            for ((name, labels), total) in &self.samples {
                if *name != count {
                    continue;
                }
                let mut buckets: Vec<(f64, f64)> = self.buckets(family, labels);
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(
                    buckets.is_sorted_by(|a, b| a.1 <= b.1),
                    "{family}{labels:?}"
                );
                assert_eq!(buckets.last(), Some(&(f64::INFINITY, *total)));
                assert!(
                    self.samples
                        .contains_key(&(format!("{family}_sum"), labels.clone()))
                );
            }
        }
    }

    /// Upper bounds and cumulative counts.
    pub(super) fn buckets(&self, family: &str, labels: &Labels) -> Vec<(f64, f64)> {
        let name = format!("{family}_bucket");
        let of_this = self.samples.iter().filter_map(|((sample, pairs), value)| {
            let mut pairs = pairs.clone();
            let bound = pairs.remove("le")?.parse().expect("a bound is a number");
            (*sample == name && pairs == *labels).then_some((bound, *value))
        });
        of_this.collect()
    }

    /// The value of a sample that must be there.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let pairs = labels
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let key = (name.to_owned(), pairs.collect());
        *self
            .samples
            .get(&key)
            .unwrap_or_else(|| panic!("no {name} with {labels:?}"))
    }

    /// Holds the page to this line; the order of its labels does not matter.
    pub(super) fn expect(&self, line: &str) {
        let (series, value) = sample(line);
        assert_eq!(self.samples.get(&series), Some(&value), "{line}");
    }

    /// The label names of a family's series; `le` does not count.
    pub(super) fn label_names(&self, family: &str) -> BTreeSet<String> {
        let of_family = self.samples.keys().filter(|(name, _)| {
            name.strip_prefix(family)
                .is_some_and(|rest| matches!(rest, "" | "_bucket" | "_sum" | "_count"))
        });
        let names = of_family.flat_map(|(_, labels)| labels.keys().cloned());
        names.filter(|name| name != "le").collect()
    }

    /// How many series carry this label.
    pub(super) fn series_with(&self, label: &str, value: &str) -> usize {
        let carries = |labels: &&Labels| labels.get(label).is_some_and(|of| of == value);
        self.samples
            .keys()
            .map(|(_, labels)| labels)
            .filter(carries)
            .count()
    }
}

/// The name, labels and value of a line.
fn sample(line: &str) -> ((String, Labels), f64) {
    let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, labels(rest)),
        None => (series, Labels::new()),
    };
    let value = value.parse().expect("a value is a number");
    ((name.to_owned(), labels), value)
}

/// Reads `name="value",…}`, with the three escapes of the format.
fn labels(text: &str) -> Labels {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once("=\"").expect("a label has a quoted value");
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect("a quote ends the value") {
                (at, '"') => break at + 1,
                (_, '\\') => value.push(match chars.next().expect("an escape").1 {
                    'n' => '\n',
                    c @ ('"' | '\\') => c,
                    other => panic!("unknown escape {other:?}"),
                }),
                (_, c) => value.push(c),
            }
        };
        let valid = |b: u8| b.is_ascii_lowercase() || b == b'_';
        assert!(name.bytes().all(valid), "label name {name:?}");
        assert_eq!(labels.insert(name.to_owned(), value), None);
        match &after[end..] {
            "}" => return labels,
            more => rest = more.strip_prefix(',').expect("a comma between labels"),
        }
    }
}
