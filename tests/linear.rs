//! Work grows with the octets that come, whatever they are and in whatever pieces: the calls of the
//! allocator, the octets asked of it and the rounds of the loop here, instructions with
//! `.ci/run work`, which runs [`one`] under valgrind.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod gauge;

use bytes::Bytes;
use gauge::client::Client;
use gauge::server::{NOW, Server};
use gauge::{Gauge, KIB};
use smtp_checkpoint::checkpoint::{Outcome, Record};
use smtp_checkpoint::limits::Limits;

const ENVELOPE: &str = "MAIL FROM:<a@c.example> TRANSID=<1@c>\r\nRCPT TO:<b@x.example>\r\n";

/// Gives the rounds that `size` took, which is a number of octets, commands or recipients.
type Work = fn(size: usize) -> u64;

const WORKS: [(&str, Work); 14] = [
    ("content-in-octets", content_in_octets),
    ("dotted-lines", dotted_lines),
    ("line-ends-alone", line_ends_alone),
    ("long-command", long_command),
    ("commands", commands),
    ("chunks", chunks),
    ("recipients", recipients),
    ("recipients-again", recipients_again),
    ("recipients-refused-again", recipients_refused_again),
    ("replies-in-octets", replies_in_octets),
    ("transactions", transactions),
    ("client-content-in-octets", client_content_in_octets),
    ("client-recipients", client_recipients),
    ("client-long-reply", client_long_reply),
];

fn server() -> Server {
    Server::with(Limits {
        message_size: None,
        recipients: usize::MAX,
        idle_commands: u32::MAX,
        errors: u32::MAX,
        ..Limits::default()
    })
}

fn in_pieces(server: &mut Server, octets: &[u8], of: usize) {
    for piece in octets.chunks(of) {
        server.feed(Bytes::copy_from_slice(piece));
    }
}

fn receive(content: &[u8], of: usize) -> u64 {
    let mut server = server();
    server.say(ENVELOPE);
    server.say("DATA\r\n");
    in_pieces(&mut server, content, of);
    server.say("\r\n.\r\n");
    assert_eq!(server.replies[2], 3);
    server.rounds
}

fn content_in_octets(size: usize) -> u64 {
    receive(&b"a line\r\n".repeat(size / 8), 1)
}

fn dotted_lines(size: usize) -> u64 {
    receive(&b"..\r\n".repeat(size / 4), 16 * KIB)
}

fn line_ends_alone(size: usize) -> u64 {
    receive(&b"\r\n".repeat(size / 2), 1000)
}

fn long_command(size: usize) -> u64 {
    let mut server = server();
    in_pieces(&mut server, &vec![b'x'; size], 1);
    server.say("\r\n");
    assert_eq!(server.replies[5], 1);
    server.rounds
}

/// In one piece, as many as fit.
fn commands(size: usize) -> u64 {
    let mut server = server();
    server.feed(Bytes::from(b"NOOP\r\n".repeat(size / 6)));
    assert_eq!(server.replies[2], (size / 6) as u64);
    server.rounds
}

fn chunks(size: usize) -> u64 {
    let mut server = server();
    server.say(ENVELOPE);
    server.feed(Bytes::from(b"BDAT 1\r\nx".repeat(size / 9)));
    assert_eq!(server.taken, (size / 9) as u64);
    server.rounds
}

fn group(size: usize) -> Bytes {
    let mut group = String::new();
    for number in 0..size / 32 {
        group += &format!("RCPT TO:<r{number}@x.example>\r\n");
    }
    group.into()
}

fn recipients(size: usize) -> u64 {
    let mut server = server();
    server.say("MAIL FROM:<a@c.example>\r\n");
    server.feed(group(size));
    assert_eq!(server.accepted, size / 32);
    server.say("DATA\r\n.\r\n");
    assert_eq!(server.replies[3], 1);
    server.rounds
}

/// The record of a transaction with these recipients.
fn record(group: Bytes) -> Box<Record> {
    let mut server = server();
    server.say("MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n");
    server.feed(group);
    server.say("DATA\r\nline\r\n");
    server.session.handle_eof(NOW);
    server.feed(Bytes::new());
    server.interrupted.take().expect("a record")
}

/// A restart repeats them all.
fn recipients_again(size: usize) -> u64 {
    let mut server = server();
    server.found = Some(record(group(size)));
    server.say("MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n");
    server.feed(group(size));
    assert_eq!(server.replies[2], (size / 32) as u64);
    server.rounds
}

/// A restart with strangers beside a hundred, more than any limit of errors allows.
fn recipients_refused_again(size: usize) -> u64 {
    let mut server = server();
    server.found = Some(record(group(32 * 100)));
    server.say("MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n");
    server.feed(Bytes::from(
        b"RCPT TO:<nobody@x.example>\r\n".repeat(size / 32),
    ));
    assert_eq!(server.replies[5], (size / 32) as u64);
    server.rounds
}

/// Nobody takes the output, then the transport takes it octet by octet.
fn replies_in_octets(size: usize) -> u64 {
    let mut server = server();
    server.take_output = false;
    server.feed(Bytes::from(b"NOOP\r\n".repeat(size / 6)));
    while !server.session.output().is_empty() {
        server.session.transmitted(NOW, 1).unwrap();
        server.feed(Bytes::new());
    }
    assert!(server.session.wants_input());
    server.rounds
}

fn transactions(size: usize) -> u64 {
    let mut server = server();
    for _ in 0..size / 128 {
        server.say(ENVELOPE);
        server.say("DATA\r\n");
        server.say("line\r\n.\r\n");
    }
    assert_eq!(server.replies[3], (size / 128) as u64);
    server.rounds
}

fn client(recipients: usize, times: usize) -> Client {
    let block = Bytes::from_static(b".a line \r\n\r\n....\r\n12345678901\r\n");
    Client::new(recipients, block, times as u64)
}

fn client_content_in_octets(size: usize) -> u64 {
    let mut client = client(1, size / 32);
    client.takes = 1;
    client.begin();
    client.say(b"250 OK\r\n");
    client.say(b"354 Go ahead\r\n");
    client.say(b"250 OK\r\n");
    assert!(matches!(client.outcome, Some(Outcome::Delivered { .. })));
    client.rounds + client.written
}

fn client_recipients(size: usize) -> u64 {
    let mut client = client(size / 32, 1);
    client.begin();
    for _ in 0..size / 32 {
        client.say(b"250 OK\r\n");
    }
    client.say(b"354 Go ahead\r\n");
    client.say(b"250 OK\r\n");
    assert!(matches!(client.outcome, Some(Outcome::Delivered { .. })));
    client.rounds
}

/// Within the limits, octet by octet, again and again.
fn client_long_reply(size: usize) -> u64 {
    let mut client = client(size / 128, 1);
    client.begin();
    for _ in 0..size / 128 {
        for octet in b"250-more of it\r\n"
            .repeat(7)
            .iter()
            .chain(b"250 the end\r\n")
        {
            client.say(&[*octet]);
        }
    }
    client.say(b"354 Go ahead\r\n");
    assert!(client.given > 0);
    client.rounds
}

/// What `size` takes: rounds, calls of the allocator, octets asked of it.
fn cost(work: Work, size: usize) -> [u64; 3] {
    let gauge = Gauge::new();
    let rounds = work(size);
    let (calls, octets) = gauge.allocated();
    [rounds, calls as u64, octets as u64]
}

/// From one size to twice it and four times it: the second step is twice the first, or less.
#[test]
fn allocations_and_rounds_grow_with_the_input() {
    for (name, work) in WORKS {
        let [one, two, four] = [32, 64, 128].map(|size| cost(work, size * KIB));
        for (at, what) in ["rounds", "calls of the allocator", "octets asked for"]
            .iter()
            .enumerate()
        {
            let first = two[at].saturating_sub(one[at]);
            let second = four[at].saturating_sub(two[at]);
            println!("{name}: {what} {} {} {}", one[at], two[at], four[at]);
            // Buffers that double when they are full come early or late.
            let slack = 64 + four[at] / 6;
            assert!(
                second <= 2 * first + slack,
                "{name}: {what} {one:?} {two:?} {four:?}"
            );
        }
    }
}

/// `WORK=list` tells the names; `WORK=name` with `WORK_SIZE` in octets runs one of them.
#[test]
fn one() {
    let Ok(wanted) = std::env::var("WORK") else {
        return;
    };
    for (name, work) in WORKS {
        if wanted == "list" {
            println!("work {name}");
        } else if wanted == name {
            let size = std::env::var("WORK_SIZE").unwrap().parse().unwrap();
            println!("{name}: {} rounds", work(size));
        }
    }
}
