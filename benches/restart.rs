//! A session that restarts an interrupted transaction and sends the rest, beside one that sends the
//! whole message anew; and a client that looks for the offset in a message of 1 GiB that is stored
//! with LF, by its index or by counting lines. `cargo bench --bench restart`.
//!
//! The message is a file of 1 GiB in the folder for temporary files, in no folder any more as soon
//! as it is open (on Unix), and read from the page cache.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read, Seek, SeekFrom, Write};

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use smtp_checkpoint::canonical::{CanonicalIndex, IndexBuilder, Place};
use smtp_checkpoint::offset::OctetOffset;

mod work;

use work::{content, server};

fn restart(criterion: &mut Criterion) {
    let content = content(76, false, 1024 * 1024);
    let lines = content.len() / 78;
    let (held, rest) = content.split_at(lines * 98 / 100 * 78);
    let mut group = criterion.benchmark_group("1 MiB, cut at 98 %");
    let (mut server, reads) = server::interrupted(held, rest);
    group.bench_function("restart", |bench| {
        bench.iter(|| server.serve(&reads));
        assert_eq!(server.received, rest.len());
    });
    let (mut server, reads) = (server::Server::default(), server::plain(&content));
    group.bench_function("anew", |bench| {
        bench.iter(|| server.serve(&reads));
        assert_eq!(server.received, content.len());
    });
}

/// A file of so many octets, with LF behind every 77th, and its index.
fn stored(octets: usize) -> (File, CanonicalIndex) {
    let path = std::env::temp_dir().join(format!("smtp-checkpoint-bench-{}", std::process::id()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    fs::remove_file(&path).unwrap();
    let lines: Vec<u8> = (content(76, false, 1024 * 1024).into_iter())
        .filter(|octet| *octet != b'\r')
        .collect();
    let (mut builder, mut left) = (IndexBuilder::new(), octets);
    while left > 0 {
        let piece = &lines[..lines.len().min(left)];
        file.write_all(piece).unwrap();
        builder.update(piece);
        left -= piece.len();
    }
    (file, builder.finish())
}

fn seek(index: &CanonicalIndex, file: &mut File, buffer: &mut Vec<u8>, offset: u64) -> Place {
    let window = index.look_up(OctetOffset::new(offset)).unwrap();
    let range = window.range();
    buffer.resize((range.end - range.start) as usize, 0);
    file.seek(SeekFrom::Start(range.start)).unwrap();
    file.read_exact(buffer).unwrap();
    window.find(buffer).unwrap()
}

/// Line feeds in the first octets of the file, read as one reads a file.
fn line_feeds(file: &mut File, buffer: &mut Vec<u8>, octets: u64) -> usize {
    buffer.resize(64 * 1024, 0);
    file.rewind().unwrap();
    let (mut file, mut found) = (file.take(octets), 0);
    loop {
        match file.read(buffer).unwrap() {
            0 => return found,
            count => found += memchr::memchr_iter(b'\n', &buffer[..count]).count(),
        }
    }
}

fn seek_in_lf(criterion: &mut Criterion) {
    // Cargo says so when it is to be measured; else it is run once, for whether it works.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let octets = if is_measured { 1 << 30 } else { 1 << 24 };
    let (mut file, index) = stored(octets);
    let mut buffer = Vec::new();
    let end = index.canonical_length().get();
    // A line start: 78 octets a line with CRLF.
    let offset = end / 1000 * 999 / 78 * 78;
    let place = seek(&index, &mut file, &mut buffer, offset).stored();
    let lines = line_feeds(&mut file, &mut buffer, place);
    assert_eq!(place + lines as u64, offset);
    let kept = index.encode();
    println!(
        "the index of {octets} octets stored takes {} octets",
        kept.len()
    );

    let mut group = criterion.benchmark_group("1 GiB stored with LF, restart at 99.9 %");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("seek by index", |bench| {
        bench.iter(|| seek(&index, &mut file, &mut buffer, black_box(offset)));
    });
    group.bench_function("index decoded, seek", |bench| {
        bench.iter(|| {
            let index = CanonicalIndex::decode(black_box(&kept)).unwrap();
            seek(&index, &mut file, &mut buffer, offset)
        });
    });
    group.bench_function("line feeds counted in what is skipped", |bench| {
        bench.iter(|| line_feeds(&mut file, &mut buffer, black_box(place)));
    });
}

criterion_group!(benches, restart, seek_in_lf);
criterion_main!(benches);
