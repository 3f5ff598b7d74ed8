//! A client written from RFC 1845, as simple as can be.

use std::rc::Rc;
use std::time::Duration;

use smtp_checkpoint::time::Timestamp;

use super::{Client, End, Journal, Told};
use crate::log::shown;
use crate::message::{How, Message};
use crate::mutant::Mutant;
use crate::violation::{Held, Rule, Violation};

/// How long it waits for anything.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What it remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Data may have been sent.
    pub(crate) sent: bool,
    /// MAILs answered 250 under the TRANSID.
    pub(crate) mails: u32,
    /// Replies to all RCPTs of the last such attempt.
    pub(crate) replies: Vec<u16>,
    /// How often the message has begun anew under another TRANSID.
    pub(crate) over: u32,
    pub(crate) told: Option<Told>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Ehlo,
    Mail,
    /// RSET after a surprising 355.
    Reset,
    Envelope,
    Body,
    Final,
    Quit,
    Over,
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Simple {
    message: Rc<Message>,
    pub(super) journal: Journal<Memory>,
    mutant: Option<Mutant>,
    memory: Memory,
    /// An earlier attempt may have sent data: refused recipients then say nothing of it.
    sent_before: bool,
    state: State,
    input: Vec<u8>,
    output: Vec<u8>,
    lines: Vec<String>,
    /// Replies due: to RCPTs, and then to DATA.
    due: usize,
    written: usize,
    data_written: bool,
    accepted: Vec<usize>,
    content: Vec<u8>,
    from: usize,
    chunk: usize,
    offset: Option<u64>,
    surprises: u32,
    finals: Vec<u16>,
    end: Option<End>,
    since: Timestamp,
}

impl Simple {
    pub(super) fn new(
        message: Rc<Message>,
        journal: Journal<Memory>,
        mutant: Option<Mutant>,
        now: Timestamp,
    ) -> Self {
        let content = message.canonical();
        let memory = journal.durable.clone();
        Self {
            message,
            journal,
            mutant,
            sent_before: memory.sent,
            memory,
            state: State::Greeting,
            input: Vec::new(),
            output: Vec::new(),
            lines: Vec::new(),
            due: 0,
            written: 0,
            data_written: false,
            accepted: Vec::new(),
            content,
            from: 0,
            chunk: 0,
            offset: None,
            surprises: 0,
            finals: Vec::new(),
            end: None,
            since: now,
        }
    }

    /// Whether it has something to say.
    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    fn over(&mut self, end: End) {
        self.state = State::Over;
        self.end = Some(end);
        self.output.clear();
    }

    /// No recipient was accepted.
    fn declined(&mut self) {
        if self.sent_before {
            self.again();
        } else {
            self.over(End::Declined);
        }
    }

    fn again(&mut self) {
        self.over(End::Again { closed: false });
    }

    fn unexpected<T>(&self, what: &str) -> Held<T> {
        let what = format!("{:?}: {what}", self.state);
        Err(Violation::new(Rule::Session, what))
    }

    fn reply(&mut self, lines: &[String]) -> Held {
        let last = lines.last().map(String::as_str).unwrap_or_default();
        let Some(code) = last.get(..3).and_then(|code| code.parse::<u16>().ok()) else {
            return self.unexpected(last);
        };
        if code == 421 {
            return self.closed();
        }
        match (self.state, code) {
            (State::Greeting, 220) => {
                let verb = if self.message.lmtp { "LHLO" } else { "EHLO" };
                self.say(&format!("{verb} {}", self.message.name));
                self.state = State::Ehlo;
            }
            (State::Ehlo, 250) => {
                let offered = |line: &String| line.get(4..) == Some("CHECKPOINT");
                if !lines.iter().any(offered) {
                    return self.unexpected("CHECKPOINT is not offered");
                }
                self.mail();
            }
            (State::Reset, 250) => self.mail(),
            (State::Mail, 250) => {
                self.memory.mails += 1;
                self.memory.replies.clear();
                self.envelope(0);
            }
            (State::Mail, 355) => return self.restart(&lines[0]),
            (State::Mail, 400..=499 | 503) => self.again(),

            (State::Envelope, _) => return self.envelope_reply(code),
            (State::Body, 250) => self.next_chunk(),
            (State::Body, 451 | 503) | (State::Final, 503) => self.again(),
            (State::Final, 200..=299 | 400..=599) => self.final_reply(code),
            (State::Quit, 221) => self.state = State::Over,
            _ => return self.unexpected(last),
        }
        Ok(())
    }

    fn closed(&mut self) -> Held {
        if self.state == State::Final && self.mutant == Some(Mutant::TransIdSpentBy421) {
            self.memory = Memory {
                over: self.memory.over + 1,
                ..Memory::default()
            };
            if self.remember() {
                self.over(End::StartOver);
            }
            return Ok(());
        }
        self.over(End::Again { closed: true });
        Ok(())
    }

    fn restart(&mut self, line: &str) -> Held {
        let text = line.get(4..).unwrap_or_default();
        let digits = text.split([' ', '\t']).next().unwrap_or_default();
        let Ok(offset) = digits.parse::<u64>() else {
            return self.unexpected(line);
        };
        self.offset = Some(offset);
        if !self.memory.sent {
            // CP-31: somebody else's, or what a crash of ours left.
            self.surprises += 1;
            if self.surprises > 1 || self.message.grouped {
                if self.mutant != Some(Mutant::DataBeforeMark) {
                    self.again();
                    return Ok(());
                }
                // It is sure that nothing was sent under this TRANSID.
                self.memory = Memory {
                    over: self.memory.over + 1,
                    ..Memory::default()
                };
                if self.remember() {
                    self.over(End::StartOver);
                }
                return Ok(());
            }
            self.state = State::Reset;
            self.say("RSET");
            return Ok(());
        }
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(before) = self.content.get(..from) else {
            return self.unexpected("an offset beyond the message");
        };
        let is_line_start = before.is_empty() || before.ends_with(b"\r\n");
        if self.message.how == How::Data && !is_line_start {
            return self.unexpected("an offset that is no line start");
        }
        self.envelope(from);
        Ok(())
    }

    fn final_reply(&mut self, code: u16) {
        self.finals.push(code);
        let owed = if self.message.lmtp {
            self.accepted.len()
        } else {
            1
        };
        if self.finals.len() < owed {
            return;
        }
        let told = Told {
            codes: self.finals.clone(),
            accepted: self.accepted.clone(),
        };
        self.memory.told = Some(told.clone());
        if self.remember() {
            self.end = Some(End::Decided(told));
            self.say("QUIT");
            self.state = State::Quit;
        }
    }

    fn remember(&mut self) -> bool {
        let stored = self.journal.store(self.memory.clone());
        if !stored {
            self.over(End::Crashed);
        }
        stored
    }

    /// CP-36: the mark is durable before the first octet of a data command.
    fn mark(&mut self) -> bool {
        self.memory.sent = true;
        self.mutant == Some(Mutant::DataBeforeMark) || self.remember()
    }

    fn mail(&mut self) {
        self.state = State::Mail;
        let transid = super::caller::transid(&self.message, self.memory.over);
        let transid = transid.unwrap_or_default();
        self.say(&format!("{} TRANSID={transid}", self.message.mail()));
        if self.message.grouped {
            let message = Rc::clone(&self.message);
            for recipient in &message.recipients {
                self.say(&format!("RCPT TO:<{recipient}>"));
            }
            (self.written, self.due) = (message.recipients.len(), message.recipients.len());
        }
    }

    fn envelope(&mut self, from: usize) {
        self.from = from;
        self.chunk = from;
        self.state = State::Envelope;
        let count = self.message.recipients.len();
        let resumed = self.offset.is_some() && self.memory.sent && self.surprises == 0;
        let held = self.memory.replies.len() == count;
        let once = self.memory.mails == 1 || self.mutant == Some(Mutant::RecipientsLeftOut);
        if self.message.terse && resumed && once && held && !self.message.grouped {
            self.written = count;
            let replies = self.memory.replies.iter().enumerate();
            let accepted = replies.filter(|(_, code)| **code / 100 == 2);
            self.accepted = accepted.map(|(index, _)| index).collect();
        }
        self.proceed();
    }

    fn proceed(&mut self) {
        let count = self.message.recipients.len();
        while self.written < count && (self.message.pipelining || self.due == 0) {
            let line = format!("RCPT TO:<{}>", self.message.recipients[self.written]);
            self.say(&line);
            self.written += 1;
            self.due += 1;
        }
        if self.due > 0 && !self.message.pipelining || self.written < count {
            return;
        }
        if self.message.how == How::Data && !self.data_written {
            if self.mark() {
                self.data_written = true;
                self.say("DATA");
                self.due += 1;
            }
        } else if self.due == 0 && self.accepted.is_empty() {
            self.declined();
        } else if self.due == 0 && self.mark() {
            self.state = State::Body;
            self.next_chunk();
        }
    }

    fn envelope_reply(&mut self, code: u16) -> Held {
        self.due = self.due.saturating_sub(1);
        let recipients = self.message.recipients.len();
        let is_data = self.data_written && self.due == 0;
        if !is_data {
            if self.memory.replies.len() == recipients {
                self.memory.replies.clear();
            }
            if code / 100 == 2 {
                self.accepted.push(self.memory.replies.len());
            }
            self.memory.replies.push(code);
            self.proceed();
            return Ok(());
        }
        match code {
            354 => {
                let body = self.stuffed();
                self.output.extend(body);
                self.state = State::Final;
            }
            400..=599 if self.accepted.is_empty() => self.declined(),
            400..=599 => self.again(),
            _ => return self.unexpected(&format!("{code} to DATA")),
        }
        Ok(())
    }

    /// The naive way to write what is left.
    fn stuffed(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        let content = self.content.get(self.from..).unwrap_or_default();
        for line in content.split_inclusive(|octet| *octet == b'\n') {
            if line.starts_with(b".") {
                wire.push(b'.');
            }
            wire.extend_from_slice(line);
        }
        wire.extend_from_slice(b".\r\n");
        wire
    }

    /// One chunk at a time, each after the reply to the one before.
    fn next_chunk(&mut self) {
        let size = match self.message.how {
            How::Bdat(size) => size,
            How::Data => usize::MAX,
        };
        let end = self.content.len().min(self.chunk.saturating_add(size));
        let last = end == self.content.len();
        let chunk = self.content.get(self.chunk..end).unwrap_or_default();
        let word = if last { " LAST" } else { "" };
        let mut wire = format!("BDAT {}{word}\r\n", chunk.len()).into_bytes();
        wire.extend_from_slice(chunk);
        self.output.extend(wire);
        self.chunk = end;
        if last {
            self.state = State::Final;
        }
    }
}

impl Client for Simple {
    fn input(&mut self, now: Timestamp, octets: &[u8]) -> Held {
        self.since = now;
        self.input.extend_from_slice(octets);
        while let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
            let line: Vec<u8> = self.input.drain(..end + 2).collect();
            if self.state == State::Over {
                return Ok(());
            }
            let more = line.get(3) == Some(&b'-');
            let Ok(line) = String::from_utf8(line[..end].to_vec()) else {
                return self.unexpected(&shown(&line));
            };
            self.lines.push(line);
            if !more {
                let lines = std::mem::take(&mut self.lines);
                self.reply(&lines)?;
            }
        }
        Ok(())
    }

    fn output(&mut self, now: Timestamp, most: usize) -> Held<Vec<u8>> {
        let count = self.output.len().min(most);
        if count > 0 {
            self.since = now;
        }
        Ok(self.output.drain(..count).collect())
    }

    fn lost(&mut self, _now: Timestamp) -> Held {
        if self.end.is_none() {
            self.end = Some(End::Again { closed: false });
        }
        self.state = State::Over;
        self.output.clear();
        Ok(())
    }

    fn deadline(&self) -> Option<Timestamp> {
        (self.state != State::Over).then_some(self.since + PATIENCE)
    }

    fn tick(&mut self, now: Timestamp) -> Held {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.lost(now)?;
        }
        Ok(())
    }

    fn end(&self) -> Option<End> {
        self.end.clone()
    }

    fn offset(&self) -> Option<u64> {
        self.offset
    }

    fn is_over(&self) -> bool {
        self.state == State::Over
    }
}
