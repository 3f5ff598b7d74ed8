//! The run: what happens when, in the order of time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::clients::Person;
use super::link::{Link, Loss};
use super::plan::{self, HOUR, Identity, MINUTE, Plan, SECOND};
use super::servers::Machine;
use super::tally::{Fault, Tally};
use crate::alter::RoundUp;
use crate::audit::Audit;
use crate::client::Who;
use crate::host::Host;
use crate::log::Log;
use crate::message::Message;
use crate::mutant::Mutant;
use crate::random::Random;
use crate::store::{Store, Unsynced};
use crate::truth::{Outcomes, Truth};
use crate::violation::{Held, Rule, Violation};
use crate::watched::Watched;

/// What happens at some time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// A packet comes out of a pipe.
    Arrive { link: u64, up: bool },
    /// A deadline of some session on a host may have come.
    HostTimer { host: usize },
    /// A deadline of a client's attempt may have come.
    ClientTimer { client: usize },
    /// A client begins its next attempt.
    Begin { client: usize },
    /// A decision comes to its end.
    Decision {
        host: usize,
        life: u64,
        job: u64,
        made: bool,
    },
    /// A DSN is ready.
    Report { host: usize, life: u64, id: u64 },
    /// A host sees to what is due for messages that are the server's.
    Duties { host: usize },
    /// A connection is lost.
    Lose { link: u64, loss: Loss },
    /// A host comes up again.
    Up { host: usize },
    /// Sessions that wait for a decision of another host look again.
    Look { host: usize },
    /// Recipients come and go on a host.
    Grey { host: usize },
    /// Something goes wrong.
    Disturb,
    /// From now on nothing does.
    Calm,
    /// Leases that nobody holds any more have run out.
    ExpireLeases,
}

#[derive(Debug)]
pub(super) struct World<S> {
    pub(super) plan: Plan,
    pub(super) random: Random,
    pub(super) now: u64,
    pub(super) order: u64,
    pub(super) queue: BTreeMap<(u64, u64), Action>,
    pub(super) machines: Vec<Machine<S>>,
    pub(super) people: Vec<Person>,
    pub(super) links: BTreeMap<u64, Link>,
    /// By host and its number of the connection.
    pub(super) by_connection: BTreeMap<(usize, u64), u64>,
    pub(super) last_link: u64,
    pub(super) round_up: BTreeMap<u64, RoundUp>,
    pub(super) truth: Truth,
    pub(super) tally: Tally,
    pub(super) calm: bool,
    pub(super) mutant: Option<Mutant>,
    pub(super) log: Log,
}

impl<S: Store> World<S> {
    pub(super) fn new(
        seed: u64,
        open: &mut impl FnMut() -> S,
        mutant: Option<Mutant>,
        log: Log,
    ) -> Held<Self> {
        let mut random = Random::new(seed);
        let mut store = open();
        let another = store.another_host();
        let plan = Plan::new(&mut random, another.is_some());
        // Drawn aside: runs without are what they were before there were any.
        let plan = if Random::new(!seed).chance(10) {
            plan.unrecorded()
        } else {
            plan
        };
        let audit = Rc::new(RefCell::new(Audit::default()));
        let mut machines = Vec::new();
        let stores = [Some(store), another.filter(|_| plan.hosts > 1)];
        for (number, store) in stores.into_iter().flatten().enumerate() {
            let store = Watched::new(store, number, Rc::clone(&audit), log.clone());
            let manner = plan::manner(&mut random);
            machines.push(Machine {
                host: Host::new(store, &plan.offer, manner)?.breaking(mutant),
                clock: plan::clock(&mut random),
                life: 0,
                up: true,
                paused: 0,
                timer: None,
                looks: false,
                scheduled: Vec::new(),
                hung: Vec::new(),
                last_report: 0,
            });
        }
        let mut world = Self {
            plan,
            random,
            now: 0,
            order: 0,
            queue: BTreeMap::new(),
            machines,
            people: Vec::new(),
            links: BTreeMap::new(),
            by_connection: BTreeMap::new(),
            last_link: 0,
            round_up: BTreeMap::new(),
            truth: Truth::default(),
            tally: Tally::default(),
            calm: false,
            mutant,
            log,
        };
        world.populate();
        Ok(world)
    }

    fn populate(&mut self) {
        let clients = self.random.index(4) + 1;
        for client in 0..clients {
            let identity = Identity::new(client, &mut self.random);
            let count = self.random.index(4) + 1;
            let mut waiting = Vec::new();
            for number in 0..count {
                let (message, who) =
                    plan::message(client, number, &identity, &self.plan, &mut self.random);
                self.truth.is_sent(&message);
                self.tally.messages += 1;
                waiting.push((message, who));
            }
            self.people.push(Person {
                identity,
                clock: plan::clock(&mut self.random),
                wall: self.random.below(10_000),
                waiting,
                caller: None,
                attempt: None,
                link: None,
                last_host: 0,
                calm_attempts: 0,
                resent: 0,
                who: Who::Simple,
                timer: None,
            });
            let at = self.random.below(MINUTE);
            self.at(at, Action::Begin { client });
        }
        for _ in 0..self.plan.faults {
            let at = self.random.below(self.plan.calm);
            self.at(at, Action::Disturb);
        }
        for host in 0..self.machines.len() {
            let at = self.random.below(5 * MINUTE);
            self.at(at, Action::Grey { host });
            if self.machines[host].host.store.detaches() {
                self.at(at, Action::Duties { host });
            }
        }
        self.at(self.plan.calm, Action::Calm);
    }

    /// Something happens at this time, behind all that happens then.
    pub(super) fn at(&mut self, time: u64, action: Action) {
        self.order += 1;
        self.queue.insert((time.max(self.now), self.order), action);
    }

    pub(super) fn after(&mut self, milliseconds: u64, action: Action) {
        self.at(self.now + milliseconds, action);
    }

    pub(super) fn run(mut self) -> Held<Tally> {
        // Enough for any run that ends; more than that is going round in circles.
        const MOST: u64 = 3_000_000;
        let mut steps = 0;
        let mut over = None;
        while let Some(((time, _), action)) = self.queue.pop_first() {
            if self.calm && self.is_over() {
                if !self.has_duties() {
                    break;
                }
                let since = *over.get_or_insert(time);
                if time > since + 6 * HOUR {
                    let what = "a detached message is neither delivered nor reported";
                    return Err(Violation::new(Rule::Ends, what));
                }
            }
            steps += 1;
            if steps > MOST {
                return Err(Violation::new(Rule::Ends, "the run does not end"));
            }
            self.now = time;
            self.log.at(time);
            self.act(action)?;
        }
        self.end()
    }

    fn is_over(&self) -> bool {
        let idle = |person: &Person| {
            person.waiting.is_empty() && person.caller.is_none() && person.attempt.is_none()
        };
        self.people.iter().all(idle)
    }

    fn has_duties(&mut self) -> bool {
        let mut hosts = self.machines.iter_mut();
        hosts.any(|machine| machine.host.has_duties())
    }

    pub(super) fn outcomes(&mut self) -> Outcomes {
        let store = &mut self.machines[0].host.store;
        Outcomes {
            delivered: store.delivered(),
            reported: store.reported(),
        }
    }

    /// All machines lose their power, and what was accepted is there.
    fn end(mut self) -> Held<Tally> {
        if !self.is_over() {
            return Err(Violation::new(Rule::Ends, "a client waits for ever"));
        }
        for host in 0..self.machines.len() {
            self.machines[host].host.kill(Unsynced::Lost);
        }
        let outcomes = self.outcomes();
        let store = &self.machines[0].host.store;
        let excused = |message: &Message| store.is_excused(message);
        self.truth.check_in_the_end(&outcomes, excused)?;
        self.tally.runs = 1;
        self.tally.delivered = outcomes.delivered.len() as u64;
        self.tally.reported = outcomes.reported.len() as u64;
        self.tally.time = self.now;
        self.tally.calls = self.machines.iter().map(|it| it.host.store.calls).sum();
        self.tally.digest = self.log.digest();
        for machine in &self.machines {
            self.tally.taken_back += machine.host.counted.taken_back;
            let store = &machine.host.store;
            for (fault, count) in [
                (Fault::ServerDiedInCall, store.died_in_call),
                (Fault::CallFailed, store.calls_failed),
                (Fault::PowerCut, store.power_cuts),
                (Fault::StepFailed, store.steps_failed),
                (Fault::DiskFull, store.disk_full),
            ] {
                if count > 0 {
                    *self.tally.faults.entry(fault).or_default() += count;
                }
            }
        }
        Ok(self.tally)
    }

    fn act(&mut self, action: Action) -> Held {
        if let Some(host) = self.host_of(&action) {
            let paused = self.machines[host].paused;
            if paused > self.now {
                self.at(paused, action);
                return Ok(());
            }
        }
        match action {
            Action::Arrive { link, up: true } => self.arrive_up(link),
            Action::Arrive { link, up: false } => self.arrive_down(link),
            Action::HostTimer { host } => {
                self.machines[host].timer = None;
                self.tick_host(host)
            }
            Action::ClientTimer { client } => {
                self.people[client].timer = None;
                self.tick_client(client)
            }
            Action::Begin { client } => self.begin(client),
            Action::Decision {
                host,
                life,
                job,
                made,
            } => self.decide(host, life, job, made),
            Action::Report { host, life, id } => self.report(host, life, id),
            Action::Duties { host } => self.see_to_duties(host),
            Action::Lose { link, loss } => {
                self.lose(link, loss);
                Ok(())
            }
            Action::Up { host } => {
                self.machines[host].up = true;
                self.log.event(format_args!("host {host}"), "is up", b"");
                self.machines[host].host.do_duties()?;
                self.host_moved(host)
            }
            Action::Look { host } => {
                self.machines[host].looks = false;
                self.set_clock(host);
                self.machines[host].host.look_again()?;
                self.host_moved(host)
            }
            Action::Grey { host } => {
                let grey = !self.calm && self.random.chance(50);
                self.machines[host].host.manner.grey = grey;
                if !self.calm {
                    let wait = self.random.between(SECOND, 10 * MINUTE);
                    self.after(wait, Action::Grey { host });
                }
                Ok(())
            }
            Action::Disturb => self.disturb(),
            Action::Calm => self.calm_down(),
            Action::ExpireLeases => {
                self.machines[0].host.store.expire_leases();
                Ok(())
            }
        }
    }

    fn host_of(&self, action: &Action) -> Option<usize> {
        match action {
            Action::Arrive { link, up: true } => self.links.get(link).map(|link| link.host),
            Action::HostTimer { host }
            | Action::Decision { host, .. }
            | Action::Look { host }
            | Action::Report { host, .. }
            | Action::Duties { host } => Some(*host),
            _ => None,
        }
    }
}
