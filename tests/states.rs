//! Every command, end, time-out and verb in every state, and answers out of their turn.

#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use smtp_checkpoint::checkpoint::{Claim, Generation, Verdict};
use smtp_checkpoint::command::Command;
use smtp_checkpoint::error::UsageError;
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::rdlv::{DetachAnswer, ResetAnswer, ServerSettings};
use smtp_checkpoint::reply::standard;
use smtp_checkpoint::server::{
    AbandonQuestion, AbortQuestion, Answered, AuthAnswer, AuthQuestion, AuthResponseQuestion,
    AwaitQuestion, BurlAnswer, BurlQuestion, CommandAnswer, CommandQuestion, ConnectionAnswer,
    ConnectionQuestion, DataAnswer, DataQuestion, DetachQuestion, EndOfDataAnswer,
    EndOfDataQuestion, Ending, Event, HelloAnswer, HelloQuestion, MailAnswer, MailQuestion, Peer,
    Protocol, RcptQuestion, ServerConfig, ServerConfigBuilder, ServerSession, StartTlsQuestion,
    TlsOutcome,
};
use support::{Question, World, reply};

fn builder() -> ServerConfigBuilder {
    ServerConfig::builder("mx.example.net")
        .smtputf8(true)
        .dsn(true)
        .binary_mime(true)
        .starttls(true)
        .auth(["PLAIN"])
        .auth_in_clear(true)
        .burl("imap")
        .rdlv(ServerSettings::new(30).unwrap().deta(true))
}

const ENVELOPE: &[u8] = b"MAIL FROM:<a@c.example>\r\nRCPT TO:<b@x.example>\r\n";
const RECORDED: &[u8] = b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\nRCPT TO:<b@x.example>\r\n";

/// The states that read commands.
const READING: [&str; 8] = [
    "greeted", "ready", "helo", "mail", "envelope", "restart", "between", "spoiled",
];
/// The states in which the session waits for the caller.
const ASKED: [(&str, &str); 13] = [
    ("hello asked", "hello"),
    ("mail asked", "mail"),
    ("rcpt asked", "rcpt"),
    ("data asked", "data"),
    ("chunk asked", "data"),
    ("burl asked", "burl"),
    ("deciding", "verdict"),
    ("deciding recorded", "verdict"),
    ("auth asked", "auth"),
    ("sasl asked", "sasl"),
    ("command asked", "command"),
    ("detach asked", "detach"),
    ("abort asked", "abort"),
];
/// The states in which a 120 is open: nothing is decided; the caller accepted, or refused; another
/// session decides; the content of the last URL is being fetched.
const PROGRESS: [&str; 5] = [
    "progress",
    "accepted",
    "refused",
    "awaiting long",
    "fetching",
];
/// The states in which other octets than commands come.
const OTHER: [&str; 5] = ["content", "recorded content", "chunk", "sasl", "draining"];

/// A connection in this state, reached by a dialogue.
fn reach(state: &str) -> World {
    let mut config = builder();
    let mut hold = None;
    match state {
        "connecting" => {
            config = config.ask_connection(true);
            hold = Some("connection");
        }
        "hello asked" => {
            config = config.ask_hello(true);
            hold = Some("hello");
        }
        "data asked" | "chunk asked" => config = config.ask_data(true),
        "command asked" => config = config.ask_commands(true),
        _ => {}
    }
    let mut world = World::new(config.build().unwrap());
    world.hold.extend(hold.map(str::to_owned));
    let name = "a";
    if matches!(state, "restart" | "awaiting" | "awaiting long") {
        world.connect("before");
        world.send("before", b"EHLO c.example\r\n");
        world.send("before", RECORDED);
        world.send("before", b"DATA\r\nline\r\n");
        if state != "restart" {
            world.hold.push("verdict".into());
            world.send("before", b".\r\n");
        }
        world.eof("before");
        world.links.remove("before");
    }
    world.connect(name);
    let hold = |world: &mut World, kind: &str| world.hold.push(kind.into());
    if !matches!(state, "connecting" | "greeted" | "hello asked" | "helo") {
        world.send(name, b"EHLO c.example\r\n");
    }
    match state {
        "connecting" | "greeted" | "ready" => {}
        "hello asked" => world.send(name, b"EHLO c.example\r\n"),
        "helo" => world.send(name, b"HELO c.example\r\n"),
        "mail" => world.send(name, b"MAIL FROM:<a@c.example>\r\n"),
        "envelope" => world.send(name, ENVELOPE),
        "restart" => world.send(name, b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n"),
        "between" | "spoiled" => {
            world.send(name, ENVELOPE);
            if state == "spoiled" {
                world.burl.push_back(Err(reply("554 No")));
                world.send(name, b"BURL imap:x\r\n");
            } else {
                world.send(name, b"BDAT 2\r\nab");
            }
        }
        "mail asked" => {
            hold(&mut world, "mail");
            world.send(name, b"MAIL FROM:<a@c.example>\r\n");
        }
        "rcpt asked" => {
            hold(&mut world, "rcpt");
            world.send(name, ENVELOPE);
        }
        "data asked" | "chunk asked" => {
            hold(&mut world, "data");
            world.send(name, ENVELOPE);
            let command: &[u8] = if state == "data asked" {
                b"DATA\r\n"
            } else {
                b"BDAT 5 LAST\r\nab"
            };
            world.send(name, command);
        }
        "burl asked" => {
            hold(&mut world, "burl");
            world.send(name, ENVELOPE);
            world.send(name, b"BURL imap:x LAST\r\n");
        }
        "content" => {
            world.send(name, ENVELOPE);
            world.send(name, b"DATA\r\nline\r\nli");
        }
        "recorded content" => {
            world.send(name, RECORDED);
            world.send(name, b"DATA\r\nline\r\nli");
        }
        "chunk" => {
            world.send(name, ENVELOPE);
            world.send(name, b"BDAT 10\r\nab");
        }
        "draining" => world.send(name, b"BDAT 10\r\nab"),
        "deciding" | "deciding recorded" => {
            hold(&mut world, "verdict");
            let mail = if state == "deciding" {
                ENVELOPE
            } else {
                RECORDED
            };
            world.send(name, mail);
            world.send(name, b"DATA\r\nline\r\n.\r\n");
        }
        "awaiting" => {
            world.send(name, b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n");
            world.send(name, b"BDAT 0 LAST\r\n");
        }
        "auth asked" => {
            hold(&mut world, "auth");
            world.send(name, b"AUTH PLAIN\r\n");
        }
        "sasl" | "sasl asked" => {
            hold(&mut world, "sasl");
            world.auth.push_back(AuthAnswer::Challenge(Bytes::new()));
            world.send(name, b"AUTH PLAIN\r\n");
            if state == "sasl asked" {
                world.send(name, b"AA==\r\n");
            }
        }
        "tls asked" => {
            hold(&mut world, "starttls");
            world.send(name, b"STARTTLS\r\n");
        }
        "handshake" => world.send(name, b"STARTTLS\r\n"),
        "command asked" => {
            hold(&mut world, "command");
            world.send(name, b"XYZ\r\n");
        }
        "progress" | "accepted" | "refused" | "detach asked" | "abort asked" => {
            hold(&mut world, "verdict");
            world.send(name, ENVELOPE);
            world.send(name, b"RDLV maxtimer=60\r\nDATA\r\n");
            world.send(name, b"line\r\n.\r\n");
            world.time_out(name);
            match state {
                "accepted" => world.release("verdict"),
                "refused" => {
                    let no = Verdict::from(standard::TRANSACTION_FAILED);
                    world.verdicts.push_back(no);
                    world.release("verdict");
                }
                "detach asked" => {
                    hold(&mut world, "detach");
                    world.send(name, b"DETA\r\n");
                }
                "abort asked" => {
                    hold(&mut world, "abort");
                    world.send(name, b"RSET\r\n");
                }
                _ => {}
            }
        }
        "awaiting long" => {
            world.send(name, b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n");
            world.send(name, b"RDLV maxtimer=60\r\nBDAT 0 LAST\r\n");
            world.time_out(name);
        }
        "fetching" => {
            hold(&mut world, "burl");
            world.send(name, ENVELOPE);
            world.send(name, b"RDLV maxtimer=60\r\nBURL imap:x LAST\r\n");
            world.time_out(name);
        }
        _ => panic!("{state}"),
    }
    world.take(name);
    world.link(name).log.clear();
    world
}

fn every_state() -> impl Iterator<Item = &'static str> {
    let asked = ASKED.iter().map(|(state, _)| *state);
    let more = ["connecting", "tls asked", "handshake", "awaiting"];
    let states = READING.into_iter().chain(OTHER).chain(asked).chain(more);
    states.chain(PROGRESS)
}

/// The first digits of each reply.
fn codes(replies: &str) -> String {
    let lines: Vec<_> = (replies.lines())
        .filter(|line| line.as_bytes().get(3) != Some(&b'-'))
        .map(|line| line.get(..3).unwrap())
        .collect();
    lines.join(" ")
}

// ---- commands ----

const TABLE: &str = "
                     greeted  ready  helo  mail  envelope restart  between spoiled
EHLO x               250      250    250   250   250      250      250     250
HELO x               250      250    250   250   250      250      250     250
LHLO x               500      500    500   500   500      500      500     500
EHLO                 501      501    501   501   501      501      501     501
MAIL FROM:<>         503      250    250   503   503      503      503     503
MAIL FROM:<> X=1     503      555    555   503   503      503      503     503
MAIL FROM:<          501      501    501   501   501      501      501     501
MAIL TO:<>           501      501    501   501   501      501      501     501
RCPT TO:<b@x.example> 503     503    503   250   250      250      503     503
RCPT TO:<new@x>      503      503    503   250   250      553      503     503
RCPT TO:<>           501      501    501   501   501      501      501     501
DATA                 503      503    503   554   354      354      503     503
DATA x               501      501    501   501   501      501      501     501
BDAT 3\\r\\nabc      503      503    502   554   250      503      250     503
BDAT 3 LAST\\r\\nabc 503      503    502   554   250      503      250     503
BDAT 0               503      503    502   554   250      503      250     503
BDAT x               501-     501-   501-  501-  501-     501-     501-    501-
BURL imap:x LAST     503      503    502   554   554      503      554     503
BURL                 501      501    502   501   501      501      501     501
RSET                 250      250    250   250   250      250      250     250
RSET x               501      501    501   501   501      501      501     501
NOOP                 250      250    250   250   250      250      250     250
NOOP x               250      250    250   250   250      250      250     250
VRFY x               252      252    252   252   252      252      252     252
VRFY                 501      501    501   501   501      501      501     501
EXPN x               502      502    502   502   502      502      502     502
HELP                 214      214    214   214   214      214      214     214
AUTH PLAIN =         503      535    502   503   503      503      503     503
STARTTLS             503      220    220   503   503      503      503     503
STARTTLS x           501      501    501   501   501      501      501     501
RDLV maxtimer=60     503      503    502   250   250      250      250     503
RDLV maxtimer=29     503      503    502   501   501      501      501     503
RDLV                 501      501    502   501   501      501      501     501
RDLV maxtimer=0      501      501    502   501   501      501      501     501
RDLV maxtimer=60 x   501      501    502   501   501      501      501     501
CONT                 503      503    502   503   503      503      503     503
CONT x               501      501    502   501   501      501      501     501
DETA                 503      503    502   503   503      503      503     503
DETA x               501      501    502   501   501      501      501     501
RESUME <a@b>         502      502    502   502   502      502      502     502
XYZ                  500      500    500   500   500      500      500     500
X\\0Z                500      500    500   500   500      500      500     500
NOOP x\\nRSET        500      500    500   500   500      500      500     500
NOOP x\\rRSET        500      500    500   500   500      500      500     500
.                    500      500    500   500   500      500      500     500
QUIT                 221-     221-   221-  221-  221-     221-     221-    221-
";

/// SM-08: every command in every state that reads commands. `-`: the session is over then.
#[test]
fn every_command_in_every_state() {
    let mut rows = TABLE.lines().skip(1);
    let states: Vec<_> = rows.next().unwrap().split_whitespace().collect();
    assert_eq!(states, READING);
    let mut cells = 0;
    for row in rows {
        let words: Vec<_> = row.split_whitespace().collect();
        let (command, expected) = words.split_at(words.len() - states.len());
        let command = command.join(" ").replace("\\\\", "\\");
        for (state, expected) in states.iter().zip(expected) {
            let mut octets = support::script::unescape(&command);
            if !command.ends_with("abc") {
                octets.extend(b"\r\n");
            }
            let mut world = reach(state);
            let replies = world.talk("a", &octets);
            let over = if world.link("a").finished.is_some() {
                "-"
            } else {
                ""
            };
            assert_eq!(
                codes(&replies) + over,
                **expected,
                "{command} in {state}: {replies}"
            );
            // One reply for one command, and the session goes on.
            if over.is_empty() && !matches!(*expected, "354" | "220") {
                let next = world.talk("a", b"NOOP\r\n");
                assert_eq!(codes(&next), "250", "NOOP behind {command} in {state}");
            }
            cells += 1;
        }
    }
    assert_eq!(cells, 46 * 8);
}

const ANSWERS: &str = "
                      progress accepted refused awaiting-long fetching
CONT                  w        250r     554r    w             w
CONT x                501o     501o     501o    501o          501o
DETA                  221-     221-     221-    221-          w
DETA x                501o     501o     501o    501o          501o
RSET                  250r     554r     250r    250r          250r
RSET x                501o     501o     501o    501o          501o
EHLO x                250r     250r     250r    250r          250r
EHLO                  501o     501o     501o    501o          501o
HELO x                250r     250r     250r    250r          250r
LHLO x                503o     503o     503o    503o          503o
QUIT                  221-     221-     221-    221-          221-
QUIT x                501o     501o     501o    501o          501o
NOOP                  503o     503o     503o    503o          503o
MAIL FROM:<>          503o     503o     503o    503o          503o
MAIL FROM:<           501o     501o     501o    501o          501o
RCPT TO:<b@x>         503o     503o     503o    503o          503o
DATA                  503o     503o     503o    503o          503o
BDAT 3\\r\\nabc       503o     503o     503o    503o          503o
BDAT 0 LAST           503o     503o     503o    503o          503o
BDAT x                501-     501-     501-    501-          501-
BURL imap:x LAST      503o     503o     503o    503o          503o
VRFY x                503o     503o     503o    503o          503o
EXPN x                503o     503o     503o    503o          503o
HELP                  503o     503o     503o    503o          503o
AUTH PLAIN            503o     503o     503o    503o          503o
STARTTLS              503o     503o     503o    503o          503o
RDLV maxtimer=60      503o     503o     503o    503o          503o
RDLV                  501o     501o     501o    501o          501o
RDLV maxtimer=0       501o     501o     501o    501o          501o
RESUME <a@b>          503o     503o     503o    503o          503o
XYZ                   503o     503o     503o    503o          503o
X\\0Z                 500o     500o     500o    500o          500o
NOOP x\\nCONT         500o     500o     500o    500o          500o
";

/// RD-10, DE-05: every command in answer to a 120. Behind it: `o` the 120 is open still, `w` the
/// client waits for the final reply, `r` the transaction is over, `-` the session is.
#[test]
fn every_command_in_answer_to_a_120() {
    let mut rows = ANSWERS.lines().skip(1);
    let states: Vec<_> = rows.next().unwrap().split_whitespace().collect();
    assert_eq!(states, PROGRESS.map(|state| state.replace(' ', "-")));
    for row in rows {
        let words: Vec<_> = row.split_whitespace().collect();
        let (command, expected) = words.split_at(words.len() - states.len());
        let command = command.join(" ").replace("\\\\", "\\");
        for (state, expected) in PROGRESS.iter().zip(expected) {
            let mut octets = support::script::unescape(&command);
            if !command.ends_with("abc") {
                octets.extend(b"\r\n");
            }
            let mut world = reach(state);
            let replies = codes(&world.talk("a", &octets));
            let over = world.link("a").finished.is_some();
            let next = codes(&world.talk("a", b"NOOP\r\n"));
            let after = match (over, next.as_str()) {
                (true, "") => "-",
                (false, "503") => "o",
                (false, "250") => "r",
                (false, "") => "w",
                _ => panic!("{command} in {state}: {next}"),
            };
            assert_eq!(replies + after, **expected, "{command} in {state}");
            if after == "o" {
                // It is as it was.
                let next = codes(&world.talk("a", b"CONT\r\n"));
                let given = match *state {
                    "accepted" => "250",
                    "refused" => "554",
                    _ => "",
                };
                assert_eq!(next, given, "CONT behind {command} in {state}");
            }
        }
    }
}

/// What is not offered is unknown, however it is written.
#[test]
fn rdlv_and_deta_that_are_not_offered() {
    let without = || ServerConfig::builder("mx.example.net").build().unwrap();
    let alone = || {
        let rdlv = ServerSettings::new(30).unwrap();
        ServerConfig::builder("mx.example.net")
            .rdlv(rdlv)
            .build()
            .unwrap()
    };
    for (config, rdlv) in [(without(), false), (alone(), true)] {
        let mut world = World::new(config);
        world.hold.push("verdict".into());
        world.connect("a");
        let hello = world.talk("a", b"EHLO c.example\r\n");
        assert_eq!(hello.contains("RDLV mintimer=30"), rdlv);
        assert!(!hello.contains("DETA"));
        world.talk("a", ENVELOPE);
        let rdlv = |there: &'static str| if rdlv { there } else { "502" };
        for (line, expected) in [
            ("RDLV maxtimer=30", rdlv("250")),
            ("RDLV maxtimer=x", rdlv("501")),
            ("CONT", rdlv("503")),
            ("CONT x", rdlv("501")),
            ("DETA", "502"),
            ("deta x", "502"),
        ] {
            let replies = world.talk("a", format!("{line}\r\n").as_bytes());
            assert_eq!(codes(&replies), expected, "{line}");
        }
        world.talk("a", b"DATA\r\n");
        world.talk("a", b".\r\n");
        if rdlv("").is_empty() {
            // also in answer to a 120
            world.time_out("a");
            assert_eq!(codes(&world.take("a")), "120");
            assert_eq!(codes(&world.talk("a", b"DETA\r\nDETA x\r\n")), "502 502");
        } else {
            // there is none, and the decision has the time that it always has
            let deadline = world.link("a").session.poll_timeout().unwrap();
            assert_eq!(deadline.since(world.now), Duration::from_secs(540));
        }
    }
}

/// Commands wait for the answer that comes before theirs; then all replies are written in order.
/// Behind QUIT the end of the input is no loss (HD-05), in whatever state it comes.
#[test]
fn commands_wait_for_the_open_question_also_behind_the_end_of_input() {
    for (state, expected) in [
        ("hello asked", "250 250 221"),
        ("mail asked", "250 250 221"),
        ("rcpt asked", "250 250 221"),
        ("chunk asked", "250 250 221"),
        ("burl asked", "554 250 221"),
        ("deciding", "250 250 221"),
        ("deciding recorded", "250 250 221"),
        ("auth asked", "535 250 221"),
        ("sasl asked", "535 250 221"),
        ("command asked", "500 250 221"),
        ("connecting", "220 250 221"),
    ] {
        for end in [false, true] {
            let mut world = reach(state);
            if state == "chunk asked" {
                world.send("a", b"cde");
            }
            assert_eq!(world.talk("a", b"NOOP\r\nQUIT\r\n"), "", "{state}");
            if end {
                world.eof("a");
                assert_eq!(world.link("a").finished, None, "{state}");
            }
            for kind in world.hold.clone() {
                world.release(&kind);
            }
            assert_eq!(codes(&world.take("a")), expected, "{state}");
            assert_eq!(world.link("a").finished, Some(Ending::Quit), "{state}");
        }
    }
}

/// Octets that look like commands are content, SASL or part of a chunk.
#[test]
fn no_command_is_read_within_other_octets() {
    for state in OTHER {
        let mut world = reach(state);
        let replies = world.talk("a", b"QUIT\r\n");
        assert_eq!(codes(&replies), "", "{state}");
        assert_eq!(world.link("a").finished, None, "{state}");
    }
}

// ---- the end of the transport ----

/// HD-05: the end of the input ends the session in every state; nothing more is taken or written.
/// What has been received of a recorded transaction is told.
#[test]
fn the_end_of_the_input_in_every_state() {
    for state in every_state() {
        for broken in [false, true] {
            let mut world = reach(state);
            if broken {
                world.disconnect("a");
            } else {
                world.eof("a");
            }
            // The start of a chunk is read before the end is: its question is still open.
            if state == "chunk asked" && !broken {
                assert_eq!(world.link("a").finished, None);
                world.release("data");
            }
            assert_eq!(world.link("a").finished, Some(Ending::Lost), "{state}");
            let expected = if state == "recorded content" {
                "partial 6"
            } else {
                "none"
            };
            let held = world.store.outline();
            match state {
                "deciding recorded" | "awaiting" | "awaiting long" => {
                    assert_eq!(held, "processing 6");
                }
                "restart" => assert_eq!(held, "partial 6"),
                _ => assert_eq!(held, expected, "{state}"),
            }
            // Without a record a decision under way is to be abandoned (CP-14); while the caller
            // is asked for the way out, that question stands for it.
            let abandoned = matches!(state, "deciding" | "progress");
            assert_eq!(world.told("a", "Abandon"), abandoned, "{state}");
            for (decided, decision) in [("accepted", "Stands"), ("refused", "Refused")] {
                let told = world.told("a", &format!("ReplyUndelivered {decision}"));
                assert_eq!(told, state == decided, "{state}");
            }
            over(&mut world, state);
        }
    }
}

/// Nothing that happens after the end changes anything.
fn over(world: &mut World, state: &str) {
    let now = world.now;
    let session = &mut world.link("a").session;
    assert!(session.is_finished(), "{state}");
    assert_eq!(session.poll_timeout(), None, "{state}");
    let before = format!("{session:?}");
    let mut input = Bytes::from_static(b"QUIT\r\n");
    session.handle_input(now, &mut input);
    session.handle_timeout(now);
    session.shutdown(now);
    supersede(session, now);
    assert!(session.poll_event().is_none(), "{state}");
    assert_eq!(session.output(), b"", "{state}");
    assert!(!session.wants_input(), "{state}");
    let without_shutdown = |text: &str| text.split("shutdown:").next().unwrap().to_owned();
    assert_eq!(
        without_shutdown(&format!("{session:?}")),
        without_shutdown(&before),
        "{state}"
    );
}

/// Writing failed while the last reply was on its way: the session is lost, not ended by QUIT.
#[test]
fn a_transport_that_breaks_before_the_last_reply_is_a_loss() {
    let mut world = reach("ready");
    world.link("a").stuck = true;
    world.send("a", b"QUIT\r\n");
    assert_eq!(world.link("a").finished, None);
    world.disconnect("a");
    assert_eq!(world.link("a").finished, Some(Ending::Lost));
}

// ---- time ----

#[test]
fn every_time_out_in_every_state() {
    for state in every_state() {
        let (reply, ending) = match state {
            "handshake" => ("", Ending::Lost),
            "deciding" | "deciding recorded" => ("421 4.3.0", Ending::Closed),
            "connecting" => ("421 Local", Ending::Closed),

            // No hello has been accepted yet.
            "hello asked" => ("421 Local", Ending::Closed),
            // The client is gone, or any reply would promise too much.
            "detach asked" | "abort asked" => ("", Ending::Silent),
            state if PROGRESS.contains(&state) => ("", Ending::Silent),
            state if ASKED.iter().any(|(asked, _)| *asked == state) || state == "tls asked" => {
                ("421 4.3.0", Ending::Closed)
            }
            _ => ("421 4.4.2", Ending::Closed),
        };
        let mut world = reach(state);
        // Too early: nothing happens.
        let deadline = world.link("a").session.poll_timeout().unwrap();
        let left = deadline.since(world.now);
        world.wait("a", left - Duration::from_nanos(1));
        assert_eq!(world.take("a"), "", "{state}");
        assert_eq!(world.link("a").finished, None, "{state}");
        world.time_out("a");
        let received = world.take("a");
        if state == "awaiting" {
            // The decision is withdrawn, and this session begins it anew.
            assert!(world.told("a", "Abandon"));
            assert_eq!((received.as_str(), world.link("a").finished), ("", None));
            continue;
        }
        assert!(received.starts_with(reply), "{state}: {received}");
        assert_eq!(received.is_empty(), reply.is_empty(), "{state}: {received}");
        assert_eq!(world.link("a").finished, Some(ending), "{state}");
        let asked = matches!(state, "deciding" | "deciding recorded" | "progress");
        assert_eq!(world.told("a", "Abandon"), asked, "{state}");
        if state == "recorded content" || state == "deciding recorded" {
            assert_eq!(world.store.outline(), "partial 6", "{state}");
        }
        over(&mut world, state);
    }
}

/// The defaults of RFC 5321 §4.5.3.2 hold at least (CP-38).
#[test]
fn default_time_outs() {
    for (state, least) in [("ready", 300), ("content", 60), ("deciding", 500)] {
        let mut world = reach(state);
        let deadline = world.link("a").session.poll_timeout().unwrap();
        assert!(
            deadline.since(world.now) >= Duration::from_secs(least),
            "{state}"
        );
    }
}

/// Content that comes too slowly is 421, and what came is kept (HD-11).
#[test]
fn slow_content_is_ended_and_kept() {
    let mut world = reach("recorded content");
    for _ in 0..59 {
        world.wait("a", Duration::from_secs(1));
        world.send("a", b"x\r\n");
    }
    assert_eq!(world.take("a"), "");
    world.wait("a", Duration::from_secs(1));
    assert_eq!(codes(&world.take("a")), "421");
    assert!(world.told("a", "TooSlow"));
    assert_eq!(world.store.outline(), format!("partial {}", 6 + 2 + 59 * 3));
}

// ---- verbs ----

#[test]
fn shutdown_in_every_state() {
    for state in every_state() {
        let mut world = reach(state);
        world.shutdown("a");
        let received = world.take("a");
        match state {
            // The decision first (CP-21).
            "deciding" | "deciding recorded" | "awaiting" => {
                assert_eq!(received, "", "{state}");
                world.release("verdict");
                if state == "awaiting" {
                    world.store.held.values_mut().for_each(|held| {
                        let record = held.processing.take().unwrap();
                        held.record = Some(record.complete(&standard::OK.into()).unwrap());
                    });
                    world.run("a");
                }
                assert_eq!(codes(&world.take("a")), "250 421", "{state}");
            }
            // Then the client has to ask for it.
            "progress" | "accepted" | "awaiting long" => {
                assert_eq!(received, "", "{state}");
                world.release("verdict");
                if state == "awaiting long" {
                    world.decide(&standard::OK.into());
                }
                assert_eq!(world.take("a"), "", "{state}");
                world.send("a", b"CONT\r\n");
                assert_eq!(codes(&world.take("a")), "250 421", "{state}");
            }
            "refused" => assert_eq!(codes(&world.talk("a", b"CONT\r\n")), "554 421"),
            "detach asked" => {
                assert_eq!(received, "");
                world.release("detach");
                assert_eq!(codes(&world.take("a")), "221");
                assert_eq!(world.link("a").finished, Some(Ending::Detached));
                continue;
            }
            "abort asked" => {
                assert_eq!(received, "");
                world.release("abort");
                assert_eq!(codes(&world.take("a")), "250 421");
            }
            // Within a handshake no reply can be written: behind it.
            "handshake" => {
                assert_eq!(received, "");
                world.tls("a");
                assert_eq!(codes(&world.take("a")), "421");
            }
            _ => assert_eq!(codes(&received), "421", "{state}"),
        }
        assert_eq!(world.link("a").finished, Some(Ending::Closed), "{state}");
        if state == "recorded content" {
            assert_eq!(world.store.outline(), "partial 6");
        }
        over(&mut world, state);
    }
}

/// Only a transaction with a record can be superseded; it gets 421 and never a final reply.
#[test]
fn supersede_in_every_state() {
    for state in every_state() {
        let mut world = reach(state);
        let before = format!("{:?}", world.link("a").session);
        world.supersede("a");
        let recorded = [
            "restart",
            "recorded content",
            "deciding recorded",
            "awaiting",
            "awaiting long",
        ];
        if recorded.contains(&state) {
            assert_eq!(codes(&world.take("a")), "421", "{state}");
            assert_eq!(world.link("a").finished, Some(Ending::Closed), "{state}");
            assert!(!world.told("a", "Abandon"), "{state}");
            let received = state == "recorded content";
            assert_eq!(world.told("a", "Interrupted 6"), received, "{state}");
            over(&mut world, state);
        } else {
            assert_eq!(format!("{:?}", world.link("a").session), before, "{state}");
        }
    }
}

/// Calls that do not fit the state change nothing.
#[test]
fn calls_out_of_turn_in_every_state() {
    for state in every_state() {
        let mut world = reach(state);
        let now = world.now;
        let session = &mut world.link("a").session;
        let before = format!("{session:?}");
        if state != "handshake" {
            let outcome = TlsOutcome::Established { client: None };
            assert_eq!(
                session.handle_tls(now, outcome),
                Err(UsageError::OutOfTurn),
                "{state}"
            );
        }
        if !matches!(state, "content" | "recorded content" | "chunk" | "between") {
            let failed = session.fail_content(now, standard::LOCAL_ERROR);
            assert_eq!(failed, Err(UsageError::OutOfTurn), "{state}");
        }
        assert_eq!(
            session.fail_content(now, standard::OK),
            Err(UsageError::ReplyCode),
            "{state}"
        );
        assert_eq!(
            session.transmitted(now, 1),
            Err(UsageError::TransmittedTooMuch),
            "{state}"
        );
        assert!(session.poll_content(&mut Vec::new()).is_none(), "{state}");
        session.handle_timeout(now);
        assert_eq!(format!("{session:?}"), before, "{state}");
    }
}

// ---- answers ----

/// Answers a question as well as it can be answered.
fn answer(session: &mut ServerSession, question: Question) -> Result<Answered, UsageError> {
    let now = support_now();
    match question {
        Question::Connection(q) => (session.answer_connection(now, q, ConnectionAnswer::Accept))
            .map_err(|misanswered| misanswered.error),
        Question::Hello(q) => (session.answer_hello(now, q, HelloAnswer::Accept))
            .map_err(|misanswered| misanswered.error),
        Question::Mail(q) => (session.answer_mail(now, q, MailAnswer::accept(Claim::Unrecorded)))
            .map_err(|misanswered| misanswered.error),
        Question::Rcpt(q) => (session.answer_rcpt(now, q, standard::RECIPIENT_OK))
            .map_err(|misanswered| misanswered.error),
        Question::Data(q) => (session.answer_data(now, q, DataAnswer::Proceed))
            .map_err(|misanswered| misanswered.error),
        Question::Burl(q) => (session.answer_burl(now, q, BurlAnswer::Stored { octets: 3 }))
            .map_err(|misanswered| misanswered.error),
        Question::EndOfData(q) => {
            let verdict = EndOfDataAnswer::Decided(standard::OK.into());
            (session.answer_end_of_data(now, q, verdict)).map_err(|misanswered| misanswered.error)
        }
        Question::Await(q) => {
            let answer = smtp_checkpoint::server::AwaitAnswer::Withdrawn;
            (session.answer_await(now, q, answer)).map_err(|misanswered| misanswered.error)
        }
        Question::Abandon(q) => {
            let answer = smtp_checkpoint::server::AbandonAnswer::Abandoned;
            (session.answer_abandon(now, q, answer)).map_err(|misanswered| misanswered.error)
        }
        Question::Abort(q) => (session.answer_abort(now, q, ResetAnswer::Aborted))
            .map_err(|misanswered| misanswered.error),
        Question::Detach(q) => (session.answer_detach(now, q, DetachAnswer::Owned))
            .map_err(|misanswered| misanswered.error),
        Question::Auth(q) => {
            let answer = AuthAnswer::Success {
                identity: Bytes::from_static(b"tim"),
            };
            (session.answer_auth(now, q, answer)).map_err(|misanswered| misanswered.error)
        }
        Question::AuthResponse(q) => {
            let answer = AuthAnswer::Success {
                identity: Bytes::from_static(b"tim"),
            };
            (session.answer_auth_response(now, q, answer)).map_err(|misanswered| misanswered.error)
        }
        Question::StartTls(q) => {
            let answer = smtp_checkpoint::server::StartTlsAnswer::Proceed;
            (session.answer_starttls(now, q, answer)).map_err(|misanswered| misanswered.error)
        }
        Question::Command(q) => (session.answer_command(now, q, CommandAnswer::Unknown))
            .map_err(|misanswered| misanswered.error),
    }
}

fn support_now() -> smtp_checkpoint::time::Timestamp {
    smtp_checkpoint::time::Timestamp::ORIGIN
}

fn asking() -> impl Iterator<Item = &'static str> {
    let asked = ASKED.iter().map(|(state, _)| *state);
    asked.chain(["connecting", "tls asked", "awaiting"])
}

/// A question of another session is given back, and neither session has changed.
#[test]
fn a_foreign_answer_changes_nothing() {
    for state in asking() {
        let mut one = reach(state);
        let question = one.link("a").questions.pop_front().unwrap();
        let mut other = reach(state);
        let session = &mut other.link("a").session;
        let before = format!("{session:?}");
        assert_eq!(
            answer(session, question),
            Err(UsageError::ForeignToken),
            "{state}"
        );
        assert_eq!(format!("{session:?}"), before, "{state}");
    }
}

/// An answer whose session, or whose transaction, is over is stale, and changes nothing.
#[test]
fn a_stale_answer_changes_nothing() {
    for state in asking() {
        for end in ["end of input", "time-out", "shutdown"] {
            let mut world = reach(state);
            let question = world.link("a").questions.pop_front().unwrap();
            match end {
                "end of input" => world.disconnect("a"),
                "time-out" => world.time_out("a"),
                _ => world.shutdown("a"),
            }
            if world.link("a").finished.is_none() {
                // A decision is waited for at a shutdown; one that is withdrawn begins anew.
                assert!(end == "shutdown" || state == "awaiting", "{state}");
                continue;
            }
            let session = &mut world.link("a").session;
            let before = format!("{session:?}");
            assert_eq!(
                answer(session, question),
                Ok(Answered::Stale),
                "{state}, {end}"
            );
            assert!(session.poll_event().is_none());
            assert_eq!(session.output(), b"");
            assert_eq!(format!("{session:?}"), before, "{state}, {end}");
        }
    }
}

/// The answer to a question of an earlier transaction never answers one of a later one.
#[test]
fn a_late_answer_never_answers_another_question() {
    let mut world = reach("deciding");
    let old = world.link("a").questions.pop_front().unwrap();
    // The decision runs into its deadlines elsewhere; here another one ends the transaction.
    let Question::EndOfData(question) = old else {
        panic!()
    };
    let now = world.now;
    let session = &mut world.link("a").session;
    session
        .answer_end_of_data(now, question, EndOfDataAnswer::Decided(standard::OK.into()))
        .unwrap();
    world.hold.clear();
    world.hold.push("rcpt".into());
    world.send("a", ENVELOPE);
    world.send("a", b"RCPT TO:<c@x.example>\r\n");
    let first = world.link("a").questions.pop_front().unwrap();
    let second = world.link("a").questions.pop_front().unwrap();
    let session = &mut world.link("a").session;
    assert_eq!(answer(session, second), Ok(Answered::Taken));
    assert_eq!(
        session.output(),
        b"",
        "replies keep the order of the commands"
    );
    assert_eq!(answer(session, first), Ok(Answered::Taken));
    assert_eq!(codes(&String::from_utf8_lossy(session.output())), "250 250");
}

/// An answer that cannot stand there gives the question back, and nothing has changed.
#[test]
fn a_wrong_answer_changes_nothing() {
    for state in asking() {
        let mut world = reach(state);
        let now = world.now;
        let question = world.link("a").questions.pop_front().unwrap();
        let session = &mut world.link("a").session;
        let before = format!("{session:?}");
        let ok = || reply("250 OK");
        let (question, error) = match question {
            Question::Connection(q) => {
                let wrong = session
                    .answer_connection(now, q, ConnectionAnswer::Refuse(ok()))
                    .unwrap_err();
                (Question::Connection(wrong.question), wrong.error)
            }
            Question::Hello(q) => {
                let wrong = session
                    .answer_hello(now, q, HelloAnswer::Refuse(ok()))
                    .unwrap_err();
                (Question::Hello(wrong.question), wrong.error)
            }
            Question::Mail(q) => {
                let claim = Claim::Claimed {
                    generation: Generation(1),
                    found: None,
                };
                let wrong = (session.answer_mail(now, q, MailAnswer::accept(claim))).unwrap_err();
                assert_eq!(wrong.error, UsageError::ClaimWithoutTransId);
                let answer = MailAnswer::Refuse(ok());
                let wrong = (session.answer_mail(now, wrong.question, answer)).unwrap_err();
                (Question::Mail(wrong.question), wrong.error)
            }
            Question::Rcpt(q) => {
                let wrong = session.answer_rcpt(now, q, reply("354 No")).unwrap_err();
                (Question::Rcpt(wrong.question), wrong.error)
            }
            Question::Data(q) => {
                let answer = DataAnswer::Refuse(reply("354 No"));
                let wrong = session.answer_data(now, q, answer).unwrap_err();
                (Question::Data(wrong.question), wrong.error)
            }
            Question::Burl(q) => {
                let answer = BurlAnswer::Refuse(ok());
                let wrong = session.answer_burl(now, q, answer).unwrap_err();
                (Question::Burl(wrong.question), wrong.error)
            }
            Question::EndOfData(q) => {
                let two = Verdict::for_each_recipient([ok(), ok()]);
                let answer = EndOfDataAnswer::Decided(two);
                let wrong = session.answer_end_of_data(now, q, answer).unwrap_err();
                assert_eq!(wrong.error, UsageError::ReplyCount);
                let answer = EndOfDataAnswer::Decided(reply("421 Bye").into());
                let wrong = (session.answer_end_of_data(now, wrong.question, answer)).unwrap_err();
                (Question::EndOfData(wrong.question), wrong.error)
            }
            Question::Command(q) => {
                let answer = CommandAnswer::Reply(reply("120 No"));
                let wrong = session.answer_command(now, q, answer).unwrap_err();
                (Question::Command(wrong.question), wrong.error)
            }
            // These have no answer that could be wrong.
            Question::Await(_)
            | Question::Abandon(_)
            | Question::Abort(_)
            | Question::Detach(_)
            | Question::Auth(_)
            | Question::AuthResponse(_)
            | Question::StartTls(_) => continue,
        };
        assert_eq!(error, UsageError::ReplyCode, "{state}");
        assert_eq!(format!("{session:?}"), before, "{state}");
        assert_eq!(answer(session, question), Ok(Answered::Taken), "{state}");
    }
}

/// A question that was given its answer with 421 ends the session.
#[test]
fn a_refusal_with_421_ends_the_session() {
    let mut world = reach("mail asked");
    world
        .mail
        .push_back(support::MailPolicy::Reply(reply("421 4.3.2 Bye")));
    world.release("mail");
    assert_eq!(world.take("a"), "421 4.3.2 Bye\r\n");
    let mut world = reach("rcpt asked");
    world.rcpt.push_back(reply("421 4.3.2 Bye"));
    world.release("rcpt");
    assert_eq!(world.take("a"), "421 4.3.2 Bye\r\n");
    let mut world = reach("chunk asked");
    world.data.push_back(reply("421 4.3.2 Bye"));
    world.release("data");
    // The chunk is drained first.
    assert_eq!(world.take("a"), "");
    world.send("a", b"cde");
    assert_eq!(world.take("a"), "421 4.3.2 Bye\r\n");
    assert_eq!(world.link("a").finished, Some(Ending::Closed));
}

// ---- limits ----

fn limited(limits: Limits) -> World {
    let mut world = World::new(builder().limits(limits).build().unwrap());
    world.connect("a");
    world.send("a", b"EHLO c.example\r\n");
    world.take("a");
    world
}

#[test]
fn too_many_errors() {
    let mut world = limited(Limits {
        errors: 3,
        ..Limits::default()
    });
    let replies = world.talk("a", b"X\r\nX\r\nMAIL\r\nX\r\nNOOP\r\n");
    assert_eq!(codes(&replies), "500 500 501 421");
    assert_eq!(world.link("a").finished, Some(Ending::Closed));
    assert!(world.told("a", "TooManyErrors"));
}

/// Exactly at the limit, one octet more, and the session stays usable (SM-02).
#[test]
fn a_line_at_and_over_its_limit() {
    for octet_by_octet in [false, true] {
        let mut world = limited(Limits {
            command_line: 100,
            ..Limits::default()
        });
        let line = |length: usize| {
            let text = "x".repeat(length - "NOOP \r\n".len());
            format!("NOOP {text}\r\n").into_bytes()
        };
        let mut octets = line(100);
        octets.extend(line(101));
        octets.extend(line(5000));
        octets.extend(b"NOOP\r\n");
        let cuts = (1..octets.len()).filter(|_| octet_by_octet);
        world.send_cut("a", &octets, cuts);
        assert_eq!(codes(&world.take("a")), "250 500 500 250");
        // Not run as commands, and not taken for ones that could be.
        let mut chunk = vec![b' '; 200];
        chunk.splice(..4, *b"BDAT");
        chunk.extend(b"\r\nRSET\r\n");
        world.send("a", &chunk);
        assert_eq!(codes(&world.take("a")), "501");
        assert_eq!(world.link("a").finished, Some(Ending::Closed));
    }
}

#[test]
fn a_sasl_line_over_its_limit() {
    let mut world = limited(Limits {
        auth_line: 100,
        ..Limits::default()
    });
    world.auth.push_back(AuthAnswer::Challenge(Bytes::new()));
    assert_eq!(codes(&world.talk("a", b"AUTH PLAIN\r\n")), "334");
    let line = format!("{}\r\n", "A".repeat(99));
    assert!(world.talk("a", line.as_bytes()).starts_with("500 5.5.6"));
    assert_eq!(codes(&world.talk("a", b"NOOP\r\n")), "250");
}

/// Tokens of several thousand octets come in the AUTH command, whatever RFC 4954 §4 says of its
/// length: it has the limit of the exchange. All other commands keep theirs.
#[test]
fn an_auth_command_is_as_long_as_a_sasl_line() {
    let limits = Limits {
        command_line: 512,
        auth_line: 1000,
        ..Limits::default()
    };
    let line = |verb: &str, len: usize| format!("{verb}{}\r\n", "A".repeat(len - verb.len() - 2));
    for octet_by_octet in [false, true] {
        for (auth, verb, len, expected) in [
            (true, "auth PLAIN ", 997, "235 2.7.0"),
            (true, "AUTH PLAIN ", 1000, "501 5.5.2"), // not base64
            (true, "AUTH PLAIN ", 1001, "500 5.5.6"),
            (true, "AUTHX ", 513, "500 5.5.2"),
            (true, "NOOP ", 513, "500 5.5.2"),
            (false, "AUTH PLAIN ", 509, "502 5.5.1"),
            (false, "AUTH PLAIN ", 513, "500 5.5.2"),
        ] {
            let config = match auth {
                true => builder(),
                false => builder().auth([""; 0]),
            };
            let mut world = World::new(config.limits(limits.clone()).build().unwrap());
            world.connect("a");
            world.send("a", b"EHLO c.example\r\n");
            world.take("a");
            let identity = Bytes::from_static(b"tim");
            world.auth.push_back(AuthAnswer::Success { identity });
            let octets = line(verb, len).into_bytes();
            let cuts = (1..octets.len()).filter(|_| octet_by_octet);
            world.send_cut("a", &octets, cuts);
            let reply = world.take("a");
            assert!(reply.starts_with(expected), "{verb} {len}: {reply}");
            assert_eq!(codes(&world.talk("a", b"NOOP\r\n")), "250");
        }
    }
}

/// What a client proves itself with is in no log of the server's.
#[test]
fn nothing_secret_is_shown() {
    let command = Command::parse(b"AUTH PLAIN AHRpbQBzZWNyZXQ=").unwrap();
    assert!(!format!("{command:?}").contains("AHRp"));
    let config = builder().build().unwrap();
    let now = support_now();
    let mut session = ServerSession::new(Arc::new(config), Peer::default(), now);
    for (line, kind) in [
        (
            &b"EHLO c.example\r\nAUTH PLAIN AHRpbQBzZWNyZXQ=\r\n"[..],
            "Auth(",
        ),
        (b"AHRpbQBzZWNyZXQ=\r\n", "AuthResponse("),
    ] {
        session.handle_input(now, &mut Bytes::from_static(line));
        // Neither what is yet to be read.
        let unread = format!("{session:?}");
        assert!(unread.contains("unread: ") && !unread.contains("AHRp"));
        let event = session.poll_event().unwrap();
        let shown = format!("{event:?}");
        assert!(
            shown.starts_with(kind) && shown.contains("[11 octets]"),
            "{shown}"
        );
        if let Event::Auth(question) = event {
            assert_eq!(question.initial_response(), Some(&b"\0tim\0secret"[..]));
            session
                .answer_auth(now, question, AuthAnswer::Challenge(Bytes::new()))
                .unwrap();
        }
    }
}

// ---- orders of draining ----

/// Whether the output is transmitted before or after the next command is read makes no difference:
/// a chunk that came before the 355 could be read is drained (CP-20).
#[test]
fn a_chunk_received_before_the_355_is_drained_in_any_order_of_draining() {
    for transmit_first in [false, true] {
        let mut world = World::new(builder().build().unwrap());
        world.connect("a");
        world.send("a", b"EHLO c.example\r\n");
        world.send("a", RECORDED);
        world.send("a", b"BDAT 2 LAST\r\nab");
        world.take("a");
        let now = world.now;
        world.hold.push("mail".into());
        world.send(
            "a",
            b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\nBDAT 0 LAST\r\n",
        );
        let question = world.link("a").questions.pop_front().unwrap();
        let Question::Mail(question) = question else {
            panic!()
        };
        let claim = world.store.claim(question.key().unwrap()).unwrap();
        let session = &mut world.link("a").session;
        session
            .answer_mail(now, question, MailAnswer::accept(claim))
            .unwrap();
        let mut received = Vec::new();
        if transmit_first {
            let octets = session.take_output().unwrap();
            session.transmitted(now, octets.len()).unwrap();
            received.extend(octets);
        }
        while session.poll_event().is_some() {}
        received.extend(session.take_output().into_iter().flatten());
        assert_eq!(codes(&String::from_utf8(received).unwrap()), "355 503");
    }
}

/// Advice to drop the record that a fresh transaction replaces may be lost: where the store then
/// finds content that should not be there, it is advised once more (CP-19).
#[test]
fn a_lost_discard_is_told_again_when_the_length_is_wrong() {
    use smtp_checkpoint::checkpoint::{
        Confirmation, DataOutcome, Following, Identity, MailOutcome, Offered, Scope, Transaction,
        TransactionKey, Transfer,
    };
    let identity = Identity::Authenticated(b"tim");
    let transid = smtp_checkpoint::transid::TransId::parse(b"<1@c>").unwrap();
    let key = TransactionKey::new(
        &Scope {
            identity,
            tls: true,
        },
        transid,
    );
    let mut transaction = Transaction::default();
    let mut begin = |mail: &[u8], generation, found| {
        transaction.begin(mail, Some(key.clone())).unwrap();
        let generation = Generation(generation);
        let claim = Claim::Claimed { generation, found };
        let outcome = transaction.claim(
            claim,
            Offered::default(),
            Following::Nothing,
            reply("250 OK"),
        );
        assert_eq!(outcome, MailOutcome::Fresh);
        assert!(transaction.rcpt(b"RCPT TO:<b@x.example>").is_ok());
        let discard = transaction.answer_recipient(0, reply("250 OK"));
        let outcome = transaction.data(Transfer::Data);
        assert!(matches!(outcome, DataOutcome::Confirm { .. }));
        let confirmation = match discard {
            None => Confirmation::Current,
            Some(_) => Confirmation::WrongLength,
        };
        let again = transaction.confirm(confirmation);
        assert_eq!(again, discard);
        transaction.progress(6.into(), smtp_checkpoint::dot::Faults::default());
        (discard.is_some(), transaction.snapshot())
    };
    let (discarded, record) = begin(b"MAIL FROM:<a@c.example> TRANSID=<1@c>", 1, None);
    assert!(!discarded && record.is_some());
    let (discarded, none) = begin(b"MAIL FROM:<b@c.example> TRANSID=<1@c>", 2, record);
    assert!(discarded && none.is_none());
}

/// A record of LMTP is none for SMTP: other replies are owed.
#[test]
fn a_record_of_the_other_protocol() {
    for (first, second) in [
        (Protocol::Smtp, Protocol::Lmtp),
        (Protocol::Lmtp, Protocol::Smtp),
    ] {
        for end in [false, true] {
            let config = |protocol| builder().protocol(protocol).build().unwrap();
            let hello = |protocol| match protocol {
                Protocol::Smtp => &b"EHLO c.example\r\n"[..],
                Protocol::Lmtp => b"LHLO c.example\r\n",
            };
            let mut world = World::new(config(first));
            world.connect("a");
            world.send("a", hello(first));
            world.send("a", RECORDED);
            world.send("a", b"DATA\r\nline\r\n");
            if end {
                world.send("a", b".\r\n");
            }
            world.eof("a");
            world.config = Arc::new(config(second));
            world.connect("b");
            world.send("b", hello(second));
            world.take("b");
            let replies = world.talk("b", b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n");
            assert_eq!(codes(&replies), if end { "503" } else { "250" });
        }
    }
}

// ---- types ----

#[test]
fn sessions_and_questions_go_anywhere() {
    fn anywhere<T: Send + Sync + 'static>() {}
    anywhere::<ServerSession>();
    anywhere::<ServerConfig>();
    anywhere::<Event>();
    anywhere::<ConnectionQuestion>();
    anywhere::<HelloQuestion>();
    anywhere::<MailQuestion>();
    anywhere::<RcptQuestion>();
    anywhere::<DataQuestion>();
    anywhere::<BurlQuestion>();
    anywhere::<EndOfDataQuestion>();
    anywhere::<AwaitQuestion>();
    anywhere::<AbandonQuestion>();
    anywhere::<AbortQuestion>();
    anywhere::<DetachQuestion>();
    anywhere::<AuthQuestion>();
    anywhere::<AuthResponseQuestion>();
    anywhere::<StartTlsQuestion>();
    anywhere::<CommandQuestion>();
}

// ---- splits ----

const PIECES: &[&[u8]] = &[
    b"EHLO c.example\r\n",
    b"HELO c.example\r\n",
    b"MAIL FROM:<a@c.example>\r\n",
    b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n",
    b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n",
    b"MAIL FROM:<b@c.example> TRANSID=<1@c>\r\n",
    b"RCPT TO:<b@x.example>\r\n",
    b"RCPT TO:<b@x.example>\r\n",
    b"RCPT TO:<c@x.example> X=1\r\n",
    b"DATA\r\n",
    b"DATA\r\nline\r\n..\r\n.\r\n",
    b"DATA\r\nli\nne\r\n.\r\n",
    b"DATA\r\n.\r\n",
    b".\r\n",
    b"BDAT 3\r\nabc",
    b"BDAT 3 LAST\r\na\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 2\r\n\r\n",
    b"BURL imap:x LAST\r\n",
    b"RSET\r\n",
    b"NOOP\nRSET\r\n",
    b"XYZ\r\n",
    b"AUTH PLAIN\r\n",
    b"AA==\r\n",
    b"*\r\n",
    b"STARTTLS\r\n",
    b"VRFY x\r\n",
    b"RDLV maxtimer=60\r\n",
    b"CONT\r\n",
    b"DETA\r\n",
    b"QUIT\r\n",
];

/// What the client sees and what is stored and told, over one connection after the other.
fn play(script: &[Vec<usize>], cuts: &[usize]) -> String {
    let mut world = World::new(builder().build().unwrap());
    let mut seen = String::new();
    for (index, commands) in script.iter().enumerate() {
        let name = index.to_string();
        world.connect(&name);
        world.send(&name, b"EHLO c.example\r\n");
        let burst: Vec<u8> = (commands.iter().flat_map(|command| PIECES[*command]))
            .copied()
            .collect();
        let mut cuts: Vec<_> = (cuts.iter()).map(|cut| cut % burst.len().max(1)).collect();
        cuts.sort_unstable();
        world.auth.push_back(AuthAnswer::Challenge(Bytes::new()));
        world.send_cut(&name, &burst, cuts);
        world.eof(&name);
        seen += &world.take(&name);
        seen += &world.link(&name).log.join(" ");
        world.auth.clear();
    }
    seen + &world.store.state()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// The way the input is split makes no difference.
    #[test]
    fn splits_make_no_difference(
        script in prop::collection::vec(prop::collection::vec(0..PIECES.len(), 0..12), 1..4),
        cuts in prop::collection::vec(0usize..2000, 0..20),
    ) {
        let whole = play(&script, &[]);
        prop_assert_eq!(&whole, &play(&script, &cuts));
        let all: Vec<_> = (0..600).collect();
        prop_assert_eq!(&whole, &play(&script, &all));
    }
}

/// As a store does it: by the claim that is lost.
fn supersede(session: &mut ServerSession, now: smtp_checkpoint::time::Timestamp) {
    let claim = session.transaction();
    if let Some((key, generation)) = claim.key().cloned().zip(claim.generation()) {
        session.supersede(now, &key, generation);
    }
}
