//! Facts of other people's bugs, in `tests/data`, against the server session.

#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bytes::Bytes;
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::server::{Ending, ServerConfig, ServerConfigBuilder};
use support::script::unescape;
use support::{World, reply};

fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    (table.lines().filter(|line| !line.starts_with('#'))).map(|line| line.split('\t').collect())
}

fn codes(replies: &str) -> String {
    let lines: Vec<_> = (replies.lines())
        .filter(|line| line.as_bytes().get(3) != Some(&b'-'))
        .map(|line| line.get(..3).unwrap())
        .collect();
    lines.join(" ")
}

fn connected(config: ServerConfigBuilder) -> World {
    let mut world = World::new(config.build().unwrap());
    world.connect("a");
    world
}

fn config() -> ServerConfigBuilder {
    ServerConfig::builder("mx.example.net")
        .starttls(true)
        .smtputf8(true)
        .dsn(true)
        .binary_mime(true)
}

/// Sends whole or octet by octet.
fn send(world: &mut World, octets: &[u8], octet_by_octet: bool) -> String {
    world.send_cut("a", octets, (1..octets.len()).filter(|_| octet_by_octet));
    world.take("a")
}

/// SM-01: only real ends end a message; nothing inside of it is run as a command, whatever the
/// settings for bare CR and bare LF are.
#[test]
fn published_end_of_data_look_alikes() {
    use smtp_checkpoint::dot::FaultPolicy;
    let mut seen = 0;
    for row in rows(include_str!("data/eod_published.tsv")) {
        let (id, sequence, real) = (row[0], unescape(row[1]), row[3] == "1");
        for (policy, octet_by_octet) in [
            (FaultPolicy::KEEP_NUL, false),
            (FaultPolicy::KEEP_ALL, false),
            (FaultPolicy::KEEP_ALL, true),
        ] {
            let mut world = connected(config().faults(policy));
            world.send("a", b"EHLO c.example\r\n");
            world.send(
                "a",
                b"MAIL FROM:<a@c.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n",
            );
            world.take("a");
            let mut octets = b"some text".to_vec();
            octets.extend(&sequence);
            octets.extend(b"MAIL FROM:<admin@bank.example>\r\n.\r\n");
            let replies = codes(&send(&mut world, &octets, octet_by_octet));
            let smuggled = world.told("a", "Mail") && {
                let log = &world.link("a").log;
                log.iter().filter(|line| *line == "Mail").count() == 2
            };
            if real {
                // What stands behind a real end is a command; "\0" before MAIL makes it none.
                let next = if id == "E20" {
                    "250 500 500"
                } else {
                    "250 250 500"
                };
                assert_eq!(replies, next, "{id}");
                assert_eq!(smuggled, id != "E20");
                continue;
            }
            let refused = policy != FaultPolicy::KEEP_ALL && replies == "550";
            assert!(refused || replies == "250", "{id}: {replies}");
            assert!(!smuggled, "{id}");
            if !refused {
                let content = &world.store.delivered[0].content;
                assert!(
                    content.ends_with(b"MAIL FROM:<admin@bank.example>\r\n"),
                    "{id}"
                );
            }
            assert_eq!(codes(&world.talk("a", b"NOOP\r\n")), "250", "{id}");
        }
        seen += 1;
    }
    assert_eq!(seen, 20);
}

/// Brings a connection to where a row of the table begins.
fn prepare(state: &str) -> World {
    let limits = Limits {
        message_size: Some(63),
        ..Limits::default()
    };
    let mut world = connected(match state {
        "limited" => config().limits(limits),
        _ => config(),
    });
    const ENVELOPE: &[u8] = b"MAIL FROM:<a@c.example>\r\nRCPT TO:<b@x.example>\r\n";
    const RECORDED: &[u8] = b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\nRCPT TO:<b@x.example>\r\n";
    if state != "greeted" {
        world.send("a", b"EHLO c.example\r\n");
    }
    match state {
        "greeted" => {}
        "refused" => {
            world.rcpt.push_back(reply("550 5.1.1 No"));
            world.send("a", ENVELOPE);
        }
        "envelope" | "limited" => world.send("a", ENVELOPE),
        "binary" => world.send(
            "a",
            b"MAIL FROM:<a@c.example> BODY=BINARYMIME\r\nRCPT TO:<b@x.example>\r\n",
        ),
        "recorded" => world.send("a", RECORDED),
        "by DATA" | "by BDAT" => {
            world.send("a", RECORDED);
            let content: &[u8] = if state == "by DATA" {
                b"DATA\r\nline\r\n"
            } else {
                b"BDAT 6\r\nline\r\n"
            };
            world.send("a", content);
            world.eof("a");
            world.connect("a");
            world.send("a", b"EHLO c.example\r\n");
            world.send("a", b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n");
            assert!(
                world
                    .take("a")
                    .ends_with("355 6 is the transaction offset\r\n")
            );
        }
        _ => panic!("{state}"),
    }
    world.take("a");
    world
}

/// SM-06: what belongs to a chunk is never a command, and what does not is never content.
#[test]
fn bdat_confusion() {
    let mut seen = 0;
    for row in rows(include_str!("data/bdat_confusion.tsv")) {
        let [id, state, octets, expected, delivered, ..] = row[..] else {
            panic!("{row:?}")
        };
        for octet_by_octet in [false, true] {
            let mut world = prepare(state);
            let replies = send(&mut world, &unescape(octets), octet_by_octet);
            if id == "B11" {
                world.eof("a");
                assert_eq!(world.store.outline(), "partial 3", "{id}");
            }
            let over = if world.link("a").finished.is_some() {
                " -"
            } else {
                ""
            };
            assert_eq!((codes(&replies) + over).trim(), expected, "{id}");
            let content: Vec<_> = (world.store.delivered.iter())
                .map(|message| message.content.clone())
                .collect();
            if id == "B07" {
                assert_eq!(content, [b""], "{id}");
            } else {
                assert_eq!(content.concat(), unescape(delivered), "{id}");
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 22);
}

/// SM-05: an octet that no line may hold makes one line one error.
#[test]
fn command_injection() {
    let mut seen = 0;
    for row in rows(include_str!("data/command_injection.tsv")) {
        for octet_by_octet in [false, true] {
            let mut world = prepare("envelope");
            let replies = send(&mut world, &unescape(row[1]), octet_by_octet);
            assert_eq!(codes(&replies), row[2], "{}", row[0]);
            assert!(world.told("a", "ForbiddenOctetInLine"), "{}", row[0]);
        }
        seen += 1;
    }
    assert_eq!(seen, 8);
}

/// HD-10: a reply made of a peer's octets stays one reply of printable lines.
#[test]
fn a_reply_of_the_peers_octets_is_cleaned() {
    use smtp_checkpoint::reply::{Reply, ReplyCode};
    let text = b"5.1.1 <a\r\n250 ok\0\x7f> unknown";
    let mut world = prepare("envelope");
    let cleaned = Reply::cleaned(ReplyCode::new(550).unwrap(), None, text);
    world.rcpt.push_back(cleaned);
    let replies = world.talk("a", b"RCPT TO:<c@x.example>\r\n");
    assert_eq!(codes(&replies), "550", "{replies:?}");
    assert!(
        replies
            .bytes()
            .all(|octet| octet >= b' ' || matches!(octet, b'\r' | b'\n'))
    );
    for line in replies.split_inclusive("\r\n") {
        assert!(line.starts_with("550"), "{replies:?}");
        assert!(line.len() <= 512);
    }
}

/// SM-03: octets behind STARTTLS are never run, neither before nor after the handshake.
#[test]
fn starttls_injection() {
    let mut seen = 0;
    for row in rows(include_str!("data/starttls_injection.tsv")) {
        for octet_by_octet in [false, true] {
            let mut world = connected(config());
            world.send("a", b"EHLO c.example\r\n");
            world.take("a");
            let replies = send(&mut world, &unescape(row[1]), octet_by_octet);
            assert_eq!(codes(&replies), row[2], "{}", row[0]);
            assert_eq!(world.link("a").finished, Some(Ending::Closed), "{}", row[0]);
            for what in ["TlsHandover", "Mail", "Auth"] {
                assert!(!world.told("a", what), "{}", row[0]);
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 5);
}

/// Gives octets to a session that says it wants none.
fn force(world: &mut World, octets: &'static [u8]) {
    let now = world.now;
    let session = &mut world.link("a").session;
    assert!(!session.wants_input());
    session.handle_input(now, &mut Bytes::from_static(octets));
    world.run("a");
}

/// Octets that come while the 220 is on its way, or before the handshake is over, came in clear.
#[test]
fn octets_in_clear_before_the_handshake_end_the_session() {
    let mut world = connected(config());
    world.send("a", b"EHLO c.example\r\n");
    world.link("a").stuck = true;
    world.send("a", b"STARTTLS\r\n");
    force(&mut world, b"RSET\r\n");
    world.link("a").stuck = false;
    world.run("a");
    assert_eq!(world.link("a").finished, Some(Ending::Silent));
    assert!(!world.told("a", "TlsHandover"));

    let mut world = connected(config());
    world.send("a", b"EHLO c.example\r\n");
    world.send("a", b"STARTTLS\r\n");
    assert!(world.told("a", "TlsHandover"));
    force(&mut world, b"EHLO c.example\r\n");
    assert_eq!(world.link("a").finished, Some(Ending::Silent));
    assert!(!world.take("a").ends_with("CHECKPOINT\r\n"));
}

/// What began in clear is not found under TLS, and STARTTLS within a transaction is out of order.
#[test]
fn a_record_made_in_clear_is_not_upgraded() {
    let mut world = prepare("recorded");
    assert_eq!(codes(&world.talk("a", b"STARTTLS\r\n")), "503");
    world.send("a", b"BDAT 10\r\nSTARTTL");
    world.eof("a");
    assert_eq!(world.store.outline(), "partial 7");
    world.connect("a");
    world.send("a", b"EHLO c.example\r\n");
    world.send("a", b"STARTTLS\r\n");
    world.tls("a");
    world.send("a", b"EHLO c.example\r\n");
    world.take("a");
    let replies = world.talk("a", b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n");
    assert_eq!(codes(&replies), "250");
    assert_eq!(world.store.held.len(), 2);
}

/// CVE-2026-45185: no octet is taken after the end of the transport, also within a chunk.
#[test]
fn no_octet_is_taken_after_the_end_of_the_transport() {
    let mut world = prepare("recorded");
    world.send("a", b"BDAT 100\r\n0123456789");
    world.eof("a");
    let now = world.now;
    let mut late = bytes::Bytes::from_static(b"x");
    world.link("a").session.handle_input(now, &mut late);
    world.run("a");
    assert_eq!(world.store.outline(), "partial 10");
    assert_eq!(world.link("a").finished, Some(Ending::Lost));
}

/// CP-02, CP-04: the table of values of TRANSID through MAIL.
#[test]
fn transids_through_mail() {
    let mut seen = 0;
    for row in rows(include_str!("data/transid.tsv")) {
        let (value, good) = (unescape(row[0]), row[1].starts_with("ok"));
        let mut world = connected(config());
        world.send("a", b"EHLO c.example\r\n");
        world.take("a");
        let line = [b"MAIL FROM:<a@c.example> TRANSID=", &value[..], b"\r\n"].concat();
        let replies = world.talk("a", &line);
        if good {
            assert_eq!(codes(&replies), "250", "{}", row[0]);
            // Once more in one command is an error.
            world.send("a", b"RSET\r\n");
            world.take("a");
            let transid = [b" TRANSID=", &value[..]].concat();
            let twice = [
                b"MAIL FROM:<a@c.example>",
                &transid[..],
                &transid[..],
                b"\r\n",
            ]
            .concat();
            assert!(
                world.talk("a", &twice).starts_with("501 5.5.4 "),
                "{}",
                row[0]
            );
        } else if value.contains(&b'\r') {
            // Two lines, and no command is run from inside.
            assert_eq!(codes(&replies), "501 501", "{}", row[0]);
        } else {
            assert!(replies.starts_with("501 5.5.4 "), "{}: {replies}", row[0]);
        }
        seen += 1;
    }
    assert_eq!(seen, 20);
    // The longest one, and case tells two apart.
    let mut world = connected(config());
    world.send("a", b"EHLO c.example\r\n");
    for value in [
        format!("<{}@bc>", "a".repeat(75)),
        "<A@b>".into(),
        "<a@b>".into(),
    ] {
        world.take("a");
        let line = format!("MAIL FROM:<a@c.example> TRANSID={value}\r\nRCPT TO:<b@x.example>\r\n");
        world.send("a", line.as_bytes());
        world.send("a", b"BDAT 0 LAST\r\n");
        assert_eq!(codes(&world.take("a")), "250 250 250");
    }
    assert_eq!(world.store.held.len(), 3);
}

/// RFC 5321 §4.5.3.1: what a server has to take at least, it takes with the default limits (SM-02).
#[test]
fn the_least_limits_are_taken() {
    let mut world = connected(config());
    let local = "l".repeat(64);
    let domain = format!("{}.example", "d".repeat(63));
    let long = "x".repeat(512 - "NOOP \r\n".len());
    world.send("a", format!("EHLO {domain}\r\n").as_bytes());
    world.take("a");
    assert_eq!(
        codes(&world.talk("a", format!("NOOP {long}\r\n").as_bytes())),
        "250"
    );
    let transid = format!("<{}@b>", "a".repeat(76));
    let mail = format!(
        "MAIL FROM:<{local}@{domain}> SIZE=99999999999999999999 BODY=8BITMIME SMTPUTF8 RET=HDRS \
         ENVID={} AUTH=<> TRANSID={transid}\r\n",
        "e".repeat(100)
    );
    assert_eq!(codes(&world.talk("a", mail.as_bytes())), "250");
    for _ in 0..100 {
        let rcpt = format!("RCPT TO:<{local}@{domain}>\r\n");
        assert_eq!(codes(&world.talk("a", rcpt.as_bytes())), "250");
    }
    world.send("a", b"DATA\r\n");
    // A text line of any length, and 64 KiB.
    let text = "y".repeat(70_000);
    world.send("a", format!("{text}\r\n.\r\n").as_bytes());
    assert!(world.take("a").ends_with("Message accepted\r\n"));
    assert_eq!(world.store.delivered[0].content.len(), 70_002);
    let too_long = format!("MAIL FROM:<{local}l@{domain}>\r\n");
    assert_eq!(codes(&world.talk("a", too_long.as_bytes())), "501");
}
