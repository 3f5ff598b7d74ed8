//! Servers: what they say, and how their decisions go.

use super::clock::Clock;
use super::link::Loss;
use super::plan::{MINUTE, SECOND};
use super::run::{Action, World};
use super::tally::Fault;
use crate::host::Host;
use crate::store::{Store, Unsynced};
use crate::violation::Held;

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
    pub(super) timer: Option<u64>,
    pub(super) looks: bool,
    /// Decisions whose end is settled.
    pub(super) scheduled: Vec<u64>,
    /// The last DSN that is under way.
    pub(super) last_report: u64,
    /// Decisions that would never be made.
    pub(super) hung: Vec<u64>,
}

impl<S: Store> World<S> {
    pub(super) fn set_clock(&mut self, host: usize) {
        let machine = &mut self.machines[host];
        let time = machine.clock.at(self.now);
        machine.host.now = machine.host.now.max(time);
    }

    pub(super) fn tick_host(&mut self, host: usize) -> Held {
        let machine = &mut self.machines[host];
        let time = machine.clock.at(self.now);
        machine.host.tick(time)?;
        self.host_moved(host)
    }

    pub(super) fn decide(&mut self, host: usize, life: u64, job: u64, made: bool) -> Held {
        if self.machines[host].life != life {
            return Ok(());
        }
        self.set_clock(host);
        let machine = &mut self.machines[host];
        if made {
            let mail = machine.host.mail_of(job).unwrap_or_default();
            let codes = verdict(mail, self.plan.late);
            machine.host.finish_one(job, &codes)?;
        } else {
            machine.host.withdraw_all(Some(job))?;
        }
        self.host_moved(host)
    }

    /// A DSN is ready.
    pub(super) fn report(&mut self, host: usize, life: u64, id: u64) -> Held {
        if self.machines[host].life != life {
            return Ok(());
        }
        self.machines[host].host.report_one(id)?;
        self.host_moved(host)
    }

    /// Now and then a host sees to what is due for messages that are the server's.
    pub(super) fn see_to_duties(&mut self, host: usize) -> Held {
        let wait = self.random.between(SECOND, 5 * MINUTE);
        self.after(wait, Action::Duties { host });
        if !self.machines[host].up {
            return Ok(());
        }
        if self.calm {
            // Nobody waits for these: whoever makes them is started again.
            let machine = &mut self.machines[host];
            let hung = std::mem::take(&mut machine.hung);
            let (owned, hung) = hung
                .into_iter()
                .partition(|job| machine.host.is_owned(*job));
            machine.hung = hung;
            let owned: Vec<u64> = owned;
            for job in owned {
                self.machines[host].host.withdraw_all(Some(job))?;
            }
        }
        self.set_clock(host);
        self.machines[host].host.do_duties()?;
        self.host_moved(host)
    }

    /// Takes what a host has to say, and sees to what it has begun.
    pub(super) fn host_moved(&mut self, host: usize) -> Held {
        if self.calm && self.machines[host].host.store.is_unclear {
            // Nothing but opening it again helps.
            self.machines[host].host.die();
        }
        if self.machines[host].host.dead {
            return self.died(host);
        }
        self.take_output(host)?;
        self.schedule_decisions(host);
        self.schedule_reports(host);
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

    pub(super) fn take_output(&mut self, host: usize) -> Held {
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

    pub(super) fn schedule_decisions(&mut self, host: usize) {
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
                self.machines[host].hung.push(job);
                continue;
            } else if lot < hangs + fails {
                self.tally.count(Fault::FailedDecision);
                (self.random.below(2 * MINUTE), false)
            } else if lot < hangs + fails + slow {
                self.tally.count(Fault::SlowDecision);
                let (least, most) = self.plan.slow;
                (self.random.between(least, most), true)
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

    fn schedule_reports(&mut self, host: usize) {
        let machine = &mut self.machines[host];
        let life = machine.life;
        let due: Vec<u64> = machine.host.reporting().collect();
        for id in due {
            let machine = &mut self.machines[host];
            if id > machine.last_report {
                machine.last_report = id;
                let wait = self.random.pick([0, SECOND, 5 * MINUTE]);
                let wait = self.random.below(wait + 1);
                self.after(wait, Action::Report { host, life, id });
            }
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
        machine.hung.clear();
        let links: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, link)| link.host == host && link.is_open())
            .map(|(id, _)| *id)
            .collect();
        for link in links {
            let number = self.links.get(&link).map(|link| link.connection);
            let words = number.map(|number| self.machines[host].host.last_words(number));
            let words = words.unwrap_or_default();
            let loss = if words.is_empty() || self.random.chance(50) {
                self.random
                    .pick([Loss::Reset, Loss::Reset, Loss::BothUnaware])
            } else {
                self.send(link, false, &words);
                Loss::End
            };
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
fn verdict(mail: &[u8], late: bool) -> Vec<u16> {
    let sum: u64 = mail
        .iter()
        .take_while(|octet| **octet != b'@')
        .fold(7, |sum, octet| sum * 31 % 1009 + u64::from(*octet));
    match sum % 10 {
        0 | 1 => vec![450],
        2 => vec![550],
        3 => vec![250, 450, 550],
        4 => vec![550, 250],
        5..=7 if late => vec![450],
        _ => vec![250],
    }
}
