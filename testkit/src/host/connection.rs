//! One connection of a host.

use std::collections::VecDeque;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Generation, TransactionKey};
use smtp_checkpoint::server::{AwaitQuestion, Event, ServerSession};
use smtp_checkpoint::time::Timestamp;

use crate::violation::{Held, Rule, Violation};

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(super) session: ServerSession,
    pub(super) input: VecDeque<Bytes>,
    /// What has left the session and not been taken by the wire.
    pub(crate) output: Vec<u8>,
    /// How many octets the transport takes before it blocks.
    pub(crate) room: usize,
    /// What a stepwise host has yet to do.
    pub(super) todo: VecDeque<Event>,
    /// The content of a transaction without a record.
    pub(super) plain: Vec<u8>,
    /// The transaction under way.
    pub(super) claim: Option<(TransactionKey, Generation)>,
    /// How many octets the claim found: what a 355 may announce.
    pub(super) found: Option<u64>,
    pub(super) awaiting: Option<AwaitQuestion>,
    pub(crate) finished: bool,
    pub(super) broken: bool,
    /// The reply line that is being written.
    line: Vec<u8>,
}

impl Connection {
    pub(super) fn new(id: u64, session: ServerSession) -> Self {
        Self {
            id,
            session,
            input: VecDeque::new(),
            output: Vec::new(),
            room: usize::MAX,
            todo: VecDeque::new(),
            plain: Vec::new(),
            claim: None,
            found: None,
            awaiting: None,
            finished: false,
            broken: false,
            line: Vec::new(),
        }
    }

    pub(super) fn holds(&self, key: &TransactionKey) -> bool {
        self.claim.as_ref().is_some_and(|(held, _)| held == key)
    }

    /// Writes at most so many octets, and whether there were any.
    pub(super) fn write(&mut self, now: Timestamp, most: usize) -> Held<bool> {
        if self.broken || self.room == 0 {
            return Ok(false);
        }
        let most = most.min(self.room);
        let count = if most == usize::MAX {
            let Some(octets) = self.session.take_output() else {
                return Ok(false);
            };
            self.output.extend_from_slice(&octets);
            octets.len()
        } else {
            let lent = self.session.output();
            let count = lent.len().min(most);
            self.output.extend_from_slice(&lent[..count]);
            self.room = self.room.saturating_sub(count);
            count
        };
        if count > 0 {
            self.session
                .transmitted(now, count)
                .map_err(|error| Violation::new(Rule::Session, error.to_string()))?;
        }
        Ok(count > 0)
    }

    /// Looks at what is on its way to the client: no 355 goes beyond what the claim found.
    pub(crate) fn saw(&mut self, octets: &[u8]) -> Held {
        for octet in octets {
            self.line.push(*octet);
            if *octet != b'\n' {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let Some(digits) = line.strip_prefix(b"355 ") else {
                continue;
            };
            let digits = digits.iter().take_while(|octet| octet.is_ascii_digit());
            let told = digits.fold(0_u64, |sum, digit| {
                sum.saturating_mul(10)
                    .saturating_add(u64::from(digit - b'0'))
            });
            if self.found.is_none_or(|found| told > found) {
                return Err(Violation::new(
                    Rule::OffsetIsDurable,
                    format!("355 {told} is told, {:?} octets are stored", self.found),
                ));
            }
        }
        Ok(())
    }
}
