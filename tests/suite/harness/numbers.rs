//! A page of metrics, read as Prometheus reads it.

use std::net::SocketAddr;

use super::caller::Caller;
use super::until;

/// The samples of one scrape.
#[derive(Debug)]
pub(crate) struct Numbers(String);

impl Numbers {
    /// Scrapes the admin listener.
    pub(crate) async fn scrape(admin: SocketAddr) -> Self {
        let mut caller = Caller::connect(admin).await;
        let page = caller.exchange("GET /metrics HTTP/1.1").await.expect(200);
        Self(page.text())
    }

    /// The sum of the samples of this name that have all of these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.0.lines().filter(|line| !line.starts_with('#'));
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (own, fields) = match series.split_once('{') {
                Some((own, fields)) => (own, fields.trim_end_matches('}')),
                None => (series, ""),
            };
            let has = |&(label, wanted): &(&str, &str)| {
                fields
                    .split("\",")
                    .any(|field| field.trim_end_matches('"') == format!("{label}=\"{wanted}"))
            };
            (own == name && labels.iter().all(has)).then(|| value.parse::<f64>().ok())?
        };
        samples.filter_map(value).sum()
    }
}

/// Scrapes until the sum is what it must become.
pub(crate) async fn becomes(admin: SocketAddr, name: &str, labels: &[(&str, &str)], wanted: f64) {
    let what = format!("{name} {labels:?} becomes {wanted}");
    until(&what, async || {
        let sum = Numbers::scrape(admin).await.sum(name, labels);
        sum == wanted
    })
    .await;
}
