//! The listener: TLS, and limits on whoever connects.
//!
//! # Why
//! A connection costs memory and a file from its first byte on, and whoever opened it may never send the second. So how
//! many there are is bounded, and a handshake, the headers of a request and its body each have to arrive in time. What
//! takes its time by itself, a live stream, is an answer and is not bounded here.

use crate::GatewayError;
use axum::{Router, extract::ConnectInfo};
use boot::Stop;
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::Deserialize;
use std::{net::SocketAddr, path::PathBuf, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

/// Connections at once. More wait in the kernel's queue until one ends.
pub const CONNECTIONS_MAX: usize = 4_096;
const _: () = assert!(CONNECTIONS_MAX > crate::sse::CLIENTS_MAX, "streams leave room for pages");
/// A handshake of TLS takes no longer.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// The headers of a request have arrived after so long; a connection that is kept and not used ends then too.
pub const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Of one request, request line and headers together.
const HEADERS_BYTES_MAX: usize = 32 * 1024;
/// When no more files can be opened.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The gateway's own certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM: the gateway's certificate, then those between it and the authority that its users' browsers know.
    pub certificate_file: PathBuf,
    /// PEM: the private key of the first. Readable by the gateway alone.
    pub key_file: PathBuf,
}

impl Tls {
    /// What is wrong with the files, the key that names them first.
    pub fn load(&self) -> Result<Arc<ServerConfig>, GatewayError> {
        let told = |key: &str, path: &PathBuf, why: &str| {
            GatewayError::Tls(format!("gateway.tls.{key}: `{}` {why}", path.display()))
        };
        let wrong = |key, path, error: &rustls::pki_types::pem::Error| match error {
            rustls::pki_types::pem::Error::Io(error) => told(key, path, &format!("cannot be read: {error}")),
            _ => told(key, path, "is not PEM, or holds nothing of the kind"),
        };
        let certificates = CertificateDer::pem_file_iter(&self.certificate_file)
            .and_then(|found| found.collect::<Result<Vec<_>, _>>())
            .map_err(|error| wrong("certificate_file", &self.certificate_file, &error))?;
        if certificates.is_empty() {
            return Err(told("certificate_file", &self.certificate_file, "holds no certificate"));
        }
        let key =
            PrivateKeyDer::from_pem_file(&self.key_file).map_err(|error| wrong("key_file", &self.key_file, &error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
            .map_err(|error| told("key_file", &self.key_file, &format!("does not go with the certificate: {error}")))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Serves until the stop signal, and then until the last answer has gone out.
pub async fn run(listener: TcpListener, tls: Option<Arc<ServerConfig>>, router: Router, stop: Stop) {
    serve_at_most(CONNECTIONS_MAX, listener, tls, router, stop).await;
}

async fn serve_at_most(
    connections_max: usize,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    stop: Stop,
) {
    let places = Arc::new(Semaphore::new(connections_max));
    let tls = tls.map(TlsAcceptor::from);
    let router = TowerToHyperService::new(router);
    while let Some((stream, peer, place)) = next(&listener, &places, &stop).await {
        let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
        tokio::spawn(async move {
            let (_place, _counted) = (place, Counted::new());
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "small answers may wait");
            }
            match tls {
                None => serve(stream, peer, router, &stop).await,
                // Whoever speaks no TLS, or takes its time, is gone without an answer.
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
                        serve(stream, peer, router, &stop).await;
                    }
                }
            }
        });
    }
    drop(places.acquire_many(u32::try_from(connections_max).unwrap_or(u32::MAX)).await);
}

/// A connection in the gauge, whatever ends it.
struct Counted;

impl Counted {
    fn new() -> Self {
        metrics::gauge!("causeway_gateway_connections").increment(1.0);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!("causeway_gateway_connections").decrement(1.0);
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection, once there is room for it; `None` at the stop signal.
async fn next(listener: &TcpListener, places: &Arc<Semaphore>, stop: &Stop) -> Option<Accepted> {
    let accepted = async {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => return Some((stream, peer, place)),
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => None,
        accepted = accepted => accepted,
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    router: TowerToHyperService<Router>,
    stop: &Stop,
) {
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN).max_header_size(HEADERS_BYTES_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection has ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const SHORT: Duration = Duration::from_millis(300);
    const PATIENCE: Duration = Duration::from_secs(5);

    async fn ask(stream: &mut TcpStream) {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: causeway\r\n\r\n").await.expect("a request");
    }

    async fn answered(stream: &mut TcpStream, within: Duration) -> bool {
        let mut answer = [0; 15];
        timeout(within, stream.read_exact(&mut answer))
            .await
            .is_ok_and(|read| read.is_ok() && answer == *b"HTTP/1.1 200 OK")
    }

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_waits_until_one_is_free() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, stop) = (listener.local_addr().expect("an address"), Stop::new());
        let router = Router::new().route("/", get(|| async { "ok" }));
        let serving = tokio::spawn(serve_at_most(2, listener, None, router, stop.clone()));
        let mut clients = Vec::new();
        for _ in 0..2 {
            let mut client = TcpStream::connect(address).await.expect("a connection");
            ask(&mut client).await;
            assert!(answered(&mut client, PATIENCE).await, "there is a place");
            clients.push(client);
        }
        let mut third = TcpStream::connect(address).await.expect("the kernel's queue");
        ask(&mut third).await;
        assert!(!answered(&mut third, SHORT).await, "answered beyond the limit");
        drop(clients.pop());
        assert!(answered(&mut third, PATIENCE).await, "a place is free");
        drop((clients, third));
        stop.cancel();
        timeout(PATIENCE, serving).await.expect("it ends").expect("no panic");
    }
}
