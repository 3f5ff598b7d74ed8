//! The order of draining changes nothing; long runs of many messages with faults of all kinds.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod duel;

use std::rc::Rc;

use duel::client::{Caller, How, Job};
use duel::server::{Advice, Manner, ORDERS, TAKEOVERS, When};
use duel::store::{Blow, Unsynced};
use duel::wire::{Cut, LOSSES, Loss, Report, World, assert_delivered, config, run, try_once};

/// Events, content, output and early time-outs are drained in different orders, octets come at
/// once or one by one: the same octets on the wire, the same message delivered.
#[test]
fn order_of_draining_does_not_matter() {
    let mut runs = 0_u64;
    for (name, message) in duel::messages() {
        for (way, job) in duel::ways("m", &message) {
            let job = Rc::new(job);
            for up in [None, Some(90), Some(100), Some(110), Some(118)] {
                for (real, every) in [(false, None), (false, Some(4)), (true, None)] {
                    let cut = up.map(|at| Cut {
                        up: true,
                        at,
                        loss: Loss::End,
                    });
                    let mut first = None;
                    for order in ORDERS {
                        let manner = Manner {
                            order,
                            ..Manner::default()
                        };
                        let mut world = World::new(1, &config(false, every), &manner);
                        let caller = if real {
                            Caller::real(&job, 3)
                        } else {
                            Caller::raw()
                        };
                        let (report, _) = run(world.host(), &job, caller, &[cut], 2);
                        assert_delivered(&world, &job, &["b@example.net"]);
                        runs += 1;
                        let first = first.get_or_insert_with(|| report.clone());
                        assert_eq!(report, *first, "{name}, {way}, {order:?}, cut {up:?}");
                    }
                }
            }
        }
    }
    println!("{runs} runs in {} orders", ORDERS.len());
}

/// xorshift64*: enough to choose with.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

#[derive(Debug, Default)]
struct Faults {
    messages: u64,
    attempts: u64,
    cuts: u64,
    crashes: u64,
    failures: u64,
    client_crashes: u64,
    restarts: u64,
}

fn message(dice: &mut Dice) -> Vec<u8> {
    let mut octets = Vec::new();
    for _ in 0..dice.below(12) {
        let line: &[u8] = dice.one(&[
            b".\r\n",
            b"..\r\n",
            b"\r\n",
            b"a\r\n",
            b".a\r\n",
            b"\xff\x80\r\n",
            b"some text.\r\n",
        ]);
        octets.extend_from_slice(line);
    }
    if dice.below(3) == 0 {
        octets.extend_from_slice(dice.one(&[&b"end"[..], b".", b"..", b"end."]));
    }
    octets
}

/// All of it at once: one host for many messages, each message with its own faults.
fn long_run(seed: u64, total: &mut Faults) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let lmtp = dice.below(3) == 0;
    let every = dice.one(&[None, Some(1), Some(6), Some(20)]);
    let mut world = World::new(1, &config(lmtp, every), &Manner::default());
    world.host().store.lazy_records = dice.below(2) == 0;
    for number in 0..12 {
        let mut job = Job::new(&format!("m{seed}-{number}"), &message(&mut dice));
        job.how = dice.one(&[How::Data, How::Bdat(1), How::Bdat(7), How::Bdat(1000)]);
        job.pipelining = dice.below(2) == 0;
        job.terse = dice.below(2) == 0;
        job.lmtp = lmtp;
        job.recipients = ["b", "no", "c", "later", "d"][..1 + dice.below(5)]
            .iter()
            .map(|name| format!("{name}@example.net"))
            .collect();
        let verdict = dice.one(&[&[250][..], &[250], &[450], &[550], &[250, 450, 550]]);
        let verdict = if lmtp { verdict } else { &verdict[..1] };
        let manner = Manner {
            verdict: verdict.to_vec(),
            when: dice.one(&[When::Now, When::Later]),
            advice: dice.one(&[Advice::Taken, Advice::Lost, Advice::Late]),
            order: dice.one(&ORDERS),
            takeover: dice.one(&TAKEOVERS),
            stepwise: false,
        };
        let job = Rc::new(job);
        let host = world.host();
        host.restart();
        host.manner = manner;
        host.store.unsynced = dice.one(&[Unsynced::Lost, Unsynced::Kept, Unsynced::Torn]);
        let real = dice.below(2) == 0;
        let mut caller = if real {
            Caller::real(&job, 4)
        } else {
            Caller::raw()
        };
        let mut report = Report::default();
        let faulty = dice.below(8);
        for _ in 0..faulty {
            if caller.outcome().is_some() {
                break;
            }
            let host = world.host();
            let mut cut = None;
            match dice.below(5) {
                0 => {
                    let call = host.store.calls + dice.below(10) as u64;
                    let blow = dice.one(&[Blow::CrashBefore, Blow::CrashAfter]);
                    host.store.blows = vec![(call, blow)];
                }
                1 => {
                    let call = host.store.calls + 3 + dice.below(6) as u64;
                    // A failed sync is told with the final reply, which has its own tests.
                    let dies = dice.below(2) == 0;
                    host.store.blows = vec![(call, Blow::CrashAfter)];
                    if dies {
                        let at = caller.calls() + dice.below(3) as u64;
                        caller.blow(at, dice.one(&[Blow::CrashBefore, Blow::CrashAfter]));
                    }
                }
                2 => host.withdraw_all(),
                _ => {
                    let up = dice.below(2) == 0;
                    let at = if up { 60 } else { 240 } + dice.below(160);
                    let loss = dice.one(&LOSSES);
                    cut = Some(Cut { up, at, loss });
                    total.cuts += 1;
                }
            }
            caller = try_once(world.host(), &job, caller, cut, &mut report);
            if dice.below(6) == 0 {
                world.host().kill();
            }
        }
        // The faults stop, and two more attempts are enough: one may meet a session that is left.
        caller.spare();
        world.host().store.blows.clear();
        let (last, caller) = run(world.host(), &job, caller, &[], 2);
        let accepted: Vec<&str> = (job.recipients.iter())
            .filter(|to| !to.starts_with("no") && !to.starts_with("later"))
            .map(String::as_str)
            .collect();
        let owed = if lmtp { accepted.len() } else { 1 };
        let code = |index: usize| verdict[index % verdict.len()];
        let finals: Vec<String> = (0..owed).map(|index| code(index).to_string()).collect();
        assert_eq!(last.outcome, finals);
        let expected: Vec<&str> = (accepted.iter().enumerate())
            .filter(|(index, _)| code(if lmtp { *index } else { 0 }) == 250)
            .map(|(_, to)| *to)
            .collect();
        assert_delivered(&world, &job, &expected);
        total.messages += 1;
        total.attempts += u64::from(report.attempts + last.attempts);
        total.client_crashes += caller.crashes();
        total.restarts += report.offsets.iter().chain(&last.offsets).flatten().count() as u64;
        world.host().restart();
    }
    let store = &world.host().store;
    total.crashes += store.crashes;
    total.failures += store.failures;
}

/// Seeds 1 to 1000, or as many as `DUEL_SEEDS` says.
#[test]
fn long_runs_from_seeds() {
    let mut total = Faults::default();
    let seeds = std::env::var("DUEL_SEEDS").map_or(1000, |seeds| seeds.parse().expect("a number"));
    for seed in 1..=seeds {
        let run = std::panic::AssertUnwindSafe(|| long_run(seed, &mut total));
        std::panic::catch_unwind(run).unwrap_or_else(|_| panic!("seed {seed}"));
    }
    println!("seeds 1 to {seeds}: {total:?}");
}

/// One seed of your choice: `DUEL_SEED=7 cargo test --test duel_runs one_seed -- --nocapture`.
#[test]
fn one_seed() {
    if let Some(seed) = std::env::var("DUEL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        let mut total = Faults::default();
        long_run(seed, &mut total);
        println!("seed {seed}: {total:?}");
    }
}
