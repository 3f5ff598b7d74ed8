//! The server's machine: when a 120 is due, and what may be said in answer to it.
//!
//! Layer 3. The machine holds no message, no reply and no connection: it is told the commands, the
//! decision and the time, and tells what to write and what to ask. What it promises, whatever the
//! order of calls: no reply without a command outstanding, at most one 120 open, no 120 that was
//! not asked for, and one final reply for each end of the data, unless the client took another way
//! out. Transitions are in `server_state.rs`.

use core::time::Duration;

use super::margin_under;
use super::outcome::{
    CommandOutcome, DecidedOutcome, DetaOutcome, DetachAnswer, Due, Following, Gone, Reading,
    RequestOutcome, ResetAnswer, ResetEnding, Settled, Submission, SubmissionOutcome, Verb, Within,
    settle,
};
use super::server_state::{Decision, Progress, Reset, State, Step};
use super::settings::ServerSettings;
use crate::command::Rdlv;
use crate::reply::standard;
use crate::time::Timestamp;

/// RDLV and DETA in one server session.
///
/// ```
/// use core::time::Duration;
/// use smtp_checkpoint::command::Rdlv;
/// use smtp_checkpoint::rdlv::{
///     CommandOutcome, Decision, DecidedOutcome, Due, Following, RequestOutcome, Server,
///     ServerSettings, Submission, SubmissionOutcome, Verb, Within,
/// };
/// use smtp_checkpoint::time::Timestamp;
///
/// let mut rdlv = Server::new(ServerSettings::new(30)?);
/// let at = |seconds| Timestamp::from_origin(Duration::from_secs(seconds));
///
/// // RDLV maxtimer=600, DATA, and the final dot
/// let asked = rdlv.request(Rdlv { maxtimer: 600 }, Within::Transaction);
/// assert_eq!(asked, RequestOutcome::Accepted);
/// assert_eq!(rdlv.submission(Submission::Data), SubmissionOutcome::Proceed);
/// rdlv.end_of_data(at(0));
///
/// assert_eq!(rdlv.poll_timeout(), Some(at(593)));
/// assert_eq!(rdlv.due(at(593), Following::Nothing), Due::Send); // S: 120
/// rdlv.transmitted(at(593));
/// assert_eq!(rdlv.command(at(594), Verb::Cont), CommandOutcome::Continue); // C: CONT
/// assert_eq!(rdlv.decided(Decision::Stands), DecidedOutcome::Give); // S: 250
/// # Ok::<(), smtp_checkpoint::rdlv::SettingsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Server {
    settings: ServerSettings,
    state: State,
    /// Seconds, with `Requested` and all that comes after it.
    maxtimer: u32,
    /// When something is due, with `Counting`, `Sent` and `Open`; with `Detaching` what was left
    /// of it is in `left`.
    deadline: Timestamp,
    left: Duration,
}

impl Server {
    /// A session in which nothing has been asked for.
    #[must_use]
    pub const fn new(settings: ServerSettings) -> Self {
        Self {
            settings,
            state: State::Idle,
            maxtimer: 0,
            deadline: Timestamp::ORIGIN,
            left: Duration::ZERO,
        }
    }

    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// Takes a step that the table has, and tells whether it has it.
    fn go(&mut self, step: Step) -> Option<State> {
        let before = self.state;
        self.state = before.after(step)?;
        Some(before)
    }

    fn maxtimer(&self) -> Duration {
        Duration::from_secs(u64::from(self.maxtimer))
    }

    fn margin(&self) -> Duration {
        margin_under(self.maxtimer, self.settings.margin)
    }

    fn count_from(&mut self, now: Timestamp) {
        self.deadline = now + self.maxtimer().saturating_sub(self.margin());
    }

    /// RDLV came, where it is offered.
    pub fn request(&mut self, rdlv: Rdlv, within: Within) -> RequestOutcome {
        if within == Within::NoTransaction || self.state.after(Step::Request).is_none() {
            return RequestOutcome::OutOfTurn;
        }
        if rdlv.maxtimer < self.settings.mintimer && !self.settings.honour_shorter {
            return RequestOutcome::BelowMinimum;
        }
        self.go(Step::Request);
        self.maxtimer = super::clamp_timer(rdlv.maxtimer);
        RequestOutcome::Accepted
    }

    /// The verb that ends the message came. Not to be called for a chunk that is not the last.
    pub fn submission(&mut self, submission: Submission) -> SubmissionOutcome {
        if self.state == State::Requested && !self.settings.can(submission) {
            self.go(Step::Clear);
            return SubmissionOutcome::Rejected;
        }
        SubmissionOutcome::Proceed
    }

    /// The last octet of the message came, and the decision begins or is awaited. From here on the
    /// interval runs: `maxtimer` minus the margin. Where that falls below `mintimer` it stands all
    /// the same, for the 120 MUST come within `maxtimer` (draft-burger-smtp-rdlv-01 §3.2.1).
    pub fn end_of_data(&mut self, now: Timestamp) {
        if self.go(Step::EndOfData).is_some() {
            self.count_from(now);
        }
    }

    /// The transaction is over and was answered elsewhere: RSET, EHLO, HELO where no 120 is open,
    /// a message refused as a whole.
    pub fn clear(&mut self) {
        self.go(Step::Clear);
    }

    /// When [`due`](Self::due) has something to say; `None` where only the caller or the client
    /// can move things.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Timestamp> {
        match self.state {
            State::Counting | State::Sent(_) | State::Open(_) => Some(self.deadline),
            _ => None,
        }
    }

    /// Time has passed.
    pub fn due(&mut self, now: Timestamp, following: Following) -> Due {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return Due::Nothing;
        }
        if self.state != State::Counting {
            return Due::ClientGone(self.gone());
        }
        match following {
            Following::Input => {
                self.go(Step::Suppress);
                Due::Suppressed
            }
            Following::Nothing => {
                self.go(Step::Due);
                // Until it is transmitted, which may never be.
                self.deadline = now + self.maxtimer() + self.margin();
                Due::Send
            }
        }
    }

    /// The 120 has been transmitted: CONT is waited for from here on, for `maxtimer` and the
    /// margin. Does nothing where no 120 is on its way.
    pub fn transmitted(&mut self, now: Timestamp) {
        if self.go(Step::Transmitted).is_some() {
            self.deadline = now + self.maxtimer() + self.margin();
        }
    }

    /// Whether the next command may be read.
    #[must_use]
    pub const fn reading(&self) -> Reading {
        match self.state {
            State::Idle | State::Requested => Reading::AsEver,
            State::Sent(_) | State::Open(_) => Reading::One,
            State::Counting | State::Quiet | State::Resetting(_) | State::Detaching(_) => {
                Reading::None
            }
        }
    }

    /// Whether a 120 waits for its answer.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Sent(_) | State::Open(_))
    }

    /// How far the decision is; `None` where none is running or held.
    #[must_use]
    pub const fn progress(&self) -> Option<Progress> {
        self.state.progress()
    }

    /// A command came. A line that cannot be read is answered as ever and not told here: a 120
    /// that is open stays open.
    pub fn command(&mut self, now: Timestamp, verb: Verb) -> CommandOutcome {
        use CommandOutcome as O;
        let progress = match (self.reading(), self.progress()) {
            (Reading::None, _) => return O::NotNow,
            (Reading::One, Some(progress)) => progress,
            (Reading::One | Reading::AsEver, _) => {
                return match verb {
                    Verb::Deta if !self.settings.offers_deta() => O::NotOffered,
                    Verb::Cont | Verb::Deta => O::OutOfTurn,
                    Verb::Rset | Verb::Hello | Verb::Quit => {
                        self.clear();
                        O::Pass
                    }
                    Verb::Other => O::Pass,
                };
            }
        };
        match (verb, progress) {
            (Verb::Cont, Progress::Running) => {
                self.go(Step::Cont);
                self.count_from(now);
                O::Continue
            }
            (Verb::Cont, Progress::Decided(_)) => {
                self.go(Step::Cont);
                O::GiveHeld
            }
            (Verb::Deta, _) if !self.settings.offers_deta() => O::NotOffered,
            (Verb::Deta, _) => {
                self.left = self.deadline.since(now);
                self.go(Step::Deta);
                O::AskDetach(progress)
            }
            (Verb::Rset, _) => self.begin_reset(Reset::Rset, progress),
            (Verb::Hello, _) => self.begin_reset(Reset::Hello, progress),
            (Verb::Quit, _) => O::Quit(self.gone()),
            (Verb::Other, _) => O::OutOfTurn,
        }
    }

    fn begin_reset(&mut self, reset: Reset, progress: Progress) -> CommandOutcome {
        self.go(Step::Reset(reset));
        match progress {
            Progress::Running => CommandOutcome::AskAbort,
            Progress::Decided(decision) => CommandOutcome::Settled(settle(reset, decision)),
        }
    }

    /// The answer to [`CommandOutcome::AskAbort`]. `None` where no reset is being answered (the
    /// decision was quicker): nothing has changed.
    pub fn reset(&mut self, answer: ResetAnswer) -> Option<Settled> {
        let State::Resetting(reset) = self.state else {
            return None;
        };
        self.go(Step::ResetSettled);
        let ending = match answer {
            ResetAnswer::Aborted => ResetEnding::Aborted,
            ResetAnswer::TooLate => ResetEnding::TooLate,
            ResetAnswer::Outdated => ResetEnding::Outdated,
        };
        Some(Settled { reset, ending })
    }

    /// The answer to [`CommandOutcome::AskDetach`]. Where it is a refusal, the client has as long
    /// for CONT as it had when DETA came.
    pub fn detach(&mut self, now: Timestamp, answer: DetachAnswer) -> DetaOutcome {
        let State::Detaching(progress) = self.state else {
            return DetaOutcome::Stale;
        };
        let refusal = match answer {
            DetachAnswer::Owned => {
                self.go(Step::Owned);
                return DetaOutcome::Detached(progress);
            }
            DetachAnswer::Outdated => {
                self.go(Step::End);
                return DetaOutcome::Outdated;
            }
            DetachAnswer::OverLimit => standard::TOO_MANY_DETACHED,
            DetachAnswer::Failed => standard::LOCAL_ERROR,
        };
        self.go(Step::DetachRefused);
        self.deadline = now + self.left;
        DetaOutcome::Refused(refusal)
    }

    /// The decision is made and, where it must be, durable. With LMTP there is one decision for
    /// all recipients, so that a 120 never comes between their replies.
    pub fn decided(&mut self, decision: Decision) -> DecidedOutcome {
        let Some(before) = self.go(Step::Decided(decision)) else {
            return DecidedOutcome::NotAwaited;
        };
        match before {
            State::Counting | State::Quiet => DecidedOutcome::Give,
            State::Resetting(reset) => DecidedOutcome::Settled(settle(reset, decision)),
            _ => DecidedOutcome::Hold,
        }
    }

    /// The connection is lost, or the session closes: nothing is awaited any more.
    pub fn gone(&mut self) -> Gone {
        let before = self.state;
        self.go(Step::End);
        match before {
            State::Idle | State::Requested => Gone::Nothing,
            State::Resetting(_) => Gone::Resetting,
            State::Detaching(progress) => Gone::Detaching(progress),
            State::Counting | State::Quiet => Gone::Running,
            State::Sent(progress) | State::Open(progress) => match progress {
                Progress::Running => Gone::Running,
                Progress::Decided(decision) => Gone::Undelivered(decision),
            },
        }
    }
}
