//! Every rule is needed: without it a promise is broken, and the shortest way to it is found.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fmt::Write as _;

use smtp_checkpoint_model::{Rule, Setup, counter_example, steps};

/// The least that shows what the rule is for.
fn setup(rule: Rule) -> Setup {
    use Rule as R;
    let least = Setup {
        lines: 1,
        attempts: 2,
        hosts: 1,
        losses: 1,
        crashes: 0,
        expiries: 0,
        failures: 0,
        grouped: false,
        interims: 0,
        verdicts: &[250],
        decides: false,
        broken: Some(rule),
    };
    match rule {
        R::ClaimFences | R::ContentHasTheLength | R::GenerationAtCommit => {
            Setup { lines: 2, ..least }
        }
        R::ReadAtOnce => Setup {
            lines: 2,
            hosts: 2,
            attempts: 3,
            losses: 2,
            ..least
        },
        R::LengthWithClaim => Setup {
            attempts: 3,
            losses: 2,
            grouped: true,
            ..least
        },
        R::ContentBeforeRecord
        | R::CommitIsOneStep
        | R::CompletionKept
        | R::DecisionOutlives
        | R::FinalReplyDecides
        | R::MarkBeforeData => least,
        R::DurableBeforeReply => Setup {
            crashes: 1,
            ..least
        },
        R::OneDecision => Setup { hosts: 2, ..least },
        R::NumberOfTheClaim => Setup {
            attempts: 3,
            hosts: 2,
            losses: 2,
            verdicts: &[250, 451],
            ..least
        },
        R::NumberAtCommit => Setup {
            expiries: 1,
            ..least
        },
        R::DiscardIsConditional => Setup {
            attempts: 3,
            losses: 2,
            grouped: true,
            ..least
        },
        R::ClaimOfDecisionIsShared => Setup {
            hosts: 2,
            interims: 2,
            ..least
        },
        R::AbortNamesClaim => Setup {
            interims: 2,
            ..least
        },
        R::OwnershipNamesClaim => Setup {
            interims: 1,
            verdicts: &[550],
            ..least
        },
        R::RetainedNamesClaim => Setup {
            attempts: 3,
            losses: 2,
            interims: 1,
            verdicts: &[550],
            ..least
        },
        R::OwnershipBeforeReply => Setup {
            crashes: 1,
            interims: 1,
            ..least
        },
        R::FailureIsShared => Setup {
            hosts: 2,
            failures: 1,
            ..least
        },
        R::DetachedStays => Setup {
            hosts: 2,
            crashes: 1,
            interims: 1,
            ..least
        },
    }
}

#[test]
fn without_any_rule_a_promise_is_broken() {
    let mut text = String::new();
    let (mut needless, mut sound) = (Vec::new(), Vec::new());
    for rule in Rule::NEEDED {
        let setup = setup(rule);
        let whole = Setup {
            broken: None,
            ..setup
        };
        if !sound.contains(&whole) {
            assert!(
                counter_example(whole).is_none(),
                "{rule:?}: not by its absence"
            );
            sound.push(whole);
        }
        let Some(found) = counter_example(setup) else {
            needless.push(rule);
            continue;
        };
        println!("{rule:?}: {} after {} states", found.property, found.states);
        let (requirement, without) = rule.describe();
        let steps = steps(setup, &found.actions);
        let _ = write!(
            text,
            "\n### {rule:?}\n\n{requirement}. Without it: {without}. Broken: *{}*.\n\n```text\n{steps}```\n",
            found.property
        );
    }
    assert!(
        needless.is_empty(),
        "no counter-example without {needless:?}"
    );
    text.push('\n');
    support::documented("counter-examples", &text);
}

/// What the claim does in one step may be done in two, as long as the older sessions are fenced
/// first: what is read later is never less than what is durable then, and never more.
#[test]
fn to_fence_first_and_read_later_breaks_nothing() {
    for (grouped, crashes) in [(true, 0), (false, 1)] {
        let setup = Setup {
            hosts: if grouped { 1 } else { 2 },
            grouped,
            crashes,
            ..setup(Rule::ReadAtOnce)
        };
        assert!(counter_example(setup).is_none());
    }
}
