//! The parsers, each on what it reads in one piece: octets a second. `cargo bench --bench parse`.
//!
//! How they stand beside other crates, and beside one table look-up an octet:
//! `cargo run --release -p smtp-checkpoint-compare --bin speed -- --filter parse`.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smtp_checkpoint::command::{Command, Mailbox};
use smtp_checkpoint::transid::TransId;

mod work;

use work::parse::{EHLO, MAIL, OFFSET, RCPT, ehlo, offset};

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let mut bench = |name: &str, octets: &[u8], run: &dyn Fn(&[u8])| {
        group.throughput(Throughput::Bytes(octets.len() as u64));
        group.bench_function(name, |bench| bench.iter(|| run(black_box(octets))));
    };
    let command = |line: &[u8]| {
        black_box(Command::parse(line)).unwrap();
    };
    bench("MAIL with SIZE, BODY, TRANSID", MAIL, &command);
    bench("RCPT with NOTIFY, ORCPT", RCPT, &command);
    bench("RCPT", b"RCPT TO:<bob.jones@lists.example.net>", &command);
    bench("mailbox", b"bob.jones@lists.example.net", &|mailbox| {
        black_box(Mailbox::parse(mailbox)).unwrap();
    });
    bench("TRANSID", b"<20250314.0001@client.example.com>", &|value| {
        black_box(TransId::parse(value)).unwrap();
    });
    bench("EHLO reply, 11 lines", EHLO, &ehlo);
    bench("355 reply", OFFSET, &offset);
}

criterion_group!(benches, parse);
criterion_main!(benches);
