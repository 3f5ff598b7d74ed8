//! Servers that offer less on the next connection, take back what they said, or go on where they
//! must not, and what the client makes of it: nothing altered, and no outcome that is not so.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Cause, Content, MissingExtension, Outcome, Sent, Stage, UnfinishedTransaction,
};
use smtp_checkpoint::client::{ClientSession, Connection, Ending, Event};
use smtp_checkpoint::command::MailLine;
use smtp_checkpoint::error::PeerError;
use smtp_checkpoint::transid::TransId;

mod client_scene;

use client_scene::{MAIL, NOW, RCPT, Scene, checkpointed, config, ned, plain, rcpt};

const PLAIN: &str = "MAIL FROM:<ned@ymir.claremont.edu>\r\n";

fn in_chunks(mail: MailLine, message: &[u8]) -> UnfinishedTransaction {
    UnfinishedTransaction::builder(mail, Content::measure(message), 0)
        .recipient(rcpt("mrose@dbc.mtview.ca.us"))
        .transid(TransId::parse(b"<12345@claremont.edu>").unwrap())
        .bdat()
        .build()
        .unwrap()
}

/// CP-33: where CHUNKING is gone a binary message is not sent at all, be it from the start.
#[test]
fn a_binary_message_never_goes_by_data() {
    const MAIL: &str =
        "MAIL FROM:<ned@ymir.claremont.edu> BODY=BINARYMIME TRANSID=<12345@claremont.edu>\r\n";
    let message = b"\x00binary";
    let mail = &b"MAIL FROM:<ned@ymir.claremont.edu> BODY=BINARYMIME"[..];
    let mut scene = Scene::with(config().chunk_size(5), message);
    scene
        .greet("CHECKPOINT CHUNKING BINARYMIME")
        .send(&in_chunks(MailLine::parse(mail).unwrap(), message))
        .c(MAIL)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok")
        .c("BDAT 5\r\n\0bina");
    scene.smtp.handle_eof(NOW);
    let (_, transaction) = scene.interrupted();

    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT BINARYMIME").send(&transaction);
    scene.c(MAIL).s("250 ok").c("RSET\r\n").s("250 ok");
    let (cause, transaction) = scene.interrupted();
    assert_eq!(cause, Cause::Missing(MissingExtension::Chunking));
    assert_eq!(transaction.sent(), Sent::Data);
    scene.quit();
}

/// Of two hosts one offers CHUNKING. It has the message whole, as BDAT sent it, without the CRLF
/// that DATA would have added on the other: to add it now would be content beyond the end, and
/// the 554 to that would be taken for the outcome.
#[test]
fn what_went_by_chunks_is_complete_without_the_crlf_of_data() {
    let message = b"one\r\ntwo";
    let mut scene = Scene::new(message);
    scene
        .greet("CHECKPOINT CHUNKING")
        .send(&in_chunks(ned(), message))
        .c(MAIL)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok")
        .c("BDAT 8 LAST\r\none\r\ntwo");
    scene.smtp.handle_eof(NOW);
    let (_, transaction) = scene.interrupted();

    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT").send(&transaction);
    scene
        .c(MAIL)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok")
        .c("DATA\r\n")
        .s("354 go");
    scene.smtp.handle_eof(NOW);
    let (_, transaction) = scene.interrupted();

    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT CHUNKING").send(&transaction);
    scene.c(MAIL).s("355 8 x").c(RCPT).s("250 ok");
    scene.c("DATA\r\n").s("354 go").c(".\r\n").s("250 taken");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));
}

/// CP-35: behind a 355 a reply in place of 354 ends the attempt and no more.
#[test]
fn data_refused_behind_a_355_refuses_no_message() {
    let message = b"one\r\ntwo\r\n";
    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT").send(&checkpointed(message));
    scene
        .c(MAIL)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok")
        .c("DATA\r\n")
        .s("354 go");
    scene.smtp.handle_eof(NOW);
    let (_, transaction) = scene.interrupted();
    assert_eq!(transaction.sent(), Sent::Data);
    for (code, reply) in [(503, "503 5.5.1 no"), (554, "554 no"), (451, "451 no")] {
        let mut scene = Scene::new(message);
        scene.greet("CHECKPOINT").send(&transaction);
        scene.c(MAIL).s("355 5 x").c("DATA\r\n").s(reply).c("");
        let (cause, _) = scene.interrupted();
        let Cause::Answered(Stage::Data, reply) = cause else {
            panic!("{cause:?}");
        };
        assert_eq!(reply.code().get(), code);
        // RSET would discard what the server holds.
        scene.quit();
    }
}

/// Sent whole once without a TRANSID, then again by consent: as long as no final reply has come,
/// nobody can say that nothing was delivered.
#[test]
fn an_unknown_outcome_stays_unknown() {
    let message = b"one\r\n";
    let mut scene = Scene::new(message);
    scene.greet("").send(&plain(message));
    scene.c(PLAIN).s("250 ok").c(RCPT).s("250 ok");
    scene.c("DATA\r\n").s("354 go").c("one\r\n.\r\n");
    scene.smtp.handle_eof(NOW);
    let Outcome::Unknown {
        mut transaction, ..
    } = scene.outcome()
    else {
        panic!("the end was sent");
    };
    transaction.allow_doubling();
    for reply in [None, Some("550 no"), Some("421 bye")] {
        let mut scene = Scene::new(message);
        scene.greet("").send(&transaction);
        scene.c(PLAIN);
        match reply {
            Some(reply) => drop(scene.s(reply)),
            None => scene.smtp.handle_eof(NOW),
        }
        let outcome = scene.outcome();
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
        let again = outcome.transaction().unwrap();
        assert_eq!(again.sent(), Sent::EndOfData);
    }
}

/// SM-03: with octets in clear behind the 220 the caller is not asked for a handshake any more.
#[test]
fn no_handshake_behind_octets_in_clear() {
    let mut scene = Scene::new(b"");
    scene.s("220 hi").c("EHLO ymir.claremont.edu\r\n");
    scene.s("250-hi").s("250 STARTTLS").c("STARTTLS\r\n");
    scene.s("220 go\r\n250 evil");
    assert!(!scene.handover);
    assert_eq!(scene.faults, [PeerError::OctetsBeforeTls]);
    assert_eq!(scene.ending, Some(Ending::Protocol));
}

/// RFC 4954 §4: what is cancelled is refused, or the server would be spoken to for ever, or know
/// the client by a name that the client does not know of.
#[test]
fn a_cancelled_exchange_ends() {
    for (reply, ending) in [
        ("334 !!!", Some(Ending::Protocol)),
        ("235 2.7.0 welcome", Some(Ending::Protocol)),
        ("501 5.7.0 cancelled", None),
    ] {
        let mut scene = Scene::with(config().auth_in_clear(true), b"");
        scene.greet("AUTH");
        scene.smtp.authenticate(NOW, "PLAIN", None, "ned").unwrap();
        scene.c("AUTH PLAIN\r\n").s("334 !!!").c("*\r\n").s(reply);
        assert_eq!(scene.ending, ending, "{reply}");
        assert_eq!(scene.smtp.scope().identity, None);
        if ending.is_none() {
            assert_eq!((scene.ready, scene.smtp.is_ready()), (2, true));
        }
    }
}

/// CP-06: in clear a server knows nothing of the certificate, and a message whose end was sent is not
/// safe to send from another address.
#[test]
fn a_certificate_is_no_identity_in_clear() {
    for tls in [false, true] {
        let connection = Connection {
            tls,
            identity: Some(b"ned".to_vec()),
            ..Connection::default()
        };
        let config = std::sync::Arc::new(config().build().unwrap());
        let session = ClientSession::connected(config, connection, NOW);
        let identity = tls.then(|| b"ned".to_vec());
        assert_eq!(session.scope().identity, identity);
    }
}

/// The end of the data was sent, and the server takes less by now: its reply is asked for all the
/// same, by a MAIL that no limit on its size can refuse.
#[test]
fn a_new_limit_does_not_hide_the_reply_to_what_was_sent() {
    let message = b"one\r\ntwo\r\n";
    let sized = MAIL.replace(" TRANSID", " SIZE=10 TRANSID");
    let mut scene = Scene::new(message);
    scene
        .s("220 hi")
        .c("EHLO ymir.claremont.edu\r\n")
        .s("250-hi")
        .s("250-SIZE 10")
        .s("250 CHECKPOINT")
        .send(&checkpointed(message))
        .c(&sized)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok")
        .c("DATA\r\n")
        .s("354 go")
        .c("one\r\ntwo\r\n.\r\n");
    scene.smtp.handle_eof(NOW);
    let (_, transaction) = scene.interrupted();
    assert_eq!(transaction.sent(), Sent::EndOfData);

    let mut scene = Scene::new(message);
    scene
        .s("220 hi")
        .c("EHLO ymir.claremont.edu\r\n")
        .s("250-hi")
        .s("250-SIZE 9")
        .s("250 CHECKPOINT")
        .send(&transaction)
        .c(MAIL)
        .s("355 10 x")
        .c("DATA\r\n")
        .s("354 go")
        .c(".\r\n")
        .s("250 taken");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));
}

/// The server closes in the same segment that makes the session ready: the caller is not asked for
/// a transaction that cannot be sent any more.
#[test]
fn a_session_that_is_over_is_not_ready() {
    type End = fn(&mut ClientSession);
    let endings: [(&[u8], End); 3] = [
        (b"250 hi\r\n421 4.3.2 down\r\n", |_| {}),
        (b"250 hi\r\n", |smtp| smtp.handle_eof(NOW)),
        (b"250 hi\r\n", |smtp| smtp.abandon(NOW)),
    ];
    for (reply, end) in endings {
        let config = Arc::new(config().build().unwrap());
        let mut smtp = ClientSession::new(config, NOW);
        smtp.handle_input(NOW, &mut Bytes::from_static(b"220 hi\r\n"));
        let octets = smtp.output().len();
        smtp.transmitted(NOW, octets).unwrap();
        smtp.handle_input(NOW, &mut Bytes::from_static(reply));
        end(&mut smtp);
        let mut told = Vec::new();
        while let Some(event) = smtp.poll_event() {
            told.push(event);
        }
        let is_ready = told.iter().any(|event| matches!(event, Event::Ready));
        assert!(!is_ready, "{told:?}");
        assert!(matches!(told[..], [.., Event::Finished(_)]), "{told:?}");
    }
}
