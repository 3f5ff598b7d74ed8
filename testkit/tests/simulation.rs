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

/// The testkit accused the model store of what it may do: to confirm a claim afresh, or to find
/// nothing, where replies that were all 4yz had been given once more and dropped; also where a client
/// had detached who wanted no report. And its simple client took refused recipients for the outcome of
/// a transaction whose data it had sent.
///
/// 10268: one host told a failure that no decision had made, for its disk was full, while octets on
/// their way made the message whole on the other, which delivered it.
#[test]
fn seeds_that_failed_once() -> Result<(), Failure> {
    for seed in [4297, 7902, 10268, 1_001_799, 1_003_432] {
        Simulation::new(seed).run(ModelStore::new)?;
    }
    Ok(())
}

/// Each mutant with the least seed whose run notices it, as `soak --mutants` tells.
fn noticed_by(mutant: Mutant) -> Option<u64> {
    Some(match mutant {
        Mutant::CommitNotSynced => 1,
        Mutant::RecordDroppedBeforeCommit => 0,
        Mutant::CompletionForgotten => 0,
        Mutant::GenerationStays => 0,
        Mutant::DecisionFenced => 0,
        Mutant::LengthAfterCut => 1719,
        Mutant::NotCut => 16,
        Mutant::StaleVerdict => 21,
        Mutant::SecondDecision => 21,
        Mutant::CompletionDroppedOnMismatch => 404,
        Mutant::LengthZeroIsFresh => 18,
        Mutant::RecordBeforeContent => 39,
        Mutant::DiscardUnchecked => 565,
        Mutant::FailedSyncTrusted => 351,
        Mutant::FaultsForgotten => 238,
        Mutant::OffsetRoundedUp => 0,
        Mutant::IdentityIgnored => 0,
        Mutant::RecipientsLeftOut => 177,
        Mutant::TransIdSpentBy421 => 11,
        Mutant::DataBeforeMark => 9,
        Mutant::NumberUnchecked => 459,
        Mutant::ClaimNotShared => 292,
        Mutant::FailureNotShared => 10268,
        Mutant::AbortGoesOn => 3,
        Mutant::OwnershipNotDurable => 0,
        Mutant::DetachedExpires => 11,
        Mutant::DetachedDecidedTwice => 3,
        Mutant::DutyForgotten => 34,
        Mutant::ReportedTwice => 0,
        Mutant::ReportedWhileHeld => 512,
        Mutant::FailureToldOfDetached => 11,
        Mutant::DetachAssumed => 17,
        Mutant::UnrecordedNotDurable => 317,
        Mutant::HeldFailureForgotten => 71,
        _ => return None,
    })
}

#[test]
fn every_mutant_is_caught_by_the_simulation() {
    for mutant in Mutant::ALL {
        let seed = noticed_by(mutant);
        let failure = seed.and_then(|seed| {
            let run = Simulation::new(seed).breaking(mutant);
            run.run(|| ModelStore::breaking(mutant)).err()
        });
        assert!(failure.is_some(), "{mutant:?} with seed {seed:?}");
    }
}
