//! Pingora doing what its peers do here: plain HTTP/1.1 or HTTP/2 in, TLS with verification to the
//! upstream over kept connections, the bearer token attached. Told what to do by its environment.

use std::collections::HashSet;
use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;

use async_trait::async_trait;
use http::Uri;
use http::uri::PathAndQuery;
use pingora::apps::HttpServerOptions;
use pingora::prelude::*;
use pingora::proxy::ProxyServiceBuilder;
use pingora::server::configuration::ServerConf;

struct Gateway {
    upstream: SocketAddr,
    name: String,
    authorization: String,
    /// First segments of paths.
    routes: HashSet<String>,
    log: Option<File>,
}

impl Gateway {
    /// What a path is below its route.
    fn below<'a>(&self, target: &'a str) -> Option<&'a str> {
        let (route, _) = target.strip_prefix('/')?.split_once('/')?;
        self.routes
            .contains(route)
            .then(|| &target[1 + route.len()..])
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, _: &mut ()) -> Result<bool> {
        if self.below(session.req_header().uri.path()).is_some() {
            return Ok(false);
        }
        session.respond_error(404).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(
            self.upstream,
            true,
            self.name.clone(),
        )))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        _: &mut (),
    ) -> Result<()> {
        let target = request
            .uri
            .path_and_query()
            .map_or("/", PathAndQuery::as_str);
        let below = self.below(target).unwrap_or("/").parse::<Uri>();
        request.set_uri(below.or_err(InternalError, "a target")?);
        request.insert_header("host", &self.name)?;
        request.insert_header("authorization", &self.authorization)
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, _: &mut ()) {
        if let Some(mut log) = self.log.as_ref() {
            let status = session
                .response_written()
                .map_or(0, |it| it.status.as_u16());
            let summary = session.request_summary();
            let _ = writeln!(log, "{summary} {status} {}", session.body_bytes_sent());
        }
    }
}

fn setting(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn main() {
    let conf = ServerConf {
        threads: setting("THREADS").parse().expect("THREADS is a number"),
        upstream_keepalive_pool_size: setting("KEPT").parse().expect("KEPT is a number"),
        ca_file: Some(setting("CA_FILE")),
        ..ServerConf::default()
    };
    let token = fs::read_to_string(setting("TOKEN_FILE")).expect("TOKEN_FILE can be read");
    let gateway = Gateway {
        upstream: setting("UPSTREAM").parse().expect("UPSTREAM is an address"),
        name: setting("UPSTREAM_NAME"),
        authorization: format!("Bearer {token}"),
        routes: setting("ROUTES").split(',').map(str::to_owned).collect(),
        log: env::var("LOG")
            .ok()
            .map(|path| File::create(path).expect("LOG can be written")),
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    let mut service = ProxyServiceBuilder::new(&server.configuration, gateway)
        .server_options(options)
        .build();
    service.add_tcp(&setting("LISTEN"));
    server.add_service(service);
    server.run_forever();
}
