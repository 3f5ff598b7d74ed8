//! Connections: octets under way, and how they are lost.

use super::link::{LOSSES, Link, Loss, Packet, Pipe};
use super::plan::{MINUTE, SECOND};
use super::run::{Action, World};
use super::tally::Fault;
use crate::alter::RoundUp;
use crate::mutant::Mutant;
use crate::store::Store;
use crate::violation::Held;
use crate::watched::Blow;

impl<S: Store> World<S> {
    pub(super) fn connect(&mut self, client: usize, host: usize, connection: u64) -> u64 {
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

    /// A client that leaves an open 120 may lose its connection just then, or die as it stores the
    /// outcome.
    pub(super) fn leaves_120(&mut self, link: u64, octets: &[u8]) {
        let leaves = matches!(octets, b"DETA\r\n" | b"RSET\r\n");
        if !leaves || self.calm {
            return;
        }
        if self.random.chance(self.plan.lost_behind_120 / 2) {
            let blow = self.random.pick([Blow::Before, Blow::After]);
            if let Some(link) = self.links.get(&link) {
                self.people[link.client].blow(0, blow);
            }
        }
        if self.random.chance(self.plan.lost_behind_120) {
            self.tally.count(Fault::LostBehind120);
            let wait = self.random.pick([0, 100, SECOND, MINUTE]);
            let loss = self.random.one(&LOSSES).filter(|_| self.random.chance(60));
            let loss = loss.unwrap_or(Loss::Late);
            let wait = self.random.below(wait + 1);
            self.after(wait, Action::Lose { link, loss });
        }
    }

    /// A client loses its connection behind what it has just sent, and is back before it.
    pub(super) fn straggles(&mut self, link: u64, octets: &[u8]) {
        let begins = octets.starts_with(b"BDAT ") || octets.starts_with(b"RCPT ");
        let sends = begins || octets.ends_with(b".\r\n") || octets.ends_with(b"DATA\r\n");
        if sends && !self.calm && self.random.chance(self.plan.straggling) {
            self.lose(link, Loss::Late);
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
        let arrives = matches!(loss, Loss::End | Loss::Late);
        if !arrives {
            link.up.lose();
            link.down.lose();
        }
        let packet = if arrives { Packet::End } else { Packet::Broken };
        let (delay, now) = (link.weather.delay(&mut self.random), self.now);
        let mut arrivals = Vec::new();
        if loss == Loss::Late {
            let most = self.random.pick([SECOND, 10 * SECOND, MINUTE, 10 * MINUTE]);
            let late = self.random.below(most);
            let late = link.up.delay(late, &mut self.random);
            arrivals.extend(late.into_iter().map(|at| (at, true)));
        }
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
            Loss::Late => Fault::Overtaken,
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

    pub(super) fn arrive_up(&mut self, id: u64) -> Held {
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

    pub(super) fn arrive_down(&mut self, id: u64) -> Held {
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
}
