//! One connection: feeds the session, answers it, looks at what comes out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Claim, Confirmation, Generation, TransactionKey, Verdict};
use smtp_checkpoint::rdlv::{DetachAnswer, ResetAnswer};
use smtp_checkpoint::reply::{Reply, ReplyCode, StaticReply, standard};
use smtp_checkpoint::server::{
    AbandonAnswer, AuthAnswer, AuthFailure, AwaitAnswer, BurlAnswer, CommandAnswer,
    ConnectionAnswer, DataAnswer, EndOfDataAnswer, Ending, Event, HelloAnswer, MailAnswer,
    Misanswered, Peer, ServerConfig, ServerSession, StartTlsAnswer, TlsOutcome,
};
use smtp_checkpoint::time::Timestamp;

use super::store::Store;
use crate::checks::input::Choices;
use crate::checks::memory;

/// How the caller behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Takes, answers and transmits everything at once; what it answers is chosen.
    Prompt,
    /// Does anything at any time.
    Free,
}

/// What came of a connection.
#[derive(Debug, Default)]
pub struct Run {
    /// Events and content in order, content that follows content joined.
    pub trace: Vec<Trace>,
    /// Octets of input after which a question was open to which what follows matters.
    pub stops: Vec<usize>,
    pub output: Vec<u8>,
    pub events: usize,
    /// Final replies that the caller gave, or that its store held.
    pub verdicts: usize,
    /// Offsets that the store held when a key was claimed.
    pub offered: Vec<u64>,
    /// The connection was lost: what was not transmitted is not.
    pub lost: bool,
    pub most_memory: u64,
}

#[derive(Debug, PartialEq)]
pub enum Trace {
    Event(String),
    Content(Vec<u8>),
}

pub struct Driver<'d, 'c> {
    session: ServerSession,
    config: Arc<ServerConfig>,
    mode: Mode,
    store: &'d mut Store,
    choices: &'d mut Choices<'c>,
    now: Timestamp,
    /// Questions that wait for their answer.
    open: Vec<Event>,
    key: Option<TransactionKey>,
    generation: Generation,
    content: Vec<u8>,
    /// Taken and not yet reported as transmitted.
    in_flight: usize,
    misused: u32,
    run: Run,
}

macro_rules! give {
    ($self:ident, $answer:expr, $again:expr) => {
        match $answer {
            Ok(answered) => answered == smtp_checkpoint::server::Answered::Taken,
            Err(Misanswered { question, .. }) => {
                $self.open.push($again(question));
                false
            }
        }
    };
}

impl<'d, 'c> Driver<'d, 'c> {
    pub fn new(
        config: &Arc<ServerConfig>,
        mode: Mode,
        store: &'d mut Store,
        choices: &'d mut Choices<'c>,
    ) -> Self {
        let now = Timestamp::ORIGIN;
        let peer = Peer::at(b"192.0.2.7");
        Self {
            session: ServerSession::new(Arc::clone(config), peer, now),
            config: Arc::clone(config),
            mode,
            store,
            choices,
            now,
            open: Vec::new(),
            key: None,
            generation: Generation::default(),
            content: Vec::new(),
            in_flight: 0,
            misused: 0,
            run: Run::default(),
        }
    }

    // ---- the prompt caller ----

    pub fn run(mut self, pieces: Vec<&[u8]>) -> Run {
        let mut fed = 0;
        self.settle(fed);
        for piece in pieces {
            let mut input = Bytes::copy_from_slice(piece);
            self.session.handle_input(self.now, &mut input);
            assert!(input.is_empty(), "a settled session takes input");
            fed += piece.len();
            self.settle(fed);
            assert!(
                self.session.wants_input() || self.session.is_finished(),
                "stuck: {:?}",
                self.session
            );
        }
        self.session.handle_eof(self.now);
        self.settle(fed);
        assert!(self.session.is_finished(), "not over: {:?}", self.session);
        self.run.stops.dedup();
        self.run
    }

    /// Until nothing happens any more.
    fn settle(&mut self, fed: usize) {
        loop {
            let mut moved = false;
            while let Some(event) = self.session.poll_event() {
                moved = true;
                let matters = matches!(
                    event,
                    Event::Mail(_)
                        | Event::StartTls(_)
                        | Event::EndOfData(_)
                        | Event::AwaitDecision(_)
                );
                if matters {
                    self.run.stops.push(fed);
                }
                self.event(event);
                self.transmit(usize::MAX);
            }
            moved |= self.transmit(usize::MAX);
            if !moved {
                return;
            }
        }
    }

    // ---- the free caller ----

    pub fn run_freely(mut self, wire: &Bytes, memory_before: u64) -> Run {
        let mut rest = wire.clone();
        let mut pending = Bytes::new();
        for _ in 0..2 * wire.len() + 64 {
            if self.session.is_finished() || (rest.is_empty() && pending.is_empty()) {
                break;
            }
            let action = self.choices.below(32);
            if matches!(action, 0..=2 | 20..) {
                if pending.is_empty() {
                    let length = match self.choices.next() {
                        0 => rest.len(),
                        some => usize::from(some).min(rest.len()),
                    };
                    pending = rest.split_to(length);
                }
                self.session.handle_input(self.now, &mut pending);
            }
            self.act(action);
            self.look(memory_before);
        }
        // The connection ends, and time passes until the session has.
        if self.choices.below(2) == 0 {
            self.session.handle_eof(self.now);
        } else {
            self.broken();
        }
        for _ in 0..64 {
            self.drain();
            self.look(memory_before);
            match self.session.poll_timeout() {
                Some(deadline) => self.pass_to(deadline),
                None => break,
            }
        }
        self.drain();
        assert!(self.session.is_finished(), "not over: {:?}", self.session);
        let debris = std::mem::take(&mut self.open);
        for question in debris {
            self.answer(question, 0);
        }
        assert!(self.session.output().is_empty());
        assert!(self.session.poll_event().is_none());
        self.run
    }

    fn act(&mut self, action: u8) {
        match action {
            0 | 20.. => self.drain(),
            1 => self.events(usize::MAX),
            2 => {}
            3 => self.events(1),
            4 => {
                let part = usize::from(self.choices.next());
                self.transmit(part);
            }
            5 if !self.open.is_empty() => {
                let at = usize::from(self.choices.next()) % self.open.len();
                let question = self.open.swap_remove(at);
                let how = self.choices.below(8);
                self.answer(question, how);
            }
            6 => {
                if let Some(deadline) = self.session.poll_timeout() {
                    self.pass_to(deadline);
                }
            }
            7 => {
                let later = self.now + Duration::from_secs(u64::from(self.choices.next()));
                self.pass_to(later);
            }
            8 => self.session.shutdown(self.now),
            9 => {
                if let Some(key) = &self.key {
                    self.store.raise(key);
                }
                let claim = self.session.transaction();
                if let Some((key, generation)) = claim.key().cloned().zip(claim.generation()) {
                    self.session.supersede(self.now, &key, generation);
                }
            }
            10 => self.broken(),
            11 => self.session.handle_eof(self.now),
            12 => {
                let reply = self.refusal();
                let _ = self.session.fail_content(self.now, reply);
            }
            13 => {
                let mut peer = Peer::at(b"192.0.2.8");
                peer.tls = self.choices.below(2) == 1;
                if self.choices.below(2) == 1 {
                    peer.authenticated = Some(Bytes::from_static(b"somebody"));
                }
                self.session.amend_peer(peer);
            }
            14 if self.misused < 4 => self.misuse(),
            15 => {
                // Octets lent, not moved out.
                let part = usize::from(self.choices.next()).min(self.session.output().len());
                if self.in_flight == 0 {
                    self.run
                        .output
                        .extend_from_slice(&self.session.output()[..part]);
                    self.session
                        .transmitted(self.now, part)
                        .expect("octets that were lent");
                }
            }
            _ => {}
        }
    }

    /// Calls that do not fit change nothing.
    fn misuse(&mut self) {
        self.misused += 1;
        let before = format!("{:?}", self.session);
        let many = self.in_flight + self.session.output().len() + 1;
        let over = before.contains("phase: Closed");
        // Late news of a write, once the session is over, is no error.
        assert_eq!(self.session.transmitted(self.now, many).is_ok(), over);
        if !before.contains("phase: TlsHandshake") {
            assert!(
                self.session
                    .handle_tls(self.now, TlsOutcome::Failed)
                    .is_err()
            );
        }
        assert!(self.session.fail_content(self.now, standard::OK).is_err());
        if let Some(question) = self.open.pop() {
            let mut stranger =
                ServerSession::new(Arc::clone(&self.config), Peer::default(), self.now);
            std::mem::swap(&mut stranger, &mut self.session);
            let open = self.open.len();
            self.answer(question, 0);
            assert_eq!(
                self.open.len(),
                open + 1,
                "the question of another session comes back"
            );
            std::mem::swap(&mut stranger, &mut self.session);
        }
        assert_eq!(format!("{:?}", self.session), before);
    }

    fn broken(&mut self) {
        self.session.handle_disconnect(self.now);
        self.run.lost = true;
    }

    fn pass_to(&mut self, time: Timestamp) {
        self.now = self.now.max(time);
        self.session.handle_timeout(self.now);
    }

    fn drain(&mut self) {
        loop {
            self.events(usize::MAX);
            if !self.transmit(usize::MAX) {
                return;
            }
        }
    }

    fn events(&mut self, most: usize) {
        for _ in 0..most {
            let Some(event) = self.session.poll_event() else {
                return;
            };
            if is_question(&event) {
                match self.choices.below(8) {
                    6 if self.open.len() < 16 => {
                        self.open.push(event);
                        continue;
                    }
                    7 => continue,
                    _ => {}
                }
            }
            self.event(event);
        }
    }

    fn look(&mut self, memory_before: u64) {
        // What of it is the harness's own.
        let own = self.run.output.capacity()
            + self.content.capacity()
            + self.open.capacity() * size_of::<Event>()
            + self.open.len() * 8 * 1024
            + self.store.octets();
        let used = memory::in_use().saturating_sub(memory_before + own as u64);
        self.run.most_memory = self.run.most_memory.max(used);
        let output = self.session.output().len();
        assert!(
            output <= 4096,
            "{output} octets of output that nobody takes"
        );
    }

    // ---- both ----

    fn transmit(&mut self, most: usize) -> bool {
        if let Some(octets) = self.session.take_output() {
            self.run.output.extend_from_slice(&octets);
            self.in_flight += octets.len();
        }
        let part = self.in_flight.min(most);
        if part == 0 {
            return false;
        }
        // A session that is broken has forgotten what was in flight.
        let told = self.session.transmitted(self.now, part);
        self.in_flight = if told.is_ok() {
            self.in_flight - part
        } else {
            0
        };
        true
    }

    fn event(&mut self, event: Event) {
        self.run.events += 1;
        if self.mode == Mode::Prompt && !matches!(event, Event::Content | Event::Acknowledged(_)) {
            self.run.trace.push(Trace::Event(format!("{event:?}")));
        }
        match event {
            Event::Content => self.take_content(),
            Event::CheckpointDue { key, record } | Event::Interrupted { key, record } => {
                self.store.put(&key, &record, &self.content);
            }
            Event::Discard(discard) => self.store.discard(&discard.key, discard.generation),
            Event::TlsHandover => {
                let client = (self.choices.below(2) == 1).then(|| Bytes::from_static(b"cert"));
                let outcome = match self.choices.below(4) {
                    3 => TlsOutcome::Failed,
                    _ => TlsOutcome::Established { client },
                };
                self.session
                    .handle_tls(self.now, outcome)
                    .expect("a handshake was asked for");
            }
            // A session that ends without a reply leaves what is not transmitted.
            Event::Finished(Ending::Lost | Ending::Silent) => self.run.lost = true,
            Event::TakenBack { key, generation } => self.store.take_back(&key, generation),
            question if is_question(&question) => {
                let how = self.choices.below(8);
                self.answer(question, how);
                // Asked again for a wrong answer: at the same octet, whatever comes behind it.
                while self.mode == Mode::Prompt {
                    let Some(question) = self.open.pop() else {
                        break;
                    };
                    self.answer(question, 0);
                }
            }
            _ => {}
        }
    }

    fn take_content(&mut self) {
        let mut batch = Vec::new();
        let Some(range) = self.session.poll_content(&mut batch) else {
            // Given up in between.
            assert_eq!(self.mode, Mode::Free, "content that is ready");
            return;
        };
        let octets = batch.concat();
        assert_eq!(
            range.start.get(),
            self.content.len() as u64,
            "a gap or an overlap"
        );
        assert_eq!(range.end.get() - range.start.get(), octets.len() as u64);
        self.content.extend_from_slice(&octets);
        if self.mode == Mode::Prompt {
            match self.run.trace.last_mut() {
                Some(Trace::Content(content)) => content.extend_from_slice(&octets),
                _ => self.run.trace.push(Trace::Content(octets)),
            }
        }
    }

    fn refusal(&mut self) -> Reply {
        let refusals: [StaticReply; 4] = [
            standard::LOCAL_ERROR,
            standard::TRANSACTION_FAILED,
            standard::SHUTTING_DOWN,
            standard::INSUFFICIENT_STORAGE,
        ];
        refusals[usize::from(self.choices.below(4))].into()
    }

    fn verdict(&mut self, how: u8, owed: usize) -> Verdict {
        let code = match how {
            4 => ReplyCode::LOCAL_ERROR,
            5 => ReplyCode::TRANSACTION_FAILED,
            _ => ReplyCode::OK,
        };
        let reply = Reply::cleaned(code, None, b"the caller's verdict");
        Verdict::for_each_recipient(vec![reply; owed])
    }

    /// Answers a question: yes for 0 to 3, in other ways above.
    fn answer(&mut self, question: Event, how: u8) {
        let now = self.now;
        match question {
            Event::Connection(question) => {
                let answer = match how {
                    0..=6 => ConnectionAnswer::Accept,
                    _ => ConnectionAnswer::Refuse(self.refusal()),
                };
                give!(
                    self,
                    self.session.answer_connection(now, question, answer),
                    Event::Connection
                );
            }
            Event::Hello(question) => {
                let answer = match how {
                    0..=5 => HelloAnswer::Accept,
                    _ => HelloAnswer::Refuse(self.refusal()),
                };
                give!(
                    self,
                    self.session.answer_hello(now, question, answer),
                    Event::Hello
                );
            }
            Event::Mail(question) => {
                let key = question.key().cloned();
                let (claim, length) = match &key {
                    Some(key) if how != 6 => self.store.claim(key),
                    _ => (Claim::Unrecorded, None),
                };
                let generation = match &claim {
                    Claim::Claimed { generation, .. } => Some(*generation),
                    Claim::Unrecorded => None,
                };
                let answer = match how {
                    0..=4 | 6 => MailAnswer::accept(claim),
                    5 => MailAnswer::Refuse(self.refusal()),
                    _ => MailAnswer::Accept {
                        claim,
                        reply: standard::LOCAL_ERROR.into(),
                    },
                };
                let accepted = matches!(answer, MailAnswer::Accept { .. });
                let taken = give!(
                    self,
                    self.session.answer_mail(now, question, answer),
                    Event::Mail
                );
                if taken && accepted {
                    self.run.offered.extend(length);
                    self.key = generation.and(key);
                    self.generation = generation.unwrap_or_default();
                    self.content.clear();
                    // The replies that a committed record holds may be given once more.
                    let held = self.key.as_ref().and_then(|key| self.store.completion(key));
                    self.run.verdicts += held.map_or(0, |held| held.replies.len());
                }
            }
            Event::Rcpt(question) => {
                let reply = match how {
                    0..=4 => standard::RECIPIENT_OK.into(),
                    5 => standard::BAD_SEQUENCE.into(),
                    6 => self.refusal(),
                    _ => standard::START_MAIL_INPUT.into(),
                };
                let _ = give!(
                    self,
                    self.session.answer_rcpt(now, question, reply),
                    Event::Rcpt
                );
            }
            Event::Data(question) => {
                let mut answer = match how {
                    0..=4 => DataAnswer::Proceed,
                    5 => DataAnswer::Refuse(self.refusal()),
                    6 => DataAnswer::Unconfirmed(Confirmation::Outdated),
                    _ => DataAnswer::Unconfirmed(Confirmation::WrongLength),
                };
                let mut content = None;
                if let Some(claim) = question.claim() {
                    if !self.store.is_current(&claim.key, claim.generation) {
                        answer = DataAnswer::Unconfirmed(Confirmation::Outdated);
                    } else {
                        content = self.store.content(&claim.key, claim.length.get());
                        if content.is_none() {
                            // It was advised to drop it.
                            answer = DataAnswer::Unconfirmed(Confirmation::WrongLength);
                        }
                    }
                }
                let taken = give!(
                    self,
                    self.session.answer_data(now, question, answer),
                    Event::Data
                );
                if let (true, Some(content)) = (taken, content) {
                    self.content = content;
                }
            }
            Event::Burl(question) => {
                let octets = u64::from(self.choices.next());
                let start = question.start().get();
                let answer = match how {
                    0..=5 => BurlAnswer::Stored { octets },
                    _ => BurlAnswer::Refuse(self.refusal()),
                };
                let stored = matches!(answer, BurlAnswer::Stored { .. });
                let taken = give!(
                    self,
                    self.session.answer_burl(now, question, answer),
                    Event::Burl
                );
                if taken && stored {
                    assert_eq!(start, self.content.len() as u64);
                    self.content
                        .resize(self.content.len() + octets as usize, b'u');
                }
            }
            Event::EndOfData(question) => {
                let owed = self.session.transaction().expected_replies();
                let verdict = self.verdict(how, owed);
                let decision = question.key().cloned().zip(question.record().cloned());
                if decision.is_some() || self.mode == Mode::Prompt {
                    assert!(
                        question.size().get()
                            >= decision.as_ref().map_or(0, |d| d.1.length().get())
                    );
                }
                let current = match &decision {
                    None => true,
                    Some((key, record)) => {
                        let verdict = (how != 6).then_some(&verdict);
                        self.store.decide(key, record, verdict, &self.content)
                    }
                };
                let answer = match how {
                    _ if !current => EndOfDataAnswer::Outdated,
                    6 => EndOfDataAnswer::Outdated,
                    7 => EndOfDataAnswer::Decided(Verdict::from(standard::START_MAIL_INPUT)),
                    _ => EndOfDataAnswer::Decided(verdict),
                };
                let decided = matches!(answer, EndOfDataAnswer::Decided(_));
                let answer = self.session.answer_end_of_data(now, question, answer);
                if give!(self, answer, Event::EndOfData) && decided {
                    self.run.verdicts += owed;
                }
            }
            Event::AwaitDecision(question) => {
                let completion = self.store.completion(question.key());
                let answer = match (how, completion) {
                    (7, _) => AwaitAnswer::Outdated,
                    (_, Some(completion)) => {
                        self.run.verdicts += completion.replies.len();
                        AwaitAnswer::Decided(completion)
                    }
                    (_, None) => {
                        self.store.withdraw(question.key());
                        AwaitAnswer::Withdrawn
                    }
                };
                let answer = self.session.answer_await(now, question, answer);
                let _ = give!(self, answer, Event::AwaitDecision);
            }
            Event::Abandon(question) => {
                let answer = match how {
                    0..=3 => AbandonAnswer::Abandoned,
                    _ => AbandonAnswer::TooLate,
                };
                if let (AbandonAnswer::Abandoned, Some(key)) = (answer, question.key()) {
                    self.store.withdraw(key);
                }
                let answer = self.session.answer_abandon(now, question, answer);
                let _ = give!(self, answer, Event::Abandon);
            }
            Event::Abort(question) => {
                let claim = question.key().cloned().zip(question.generation());
                let answer = match how {
                    0..=3 => ResetAnswer::Aborted,
                    4 | 5 => ResetAnswer::TooLate,
                    _ => ResetAnswer::Outdated,
                };
                if answer == ResetAnswer::Aborted {
                    // The decision does not come any more.
                    self.open
                        .retain(|question| !matches!(question, Event::EndOfData(_)));
                    if let Some((key, generation)) = claim {
                        self.store.discard(&key, generation);
                    }
                }
                let answer = self.session.answer_abort(now, question, answer);
                let _ = give!(self, answer, Event::Abort);
            }
            Event::Detach(question) => {
                let claim = question.key().cloned().zip(question.generation());
                let answer = match how {
                    4 => DetachAnswer::OverLimit,
                    5 => DetachAnswer::Failed,
                    6 => DetachAnswer::Outdated,
                    _ => DetachAnswer::Owned,
                };
                if let (DetachAnswer::Owned, Some((key, generation))) = (answer, claim) {
                    if self.store.detach(&key, generation) && how == 3 {
                        self.store.report(&key);
                    }
                }
                let answer = self.session.answer_detach(now, question, answer);
                let _ = give!(self, answer, Event::Detach);
            }
            Event::Auth(question) => {
                let answer = self.sasl(how);
                let _ = give!(
                    self,
                    self.session.answer_auth(now, question, answer),
                    Event::Auth
                );
            }
            Event::AuthResponse(question) => {
                let answer = self.sasl(how);
                let answer = self.session.answer_auth_response(now, question, answer);
                let _ = give!(self, answer, Event::AuthResponse);
            }
            Event::StartTls(question) => {
                let answer = match how {
                    0..=5 => StartTlsAnswer::Proceed,
                    _ => StartTlsAnswer::Refuse,
                };
                let answer = self.session.answer_starttls(now, question, answer);
                let _ = give!(self, answer, Event::StartTls);
            }
            Event::Command(question) => {
                let answer = match how {
                    0..=3 => CommandAnswer::Unknown,
                    4 | 5 => CommandAnswer::Reply(standard::CANNOT_VERIFY.into()),
                    6 => CommandAnswer::Reply(self.refusal()),
                    _ => CommandAnswer::Reply(standard::START_MAIL_INPUT.into()),
                };
                let _ = give!(
                    self,
                    self.session.answer_command(now, question, answer),
                    Event::Command
                );
            }
            _ => {}
        }
    }

    fn sasl(&mut self, how: u8) -> AuthAnswer {
        match how {
            0..=3 => AuthAnswer::Success {
                identity: Bytes::from_static(b"fuzz"),
            },
            4 | 5 => AuthAnswer::Challenge(Bytes::from_static(b"more")),
            6 => AuthAnswer::Failure(AuthFailure::InvalidCredentials),
            _ => AuthAnswer::Failure(AuthFailure::Temporary),
        }
    }
}

fn is_question(event: &Event) -> bool {
    matches!(
        event,
        Event::Connection(_)
            | Event::Hello(_)
            | Event::Mail(_)
            | Event::Rcpt(_)
            | Event::Data(_)
            | Event::Burl(_)
            | Event::EndOfData(_)
            | Event::AwaitDecision(_)
            | Event::Abandon(_)
            | Event::Abort(_)
            | Event::Detach(_)
            | Event::Auth(_)
            | Event::AuthResponse(_)
            | Event::StartTls(_)
            | Event::Command(_)
    )
}
