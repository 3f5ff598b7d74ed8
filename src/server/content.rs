//! Content on its way in: by DATA or by chunks.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::event::{EndOfDataQuestion, Ending, Event, Message};
use super::progress::Finding;
use super::state::{Phase, Step};
use super::workspace::Workspace;
use super::{AwaitQuestion, ServerSession};
use crate::checkpoint::EndOutcome;
use crate::dot::{ContentChecker, DotDecoder, FaultKind, Faults};
use crate::error::PeerError;
use crate::offset::OctetOffset;
use crate::rdlv::Decision;
use crate::reply::{Reply, ReplyCode, standard};
use crate::time::Timestamp;

/// The command that the content comes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DataCommand {
    Data,
    Chunk { size: u64, last: bool },
    Burl { url: Bytes, last: bool },
}

#[derive(Debug)]
enum Source {
    Data(DotDecoder),
    Chunks {
        checker: ContentChecker,
        left: u64,
        last: bool,
    },
}

/// What was wrong with the content, if it was the peer's fault, and the reply.
type Refusal = (Option<PeerError>, Reply);

/// What comes in between a data command and the end of the data.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) command: Option<DataCommand>,
    source: Option<Source>,
    /// Waits for the caller.
    batch: Vec<Bytes>,
    batch_octets: u64,
    told: bool,
    /// The last octet handed out is a CR, which may yet turn out to be bare.
    after_cr: bool,
    /// The rest is drained and answered so.
    refusal: Option<Box<Refusal>>,
    last_record: OctetOffset,
    window_start: Timestamp,
    window_octets: u64,
}

impl Content {
    pub(super) const fn new() -> Self {
        Self {
            command: None,
            source: None,
            batch: Vec::new(),
            batch_octets: 0,
            told: false,
            after_cr: false,
            refusal: None,
            last_record: OctetOffset::ZERO,
            window_start: Timestamp::ORIGIN,
            window_octets: 0,
        }
    }

    /// Room for the pieces of a usual read.
    pub(super) fn make_room(&mut self) {
        self.batch = Vec::with_capacity(4);
    }

    /// Forgets everything, keeps a little memory.
    pub(super) fn clear(&mut self) {
        const KEPT: usize = 16;
        // One by one: as a whole it would be moved about.
        let Self {
            command,
            source,
            batch,
            batch_octets,
            told,
            after_cr,
            refusal,
            last_record,
            window_start,
            window_octets,
        } = self;
        *command = None;
        *source = None;
        batch.clear();
        batch.shrink_to(KEPT);
        *batch_octets = 0;
        *told = false;
        *after_cr = false;
        *refusal = None;
        *last_record = OctetOffset::ZERO;
        *window_start = Timestamp::ORIGIN;
        *window_octets = 0;
    }

    pub(super) fn is_data(&self) -> bool {
        self.command == Some(DataCommand::Data)
    }

    pub(super) fn batch_is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    pub(super) fn fail(&mut self, reply: Reply) {
        self.batch.clear();
        self.batch_octets = 0;
        self.refusal = Some(Box::new((None, reply)));
    }

    pub(super) fn offset(&self) -> OctetOffset {
        match &self.source {
            None => OctetOffset::default(),
            Some(Source::Data(decoder)) => decoder.offset(),
            Some(Source::Chunks { checker, .. }) => checker.offset(),
        }
    }

    /// Whether all has been read that the data command brings.
    fn is_ended(&self) -> bool {
        match &self.source {
            None => false,
            Some(Source::Data(decoder)) => decoder.is_ended(),
            Some(Source::Chunks { left, .. }) => *left == 0,
        }
    }

    fn faults(&self, whole: bool) -> Faults {
        match &self.source {
            None => Faults::default(),
            Some(Source::Data(decoder)) => decoder.faults(),
            Some(Source::Chunks { checker, .. }) if whole => checker.finish(),
            Some(Source::Chunks { checker, .. }) => checker.faults(),
        }
    }

    /// How much of what was handed out may be announced: up to a line start with DATA; with
    /// chunks anything, but a CR at the end waits for the octet that tells whether it is bare.
    fn announceable(&self) -> OctetOffset {
        match &self.source {
            None => OctetOffset::default(),
            Some(Source::Data(decoder)) => decoder.line_start_offset(),
            Some(Source::Chunks { checker, .. }) => {
                let octets = checker.offset().get();
                octets.saturating_sub(u64::from(self.after_cr)).into()
            }
        }
    }
}

impl ServerSession {
    /// Takes the content that is ready: appends it to `content` and tells its place in the
    /// message, in SMTP canonical form. `None` where none is ready, which is possible behind
    /// [`Event::Content`] too: a [`shutdown`](Self::shutdown), [`supersede`](Self::supersede) or
    /// [`fail_content`](Self::fail_content) between the two throws it away.
    ///
    /// Take it before other calls. A record counts only content that was taken.
    ///
    /// Long runs share the memory of the input, short ones are copied together.
    pub fn poll_content(&mut self, content: &mut Vec<Bytes>) -> Option<Range<OctetOffset>> {
        if self.work.content.batch.is_empty() {
            return None;
        }
        let end = self.work.content.offset();
        let start = OctetOffset::from(end.get().saturating_sub(self.work.content.batch_octets));
        if let Some(last) = self.work.content.batch.last() {
            self.work.content.after_cr = last.last() == Some(&b'\r');
        }
        content.append(&mut self.work.content.batch);
        self.work.content.batch_octets = 0;
        self.work.content.told = false;
        let length = self.work.content.announceable();
        let faults = self.work.content.faults(false).before(length);
        self.work.transaction.progress(length, faults);
        let grown = length
            .get()
            .saturating_sub(self.work.content.last_record.get());
        let due = self
            .config
            .checkpoint_every
            .is_some_and(|every| grown >= every);
        if due {
            if let Some((key, record)) = self.record() {
                self.work.content.last_record = length;
                self.tell(Event::CheckpointDue { key, record });
            }
        }
        Some(start..end)
    }

    /// The data command is accepted: content may come.
    pub(super) fn begin_content(&mut self) {
        let start = self.work.transaction.length();
        let Some(command) = self.work.content.command.take() else {
            return;
        };
        if self.work.content.source.is_none() {
            self.work.content.last_record = start;
            self.work.content.window_start = self.now;
            self.work.content.window_octets = 0;
        } else if self.rate_is_too_low() {
            // Chunks that come one by one, each at once, are never waited for.
            self.tell(Event::PeerFault(PeerError::TooSlow));
            return self.close(Some(standard::IDLE_TIMEOUT.into()), Ending::Closed);
        }
        match command {
            DataCommand::Data => {
                self.work.content.source = Some(Source::Data(DotDecoder::starting_at(start)));
                self.go(Step::Data);
                self.start_mail_input(start);
            }
            DataCommand::Chunk { size, last } => {
                let checker = self.take_checker(start);
                self.work.content.source = Some(Source::Chunks {
                    checker,
                    left: size,
                    last,
                });
                self.go(Step::Chunk);
            }
            DataCommand::Burl { url, last } => {
                let checker = self.take_checker(start);
                self.work.content.source = Some(Source::Chunks {
                    checker,
                    left: 0,
                    last,
                });
                if self.work.content.refusal.is_some() {
                    self.go(Step::BurlAsk);
                    self.end_of_source();
                } else if self.work.transaction.is_complete() {
                    // Its content would stand behind the end.
                    let octets = start.get().saturating_add(1);
                    self.go(Step::BurlAsk);
                    self.burl_stored(octets, last);
                } else {
                    self.ask_burl(url, last);
                }
            }
        }
    }

    /// The checker of the chunks so far, or one that begins at `start`.
    fn take_checker(&mut self, start: OctetOffset) -> ContentChecker {
        match self.work.content.source.take() {
            Some(Source::Chunks { checker, .. }) => checker,
            _ => ContentChecker::starting_at(start, None),
        }
    }

    /// 354, with what RFC 1845 §5 says in it where a record is kept.
    fn start_mail_input(&mut self, start: OctetOffset) {
        let reply = |text: &[u8]| Reply::cleaned(ReplyCode::START_MAIL_INPUT, None, text);
        if self.work.transaction.is_restart() {
            let text =
                alloc::format!("Send previously checkpointed message starting at octet {start}");
            self.reply(reply(text.as_bytes()));
        } else if self.work.transaction.generation().is_some() {
            self.reply(reply(b"Send checkpointed message, ending in CRLF.CRLF"));
        } else {
            debug_assert!(self.work.recipients.is_empty(), "DATA waits for them");
            self.output.write(&self.config.start_mail_input);
        }
    }

    /// How many octets of content may be taken now: the rest of the batch, within the size limit.
    /// `None` where the limit is reached.
    fn room(&self) -> Option<usize> {
        let batch = self.config.limits.content_batch.max(1);
        if self.work.content.refusal.is_some() || self.work.transaction.is_complete() {
            return Some(batch);
        }
        let Some(limit) = self.config.limits.message_size else {
            return Some(batch);
        };
        match limit.saturating_sub(self.work.content.offset().get()) {
            0 => None,
            left => Some(usize::try_from(left).map_or(batch, |left| left.min(batch))),
        }
    }

    /// Takes in content; false where more has to come, or the caller has to take what is there.
    pub(super) fn receive(&mut self) -> bool {
        let content = &mut self.work.content;
        if !content.batch.is_empty() {
            return self.tell_content();
        }
        if content.is_ended() {
            self.end_of_source();
            return true;
        }
        let room = self.room();
        let Some(input) = &mut self.input else {
            return false;
        };
        let unread = input.len();
        let Workspace {
            transaction,
            content,
            ..
        } = &mut *self.work;
        let before = content.offset();
        match &mut content.source {
            Some(Source::Data(decoder)) => {
                decoder.decode_batch(input, &mut content.batch, room.unwrap_or(1));
            }
            Some(Source::Chunks { checker, left, .. }) => {
                let octets = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(unread)
                    .min(room.unwrap_or(1));
                if octets > 0 {
                    let chunk = input.split_to(octets);
                    checker.check(&chunk);
                    *left -= octets as u64;
                    content.batch.push(chunk);
                }
            }
            None => return false,
        }
        let read = unread - input.len();
        if input.is_empty() {
            self.input = None;
        }
        if read > 0 {
            self.since = self.now;
            content.window_octets += read as u64;
        }
        let octets = content.offset().get() - before.get();
        if octets > 0 && room.is_none() {
            let refusal = (
                Some(PeerError::MessageTooLarge),
                standard::MESSAGE_TOO_BIG.into(),
            );
            content.refusal = Some(Box::new(refusal));
        }
        if content.refusal.is_some() || transaction.is_complete() {
            content.batch.clear();
        } else {
            content.batch_octets = octets;
        }
        if !content.batch.is_empty() {
            return self.tell_content();
        }
        if content.is_ended() {
            self.end_of_source();
            return true;
        }
        // A withheld CR that turned out to be content is some, without an octet read.
        read > 0 || octets > 0
    }

    /// Tells that content is ready, once; false where it has been told.
    fn tell_content(&mut self) -> bool {
        let told = core::mem::replace(&mut self.work.content.told, true);
        if !told {
            self.tell(Event::Content);
        }
        !told
    }

    /// The end of the data with DATA, or of a chunk.
    fn end_of_source(&mut self) {
        let (chunk, last) = match &self.work.content.source {
            Some(Source::Chunks { last, .. }) => (true, *last),
            _ => (false, true),
        };
        if last {
            return self.end_of_data();
        }
        if let Some((error, reply)) = self.work.content.refusal.take().map(|it| *it) {
            self.spoil(false);
            match error {
                Some(error) => self.fault(error, reply),
                None => self.refuse(reply),
            }
        } else if self.work.transaction.is_complete()
            && self.work.content.offset() != self.work.transaction.length()
        {
            self.spoil(false);
            self.fault(PeerError::ContentAfterEnd, standard::TRANSACTION_FAILED);
        } else if chunk {
            self.go(Step::ChunkDone);
            self.reply(standard::CHUNK_OK);
        }
    }

    /// The content of a URL is stored.
    pub(super) fn burl_stored(&mut self, octets: u64, last: bool) {
        let end = self.work.content.offset().get().saturating_add(octets);
        let faults = self.work.content.faults(false);
        let limit = self.config.limits.message_size;
        // What stands behind the end of a complete message is not of it, whatever its size.
        let is_complete = self.work.transaction.is_complete();
        let too_big = !is_complete && limit.is_some_and(|limit| end > limit);
        if !is_complete && !too_big {
            self.work.transaction.progress(end.into(), faults);
            self.work.content.after_cr = false;
        }
        // The time that it took was not the peer's.
        self.work.content.window_start = self.now;
        self.work.content.window_octets = 0;
        self.work.content.source = Some(Source::Chunks {
            checker: ContentChecker::starting_at(end.into(), None),
            left: 0,
            last,
        });
        if too_big {
            let reply = standard::MESSAGE_TOO_BIG.into();
            let refusal = (Some(PeerError::MessageTooLarge), reply);
            self.work.content.refusal = Some(Box::new(refusal));
        }
        self.end_of_source();
    }

    fn end_of_data(&mut self) {
        let total = self.work.content.offset();
        if let Some((error, reply)) = self.work.content.refusal.take().map(|it| *it) {
            return self.refuse_message(error, &reply);
        }
        if !self.work.transaction.is_complete() {
            let faults = self.work.content.faults(true);
            let length = self.work.transaction.length();
            self.work.transaction.progress(length, faults);
            if let Some(fault) = self.fault_to_refuse() {
                let reply = self.config.fault_reply.clone();
                return self.refuse_message(Some(fault), &reply);
            }
        }
        match self.work.transaction.end(total) {
            EndOutcome::Decide => self.decide(),
            EndOutcome::Await => {
                self.go(Step::Await);
                self.begin_wait();
                let key = self.work.transaction.key().cloned();
                let Some((key, generation)) = key.zip(self.work.transaction.generation()) else {
                    return;
                };
                let token = self.ask();
                self.tell(Event::AwaitDecision(AwaitQuestion {
                    token,
                    key,
                    generation,
                }));
            }
            EndOutcome::Retained {
                completion,
                discard,
            } => {
                if let Some(discard) = discard {
                    self.tell(Event::Discard(discard));
                }
                self.give_final_replies(&completion.replies, Decision::from(&completion));
            }
            EndOutcome::ContentAfterEnd => {
                // With LMTP every accepted recipient is owed a reply here too.
                let others = self.work.transaction.expected_replies().saturating_sub(1);
                self.tell(Event::TransactionEnded);
                self.end_transaction();
                for _ in 0..others {
                    self.reply(standard::TRANSACTION_FAILED);
                }
                self.fault(PeerError::ContentAfterEnd, standard::TRANSACTION_FAILED);
            }
        }
    }

    /// A fault in the content, of this attempt or an earlier one, that the policy refuses.
    fn fault_to_refuse(&self) -> Option<PeerError> {
        // RFC 3030 §3: with BINARYMIME every octet is content.
        if self.work.transaction.is_binary() {
            return None;
        }
        let fault = self
            .work
            .transaction
            .faults()
            .refused_by(self.config.faults)?;
        Some(match fault.kind {
            FaultKind::BareCr => PeerError::BareCrInContent,
            FaultKind::BareLf => PeerError::BareLfInContent,
            FaultKind::Nul => PeerError::NulInContent,
        })
    }

    /// The final reply to content that is refused for what it is: no decision is asked for.
    fn refuse_message(&mut self, error: Option<PeerError>, reply: &Reply) {
        if reply.code().get() == 421 {
            return self.close(Some(reply.clone()), Ending::Closed);
        }
        if let Some(error) = error {
            if let Some(discard) = self.work.transaction.refuse() {
                self.tell(Event::Discard(discard));
            }
            self.tell(Event::ContentRefused(error));
        } else {
            // The caller's store failed: what it has is still good.
            self.tell(Event::TransactionEnded);
        }
        let replies = alloc::vec![reply.clone(); self.work.transaction.expected_replies()];
        if self.progress_is_unanswered() {
            return self.conclude(&replies, Decision::Refused, Finding::ContentRefused);
        }
        for reply in replies {
            self.reply(reply);
        }
        self.end_transaction();
    }

    /// All data is in: asks for the decision.
    pub(super) fn decide(&mut self) {
        self.go(Step::Decide);
        self.begin_wait();
        let size = self.work.transaction.length();
        let message = match self.record() {
            Some((key, record)) => Message::Recorded(key, record),
            None => Message::Plain(self.work.transaction.envelope().clone()),
        };
        let token = self.ask();
        self.tell(Event::EndOfData(EndOfDataQuestion {
            token,
            message,
            size,
        }));
        self.ask_waiting_detach();
    }

    /// When content has to have come.
    pub(super) fn content_deadline(&self) -> Timestamp {
        let idle = self.since + self.config.timeouts.content;
        match self.config.data_rate {
            Some(rate) => idle.min(self.work.content.window_start + rate.window),
            None => idle,
        }
    }

    pub(super) fn content_time_out(&mut self) {
        // A caller that does not take what is there is not the peer's fault.
        if !self.work.content.batch.is_empty() {
            self.since = self.now;
            self.work.content.window_start = self.now;
            self.work.content.window_octets = 0;
            return;
        }
        // It has sent more than was read.
        if self.input.is_some() {
            return;
        }
        let error = if self.now >= self.since + self.config.timeouts.content {
            PeerError::TimedOut
        } else if self.rate_is_too_low() {
            PeerError::TooSlow
        } else {
            return;
        };
        debug_assert_eq!(self.phase, Phase::Content);
        self.tell(Event::PeerFault(error));
        self.close(Some(standard::IDLE_TIMEOUT.into()), Ending::Closed);
    }

    /// Whether too little came within a window that is over; where enough came, the next begins.
    fn rate_is_too_low(&mut self) -> bool {
        let Some(rate) = self.config.data_rate else {
            return false;
        };
        if self.now < self.work.content.window_start + rate.window {
            return false;
        }
        let too_low = self.work.content.window_octets < rate.octets;
        if !too_low {
            self.work.content.window_start = self.now;
            self.work.content.window_octets = 0;
        }
        too_low
    }
}
