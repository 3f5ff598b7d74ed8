//! Who understands the same octets otherwise than this crate stands in `data/disagreements.tsv`, with
//! who is right: no more and no less.

#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fmt::Write;

use smtp_checkpoint_compare::differential::escape::escape;
use smtp_checkpoint_compare::differential::table::{aiosmtpd, outcomes, summary, table};
use smtp_checkpoint_compare::differential::wires::{self, Peer};

#[test]
fn every_disagreement_is_in_the_table_and_nothing_else_is() {
    let mut faults = String::new();
    let table = table();
    let outcomes = outcomes();
    for outcome in &outcomes {
        let row = table.iter().find(|row| row.cells[0] == outcome.id);
        let cells = outcome.cells();
        match row {
            None if outcome.is_unanimous() => {}
            None => writeln!(faults, "not in the table: {cells:?}").unwrap(),
            Some(_) if outcome.is_unanimous() => {
                writeln!(faults, "in the table, but all agree: {}", outcome.id).unwrap();
            }
            Some(row) if row.cells != cells => {
                writeln!(faults, "{:?}\n  is now {cells:?}", row.cells).unwrap();
            }
            Some(_) => {}
        }
    }
    for row in &table {
        if !outcomes.iter().any(|outcome| outcome.id == row.cells[0]) {
            writeln!(faults, "in the table, but no case: {}", row.cells[0]).unwrap();
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

#[test]
fn each_row_says_who_is_right_and_by_which_text() {
    let mut ids = BTreeSet::new();
    for row in table() {
        assert!(ids.insert(row.cells[0].clone()), "twice: {row:?}");
        let names: Vec<_> = row.right.split(", ").collect();
        let known = |name: &&str| {
            matches!(*name, "ours" | "open") || Peer::ALL.iter().any(|peer| peer.name() == *name)
        };
        assert!(names.iter().all(known), "{row:?}");
        let cites = row.by.starts_with("RFC ") || row.by.starts_with("draft-");
        assert!(cites && row.by.contains('\u{a7}'), "{row:?}");
        // Who understands what this crate does is as right as it is.
        let ours = names.contains(&"ours");
        for (index, peer) in Peer::ALL.into_iter().enumerate() {
            let agrees = row.cells[index + 2] == "=";
            let right = names.contains(&peer.name());
            assert!(!right || agrees == ours, "{row:?}");
        }
    }
}

#[test]
fn aiosmtpd_was_asked_what_the_others_are_asked() {
    let asked: BTreeSet<_> = (wires::all().into_iter())
        .filter(|wire| wire.asked.contains(&Peer::Aiosmtpd))
        .map(|wire| (wire.id, escape(&wire.octets)))
        .collect();
    let recorded: BTreeSet<_> = aiosmtpd().into_keys().collect();
    assert_eq!(recorded, asked, "tests/peers/differential --bless");
}

#[test]
fn the_summary_is_that_of_the_table() {
    let summary = summary(&table());
    let page = include_str!("../../docs/DIFFERENTIAL.md");
    assert!(
        page.contains(&summary),
        "docs/DIFFERENTIAL.md lacks:\n{summary}"
    );
}
