//! How much memory a session takes when a peer or a caller makes it as hard as it can.
//!
//! One test at a time: all share one counter.

#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Claim, Generation};
use smtp_checkpoint::reply::standard;
use smtp_checkpoint::server::{
    DataAnswer, EndOfDataAnswer, Event, MailAnswer, Peer, ServerConfig, ServerSession,
};
use smtp_checkpoint::time::Timestamp;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Measures from here on.
struct Gauge {
    start: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Gauge {
    fn new() -> Self {
        let alone = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let start = HELD.load(Ordering::Relaxed);
        PEAK.store(start, Ordering::Relaxed);
        Self {
            start,
            _alone: alone,
        }
    }

    /// The most that was held since the last call, above the start.
    fn peak(&self) -> usize {
        let held = HELD.load(Ordering::Relaxed);
        PEAK.swap(held, Ordering::Relaxed)
            .saturating_sub(self.start)
    }
}

const NOW: Timestamp = Timestamp::ORIGIN;
const KIB: usize = 1024;

/// A server that says yes to everything and forgets the content.
struct Server {
    session: ServerSession,
    taken: u64,
    accepted: usize,
    replies: [u64; 6],
    take_output: bool,
}

impl Server {
    fn new() -> Self {
        let config = ServerConfig::builder("mx.example.net")
            .smtputf8(true)
            .dsn(true)
            .binary_mime(true)
            .data_rate(None)
            .build()
            .unwrap();
        Self {
            session: ServerSession::new(Arc::new(config), Peer::at(b"192.0.2.7"), NOW),
            taken: 0,
            accepted: 0,
            replies: [0; 6],
            take_output: true,
        }
    }

    fn feed(&mut self, mut input: Bytes) {
        loop {
            self.session.handle_input(NOW, &mut input);
            let mut moved = false;
            while let Some(event) = self.session.poll_event() {
                moved = true;
                self.event(event);
            }
            if self.take_output
                && let Some(octets) = self.session.take_output()
            {
                moved = true;
                for line in octets.split(|octet| *octet == b'\n') {
                    if let Some(digit @ b'0'..=b'5') = line.first()
                        && line.get(3) == Some(&b' ')
                    {
                        self.replies[usize::from(digit - b'0')] += 1;
                    }
                }
                self.session.transmitted(NOW, octets.len()).unwrap();
            }
            if !moved && (input.is_empty() || !self.session.wants_input()) {
                return;
            }
        }
    }

    fn event(&mut self, event: Event) {
        let session = &mut self.session;
        match event {
            Event::Mail(question) => {
                let claim = match question.key() {
                    Some(_) => Claim::Claimed {
                        generation: Generation(1),
                        found: None,
                    },
                    None => Claim::Unrecorded,
                };
                session
                    .answer_mail(NOW, question, MailAnswer::accept(claim))
                    .unwrap();
            }
            Event::Rcpt(question) => {
                self.accepted += 1;
                session
                    .answer_rcpt(NOW, question, standard::RECIPIENT_OK)
                    .unwrap();
            }
            Event::Data(question) => {
                session
                    .answer_data(NOW, question, DataAnswer::Proceed)
                    .unwrap();
            }
            Event::Content => {
                let mut content = Vec::new();
                let range = session.poll_content(&mut content).unwrap();
                assert_eq!(range.start.get(), self.taken);
                self.taken = range.end.get();
            }
            Event::EndOfData(question) => {
                assert_eq!(question.size().get(), self.taken);
                let decided = EndOfDataAnswer::Decided(standard::OK.into());
                session.answer_end_of_data(NOW, question, decided).unwrap();
                self.accepted = 0;
                self.taken = 0;
            }
            _ => {}
        }
    }

    fn say(&mut self, text: &'static str) {
        self.feed(Bytes::from_static(text.as_bytes()));
    }
}

fn hello(server: &mut Server) {
    server.say("EHLO c.example\r\n");
    server.replies = [0; 6];
}

fn piece(octet: u8) -> Bytes {
    Bytes::from(vec![octet; 64 * KIB])
}

#[test]
fn a_command_line_of_a_gibibyte() {
    let gauge = Gauge::new();
    let pieces = piece(b'x');
    let mut server = Server::new();
    hello(&mut server);
    gauge.peak();
    let before = HELD.load(Ordering::Relaxed) - gauge.start;
    for _ in 0..16 * KIB {
        server.feed(pieces.clone());
    }
    assert!(
        gauge.peak() - before < 64 * KIB,
        "no more than a session's own"
    );
    server.say("\r\nNOOP\r\n");
    assert_eq!(server.replies, [0, 0, 1, 0, 0, 1]);
}

#[test]
fn a_message_of_a_gibibyte() {
    let gauge = Gauge::new();
    // Lines, with a dot at the start of some.
    let mut lines = b"..a line that begins with a dot\r\n".repeat(32);
    lines.resize(64 * KIB - 2, b'x');
    lines.extend(b"\r\n");
    let (pieces, canonical) = (Bytes::from(lines), 64 * KIB as u64 - 32);
    let mut server = Server::new();
    hello(&mut server);
    server.say("MAIL FROM:<a@c.example> TRANSID=<1@c>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n");
    let mut peaks = Vec::new();
    for round in 0..4 {
        for _ in 0..4 * KIB {
            server.feed(pieces.clone());
        }
        peaks.push((round, gauge.peak()));
    }
    // The buffer that is fed, and as much again for copies: constant.
    assert!(peaks.iter().all(|(_, peak)| *peak < 256 * KIB), "{peaks:?}");
    assert!(peaks[3].1 <= peaks[0].1 + KIB, "{peaks:?}");
    assert_eq!(server.taken, 16 * KIB as u64 * canonical);
    server.say(".\r\n");
    assert_eq!(server.replies, [0, 0, 3, 1, 0, 0]);
}

#[test]
fn a_refused_chunk_of_a_gibibyte() {
    let gauge = Gauge::new();
    let pieces = piece(b'\n');
    let mut server = Server::new();
    hello(&mut server);
    server.say("BDAT 1073741824 LAST\r\n");
    gauge.peak();
    for _ in 0..16 * KIB {
        server.feed(pieces.clone());
    }
    assert!(gauge.peak() < 128 * KIB);
    server.say("NOOP\r\n");
    assert_eq!(server.replies, [0, 0, 1, 0, 0, 1]);
}

#[test]
fn a_million_chunks_of_one_octet() {
    let gauge = Gauge::new();
    let mut server = Server::new();
    hello(&mut server);
    server.say("MAIL FROM:<a@c.example> TRANSID=<1@c>\r\nRCPT TO:<b@x.example>\r\n");
    let thousand = Bytes::from(b"BDAT 1\r\nx".repeat(1000));
    gauge.peak();
    let mut peaks = Vec::new();
    for _ in 0..10 {
        for _ in 0..100 {
            server.feed(thousand.clone());
        }
        peaks.push(gauge.peak());
    }
    assert_eq!(server.taken, 1_000_000);
    assert!(peaks.iter().all(|peak| *peak < 256 * KIB), "{peaks:?}");
    assert!(peaks[9] <= peaks[0] + KIB, "{peaks:?}");
    server.say("BDAT 0 LAST\r\n");
    assert_eq!(server.replies[2], 2 + 1_000_000 + 1);
}

#[test]
fn ten_thousand_recipients() {
    let gauge = Gauge::new();
    let mut server = Server::new();
    hello(&mut server);
    server.say("MAIL FROM:<a@c.example>\r\n");
    let mut group = String::new();
    for number in 0..10_000 {
        group += &format!("RCPT TO:<recipient{number}@x.example>\r\n");
    }
    let group = Bytes::from(group);
    gauge.peak();
    let before = HELD.load(Ordering::Relaxed);
    server.feed(group.clone());
    assert_eq!(server.accepted, 1000);
    assert_eq!(server.replies, [0, 0, 1 + 1000, 0, 9000, 0]);
    let taken = HELD.load(Ordering::Relaxed).saturating_sub(before);
    assert!(taken < 512 * KIB, "{taken} for the envelope");
    server.say("DATA\r\n.\r\nQUIT\r\n");
    assert_eq!(server.replies, [0, 0, 1 + 1000 + 2, 1, 9000, 0]);
}

/// Nobody takes the output: no more commands are read, and what is written has a bound (SM-02).
#[test]
fn a_mebibyte_of_commands_whose_output_nobody_takes() {
    let gauge = Gauge::new();
    let mut server = Server::new();
    hello(&mut server);
    server.say("MAIL FROM:<a@c.example>\r\nRCPT TO:<b@x.example>\r\n");
    server.take_output = false;
    let commands = Bytes::from(b"BDAT 0\r\n".repeat(128 * KIB));
    gauge.peak();
    server.feed(commands);
    assert!(!server.session.wants_input());
    let waiting = server.session.output().len();
    assert!((64 * KIB..66 * KIB).contains(&waiting), "{waiting}");
    assert!(server.session.poll_event().is_none());
    // Once it is taken, all goes on.
    server.take_output = true;
    server.feed(Bytes::new());
    assert!(server.session.wants_input());
    assert_eq!(server.replies[2], 2 + 128 * KIB as u64);
}

/// Octets that come one by one cost no more than those that come together.
#[test]
fn an_idle_session_is_small() {
    let gauge = Gauge::new();
    let mut server = Server::new();
    for _ in 0..10 {
        for octet in b"EHLO c.example\r\nMAIL FROM:<a@c>\r\nRCPT TO:<b@x>\r\nDATA\r\nx\r\n.\r\n" {
            server.feed(Bytes::copy_from_slice(&[*octet]));
        }
    }
    assert!(gauge.peak() < 32 * KIB);
    let held = HELD.load(Ordering::Relaxed) - gauge.start;
    assert!(held < 8 * KIB, "{held}");
}
