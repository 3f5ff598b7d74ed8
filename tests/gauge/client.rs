//! A client to be measured.

use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Content, Outcome, UnfinishedTransaction};
use smtp_checkpoint::client::{ClientConfig, ClientSession, Event, TlsPolicy};
use smtp_checkpoint::command::{MailLine, RcptLine};
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

const NOW: Timestamp = Timestamp::ORIGIN;

/// A client whose message is one block, again and again.
pub struct Client {
    pub session: ClientSession,
    transaction: UnfinishedTransaction,
    block: Bytes,
    /// Octets of content that the session has taken.
    pub given: u64,
    octets: u64,
    /// The most that the transport takes at a time.
    pub takes: usize,
    /// Octets that went over the wire.
    pub written: u64,
    pub outcome: Option<Outcome>,
    /// Times that the session was given input or the time to go on.
    pub rounds: u64,
}

impl Client {
    /// With so many recipients and so many times `block` as its message.
    pub fn new(recipients: usize, block: Bytes, times: u64) -> Self {
        let octets = block.len() as u64 * times;
        let content = Content {
            octets,
            unfinished_last_line: false,
            fingerprint: Vec::new(),
        };
        let mail = MailLine::parse(&b"MAIL FROM:<a@c.example>"[..]).unwrap();
        let mut builder = UnfinishedTransaction::builder(mail, content, 0)
            .transid(TransId::parse(b"<1@c.example>").unwrap());
        for number in 0..recipients {
            let line = Bytes::from(format!("RCPT TO:<recipient{number}@x.example>"));
            builder = builder.recipient(RcptLine::parse(line).unwrap());
        }
        let config = ClientConfig::builder("c.example", TlsPolicy::Never)
            .build()
            .unwrap();
        Self {
            session: ClientSession::new(Arc::new(config), NOW),
            transaction: builder.build().unwrap(),
            block,
            given: 0,
            octets,
            takes: usize::MAX,
            written: 0,
            outcome: None,
            rounds: 0,
        }
    }

    /// Past EHLO and MAIL.
    pub fn begin(&mut self) {
        self.say(b"220 mx\r\n");
        self.say(b"250-mx\r\n250-PIPELINING\r\n250 CHECKPOINT\r\n");
        self.say(b"250 OK\r\n");
    }

    /// The server says this; then the client does what it can.
    pub fn say(&mut self, octets: &[u8]) {
        self.feed(Bytes::copy_from_slice(octets));
    }

    pub fn feed(&mut self, mut input: Bytes) {
        loop {
            self.rounds += 1;
            let before = input.len();
            self.session.handle_input(NOW, &mut input);
            let mut moved = input.len() < before;
            while let Some(event) = self.session.poll_event() {
                moved = true;
                self.event(event);
            }
            while self.session.wants_content() {
                moved = true;
                self.give();
                self.write();
            }
            moved |= self.write();
            // What it leaves once it is over is nobody's.
            if !moved {
                return;
            }
        }
    }

    fn event(&mut self, event: Event) {
        let session = &mut self.session;
        match event {
            Event::Ready if self.outcome.is_none() => {
                session.send(NOW, &self.transaction).unwrap();
            }
            Event::Store(question) => {
                session.stored(NOW, question).unwrap();
            }
            Event::SendContent { start, .. } => self.given = start.get(),
            Event::Done(outcome) => {
                self.outcome = Some(outcome);
                session.outcome_stored(NOW).unwrap();
            }
            _ => {}
        }
    }

    fn give(&mut self) {
        if self.given == self.octets {
            return self.session.finish_content(NOW).unwrap();
        }
        let at = usize::try_from(self.given % self.block.len() as u64).unwrap();
        let end = self.block.len().min(at.saturating_add(self.takes));
        let mut piece = &self.block[at..end];
        self.session.send_content(NOW, &mut piece).unwrap();
        self.given += (end - at - piece.len()) as u64;
    }

    fn write(&mut self) -> bool {
        let mut moved = false;
        while !self.session.output().is_empty() {
            moved = true;
            let taken = if self.takes == usize::MAX {
                self.session.take_output().unwrap().len()
            } else {
                self.session.output().len().min(self.takes)
            };
            self.session.transmitted(NOW, taken).unwrap();
            self.written += taken as u64;
        }
        moved
    }
}
