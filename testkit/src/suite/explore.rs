//! Two clients on one key, in every interleaving of their steps.

use std::rc::Rc;

use super::Suite;
use crate::client::{Attempt, Caller, Memory};
use crate::host::Offer;
use crate::host::manner::{Advice, Manner, Takeover, When};
use crate::log::Log;
use crate::message::{How, Message};
use crate::random::Random;
use crate::store::{Store, Unsynced};
use crate::violation::{Failure, Held, Rule, Violation};
use crate::wire::{Course, Cut, Loss, World, check_unaltered};

/// Takes ways through a tree of choices: all of them, one after the other, or some by lot.
#[derive(Debug, Clone)]
struct Ways {
    path: Vec<(usize, usize)>,
    at: usize,
    /// By lot: the numbers to choose with, and how many ways are left.
    lot: Option<(Random, u64)>,
}

impl Ways {
    fn choose(&mut self, among: usize) -> Held<usize> {
        if self.at == self.path.len() {
            let chosen = self.lot.as_mut().map_or(0, |(lot, _)| lot.index(among));
            self.path.push((chosen, among));
        }
        let (chosen, of) = self.path[self.at];
        self.at += 1;
        if of == among {
            Ok(chosen)
        } else {
            // Whoever answers differently to the same calls cannot be taken through all ways.
            let what = format!("{among} choices where there were {of}: not the same run again");
            Err(Violation::new(Rule::Contract, what))
        }
    }

    /// The next way; false after the last.
    fn next(&mut self) -> bool {
        self.at = 0;
        if let Some((_, left)) = &mut self.lot {
            self.path.clear();
            *left = left.saturating_sub(1);
            return *left > 0;
        }
        while let Some((chosen, of)) = self.path.pop() {
            if chosen + 1 < of {
                self.path.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) how: How,
    /// The second session brings another message under the same TRANSID.
    pub(super) other: bool,
    /// The second client has the same message, and does not know that any of it was sent: a 355
    /// surprises it, and it says RSET.
    pub(super) innocent: bool,
    /// Something is held already.
    pub(super) held: bool,
    pub(super) takeover: Takeover,
    pub(super) advice: Advice,
    pub(super) hosts: usize,
    pub(super) when: When,
    /// Octets and store calls are steps of their own.
    pub(super) fine: bool,
    /// Leases may expire once although their holders live.
    pub(super) leases: bool,
    pub(super) every: Option<u64>,
    /// The process of the first host dies once.
    pub(super) crash: bool,
}

pub(super) const SETUP: Setup = Setup {
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
};

/// What can happen next.
#[derive(Debug, Clone, Copy)]
enum Move {
    Step(usize),
    Decide(usize),
    LeasesExpire,
    Crash,
}

/// A client on a connection of its own, moved step by step.
#[derive(Debug)]
struct Actor {
    host: usize,
    connection: u64,
    attempt: Attempt,
    fine: bool,
}

impl Actor {
    fn can_move<S: Store>(&self, world: &mut World<S>) -> bool {
        let host = &mut world.hosts[self.host];
        if host.has_work(self.connection) {
            return true;
        }
        let connection = host.connection(self.connection);
        let waits = connection.is_some_and(|it| !it.output.is_empty());
        waits || self.attempt.has_output()
    }

    fn exchange<S: Store>(&mut self, world: &mut World<S>) -> Held {
        let host = &mut world.hosts[self.host];
        let now = host.now;
        if let Some(connection) = host.connection(self.connection) {
            let octets = std::mem::take(&mut connection.output);
            connection.saw(&octets)?;
            world.log.event(
                format_args!("S{} to {}", self.host, self.connection),
                "",
                &octets,
            );
            self.attempt.client().input(now, &octets)?;
        }
        let octets = self.attempt.client().output(now, usize::MAX)?;
        world.log.event(
            format_args!("C at {}, {}", self.host, self.connection),
            "",
            &octets,
        );
        let host = &mut world.hosts[self.host];
        host.input(self.connection, &octets);
        host.pump(self.connection)
    }

    fn step<S: Store>(&mut self, world: &mut World<S>) -> Held {
        if self.fine && !world.hosts[self.host].has_work(self.connection) {
            return self.exchange(world);
        }
        while !world.hosts[self.host].has_work(self.connection) && self.can_move(world) {
            self.exchange(world)?;
        }
        world.hosts[self.host].work(self.connection)
    }
}

impl<S: Store, F: FnMut() -> S> Suite<F> {
    /// All ways through a setup; or, where not every case is run, some of them.
    pub(super) fn explore(&mut self, name: &str, setup: Setup) -> Result<(), Failure> {
        const SOME: u64 = 400;
        let mut ways = Ways {
            path: Vec::new(),
            at: 0,
            lot: (self.every > 1).then(|| (Random::new(1), SOME / self.every + 1)),
        };
        loop {
            // A case is run again in words from where its choices began.
            let from = ways.clone();
            let taken = std::cell::RefCell::new(from.clone());
            self.must(
                || format!("{name}, the way {:?}", taken.borrow().path),
                |suite, log| {
                    taken.replace(from.clone());
                    suite.both(setup, &mut taken.borrow_mut(), log)
                },
            )?;
            ways = taken.into_inner();
            if !ways.next() {
                return Ok(());
            }
        }
    }

    /// Runs one way; both sessions live at the same time.
    fn both(&mut self, setup: Setup, ways: &mut Ways, log: &Log) -> Held {
        let manner = Manner {
            when: setup.when,
            advice: setup.advice,
            takeover: setup.takeover,
            ..Manner::default()
        };
        let offer = Offer {
            lmtp: false,
            checkpoint_every: setup.every,
            ..Offer::default()
        };
        let mut stores = vec![(self.open)()];
        if setup.hosts > 1 {
            let another = stores[0]
                .another_host()
                .ok_or_else(|| Violation::new(Rule::Contract, "a store without another host"))?;
            stores.push(another);
        }
        let mut world = World::new(stores, offer, &manner, self.mutant, log)?;
        let mut first = Message::new("a", b"S: x\r\n\r\n..a\r\n");
        first.how = setup.how;
        let first = Rc::new(first);
        let mut second = Message::clone(&first);
        if setup.other {
            second.sender = "other".into();
            second.content = b"T: y\r\n\r\nb\r\nc\r\n".to_vec();
        }
        let second = Rc::new(second);
        // The client does what it must not: two live sessions on one TRANSID.
        let restarts = |sent| Memory {
            sent,
            mails: 1,
            replies: vec![250],
            ..Memory::default()
        };
        let alone = !setup.other && !setup.innocent;
        let mut one = Caller::remembering(&first, restarts(true)).breaking(self.mutant);
        let two = Caller::remembering(&second, restarts(alone)).breaking(self.mutant);
        if setup.held {
            let cut = Some(Cut {
                up: true,
                at: 105,
                loss: Loss::End,
            });
            one = world.try_once(0, one, cut, Unsynced::Lost, &mut Course::default())?;
        }
        for host in &mut world.hosts {
            host.manner.stepwise = true;
        }
        let mut actors = Vec::new();
        for (host, message, caller) in [(0, &first, one), (setup.hosts - 1, &second, two)] {
            let mut actor = Actor {
                host,
                connection: world.hosts[host].connect(message.peer.clone()),
                attempt: caller.begin()?,
                fine: setup.fine,
            };
            world.hosts[host].pump(actor.connection)?;
            actor.exchange(&mut world)?; // greeting
            actor.exchange(&mut world)?; // EHLO, and MAIL is on its way
            actors.push(actor);
        }
        self.interleave(setup, &mut world, &mut actors, ways)?;
        self.report.attempts += 2;
        let mut callers = Vec::new();
        for host in &mut world.hosts {
            host.manner.stepwise = false;
            host.pump_all()?;
            host.finish()?;
        }
        for mut actor in actors {
            let now = world.hosts[actor.host].now;
            actor.attempt.client().lost(now)?;
            world.hosts[actor.host].end(actor.connection, true)?;
            callers.push(actor.attempt.into_caller());
        }
        for host in &mut world.hosts {
            host.settle()?;
        }
        if alone {
            self.settled(setup, &mut world, &first, callers)?;
        } else {
            check_owner(&mut world, &callers)?;
        }
        self.count_world(&world);
        Ok(())
    }

    fn interleave(
        &mut self,
        setup: Setup,
        world: &mut World<S>,
        actors: &mut [Actor],
        ways: &mut Ways,
    ) -> Held {
        let (mut leases, mut crash) = (setup.leases, setup.crash);
        loop {
            let mut moves = Vec::new();
            for (index, actor) in actors.iter().enumerate() {
                if actor.can_move(world) {
                    moves.push(Move::Step(index));
                }
            }
            for (index, host) in world.hosts.iter().enumerate() {
                if host.is_deciding() {
                    moves.push(Move::Decide(index));
                    if leases {
                        moves.push(Move::LeasesExpire);
                    }
                }
            }
            if moves.is_empty() {
                return Ok(());
            }
            if crash {
                moves.push(Move::Crash);
            }
            match moves[ways.choose(moves.len())?] {
                Move::Step(index) => actors[index].step(world)?,
                Move::Decide(host) => world.hosts[host].finish()?,
                Move::LeasesExpire => {
                    leases = false;
                    world.hosts[0].store.expire_leases();
                }
                Move::Crash => {
                    crash = false;
                    world.hosts[0].kill(Unsynced::Lost);
                    for actor in actors.iter_mut().filter(|actor| actor.host == 0) {
                        let now = world.hosts[0].now;
                        actor.attempt.client().lost(now)?;
                    }
                }
            }
            if setup.hosts > 1 {
                for host in &mut world.hosts {
                    host.look_again()?;
                }
            }
        }
    }

    /// Nobody disturbs any more: the next attempt goes through, at the last host, and a message
    /// that was told 250 is there whatever dies before.
    fn settled(
        &mut self,
        setup: Setup,
        world: &mut World<S>,
        message: &Message,
        callers: Vec<Caller>,
    ) -> Held {
        for host in &mut world.hosts {
            host.kill(Unsynced::Lost);
        }
        // A host that died holding a lease would let it run out.
        world.hosts[0].store.expire_leases();
        for caller in callers {
            let told = caller.told().is_some();
            let host = setup.hosts - 1;
            let (course, _) = world.run(host, caller, &[], Unsynced::Lost, 2)?;
            self.count(&course);
            if course.codes != [250] {
                let what = format!("told {:?} ({told})", course.codes);
                return Err(Violation::new(Rule::OutcomeIsTrue, what));
            }
        }
        world.check_delivered(message, &["b@example.net"])
    }
}

/// One of the two messages owns the key in the end. Its sender learns so; the other one is told
/// 503 for ever, or has been told 250 before.
fn check_owner<S: Store>(world: &mut World<S>, callers: &[Caller]) -> Held {
    for caller in callers {
        let message = &caller.message;
        let copies = world.copies(message);
        check_unaltered(message, &copies)?;
        let what = |what: &str| format!("{} {what}", message.sender);
        if copies.len() > 1 {
            return Err(Violation::new(Rule::AtMostOnce, what("is doubled")));
        }
        if caller.told().is_some() && copies.is_empty() {
            let what = what("was told 250 and is not there");
            return Err(Violation::new(Rule::AcceptedIsDurable, what));
        }
    }
    Ok(())
}
