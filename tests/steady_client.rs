//! What a client session allocates: as much for the last message of a connection as for the first.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod gauge;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gauge::Gauge;
use smtp_checkpoint::checkpoint::{Content, Outcome, UnfinishedTransaction};
use smtp_checkpoint::client::{ClientConfig, ClientSession, Event, TlsPolicy};
use smtp_checkpoint::command::{MailLine, RcptLine};
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

const NOW: Timestamp = Timestamp::ORIGIN;

struct Client {
    session: ClientSession,
    buffer: BytesMut,
    taken: bool,
    ready: usize,
    delivered: usize,
    written: usize,
}

impl Client {
    fn read(&mut self, octets: &[u8]) {
        self.buffer.reserve(octets.len());
        self.buffer.extend_from_slice(octets);
        let mut input = self.buffer.split().freeze();
        self.session.handle_input(NOW, &mut input);
        assert!(input.is_empty());
    }

    fn run(&mut self, mut content: &[u8]) {
        loop {
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Ready => self.ready += 1,
                    Event::Store(question) => {
                        self.session.stored(NOW, question).unwrap();
                    }
                    Event::Done(outcome) => {
                        assert!(matches!(outcome, Outcome::Delivered { .. }));
                        self.delivered += 1;
                        self.session.outcome_stored(NOW).unwrap();
                    }
                    _ => {}
                }
            }
            while self.session.wants_content() {
                if content.is_empty() {
                    self.session.finish_content(NOW).unwrap();
                } else {
                    self.session.send_content(NOW, &mut content).unwrap();
                }
            }
            let octets = if self.taken {
                self.session.take_output().map_or(0, |octets| octets.len())
            } else {
                self.session.output().len()
            };
            if octets == 0 {
                return;
            }
            self.written += octets;
            self.session.transmitted(NOW, octets).unwrap();
        }
    }
}

#[test]
fn every_message_allocates_as_little_as_the_one_before() {
    let content = b"A line of seventy-six octets, as base64 has them, with no dot at its start\r\n"
        .repeat(54);
    let mail = MailLine::parse(Bytes::from_static(b"MAIL FROM:<a@c.example>")).unwrap();
    let rcpt = RcptLine::parse(Bytes::from_static(b"RCPT TO:<b@mx.example>")).unwrap();
    let transaction = UnfinishedTransaction::builder(mail, Content::measure(&content), 0)
        .transid(TransId::parse(b"<1@c.example>").unwrap())
        .recipient(rcpt)
        .build()
        .unwrap();
    for (ehlo, name) in [
        (
            &b"250-mx.example\r\n250-SIZE\r\n250 PIPELINING\r\n"[..],
            "plain",
        ),
        (
            b"250-mx.example\r\n250-PIPELINING\r\n250 CHECKPOINT\r\n",
            "CHECKPOINT",
        ),
    ] {
        for taken in [false, true] {
            let config = ClientConfig::builder("c.example", TlsPolicy::Never);
            let config = Arc::new(config.build().unwrap());
            let gauge = Gauge::new();
            let session = ClientSession::new(config, NOW);
            let mut client = Client {
                session,
                buffer: BytesMut::new(),
                taken,
                ready: 0,
                delivered: 0,
                written: 0,
            };
            client.read(b"220 mx.example\r\n");
            client.run(&[]);
            client.read(ehlo);
            client.run(&[]);
            client.buffer = BytesMut::new();
            let idle = size_of::<ClientSession>() + gauge.held();
            assert!(idle <= 1024, "{idle}");
            let mut before = 0;
            for number in 0..10 {
                let gauge = Gauge::new();
                assert_eq!(client.ready, number + 1);
                client.session.send(NOW, &transaction).unwrap();
                client.run(&[]);
                if name == "plain" {
                    client.read(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n");
                } else {
                    client.read(b"250 2.1.0 ok\r\n");
                    client.run(&[]);
                    client.read(b"250 2.1.5 ok\r\n354 go\r\n");
                }
                client.run(&content);
                client.read(b"250 2.0.0 ok\r\n");
                client.run(&[]);
                assert_eq!(client.delivered, number + 1);
                // The transaction is the caller's before and after: it is copied.
                let calls = gauge.allocated().0;
                assert!(calls <= 40, "{name}, message {number}: {calls}");
                assert!(
                    number < 2 || calls == before,
                    "{name}: {before}, then {calls}"
                );
                before = calls;
            }
        }
    }
}
