//! Throughput of the dot codec, as a ratio to a memchr2 scan over two octets that are absent.
//!
//! `cargo bench --bench dot [--features simd]`. Input: 16 KiB in cache. Both are timed in turn, in
//! short slices, and what is printed is the median of the ratios: a machine that changes its speed,
//! or is shared, does so for both.

#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use smtp_checkpoint::dot::{ContentChecker, Decoded, DotDecoder, DotEncoder, FaultPolicy};

const INPUT: usize = 16 * 1024;

/// One, unless it is `cargo bench` that asks: then it is not for the figures.
fn slices() -> usize {
    match std::env::args().any(|argument| argument == "--bench") {
        true => 500,
        false => 1,
    }
}

fn shape(line: &[u8]) -> Vec<u8> {
    let mut wire = line.repeat(INPUT / line.len());
    wire.extend_from_slice(b"tail");
    wire
}

fn base64(length: usize) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut line: Vec<u8> = (0..length).map(|at| alphabet[at * 37 % 64]).collect();
    line.extend_from_slice(b"\r\n");
    line
}

/// Lines of words, of every length up to 74; one in two hundred begins with a dot.
fn prose() -> Vec<u8> {
    let (mut wire, mut state) = (Vec::new(), 1u32);
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    while wire.len() < INPUT {
        if random(200) == 0 {
            wire.extend_from_slice(b"..");
        }
        wire.push(b'T');
        for _ in 0..random(74) {
            wire.push(match random(100) {
                0..16 => b' ',
                16 => b'.',
                letter => b'a' + (letter % 26) as u8,
            });
        }
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

fn dotted(mut line: Vec<u8>) -> Vec<u8> {
    line.insert(0, b'.');
    line
}

/// Time of the anchor by time of `f`: the median of many slices.
fn ratio(wire: &[u8], mut f: impl FnMut(&[u8])) -> f64 {
    let time = |f: &mut dyn FnMut(&[u8])| {
        f(black_box(wire));
        let start = Instant::now();
        for _ in 0..10 {
            f(black_box(wire));
        }
        start.elapsed().max(Duration::from_nanos(1)).as_secs_f64()
    };
    let quiet: Vec<u8> = (wire.iter())
        .map(|octet| if matches!(octet, 1 | 2) { 3 } else { *octet })
        .collect();
    let mut anchor = |_: &[u8]| {
        black_box(memchr::memchr2(1, 2, black_box(&quiet)));
    };
    let mut ratios: Vec<f64> = (0..slices())
        .map(|_| time(&mut anchor) / time(&mut f))
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn decode(wire: &[u8], chunk: usize) {
    let mut decoder = DotDecoder::new();
    for mut input in wire.chunks(chunk) {
        decoder.decode_with(&mut input, |content| {
            black_box(content);
        });
    }
    black_box(decoder.offset());
}

fn main() {
    let shapes = [
        ("a base64, 76", shape(&base64(76))),
        ("t prose", prose()),
        ("b lines of 20", shape(&base64(20))),
        ("c lines of 998", shape(&base64(998))),
        ("d every line dotted", shape(&dotted(base64(76)))),
        ("e lines of 1", shape(b"x\r\n")),
        ("f every line \"..\"", shape(b"..\r\n")),
    ];
    println!(
        "{:20} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "",
        "sink",
        "1 KiB",
        "1 octet",
        "step",
        "batch",
        "to Vec",
        "check",
        "encode",
        "enc buf",
        "enc bat"
    );
    for (name, wire) in &shapes {
        let sink = ratio(wire, |input| decode(input, usize::MAX));
        let kib = ratio(wire, |input| decode(input, 1024));
        let octet = ratio(&wire[..1024], |input| decode(input, 1));
        let step = ratio(wire, |mut input| {
            let mut decoder = DotDecoder::new();
            while let Decoded::Content(content) = decoder.decode(&mut input) {
                black_box(content);
            }
        });
        let bytes = Bytes::from(wire.clone());
        let mut out = Vec::new();
        let batch = ratio(wire, |_| {
            out.clear();
            let mut input = bytes.clone();
            DotDecoder::new().decode_batch(&mut input, &mut out, 64 * 1024);
            black_box(&out);
        });
        let mut copy = Vec::with_capacity(INPUT);
        let to_vec = ratio(wire, |mut input| {
            copy.clear();
            DotDecoder::new().decode_with(&mut input, |content| copy.extend_from_slice(content));
            black_box(&copy);
        });
        let check = ratio(wire, |input| {
            let mut checker = ContentChecker::new();
            checker.check(input);
            black_box(checker.faults());
        });
        let encoder = || DotEncoder::new().with_policy(FaultPolicy::REFUSE_ALL);
        let encode = ratio(wire, |mut input| {
            let result = encoder().encode_with(&mut input, |wire| {
                black_box(wire);
            });
            result.expect("clean content");
        });
        let mut buffer = BytesMut::with_capacity(2 * INPUT);
        let encode_buffer = ratio(wire, |mut input| {
            buffer.clear();
            let result = encoder().encode(&mut input, &mut buffer, 2 * INPUT);
            black_box(&buffer);
            result.expect("clean content");
        });
        let encode_batch = ratio(wire, |_| {
            out.clear();
            let mut input = bytes.clone();
            let result = encoder().encode_batch(&mut input, &mut out, 2 * INPUT);
            black_box(&out);
            result.expect("clean content");
        });
        println!(
            "{name:20} {sink:7.3} {kib:7.3} {octet:7.4} {step:7.3} {batch:7.3} {to_vec:7.3} \
             {check:7.3} {encode:7.3} {encode_buffer:7.3} {encode_batch:7.3}"
        );
    }
}
