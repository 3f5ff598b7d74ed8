//! Cut at every octet of the wire, in both directions: delivered once, with the same octets.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod duel;

use std::rc::Rc;

use duel::client::{Caller, How, Job};
use duel::server::Manner;
use duel::wire::{Cut, LOSSES, Loss, Report, Traffic, World, assert_delivered, config, run};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Raw,
    Real,
}

fn caller(who: Who, job: &Job) -> Caller {
    match who {
        Who::Raw => Caller::raw(),
        Who::Real => Caller::real(job, 5),
    }
}

fn deliver(who: Who, job: &Rc<Job>, every: Option<u64>, cuts: &[Option<Cut>]) -> Report {
    let mut world = World::new(1, &config(job.lmtp, every), &Manner::default());
    let limit = u32::try_from(cuts.len()).unwrap() + 1;
    let caller = caller(who, job);
    let (report, _) = run(world.host(), job, caller, cuts, limit);
    assert_eq!(report.outcome, ["250"]);
    assert_delivered(&world, job, &["b@example.net"]);
    report
}

/// Where MAIL begins, and where its reply does.
fn mail_begins(traffic: &Traffic) -> (usize, usize) {
    let find = |all: &[u8], what: &[u8]| {
        let found = all.windows(what.len()).position(|some| some == what);
        found.expect("MAIL and EHLO")
    };
    let up = find(&traffic.up, b"MAIL");
    // The last line of the EHLO reply.
    let last = find(&traffic.down, b"\n250 ");
    let end = find(&traffic.down[last + 1..], b"\n");
    (up, last + 1 + end + 1)
}

/// Every octet from the beginning, or from MAIL on; each with one kind of loss, in turn.
fn cuts_of(clean: &Report, from_mail: bool, turn: usize) -> impl Iterator<Item = Cut> {
    let traffic = clean.traffic.last().expect("an attempt");
    let (up, down) = if from_mail {
        mail_begins(traffic)
    } else {
        (0, 0)
    };
    let up = (up..traffic.up.len()).map(|at| (true, at));
    let down = (down..traffic.down.len()).map(|at| (false, at));
    up.chain(down).map(move |(up, at)| {
        let loss = LOSSES[(at + turn) % LOSSES.len()];
        Cut { up, at, loss }
    })
}

fn named<T>(what: impl Fn() -> String, test: impl FnOnce() -> T + std::panic::UnwindSafe) -> T {
    std::panic::catch_unwind(test).unwrap_or_else(|_| panic!("in {}", what()))
}

fn every_cut(who: Who) {
    let (mut runs, mut restarts, mut saved) = (0_u64, 0_u64, 0_u64);
    for (name, message) in duel::messages() {
        for (way, job) in duel::ways("m", &message) {
            let whole = name == "simple" && way == "DATA, pipelined";
            let job = Rc::new(job);
            let clean = deliver(who, &job, None, &[]);
            let turns = 0..LOSSES.len();
            for cut in turns.flat_map(|turn| cuts_of(&clean, !whole, turn)) {
                let what = || format!("{name}, {way}, {cut:?}, {who:?}");
                let job = std::panic::AssertUnwindSafe(&job);
                let report = named(what, || deliver(who, &job, Some(8), &[Some(cut)]));
                runs += 1;
                for offset in report.offsets.iter().flatten() {
                    restarts += 1;
                    saved += offset;
                }
            }
        }
    }
    println!("{who:?}: {runs} cuts, {restarts} restarts, {saved} octets not sent again");
    assert!(runs > 10_000 && restarts > 1_000);
}

#[test]
fn cut_at_every_octet_raw_client() {
    every_cut(Who::Raw);
}

#[test]
fn cut_at_every_octet_library_client() {
    every_cut(Who::Real);
}

/// The second attempt is cut too, wherever it can be.
#[test]
fn cut_again_at_every_octet_of_the_restart() {
    let (mut runs, mut restarts) = (0_u64, 0_u64);
    for who in [Who::Raw, Who::Real] {
        for (_, job) in duel::ways("m", b"S: x\r\n\r\n.\r\n..a\r\nend") {
            if !job.pipelining {
                continue;
            }
            let job = Rc::new(job);
            let clean = deliver(who, &job, None, &[]);
            for first in cuts_of(&clean, true, 0).step_by(3) {
                let second = deliver(who, &job, Some(4), &[Some(first)]);
                for second in cuts_of(&second, true, first.at).step_by(3) {
                    let what = || format!("{:?}, {first:?}, {second:?}, {who:?}", job.how);
                    let cuts = [Some(first), Some(second)];
                    let job = std::panic::AssertUnwindSafe(&job);
                    let report = named(what, || deliver(who, &job, Some(4), &cuts));
                    restarts += report.offsets.iter().flatten().count() as u64;
                    runs += 1;
                }
            }
        }
    }
    println!("{runs} pairs of cuts, {restarts} restarts");
}

/// The final reply is lost at each of its octets, once and twice: the stored one comes again, and
/// nothing is delivered twice. A 4yz is given once more, then the transaction begins afresh.
#[test]
fn final_replies_lost_at_every_octet() {
    let mut runs = 0_u64;
    for who in [Who::Raw, Who::Real] {
        for (code, lmtp) in [
            (250, false),
            (450, false),
            (550, false),
            (250, true),
            (0, true),
        ] {
            for how in [How::Data, How::Bdat(7)] {
                let mut job = Job::new("m", b"S: x\r\n\r\nHello\r\n");
                job.how = how;
                job.lmtp = lmtp;
                let to = [
                    "b@example.net",
                    "no@example.net",
                    "c@example.net",
                    "d@example.net",
                ];
                if lmtp {
                    job.recipients = to.map(str::to_string).to_vec();
                }
                let verdict = if code == 0 {
                    vec![550, 250, 450]
                } else {
                    vec![code]
                };
                let manner = Manner {
                    verdict: verdict.clone(),
                    ..Manner::default()
                };
                let job = Rc::new(job);
                let owed = if lmtp { 3 } else { 1 };
                let deliver = |cuts: &[Option<Cut>]| {
                    let mut world = World::new(1, &config(lmtp, None), &manner);
                    let caller = caller(who, &job);
                    let limit = u32::try_from(cuts.len()).unwrap() + 1;
                    let (report, _) = run(world.host(), &job, caller, cuts, limit);
                    let wanted: &[&str] = match (lmtp, code) {
                        (false, 250) => &["b@example.net"],
                        (true, 250) => &["b@example.net", "c@example.net", "d@example.net"],
                        (true, _) => &["c@example.net"],
                        _ => &[],
                    };
                    assert_delivered(&world, &job, wanted);
                    let finals = (0..owed).map(|at| verdict[at % verdict.len()].to_string());
                    assert_eq!(report.outcome, finals.collect::<Vec<_>>());
                    report
                };
                let clean = deliver(&[]);
                let whole = clean.traffic[0].down.len();
                let quit = b"221 2.0.0 Closing the connection\r\n".len();
                let finals: usize = (0..owed)
                    .map(|at| {
                        if verdict[at % verdict.len()] < 300 {
                            14
                        } else {
                            12
                        }
                    })
                    .sum();
                let begin = whole - quit - finals;
                let end_of_data = clean.traffic[0].up.len() - b"QUIT\r\n".len();
                for at in begin..whole {
                    for loss in LOSSES {
                        // The reply does not come at all, or some octets of it.
                        let cut = if at == begin {
                            let loss = if loss == Loss::End { Loss::Reset } else { loss };
                            Cut {
                                up: true,
                                at: end_of_data,
                                loss,
                            }
                        } else {
                            Cut {
                                up: false,
                                at,
                                loss,
                            }
                        };
                        let once = deliver(&[Some(cut)]);
                        if once.attempts == 2 {
                            let again = once.offsets[1];
                            assert_eq!(again, Some(job.canonical().len() as u64));
                        }
                        runs += 1;
                        let Some(second) = once.traffic.get(1) else {
                            continue;
                        };
                        let from = second.down.len() - quit - finals;
                        for at in (from + 1..second.down.len()).step_by(3) {
                            let second = Cut {
                                up: false,
                                at,
                                loss,
                            };
                            let twice = deliver(&[Some(cut), Some(second)]);
                            if twice.attempts == 3 {
                                let third = twice.offsets[2];
                                assert_eq!(third.is_none(), code == 450, "{third:?}");
                            }
                            runs += 1;
                        }
                    }
                }
            }
        }
    }
    println!("{runs} lost final replies");
}
