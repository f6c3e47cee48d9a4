//! The HTTP client of this program's own calls: for tokens, and for the keys of a cluster. One exchange
//! over HTTP/1.1, never repeated, never redirected, and no connection is kept.

mod look_up;

use std::sync::Arc;

use reqwest::{Client, ClientBuilder, redirect, retry};
use rustls::ClientConfig;

use look_up::InTime;

/// A client that speaks TLS by `tls`, whose list of protocols is ignored. How it gets outside, and its
/// other time limits, are for the caller to say.
pub fn builder(tls: &ClientConfig) -> ClientBuilder {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        // A redirect would carry the secret or the token elsewhere.
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        // Calls are minutes to hours apart: a kept connection would only ever be a stale one.
        .pool_max_idle_per_host(0)
        .dns_resolver(Arc::new(InTime))
        .user_agent(concat!("tokenferry/", env!("CARGO_PKG_VERSION")))
}
