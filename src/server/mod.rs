//! The server session: the whole SMTP or LMTP dialogue as a state machine.
//!
//! Layer 4. Octets and time go in, octets and events come out; the caller owns the transport, the
//! clock and the store. Methods are of four families:
//!
//! * **getters**;
//! * **`handle_*`**: from the world to the session ([input](ServerSession::handle_input),
//!   [end of input](ServerSession::handle_eof), [a broken
//!   transport](ServerSession::handle_disconnect), [time](ServerSession::handle_timeout),
//!   [TLS](ServerSession::handle_tls));
//! * **verbs**: from the caller to the session (`answer_*`, [`fail_content`], [`shutdown`],
//!   [`supersede`], [`amend_peer`], [`transmitted`]);
//! * **`poll_*`**: from the session to the caller ([events](ServerSession::poll_event),
//!   [content](ServerSession::poll_content), [the next deadline](ServerSession::poll_timeout)).
//!
//! # Durability
//!
//! What the caller makes durable, before which answer:
//!
//! | before | durable |
//! | --- | --- |
//! | a claim that found a partial record ([`MailAnswer::Accept`]) | its content up to [`Record::length`], envelope and replies; the claim itself may live in memory on one host |
//! | storing the record of [`Event::CheckpointDue`] or [`Event::Interrupted`] | the content taken so far, synced |
//! | [`EndOfDataAnswer::Decided`] with any 2yz | the message **and** the completion record ([`Record::complete`]), together or one derivable from the other ([`Envelope::served`](crate::envelope::Envelope::served)), committed once by compare-and-set on the key |
//! | [`DetachAnswer::Owned`](crate::rdlv::DetachAnswer::Owned) | that the message is the server's: its content, and the mark on its record ([`Record::detach`]), or its place in the queue |
//! | [`ResetAnswer::Aborted`](crate::rdlv::ResetAnswer::Aborted) | nothing, where a decision lives in the memory of its process; but that a record is gone which was detached, for that would be decided on after a crash |
//!
//! Everything else may be lazy or lost: 354 vouches for nothing; losing a partial record, or the
//! news of it, costs retransmission only; [`Event::Discard`] is advice. In the common case of a
//! message that is never interrupted there is one claim at MAIL, in memory, and no write before
//! the commit.
//!
//! What that costs, with the file store of the examples (`cargo bench --bench store_cost`, one run
//! on a shared Linux machine): 4 syncs and 2 writes for a message, with a record as without; the
//! time with a record was 0.96 times that of a plain spool for 2,000 octets, 1.00 for 50,000 and
//! 1.08 for 1,000,000, which is within the noise of that machine.
//!
//! What a crash may lose, and what then happens:
//!
//! | crash | found at the restart | the client sends |
//! | --- | --- | --- |
//! | before any record | nothing: 250 | the whole message |
//! | after a record, content growing | the record: `355 <length>` | the rest |
//! | while the decision runs | the last partial record, or nothing | the rest, or an empty data command; the decision begins anew |
//! | after the commit, before the reply | the completion record: `355 <size>` | an empty data command, and gets the stored reply |
//!
//! After a failed fsync call [`fail_content`] and drop the octets since the last good one: no
//! later fsync vouches for them. Two sessions meet on one key at the claim: the later one fences
//! the earlier, whose store operations are refused from then on; tell the earlier session with
//! [`supersede`], or let it find out. Told before the claim, it can still store what it has, so
//! that nothing is sent twice. Several hosts meet at the compare-and-set of the commit.
//!
//! # The life of a claim
//!
//! A claim lives until the next [`Event::Mail`] or [`Event::Finished`], whichever comes first: keep
//! what the store holds in memory for it until then. No single event ends it. It may have been
//! taken though the answer to [`Event::Mail`] was [`Answered::Stale`], or though MAIL was then
//! answered 503; a final reply ends the transaction without an event. A message that was taken back
//! after DETA has [`Event::TakenBack`] before the claim ends, or is the server's still.
//!
//! A client is often back before the server has noticed that the old connection is lost: then two
//! sessions hold the key for a while. [`Event::Interrupted`] of the earlier one comes late and
//! names an outdated generation; the store refuses it and nothing else happens.
//!
//! # Decisions that take long
//!
//! With [`rdlv`](ServerConfigBuilder::rdlv) a client that asked for it is told from time to time
//! that the decision goes on; it may stop it ([`Event::Abort`]), or hang up and leave the message
//! to the server ([`Event::Detach`]). For the caller nothing else changes: it answers
//! [`Event::EndOfData`] whenever it has decided, and the session gives the reply when the client
//! may have it. What happens when, and who reports a failure to the sender of a message that was
//! left to the server, is written down in [`rdlv`](crate::rdlv).
//!
//! A client that ends its side of the transport behind the final dot, without QUIT, has left: the
//! decision is abandoned, or goes on for the record, and its reply is not transmitted
//! ([`handle_eof`](ServerSession::handle_eof)).
//!
//! # The end of a session
//!
//! [`Event::Interrupted`] comes first, where there is something to keep; then
//! [`Event::TransactionEnded`], where a transaction was open; [`Event::Finished`] is the last.
//! [`Event::ReplyUndelivered`] is among them where a final reply waited behind a 120, or was not
//! transmitted any more.
//! Store the record of `Interrupted` also where the transport has failed: a loop that returns at
//! the first write error loses it. Call [`ServerSession::handle_disconnect`] and drain the events
//! instead.
//!
//! After `Finished` close in three steps: shut down the write half, read and throw away until the
//! peer has closed or a few seconds have passed, close. A TCP socket that is closed with octets
//! unread resets the connection, and the peer may never see the last reply (RFC 1122 §4.2.2.13).
//!
//! # The loop
//!
//! The order in which events, content, output and time-outs are drained does not change the
//! outcome; dropping the session at any point is a cut connection.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use bytes::Bytes;
//! use smtp_checkpoint::checkpoint::Claim;
//! use smtp_checkpoint::reply::standard as reply;
//! use smtp_checkpoint::server::{
//!     EndOfDataAnswer, Event, MailAnswer, Peer, ServerConfig, ServerSession,
//! };
//! use smtp_checkpoint::time::Timestamp;
//!
//! let config = ServerConfig::builder("mx.example.net").checkpoint(false).build()?;
//! let now = Timestamp::ORIGIN; // in a real loop: origin.elapsed()
//! let mut smtp = ServerSession::new(Arc::new(config), Peer::at(b"192.0.2.7"), now);
//! // In the place of a transport: what it reads, and what was written to it.
//! let mut reads = [
//!     &b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"[..],
//!     &b"Hello\r\n.\r\nQUIT\r\n"[..],
//! ].into_iter();
//! let (mut input, mut message, mut written) = (Bytes::new(), Vec::new(), Vec::new());
//! 'session: loop {
//!     smtp.handle_input(now, &mut input);
//!     while let Some(event) = smtp.poll_event() {
//!         match event {
//!             Event::Mail(question) => {
//!                 smtp.answer_mail(now, question, MailAnswer::accept(Claim::Unrecorded))?;
//!             }
//!             Event::Rcpt(question) => {
//!                 smtp.answer_rcpt(now, question, reply::RECIPIENT_OK)?;
//!             }
//!             Event::Content => {
//!                 smtp.poll_content(&mut message); // write it to the spool
//!             }
//!             Event::EndOfData(question) => {
//!                 let accepted = question.envelope().accepted();
//!                 assert!(accepted.map(|rcpt| rcpt.line()).eq([b"RCPT TO:<b@example.net>"]));
//!                 // scan, sync, and only then:
//!                 let verdict = reply::MESSAGE_ACCEPTED.into();
//!                 smtp.answer_end_of_data(now, question, EndOfDataAnswer::Decided(verdict))?;
//!             }
//!             Event::Finished(_) => break 'session,
//!             _ => {}
//!         }
//!     }
//!     if let Some(octets) = smtp.take_output() {
//!         written.extend_from_slice(&octets);
//!         smtp.transmitted(now, octets.len())?;
//!     } else if smtp.wants_input() {
//!         match reads.next() {
//!             Some(octets) => input = Bytes::from_static(octets),
//!             None => smtp.handle_eof(now),
//!         }
//!     }
//! }
//! assert_eq!(message.concat(), b"Hello\r\n");
//! assert!(written.ends_with(b"221 2.0.0 Closing the connection\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`fail_content`]: ServerSession::fail_content
//! [`shutdown`]: ServerSession::shutdown
//! [`supersede`]: ServerSession::supersede
//! [`amend_peer`]: ServerSession::amend_peer
//! [`transmitted`]: ServerSession::transmitted
//! [`Record::length`]: crate::checkpoint::Record::length
//! [`Record::complete`]: crate::checkpoint::Record::complete
//! [`Record::detach`]: crate::checkpoint::Record::detach

mod answer;
mod command;
mod config;
mod content;
mod drain;
mod drive;
mod event;
mod progress;
mod queue;
mod read;
mod short;
mod state;
mod workspace;

use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::sync::Arc;
use core::fmt;
use core::net::IpAddr;

use bytes::Bytes;

pub use crate::protocol::Protocol;
pub use answer::Answer;
pub use config::{ConfigError, DataRate, ServerConfig, ServerConfigBuilder, Timeouts};
pub use event::{
    AbandonAnswer, AbandonQuestion, AbandonReason, AbortQuestion, Answered, AuthAnswer,
    AuthFailure, AuthQuestion, AuthResponseQuestion, AwaitAnswer, AwaitQuestion, BurlAnswer,
    BurlQuestion, ClaimToConfirm, CommandAnswer, CommandQuestion, ConnectionAnswer,
    ConnectionQuestion, DataAnswer, DataQuestion, DetachQuestion, EndOfDataAnswer,
    EndOfDataQuestion, Ending, Event, HelloAnswer, HelloQuestion, MailAnswer, MailQuestion,
    Misanswered, RcptQuestion, StartTlsAnswer, StartTlsQuestion, TlsOutcome,
};

use self::short::Short;
use self::state::{Phase, Step};
use self::workspace::Lazy;
use crate::checkpoint::{Generation, Transaction, TransactionKey};
use crate::error::UsageError;
use crate::line::LineReader;
use crate::output::Output;
use crate::reply::{Reply, standard};
use crate::time::Timestamp;
use crate::token::Tokens;

/// What the caller knows of the other end of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// The address, in a form of the caller's choice that is always the same for the same host.
    /// Part of the key of a transaction where there is no better identity.
    pub address: Bytes,
    /// TLS is in use from the start (RFC 8314), or has been negotiated.
    pub tls: bool,
    /// The identity of the TLS client certificate, where the caller trusts it.
    pub tls_client: Option<Bytes>,
    /// The identity that AUTH established, or that the caller knows otherwise.
    pub authenticated: Option<Bytes>,
}

impl Peer {
    /// A peer at this address, in clear and not authenticated. For an IP address there is
    /// `Peer::from`, which writes an IPv4-mapped IPv6 address as the IPv4 address that it is.
    ///
    /// ```
    /// use std::net::IpAddr;
    /// use smtp_checkpoint::server::Peer;
    ///
    /// let ip: IpAddr = "::ffff:192.0.2.7".parse()?;
    /// assert_eq!(Peer::from(ip), Peer::at(b"192.0.2.7"));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn at(address: &[u8]) -> Self {
        Self {
            address: Bytes::copy_from_slice(address),
            ..Self::default()
        }
    }
}

impl From<IpAddr> for Peer {
    fn from(ip: IpAddr) -> Self {
        Self::at(ip.to_canonical().to_string().as_bytes())
    }
}

/// A question that waits for its answer.
#[derive(Debug, Clone, Copy)]
struct Asked {
    number: u64,
    since: Timestamp,
}

/// The reply to one RCPT of a pipelined group: replies keep the order of the commands.
#[derive(Debug)]
enum Slot {
    Open(Asked),
    Answered(Reply),
}

/// One SMTP or LMTP connection, seen from the server. See the [module](self).
///
/// After EHLO it holds less than 512 octets, heap included (a name or an address of unusual length
/// aside). What mail needs is made at the first MAIL and kept, about 3 KiB: the transactions behind
/// it allocate nothing, as long as they keep no record, their commands arrive whole and few lines
/// begin with a dot. Content leaves as slices of the input.
pub struct ServerSession {
    config: Arc<ServerConfig>,
    peer: Peer,
    tokens: Tokens,
    phase: Phase,
    /// The latest time that the caller told.
    now: Timestamp,
    /// When the present wait began.
    since: Timestamp,

    /// What came and is not read yet; never empty, so that no buffer is kept for nothing.
    input: Option<Bytes>,
    /// Octets received in all.
    received: u64,
    /// Of these, those before the command that was read last.
    before_command: u64,
    eof: bool,
    /// Writing failed: nothing will be transmitted any more.
    broken: bool,
    lines: LineReader,
    output: Output,
    /// Behind the one that is in the workspace.
    events: VecDeque<Event>,

    /// The number of the question that the phase waits for.
    asked: Option<u64>,
    work: Lazy,

    hello: Short,
    /// EHLO or LHLO, so that extensions are in force.
    extended: bool,
    /// The next reply stands for the greeting or answers a hello: it has no enhanced code.
    codeless: bool,
    errors: u32,
    /// A MAIL was refused: so many RCPTs and data commands of its group are no errors.
    excused: u32,
    idle_commands: u32,
    auth_attempts: u32,
    ending: Option<Ending>,
    shutdown: Option<Timestamp>,
}

/// Without the octets that are yet to be read: they may be a password.
impl fmt::Debug for ServerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSession")
            .field("phase", &self.phase)
            .field("hello", &self.hello)
            .field("extended", &self.extended)
            .field("asked", &self.asked)
            .field("unread", &self.input.as_ref().map_or(0, Bytes::len))
            .field("output", &self.output)
            .field("events", &self.events)
            .field("work", &self.work)
            .field("received", &self.received)
            .field("eof", &self.eof)
            .field("broken", &self.broken)
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}

impl ServerSession {
    /// A session on a new connection. Its first event or output is the greeting.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>, peer: Peer, now: Timestamp) -> Self {
        let mut session = Self {
            work: Lazy::new(Arc::clone(&config)),
            config,
            peer,
            tokens: Tokens::default(),
            phase: Phase::Connecting,
            now,
            since: now,
            input: None,
            received: 0,
            before_command: 0,
            eof: false,
            broken: false,
            lines: LineReader::new(),
            output: Output::default(),
            events: VecDeque::new(),
            asked: None,
            hello: Short::default(),
            extended: false,
            codeless: true,
            errors: 0,
            excused: 0,
            idle_commands: 0,
            auth_attempts: 0,
            ending: None,
            shutdown: None,
        };
        if session.config.ask_connection {
            let token = session.ask();
            session.tell(Event::Connection(ConnectionQuestion { token }));
        } else {
            session.greet();
        }
        session
    }

    // ---- getters ----

    /// What is known of the peer.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The argument of the last EHLO, HELO or LHLO that was accepted, octet for octet; empty before
    /// the first.
    #[must_use]
    pub fn hello(&self) -> &[u8] {
        &self.hello
    }

    /// The transaction: its envelope and key. Without a transaction, that of the last one until it
    /// is forgotten.
    #[must_use]
    pub fn transaction(&self) -> &Transaction {
        &self.work.transaction
    }

    /// Whether the session has read what it was given and would take more. While it waits for an
    /// answer, for the output to be transmitted or for its content to be taken, it holds one input
    /// at most, so that the end of the transport is seen even then. False from the 220 to STARTTLS
    /// on: what comes then is for the handshake. Up to date once [`poll_event`](Self::poll_event)
    /// has given `None`.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let reads = !matches!(
            self.phase,
            Phase::TlsReply | Phase::TlsHandshake | Phase::Closing | Phase::Closed
        );
        reads && !self.eof && self.input.is_none()
    }

    /// What is left of the input, for a protocol that takes over from here.
    #[must_use]
    pub fn unread_input(&self) -> &[u8] {
        self.input.as_deref().unwrap_or_default()
    }

    /// Whether [`Event::Finished`] has been told.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Closed && self.has_no_event()
    }

    // ---- handle_*: from the world to the session ----

    /// Octets came. The session takes all of `input` if it has read what it had, nothing
    /// otherwise: what it leaves, pass again. It shares the memory of `input` until it has read it.
    ///
    /// A caller that reads ahead of [`wants_input`](Self::wants_input) may have more waiting when
    /// [`poll_event`](Self::poll_event) gives `None`: as long as the session wants input then, the
    /// next turn begins at once, without waiting for the transport.
    pub fn handle_input(&mut self, now: Timestamp, input: &mut Bytes) {
        self.note_time(now);
        if self.eof || matches!(self.phase, Phase::Closing | Phase::Closed) {
            input.clear();
        } else if self.input.is_none() && !input.is_empty() {
            self.received = self.received.saturating_add(input.len() as u64);
            self.input = Some(core::mem::take(input));
            if let Some(work) = self.work.get_mut() {
                work.input_came = Some(self.now);
            }
        }
    }

    /// The peer will send nothing more. What came before is still read; then the connection counts
    /// as lost, unless QUIT was the last of it. Go on with the loop until [`Event::Finished`].
    ///
    /// Octets that [`handle_input`](Self::handle_input) has left with the caller go first: pass
    /// them until none are left, draining the events in between, and only then report the end.
    /// What is passed after it is thrown away.
    pub fn handle_eof(&mut self, now: Timestamp) {
        self.note_time(now);
        self.eof = true;
    }

    /// The transport failed: nothing can be read or transmitted any more. What came before is still
    /// read. Drain [`poll_event`](Self::poll_event) once more for what is to be kept, and do not
    /// wait for [`output`](Self::output) to become empty.
    pub fn handle_disconnect(&mut self, now: Timestamp) {
        self.note_time(now);
        self.eof = true;
        self.broken = true;
    }

    /// Time has passed. Does nothing before the deadline that
    /// [`poll_timeout`](Self::poll_timeout) tells.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.note_time(now);
        if self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.time_out();
        }
    }

    /// The handshake that [`Event::TlsHandover`] asked for is over. The session is as new: the
    /// client says EHLO again.
    ///
    /// # Errors
    ///
    /// [`UsageError::OutOfTurn`] where no handshake was asked for.
    pub fn handle_tls(&mut self, now: Timestamp, outcome: TlsOutcome) -> Result<(), UsageError> {
        self.note_time(now);
        if self.phase != Phase::TlsHandshake {
            return Err(UsageError::OutOfTurn);
        }
        match outcome {
            TlsOutcome::Established { client } => {
                self.go(Step::TlsDone);
                self.peer.tls = true;
                self.peer.tls_client = client;
                self.peer.authenticated = None;
                self.hello = Short::default();
                self.extended = false;
                self.lines = LineReader::new();
                if self.shutdown.is_some() {
                    self.close(Some(standard::SHUTTING_DOWN.into()), Ending::Closed);
                }
            }
            TlsOutcome::Failed => self.end(Ending::Lost),
        }
        Ok(())
    }

    // ---- verbs ----

    /// Sets what is known of the peer, for instance an identity that a proxy told. It counts from
    /// the next MAIL on.
    pub fn amend_peer(&mut self, peer: Peer) {
        self.peer = peer;
    }

    /// The server is going down: 421 where that is legal, at once or, while a decision is open,
    /// behind its final reply. An interrupted transaction is told with [`Event::Interrupted`].
    /// Content that has not been taken by now is gone, and is not in its record.
    ///
    /// Go on with the loop until [`Event::Finished`]: the 421 has to be transmitted. An open
    /// decision has [`Timeouts::shutdown`], then [`Event::Abandon`] asks for it; a final reply
    /// that waits behind a 120 has as long, then the session closes without it.
    pub fn shutdown(&mut self, now: Timestamp) {
        self.note_time(now);
        if self.shutdown.is_none() {
            self.shutdown = Some(self.now + self.config.timeouts.shutdown);
        }
        let waits = matches!(
            self.phase,
            Phase::Deciding | Phase::Awaiting | Phase::TlsReply | Phase::TlsHandshake
        );
        if !waits {
            self.close(Some(standard::SHUTTING_DOWN.into()), Ending::Closed);
        }
    }

    /// Another session has claimed `key`, or wants to: if this one's transaction holds it under
    /// the claim `generation`, it ends with 421 4.3.0 and never gives a final 2yz. Late news about
    /// another transaction changes nothing. Where the final reply to a message that was taken back
    /// after DETA has not been transmitted yet, it ends without it.
    ///
    /// What came so far is told with [`Event::Interrupted`]. A store whose claim can wait a moment
    /// stores that before it raises the generation: a client is often back before the server has
    /// noticed that the old connection is lost. A decision under way goes on; it belongs to the
    /// record.
    pub fn supersede(&mut self, now: Timestamp, key: &TransactionKey, generation: Generation) {
        self.note_time(now);
        let holds = self.work.transaction.key() == Some(key)
            && self.work.transaction.generation() == Some(generation);
        if holds && self.phase.in_transaction() {
            self.close(Some(standard::FENCED.into()), Ending::Closed);
        } else if self.takes_back(key, generation) {
            // Who tells the sender is the other session's to find out.
            self.end(Ending::Silent);
        }
    }

    // ---- poll_*: from the session to the caller ----

    /// The next event; `None` until something is handled or answered.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            match self.work.get_mut() {
                Some(work) if work.event.is_some() => return work.event.take(),
                _ if !self.events.is_empty() => return self.events.pop_front(),
                _ => {}
            }
            if !self.advance() {
                return None;
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` once the session is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let timeouts = &self.config.timeouts;
        let wait = match self.phase {
            Phase::Closed => return None,
            Phase::Closing | Phase::TlsReply => timeouts.closing,
            Phase::TlsHandshake => timeouts.handshake,
            Phase::Sasl => timeouts.command,
            Phase::Content => return Some(self.content_deadline()),
            Phase::Deciding | Phase::Awaiting => return Some(self.decision_deadline()),
            Phase::BurlAsked if self.may_take_long() => return Some(self.decision_deadline()),
            Phase::Connecting
            | Phase::HelloAsked(_)
            | Phase::MailAsked
            | Phase::DataAsked
            | Phase::BurlAsked
            | Phase::SaslAsked
            | Phase::TlsAsked => timeouts.question,
            Phase::Greeted
            | Phase::Ready
            | Phase::Envelope
            | Phase::BetweenChunks
            | Phase::Spoiled => {
                let open = self.work.recipients.iter().find_map(|slot| match slot {
                    Slot::Open(asked) => Some(*asked),
                    Slot::Answered(_) => None,
                });
                return Some(match (open.or(self.work.aside), self.drain_deadline()) {
                    (Some(asked), _) => asked.since + timeouts.question,
                    (None, Some(drained)) => drained.min(self.since + timeouts.command),
                    (None, None) => self.since + timeouts.command,
                });
            }
        };
        Some(self.since + wait)
    }

    /// Output that waits for the transport, lent. Report what it took with
    /// [`transmitted`](Self::transmitted).
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.lent()
    }

    /// Output that waits for the transport, moved out. Report it with
    /// [`transmitted`](Self::transmitted) once the transport has taken it.
    pub fn take_output(&mut self) -> Option<Bytes> {
        let octets = self.output.take();
        self.note_offset_told();
        octets
    }

    /// The transport took this many octets of the output. Report it before passing on input that
    /// came later: what a client sends in answer to a 355 is told from what it sent without having
    /// seen it by the order of these calls. What was taken before the session ended may be
    /// reported after it.
    ///
    /// # Errors
    ///
    /// [`UsageError::TransmittedTooMuch`] for more than there were.
    pub fn transmitted(&mut self, now: Timestamp, octets: usize) -> Result<(), UsageError> {
        self.note_time(now);
        if self.phase == Phase::Closed {
            return Ok(());
        }
        self.output.transmitted(octets)?;
        self.note_offset_told();
        self.note_transmitted();
        Ok(())
    }
}
