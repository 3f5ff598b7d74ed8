//! lettre: a client's connection over a transport of the caller's, and a parser of replies. Its
//! codec is private, so that sending is timed with the reply that it waits for.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::{ClientId, ServerInfo};
pub use lettre::transport::smtp::response::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::{Canned, run};

/// The connection keeps what it is given: what was written is seen through another hand.
#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<Canned>>);

impl Shared {
    fn with<T>(&self, f: impl FnOnce(Pin<&mut Canned>) -> T) -> T {
        let mut canned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f(Pin::new(&mut canned))
    }
}

impl AsyncTokioStream for Shared {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 25)))
    }
}

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|canned| canned.poll_read(cx, into))
    }
}

impl AsyncWrite for Shared {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|canned| canned.poll_write(cx, octets))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|canned| canned.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|canned| canned.poll_shutdown(cx))
    }
}

/// A connection that DATA was accepted on, again and again.
#[allow(missing_debug_implementations)]
pub struct Sender {
    connection: AsyncSmtpConnection,
    transport: Shared,
}

impl Default for Sender {
    fn default() -> Self {
        let replies: [&[u8]; 2] = [b"220 mx.example.net\r\n", b"250 mx.example.net\r\n"];
        let transport = Shared(Arc::new(Mutex::new(Canned::new(&replies, 0))));
        let name = ClientId::Domain("c.example".into());
        let stream = Box::new(transport.clone());
        let connection = AsyncSmtpConnection::connect_with_transport(stream, &name);
        let connection = run(connection).unwrap();
        transport.with(|mut canned| *canned = Canned::new(&[b"250 accepted\r\n"], 0));
        Self {
            connection,
            transport,
        }
    }
}

impl Sender {
    /// Sends content, with the end of the data.
    pub fn send(&mut self, content: &[u8]) {
        run(self.connection.message(content)).unwrap();
    }

    /// What was written.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        self.transport.with(|canned| canned.written.clone())
    }
}

/// Reads a reply.
#[must_use]
pub fn reply(wire: &[u8]) -> Option<Response> {
    std::str::from_utf8(wire).ok()?.parse().ok()
}

/// Reads the reply to EHLO.
#[must_use]
pub fn ehlo(wire: &[u8]) -> Option<ServerInfo> {
    ServerInfo::from_response(&reply(wire)?).ok()
}
