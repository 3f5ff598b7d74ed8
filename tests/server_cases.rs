//! Cases of the server that failed once: late stores, slow chunks, octets in hand, and replies that
//! nobody saw.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::Verdict;
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::rdlv::ServerSettings;
use smtp_checkpoint::server::{DataRate, Ending, Event, ServerConfig, ServerConfigBuilder};
use support::{World, reply};

fn builder() -> ServerConfigBuilder {
    let rdlv = ServerSettings::new(1).unwrap().deta(true);
    ServerConfig::builder("mx.example.net")
        .dsn(true)
        .rdlv(rdlv)
        .burl("imap")
}

fn session(config: ServerConfigBuilder) -> World {
    let mut world = World::new(config.build().unwrap());
    world.connect("a");
    world.send("a", b"EHLO c.example\r\n");
    world.take("a");
    world
}

const RECORDED: &[u8] = b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n";
const RCPT: &[u8] = b"RCPT TO:<b@x.example>\r\n";

/// CP-21: a 120 is open under a record, and a chunk in answer to it comes too slowly: no 421.
#[test]
fn a_slow_chunk_in_answer_to_a_120_is_no_421() {
    let mut world = session(builder());
    world.hold.push("verdict".into());
    world.send("a", RECORDED);
    world.send("a", &[RCPT, b"RDLV maxtimer=600\r\nDATA\r\n"].concat());
    world.send("a", b"x\r\n.\r\n");
    world.take("a");
    world.time_out("a");
    assert!(world.take("a").starts_with("120"));
    world.send("a", b"BDAT 1000000\r\nx");
    world.wait("a", Duration::from_secs(60));
    let got = world.take("a");
    assert_eq!(got, "");
    assert_eq!(world.link("a").finished, Some(Ending::Silent));
}

/// 421 is the last that a session says, also where content failed with it.
#[test]
fn failed_content_with_421_ends_the_session() {
    for (command, content, rest) in [
        (&b"DATA\r\n"[..], &b"x\r\n"[..], &b".\r\n"[..]),
        (b"BDAT 3 LAST\r\n", b"x", b"\r\n"),
    ] {
        let mut world = session(builder());
        world.send("a", RECORDED);
        world.send("a", RCPT);
        world.send("a", command);
        world.send("a", content);
        let now = world.now;
        world
            .link("a")
            .session
            .fail_content(now, reply("421 4.3.0 Going down"))
            .unwrap();
        world.take("a");
        world.send("a", rest);
        let got = world.take("a");
        assert!(got.starts_with("421"));
        assert!(
            world.link("a").finished.is_some(),
            "421 and the session goes on"
        );
    }
}

/// CP-13: a URL behind the end of a complete message, on both sides of the size limit.
#[test]
fn a_url_behind_the_end_is_554() {
    for limit in [None, Some(10)] {
        for last in [false, true] {
            let mut world = session(builder().limits(Limits {
                message_size: limit,
                ..Limits::default()
            }));
            world.send("a", RECORDED);
            world.send("a", RCPT);
            world.send("a", b"BDAT 6 LAST\r\n1234\r\n");
            world.take("a");
            assert!(world.talk("a", RECORDED).starts_with("355 6"));
            world.send("a", RCPT);
            world.take("a");
            let got = world.talk(
                "a",
                if last {
                    b"BURL imap:x LAST\r\n"
                } else {
                    b"BURL imap:x\r\n"
                },
            );
            assert!(got.starts_with("554 5.5.0"), "{got}");
        }
    }
}

/// A failure that a notification reports stands, though its reply was not transmitted.
#[test]
fn a_reported_failure_that_is_not_transmitted_stands() {
    let mut world = session(builder());
    world
        .verdicts
        .push_back(Verdict::from(reply("550 5.7.1 No")).with_dsn_issued());
    world.send("a", RECORDED);
    world.send("a", &[RCPT, b"DATA\r\n"].concat());
    world.link("a").stuck = true;
    world.send("a", b"x\r\n.\r\n");
    world.disconnect("a");
    assert!(world.told("a", "ReplyUndelivered Stands"));
}

/// RD-06: the store takes its time to confirm the claim, and the client counts from its last octet.
#[test]
fn the_interval_runs_from_the_end_of_the_data_also_where_the_store_is_slow() {
    for command in [&b"BURL imap:x LAST\r\n"[..], b"BDAT 3 LAST\r\nx\r\n"] {
        let mut world = session(builder());
        world.hold.push("verdict".into());
        world.hold.push("data".into());
        world.hold.push("burl".into());
        world.send("a", RECORDED);
        world.send("a", &[RCPT, b"RDLV maxtimer=30\r\n"].concat());
        let said = world.now;
        world.send("a", command);
        world.take("a");
        world.wait("a", Duration::from_secs(20));
        world.release("data");
        let due = world.link("a").session.poll_timeout().unwrap().since(said);
        assert!(due <= Duration::from_secs(30), "{due:?}");
    }
}

/// HD-11: what has come and was not read yet is no silence of the peer's.
#[test]
fn octets_in_hand_are_no_silence() {
    let mut world = session(builder());
    let deadline = world.link("a").session.poll_timeout().unwrap();
    let session = &mut world.link("a").session;
    session.handle_input(deadline, &mut Bytes::from_static(b"NOOP\r\n"));
    session.handle_timeout(deadline);
    while session.poll_event().is_some() {}
    let said = session.take_output().unwrap();
    assert!(said.starts_with(b"250"), "{said:?}");
}

/// The same while content comes.
#[test]
fn content_in_hand_is_no_silence() {
    let mut world = session(
        builder()
            .data_rate(Some(DataRate {
                octets: 1000,
                window: Duration::from_secs(10),
            }))
            .limits(Limits {
                content_batch: 100,
                ..Limits::default()
            }),
    );
    world.send("a", RECORDED);
    world.send("a", &[RCPT, b"DATA\r\n"].concat());
    world.take("a");
    let mut now = world.now;
    let session = &mut world.link("a").session;
    session.handle_input(now, &mut Bytes::from(vec![b'x'; 5000]));
    let mut log = Vec::new();
    for _ in 0..40 {
        while let Some(event) = session.poll_event() {
            if let Event::Content = event {
                let mut batch = Vec::new();
                session.poll_content(&mut batch);
                // The disk is slow.
                now = now + Duration::from_secs(3);
                session.handle_timeout(now);
            } else {
                log.push(format!("{event:?}"));
            }
        }
    }
    assert!(!log.iter().any(|line| line.contains("TooSlow")));
}

/// A last URL that cannot be had, and DETA: the part that is stored is never decided on.
#[test]
fn a_url_that_fails_is_not_detached_as_a_part_of_a_message() {
    let mut world = session(builder().checkpoint_every(1));
    world.hold.push("burl".into());
    world.burl.push_back(Err(reply("554 5.6.6 No such URL")));
    world.send("a", RECORDED);
    world.send(
        "a",
        &[
            RCPT,
            b"BDAT 6\r\n1234\r\n",
            b"RDLV maxtimer=30\r\n",
            b"BURL imap:x LAST\r\n",
        ]
        .concat(),
    );
    world.take("a");
    world.time_out("a");
    assert!(world.take("a").starts_with("120"));
    world.send("a", b"DETA\r\n");
    world.release("burl");
    assert!(world.take("a").starts_with("451"));
    assert!(
        !world.store.outline().contains("processing"),
        "a part of a message is decided on"
    );
}

/// CP-20: what the client has not seen of an offset matters to its own transaction only.
#[test]
fn an_offset_of_another_transaction_spoils_nothing() {
    let mut world = session(builder());
    world.send("a", RECORDED);
    world.send("a", &[RCPT, b"BDAT 3 LAST\r\nx\r\n"].concat());
    world.take("a");
    world.send(
        "a",
        &[
            RECORDED,
            b"RSET\r\nMAIL FROM:<a@c.example>\r\n",
            RCPT,
            b"BDAT 3 LAST\r\nx\r\n",
        ]
        .concat(),
    );
    let got = world.take("a");
    assert!(got.lines().last().unwrap().starts_with("250"), "{got}");
}

/// CP-12: recipients with NOTIFY, and a session that does not offer DSN: afresh, so that none is
/// refused and served.
#[test]
fn recipients_with_dsn_where_dsn_is_not_offered_any_more() {
    let rcpt = b"RCPT TO:<b@x.example> NOTIFY=FAILURE\r\n";
    let mut world = session(builder());
    world.send("a", RECORDED);
    world.send("a", &rcpt[..]);
    world.send("a", b"DATA\r\n");
    world.send("a", b"abc\r\n");
    world.eof("a");
    assert_eq!(world.store.outline(), "partial 5");
    world.config = std::sync::Arc::new(ServerConfig::builder("mx.example.net").build().unwrap());
    world.connect("b");
    world.send("b", b"EHLO c.example\r\n");
    world.take("b");
    let mut got = world.talk("b", RECORDED);
    got += &world.talk("b", &rcpt[..]);
    got += &world.talk("b", b"DATA\r\n");
    got += &world.talk("b", b".\r\n");
    let codes: Vec<_> = got.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["250", "555", "554", "500"]);
    assert!(world.store.delivered.is_empty());
}

/// A decision is begun once.
#[test]
fn a_committed_record_is_not_decided_on_again() {
    let mut world = session(builder());
    world.send("a", RECORDED);
    world.send("a", &[RCPT, b"BDAT 3 LAST\r\nx\r\n"].concat());
    let held = world.store.held.values().next().unwrap();
    let record = held.record.clone().unwrap();
    assert_eq!(record.processing(1), record);
}

/// Where the message has its full size, a CR that was withheld behind a dot and is content after all
/// makes it too big; what stands behind it is read on without another octet from the peer.
#[test]
fn a_withheld_cr_beyond_the_limit_keeps_nothing_unread() {
    let mut world = session(builder().limits(Limits {
        message_size: Some(100),
        ..Limits::default()
    }));
    world.send("a", b"MAIL FROM:<a@c.example>\r\n");
    world.send("a", &[RCPT, b"DATA\r\n"].concat());
    world.take("a");
    let line = [&[b'x'; 98][..], b"\r\n"].concat();
    world.send("a", &[&line, &b".\rx"[..]].concat());
    assert!(world.link("a").session.wants_input());
    world.send("a", b"\r\n.\r\n");
    let replies = world.take("a");
    assert!(replies.starts_with("552 5.3.4 "), "{replies:?}");
}

/// RFC 6533 §3: an original recipient in UTF-8 is for transactions with SMTPUTF8 only.
#[test]
fn an_original_recipient_in_utf8_needs_smtputf8() {
    let original = "RCPT TO:<b@x.example> ORCPT=utf-8;\u{e4}@x.example\r\n".as_bytes();
    let mut world = session(builder().smtputf8(true));
    world.talk("a", b"MAIL FROM:<a@c.example>\r\n");
    assert!(world.talk("a", original).starts_with("553 5.6.7 "));
    let escaped = b"RCPT TO:<b@x.example> ORCPT=utf-8;\\x{E4}@x.example\r\n";
    assert!(world.talk("a", escaped).starts_with("250 "));
    world.talk("a", b"RSET\r\n");
    world.talk("a", b"MAIL FROM:<a@c.example> SMTPUTF8\r\n");
    assert!(world.talk("a", original).starts_with("250 "));
}
