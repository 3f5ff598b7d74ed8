//! The server dies at every call of its store, the client at every call of its journal, syncs
//! fail: delivered once, with the same octets.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod duel;

use std::rc::Rc;

use duel::client::{Caller, How, Job};
use duel::server::{Advice, Manner, When};
use duel::store::{Blow, Unsynced};
use duel::wire::{Cut, Loss, Report, World, assert_delivered, config, run};

const MESSAGE: &[u8] = b"S: x\r\n\r\n.\r\n..a\r\nend\r\n";

fn jobs() -> Vec<(Rc<Job>, bool)> {
    let mut jobs = Vec::new();
    for how in [How::Data, How::Bdat(5)] {
        for real in [false, true] {
            let mut job = Job::new("m", MESSAGE);
            job.how = how;
            jobs.push((Rc::new(job), real));
        }
    }
    jobs
}

fn caller(job: &Job, real: bool) -> Caller {
    if real {
        Caller::real(job, 6)
    } else {
        Caller::raw()
    }
}

#[derive(Debug, Clone)]
struct Plan {
    blows: Vec<(u64, Blow)>,
    journal: Vec<(u64, Blow)>,
    unsynced: Unsynced,
    lazy: bool,
    cuts: Vec<Option<Cut>>,
    manner: Manner,
    every: Option<u64>,
}

impl Plan {
    /// The first attempt is cut in the middle of the data.
    fn new(job: &Job) -> Self {
        let at = if job.how == How::Data { 126 } else { 118 };
        Self {
            blows: Vec::new(),
            journal: Vec::new(),
            unsynced: Unsynced::Lost,
            lazy: true,
            cuts: vec![Some(Cut {
                up: true,
                at,
                loss: Loss::End,
            })],
            manner: Manner::default(),
            every: Some(6),
        }
    }
}

/// Runs it; gives the report and the calls of store and journal.
fn play(job: &Rc<Job>, real: bool, plan: &Plan) -> (Report, u64, u64) {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut world = World::new(1, &config(job.lmtp, plan.every), &plan.manner);
        let store = &mut world.host().store;
        store.blows.clone_from(&plan.blows);
        store.unsynced = plan.unsynced;
        store.lazy_records = plan.lazy;
        let mut caller = caller(job, real);
        for (call, blow) in &plan.journal {
            caller.blow(*call, *blow);
        }
        let faults = plan.cuts.len() + plan.blows.len() + plan.journal.len();
        // Liveness: each fault costs an attempt at most, and one goes through.
        let limit = u32::try_from(faults).unwrap() + 1;
        let (report, caller) = run(world.host(), job, caller, &plan.cuts, limit);
        let failed = plan.blows.iter().any(|(_, blow)| *blow == Blow::Fail);
        if failed && report.outcome == ["451"] {
            // A failed sync may be told with the final reply: nothing is delivered, and the
            // client tries under another TRANSID.
            assert_delivered(&world, job, &[]);
            let mut again = Job::clone(job);
            again.transid = "<again@c.example>".into();
            let again = Rc::new(again);
            let caller = if real {
                Caller::real(&again, 6)
            } else {
                Caller::raw()
            };
            let (report, _) = run(world.host(), &again, caller, &[], limit);
            assert_eq!(report.outcome, ["250"]);
        } else {
            assert_eq!(report.outcome, ["250"]);
        }
        assert_delivered(&world, job, &["b@example.net"]);
        let calls = world.host().store.calls;
        let journal = caller.calls();
        (report, calls, journal)
    }));
    result.unwrap_or_else(|_| panic!("{:?}, real {real}, {plan:?}", job.how))
}

#[test]
fn server_dies_at_every_store_call() {
    let mut runs = 0_u64;
    for (job, real) in jobs() {
        let base = Plan::new(&job);
        let (_, calls, _) = play(&job, real, &base);
        for call in 0..calls + 4 {
            for blow in [Blow::CrashBefore, Blow::CrashAfter, Blow::Fail] {
                for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn] {
                    for lazy in [false, true] {
                        let plan = Plan {
                            blows: vec![(call, blow)],
                            unsynced,
                            lazy,
                            ..base.clone()
                        };
                        play(&job, real, &plan);
                        runs += 1;
                    }
                }
            }
        }
    }
    println!("{runs} single crashes and failures of the store");
    assert!(runs > 500);
}

#[test]
fn server_dies_at_every_pair_of_store_calls() {
    let mut runs = 0_u64;
    for (job, real) in jobs() {
        let base = Plan::new(&job);
        let (_, calls, _) = play(&job, real, &base);
        for first in 0..calls {
            for second in first + 1..calls + 12 {
                for blow in [Blow::CrashBefore, Blow::CrashAfter] {
                    for other in [Blow::CrashBefore, Blow::CrashAfter, Blow::Fail] {
                        let turn = (first + second) % 3;
                        let unsynced = match turn {
                            0 => Unsynced::Lost,
                            1 => Unsynced::Kept,
                            _ => Unsynced::Torn,
                        };
                        let plan = Plan {
                            blows: vec![(first, blow), (second, other)],
                            unsynced,
                            ..base.clone()
                        };
                        play(&job, real, &plan);
                        runs += 1;
                    }
                }
            }
        }
    }
    println!("{runs} pairs of crashes of the store");
}

#[test]
fn client_dies_at_every_journal_call() {
    let mut runs = 0_u64;
    for (job, real) in jobs() {
        let base = Plan::new(&job);
        let (_, calls, journal) = play(&job, real, &base);
        for call in 0..journal + 3 {
            for blow in [Blow::CrashBefore, Blow::CrashAfter] {
                // With the first attempt cut at every octet behind the greeting.
                for at in (60..190).step_by(2) {
                    let loss = [Loss::End, Loss::Reset, Loss::HalfOpen][at % 3];
                    let plan = Plan {
                        journal: vec![(call, blow)],
                        cuts: vec![Some(Cut {
                            up: at % 2 == 0,
                            at,
                            loss,
                        })],
                        ..base.clone()
                    };
                    play(&job, real, &plan);
                    runs += 1;
                }
                // And with the server dying too.
                for store_call in 0..calls + 3 {
                    let plan = Plan {
                        journal: vec![(call, blow)],
                        blows: vec![(store_call, Blow::CrashAfter)],
                        ..base.clone()
                    };
                    play(&job, real, &plan);
                    runs += 1;
                }
                for second in call + 1..journal + 4 {
                    let plan = Plan {
                        journal: vec![(call, blow), (second, Blow::CrashAfter)],
                        ..base.clone()
                    };
                    play(&job, real, &plan);
                    runs += 1;
                }
            }
        }
    }
    println!("{runs} crashes of the client's journal");
}

/// No record at all before the commit, and advice that is lost or comes late: a crash costs octets,
/// never a message.
#[test]
fn lazy_stores_lose_octets_only() {
    let mut runs = 0_u64;
    for (job, real) in jobs() {
        for advice in [Advice::Taken, Advice::Lost, Advice::Late] {
            for when in [When::Now, When::Later] {
                let base = Plan {
                    every: None,
                    manner: Manner {
                        advice,
                        when,
                        ..Manner::default()
                    },
                    ..Plan::new(&job)
                };
                let (_, calls, _) = play(&job, real, &base);
                for call in 0..calls + 4 {
                    for blow in [Blow::CrashBefore, Blow::CrashAfter, Blow::Fail] {
                        let plan = Plan {
                            blows: vec![(call, blow)],
                            ..base.clone()
                        };
                        play(&job, real, &plan);
                        runs += 1;
                    }
                }
            }
        }
    }
    println!("{runs} crashes of a store that writes nothing before the commit");
}

/// The first write fails when a record is due already: that record is taken back, for it counts
/// octets that are not stored.
#[test]
fn a_failed_write_takes_back_the_record_that_was_due() {
    for (job, real) in jobs() {
        for every in [1, 6] {
            let plan = Plan {
                blows: vec![(2, Blow::Fail)],
                every: Some(every),
                cuts: Vec::new(),
                ..Plan::new(&job)
            };
            play(&job, real, &plan);
        }
    }
}
