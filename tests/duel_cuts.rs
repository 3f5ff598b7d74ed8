//! Cut at every octet of the wire, in both directions: delivered once, with the same octets.

#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod duel;

use std::rc::Rc;

use duel::client::{Caller, Job};
use duel::server::Manner;
use duel::wire::{Cut, Report, World, assert_delivered, config, run};

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

fn deliver(
    who: Who,
    job: &Rc<Job>,
    manner: &Manner,
    every: Option<u64>,
    cuts: &[Option<Cut>],
) -> Report {
    let mut world = World::new(1, &config(job.lmtp, every), manner);
    let limit = u32::try_from(cuts.len()).unwrap() + 1;
    let caller = caller(who, job);
    let (report, _) = run(world.host(), job, caller, cuts, limit);
    assert_eq!(report.outcome, ["250"]);
    assert_delivered(&world, job, &["b@example.net"]);
    report
}

/// Octets up and down of an attempt that nothing happens to.
fn lengths(report: &Report) -> (usize, usize) {
    let last = report.traffic.last().unwrap();
    (last.up.len(), last.down.len())
}

fn cuts_of(up: usize, down: usize) -> impl Iterator<Item = Cut> {
    let up = (0..up).map(|at| (true, at));
    let down = (0..down).map(|at| (false, at));
    up.chain(down)
        .flat_map(|(up, at)| [false, true].map(|reset| Cut { up, at, reset }))
}

fn every_cut(who: Who) {
    let (mut runs, mut restarts, mut saved) = (0_u64, 0_u64, 0_u64);
    for (name, message) in duel::messages() {
        for (way, job) in duel::ways("m", &message) {
            let job = Rc::new(job);
            let clean = deliver(who, &job, &Manner::default(), None, &[]);
            let (up, down) = lengths(&clean);
            for cut in cuts_of(up, down) {
                let report = std::panic::catch_unwind(|| {
                    deliver(who, &job, &Manner::default(), Some(8), &[Some(cut)])
                });
                let report = report.unwrap_or_else(|_| panic!("{name}, {way}, {cut:?}, {who:?}"));
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
