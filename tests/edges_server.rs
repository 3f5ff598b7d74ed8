//! Dialogues at the edges of the grammar, the limits and the phases, and content at the edges of
//! chunks and cuts.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use smtp_checkpoint::dot::{DecodeStatus, DotDecoder, FaultPolicy};
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::server::{
    ConfigError, DataRate, Ending, Protocol, ServerConfig, ServerConfigBuilder, Timeouts,
};
use support::script::unescape;
use support::{World, reply};

fn builder() -> ServerConfigBuilder {
    ServerConfig::builder("mx.example.net")
        .smtputf8(true)
        .dsn(true)
        .binary_mime(true)
}

fn session(config: ServerConfigBuilder) -> World {
    let mut world = World::new(config.build().unwrap());
    hello(&mut world);
    world
}

fn hello(world: &mut World) {
    world.connect("a");
    // One of the two is unknown.
    world.send("a", b"EHLO c.example\r\nLHLO c.example\r\n");
    world.take("a");
}

/// Codes with their enhanced codes, of replies of one line each.
fn outline(replies: &str) -> String {
    let words = |line: &str| {
        let mut words = line.split(' ');
        let code = words.next().unwrap_or_default().to_owned();
        match words.next().filter(|word| word.split('.').count() == 3) {
            Some(enhanced) => code + " " + enhanced,
            None => code,
        }
    };
    let lines: Vec<_> = replies.lines().map(words).collect();
    lines.join(", ")
}

/// Every row is a command in a session with nothing open, and its reply.
#[test]
fn commands_at_the_edge_of_the_grammar() {
    for (line, expected) in [
        // SM-12: white space before CRLF and after the colon, any case.
        ("RSET \\t ", "250 2.0.0"),
        ("MAIL FROM: <a@b> ", "250 2.1.0"),
        ("MAIL\\t FROM:\\t<a@b>\\tSIZE=1", "250 2.1.0"),
        ("mail from:<a@b> transid=<1@c> size=3", "250 2.1.0"),
        ("NOOP \\xff", "250 2.0.0"),
        // But no white space before the verb, and none before the colon.
        (" NOOP", "500 5.5.1"),
        (" BDAT 0 LAST", "500 5.5.1"),
        ("", "500 5.5.1"),
        ("\\t", "500 5.5.1"),
        ("N\\xffOP", "500 5.5.1"),
        ("MAIL FROM :<a@b>", "501 5.5.2"),
        ("MAIL FROM:<a@b>SIZE=1", "501 5.1.7"),
        ("EHLO", "501"),
        ("EHLO  ", "501"),
        // SM-08: a parameter twice, without its value, unknown.
        ("MAIL FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4"),
        ("MAIL FROM:<a@b> XYZ=1 XYZ=2", "501 5.5.4"),
        ("MAIL FROM:<a@b> SIZE=", "501 5.5.4"),
        ("MAIL FROM:<a@b> TRANSID", "501 5.5.4"),
        ("MAIL FROM:<a@b> HOLDFOR=1", "555 5.5.4"),
        // RS-02: what is not offered is unknown, however it is written.
        ("MAIL FROM:<a@b> TRANSID=<1@c> TRANSOFF=0", "555 5.5.4"),
        ("MAIL FROM:<a@b> TRANSID=<1@c> TRANSOFF=x", "555 5.5.4"),
        ("MAIL FROM:<a@b> TRANSOFF=1", "555 5.5.4"),
        ("MAIL FROM:<a@b> ENVID=a+2", "501 5.5.4"),
        ("MAIL FROM:<a@b> RET=HDRS ENVID=a+20", "250 2.1.0"),
        ("VRFY", "501 5.5.4"),
        ("VRFY x", "252 2.0.0"),
        ("RESUME", "502 5.5.1"),
        ("RDLV", "502 5.5.1"),
        ("DATA ", "503 5.5.1"),
        ("QUIT x", "501 5.5.4"),
    ] {
        let mut world = session(builder());
        let octets = [&unescape(line)[..], b"\r\n"].concat();
        assert_eq!(outline(&world.talk("a", &octets)), expected, "{line}");
        assert_eq!(
            outline(&world.talk("a", b"NOOP\r\n")),
            "250 2.0.0",
            "{line}"
        );
    }
}

/// SM-12: paths without brackets are read, unless the setting refuses them, as a path that is wrong.
#[test]
fn paths_without_brackets_are_refused_where_that_is_set() {
    for (refused, mail, rcpt) in [
        (false, "250 2.1.0", "250 2.1.5"),
        (true, "501 5.1.7", "501 5.1.3"),
    ] {
        let mut world = session(builder().refuse_bare_paths(refused));
        assert_eq!(outline(&world.talk("a", b"MAIL FROM:a@b\r\n")), mail);
        world.talk("a", b"RSET\r\nMAIL FROM:<>\r\n");
        assert_eq!(outline(&world.talk("a", b"RCPT TO:a@b\r\n")), rcpt);
        assert_eq!(outline(&world.talk("a", b"RCPT TO:<a@b>\r\n")), "250 2.1.5");
    }
}

/// What is not offered is unknown, whatever stands behind the verb.
#[test]
fn verbs_that_are_not_offered() {
    for line in [
        "AUTH",
        "AUTH PLAIN *",
        "AUTH PLAIN AA==",
        "BURL",
        "BURL imap://x y",
        "BURL imap://x",
        "STARTTLS",
        "STARTTLS x",
        "RDLV",
        "CONT x",
        "DETA x",
        "RESUME x",
    ] {
        let mut world = session(builder());
        let reply = world.talk("a", format!("{line}\r\n").as_bytes());
        assert_eq!(outline(&reply), "502 5.5.1", "{line}");
    }
}

/// The same for parameters, whatever their value is: after HELO, and where they are switched off.
#[test]
fn parameters_that_are_not_offered() {
    let off = || ServerConfig::builder("mx.example.net").checkpoint(false);
    for (config, hello) in [(builder(), "HELO"), (off(), "EHLO")] {
        let mut world = World::new(config.build().unwrap());
        world.connect("a");
        world.send("a", format!("{hello} c.example\r\n").as_bytes());
        world.take("a");
        for parameter in [
            "RET=FULL",
            "RET=ALL",
            "ENVID=x",
            "ENVID=a=b",
            "SMTPUTF8",
            "SMTPUTF8=1",
            "TRANSID=<1@c>",
            "TRANSID=1",
            "TRANSID",
        ] {
            let line = format!("MAIL FROM:<a@b> {parameter}\r\n");
            let reply = world.talk("a", line.as_bytes());
            assert_eq!(outline(&reply), "555 5.5.4", "{hello} {parameter}");
        }
        world.talk("a", b"MAIL FROM:<a@b> SIZE=1 BODY=8BITMIME\r\n");
        for parameter in ["NOTIFY=NEVER", "NOTIFY=x", "ORCPT=rfc822;a", "ORCPT=a"] {
            let line = format!("RCPT TO:<a@b> {parameter}\r\n");
            let reply = world.talk("a", line.as_bytes());
            assert_eq!(outline(&reply), "555 5.5.4", "{hello} {parameter}");
        }
    }
}

/// SM-02: local part, domain and path at their limits and one over (RFC 5321 §4.5.3.1).
#[test]
fn addresses_at_their_limits() {
    for (local, domain, expected) in [
        (64, 189, "250 2.1.0"),
        (64, 190, "501 5.1.7"),
        (65, 20, "501 5.1.7"),
        (1, 252, "250 2.1.0"),
        (1, 253, "501 5.1.7"),
    ] {
        let mut world = session(builder());
        let domain = &["d"; 128].join(".")[..domain];
        let domain = domain
            .strip_suffix('.')
            .map_or(domain.into(), |domain| format!("{domain}d"));
        let mail = format!("MAIL FROM:<{}@{domain}>\r\n", "l".repeat(local));
        assert_eq!(
            outline(&world.talk("a", mail.as_bytes())),
            expected,
            "{mail}"
        );
    }
}

const RECORDED: &str = "MAIL FROM:<a@c.example> TRANSID=<1@c>\\r\\nRCPT TO:<b@x.example>\\r\\n";
const PLAIN: &str = "MAIL FROM:<a@c.example>\\r\\nRCPT TO:<b@x.example>\\r\\n";
const AGAIN: &str = "MAIL FROM:<a@c.example> TRANSID=<1@c>\\r\\n";

/// SM-02, CP-12: the size limit at N and N + 1 octets of the message, not of the wire, in every way
/// that content can come, across a restart too. What stands behind is read as a command.
#[test]
fn sizes_at_the_limit() {
    for (envelope, sends, expected, size) in [
        (
            PLAIN,
            &["DATA\\r\\n", "12345678\\r\\n.\\r\\n"][..],
            "250",
            10,
        ),
        (PLAIN, &["DATA\\r\\n", "..2345678\\r\\n.\\r\\n"], "250", 10),
        (PLAIN, &["DATA\\r\\n", "123456789\\r\\n.\\r\\n"], "552", 0),
        (PLAIN, &["BDAT 10 LAST\\r\\n1234567890"], "250", 10),
        (PLAIN, &["BDAT 11 LAST\\r\\n12345678901"], "552", 0),
        (
            PLAIN,
            &["BDAT 10\\r\\n1234567890", "BDAT 0 LAST\\r\\n"],
            "250",
            10,
        ),
        (
            PLAIN,
            &["BDAT 10\\r\\n1234567890", "BDAT 1 LAST\\r\\n1"],
            "552",
            0,
        ),
        (
            PLAIN,
            &["BDAT 10\\r\\n1234567890", "BDAT 1\\r\\n1"],
            "552",
            0,
        ),
        (
            RECORDED,
            &["DATA\\r\\n123\\r\\n", "", "DATA\\r\\n", "123\\r\\n.\\r\\n"],
            "250",
            10,
        ),
        (
            RECORDED,
            &["DATA\\r\\n123\\r\\n", "", "DATA\\r\\n", "1234\\r\\n.\\r\\n"],
            "552",
            0,
        ),
        (
            RECORDED,
            &["BDAT 9\\r\\n12345", "", "BDAT 5 LAST\\r\\n67890"],
            "250",
            10,
        ),
        (
            RECORDED,
            &["BDAT 9\\r\\n12345", "", "BDAT 6 LAST\\r\\n678901"],
            "552",
            0,
        ),
    ] {
        let limits = Limits {
            message_size: Some(10),
            ..Limits::default()
        };
        let mut world = session(builder().limits(limits));
        world.send("a", &unescape(envelope));
        for octets in sends {
            world.take("a");
            if octets.is_empty() {
                world.eof("a");
                hello(&mut world);
                assert!(world.talk("a", &unescape(AGAIN)).starts_with("355 5 "));
            }
            world.send("a", &unescape(octets));
        }
        assert_eq!(world.take("a").get(..3), Some(expected), "{sends:?}");
        let delivered: usize = world
            .store
            .delivered
            .iter()
            .map(|it| it.content.len())
            .sum();
        assert_eq!(delivered, size, "{sends:?}");
        assert_eq!(
            outline(&world.talk("a", b"NOOP\r\n")),
            "250 2.0.0",
            "{sends:?}"
        );
    }
}

/// RFC 2033 §4.2: LMTP without a recipient is 503, where SMTP is 554 (RFC 5321 §3.3).
#[test]
fn data_without_a_recipient() {
    for (protocol, expected) in [(Protocol::Smtp, "554 5.5.1"), (Protocol::Lmtp, "503 5.5.1")] {
        let mut world = session(builder().protocol(protocol));
        world.send("a", b"MAIL FROM:<a@c.example>\r\n");
        world.take("a");
        assert_eq!(outline(&world.talk("a", b"DATA\r\n")), expected);
        world.rcpt.push_back(reply("550 5.1.1 No"));
        let replies = world.talk("a", b"RCPT TO:<b@x.example>\r\nDATA\r\n");
        assert_eq!(outline(&replies), format!("550 5.1.1, {expected}"));
    }
}

/// CP-14, HD-05: half a command behind the end of the data is no reason to wait with the news that
/// the client has gone; a whole one is read first.
#[test]
fn the_end_of_the_input_behind_half_a_command() {
    for (behind, finished, abandoned) in [
        (&b""[..], Some(Ending::Lost), true),
        (b"QUIT", Some(Ending::Lost), true),
        (b"QUIT\r", Some(Ending::Lost), true),
        (b"QUIT\r\n", None, false),
        (b"NOOP\r\nQUIT\r\n", None, false),
    ] {
        let mut world = session(builder());
        world.hold.push("verdict".into());
        world.send("a", &unescape(PLAIN));
        world.send("a", b"BDAT 1 LAST\r\nx");
        world.send("a", behind);
        world.eof("a");
        assert_eq!(
            world.link("a").finished,
            finished,
            "{}",
            behind.escape_ascii()
        );
        assert_eq!(
            world.told("a", "Abandon"),
            abandoned,
            "{}",
            behind.escape_ascii()
        );
        world.release("verdict");
        let ending = finished.unwrap_or(Ending::Quit);
        assert_eq!(
            world.link("a").finished,
            Some(ending),
            "{}",
            behind.escape_ascii()
        );
    }
}

/// A configuration under which a refused message would seem delivered is none.
#[test]
fn faulty_content_cannot_be_answered_as_delivered() {
    for (text, accepted) in [
        ("554 5.6.0 No", true),
        ("451 4.6.0 Later", true),
        ("250 2.0.0 OK", false),
        ("354 Go on", false),
        ("421 4.3.0 Bye", false),
    ] {
        let built = builder().fault_reply(reply(text)).build();
        let error = built.err();
        assert_eq!(
            error,
            (!accepted).then_some(ConfigError::FaultReply),
            "{text}"
        );
    }
}

/// A session that waits for no time at all would end at its first wait.
#[test]
fn no_time_out_can_be_zero() {
    let zero = Duration::ZERO;
    let timeouts: [fn(&mut Timeouts) -> &mut Duration; 9] = [
        |all| &mut all.command,
        |all| &mut all.content,
        |all| &mut all.question,
        |all| &mut all.decision,
        |all| &mut all.long_decision,
        |all| &mut all.abandon,
        |all| &mut all.shutdown,
        |all| &mut all.handshake,
        |all| &mut all.closing,
    ];
    for timeout in timeouts {
        let mut all = Timeouts::default();
        *timeout(&mut all) = zero;
        let built = builder().timeouts(all).build();
        assert_eq!(built.err(), Some(ConfigError::ZeroTimeout));
    }
    let rate = DataRate {
        octets: 1,
        window: zero,
    };
    let built = builder().data_rate(Some(rate)).build();
    assert_eq!(built.err(), Some(ConfigError::ZeroTimeout));
}

#[test]
fn one_question_at_least_may_be_open() {
    let limits = Limits {
        open_questions: 0,
        ..Limits::default()
    };
    let mut world = session(builder().limits(limits));
    assert_eq!(
        outline(&world.talk("a", &unescape(PLAIN))),
        "250 2.1.0, 250 2.1.5"
    );
}

// ---- faulty content at the edges of chunks and cuts ----

const POLICIES: [FaultPolicy; 3] = [
    FaultPolicy::KEEP_ALL,
    FaultPolicy::KEEP_NUL,
    FaultPolicy::REFUSE_ALL,
];

/// Name, octets, and whether a real end of the data is among them.
fn look_alikes() -> Vec<(&'static str, Vec<u8>, bool)> {
    let rows: Vec<_> = include_str!("data/eod_published.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            (columns[0], unescape(columns[1]), columns[3] == "1")
        })
        .collect();
    assert_eq!(rows.len(), 20);
    rows
}

/// The code of the last reply, and what was delivered.
type Outcome = (String, Vec<Vec<u8>>);

fn ended(world: &mut World) -> Outcome {
    let replies = world.take("a");
    let code = replies.lines().last().unwrap_or_default().get(..3);
    let delivered = world.store.delivered.iter();
    (
        code.unwrap_or_default().to_owned(),
        delivered.map(|message| message.content.clone()).collect(),
    )
}

/// How many octets of `wire` make the first `offset` octets of the message, up to a line start.
fn wire_position(wire: &[u8], offset: u64) -> usize {
    let mut decoder = DotDecoder::new();
    for at in 0..wire.len() {
        if decoder.at_line_start() && decoder.offset().get() == offset {
            return at;
        }
        let mut octet = &wire[at..=at];
        let status = decoder.decode_with(&mut octet, |_| ());
        assert_ne!(status, DecodeStatus::End, "no line starts at {offset}");
    }
    panic!("no line starts at {offset}");
}

/// SM-01, CP-12: a cut anywhere in faulty content, and the restart behind it, end in the same reply
/// and the same message as no cut.
#[test]
fn a_cut_changes_nothing_about_faulty_content() {
    for (name, sequence, real) in look_alikes() {
        if real {
            continue;
        }
        let wire = [&b"one\r\n..two"[..], &sequence, b"three\r\n.\r\n"].concat();
        for policy in POLICIES {
            let mut uncut = session(builder().faults(policy));
            uncut.send("a", &[&unescape(RECORDED)[..], b"DATA\r\n"].concat());
            uncut.send("a", &wire);
            let expected = ended(&mut uncut);
            assert!(matches!(expected.0.as_str(), "250" | "550"), "{name}");
            for cut in 0..wire.len() {
                let mut world = session(builder().faults(policy));
                world.send("a", &[&unescape(RECORDED)[..], b"DATA\r\n"].concat());
                world.send("a", &wire[..cut]);
                world.eof("a");
                hello(&mut world);
                let reply = world.talk("a", &unescape(AGAIN));
                let from = match reply.strip_prefix("355 ") {
                    Some(text) => text.split(' ').next().unwrap().parse().unwrap(),
                    None => {
                        assert!(reply.starts_with("250"), "{name} cut at {cut}: {reply}");
                        world.send("a", b"RCPT TO:<b@x.example>\r\n");
                        0
                    }
                };
                world.send("a", b"DATA\r\n");
                world.send("a", &wire[wire_position(&wire, from)..]);
                assert_eq!(ended(&mut world), expected, "{name} cut at {cut}");
            }
        }
    }
}

/// SM-06: chunks have no dots and no lines, wherever they are cut, by the client or by the network.
#[test]
fn look_alikes_in_chunks_are_content() {
    for (name, sequence, _) in look_alikes() {
        let content = [&b"one"[..], &sequence, b"QUIT\r\n"].concat();
        for policy in POLICIES {
            let chunks = |world: &mut World, from: usize, at: usize| {
                let head = at.saturating_sub(from);
                let (first, last) = content[from..].split_at(head);
                world.send("a", format!("BDAT {}\r\n", first.len()).as_bytes());
                world.send("a", first);
                world.send("a", format!("BDAT {} LAST\r\n", last.len()).as_bytes());
                world.send("a", last);
            };
            let mut whole = session(builder().faults(policy));
            whole.send("a", &unescape(RECORDED));
            chunks(&mut whole, 0, 0);
            let expected = ended(&mut whole);
            if expected.0 == "250" {
                assert_eq!(expected.1, [&content[..]], "{name}");
            }
            for at in 0..=content.len() {
                let mut world = session(builder().faults(policy));
                world.send("a", &unescape(RECORDED));
                chunks(&mut world, 0, at);
                assert_eq!(ended(&mut world), expected, "{name} split at {at}");

                let mut world = session(builder().faults(policy));
                world.send("a", &unescape(RECORDED));
                world.send(
                    "a",
                    format!("BDAT {} LAST\r\n", content.len() + 1).as_bytes(),
                );
                world.send("a", &content[..at]);
                world.eof("a");
                hello(&mut world);
                let reply = world.talk("a", &unescape(AGAIN));
                let from = match reply.strip_prefix("355 ") {
                    Some(text) => text.split(' ').next().unwrap().parse().unwrap(),
                    None => {
                        world.send("a", b"RCPT TO:<b@x.example>\r\n");
                        0
                    }
                };
                assert!(from <= at && at <= from + 1, "{name} cut at {at}: {reply}");
                chunks(&mut world, from, at);
                assert_eq!(ended(&mut world), expected, "{name} cut at {at}");
            }
        }
    }
}
