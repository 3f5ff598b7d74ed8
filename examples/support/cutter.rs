//! Stands between client and server, passes on what they say, and cuts the connection at an octet
//! that is chosen beforehand.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::dialogue::Dialogue;

/// Where to cut. Counted in octets that still pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Nowhere,
    /// Of all that the client sends.
    Client(u64),
    /// Of all that the server sends.
    Server(u64),
    /// Of the message, on this connection.
    Data(u64),
    /// Right behind the end of the data: the server may have it or not.
    EndOfData,
    /// Of the reply to the end of the data.
    FinalReply(u64),
    /// Right behind the 120 with this number: what the client answers does not pass.
    InProgress(u32),
    /// Before the reply to DETA.
    Detached,
}

/// One connection and what is known about it.
pub struct Wire<'w> {
    pub dialogue: Dialogue<'w>,
    cut: Cut,
    /// Called when the cut comes, before anybody can notice: nothing passes any more, and the
    /// sockets are closed when it returns.
    at_cut: Option<Box<dyn FnOnce() + Send + 'w>>,
    /// Told how far the message is.
    progress: Box<dyn FnMut(u64) + Send + 'w>,
    client: u64,
    server: u64,
    final_reply: u64,
    is_cut: bool,
}

impl<'w> Wire<'w> {
    pub fn new(
        dialogue: Dialogue<'w>,
        cut: Cut,
        at_cut: impl FnOnce() + Send + 'w,
        progress: impl FnMut(u64) + Send + 'w,
    ) -> Self {
        Self {
            dialogue,
            cut,
            at_cut: Some(Box::new(at_cut)),
            progress: Box::new(progress),
            client: 0,
            server: 0,
            final_reply: 0,
            is_cut: false,
        }
    }

    /// Whether the cut has come.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// How many of these octets of the client still pass.
    fn pass_client(&mut self, octets: &[u8]) -> usize {
        let mut passed = match self.cut {
            _ if self.is_cut => 0,
            Cut::Client(at) => self.until(at, self.client, octets),
            Cut::Data(at) => return self.data(at, octets),
            _ => octets.len(),
        };
        passed = passed.min(octets.len());
        self.client += passed as u64;
        self.tell_client(&octets[..passed]);
        self.is_cut |= self.cut == Cut::EndOfData && self.dialogue.is_ended();
        passed
    }

    /// Passes data until so much of the message has passed.
    fn data(&mut self, at: u64, octets: &[u8]) -> usize {
        let mut passed = 0;
        while passed < octets.len() {
            let left = at.saturating_sub(self.dialogue.data());
            if left == 0 && self.dialogue.is_in_data() {
                self.is_cut = true;
                break;
            }
            // An octet of the message takes one on the wire, or more.
            let step = usize::try_from(left.max(1)).unwrap_or(usize::MAX);
            let end = passed.saturating_add(step).min(octets.len());
            self.tell_client(&octets[passed..end]);
            passed = end;
        }
        passed
    }

    fn tell_client(&mut self, octets: &[u8]) {
        self.dialogue.client(octets);
        if self.dialogue.is_begun() {
            (self.progress)(self.dialogue.start() + self.dialogue.data());
        }
    }

    /// How many of these octets of the server still pass.
    fn pass_server(&mut self, octets: &[u8]) -> usize {
        let passed = match self.cut {
            _ if self.is_cut => 0,
            Cut::Server(at) => self.until(at, self.server, octets),
            Cut::FinalReply(at) if self.dialogue.is_ended() => {
                let passed = self.until(at, self.final_reply, octets);
                self.final_reply += passed as u64;
                passed
            }
            Cut::Detached if self.dialogue.is_leaving() => {
                self.is_cut = true;
                0
            }
            _ => octets.len(),
        };
        self.server += passed as u64;
        self.dialogue.server(&octets[..passed]);
        if let Cut::InProgress(number) = self.cut {
            self.is_cut |= self.dialogue.interims() >= number;
        }
        passed
    }

    fn until(&mut self, at: u64, so_far: u64, octets: &[u8]) -> usize {
        let left = usize::try_from(at.saturating_sub(so_far)).unwrap_or(usize::MAX);
        self.is_cut |= left <= octets.len();
        left.min(octets.len())
    }
}

/// Passes one connection on, from its beginning to its end or the cut.
///
/// # Errors
///
/// Where there is no connection to pass on.
pub fn pass<'w>(
    listener: &TcpListener,
    server: SocketAddr,
    wire: Wire<'w>,
) -> io::Result<Wire<'w>> {
    let (client, _) = listener.accept()?;
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let wire = Mutex::new(wire);
    thread::scope(|scope| {
        scope.spawn(|| copy(&server, &client, &wire, Wire::pass_server));
        copy(&client, &server, &wire, Wire::pass_client);
    });
    Ok(wire.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn copy<'w>(
    mut from: &TcpStream,
    mut to: &TcpStream,
    wire: &Mutex<Wire<'w>>,
    judge: fn(&mut Wire<'w>, &[u8]) -> usize,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        let octets = &buffer[..count];
        let mut locked = wire.lock().unwrap_or_else(PoisonError::into_inner);
        let was_cut = locked.is_cut;
        let passed = if count > 0 {
            judge(&mut locked, octets)
        } else {
            0
        };
        let is_cut = locked.is_cut;
        let at_cut = if is_cut { locked.at_cut.take() } else { None };
        drop(locked);
        if was_cut {
            return; // the other direction sees to it
        }
        let failed = to.write_all(&octets[..passed]).is_err();
        if let Some(at_cut) = at_cut {
            at_cut();
            for stream in [from, to] {
                let _ = stream.shutdown(Shutdown::Both);
            }
            return;
        }
        if count == 0 || failed {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
}
