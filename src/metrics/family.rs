//! The metric families: names, kinds, labels and what they mean, in one table; and their samples.

use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};

use super::tally::{BOUNDS, DurationTotals};

/// One metric of the table in docs/operations.md.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    kind: MetricType,
    pub(super) labels: &'static [&'static str],
}

macro_rules! families {
    ($($constant:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(pub(super) const $constant: Family = Family {
            name: $name,
            help: $help,
            kind: MetricType::$kind,
            labels: &[$($label),*],
        };)*

        /// Every family.
        pub(super) const ALL: &[Family] = &[$($constant,)*];
    };
}

families! {
    REQUESTS = "tokenferry_requests_total", COUNTER, ["route", "method", "code"],
        "Requests that are over, by HTTP status; 0 when the caller left before an answer.";
    REQUEST_DURATION = "tokenferry_request_duration_seconds", HISTOGRAM, ["route"],
        "From the request's head to the last byte of its answer.";
    UPSTREAM_RESPONSE = "tokenferry_upstream_response_seconds", HISTOGRAM, ["route"],
        "From the request that was sent to the head of the upstream's answer.";
    IN_FLIGHT = "tokenferry_requests_in_flight", GAUGE, ["route"],
        "Requests that are not over.";
    REQUEST_BYTES = "tokenferry_request_bytes_total", COUNTER, ["route"],
        "Bytes of request bodies.";
    RESPONSE_BYTES = "tokenferry_response_bytes_total", COUNTER, ["route"],
        "Bytes of the answers' bodies, as they went to callers.";
    TOKEN_HITS = "tokenferry_token_cache_hits_total", COUNTER, ["credential", "scope"],
        "Forwarded requests that found a usable token.";
    TOKEN_MISSES = "tokenferry_token_cache_misses_total", COUNTER, ["credential", "scope"],
        "Forwarded requests that had to wait for a token.";
    TOKEN_REFRESHES = "tokenferry_token_refreshes_total", COUNTER,
        ["credential", "scope", "outcome"],
        "Calls for a token, by how they ended.";
    TOKEN_REFRESH_DURATION = "tokenferry_token_refresh_duration_seconds", HISTOGRAM,
        ["credential", "scope"],
        "How long calls for a token took.";
    TOKEN_EXPIRY = "tokenferry_token_expiry_timestamp_seconds", GAUGE, ["credential", "scope"],
        "When the token in use expires; 0 when there is none.";
    TOKEN_WAITERS = "tokenferry_token_waiters", GAUGE, ["credential", "scope"],
        "Requests that wait for a token now.";
    CREDENTIAL_EXPIRY = "tokenferry_credential_expiry_timestamp_seconds", GAUGE, ["credential"],
        "When the secret or certificate expires, where that is known.";
    FALLBACK = "tokenferry_credential_fallback_active", GAUGE, ["credential"],
        "1 while a token in use is the fallback's, because this credential was refused; else 0.";
    RETRIES = "tokenferry_upstream_retries_total", COUNTER, ["route", "reason"],
        "Requests that were sent to the upstream once more.";
    THROTTLED = "tokenferry_upstream_throttled_total", COUNTER, ["route"],
        "Answers by which the upstream asked for quiet.";
    CONNECTIONS = "tokenferry_upstream_connections", GAUGE, ["route", "state"],
        "Open connections to the upstream.";
    REFUSED = "tokenferry_refused_total", COUNTER, ["reason"],
        "Requests that were answered here and not by an upstream, by the answer's code.";
    LINKS = "tokenferry_links_rewritten_total", COUNTER, ["route"],
        "Links of answers that were made to point at this proxy.";
    RELOADS = "tokenferry_config_reloads_total", COUNTER, ["outcome"],
        "Attempts to load the configuration again.";
    RELOAD_SUCCESSFUL = "tokenferry_config_last_reload_successful", GAUGE, [],
        "1 when the file as it was last read is in force, 0 when it was refused.";
    RELOAD_TIMESTAMP = "tokenferry_config_last_reload_timestamp_seconds", GAUGE, [],
        "When the configuration was last read, at start or after.";
    BUILD = "tokenferry_build_info", GAUGE, ["version", "revision"],
        "Always 1.";
    LOG_DROPPED = "tokenferry_access_log_dropped_total", COUNTER, [],
        "Access-log lines that standard output did not take, or not in time.";
    PANICS = "tokenferry_panics_total", COUNTER, [],
        "Faults of this program: each ended a connection, refused a reload, or left files unread.";
}

impl Family {
    /// What a registry wants to know.
    pub(super) fn describe(&self) -> prometheus::Result<Desc> {
        let labels = self.labels.iter().map(|&label| label.into()).collect();
        Desc::new(self.name.into(), self.help.into(), labels, HashMap::new())
    }

    /// The family with its samples.
    pub(super) fn with(&self, samples: Vec<Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.into());
        family.set_help(self.help.into());
        family.set_field_type(self.kind);
        family.set_metric(samples);
        family
    }

    /// A counter or gauge with what is counted under each of these labels. Counts are exact up to
    /// 2^53, as in every Prometheus.
    pub(super) fn counts<'a, T, const N: usize>(
        &self,
        counted: impl Iterator<Item = ([&'a str; N], T)>,
        count: impl Fn(T) -> u64,
    ) -> MetricFamily {
        self.values(counted, |it| count(it) as f64)
    }

    /// A counter or gauge with a value under each of these labels.
    pub(super) fn values<'a, T, const N: usize>(
        &self,
        known: impl Iterator<Item = ([&'a str; N], T)>,
        value: impl Fn(T) -> f64,
    ) -> MetricFamily {
        let samples = known.map(|(labels, it)| self.sample(&labels, value(it)));
        self.with(samples.collect())
    }

    /// A histogram with the durations under each of these labels.
    pub(super) fn histograms<'a, T, const N: usize>(
        &self,
        measured: impl Iterator<Item = ([&'a str; N], T)>,
        totals: impl Fn(T) -> &'a DurationTotals,
    ) -> MetricFamily {
        let samples = measured.map(|(labels, it)| self.histogram(&labels, totals(it)));
        self.with(samples.collect())
    }

    /// A sample of a counter or gauge.
    pub(super) fn sample(&self, labels: &[&str], value: f64) -> Metric {
        let mut metric = Metric::from_label(self.pairs(labels));
        if self.kind == MetricType::COUNTER {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    }

    fn histogram(&self, labels: &[&str], totals: &DurationTotals) -> Metric {
        let mut so_far = 0;
        let buckets = BOUNDS.iter().zip(totals.buckets).map(|(bound, count)| {
            so_far += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(seconds(u64::from(*bound)));
            bucket.set_cumulative_count(so_far);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(totals.count());
        histogram.set_sample_sum(seconds(totals.micros));
        let mut metric = Metric::from_label(self.pairs(labels));
        metric.set_histogram(histogram);
        metric
    }

    fn pairs(&self, values: &[&str]) -> Vec<LabelPair> {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).into());
            pair.set_value((*value).into());
            pair
        };
        self.labels.iter().zip(values).map(pair).collect()
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
