//! Every rule that is broken on purpose is caught.
#![allow(missing_docs, clippy::panic)]

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use smtp_checkpoint_testkit::{Failure, ModelStore, Mutant, Report, Rule, Suite};

type Open = Box<dyn FnMut() -> ModelStore>;
type Run = fn(&mut Suite<Open>) -> Result<Report, Failure>;

fn suite(mutant: Mutant) -> Suite<Open> {
    let open: Open = Box::new(move || ModelStore::breaking(mutant));
    Suite::new(open).breaking(mutant)
}

/// Which suite catches it, and what for.
fn caught_by(mutant: Mutant) -> (Run, Rule) {
    match mutant {
        Mutant::CommitNotSynced => (Suite::crashes, Rule::AcceptedIsDurable),
        Mutant::RecordDroppedBeforeCommit => (Suite::fencing, Rule::OneCommit),
        Mutant::CompletionForgotten => (Suite::two_hosts, Rule::AtMostOnce),
        Mutant::GenerationStays => (Suite::fencing, Rule::OneOwner),
        Mutant::DecisionFenced => (Suite::fencing, Rule::DecisionOutlives),
        Mutant::LengthAfterCut => (Suite::fencing, Rule::Unaltered),
        Mutant::NotCut => (Suite::cuts, Rule::Unaltered),
        Mutant::StaleVerdict => (Suite::two_hosts, Rule::OneCommit),
        Mutant::SecondDecision => (Suite::two_hosts, Rule::OneCommit),
        Mutant::CompletionDroppedOnMismatch => (Suite::two_hosts, Rule::AtMostOnce),
        Mutant::LengthZeroIsFresh => (Suite::cuts, Rule::AtMostOnce),
        Mutant::RecordBeforeContent => (Suite::crashes, Rule::OffsetIsDurable),
        Mutant::DiscardUnchecked => (Suite::fencing, Rule::AtMostOnce),
        Mutant::FailedSyncTrusted => (Suite::crashes, Rule::Unaltered),
        Mutant::FaultsForgotten => (Suite::cuts, Rule::OutcomeIsTrue),
        Mutant::OffsetRoundedUp => (Suite::cuts, Rule::OffsetIsDurable),
        Mutant::IdentityIgnored => (Suite::identities, Rule::Ends),
        Mutant::RecipientsLeftOut => (Suite::two_hosts, Rule::OutcomeIsTrue),
        Mutant::TransIdSpentBy421 => (Suite::fencing, Rule::AtMostOnce),
        Mutant::DataBeforeMark => (Suite::fencing, Rule::AtMostOnce),
        Mutant::NumberUnchecked => (Suite::two_hosts, Rule::OneCommit),
        Mutant::ClaimNotShared => (Suite::detached, Rule::OneOwner),
        Mutant::FailureNotShared => (Suite::two_hosts, Rule::OneCommit),
        Mutant::AbortGoesOn => (Suite::detached, Rule::OneCommit),
        Mutant::OwnershipNotDurable => (Suite::detached, Rule::DetachedIsOwned),
        Mutant::DetachedExpires => (Suite::detached, Rule::DetachedIsOwned),
        Mutant::DetachedDecidedTwice => (Suite::detached, Rule::OneCommit),
        Mutant::DutyForgotten => (Suite::detached, Rule::DetachedIsOwned),
        Mutant::ReportedTwice => (Suite::detached, Rule::ReportedOnce),
        Mutant::ReportedWhileHeld => (Suite::detached, Rule::ReportedOnce),
        Mutant::FailureToldOfDetached => (Suite::detached, Rule::OutcomeIsTrue),
        Mutant::DetachAssumed => (Suite::detached, Rule::DetachedIsOwned),
        Mutant::UnrecordedNotDurable => (Suite::detached, Rule::DetachedIsOwned),
        Mutant::HeldFailureForgotten => (Suite::detached, Rule::DetachedIsOwned),
        _ => (Suite::cuts, Rule::Contract),
    }
}

fn is_caught(mutant: Mutant) {
    let (run, rule) = caught_by(mutant);
    match run(&mut suite(mutant)) {
        Ok(report) => panic!("{mutant:?} is not caught: {report}"),
        Err(failure) => {
            println!("{mutant:?}: {}, in {}", failure.violation, failure.case);
            assert_eq!(failure.violation.rule, rule, "{mutant:?}: {failure}");
            assert!(!failure.trace.is_empty());
        }
    }
}

/// Several at a time: each has a store of its own, and some have to go through half a suite.
#[test]
fn every_mutant_is_caught_by_a_suite() {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    is_caught(*mutant);
                }
            });
        }
    });
}
