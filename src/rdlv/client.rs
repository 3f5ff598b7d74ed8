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
            State::Waiting(_) if code == 120 => {
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
pub(super) mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::reply::{ReplyCode, standard};

    pub(in crate::rdlv) fn at(seconds: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_secs(seconds))
    }

    pub(in crate::rdlv) fn offering(keywords: &[&str]) -> Capabilities {
        let lines = core::iter::once("mx.example").chain(keywords.iter().copied());
        let reply = Reply::with_lines(ReplyCode::OK, None, lines).unwrap();
        Capabilities::from_reply(&reply, &Limits::default()).unwrap()
    }

    pub(in crate::rdlv) fn code(code: u16) -> Reply {
        Reply::with_text(ReplyCode::new(code).unwrap(), None, "x").unwrap()
    }

    /// DATA, all of it written and transmitted at 0.
    fn waiting(offered: &Capabilities, settings: ClientSettings) -> Client {
        let mut client = Client::new(settings, offered).unwrap();
        client.requested();
        assert_eq!(
            client.handle_reply(at(0), &code(200)),
            ReplyOutcome::Accepted
        );
        client.submitted(EndingVerb::Data);
        assert_eq!(client.handle_reply(at(0), &code(354)), ReplyOutcome::Pass);
        client.end_written(at(0));
        client.transmitted(at(0));
        client
    }

    /// As `waiting`, and a 120 came at 0.
    pub(in crate::rdlv) fn interim(offered: Capabilities, settings: ClientSettings) -> Client {
        let mut client = waiting(&offered, settings);
        let reply = standard::IN_PROGRESS.into();
        assert_eq!(client.handle_reply(at(0), &reply), ReplyOutcome::Interim);
        client
    }

    fn all() -> Capabilities {
        offering(&["RDLV mintimer=30", "DETA", "DSN"])
    }

    #[test]
    fn maxtimer_is_never_below_mintimer() {
        for (wanted, keyword, asked) in [
            (600, "RDLV mintimer=30", 600),
            (30, "RDLV mintimer=30", 30),
            (29, "RDLV mintimer=30", 30),
            (1, "RDLV mintimer=2147483647", 2_147_483_647),
            (0, "RDLV", 1),
            (u32::MAX, "RDLV", 2_147_483_647),
        ] {
            let client = Client::new(ClientSettings::new(wanted), &offering(&[keyword])).unwrap();
            assert_eq!(client.rdlv().maxtimer, asked, "{wanted} {keyword}");
            assert!(CommandLine::rdlv(client.rdlv()).is_ok());
        }
        let none = Client::new(ClientSettings::new(60), &offering(&["DETA", "DSN"]));
        assert_eq!(none.err(), Some(NotOffered));
    }

    #[test]
    fn rdlv_and_the_ending_verb_are_last_of_their_groups() {
        let mut client = Client::new(ClientSettings::new(60), &all()).unwrap();
        assert_eq!(client.sending(), Sending::AsEver);
        client.requested();
        assert_eq!(client.sending(), Sending::Wait);
        assert_eq!(
            client.handle_reply(at(0), &code(250)),
            ReplyOutcome::Accepted
        );
        assert_eq!(client.sending(), Sending::AsEver);
        client.submitted(EndingVerb::BdatLast);
        assert_eq!(client.sending(), Sending::Wait);
        client.end_written(at(0));
        assert_eq!(client.sending(), Sending::Wait);
        assert_eq!(
            client.handle_reply(at(0), &code(120)),
            ReplyOutcome::Interim
        );
        assert_eq!(client.sending(), Sending::Choice);
        let over = client.handle_reply(at(0), &code(421));
        let closed = Outcome::Unknown(UnknownBecause::ServerClosed);
        assert_eq!(over, ReplyOutcome::Over(closed));
        assert_eq!(client.sending(), Sending::AsEver);
    }

    #[test]
    fn any_2yz_accepts_and_a_refusal_goes_without() {
        for (reply, outcome) in [
            (250, ReplyOutcome::Accepted),
            (200, ReplyOutcome::Accepted),
            (299, ReplyOutcome::Accepted),
            (501, ReplyOutcome::Declined),
            (450, ReplyOutcome::Declined),
            (120, ReplyOutcome::Unexpected),
        ] {
            let mut client = Client::new(ClientSettings::new(60), &all()).unwrap();
            client.requested();
            assert_eq!(client.handle_reply(at(0), &code(reply)), outcome, "{reply}");
        }
    }

    #[test]
    fn a_120_that_was_not_asked_for_is_a_protocol_error() {
        let mut client = Client::new(ClientSettings::new(60), &all()).unwrap();
        assert_eq!(
            client.handle_reply(at(0), &code(120)),
            ReplyOutcome::Unexpected
        );
        client.requested();
        assert_eq!(
            client.handle_reply(at(0), &code(501)),
            ReplyOutcome::Declined
        );
        client.submitted(EndingVerb::Data);
        client.end_written(at(0));
        assert_eq!(
            client.handle_reply(at(0), &code(120)),
            ReplyOutcome::Unexpected
        );
        // and the message goes as ever
        assert_eq!(client.handle_reply(at(0), &code(354)), ReplyOutcome::Pass);
        assert_eq!(client.handle_reply(at(0), &code(250)), ReplyOutcome::Pass);
        assert_eq!(client.outcome(), Outcome::NotSubmitted);
        assert_eq!(client.poll_timeout(), None);
        // nor while the content is on its way
        let mut client = Client::new(ClientSettings::new(60), &all()).unwrap();
        client.requested();
        let _accepted = client.handle_reply(at(0), &code(250));
        client.submitted(EndingVerb::Data);
        assert_eq!(client.handle_reply(at(0), &code(354)), ReplyOutcome::Pass);
        assert_eq!(
            client.handle_reply(at(0), &code(120)),
            ReplyOutcome::Unexpected
        );
        assert_eq!(
            client.handle_reply(at(0), &code(250)),
            ReplyOutcome::Unexpected
        );
        assert_eq!(client.lost(), Lost::BeforeTheEnd);
    }

    #[test]
    fn a_verb_that_cannot_is_repeated_without_rdlv() {
        for (verb, repeat) in [
            (EndingVerb::Data, Repeat::Verb),
            (EndingVerb::BurlLast, Repeat::Verb),
            (EndingVerb::BdatLast, Repeat::Transaction),
        ] {
            let mut client = Client::new(ClientSettings::new(60), &all()).unwrap();
            client.requested();
            let _accepted = client.handle_reply(at(0), &code(250));
            client.submitted(verb);
            client.end_written(at(0));
            let outcome = client.handle_reply(at(0), &standard::CANNOT_DELAY.into());
            assert_eq!(outcome, ReplyOutcome::NotPossible(repeat));
            assert_eq!(client.lost(), Lost::BeforeTheEnd);
        }
        // not before the dot: nothing of the message is known to the server any more
        let mut client = waiting(&all(), ClientSettings::new(60));
        let outcome = client.handle_reply(at(0), &code(520));
        assert_eq!(outcome, ReplyOutcome::NotPossible(Repeat::Transaction));
    }

    #[test]
    fn data_refused_leaves_rdlv_in_force() {
        let mut client = Client::new(ClientSettings::new(60), &all()).unwrap();
        client.requested();
        let _accepted = client.handle_reply(at(0), &code(250));
        client.submitted(EndingVerb::Data);
        assert_eq!(client.handle_reply(at(0), &code(451)), ReplyOutcome::Pass);
        client.submitted(EndingVerb::Data);
        assert_eq!(client.handle_reply(at(0), &code(354)), ReplyOutcome::Pass);
        client.end_written(at(0));
        assert_eq!(
            client.handle_reply(at(0), &code(120)),
            ReplyOutcome::Interim
        );
    }

    #[test]
    fn it_waits_maxtimer_and_the_margin() {
        for (maxtimer, due) in [(30, 37), (2_147_483_647, 2_147_483_654)] {
            let mut client = waiting(&all(), ClientSettings::new(maxtimer));
            assert_eq!(client.poll_timeout(), Some(at(due)));
            assert_eq!(client.handle_timeout(at(due - 1)), ClientTimeout::Nothing);
            assert_eq!(client.outcome(), Outcome::StillDeciding);
            let unknown = Outcome::Unknown(UnknownBecause::NoReply);
            assert_eq!(client.handle_timeout(at(due)), ClientTimeout::Over(unknown));
            assert_eq!(client.outcome(), unknown);
            assert_eq!(client.poll_timeout(), None);
        }
    }

    #[test]
    fn the_wait_begins_when_the_end_is_transmitted() {
        let mut client = Client::new(ClientSettings::new(30), &all()).unwrap();
        client.requested();
        let _accepted = client.handle_reply(at(0), &code(250));
        client.submitted(EndingVerb::BurlLast);
        client.end_written(at(0));
        client.transmitted(at(10));
        client.transmitted(at(20));
        assert_eq!(client.poll_timeout(), Some(at(47)));
        let _interim = client.handle_reply(at(30), &code(120));
        let _line = client.choose(at(31), Choice::CarryOn).unwrap();
        assert_eq!(client.poll_timeout(), Some(at(68)));
        client.transmitted(at(32));
        assert_eq!(client.poll_timeout(), Some(at(69)));
        assert_eq!(client.submitted_at(), at(10));
    }

    #[test]
    fn a_warning_comes_a_margin_before_maxtimer_runs_out() {
        let mut client = interim(all(), ClientSettings::new(30));
        assert_eq!(client.poll_timeout(), Some(at(23)));
        assert_eq!(client.handle_timeout(at(22)), ClientTimeout::Nothing);
        assert_eq!(client.handle_timeout(at(23)), ClientTimeout::Warning);
        assert_eq!(client.poll_timeout(), Some(at(30)));
        assert_eq!(client.handle_timeout(at(29)), ClientTimeout::Nothing);
        let unknown = Outcome::Unknown(UnknownBecause::NoChoice);
        assert_eq!(client.handle_timeout(at(30)), ClientTimeout::Over(unknown));
        assert_eq!(
            client.choose(at(30), Choice::CarryOn),
            Err(NotYourTurn::NoInterim)
        );
        // half of a short maxtimer at most
        let client = interim(offering(&["RDLV"]), ClientSettings::new(1));
        let half = Timestamp::from_origin(Duration::from_millis(500));
        assert_eq!(client.poll_timeout(), Some(half));
    }

    #[test]
    fn detach_only_where_all_is_offered() {
        use DetachOffer as D;
        for (keywords, offer, may) in [
            (&["RDLV", "DETA", "DSN"][..], D::Advertised, true),
            (&["RDLV", "DETA", "DSN"], D::Never, false),
            (&["RDLV", "DSN"], D::Advertised, false),
            (&["RDLV", "DSN"], D::Tolerant, true),
            (&["RDLV", "DETA"], D::Advertised, false),
            (&["RDLV", "DETA"], D::Tolerant, false),
        ] {
            let settings = ClientSettings {
                detach: offer,
                ..ClientSettings::new(60)
            };
            let mut client = interim(offering(keywords), settings);
            assert_eq!(client.can_detach(), may, "{keywords:?} {offer:?}");
            assert_eq!(client.choose(at(0), Choice::Detach).is_ok(), may);
        }
        let mut client = waiting(&all(), ClientSettings::new(60));
        assert_eq!(
            client.choose(at(0), Choice::Detach),
            Err(NotYourTurn::NoInterim)
        );
    }

    #[test]
    fn deta_and_what_answers_it() {
        use UnknownBecause as U;
        for (reply, outcome) in [
            (221, Outcome::Detached),
            (421, Outcome::Unknown(U::ServerClosed)),
            (250, Outcome::Unknown(U::BadReply)),
            (120, Outcome::Unknown(U::BadReply)),
        ] {
            let mut client = interim(all(), ClientSettings::new(30));
            let line = client.choose(at(5), Choice::Detach).unwrap();
            assert_eq!(line.as_bytes(), b"DETA");
            let over = client.handle_reply(at(6), &code(reply));
            assert_eq!(over, ReplyOutcome::Over(outcome), "{reply}");
            assert_eq!(client.lost(), Lost::Over(outcome));
        }
        let mut client = interim(all(), ClientSettings::new(30));
        let _line = client.choose(at(5), Choice::Detach).unwrap();
        let unknown = Outcome::Unknown(U::DetachUnanswered);
        assert_eq!(client.clone().lost(), Lost::Over(unknown));
        let late = client.handle_timeout(at(42));
        assert_eq!(late, ClientTimeout::Over(unknown));
    }

    #[test]
    fn deta_refused_leaves_the_120_open() {
        let mut client = interim(all(), ClientSettings::new(30));
        let _line = client.choose(at(5), Choice::Detach).unwrap();
        let refused = client.handle_reply(at(9), &standard::TOO_MANY_DETACHED.into());
        assert_eq!(refused, ReplyOutcome::DetachRefused);
        // as long as there was when DETA was written
        assert_eq!(client.poll_timeout(), Some(at(27)));
        assert_eq!(
            client.choose(at(9), Choice::Detach),
            Err(NotYourTurn::NoDetach)
        );
        let line = client.choose(at(9), Choice::CarryOn).unwrap();
        assert_eq!(line.as_bytes(), b"CONT");
        // at the next 120 it may be tried again, unless it was 5yz
        for (refusal, again) in [(450, true), (502, false)] {
            let mut client = client.clone();
            assert_eq!(
                client.handle_reply(at(10), &code(120)),
                ReplyOutcome::Interim
            );
            let _line = client.choose(at(10), Choice::Detach).unwrap();
            let _refused = client.handle_reply(at(10), &code(refusal));
            let _line = client.choose(at(10), Choice::CarryOn).unwrap();
            assert_eq!(
                client.handle_reply(at(11), &code(120)),
                ReplyOutcome::Interim
            );
            assert_eq!(client.can_detach(), again, "{refusal}");
        }
    }

    #[test]
    fn a_250_to_rset_is_unknown_unless_declared() {
        use UnknownBecause as U;
        for (declared, reply, outcome) in [
            (true, 250, Outcome::Aborted),
            (false, 250, Outcome::Unknown(U::ResetAccepted)),
            (true, 554, Outcome::Unknown(U::ResetRefused)),
            (false, 554, Outcome::Unknown(U::ResetRefused)),
            (true, 421, Outcome::Unknown(U::ServerClosed)),
        ] {
            let settings = ClientSettings {
                reset_aborts: declared,
                ..ClientSettings::new(30)
            };
            let mut client = interim(all(), settings);
            let line = client.choose(at(1), Choice::Abort).unwrap();
            assert_eq!(line.as_bytes(), b"RSET");
            let over = client.handle_reply(at(2), &code(reply));
            assert_eq!(over, ReplyOutcome::Over(outcome), "{declared} {reply}");
        }
    }

    #[test]
    fn final_replies() {
        use UnknownBecause as U;
        for (reply, first, after_cont) in [
            (250, Outcome::Delivered, Outcome::Delivered),
            (452, Outcome::Refused, Outcome::Refused),
            (554, Outcome::Refused, Outcome::Refused),
            (
                421,
                Outcome::ServerClosed,
                Outcome::Unknown(U::ServerClosed),
            ),
            (500, Outcome::Refused, Outcome::Unknown(U::BadReply)),
            (503, Outcome::Refused, Outcome::Unknown(U::BadReply)),
        ] {
            let mut client = waiting(&all(), ClientSettings::new(30));
            let over = client.handle_reply(at(0), &code(reply));
            assert_eq!(over, ReplyOutcome::Over(first), "{reply}");
            let mut client = interim(all(), ClientSettings::new(30));
            let _line = client.choose(at(0), Choice::CarryOn).unwrap();
            let over = client.handle_reply(at(0), &code(reply));
            assert_eq!(over, ReplyOutcome::Over(after_cont), "{reply}");
            // with LMTP more of them come
            assert_eq!(client.handle_reply(at(0), &code(250)), ReplyOutcome::Pass);
            assert_eq!(client.outcome(), after_cont);
        }
    }

    #[test]
    fn notify_for_a_message_that_may_be_detached() {
        let failure = Notify::On(NotifyOn::FAILURE);
        assert_eq!(ClientSettings::notify(None), failure);
        assert_eq!(ClientSettings::notify(Some(Notify::Never)), Notify::Never);
        let delay = Notify::On(NotifyOn::DELAY);
        assert_eq!(ClientSettings::notify(Some(delay)), delay);
    }

    /// Every order of replies, choices, time and loss behind the end of the data, of seven events:
    /// an outcome is told once and stays, and is what the replies say.
    #[test]
    fn every_order_of_events_has_one_outcome() {
        const REPLIES: [u16; 8] = [120, 221, 250, 354, 421, 450, 503, 554];
        fn explore(client: &Client, now: u64, asked: Option<Choice>, depth: u32, orders: &mut u64) {
            assert_eq!(client.outcome(), Outcome::StillDeciding);
            assert!(client.poll_timeout().is_some());
            let open = client.sending() == Sending::Choice;
            for reply in REPLIES {
                let mut next = client.clone();
                let outcome = next.handle_reply(at(now), &code(reply));
                let expected = match (asked, open, reply) {
                    (_, true, 421) => Some(Outcome::Unknown(UnknownBecause::ServerClosed)),
                    (_, true, _) => Some(Outcome::Unknown(UnknownBecause::BadReply)),
                    (None | Some(Choice::CarryOn), _, 120) => None,
                    (None | Some(Choice::CarryOn), _, 221 | 250) => Some(Outcome::Delivered),
                    (None | Some(Choice::CarryOn), _, 450 | 554) => Some(Outcome::Refused),
                    (None, _, 503) => Some(Outcome::Refused),
                    (None, _, 421) => Some(Outcome::ServerClosed),
                    (Some(Choice::Detach), _, 221) => Some(Outcome::Detached),
                    (Some(Choice::Detach), _, 450 | 503 | 554) => None,
                    (Some(Choice::Abort), _, 450 | 503 | 554) => {
                        Some(Outcome::Unknown(UnknownBecause::ResetRefused))
                    }
                    (Some(Choice::Abort), _, 221 | 250) => {
                        Some(Outcome::Unknown(UnknownBecause::ResetAccepted))
                    }
                    (_, _, 421) => Some(Outcome::Unknown(UnknownBecause::ServerClosed)),
                    _ => Some(Outcome::Unknown(UnknownBecause::BadReply)),
                };
                *orders += 1;
                match expected {
                    Some(expected) => {
                        assert_eq!(
                            next.outcome(),
                            expected,
                            "{reply} to {asked:?}, {outcome:?}"
                        );
                        assert_eq!(next.handle_timeout(at(now + 1000)), ClientTimeout::Nothing);
                        assert_eq!(next.lost(), Lost::Over(expected));
                    }
                    None if depth > 0 => explore(&next, now, None, depth - 1, orders),
                    None => {}
                }
            }
            for choice in [Choice::CarryOn, Choice::Detach, Choice::Abort] {
                let mut next = client.clone();
                match next.choose(at(now), choice) {
                    Ok(_) => {
                        assert!(open, "a command without a 120");
                        if depth > 0 {
                            explore(&next, now, Some(choice), depth - 1, orders);
                        }
                    }
                    Err(NotYourTurn::NoInterim) => assert!(!open),
                    Err(NotYourTurn::NoDetach) => assert_eq!(choice, Choice::Detach),
                }
            }
            let mut next = client.clone();
            let due = next.poll_timeout().unwrap().elapsed().as_secs();
            match next.handle_timeout(at(due)) {
                ClientTimeout::Warning if depth > 0 => {
                    explore(&next, due, asked, depth - 1, orders)
                }
                ClientTimeout::Warning => {}
                ClientTimeout::Over(Outcome::Unknown(_)) => {}
                other => panic!("{other:?}"),
            }
            let lost = client.clone().lost();
            assert!(matches!(lost, Lost::Over(Outcome::Unknown(_))), "{lost:?}");
        }
        let mut orders = 0;
        let client = waiting(&all(), ClientSettings::new(30));
        explore(&client, 0, None, 7, &mut orders);
        assert!(orders > 1_000, "{orders}");
    }
}
