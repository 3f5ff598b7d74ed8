//! Client against server over a wire that is cut, a store that crashes and a journal that crashes:
//! all simulated, nothing timed, nothing random but for printed seeds.
//!
//! [`store`] keeps and checks the store's side of the contract, [`server`] drives sessions against
//! it, [`client`] holds a simple client of its own and the library's, [`wire`] joins them, [`explore`]
//! takes two of them through every interleaving.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod client;
pub mod explore;
pub mod server;
pub mod store;
pub mod wire;

use client::{How, Job};

/// A message and the ways in which it is sent.
pub fn messages() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("simple", b"Subject: x\r\n\r\nHello\r\n".to_vec()),
        ("dots", b"S: x\r\n\r\n.\r\n..\r\n.a\r\nb.\r\n.\r\n".to_vec()),
        ("first-line dot", b".\r\nx\r\n".to_vec()),
        ("dot and text first", b".x\r\n".to_vec()),
        ("empty", Vec::new()),
        ("one empty line", b"\r\n".to_vec()),
        ("no final CRLF", b"a: b\r\n\r\nend".to_vec()),
        ("no final CRLF, dot", b"a: b\r\n\r\n.".to_vec()),
        ("8-bit", b"S: \xc3\xa4\r\n\r\n\xff\xfe\x80\r\n".to_vec()),
        (
            "short lines",
            b"\r\na\r\n\r\nb\r\n\r\n\r\nc\r\nd\r\n.\r\n\r\n".to_vec(),
        ),
        ("one long line", [&b"x".repeat(70)[..], b"\r\n"].concat()),
    ]
}

/// DATA with and without pipelining, BDAT in chunks of 7 octets and in one.
pub fn ways(sender: &str, message: &[u8]) -> Vec<(String, Job)> {
    let mut ways = Vec::new();
    for (how, name) in [
        (How::Data, "DATA"),
        (How::Bdat(7), "BDAT 7"),
        (How::Bdat(1000), "BDAT"),
    ] {
        for pipelining in [false, true] {
            let mut job = Job::new(sender, message);
            job.how = how;
            job.pipelining = pipelining;
            let grouped = if pipelining {
                "pipelined"
            } else {
                "one by one"
            };
            ways.push((format!("{name}, {grouped}"), job));
        }
    }
    ways
}
