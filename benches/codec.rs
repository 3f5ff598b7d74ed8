//! The dot codec: octets a second, by the shape of the content. `cargo bench --bench codec`.
//!
//! How it stands beside other crates: `cargo run --release -p smtp-checkpoint-compare --bin speed`.

#![allow(missing_docs)]

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

mod work;

use work::{codec, content};

const OCTETS: usize = 64 * 1024;

fn codec(criterion: &mut Criterion) {
    let shapes = [
        ("base64", content(76, false, OCTETS)),
        ("lines of 1", content(1, false, OCTETS)),
        ("every line dotted", content(76, true, OCTETS)),
        ("every line \"..\"", content(0, true, OCTETS)),
    ];
    for (name, content) in &shapes {
        let wire = codec::wire(content);
        let bytes = Bytes::from(wire.clone());
        let mut group = criterion.benchmark_group("decode");
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_function(BenchmarkId::new("slices", name), |bench| {
            bench.iter(|| codec::decode(&wire));
        });
        group.bench_function(BenchmarkId::new("batch", name), |bench| {
            bench.iter(|| codec::decode_batch(&bytes));
        });
        group.finish();
        let mut group = criterion.benchmark_group("encode");
        group.throughput(Throughput::Bytes(content.len() as u64));
        group.bench_function(BenchmarkId::new("slices", name), |bench| {
            bench.iter(|| codec::encode(content));
        });
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
