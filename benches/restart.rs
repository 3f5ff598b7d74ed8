//! A session that restarts an interrupted transaction and sends the rest, beside one that sends the
//! whole message anew. `cargo bench --bench restart`.

#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};

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

criterion_group!(benches, restart);
criterion_main!(benches);
