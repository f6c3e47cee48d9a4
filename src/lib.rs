//! tokenferry: an authenticating reverse proxy for Microsoft Graph, Dynamics 365 and other APIs
//! protected by Microsoft Entra ID. A request without a credential goes in, the upstream's answer
//! comes out; the token in between is cached, renewed ahead of need and never shown.

pub mod cli;

pub mod app;

pub mod admin;
pub mod server;

pub mod proxy;

pub mod token;

pub mod upstream;

pub mod caller;
pub mod credential;
pub mod policy;
pub mod route;

pub mod rewrite;

pub mod config;

pub mod access_log;
pub mod logging;
pub mod metrics;

pub mod forward_proxy;
pub mod http_client;
pub mod trust;

pub mod alarm;

pub mod certificate_path;
pub mod chain;
pub mod clock;
pub mod code;
pub mod descriptors;
pub mod executor;
pub mod fields;
pub mod frames;
pub mod guid;
pub mod lifeline;
pub mod lock;
pub mod output;
pub mod retry_after;
pub mod runtime;
pub mod secret;
pub mod socket;
pub mod timestamp;

pub mod simulator;
