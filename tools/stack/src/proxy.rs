//! A TCP proxy between a client and a component, for everything a network can do to them: delay, silence in one or
//! both directions, half-open connections, cuts, lost answers.
//!
//! What is *held* arrives once it is let through, as after a partition that heals. What is *lost* is gone, and with it
//! the direction of its connection: a stream with a gap cannot go on, so it stays silent until it is cut.

use anyhow::Context;
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

/// Bytes read at once.
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// Pieces on their way in one direction.
const PIECES_MAX: usize = 64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    #[default]
    Through,
    /// Kept back until it is let through.
    Held,
    /// Thrown away; the sender sees nothing of it.
    Lost,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    pub flow: Flow,
    /// How long each piece is on its way.
    pub latency: Duration,
}

/// How the link behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// From the client to the component.
    pub up: Direction,
    /// The component's answers.
    pub down: Direction,
    /// New connections are cut at once.
    pub refusing: bool,
}

impl Link {
    /// Both directions alike.
    pub fn both(direction: Direction) -> Self {
        Self { up: direction, down: direction, refusing: false }
    }

    pub fn flowing(flow: Flow) -> Self {
        Self::both(Direction { flow, ..Direction::default() })
    }

    pub fn slow(latency: Duration) -> Self {
        Self::both(Direction { latency, ..Direction::default() })
    }

    /// Requests arrive, answers do not.
    pub fn deaf(flow: Flow) -> Self {
        Self { down: Direction { flow, ..Direction::default() }, ..Self::default() }
    }

    /// Answers come later.
    pub fn late(latency: Duration) -> Self {
        Self { down: Direction { latency, ..Direction::default() }, ..Self::default() }
    }
}

/// A listener that passes on to another address. Ends when dropped, with all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    link: watch::Sender<Link>,
    /// Counts the cuts.
    cuts: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a loopback port of ours.
    pub async fn start(port: u16, upstream: impl Into<String>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("cannot listen for the proxy")?;
        let address = listener.local_addr()?;
        let (link, seen) = watch::channel(Link::default());
        let (cuts, cut) = watch::channel(0);
        let task = tokio::spawn(serve(listener, upstream.into(), seen, cut));
        Ok(Self { address, link, cuts, task })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `127.0.0.1:15432`
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on the link behaves so, for connections that are open, too.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// As good as new. What was lost stays so: cut it.
    pub fn heal(&self) {
        self.set(Link::default());
    }

    /// Ends every open connection at once.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, upstream: String, link: watch::Receiver<Link>, cuts: watch::Receiver<u64>) {
    // Dropped with this task, and with it every connection.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if !link.borrow().refusing {
                    connections.spawn(connection(client, upstream.clone(), link.clone(), cuts.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(client: TcpStream, upstream: String, link: watch::Receiver<Link>, mut cuts: watch::Receiver<u64>) {
    cuts.mark_unchanged();
    let Ok(server) = TcpStream::connect(&upstream).await else { return };
    // A delay is the link's, not an algorithm's. A socket that refuses is about to end anyway.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = way(from_client, to_server, link.clone(), |link| link.up);
    let down = way(from_server, to_client, link, |link| link.down);
    let both = async { tokio::join!(up, down) };
    tokio::select! {
        _ = cuts.changed() => {}
        _ = both => {}
    }
}

type Pick = fn(&Link) -> Direction;

/// One direction, until its end has been passed on.
async fn way(from: OwnedReadHalf, to: OwnedWriteHalf, link: watch::Receiver<Link>, pick: Pick) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    tokio::join!(take_in(from, sender, link.clone(), pick), hand_out(to, receiver, link, pick));
}

type Piece = (Instant, Vec<u8>);

async fn take_in(mut from: OwnedReadHalf, pieces: mpsc::Sender<Piece>, mut link: watch::Receiver<Link>, pick: Pick) {
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    let mut gap = false;
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let Ok(direction) = link.wait_for(|link| pick(link).flow != Flow::Held).await.map(|link| pick(&link)) else {
            return;
        };
        gap |= direction.flow == Flow::Lost;
        match (gap, read) {
            // The end is lost, too: nobody hears of it before a cut.
            (true, 0) => return std::future::pending().await,
            (true, _) => {}
            (false, 0) => return,
            (false, _) => {
                let due = Instant::now() + direction.latency;
                if pieces.send((due, buffer[..read].to_vec())).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn hand_out(
    mut to: OwnedWriteHalf,
    mut pieces: mpsc::Receiver<Piece>,
    mut link: watch::Receiver<Link>,
    pick: Pick,
) {
    while let Some((due, piece)) = pieces.recv().await {
        tokio::time::sleep_until(due).await;
        // What was on its way when the link fell silent is kept back as well.
        if link.wait_for(|link| pick(link).flow != Flow::Held).await.is_err() || to.write_all(&piece).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(400);
    const LONG: Duration = Duration::from_secs(20);

    /// A server that says everything back, and a proxy before it.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let upstream = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        Proxy::start(crate::free_port().unwrap(), upstream).await.unwrap()
    }

    /// What comes back within the time: `None` is silence, an empty text the end.
    async fn heard(stream: &mut TcpStream, within: Duration) -> Option<String> {
        let mut buffer = [0; 64];
        let read = tokio::time::timeout(within, stream.read(&mut buffer)).await.ok()?;
        Some(String::from_utf8_lossy(&buffer[..read.unwrap_or(0)]).into_owned())
    }

    #[tokio::test]
    async fn what_is_held_comes_later_and_what_is_lost_never() {
        let proxy = echo().await;
        let mut held = TcpStream::connect(proxy.address()).await.unwrap();
        held.write_all(b"one").await.unwrap();
        assert_eq!(heard(&mut held, LONG).await.as_deref(), Some("one"));
        proxy.set(Link::flowing(Flow::Held));
        held.write_all(b"two").await.unwrap();
        assert_eq!(heard(&mut held, SOON).await, None);
        proxy.heal();
        assert_eq!(heard(&mut held, LONG).await.as_deref(), Some("two"));
        proxy.set(Link::deaf(Flow::Lost));
        held.write_all(b"three").await.unwrap();
        assert_eq!(heard(&mut held, SOON).await, None);
        proxy.heal();
        held.write_all(b"four").await.unwrap();
        assert_eq!(heard(&mut held, SOON).await, None, "the stream has a gap");
        let mut other = TcpStream::connect(proxy.address()).await.unwrap();
        other.write_all(b"five").await.unwrap();
        assert_eq!(heard(&mut other, LONG).await.as_deref(), Some("five"), "another connection is whole");
    }

    #[tokio::test]
    async fn a_cut_ends_what_is_open_and_a_refusal_what_comes() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(b"one").await.unwrap();
        assert_eq!(heard(&mut stream, LONG).await.as_deref(), Some("one"));
        proxy.set(Link { refusing: true, ..Link::default() });
        proxy.cut();
        assert_eq!(heard(&mut stream, LONG).await.as_deref(), Some(""));
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(heard(&mut stream, LONG).await.as_deref(), Some(""));
    }

    #[tokio::test]
    async fn latency_delays_each_way() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.set(Link::slow(SOON));
        let began = Instant::now();
        stream.write_all(b"one").await.unwrap();
        assert_eq!(heard(&mut stream, LONG).await.as_deref(), Some("one"));
        assert!(began.elapsed() >= 2 * SOON);
    }
}
