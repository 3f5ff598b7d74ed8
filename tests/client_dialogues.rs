//! Whole dialogues of the client, through its public interface only. Lines are compared character
//! for character.

#![cfg(feature = "session")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Cause, ClientScope, Content, InvalidTransaction, MissingExtension, NextStep, Outcome,
    RestartPolicy, Sent, Stage, UnfinishedTransaction,
};
use smtp_checkpoint::client::{
    ChallengeAnswer, ClientSession, Connection, Ending, Event, Protocol, SendError, TlsOutcome,
    TlsPolicy,
};
use smtp_checkpoint::command::{CommandLine, MailLine, RcptLine, base64};
use smtp_checkpoint::error::{PeerError, UsageError};
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

mod client_scene;

use client_scene::{MAIL, NOW, RCPT, Scene, checkpointed, config, ned, plain, rcpt};

/// 6135 octets in whole lines, and more behind them, a dot first.
fn message() -> Vec<u8> {
    let mut message = Vec::new();
    while message.len() < 6135 - 80 {
        message.extend_from_slice(b"All work and no play makes Jack a dull boy.\r\n");
    }
    while message.len() < 6133 {
        message.push(b'x');
    }
    message.extend_from_slice(b"\r\n.dot\r\nrest\r\n");
    message
}

/// A transaction whose first attempt was cut within the data.
fn cut(message: &[u8], transaction: &UnfinishedTransaction) -> UnfinishedTransaction {
    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT").send(transaction);
    scene.c(MAIL).s("250 ok").c(RCPT).s("250 ok").c("DATA\r\n");
    scene
        .smtp
        .handle_input(NOW, &mut Bytes::from_static(b"354 go\r\n"));
    while let Some(event) = scene.smtp.poll_event() {
        drop(event);
    }
    scene.smtp.send_content(NOW, &mut &message[..10]).unwrap();
    let sent = scene.smtp.take_output().unwrap().len();
    scene.smtp.transmitted(NOW, sent).unwrap();
    scene.smtp.handle_eof(NOW);
    let (cause, transaction) = scene.interrupted();
    assert_eq!(cause, Cause::Lost);
    assert_eq!(transaction.sent(), Sent::Data);
    transaction
}

#[test]
fn rfc_1845_section_5() {
    let message = message();
    let transaction = checkpointed(&message);
    let mut first = Scene::new(&message);
    first
        .s("220 dbc.mtview.ca.us SMTP service ready")
        .c("EHLO ymir.claremont.edu\r\n")
        .s("250-dbc.mtview.ca.us says hello")
        .s("250 CHECKPOINT")
        .send(&transaction)
        .c(MAIL)
        .s("250 <ned@ymir.claremont.edu>... Sender and TRANSID ok")
        .c(RCPT)
        .s("250 <mrose@dbc.mtview.ca.us>... Recipient ok")
        .c("DATA\r\n");
    first.smtp.handle_input(
        NOW,
        &mut Bytes::from_static(b"354 Send checkpointed message, ending in CRLF.CRLF\r\n"),
    );
    first.run();
    // <some amount of message data transmitted>
    let mut taken = 0;
    while taken < 6140 {
        let octets = first.smtp.take_output().unwrap();
        taken += octets.len();
        first.smtp.transmitted(NOW, octets.len().min(6135)).unwrap();
    }
    // <session is interrupted and TCP connection is broken>
    first.smtp.handle_eof(NOW);
    first.run();
    let (cause, transaction) = first.interrupted();
    assert_eq!(cause, Cause::Lost);
    assert_eq!(first.ending, Some(Ending::Lost));
    assert!(transaction.is_restart() && transaction.may_leave_out_recipients());

    // Some time later a new connection is established, after a crash.
    let transaction = UnfinishedTransaction::decode(&transaction.encode()).unwrap();
    let mut second = Scene::new(&message);
    second
        .s("220 dbc.mtview.ca.us SMTP service ready")
        .c("EHLO ymir.claremont.edu\r\n")
        .s("250-dbc.mtview.ca.us says hello")
        .s("250 CHECKPOINT")
        .send(&transaction)
        .c(MAIL)
        .s("355 6135 is the transaction offset")
        .c("DATA\r\n")
        .s("354 Send previously checkpointed message starting at octet 6135")
        .c("..dot\r\nrest\r\n.\r\n")
        .s("250 OK");
    assert!(matches!(second.outcome(), Outcome::Delivered { .. }));
    assert_eq!(second.lowest, Some(6133), "never the first 6135 but two");
    assert_eq!(second.recipients, [(0, 250)], "held from before");
    second.quit();
}

#[test]
fn offset_replies_of_the_corpus() {
    let message = message();
    let first = cut(&message, &checkpointed(&message));
    let rows = include_str!("data/offset_replies.tsv");
    let mut judged = 0;
    for row in rows.lines().skip(1) {
        let mut columns = row.split('\t');
        let (reply, verdict) = (columns.next().unwrap(), columns.next().unwrap());
        let size = message.len();
        let reply = reply
            .replace("\\r\\n", "\r\n")
            .replace("\\t", "\t")
            .replace("<N+1>", &(size + 1).to_string())
            .replace("<N>", &size.to_string())
            .replace("<offset inside CRLF, between CR and LF>", "6134");
        let (reply, transid, offered) = match reply.split_once(" (") {
            Some((reply, "client did not send TRANSID)")) => (reply.to_string(), false, true),
            Some((reply, rest)) if rest.starts_with("client sent") => {
                (reply.to_string(), true, false)
            }
            Some((reply, _)) => (reply.to_string(), true, true),
            None => (reply, true, true),
        };
        let transaction = if transid {
            first.clone()
        } else {
            plain(&message)
        };
        let mut scene = Scene::new(&message);
        scene.greet(if offered { "CHECKPOINT" } else { "" });
        scene.send(&transaction).run();
        scene
            .smtp
            .take_output()
            .map(|mail| scene.smtp.transmitted(NOW, mail.len()));
        scene.s(&reply);
        let out = scene.smtp.take_output().unwrap_or_default();
        let out = String::from_utf8_lossy(&out).into_owned();
        if verdict.starts_with("resume 6135") {
            assert_eq!(
                (out.as_str(), scene.lowest),
                ("DATA\r\n", Some(6133)),
                "{row}"
            );
        } else if verdict.starts_with("resume 0") || verdict.starts_with("resume only") {
            assert_eq!((out.as_str(), scene.lowest), ("DATA\r\n", Some(0)), "{row}");
        } else if verdict.starts_with("send DATA and only") {
            assert_eq!((out.as_str(), scene.lowest), ("DATA\r\n", None), "{row}");
            scene.smtp.transmitted(NOW, out.len()).unwrap();
            scene.s("354 go").c(".\r\n");
        } else if verdict.starts_with("fresh") {
            assert_eq!(out, RCPT, "{row}");
        } else if verdict.starts_with("error") || verdict.starts_with("refused") {
            assert_eq!(out, "RSET\r\n", "{row}");
            scene.smtp.transmitted(NOW, out.len()).unwrap();
            scene.s("250 ok");
            let outcome = scene.outcome();
            assert!(
                matches!(
                    outcome,
                    Outcome::StartOver {
                        cause: Cause::Offset(_),
                        ..
                    }
                ),
                "{row}: {outcome:?}"
            );
        } else {
            assert_eq!(scene.ending, Some(Ending::Protocol), "{row}");
            assert_eq!(out, "", "{row}");
            let (cause, _) = scene.interrupted();
            assert!(matches!(cause, Cause::Protocol(_)), "{row}");
        }
        judged += 1;
    }
    assert!(judged >= 25, "{judged}");
}

#[test]
fn an_offset_refused_after_the_end_was_sent_is_unknown() {
    let message = b"one\r\n";
    let mut first = Scene::new(message);
    first.greet("CHECKPOINT").send(&checkpointed(message));
    first
        .c(MAIL)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok")
        .c("DATA\r\n")
        .s("354 go");
    first.c("one\r\n.\r\n");
    first.smtp.handle_eof(NOW);
    let (_, transaction) = first.interrupted();
    assert_eq!(transaction.sent(), Sent::EndOfData);
    let mut second = Scene::new(message);
    second.greet("CHECKPOINT").send(&transaction);
    second.c(MAIL).s("355 9 x").c("RSET\r\n").s("250 ok");
    let outcome = second.outcome();
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    second.quit();
}

#[test]
fn restart_answered_250_sends_everything_again() {
    let message = message();
    let transaction = cut(&message, &checkpointed(&message));
    let mut scene = Scene::new(&message);
    scene.greet("CHECKPOINT").send(&transaction);
    scene
        .c(MAIL)
        .s("250 nothing held")
        .c(RCPT)
        .s("250 ok")
        .c("DATA\r\n");
    scene.s("354 go");
    assert_eq!(scene.lowest, Some(0));
    let mut sent = Vec::new();
    while let Some(octets) = scene.smtp.take_output() {
        scene.smtp.transmitted(NOW, octets.len()).unwrap();
        sent.extend_from_slice(&octets);
        scene.run();
    }
    assert_eq!(sent.len(), message.len() + 1 + 3);
    scene.s("250 taken");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));

    // A second MAIL was accepted, so the next restart repeats its recipients (CP-34).
    let mut twice = transaction.clone();
    let reply = smtp_checkpoint::reply::standard::OK.reply();
    twice.mail_accepted(&reply);
    twice.recipient_answered(0, &reply);
    assert!(transaction.may_leave_out_recipients() && !twice.may_leave_out_recipients());
    let mut scene = Scene::new(&message);
    scene.greet("CHECKPOINT PIPELINING").send(&twice);
    scene
        .c(MAIL)
        .s("355 6135 x")
        .c(RCPT)
        .s("250 ok")
        .c("DATA\r\n");
}

#[test]
fn fresh_and_355_resets_once_and_then_gives_the_transid_up() {
    let message = b"one\r\n";
    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT").send(&checkpointed(message));
    scene.c(MAIL).s("355 0 x").c("RSET\r\n").s("250 ok").c(MAIL);
    scene.s("355 0 x").c("RSET\r\n").s("250 ok");
    let outcome = scene.outcome();
    assert!(
        matches!(
            outcome,
            Outcome::StartOver {
                cause: Cause::Collision,
                ..
            }
        ),
        "{outcome:?}"
    );
    scene.quit();
}

#[test]
fn a_loaded_data_mark_is_a_restart() {
    let message = b"one\r\n";
    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT").send(&checkpointed(message));
    scene.c(MAIL);
    assert_eq!(scene.stored.len(), 1, "stored before MAIL");
    assert_eq!(
        (scene.stored[0].sent(), scene.stored[0].attempts()),
        (Sent::Nothing, 1)
    );
    scene.hold_store = true;
    // The mark is asked for together with RCPT, and no data command goes before it is durable.
    scene.s("250 ok").c(RCPT).s("250 ok").c("");
    assert_eq!(scene.stored[1].sent(), Sent::EndOfData);
    let stored = scene.stored[1].encode();
    // Crash here. What is loaded is a restart.
    let loaded = UnfinishedTransaction::decode(&stored).unwrap();
    assert!(loaded.is_restart() && !loaded.may_leave_out_recipients());
    let mut again = Scene::new(message);
    again.greet("CHECKPOINT").send(&loaded);
    again
        .c(MAIL)
        .s("250 nothing held")
        .c(RCPT)
        .s("250 ok")
        .c("DATA\r\n");

    // The first session goes on, once it is told.
    let question = scene.held.pop().unwrap();
    let mut other = ClientSession::new(Arc::new(config().build().unwrap()), NOW);
    assert_eq!(other.stored(NOW, question), Err(UsageError::ForeignToken));
}

#[test]
fn plain_smtp_is_one_group_with_pipelining_and_reports_every_recipient() {
    let message = b"one\r\n.two\r\nthree";
    let transaction = UnfinishedTransaction::builder(ned(), Content::measure(message), 0)
        .recipient(rcpt("a@b"))
        .recipient(rcpt("c@d"))
        .recipient(rcpt("e@f"))
        .transid(TransId::parse(b"<12345@claremont.edu>").unwrap())
        .build()
        .unwrap();
    let mut scene = Scene::new(message);
    scene.greet("PIPELINING SIZE").send(&transaction);
    scene.c(
        "MAIL FROM:<ned@ymir.claremont.edu> SIZE=18\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\n\
             RCPT TO:<e@f>\r\nDATA\r\n",
    );
    assert_eq!(scene.stored.len(), 1);
    scene
        .s("250 ok")
        .s("250 ok")
        .s("550 no")
        .s("552 full")
        .s("354 go");
    assert_eq!(scene.recipients, [(0, 250), (1, 550), (2, 552)]);
    scene.c("one\r\n..two\r\nthree\r\n.\r\n").s("250 ok");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));
    scene.quit();
}

#[test]
fn with_transid_mail_ends_its_group() {
    let message = b"one\r\n";
    let mut scene = Scene::new(message);
    scene
        .greet("PIPELINING CHECKPOINT")
        .send(&checkpointed(message));
    scene.c(MAIL).s("250 ok").c(&format!("{RCPT}DATA\r\n"));
    scene
        .s("550 no")
        .s("354 go anyway")
        .c(".\r\n")
        .s("554 no recipients");
    assert!(matches!(scene.outcome(), Outcome::NoRecipients { .. }));
    assert_eq!(scene.lowest, None, "no content was asked for");
    scene.quit();
}

#[test]
fn mail_refused_in_a_group_consumes_all_replies() {
    let message = b"one\r\n";
    for (data, dot) in [("503 no", ""), ("354 go", ".\r\n")] {
        let mut scene = Scene::new(message);
        scene.greet("PIPELINING").send(&plain(message));
        scene.c(&format!(
            "MAIL FROM:<ned@ymir.claremont.edu>\r\n{RCPT}DATA\r\n"
        ));
        scene.s("550 no").s("503 no");
        assert_eq!(scene.outcome, None);
        scene.s(data).c(dot);
        if !dot.is_empty() {
            scene.s("554 no");
        }
        let outcome = scene.outcome();
        assert!(
            matches!(
                outcome,
                Outcome::Declined {
                    stage: Stage::Mail,
                    ..
                }
            ),
            "{outcome:?}"
        );
        assert!(scene.recipients.is_empty());
        scene.quit();
    }
}

#[test]
fn all_recipients_refused_without_pipelining() {
    let message = b"one\r\n";
    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT").send(&checkpointed(message));
    scene
        .c(MAIL)
        .s("250 ok")
        .c(RCPT)
        .s("451 later")
        .c("RSET\r\n")
        .s("250 ok");
    match scene.outcome() {
        Outcome::NoRecipients { transaction } => assert!(!transaction.is_restart()),
        other => panic!("{other:?}"),
    }
    scene.quit();
}

#[test]
fn data_refused_with_no_recipient_is_reset() {
    let message = b"one\r\n";
    let mut scene = Scene::new(message);
    scene.greet("PIPELINING").send(&plain(message));
    scene.c(&format!(
        "MAIL FROM:<ned@ymir.claremont.edu>\r\n{RCPT}DATA\r\n"
    ));
    scene
        .s("250 ok")
        .s("550 no")
        .s("554 no valid recipients")
        .c("RSET\r\n")
        .s("250 ok");
    assert!(matches!(scene.outcome(), Outcome::NoRecipients { .. }));
    scene.quit();
}

#[test]
fn an_early_no_stops_the_content_and_never_ends_the_message() {
    let message = vec![b'x'; 200_000];
    for (reply, ending) in [
        ("552 too much", Ending::RefusedEarly),
        ("451 disk", Ending::RefusedEarly),
        ("421 bye", Ending::Closed),
    ] {
        let limits = Limits {
            output: 100,
            ..Limits::default()
        };
        let mut scene = Scene::with(config().limits(limits), &message);
        scene.greet("CHECKPOINT").send(&checkpointed(&message));
        scene
            .c(MAIL)
            .s("250 ok")
            .c(RCPT)
            .s("250 ok")
            .c("DATA\r\n")
            .s("354 go");
        assert!(!scene.smtp.wants_content(), "high-water mark");
        assert!(scene.smtp.output().len() <= 100);
        scene.s(reply);
        assert_eq!((scene.stops, scene.ending), (1, Some(ending)));
        assert_eq!(scene.smtp.output(), b"", "no dot, no QUIT");
        let outcome = scene.outcome();
        let transaction = outcome.transaction().unwrap();
        assert_eq!(transaction.sent(), Sent::Data);
        assert!(matches!(
            outcome,
            Outcome::Declined {
                stage: Stage::Content,
                ..
            } | Outcome::Interrupted {
                cause: Cause::Closed(_),
                ..
            }
        ));
    }
}

#[test]
fn a_success_that_comes_before_the_end_has_left_is_no_success() {
    let message = b"one\r\n";
    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT").send(&checkpointed(message));
    scene
        .c(MAIL)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok")
        .c("DATA\r\n")
        .s("354 go");
    // The end is in the output, and not transmitted.
    scene.s("250 got it");
    assert_eq!(scene.faults, [PeerError::UnsolicitedReply]);
    let (_, transaction) = scene.interrupted();
    assert_eq!(transaction.sent(), Sent::Data);
}

#[test]
fn what_decides_and_what_does_not() {
    let message = b"one\r\n";
    let run = |reply: &str| {
        let mut scene = Scene::new(message);
        scene.greet("CHECKPOINT").send(&checkpointed(message));
        scene
            .c(MAIL)
            .s("250 ok")
            .c(RCPT)
            .s("250 ok")
            .c("DATA\r\n")
            .s("354 go");
        scene.c("one\r\n.\r\n").s(reply);
        scene.outcome()
    };
    assert!(matches!(run("250 ok"), Outcome::Delivered { .. }));
    assert!(matches!(run("299 ok"), Outcome::Delivered { .. }));
    assert!(matches!(run("451 later"), Outcome::Deferred { .. }));
    assert!(matches!(run("554 no"), Outcome::Refused { .. }));
    for reply in [
        "421 bye",
        "503 what",
        "520 no RDLV",
        "354 more",
        "120 wait",
        "nonsense",
    ] {
        let outcome = run(reply);
        let transaction = outcome.transaction().unwrap();
        assert_eq!(transaction.sent(), Sent::EndOfData, "{reply}");
        assert!(
            matches!(outcome, Outcome::Interrupted { .. }),
            "{reply}: {outcome:?}"
        );
    }
}

#[test]
fn the_retained_reply_is_asked_for_with_nothing() {
    let message = b"one\r\ntwo";
    let transaction = {
        let mut scene = Scene::new(message);
        scene.greet("CHECKPOINT").send(&checkpointed(message));
        scene
            .c(MAIL)
            .s("250 ok")
            .c(RCPT)
            .s("250 ok")
            .c("DATA\r\n")
            .s("354 go");
        scene.c("one\r\ntwo\r\n.\r\n");
        scene.smtp.handle_eof(NOW);
        scene.interrupted().1
    };
    // The CRLF that was added counts.
    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT").send(&transaction);
    scene
        .c(MAIL)
        .s("355 10 x")
        .c("DATA\r\n")
        .s("354 go")
        .c(".\r\n")
        .s("250 taken");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));
    assert_eq!(scene.lowest, None);

    // In place of 354 nothing decides, and QUIT takes the place of a RSET that would discard.
    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT").send(&transaction);
    scene.c(MAIL).s("355 10 x").c("DATA\r\n").s("550 no");
    let (cause, transaction) = scene.interrupted();
    assert!(matches!(cause, Cause::Answered(Stage::Data, _)));
    scene.quit();

    // Within the last line, before the CRLF that is added; and inside of it.
    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT").send(&transaction);
    scene
        .c(MAIL)
        .s("355 8 x")
        .c("DATA\r\n")
        .s("354 go")
        .c("\r\n.\r\n");
    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT").send(&transaction);
    scene.c(MAIL).s("355 9 x").c("RSET\r\n");
}

#[test]
fn mid_line_before_a_dot_is_refused_and_elsewhere_taken() {
    let message = b"ab.cd\r\nef\r\n";
    let transaction = cut_short(message);
    for (offset, out) in [
        (1, "b.cd\r\nef\r\n"),
        (2, ""),
        (3, "cd\r\nef\r\n"),
        (7, "ef\r\n"),
        (6, ""),
    ] {
        let mut scene = Scene::new(message);
        scene.greet("CHECKPOINT").send(&transaction);
        scene.c(MAIL).s(&format!("355 {offset} x"));
        if out.is_empty() {
            scene.c("RSET\r\n");
        } else {
            scene.c("DATA\r\n").s("354 go").c(&format!("{out}.\r\n"));
        }
    }
}

/// A transaction of which something was sent, without a session.
fn cut_short(message: &[u8]) -> UnfinishedTransaction {
    use smtp_checkpoint::checkpoint::{ContentCommand, Server, Used};
    let mut transaction = checkpointed(message);
    let reply = smtp_checkpoint::reply::standard::OK.reply();
    let used = Used {
        command: ContentCommand::Data,
        transid: true,
        body: false,
        dsn: false,
        auth: false,
        notify_failure: false,
    };
    let scope = ClientScope {
        name: b"ymir.claremont.edu".to_vec(),
        ..ClientScope::default()
    };
    transaction.begin_attempt();
    transaction.mail_accepted(&reply);
    transaction.recipient_answered(0, &reply);
    transaction.will_send(used, scope, Server::default());
    transaction.may_have_sent(Sent::Data);
    transaction
}

#[test]
fn bdat_in_chunks_and_its_restart_at_any_octet() {
    let message = b"0123456789\r\n";
    let transaction = UnfinishedTransaction::builder(ned(), Content::measure(message), 0)
        .recipient(rcpt("mrose@dbc.mtview.ca.us"))
        .transid(TransId::parse(b"<12345@claremont.edu>").unwrap())
        .bdat()
        .build()
        .unwrap();
    let offers = "CHECKPOINT CHUNKING PIPELINING";
    let mut scene = Scene::with(config().chunk_size(5), message);
    scene.greet(offers).send(&transaction);
    // Chunks only once a recipient is accepted; the last only once all before it are taken.
    scene.c(MAIL).s("250 ok").c(RCPT).s("250 ok");
    scene.c("BDAT 5\r\n01234BDAT 5\r\n56789").s("250 ok");
    scene.c("").s("250 ok").c("BDAT 2 LAST\r\n\r\n");
    scene.smtp.handle_eof(NOW);
    let (_, interrupted) = scene.interrupted();

    let mut scene = Scene::with(config().chunk_size(50), message);
    scene.greet(offers).send(&interrupted);
    scene
        .c(MAIL)
        .s("355 11 x")
        .c("BDAT 1 LAST\r\n\n")
        .s("250 ok");
    assert_eq!(scene.lowest, Some(10));
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));

    let mut scene = Scene::with(config(), message);
    scene.greet(offers).send(&interrupted);
    scene.c(MAIL).s("355 12 x").c("BDAT 0 LAST\r\n").s("250 ok");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));

    // Without CHUNKING: only the reply to a complete message is asked for.
    let mut scene = Scene::with(config(), message);
    scene.greet("CHECKPOINT").send(&interrupted);
    scene
        .c(MAIL)
        .s("355 12 x")
        .c("DATA\r\n")
        .s("354 go")
        .c(".\r\n");
    let mut scene = Scene::with(config(), message);
    scene.greet("CHECKPOINT").send(&interrupted);
    scene.c(MAIL).s("355 5 x").c("");
    assert!(matches!(scene.interrupted().0, Cause::Missing(_)));
    scene.quit();

    // A refused chunk: no last one, no RSET, not decided.
    let mut scene = Scene::with(config().chunk_size(5), message);
    scene.greet(offers).send(&transaction);
    scene.c(MAIL).s("250 ok").c(RCPT).s("250 ok");
    scene
        .c("BDAT 5\r\n01234BDAT 5\r\n56789")
        .s("552 full")
        .s("503 no")
        .c("");
    let outcome = scene.outcome();
    assert!(
        matches!(
            outcome,
            Outcome::Declined {
                stage: Stage::Content,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert_eq!(outcome.transaction().unwrap().sent(), Sent::Data);
    scene.quit();
}

/// The connection is lost between two final replies: the first one stands.
#[test]
fn lmtp_tells_each_final_reply_as_it_comes() {
    let message = b"one\r\n";
    let transaction = UnfinishedTransaction::builder(ned(), Content::measure(message), 0)
        .recipient(rcpt("a@b"))
        .recipient(rcpt("c@d"))
        .lmtp()
        .build()
        .unwrap();
    let mut scene = Scene::with(config().protocol(Protocol::Lmtp), message);
    scene
        .s("220 hi")
        .c("LHLO ymir.claremont.edu\r\n")
        .s("250 hi")
        .send(&transaction)
        .c("MAIL FROM:<ned@ymir.claremont.edu>\r\n")
        .s("250 ok")
        .c("RCPT TO:<a@b>\r\n")
        .s("250 ok")
        .c("RCPT TO:<c@d>\r\n")
        .s("250 ok")
        .c("DATA\r\n")
        .s("354 go")
        .c("one\r\n.\r\n")
        .s("250 ok");
    assert_eq!(scene.finals, [(0, 250)]);
    scene.smtp.handle_eof(NOW);
    scene.run();
    assert!(matches!(scene.outcome, Some(Outcome::Unknown { .. })));
    assert_eq!(scene.finals, [(0, 250)]);
}

#[test]
fn lmtp_has_a_reply_for_each_accepted_recipient() {
    let message = b"one\r\n";
    let transaction = UnfinishedTransaction::builder(ned(), Content::measure(message), 0)
        .recipient(rcpt("a@b"))
        .recipient(rcpt("c@d"))
        .recipient(rcpt("e@f"))
        .lmtp()
        .build()
        .unwrap();
    let mut scene = Scene::with(config().protocol(Protocol::Lmtp), message);
    scene
        .s("220 hi")
        .c("LHLO ymir.claremont.edu\r\n")
        .s("250-hi")
        .s("250 PIPELINING");
    assert_eq!(
        scene.smtp.send(NOW, &plain(message)),
        Err(SendError::Usage(UsageError::TransactionMismatch))
    );
    scene.send(&transaction).run();
    let sent = scene.smtp.take_output().unwrap().len();
    scene.smtp.transmitted(NOW, sent).unwrap();
    scene
        .s("250 ok")
        .s("250 ok")
        .s("550 no")
        .s("250 ok")
        .s("354 go")
        .c("one\r\n.\r\n");
    scene.s("250 ok");
    assert_eq!(scene.outcome, None);
    scene.s("452 full");
    match scene.outcome() {
        Outcome::PerRecipient { replies } => {
            let replies: Vec<_> = replies
                .iter()
                .map(|(at, reply)| (*at, reply.code().get()))
                .collect();
            assert_eq!(replies, [(0, 250), (2, 452)]);
        }
        other => panic!("{other:?}"),
    }
    scene.quit();
}

#[test]
fn starttls_forgets_what_was_learnt_in_clear() {
    let message = b"one\r\n";
    let mut scene = Scene::new(message);
    scene.s("220 hi").c("EHLO ymir.claremont.edu\r\n");
    scene
        .s("250-hi")
        .s("250-CHECKPOINT")
        .s("250 STARTTLS")
        .c("STARTTLS\r\n")
        .s("220 ready");
    assert!(scene.handover && !scene.smtp.is_ready());
    scene.smtp.handle_tls(NOW, TlsOutcome::Established).unwrap();
    scene.c("EHLO ymir.claremont.edu\r\n").s("250 hi");
    assert!(scene.smtp.is_tls() && !scene.smtp.capabilities().checkpoint());
    scene.send(&checkpointed(message));
    scene.c("MAIL FROM:<ned@ymir.claremont.edu>\r\n");
}

#[test]
fn octets_behind_the_220_end_the_session() {
    for policy in [TlsPolicy::IfOffered, TlsPolicy::Required] {
        let mut scene = Scene::with(config().tls(policy), b"");
        scene
            .s("220 hi")
            .c("EHLO ymir.claremont.edu\r\n")
            .s("250-hi")
            .s("250 STARTTLS");
        scene
            .c("STARTTLS\r\n")
            .s("220 ready\r\n250-evil\r\n250 AUTH PLAIN");
        assert_eq!(scene.faults, [PeerError::OctetsBeforeTls]);
        assert_eq!(scene.ending, Some(Ending::Protocol));
        assert_eq!(
            scene.smtp.handle_tls(NOW, TlsOutcome::Established),
            Err(UsageError::OutOfTurn)
        );
    }
    // Later, but before the handshake.
    let mut scene = Scene::new(b"");
    scene
        .s("220 hi")
        .c("EHLO ymir.claremont.edu\r\n")
        .s("250-hi")
        .s("250 STARTTLS");
    scene.c("STARTTLS\r\n").s("220 ready").s("250 evil");
    assert_eq!(scene.faults, [PeerError::OctetsBeforeTls]);
}

#[test]
fn required_tls_fails_closed() {
    for keywords in ["PIPELINING", "STARTTLS"] {
        let mut scene = Scene::with(config().tls(TlsPolicy::Required), b"");
        scene
            .s("220 hi")
            .c("EHLO ymir.claremont.edu\r\n")
            .s("250-hi")
            .s(&format!("250 {keywords}"));
        if keywords == "STARTTLS" {
            scene.c("STARTTLS\r\n").s("454 not now");
        }
        scene.c("QUIT\r\n").s("221 bye");
        assert_eq!((scene.ready, scene.ending), (0, Some(Ending::NoTls)));
    }
}

#[test]
fn refused_tls_never_sends_credentials_or_a_tls_transaction_in_clear() {
    let message = b"one\r\n";
    let mut transaction = cut_short(message);
    let scope = ClientScope {
        name: b"ymir.claremont.edu".to_vec(),
        tls: true,
        ..ClientScope::default()
    };
    let used = transaction.used().unwrap();
    transaction.will_send(used, scope, Default::default());
    let mut scene = Scene::new(message);
    scene.s("220 hi").c("EHLO ymir.claremont.edu\r\n");
    scene
        .s("250-hi")
        .s("250-CHECKPOINT")
        .s("250-AUTH PLAIN")
        .s("250 STARTTLS");
    scene.c("STARTTLS\r\n").s("454 not now");
    assert_eq!(scene.ready, 1);
    assert!(matches!(
        scene.smtp.send(NOW, &transaction),
        Err(SendError::Scope(_))
    ));
    assert!(
        scene
            .smtp
            .authenticate(NOW, "PLAIN", Some(b"\0u\0p"), "u")
            .is_err()
    );
    scene.c("");
}

#[test]
fn another_scope_after_the_end_needs_consent() {
    let message = b"one\r\n";
    let mut transaction = cut_short(message);
    transaction.may_have_sent(Sent::EndOfData);
    let connection = Connection {
        local_address: b"192.0.2.9".to_vec(),
        ..Connection::default()
    };
    let mut scene = Scene::new(message);
    scene.smtp = ClientSession::connected(Arc::new(config().build().unwrap()), connection, NOW);
    scene.greet("CHECKPOINT");
    assert!(matches!(
        scene.smtp.send(NOW, &transaction),
        Err(SendError::Scope(_))
    ));
    transaction.allow_doubling();
    scene.send(&transaction).c(MAIL);

    let mut transaction = cut_short(message);
    transaction.may_have_sent(Sent::EndOfData);
    let mut scene = Scene::new(message);
    scene.greet("");
    assert_eq!(
        scene.smtp.send(NOW, &transaction),
        Err(SendError::NoCheckpoint)
    );
}

#[test]
fn replies_that_nobody_asked_for() {
    let mut scene = Scene::new(b"");
    scene.s("220 x\r\n250 ok\r\n250 ok");
    assert_eq!(scene.faults, [PeerError::UnsolicitedReply]);
    assert_eq!(scene.ending, Some(Ending::Protocol));

    let mut scene = Scene::new(b"");
    scene.greet("").s("250 boo");
    assert_eq!(scene.faults, [PeerError::UnsolicitedReply]);
    let mut scene = Scene::new(b"");
    scene.greet("").s("421 idle");
    assert_eq!(
        (scene.faults.len(), scene.ending),
        (0, Some(Ending::Closed))
    );
}

#[test]
fn a_421_keeps_the_transid() {
    let message = b"one\r\n";
    let mut scene = Scene::new(message);
    scene.greet("CHECKPOINT").send(&checkpointed(message));
    scene.c(MAIL).s("421 fenced");
    let (cause, transaction) = scene.interrupted();
    assert!(matches!(cause, Cause::Closed(_)));
    assert_eq!(transaction.transid(), checkpointed(message).transid());
    assert!(!transaction.is_restart());
    scene.c("");
}

#[test]
fn helo_is_the_last_resort() {
    let message = b"one\r\n";
    let mut scene = Scene::new(message);
    scene
        .s("220 hi")
        .c("EHLO ymir.claremont.edu\r\n")
        .s("554 what");
    scene.c("HELO ymir.claremont.edu\r\n").s("250 hi");
    scene
        .send(&checkpointed(message))
        .c("MAIL FROM:<ned@ymir.claremont.edu>\r\n");
    let mut scene = Scene::new(message);
    scene.s("554 go away").c("QUIT\r\n").s("221 bye");
    assert_eq!(scene.ending, Some(Ending::Rejected));
}

#[test]
fn auth_hands_sasl_octets_through() {
    let mut scene = Scene::with(config().auth_in_clear(true), b"");
    scene.greet("AUTH");
    scene
        .smtp
        .authenticate(NOW, "cram-md5", None, "ned")
        .unwrap();
    scene
        .c("AUTH CRAM-MD5\r\n")
        .s("334 PDE+")
        .c("c2VjcmV0\r\n")
        .s("235 ok");
    assert_eq!(scene.challenges, [b"<1>"]);
    assert_eq!(scene.smtp.scope().identity.as_deref(), Some(&b"ned"[..]));
    assert_eq!(scene.ready, 2);
}

/// RFC 4954 §4: what does not fit the command waits for the empty challenge. Nothing of it is shown
/// where a session or an answer is logged.
#[test]
fn an_initial_response_too_long_for_its_line_answers_the_empty_challenge() {
    let secret = "secret".repeat(64);
    let encoded = base64::encode(secret.as_bytes());
    let begun = || {
        let mut scene = Scene::with(config().auth_in_clear(true), b"");
        scene.greet("AUTH");
        let response = Some(secret.as_bytes());
        let begun = scene.smtp.authenticate(NOW, "PLAIN", response, "ned");
        begun.unwrap();
        assert!(!format!("{:?}", scene.smtp).contains("ecret"));
        scene.c("AUTH PLAIN\r\n");
        scene
    };
    let line = format!("{}\r\n", String::from_utf8(encoded).unwrap());
    let mut scene = begun();
    scene.s("334 ").c(&line).s("235 ok");
    assert_eq!(scene.smtp.scope().identity.as_deref(), Some(&b"ned"[..]));
    assert!(scene.challenges.is_empty());
    // A mechanism that lets the server begin after all: the challenge is for the caller.
    let mut scene = begun();
    scene
        .s("334 PDE+")
        .c("c2VjcmV0\r\n")
        .s("334 ")
        .c("c2VjcmV0\r\n");
    assert_eq!(scene.challenges, [&b"<1>"[..], b""]);
    // What was refused is forgotten.
    let mut scene = begun();
    scene.s("535 no");
    let again = scene.smtp.authenticate(NOW, "PLAIN", None, "ned");
    again.unwrap();
    scene.c("AUTH PLAIN\r\n").s("334 ").c("c2VjcmV0\r\n");
    let answer = ChallengeAnswer::Response(Bytes::from_static(b"secret"));
    assert_eq!(format!("{answer:?}"), "Response([6 octets])");
}

#[test]
fn plain_smtp_that_lost_its_reply_is_unknown() {
    let message = b"one\r\n";
    let mut scene = Scene::new(message);
    scene.greet("").send(&checkpointed(message));
    scene
        .c("MAIL FROM:<ned@ymir.claremont.edu>\r\n")
        .s("250 ok")
        .c(RCPT)
        .s("250 ok");
    scene.c("DATA\r\n").s("354 go").c("one\r\n.\r\n");
    scene.smtp.handle_eof(NOW);
    let outcome = scene.outcome();
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
}

#[test]
fn parameters_that_are_not_offered_are_left_out_or_needed() {
    let message = b"one\r\n";
    let mail = &b"MAIL FROM:<a@b> RET=HDRS ENVID=x BODY=8BITMIME"[..];
    let transaction = UnfinishedTransaction::builder(
        MailLine::parse(mail).unwrap(),
        Content::measure(message),
        0,
    )
    .recipient(RcptLine::parse(&b"RCPT TO:<c@d> NOTIFY=NEVER"[..]).unwrap())
    .build()
    .unwrap();
    let mut scene = Scene::new(message);
    scene.greet("");
    assert!(matches!(
        scene.smtp.send(NOW, &transaction),
        Err(SendError::Missing(_))
    ));
    let mut scene = Scene::new(message);
    scene.greet("8BITMIME").send(&transaction);
    scene
        .c("MAIL FROM:<a@b> BODY=8BITMIME\r\n")
        .s("250 ok")
        .c("RCPT TO:<c@d>\r\n");
    let mut scene = Scene::new(message);
    scene.greet("8BITMIME DSN").send(&transaction);
    scene
        .c("MAIL FROM:<a@b> RET=HDRS ENVID=x BODY=8BITMIME\r\n")
        .s("250 ok");
    scene.c("RCPT TO:<c@d> NOTIFY=NEVER\r\n");
    let mut scene = Scene::new(message);
    scene
        .s("220 hi")
        .c("EHLO ymir.claremont.edu\r\n")
        .s("250-hi")
        .s("250-SIZE 3")
        .s("250 8BITMIME");
    assert_eq!(
        scene.smtp.send(NOW, &transaction),
        Err(SendError::TooLarge(3))
    );
}

#[test]
fn content_that_does_not_fit_never_ends_the_message() {
    let message = b"one\r\n";
    for (given, error) in [
        (&b"one"[..], UsageError::ContentMismatch),
        (b"one\r\n\r\n", UsageError::ContentMismatch),
        (b"one\n\n", UsageError::ContentOctets),
        (b"o\0e\r\n", UsageError::ContentOctets),
        (b"one\r.", UsageError::ContentOctets),
        (b"onetw", UsageError::ContentMismatch),
    ] {
        for bdat in [false, true] {
            let mut builder = UnfinishedTransaction::builder(ned(), Content::measure(message), 0)
                .recipient(rcpt("mrose@dbc.mtview.ca.us"));
            if bdat {
                builder = builder.bdat();
            }
            let mut scene = Scene::new(message);
            scene.greet("CHUNKING").send(&builder.build().unwrap());
            scene
                .c("MAIL FROM:<ned@ymir.claremont.edu>\r\n")
                .s("250 ok")
                .c(RCPT);
            scene
                .smtp
                .handle_input(NOW, &mut Bytes::from_static(b"250 ok\r\n"));
            if !bdat {
                let sent = scene.smtp.take_output().unwrap();
                scene.smtp.transmitted(NOW, sent.len()).unwrap();
                scene
                    .smtp
                    .handle_input(NOW, &mut Bytes::from_static(b"354 go\r\n"));
            }
            while let Some(event) = scene.smtp.poll_event() {
                assert!(!matches!(event, Event::Done(_)));
            }
            let mut rest = given;
            let result = scene
                .smtp
                .send_content(NOW, &mut rest)
                .and_then(|()| scene.smtp.finish_content(NOW));
            if bdat && given == b"onetw" {
                // BDAT sends what there is; five octets are five octets.
                assert_eq!(result, Ok(()));
                continue;
            }
            assert_eq!(result, Err(error), "{given:?} {bdat}");
            assert_eq!(scene.smtp.output(), b"");
            scene.run();
            assert_eq!(scene.ending, Some(Ending::Abandoned));
            assert_eq!(scene.interrupted().0, Cause::Content);
        }
    }
}

#[test]
fn a_reply_that_does_not_come_is_given_up_without_quit() {
    use std::time::Duration;
    let message = b"one\r\n";
    let mut scene = Scene::new(message);
    let at = |seconds| Timestamp::from_origin(Duration::from_secs(seconds));
    assert_eq!(scene.smtp.poll_timeout(), Some(at(300)));
    scene.greet("CHECKPOINT").send(&checkpointed(message));
    scene.c(MAIL).s("250 ok").c(RCPT).s("250 ok").c("DATA\r\n");
    assert_eq!(scene.smtp.poll_timeout(), Some(at(120)));
    scene.s("354 go");
    assert_eq!(scene.smtp.poll_timeout(), Some(at(180)));
    scene.c("one\r\n.\r\n");
    assert_eq!(scene.smtp.poll_timeout(), Some(at(600)));
    scene.smtp.handle_timeout(at(599));
    assert!(!scene.smtp.is_finished());
    scene.smtp.handle_timeout(at(600));
    assert_eq!(scene.interrupted().0, Cause::TimedOut);
    assert_eq!(scene.ending, Some(Ending::TimedOut));
    scene.c("");
}

#[test]
fn calls_out_of_turn_change_nothing() {
    let message = b"one\r\n";
    let mut scene = Scene::new(message);
    let out_of_turn = Err(UsageError::OutOfTurn);
    assert_eq!(scene.smtp.quit(NOW), out_of_turn);
    assert_eq!(scene.smtp.outcome_stored(NOW), out_of_turn);
    assert_eq!(scene.smtp.send_content(NOW, &mut &b"x"[..]), out_of_turn);
    assert_eq!(scene.smtp.finish_content(NOW), out_of_turn);
    scene.greet("CHECKPOINT").send(&checkpointed(message));
    assert_eq!(
        scene.smtp.send(NOW, &plain(message)),
        Err(SendError::Usage(UsageError::OutOfTurn))
    );
    scene
        .c(MAIL)
        .s("250 ok")
        .c(RCPT)
        .s("250 ok")
        .c("DATA\r\n")
        .s("354 go");
    assert_eq!(scene.smtp.quit(NOW), out_of_turn, "a reply is outstanding");
    scene.c("one\r\n.\r\n").s("250 ok");
    assert_eq!(
        scene.smtp.quit(NOW),
        out_of_turn,
        "the outcome is not stored"
    );
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));
    scene.quit();
}

#[test]
fn attempts_run_out() {
    let message = b"one\r\n";
    let mut transaction = cut_short(message);
    transaction.may_have_sent(Sent::EndOfData);
    for (limit, unknown) in [(3, false), (2, true)] {
        let policy = RestartPolicy {
            attempts: limit,
            ..RestartPolicy::default()
        };
        let mut scene = Scene::with(config().restart_policy(policy), message);
        scene.greet("CHECKPOINT").send(&transaction);
        scene.c(MAIL).s("550 not you");
        let outcome = scene.outcome();
        assert_eq!(
            matches!(outcome, Outcome::Unknown { .. }),
            unknown,
            "{outcome:?}"
        );
        assert_eq!(matches!(outcome, Outcome::Interrupted { .. }), !unknown);
        scene.quit();
    }
}

/// Cut within the data under a TRANSID, then sent whole where CHECKPOINT is not offered, and then a
/// crash: no restart under the TRANSID tells of the message that the other server may have.
#[test]
fn a_crash_after_plain_smtp_sent_it_all_is_no_restart() {
    let message = message();
    let transaction = cut(&message, &checkpointed(&message));
    let mut scene = Scene::new(&message);
    scene.greet("").send(&transaction);
    scene
        .c("MAIL FROM:<ned@ymir.claremont.edu>\r\n")
        .s("250 ok")
        .c(RCPT)
        .s("250 ok")
        .c("DATA\r\n");
    let stored = scene.stored.last().unwrap();
    assert_eq!(stored.sent(), Sent::EndOfData);
    let policy = RestartPolicy::default();
    let step = stored.next_step(stored.began(), &policy, &Content::measure(&message));
    assert_eq!(step, NextStep::Unknown);
    // Without the crash the TRANSID is still good: the end never left.
    scene.smtp.handle_eof(NOW);
    let (_, transaction) = scene.interrupted();
    assert_eq!(transaction.sent(), Sent::Data);
    assert!(transaction.is_restart());
}

/// A server that refuses a chunk before it has read it (SM-04).
#[test]
fn an_early_no_to_a_chunk_is_noticed() {
    let message = vec![b'x'; 100];
    let transaction = UnfinishedTransaction::builder(ned(), Content::measure(&message), 0)
        .recipient(rcpt("a@b"))
        .bdat()
        .build()
        .unwrap();
    let mut scene = Scene::with(config().chunk_size(40), &message);
    scene
        .greet("CHUNKING")
        .send(&transaction)
        .c("MAIL FROM:<ned@ymir.claremont.edu>\r\n")
        .s("250 ok")
        .c("RCPT TO:<a@b>\r\n")
        .s("250 ok");
    assert!(scene.smtp.output().starts_with(b"BDAT 40\r\n"));
    scene.smtp.transmitted(NOW, 20).unwrap();
    scene.s("552 5.3.4 too big");
    assert_eq!(scene.ending, Some(Ending::RefusedEarly));
    match scene.outcome() {
        Outcome::Declined { stage, reply, .. } => {
            assert_eq!((stage, reply.code().get()), (Stage::Content, 552));
        }
        other => panic!("{other:?}"),
    }
}

/// What is stored of an unknown outcome is not sent again without consent.
#[test]
fn an_unknown_outcome_of_plain_smtp_is_stored_as_such() {
    let message = message();
    for transaction in [plain(&message), cut(&message, &checkpointed(&message))] {
        let mut scene = Scene::new(&message);
        scene.greet("").send(&transaction);
        scene
            .c("MAIL FROM:<ned@ymir.claremont.edu>\r\n")
            .s("250 ok")
            .c(RCPT)
            .s("250 ok")
            .c("DATA\r\n")
            .s("354 go");
        scene.run();
        let sent = scene.smtp.take_output().unwrap().len();
        scene.smtp.transmitted(NOW, sent).unwrap();
        scene.smtp.handle_eof(NOW);
        let Outcome::Unknown { transaction, .. } = scene.outcome() else {
            panic!("the end was sent");
        };
        let content = Content::measure(&message);
        let step = transaction.next_step(transaction.began(), &RestartPolicy::default(), &content);
        assert_eq!(step, NextStep::Unknown);
        // With consent it is.
        let mut transaction = *transaction;
        transaction.allow_doubling();
        let mut scene = Scene::new(&message);
        scene.greet("").send(&transaction);
        scene.c("MAIL FROM:<ned@ymir.claremont.edu>\r\n");
    }
}

fn by_url(octets: u64) -> UnfinishedTransaction {
    let content = Content {
        octets,
        ..Content::measure(b"")
    };
    UnfinishedTransaction::builder(ned(), content, 0)
        .recipient(rcpt("mrose@dbc.mtview.ca.us"))
        .transid(TransId::parse(b"<12345@claremont.edu>").unwrap())
        .burl("imap://handset@host.example.com/outbox;uid=32")
        .build()
        .unwrap()
}

const BURL: &str = "BURL imap://handset@host.example.com/outbox;uid=32 LAST\r\n";

/// The server fetches the content; the caller is asked for none, neither at a restart.
#[test]
fn burl_hands_the_url_through() {
    let transaction = by_url(6135);
    let mail = "MAIL FROM:<ned@ymir.claremont.edu> TRANSID=<12345@claremont.edu>\r\n";
    let hello = "250-hi\r\n250-BURL imap\r\n250-CHUNKING\r\n250 CHECKPOINT";
    let mut scene = Scene::with(config(), b"");
    scene
        .s("220 hi")
        .c("EHLO ymir.claremont.edu\r\n")
        .s(hello)
        .send(&transaction)
        .c(mail)
        .s("250 ok")
        .c("RCPT TO:<mrose@dbc.mtview.ca.us>\r\n")
        .s("250 ok")
        .c(BURL);
    assert_eq!(scene.lowest, None);
    scene.smtp.handle_eof(NOW);
    scene.run();
    let Some(Outcome::Interrupted { transaction, .. }) = scene.outcome.take() else {
        panic!("the reply is lost");
    };
    let loaded = UnfinishedTransaction::decode(&transaction.encode()).unwrap();
    assert_eq!(loaded, *transaction);
    assert_eq!(loaded.sent(), Sent::EndOfData);

    // All of it is there: the reply is asked for.
    let mut scene = Scene::with(config(), b"");
    scene
        .s("220 hi")
        .c("EHLO ymir.claremont.edu\r\n")
        .s(hello)
        .send(&loaded)
        .c(mail)
        .s("355 6135 is the transaction offset")
        .c("BDAT 0 LAST\r\n")
        .s("250 taken");
    assert!(matches!(scene.outcome(), Outcome::Delivered { .. }));

    // Part of it cannot be: RSET, and nobody can tell.
    let mut scene = Scene::with(config(), b"");
    scene
        .s("220 hi")
        .c("EHLO ymir.claremont.edu\r\n")
        .s(hello)
        .send(&loaded)
        .c(mail)
        .s("355 10 is the transaction offset")
        .c("RSET\r\n")
        .s("250 ok");
    assert!(matches!(scene.outcome(), Outcome::Unknown { .. }));
}

#[test]
fn burl_needs_the_extension_and_a_url() {
    let mut scene = Scene::with(config(), b"");
    scene
        .s("220 hi")
        .c("EHLO ymir.claremont.edu\r\n")
        .s("250-hi\r\n250 CHUNKING");
    let sent = scene.smtp.send(NOW, &by_url(1));
    assert_eq!(
        sent,
        Err(SendError::Missing(MissingExtension::Burl)),
        "next address"
    );
    for url in ["", "a b", "imap://h/\r\nRSET"] {
        let transaction = UnfinishedTransaction::builder(ned(), Content::measure(b""), 0)
            .recipient(rcpt("a@b"))
            .burl(url)
            .build();
        assert_eq!(transaction, Err(InvalidTransaction::Url), "{url:?}");
    }
}

#[test]
fn commands_of_the_callers_own() {
    let mut scene = Scene::with(config(), b"");
    scene
        .s("220 hi")
        .c("EHLO ymir.claremont.edu\r\n")
        .s("250 hi");
    let own = CommandLine::other("XCLIENT", Some(b"NAME=a")).unwrap();
    scene.smtp.own_command(NOW, &own).unwrap();
    assert_eq!(
        scene.smtp.own_command(NOW, &own),
        Err(UsageError::OutOfTurn)
    );
    assert_eq!(scene.smtp.quit(NOW), Err(UsageError::OutOfTurn));
    scene.c("XCLIENT NAME=a\r\n").s("550 no");
    assert_eq!(scene.replies, [550]);
    // What would change what the session knows has a method of its own.
    assert_eq!(
        scene.smtp.own_command(NOW, &CommandLine::starttls()),
        Err(UsageError::OutOfTurn)
    );
    scene.smtp.own_command(NOW, &CommandLine::noop()).unwrap();
    scene.c("NOOP\r\n").s("250 ok");
    assert_eq!(scene.replies, [550, 250]);
    scene.smtp.quit(NOW).unwrap();
    scene.c("QUIT\r\n");
}
