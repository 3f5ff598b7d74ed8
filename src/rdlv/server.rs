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
    CommandOutcome, DecidedOutcome, DetaOutcome, DetachAnswer, Due, Gone, Reading, RequestOutcome,
    ResetAnswer, ResetEnding, Settled, Submission, SubmissionOutcome, Verb, Within, settle,
};
use super::server_state::{Decision, Progress, Reset, State, Step};
use super::settings::ServerSettings;
use crate::command::Rdlv;
use crate::line::Following;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(millis))
    }

    fn settings(mintimer: u32) -> ServerSettings {
        ServerSettings::new(mintimer).unwrap().deta(true)
    }

    fn requested(settings: ServerSettings, maxtimer: u32) -> Server {
        let mut server = Server::new(settings);
        let outcome = server.request(Rdlv { maxtimer }, Within::Transaction);
        assert_eq!(outcome, RequestOutcome::Accepted);
        server
    }

    /// A 120 written and transmitted, the end of the data at 0.
    fn open(settings: ServerSettings, maxtimer: u32) -> (Server, Timestamp) {
        let mut server = requested(settings, maxtimer);
        server.end_of_data(at(0));
        let now = server.poll_timeout().unwrap();
        assert_eq!(server.due(now, Following::Nothing), Due::Send);
        server.transmitted(now);
        (server, now)
    }

    #[test]
    fn timers_are_exact() {
        const MAX: u64 = 2_147_483_647_000;
        for (mintimer, maxtimer, due) in [
            (1, 1, 500),
            (1, 13, 6_500),
            (1, 14, 7_000),
            (1, 15, 8_000),
            // maxtimer minus the margin is below mintimer: the MUST on maxtimer wins
            (30, 30, 23_000),
            (30, 600, 593_000),
            (1, 2_147_483_647, MAX - 7_000),
            (2_147_483_647, 2_147_483_647, MAX - 7_000),
        ] {
            let mut server = requested(settings(mintimer), maxtimer);
            assert_eq!(
                server.poll_timeout(),
                None,
                "not before the end of the data"
            );
            server.end_of_data(at(0));
            assert_eq!(server.poll_timeout(), Some(at(due)), "{maxtimer}");
            assert_eq!(server.due(at(due - 1), Following::Nothing), Due::Nothing);
            assert_eq!(server.due(at(due), Following::Nothing), Due::Send);
            assert_eq!(server.due(at(due), Following::Nothing), Due::Nothing);
            let margin = 7_000.min(u64::from(maxtimer) * 500);
            let gone = due + 10 + u64::from(maxtimer) * 1_000 + margin;
            server.transmitted(at(due + 10));
            assert_eq!(server.poll_timeout(), Some(at(gone)), "{maxtimer}");
            assert_eq!(server.due(at(gone - 1), Following::Input), Due::Nothing);
            assert_eq!(
                server.due(at(gone), Following::Input),
                Due::ClientGone(Gone::Running)
            );
        }
    }

    #[test]
    fn the_margin_can_be_set() {
        let mut server = requested(settings(1).margin(Duration::ZERO), 30);
        server.end_of_data(at(5));
        assert_eq!(server.poll_timeout(), Some(at(30_005)));
    }

    #[test]
    fn a_maxtimer_below_mintimer() {
        let mut server = Server::new(settings(30));
        let short = Rdlv { maxtimer: 29 };
        assert_eq!(
            server.request(short, Within::Transaction),
            RequestOutcome::BelowMinimum
        );
        server.end_of_data(at(0));
        assert_eq!(server.poll_timeout(), None, "no 120 is asked for");
        // one that was accepted before still holds
        let mut server = requested(settings(30), 60);
        assert_eq!(
            server.request(short, Within::Transaction),
            RequestOutcome::BelowMinimum
        );
        server.end_of_data(at(0));
        assert_eq!(server.poll_timeout(), Some(at(53_000)));
        // by configuration the shorter time is honoured
        let mut server = requested(settings(30).honour_shorter(true), 29);
        server.end_of_data(at(0));
        assert_eq!(server.poll_timeout(), Some(at(22_000)));
    }

    #[test]
    fn a_second_rdlv_replaces_the_first() {
        let mut server = requested(settings(1), 60);
        let again = server.request(Rdlv { maxtimer: 100 }, Within::Transaction);
        assert_eq!(again, RequestOutcome::Accepted);
        server.end_of_data(at(0));
        assert_eq!(server.poll_timeout(), Some(at(93_000)));
    }

    #[test]
    fn rdlv_outside_a_transaction_or_in_answer_to_120() {
        let mut server = Server::new(settings(1));
        let rdlv = Rdlv { maxtimer: 60 };
        assert_eq!(
            server.request(rdlv, Within::NoTransaction),
            RequestOutcome::OutOfTurn
        );
        let (mut server, now) = open(settings(1), 30);
        assert_eq!(
            server.request(rdlv, Within::Transaction),
            RequestOutcome::OutOfTurn
        );
        assert_eq!(server.command(now, Verb::Other), CommandOutcome::OutOfTurn);
        assert!(server.is_open());
    }

    #[test]
    fn rset_and_hello_clear_it_other_commands_do_not() {
        for (verb, due) in [
            (Verb::Rset, None),
            (Verb::Hello, None),
            (Verb::Other, Some(at(23_000))),
        ] {
            let mut server = requested(settings(1), 30);
            assert_eq!(server.command(at(0), verb), CommandOutcome::Pass);
            server.end_of_data(at(0));
            assert_eq!(server.poll_timeout(), due, "{verb:?}");
        }
        let mut server = requested(settings(1), 30);
        server.clear();
        server.end_of_data(at(0));
        assert_eq!(server.poll_timeout(), None);
    }

    #[test]
    fn it_holds_for_one_transaction() {
        let mut server = requested(settings(1), 30);
        server.end_of_data(at(0));
        assert_eq!(server.decided(Decision::Stands), DecidedOutcome::Give);
        server.end_of_data(at(1));
        assert_eq!(server.poll_timeout(), None);
        assert_eq!(server.decided(Decision::Stands), DecidedOutcome::Give);
    }

    #[test]
    fn a_verb_that_cannot_is_520_and_rdlv_is_gone() {
        let settings = settings(1).verbs(&[Submission::Data, Submission::BdatLast]);
        let mut server = requested(settings, 30);
        assert_eq!(
            server.submission(Submission::BurlLast),
            SubmissionOutcome::Rejected
        );
        // repeated without RDLV
        assert_eq!(
            server.submission(Submission::BurlLast),
            SubmissionOutcome::Proceed
        );
        server.end_of_data(at(0));
        assert_eq!(server.poll_timeout(), None);
        let mut server = requested(settings, 30);
        assert_eq!(
            server.submission(Submission::Data),
            SubmissionOutcome::Proceed
        );
        assert_eq!(
            server.submission(Submission::BdatLast),
            SubmissionOutcome::Proceed
        );
    }

    #[test]
    fn input_that_follows_suppresses_the_120_of_this_verb_only() {
        let mut server = requested(settings(1), 30);
        server.end_of_data(at(0));
        assert_eq!(server.due(at(23_000), Following::Input), Due::Suppressed);
        assert_eq!(server.poll_timeout(), None);
        assert_eq!(
            server.command(at(23_000), Verb::Cont),
            CommandOutcome::NotNow
        );
        assert_eq!(server.decided(Decision::Stands), DecidedOutcome::Give);
        assert_eq!(
            server.command(at(24_000), Verb::Cont),
            CommandOutcome::OutOfTurn
        );
    }

    #[test]
    fn cont_and_deta_without_a_120() {
        for mut server in [Server::new(settings(1)), requested(settings(1), 30)] {
            assert_eq!(server.command(at(0), Verb::Cont), CommandOutcome::OutOfTurn);
            assert_eq!(server.command(at(0), Verb::Deta), CommandOutcome::OutOfTurn);
        }
        let plain = ServerSettings::new(1).unwrap();
        let mut server = Server::new(plain);
        assert_eq!(
            server.command(at(0), Verb::Deta),
            CommandOutcome::NotOffered
        );
        let (mut server, now) = open(plain, 30);
        assert_eq!(server.command(now, Verb::Deta), CommandOutcome::NotOffered);
        assert!(server.is_open());
    }

    #[test]
    fn cont_starts_the_next_interval() {
        let (mut server, now) = open(settings(1), 30);
        let later = now + Duration::from_secs(9);
        assert_eq!(server.command(later, Verb::Cont), CommandOutcome::Continue);
        assert_eq!(server.poll_timeout(), Some(later + Duration::from_secs(23)));
        assert_eq!(server.reading(), Reading::None);
    }

    #[test]
    fn a_result_before_the_120_is_transmitted_is_held_too() {
        let mut server = requested(settings(1), 60);
        assert!(!server.is_open());
        server.end_of_data(at(0));
        assert!(!server.is_open());
        let now = server.poll_timeout().unwrap();
        assert_eq!(server.due(now, Following::Nothing), Due::Send);
        assert!(server.is_open(), "from here on");
        assert_eq!(server.decided(Decision::Stands), DecidedOutcome::Hold);
        server.transmitted(now);
        assert_eq!(server.command(now, Verb::Cont), CommandOutcome::GiveHeld);
        assert!(!server.is_open());
    }

    #[test]
    fn a_result_is_held_until_cont() {
        let (mut server, now) = open(settings(1), 30);
        assert_eq!(server.decided(Decision::Stands), DecidedOutcome::Hold);
        assert_eq!(server.decided(Decision::Stands), DecidedOutcome::NotAwaited);
        assert_eq!(server.command(now, Verb::Cont), CommandOutcome::GiveHeld);
        assert_eq!(server.command(now, Verb::Cont), CommandOutcome::OutOfTurn);
    }

    #[test]
    fn no_cont_leaves_what_is_held_undelivered() {
        let (mut server, now) = open(settings(1), 30);
        assert_eq!(server.decided(Decision::Refused), DecidedOutcome::Hold);
        let gone = Due::ClientGone(Gone::Undelivered(Decision::Refused));
        assert_eq!(
            server.due(now + Duration::from_secs(37), Following::Nothing),
            gone
        );
    }

    #[test]
    fn over_the_limit_the_120_stays_open_and_cont_works() {
        let (mut server, now) = open(settings(1), 30);
        let asked = now + Duration::from_secs(30);
        assert_eq!(
            server.command(asked, Verb::Deta),
            CommandOutcome::AskDetach(Progress::Running)
        );
        assert_eq!(
            server.poll_timeout(),
            None,
            "the client waits, not the server"
        );
        let answered = asked + Duration::from_secs(60);
        let DetaOutcome::Refused(reply) = server.detach(answered, DetachAnswer::OverLimit) else {
            panic!("not refused");
        };
        assert_eq!(Reply::from(reply).code().get(), 450);
        assert_eq!(
            server.poll_timeout(),
            Some(answered + Duration::from_secs(7))
        );
        assert_eq!(
            server.command(answered, Verb::Cont),
            CommandOutcome::Continue
        );
    }

    #[test]
    fn deta_with_the_result_there_is_still_221() {
        let (mut server, now) = open(settings(1), 30);
        assert_eq!(server.decided(Decision::Refused), DecidedOutcome::Hold);
        let held = Progress::Decided(Decision::Refused);
        assert_eq!(
            server.command(now, Verb::Deta),
            CommandOutcome::AskDetach(held)
        );
        assert_eq!(
            server.detach(now, DetachAnswer::Owned),
            DetaOutcome::Detached(held)
        );
        // or it comes while the question is open
        let (mut server, now) = open(settings(1), 30);
        let _asked = server.command(now, Verb::Deta);
        assert_eq!(server.decided(Decision::Refused), DecidedOutcome::Hold);
        assert_eq!(
            server.detach(now, DetachAnswer::Owned),
            DetaOutcome::Detached(held)
        );
    }

    #[test]
    fn a_reset_is_answered_by_what_became_of_the_message() {
        let code = |server: &Server, settled: Settled| {
            settled
                .reply(server.settings())
                .map(|reply| reply.code().get())
        };
        for (answer, expected) in [
            (ResetAnswer::Aborted, 250),
            (ResetAnswer::TooLate, 554),
            (ResetAnswer::Outdated, 421),
        ] {
            let (mut server, now) = open(settings(1), 30);
            assert_eq!(server.command(now, Verb::Rset), CommandOutcome::AskAbort);
            let settled = server.reset(answer).unwrap();
            assert_eq!(code(&server, settled), Some(expected));
            assert_eq!(server.decided(Decision::Stands), DecidedOutcome::NotAwaited);
        }
        for (decision, expected) in [(Decision::Stands, 554), (Decision::Refused, 250)] {
            let (mut server, now) = open(settings(1), 30);
            let _held = server.decided(decision);
            let CommandOutcome::Settled(settled) = server.command(now, Verb::Rset) else {
                panic!("asked although decided");
            };
            assert_eq!(code(&server, settled), Some(expected));
            // or the decision comes while the question is open
            let (mut server, now) = open(settings(1), 30);
            let _asked = server.command(now, Verb::Rset);
            let DecidedOutcome::Settled(settled) = server.decided(decision) else {
                panic!("not settled");
            };
            assert_eq!(code(&server, settled), Some(expected));
            assert_eq!(
                server.reset(ResetAnswer::Aborted),
                None,
                "the answer is stale"
            );
        }
        let (mut server, now) = open(settings(1).late_reset_with_250(true), 30);
        let _held = server.decided(Decision::Stands);
        let CommandOutcome::Settled(settled) = server.command(now, Verb::Rset) else {
            panic!("asked although decided");
        };
        assert_eq!(code(&server, settled), Some(250));
        assert_eq!(settled.ending, ResetEnding::TooLate);
    }

    #[test]
    fn hello_resets_too_with_its_normal_reply() {
        let (mut server, now) = open(settings(1), 30);
        assert_eq!(server.command(now, Verb::Hello), CommandOutcome::AskAbort);
        let settled = server.reset(ResetAnswer::TooLate).unwrap();
        assert_eq!(settled.reply(server.settings()), None);
    }

    #[test]
    fn what_a_lost_connection_leaves() {
        let (server, now) = open(settings(1), 30);
        assert_eq!(server.clone().gone(), Gone::Running);
        let mut detaching = server.clone();
        let _asked = detaching.command(now, Verb::Deta);
        assert_eq!(detaching.gone(), Gone::Detaching(Progress::Running));
        let mut resetting = server.clone();
        let _asked = resetting.command(now, Verb::Rset);
        assert_eq!(resetting.gone(), Gone::Resetting);
        let mut decided = server;
        let _held = decided.decided(Decision::Stands);
        assert_eq!(
            decided.command(now, Verb::Quit),
            CommandOutcome::Quit(Gone::Undelivered(Decision::Stands))
        );
        assert_eq!(requested(settings(1), 30).gone(), Gone::Nothing);
    }

    #[test]
    fn the_codes_of_acceptance() {
        assert_eq!(settings(1).accepted().code().get(), 250);
        let as_in_the_examples = settings(1).accept_with_200(true).accepted();
        assert_eq!(as_in_the_examples.code().get(), 200);
        for mintimer in [0, 1 << 31] {
            assert!(ServerSettings::new(mintimer).is_err());
        }
    }
}
