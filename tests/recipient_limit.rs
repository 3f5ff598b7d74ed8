//! A recipient that was refused for the limit stays one to be tried again, also across a restart.

#![cfg(feature = "session")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Claim, Generation, Record};
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::reply::standard as reply;
use smtp_checkpoint::server::{DataAnswer, Event, MailAnswer, Peer, ServerConfig, ServerSession};
use smtp_checkpoint::time::Timestamp;

const NOW: Timestamp = Timestamp::ORIGIN;

struct Server {
    session: ServerSession,
    claim: Option<Claim>,
    record: Option<Box<Record>>,
}

impl Server {
    fn new(generation: u64, found: Option<Box<Record>>) -> Self {
        let limits = Limits {
            recipients: 1,
            ..Limits::default()
        };
        let config = ServerConfig::builder("mx.example.net").limits(limits);
        let config = Arc::new(config.build().unwrap());
        let generation = Generation(generation);
        Self {
            session: ServerSession::new(config, Peer::at(b"192.0.2.7"), NOW),
            claim: Some(Claim::Claimed { generation, found }),
            record: None,
        }
    }

    /// Everything that is answered to `input`.
    fn say(&mut self, input: &'static str) -> String {
        let session = &mut self.session;
        session.handle_input(NOW, &mut Bytes::from_static(input.as_bytes()));
        while let Some(event) = session.poll_event() {
            match event {
                Event::Mail(question) => {
                    let answer = MailAnswer::accept(self.claim.take().unwrap());
                    session.answer_mail(NOW, question, answer).unwrap();
                }
                Event::Rcpt(question) => {
                    let answer = reply::RECIPIENT_OK;
                    session.answer_rcpt(NOW, question, answer).unwrap();
                }
                Event::Data(question) => {
                    let answer = DataAnswer::Proceed;
                    session.answer_data(NOW, question, answer).unwrap();
                }
                Event::Content => {
                    session.poll_content(&mut Vec::new());
                }
                Event::Interrupted { record, .. } => self.record = Some(record),
                _ => {}
            }
        }
        let output = session.take_output().unwrap_or_default();
        session.transmitted(NOW, output.len()).unwrap();
        String::from_utf8(output.to_vec()).unwrap()
    }
}

#[test]
fn over_the_limit_is_452_before_and_after_a_restart() {
    let mail = "MAIL FROM:<a@c.example> TRANSID=<1@c.example>\r\n";
    let recipients = "RCPT TO:<one@example.net>\r\nRCPT TO:<two@example.net>\r\n";
    let replies = "250 2.1.5 Recipient OK\r\n452 4.5.3 Too many recipients\r\n";

    let mut server = Server::new(1, None);
    server.say("EHLO c.example\r\n");
    server.say(mail);
    assert_eq!(server.say(recipients), replies);
    server.say("DATA\r\none\r\n");
    server.session.handle_eof(NOW);
    server.say("");

    let mut server = Server::new(2, server.record);
    server.say("EHLO c.example\r\n");
    assert_eq!(server.say(mail), "355 5 is the transaction offset\r\n");
    assert_eq!(server.say(recipients), replies);
}
