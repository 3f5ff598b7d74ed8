//! What a server session costs once it is warm: no allocation, no copy of content, one write for a
//! group; and what an idle one holds.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod gauge;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gauge::Gauge;
use smtp_checkpoint::checkpoint::Claim;
use smtp_checkpoint::reply::standard;
use smtp_checkpoint::server::{
    EndOfDataAnswer, EndOfDataQuestion, Event, MailAnswer, Peer, RcptQuestion, ServerConfig,
    ServerSession,
};
use smtp_checkpoint::time::Timestamp;

const NOW: Timestamp = Timestamp::ORIGIN;

/// How output leaves.
#[derive(Clone, Copy, PartialEq)]
enum Transport {
    Lent,
    Taken,
}

/// A server whose memory is its own: one buffer to read into, as a transport has it.
struct Server {
    session: ServerSession,
    transport: Transport,
    buffer: BytesMut,
    content: Vec<Bytes>,
    /// Answered when nothing else is to be done.
    recipients: Vec<RcptQuestion>,
    decisions: Vec<EndOfDataQuestion>,
    octets: usize,
    writes: usize,
    replies: [usize; 6],
}

fn config() -> Arc<ServerConfig> {
    Arc::new(ServerConfig::builder("mx.example.net").build().unwrap())
}

impl Server {
    fn new(transport: Transport) -> Self {
        Self::with(config(), transport)
    }

    fn with(config: Arc<ServerConfig>, transport: Transport) -> Self {
        let mut server = Self {
            session: ServerSession::new(config, Peer::at(b"192.0.2.7"), NOW),
            transport,
            buffer: BytesMut::new(),
            content: Vec::new(),
            recipients: Vec::new(),
            decisions: Vec::new(),
            octets: 0,
            writes: 0,
            replies: [0; 6],
        };
        server.run();
        server.read(b"EHLO client.example.com\r\n");
        server
    }

    /// One read from the transport.
    fn read(&mut self, octets: &[u8]) {
        self.buffer.reserve(octets.len());
        self.buffer.extend_from_slice(octets);
        let mut input = self.buffer.split().freeze();
        loop {
            self.session.handle_input(NOW, &mut input);
            self.run();
            if input.is_empty() {
                break;
            }
        }
    }

    fn run(&mut self) {
        loop {
            while let Some(event) = self.session.poll_event() {
                self.event(event);
            }
            if let Some(question) = self.recipients.pop() {
                let answer = standard::RECIPIENT_OK;
                self.session.answer_rcpt(NOW, question, answer).unwrap();
            } else if let Some(question) = self.decisions.pop() {
                assert_eq!(question.envelope().accepted().count(), 2);
                let answer = EndOfDataAnswer::Decided(standard::MESSAGE_ACCEPTED.into());
                let answered = self.session.answer_end_of_data(NOW, question, answer);
                answered.unwrap();
            } else if !self.write() {
                return;
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Mail(question) => {
                let answer = MailAnswer::accept(Claim::Unrecorded);
                self.session.answer_mail(NOW, question, answer).unwrap();
            }
            Event::Rcpt(question) => self.recipients.push(question),
            Event::Content => {
                self.session.poll_content(&mut self.content);
                self.octets += self.content.iter().map(Bytes::len).sum::<usize>();
                self.content.clear();
            }
            Event::EndOfData(question) => self.decisions.push(question),
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self) -> bool {
        let taken = match self.transport {
            Transport::Taken => self.session.take_output(),
            Transport::Lent => None,
        };
        let output = taken.as_deref().unwrap_or(self.session.output());
        let octets = output.len();
        for line in output.split_inclusive(|octet| *octet == b'\n') {
            if line.get(3) == Some(&b' ') {
                self.replies[usize::from(line[0] - b'0')] += 1;
            }
        }
        drop(taken);
        self.writes += usize::from(octets > 0);
        self.session.transmitted(NOW, octets).unwrap();
        octets > 0
    }
}

const ENVELOPE: &[u8] = b"MAIL FROM:<alice.smith@mail.example.com> SIZE=4096\r\n\
    RCPT TO:<bob.jones@lists.example.net>\r\nRCPT TO:<carol@example.org>\r\nDATA\r\n";

/// Content of about 4 KiB on the wire, with its end.
fn message() -> Vec<u8> {
    let mut wire =
        b"A line of seventy-six octets, as base64 has them, with no dot at its start\r\n"
            .repeat(54);
    wire.extend_from_slice(b".\r\n");
    wire
}

#[test]
fn a_warm_session_allocates_nothing() {
    for transport in [Transport::Lent, Transport::Taken] {
        let mut server = Server::new(transport);
        let message = message();
        for number in 0..20 {
            let gauge = Gauge::new();
            server.read(ENVELOPE);
            server.read(&message);
            let (calls, octets) = gauge.allocated();
            if number > 0 {
                assert_eq!(calls, 0, "transaction {number}: {octets} octets");
            }
        }
        assert_eq!(server.octets, 20 * (message.len() - 3));
        assert_eq!(server.replies, [0, 0, 2 + 20 * 4, 20, 0, 0]);
    }
}

/// The same where every command waits for the reply to the one before, and content comes in pieces.
#[test]
fn a_warm_session_without_pipelining_allocates_nothing() {
    let mut server = Server::new(Transport::Lent);
    let message = message();
    for number in 0..20 {
        let gauge = Gauge::new();
        for line in ENVELOPE.split_inclusive(|octet| *octet == b'\n') {
            server.read(line);
        }
        for piece in message.chunks(1000) {
            server.read(piece);
        }
        if number > 0 {
            assert_eq!(gauge.allocated().0, 0, "transaction {number}");
        }
    }
    assert_eq!(server.octets, 20 * (message.len() - 3));
}

#[test]
fn an_idle_session_holds_512_octets_at_most() {
    let config = config();
    let hello = Bytes::from_static(b"EHLO client.example.com\r\n");
    let gauge = Gauge::new();
    let mut session = ServerSession::new(config, Peer::at(b"192.0.2.7"), NOW);
    session.handle_input(NOW, &mut hello.clone());
    assert!(session.poll_event().is_none());
    let octets = session.output().len();
    session.transmitted(NOW, octets).unwrap();
    assert!(session.poll_event().is_none());
    let held = size_of::<ServerSession>() + gauge.held();
    assert!(held <= 512, "{held}, {} of them on the heap", gauge.held());
}

/// Between two transactions it holds what the next one needs, and no more.
#[test]
fn a_session_between_transactions_is_small_too() {
    let config = config();
    let gauge = Gauge::new();
    let mut server = Server::with(config, Transport::Lent);
    server.read(ENVELOPE);
    server.read(&message());
    // What is the caller's own.
    server.buffer = BytesMut::new();
    server.content = Vec::new();
    server.recipients = Vec::new();
    server.decisions = Vec::new();
    let held = size_of::<ServerSession>() + gauge.held();
    assert!(held < 4 * 1024, "{held}");
}

#[test]
fn content_leaves_as_slices_of_what_came_in() {
    let mut session = ServerSession::new(config(), Peer::at(b"192.0.2.7"), NOW);
    let message = message();
    let wire = [b"EHLO c.example\r\n", ENVELOPE, &message].concat();
    for size in [wire.len(), 1500] {
        let mut content = Vec::new();
        for piece in wire.chunks(size) {
            let mut input = Bytes::copy_from_slice(piece);
            let came = input.as_ptr_range();
            while !input.is_empty() {
                session.handle_input(NOW, &mut input);
                while let Some(event) = session.poll_event() {
                    match event {
                        Event::Mail(question) => {
                            let answer = MailAnswer::accept(Claim::Unrecorded);
                            session.answer_mail(NOW, question, answer).unwrap();
                        }
                        Event::Rcpt(question) => {
                            let answer = standard::RECIPIENT_OK;
                            session.answer_rcpt(NOW, question, answer).unwrap();
                        }
                        Event::Content => {
                            let mut slices = Vec::new();
                            session.poll_content(&mut slices);
                            for slice in &slices {
                                let place = slice.as_ptr_range();
                                assert!(came.start <= place.start && place.end <= came.end);
                                content.extend_from_slice(slice);
                            }
                        }
                        Event::EndOfData(question) => {
                            let verdict = standard::MESSAGE_ACCEPTED.into();
                            let answer = EndOfDataAnswer::Decided(verdict);
                            session.answer_end_of_data(NOW, question, answer).unwrap();
                        }
                        other => panic!("{other:?}"),
                    }
                }
                let octets = session.output().len();
                session.transmitted(NOW, octets).unwrap();
            }
        }
        assert_eq!(content, message[..message.len() - 3]);
    }
}

/// RFC 2920 §3.1: the replies to a group go out together.
#[test]
fn a_group_is_answered_in_one_write() {
    let mut server = Server::new(Transport::Taken);
    let before = server.writes;
    server.read(ENVELOPE);
    assert_eq!(server.writes, before + 1);
    server.read(&message());
    assert_eq!(server.writes, before + 2);
    server.read(b"RSET\r\nNOOP\r\nVRFY x\r\nNOOP\r\n");
    assert_eq!(server.writes, before + 3);
    assert_eq!(server.replies, [0, 0, 2 + 4 + 4, 1, 0, 0]);
}
