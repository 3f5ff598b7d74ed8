//! What goes wrong, and how it ends.

use super::link::LOSSES;
use super::plan::{HOUR, MINUTE};
use super::run::{Action, World};
use super::tally::Fault;
use crate::client::End;
use crate::store::{Store, Trouble, Unsynced};
use crate::violation::Held;
use crate::watched::Blow;

impl<S: Store> World<S> {
    /// Something goes wrong.
    pub(super) fn disturb(&mut self) -> Held {
        let host = self.random.index(self.machines.len());
        let client = self.random.index(self.people.len());
        match self.random.below(20) {
            0 | 1 => {
                let links = self.links.iter().filter(|(_, link)| link.is_open());
                let links: Vec<u64> = links.map(|(id, _)| *id).collect();
                if let Some(link) = self.random.one(&links) {
                    let loss = self.random.pick(LOSSES);
                    self.lose(link, loss);
                }
                Ok(())
            }
            2 | 3 if self.machines[host].up => {
                self.tally.count(Fault::ServerKilled);
                self.machines[host].host.die();
                self.died(host)
            }
            4..=6 => {
                self.blow(host);
                Ok(())
            }
            7..=10 => {
                self.trouble(host);
                Ok(())
            }
            11 => {
                self.tally.count(Fault::Shutdown);
                self.set_clock(host);
                self.machines[host].host.shut_down()?;
                self.host_moved(host)
            }
            12 => {
                self.tally.count(Fault::Paused);
                let pause = self.random.below(15 * MINUTE);
                self.machines[host].paused = self.now + pause;
                Ok(())
            }
            13 => {
                self.tally.count(Fault::ServerClockJumped);
                let jump = self.random.below(HOUR);
                self.machines[host].clock.jump(jump);
                self.set_clock(host);
                self.host_moved(host)
            }
            14 => self.client_dies(client),
            15 => {
                let blow = self.random.pick([Blow::Before, Blow::After]);
                let at = self.random.below(4);
                self.people[client].blow(at, blow);
                Ok(())
            }
            16 => {
                self.tally.count(Fault::ClientClockJumped);
                let jump = self.random.below(HOUR);
                self.people[client].clock.jump(jump);
                self.client_moved(client)
            }
            17 if self.random.chance(5) => {
                self.tally.count(Fault::WallClockJumped);
                self.people[client].wall += 3 * 24 * 3600;
                Ok(())
            }
            18 if self.machines.len() > 1 => {
                self.tally.count(Fault::LeasesExpired);
                self.machines[host].host.store.expire_leases();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The process dies in a call of the store that is to come, or the call fails.
    fn blow(&mut self, host: usize) {
        let blow = self.random.pick([Blow::Before, Blow::After, Blow::Fails]);
        let store = &mut self.machines[host].host.store;
        let at = store.calls + self.random.below(12);
        store.blows.push((at, blow));
    }

    /// Something happens to a step of the storage that is to come.
    fn trouble(&mut self, host: usize) {
        let trouble = self.random.pick([
            Trouble::PowerCut,
            Trouble::PowerCut,
            Trouble::Fails,
            Trouble::Fails,
            Trouble::Full,
        ]);
        let store = &mut self.machines[host].host.store;
        let at = store.steps() + self.random.below(15);
        store.trouble_at(at, trouble);
    }

    /// Its connection stays behind, for a while.
    fn client_dies(&mut self, client: usize) -> Held {
        let person = &mut self.people[client];
        let Some(attempt) = person.attempt.take() else {
            return Ok(());
        };
        self.tally.count(Fault::ClientKilled);
        self.log
            .event(format_args!("client {client}"), "is killed", b"");
        if let Some(link) = person.link.take() {
            let loss = self.random.pick(LOSSES);
            self.lose(link, loss);
        }
        let caller = attempt.into_caller();
        let end = caller.outcome().unwrap_or(End::Crashed);
        self.ended(client, caller, Some(end))
    }

    /// From now on nothing disturbs.
    pub(super) fn calm_down(&mut self) -> Held {
        self.calm = true;
        self.log
            .event(format_args!("from now on"), "nothing disturbs", b"");
        for host in 0..self.machines.len() {
            let machine = &mut self.machines[host];
            machine.paused = 0;
            machine.up = true;
            machine.host.manner.grey = false;
            machine.host.manner.limited = false;
            machine.host.store.blows.clear();
            machine.host.store.end_of_trouble();
            if machine.host.store.is_unclear {
                // Nothing but opening it again helps.
                machine.host.kill(Unsynced::Kept);
                machine.host.die();
                self.died(host)?;
            }
        }
        for person in &mut self.people {
            person.spare();
        }
        for link in self.links.values_mut() {
            link.doom = None;
        }
        // Who died holding a lease would have let it run out by now.
        self.after(10 * MINUTE, Action::ExpireLeases);
        Ok(())
    }
}
