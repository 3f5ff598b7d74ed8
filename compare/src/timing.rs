//! Timing in turn, so that what disturbs the machine disturbs all alike.
//!
//! Each round times one slice of every contender, so many calls that it takes some tens of
//! microseconds. Ratios are taken within a round; what counts is the median of the rounds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::allocations;

struct Contender<'a> {
    name: &'static str,
    run: Box<dyn FnMut() + 'a>,
}

/// Several that do the same work, the anchor first.
#[allow(missing_debug_implementations)]
pub struct Group<'a> {
    /// The kind of work.
    pub work: &'static str,
    /// On what: the shape of the content, the command line.
    pub case: String,
    contenders: Vec<Contender<'a>>,
}

impl<'a> Group<'a> {
    /// A group with its anchor.
    pub fn new(
        work: &'static str,
        case: impl Into<String>,
        anchor: &'static str,
        run: impl FnMut() + 'a,
    ) -> Self {
        let mut group = Self {
            work,
            case: case.into(),
            contenders: Vec::new(),
        };
        group.add(anchor, run);
        group
    }

    /// One more. Whether it comes to the same result has been seen before.
    pub fn add(&mut self, name: &'static str, run: impl FnMut() + 'a) {
        let run = Box::new(run);
        self.contenders.push(Contender { name, run });
    }
}

/// The times of one group.
#[derive(Debug)]
pub struct Times {
    /// As in [`Group::work`].
    pub work: &'static str,
    /// As in [`Group::case`].
    pub case: String,
    /// As in the group, the anchor first.
    pub contenders: Vec<Timed>,
}

/// The times of one contender.
#[derive(Debug)]
pub struct Timed {
    /// How the tables name it.
    pub name: &'static str,
    /// Nanoseconds a call, round by round.
    pub rounds: Vec<f64>,
    /// Allocations a call.
    pub allocations: f64,
}

const SLICE: Duration = Duration::from_micros(40);
/// Calls before the first that counts, so that buffers have grown and caches are warm.
const WARM: usize = 3;

fn slice(calls: u32, run: &mut dyn FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(&mut *run)();
    }
    start.elapsed()
}

/// Times all contenders of `group` in `rounds` rounds.
#[must_use]
pub fn time(group: Group<'_>, rounds: usize) -> Times {
    let mut calls = Vec::new();
    let mut timed = Vec::new();
    let mut contenders = group.contenders;
    for Contender { name, run } in &mut contenders {
        (0..WARM).for_each(|_| run());
        let mut count = 1;
        while slice(count, run) < SLICE {
            count *= 2;
        }
        let before = allocations::calls();
        slice(count, run);
        let allocations = (allocations::calls() - before) as f64 / f64::from(count);
        calls.push(count);
        timed.push(Timed {
            name,
            rounds: Vec::with_capacity(rounds),
            allocations,
        });
    }
    for _ in 0..rounds {
        for ((contender, count), timed) in contenders.iter_mut().zip(&calls).zip(&mut timed) {
            let time = slice(*count, &mut contender.run);
            (timed.rounds).push(time.as_secs_f64() * 1e9 / f64::from(*count));
        }
    }
    Times {
        work: group.work,
        case: group.case,
        contenders: timed,
    }
}

impl Times {
    /// The contender of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Timed> {
        self.contenders.iter().find(|timed| timed.name == name)
    }

    /// The anchor.
    #[must_use]
    pub fn anchor(&self) -> &Timed {
        &self.contenders[0]
    }
}

impl Timed {
    /// The time of this one as a multiple of the other's.
    #[must_use]
    pub fn multiple_of(&self, other: &Self) -> f64 {
        let ratios = self.rounds.iter().zip(&other.rounds);
        median(ratios.map(|(this, other)| this / other).collect())
    }

    /// Nanoseconds a call.
    #[must_use]
    pub fn nanoseconds(&self) -> f64 {
        median(self.rounds.clone())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
