//! The simulation: everyday runs on the model store, and what it notices.
#![allow(missing_docs)]

use smtp_checkpoint_testkit::{Failure, ModelStore, Mutant, Simulation, Tally};

/// How often the everyday run is made; more with `TESTKIT_RUNS`, or with the example `soak`.
fn runs() -> u64 {
    let said = std::env::var("TESTKIT_RUNS").ok();
    said.and_then(|runs| runs.parse().ok()).unwrap_or(2000)
}

#[test]
fn everyday_run() -> Result<(), Failure> {
    let mut tally = Tally::default();
    for seed in 0..runs() {
        tally.add(&Simulation::new(seed).run(ModelStore::new)?);
    }
    println!("{tally}");
    assert!(tally.restarts > tally.runs, "{tally}");
    Ok(())
}

#[test]
fn a_seed_says_it_all() -> Result<(), Failure> {
    let mut digests = Vec::new();
    for seed in 0..50 {
        let once = Simulation::new(seed).run(ModelStore::new)?;
        let again = Simulation::new(seed).run(ModelStore::new)?;
        assert_eq!(once, again, "seed {seed}");
        digests.push(once.digest);
    }
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 50, "all different");
    Ok(())
}

/// Each mutant with the least seed whose run notices it. `None`: not within 2000 runs; it takes the
/// interleaving that a suite makes on purpose (see `mutants.rs`, where every mutant is caught).
fn noticed_by(mutant: Mutant) -> Option<u64> {
    match mutant {
        Mutant::CommitNotSynced => Some(1),
        Mutant::RecordDroppedBeforeCommit => Some(1),
        Mutant::CompletionForgotten => Some(0),
        Mutant::GenerationStays => Some(1),
        Mutant::DecisionFenced => Some(99),
        Mutant::NotCut => Some(8),
        Mutant::StaleVerdict => Some(41),
        Mutant::SecondDecision => Some(41),
        Mutant::RecordBeforeContent => Some(0),
        Mutant::FailedSyncTrusted => Some(50),
        Mutant::FaultsForgotten => Some(13),
        Mutant::OffsetRoundedUp => Some(1),
        Mutant::IdentityIgnored => Some(2),
        Mutant::RecipientsLeftOut => Some(255),
        Mutant::TransIdSpentBy421 => Some(1736),
        Mutant::DataBeforeMark => Some(93),
        _ => None,
    }
}

#[test]
fn mutants_are_caught_by_the_simulation() {
    let mut caught = 0;
    for mutant in Mutant::ALL {
        let Some(seed) = noticed_by(mutant) else {
            continue;
        };
        let run = Simulation::new(seed).breaking(mutant);
        let failure = run.run(|| ModelStore::breaking(mutant)).err();
        assert!(failure.is_some(), "{mutant:?} with seed {seed}");
        caught += 1;
    }
    assert_eq!(caught, 16, "of {}", Mutant::ALL.len());
}
