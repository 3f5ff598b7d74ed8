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
