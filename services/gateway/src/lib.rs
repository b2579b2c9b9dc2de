//! The door to people and services: pages, live alerts, FHIR R4; sign-in, access decisions, audit.
//!
//! # Why
//! Withholding happens here, at the exit, and nowhere on the way in. [`access::decide`] is the one place where access is
//! decided: a pure function, asked by pages, FHIR and the live stream alike. What it decides is in the audit before the
//! answer leaves. Pages are HTML that works without scripts; the one script adds live rows. Withdrawal, agreements and
//! sessions are read from the database each time something is shown, so an open stream learns of a revocation in seconds.

pub mod address;
mod alerts;
mod api;
mod app;
mod audit;
mod database;
mod deliver;
mod error;
pub mod feedback;
mod fhir;
mod freshness;
mod input;
pub mod operator;
mod page;
mod record;
pub mod server;
mod session;
mod site;
mod sse;
mod throttle;
pub mod users;

pub use access;
pub use database::{Pools, migrate};
pub use deliver::SCHEMA as AUDIT_SCHEMA;
pub use error::GatewayError;
pub use input::BODY_WITHIN;
pub use medicine::Ingredients;
pub use site::{Agreements, Site, agreements, consent, medicines};

use axum::{Router, extract::DefaultBodyLimit, middleware};
use boot::{Stop, health::Health};
use change_log::{KafkaSettings, Registry};
use serde::Deserialize;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// No form and no request of ours is larger.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Streams end at once on a stop; other answers get so long.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where pages and APIs are served.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// The gateway's certificate. Without it, it speaks plain HTTP: to this machine, or to a proxy that speaks TLS.
    pub tls: Option<server::Tls>,
    /// Cookies only over HTTPS. Default: over TLS, and off the loopback address.
    pub secure_cookies: Option<bool>,
    /// How long after an encounter ended its team still sees the patient.
    #[serde(default = "default_grace")]
    pub encounter_grace_hours: u32,
    /// A source whose newest changes are older than this, or of which nobody says how new they are, is said to be behind.
    #[serde(default = "default_behind")]
    pub source_behind_seconds: u32,
    /// Proxies whose `X-Forwarded-For` is believed: addresses or networks, as `10.0.0.0/8`.
    #[serde(default)]
    pub trusted_proxies: Vec<address::Network>,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8088))
}

const fn default_grace() -> u32 {
    access::ENCOUNTER_GRACE_HOURS_DEFAULT
}

const fn default_behind() -> u32 {
    120
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: default_listen(),
            tls: None,
            secure_cookies: None,
            encounter_grace_hours: default_grace(),
            source_behind_seconds: default_behind(),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Settings {
    fn behind_after(&self) -> event::Micros {
        i64::from(self.source_behind_seconds) * 1_000_000
    }

    /// Whether the address that a client knows is `https`.
    fn secure(&self, over: app::OverTls) -> bool {
        over.0 || self.secure_cookies.unwrap_or(!self.listen.ip().is_loopback())
    }
}

/// Binds `settings.listen` and serves until the stop signal.
pub async fn run(
    settings: Settings,
    kafka: KafkaSettings,
    registry: Registry,
    pools: Pools,
    site: Site,
    health: Health,
    stop: Stop,
) -> Result<(), GatewayError> {
    let address = settings.listen;
    let listener = TcpListener::bind(address).await.map_err(|source| GatewayError::Listen { address, source })?;
    serve(listener, settings, kafka, registry, pools, site, &health, stop).await
}

/// As [`run`], on a listener that the caller has bound.
#[expect(clippy::too_many_arguments, reason = "the parts that every service is given, and the listener")]
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    kafka: KafkaSettings,
    registry: Registry,
    pools: Pools,
    site: Site,
    health: &Health,
    stop: Stop,
) -> Result<(), GatewayError> {
    let part = health.part("gateway");
    let tls = settings.tls.as_ref().map(server::Tls::load).transpose()?;
    let pool = pools.pages;
    database::migrate(&pool).await?;
    let live = sse::Live::default();
    let stop = stop.child_token();
    // Whatever ends the server ends what works for it.
    let _ends = stop.clone().drop_guard();
    let alerts = health.part("gateway alerts");
    tokio::spawn(sse::consume::run(kafka.clone(), registry.clone(), live.clone(), stop.clone(), alerts));
    tokio::spawn(site.agreements.clone().follow(health.part("agreements"), stop.clone()));
    let sources = freshness::Sources::default();
    tokio::spawn(freshness::run(kafka.clone(), pool.clone(), sources.clone(), stop.clone()));
    tokio::spawn(deliver::run(kafka, registry, pool.clone(), stop.clone(), health.part("gateway audit")));
    let (desk, questions) = sse::disclose::Desk::new();
    let (streams, stopping) = (pools.streams, stop.clone());
    let app = Arc::new(app::App { pool, streams, site, settings, live, desk, sources, stop: stopping });
    tokio::spawn(sse::disclose::run(Arc::clone(&app), questions));
    let router = router(app);
    let address = listener.local_addr().map_err(GatewayError::Serve)?;
    tracing::info!(%address, tls = tls.is_some(), "the gateway listens");
    part.ready();
    tokio::select! {
        () = server::run(listener, tls, router, stop.clone()) => Ok(()),
        () = async { stop.cancelled().await; tokio::time::sleep(SHUTDOWN_MAX).await } => Ok(()),
    }
}

fn router(app: app::Shared) -> Router {
    Router::new()
        .nest("/fhir", fhir::router())
        .merge(api::router())
        .merge(page::router())
        .layer(middleware::from_fn_with_state(Arc::clone(&app), app::guard))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
}
