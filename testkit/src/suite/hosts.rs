//! Two hosts over one store.

use std::rc::Rc;

use super::explore::{SETUP, Setup};
use super::{Report, Suite};
use crate::client::{Caller, Who};
use crate::host::Offer;
use crate::host::manner::{Manner, When};
use crate::log::Log;
use crate::message::{How, Message};
use crate::store::{Store, Trouble, Unsynced};
use crate::violation::{Failure, Held, Rule, Violation};
use crate::wire::{Course, Cut, Loss, World};

impl<S: Store, F: FnMut() -> S> Suite<F> {
    /// Two hosts over one store ([`Store::another_host`]), a session on each with the same key, in
    /// every interleaving of their store calls: decisions made at once or later, leases that
    /// expire although their holder lives, a host that dies. Then content that is interrupted on
    /// one host and goes on, or is decided, on the other; and a key that is idle again.
    ///
    /// # Errors
    ///
    /// The first case that failed; also where the store has no other host.
    pub fn two_hosts(&mut self) -> Result<Report, Failure> {
        self.begin("two hosts");
        for (how, leases) in [How::Data, How::Bdat(7)]
            .into_iter()
            .flat_map(|how| [(how, false), (how, true)])
        {
            for (when, crash) in [When::Now, When::Later]
                .into_iter()
                .flat_map(|when| [(when, false), (when, true)])
            {
                let setup = Setup {
                    how,
                    hosts: 2,
                    leases,
                    when,
                    crash,
                    ..SETUP
                };
                let name = format!("{how:?}, leases expire {leases}, {when:?}, crash {crash}");
                self.explore(&name, setup)?;
            }
        }
        for late in ["DATA", "end"] {
            self.must(
                || format!("idle again, {late} and what is behind it come late"),
                |suite, log| suite.idle_again(late, log),
            )?;
        }
        self.must(
            || "failed there, the end comes late here".to_owned(),
            Self::failed_there,
        )?;
        for who in [Who::Simple, Who::Library(5)] {
            for cuts in [[130, 130], [130, 105], [105, 130], [120, 125]] {
                for lmtp in [false, true] {
                    self.must(
                        || format!("from host to host, {who:?}, cuts {cuts:?}, lmtp {lmtp}"),
                        |suite, log| suite.there_and_back(who, cuts, lmtp, log),
                    )?;
                }
            }
        }
        Ok(self.end())
    }

    /// All of a message is on its way to one host when its client goes to the other, which decides
    /// (4yz), loses the reply, gives it again and drops it. The key is idle, as it was when the
    /// first session claimed it; and yet nothing may come of what arrives there now.
    fn idle_again(&mut self, late: &str, log: &Log) -> Held {
        let message = Rc::new(Message::new("m", b"S: x\r\n\r\n.\r\nend\r\n"));
        let mut alone = self.world(Offer::default(), &Manner::default(), &Log::default())?;
        let caller = Caller::new(Who::Simple, &message)?;
        let (clean, _) = alone.run(0, caller, &[], Unsynced::Lost, 1)?;
        let up = clean.traffic.first().map(|traffic| traffic.up.clone());
        let up = up.unwrap_or_default();
        let end = up.len() - b"QUIT\r\n".len();
        let cut = |at, loss| Some(Cut { up: true, at, loss });

        let mut first = (self.open)();
        let second = first
            .another_host()
            .ok_or_else(|| Violation::new(Rule::Contract, "a store without another host"))?;
        let manner = Manner {
            when: When::Later,
            ..Manner::default()
        };
        let stores = vec![first, second];
        let mut world: World<S> = World::new(stores, Offer::default(), &manner, self.mutant, log)?;
        world.hosts[1].manner.verdict = vec![450];
        let mut course = Course::default();
        let caller = Caller::new(Who::Simple, &message)?.breaking(self.mutant);
        let found = |some: &[u8]| some.starts_with(late.as_bytes());
        let half = (0..end).find(|at| found(&up[*at..])).unwrap_or(end);
        let lost = cut(half, Loss::HalfOpen);
        let caller = world.try_once(0, caller, lost, Unsynced::Lost, &mut course)?;
        let late = world.hosts[0].connections.last().map(|it| it.id);
        let lost = cut(end, Loss::Reset);
        let caller = world.try_once(1, caller, lost, Unsynced::Lost, &mut course)?;
        world.hosts[1].finish()?;
        let (last, _) = world.run(1, caller, &[], Unsynced::Lost, 1)?;
        self.count(&course);
        self.count(&last);
        if last.codes != [450] {
            let what = format!("told {:?}, decided 450", last.codes);
            return Err(Violation::new(Rule::OutcomeIsTrue, what));
        }
        if let Some(late) = late {
            log.event(format_args!("C late"), "", &up[half..end]);
            world.hosts[0].input(late, &up[half..end]);
            world.hosts[0].pump(late)?;
            world.hosts[0].finish()?;
        }
        world.check_delivered(&message, &[])
    }

    /// All of a message is on its way to one host when its client goes to the other, which cannot
    /// store it and says so (451). The client takes that for the outcome.
    fn failed_there(&mut self, log: &Log) -> Held {
        let message = Rc::new(Message::new("m", b"S: x\r\n\r\n.\r\nend\r\n"));
        let mut alone = self.world(Offer::default(), &Manner::default(), &Log::default())?;
        let caller = Caller::new(Who::Simple, &message)?;
        let (clean, _) = alone.run(0, caller, &[], Unsynced::Lost, 1)?;
        let up = clean.traffic.first().map(|traffic| traffic.up.clone());
        let up = up.unwrap_or_default();
        let end = up.len() - b"QUIT\r\n".len();

        let mut first = (self.open)();
        let mut second = first
            .another_host()
            .ok_or_else(|| Violation::new(Rule::Contract, "a store without another host"))?;
        second.trouble_at(second.steps() + 1, Trouble::Full);
        let stores = vec![first, second];
        let manner = Manner::default();
        let mut world: World<S> = World::new(stores, Offer::default(), &manner, self.mutant, log)?;
        let mut course = Course::default();
        let caller = Caller::new(Who::Simple, &message)?.breaking(self.mutant);
        let half = (0..end)
            .find(|at| up[*at..].starts_with(b"end"))
            .unwrap_or(end);
        let lost = Some(Cut {
            up: true,
            at: half,
            loss: Loss::HalfOpen,
        });
        let caller = world.try_once(0, caller, lost, Unsynced::Lost, &mut course)?;
        let late = world.hosts[0].connections.last().map(|it| it.id);
        let (last, caller) = world.run(1, caller, &[], Unsynced::Lost, 1)?;
        self.count(&course);
        self.count(&last);
        if let Some(late) = late {
            log.event(format_args!("C late"), "", &up[half..end]);
            world.hosts[0].input(late, &up[half..end]);
            world.hosts[0].pump(late)?;
            world.hosts[0].finish()?;
        }
        // A store that has room even so has delivered it, there.
        let served = caller.told().map(|told| told.served()).unwrap_or_default();
        let served = served
            .iter()
            .filter_map(|index| message.recipients.get(*index));
        let served: Vec<&str> = served.map(String::as_str).collect();
        world.check_delivered(&message, &served)
    }

    /// Interrupted on one host, then on the other, and through on the first: a recipient that is
    /// accepted here and deferred there is told right.
    fn there_and_back(&mut self, who: Who, cuts: [usize; 2], lmtp: bool, log: &Log) -> Held {
        let mut message = Message::new("m", b"S: x\r\n\r\none\r\ntwo\r\nthree\r\nfour\r\n");
        message.recipients = vec!["b@example.net".into(), "grey@example.net".into()];
        message.terse = true;
        message.pipelining = false;
        message.lmtp = lmtp;
        let message = Rc::new(message);
        let mut first = (self.open)();
        let second = first
            .another_host()
            .ok_or_else(|| Violation::new(Rule::Contract, "a store without another host"))?;
        let offer = Offer {
            lmtp,
            checkpoint_every: Some(4),
            ..Offer::default()
        };
        let manner = Manner::default();
        let mut world: World<S> =
            World::new(vec![first, second], offer, &manner, self.mutant, log)?;
        world.hosts[1].manner.grey = true;
        let mut caller = Caller::new(who, &message)?.breaking(self.mutant);
        let mut course = Course::default();
        for (host, at) in cuts.into_iter().enumerate() {
            let cut = Cut {
                up: true,
                at,
                loss: Loss::End,
            };
            caller = world.try_once(host, caller, Some(cut), Unsynced::Lost, &mut course)?;
        }
        let (last, caller) = world.run(0, caller, &[], Unsynced::Lost, 1)?;
        self.count(&course);
        self.count(&last);
        let told = caller.told().map(|told| told.served()).unwrap_or_default();
        let served: Vec<&str> = told
            .iter()
            .filter_map(|index| message.recipients.get(*index).map(String::as_str))
            .collect();
        world.check_delivered(&message, &served)
    }
}
