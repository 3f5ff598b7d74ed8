//! A connection: two pipes with delay, which can be cut.

use std::collections::VecDeque;

use crate::random::Random;

/// What comes out of a pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    Octets(Vec<u8>),
    /// The other end has closed in good order.
    End,
    /// The connection is reset.
    Broken,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    queue: VecDeque<(u64, Packet)>,
    /// When the last packet arrives: none overtakes another.
    last: u64,
    pub(super) in_flight: usize,
    sent: usize,
    /// What is sent is lost.
    pub(super) dead: bool,
}

impl Pipe {
    /// Octets leave, in pieces of any size; gives the times at which they arrive.
    pub(super) fn send(
        &mut self,
        now: u64,
        octets: &[u8],
        weather: &Weather,
        random: &mut Random,
    ) -> Vec<u64> {
        let mut arrivals = Vec::new();
        self.sent += octets.len();
        self.in_flight += octets.len();
        if self.dead {
            return arrivals;
        }
        let mut rest = octets;
        while !rest.is_empty() {
            let most = if random.chance(weather.split) {
                1 + random.index(rest.len())
            } else {
                rest.len()
            };
            let (piece, later) = rest.split_at(most);
            arrivals.push(self.push(now + weather.delay(random), Packet::Octets(piece.to_vec())));
            rest = later;
        }
        arrivals
    }

    /// Something arrives behind all that is under way.
    pub(super) fn push(&mut self, at: u64, packet: Packet) -> u64 {
        self.last = self.last.max(at);
        self.queue.push_back((self.last, packet));
        self.last
    }

    /// What has arrived by now; one packet a time.
    pub(super) fn arrive(&mut self, now: u64) -> Option<Packet> {
        let (at, _) = self.queue.front()?;
        if *at > now {
            return None;
        }
        let (_, packet) = self.queue.pop_front()?;
        if let Packet::Octets(octets) = &packet {
            self.in_flight -= octets.len();
        }
        Some(packet)
    }

    /// What is under way takes so much longer, but for the first packets; gives the times at which
    /// it arrives.
    pub(super) fn delay(&mut self, milliseconds: u64, random: &mut Random) -> Vec<u64> {
        self.last += milliseconds;
        let first = random.index(self.queue.len() + 1);
        let late = self.queue.iter_mut().skip(first);
        late.map(|(at, _)| {
            *at += milliseconds;
            *at
        })
        .collect()
    }

    /// What is under way is lost.
    pub(super) fn lose(&mut self) {
        self.queue.clear();
    }

    pub(super) fn sent(&self) -> usize {
        self.sent
    }
}

/// How the network is, for one connection.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    /// Milliseconds.
    pub(super) delay: (u64, u64),
    /// How many pieces in a hundred are split.
    pub(super) split: u64,
    /// Now and then it takes so much longer, in milliseconds.
    pub(super) stall: u64,
}

impl Weather {
    pub(super) fn delay(&self, random: &mut Random) -> u64 {
        let stalled = self.stall > 0 && random.chance(1);
        let stall = if stalled { random.below(self.stall) } else { 0 };
        random.between(self.delay.0, self.delay.1) + stall
    }
}

/// How a connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loss {
    /// What is under way still arrives, then an end.
    End,
    /// The same, but what is under way to the server takes its time, and the client may be back
    /// before it.
    Late,
    /// What is under way is lost, and both ends hear of it.
    Reset,
    /// The server hears nothing.
    ServerUnaware,
    /// The client hears nothing.
    ClientUnaware,
    /// Nobody does.
    BothUnaware,
}

pub(super) const LOSSES: [Loss; 6] = [
    Loss::End,
    Loss::Late,
    Loss::Reset,
    Loss::ServerUnaware,
    Loss::ClientUnaware,
    Loss::BothUnaware,
];

#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: usize,
    pub(super) host: usize,
    /// As the host numbers it.
    pub(super) connection: u64,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// How many octets the transport takes before it blocks.
    pub(super) window: usize,
    pub(super) weather: Weather,
    /// It is lost when so many octets have been sent, up or down.
    pub(super) doom: Option<(bool, usize, Loss)>,
    /// It has been lost.
    pub(super) lost: bool,
    /// Something was under way for long.
    pub(super) stalled: bool,
    /// The client has closed its end, or is gone.
    pub(super) left: bool,
    /// The server has.
    pub(super) hung_up: bool,
}

impl Link {
    /// Whether anybody still has it open, as far as is known to us.
    pub(super) fn is_open(&self) -> bool {
        !(self.lost || self.left && self.hung_up)
    }
}
