//! Two clients on one key, in every interleaving of their steps.

use std::rc::Rc;

use super::client::{Attempt, Caller, How, Job, Journal, Memory};
use super::server::{Advice, Manner, Takeover, When};
use super::store::Mutant;
use super::wire::{Cut, Loss, Report, World, assert_delivered, config, run, try_once};

/// Takes every way through a tree of choices, one after the other.
#[derive(Debug, Default)]
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
#[derive(Debug)]
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

#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub how: How,
    /// The second session brings another message under the same TRANSID.
    pub other: bool,
    /// The second client has the same message, and does not know that any of it was sent: a 355
    /// surprises it, and it says RSET.
    pub innocent: bool,
    /// Something is held already.
    pub held: bool,
    pub takeover: Takeover,
    pub advice: Advice,
    pub hosts: usize,
    pub when: When,
    pub fine: bool,
    /// Leases may expire once although their holders live.
    pub leases: bool,
    pub every: Option<u64>,
    /// The process of the first host dies once.
    pub crash: bool,
    pub mutant: Mutant,
}

pub const SETUP: Setup = Setup {
    how: How::Data,
    other: false,
    innocent: false,
    held: false,
    takeover: Takeover::GivesWay,
    advice: Advice::Taken,
    hosts: 1,
    when: When::Later,
    fine: false,
    leases: false,
    every: None,
    crash: false,
    mutant: Mutant::None,
};

#[derive(Default, Debug)]
pub struct Tally {
    pub ways: u64,
    pub fenced: u64,
    pub both_told: u64,
    pub refused_commits: u64,
    pub longest: usize,
}

/// Runs one way; both sessions live at the same time.
fn both(setup: Setup, ways: &mut Ways, tally: &mut Tally) {
    let manner = Manner {
        when: setup.when,
        advice: setup.advice,
        takeover: setup.takeover,
        ..Manner::default()
    };
    let mut world = World::new(setup.hosts, &config(false, setup.every), &manner);
    let mut job = Job::new("a", b"S: x\r\n\r\n..a\r\n");
    job.how = setup.how;
    let job = Rc::new(job);
    let mut second = Job::clone(&job);
    if setup.other {
        second.sender = "other".into();
        second.message = b"T: y\r\n\r\nb\r\nc\r\n".to_vec();
    }
    let second = Rc::new(second);
    for host in &mut world.hosts {
        host.store.mutant = setup.mutant;
    }
    // The client does what it must not: two live sessions on one TRANSID.
    let restarts = |sent| Memory {
        sent,
        mails: 1,
        replies: vec![250],
        finals: None,
    };
    let mut first_caller = Caller::Raw(Journal::new(restarts(true)));
    let second_caller = Caller::Raw(Journal::new(restarts(!setup.other && !setup.innocent)));
    if setup.held {
        let cut = Some(Cut {
            up: true,
            at: 105,
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
    for host in &mut world.hosts {
        host.manner.stepwise = true;
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
    let mut leases = setup.leases;
    let mut crash = setup.crash;
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
        if crash {
            moves.push(8);
        }
        match moves[ways.choose(moves.len())] {
            index @ (0 | 1) => actors[index].step(&mut world),
            9 => {
                leases = false;
                world.shared.borrow_mut().expire();
            }
            8 => {
                crash = false;
                world.host().kill();
                for actor in actors.iter_mut().filter(|actor| actor.host == 0) {
                    actor.attempt.client().lost();
                }
                for host in &mut world.hosts {
                    host.look_again();
                }
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
    if setup.other || setup.innocent {
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
    // A message that was told 250 is there whatever dies now.
    for host in &mut world.hosts {
        host.kill();
    }
    // Liveness: nobody disturbs any more, so the next attempt goes through, at either host.
    let host = setup.hosts - 1;
    for (job, caller) in [(&job, first_caller), (&second, second_caller)] {
        let (report, _) = run(&mut world.hosts[host], job, caller, &[], 2);
        assert_eq!(report.outcome, ["250"]);
    }
    assert_delivered(&world, &job, &["b@example.net"]);
}

pub fn explore(name: &str, setup: Setup) -> Tally {
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
