//! The operator's HTTP port: `/healthz`, `/readyz`, `/metrics`, `/status`.

use crate::{Stop, health::Health};
use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpsSettings {
    /// Where health, metrics and status are served. Keep it off the public network.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
}

impl Default for OpsSettings {
    fn default() -> Self {
        Self { listen: default_listen() }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9600))
}

/// Tells what the parts are doing; called for each `/status`.
pub type StatusSource = Arc<dyn Fn() -> Value + Send + Sync>;

#[derive(Clone)]
struct Ops {
    health: Health,
    metrics: PrometheusHandle,
    status: StatusSource,
}

/// Seconds; latencies from a millisecond to a minute.
const LATENCY_BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Makes metrics recordable. Call once, before anything records.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new().set_buckets(&LATENCY_BUCKETS)?;
    Ok(builder.install_recorder()?)
}

/// Serves until the stop signal. Returns the address that was bound.
pub async fn serve(
    settings: &OpsSettings,
    health: Health,
    metrics: PrometheusHandle,
    status: StatusSource,
    stop: Stop,
) -> anyhow::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(settings.listen)
        .await
        .map_err(|error| anyhow::anyhow!("cannot listen on ops.listen = {}: {error}", settings.listen))?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(|State(ops): State<Ops>| async move { ops.metrics.render() }))
        .route("/status", get(|State(ops): State<Ops>| async move { Json((ops.status)()) }))
        .with_state(Ops { health, metrics, status });
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the ops port has stopped");
        }
    });
    Ok(address)
}

async fn readyz(State(ops): State<Ops>) -> (StatusCode, Json<Value>) {
    let code = if ops.health.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let parts: serde_json::Map<String, Value> = ops
        .health
        .parts()
        .into_iter()
        .map(|(part, why)| (part, why.map_or_else(|| json!("ready"), |why| json!(why))))
        .collect();
    (code, Json(Value::Object(parts)))
}
