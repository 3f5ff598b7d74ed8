//! `docs/CONFORMANCE.md` and `SECURITY.md` are complete, and every test that they name exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every requirement id, so that a row cannot be lost unnoticed.
fn ids() -> BTreeSet<String> {
    let ranges = [
        ("CP", 1..=22),
        ("CP", 30..=38),
        ("RS", 1..=5),
        ("RD", 1..=13),
        ("DE", 1..=8),
        ("SM", 1..=12),
        ("HD", 1..=8),
        ("HD", 10..=12),
    ];
    ranges
        .into_iter()
        .flat_map(|(kind, numbers)| numbers.map(move |number| format!("{kind}-{number:02}")))
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether `file::name` or `file` exists: a test function, a dialogue, a Python case.
fn exists(reference: &str) -> bool {
    let (file, name) = match reference.split_once("::") {
        Some((file, name)) => (file, Some(name)),
        None => (reference, None),
    };
    // The other packages of the workspace are not in the published one.
    let package = file.split('/').next().unwrap_or_default();
    if ["model", "testkit"].contains(&package) && !root().join(package).exists() {
        return true;
    }
    let Ok(text) = fs::read_to_string(root().join(file)) else {
        return false;
    };
    name.is_none_or(|name| {
        let name = name.rsplit("::").next().unwrap_or(name);
        ["fn ", "def ", "== "].iter().any(|keyword| {
            text.contains(&format!("{keyword}{name}("))
                || text.contains(&format!("{keyword}{name}\n"))
        })
    })
}

#[test]
fn every_requirement_has_a_row_and_every_named_test_exists() {
    let text = fs::read_to_string(root().join("docs/CONFORMANCE.md")).unwrap();
    let mut missing = ids();
    let mut wrong = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, _statement, _source, proof] = cells[..] else {
            continue;
        };
        if !ids().contains(id) {
            continue;
        }
        assert!(missing.remove(id), "{id} has two rows");
        let tests: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() && !proof.starts_with("to come: ") {
            wrong.push(format!("{id}: neither a test nor what is to come"));
        }
        wrong.extend(
            tests
                .into_iter()
                .filter(|test| !exists(test))
                .map(|test| format!("{id}: no such test: {test}")),
        );
    }
    assert!(missing.is_empty(), "no row: {missing:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The threats, by a word of their headings.
const THREATS: [&str; 12] = [
    "hijacked",
    "record exists",
    "Downgrade",
    "Storage",
    "Smuggling",
    "STARTTLS",
    "BDAT",
    "Injection",
    "Slow",
    "Half-open",
    "Detached",
    "Reporting",
];

#[test]
fn every_threat_has_a_rule_and_tests_that_exist() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    for threat in THREATS {
        let headings = text.lines().filter(|line| line.starts_with('#'));
        let count = headings.filter(|line| line.contains(threat)).count();
        assert_eq!(count, 1, "{threat}");
    }
    let mut wrong = Vec::new();
    for section in text.split("\n### ").skip(1) {
        let (threat, rest) = section.split_once('\n').unwrap();
        let after = |mark: &str| {
            let at = rest.find(&format!("\n* {mark}"));
            at.unwrap_or_else(|| panic!("{threat}: no {mark}"))
        };
        let (rule, tests, yours) = (after("Rule:"), after("Tests"), after("Yours:"));
        assert!(rule < tests && tests < yours, "{threat}");
        let named: Vec<&str> = rest[tests..yours].split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "{threat}: no test");
        wrong.extend(named.into_iter().filter(|test| !exists(test)));
    }
    assert!(wrong.is_empty(), "no such tests: {wrong:#?}");
}

#[test]
fn a_test_that_does_not_exist_is_noticed() {
    assert!(exists(
        "tests/conformance.rs::a_test_that_does_not_exist_is_noticed"
    ));
    assert!(!exists("tests/conformance.rs::no_such_test"));
    assert!(!exists("tests/no_such_file.rs"));
}
