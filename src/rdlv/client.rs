//! The client's machine: when RDLV may be asked for, how long to wait, what a reply means.
//!
//! Layer 3. One [`Client`] for each transaction that asks for RDLV. It is told what was written,
//! the replies and the time, and tells what to do. Transitions are in `client_state.rs`.

use core::time::Duration;

use thiserror::Error;

use super::client_state::{
    Choice, ClientTimeout, EndingVerb, Lost, NotYourTurn, Outcome, Repeat, ReplyOutcome, Sending,
    State, Step, Under, UnknownBecause,
};
use super::{DEFAULT_MARGIN, clamp_timer, margin_under};
use crate::command::{CommandLine, Notify, NotifyOn, Rdlv};
use crate::ehlo::Capabilities;
use crate::reply::{Reply, Severity};
use crate::time::Timestamp;

/// What a client wants of RDLV and DETA.
///
/// ```
/// use smtp_checkpoint::rdlv::{ClientSettings, DetachOffer};
///
/// let settings = ClientSettings { detach: DetachOffer::Tolerant, ..ClientSettings::new(600) };
/// assert_eq!(settings.maxtimer, 600);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientSettings {
    /// The longest time in seconds that the client wants to wait without a reply; 1 to 2^31 - 1
    /// count. Where the server's `mintimer` is above it, that is asked for.
    pub maxtimer: u32,
    /// How much longer than `maxtimer` it waits, and how long before it runs out it warns (there
    /// at most half of it). 7 seconds by default.
    pub margin: Duration,
    /// When DETA may be used.
    pub detach: DetachOffer,
    /// The server is known to abort the message when RSET in answer to a 120 is answered 250, as
    /// the server of this crate does. Where this is not declared, that 250 says nothing of the
    /// message.
    pub reset_aborts: bool,
}

/// When DETA may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DetachOffer {
    /// Where DETA, RDLV and DSN are all offered (draft-burger-smtp-deta-00 §2.2.1).
    #[default]
    Advertised,
    /// Where RDLV and DSN are offered, for the example of §4.2 leaves out DETA. A server without
    /// it refuses, and the 120 stays open.
    Tolerant,
    /// Never.
    Never,
}

impl DetachOffer {
    /// Whether DETA may be used with a server that offers this.
    #[must_use]
    pub fn allowed_by(self, offered: &Capabilities) -> bool {
        match self {
            Self::Advertised => offered.deta() && offered.dsn() && offered.rdlv().is_some(),
            Self::Tolerant => offered.dsn() && offered.rdlv().is_some(),
            Self::Never => false,
        }
    }
}

impl ClientSettings {
    /// This `maxtimer` in seconds, and the defaults.
    #[must_use]
    pub const fn new(maxtimer: u32) -> Self {
        Self {
            maxtimer,
            margin: DEFAULT_MARGIN,
            detach: DetachOffer::Advertised,
            reset_aborts: false,
        }
    }

    /// The NOTIFY of a recipient for a message that may be detached: what the caller named, else
    /// FAILURE, so that the failure of a detached message is heard of (draft-burger-smtp-deta-00
    /// §2.2.2).
    #[must_use]
    pub fn notify(named: Option<Notify>) -> Notify {
        named.unwrap_or(Notify::On(NotifyOn::FAILURE))
    }
}

/// RDLV is not offered, or not in a way that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[error("RDLV is not offered")]
pub struct NotOffered;

/// RDLV and DETA for one transaction of a client.
///
/// ```
/// use core::time::Duration;
/// use smtp_checkpoint::command::CommandLine;
/// use smtp_checkpoint::ehlo::Capabilities;
/// use smtp_checkpoint::limits::Limits;
/// use smtp_checkpoint::rdlv::{
///     Choice, Client, ClientSettings, EndingVerb, Outcome, Policy, ReplyOutcome, Then,
/// };
/// use smtp_checkpoint::reply::{Reply, ReplyCode, standard};
/// use smtp_checkpoint::time::Timestamp;
///
/// let lines = ["mx.example", "RDLV mintimer=30", "DETA", "DSN"];
/// let ehlo = Reply::with_lines(ReplyCode::OK, None, lines)?;
/// let offered = Capabilities::from_reply(&ehlo, &Limits::default())?;
/// let at = |seconds| Timestamp::from_origin(Duration::from_secs(seconds));
///
/// let mut rdlv = Client::new(ClientSettings::new(20), &offered)?;
/// let line = CommandLine::rdlv(rdlv.rdlv())?;
/// assert_eq!(line.as_bytes(), b"RDLV maxtimer=30"); // never below mintimer
/// rdlv.requested();
/// assert_eq!(rdlv.handle_reply(at(0), &standard::OK.into()), ReplyOutcome::Accepted);
/// rdlv.submitted(EndingVerb::Data);
/// let go_ahead = standard::START_MAIL_INPUT.into();
/// assert_eq!(rdlv.handle_reply(at(0), &go_ahead), ReplyOutcome::Pass);
/// rdlv.end_written(at(1)); // the final dot
///
/// let policy = Policy { carry_on_for: Duration::from_secs(20), then: Then::Detach };
/// let interim = standard::IN_PROGRESS.into();
/// assert_eq!(rdlv.handle_reply(at(24), &interim), ReplyOutcome::Interim);
/// let choice = policy.choose(&rdlv, at(24));
/// assert_eq!(choice, Choice::Detach);
/// assert_eq!(rdlv.choose(at(24), choice)?.as_bytes(), b"DETA");
/// let detached = rdlv.handle_reply(at(25), &standard::DETACHED.into());
/// assert_eq!(detached, ReplyOutcome::Over(Outcome::Detached));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    maxtimer: u32,
    margin: Duration,
    may_detach: bool,
    reset_aborts: bool,
    state: State,
    /// DETA was refused in answer to the 120 that is open.
    detach_refused: bool,
    warned: bool,
    /// What was written last has not been transmitted.
    on_its_way: bool,
    /// When the end of the data was written, or transmitted.
    submitted_at: Timestamp,
    /// When it is over; with `Detaching` what was left for a choice is in `left`.
    deadline: Timestamp,
    left: Duration,
}

impl Client {
    /// RDLV for a transaction with a server that offers this.
    ///
    /// # Errors
    ///
    /// Where RDLV is not offered. A bare `RDLV` is an offer with no least time.
    pub fn new(settings: ClientSettings, offered: &Capabilities) -> Result<Self, NotOffered> {
        let offer = offered.rdlv().ok_or(NotOffered)?;
        let wanted = clamp_timer(settings.maxtimer);
        Ok(Self {
            maxtimer: wanted.max(offer.mintimer.unwrap_or(1)),
            margin: settings.margin,
            may_detach: settings.detach.allowed_by(offered),
            reset_aborts: settings.reset_aborts,
            state: State::Plain,
            detach_refused: false,
            warned: false,
            on_its_way: false,
            submitted_at: Timestamp::ORIGIN,
            deadline: Timestamp::ORIGIN,
            left: Duration::ZERO,
        })
    }

    /// What to ask for. RDLV comes between RCPT and the verb that ends the message, and is the
    /// last command of its pipelined group (draft-burger-smtp-rdlv-01 §3.2.2).
    #[must_use]
    pub const fn rdlv(&self) -> Rdlv {
        Rdlv {
            maxtimer: self.maxtimer,
        }
    }

    /// Takes a step that the table has.
    fn go(&mut self, step: Step) -> bool {
        match self.state.after(step) {
            Some(state) => {
                self.state = state;
                true
            }
            None => false,
        }
    }

    fn over(&mut self, outcome: Outcome) -> ReplyOutcome {
        self.go(Step::Over(outcome));
        ReplyOutcome::Over(outcome)
    }

    fn unknown(&mut self, because: UnknownBecause) -> ReplyOutcome {
        self.over(Outcome::Unknown(because))
    }

    fn maxtimer(&self) -> Duration {
        Duration::from_secs(u64::from(self.maxtimer))
    }

    /// A command is written: its reply is waited for from now on, and anew once it is transmitted.
    fn wait_from(&mut self, now: Timestamp) {
        self.on_its_way = true;
        self.deadline = now + self.maxtimer() + self.margin;
    }

    /// RDLV is written. Its reply is waited for like any other.
    pub fn requested(&mut self) {
        self.go(Step::Requested);
    }

    /// DATA is written, or BDAT with LAST, or BURL with LAST. It is the last command of its
    /// pipelined group, unless RDLV was refused. Not for chunks that are not the last.
    pub fn submitted(&mut self, verb: EndingVerb) {
        self.go(Step::Submitted(verb));
    }

    /// The end of the data is written: the final dot, the last octet of the last chunk, the BURL
    /// line. From here on a lost connection leaves the outcome unknown.
    pub fn end_written(&mut self, now: Timestamp) {
        if self.go(Step::EndWritten) {
            self.submitted_at = now;
            self.wait_from(now);
        }
    }

    /// All that was written has been transmitted: the wait for its reply begins here. Only the
    /// first call behind each write counts.
    pub fn transmitted(&mut self, now: Timestamp) {
        let waits = matches!(
            self.state,
            State::Waiting(_) | State::Detaching | State::Aborting
        );
        if waits && self.on_its_way {
            self.wait_from(now);
            self.on_its_way = false;
            if matches!(self.state, State::Waiting(Under::Submission(_))) {
                self.submitted_at = now;
            }
        }
    }

    /// What may be written now.
    #[must_use]
    pub const fn sending(&self) -> Sending {
        match self.state {
            State::Plain | State::Armed | State::Over(_) => Sending::AsEver,
            State::Interim => Sending::Choice,
            _ => Sending::Wait,
        }
    }

    /// What became of the message so far.
    pub const fn outcome(&self) -> Outcome {
        match self.state {
            State::Plain | State::Asked | State::Armed | State::Submitted(_) | State::Sending => {
                Outcome::NotSubmitted
            }
            State::Waiting(_) | State::Interim | State::Detaching | State::Aborting => {
                Outcome::StillDeciding
            }
            State::Over(outcome) => outcome,
        }
    }

    /// Whether DETA may be chosen in answer to the 120 that is open.
    #[must_use]
    pub const fn can_detach(&self) -> bool {
        self.may_detach && !self.detach_refused && matches!(self.state, State::Interim)
    }

    /// When `maxtimer` has run out for the 120 that is open: what is chosen later comes too late.
    #[must_use]
    pub const fn choose_until(&self) -> Option<Timestamp> {
        match self.state {
            State::Interim => Some(self.deadline),
            _ => None,
        }
    }

    /// When the end of the data was written, or transmitted, once it was.
    #[must_use]
    pub const fn submitted_at(&self) -> Timestamp {
        self.submitted_at
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to say. Waits that are those of
    /// plain SMTP are not told here.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        match self.state {
            State::Interim if !self.warned => Some(self.warning()),
            State::Waiting(_) | State::Interim | State::Detaching | State::Aborting => {
                Some(self.deadline)
            }
            _ => None,
        }
    }

    fn warning(&self) -> Timestamp {
        let margin = margin_under(self.maxtimer, self.margin);
        Timestamp::from_origin(self.deadline.elapsed().saturating_sub(margin))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Timestamp) -> ClientTimeout {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return ClientTimeout::Nothing;
        }
        if now < self.deadline {
            self.warned = true;
            return ClientTimeout::Warning;
        }
        let because = match self.state {
            State::Interim => UnknownBecause::NoChoice,
            State::Detaching => UnknownBecause::DetachUnanswered,
            State::Aborting => UnknownBecause::ResetRefused,
            _ => UnknownBecause::NoReply,
        };
        let outcome = Outcome::Unknown(because);
        self.go(Step::Over(outcome));
        ClientTimeout::Over(outcome)
    }

    /// A reply came, to the oldest command whose reply is outstanding. Every reply from RDLV on
    /// may be passed; with LMTP the first of the final ones is over for this machine.
    pub fn handle_reply(&mut self, now: Timestamp, reply: &Reply) -> ReplyOutcome {
        let code = reply.code().get();
        let severity = reply.severity();
        let preliminary = severity == Severity::Preliminary;
        match self.state {
            State::Plain | State::Armed | State::Over(_) if preliminary => ReplyOutcome::Unexpected,
            State::Plain | State::Armed | State::Over(_) => ReplyOutcome::Pass,
            State::Asked if preliminary => ReplyOutcome::Unexpected,
            State::Asked if severity == Severity::Completion => {
                self.go(Step::Accepted);
                ReplyOutcome::Accepted
            }
            State::Asked => {
                self.go(Step::Declined);
                ReplyOutcome::Declined
            }
            State::Submitted(_) | State::Sending if preliminary => ReplyOutcome::Unexpected,
            State::Submitted(EndingVerb::Data) => self.reply_to_data(code, severity),
            // Before the end of the data nothing can have been accepted.
            State::Submitted(_) | State::Sending
                if matches!(severity, Severity::Completion | Severity::Intermediate) =>
            {
                ReplyOutcome::Unexpected
            }
            State::Submitted(verb) => self.first_reply(verb, code, severity),
            State::Sending => self.final_reply(code, severity),
            // An unknown code counts as its first digit says (RFC 5321 §4.2).
            State::Waiting(_) if preliminary => {
                self.go(Step::Interim);
                self.detach_refused = false;
                self.open_until(now + self.maxtimer());
                ReplyOutcome::Interim
            }
            State::Waiting(Under::Submission(verb)) => self.first_reply(verb, code, severity),
            // Nothing of these is a final reply: the server does not know of its 120.
            State::Waiting(Under::Cont) if matches!(code, 500..=504 | 520) => {
                self.unknown(UnknownBecause::BadReply)
            }
            State::Waiting(Under::Cont) if code == 421 => {
                self.unknown(UnknownBecause::ServerClosed)
            }
            State::Waiting(Under::Cont) => self.final_reply(code, severity),
            State::Interim if code == 421 => self.unknown(UnknownBecause::ServerClosed),
            State::Interim => {
                let _ = self.unknown(UnknownBecause::BadReply);
                ReplyOutcome::Unexpected
            }
            State::Detaching => self.reply_to_deta(now, code, severity),
            State::Aborting => self.reply_to_reset(code, severity),
        }
    }

    fn open_until(&mut self, deadline: Timestamp) {
        self.deadline = deadline;
        self.warned = false;
    }

    fn reply_to_data(&mut self, code: u16, severity: Severity) -> ReplyOutcome {
        match severity {
            _ if code == 520 => {
                self.go(Step::NotPossible);
                ReplyOutcome::NotPossible(Repeat::Verb)
            }
            Severity::Intermediate => {
                self.go(Step::Started);
                ReplyOutcome::Pass
            }
            _ => {
                self.go(Step::VerbRefused);
                ReplyOutcome::Pass
            }
        }
    }

    /// The first reply behind the end of the data, or to a chunk whose end is not yet written.
    fn first_reply(&mut self, verb: EndingVerb, code: u16, severity: Severity) -> ReplyOutcome {
        if code == 520 {
            self.go(Step::NotPossible);
            return ReplyOutcome::NotPossible(match verb {
                EndingVerb::BurlLast => Repeat::Verb,
                EndingVerb::Data | EndingVerb::BdatLast => Repeat::Transaction,
            });
        }
        self.final_reply(code, severity)
    }

    fn final_reply(&mut self, code: u16, severity: Severity) -> ReplyOutcome {
        match severity {
            Severity::Completion => self.over(Outcome::Delivered),
            Severity::TransientFailure if code == 421 => self.over(Outcome::ServerClosed),
            Severity::TransientFailure | Severity::PermanentFailure => self.over(Outcome::Refused),
            Severity::Preliminary | Severity::Intermediate => {
                let _ = self.unknown(UnknownBecause::BadReply);
                ReplyOutcome::Unexpected
            }
        }
    }

    fn reply_to_deta(&mut self, now: Timestamp, code: u16, severity: Severity) -> ReplyOutcome {
        match severity {
            _ if code == 221 => self.over(Outcome::Detached),
            _ if code == 421 => self.unknown(UnknownBecause::ServerClosed),
            Severity::TransientFailure | Severity::PermanentFailure => {
                self.go(Step::DetachRefused);
                self.detach_refused = true;
                self.may_detach &= severity == Severity::TransientFailure;
                self.open_until(now + self.left);
                ReplyOutcome::DetachRefused
            }
            _ => self.unknown(UnknownBecause::BadReply),
        }
    }

    fn reply_to_reset(&mut self, code: u16, severity: Severity) -> ReplyOutcome {
        match severity {
            Severity::Completion if self.reset_aborts => self.over(Outcome::Aborted),
            Severity::Completion => self.unknown(UnknownBecause::ResetAccepted),
            _ if code == 421 => self.unknown(UnknownBecause::ServerClosed),
            Severity::TransientFailure | Severity::PermanentFailure => {
                self.unknown(UnknownBecause::ResetRefused)
            }
            _ => self.unknown(UnknownBecause::BadReply),
        }
    }

    /// Answers the 120 that is open: write this line.
    ///
    /// # Errors
    ///
    /// [`NotYourTurn`] where no 120 is open, or DETA is not possible.
    pub fn choose(&mut self, now: Timestamp, choice: Choice) -> Result<CommandLine, NotYourTurn> {
        if self.state != State::Interim {
            return Err(NotYourTurn::NoInterim);
        }
        if choice == Choice::Detach && !self.can_detach() {
            return Err(NotYourTurn::NoDetach);
        }
        self.left = self.deadline.since(now);
        self.go(Step::Choose(choice));
        self.wait_from(now);
        Ok(match choice {
            Choice::CarryOn => CommandLine::cont(),
            Choice::Detach => CommandLine::deta(),
            Choice::Abort => CommandLine::rset(),
        })
    }

    /// The connection is lost, or closed by the caller.
    pub fn lost(&mut self) -> Lost {
        let because = match self.state {
            State::Over(outcome) => return Lost::Over(outcome),
            State::Waiting(_) | State::Interim => UnknownBecause::Lost,
            State::Detaching => UnknownBecause::DetachUnanswered,
            State::Aborting => UnknownBecause::ResetRefused,
            _ => return Lost::BeforeTheEnd,
        };
        let outcome = Outcome::Unknown(because);
        self.go(Step::Over(outcome));
        Lost::Over(outcome)
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
pub(super) mod tests;
