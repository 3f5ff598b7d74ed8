//! A server session: what it does with each command, line and decision.

use smtp_checkpoint::checkpoint::{
    Confirmation, DataOutcome, Discard, EndOutcome, Generation, MailOutcome,
};
use smtp_checkpoint::rdlv::{self, DecidedOutcome};

use crate::delay::{Delay, machine};
use crate::fixture::{
    Advice, Found, Seen, Stands, claimed, envelope, lines, octets, receiving, verdict,
};
use crate::owner::Detached;
use crate::rules::{Rule, Setup};
use crate::store::{Key, Look, Outdated, Stores};
use crate::world::{Down, Run, Up};

/// How far a session is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Stage {
    /// MAIL is waited for.
    Greeted,
    /// By a broken rule: the record was read, the generation is still to be raised.
    Reading,
    /// 250 or 355 was written.
    Mailed,
    /// 354 was written.
    Receiving,
    /// Content could not be stored; what is left of it is drained.
    Failed,
    /// All data is in, and the decision with this number runs.
    Deciding(u64),
    /// All data was in, and the decision that runs is awaited.
    Awaiting,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Session {
    pub(crate) host: u8,
    pub(crate) stage: Stage,
    pub(crate) seen: Option<Seen>,
    /// The content that it writes.
    pub(crate) segment: Option<u8>,
    /// Lines received, earlier attempts included.
    pub(crate) length: u8,
    /// Lines below the last record.
    pub(crate) kept: u8,
    pub(crate) delay: Delay,
}

/// Whether the session goes on.
#[derive(PartialEq, Eq)]
pub(crate) enum Goes {
    On,
    Over,
}

impl Session {
    pub(crate) fn new(host: u8) -> Self {
        Self {
            host,
            stage: Stage::Greeted,
            seen: None,
            segment: None,
            length: 0,
            kept: 0,
            delay: Delay::Never,
        }
    }

    pub(crate) fn seen(&self) -> &Seen {
        self.seen.as_ref().expect("a claim")
    }

    pub(crate) fn found(&self) -> Option<&Found> {
        self.seen.as_ref()?.found.as_ref()
    }

    /// Whether content is stored or synced for what comes next.
    pub(crate) fn stores(&self, up: Up) -> bool {
        self.stage == Stage::Receiving
            && matches!(up, Up::Line(_) | Up::Dot)
            && self.segment.is_some()
            && !self
                .found()
                .is_some_and(|found| found.state != Stands::Partial)
    }

    /// Whether it takes the next command or line.
    pub(crate) fn reads(&self) -> bool {
        match (&self.stage, self.delay) {
            (Stage::Deciding(_) | Stage::Awaiting, delay) => {
                matches!(delay, Delay::Open | Delay::Held(_))
            }
            (Stage::Reading, _) => false,
            _ => true,
        }
    }

    /// Whether the store has something to say to a session that waits.
    pub(crate) fn is_answered(&self, setup: &Setup, stores: &Stores) -> bool {
        match self.stage {
            Stage::Reading => true,
            _ if matches!(self.delay, Delay::Held(_)) => false,
            Stage::Deciding(number) => {
                let decisions = &stores.hosts[usize::from(self.host)].decisions;
                decisions.iter().all(|decision| decision.number != number)
            }
            Stage::Awaiting => {
                let owned = stores.shared.detached != Detached::No;
                let stays = owned && setup.keeps(Rule::DetachedStays);
                let runs = match stores.shared.key {
                    Key::Processing { expired, .. } => !expired || stays,
                    _ => false,
                };
                !runs || !stores.holds(self.host, self.seen())
            }
            _ => false,
        }
    }
}

/// One step of one session.
impl Run<'_> {
    /// Takes the next command or line.
    pub(crate) fn serve(&mut self, conn: usize, session: &mut Session, up: Up) -> Goes {
        match (up, &session.stage) {
            (Up::Mail { followed }, Stage::Greeted) => self.mail(conn, session, followed),
            (Up::Rset, Stage::Mailed) => {
                let (mut transaction, _) = claimed(session.seen());
                self.advise(session.host, transaction.reset());
                *session = Session::new(session.host);
                self.say(|| "RSET: the transaction is let go of".into());
                self.reply(conn, 250)
            }
            (Up::Envelope, Stage::Mailed) => self.data(conn, session),
            (Up::Line(line), Stage::Receiving) => self.line(conn, session, line),
            (Up::Dot, Stage::Receiving) => self.end(conn, session),
            (Up::Line(_), Stage::Failed) => Goes::On,
            (Up::Dot, Stage::Failed) => self.say_failed(conn, session),
            (Up::Cont, _) if !session.reads() => panic!("CONT read too early"),
            (Up::Cont | Up::Deta | Up::Rset, Stage::Deciding(_) | Stage::Awaiting) => {
                self.answer_to_120(conn, session, up)
            }
            (up, stage) => panic!("{up:?} in {stage:?}"),
        }
    }

    fn mail(&mut self, conn: usize, session: &mut Session, followed: bool) -> Goes {
        self.read(session, followed);
        if self.setup.keeps(Rule::LengthWithClaim) {
            self.raise(session);
        }
        if self.setup.keeps(Rule::LengthWithClaim) && self.setup.keeps(Rule::ReadAtOnce) {
            return self.answer_mail(conn, session);
        }
        session.stage = Stage::Reading;
        self.say(|| "MAIL: the first step of two".into());
        Goes::On
    }

    /// The second step of a claim that a broken rule makes in two.
    fn claim(&mut self, conn: usize, session: &mut Session) -> Goes {
        if self.setup.keeps(Rule::ReadAtOnce) {
            self.raise(session);
        } else {
            let (generation, taken) = (session.seen().generation, session.seen().taken);
            self.read(session, session.seen().followed);
            let held = self.state.stores.host(session.host).record.as_ref();
            session.segment = held.map(|held| held.segment);
            if let Some(seen) = session.seen.as_mut() {
                (seen.generation, seen.taken) = (generation, taken);
            }
        }
        self.answer_mail(conn, session)
    }

    /// Reads what is held under the key.
    fn read(&mut self, session: &mut Session, followed: bool) {
        let found = self.state.stores.find(self.setup, session.host);
        session.seen = Some(Seen {
            generation: Generation(0),
            found,
            number: self.state.stores.shared.number,
            taken: 0,
            followed,
        });
    }

    /// Takes the key.
    fn raise(&mut self, session: &mut Session) {
        if let Some(seen) = session.seen.as_mut() {
            session.segment = self.state.stores.raise(self.setup, session.host, seen);
        }
    }

    fn answer_mail(&mut self, conn: usize, session: &mut Session) -> Goes {
        let host = session.host;
        let seen = session.seen();
        let generation = seen.generation;
        let (transaction, outcome) = claimed(seen);
        let held = match seen.found.as_ref().map(|found| found.state) {
            None => "nothing held",
            Some(Stands::Partial) => "a partial record held",
            Some(Stands::Processing(_)) => "a decision runs",
            Some(Stands::Committed) => "a completion record held",
        };
        session.stage = Stage::Mailed;
        session.length = lines(transaction.length());
        session.kept = session.length;
        match outcome {
            MailOutcome::Fresh => {
                self.say(|| format!("MAIL: claims generation {generation}, {held}"));
                self.reply(conn, 250)
            }
            MailOutcome::Restart(offset) => {
                let durable = self.state.stores.durable(host);
                self.state.beyond |= offset.get() > durable;
                self.say(|| {
                    format!(
                        "MAIL: claims generation {generation}, {held}, {durable} octets durable"
                    )
                });
                self.send(conn, Down::Offset(offset.get()));
                Goes::On
            }
            MailOutcome::SequenceError => panic!("another MAIL"),
        }
    }

    /// RCPT and DATA.
    fn data(&mut self, conn: usize, session: &mut Session) -> Goes {
        let (mut transaction, _) = claimed(session.seen());
        let (advice, outcome) = envelope(&mut transaction);
        let DataOutcome::Confirm {
            generation,
            length,
            fresh,
        } = outcome
        else {
            panic!("{outcome:?} to the first data command");
        };
        let (setup, host) = (self.setup, session.host);
        let length = lines(length);
        let mut segment = session.segment;
        let stores = &mut self.state.stores;
        let confirmation = stores.confirm(setup, host, generation, (length, fresh), &mut segment);
        session.segment = segment;
        self.say(|| format!("RCPT, DATA: the claim is {confirmation:?}"));
        self.advise(host, advice);
        self.advise(host, transaction.confirm(confirmation));
        match confirmation {
            Confirmation::Current => {
                session.stage = Stage::Receiving;
                self.reply(conn, 354)
            }
            Confirmation::Outdated => self.close(conn),
            Confirmation::WrongLength => {
                self.reply(conn, 451);
                Goes::Over
            }
        }
    }

    fn line(&mut self, conn: usize, session: &mut Session, line: u8) -> Goes {
        let seen = session.seen();
        if receiving(seen, session.length).is_complete() {
            session.length += 1; // drained
            return Goes::On;
        }
        let (generation, segment) = (seen.generation, session.segment.expect("confirmed"));
        let written = (self.state.stores).write(session.host, generation, segment, line);
        self.say(|| match written {
            Ok(()) => format!("line {line} is written, not synced"),
            Err(Outdated) => format!("line {line}: the claim is outdated"),
        });
        if written.is_err() {
            return self.close(conn);
        }
        session.length += 1;
        Goes::On
    }

    /// Content cannot be stored. The client will take the reply for the outcome, so that the message
    /// must not be delivered any more: no host may decide on it under this decision number.
    pub(crate) fn fail(&mut self, conn: usize, session: &mut Session, up: Up) -> Goes {
        let given_up = (self.state.stores).give_up(self.setup, session.host, session.seen());
        let what = match up {
            Up::Dot => "the final dot: the sync fails",
            _ => "a line: the write fails",
        };
        if given_up.is_err() {
            self.say(|| format!("{what}, and the claim is outdated"));
            return self.close(conn);
        }
        self.say(|| format!("{what}, and the message is given up"));
        session.stage = Stage::Failed;
        if up == Up::Dot {
            return self.say_failed(conn, session);
        }
        Goes::On
    }

    fn say_failed(&mut self, conn: usize, session: &mut Session) -> Goes {
        *session = Session::new(session.host);
        self.reply(conn, 451)
    }

    /// The final dot.
    fn end(&mut self, conn: usize, session: &mut Session) -> Goes {
        if self.setup.interims > 0 {
            session.delay = Delay::Counting;
        }
        let mut transaction = receiving(session.seen(), session.length);
        match transaction.end(octets(session.length)) {
            EndOutcome::Decide => {
                let record = transaction.snapshot().expect("a record");
                let segment = session.segment.expect("confirmed");
                self.begin(conn, session, segment, &record)
            }
            EndOutcome::Await => {
                session.stage = Stage::Awaiting;
                self.say(|| "the final dot: a decision runs, and is awaited".into());
                Goes::On
            }
            EndOutcome::Retained {
                completion,
                discard,
            } => {
                let code = completion.replies[0].code().get();
                // Nothing but a DSN makes a retained reply another one.
                let holds = self.setup.interims == 0
                    || !self.setup.keeps(Rule::RetainedNamesClaim)
                    || self.state.stores.holds(session.host, session.seen());
                if !holds {
                    self.say(|| "the final dot: outdated".into());
                    return self.close(conn);
                }
                self.say(|| "the final dot: the retained reply".into());
                self.advise(session.host, discard);
                *session = Session::new(session.host);
                self.final_reply(conn, code)
            }
            EndOutcome::ContentAfterEnd => panic!("content behind the end"),
        }
    }

    fn begin(
        &mut self,
        conn: usize,
        session: &mut Session,
        segment: u8,
        record: &smtp_checkpoint::checkpoint::Record,
    ) -> Goes {
        let (setup, host) = (self.setup, session.host);
        let Some(seen) = session.seen.as_mut() else {
            return Goes::Over;
        };
        match (self.state.stores).begin(setup, host, seen, segment, record) {
            Ok(number) => {
                session.stage = Stage::Deciding(number);
                session.kept = session.length;
                self.say(|| format!("the final dot: synced, decision {number} begins"));
                Goes::On
            }
            Err(Outdated) => {
                self.say(|| "the final dot: outdated, no decision begins".into());
                self.close(conn)
            }
        }
    }

    /// A partial record is stored: one is due, or the connection is lost.
    pub(crate) fn keep(&mut self, session: &mut Session) {
        let mut transaction = receiving(session.seen(), session.length);
        let (Some(record), Some(segment)) = (transaction.snapshot(), session.segment) else {
            return;
        };
        let kept = (self.state.stores).keep(self.setup, session.host, segment, &record);
        let length = record.length();
        self.say(|| match kept {
            Ok(()) => format!("a record of {length} octets is stored"),
            Err(Outdated) => "a record is refused: the claim is outdated".into(),
        });
        session.kept = session.length;
    }

    /// The connection is found lost.
    pub(crate) fn lost(&mut self, session: &mut Session) {
        match session.stage {
            Stage::Receiving if session.length > session.kept => self.keep(session),
            Stage::Deciding(number) if !self.setup.keeps(Rule::DecisionOutlives) => {
                self.say(|| "the session ends, and its decision with it".into());
                let host = self.state.stores.host(session.host);
                host.decisions.retain(|decision| decision.number != number);
            }
            Stage::Deciding(_) => {
                self.say(|| "the session ends, its decision goes on".into());
                if session.delay != Delay::Never {
                    let _ = machine(session).gone();
                }
            }
            _ => self.say(|| "the session ends".into()),
        }
    }

    /// The decision is made, or lost.
    pub(crate) fn answer(&mut self, conn: usize, session: &mut Session) -> Goes {
        let host = session.host;
        match session.stage {
            Stage::Reading => self.claim(conn, session),
            Stage::Deciding(number) => {
                let shared = &self.state.stores.shared;
                let is_its =
                    matches!(shared.key, Key::Committed { number: its, .. } if its == number);
                let holds = self.state.stores.holds(host, session.seen());
                match shared.key.completion() {
                    Some(completion) if is_its && holds => {
                        self.decided(conn, session, completion.replies[0].code().get())
                    }
                    _ => {
                        self.say(|| "the decision: outdated".into());
                        self.close(conn)
                    }
                }
            }
            Stage::Awaiting => match self.state.stores.look(self.setup, host, session.seen()) {
                Look::Running => Goes::On,
                Look::Decided(completion) => {
                    self.decided(conn, session, completion.replies[0].code().get())
                }
                Look::Withdrawn(number) => {
                    if let Some(seen) = session.seen.as_mut() {
                        seen.number = number;
                    }
                    let held = self.state.stores.host(host).record.clone();
                    session.segment = held.map(|held| held.segment);
                    let mut transaction = receiving(session.seen(), session.length);
                    transaction.decide_anew();
                    let (Some(record), Some(segment)) = (transaction.snapshot(), session.segment)
                    else {
                        panic!("nothing to decide on");
                    };
                    self.say(|| "the decision was lost: it is made anew".into());
                    self.begin(conn, session, segment, &record)
                }
                Look::Gone => {
                    self.say(|| "the decision that was awaited is gone".into());
                    self.close(conn)
                }
            },
            _ => Goes::On,
        }
    }

    /// The decision is there: its reply is given, or held while a 120 is open.
    fn decided(&mut self, conn: usize, session: &mut Session, code: u16) -> Goes {
        if session.delay == Delay::Never {
            *session = Session::new(session.host);
            return self.final_reply(conn, code);
        }
        match machine(session).decided(rdlv::Decision::from(&verdict(code))) {
            DecidedOutcome::Give => {
                *session = Session::new(session.host);
                self.final_reply(conn, code)
            }
            DecidedOutcome::Hold => {
                session.delay = Delay::Held(code);
                self.say(|| format!("the decision is {code}: held, a 120 is open"));
                Goes::On
            }
            other => panic!("{other:?}"),
        }
    }

    fn advise(&mut self, host: u8, discard: Option<Discard>) {
        if let Some(discard) = discard {
            self.say(|| "advice to discard is given, to be carried out later".into());
            self.state.stores.host(host).advice.push(Advice(discard));
        }
    }

    /// The final reply goes to the client, who then has to tell of a failure.
    pub(crate) fn final_reply(&mut self, conn: usize, code: u16) -> Goes {
        let decision = rdlv::Decision::from(&verdict(code));
        if decision == rdlv::Decision::Refused {
            self.state.stores.shared.detached = Detached::No;
        }
        self.reply(conn, code)
    }

    pub(crate) fn reply(&mut self, conn: usize, code: u16) -> Goes {
        self.send(conn, Down::Code(code));
        Goes::On
    }

    pub(crate) fn close(&mut self, conn: usize) -> Goes {
        self.reply(conn, 421);
        Goes::Over
    }
}
