//! The client session: a server that says anything, and a caller who does what it likes.
//!
//! What is read is what the server sends. An octet 254 cuts the connection; what follows comes on
//! a new one, on which the transaction that the client stored goes on. The first choice picks the
//! settings and the message. RDLV is asked for where it is offered, and each 120 answered in another
//! way.
//!
//! What is promised:
//!
//! * the same events and output however the input is split, as long as the caller does the same
//!   at the same octets;
//! * whatever happens: no panic, whole command lines, content exactly that of the message from
//!   the offset on, one outcome, and none that decides without an end of data that has left;
//! * what is to be stored is readable, and never knows of less than what has left;
//! * memory within a bound that does not depend on the input, and an end once the connection has.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Content, Outcome, Sent, UnfinishedTransaction};
use smtp_checkpoint::client::{
    ChallengeAnswer, ChoiceError, ChoiceQuestion, ClientConfig, ClientSession, Connection, Event,
    NoRdlv, Protocol, RdlvRequest, StoreQuestion, TlsOutcome, TlsPolicy,
};
use smtp_checkpoint::command::{MailLine, RcptLine};
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::rdlv::{Choice, DetachOffer, Policy, Then};
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

use super::input::{self, Choices};
use super::memory;

pub fn check(data: &[u8]) {
    let (octets, mut choices) = input::parse(data);
    let pick = choices.next();
    let connections: Vec<&[u8]> = octets.split(|octet| *octet == 0xfe).take(8).collect();
    splits(&connections, pick, &choices);
    anything(&connections, pick, choices);
}

const MESSAGES: [&[u8]; 4] = [
    b"Subject: x\r\n\r\n.dots\r\n..\r\nand more\r\n",
    b"",
    b".\r\nno end of the last line",
    b"one\r\ntwo\r\nthree\r\nfour\r\nfive\r\nsix\r\nseven\r\neight\r\nnine\r\n",
];

fn config(pick: u8) -> Arc<ClientConfig> {
    let limits = Limits {
        reply_line: 512,
        reply_lines: 32,
        reply_octets: 2048,
        output: 256,
        ..Limits::default()
    };
    let tls = if pick & 4 == 0 {
        TlsPolicy::IfOffered
    } else {
        TlsPolicy::Never
    };
    let builder = ClientConfig::builder("c.example", tls)
        .protocol(if pick & 1 == 0 {
            Protocol::Smtp
        } else {
            Protocol::Lmtp
        })
        .pipelining(pick & 2 == 0)
        .auth_in_clear(true)
        .rdlv(request(pick))
        .chunk_size(if pick & 8 == 0 { 64 } else { 3 })
        .limits(limits);
    Arc::new(builder.build().expect("settings that fit"))
}

fn request(pick: u8) -> RdlvRequest {
    let mut request = RdlvRequest::new(60);
    request.settings.reset_aborts = pick & 16 == 0;
    if pick & 8 != 0 {
        request.settings.detach = DetachOffer::Tolerant;
    }
    if pick & 64 != 0 {
        let then = if pick & 128 == 0 {
            Then::Detach
        } else {
            Then::Abort
        };
        let carry_on_for = Duration::from_secs(60);
        request.policy = Some(Policy { carry_on_for, then });
    }
    request
}

fn message(pick: u8) -> &'static [u8] {
    MESSAGES[usize::from(pick >> 6)]
}

fn transaction(pick: u8) -> UnfinishedTransaction {
    let line = |line: &'static [u8]| MailLine::parse(line).expect("a MAIL");
    let rcpt = |line: &'static [u8]| RcptLine::parse(line).expect("an RCPT");
    let content = Content::measure(message(pick));
    let mut builder = UnfinishedTransaction::builder(line(b"MAIL FROM:<a@b.example>"), content, 0)
        .recipient(rcpt(b"RCPT TO:<c@d.example>"))
        .recipient(rcpt(b"RCPT TO:<e@f.example>"));
    if pick & 16 == 0 {
        builder = builder.transid(TransId::parse(b"<x@y>").expect("an identifier"));
    }
    if pick & 32 != 0 {
        builder = builder.bdat();
    }
    if pick & 1 != 0 {
        builder = builder.lmtp();
    }
    builder.build().expect("a transaction")
}

/// The same run octet by octet, whole between the octets at which something happens, and in pieces.
fn splits(connections: &[&[u8]], pick: u8, choices: &Choices<'_>) {
    let config = config(pick);
    let mut transactions = [transaction(pick), transaction(pick), transaction(pick)];
    let mut cuts = choices.clone();
    for wire in connections {
        let [one, two, three] = &mut transactions;
        let single = Driver::new(&config, one, message(pick)).run(input::octets(wire));
        let mut parts = Vec::new();
        let mut start = 0;
        for stop in single.stops.iter().copied().chain([wire.len()]) {
            parts.push(&wire[start..stop]);
            start = stop;
        }
        let pieces = parts.iter().flat_map(|part| cuts.pieces(part)).collect();
        let whole = Driver::new(&config, two, message(pick)).run(parts);
        let pieces = Driver::new(&config, three, message(pick)).run(pieces);
        assert_eq!(whole.trace, single.trace, "whole against octet by octet");
        assert_eq!(
            pieces.trace, single.trace,
            "in pieces against octet by octet"
        );
        assert_eq!(whole.wire, single.wire);
        assert_eq!(pieces.wire, single.wire);
    }
}

/// One run in which the choices decide everything.
fn anything(connections: &[&[u8]], pick: u8, mut choices: Choices<'_>) {
    const MEMORY: u64 = 64 * 1024;

    let config = config(pick);
    let mut transaction = transaction(pick);
    for wire in connections {
        let before = memory::in_use();
        let driver = Driver::new(&config, &mut transaction, message(pick));
        let run = driver.run_freely(wire, &mut choices, before);
        assert!(
            run.most_memory <= MEMORY,
            "{} octets of memory",
            run.most_memory
        );
    }
}

/// What came of a connection.
#[derive(Debug, Default)]
struct Run {
    trace: Vec<String>,
    stops: Vec<usize>,
    wire: Vec<u8>,
    most_memory: u64,
}

struct Driver<'d> {
    session: ClientSession,
    transaction: &'d mut UnfinishedTransaction,
    message: &'static [u8],
    now: Timestamp,
    /// The next octet of the message that is wanted.
    at: usize,
    sends: u32,
    outcomes: u32,
    decided: bool,
    tls: bool,
    in_flight: usize,
    open: Vec<StoreQuestion>,
    asked: Vec<ChoiceQuestion>,
    /// Answers to 120s so far.
    chosen: usize,
    /// 520: what was sent before was not taken.
    voided: bool,
    /// The message is left to the server.
    detached: bool,
    run: Run,
}

impl<'d> Driver<'d> {
    fn new(
        config: &Arc<ClientConfig>,
        transaction: &'d mut UnfinishedTransaction,
        message: &'static [u8],
    ) -> Self {
        let now = Timestamp::ORIGIN;
        Self {
            session: ClientSession::connected(Arc::clone(config), Connection::default(), now),
            transaction,
            message,
            now,
            at: 0,
            sends: 0,
            outcomes: 0,
            decided: false,
            tls: false,
            in_flight: 0,
            open: Vec::new(),
            asked: Vec::new(),
            chosen: 0,
            voided: false,
            detached: false,
            run: Run::default(),
        }
    }

    fn run(mut self, pieces: Vec<&[u8]>) -> Run {
        let mut fed = 0;
        self.settle();
        for piece in pieces {
            let before = (self.run.trace.len(), self.run.wire.len());
            let mut input = Bytes::copy_from_slice(piece);
            self.session.handle_input(self.now, &mut input);
            fed += piece.len();
            self.settle();
            if before != (self.run.trace.len(), self.run.wire.len()) {
                self.run.stops.push(fed);
            }
        }
        self.session.handle_eof(self.now);
        self.settle();
        self.over();
        self.run
    }

    /// Until nothing happens any more.
    fn settle(&mut self) {
        loop {
            let mut moved = self.transmit(usize::MAX);
            while let Some(event) = self.session.poll_event() {
                moved = true;
                self.run.trace.push(format!("{event:?}"));
                self.event(event);
            }
            moved |= self.content(usize::MAX);
            while let Some(question) = self.open.pop() {
                moved = true;
                self.session
                    .stored(self.now, question)
                    .expect("a question of its own");
            }
            moved |= self.choose();
            if !moved {
                return;
            }
        }
    }

    /// Answers the 120 that is open, each time in another way.
    fn choose(&mut self) -> bool {
        let Some(question) = self.asked.pop() else {
            return false;
        };
        let choice = [Choice::CarryOn, Choice::Detach, Choice::Abort][self.chosen % 3];
        self.chosen += 1;
        match self.session.choose(self.now, question, choice) {
            Ok(_) => {}
            Err(ChoiceError::NoDetach(question)) => self.asked.push(question),
            Err(error) => panic!("a question of its own: {error}"),
        }
        true
    }

    fn run_freely(mut self, wire: &[u8], choices: &mut Choices<'_>, memory_before: u64) -> Run {
        let mut rest = wire;
        let mut left = 2 * wire.len() + 64;
        while !rest.is_empty() && !self.session.is_finished() && left > 0 {
            left -= 1;
            match choices.below(24) {
                1 => {
                    self.transmit(usize::from(choices.next()));
                }
                2 => {
                    if let Some(event) = self.session.poll_event() {
                        self.event(event);
                    }
                }
                3 => {
                    self.content(usize::from(choices.next()));
                }
                4 => {
                    if !self.open.is_empty() {
                        let at = usize::from(choices.next()) % self.open.len();
                        let question = self.open.swap_remove(at);
                        let _ = self.session.stored(self.now, question);
                    }
                }
                5 => {
                    if let Some(deadline) = self.session.poll_timeout() {
                        self.now = self.now.max(deadline);
                        self.session.handle_timeout(self.now);
                    }
                }
                6 => self.session.handle_eof(self.now),
                7 => self.session.abandon(self.now),
                8 => {
                    let _ = self.session.quit(self.now);
                }
                9 => {
                    let _ = self.session.outcome_stored(self.now);
                }
                10 => {
                    // A caller that gives what was not asked for.
                    let _ = self.session.finish_content(self.now);
                }
                11 => {
                    let many = self.in_flight + self.session.output().len() + 1;
                    let told = self.session.transmitted(self.now, many);
                    assert!(told.is_err() || self.session.is_finished());
                }
                12 => {
                    let _ = self
                        .session
                        .authenticate(self.now, "PLAIN", Some(b"\0a\0b"), "a");
                }
                14 => {
                    self.choose();
                }
                13 => {
                    let mut input = Bytes::copy_from_slice(choices.piece(&mut rest));
                    self.session.handle_input(self.now, &mut input);
                }
                _ => {
                    self.settle();
                    let mut input = Bytes::copy_from_slice(choices.piece(&mut rest));
                    self.session.handle_input(self.now, &mut input);
                }
            }
            self.run.trace.clear();
            let own = self.run.wire.capacity() + 4096 * (1 + self.open.len());
            let used = memory::in_use().saturating_sub(memory_before + own as u64);
            self.run.most_memory = self.run.most_memory.max(used);
        }
        self.session.handle_eof(self.now);
        for _ in 0..8 {
            self.settle();
            if let Some(deadline) = self.session.poll_timeout() {
                self.now = self.now.max(deadline);
                self.session.handle_timeout(self.now);
            }
        }
        self.over();
        self.run
    }

    fn over(&mut self) {
        assert!(self.session.is_finished(), "not over: {:?}", self.session);
        assert_eq!(
            self.outcomes, self.sends,
            "one outcome for each transaction that was sent"
        );
        assert!(self.session.poll_event().is_none());
        assert!(!self.detached || self.run.wire.ends_with(b"DETA\r\n"));
        // Lines are whole lines; content and chunks are looked at elsewhere.
        let first = self
            .run
            .wire
            .split(|octet| *octet == b'\n')
            .next()
            .unwrap_or_default();
        assert!(
            first.is_empty()
                || first.starts_with(b"EHLO c.example")
                || first.starts_with(b"LHLO c.example")
                || first.starts_with(b"QUIT")
                || b"EHLO c.example".starts_with(first)
                || b"LHLO c.example".starts_with(first)
                || b"QUIT".starts_with(first),
            "{first:?}"
        );
    }

    fn transmit(&mut self, most: usize) -> bool {
        if let Some(octets) = self.session.take_output() {
            self.run.wire.extend_from_slice(&octets);
            self.in_flight += octets.len();
        }
        let part = self.in_flight.min(most);
        if part == 0 {
            return false;
        }
        let told = self.session.transmitted(self.now, part);
        self.in_flight = if told.is_ok() {
            self.in_flight - part
        } else {
            0
        };
        true
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Ready if self.sends == 0 && !self.decided => {
                if self.session.send(self.now, self.transaction).is_ok() {
                    self.sends += 1;
                } else {
                    let _ = self.session.quit(self.now);
                }
            }
            Event::Ready => {
                let _ = self.session.quit(self.now);
            }
            Event::TlsHandover => {
                self.tls = true;
                let _ = self.session.handle_tls(self.now, TlsOutcome::Established);
            }
            Event::AuthChallenge(question) => {
                let answer = ChallengeAnswer::Response(Bytes::from_static(b"secret"));
                let _ = self.session.answer_challenge(self.now, question, answer);
            }
            Event::Store(question) => {
                self.keep(question.transaction());
                self.open.push(question);
            }
            Event::SendContent { start, lookbehind } => {
                assert!(lookbehind <= 2);
                self.at = usize::try_from(start.get()).expect("an offset within the message");
                let size = self.message.len() + 2;
                assert!(self.at <= size, "content from {} of {size}", self.at);
            }
            Event::StillDeciding(question) => self.asked.push(question),
            Event::NoRdlv(NoRdlv::NotPossible(_)) => self.voided = true,
            Event::Recipient { index, .. } => assert!(index < 2),
            Event::Done(outcome) => self.done(outcome),
            Event::Finished(_) => assert!(self.session.is_finished()),
            _ => {}
        }
    }

    /// Stored, and read back.
    fn keep(&mut self, transaction: &UnfinishedTransaction) {
        let stored = UnfinishedTransaction::decode(&transaction.encode());
        *self.transaction = stored.expect("a transaction that was encoded");
        assert_eq!(self.transaction, transaction);
    }

    /// Whether an end of data has left, as far as the octets tell.
    fn has_ended(&self) -> bool {
        let has = |what: &[u8]| {
            self.run
                .wire
                .windows(what.len())
                .any(|octets| octets == what)
        };
        (has(b"DATA\r\n") && (has(b"\r\n.\r\n"))) || has(b" LAST\r\n")
    }

    fn done(&mut self, outcome: Outcome) {
        self.outcomes += 1;
        assert!(self.outcomes <= self.sends, "an outcome of nothing");
        match outcome.transaction() {
            None => {
                self.decided = true;
                self.detached = matches!(outcome, Outcome::Detached { .. });
                assert!(
                    self.has_ended(),
                    "{outcome:?}: {}",
                    self.run.wire.escape_ascii()
                );
            }
            Some(transaction) => {
                let lone = matches!(
                    outcome,
                    Outcome::NoRecipients { .. } | Outcome::Declined { .. }
                );
                let known = transaction.sent() == Sent::EndOfData || lone;
                let unknown = matches!(outcome, Outcome::Unknown { .. });
                assert!(
                    known || unknown || self.voided || !self.has_ended(),
                    "{outcome:?}: {}",
                    self.run.wire.escape_ascii()
                );
                self.decided |= unknown;
                self.keep(&transaction.clone());
            }
        }
        let _ = self.session.outcome_stored(self.now);
    }

    /// Gives content while it is wanted, at most so many octets.
    fn content(&mut self, mut most: usize) -> bool {
        let mut moved = false;
        while self.session.wants_content() && most > 0 {
            moved = true;
            let end = self.message.len().min(self.at.saturating_add(most));
            let mut piece = self.message.get(self.at..end).unwrap_or_default();
            let length = piece.len();
            let given = if piece.is_empty() {
                most = 0;
                self.session.finish_content(self.now)
            } else {
                self.session.send_content(self.now, &mut piece)
            };
            if given.is_err() {
                break;
            }
            let taken = length - piece.len();
            self.at += taken;
            most = most.saturating_sub(taken.max(1));
        }
        moved
    }
}
