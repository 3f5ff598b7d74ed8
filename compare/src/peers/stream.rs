//! A transport in memory: each read gives the next of a cycle of replies. What is written is kept
//! for one cycle.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Canned {
    replies: Vec<&'static [u8]>,
    first: usize,
    next: usize,
    read: usize,
    over: bool,
    /// What was written in this cycle.
    pub written: Vec<u8>,
}

impl Canned {
    /// A transport that answers with these replies, those from `first` on over and over.
    #[must_use]
    pub fn new(replies: &[&'static [u8]], first: usize) -> Self {
        Self {
            replies: replies.to_vec(),
            first,
            ..Self::default()
        }
    }
}

impl AsyncRead for Canned {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Poll::Ready(Ok(octets)) = self.as_mut().poll_fill_buf(cx) else {
            return Poll::Pending;
        };
        let taken = octets.len().min(into.remaining());
        into.put_slice(&octets[..taken]);
        self.consume(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for Canned {
    fn poll_fill_buf(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        Poll::Ready(Ok(&this.replies[this.next][this.read..]))
    }

    fn consume(mut self: Pin<&mut Self>, octets: usize) {
        self.read += octets;
        if self.read == self.replies[self.next].len() {
            self.next += 1;
            self.read = 0;
            if self.next == self.replies.len() {
                self.next = self.first;
                self.over = true;
            }
        }
    }
}

impl AsyncWrite for Canned {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.over {
            self.written.clear();
            self.over = false;
        }
        self.written.extend_from_slice(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs a future that never has to wait.
pub fn run<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits, with everything in memory"),
    }
}
