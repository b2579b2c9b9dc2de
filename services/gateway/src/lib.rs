//! The door to people and services: pages, live alerts, FHIR R4; sign-in, access decisions, audit.
//!
//! # Why
//! Withholding happens here, at the exit, and nowhere on the way in. [`access::decide`] is the one place where access is
//! decided: a pure function, asked by pages, FHIR and the live stream alike. What it decides is in the audit before the
//! answer leaves. Pages are HTML that works without scripts; the one script adds live rows. Withdrawal, agreements and
//! sessions are read from the database each time something is shown, so an open stream learns of a revocation in seconds.

pub mod access;
pub mod address;
mod alerts;
mod api;
mod app;
mod audit;
mod database;
mod deliver;
mod error;
mod fhir;
mod freshness;
pub mod operator;
mod page;
mod record;
mod session;
mod site;
mod sse;
pub mod users;

pub use database::migrate;
pub use deliver::SCHEMA as AUDIT_SCHEMA;
pub use error::GatewayError;
pub use site::{Site, agreements, medicines};

use axum::{Router, extract::DefaultBodyLimit, middleware};
use boot::{Stop, health::Health};
use change_log::{KafkaSettings, Registry};
use deadpool_postgres::Pool;
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
    /// Cookies only over HTTPS. Default: on, except on the loopback address.
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

    fn secure(&self) -> bool {
        self.secure_cookies.unwrap_or(!self.listen.ip().is_loopback())
    }
}

/// Binds `settings.listen` and serves until the stop signal.
pub async fn run(
    settings: Settings,
    kafka: KafkaSettings,
    registry: Registry,
    pool: Pool,
    site: Site,
    health: Health,
    stop: Stop,
) -> Result<(), GatewayError> {
    let address = settings.listen;
    let listener = TcpListener::bind(address).await.map_err(|source| GatewayError::Listen { address, source })?;
    serve(listener, settings, kafka, registry, pool, site, &health, stop).await
}

/// As [`run`], on a listener that the caller has bound.
#[expect(clippy::too_many_arguments, reason = "the parts that every service is given, and the listener")]
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    kafka: KafkaSettings,
    registry: Registry,
    pool: Pool,
    site: Site,
    health: &Health,
    stop: Stop,
) -> Result<(), GatewayError> {
    let part = health.part("gateway");
    database::migrate(&pool).await?;
    let live = sse::Live::default();
    let stop = stop.child_token();
    // Whatever ends the server ends what works for it.
    let _ends = stop.clone().drop_guard();
    let alerts = health.part("gateway alerts");
    tokio::spawn(sse::consume::run(kafka.clone(), registry.clone(), live.clone(), stop.clone(), alerts));
    let sources = freshness::Sources::default();
    tokio::spawn(freshness::run(kafka.clone(), pool.clone(), sources.clone(), stop.clone()));
    tokio::spawn(deliver::run(kafka, registry, pool.clone(), stop.clone(), health.part("gateway audit")));
    let app = Arc::new(app::App { pool, site, settings, live, sources, stop: stop.clone() });
    let router = router(app);
    let address = listener.local_addr().map_err(GatewayError::Serve)?;
    tracing::info!(%address, "the gateway listens");
    part.ready();
    let server = axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        served = server.into_future() => served.map_err(GatewayError::Serve),
        () = async { stop.cancelled().await; tokio::time::sleep(SHUTDOWN_MAX).await } => Ok(()),
    }
}

fn router(app: app::Shared) -> Router {
    Router::new()
        .nest("/fhir", fhir::router())
        .merge(api::router())
        .merge(page::router())
        .layer(middleware::from_fn(app::guard))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
}
