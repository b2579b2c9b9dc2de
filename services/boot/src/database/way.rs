//! The way a session takes: over TLS, or in clear on this machine. On both the server's wishes are read before the
//! driver reads them: a password is never said, only proven.

use super::refusal::Refusal;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    Socket,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_postgres_rustls::MakeRustlsConnect;

type Rustls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type Encrypted = <Rustls as TlsConnect<Socket>>::Stream;

/// How the driver connects. In clear it negotiates nothing, and asks for the stream as it is.
#[derive(Clone)]
pub struct Way(pub(super) Option<MakeRustlsConnect>);

/// The same for one server.
pub struct Going(Option<Rustls>);

/// A session's bytes.
pub struct Stream {
    inner: Inner,
    watch: Watch,
}

enum Inner {
    Encrypted(Box<Encrypted>),
    Clear(Socket),
}

impl MakeTlsConnect<Socket> for Way {
    type Stream = Stream;
    type TlsConnect = Going;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Going> {
        let tls = self.0.as_mut().map(|tls| MakeTlsConnect::<Socket>::make_tls_connect(tls, host)).transpose();
        tls.map(Going).map_err(io::Error::other)
    }
}

impl TlsConnect<Socket> for Going {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let inner = match self.0 {
                Some(tls) => Inner::Encrypted(Box::new(tls.connect(socket).await?)),
                None => Inner::Clear(socket),
            };
            Ok(Stream { inner, watch: Watch::default() })
        })
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.inner {
            Inner::Encrypted(stream) => stream.channel_binding(),
            Inner::Clear(_) => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(match &mut self.inner {
            Inner::Encrypted(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
            Inner::Clear(stream) => Pin::new(stream).poll_read(cx, buffer),
        })?;
        Poll::Ready(self.watch.see(&buffer.filled()[before..]).map_err(io::Error::other))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Encrypted(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
            Inner::Clear(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Encrypted(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Inner::Clear(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Encrypted(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Inner::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A message's kind, its length, and of an authentication request which one it is.
const HEAD_BYTES: usize = 9;
const OK: u32 = 0;
const CLEAR_PASSWORD: u32 = 3;
const MD5_PASSWORD: u32 = 5;
const SASL: u32 = 10;

/// What a server has asked for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    #[default]
    Nothing,
    /// A proof of the password.
    Scram,
    /// It lets us in, refuses us, or says something that is the driver's to judge.
    Decided,
}

/// Follows a server's messages until it has let us in or has refused us.
#[derive(Debug, Default)]
pub struct Watch {
    asked: Asked,
    head: Vec<u8>,
    /// Bytes of the message that do not matter.
    rest: usize,
}

impl Watch {
    pub fn asked(&self) -> Asked {
        self.asked
    }

    /// Takes in what the server says. An error: it wants the password itself, or what is as good.
    pub fn see(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        while self.asked != Asked::Decided && !bytes.is_empty() {
            let passed = self.rest.min(bytes.len());
            (self.rest, bytes) = (self.rest - passed, &bytes[passed..]);
            let wanted = if self.head.first().is_some_and(|kind| *kind != b'R') { HEAD_BYTES - 4 } else { HEAD_BYTES };
            let Some((first, others)) = bytes.split_first() else { return Ok(()) };
            self.head.push(*first);
            bytes = others;
            if self.head.len() >= wanted {
                self.message()?;
            }
        }
        Ok(())
    }

    fn message(&mut self) -> Result<(), Refusal> {
        let head = std::mem::take(&mut self.head);
        let number =
            |at: usize| head.get(at..at + 4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
        let bytes = number(1).and_then(|length| usize::try_from(length).ok()).unwrap_or(0) + 1;
        self.rest = bytes.saturating_sub(head.len());
        match (head[0], number(5)) {
            (b'R', Some(CLEAR_PASSWORD)) => return Err(Refusal::AsksForPassword),
            (b'R', Some(MD5_PASSWORD)) => return Err(Refusal::AsksForMd5),
            (b'R', Some(SASL)) => self.asked = Asked::Scram,
            (b'R', Some(OK)) | (b'E', _) => self.asked = Asked::Decided,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(code: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(8 + body.len()).expect("short");
        [&b"R"[..], &length.to_be_bytes(), &code.to_be_bytes(), body].concat()
    }

    /// However the bytes are cut.
    #[track_caller]
    fn check(messages: &[Vec<u8>], want: Result<Asked, Refusal>) {
        let bytes = messages.concat();
        for piece in 1..=bytes.len() {
            let mut watch = Watch::default();
            let seen = bytes.chunks(piece).try_for_each(|piece| watch.see(piece));
            assert_eq!(seen.map(|()| watch.asked()), want, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_server_that_wants_the_password_is_found_before_it_is_answered() {
        let notice = [&b"N"[..], &9_u32.to_be_bytes(), b"hello"].concat();
        check(&[request(SASL, b"SCRAM-SHA-256\0\0")], Ok(Asked::Scram));
        check(&[notice.clone(), request(CLEAR_PASSWORD, b"")], Err(Refusal::AsksForPassword));
        check(&[notice, request(MD5_PASSWORD, b"salt")], Err(Refusal::AsksForMd5));
        // A proof does not earn the password either.
        let after = [request(SASL, b"SCRAM-SHA-256\0\0"), request(11, b"r=1"), request(CLEAR_PASSWORD, b"")];
        check(&after, Err(Refusal::AsksForPassword));
        // Once it has let us in, bytes are the session's.
        check(&[request(OK, b""), request(CLEAR_PASSWORD, b"")], Ok(Asked::Decided));
        check(&[[&b"E"[..], &9_u32.to_be_bytes(), b"wrong"].concat()], Ok(Asked::Decided));
    }
}
