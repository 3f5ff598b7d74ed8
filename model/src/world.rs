//! The states of the model, and every step between them.

use std::fmt;

use smtp_checkpoint::checkpoint::NextStep;
use smtp_checkpoint::rdlv::Choice;
use stateright::{Model, Property};

use crate::client::{Client, Told, Waits, next_step};
use crate::delay::Delay;
use crate::fixture::{Journal, Stands};
use crate::rules::{Rule, Setup};
use crate::server::{Goes, Session, Stage};
use crate::store::{Key, Stores};

/// What a client writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Up {
    Mail {
        followed: bool,
    },
    /// RCPT and DATA, with RDLV between them where the run has it.
    Envelope,
    Line(u8),
    Dot,
    Cont,
    Deta,
    Rset,
}

/// What a server writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Down {
    Code(u16),
    /// 355 with an offset in octets.
    Offset(u64),
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => code.fmt(f),
            Self::Offset(offset) => write!(f, "355 {offset}"),
        }
    }
}

/// The connection of one attempt.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Conn {
    pub(crate) attempt: u8,
    /// The client still has it.
    pub(crate) here: bool,
    /// Written, and not yet read.
    pub(crate) up: Vec<Up>,
    pub(crate) down: Vec<Down>,
    /// `None` once the session is over.
    pub(crate) session: Option<Session>,
}

/// What faults are left.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Faults {
    pub(crate) losses: u8,
    pub(crate) crashes: u8,
    pub(crate) expiries: u8,
    pub(crate) failures: u8,
    pub(crate) interims: u8,
}

/// A state of the model.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    pub(crate) client: Client,
    pub(crate) conns: Vec<Conn>,
    pub(crate) stores: Stores,
    pub(crate) left: Faults,
    /// A 355 announced more than was durable.
    pub(crate) beyond: bool,
}

/// A step of the model. Sessions go by the number of their attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The client begins an attempt.
    Connect {
        /// On this host.
        host: u8,
        /// With its envelope behind MAIL.
        grouped: bool,
    },
    /// The client takes the next reply.
    Receive,
    /// The client answers a 120.
    Choose(Choice),
    /// The connection is lost, or the client crashes.
    Lose {
        /// The client knows no more than is in its journal.
        crash: bool,
    },
    /// The client's attempts have run out, or nothing was ever sent.
    GiveUp,
    /// A session takes the next command or line.
    Serve(u8),
    /// A session takes the next line or the final dot, and content cannot be stored.
    Fail(u8),
    /// A session stores a partial record.
    Keep(u8),
    /// A session finds its connection lost.
    End(u8),
    /// A session is told of the decision.
    Answer(u8),
    /// A session writes 120.
    Due(u8),
    /// A decision is made: by host, place, and the code that it comes to.
    Decide(u8, u8, u16),
    /// A commit that a broken rule put off.
    CommitLate(u8, u8),
    /// Advice is carried out.
    Discard(u8, u8),
    /// A host dies and starts again.
    Crash(u8),
    /// A host decides on what it owns and had forgotten.
    Recover(u8),
    /// The lease of a decision is found expired.
    Expire,
    /// The DSN of a detached message that failed is issued.
    Report,
}

/// One step, being made.
pub(crate) struct Run<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) state: State,
    log: Option<Vec<String>>,
}

impl Run<'_> {
    /// For the reader of a trace.
    pub(crate) fn say(&mut self, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(text());
        }
    }

    pub(crate) fn host_name(&self, host: u8) -> char {
        char::from(b'A' + host)
    }

    pub(crate) fn send(&mut self, conn: usize, down: Down) {
        self.say(|| format!("-> {down}"));
        let conn = &mut self.state.conns[conn];
        if conn.here {
            conn.down.push(down);
        }
    }

    fn conn(&self, attempt: u8) -> Option<usize> {
        (self.state.conns.iter()).position(|conn| conn.attempt == attempt)
    }

    /// A step of a session.
    fn session(&mut self, attempt: u8, step: impl FnOnce(&mut Self, usize, &mut Session) -> Goes) {
        let Some(at) = self.conn(attempt) else {
            return;
        };
        let Some(mut session) = self.state.conns[at].session.take() else {
            return;
        };
        if step(self, at, &mut session) == Goes::On {
            self.state.conns[at].session = Some(session);
        }
    }

    fn take(&mut self, action: Action) {
        match action {
            Action::Connect { host, grouped } => self.connect(host, grouped),
            Action::Receive => self.receive(),
            Action::Choose(choice) => self.choose(choice),
            Action::Lose { crash } => {
                let is_over = |conn: &Conn| conn.here && conn.session.is_none();
                if !self.state.conns.iter().any(is_over) {
                    self.state.left.losses -= 1;
                }
                self.lose(crash);
            }
            Action::GiveUp => self.give_up(),
            Action::Serve(attempt) => self.session(attempt, |run, at, session| {
                let up = run.state.conns[at].up.remove(0);
                run.serve(at, session, up)
            }),
            Action::Fail(attempt) => {
                self.state.left.failures -= 1;
                self.session(attempt, |run, at, session| {
                    let up = run.state.conns[at].up.remove(0);
                    run.fail(at, session, up)
                });
            }
            Action::Keep(attempt) => self.session(attempt, |run, _, session| {
                run.keep(session);
                Goes::On
            }),
            Action::End(attempt) => self.session(attempt, |run, _, session| {
                run.lost(session);
                Goes::Over
            }),
            Action::Answer(attempt) => {
                self.session(attempt, |run, at, session| run.answer(at, session))
            }
            Action::Due(attempt) => {
                self.state.left.interims -= 1;
                self.session(attempt, |run, at, session| {
                    run.due(at, session);
                    Goes::On
                });
            }
            Action::Decide(host, at, code) => self.decide(host, at, code),
            Action::CommitLate(host, at) => {
                let decision = &self.state.stores.host(host).decisions[usize::from(at)];
                let code = decision.verdict.expect("it was put off");
                self.state.stores.commit(self.setup, host, at.into(), code);
                self.say(|| format!("committed as {code}"));
            }
            Action::Discard(host, at) => {
                let advice = self.state.stores.host(host).advice.remove(at.into());
                let dropped = self.state.stores.discard(self.setup, host, &advice);
                self.say(|| match dropped {
                    true => "the advice is carried out: what is held is dropped".into(),
                    false => "the advice is carried out: it applies to nothing".into(),
                });
            }
            Action::Crash(host) => {
                self.state.left.crashes -= 1;
                self.say(|| "crashes and starts again".into());
                self.state.stores.crash(host);
                for conn in &mut self.state.conns {
                    if conn.session.as_ref().is_some_and(|it| it.host == host) {
                        conn.session = None;
                    }
                }
            }
            Action::Recover(host) => {
                self.state.stores.recover(host);
                self.say(|| "decides anew on the message that it owns".into());
            }
            Action::Expire => {
                self.state.left.expiries -= 1;
                if let Key::Processing { expired, .. } = &mut self.state.stores.shared.key {
                    *expired = true;
                }
                self.say(|| "the lease of the decision has expired".into());
            }
            Action::Report => {
                self.state.stores.report();
                self.say(|| "a DSN tells of the failure".into());
            }
        }
        self.tidy();
    }

    fn decide(&mut self, host: u8, at: u8, code: u16) {
        let number = self.state.stores.host(host).decisions[usize::from(at)].number;
        if !self.setup.keeps(Rule::DurableBeforeReply) {
            let waits = |conn: &Conn| {
                let session = conn.session.as_ref();
                session.is_some_and(|it| it.host == host && it.stage == Stage::Deciding(number))
            };
            self.say(|| format!("decision {number} is {code}, not yet committed"));
            if let Some(conn) = self.state.conns.iter().position(waits) {
                self.state.conns[conn].session = Some(Session::new(host));
                self.final_reply(conn, code);
            }
            self.state.stores.host(host).decisions[usize::from(at)].verdict = Some(code);
            return;
        }
        let is_late = !self.setup.keeps(Rule::CommitIsOneStep);
        let accepted = self.state.stores.commit(self.setup, host, at.into(), code);
        self.say(|| match accepted {
            true if is_late => format!("decision {number} is {code}: the record is dropped"),
            true => format!("decision {number} is {code}: committed"),
            false => format!("decision {number} is {code}: refused, it is outdated"),
        });
    }

    /// What nobody can come to any more is forgotten, so that equal states are equal.
    fn tidy(&mut self) {
        for conn in &mut self.state.conns {
            if conn.session.is_none() {
                conn.up.clear();
            }
        }
        (self.state.conns).retain(|conn| conn.here || conn.session.is_some());
        for (number, host) in self.state.stores.hosts.iter_mut().enumerate() {
            let sessions = (self.state.conns.iter()).filter_map(|conn| conn.session.as_ref());
            let here = sessions.filter(|session| usize::from(session.host) == number);
            let in_use: Vec<u8> = here.filter_map(|session| session.segment).collect();
            host.tidy(&in_use);
        }
    }
}

/// The restart protocol, within these bounds.
#[derive(Debug, Clone, Copy)]
pub struct Restart(pub Setup);

impl Restart {
    pub(crate) fn step(&self, state: &State, action: Action, log: bool) -> (State, Vec<String>) {
        let mut run = Run {
            setup: &self.0,
            state: state.clone(),
            log: log.then(Vec::new),
        };
        run.take(action);
        (run.state, run.log.unwrap_or_default())
    }

    fn client_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.client.told.is_some() {
            return;
        }
        let Some(conn) = state.conns.iter().find(|conn| conn.here) else {
            match next_step(&self.0, &state.client) {
                NextStep::Send => {
                    // The hosts are alike, so the first attempt goes to the first of them.
                    let is_first = state.client.attempts == 0;
                    let hosts = if is_first { 1 } else { self.0.hosts };
                    for host in 0..hosts {
                        for grouped in [false, true] {
                            if self.0.grouped || !grouped {
                                actions.push(Action::Connect { host, grouped });
                            }
                        }
                    }
                }
                NextStep::StartOver | NextStep::Unknown => actions.push(Action::GiveUp),
            }
            return;
        };
        if !conn.down.is_empty() {
            actions.push(Action::Receive);
        }
        if conn.session.is_none() || state.left.losses > 0 {
            actions.push(Action::Lose { crash: true });
            if matches!(state.client.waits, Waits::Data { .. }) {
                actions.push(Action::Lose { crash: false });
            }
        }
        if state.client.waits == Waits::Interim && conn.session.is_some() {
            for choice in [Choice::CarryOn, Choice::Detach, Choice::Abort] {
                actions.push(Action::Choose(choice));
            }
        }
    }

    fn server_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for conn in &state.conns {
            let Some(session) = &conn.session else {
                continue;
            };
            let attempt = conn.attempt;
            if session.reads() && !conn.up.is_empty() {
                actions.push(Action::Serve(attempt));
                if state.left.failures > 0 && session.stores(conn.up[0]) {
                    actions.push(Action::Fail(attempt));
                }
            }
            if session.stage == Stage::Receiving && session.length > session.kept {
                actions.push(Action::Keep(attempt));
            }
            if !conn.here {
                actions.push(Action::End(attempt));
            }
            if session.is_answered(&self.0, &state.stores) {
                actions.push(Action::Answer(attempt));
            }
            let waits = matches!(session.stage, Stage::Deciding(_) | Stage::Awaiting);
            if waits && session.delay == Delay::Counting && state.left.interims > 0 {
                actions.push(Action::Due(attempt));
            }
        }
    }

    fn host_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let stores = &state.stores;
        for (host, content) in (0..).zip(&stores.hosts) {
            for (at, decision) in (0..).zip(&content.decisions) {
                match decision.verdict {
                    Some(_) => actions.push(Action::CommitLate(host, at)),
                    None => {
                        let codes = self.0.verdicts.iter();
                        actions.extend(codes.map(|code| Action::Decide(host, at, *code)));
                    }
                }
            }
            actions.extend(
                (0..)
                    .zip(&content.advice)
                    .map(|(at, _)| Action::Discard(host, at)),
            );
            if state.left.crashes > 0 {
                actions.push(Action::Crash(host));
            }
            if stores.is_forgotten(host) {
                actions.push(Action::Recover(host));
            }
        }
        if state.left.expiries > 0
            && matches!(stores.shared.key, Key::Processing { expired: false, .. })
        {
            actions.push(Action::Expire);
        }
        // The duty stays with a session that took the message back, until it ends.
        let took_back = |conn: &Conn| {
            let session = conn.session.as_ref();
            session.is_some_and(|session| {
                let found = session.found().map(|found| found.state);
                let has = matches!(session.stage, Stage::Deciding(_) | Stage::Awaiting)
                    || matches!(found, Some(Stands::Processing(_) | Stands::Committed));
                has && (session.seen.as_ref()).is_some_and(|seen| stores.holds(session.host, seen))
            })
        };
        if stores.owes_report() && !state.conns.iter().any(took_back) {
            actions.push(Action::Report);
        }
    }
}

impl State {
    pub(crate) fn told(&self, told: &[Told]) -> bool {
        self.client.told.is_some_and(|it| told.contains(&it))
    }

    pub(crate) fn session(&self, is: impl Fn(&Conn, &Session) -> bool) -> bool {
        (self.conns.iter()).any(|conn| conn.session.as_ref().is_some_and(|it| is(conn, it)))
    }
}

impl Model for Restart {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let setup = &self.0;
        vec![State {
            client: Client {
                journal: Journal::first(setup.lines),
                attempts: 0,
                waits: Waits::Between,
                told: None,
            },
            conns: Vec::new(),
            stores: Stores::new(setup.hosts),
            left: Faults {
                losses: setup.losses,
                crashes: setup.crashes,
                expiries: setup.expiries,
                failures: setup.failures,
                interims: setup.interims,
            },
            beyond: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.client_actions(state, actions);
        self.server_actions(state, actions);
        self.host_actions(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let (next, _) = self.step(state, action, false);
        let (before, after) = (state.left_to_do(&self.0), next.left_to_do(&self.0));
        assert!(
            after < before,
            "{action:?} leads from {before} to {after}: {state:#?}"
        );
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        crate::properties::all(&self.0)
    }
}
