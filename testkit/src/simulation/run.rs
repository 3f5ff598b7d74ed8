//! The run: what happens when, in the order of time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use smtp_checkpoint::checkpoint::Server;
use smtp_checkpoint::client::Connection;

use super::clock::Clock;
use super::link::{LOSSES, Link, Loss, Packet, Pipe};
use super::plan::{self, Identity, MINUTE, Plan, SECOND};
use super::tally::{Fault, Tally};
use super::truth::Truth;
use super::{Simulation, clock};
use crate::alter::RoundUp;
use crate::audit::Audit;
use crate::client::{Attempt, Caller, End, Told, Who};
use crate::host::Host;
use crate::log::Log;
use crate::message::Message;
use crate::mutant::Mutant;
use crate::random::Random;
use crate::store::{Store, Unsynced};
use crate::violation::{Held, Rule, Violation};
use crate::watched::{Blow, Watched};

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

/// A server.
#[derive(Debug)]
pub(super) struct Machine<S> {
    pub(super) host: Host<S>,
    pub(super) clock: Clock,
    /// Counts the lives of its process.
    pub(super) life: u64,
    pub(super) up: bool,
    /// It does nothing until then.
    pub(super) paused: u64,
    timer: Option<u64>,
    looks: bool,
    /// Decisions whose end is settled.
    scheduled: Vec<u64>,
}

/// A client.
#[derive(Debug)]
pub(super) struct Person {
    identity: Identity,
    pub(super) clock: Clock,
    /// Beside its other clock, in seconds.
    pub(super) wall: u64,
    /// Messages to come, the next one last.
    waiting: Vec<(Rc<Message>, Who)>,
    /// The transaction at hand, between attempts.
    pub(super) caller: Option<Caller>,
    pub(super) attempt: Option<Attempt>,
    pub(super) link: Option<u64>,
    last_host: usize,
    /// Of the transaction at hand, since nothing disturbs.
    calm_attempts: u64,
    /// How often the message at hand has been sent again to those who were deferred.
    resent: u32,
    who: Who,
    timer: Option<u64>,
}

#[derive(Debug)]
pub(super) struct World<S> {
    pub(super) plan: Plan,
    pub(super) random: Random,
    pub(super) now: u64,
    order: u64,
    queue: BTreeMap<(u64, u64), Action>,
    pub(super) machines: Vec<Machine<S>>,
    pub(super) people: Vec<Person>,
    pub(super) links: BTreeMap<u64, Link>,
    /// By host and its number of the connection.
    by_connection: BTreeMap<(usize, u64), u64>,
    last_link: u64,
    round_up: BTreeMap<u64, RoundUp>,
    truth: Truth,
    pub(super) tally: Tally,
    pub(super) calm: bool,
    mutant: Option<Mutant>,
    pub(super) log: Log,
}

impl Person {
    /// Of the message at hand.
    fn content_octets(&self) -> usize {
        let at_hand = self.attempt.as_ref().map(|attempt| &attempt.message);
        at_hand.map_or(0, |message| message.content.len())
    }

    /// Something happens to a call of the journal that is to come.
    pub(super) fn blow(&mut self, after: u64, blow: Blow) {
        if let Some(caller) = &mut self.caller {
            let at = caller.calls() + after;
            caller.blow(at, blow);
        } else if let Some(attempt) = &mut self.attempt {
            attempt.blow(after, blow);
        }
    }

    pub(super) fn spare(&mut self) {
        if let Some(caller) = &mut self.caller {
            caller.spare();
        }
        if let Some(attempt) = &mut self.attempt {
            attempt.spare();
        }
    }
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
        while let Some(((time, _), action)) = self.queue.pop_first() {
            if self.calm && self.is_over() {
                break;
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

    /// All machines lose their power, and what was accepted is there.
    fn end(mut self) -> Held<Tally> {
        if !self.is_over() {
            return Err(Violation::new(Rule::Ends, "a client waits for ever"));
        }
        for host in 0..self.machines.len() {
            self.machines[host].host.kill(Unsynced::Lost);
        }
        let delivered = self.machines[0].host.store.delivered();
        self.truth.check_in_the_end(&delivered)?;
        self.tally.runs = 1;
        self.tally.delivered = delivered.len() as u64;
        self.tally.time = self.now;
        self.tally.calls = self.machines.iter().map(|it| it.host.store.calls).sum();
        self.tally.digest = self.log.digest();
        for machine in &self.machines {
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
            Action::Up { host } => {
                self.machines[host].up = true;
                self.log.event(format_args!("host {host}"), "is up", b"");
                Ok(())
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
            Action::HostTimer { host } | Action::Decision { host, .. } | Action::Look { host } => {
                Some(*host)
            }
            _ => None,
        }
    }

    // ---- clients ----

    fn begin(&mut self, client: usize) -> Held {
        let person = &mut self.people[client];
        if person.attempt.is_some() {
            return Ok(());
        }
        let wall = clock::wall(&person.clock, self.now, person.wall);
        let caller = match person.caller.take() {
            Some(caller) => caller,
            None => {
                let Some((message, who)) = person.waiting.pop() else {
                    return Ok(());
                };
                (person.resent, person.calm_attempts, person.who) = (0, 0, who);
                Caller::at(who, &message, wall)?.breaking(self.mutant)
            }
        };
        let sender = caller.message.sender.clone();
        self.tally.attempts += 1;
        if self.calm {
            person.calm_attempts += 1;
            let most = Simulation::ATTEMPTS_IN_THE_END;
            if person.calm_attempts > most && !caller.message.is_wanted() {
                // A client that cannot know whether it has sent the end of the data is told
                // nothing by refused recipients: it gives up, in the end.
                self.truth.is_unknown(&caller.message);
                self.tally.unknown += 1;
                self.next_message(client);
                return Ok(());
            }
            if person.calm_attempts > most {
                let what = format!("{sender} is not through after {most} calm attempts");
                return Err(Violation::new(Rule::Ends, what));
            }
            let most = &mut self.tally.attempts_in_the_end;
            *most = (*most).max(person.calm_attempts);
        }
        if self.random.chance(30) {
            person.last_host = self.random.index(self.machines.len());
        }
        let host = person.last_host;
        let (peer, address) = person.identity.peer(&mut self.random);
        let identity = person.identity.authenticated.clone();
        let connection = Connection {
            server: Server {
                host: format!("mx{host}").into(),
                address: format!("198.51.100.{host}").into(),
            },
            local_address: address.into(),
            tls: person.identity.tls,
            identity: identity.map(String::into_bytes),
        };
        let time = person.clock.at(self.now);
        let mut attempt = caller.begin_at(connection, (time, wall))?;
        self.log.event(
            format_args!("client {client}"),
            "connects",
            sender.as_bytes(),
        );
        if !self.machines[host].up {
            attempt.client().lost(time)?;
            self.people[client].attempt = Some(attempt);
            return self.client_moved(client);
        }
        self.set_clock(host);
        let number = self.machines[host].host.connect(peer);
        self.people[client].attempt = Some(attempt);
        let link = self.connect(client, host, number);
        self.people[client].link = Some(link);
        self.machines[host].host.pump(number)?;
        self.host_moved(host)?;
        self.client_moved(client)
    }

    fn connect(&mut self, client: usize, host: usize, connection: u64) -> u64 {
        let doomed = !self.calm && self.random.chance(self.plan.doomed);
        let octets = self.people[client].content_octets();
        let doom = doomed.then(|| {
            let up = self.random.chance(70);
            let at = self.random.index(if up { 300 + octets } else { 700 });
            (up, at, self.random.pick(LOSSES))
        });
        let window = self.random.pick([usize::MAX, usize::MAX, 4096, 64, 7, 1]);
        let mut weather = self.plan.weather.clone();
        if self.calm {
            weather.stall = 0;
        }
        if window != usize::MAX {
            // One octet at a time takes as many journeys.
            weather.delay.1 = weather.delay.1.min(20);
            weather.delay.0 = weather.delay.0.min(weather.delay.1);
        }
        self.last_link += 1;
        let id = self.last_link;
        self.links.insert(
            id,
            Link {
                client,
                host,
                connection,
                up: Pipe::default(),
                down: Pipe::default(),
                window,
                weather,
                doom,
                lost: false,
                stalled: false,
                left: false,
                hung_up: false,
            },
        );
        self.by_connection.insert((host, connection), id);
        if let Some(connection) = self.machines[host].host.connection(connection) {
            connection.room = window;
        }
        if self.mutant == Some(Mutant::OffsetRoundedUp) {
            self.round_up.insert(id, RoundUp::default());
        }
        id
    }

    fn tick_client(&mut self, client: usize) -> Held {
        let person = &mut self.people[client];
        let time = person.clock.at(self.now);
        if let Some(attempt) = &mut person.attempt {
            attempt.client().tick(time)?;
        }
        self.client_moved(client)
    }

    /// Takes what a client has to say, and sees whether its attempt is over.
    pub(super) fn client_moved(&mut self, client: usize) -> Held {
        let person = &mut self.people[client];
        let time = person.clock.at(self.now);
        let Some(attempt) = &mut person.attempt else {
            return Ok(());
        };
        let link = person.link.and_then(|link| self.links.get(&link));
        let room = link.map_or(0, |link| link.window.saturating_sub(link.up.in_flight));
        let octets = attempt.client().output(time, room)?;
        let over = attempt.client().is_over();
        let deadline = attempt.client().deadline();
        if let (Some(deadline), None) = (deadline, person.timer) {
            let when = person.clock.when(deadline);
            person.timer = Some(when);
            self.at(when, Action::ClientTimer { client });
        }
        if let Some(link) = self.people[client].link {
            if !octets.is_empty() {
                self.log
                    .event(format_args!("C {client} on {link}"), "", &octets);
                self.send(link, true, &octets);
            }
            if over {
                self.leave(link, true);
            }
        }
        if over {
            self.attempt_ended(client)
        } else {
            Ok(())
        }
    }

    fn attempt_ended(&mut self, client: usize) -> Held {
        let person = &mut self.people[client];
        person.link = None;
        let Some(mut attempt) = person.attempt.take() else {
            return Ok(());
        };
        if let Some(offset) = attempt.client().offset() {
            self.tally.restarts += 1;
            self.tally.octets_saved += offset;
        }
        let mut end = attempt.client().end();
        let caller = attempt.into_caller();
        if end == Some(End::Crashed) {
            self.tally.count(Fault::ClientDiedStoring);
            end = caller.outcome().or(end);
        }
        self.ended(client, caller, end)
    }

    /// An attempt has ended so, or with it the client.
    pub(super) fn ended(&mut self, client: usize, caller: Caller, end: Option<End>) -> Held {
        let message = Rc::clone(&caller.message);
        self.log.event(
            format_args!("client {client}"),
            &format!("ends {}: {end:?}", message.sender),
            b"",
        );
        let delivered = self.machines[0].host.store.delivered();
        self.truth.check(&delivered)?;
        match end {
            Some(End::Decided(told)) => {
                self.truth.is_told(&message, &told, &delivered)?;
                self.tally.refused += u64::from(told.served().is_empty());
                self.decided(client, &message, Some(&told))
            }
            Some(End::Declined) => {
                self.truth.is_declined(&message, &delivered)?;
                self.decided(client, &message, None)
            }
            Some(End::Unknown) => {
                self.truth.is_unknown(&message);
                self.tally.unknown += 1;
                self.next_message(client);
                Ok(())
            }
            Some(End::Again { closed }) => {
                let least = if closed { SECOND } else { 0 };
                self.again(client, caller, least);
                Ok(())
            }
            Some(End::Crashed | End::StartOver) => {
                self.again(client, caller, SECOND);
                Ok(())
            }
            None => Err(Violation::new(Rule::Session, "an attempt without an end")),
        }
    }

    pub(super) fn again(&mut self, client: usize, caller: Caller, least: u64) {
        let patience = if self.calm {
            MINUTE
        } else {
            self.plan.patience
        };
        self.people[client].caller = Some(caller);
        let wait = least + self.random.below(patience);
        self.after(wait, Action::Begin { client });
    }

    fn next_message(&mut self, client: usize) {
        let wait = self.random.below(MINUTE);
        self.after(wait, Action::Begin { client });
    }

    /// A transaction is over; those who were only deferred get another one, twice at most.
    fn decided(&mut self, client: usize, message: &Rc<Message>, told: Option<&Told>) -> Held {
        let code = |recipient: usize| -> Option<u16> {
            let told = told?;
            let at = told.accepted.iter().position(|it| *it == recipient)?;
            told.codes.get(at).or(told.codes.first()).copied()
        };
        let deferred: Vec<String> = message
            .recipients
            .iter()
            .enumerate()
            .filter(|(index, to)| match code(*index) {
                Some(code) => code / 100 == 4,
                None => to.starts_with("grey") || to.starts_with("later"),
            })
            .map(|(_, to)| to.clone())
            .collect();
        let person = &mut self.people[client];
        if deferred.is_empty() || person.resent == 2 {
            self.next_message(client);
            return Ok(());
        }
        person.resent += 1;
        person.calm_attempts = 0;
        let mut again = Message::clone(message);
        again.recipients = deferred;
        again.transid = format!("<again{}.{}", person.resent, &message.transid[1..]);
        let wall = clock::wall(&person.clock, self.now, person.wall);
        let caller = Caller::at(person.who, &Rc::new(again), wall)?.breaking(self.mutant);
        self.again(client, caller, SECOND);
        Ok(())
    }

    // ---- connections ----

    pub(super) fn send(&mut self, id: u64, up: bool, octets: &[u8]) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let pipe = if up { &mut link.up } else { &mut link.down };
        // What is beyond the cut does not get through.
        let doom = link.doom.filter(|(direction, ..)| *direction == up);
        let through = doom.map_or(octets.len(), |(_, at, _)| {
            octets.len().min(at.saturating_sub(pipe.sent()))
        });
        let arrivals = pipe.send(
            self.now,
            &octets[..through],
            &link.weather,
            &mut self.random,
        );
        if !link.stalled && arrivals.iter().any(|at| at - self.now > MINUTE) {
            link.stalled = true;
            self.tally.count(Fault::Stalled);
        }
        for at in arrivals {
            self.at(at, Action::Arrive { link: id, up });
        }
        if let Some((_, _, loss)) = doom.filter(|_| through < octets.len()) {
            self.lose(id, loss);
        }
    }

    /// A connection is lost.
    pub(super) fn lose(&mut self, id: u64, loss: Loss) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.lost) else {
            return;
        };
        link.lost = true;
        link.doom = None;
        (link.up.dead, link.down.dead) = (true, true);
        self.log.event(
            format_args!("link {id}"),
            &format!("is lost: {loss:?}"),
            b"",
        );
        if loss != Loss::End {
            link.up.lose();
            link.down.lose();
        }
        let packet = if loss == Loss::End {
            Packet::End
        } else {
            Packet::Broken
        };
        let (delay, now) = (link.weather.delay(&mut self.random), self.now);
        let mut arrivals = Vec::new();
        if !matches!(loss, Loss::ServerUnaware | Loss::BothUnaware) {
            arrivals.push((link.up.push(now + delay, packet.clone()), true));
        }
        if !matches!(loss, Loss::ClientUnaware | Loss::BothUnaware) {
            arrivals.push((link.down.push(now + delay, packet), false));
        }
        for (at, up) in arrivals {
            self.at(at, Action::Arrive { link: id, up });
        }
        self.tally.count(match loss {
            Loss::End => Fault::Ended,
            Loss::Reset => Fault::Reset,
            _ => Fault::HalfOpen,
        });
    }

    /// One end closes its side.
    pub(super) fn leave(&mut self, id: u64, client: bool) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let (gone, pipe) = if client {
            (&mut link.left, &mut link.up)
        } else {
            (&mut link.hung_up, &mut link.down)
        };
        if *gone {
            return;
        }
        *gone = true;
        if pipe.dead {
            return;
        }
        let at = pipe.push(self.now + link.weather.delay.0, Packet::End);
        pipe.dead = true;
        self.at(
            at,
            Action::Arrive {
                link: id,
                up: client,
            },
        );
    }

    fn arrive_up(&mut self, id: u64) -> Held {
        let Some(link) = self.links.get_mut(&id) else {
            return Ok(());
        };
        let (host, number, client) = (link.host, link.connection, link.client);
        let Some(packet) = link.up.arrive(self.now) else {
            return Ok(());
        };
        let machine = &mut self.machines[host];
        if machine.host.connection(number).is_none() {
            // Nobody is there: the client, if it is, hears of it.
            if !link.left && !link.lost {
                link.lost = true;
                let at = link
                    .down
                    .push(self.now + link.weather.delay.0, Packet::Broken);
                self.at(
                    at,
                    Action::Arrive {
                        link: id,
                        up: false,
                    },
                );
            }
            return Ok(());
        }
        self.set_clock(host);
        let machine = &mut self.machines[host];
        match packet {
            Packet::Octets(octets) => {
                machine.host.input(number, &octets);
                machine.host.pump(number)?;
            }
            Packet::End => machine.host.end(number, false)?,
            Packet::Broken => machine.host.end(number, true)?,
        }
        self.host_moved(host)?;
        // There is room again for what the client has to say.
        if self.people[client].link == Some(id) {
            self.client_moved(client)?;
        }
        Ok(())
    }

    fn arrive_down(&mut self, id: u64) -> Held {
        let Some(link) = self.links.get_mut(&id) else {
            return Ok(());
        };
        let (host, number, client) = (link.host, link.connection, link.client);
        let Some(packet) = link.down.arrive(self.now) else {
            return Ok(());
        };
        let room = link.window.saturating_sub(link.down.in_flight);
        if let Some(connection) = self.machines[host].host.connection(number) {
            connection.room = room;
        }
        let person = &mut self.people[client];
        if person.link == Some(id) {
            let time = person.clock.at(self.now);
            if let Some(attempt) = &mut person.attempt {
                match packet {
                    Packet::Octets(octets) => {
                        self.log
                            .event(format_args!("S to {client} on {id}"), "", &octets);
                        attempt.client().input(time, &octets)?;
                    }
                    Packet::End | Packet::Broken => attempt.client().lost(time)?,
                }
            }
            self.client_moved(client)?;
        }
        if self.machines[host].paused <= self.now {
            self.set_clock(host);
            self.machines[host].host.pump(number)?;
            self.host_moved(host)?;
        }
        Ok(())
    }

    // ---- hosts ----

    pub(super) fn set_clock(&mut self, host: usize) {
        let machine = &mut self.machines[host];
        let time = machine.clock.at(self.now);
        machine.host.now = machine.host.now.max(time);
    }

    fn tick_host(&mut self, host: usize) -> Held {
        let machine = &mut self.machines[host];
        let time = machine.clock.at(self.now);
        machine.host.tick(time)?;
        self.host_moved(host)
    }

    fn decide(&mut self, host: usize, life: u64, job: u64, made: bool) -> Held {
        if self.machines[host].life != life {
            return Ok(());
        }
        self.set_clock(host);
        let machine = &mut self.machines[host];
        if made {
            let codes = verdict(machine.host.mail_of(job).unwrap_or_default());
            machine.host.finish_one(job, &codes)?;
        } else {
            machine.host.withdraw_all(Some(job))?;
        }
        self.host_moved(host)
    }

    /// Takes what a host has to say, and sees to what it has begun.
    pub(super) fn host_moved(&mut self, host: usize) -> Held {
        if self.machines[host].host.dead {
            return self.died(host);
        }
        self.take_output(host)?;
        self.schedule_decisions(host);
        let machine = &mut self.machines[host];
        if machine.host.is_awaiting() && !machine.looks {
            machine.looks = true;
            self.after(5 * SECOND, Action::Look { host });
        }
        let machine = &self.machines[host];
        if let Some(deadline) = machine.host.deadline() {
            let when = machine.clock.when(deadline).max(self.now + 1);
            if machine.timer.is_none_or(|timer| timer > when) {
                self.machines[host].timer = Some(when);
                self.at(when, Action::HostTimer { host });
            }
        }
        Ok(())
    }

    fn take_output(&mut self, host: usize) -> Held {
        let connections = &mut self.machines[host].host.connections;
        let mut said = Vec::new();
        for connection in connections {
            let link = self.by_connection.get(&(host, connection.id)).copied();
            let octets = std::mem::take(&mut connection.output);
            let octets = match link.and_then(|link| self.round_up.get_mut(&link)) {
                None => octets,
                Some(round_up) => {
                    let client = link.and_then(|link| self.links.get(&link));
                    let person = client.and_then(|link| self.people.get(link.client));
                    let attempt = person.and_then(|person| person.attempt.as_ref());
                    let message = attempt.map(|attempt| attempt.message.canonical());
                    round_up.pass(&octets, &message.unwrap_or_default())
                }
            };
            connection.saw(&octets)?;
            said.push((connection.id, link, octets, connection.finished));
        }
        for (number, link, octets, finished) in said {
            let Some(link) = link else {
                continue;
            };
            if !octets.is_empty() {
                self.send(link, false, &octets);
            }
            if finished {
                self.leave(link, false);
                self.machines[host].host.forget(number)?;
                self.by_connection.remove(&(host, number));
            }
        }
        Ok(())
    }

    fn schedule_decisions(&mut self, host: usize) {
        let machine = &self.machines[host];
        let life = machine.life;
        let jobs: Vec<u64> = machine.host.deciding().collect();
        let fresh: Vec<u64> = jobs
            .iter()
            .copied()
            .filter(|job| !machine.scheduled.contains(job))
            .collect();
        self.machines[host].scheduled = jobs;
        for job in fresh {
            let (slow, fails, hangs) = if self.calm {
                (0, 0, 0)
            } else {
                self.plan.decisions
            };
            let lot = self.random.below(100);
            let (wait, made) = if lot < hangs {
                self.tally.count(Fault::HangingDecision);
                continue;
            } else if lot < hangs + fails {
                self.tally.count(Fault::FailedDecision);
                (self.random.below(2 * MINUTE), false)
            } else if lot < hangs + fails + slow {
                self.tally.count(Fault::SlowDecision);
                (self.random.between(MINUTE, 15 * MINUTE), true)
            } else {
                (self.random.below(3 * SECOND), true)
            };
            let action = Action::Decision {
                host,
                life,
                job,
                made,
            };
            self.after(wait, action);
        }
    }

    /// The process of a host is dead: connections break, in one way or another.
    pub(super) fn died(&mut self, host: usize) -> Held {
        let unsynced = match self.random.below(3) {
            0 => Unsynced::Lost,
            1 => Unsynced::Kept,
            _ => Unsynced::Torn(self.random.next()),
        };
        let machine = &mut self.machines[host];
        machine.host.store.blows.clear();
        machine.host.restart(unsynced);
        machine.life += 1;
        machine.up = false;
        machine.timer = None;
        machine.scheduled.clear();
        let links: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| link.host == host && link.is_open())
            .map(|(id, _)| *id)
            .collect();
        for link in links {
            let loss = self
                .random
                .pick([Loss::Reset, Loss::Reset, Loss::BothUnaware]);
            self.lose(link, loss);
        }
        self.by_connection.retain(|(at, _), _| *at != host);
        let down = self.random.pick([0, SECOND, MINUTE, 10 * MINUTE]);
        let down = if self.calm {
            0
        } else {
            self.random.below(down + 1)
        };
        self.after(down, Action::Up { host });
        Ok(())
    }
}

/// The final replies that a message gets, always the same.
fn verdict(mail: &[u8]) -> Vec<u16> {
    let sum: u64 = mail
        .iter()
        .take_while(|octet| **octet != b'@')
        .fold(7, |sum, octet| sum * 31 % 1009 + u64::from(*octet));
    match sum % 10 {
        0 => vec![450],
        1 => vec![550],
        2 => vec![250, 450, 550],
        3 => vec![550, 250],
        _ => vec![250],
    }
}
