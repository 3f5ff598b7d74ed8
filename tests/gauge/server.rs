//! A server to be measured.

use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Claim, Generation, Record};
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::reply::standard;
use smtp_checkpoint::server::{
    DataAnswer, EndOfDataAnswer, Event, MailAnswer, Peer, ServerConfig, ServerSession,
};
use smtp_checkpoint::time::Timestamp;

pub const NOW: Timestamp = Timestamp::ORIGIN;

/// A server that says yes to everything and forgets the content.
pub struct Server {
    pub session: ServerSession,
    /// Octets of content.
    pub taken: u64,
    /// Recipients.
    pub accepted: usize,
    /// Replies by their first digit.
    pub replies: [u64; 6],
    pub take_output: bool,
    /// What the next claim finds.
    pub found: Option<Box<Record>>,
    /// The record of what was interrupted.
    pub interrupted: Option<Box<Record>>,
    /// Times that the session was given input or the time to go on.
    pub rounds: u64,
}

impl Server {
    pub fn new() -> Self {
        Self::with(Limits {
            message_size: None,
            ..Limits::default()
        })
    }

    /// Greeted, and past EHLO.
    pub fn with(limits: Limits) -> Self {
        let config = ServerConfig::builder("mx.example.net")
            .data_rate(None)
            .limits(limits)
            .build()
            .unwrap();
        let mut server = Self {
            session: ServerSession::new(Arc::new(config), Peer::at(b"192.0.2.7"), NOW),
            taken: 0,
            accepted: 0,
            replies: [0; 6],
            take_output: true,
            found: None,
            interrupted: None,
            rounds: 0,
        };
        server.say("EHLO c.example\r\n");
        server.replies = [0; 6];
        server.rounds = 0;
        server
    }

    pub fn feed(&mut self, mut input: Bytes) {
        loop {
            self.rounds += 1;
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
                self.taken = self.found.as_ref().map_or(0, |found| found.length().get());
                let before = self.found.as_ref().map(|found| found.generation().0);
                let claim = match question.key() {
                    Some(_) => Claim::Claimed {
                        generation: Generation(before.unwrap_or(0) + 1),
                        found: self.found.take(),
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
            Event::Interrupted { record, .. } => self.interrupted = Some(record),
            _ => {}
        }
    }

    pub fn say(&mut self, text: &'static str) {
        self.feed(Bytes::from_static(text.as_bytes()));
    }
}
