//! Two live sessions, or two hosts, on one key in every interleaving of their steps; decisions
//! that outlive their session.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod duel;

use std::rc::Rc;

use duel::client::{Caller, How, Job};
use duel::explore::{SETUP, Setup, explore};
use duel::server::{Advice, Manner, TAKEOVERS, When};
use duel::wire::{Cut, Loss, Report, World, assert_delivered, config, converse, run, try_once};

#[test]
fn two_sessions_in_every_interleaving() {
    let mut all = 0;
    for (name, how) in [("DATA", How::Data), ("BDAT", How::Bdat(7))] {
        for held in [false, true] {
            for takeover in TAKEOVERS {
                for every in [None, Some(4)] {
                    let setup = Setup {
                        how,
                        held,
                        takeover,
                        every,
                        ..SETUP
                    };
                    let name = format!("{name}, held {held}, {takeover:?}, {every:?}");
                    let tally = explore(&name, setup);
                    assert!(tally.both_told > 0 && tally.fenced > 0);
                    all += tally.ways;
                }
            }
        }
    }
    println!("{all} interleavings of two sessions with one message");
}

/// And the process dies once, anywhere.
#[test]
fn two_sessions_and_a_crash_in_every_interleaving() {
    let mut all = 0;
    for (name, how) in [("DATA", How::Data), ("BDAT", How::Bdat(7))] {
        for takeover in TAKEOVERS {
            for (held, every) in [(false, None), (true, Some(4))] {
                let setup = Setup {
                    how,
                    held,
                    takeover,
                    every,
                    crash: true,
                    ..SETUP
                };
                let name = format!("{name}, held {held}, {takeover:?}, a crash");
                all += explore(&name, setup).ways;
            }
        }
    }
    println!("{all} interleavings of two sessions and a crash");
}

#[test]
fn two_sessions_octets_and_store_calls_apart() {
    let mut all = 0;
    for takeover in TAKEOVERS {
        let setup = Setup {
            takeover,
            fine: true,
            when: When::Now,
            ..SETUP
        };
        all += explore(&format!("apart, {takeover:?}"), setup).ways;
    }
    println!("{all} interleavings of two sessions, octets and store calls apart");
}

#[test]
fn two_messages_under_one_key_in_every_interleaving() {
    let mut all = 0;
    for advice in [Advice::Taken, Advice::Lost, Advice::Late] {
        for takeover in TAKEOVERS {
            for (held, innocent) in [(false, false), (true, false), (false, true), (true, true)] {
                let setup = Setup {
                    other: !innocent,
                    innocent,
                    advice,
                    held,
                    takeover,
                    every: Some(4),
                    ..SETUP
                };
                let name = format!(
                    "two messages, {advice:?}, held {held}, innocent {innocent}, {takeover:?}"
                );
                all += explore(&name, setup).ways;
            }
        }
    }
    println!("{all} interleavings of two messages under one TRANSID");
}

#[test]
fn two_hosts_in_every_interleaving() {
    let mut all = 0;
    for (name, how, leases) in [
        ("DATA", How::Data, false),
        ("DATA", How::Data, true),
        ("BDAT", How::Bdat(7), false),
        ("BDAT", How::Bdat(7), true),
    ] {
        for when in [When::Now, When::Later] {
            for crash in [false, true] {
                let setup = Setup {
                    how,
                    hosts: 2,
                    leases,
                    when,
                    crash,
                    ..SETUP
                };
                let name =
                    format!("two hosts, {name}, leases expire {leases}, {when:?}, crash {crash}");
                all += explore(&name, setup).ways;
            }
        }
    }
    println!("{all} interleavings of two hosts");
}

/// What happens to a decision whose session is gone.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Finished,
    Withdrawn,
    Crash,
    /// Its deadline passes, if a session still waits for it.
    Deadline,
    Nothing,
}

const FATES: [Fate; 5] = [
    Fate::Finished,
    Fate::Withdrawn,
    Fate::Crash,
    Fate::Deadline,
    Fate::Nothing,
];

fn befall(world: &mut World, fate: Fate) {
    match fate {
        Fate::Finished => world.host().finish(),
        Fate::Withdrawn => world.host().withdraw_all(),
        Fate::Crash => world.host().kill(),
        Fate::Deadline => {
            world.host().pass_time();
            world.host().pass_time();
        }
        Fate::Nothing => {}
    }
}

/// The session is lost while the decision runs; then something befalls the decision, before the
/// restart and again while the restarted session awaits it.
#[test]
fn decisions_outlive_their_sessions() {
    let mut runs = 0_u64;
    let smtp = [vec![250], vec![450], vec![550]];
    let lmtp = [
        vec![250, 450, 550],
        vec![450, 450],
        vec![550, 250],
        vec![250],
    ];
    let verdicts = smtp
        .map(|it| (false, it))
        .into_iter()
        .chain(lmtp.map(|it| (true, it)));
    for (is_lmtp, verdict) in verdicts {
        for how in [How::Data, How::Bdat(6)] {
            for (real, terse) in [(false, false), (false, true), (true, false)] {
                for loss in [Loss::End, Loss::Reset, Loss::HalfOpen] {
                    for before in FATES {
                        for during in FATES {
                            let mut job = Job::new("m", b"S: x\r\n\r\n.\r\nend\r\n");
                            job.how = how;
                            job.lmtp = is_lmtp;
                            job.terse = terse;
                            if is_lmtp {
                                let to = ["b@example.net", "no@example.net", "c@example.net"];
                                job.recipients = to.map(str::to_string).to_vec();
                            }
                            let what = format!(
                                "{how:?} {verdict:?} real {real} {loss:?} {before:?} {during:?}"
                            );
                            let run = || outlive(&job, &verdict, real, loss, before, during);
                            let run = std::panic::AssertUnwindSafe(run);
                            std::panic::catch_unwind(run).unwrap_or_else(|_| panic!("{what}"));
                            runs += 1;
                        }
                    }
                }
            }
        }
    }
    println!("{runs} decisions that outlived their session");
}

fn outlive(job: &Job, verdict: &[u16], real: bool, loss: Loss, before: Fate, during: Fate) {
    let job = Rc::new(job.clone());
    let manner = Manner {
        verdict: verdict.to_vec(),
        when: When::Later,
        ..Manner::default()
    };
    let mut world = World::new(1, &config(job.lmtp, None), &manner);
    let mut caller = if real {
        Caller::real(&job, 6)
    } else {
        Caller::raw()
    };
    // All that the client sends up to the end of the data.
    let mut probe = World::new(1, &config(job.lmtp, None), &manner);
    let fresh = if real {
        Caller::real(&job, 6)
    } else {
        Caller::raw()
    };
    let (clean, _) = run(probe.host(), &job, fresh, &[], 1);
    let at = clean.traffic[0].up.len() - b"QUIT\r\n".len();
    let mut report = Report::default();
    let cut = |loss| Some(Cut { up: true, at, loss });
    caller = try_once(world.host(), &job, caller, cut(loss), &mut report);
    assert!(caller.outcome().is_none());
    befall(&mut world, before);
    // The restart asks for the reply, and is left waiting where a decision runs.
    let mut attempt = caller.begin(&job);
    let id = world.host().connect(b"192.0.2.7");
    world.host().pump(id);
    loop {
        let output = attempt.client().output();
        let host = world.host();
        host.input(id, &output);
        host.pump(id);
        let Some(conn) = host.conn(id) else { break };
        let reply = std::mem::take(&mut conn.output);
        if output.is_empty() && reply.is_empty() {
            break;
        }
        attempt.client().input(&reply);
    }
    befall(&mut world, during);
    if let Some(conn) = world.host().conn(id) {
        let reply = std::mem::take(&mut conn.output);
        attempt.client().input(&reply);
    }
    attempt.client().lost();
    world.host().end(id, true);
    caller = attempt.into_caller();
    // Liveness: two more attempts at most (one may meet the other session's 421).
    let (report, _) = run(world.host(), &job, caller, &[], 2);
    let refused = |to: &&String| !to.starts_with("no");
    let accepted: Vec<&String> = job.recipients.iter().filter(refused).collect();
    let owed = if job.lmtp { accepted.len() } else { 1 };
    let code = |index: usize| verdict[index % verdict.len()];
    let outcome: Vec<String> = (0..owed).map(|index| code(index).to_string()).collect();
    assert_eq!(report.outcome, outcome);
    let expected: Vec<&str> = accepted
        .iter()
        .enumerate()
        .filter(|(index, _)| code(if job.lmtp { *index } else { 0 }) == 250)
        .map(|(_, to)| to.as_str())
        .collect();
    assert_delivered(&world, &job, &expected);
}

/// Advice to discard what another message left under the key is carried out late: behind the
/// commit. The completion record must stand, or the message is doubled.
#[test]
fn late_advice_does_not_touch_a_later_completion() {
    for advice in [Advice::Taken, Advice::Lost, Advice::Late] {
        let manner = Manner {
            advice,
            ..Manner::default()
        };
        let mut world = World::new(1, &config(false, None), &manner);
        let old = Rc::new(Job::new("old", b"S: x\r\n\r\nold\r\n"));
        let mut new = Job::new("new", b"S: x\r\n\r\nnew and longer\r\n");
        new.transid.clone_from(&old.transid);
        let new = Rc::new(new);
        let cut = Cut {
            up: true,
            at: 111,
            loss: Loss::End,
        };
        let mut report = Report::default();
        try_once(world.host(), &old, Caller::raw(), Some(cut), &mut report);
        let mut attempt = Caller::raw().begin(&new);
        // All comes in, the final reply is lost.
        let up = run(
            World::new(1, &config(false, None), &manner).host(),
            &new,
            Caller::raw(),
            &[],
            1,
        );
        let at = up.0.traffic[0].up.len() - b"QUIT\r\n".len();
        let cut = Cut {
            up: true,
            at,
            loss: Loss::Reset,
        };
        converse(world.host(), attempt.client(), Some(cut));
        world.host().settle();
        let caller = attempt.into_caller();
        assert!(caller.outcome().is_none());
        let (report, _) = run(world.host(), &new, caller, &[], 1);
        assert_eq!(
            report.offsets,
            [Some(new.canonical().len() as u64)],
            "{advice:?}"
        );
        assert_delivered(&world, &new, &["b@example.net"]);
        assert_delivered(&world, &old, &[]);
    }
}
