//! The client of a whole session, from the greeting to QUIT, as a state machine without input or
//! output of its own.
//!
//! Layer 4. The first try of a transaction and the try after a crash are the same call,
//! [`ClientSession::send`]. What has to be durable when is asked by [`Event::Store`]; everything
//! that the crate decides about restarts is in [`checkpoint`](crate::checkpoint).
//!
//! ```
//! use std::sync::Arc;
//! use bytes::Bytes;
//! use smtp_checkpoint::checkpoint::{Content, Outcome, UnfinishedTransaction};
//! use smtp_checkpoint::client::{ClientConfig, ClientSession, Event, TlsPolicy};
//! use smtp_checkpoint::command::{MailLine, RcptLine};
//! use smtp_checkpoint::time::Timestamp;
//! use smtp_checkpoint::transid::TransId;
//!
//! let message = b"Subject: ping\r\n\r\npong\r\n";
//! // From the operating system, in earnest: without it nothing can be restarted.
//! let transid = TransId::from_random([0xa5; 16], b"ymir.claremont.edu")?;
//! let transaction = UnfinishedTransaction::builder(
//!     MailLine::parse(&b"MAIL FROM:<ned@ymir.claremont.edu>"[..])?,
//!     Content::measure(message),
//!     1_190_000_000, // seconds since 1970, from the wall clock
//! )
//! .recipient(RcptLine::parse(&b"RCPT TO:<mrose@dbc.mtview.ca.us>"[..])?)
//! .transid(transid)
//! .build()?;
//!
//! let config = Arc::new(ClientConfig::builder("ymir.claremont.edu", TlsPolicy::Never).build()?);
//! let now = Timestamp::ORIGIN; // from a monotonic clock
//! let mut smtp = ClientSession::new(config, now);
//! let mut content = &message[..];
//! // What the server sends; in earnest it comes from a socket, one read at a time.
//! let mut replies = ["220 hi\r\n", "250 hello\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n",
//!     "250 taken\r\n", "221 bye\r\n"].into_iter();
//! let mut delivered = false;
//! 'session: loop {
//!     while let Some(event) = smtp.poll_event() {
//!         match event {
//!             Event::Ready if !delivered => smtp.send(now, &transaction)?,
//!             Event::Ready => smtp.quit(now)?,
//!             Event::Store(question) => { /* write it to disk */ smtp.stored(now, question)?; }
//!             Event::Done(outcome) => {
//!                 delivered = matches!(outcome, Outcome::Delivered { .. });
//!                 smtp.outcome_stored(now)?;
//!             }
//!             Event::Finished(_) => break 'session,
//!             _ => {}
//!         }
//!     }
//!     while smtp.wants_content() {
//!         if content.is_empty() {
//!             smtp.finish_content(now)?;
//!         } else {
//!             smtp.send_content(now, &mut content)?;
//!         }
//!     }
//!     // Write output and read input at the same time; here one after the other.
//!     if let Some(octets) = smtp.take_output() {
//!         smtp.transmitted(now, octets.len())?;
//!     }
//!     if let Some(reply) = replies.next() {
//!         smtp.handle_input(now, &mut Bytes::from_static(reply.as_bytes()));
//!     }
//! }
//! assert!(delivered);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attempt;
mod config;
mod content;
mod event;
mod interim;
mod outcome;
mod replies;
mod state;
#[cfg(test)]
mod tests;
mod transaction;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use thiserror::Error;

pub use crate::protocol::Protocol;
pub use config::{
    ClientConfig, ClientConfigBuilder, ConfigError, RdlvRequest, Timeouts, TlsPolicy, WithoutRdlv,
};
pub use event::{
    Answered, ChallengeAnswer, ChallengeQuestion, ChoiceError, ChoiceQuestion, Ending, Event,
    NoRdlv, RecipientVerdict, SendError, StoreQuestion, TlsOutcome,
};

use crate::checkpoint::{Cause, ClientScope, Server, UnfinishedTransaction};
use crate::command::{BuildError, Command, CommandLine, base64};
use crate::ehlo::Capabilities;
use crate::error::{PeerError, UsageError};
use crate::output::{Output, Position};
use crate::reply::ReplyReader;
use crate::text::Secret;
use crate::time::Timestamp;
use crate::token::Tokens;
use attempt::Attempt;
use state::{Phase, Step};

/// The connection that a session speaks over, as the caller knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connection {
    /// The server.
    pub server: Server,
    /// The address that the connection comes from, in a form of the caller's choice; not its port,
    /// which is another one each time.
    pub local_address: Vec<u8>,
    /// Whether it begins under TLS.
    pub tls: bool,
    /// The identity of the client's TLS certificate, where the server asks for one. It counts while
    /// TLS is in use: in clear the server knows the client by its name and address.
    pub identity: Option<Vec<u8>>,
}

/// Why AUTH is not sent. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum AuthError {
    /// The session is not ready, or would send credentials in clear.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The mechanism or the initial response cannot be written.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// A client session.
///
/// Four families of methods: getters; `handle_*` (world to session); verbs (caller to session);
/// `poll_*` (session to caller). Drive it by these rules, in any order:
///
/// * give it input as it comes, also while writing, and never input that came before output was
///   [`transmitted`](Self::transmitted) as if it came after: a reply that is there before its
///   command has left is a protocol error;
/// * write its output and say how much was transmitted;
/// * drain [`poll_event`](Self::poll_event) after every call, answer questions when you can (one
///   has a time: [`Event::StillDeciding`], where RDLV was asked for without a policy);
/// * give content while it [wants](Self::wants_content) some;
/// * call [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout).
///
/// Dropping it at any point is a cut connection: what was stored last then holds.
///
/// Over a blocking socket, in clear ([`TlsPolicy::Never`]), with the message in memory. `hold` makes
/// the transaction durable, `settle` what became of it
/// ([`Outcome`](crate::checkpoint::Outcome)), in one step with the queue that the message stands
/// in: what is delivered but still queued is sent twice, what is deferred and queued no more is
/// lost. So is a recipient who was deferred where the outcome is that of the others.
///
/// ```no_run
/// # use std::{error::Error, io::{ErrorKind, Read, Write}, net::TcpStream, sync::Arc};
/// # use std::{collections::BTreeMap, time::{Duration, Instant}};
/// # use bytes::Bytes;
/// # use smtp_checkpoint::{checkpoint::{Outcome, UnfinishedTransaction}, time::Timestamp};
/// # use smtp_checkpoint::client::{
/// #     ClientConfig, ClientSession, Connection, Ending, Event, RecipientVerdict,
/// # };
/// # fn hold(transaction: &UnfinishedTransaction) -> std::io::Result<()> { let _ = transaction; Ok(()) }
/// # type Verdicts = BTreeMap<usize, RecipientVerdict>;
/// # fn settle(done: &Outcome, to: &Verdicts) -> std::io::Result<()> { let _ = (done, to); Ok(()) }
/// fn deliver(
///     mut io: TcpStream,
///     config: Arc<ClientConfig>,
///     connection: Connection,
///     transaction: UnfinishedTransaction,
///     message: &[u8],
/// ) -> Result<(Option<Outcome>, Ending), Box<dyn Error>> {
///     let origin = Instant::now();
///     let now = || Timestamp::from_origin(origin.elapsed());
///     let mut smtp = ClientSession::connected(config, connection, now());
///     io.set_write_timeout(Some(Duration::from_secs(1)))?;
///     io.set_read_timeout(Some(Duration::from_secs(1)))?;
///     let (mut content, mut outcome, mut buffer) = (&message[..0], None, [0; 16 * 1024]);
///     let mut recipients = BTreeMap::new(); // by their places in the transaction
///     loop {
///         while let Some(event) = smtp.poll_event() {
///             match event {
///                 Event::Ready if outcome.is_some() => smtp.quit(now())?,
///                 Event::Ready => smtp.send(now(), &transaction)?,
///                 Event::Store(question) => {
///                     hold(question.transaction())?;
///                     smtp.stored(now(), question)?;
///                 }
///                 Event::SendContent { start, .. } => {
///                     content = &message[usize::try_from(start.get())?..];
///                 }
///                 Event::Recipient { index, verdict, .. } => {
///                     recipients.insert(index, verdict);
///                 }
///                 Event::Done(done) => {
///                     settle(&done, &recipients)?;
///                     outcome = Some(done);
///                     smtp.outcome_stored(now())?;
///                 }
///                 Event::Finished(ending) => return Ok((outcome, ending)),
///                 _ => {}
///             }
///         }
///         let is_fed = smtp.wants_content();
///         if is_fed {
///             if content.is_empty() {
///                 smtp.finish_content(now())?;
///             } else {
///                 smtp.send_content(now(), &mut content)?;
///             }
///         }
///         // Where writing fails, reading still gives what the server had to say, and the end.
///         if let Ok(written) = io.write(smtp.output()) {
///             smtp.transmitted(now(), written)?;
///         }
///         let busy = is_fed || !smtp.output().is_empty(); // content may bring events
///         io.set_nonblocking(busy)?; // only look whether a reply has come
///         let read = io.read(&mut buffer);
///         io.set_nonblocking(false)?;
///         match read {
///             Ok(0) => smtp.handle_eof(now()),
///             Ok(n) => smtp.handle_input(now(), &mut Bytes::copy_from_slice(&buffer[..n])),
///             Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
///             Err(_) => smtp.handle_eof(now()),
///         }
///         smtp.handle_timeout(now());
///     }
/// }
/// ```
#[derive(Debug)]
pub struct ClientSession {
    config: Arc<ClientConfig>,
    connection: Connection,
    tls: bool,
    /// The identity that AUTH has established.
    identity: Option<Vec<u8>>,
    /// The identity that an AUTH under way would establish.
    claimed: Option<Vec<u8>>,
    /// Its initial response, where the line was too short for it.
    initial: Option<Secret>,
    phase: Phase,
    owed: VecDeque<Owed>,
    replies: ReplyReader,
    output: Output,
    events: VecDeque<Event>,
    tokens: Tokens,
    /// The question that is open.
    open: Option<u64>,
    capabilities: Capabilities,
    attempt: Option<Box<Attempt>>,
    /// The server is between transactions once the outcome is told.
    usable: bool,
    /// When something last moved.
    since: Timestamp,
    /// How the session ends when QUIT is answered.
    ending: Ending,
}

/// A reply that is due.
#[derive(Debug, Clone, Copy)]
struct Owed {
    to: Expect,
    /// The end of its command: no reply can come before that has left.
    behind: Position,
}

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Sasl,
    Mail,
    Rcpt(usize),
    Rdlv,
    Data,
    Chunk,
    /// The end of the data; with LMTP for the recipient with this index.
    Final(usize),
    /// DETA.
    Detach,
    /// RSET in answer to a 120.
    Abort,
    /// The end of the data that was never begun, because no recipient was accepted.
    LoneDot,
    Reset,
    /// A command of the caller's own.
    Own,
    Quit,
}

impl ClientSession {
    /// A session on a fresh connection of which nothing is known: the transaction remembers no
    /// server and no local address, so that neither [`Reconnect`](crate::checkpoint::Reconnect) nor
    /// [`send`](Self::send) can tell addresses apart. A server takes a client at another address
    /// for another client, and a message whose end was sent is then delivered twice. For restarts
    /// use [`connected`](Self::connected).
    #[must_use]
    pub fn new(config: Arc<ClientConfig>, now: Timestamp) -> Self {
        Self::connected(config, Connection::default(), now)
    }

    /// A session on a fresh connection.
    #[must_use]
    pub fn connected(config: Arc<ClientConfig>, connection: Connection, now: Timestamp) -> Self {
        let output = Output::default();
        let owed = Owed {
            to: Expect::Greeting,
            behind: output.position(),
        };
        Self {
            config,
            tls: connection.tls,
            identity: None,
            connection,
            claimed: None,
            initial: None,
            phase: Phase::Greeting,
            owed: VecDeque::from([owed]),
            replies: ReplyReader::new(),
            output,
            events: VecDeque::new(),
            tokens: Tokens::default(),
            open: None,
            capabilities: Capabilities::default(),
            attempt: None,
            usable: true,
            since: now,
            ending: Ending::Quit,
        }
    }

    // Getters.

    /// What the server offers; nothing before its reply to EHLO, or where it knows only HELO.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether TLS is in use.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// From where it speaks.
    #[must_use]
    pub fn scope(&self) -> ClientScope {
        ClientScope {
            name: self.config.name.as_bytes().to_vec(),
            identity: self.identity.clone().or_else(|| {
                let certificate = self.connection.identity.clone();
                certificate.filter(|_| self.tls)
            }),
            tls: self.tls,
            local_address: self.connection.local_address.clone(),
        }
    }

    /// The transaction under way.
    #[must_use]
    pub fn transaction(&self) -> Option<&UnfinishedTransaction> {
        self.attempt.as_ref().map(|attempt| &attempt.transaction)
    }

    /// Whether [`send`](Self::send) and [`quit`](Self::quit) are in turn.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Closed
    }

    // World to session.

    /// Takes what came from the transport and advances `input` over it. What is left after the
    /// end of the session, or before a TLS handshake, stays.
    pub fn handle_input(&mut self, now: Timestamp, input: &mut Bytes) {
        while self.phase != Phase::Closed {
            if self.phase == Phase::TlsHandshake {
                // RFC 3207 §6, CVE-2011-0411: what came in clear must not be taken for what
                // comes under TLS.
                if !input.is_empty() {
                    self.fail(PeerError::OctetsBeforeTls);
                }
                return;
            }
            match self.replies.read(input, &self.config.limits) {
                None => return,
                Some(Ok(reply)) => self.take_reply(now, reply),
                Some(Err(_)) => self.fail(PeerError::MalformedReply),
            }
        }
    }

    /// The transport has ended, or failed: nothing more comes. Where only writing has failed, read
    /// first what the server sent before, which may be the reason.
    pub fn handle_eof(&mut self, _now: Timestamp) {
        match self.phase {
            Phase::Closed => {}
            Phase::Quitting => self.close(self.ending),
            _ => {
                self.events
                    .push_back(Event::PeerFault(PeerError::ConnectionLost));
                self.interrupt(Cause::Lost, Ending::Lost);
            }
        }
    }

    /// The transport failed: nothing can be read or transmitted any more. Read first what the
    /// server sent before, which may be the reason. As [`handle_eof`](Self::handle_eof); the
    /// server's session has the two as well, and there they differ.
    pub fn handle_disconnect(&mut self, now: Timestamp) {
        self.handle_eof(now);
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) told has come; earlier it does nothing.
    /// The session gives up without QUIT, unless it has only to warn
    /// ([`Event::ChoiceDue`]).
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.rdlv_deadline().is_some() {
            return self.rdlv_timeout(now);
        }
        if self.phase == Phase::Quitting {
            return self.close(self.ending);
        }
        self.events.push_back(Event::PeerFault(PeerError::TimedOut));
        self.interrupt(Cause::TimedOut, Ending::TimedOut);
    }

    /// The handshake that [`Event::TlsHandover`] asked for is done, or has failed.
    ///
    /// # Errors
    ///
    /// [`UsageError::OutOfTurn`] without a hand-over.
    pub fn handle_tls(&mut self, now: Timestamp, outcome: TlsOutcome) -> Result<(), UsageError> {
        if self.phase != Phase::TlsHandshake {
            return Err(UsageError::OutOfTurn);
        }
        match outcome {
            TlsOutcome::Established => {
                self.tls = true;
                // What was learnt in clear is forgotten (RFC 3207 §4.2).
                self.capabilities = Capabilities::default();
                self.say_hello(now);
            }
            TlsOutcome::Failed => self.close(Ending::TlsFailed),
        }
        Ok(())
    }

    /// The transport took `octets` of the output. Report it before passing on input that came
    /// later: a reply to a command that has not left was not asked for, and ends the session. What
    /// is not reported counts as never sent, and so does the message whose end it is. Where one
    /// task writes while another reads, use [`take_output`](Self::take_output), which counts as
    /// sent what it gives.
    ///
    /// # Errors
    ///
    /// [`UsageError::TransmittedTooMuch`].
    pub fn transmitted(&mut self, now: Timestamp, octets: usize) -> Result<(), UsageError> {
        if self.phase == Phase::Closed {
            return Ok(());
        }
        self.output.transmitted(octets)?;
        if octets > 0 {
            self.since = now;
        }
        if self.output.pending() == 0 {
            if let Some(rdlv) = self
                .attempt
                .as_mut()
                .and_then(|attempt| attempt.rdlv.as_mut())
            {
                rdlv.machine.transmitted(now);
            }
        }
        self.flush_chunks(now);
        Ok(())
    }

    // Caller to session.

    /// Begins AUTH, with the initial response where the mechanism has one; both are written as
    /// they must be. A response for which the command has no room answers the server's empty
    /// challenge, of which the caller is not told (RFC 4954 §4). `identity` is what the server will
    /// know the client by: the scope of later transactions.
    ///
    /// # Errors
    ///
    /// [`UsageError::OutOfTurn`] unless ready, [`UsageError::ClearText`] without TLS, unless the
    /// configuration allows it; [`BuildError`] where the line cannot be written.
    pub fn authenticate(
        &mut self,
        now: Timestamp,
        mechanism: &str,
        initial: Option<&[u8]>,
        identity: impl Into<Vec<u8>>,
    ) -> Result<(), AuthError> {
        if self.phase != Phase::Ready {
            return Err(UsageError::OutOfTurn.into());
        }
        if !self.tls && !self.config.auth_in_clear {
            return Err(UsageError::ClearText.into());
        }
        let (line, later) = match CommandLine::auth(mechanism, initial) {
            Err(BuildError::LineTooLong) => (CommandLine::auth(mechanism, None)?, initial),
            line => (line?, None),
        };
        self.initial = later.map(|response| Secret(Bytes::copy_from_slice(response)));
        self.claimed = Some(identity.into());
        self.step(Step::Sasl);
        self.command(now, line.as_bytes(), Expect::Sasl);
        Ok(())
    }

    /// Answers a challenge.
    ///
    /// # Errors
    ///
    /// [`UsageError::ForeignToken`].
    pub fn answer_challenge(
        &mut self,
        now: Timestamp,
        question: ChallengeQuestion,
        answer: ChallengeAnswer,
    ) -> Result<Answered, UsageError> {
        let number = self
            .tokens
            .redeem(&question.token)
            .ok_or(UsageError::ForeignToken)?;
        if self.open != Some(number) || self.phase != Phase::SaslAsked {
            return Ok(Answered::Stale);
        }
        self.open = None;
        self.step(Step::Sasl);
        match answer {
            ChallengeAnswer::Response(response) => {
                self.command(now, &base64::encode(&response), Expect::Sasl);
            }
            ChallengeAnswer::Cancel => {
                self.claimed = None;
                self.command(now, b"*", Expect::Sasl);
            }
        }
        Ok(Answered::Taken)
    }

    /// Ends the session in good order. It is in turn when [ready](Self::is_ready), so never while
    /// a reply is outstanding or an outcome is not stored.
    ///
    /// # Errors
    ///
    /// [`UsageError::OutOfTurn`]; use [`abandon`](Self::abandon) then.
    pub fn quit(&mut self, now: Timestamp) -> Result<(), UsageError> {
        if self.phase != Phase::Ready {
            return Err(UsageError::OutOfTurn);
        }
        self.say_quit(now, Ending::Quit);
        Ok(())
    }

    /// Sends a command that the session does not know, or NOOP or VRFY. Its reply comes with
    /// [`Event::CommandReply`], and nothing else is sent before.
    ///
    /// # Errors
    ///
    /// [`UsageError::OutOfTurn`] unless the session [is ready](Self::is_ready), and for commands
    /// that would change what the session knows: those have methods of their own.
    pub fn own_command(&mut self, now: Timestamp, command: &CommandLine) -> Result<(), UsageError> {
        let harmless = matches!(
            Command::parse(command.as_bytes()),
            Ok(Command::Noop(_)
                | Command::Vrfy(_)
                | Command::Expn(_)
                | Command::Help(_)
                | Command::Unknown(_))
        );
        if self.phase != Phase::Ready || !harmless {
            return Err(UsageError::OutOfTurn);
        }
        self.step(Step::Ask);
        self.command(now, command.as_bytes(), Expect::Own);
        Ok(())
    }

    /// Gives up: the transport is to be closed as it is, without QUIT. A transaction under way is
    /// interrupted.
    pub fn abandon(&mut self, _now: Timestamp) {
        if self.phase != Phase::Closed {
            self.interrupt(Cause::Abandoned, Ending::Abandoned);
        }
    }

    // Session to caller.

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due. `None` while the session waits for
    /// its caller only.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if let Some(deadline) = self.rdlv_deadline() {
            return Some(deadline);
        }
        let timeouts = &self.config.timeouts;
        let is_data = matches!(
            self.phase,
            Phase::Content | Phase::Final | Phase::Detaching | Phase::Aborting
        );
        let wait = match self.phase {
            Phase::Closed => return None,
            Phase::TlsHandshake => timeouts.handshake,
            _ if is_data && self.output.pending() > 0 => timeouts.data_block,
            _ => match self.owed.front()?.to {
                Expect::Greeting => timeouts.greeting,
                Expect::Mail => timeouts.mail,
                Expect::Rcpt(_) => timeouts.rcpt,
                Expect::Data => timeouts.data_initiation,
                Expect::Chunk | Expect::Final(_) | Expect::LoneDot => timeouts.data_termination,
                Expect::Ehlo
                | Expect::Helo
                | Expect::StartTls
                | Expect::Sasl
                | Expect::Rdlv
                | Expect::Detach
                | Expect::Abort
                | Expect::Reset
                | Expect::Own
                | Expect::Quit => timeouts.command,
            },
        };
        Some(self.since + wait)
    }

    /// The octets to transmit, lent: for transports that tell when they are ready.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.lent()
    }

    /// The octets to transmit, moved out: for transports that own what they write.
    pub fn take_output(&mut self) -> Option<Bytes> {
        self.output.take()
    }

    // Steps that all parts of the session share.

    /// Makes a step of the table. The callers below make only steps that are in it.
    fn step(&mut self, step: Step) {
        if let Some(next) = self.phase.after(step) {
            self.phase = next;
        }
    }

    /// Writes a line and notes the reply that is due for it.
    fn command(&mut self, now: Timestamp, line: &[u8], to: Expect) {
        let buffer = self.output.buffer();
        buffer.extend_from_slice(line);
        buffer.extend_from_slice(b"\r\n");
        self.owe(now, to);
    }

    fn owe(&mut self, now: Timestamp, to: Expect) {
        if self.owed.is_empty() {
            self.since = now;
        }
        let behind = self.output.position();
        self.owed.push_back(Owed { to, behind });
    }

    /// The peer broke a rule after which nothing is certain.
    fn fail(&mut self, fault: PeerError) {
        self.events.push_back(Event::PeerFault(fault));
        self.interrupt(Cause::Protocol(fault), Ending::Protocol);
    }

    /// Ends the session without another octet.
    fn close(&mut self, ending: Ending) {
        self.step(Step::Close);
        // Told now, they would ask for what is out of turn.
        let asks = |event: &Event| matches!(event, Event::Ready | Event::TlsHandover);
        self.events.retain(|event| !asks(event));
        self.output.discard();
        self.owed.clear();
        self.open = None;
        self.events.push_back(Event::Finished(ending));
    }

    fn say_quit(&mut self, now: Timestamp, ending: Ending) {
        self.ending = ending;
        self.step(Step::Quit);
        self.command(now, CommandLine::quit().as_bytes(), Expect::Quit);
    }
}
