//! RDLV and DETA in a session: what comes between the end of the data and the final reply.
//!
//! Layer 4, private. When a 120 is due and what may answer it is the machine's to say
//! ([`rdlv::Server`](crate::rdlv::Server)); what stands here does it. While a 120 is open the
//! phase stays `Deciding`, `Awaiting`, or `BurlAsked` where the content of the last URL is still
//! being fetched, and commands are read one at a time.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use bytes::Bytes;

use super::event::{AbandonReason, AbortQuestion, DetachQuestion, Ending, Event};
use super::queue::Queue;
use super::read::Line;
use super::state::Phase;
use super::{Asked, ServerSession};
use crate::checkpoint::{Generation, TransactionKey};
use crate::command::{Command, Rdlv};
use crate::error::PeerError;
use crate::output::Position;
use crate::protocol::Protocol;
use crate::rdlv::{
    self, CommandOutcome, DecidedOutcome, Decision, DetaOutcome, DetachAnswer, Due, Gone, Progress,
    Reading, RequestOutcome, ResetAnswer, ResetEnding, Settled, Verb, Within,
};
use crate::reply::{Reply, StaticReply, standard};
use crate::time::Timestamp;
use crate::token::Token;

/// What a session keeps of RDLV.
#[derive(Debug)]
pub(super) struct LongDecision {
    pub(super) rdlv: rdlv::Server,
    /// When the decision began, or the fetching of the last URL.
    since: Timestamp,
    /// RDLV was accepted for it.
    asked_for: bool,
    /// Where the last 120 ends in the output, until it is transmitted.
    told: Option<Position>,
    way_out: Option<WayOut>,
    result: Option<Held>,
    given: Queue<Given>,
}

/// How the client wants to leave an open 120.
#[derive(Debug)]
enum WayOut {
    /// By DETA, while the content of a URL is being fetched: asked once that is in.
    DetachWaits(Timestamp),
    /// By DETA.
    Detach(Asked),
    /// By RSET, or by the hello in this line.
    Abort(Asked, Option<Bytes>),
}

impl WayOut {
    fn since(&self) -> Timestamp {
        match self {
            Self::DetachWaits(since) => *since,
            Self::Detach(asked) | Self::Abort(asked, _) => asked.since,
        }
    }
}

/// Final replies that wait for CONT.
#[derive(Debug)]
struct Held {
    replies: Vec<Reply>,
    decision: Decision,
    finding: Finding,
}

/// Who found out what became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// The caller decided.
    Decided,
    /// The content was refused for what it is.
    ContentRefused,
    /// The content of the last URL cannot be had.
    UrlRefused,
}

/// Final replies in the output, until they are transmitted.
#[derive(Debug)]
struct Given {
    position: Position,
    claim: Option<(TransactionKey, Generation)>,
    decision: Decision,
    /// Their message was taken back by a client that had detached from it.
    takes_back: bool,
}

impl LongDecision {
    pub(super) const fn new(settings: rdlv::ServerSettings) -> Self {
        Self {
            rdlv: rdlv::Server::new(settings),
            since: Timestamp::ORIGIN,
            asked_for: false,
            told: None,
            way_out: None,
            result: None,
            given: Queue::new(),
        }
    }

    /// Whether the replies to a message that was taken back are still on their way. Until they are
    /// transmitted its claim is not let go of, so no other MAIL is read.
    pub(super) fn waits_for_taken_back(&self) -> bool {
        self.given.back().is_some_and(|given| given.takes_back)
    }

    /// The transaction is over. What is on its way to the client stays.
    fn clear(&mut self) {
        self.rdlv.clear();
        self.asked_for = false;
        self.told = None;
        self.way_out = None;
        self.result = None;
    }
}

impl ServerSession {
    // ---- RDLV, and the data command under it ----

    pub(super) fn rdlv_command(&mut self, rdlv: Rdlv) {
        if !self.in_force(self.config.offers.rdlv.is_some()) {
            return self.fault(PeerError::NotOffered, standard::NOT_IMPLEMENTED);
        }
        if !self.count_idle() {
            return;
        }
        let within = match self.phase {
            Phase::Envelope | Phase::BetweenChunks => Within::Transaction,
            _ => Within::NoTransaction,
        };
        match self.work.long.rdlv.request(rdlv, within) {
            RequestOutcome::Accepted => {
                let accepted = self.config.rdlv_accepted.clone();
                self.reply(accepted);
            }
            RequestOutcome::BelowMinimum => self.fault(PeerError::MalformedCommand, BELOW_MINIMUM),
            RequestOutcome::OutOfTurn => {
                self.fault(PeerError::BadSequence, standard::BAD_SEQUENCE);
            }
        }
    }

    /// CONT or DETA where no 120 is open.
    pub(super) fn no_progress_open(&mut self, offered: bool) {
        if self.in_force(offered) {
            self.fault(PeerError::BadSequence, standard::BAD_SEQUENCE);
        } else {
            self.fault(PeerError::NotOffered, standard::NOT_IMPLEMENTED);
        }
    }

    /// The last octet of the message is in, or the line of the last URL: from here on the client
    /// waits for the final reply.
    pub(super) fn begin_wait(&mut self) {
        // The client counts from there, however long the answer to an earlier question took.
        let came = self.work.input_came.unwrap_or(self.now);
        self.work.long.rdlv.end_of_data(came);
        self.work.long.asked_for |= self.work.long.rdlv.poll_timeout().is_some();
        self.work.long.since = self.now;
    }

    /// RDLV was accepted for the decision under way.
    pub(super) fn may_take_long(&self) -> bool {
        self.work.long.asked_for
    }

    // ---- time ----

    /// When the session stops waiting for the decision.
    fn decision_end(&self) -> Timestamp {
        let timeouts = &self.config.timeouts;
        let wait = if self.work.long.asked_for {
            timeouts.long_decision
        } else {
            timeouts.decision
        };
        let end = self.work.long.since + wait;
        self.shutdown.map_or(end, |shutdown| shutdown.min(end))
    }

    /// When something is due between the end of the data and the final reply.
    pub(super) fn decision_deadline(&self) -> Timestamp {
        let timeouts = &self.config.timeouts;
        if let Some(asked) = self.work.abandon {
            return asked.since + timeouts.abandon;
        }
        if let Some(way_out) = &self.work.long.way_out {
            let deadline = way_out.since() + timeouts.question;
            return self.shutdown.map_or(deadline, |end| end.min(deadline));
        }
        [self.work.long.rdlv.poll_timeout(), self.drain_deadline()]
            .into_iter()
            .flatten()
            .fold(self.decision_end(), Timestamp::min)
    }

    pub(super) fn decision_time_out(&mut self) {
        if self.work.abandon.is_some() {
            // Too late to stop it: any reply would promise too much.
            self.work.long.rdlv.clear();
            return self.close(None, Ending::Silent);
        }
        let down = self.shutdown.is_some_and(|shutdown| self.now >= shutdown);
        match self.work.long.way_out {
            // The client may still wait for the end of the fetching.
            Some(WayOut::DetachWaits(_)) if !down => self.detach(DetachAnswer::Failed),
            Some(_) => self.close(None, Ending::Silent),
            None if self.now >= self.decision_end() => self.decision_overdue(),
            None => self.progress_due(),
        }
    }

    fn decision_overdue(&mut self) {
        if self.work.long.result.is_some() {
            // No CONT came for it; a final reply without a command would be read as another's.
            self.close(None, Ending::Silent);
        } else if self.phase == Phase::BurlAsked {
            self.close(Some(standard::NO_ANSWER.into()), Ending::Closed);
        } else {
            self.ask_abandon(AbandonReason::TimeOver);
        }
    }

    fn progress_due(&mut self) {
        if self.drain_is_too_slow() {
            self.tell(Event::PeerFault(PeerError::TooSlow));
            // 421 would say that the message was given up, and its record goes on.
            return match self.work.transaction.generation() {
                Some(_) => self.close(None, Ending::Silent),
                None => self.close(Some(standard::IDLE_TIMEOUT.into()), Ending::Closed),
            };
        }
        let following = self.following();
        match self.work.long.rdlv.due(self.now, following) {
            Due::Nothing | Due::Suppressed => {}
            Due::Send => {
                let in_progress = self.config.in_progress.clone();
                self.write(&in_progress);
                self.work.long.told = Some(self.output.position());
            }
            Due::ClientGone(gone) => {
                self.tell(Event::PeerFault(PeerError::TimedOut));
                self.tell_gone(gone, AbandonReason::ClientGone);
                self.close(None, Ending::Silent);
            }
        }
    }

    /// Output has been transmitted: maybe a 120, or final replies.
    pub(super) fn note_transmitted(&mut self) {
        if let Some(position) = self.work.long.told {
            if self.output.has_transmitted(position) {
                self.work.long.told = None;
                self.work.long.rdlv.transmitted(self.now);
            }
        }
        while let Some(given) = self.work.long.given.front() {
            if !self.output.has_transmitted(given.position) {
                break;
            }
            if let Some(Given {
                claim: Some((key, generation)),
                takes_back: true,
                ..
            }) = self.work.long.given.pop_front()
            {
                self.tell(Event::TakenBack { key, generation });
            }
        }
    }

    // ---- what answers a 120 ----

    /// Whether an answer to a 120 may be read now.
    pub(super) fn reads_answer(&self) -> bool {
        let open = self.work.long.rdlv.reading() == Reading::One && self.work.abandon.is_none();
        open || self.work.drain.is_some()
    }

    pub(super) fn progress_is_open(&self) -> bool {
        self.work.long.rdlv.is_open()
    }

    /// Whether a 120 is open, or what answers it waits for the caller: no final reply may be given
    /// at once.
    pub(super) fn progress_is_unanswered(&self) -> bool {
        self.progress_is_open() || self.work.long.way_out.is_some()
    }

    /// A command that can be read, while a 120 is open.
    pub(super) fn answer_to_progress(&mut self, line: Line<'_>, command: &Command<'_>) {
        let verb = match command {
            // The hello of the other protocol resets nothing.
            Command::Lhlo(_) if self.config.protocol == Protocol::Smtp => Verb::Other,
            Command::Ehlo(_) | Command::Helo(_) if self.config.protocol == Protocol::Lmtp => {
                Verb::Other
            }
            command => Verb::from(command),
        };
        if verb == Verb::Deta && !self.count_idle() {
            return;
        }
        match self.work.long.rdlv.command(self.now, verb) {
            CommandOutcome::Continue => {}
            CommandOutcome::GiveHeld => self.give_held(),
            CommandOutcome::AskDetach(_) => self.ask_detach(),
            CommandOutcome::AskAbort => self.ask_abort(line, verb),
            CommandOutcome::Settled(settled) => {
                let hello = (settled.reset == rdlv::Reset::Hello).then(|| line.keep());
                self.settle(settled, hello);
            }
            CommandOutcome::Quit(gone) => {
                self.tell_gone(gone, AbandonReason::ClientGone);
                self.quit();
            }
            CommandOutcome::OutOfTurn => match command {
                // The octets of a chunk come wherever its command does.
                Command::Bdat(bdat) => {
                    let refusal = (PeerError::BadSequence, standard::BAD_SEQUENCE.into());
                    self.drain(bdat.size, refusal, 1);
                }
                _ => self.fault(PeerError::BadSequence, standard::BAD_SEQUENCE),
            },
            CommandOutcome::NotOffered => {
                self.fault(PeerError::NotOffered, standard::NOT_IMPLEMENTED);
            }
            CommandOutcome::Pass | CommandOutcome::NotNow => {
                debug_assert!(false, "no 120 is open");
            }
        }
    }

    fn claim(&self) -> Option<(TransactionKey, Generation)> {
        let generation = self.work.transaction.generation()?;
        Some((self.work.transaction.key()?.clone(), generation))
    }

    fn ask_way_out(&mut self) -> (Token, Asked) {
        let token = self.tokens.issue();
        let asked = Asked {
            number: token.number(),
            since: self.now,
        };
        (token, asked)
    }

    fn ask_detach(&mut self) {
        if self.phase == Phase::BurlAsked {
            // Only what is whole can be the server's.
            self.work.long.way_out = Some(WayOut::DetachWaits(self.now));
            return;
        }
        let (token, asked) = self.ask_way_out();
        self.work.long.way_out = Some(WayOut::Detach(asked));
        let (key, generation) = self.claim().unzip();
        let held = self
            .work
            .long
            .result
            .as_ref()
            .map(|held| held.replies.clone());
        self.tell(Event::Detach(DetachQuestion {
            token,
            key,
            generation,
            held,
        }));
    }

    /// The content that DETA had to wait for is in, or cannot be had.
    pub(super) fn ask_waiting_detach(&mut self) {
        if let Some(WayOut::DetachWaits(_)) = self.work.long.way_out {
            self.ask_detach();
        }
    }

    fn ask_abort(&mut self, line: Line<'_>, verb: Verb) {
        let hello = (verb == Verb::Hello).then(|| line.keep());
        if self.phase == Phase::BurlAsked {
            // No decision has begun.
            if let Some(settled) = self.work.long.rdlv.reset(ResetAnswer::Aborted) {
                self.settle(settled, hello);
            }
            return;
        }
        let (token, asked) = self.ask_way_out();
        self.work.long.way_out = Some(WayOut::Abort(asked, hello));
        let (key, generation) = self.claim().unzip();
        self.tell(Event::Abort(AbortQuestion {
            token,
            key,
            generation,
        }));
    }

    /// Whether a reset waits for its answer, which alone then says what became of the decision.
    pub(super) fn is_resetting(&self) -> bool {
        matches!(self.work.long.way_out, Some(WayOut::Abort(..)))
    }

    /// Takes the open question of the way out if `token` is its own.
    fn take_way_out(&mut self, token: &Token) -> Option<WayOut> {
        self.work.long.way_out.take_if(|way_out| match way_out {
            WayOut::DetachWaits(_) => false,
            WayOut::Detach(asked) | WayOut::Abort(asked, _) => asked.number == token.number(),
        })
    }

    /// The answer to [`Event::Detach`]; false where it is stale.
    pub(super) fn answer_way_out_by_detach(&mut self, token: &Token, answer: DetachAnswer) -> bool {
        let current = self.take_way_out(token).is_some();
        if current {
            self.detach(answer);
        }
        current
    }

    /// The answer to [`Event::Abort`]; false where it is stale.
    pub(super) fn answer_way_out_by_abort(&mut self, token: &Token, answer: ResetAnswer) -> bool {
        let Some(WayOut::Abort(_, hello)) = self.take_way_out(token) else {
            return false;
        };
        match self.work.long.rdlv.reset(answer) {
            Some(settled) => self.settle(settled, hello),
            None => debug_assert!(false, "a question without a reset"),
        }
        true
    }

    fn detach(&mut self, answer: DetachAnswer) {
        self.work.long.way_out = None;
        match self.work.long.rdlv.detach(self.now, answer) {
            DetaOutcome::Detached(_) => {
                self.acknowledge();
                self.end_transaction();
                let detached = self.config.detached.clone();
                self.close(Some(detached), Ending::Detached);
            }
            DetaOutcome::Refused(reply) => self.reply(reply),
            DetaOutcome::Outdated => {
                self.tell_undelivered();
                self.close(Some(standard::FENCED.into()), Ending::Closed);
            }
            DetaOutcome::Stale => debug_assert!(false, "a question without DETA"),
        }
    }

    /// A reset in answer to a 120 is answered: the transaction is over.
    fn settle(&mut self, settled: Settled, hello: Option<Bytes>) {
        self.tell_undelivered();
        if settled.ending == ResetEnding::Outdated {
            return self.close(Some(standard::FENCED.into()), Ending::Closed);
        }
        if let Some(discard) = self.work.transaction.reset() {
            self.tell(Event::Discard(discard));
        }
        self.tell(Event::TransactionEnded);
        self.end_transaction();
        let reply = settled.reply(self.work.long.rdlv.settings());
        if let Some(reply) = reply {
            self.reply(reply);
        }
        if self.shutdown.is_some() {
            return self.close(Some(standard::SHUTTING_DOWN.into()), Ending::Closed);
        }
        if let Some(line) = hello {
            if let Ok(command) = Command::parse(&line) {
                self.hello_command(&command);
            }
        }
    }

    // ---- the final replies ----

    /// The message is decided on, and the final replies are `replies`: they are given, or wait for
    /// the client.
    pub(super) fn conclude(&mut self, replies: &[Reply], decision: Decision, finding: Finding) {
        self.work.abandon = None;
        let held = || Held {
            replies: replies.to_owned(),
            decision,
            finding,
        };
        match self.work.long.rdlv.decided(decision) {
            DecidedOutcome::Give => self.give(replies, decision, finding),
            DecidedOutcome::NotAwaited => debug_assert!(false, "a decision that nobody asked for"),
            DecidedOutcome::Hold => {
                self.work.long.result = Some(held());
                if self.phase == Phase::BurlAsked {
                    self.go(super::state::Step::Decide);
                }
                self.ask_waiting_detach();
            }
            DecidedOutcome::Settled(settled) => {
                self.work.long.result = Some(held());
                let hello = match self.work.long.way_out.take() {
                    Some(WayOut::Abort(_, hello)) => hello,
                    _ => None,
                };
                self.settle(settled, hello);
            }
        }
    }

    fn give_held(&mut self) {
        if let Some(held) = self.work.long.result.take() {
            self.give(&held.replies, held.decision, held.finding);
        }
    }

    fn give(&mut self, replies: &[Reply], decision: Decision, finding: Finding) {
        if finding == Finding::UrlRefused {
            self.tell(Event::TransactionEnded);
        }
        self.give_final_replies(replies, decision);
    }

    /// The final replies stand in the output, and are to be transmitted.
    pub(super) fn note_given(&mut self, decision: Decision) {
        let given = Given {
            position: self.output.position(),
            claim: self.claim(),
            decision,
            takes_back: self.work.transaction.takes_back(),
        };
        self.work.long.given.push_back(given);
    }

    /// The same, for a claim.
    pub(super) fn takes_back(&self, key: &TransactionKey, generation: Generation) -> bool {
        self.work.long.given.back().is_some_and(|given| {
            given.takes_back
                && given
                    .claim
                    .as_ref()
                    .is_some_and(|(k, g)| k == key && *g == generation)
        })
    }

    pub(super) fn forget_decision(&mut self) {
        self.work.long.clear();
    }

    // ---- loss ----

    /// What the end of a session leaves of a decision that is under way or held.
    pub(super) fn leave_decision(&mut self) {
        if self.work.is_made() {
            let gone = self.work.long.rdlv.gone();
            self.tell_gone(gone, AbandonReason::ConnectionLost);
        }
    }

    fn tell_gone(&mut self, gone: Gone, reason: AbandonReason) {
        match gone {
            Gone::Running => {
                let unrecorded = self.work.transaction.generation().is_none();
                if self.phase == Phase::Deciding && unrecorded && self.work.abandon.is_none() {
                    self.ask_abandon(reason);
                }
            }
            Gone::Undelivered(_) | Gone::Detaching(Progress::Decided(_)) => self.tell_undelivered(),
            // With a question that is open, its answer says what is to become of the message.
            Gone::Nothing | Gone::Resetting | Gone::Detaching(Progress::Running) => {}
        }
    }

    /// Tells of final replies that are not given.
    fn tell_undelivered(&mut self) {
        if let Some(held) = self.work.long.result.take() {
            let (key, generation) = self.claim().unzip();
            self.tell(Event::ReplyUndelivered {
                key,
                generation,
                decision: held.decision,
            });
        }
    }

    /// The session is over: tells of final replies that were not transmitted.
    pub(super) fn tell_untransmitted(&mut self) {
        if !self.work.is_made() {
            return;
        }
        while let Some(given) = self.work.long.given.pop_front() {
            let (key, generation) = given.claim.unzip();
            self.tell(Event::ReplyUndelivered {
                key,
                generation,
                decision: given.decision,
            });
        }
    }
}

const BELOW_MINIMUM: StaticReply =
    super::command::fixed(501, (5, 5, 4), "maxtimer is below mintimer");
