//! Two live sessions, or two hosts, on one key in every interleaving of their steps; decisions
//! that outlive their session.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod duel;

use std::rc::Rc;

use duel::client::{Attempt, Caller, How, Job, Journal, Memory};
use duel::server::{Advice, Manner, When};
use duel::wire::{Cut, Loss, Report, World, assert_delivered, config, converse, run, try_once};

/// Takes every way through a tree of choices, one after the other.
#[derive(Default)]
struct Ways {
    path: Vec<(usize, usize)>,
    at: usize,
}

impl Ways {
    fn choose(&mut self, among: usize) -> usize {
        assert!(among > 0);
        if self.at == self.path.len() {
            self.path.push((0, among));
        }
        let (chosen, of) = self.path[self.at];
        assert_eq!(of, among, "not the same run again");
        self.at += 1;
        chosen
    }

    /// The next way; false after the last.
    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, of)) = self.path.pop() {
            if chosen + 1 < of {
                self.path.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}

/// A client on a connection of its own, moved step by step.
struct Actor {
    host: usize,
    conn: u64,
    attempt: Attempt,
    /// Octets and store calls are steps of their own.
    fine: bool,
}

impl Actor {
    fn can_move(&self, world: &mut World) -> bool {
        let host = &mut world.hosts[self.host];
        if host.has_work(self.conn) {
            return true;
        }
        let waits = host
            .conn(self.conn)
            .is_some_and(|conn| !conn.output.is_empty());
        waits || self.attempt.has_output()
    }

    fn exchange(&mut self, world: &mut World) {
        let host = &mut world.hosts[self.host];
        if let Some(conn) = host.conn(self.conn) {
            let octets = std::mem::take(&mut conn.output);
            self.attempt.client().input(&octets);
        }
        let octets = self.attempt.client().output();
        host.input(self.conn, &octets);
        host.pump(self.conn);
    }

    fn step(&mut self, world: &mut World) {
        if self.fine && !world.hosts[self.host].has_work(self.conn) {
            return self.exchange(world);
        }
        while !world.hosts[self.host].has_work(self.conn) && self.can_move(world) {
            self.exchange(world);
        }
        world.hosts[self.host].work(self.conn);
    }
}

#[derive(Clone, Copy)]
struct Setup {
    how: How,
    /// The second session brings another message under the same TRANSID.
    other: bool,
    /// Something is held already.
    held: bool,
    supersedes: bool,
    advice: Advice,
    hosts: usize,
    when: When,
    fine: bool,
    /// Leases may expire once although their holders live.
    leases: bool,
}

const SETUP: Setup = Setup {
    how: How::Data,
    other: false,
    held: false,
    supersedes: true,
    advice: Advice::Taken,
    hosts: 1,
    when: When::Later,
    fine: false,
    leases: false,
};

#[derive(Default, Debug)]
struct Tally {
    ways: u64,
    fenced: u64,
    both_told: u64,
    refused_commits: u64,
    longest: usize,
}

/// Runs one way; both sessions live at the same time.
fn both(setup: Setup, ways: &mut Ways, tally: &mut Tally) {
    let manner = Manner {
        when: setup.when,
        advice: setup.advice,
        supersedes: setup.supersedes,
        ..Manner::default()
    };
    let mut world = World::new(setup.hosts, &config(false, Some(4)), &manner);
    let mut job = Job::new("a", b"S: x\r\n\r\n..a\r\n");
    job.how = setup.how;
    let job = Rc::new(job);
    let mut second = Job::clone(&job);
    if setup.other {
        second.sender = "other".into();
        second.message = b"T: y\r\n\r\nb\r\nc\r\n".to_vec();
    }
    let second = Rc::new(second);
    // The client does what it must not: two live sessions on one TRANSID.
    let restarts = |sent| Memory {
        sent,
        mails: 1,
        replies: vec![250],
        finals: None,
    };
    let mut first_caller = Caller::Raw(Journal::new(restarts(true)));
    let second_caller = Caller::Raw(Journal::new(restarts(!setup.other)));
    if setup.held {
        let cut = Some(Cut {
            up: true,
            at: 115,
            loss: Loss::End,
        });
        first_caller = try_once(
            world.host(),
            &job,
            first_caller,
            cut,
            &mut Report::default(),
        );
        assert!(first_caller.outcome().is_none());
    }
    let mut actors = [
        (0, &job, first_caller),
        (setup.hosts - 1, &second, second_caller),
    ]
    .map(|(host, job, caller)| {
        let conn = world.hosts[host].connect(b"192.0.2.7");
        let attempt = caller.begin(job);
        let mut actor = Actor {
            host,
            conn,
            attempt,
            fine: setup.fine,
        };
        world.hosts[host].pump(conn);
        actor.exchange(&mut world); // greeting
        actor.exchange(&mut world); // EHLO, and MAIL is on its way
        actor
    });
    for host in &mut world.hosts {
        host.manner.stepwise = true;
    }
    let mut leases = setup.leases;
    loop {
        let mut moves: Vec<usize> = Vec::new();
        for (index, actor) in actors.iter().enumerate() {
            if actor.can_move(&mut world) {
                moves.push(index);
            }
        }
        for (index, host) in world.hosts.iter().enumerate() {
            if host.is_deciding() {
                moves.push(2 + index);
                if leases {
                    moves.push(9);
                }
            }
        }
        if moves.is_empty() {
            break;
        }
        match moves[ways.choose(moves.len())] {
            index @ (0 | 1) => actors[index].step(&mut world),
            9 => {
                leases = false;
                world.shared.borrow_mut().expire();
            }
            host => {
                world.hosts[host - 2].finish();
                for host in &mut world.hosts {
                    host.look_again();
                }
            }
        }
    }
    tally.ways += 1;
    tally.longest = tally.longest.max(ways.at);
    for host in &mut world.hosts {
        host.manner.stepwise = false;
        host.pump_all();
        host.finish();
    }
    let mut callers = Vec::new();
    for mut actor in actors {
        actor.attempt.client().lost();
        world.hosts[actor.host].end(actor.conn, true);
        callers.push((actor.host, actor.attempt.into_caller()));
    }
    let told = callers
        .iter()
        .filter(|(_, caller)| caller.outcome().is_some())
        .count();
    tally.fenced += u64::from(told < 2);
    tally.both_told += u64::from(told == 2);
    tally.refused_commits += world.shared.borrow().refused_commits;
    for host in &mut world.hosts {
        host.settle();
    }
    let (_, second_caller) = callers.pop().unwrap();
    let (_, first_caller) = callers.pop().unwrap();
    if setup.other {
        // One of the two messages owns the key in the end. Its sender learns so; the other one is
        // told 503 for ever, or has been told 250 before.
        let shared = world.shared.borrow();
        for (job, caller) in [(&job, &first_caller), (&second, &second_caller)] {
            let mail = job.mail();
            let copies: Vec<_> = shared
                .delivered
                .iter()
                .filter(|copy| copy.mail.starts_with(mail.as_bytes()))
                .collect();
            assert!(copies.len() <= 1, "doubled");
            assert!(
                copies.iter().all(|copy| copy.octets == job.canonical()),
                "altered"
            );
            let told = caller.outcome().is_some();
            assert!(!told || copies.len() == 1, "told 250, not delivered");
        }
        return;
    }
    // Liveness: nobody disturbs any more, so the next attempt goes through, at either host.
    let host = setup.hosts - 1;
    for (job, caller) in [(&job, first_caller), (&second, second_caller)] {
        let (report, _) = run(&mut world.hosts[host], job, caller, &[], 2);
        assert_eq!(report.outcome, ["250"]);
    }
    assert_delivered(&world, &job, &["b@example.net"]);
}

fn explore(name: &str, setup: Setup) -> Tally {
    let mut tally = Tally::default();
    let mut ways = Ways::default();
    loop {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            both(setup, &mut ways, &mut tally);
        }));
        if result.is_err() {
            let path: Vec<usize> = ways.path.iter().map(|(chosen, _)| *chosen).collect();
            panic!("{name}: the way {path:?}");
        }
        if !ways.next() {
            break;
        }
    }
    println!("{name}: {tally:?}");
    tally
}

#[test]
fn two_sessions_in_every_interleaving() {
    let mut all = 0;
    for (name, how) in [("DATA", How::Data), ("BDAT", How::Bdat(6))] {
        for held in [false, true] {
            for supersedes in [false, true] {
                let setup = Setup {
                    how,
                    held,
                    supersedes,
                    ..SETUP
                };
                let name = format!("{name}, held {held}, superseding {supersedes}");
                all += explore(&name, setup).ways;
            }
        }
    }
    println!("{all} interleavings of two sessions with one message");
}

#[test]
fn two_sessions_octets_and_store_calls_apart() {
    let mut all = 0;
    for supersedes in [false, true] {
        let setup = Setup {
            supersedes,
            fine: true,
            when: When::Now,
            ..SETUP
        };
        all += explore(&format!("apart, superseding {supersedes}"), setup).ways;
    }
    println!("{all} interleavings of two sessions, octets and store calls apart");
}

#[test]
fn two_messages_under_one_key_in_every_interleaving() {
    let mut all = 0;
    for advice in [Advice::Taken, Advice::Lost, Advice::Late] {
        for held in [false, true] {
            let setup = Setup {
                other: true,
                advice,
                held,
                ..SETUP
            };
            all += explore(&format!("two messages, {advice:?}, held {held}"), setup).ways;
        }
    }
    println!("{all} interleavings of two messages under one TRANSID");
}

#[test]
fn two_hosts_in_every_interleaving() {
    let mut all = 0;
    for (name, how) in [("DATA", How::Data), ("BDAT", How::Bdat(6))] {
        for leases in [false, true] {
            for when in [When::Now, When::Later] {
                let setup = Setup {
                    how,
                    hosts: 2,
                    leases,
                    when,
                    ..SETUP
                };
                let name = format!("two hosts, {name}, leases expire {leases}, {when:?}");
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
            at: 120,
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
