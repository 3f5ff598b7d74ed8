//! Refusals that no dialogue of `tests/spec` shows: of chunks in LMTP and of complete messages,
//! slow peers between and beside the content, and what counts as an error of the peer.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use smtp_checkpoint::error::UsageError;
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::server::{Ending, Protocol, ServerConfig, ServerConfigBuilder};
use support::{MailPolicy, Question, World, reply};

const MAIL: &[u8] = b"MAIL FROM:<a@c.example>\r\n";
const RECORDED: &[u8] = b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n";
const RCPT: &[u8] = b"RCPT TO:<b@x.example>\r\n";

fn builder() -> ServerConfigBuilder {
    ServerConfig::builder("mx.example.net")
        .burl("imap")
        .smtputf8(true)
        .dsn(true)
        .binary_mime(true)
}

fn session(config: ServerConfigBuilder) -> World {
    let mut world = World::new(config.build().unwrap());
    hello(&mut world, "a");
    world
}

fn hello(world: &mut World, name: &str) {
    world.connect(name);
    // One of the two is unknown.
    world.send(name, b"LHLO c.example\r\nEHLO c.example\r\n");
    world.take(name);
}

/// The codes of replies of one line each.
fn codes(replies: &str) -> Vec<&str> {
    replies.lines().map(|line| &line[..3]).collect()
}

/// A client of LMTP waits for a reply for each accepted recipient, also where the last chunk is
/// refused (RFC 2033 §4.3, SM-10).
#[test]
fn lmtp_refuses_the_last_chunk_for_each_recipient() {
    let config = || builder().protocol(Protocol::Lmtp).ask_data(true);
    let envelope = |world: &mut World| {
        world.rcpt.push_back(reply("250 2.1.5 OK"));
        world.rcpt.push_back(reply("550 5.1.1 No"));
        world.talk("a", &[MAIL, RCPT, RCPT, RCPT].concat());
    };
    let mut world = session(config());
    envelope(&mut world);
    world.data.push_back(reply("452 4.3.1 Disk full"));
    let replies = world.talk("a", b"BDAT 2 LAST\r\nabNOOP\r\n");
    assert_eq!(codes(&replies), ["452", "452", "250"]);

    envelope(&mut world);
    world.burl.push_back(Err(reply("554 5.6.6 No")));
    let replies = world.talk("a", b"BURL imap:x LAST\r\nNOOP\r\n");
    assert_eq!(codes(&replies), ["554", "554", "250"]);

    // Behind a refused chunk too.
    envelope(&mut world);
    world.data.push_back(reply("452 4.3.1 Disk full"));
    let replies = world.talk("a", b"BDAT 2\r\nabBDAT 2 LAST\r\ncdNOOP\r\n");
    assert_eq!(codes(&replies), ["452", "503", "503", "250"]);

    // No recipient, one reply.
    world.rcpt.push_back(reply("550 5.1.1 No"));
    world.talk("a", &[MAIL, RCPT].concat());
    let replies = world.talk("a", b"BDAT 2 LAST\r\nabNOOP\r\n");
    assert_eq!(codes(&replies), ["554", "250"]);
}

/// Where a decision was made, or is being made, the reply to `BDAT 0 LAST` would be taken for it:
/// the session closes instead, and no client sends the message again (CP-13, CP-19).
#[test]
fn a_complete_message_is_never_answered_with_a_passing_refusal() {
    for refusal in ["lost octets", "452 4.3.1 Disk full"] {
        for last in [
            &b"BDAT 0 LAST\r\n"[..],
            b"BDAT 1 LAST\r\nx",
            b"BURL imap:x LAST\r\n",
        ] {
            let mut world = session(builder().ask_data(true));
            world.send("a", &[RECORDED, RCPT].concat());
            world.send("a", b"BDAT 2 LAST\r\nab");
            assert_eq!(world.store.outline(), "committed 2");
            world.take("a");
            assert_eq!(codes(&world.talk("a", RECORDED)), ["355"]);
            if refusal == "lost octets" {
                world
                    .store
                    .held
                    .values_mut()
                    .for_each(|held| held.lost_octets = true);
            } else {
                world.data.push_back(reply(refusal));
            }
            assert_eq!(codes(&world.talk("a", last)), ["421"], "{refusal}");
            assert_eq!(world.link("a").finished, Some(Ending::Closed));
            assert_eq!(world.store.outline(), "committed 2");
        }
    }
}

#[test]
fn no_content_of_a_complete_message_fails() {
    let mut world = session(builder());
    world.send("a", &[RECORDED, RCPT].concat());
    world.send("a", b"BDAT 2 LAST\r\nab");
    world.send("a", RECORDED);
    world.take("a");
    assert_eq!(codes(&world.talk("a", b"BDAT 0\r\n")), ["250"]);
    let now = world.now;
    let failed = world
        .link("a")
        .session
        .fail_content(now, reply("452 4.3.1 Disk full"));
    assert_eq!(failed, Err(UsageError::OutOfTurn));
    assert_eq!(codes(&world.talk("a", b"BDAT 0 LAST\r\n")), ["250"]);
}

/// The empty data command for a complete message may be of either kind, whatever its BODY (CP-12).
#[test]
fn a_complete_binary_message_takes_the_empty_data_command_of_either_kind() {
    const BINARY: &[u8] = b"MAIL FROM:<a@c.example> BODY=BINARYMIME TRANSID=<1@c>\r\n";
    let mut world = session(builder());
    world.send("a", &[BINARY, RCPT].concat());
    world.send("a", b"BDAT 2 LAST\r\n\0\n");
    world.take("a");
    assert_eq!(codes(&world.talk("a", BINARY)), ["355"]);
    assert_eq!(codes(&world.talk("a", b"DATA\r\n")), ["354"]);
    assert_eq!(codes(&world.talk("a", b".\r\n")), ["250"]);
    assert_eq!(world.store.delivered.len(), 1);
}

/// What the store could not keep is not asked for once more (HD-04).
#[test]
fn no_url_is_asked_for_behind_failed_content() {
    for last in [false, true] {
        let mut world = session(builder());
        world.send("a", &[RECORDED, RCPT].concat());
        world.send("a", b"BDAT 2\r\nab");
        world.take("a");
        let now = world.now;
        let failed = world
            .link("a")
            .session
            .fail_content(now, reply("452 4.3.1 Disk full"));
        assert_eq!(failed, Ok(()));
        world.hold.push("burl".into());
        let burl: &[u8] = if last {
            b"BURL imap:x LAST\r\n"
        } else {
            b"BURL imap:x\r\n"
        };
        assert_eq!(codes(&world.talk("a", burl)), ["452"]);
        assert!(world.link("a").questions.is_empty());
    }
}

/// A URL over the size limit is in no record, so that no empty chunk behind a restart makes a
/// message of it (CP-12).
#[test]
fn a_url_over_the_size_limit_is_in_no_record() {
    let mut world = session(builder().limits(Limits {
        message_size: Some(4),
        ..Limits::default()
    }));
    world.send("a", &[RECORDED, RCPT].concat());
    world.take("a");
    assert_eq!(codes(&world.talk("a", b"BDAT 2\r\nab")), ["250"]);
    world.burl.push_back(Ok(b"cdefgh".to_vec()));
    assert_eq!(codes(&world.talk("a", b"BURL imap:x\r\n")), ["552"]);
    world.eof("a");
    assert_eq!(world.store.outline(), "partial 2");
}

/// Octets of a chunk that is being thrown away are octets of a slow peer too (HD-11).
#[test]
fn a_refused_chunk_is_not_drained_for_ever() {
    let mut world = session(builder());
    world.send("a", b"BDAT 18446744073709551615\r\n");
    let mut waited = 0;
    while world.link("a").finished.is_none() && waited < 600 {
        world.wait("a", Duration::from_secs(20));
        world.send("a", b"x");
        waited += 20;
    }
    assert!(waited <= 80, "{waited}");
    assert!(world.told("a", "TooSlow"));
    assert_eq!(codes(&world.take("a")), ["421"]);
    // One that comes fast is drained however long it is.
    hello(&mut world, "b");
    world.send("b", b"BDAT 100000000\r\n");
    for _ in 0..100 {
        world.wait("b", Duration::from_secs(20));
        world.send("b", &[b'x'; 1_000_000]);
    }
    assert_eq!(codes(&world.take("b")), ["503"]);
}

/// Small chunks at long intervals are one slow message (HD-11).
#[test]
fn chunks_that_come_one_by_one_are_measured_together() {
    let mut world = session(builder());
    world.send("a", &[MAIL, RCPT].concat());
    for _ in 0..3 {
        world.send("a", b"BDAT 1\r\nx");
        world.wait("a", Duration::from_secs(29));
    }
    world.send("a", b"BDAT 1\r\nx");
    assert!(world.told("a", "TooSlow"));
}

/// The time that the caller takes for a URL is not the peer's.
#[test]
fn a_slow_url_is_no_slow_peer() {
    let mut world = session(builder());
    world.send("a", &[MAIL, RCPT].concat());
    world.take("a");
    world.hold.push("burl".into());
    world.burl.push_back(Ok(b"abc".to_vec()));
    world.send("a", b"BURL imap:x\r\n");
    world.wait("a", Duration::from_secs(100));
    world.release("burl");
    assert_eq!(codes(&world.take("a")), ["250"]);
    assert_eq!(codes(&world.talk("a", b"BDAT 1 LAST\r\nx")), ["250"]);
}

/// With completion-based transports the news of a write comes late (HD-05).
#[test]
fn news_of_a_write_after_the_end_is_no_error() {
    let mut world = session(builder());
    let now = world.now;
    world.link("a").stuck = true;
    world.send("a", b"NOOP\r\n");
    let session = &mut world.link("a").session;
    let taken = session.take_output().unwrap();
    session.handle_disconnect(now);
    while session.poll_event().is_some() {}
    assert!(session.is_finished());
    assert_eq!(session.transmitted(now, taken.len()), Ok(()));
}

/// A group whose MAIL is refused is one mishap, and its client reads all replies (RFC 2920 §3.1).
#[test]
fn what_follows_a_refused_mail_in_its_group_is_no_error() {
    let group = [MAIL, &RCPT.repeat(30), b"DATA\r\n"].concat();
    let mut world = session(builder());
    for _ in 0..3 {
        world
            .mail
            .push_back(MailPolicy::Reply(reply("450 4.7.1 Later")));
        let mut expected = vec!["450"];
        expected.extend(["503"; 31]);
        assert_eq!(codes(&world.talk("a", &group)), expected);
    }
    // Without a MAIL they are.
    let replies = world.talk("a", &[b"NOOP\r\n", &RCPT.repeat(30)[..]].concat());
    assert_eq!(codes(&replies).last(), Some(&"421"));
}

/// Nor is DATA behind recipients that were all refused.
#[test]
fn data_behind_refused_recipients_is_no_error() {
    let mut world = session(builder());
    for _ in 0..30 {
        world.rcpt.push_back(reply("550 5.1.1 No"));
        let replies = world.talk("a", &[MAIL, RCPT, b"DATA\r\nRSET\r\n"].concat());
        assert_eq!(codes(&replies), ["250", "550", "554", "250"]);
    }
}

/// Refused MAILs are commands that move no mail (HD-11).
#[test]
fn refused_mails_run_out() {
    let mut world = session(builder().limits(Limits {
        idle_commands: 5,
        ..Limits::default()
    }));
    for _ in 0..4 {
        world
            .mail
            .push_back(MailPolicy::Reply(reply("550 5.7.1 No")));
        assert_eq!(codes(&world.talk("a", MAIL)), ["550"]);
    }
    world
        .mail
        .push_back(MailPolicy::Reply(reply("550 5.7.1 No")));
    assert_eq!(codes(&world.talk("a", MAIL)), ["421"]);
}

/// What the first attempt used and this session does not offer: content by it starts afresh, a
/// parameter that MAIL then has is unknown (CP-12).
#[test]
fn what_is_not_offered_any_more() {
    let mut world = session(builder());
    world.send("a", &[RECORDED, RCPT].concat());
    world.send("a", b"BDAT 9\r\nabc");
    world.eof("a");
    assert_eq!(world.store.outline(), "partial 3");
    world.config = std::sync::Arc::new(
        builder()
            .chunking(false)
            .binary_mime(false)
            .build()
            .unwrap(),
    );
    hello(&mut world, "b");
    assert_eq!(codes(&world.talk("b", RECORDED)), ["250"]);
    assert_eq!(
        codes(&world.talk("b", &[RCPT, b"DATA\r\n"].concat())),
        ["250", "354"]
    );
    assert_eq!(codes(&world.talk("b", b"xyz\r\n.\r\n")), ["250"]);
    assert_eq!(world.store.delivered[0].content, b"xyz\r\n");

    for parameter in ["BODY=BINARYMIME", "SMTPUTF8", "RET=HDRS", "ENVID=1"] {
        let mail = format!("MAIL FROM:<a@c.example> {parameter} TRANSID=<1@c>\r\n");
        let mut world = session(builder());
        world.send("a", &[mail.as_bytes(), RCPT].concat());
        world.send("a", b"BDAT 9\r\nabc");
        world.eof("a");
        assert_eq!(world.store.outline(), "partial 3");
        let less = builder().binary_mime(false).smtputf8(false).dsn(false);
        world.config = std::sync::Arc::new(less.build().unwrap());
        hello(&mut world, "b");
        assert_eq!(
            codes(&world.talk("b", mail.as_bytes())),
            ["555"],
            "{parameter}"
        );
        assert_eq!(world.store.outline(), "partial 3");
    }
}

/// A TRANSID of a stranger and one that nobody has: the same questions, the same replies (HD-01).
#[test]
fn a_foreign_transid_is_asked_and_answered_as_an_unknown_one() {
    let mut world = session(builder());
    world.send("a", &[RECORDED, RCPT].concat());
    world.send("a", b"DATA\r\nabc\r\nde");
    world.eof("a");
    let owned = world.store.held.values().next().unwrap().record.clone();
    assert!(owned.is_some());
    world.peer = smtp_checkpoint::server::Peer::at(b"198.51.100.1");
    let mut seen = Vec::new();
    for (name, transid) in [("foreign", "<1@c>"), ("unknown", "<2@c>")] {
        world.hold = vec!["mail".into(), "data".into()];
        hello(&mut world, name);
        let mail = format!("MAIL FROM:<a@c.example> TRANSID={transid}\r\n");
        let mut dialogue = world.talk(name, mail.as_bytes());
        let Some(Question::Mail(question)) = world.link(name).questions.front() else {
            panic!("MAIL is asked");
        };
        dialogue += &format!("{}", question.key().unwrap().as_bytes().len());
        world.release("mail");
        dialogue += &world.talk(name, &[RCPT, b"DATA\r\n"].concat());
        let Some(Question::Data(question)) = world.link(name).questions.front() else {
            panic!("DATA is asked");
        };
        let claim = question.claim().unwrap();
        dialogue += &format!("{:?} {:?}", claim.generation, claim.length);
        world.release("data");
        dialogue += &world.talk(name, b"x\r\n.\r\nQUIT\r\n");
        dialogue += &format!("{:?}", world.link(name).log);
        seen.push(dialogue.replace(transid, "<>"));
    }
    assert_eq!(seen[0], seen[1]);
    let still = world
        .store
        .held
        .values()
        .filter(|held| held.record == owned);
    assert_eq!(still.count(), 1);
}

/// A client that has not seen the 355 sends the URL of the whole message: behind what is held it
/// would stand there twice (CP-20).
#[test]
fn a_url_received_before_the_355_is_refused() {
    for seen in [false, true] {
        let mut world = session(builder());
        world.burl.push_back(Ok(b"one\r\n".to_vec()));
        world.send("a", &[RECORDED, RCPT, b"BURL imap:x\r\n"].concat());
        world.eof("a");
        assert_eq!(world.store.outline(), "partial 5");
        hello(&mut world, "b");
        world.link("b").stuck = !seen;
        world.send("b", RECORDED);
        world.burl.push_back(Ok(b"two\r\n".to_vec()));
        world.send("b", b"BURL imap:y LAST\r\n");
        world.link("b").stuck = false;
        world.run("b");
        let last = if seen { "250" } else { "503" };
        assert_eq!(codes(&world.take("b")), ["355", last]);
        let delivered = world
            .store
            .delivered
            .iter()
            .map(|message| &message.content[..]);
        let whole = seen.then_some(&b"one\r\ntwo\r\n"[..]);
        assert!(delivered.eq(whole), "seen: {seen}");
    }
}
