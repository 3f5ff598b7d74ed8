//! Whole sessions with one message: server and client. `cargo bench --bench session`.

#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

mod work;

use work::{client, content, server};

fn session(criterion: &mut Criterion) {
    for (name, octets) in [("4 KiB", 4 * 1024), ("1 MiB", 1024 * 1024)] {
        let content = content(76, false, octets);
        let mut group = criterion.benchmark_group("session");
        group.throughput(Throughput::Bytes(content.len() as u64));
        let (mut server, reads) = (server::Server::default(), server::plain(&content));
        group.bench_function(BenchmarkId::new("server", name), |bench| {
            bench.iter(|| server.serve(&reads));
        });
        let client = client::Client::new(content);
        group.bench_function(BenchmarkId::new("client", name), |bench| {
            bench.iter(|| client.send());
        });
    }
}

criterion_group!(benches, session);
criterion_main!(benches);
