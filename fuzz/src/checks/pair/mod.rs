//! Client session against server session, by a script of operations.
//!
//! Each octet of the input is an operation, so that a script is a line that one can read. The first
//! choice picks the settings and the message.
//!
//! | octet | what happens |
//! | --- | --- |
//! | `n` | the client connects anew; the server does not learn that the old connection is lost |
//! | `o` | what the client had sent on its old connections arrives there |
//! | `>` `<` | octets on the way arrive at the server, at the client |
//! | `1` to `9` | so many octets arrive at the server, and at the client |
//! | `=` | everything happens until nothing moves, but no decision is made and no time passes |
//! | `x` | the connection is cut: both learn it |
//! | `h` | the server learns of the connections that are lost |
//! | `a` `r` `t` | the decisions under way are made: accepted, refused, refused for now |
//! | `w` | they are withdrawn |
//! | `.` | time passes until the next time-out |
//! | `k` | the server is killed: what is stored stays |
//! | `K` | the client is killed |
//! | `c` `d` `u` | 120 is answered from now on with CONT, DETA, RSET |
//!
//! Where the script is used up, faults stop: the client comes back until it knows.
//!
//! What is promised: the message is delivered at most once and never altered, delivered where the
//! client is told so (or its failure reported, where it had left the message to the server) and not
//! where it is told otherwise; a message that was left to the server is
//! delivered, or its failure reported; the client comes to an end; memory stays within a bound.

mod host;
mod sender;
mod store;

use std::time::Duration;

use smtp_checkpoint::rdlv::Choice;
use smtp_checkpoint::time::Timestamp;

use self::host::Host;
use self::sender::{End, Sender};
use super::{input, memory};

pub fn check(data: &[u8]) {
    const MEMORY: u64 = 512 * 1024;

    let (script, mut choices) = input::parse(data);
    let before = memory::in_use();
    let mut pair = Pair::new(choices.next());
    for operation in script.iter().take(512) {
        pair.operate(*operation);
        let used = memory::in_use().saturating_sub(before);
        assert!(used <= MEMORY, "{used} octets of memory");
    }
    pair.finish();
}

struct Pair {
    host: Host,
    sender: Sender,
    now: Timestamp,
}

impl Pair {
    /// After so many connections without a fault the client knows.
    const ATTEMPTS: u32 = 8;

    fn new(pick: u8) -> Self {
        Self {
            host: Host::new(pick),
            sender: Sender::new(pick),
            now: Timestamp::ORIGIN,
        }
    }

    fn operate(&mut self, operation: u8) {
        let now = self.now;
        match operation {
            b'n' => self.connect(),
            b'o' => self.host.late(now),
            b'>' => self.serverward(usize::MAX),
            b'<' => self.clientward(usize::MAX),
            b'1'..=b'9' => {
                let octets = usize::from(operation - b'0');
                self.serverward(octets);
                self.clientward(octets);
            }
            b'=' => self.settle(),
            b'x' => {
                self.sender.lost(now);
                self.host.lost(now);
            }
            b'h' => self.host.lost_before(now),
            b'a' => self.host.decide(now, 250),
            b'r' => self.host.decide(now, 554),
            b't' => self.host.decide(now, 451),
            b'w' => self.host.withdraw(now),
            b'.' => self.pass(),
            b'k' => {
                self.host.crash();
                self.sender.lost(now);
            }
            b'K' => {
                self.sender.crash();
                self.host.lost(now);
            }
            b'c' => self.sender.choice = Choice::CarryOn,
            b'd' => self.sender.choice = Choice::Detach,
            b'u' => self.sender.choice = Choice::Abort,
            _ => {}
        }
    }

    fn connect(&mut self) {
        let late = self.sender.output(self.now, usize::MAX);
        self.host.on_the_way(late);
        if self.sender.connect(self.now) {
            self.host.accept(self.now);
        }
    }

    fn serverward(&mut self, most: usize) {
        let octets = self.sender.output(self.now, most);
        self.host.input(self.now, &octets);
    }

    fn clientward(&mut self, most: usize) {
        let octets = self.host.output(self.now, most);
        self.sender.input(self.now, &octets);
        if self.host.is_closed() {
            self.sender.lost(self.now);
        }
        if self.sender.is_closed() {
            self.host.lost(self.now);
        }
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            let before = self.sender.moved + self.host.moved;
            self.serverward(usize::MAX);
            self.clientward(usize::MAX);
            if self.sender.moved + self.host.moved == before {
                return;
            }
        }
        panic!("the two of them never come to rest");
    }

    fn pass(&mut self) {
        let next = [self.host.deadline(), self.sender.deadline()];
        if let Some(next) = next.into_iter().flatten().min() {
            self.now = self.now.max(next);
        }
        self.host.tick(self.now);
        self.sender.tick(self.now);
    }

    fn finish(&mut self) {
        self.sender.choice = Choice::CarryOn;
        self.sender.lost(self.now);
        for _ in 0..Self::ATTEMPTS {
            self.host.lost(self.now);
            self.host.decide(self.now, 250);
            self.connect();
            self.settle();
            self.host.decide(self.now, 250);
            self.settle();
            self.sender.lost(self.now);
        }
        self.host.lost(self.now);
        self.host.decide(self.now, 250);
        self.now = self.now + Duration::from_secs(3600);
        self.host.tick(self.now);
        self.judge();
    }

    fn judge(&self) {
        let delivered = &self.host.store.delivered;
        for content in delivered {
            assert_eq!(content, self.sender.message, "altered");
        }
        assert!(delivered.len() <= 1, "delivered {} times", delivered.len());
        let Some(end) = &self.sender.end else {
            panic!("the client never comes to know");
        };
        match end {
            // A failure that was reported is answered as what it is for the client: done.
            End::Delivered => {
                let reports = self.host.store.reports;
                assert!(delivered.len() + reports > 0, "lost: told {end:?}");
            }
            End::Failed => assert!(delivered.is_empty(), "delivered although {end:?}"),
            End::Detached => assert_eq!(
                delivered.len() + self.host.store.reports,
                1,
                "left to the server, and neither delivered nor reported, or both"
            ),
            End::Unknown => assert!(
                self.sender.may_not_know(),
                "a transaction with a TRANSID is unknown"
            ),
        }
    }
}
