//! Clients: one attempt after the other, and what became of them.

use std::rc::Rc;

use smtp_checkpoint::checkpoint::Server;
use smtp_checkpoint::client::Connection;

use super::clock::Clock;
use super::plan::{Identity, MINUTE, SECOND};
use super::run::{Action, World};
use super::tally::Fault;
use super::{Simulation, clock};
use crate::client::{Attempt, Caller, End, Told, Who};
use crate::message::Message;
use crate::store::Store;
use crate::violation::{Held, Rule, Violation};
use crate::watched::Blow;

/// A client.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) identity: Identity,
    pub(super) clock: Clock,
    /// Beside its other clock, in seconds.
    pub(super) wall: u64,
    /// Messages to come, the next one last.
    pub(super) waiting: Vec<(Rc<Message>, Who)>,
    /// The transaction at hand, between attempts.
    pub(super) caller: Option<Caller>,
    pub(super) attempt: Option<Attempt>,
    pub(super) link: Option<u64>,
    pub(super) last_host: usize,
    /// Of the transaction at hand, since nothing disturbs.
    pub(super) calm_attempts: u64,
    /// How often the message at hand has been sent again to those who were deferred.
    pub(super) resent: u32,
    pub(super) who: Who,
    pub(super) timer: Option<u64>,
}

impl Person {
    /// Of the message at hand.
    pub(super) fn content_octets(&self) -> usize {
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
    pub(super) fn begin(&mut self, client: usize) -> Held {
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
        if self.random.chance(self.plan.roaming) {
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

    pub(super) fn tick_client(&mut self, client: usize) -> Held {
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
                self.leaves_120(link, &octets);
                self.straggles(link, &octets);
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

    pub(super) fn attempt_ended(&mut self, client: usize) -> Held {
        let person = &mut self.people[client];
        person.link = None;
        let Some(mut attempt) = person.attempt.take() else {
            return Ok(());
        };
        self.tally.interims += attempt.client().interims();
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
        let outcomes = self.outcomes();
        self.truth.check(&outcomes)?;
        match end {
            Some(End::Decided(told)) => {
                self.truth.is_told(&message, &told, &outcomes)?;
                self.tally.refused += u64::from(told.served().is_empty());
                self.decided(client, &message, Some(&told))
            }
            Some(End::Declined) => {
                self.truth.has_nothing(&message, "declined", &outcomes)?;
                self.decided(client, &message, None)
            }
            Some(End::Detached(accepted)) => {
                self.truth.is_detached(&message, &accepted);
                self.tally.detached += 1;
                self.next_message(client);
                Ok(())
            }
            Some(End::Aborted) => {
                self.truth.has_nothing(&message, "aborted", &outcomes)?;
                self.tally.aborted += 1;
                self.next_message(client);
                Ok(())
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

    pub(super) fn next_message(&mut self, client: usize) {
        let wait = self.random.below(MINUTE);
        self.after(wait, Action::Begin { client });
    }

    /// A transaction is over; those who were only deferred get another one, twice at most.
    pub(super) fn decided(
        &mut self,
        client: usize,
        message: &Rc<Message>,
        told: Option<&Told>,
    ) -> Held {
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
        self.truth.is_sent_again(message, &deferred);
        let mut again = Message::clone(message);
        again.recipients = deferred;
        let transid = message.transid.as_ref();
        again.transid = transid.map(|it| format!("<again{}.{}", person.resent, &it[1..]));
        let wall = clock::wall(&person.clock, self.now, person.wall);
        let caller = Caller::at(person.who, &Rc::new(again), wall)?.breaking(self.mutant);
        self.again(client, caller, SECOND);
        Ok(())
    }
}
