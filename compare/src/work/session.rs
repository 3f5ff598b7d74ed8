//! A server session: whole, one more message within it, and what one that is idle holds.

use std::cell::RefCell;
use std::hint::black_box;

use bytes::Bytes;

use super::MEMCPY;
use crate::allocations;
use crate::peers::{Server, mailin, mailrs, ours, smtp_proto};
use crate::shapes;
use crate::timing::Group;

/// How the tables name what is compared here.
pub mod name {
    /// The server session.
    pub const OURS: &str = "ours";
    /// Parts glued by hand, that keep no state.
    pub const SMTP_PROTO: &str = "smtp-proto, parts";
    /// Its session, with its helpers for content.
    pub const MAILRS: &str = "mailrs";
    /// Its session, fed by lines.
    pub const MAILIN: &str = "mailin";
}

/// The work.
pub const SESSION: &str = "session";
/// EHLO, MAIL, RCPT, DATA, a message of 4 KiB, QUIT.
pub const WHOLE: &str = "4 KiB";
/// MAIL, RCPT, DATA and a message of 4 KiB in a session that has had such before.
pub const NEXT: &str = "4 KiB, next message";

const HELLO: &[u8] = b"EHLO client.example.com\r\n";
const ENVELOPE: &[u8] = b"MAIL FROM:<alice.smith@mail.example.com>\r\n\
    RCPT TO:<bob.jones@lists.example.net>\r\nDATA\r\n";
const QUIT: &[u8] = b"QUIT\r\n";

/// The message on the wire with its end, and its content.
fn message() -> (Vec<u8>, Vec<u8>) {
    let shape = shapes::all(4 * 1024).swap_remove(0);
    ([&shape.wire[..], b".\r\n"].concat(), shape.content)
}

/// What a server reads, and what that comes to.
#[derive(Clone)]
struct Dialogue {
    case: &'static str,
    /// In a session of its own, else in one where EHLO has been said.
    whole: bool,
    reads: Vec<Bytes>,
    content: Vec<u8>,
}

impl Dialogue {
    fn new(case: &'static str, whole: bool, reads: &[&[u8]], content: &[u8]) -> Self {
        Self {
            case,
            whole,
            // Not static: clones are counted, as those of a buffer that was read into.
            reads: reads
                .iter()
                .map(|read| Bytes::copy_from_slice(read))
                .collect(),
            content: content.to_vec(),
        }
    }

    fn group(self) -> Group<'static> {
        let (ours, replies) = self.run(name::OURS, ours::Server::new(ours::config()));
        let content = self.content.clone();
        let mut out = Vec::with_capacity(8 * 1024);
        let mut group = Group::new(SESSION, self.case, MEMCPY, move || {
            out.clear();
            out.extend_from_slice(black_box(&content));
            out.extend_from_slice(black_box(&replies));
            black_box(&out);
        });
        group.add(name::OURS, ours);
        let (parts, _) = self.run(name::SMTP_PROTO, smtp_proto::Server::default());
        group.add(name::SMTP_PROTO, parts);
        let (mailrs, _) = self.run(name::MAILRS, mailrs::Server::default());
        group.add(name::MAILRS, mailrs);
        group.add(name::MAILIN, self.run_mailin());
        group
    }

    /// A run to be timed, and the replies.
    fn run<S: Server + 'static>(
        &self,
        name: &str,
        mut server: S,
    ) -> (impl FnMut() + use<S>, Vec<u8>) {
        if !self.whole {
            server.connect(&mut Vec::new());
            let hello = Bytes::from_static(HELLO);
            server.read(&hello, &mut Vec::new(), &mut |_| {});
        }
        let Self { whole, reads, .. } = self.clone();
        let mut serve = move |replies: &mut Vec<u8>, sink: &mut dyn FnMut(&[u8])| {
            if whole {
                server.connect(replies);
            }
            for read in &reads {
                server.read(read, replies, &mut *sink);
            }
        };
        let (mut replies, mut received) = (Vec::new(), Vec::new());
        serve(&mut replies, &mut |octets| {
            received.extend_from_slice(octets);
        });
        self.check(name, &replies, &received);
        let mut out = Vec::with_capacity(1024);
        let run = move || {
            out.clear();
            let mut total = 0;
            serve(&mut out, &mut |octets| total += octets.len());
            black_box((&out, total));
        };
        (run, replies)
    }

    /// The same for mailin, whose sink is part of its session.
    fn run_mailin(self) -> impl FnMut() {
        let received = RefCell::new(Vec::new());
        let mut replies = Vec::new();
        let sink = |octets: &[u8]| received.borrow_mut().extend_from_slice(octets);
        self.serve_mailin(&mut self.mailin(sink), &mut replies);
        self.check(name::MAILIN, &replies, &received.borrow());

        let mut server = self.mailin(|octets| {
            black_box(octets.len());
        });
        let mut out = Vec::with_capacity(1024);
        move || {
            out.clear();
            self.serve_mailin(&mut server, &mut out);
            black_box(&out);
        }
    }

    fn mailin<F: FnMut(&[u8]) + Clone>(&self, sink: F) -> mailin::Server<F> {
        let mut server = mailin::Server::new(sink);
        if !self.whole {
            server.read(HELLO, &mut Vec::new());
        }
        server
    }

    fn serve_mailin<F: FnMut(&[u8]) + Clone>(
        &self,
        server: &mut mailin::Server<F>,
        replies: &mut Vec<u8>,
    ) {
        if self.whole {
            server.connect(replies);
        }
        for read in &self.reads {
            server.read(read, replies);
        }
    }

    /// It said yes to everything, and got the content.
    fn check(&self, name: &str, replies: &[u8], received: &[u8]) {
        let text = String::from_utf8_lossy(replies);
        let codes: Vec<_> = (text.lines())
            .filter(|line| line.as_bytes().get(3) != Some(&b'-'))
            .map(|line| &line[..3])
            .collect();
        let expected: &[&str] = match self.whole {
            true => &["220", "250", "250", "250", "354", "250", "221"],
            false => &["250", "250", "354", "250"],
        };
        assert!(codes == expected, "{name}, {}: {text}", self.case);
        assert!(received == self.content, "{name}, {}: content", self.case);
    }
}

/// The groups of sessions.
#[must_use]
pub fn groups() -> Vec<Group<'static>> {
    let (data, content) = message();
    [
        Dialogue::new(WHOLE, true, &[HELLO, ENVELOPE, &data, QUIT], &content),
        Dialogue::new(NEXT, false, &[ENVELOPE, &data], &content),
    ]
    .map(Dialogue::group)
    .into()
}

/// Octets that a session holds after EHLO: itself, and what it has allocated. Configuration that
/// all sessions share is left out.
#[must_use]
pub fn idle() -> Vec<(&'static str, usize)> {
    let replies = &mut Vec::with_capacity(4096);
    let hello = Bytes::copy_from_slice(HELLO);
    let config = ours::config();
    let before = allocations::held();
    let mut server = ours::Server::new(config.clone());
    server.connect(replies);
    server.read(&hello, replies, &mut |_| {});
    let ours = size_of_val(server.session()) + allocations::held() - before;
    let before = allocations::held();
    let mut server = mailrs::Server::default();
    server.read(&hello, replies, &mut |_| {});
    let mailrs = size_of_val(&server) + allocations::held() - before;
    let before = allocations::held();
    let mut server = mailin::Server::new(|_| {});
    server.read(HELLO, replies);
    let mailin = size_of_val(&server) + allocations::held() - before;
    vec![
        (name::OURS, ours),
        (name::MAILRS, mailrs),
        (name::MAILIN, mailin),
    ]
}
