//! How much memory a session takes when a peer or a caller makes it as hard as it can.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod gauge;

use bytes::Bytes;
use gauge::client::Client;
use gauge::server::Server;
use gauge::{Gauge, KIB};
use smtp_checkpoint::checkpoint::Outcome;
use smtp_checkpoint::limits::Limits;

fn piece(octet: u8) -> Bytes {
    Bytes::from(vec![octet; 64 * KIB])
}

#[test]
fn a_command_line_of_a_gibibyte() {
    let gauge = Gauge::new();
    let pieces = piece(b'x');
    let mut server = Server::new();
    gauge.peak();
    let before = gauge.held();
    for _ in 0..16 * KIB {
        server.feed(pieces.clone());
    }
    assert!(
        gauge.peak() - before < 64 * KIB,
        "no more than a session's own"
    );
    server.say("\r\nNOOP\r\n");
    assert_eq!(server.replies, [0, 0, 1, 0, 0, 1]);
}

#[test]
fn a_message_of_a_gibibyte() {
    let gauge = Gauge::new();
    // Lines, with a dot at the start of some.
    let mut lines = b"..a line that begins with a dot\r\n".repeat(32);
    lines.resize(64 * KIB - 2, b'x');
    lines.extend(b"\r\n");
    let (pieces, canonical) = (Bytes::from(lines), 64 * KIB as u64 - 32);
    let mut server = Server::new();
    server.say("MAIL FROM:<a@c.example> TRANSID=<1@c>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n");
    let mut peaks = Vec::new();
    for round in 0..4 {
        for _ in 0..4 * KIB {
            server.feed(pieces.clone());
        }
        peaks.push((round, gauge.peak()));
    }
    // The buffer that is fed, and as much again for copies: constant.
    assert!(peaks.iter().all(|(_, peak)| *peak < 256 * KIB), "{peaks:?}");
    assert!(peaks[3].1 <= peaks[0].1 + KIB, "{peaks:?}");
    assert_eq!(server.taken, 16 * KIB as u64 * canonical);
    server.say(".\r\n");
    assert_eq!(server.replies, [0, 0, 3, 1, 0, 0]);
}

/// A line of content goes on for ever: it is handed over as it comes.
#[test]
fn a_line_of_content_of_a_gibibyte() {
    let gauge = Gauge::new();
    let pieces = piece(b'x');
    let mut server = Server::new();
    server.say("MAIL FROM:<a@c.example> TRANSID=<1@c>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n");
    gauge.peak();
    for _ in 0..16 * KIB {
        server.feed(pieces.clone());
    }
    assert!(gauge.peak() < 256 * KIB);
    assert_eq!(server.taken, 1 << 30);
    server.say("\r\n.\r\n");
    assert_eq!(server.replies, [0, 0, 3, 1, 0, 0]);
}

#[test]
fn a_chunk_of_a_gibibyte() {
    let gauge = Gauge::new();
    let pieces = piece(b'x');
    let mut server = Server::new();
    server.say("MAIL FROM:<a@c.example> TRANSID=<1@c>\r\nRCPT TO:<b@x.example>\r\n");
    server.say("BDAT 1073741824 LAST\r\n");
    gauge.peak();
    for _ in 0..16 * KIB {
        server.feed(pieces.clone());
    }
    assert!(gauge.peak() < 256 * KIB);
    assert_eq!(server.replies, [0, 0, 3, 0, 0, 0]);
}

#[test]
fn a_refused_chunk_of_a_gibibyte() {
    let gauge = Gauge::new();
    let pieces = piece(b'\n');
    let mut server = Server::new();
    server.say("BDAT 1073741824 LAST\r\n");
    gauge.peak();
    for _ in 0..16 * KIB {
        server.feed(pieces.clone());
    }
    let peak = gauge.peak();
    assert!(peak < 128 * KIB, "{peak}");
    server.say("NOOP\r\n");
    assert_eq!(server.replies, [0, 0, 1, 0, 0, 1]);
}

#[test]
fn a_million_chunks_of_one_octet() {
    let gauge = Gauge::new();
    let mut server = Server::new();
    server.say("MAIL FROM:<a@c.example> TRANSID=<1@c>\r\nRCPT TO:<b@x.example>\r\n");
    let thousand = Bytes::from(b"BDAT 1\r\nx".repeat(1000));
    gauge.peak();
    let mut peaks = Vec::new();
    for _ in 0..10 {
        for _ in 0..100 {
            server.feed(thousand.clone());
        }
        peaks.push(gauge.peak());
    }
    assert_eq!(server.taken, 1_000_000);
    assert!(peaks.iter().all(|peak| *peak < 256 * KIB), "{peaks:?}");
    assert!(peaks[9] <= peaks[0] + KIB, "{peaks:?}");
    server.say("BDAT 0 LAST\r\n");
    assert_eq!(server.replies[2], 2 + 1_000_000 + 1);
}

#[test]
fn ten_thousand_recipients() {
    let gauge = Gauge::new();
    let mut server = Server::new();
    server.say("MAIL FROM:<a@c.example>\r\n");
    let mut group = String::new();
    for number in 0..10_000 {
        group += &format!("RCPT TO:<recipient{number}@x.example>\r\n");
    }
    let group = Bytes::from(group);
    gauge.peak();
    let before = gauge.held();
    server.feed(group.clone());
    assert_eq!(server.accepted, 1000);
    assert_eq!(server.replies, [0, 0, 1 + 1000, 0, 9000, 0]);
    let taken = gauge.held() - before;
    assert!(taken < 512 * KIB, "{taken} for the envelope");
    server.say("DATA\r\n.\r\nQUIT\r\n");
    assert_eq!(server.replies, [0, 0, 1 + 1000 + 2, 1, 9000, 0]);
}

/// All of them accepted, by a server that allows so many, and again after an interruption.
#[test]
fn ten_thousand_recipients_accepted() {
    let gauge = Gauge::new();
    let limits = || Limits {
        recipients: 10_000,
        ..Limits::default()
    };
    let mut group = String::new();
    for number in 0..10_000 {
        group += &format!("RCPT TO:<recipient{number}@x.example>\r\n");
    }
    let group = Bytes::from(group);
    let octets = group.len();
    let mut server = Server::with(limits());
    let before = gauge.held();
    gauge.peak();
    server.say("MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n");
    server.feed(group.clone());
    assert_eq!(server.accepted, 10_000);
    let (held, peak) = (gauge.held() - before, gauge.peak() - before);
    assert!(held < 8 * octets, "{held} for {octets} octets of commands");
    assert!(peak < 16 * octets, "{peak} for {octets} octets of commands");

    server.say("DATA\r\nline\r\n");
    server.session.handle_eof(gauge::server::NOW);
    server.feed(Bytes::new());
    let record = server.interrupted.take().expect("a record");
    let mut again = Server::with(limits());
    again.found = Some(record);
    again.say("MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n");
    again.feed(group);
    again.say("DATA\r\n.\r\n");
    assert_eq!(again.replies, [0, 0, 10_000 + 1, 2, 0, 0]);
}

/// Nobody takes the output: no more commands are read, and what is written has a bound (SM-02).
#[test]
fn a_mebibyte_of_commands_whose_output_nobody_takes() {
    let gauge = Gauge::new();
    let mut server = Server::new();
    server.say("MAIL FROM:<a@c.example>\r\nRCPT TO:<b@x.example>\r\n");
    server.take_output = false;
    let commands = Bytes::from(b"BDAT 0\r\n".repeat(128 * KIB));
    let before = gauge.held();
    gauge.peak();
    server.feed(commands);
    assert!(gauge.peak() - before < 256 * KIB);
    assert!(!server.session.wants_input());
    let waiting = server.session.output().len();
    assert!((64 * KIB..66 * KIB).contains(&waiting), "{waiting}");
    assert!(server.session.poll_event().is_none());
    // Once it is taken, all goes on.
    server.take_output = true;
    server.feed(Bytes::new());
    assert!(server.session.wants_input());
    assert_eq!(server.replies[2], 2 + 128 * KIB as u64);
}

/// Octets that come one by one cost no more than those that come together.
#[test]
fn an_idle_session_is_small() {
    let gauge = Gauge::new();
    let mut server = Server::new();
    for _ in 0..10 {
        for octet in b"EHLO c.example\r\nMAIL FROM:<a@c>\r\nRCPT TO:<b@x>\r\nDATA\r\nx\r\n.\r\n" {
            server.feed(Bytes::copy_from_slice(&[*octet]));
        }
    }
    assert!(gauge.peak() < 32 * KIB);
    let held = gauge.held();
    assert!(held < 8 * KIB, "{held}");
}

fn lines() -> Bytes {
    let line = [&b".a line that begins with a dot"[..], &[b'x'; 32], b"\r\n"].concat();
    Bytes::from(line.repeat(1024))
}

#[test]
fn a_client_sends_a_gibibyte() {
    let gauge = Gauge::new();
    let times = (1 << 30) / lines().len() as u64;
    let mut client = Client::new(1, lines(), times);
    client.begin();
    client.say(b"250 OK\r\n");
    gauge.peak();
    client.say(b"354 Go ahead\r\n");
    assert!(gauge.peak() < 512 * KIB);
    let sent = times * lines().len() as u64;
    // Each line has a dot more.
    let overhead = client.written - sent;
    assert!((1 << 24..1 << 25).contains(&overhead), "{overhead}");
    client.say(b"250 OK\r\n");
    assert!(matches!(client.outcome, Some(Outcome::Delivered { .. })));
}

/// A reply without end: a line that is skipped, or lines that are refused.
#[test]
fn a_reply_of_a_gibibyte() {
    for piece in [piece(b'2'), Bytes::from(b"250-x\r\n".repeat(8 * KIB))] {
        let gauge = Gauge::new();
        let mut client = Client::new(1, lines(), 1);
        client.begin();
        let before = gauge.held();
        gauge.peak();
        for _ in 0..16 * KIB {
            client.feed(piece.clone());
        }
        let peak = gauge.peak() - before;
        assert!(peak < 256 * KIB, "{peak}");
    }
}

#[test]
fn a_client_with_ten_thousand_recipients() {
    let gauge = Gauge::new();
    let mut client = Client::new(10_000, lines(), 1);
    let before = gauge.held();
    gauge.peak();
    client.begin();
    let octets = usize::try_from(client.written).unwrap();
    let replies = Bytes::from(b"250 2.1.5 Recipient OK\r\n".repeat(10_000));
    client.feed(replies);
    let peak = gauge.peak() - before;
    assert!(peak < 16 * octets, "{peak} for {octets} octets of commands");
    client.say(b"354 Go ahead\r\n");
    client.say(b"250 OK\r\n");
    assert!(matches!(client.outcome, Some(Outcome::Delivered { .. })));
}
