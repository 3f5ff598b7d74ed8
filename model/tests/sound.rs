//! The protocol as it is: every promise holds in every state, within these bounds.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use smtp_checkpoint_model::{Restart, Setup, steps};
use stateright::{Checker, Model};

const BASE: Setup = Setup {
    lines: 1,
    attempts: 3,
    hosts: 1,
    losses: 2,
    crashes: 1,
    expiries: 0,
    failures: 0,
    grouped: false,
    interims: 0,
    verdicts: &[250, 451, 550],
    decides: false,
    broken: None,
};

const RUNS: [(&str, Setup); 8] = [
    (
        "one host",
        Setup {
            lines: 2,
            grouped: true,
            ..BASE
        },
    ),
    (
        "two hosts",
        Setup {
            hosts: 2,
            expiries: 1,
            ..BASE
        },
    ),
    (
        "RDLV, DETA",
        Setup {
            lines: 2,
            interims: 1,
            ..BASE
        },
    ),
    (
        "RDLV, DETA, two hosts",
        Setup {
            attempts: 2,
            hosts: 2,
            expiries: 1,
            interims: 2,
            ..BASE
        },
    ),
    (
        "storage that fails",
        Setup {
            lines: 2,
            crashes: 0,
            failures: 1,
            grouped: true,
            ..BASE
        },
    ),
    (
        "storage that fails, two hosts",
        Setup {
            attempts: 2,
            hosts: 2,
            expiries: 1,
            failures: 1,
            interims: 1,
            ..BASE
        },
    ),
    (
        "enough attempts",
        Setup {
            attempts: 5,
            crashes: 0,
            decides: true,
            ..BASE
        },
    ),
    (
        "enough attempts, two hosts",
        Setup {
            lines: 2,
            attempts: 5,
            hosts: 2,
            losses: 1,
            expiries: 1,
            decides: true,
            ..BASE
        },
    ),
];

const LONG: [(&str, Setup); 4] = [
    (
        "two hosts, long",
        Setup {
            lines: 2,
            hosts: 2,
            losses: 3,
            expiries: 1,
            grouped: true,
            ..BASE
        },
    ),
    (
        "RDLV, DETA, two hosts, long",
        Setup {
            hosts: 2,
            expiries: 1,
            interims: 2,
            ..BASE
        },
    ),
    (
        "storage that fails, two hosts, long",
        Setup {
            lines: 2,
            hosts: 2,
            failures: 2,
            grouped: true,
            ..BASE
        },
    ),
    (
        "enough attempts, two hosts, long",
        Setup {
            attempts: 6,
            hosts: 2,
            decides: true,
            ..BASE
        },
    ),
];

/// Checks it in every state, and gives its row of the table.
fn check(name: &str, setup: Setup) -> String {
    let checker = Restart(setup).checker().threads(2).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{name}: {states} states, {depth} deep");
    for property in checker.model().properties() {
        let found = checker.discovery(property.name);
        if property.expectation.discovery_is_failure() {
            if let Some(path) = found {
                let steps = steps(setup, &path.into_actions());
                panic!("{name}: {} does not hold\n{steps}", property.name);
            }
        } else {
            assert!(found.is_some(), "{name}: never {}", property.name);
        }
    }
    let Setup {
        lines,
        attempts,
        hosts,
        losses,
        crashes,
        expiries,
        failures,
        grouped,
        interims,
        ..
    } = setup;
    let grouped = if grouped { "yes" } else { "no" };
    format!(
        "| {name} | {hosts} | {lines} | {attempts} | {losses} | {crashes} | {expiries} | {failures} \
         | {grouped} | {interims} | {states} |\n"
    )
}

#[test]
fn every_promise_holds_in_every_state() {
    let rows: String = RUNS
        .iter()
        .map(|(name, setup)| check(name, *setup))
        .collect();
    support::documented("states", &rows);
}

/// `MODEL_LONG=1`: minutes, and gigabytes.
#[test]
fn every_promise_holds_within_wider_bounds() {
    if std::env::var_os("MODEL_LONG").is_none() {
        println!("left out: MODEL_LONG is not set");
        return;
    }
    let rows: String = LONG
        .iter()
        .map(|(name, setup)| check(name, *setup))
        .collect();
    support::documented("states of the long run", &rows);
}
