//! Stands before a broker and, when told to, lets it tell of topics and of no broker, as a broker does that was halted for
//! longer than its own session. Clients that take that for the truth let go of every broker.

use anyhow::Context;
use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

const METADATA: i16 = 3;
/// Since then brokers are a compact array, whose length says none in one byte.
const COMPACT_SINCE: i16 = 9;
const NO_BROKER: u8 = 1;
const FRAME_BYTES_MAX: usize = 128 * 1024 * 1024;

#[derive(Clone, Copy, Debug, Default)]
struct Mood {
    brokerless: bool,
    /// Counts the cuts.
    cuts: u64,
}

/// A listener that passes on to a broker. Ends when dropped, with all its connections.
#[derive(Debug)]
pub struct Forgetful {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    answers: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Forgetful {
    pub async fn start(port: u16, upstream: impl Into<String>) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("cannot listen before the broker")?;
        let address = listener.local_addr()?;
        let (mood, seen) = watch::channel(Mood::default());
        let answers = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(serve(listener, upstream.into(), seen, Arc::clone(&answers)));
        Ok(Self { address, mood, answers, task })
    }

    /// `127.0.0.1:15432`
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on it tells of no broker. Every connection is cut, so that clients ask.
    pub fn forget(&self) {
        self.mood.send_modify(|mood| *mood = Mood { brokerless: true, cuts: mood.cuts + 1 });
    }

    pub fn remember(&self) {
        self.mood.send_modify(|mood| mood.brokerless = false);
    }

    /// How many answers told of no broker.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }
}

impl Drop for Forgetful {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, upstream: String, mood: watch::Receiver<Mood>, answers: Arc<AtomicU64>) {
    // Dropped with this task, and with it every connection.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                connections.spawn(connection(client, upstream.clone(), mood.clone(), Arc::clone(&answers)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(client: TcpStream, upstream: String, mut mood: watch::Receiver<Mood>, answers: Arc<AtomicU64>) {
    let cuts = mood.borrow_and_update().cuts;
    let Ok(server) = TcpStream::connect(&upstream).await else { return };
    // A socket that refuses is about to end anyway.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let asked = Asked::default();
    let up = requests(from_client, to_server, &asked);
    let down = responses(from_server, to_client, &asked, mood.clone(), &answers);
    tokio::select! {
        _ = mood.wait_for(|mood| mood.cuts != cuts) => {}
        _ = up => {}
        _ = down => {}
    }
}

/// Correlation ids of the questions for metadata that have no answer yet.
type Asked = Mutex<HashSet<[u8; 4]>>;

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, asked: &Asked) -> Option<()> {
    loop {
        let frame = frame(&mut from).await?;
        if let Some([key, key_low, version, version_low, id @ ..]) = frame.first_chunk::<8>()
            && i16::from_be_bytes([*key, *key_low]) == METADATA
            && i16::from_be_bytes([*version, *version_low]) >= COMPACT_SINCE
        {
            asked.lock().unwrap_or_else(PoisonError::into_inner).insert(*id);
        }
        pass(&mut to, &frame).await?;
    }
}

async fn responses(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    asked: &Asked,
    mood: watch::Receiver<Mood>,
    answers: &AtomicU64,
) -> Option<()> {
    loop {
        let frame = frame(&mut from).await?;
        let id = frame.first_chunk::<4>()?;
        let metadata = asked.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if metadata && mood.borrow().brokerless {
            pass(&mut to, &without_brokers(&frame)?).await?;
            answers.fetch_add(1, Ordering::Relaxed);
        } else {
            pass(&mut to, &frame).await?;
        }
    }
}

async fn frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let length = usize::try_from(from.read_u32().await.ok()?).ok().filter(|length| *length <= FRAME_BYTES_MAX)?;
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

async fn pass(to: &mut OwnedWriteHalf, frame: &[u8]) -> Option<()> {
    let mut bytes = u32::try_from(frame.len()).ok()?.to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    to.write_all(&bytes).await.ok()
}

/// An answer to a question for metadata: correlation id, tagged fields, throttle time, brokers, and the rest.
fn without_brokers(answer: &[u8]) -> Option<Vec<u8>> {
    let mut rest = answer.get(4..)?;
    tagged(&mut rest)?;
    rest = rest.get(4..)?;
    let before = answer.len() - rest.len();
    for _ in 1..unsigned(&mut rest)? {
        rest = rest.get(4..)?;
        text(&mut rest)?;
        rest = rest.get(4..)?;
        text(&mut rest)?;
        tagged(&mut rest)?;
    }
    Some([&answer[..before], &[NO_BROKER], rest].concat())
}

fn unsigned(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Compact and nullable: its length plus one.
fn text(bytes: &mut &[u8]) -> Option<()> {
    let length = unsigned(bytes)?.saturating_sub(1);
    *bytes = bytes.get(length..)?;
    Some(())
}

fn tagged(bytes: &mut &[u8]) -> Option<()> {
    for _ in 0..unsigned(bytes)? {
        unsigned(bytes)?;
        let length = unsigned(bytes)?;
        *bytes = bytes.get(length..)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_left_as_it_is_but_for_its_brokers() {
        let head = [0, 0, 0, 7, 0, 0, 0, 0, 0];
        let broker = [&[0, 0, 0, 1, 4][..], b"abc", &[0, 0, 0x70, 0x10, 0, 0]].concat();
        let rack = [&[0, 0, 0, 2, 2][..], b"b", &[0, 0, 0x70, 0x11, 3], b"rk", &[1, 0, 2, 9, 9]].concat();
        let rest = b"cluster and topics";
        let answer = [&head[..], &[3], &broker, &rack, rest].concat();
        assert_eq!(without_brokers(&answer), Some([&head[..], &[1], rest].concat()));
        assert_eq!(without_brokers(&answer[..20]), None);
    }
}
