//! Server sessions over a store that holds one record.

use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Claim, Generation, Record, Verdict};
use smtp_checkpoint::reply::standard as reply;
use smtp_checkpoint::server::{
    DataAnswer, EndOfDataAnswer, Event, MailAnswer, Peer, ServerConfig, ServerSession,
};
use smtp_checkpoint::time::Timestamp;

use super::codec::wire;

const NOW: Timestamp = Timestamp::ORIGIN;

pub struct Server {
    config: Arc<ServerConfig>,
    session: ServerSession,
    batch: Vec<Bytes>,
    /// The record that the store holds, as it stands there.
    pub stored: Option<Vec<u8>>,
    generation: u64,
    /// Octets of content that came.
    pub received: usize,
    /// What was said last.
    pub replies: Vec<u8>,
}

fn session(config: &Arc<ServerConfig>) -> ServerSession {
    ServerSession::new(config.clone(), Peer::at(b"192.0.2.7"), NOW)
}

impl Default for Server {
    fn default() -> Self {
        let config = ServerConfig::builder("mx.example.net").data_rate(None);
        let config = Arc::new(config.build().unwrap());
        Self {
            session: session(&config),
            config,
            batch: Vec::new(),
            stored: None,
            generation: 0,
            received: 0,
            replies: Vec::new(),
        }
    }
}

impl Server {
    /// A new session that reads `reads`, one after the other, and then the end.
    pub fn serve(&mut self, reads: &[Bytes]) {
        self.session = session(&self.config);
        self.received = 0;
        self.replies.clear();
        self.run();
        self.read(reads);
        self.session.handle_eof(NOW);
        self.run();
    }

    /// Reads on in the same session.
    pub fn read(&mut self, reads: &[Bytes]) {
        for read in reads {
            let mut input = read.clone();
            self.session.handle_input(NOW, &mut input);
            self.run();
        }
    }

    fn claim(&mut self) -> Claim {
        self.generation += 1;
        let found = self.stored.as_ref().map(|record| Record::decode(record));
        Claim::Claimed {
            generation: Generation(self.generation),
            found: found.map(|record| Box::new(record.unwrap())),
        }
    }

    fn run(&mut self) {
        loop {
            while let Some(event) = self.session.poll_event() {
                self.answer(event);
            }
            let written = self.session.output().len();
            if written == 0 {
                return;
            }
            self.replies.extend_from_slice(self.session.output());
            self.session.transmitted(NOW, written).unwrap();
        }
    }

    fn answer(&mut self, event: Event) {
        match event {
            Event::Mail(question) => {
                let claim = match question.key() {
                    Some(_) => self.claim(),
                    None => Claim::Unrecorded,
                };
                let answer = MailAnswer::accept(claim);
                self.session.answer_mail(NOW, question, answer).unwrap();
            }
            Event::Rcpt(question) => {
                let answer = reply::RECIPIENT_OK;
                self.session.answer_rcpt(NOW, question, answer).unwrap();
            }
            Event::Data(question) => {
                let answer = DataAnswer::Proceed;
                self.session.answer_data(NOW, question, answer).unwrap();
            }
            Event::Content => {
                self.session.poll_content(&mut self.batch);
                self.received += self
                    .batch
                    .drain(..)
                    .map(|octets| octets.len())
                    .sum::<usize>();
            }
            Event::Interrupted { record, .. } => self.stored = Some(record.encode()),
            Event::EndOfData(question) => {
                let verdict = Verdict::from(reply::MESSAGE_ACCEPTED);
                if let Some(record) = question.record() {
                    std::hint::black_box(record.complete(&verdict).unwrap().encode());
                }
                let answer = EndOfDataAnswer::Decided(verdict);
                (self.session.answer_end_of_data(NOW, question, answer)).unwrap();
            }
            _ => {}
        }
    }
}

const HELLO: &[u8] = b"EHLO client.example.com\r\n";
const QUIT: &[u8] = b"QUIT\r\n";

fn reads(reads: &[&[u8]]) -> Vec<Bytes> {
    reads
        .iter()
        .map(|read| Bytes::copy_from_slice(read))
        .collect()
}

/// The reads of a plain session with one message.
pub fn plain(content: &[u8]) -> Vec<Bytes> {
    let envelope = b"MAIL FROM:<alice.smith@mail.example.com>\r\n\
        RCPT TO:<bob.jones@lists.example.net>\r\nDATA\r\n";
    reads(&[HELLO, envelope, &wire(content), QUIT])
}

const ENVELOPE: &[u8] = b"MAIL FROM:<alice.smith@mail.example.com> SIZE=1048576 \
    TRANSID=<20250314.0001@client.example.com>\r\n\
    RCPT TO:<bob.jones@lists.example.net>\r\nRCPT TO:<carol@example.org>\r\nDATA\r\n";

/// A server whose store holds a record of `content`, interrupted before its end; and the reads of
/// the session that restarts it and sends `rest`.
pub fn interrupted(content: &[u8], rest: &[u8]) -> (Server, Vec<Bytes>) {
    let mut server = Server::default();
    let wire_of_rest = wire(rest);
    let cut = wire(content);
    let cut = cut.strip_suffix(b".\r\n").unwrap();
    server.serve(&reads(&[HELLO, ENVELOPE, cut]));
    assert!(server.stored.is_some() && server.received == content.len());
    (server, reads(&[HELLO, ENVELOPE, &wire_of_rest, QUIT]))
}
