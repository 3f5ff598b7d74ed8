//! A wire without delay between a client and its host, which can be cut at any octet, and the loop
//! that tries again until the message is through.

use std::cell::RefCell;
use std::rc::Rc;

use crate::alter::RoundUp;
use crate::audit::Audit;
use crate::client::{Attempt, Caller, End};
use crate::host::{Host, Manner, Offer};
use crate::log::{Log, shown};
use crate::message::{Message, is_to};
use crate::mutant::Mutant;
use crate::store::{Delivered, Store, Unsynced};
use crate::violation::{Held, Rule, Violation};
use crate::watched::Watched;

/// Where a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Towards the server?
    pub(crate) up: bool,
    /// Octets that get through in that direction.
    pub(crate) at: usize,
    pub(crate) loss: Loss,
}

/// How a connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// What is under way in the other direction still gets through; the server hears of an end.
    End,
    /// Nothing more gets through, and both ends hear of an error.
    Reset,
    /// The server hears nothing: its session lives on.
    HalfOpen,
}

pub(crate) const LOSSES: [Loss; 3] = [Loss::End, Loss::Reset, Loss::HalfOpen];

/// What went over a connection.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) up: Vec<u8>,
    pub(crate) down: Vec<u8>,
}

/// Hosts over one store; most runs have one.
#[derive(Debug)]
pub(crate) struct World<S> {
    pub(crate) hosts: Vec<Host<S>>,
    pub(crate) log: Log,
    pub(crate) mutant: Option<Mutant>,
}

impl<S: Store> World<S> {
    pub(crate) fn new(
        stores: Vec<S>,
        offer: Offer,
        manner: &Manner,
        mutant: Option<Mutant>,
        log: &Log,
    ) -> Held<Self> {
        let audit = Rc::new(RefCell::new(Audit::default()));
        let mut hosts = Vec::new();
        for (number, store) in stores.into_iter().enumerate() {
            let store = Watched::new(store, number, Rc::clone(&audit), log.clone());
            hosts.push(Host::new(store, &offer, manner.clone())?.breaking(mutant));
        }
        Ok(Self {
            hosts,
            log: log.clone(),
            mutant,
        })
    }

    /// One connection of one attempt, as far as it goes.
    pub(crate) fn converse(
        &mut self,
        host: usize,
        attempt: &mut Attempt,
        cut: Option<Cut>,
    ) -> Held<Traffic> {
        let message = Rc::clone(&attempt.message);
        let log = self.log.clone();
        let mut round_up = (self.mutant == Some(Mutant::OffsetRoundedUp)).then(RoundUp::default);
        let host = &mut self.hosts[host];
        let now = host.now;
        let client = attempt.client();
        let id = host.connect(message.peer.clone());
        let mut traffic = Traffic::default();
        let up_limit = cut.filter(|cut| cut.up).map_or(usize::MAX, |cut| cut.at);
        let down_limit = cut.filter(|cut| !cut.up).map_or(usize::MAX, |cut| cut.at);
        let mut is_cut = cut.is_some_and(|cut| cut.at == 0);
        host.pump(id)?;
        loop {
            let mut moved = false;
            if !is_cut {
                let octets = client.output(now, usize::MAX)?;
                let through = octets.len().min(up_limit - traffic.up.len());
                traffic.up.extend_from_slice(&octets[..through]);
                if through > 0 {
                    moved = true;
                    log.event(format_args!("C {}", message.sender), "", &octets[..through]);
                    host.input(id, &octets[..through]);
                    host.pump(id)?;
                }
                is_cut = traffic.up.len() >= up_limit;
            }
            let resets = cut.is_some_and(|cut| cut.loss != Loss::End);
            if is_cut && resets || host.dead {
                break;
            }
            if let Some(connection) = host.connection(id) {
                let mut octets = std::mem::take(&mut connection.output);
                if let Some(round_up) = &mut round_up {
                    octets = round_up.pass(&octets, &message.canonical());
                }
                connection.saw(&octets)?;
                let finished = connection.finished;
                let through = octets.len().min(down_limit - traffic.down.len());
                traffic.down.extend_from_slice(&octets[..through]);
                if through > 0 {
                    moved = true;
                    log.event(format_args!("S {}", message.sender), "", &octets[..through]);
                    client.input(now, &octets[..through])?;
                }
                is_cut |= traffic.down.len() >= down_limit;
                if finished {
                    break;
                }
            }
            if client.is_over() {
                break;
            }
            if !moved {
                if !is_cut && host.is_deciding() {
                    host.finish()?;
                    continue;
                }
                break;
            }
        }
        log.event(format_args!("C {}", message.sender), "is cut off", b"");
        client.lost(now)?;
        let loss = cut.map_or(Loss::End, |cut| cut.loss);
        if !host.dead && loss != Loss::HalfOpen {
            host.end(id, loss == Loss::Reset)?;
        }
        if !host.dead && host.connection(id).is_some_and(|it| it.finished) {
            host.forget(id)?;
        }
        Ok(traffic)
    }

    /// One attempt; the host starts again where it is dead.
    pub(crate) fn try_once(
        &mut self,
        host: usize,
        caller: Caller,
        cut: Option<Cut>,
        unsynced: Unsynced,
        course: &mut Course,
    ) -> Held<Caller> {
        self.hosts[host].restart(unsynced);
        course.attempts += 1;
        let mut attempt = caller.begin()?;
        let traffic = self.converse(host, &mut attempt, cut)?;
        let end = attempt.client().end();
        let Some(end) = end else {
            return Err(Violation::new(Rule::Session, "an attempt without an end"));
        };
        match end {
            End::Unknown | End::Declined | End::Detached(_) | End::Aborted => {
                let what = format!("the client gives up: {end:?}");
                return Err(Violation::new(Rule::OutcomeIsTrue, what));
            }
            _ => {}
        }
        course.offsets.push(attempt.client().offset());
        course.traffic.push(traffic);
        self.hosts[host].settle()?;
        Ok(attempt.into_caller())
    }

    /// Tries until the outcome is stored: the n-th attempt is cut as `cuts` says.
    pub(crate) fn run(
        &mut self,
        host: usize,
        mut caller: Caller,
        cuts: &[Option<Cut>],
        unsynced: Unsynced,
        limit: u32,
    ) -> Held<(Course, Caller)> {
        let mut course = Course::default();
        loop {
            if let Some(told) = caller.told() {
                course.codes = told.codes;
                return Ok((course, caller));
            }
            if course.attempts >= limit {
                return Err(Violation::new(
                    Rule::Ends,
                    format!(
                        "{} is not through after {limit} attempts",
                        caller.message.sender
                    ),
                ));
            }
            let cut = cuts.get(course.attempts as usize).copied().flatten();
            caller = self.try_once(host, caller, cut, unsynced, &mut course)?;
        }
    }

    /// What was delivered of a message.
    pub(crate) fn copies(&mut self, message: &Message) -> Vec<Delivered> {
        let Some(host) = self.hosts.first_mut() else {
            return Vec::new();
        };
        let mut all = host.store.delivered();
        all.retain(|copy| message.is_from(&copy.mail));
        all
    }

    /// Delivered once, whole, to these recipients; to nobody where there are none.
    pub(crate) fn check_delivered(&mut self, message: &Message, to: &[&str]) -> Held {
        let copies = self.copies(message);
        check_unaltered(message, &copies)?;
        match (&copies[..], to) {
            ([], []) => Ok(()),
            ([], _) => Err(Violation::new(
                Rule::AcceptedIsDurable,
                format!("{} was accepted, and is not there", message.sender),
            )),
            ([copy], _) => {
                let mut lines = copy.recipients.iter().zip(to);
                if copy.recipients.len() == to.len() && lines.all(|(line, to)| is_to(line, to)) {
                    return Ok(());
                }
                let recipients: Vec<String> =
                    copy.recipients.iter().map(|line| shown(line)).collect();
                Err(Violation::new(
                    Rule::OutcomeIsTrue,
                    format!("{} went to {recipients:?}, not to {to:?}", message.sender),
                ))
            }
            _ => Err(Violation::new(
                Rule::AtMostOnce,
                format!("{} was delivered {} times", message.sender, copies.len()),
            )),
        }
    }
}

/// All copies have the octets of the message.
pub(crate) fn check_unaltered(message: &Message, copies: &[Delivered]) -> Held {
    let expected = message.canonical();
    match copies.iter().find(|copy| copy.content != expected) {
        None => Ok(()),
        Some(copy) => Err(Violation::new(
            Rule::Unaltered,
            format!(
                "{} is delivered as {}, not as {}",
                message.sender,
                shown(&copy.content),
                shown(&expected)
            ),
        )),
    }
}

/// What it took to get a message through.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Course {
    pub(crate) attempts: u32,
    /// The final replies.
    pub(crate) codes: Vec<u16>,
    pub(crate) offsets: Vec<Option<u64>>,
    pub(crate) traffic: Vec<Traffic>,
}
