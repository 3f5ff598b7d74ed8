//! A client session.

use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Content, Outcome, UnfinishedTransaction};
use smtp_checkpoint::client::{ClientConfig, ClientSession, Event, TlsPolicy};
use smtp_checkpoint::command::{MailLine, RcptLine};
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

use super::parse::{EHLO, MAIL, RCPT};

const NOW: Timestamp = Timestamp::ORIGIN;

pub struct Client {
    config: Arc<ClientConfig>,
    transaction: UnfinishedTransaction,
    content: Vec<u8>,
    replies: [Bytes; 7],
}

impl Client {
    pub fn new(content: Vec<u8>) -> Self {
        let config = ClientConfig::builder("client.example.com", TlsPolicy::Never);
        // The session writes TRANSID and SIZE itself, as the server offers them.
        let mail = MailLine::parse(Bytes::from_static(MAIL)).unwrap();
        let mail = mail.with_size(None).with_transid(None).unwrap();
        let transid = TransId::parse(b"<20250314.0001@client.example.com>").unwrap();
        let rcpt = RcptLine::parse(Bytes::from_static(RCPT)).unwrap();
        let transaction = UnfinishedTransaction::builder(mail, Content::measure(&content), 0);
        let replies = [
            &b"220 mx.example.net ready\r\n"[..],
            EHLO,
            b"250 2.1.0 sender\r\n",
            b"250 2.1.5 recipient\r\n",
            b"354 go\r\n",
            b"250 2.0.0 accepted\r\n",
            b"221 2.0.0 bye\r\n",
        ];
        Self {
            config: Arc::new(config.build().unwrap()),
            transaction: transaction
                .transid(transid)
                .recipient(rcpt)
                .build()
                .unwrap(),
            content,
            replies: replies.map(Bytes::copy_from_slice),
        }
    }

    /// A whole session: octets written.
    pub fn send(&self) -> usize {
        let mut smtp = ClientSession::new(self.config.clone(), NOW);
        let (mut content, mut replies) = (&self.content[..], self.replies.iter());
        let (mut delivered, mut written) = (false, 0);
        loop {
            while let Some(event) = smtp.poll_event() {
                match event {
                    Event::Ready if !delivered => smtp.send(NOW, &self.transaction).unwrap(),
                    Event::Ready => smtp.quit(NOW).unwrap(),
                    Event::Store(question) => {
                        smtp.stored(NOW, question).unwrap();
                    }
                    Event::Done(outcome) => {
                        delivered = matches!(outcome, Outcome::Delivered { .. });
                        smtp.outcome_stored(NOW).unwrap();
                    }
                    Event::Finished(ending) => {
                        assert!(delivered, "{ending:?}");
                        return written;
                    }
                    _ => {}
                }
            }
            while smtp.wants_content() {
                if content.is_empty() {
                    smtp.finish_content(NOW).unwrap();
                } else {
                    smtp.send_content(NOW, &mut content).unwrap();
                }
            }
            let output = smtp.output().len();
            written += output;
            smtp.transmitted(NOW, output).unwrap();
            if output == 0 {
                let mut reply = replies.next().unwrap().clone();
                smtp.handle_input(NOW, &mut reply);
            }
        }
    }
}
