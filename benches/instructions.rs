//! Fixed workloads for counting instructions: `.ci/run instructions` runs each under valgrind.
//!
//! `instructions WORKLOAD COUNT` does one of them COUNT times. The difference of two counts is the
//! work alone, without what the process does around it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::hint::black_box;

use bytes::Bytes;

mod work;

use work::{client, codec, content, parse, server};

const KIB: usize = 1024;

/// A name, and what makes the work ready and returns it.
type Workload = (&'static str, fn() -> Box<dyn FnMut()>);

const WORKLOADS: [Workload; 15] = [
    // The anchor: where it differs from what was recorded, the processor's vectors do.
    ("memchr2-1MiB", || {
        let quiet = vec![b'x'; 1024 * KIB];
        Box::new(move || {
            black_box(memchr::memchr2(1, 2, black_box(&quiet)));
        })
    }),
    ("decode-base64-1MiB", || decode(76, false, 1024 * KIB)),
    ("decode-dotted-256KiB", || decode(76, true, 256 * KIB)),
    ("decode-dots-64KiB", || decode(0, true, 64 * KIB)),
    ("decode-batch-base64-1MiB", || {
        decode_batch(false, 1024 * KIB)
    }),
    ("decode-batch-dotted-256KiB", || {
        decode_batch(true, 256 * KIB)
    }),
    ("encode-base64-1MiB", || encode(false, 1024 * KIB)),
    ("encode-dotted-256KiB", || encode(true, 256 * KIB)),
    ("parse-commands", || Box::new(parse::commands)),
    ("parse-ehlo-reply", || Box::new(|| parse::ehlo(parse::EHLO))),
    ("parse-355", || Box::new(|| parse::offset(parse::OFFSET))),
    ("server-session-4KiB", || {
        let mut server = server::Server::default();
        let reads = server::plain(&content(76, false, 4 * KIB));
        Box::new(move || {
            server.serve(&reads);
            assert!(server.replies.starts_with(b"220 ") && server.received > 4000);
        })
    }),
    // In a session that has had such before.
    ("server-message-4KiB", || {
        let mut server = server::Server::default();
        let reads = server::plain(&content(76, false, 4 * KIB));
        let (hello, message) = reads.split_at(1);
        server.read(hello);
        let message = message[..2].to_vec();
        Box::new(move || {
            server.received = 0;
            server.replies.clear();
            server.read(&message);
            assert!(server.replies.ends_with(b"accepted\r\n") && server.received > 4000);
        })
    }),
    ("server-restart-4KiB", || {
        let rest = content(76, false, 4 * KIB);
        let (mut server, reads) = server::interrupted(&content(76, false, 64 * KIB), &rest);
        Box::new(move || {
            server.serve(&reads);
            assert_eq!(server.received, rest.len());
        })
    }),
    ("client-session-4KiB", || {
        let client = client::Client::new(content(76, false, 4 * KIB));
        Box::new(move || assert!(client.send() > 4000))
    }),
];

fn decode(line: usize, dotted: bool, octets: usize) -> Box<dyn FnMut()> {
    let wire = codec::wire(&content(line, dotted, octets));
    Box::new(move || {
        black_box(codec::decode(black_box(&wire)));
    })
}

fn decode_batch(dotted: bool, octets: usize) -> Box<dyn FnMut()> {
    let wire = Bytes::from(codec::wire(&content(76, dotted, octets)));
    Box::new(move || {
        black_box(codec::decode_batch(black_box(&wire)));
    })
}

fn encode(dotted: bool, octets: usize) -> Box<dyn FnMut()> {
    let content = content(76, dotted, octets);
    Box::new(move || {
        black_box(codec::encode(black_box(&content)));
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    match (arguments.next(), arguments.next()) {
        (Some(name), Some(count)) => {
            let found = WORKLOADS.iter().find(|(known, _)| *known == name);
            let (_, ready) = found.unwrap_or_else(|| panic!("no workload {name}"));
            let mut run = ready();
            (0..count.parse().unwrap()).for_each(|_| run());
        }
        _ => WORKLOADS.iter().for_each(|(name, ready)| {
            ready()();
            println!("{name}");
        }),
    }
}
