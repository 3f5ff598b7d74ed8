//! mailin: a server session by lines, with a handler.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use mailin::{Action, Handler, Session, SessionBuilder};

use super::lines;

struct Sink<F>(F);

impl<F: FnMut(&[u8])> Handler for Sink<F> {
    fn data(&mut self, octets: &[u8]) -> io::Result<()> {
        (self.0)(octets);
        Ok(())
    }
}

/// A server that says yes to everything. Content goes to its sink.
#[allow(missing_debug_implementations)]
pub struct Server<F: FnMut(&[u8]) + Clone> {
    sink: F,
    session: Session<Sink<F>>,
}

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn session<F: FnMut(&[u8])>(sink: F) -> Session<Sink<F>> {
    SessionBuilder::new("mx.example.net").build(PEER, Sink(sink))
}

impl<F: FnMut(&[u8]) + Clone> Server<F> {
    /// A server with a new session.
    pub fn new(sink: F) -> Self {
        Self {
            session: session(sink.clone()),
            sink,
        }
    }

    /// Begins a new session.
    pub fn connect(&mut self, replies: &mut Vec<u8>) {
        self.session = session(self.sink.clone());
        self.session.greeting().write_to(replies).unwrap();
    }

    /// Takes one read: whole lines.
    pub fn read(&mut self, read: &[u8], replies: &mut Vec<u8>) {
        for line in lines(read) {
            let response = self.session.process(line);
            if response.action != Action::NoReply {
                response.write_to(replies).unwrap();
            }
        }
    }

    /// A server that waits for content.
    pub fn in_data(sink: F) -> Self {
        let mut server = Self::new(sink);
        let replies = &mut Vec::new();
        server.read(b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\n", replies);
        server.read(b"RCPT TO:<b@example.net>\r\nDATA\r\n", replies);
        assert!(replies.windows(4).any(|code| code == b"354 "));
        server
    }
}
