//! A session whose key is wanted by another one tells what it has received.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Claim, Generation, Identity, Scope, TransactionKey};
use smtp_checkpoint::error::UsageError;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::reply::standard as reply;
use smtp_checkpoint::server::{
    DataAnswer, Ending, Event, MailAnswer, Peer, ServerConfig, ServerSession,
};
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

const NOW: Timestamp = Timestamp::ORIGIN;

/// A session that has read `input`, with what it told that is not a question or content.
fn session(input: &'static [u8]) -> (ServerSession, Vec<Event>) {
    let config = ServerConfig::builder("mx.example.net").build().unwrap();
    let mut smtp = ServerSession::new(Arc::new(config), Peer::default(), NOW);
    let mut told = Vec::new();
    // MAIL with a TRANSID is the last of its group: so each command comes by itself.
    for line in input.split_inclusive(|octet| *octet == b'\n') {
        smtp.handle_input(NOW, &mut Bytes::from_static(line));
        told.extend(answer(&mut smtp));
    }
    if let Some(output) = smtp.take_output() {
        smtp.transmitted(NOW, output.len()).unwrap();
    }
    (smtp, told)
}

fn answer(smtp: &mut ServerSession) -> Vec<Event> {
    let mut told = Vec::new();
    while let Some(event) = smtp.poll_event() {
        match event {
            Event::Mail(question) => {
                let claim = match question.key() {
                    None => Claim::Unrecorded,
                    Some(_) => Claim::Claimed {
                        generation: Generation(1),
                        found: None,
                    },
                };
                let answer = MailAnswer::accept(claim);
                smtp.answer_mail(NOW, question, answer).unwrap();
            }
            Event::Rcpt(question) => {
                smtp.answer_rcpt(NOW, question, reply::OK).unwrap();
            }
            Event::Data(question) => {
                smtp.answer_data(NOW, question, DataAnswer::Proceed)
                    .unwrap();
            }
            Event::Content => {
                smtp.poll_content(&mut Vec::new());
            }
            other => told.push(other),
        }
    }
    told
}

const RECORDED: &[u8] =
    b"EHLO c\r\nMAIL FROM:<a@c> TRANSID=<1@c>\r\nRCPT TO:<b@d>\r\nDATA\r\none\r\ntw";
const PLAIN: &[u8] = b"EHLO c\r\nMAIL FROM:<a@c>\r\nRCPT TO:<b@d>\r\nDATA\r\none\r\ntw";

#[test]
fn what_has_come_is_told_before_the_session_closes() {
    let (mut smtp, told) = session(RECORDED);
    assert!(told.is_empty(), "{told:?}");
    supersede(&mut smtp);
    let [Event::Interrupted { record, .. }, Event::TransactionEnded] = &answer(&mut smtp)[..]
    else {
        panic!("the record first");
    };
    assert_eq!(record.length(), OctetOffset::from(5));
    let output = smtp.take_output().unwrap();
    assert!(output.starts_with(b"421 4.3.0 "), "{output:?}");
    smtp.transmitted(NOW, output.len()).unwrap();
    assert!(matches!(
        answer(&mut smtp)[..],
        [Event::Finished(Ending::Closed)]
    ));
}

#[test]
fn a_decision_goes_on_without_the_session() {
    let (mut smtp, told) = session(
        b"EHLO c\r\nMAIL FROM:<a@c> TRANSID=<1@c>\r\nRCPT TO:<b@d>\r\nDATA\r\none\r\n.\r\n",
    );
    assert!(matches!(told[..], [Event::EndOfData(_)]));
    supersede(&mut smtp);
    assert!(matches!(answer(&mut smtp)[..], [Event::TransactionEnded]));
    assert!(smtp.take_output().unwrap().starts_with(b"421 4.3.0 "));
}

#[test]
fn a_session_without_a_record_has_nothing_to_give() {
    for input in [PLAIN, b"EHLO c\r\n", b""] {
        let (mut smtp, _) = session(input);
        supersede(&mut smtp);
        assert!(answer(&mut smtp).is_empty());
        assert_eq!(smtp.take_output(), None);
    }
}

#[test]
fn late_news_about_another_claim_changes_nothing() {
    let (mut smtp, _) = session(RECORDED);
    let key = smtp.transaction().key().cloned().unwrap();
    let generation = smtp.transaction().generation().unwrap();
    smtp.supersede(NOW, &key, Generation(generation.0 + 1));
    let transid = TransId::parse(b"<other@c>").unwrap();
    let identity = Identity::Authenticated(b"a");
    let other = TransactionKey::new(
        &Scope {
            identity,
            tls: false,
        },
        transid,
    );
    smtp.supersede(NOW, &other, generation);
    assert!(answer(&mut smtp).is_empty());
    assert_eq!(smtp.take_output(), None);
}

/// A claim that does not raise the generation would leave older sessions their writes: it is given
/// back, and the MAIL can still be answered.
#[test]
fn a_claim_raises_the_generation() {
    let (mut smtp, _) = session(RECORDED);
    supersede(&mut smtp);
    let Some(Event::Interrupted { record, .. }) = answer(&mut smtp).into_iter().next() else {
        panic!("no record");
    };
    assert_eq!(record.generation(), Generation(1));
    let claim = |generation| {
        MailAnswer::accept(Claim::Claimed {
            generation: Generation(generation),
            found: Some(record.clone()),
        })
    };

    let config = ServerConfig::builder("mx.example.net").build().unwrap();
    let mut smtp = ServerSession::new(Arc::new(config), Peer::default(), NOW);
    let mut input = Bytes::from_static(b"EHLO c\r\nMAIL FROM:<a@c> TRANSID=<1@c>\r\n");
    smtp.handle_input(NOW, &mut input);
    let Some(Event::Mail(question)) = smtp.poll_event() else {
        panic!("no MAIL");
    };
    smtp.take_output();
    let given_back = smtp.answer_mail(NOW, question, claim(1)).unwrap_err();
    assert_eq!(given_back.error, UsageError::ClaimNotRaised);
    assert_eq!(smtp.take_output(), None);
    (smtp.answer_mail(NOW, given_back.question, claim(2))).unwrap();
    assert!(smtp.take_output().unwrap().starts_with(b"355 5 "));
}

/// As the store does it: by the claim that is lost.
fn supersede(smtp: &mut ServerSession) {
    let claim = smtp.transaction();
    if let Some((key, generation)) = claim.key().cloned().zip(claim.generation()) {
        smtp.supersede(NOW, &key, generation);
    }
}
