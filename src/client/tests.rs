//! What the dialogues in `tests/` cannot see: every cut of the input, and types.

use super::*;
use crate::checkpoint::{Content, Outcome};
use crate::command::{MailLine, RcptLine};
use std::string::String;
use std::vec;

fn assert_send_sync<T: Send + Sync + 'static>() {}

#[test]
fn sessions_and_questions_go_between_tasks() {
    assert_send_sync::<ClientSession>();
    assert_send_sync::<Event>();
}

/// The whole dialogue with input cut into pieces of `step` octets; what was sent and told.
fn run(script: &[&str], step: usize) -> (Vec<u8>, Vec<String>) {
    let message = b"one\r\n.two\r\n";
    let mail = MailLine::parse(&b"MAIL FROM:<a@b>"[..]).unwrap();
    let transaction = UnfinishedTransaction::builder(mail, Content::measure(message), 0)
        .recipient(RcptLine::parse(&b"RCPT TO:<c@d>"[..]).unwrap())
        .build()
        .unwrap();
    let config = Arc::new(
        ClientConfig::builder("c.example", TlsPolicy::IfOffered)
            .build()
            .unwrap(),
    );
    let now = Timestamp::ORIGIN;
    let mut smtp = ClientSession::new(config, now);
    let (mut sent, mut told) = (vec![], vec![]);
    let mut content = &message[..];
    for line in script {
        let mut rest = Bytes::copy_from_slice(line.as_bytes());
        while !rest.is_empty() {
            let mut piece = rest.split_to(step.min(rest.len()));
            smtp.handle_input(now, &mut piece);
            while let Some(event) = smtp.poll_event() {
                told.push(std::format!("{event:?}").chars().take(12).collect());
                match event {
                    Event::Ready if content.len() == message.len() => {
                        smtp.send(now, &transaction).unwrap();
                    }
                    Event::Ready => smtp.quit(now).unwrap(),
                    Event::Store(question) => {
                        smtp.stored(now, question).unwrap();
                    }
                    Event::Done(outcome) => {
                        assert!(matches!(outcome, Outcome::Delivered { .. }));
                        smtp.outcome_stored(now).unwrap();
                    }
                    _ => {}
                }
            }
            while smtp.wants_content() {
                if content.is_empty() {
                    smtp.finish_content(now).unwrap();
                } else {
                    smtp.send_content(now, &mut content).unwrap();
                }
            }
            if let Some(octets) = smtp.take_output() {
                smtp.transmitted(now, octets.len()).unwrap();
                sent.extend_from_slice(&octets);
            }
        }
    }
    (sent, told)
}

#[test]
fn the_split_of_the_input_makes_no_difference() {
    let script = [
        "220 hi\r\n",
        "250-hi\r\n250-PIPELINING\r\n250 SIZE\r\n",
        "250 ok\r\n250 ok\r\n354 go\r\n",
        "250-taken\r\n250 for good\r\n",
        "221 bye\r\n",
    ];
    let whole = run(&script, usize::MAX);
    let end = b"\r\nDATA\r\none\r\n..two\r\n.\r\nQUIT\r\n";
    assert!(whole.0.ends_with(end), "{}", whole.0.escape_ascii());
    for step in 1..20 {
        assert_eq!(run(&script, step), whole, "{step}");
    }
}

#[test]
fn a_stale_store_answer_changes_nothing() {
    let mail = MailLine::parse(&b"MAIL FROM:<a@b>"[..]).unwrap();
    let transaction = UnfinishedTransaction::builder(mail, Content::measure(b""), 0)
        .recipient(RcptLine::parse(&b"RCPT TO:<c@d>"[..]).unwrap())
        .build()
        .unwrap();
    let config = Arc::new(
        ClientConfig::builder("c.example", TlsPolicy::IfOffered)
            .build()
            .unwrap(),
    );
    let now = Timestamp::ORIGIN;
    let mut smtp = ClientSession::new(config, now);
    for line in ["220 hi\r\n", "250 hi\r\n"] {
        smtp.handle_input(now, &mut Bytes::from_static(line.as_bytes()));
        let length = smtp.output().len();
        smtp.transmitted(now, length).unwrap();
    }
    smtp.send(now, &transaction).unwrap();
    let mut question = None;
    while let Some(event) = smtp.poll_event() {
        if let Event::Store(asked) = event {
            question = Some(asked);
        }
    }
    smtp.abandon(now);
    assert_eq!(smtp.stored(now, question.unwrap()), Ok(Answered::Stale));
    assert_eq!(smtp.output(), b"");
}
