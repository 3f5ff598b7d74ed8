//! The mail system behind the server sessions: what each event means for the store.

use std::collections::HashMap;
use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use smtp_checkpoint::checkpoint::{Claim, Generation, Record, TransactionKey};
use smtp_checkpoint::command::{ForwardPath, Rcpt};
use smtp_checkpoint::dsn::RecipientResult;
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::rdlv::{DetachAnswer, ResetAnswer};
use smtp_checkpoint::reply::{EnhancedCode, Reply, ReplyCode, StaticReply, standard as reply};
use smtp_checkpoint::server::{
    AbandonAnswer, AbandonQuestion, AbortQuestion, AwaitQuestion, ClaimToConfirm, DataAnswer,
    DataQuestion, DetachQuestion, EndOfDataAnswer, EndOfDataQuestion, Event, MailAnswer,
    MailQuestion, Peer, RcptQuestion, ServerConfig, ServerSession,
};
use smtp_checkpoint::time::Timestamp;

use super::driver::{Connection, Handler, SessionHandle};
use super::report;
use super::ruling::{Rules, fixed};
use super::store::{
    CommitError, Content, Decision, DecisionHandle, Detached, Due, DueReport, FileStore,
};

/// What all connections share.
pub struct Service {
    config: Arc<ServerConfig>,
    store: FileStore,
    options: Options,
    work: Mutex<Work>,
    idle: Condvar,
}

/// What is different from example to example.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name in the failure notifications.
    pub hostname: String,
    /// How long a decision takes: stands for a virus scanner, or a slow next hop.
    pub decision: Duration,
    /// No decision is made before this file is there.
    pub decide_until: Option<PathBuf>,
    /// What it comes to.
    pub rules: Rules,
    /// Print the dialogue to standard error.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hostname: "localhost".into(),
            decision: Duration::ZERO,
            decide_until: None,
            rules: Rules::default(),
            trace: false,
        }
    }
}

/// What is going on.
#[derive(Default)]
struct Work {
    stopping: bool,
    connections: u64,
    sessions: HashMap<u64, SessionHandle>,
    decisions: usize,
}

impl Service {
    /// Takes over a store, and what is due for the messages that were left to it.
    #[must_use]
    pub fn new(config: ServerConfig, store: FileStore, options: Options) -> Arc<Self> {
        let service = Arc::new(Self {
            config: Arc::new(config),
            store,
            options,
            work: Mutex::default(),
            idle: Condvar::new(),
        });
        service.see_to_duties();
        service
    }

    #[must_use]
    pub fn store(&self) -> &FileStore {
        &self.store
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one connection to its end.
    ///
    /// # Errors
    ///
    /// Where the socket cannot be used at all.
    pub fn serve(self: &Arc<Self>, stream: TcpStream) -> io::Result<()> {
        let address = stream.peer_addr()?.ip().to_string();
        let connection = Connection::new(stream);
        let handle = connection.handle();
        let number = {
            let mut work = self.work();
            work.connections += 1;
            let number = work.connections;
            work.sessions.insert(number, handle.clone());
            if work.stopping {
                handle.call(|smtp, now| smtp.shutdown(now));
            }
            number
        };
        let mut mail = Mail {
            service: Arc::clone(self),
            session: handle,
            number,
            owner: address.clone(),
            claim: None,
            content: None,
            decision: None,
        };
        let config = Arc::clone(&self.config);
        let served = connection.serve(config, Peer::at(address.as_bytes()), &mut mail);
        mail.let_go();
        self.work().sessions.remove(&number);
        self.idle.notify_all();
        served
    }

    /// Ends all sessions: at once, or behind the decision that they wait for.
    pub fn shut_down(&self) {
        let mut work = self.work();
        work.stopping = true;
        for session in work.sessions.values() {
            session.call(|smtp, now| smtp.shutdown(now));
        }
    }

    /// Waits until no session and no decision is left. False if that takes too long.
    pub fn wait_until_idle(&self, at_most: Duration) -> bool {
        let busy = |work: &mut Work| !work.sessions.is_empty() || work.decisions > 0;
        let (_work, timeout) = self
            .idle
            .wait_timeout_while(self.work(), at_most, busy)
            .unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }

    /// Makes a decision, on a thread of its own: it may take longer than its session lives.
    fn decide(
        self: &Arc<Self>,
        decision: Decision,
        finish: impl FnOnce(EndOfDataAnswer) + Send + 'static,
    ) {
        let service = Arc::clone(self);
        service.work().decisions += 1;
        thread::spawn(move || {
            // Here a mail system would read the message (`FileStore::read_message`) and make up
            // its mind.
            thread::sleep(service.options.decision);
            let until = service.options.decide_until.as_deref();
            while until.is_some_and(|file| !file.exists()) {
                thread::sleep(Duration::from_millis(20));
            }
            let Options {
                rules, hostname, ..
            } = &service.options;
            let ruling = rules.decide(decision.envelope(), hostname);
            let store = &service.store;
            let detached = decision.record().is_some_and(Record::is_detached);
            let committed = store.commit_partly(decision, &ruling.verdict, &ruling.failures);
            let is_committed = committed.is_ok();
            let answer = match committed {
                Ok(()) => EndOfDataAnswer::Decided(ruling.verdict),
                Err(error) => {
                    if !matches!(error, CommitError::Withdrawn) {
                        eprintln!("not committed: {error}");
                    }
                    error.answer(detached)
                }
            };
            finish(answer);
            // A store that fails is tried again later, not at once.
            if is_committed {
                service.see_to_duties();
            }
            service.work().decisions -= 1;
            service.idle.notify_all();
        });
    }

    /// Does what is due for messages that their clients have left to this server: decides on those
    /// that nobody decides on, and reports failures. To be called when a session has let go of its
    /// key, when a decision is committed, at the start, and now and then where the store may have
    /// failed.
    pub fn see_to_duties(self: &Arc<Self>) {
        for key in self.store.due() {
            match self.store.take_due(key) {
                Ok(None) => {} // a session holds the key, or a decision runs
                Ok(Some(Due::Decide(decision))) => self.decide(decision, drop),
                Ok(Some(Due::Report(due))) => self.report(&due),
                Err(error) => eprintln!("a message that was left to this server: {error}"),
            }
        }
    }

    fn report(&self, due: &DueReport) {
        let hostname = &self.options.hostname;
        let notification = report::notification(due.envelope(), due.results(), hostname);
        if let Some(notification) = notification {
            if let Err(error) = self.store.report(due, &notification) {
                eprintln!("a failure is not reported yet: {error}");
            }
        }
    }
}

/// One connection, seen from the mail system.
struct Mail {
    service: Arc<Service>,
    session: SessionHandle,
    number: u64,
    /// For whom records are counted.
    owner: String,
    claim: Option<(TransactionKey, Generation)>,
    content: Option<Content>,
    decision: Option<DecisionHandle>,
}

impl Handler for Mail {
    fn handle(&mut self, smtp: &mut ServerSession, now: Timestamp, event: Event) {
        match event {
            Event::Mail(question) => self.mail(smtp, now, question),
            Event::Rcpt(question) => rcpt(smtp, now, question),
            Event::Data(question) => self.data(smtp, now, question),
            Event::Content => self.content(smtp, now),
            Event::CheckpointDue { record, .. } => {
                if let Err(error) = self.store_partial(&record) {
                    self.log(&error);
                    let _ = smtp.fail_content(now, reply::LOCAL_ERROR);
                }
            }
            Event::EndOfData(question) => self.end_of_data(smtp, now, question),
            Event::AwaitDecision(question) => self.await_decision(question),
            Event::Abandon(question) => self.abandon(smtp, now, question),
            Event::Abort(question) => self.abort(smtp, now, question),
            Event::Detach(question) => self.detach(smtp, now, question),
            Event::TakenBack { key, generation } => {
                if let Err(error) = self.service.store.take_back(&key, generation) {
                    self.log(&error); // reported although the client knows it: better than not
                }
            }
            Event::Interrupted { record, .. } => {
                if let Err(error) = self.store_partial(&record) {
                    self.log(&error);
                }
            }
            Event::Discard(discard) => self.service.store.discard(&discard),
            Event::Acknowledged(keys) => self.service.store.shorten_retention(&keys),
            Event::TransactionEnded | Event::ContentRefused(_) | Event::Finished(_) => {
                self.let_go();
            }
            // Not asked for by the configuration, or only worth a log: so is a reply that could not
            // be given (`ReplyUndelivered`), for the message stands, or its refusal.
            _ => {}
        }
    }

    fn saw(&mut self, side: char, octets: &[u8]) {
        if self.service.options.trace {
            trace(self.number, side, octets);
        }
    }
}

impl Mail {
    fn log(&self, error: &dyn std::fmt::Display) {
        eprintln!("connection {}: {error}", self.number);
    }

    fn mail(&mut self, smtp: &mut ServerSession, now: Timestamp, question: MailQuestion) {
        self.let_go();
        let claim = match question.key() {
            None => Ok(Claim::Unrecorded),
            Some(key) => {
                let session = self.session.clone();
                let ours = key.clone();
                let wanted = move |generation| {
                    session.call(move |smtp, now| smtp.supersede(now, &ours, generation));
                };
                let store = &self.service.store;
                store.claim(key, self.owner.as_bytes(), wanted)
            }
        };
        if let (Some(key), Ok(Claim::Claimed { generation, .. })) = (question.key(), &claim) {
            self.claim = Some((key.clone(), *generation));
        }
        let answer = match claim {
            Ok(claim) => MailAnswer::accept(claim),
            Err(error) => {
                self.log(&error);
                MailAnswer::Refuse(reply::LOCAL_ERROR.into())
            }
        };
        let _ = smtp.answer_mail(now, question, answer);
    }

    /// Only asked where a record is kept.
    fn data(&mut self, smtp: &mut ServerSession, now: Timestamp, question: DataQuestion) {
        let confirmed = question
            .claim()
            .map(|claim| self.service.store.confirm(claim));
        let answer = match confirmed {
            Some(Ok(content)) => {
                self.content = Some(content);
                DataAnswer::Proceed
            }
            Some(Err(confirmation)) => DataAnswer::Unconfirmed(confirmation),
            None => DataAnswer::Proceed,
        };
        let _ = smtp.answer_data(now, question, answer);
    }

    fn content(&mut self, smtp: &mut ServerSession, now: Timestamp) {
        let mut octets = Vec::new();
        let Some(range) = smtp.poll_content(&mut octets) else {
            return;
        };
        let store = &self.service.store;
        let content = self.content.get_or_insert_with(|| store.plain_content());
        if let Err(error) = store.append(content, range.start, &octets) {
            self.log(&error);
            let _ = smtp.fail_content(now, reply::LOCAL_ERROR);
        }
    }

    fn store_partial(&mut self, record: &Record) -> Result<(), Box<dyn std::error::Error>> {
        let (Some((key, _)), Some(content)) = (&self.claim, &mut self.content) else {
            return Ok(()); // nothing has come
        };
        Ok(self.service.store.store_partial(key, content, record)?)
    }

    fn end_of_data(
        &mut self,
        smtp: &mut ServerSession,
        now: Timestamp,
        question: EndOfDataQuestion,
    ) {
        let store = &self.service.store;
        let content = self.content.take();
        let begun = match (question.key(), question.record()) {
            (Some(key), Some(record)) => match content {
                Some(content) => store.begin_decision(key, record, content).ok(),
                None => resume_decision(store, key, record),
            },
            _ => {
                let content = content.unwrap_or_else(|| store.plain_content());
                Some(store.begin_plain_decision(smtp.transaction().envelope(), content))
            }
        };
        let Some(decision) = begun else {
            let _ = smtp.answer_end_of_data(now, question, EndOfDataAnswer::Outdated);
            return;
        };
        self.decision = Some(decision.handle());
        let session = self.session.clone();
        self.service.decide(decision, move |answer| {
            session.call(move |smtp, now| {
                let _ = smtp.answer_end_of_data(now, question, answer);
            });
        });
    }

    fn await_decision(&mut self, question: AwaitQuestion) {
        // What stands in the store is all there is: this session has nothing of its own.
        self.content = None;
        let session = self.session.clone();
        let key = question.key().clone();
        let generation = question.generation();
        let store = &self.service.store;
        store.await_decision(&key, generation, move |answer| {
            session.call(move |smtp, now| {
                let _ = smtp.answer_await(now, question, answer);
            });
        });
    }

    fn abandon(&mut self, smtp: &mut ServerSession, now: Timestamp, question: AbandonQuestion) {
        let withdrawn = self
            .decision
            .as_ref()
            .is_some_and(|decision| self.service.store.withdraw(decision));
        let answer = if withdrawn {
            AbandonAnswer::Abandoned
        } else {
            AbandonAnswer::TooLate
        };
        let _ = smtp.answer_abandon(now, question, answer);
    }

    /// The client wants the message stopped.
    fn abort(&mut self, smtp: &mut ServerSession, now: Timestamp, question: AbortQuestion) {
        let store = &self.service.store;
        let answer = match (question.key(), question.generation(), &self.decision) {
            (Some(key), Some(generation), _) => store.abort(key, generation),
            (_, _, Some(decision)) if store.withdraw(decision) => ResetAnswer::Aborted,
            _ => ResetAnswer::TooLate,
        };
        let _ = smtp.answer_abort(now, question, answer);
    }

    /// The client wants to hang up, and the message to go on.
    fn detach(&mut self, smtp: &mut ServerSession, now: Timestamp, question: DetachQuestion) {
        let store = &self.service.store;
        let detached = match (question.key(), question.generation(), &self.decision) {
            (Some(key), Some(generation), _) => store.detach(key, generation),
            (_, _, Some(decision)) => store.detach_plain(decision, self.owner.as_bytes()),
            _ => Ok(Detached::NothingHeld),
        };
        let envelope = smtp.transaction().envelope();
        let answer = match (detached, question.held()) {
            (Ok(Detached::Owned), _) => DetachAnswer::Owned,
            (Ok(Detached::OverLimit), _) => DetachAnswer::OverLimit,
            (Ok(Detached::Outdated), _) => DetachAnswer::Outdated,
            (Ok(Detached::Decided(replies)), _) => self.leave(envelope, &replies),
            // The content was refused for what it is, or the store had failed: nothing is kept of
            // that but the reply.
            (Ok(Detached::NothingHeld), Some(replies)) => self.leave(envelope, replies),
            (Ok(Detached::NothingHeld), None) => DetachAnswer::Failed,
            (Err(error), _) => {
                self.log(&error);
                DetachAnswer::Failed
            }
        };
        let _ = smtp.answer_detach(now, question, answer);
    }

    /// The client will never hear these final replies, of which there is no record: a failure is
    /// reported now.
    fn leave(&self, envelope: &Envelope, replies: &[Reply]) -> DetachAnswer {
        let Ok(results) = RecipientResult::from_replies(envelope, replies) else {
            return DetachAnswer::Failed;
        };
        let hostname = &self.service.options.hostname;
        let Some(notification) = report::notification(envelope, &results, hostname) else {
            return DetachAnswer::Owned;
        };
        match self.service.store.report_plain(&notification) {
            Ok(()) => DetachAnswer::Owned,
            Err(error) => {
                self.log(&error);
                DetachAnswer::Failed
            }
        }
    }

    /// The transaction is over for this session.
    fn let_go(&mut self) {
        let store = &self.service.store;
        if let Some(content) = self.content.take() {
            store.drop_content(content);
        }
        if let Some((key, generation)) = self.claim.take() {
            store.release(&key, generation);
            self.service.see_to_duties();
        }
        self.decision = None;
    }
}

/// The decision that this session waited for was withdrawn, and all data is in the store.
fn resume_decision(store: &FileStore, key: &TransactionKey, record: &Record) -> Option<Decision> {
    let claim = ClaimToConfirm {
        key: key.clone(),
        generation: record.generation(),
        length: record.length(),
        fresh: false,
    };
    let content = store.confirm(&claim).ok()?;
    store.begin_decision(key, record, content).ok()
}

fn rcpt(smtp: &mut ServerSession, now: Timestamp, question: RcptQuestion) {
    let recipient = smtp.transaction().envelope().recipient(question.index());
    let known = recipient.is_some_and(|recipient| is_known(&recipient.rcpt()));
    let reply = if known {
        reply::RECIPIENT_OK
    } else {
        NO_SUCH_MAILBOX
    };
    let _ = smtp.answer_rcpt(now, question, reply);
}

/// Everybody at example.net, and the postmaster, whom every server takes mail for.
fn is_known(rcpt: &Rcpt<'_>) -> bool {
    match &rcpt.forward_path {
        ForwardPath::Postmaster => true,
        ForwardPath::Mailbox(mailbox) => mailbox
            .domain()
            .as_bytes()
            .eq_ignore_ascii_case(b"example.net"),
    }
}

const NO_SUCH_MAILBOX: StaticReply = fixed(
    ReplyCode::MAILBOX_UNAVAILABLE,
    EnhancedCode::new(5, 1, 1),
    "No such mailbox here",
);

/// Prints a few lines of what was read or written at once.
fn trace(number: u64, side: char, octets: &[u8]) {
    const LINES: usize = 12;
    let mut shown = 0;
    for line in octets.split_inclusive(|octet| *octet == b'\n').take(LINES) {
        shown += line.len();
        eprintln!(
            "[{number}] {side}: {}",
            line.trim_ascii_end().escape_ascii()
        );
    }
    if shown < octets.len() {
        eprintln!("[{number}] {side}: ({} more octets)", octets.len() - shown);
    }
}
