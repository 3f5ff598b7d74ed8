//! The library's client.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Cause, Content, NextStep, Outcome, RestartPolicy, Sent, Stage, UnfinishedTransaction,
};
use smtp_checkpoint::client::{
    ChoiceQuestion, ClientConfig, ClientSession, Connection, Event, Protocol, RdlvRequest,
    RecipientVerdict, StoreQuestion, TlsPolicy,
};
use smtp_checkpoint::command::{MailLine, RcptLine};
use smtp_checkpoint::dot::FaultPolicy;
use smtp_checkpoint::error::PeerError;
use smtp_checkpoint::rdlv::Choice;
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

use super::caller::transid;
use super::{Client, End, Journal, Told};
use crate::alter;
use crate::message::{How, Message};
use crate::mutant::Mutant;
use crate::violation::{Held, Rule, Violation};

/// What it has on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    /// A transaction, and how often the message has begun anew under another TRANSID.
    Open(Vec<u8>, u32),
    /// The outcome.
    Told(Told),
    Unknown,
    Declined,
    /// For these recipients.
    Detached(Vec<usize>),
    Aborted,
}

/// The wall clock when the first transaction begins, in seconds.
pub(crate) const BEGINNING: u64 = 1_700_000_000;

/// One attempt.
#[derive(Debug)]
pub(crate) struct Library {
    message: Rc<Message>,
    pub(super) journal: Journal<Kept>,
    mutant: Option<Mutant>,
    session: ClientSession,
    input: Bytes,
    seen: Vec<u8>,
    given: usize,
    pub(super) piece: usize,
    /// Seconds of the wall clock.
    wall: u64,
    offset: Option<u64>,
    /// 120s so far.
    interims: u32,
    accepted: Vec<usize>,
    end: Option<End>,
    over: bool,
}

fn wrong<T>(what: impl std::fmt::Display) -> Held<T> {
    Err(Violation::new(Rule::Session, what.to_string()))
}

fn fits<T, E: std::fmt::Display>(result: Result<T, E>) -> Held<T> {
    result.map_err(|error| Violation::new(Rule::Session, error.to_string()))
}

fn name(message: &Message, over: u32) -> Held<Option<TransId>> {
    let name = transid(message, over);
    name.map(|name| fits(TransId::parse(name.as_bytes())))
        .transpose()
}

/// What is on disk before the first attempt.
pub(super) fn first(message: &Message, wall: u64) -> Held<Kept> {
    let mail = fits(MailLine::parse(Bytes::from(message.mail())))?;
    let content = Content::measure(&message.content);
    let mut builder = UnfinishedTransaction::builder(mail, content, wall);
    if let Some(name) = name(message, 0)? {
        builder = builder.transid(name);
    }
    for recipient in &message.recipients {
        let line = Bytes::from(message.rcpt(recipient));
        builder = builder.recipient(fits(RcptLine::parse(line))?);
    }
    if message.lmtp {
        builder = builder.lmtp();
    }
    if matches!(message.how, How::Bdat(_)) {
        builder = builder.bdat();
    }
    Ok(Kept::Open(fits(builder.build())?.encode(), 0))
}

impl Library {
    pub(super) fn new(
        message: Rc<Message>,
        journal: Journal<Kept>,
        piece: usize,
        mutant: Option<Mutant>,
        connection: Connection,
        (now, wall): (Timestamp, u64),
    ) -> Held<Self> {
        let mut config = ClientConfig::builder(&message.name, TlsPolicy::Never)
            .pipelining(message.pipelining)
            .faults(FaultPolicy::KEEP_ALL);
        if message.lmtp {
            config = config.protocol(Protocol::Lmtp);
        }
        if let How::Bdat(size) = message.how {
            config = config.chunk_size(size);
        }
        if let Some(wish) = message.wish {
            let mut request = RdlvRequest::new(wish.maxtimer);
            request.settings.reset_aborts = wish.reset_aborts;
            config = config.rdlv(request);
        }
        let config = Arc::new(fits(config.build())?);
        Ok(Self {
            message,
            journal,
            mutant,
            session: ClientSession::connected(config, connection, now),
            input: Bytes::new(),
            seen: Vec::new(),
            given: 0,
            piece,
            wall,
            offset: None,
            interims: 0,
            accepted: Vec::new(),
            end: None,
            over: false,
        })
    }

    fn keep(&mut self, kept: Kept) -> bool {
        let stored = self.journal.store(kept);
        if !stored {
            self.end = Some(End::Crashed);
            self.over = true;
        }
        stored
    }

    fn drive(&mut self, now: Timestamp) -> Held {
        while !self.over {
            if let Some(event) = self.session.poll_event() {
                self.event(now, event)?;
            } else if self.session.wants_content() {
                self.give(now)?;
            } else {
                return Ok(());
            }
        }
        Ok(())
    }

    fn give(&mut self, now: Timestamp) -> Held {
        let rest = self.message.content.get(self.given..).unwrap_or_default();
        if rest.is_empty() {
            return fits(self.session.finish_content(now));
        }
        let mut piece = &rest[..rest.len().min(self.piece)];
        let before = piece.len();
        fits(self.session.send_content(now, &mut piece))?;
        let taken = before - piece.len();
        if taken == 0 && before == rest.len().min(self.piece) {
            // It wants to see more at once.
            if self.piece >= 4 {
                return wrong("no content is taken");
            }
            self.piece = 4;
        }
        self.given += taken;
        Ok(())
    }

    /// The transaction on disk, and how often the message has begun anew.
    fn stored(&self) -> Held<Option<(UnfinishedTransaction, u32)>> {
        let Kept::Open(octets, over) = &self.journal.durable else {
            return Ok(None);
        };
        Ok(Some((fits(UnfinishedTransaction::decode(octets))?, *over)))
    }

    fn event(&mut self, now: Timestamp, event: Event) -> Held {
        match event {
            Event::Ready if self.end.is_some() => fits(self.session.quit(now))?,
            Event::Ready => self.send(now)?,
            Event::Store(question) => self.store(now, question)?,
            Event::SendContent { start, lookbehind } => {
                let offset = self.offset.unwrap_or(0);
                if lookbehind > 2 || start.get() + u64::from(lookbehind) != offset {
                    return wrong(format!("content from {start} on for the offset {offset}"));
                }
                self.given = usize::try_from(start.get()).unwrap_or(usize::MAX);
            }
            Event::Recipient { index, verdict, .. } => {
                if verdict == RecipientVerdict::Accepted {
                    self.accepted.push(index);
                }
            }
            Event::Done(outcome) => self.done(now, &outcome)?,
            Event::Finished(_) => {
                self.over = true;
                self.end.get_or_insert(End::Again { closed: false });
            }
            Event::StillDeciding(question) => self.choose(now, question)?,
            Event::NoRdlv(_) | Event::ChoiceDue => {}
            Event::PeerFault(PeerError::ConnectionLost | PeerError::TimedOut)
            | Event::FinalReply { .. }
            | Event::Rejected(_)
            | Event::StopContent => {}
            other => return wrong(format!("{other:?}")),
        }
        Ok(())
    }

    fn send(&mut self, now: Timestamp) -> Held {
        let Some((mut transaction, over)) = self.stored()? else {
            return wrong("nothing to send");
        };
        let content = Content::measure(&self.message.content);
        match transaction.next_step(self.wall, &RestartPolicy::default(), &content) {
            NextStep::Send => {}
            NextStep::StartOver => {
                self.start_over(&transaction, over)?;
                return fits(self.session.quit(now));
            }
            NextStep::Unknown => {
                if self.keep(Kept::Unknown) {
                    self.end = Some(End::Unknown);
                    fits(self.session.quit(now))?;
                }
                return Ok(());
            }
        }
        if self.mutant == Some(Mutant::RecipientsLeftOut) {
            transaction = alter::answered_once(&transaction).unwrap_or(transaction);
        }
        fits(self.session.send(now, &transaction))
    }

    fn store(&mut self, now: Timestamp, question: StoreQuestion) -> Held {
        let Some((before, over)) = self.stored()? else {
            return wrong("the outcome is stored already");
        };
        let transaction = question.transaction();
        let marks = before.sent() == Sent::Nothing && transaction.sent() > Sent::Nothing;
        let unstored = marks && self.mutant == Some(Mutant::DataBeforeMark);
        let kept = unstored || self.keep(Kept::Open(transaction.encode(), over));
        if kept {
            // Stale where the attempt is over already: what came of it comes next.
            let _ = fits(self.session.stored(now, question))?;
        }
        Ok(())
    }

    fn choose(&mut self, now: Timestamp, question: ChoiceQuestion) -> Held {
        let Some(wish) = self.message.wish else {
            return wrong("a 120 that nobody asked for");
        };
        if question.reply().code().get() == 120 {
            self.interims += 1;
        }
        let refused = question.reply().code().get() != 120;
        // Without a record a server may have nothing to do it with.
        let waits = refused && self.message.transid.is_none();
        let choice = if self.interims <= wish.carries_on || waits {
            Choice::CarryOn
        } else if !wish.detaches {
            Choice::Abort
        } else if question.can_detach() {
            Choice::Detach
        } else {
            Choice::CarryOn
        };
        fits(self.session.choose(now, question, choice))?;
        Ok(())
    }

    fn start_over(&mut self, transaction: &UnfinishedTransaction, over: u32) -> Held {
        let over = over + 1;
        let name = name(&self.message, over)?;
        let content = transaction.content().clone();
        let fresh = transaction.start_over(name, content, self.wall);
        if self.keep(Kept::Open(fresh.encode(), over)) {
            self.end = Some(End::StartOver);
        }
        Ok(())
    }

    fn done(&mut self, now: Timestamp, outcome: &Outcome) -> Held {
        let Some((_, over)) = self.stored()? else {
            return wrong("the outcome is stored already");
        };
        let code = |reply: &smtp_checkpoint::reply::Reply| reply.code().get();
        let told = |codes| Told {
            codes,
            accepted: self.accepted.clone(),
        };
        let decided = match outcome {
            Outcome::Delivered { reply }
            | Outcome::Deferred { reply }
            | Outcome::Refused { reply } => Some(told(vec![code(reply)])),
            Outcome::PerRecipient { replies } => {
                Some(told(replies.iter().map(|(_, reply)| code(reply)).collect()))
            }
            _ => None,
        };
        let assumes = self.mutant == Some(Mutant::DetachAssumed);
        let left = match outcome {
            Outcome::Detached { .. } => true,
            Outcome::Interrupted {
                cause: Cause::DetachUnanswered,
                ..
            } => assumes,
            _ => false,
        };
        if left {
            if self.keep(Kept::Detached(self.accepted.clone())) {
                self.end = Some(End::Detached(self.accepted.clone()));
            }
        } else if let Outcome::Aborted { .. } = outcome {
            if self.keep(Kept::Aborted) {
                self.end = Some(End::Aborted);
            }
        } else if let Some(told) = decided {
            if self.keep(Kept::Told(told.clone())) {
                self.end = Some(End::Decided(told));
            }
        } else if let Some(transaction) = outcome.transaction() {
            let spent = self.mutant == Some(Mutant::TransIdSpentBy421);
            let sent_all = transaction.sent() == Sent::EndOfData;
            match outcome {
                Outcome::StartOver { .. } => self.start_over(transaction, over)?,
                Outcome::Interrupted {
                    cause: Cause::Closed(_),
                    ..
                } if spent && sent_all => self.start_over(transaction, over)?,
                Outcome::Unknown {
                    cause: Cause::AbortUnanswered | Cause::Answered(Stage::Reset, _),
                    ..
                } if self.message.wish.is_some_and(|wish| wish.insists) => {
                    if self.keep(Kept::Open(transaction.encode(), over)) {
                        self.end = Some(End::Again { closed: false });
                    }
                }
                Outcome::Unknown { .. } => {
                    if self.keep(Kept::Unknown) {
                        self.end = Some(End::Unknown);
                    }
                }
                Outcome::NoRecipients { .. } => {
                    if self.keep(Kept::Declined) {
                        self.end = Some(End::Declined);
                    }
                }
                _ => {
                    let closed = matches!(
                        outcome,
                        Outcome::Interrupted {
                            cause: Cause::Closed(_),
                            ..
                        }
                    );
                    if self.keep(Kept::Open(transaction.encode(), over)) {
                        self.end = Some(End::Again { closed });
                    }
                }
            }
        }
        if !self.over {
            // Too late for a session that is over already.
            let _ = self.session.outcome_stored(now);
        }
        Ok(())
    }
}

impl Client for Library {
    fn input(&mut self, now: Timestamp, octets: &[u8]) -> Held {
        self.seen.extend_from_slice(octets);
        while let Some(end) = self.seen.windows(2).position(|pair| pair == b"\r\n") {
            let line: Vec<u8> = self.seen.drain(..end + 2).collect();
            if let Some(text) = line.strip_prefix(b"355 ") {
                let digits = text.iter().take_while(|octet| octet.is_ascii_digit());
                let digits: Vec<u8> = digits.copied().collect();
                let digits = String::from_utf8(digits).unwrap_or_default();
                self.offset = digits.parse().ok();
            }
        }
        let mut all = self.input.to_vec();
        all.extend_from_slice(octets);
        self.input = Bytes::from(all);
        self.session.handle_input(now, &mut self.input);
        self.drive(now)
    }

    fn output(&mut self, now: Timestamp, most: usize) -> Held<Vec<u8>> {
        self.drive(now)?;
        if self.over {
            return Ok(Vec::new());
        }
        let octets = if most == usize::MAX {
            let octets = self.session.take_output().unwrap_or_default();
            octets.to_vec()
        } else {
            let lent = self.session.output();
            lent[..lent.len().min(most)].to_vec()
        };
        fits(self.session.transmitted(now, octets.len()))?;
        self.drive(now)?;
        Ok(octets)
    }

    fn lost(&mut self, now: Timestamp) -> Held {
        if !self.over {
            self.session.handle_eof(now);
            self.drive(now)?;
            self.over = true;
            self.end.get_or_insert(End::Again { closed: false });
        }
        Ok(())
    }

    fn deadline(&self) -> Option<Timestamp> {
        if self.over {
            return None;
        }
        self.session.poll_timeout()
    }

    fn tick(&mut self, now: Timestamp) -> Held {
        if !self.over {
            self.session.handle_timeout(now);
            self.drive(now)?;
        }
        Ok(())
    }

    fn end(&self) -> Option<End> {
        self.end.clone()
    }

    fn offset(&self) -> Option<u64> {
        self.offset
    }

    fn interims(&self) -> u64 {
        self.interims.into()
    }

    fn is_over(&self) -> bool {
        self.over
    }
}
