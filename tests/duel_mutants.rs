//! A store that breaks a rule of the contract is caught: each mutant loses, doubles or alters a
//! message somewhere, and the tests see it.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod duel;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use duel::client::{Caller, Job};
use duel::explore::{SETUP, Setup, explore};
use duel::server::{Advice, Manner, Takeover, When};
use duel::store::{Mutant, Unsynced};
use duel::wire::{Cut, Loss, World, assert_delivered, config, run};

const CUTS: std::ops::Range<usize> = 96..135;

/// A message cut anywhere in the data or behind it, with a crash after the first attempt.
fn cuts_and_a_crash(mutant: Mutant) {
    for at in CUTS {
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn] {
            for loss in [Loss::End, Loss::Reset, Loss::HalfOpen] {
                let mut world = World::new(1, &config(false, Some(3)), &Manner::default());
                world.host().store.mutant = mutant;
                world.host().store.lazy_records = false;
                world.host().store.unsynced = unsynced;
                let job = Rc::new(Job::new("m", b"S: x\r\n\r\nabc\r\ndef"));
                let cut = Some(Cut { up: true, at, loss });
                let mut report = duel::wire::Report::default();
                let caller =
                    duel::wire::try_once(world.host(), &job, Caller::raw(), cut, &mut report);
                if loss == Loss::HalfOpen {
                    world.host().kill();
                }
                let (report, _) = run(world.host(), &job, caller, &[], 2);
                world.host().kill();
                assert_eq!(report.outcome, ["250"]);
                assert_delivered(&world, &job, &["b@example.net"]);
            }
        }
    }
}

/// The old message's record is discarded late, and the final reply to the new one lost.
fn late_advice(mutant: Mutant) {
    let manner = Manner {
        advice: Advice::Late,
        ..Manner::default()
    };
    let mut world = World::new(1, &config(false, None), &manner);
    world.host().store.mutant = mutant;
    let old = Rc::new(Job::new("old", b"S: x\r\n\r\nold\r\n"));
    let mut new = Job::new("new", b"new\r\n");
    new.transid.clone_from(&old.transid);
    let new = Rc::new(new);
    let cut = Some(Cut {
        up: true,
        at: 111,
        loss: Loss::End,
    });
    let mut report = duel::wire::Report::default();
    duel::wire::try_once(world.host(), &old, Caller::raw(), cut, &mut report);
    let end = b"EHLO c.example\r\nMAIL FROM:<new@c.example> TRANSID=<old-1@c.example>\r\n\
        RCPT TO:<b@example.net>\r\nDATA\r\nnew\r\n.\r\n";
    let cut = Some(Cut {
        up: true,
        at: end.len(),
        loss: Loss::Reset,
    });
    let (_, _) = run(world.host(), &new, Caller::raw(), &[cut], 2);
    assert_delivered(&world, &new, &["b@example.net"]);
}

fn interleavings(mutant: Mutant) {
    let setup = Setup {
        mutant,
        takeover: Takeover::Unsaid,
        every: Some(4),
        ..SETUP
    };
    explore("two sessions", setup);
}

fn hosts(mutant: Mutant) {
    for when in [When::Now, When::Later] {
        explore(
            "two hosts",
            Setup {
                mutant,
                hosts: 2,
                leases: true,
                when,
                ..SETUP
            },
        );
    }
}

type Scenario = (&'static str, fn(Mutant));

#[test]
fn every_broken_rule_is_caught() {
    let scenarios: [Scenario; 4] = [
        ("cuts and a crash", cuts_and_a_crash),
        ("late advice", late_advice),
        ("two sessions", interleavings),
        ("two hosts", hosts),
    ];
    for (name, scenario) in scenarios {
        scenario(Mutant::None);
        println!("{name}: the sound store passes");
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut survivors = Vec::new();
    for mutant in [
        Mutant::CommitNotSynced,
        Mutant::CompletionForgotten,
        Mutant::GenerationStays,
        Mutant::CommitUnchecked,
        Mutant::RecordBeforeContent,
        Mutant::NotCut,
        Mutant::DiscardUnchecked,
        Mutant::BeginUnchecked,
    ] {
        let caught = scenarios
            .iter()
            .filter(|(_, scenario)| catch_unwind(AssertUnwindSafe(|| scenario(mutant))).is_err());
        let caught: Vec<&str> = caught.map(|(name, _)| *name).collect();
        println!("{mutant:?}: caught by {caught:?}");
        if caught.is_empty() {
            survivors.push(mutant);
        }
    }
    std::panic::set_hook(hook);
    assert!(survivors.is_empty(), "not caught: {survivors:?}");
}
