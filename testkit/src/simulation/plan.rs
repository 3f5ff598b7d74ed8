//! What a seed decides about a run before it begins.

use std::rc::Rc;

use bytes::Bytes;
use smtp_checkpoint::server::Peer;

use super::clock::Clock;
use super::link::Weather;
use crate::client::Who;
use crate::host::Offer;
use crate::host::manner::{Advice, Manner, ORDERS, TAKEOVERS, When};
use crate::message::{How, Message, Wish};
use crate::random::Random;

pub(super) const SECOND: u64 = 1000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;

/// Times and chances of a run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) offer: Offer,
    pub(super) hosts: usize,
    /// When nothing disturbs any more.
    pub(super) calm: u64,
    /// How many faults, other than those of connections and decisions.
    pub(super) faults: u64,
    /// How many connections in a hundred are lost.
    pub(super) doomed: u64,
    /// How many decisions in a hundred are slow, given up, never made.
    pub(super) decisions: (u64, u64, u64),
    /// How long a slow one takes.
    pub(super) slow: (u64, u64),
    pub(super) weather: Weather,
    /// How many in a hundred of those who say DETA, or RSET in answer to a 120, lose their
    /// connection then.
    pub(super) lost_behind_120: u64,
    /// What is sent often comes late; many messages are deferred.
    pub(super) late: bool,
    /// Most clients want RDLV, soon leave by DETA, and come back.
    pub(super) long: bool,
    /// Messages have no TRANSID, where their client can do without, and are left to the server.
    pub(super) unrecorded: bool,
    /// How many in a hundred of those who send an envelope or content lose their connection then,
    /// and may be back before it arrives.
    pub(super) straggling: u64,
    /// How many attempts in a hundred go to another host.
    pub(super) roaming: u64,
    /// The longest a client waits before it tries again.
    pub(super) patience: u64,
}

impl Plan {
    pub(super) fn new(random: &mut Random, can_have_two_hosts: bool) -> Self {
        let two = can_have_two_hosts && random.chance(60);
        let checkpoint_every = random.pick([None, Some(1), Some(6), Some(20), Some(200)]);
        let longest = random.pick([20 * MINUTE, HOUR, 4 * HOUR]);
        let faults = random.pick([1, 5, 15, 40]);
        // Some runs are about nothing but long decisions, some about octets that come late.
        let lot = random.below(100);
        let (long, late) = (lot < 25, (25..50).contains(&lot));
        let plan = Self {
            offer: Offer {
                lmtp: random.chance(30),
                checkpoint_every,
                mintimer: random.chance(60).then(|| random.pick([1, 5, 30])),
            },
            hosts: if two { 2 } else { 1 },
            calm: random.between(5 * MINUTE, longest),
            faults: random.below(faults),
            doomed: random.pick([0, 10, 30, 60, 90]),
            decisions: random.pick([
                (0, 0, 0),
                (20, 10, 5),
                (50, 20, 20),
                (10, 0, 40),
                (85, 5, 0),
            ]),
            slow: (MINUTE, 15 * MINUTE),
            weather: Weather {
                delay: random.pick([(0, 0), (1, 20), (5, 300), (0, 3000)]),
                split: random.pick([0, 20, 60, 95]),
                stall: random.pick([0, 0, 2 * MINUTE, 10 * MINUTE]),
            },
            lost_behind_120: random.pick([0, 30, 60, 90]),
            straggling: random.pick([0, 0, 0, 10, 40]),
            roaming: random.pick([10, 30, 60]),
            patience: random.pick([SECOND, 20 * SECOND, 5 * MINUTE, 40 * MINUTE]),
            long,
            late,
            unrecorded: false,
        };
        if late {
            return Self {
                hosts: if can_have_two_hosts { 2 } else { 1 },
                decisions: (10, 5, 0),
                straggling: random.pick([30, 60]),
                roaming: random.pick([20, 50]),
                patience: random.pick([SECOND, 10 * SECOND]),
                ..plan
            };
        }
        if !long {
            return plan;
        }
        Self {
            offer: Offer {
                mintimer: Some(1),
                ..plan.offer
            },
            calm: plan.calm.max(40 * MINUTE),
            decisions: random.pick([(60, 25, 5), (90, 5, 5)]),
            lost_behind_120: 90,
            patience: random.pick([SECOND, MINUTE]),
            ..plan
        }
    }
}

impl Plan {
    /// The same, about messages without a TRANSID that are left to the server. What cuts a
    /// connection ends them, so few are cut before that.
    pub(super) fn unrecorded(self) -> Self {
        Self {
            offer: Offer {
                mintimer: Some(1),
                ..self.offer
            },
            doomed: self.doomed.min(10),
            straggling: 0,
            decisions: (80, 10, 5),
            // Many are made while a 120, or what answers it, is under way.
            slow: (2 * SECOND, 30 * SECOND),
            weather: Weather {
                delay: (0, 3000),
                ..self.weather
            },
            unrecorded: true,
            ..self
        }
    }
}

pub(super) fn clock(random: &mut Random) -> Clock {
    Clock::new(random.between(985, 1015), random.below(HOUR))
}

pub(super) fn manner(random: &mut Random) -> Manner {
    Manner {
        verdict: vec![250],
        when: When::Later,
        advice: random.pick([Advice::Taken, Advice::Taken, Advice::Lost, Advice::Late]),
        order: random.pick(ORDERS),
        takeover: random.pick(TAKEOVERS),
        grey: false,
        limited: random.chance(10),
        stepwise: false,
    }
}

/// Who a client is, as servers see it.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) address: String,
    /// By its certificate; it may then come from anywhere.
    pub(super) authenticated: Option<String>,
    pub(super) tls: bool,
}

impl Identity {
    pub(super) fn new(number: usize, random: &mut Random) -> Self {
        let authenticated = random.chance(30).then(|| format!("user{number}"));
        let tls = random.chance(30) || authenticated.is_some();
        Self {
            name: format!("c{number}.example"),
            address: format!("192.0.2.{number}"),
            authenticated,
            tls,
        }
    }

    /// The peer of a connection, and the address that it comes from.
    pub(super) fn peer(&self, random: &mut Random) -> (Peer, String) {
        let address = match self.authenticated {
            Some(_) => format!("203.0.113.{}", random.below(200)),
            None => self.address.clone(),
        };
        let authenticated = self.authenticated.clone();
        let peer = Peer {
            tls: self.tls,
            authenticated: authenticated.map(Bytes::from),
            ..Peer::at(address.as_bytes())
        };
        (peer, address)
    }
}

/// A message, and who sends it: one of two clients.
pub(super) fn message(
    client: usize,
    number: usize,
    identity: &Identity,
    plan: &Plan,
    random: &mut Random,
) -> (Rc<Message>, Who) {
    let mut message = Message::new(&format!("m{client}-{number}"), &content(random));
    message.how = random.pick([
        How::Data,
        How::Data,
        How::Bdat(1),
        How::Bdat(7),
        How::Bdat(1000),
    ]);
    message.pipelining = random.chance(60);
    message.terse = random.chance(50);
    message.lmtp = plan.offer.lmtp;
    // Every client has the same ones: they are told apart by who they are.
    message.transid = Some(format!("<{number}.msg@sim.example>"));
    message.name.clone_from(&identity.name);
    message.dsn = plan.offer.mintimer.is_some();
    if message.dsn && random.chance(if plan.long { 95 } else { 70 }) {
        message.wish = Some(Wish {
            maxtimer: random.pick([10, 20, 20, 60, 200]),
            carries_on: random.pick([0, 0, 1, 4, if plan.long { 0 } else { 1000 }]),
            detaches: random.chance(75),
            reset_aborts: random.chance(70),
            insists: random.chance(60),
        });
    }
    let names = ["b", "no", "grey1", "c", "later", "d", "grey2", "quiet"];
    let count = random.between(1, 4);
    let mut recipients: Vec<String> = Vec::new();
    for _ in 0..count {
        let name = format!("{}@example.net", random.pick(names));
        if !recipients.contains(&name) {
            recipients.push(name);
        }
    }
    message.recipients = recipients;
    let who = if random.chance(if plan.long { 5 } else { 25 }) {
        message.grouped = message.pipelining && random.chance(50);
        Who::Simple
    } else {
        Who::Library(random.pick([1, 3, 5, 40, 4096]))
    };
    if plan.unrecorded && who != Who::Simple {
        message.transid = None;
        message.wish = Some(Wish {
            maxtimer: 10,
            carries_on: u32::from(number % 2 == 1),
            detaches: client != 3,
            reset_aborts: true,
            insists: false,
        });
    }
    (Rc::new(message), who)
}

fn content(random: &mut Random) -> Vec<u8> {
    let lines: [&[u8]; 9] = [
        b".\r\n",
        b"..\r\n",
        b"\r\n",
        b"a\r\n",
        b".a\r\n",
        b"\xff\x80\r\n",
        b"some text.\r\n",
        b"a line that is somewhat longer than the others are\r\n",
        b"a\r\n.\r\nb\r\n",
    ];
    let mut octets = Vec::new();
    let most = random.pick([0, 3, 12, 12, 60, 200]);
    for _ in 0..random.below(most + 1) {
        octets.extend_from_slice(random.pick(lines));
    }
    if random.chance(5) {
        // Refused for what is in it.
        octets.extend_from_slice(random.pick([b"bare\nLF\r\nx\r\n", b"bare\rCR\r\nx\r\n"]));
        octets.extend_from_slice(random.pick(lines));
    } else if random.chance(30) {
        octets.extend_from_slice(random.pick([&b"end"[..], b".", b"..", b"end."]));
    }
    octets
}
