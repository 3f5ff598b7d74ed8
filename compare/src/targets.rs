//! What this crate asks of itself, held against what was measured.

use crate::shapes::ORDINARY;
use crate::timing::Times;
use crate::work::{LOOKUP, MEMCHR2, MEMCPY, decode, encode, parse, session};

/// Whether the crate was built for vectors wider than the target's least.
pub const SIMD: bool = cfg!(feature = "simd");

/// One figure, to be met in each of its cases.
#[derive(Debug)]
pub struct Target {
    work: &'static str,
    /// None: all of the work.
    cases: &'static [&'static str],
    ours: &'static str,
    against: &'static str,
    /// Whoever is fastest.
    others: &'static [&'static str],
    /// Without the feature `simd` and with it.
    bounds: [Option<Bound>; 2],
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    /// So many times as fast.
    Faster(f64),
    /// At most so many times the time.
    Time(f64),
    /// At most so many allocations a call, whatever the time.
    Allocations(f64),
}

use Bound::{Allocations, Faster, Time};

/// What was reached, and in which case, where it was least.
#[derive(Debug)]
pub struct Outcome {
    /// What is asked.
    pub target: String,
    /// What was measured.
    pub reached: String,
    /// Whether it is enough.
    pub met: bool,
}

const DOTTED: &[&str] = &["every line dotted"];
const DOTS: &[&str] = &["every line \"..\""];
const PARAMETERS: &[&str] = &["MAIL, SIZE BODY TRANSID", "RCPT, NOTIFY ORCPT"];
const OURS: &str = decode::name::OURS;
const SMTP_PROTO: &[&str] = &[decode::name::SMTP_PROTO];

/// All of them.
#[must_use]
pub fn all() -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |work, cases, ours, against, others, bounds| {
        targets.push(Target {
            work,
            cases,
            ours,
            against,
            others,
            bounds,
        });
    };
    let only_simd = |factor| [None, Some(Faster(factor))];
    let faster = |plain, simd| [Some(Faster(plain)), Some(Faster(simd))];
    let both = |bound| [Some(bound); 2];

    let receive = decode::RECEIVE;
    add(
        receive,
        &ORDINARY[..],
        OURS,
        MEMCHR2,
        &[][..],
        faster(0.28, 0.55),
    );
    add(
        receive,
        &ORDINARY,
        OURS,
        "smtp-proto",
        SMTP_PROTO,
        only_simd(1.3),
    );
    add(receive, DOTTED, OURS, MEMCHR2, &[], faster(0.12, 0.14));
    add(
        receive,
        DOTTED,
        OURS,
        "smtp-proto",
        SMTP_PROTO,
        only_simd(3.0),
    );
    let peers = &decode::name::PEERS;
    add(
        receive,
        DOTTED,
        OURS,
        "the fastest peer",
        peers,
        only_simd(1.0),
    );
    add(
        receive,
        DOTS,
        OURS,
        MEMCHR2,
        &[],
        [Some(Faster(0.03)), None],
    );
    add(
        receive,
        DOTS,
        OURS,
        "smtp-proto",
        SMTP_PROTO,
        only_simd(15.0),
    );
    add(
        receive,
        DOTS,
        OURS,
        "the fastest peer",
        peers,
        only_simd(4.0),
    );
    let copied = decode::name::OURS_COPY;
    add(
        receive,
        &ORDINARY,
        copied,
        "smtp-proto",
        SMTP_PROTO,
        only_simd(0.95),
    );
    add(
        decode::RECEIVE_KIB,
        &ORDINARY,
        OURS,
        MEMCHR2,
        &[],
        faster(0.27, 0.37),
    );
    let octets = decode::RECEIVE_OCTETS;
    add(
        octets,
        &ORDINARY,
        OURS,
        "smtp-proto",
        SMTP_PROTO,
        faster(2.5, 2.5),
    );

    add(
        encode::SEND,
        &ORDINARY,
        OURS,
        MEMCHR2,
        &[],
        faster(0.28, 0.52),
    );
    let peers = &encode::name::PEERS;
    add(
        encode::SEND,
        &ORDINARY,
        OURS,
        "the fastest peer",
        peers,
        faster(12.0, 24.0),
    );

    let command = parse::COMMAND;
    add(command, PARAMETERS, OURS, LOOKUP, &[], both(Time(4.0)));
    let peers = &parse::name::COMMANDS;
    add(
        command,
        PARAMETERS,
        OURS,
        "the fastest peer",
        peers,
        both(Time(0.5)),
    );
    add(command, &[], OURS, "", &[], both(Allocations(0.0)));
    add(
        parse::REPLY,
        &[],
        OURS,
        "smtp-proto",
        SMTP_PROTO,
        both(Time(0.6)),
    );
    add(parse::REPLY, &[], OURS, "", &[], both(Allocations(0.0)));

    let whole = &[session::WHOLE];
    let peers = &[session::name::MAILRS, session::name::MAILIN];
    let parts = &[session::name::SMTP_PROTO];
    add(session::SESSION, whole, OURS, MEMCPY, &[], both(Time(16.0)));
    add(
        session::SESSION,
        whole,
        OURS,
        "mailrs and mailin",
        peers,
        both(Time(0.22)),
    );
    add(
        session::SESSION,
        whole,
        OURS,
        "smtp-proto, parts",
        parts,
        both(Time(1.0)),
    );
    add(
        session::SESSION,
        &[session::NEXT],
        OURS,
        "",
        &[],
        both(Allocations(0.0)),
    );
    targets
}

impl Target {
    /// What was reached. `None`: nothing is asked without the feature, or not measured.
    #[must_use]
    pub fn outcome(&self, measured: &[Times]) -> Option<Outcome> {
        let bound = self.bounds[usize::from(SIMD)]?;
        let cases = (measured.iter()).filter(|times| {
            times.work == self.work && (self.cases.is_empty() || self.cases.contains(&&*times.case))
        });
        let figures = cases.map(|times| (self.figure(bound, times), &*times.case));
        let (figure, case) = match bound {
            Faster(_) => figures.min_by(|a, b| a.0.total_cmp(&b.0)),
            Time(_) | Allocations(_) => figures.max_by(|a, b| a.0.total_cmp(&b.0)),
        }?;
        let work = match self.cases {
            [case] => format!("{}, {case}", self.work),
            cases if cases == ORDINARY => format!("{}, ordinary shapes", self.work),
            cases if cases == PARAMETERS => format!("{} with parameters", self.work),
            _ => self.work.into(),
        };
        let against = self.against;
        let (target, met) = match bound {
            Faster(least) => (format!("≥ {least} × {against}"), figure >= least),
            Time(most) => (format!("≤ {most} × the time of {against}"), figure <= most),
            Allocations(most) => (format!("{most} allocations"), figure <= most),
        };
        let digits = if figure < 10.0 { 2 } else { 1 };
        Some(Outcome {
            target: match self.ours {
                OURS => format!("{work}: {target}"),
                ours => format!("{work} ({ours}): {target}"),
            },
            reached: match self.cases {
                [_] => format!("{figure:.digits$}"),
                _ => format!("{figure:.digits$} ({case})"),
            },
            met,
        })
    }

    /// Whether each of its cases, with all it names, was measured.
    #[must_use]
    pub fn is_measured(&self, measured: &[Times]) -> bool {
        let cases: Vec<_> = measured
            .iter()
            .filter(|times| self.is_about(times))
            .collect();
        let known = |name: &&str| cases.iter().any(|times| times.get(name).is_some());
        cases.len() >= self.cases.len().max(1) && self.others.iter().all(known) && known(&self.ours)
    }

    fn is_about(&self, times: &Times) -> bool {
        times.work == self.work && (self.cases.is_empty() || self.cases.contains(&&*times.case))
    }

    fn figure(&self, bound: Bound, times: &Times) -> f64 {
        let ours = times.get(self.ours).expect("ours is in each group");
        let others = self.others.iter().filter_map(|name| times.get(name));
        // The time of ours by that of whoever is fastest.
        let time = others
            .map(|other| ours.multiple_of(other))
            .max_by(f64::total_cmp)
            .unwrap_or_else(|| ours.multiple_of(times.anchor()));
        match bound {
            Faster(_) => 1.0 / time,
            Time(_) => time,
            Allocations(_) => ours.allocations,
        }
    }
}

/// The octets of an idle session, and whether they are few enough.
#[must_use]
pub fn idle(held: usize) -> Outcome {
    Outcome {
        target: "idle session after EHLO: ≤ 512 octets, heap included".into(),
        reached: held.to_string(),
        met: held <= 512,
    }
}
