//! The seeds of the fuzz targets through the checks of the fuzz targets, without a fuzzer.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[path = "../fuzz/src/checks/mod.rs"]
mod checks;

use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty());
    for seed in seeds {
        let octets = std::fs::read(&seed).unwrap();
        println!("{}", seed.display());
        check(&octets);
    }
}

#[test]
fn command() {
    replay("command", checks::command::check);
}

#[test]
fn reply() {
    replay("reply", checks::reply::check);
}

#[test]
fn ehlo() {
    replay("ehlo", checks::ehlo::check);
}

#[test]
fn transid() {
    replay("transid", checks::transid::check);
}

#[test]
fn dot() {
    replay("dot", checks::dot::check);
}

#[test]
fn record() {
    replay("record", checks::record::check);
}

#[cfg(feature = "session")]
#[test]
fn server() {
    replay("server", checks::server::check);
}

#[cfg(feature = "session")]
#[test]
fn client() {
    replay("client", checks::client::check);
}

#[cfg(feature = "session")]
#[test]
fn pair() {
    replay("pair", checks::pair::check);
}

/// What the fuzzer would try first, the same each time; `PAIR_SCRIPTS=n` is how many.
#[cfg(feature = "session")]
#[test]
fn pair_at_random() {
    const OPERATIONS: &[u8] = b"nno><1234=====xhartw...kKcdu";
    let mut state = 1_u64;
    let mut next = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let scripts = std::env::var("PAIR_SCRIPTS").map_or(5000, |many| many.parse().unwrap());
    for _ in 0..scripts {
        let length = next(60);
        let mut script: Vec<u8> = (0..length)
            .map(|_| OPERATIONS[next(OPERATIONS.len())])
            .collect();
        script.insert(0, b'n');
        script.extend([0xff, next(256) as u8]);
        println!("{}", script.escape_ascii());
        checks::pair::check(&script);
    }
}
