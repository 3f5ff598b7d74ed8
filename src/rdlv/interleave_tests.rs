//! The server's machine in every order of events, against a naive twin.
//!
//! The twin knows no states: it has a list of facts (is a command unanswered, is a 120 open, is a
//! result held) and says what goes on the wire. Both are told the same events, all orders up to
//! [`LENGTH`] that change anything; what the machine tells, its deadline and whether it reads
//! commands have to agree after each, and what was written is held against the rules at the end.

use core::time::Duration;
use std::vec::Vec;

use super::*;
use crate::command::Rdlv;
use crate::time::Timestamp;

/// Events behind the end of the data, not counting those that change nothing: these are tried
/// everywhere, but an order that goes on behind one is the same as without it.
const LENGTH: usize = 12;
const STEP: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Decide(Decision),
    /// Time passes up to the deadline.
    Timer(Following),
    Transmitted,
    Command(Verb),
    Eof,
    Detach(DetachAnswer),
    Abort(ResetAnswer),
}

const EVENTS: [Event; 19] = [
    Event::Decide(Decision::Stands),
    Event::Decide(Decision::Refused),
    Event::Timer(Following::Nothing),
    Event::Timer(Following::Input),
    Event::Transmitted,
    Event::Command(Verb::Cont),
    Event::Command(Verb::Deta),
    Event::Command(Verb::Rset),
    Event::Command(Verb::Hello),
    Event::Command(Verb::Quit),
    Event::Command(Verb::Other),
    Event::Eof,
    Event::Detach(DetachAnswer::Owned),
    Event::Detach(DetachAnswer::OverLimit),
    Event::Detach(DetachAnswer::Failed),
    Event::Detach(DetachAnswer::Outdated),
    Event::Abort(ResetAnswer::Aborted),
    Event::Abort(ResetAnswer::TooLate),
    Event::Abort(ResetAnswer::Outdated),
];

/// What goes out, to the wire or to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Out {
    Nothing,
    Interim,
    Final(Decision),
    /// To RSET.
    Reset250,
    Reset554,
    Hello,
    Bye(&'static str),
    Refused(u16),
    CloseSilently,
    AskAbort,
    AskOwn,
    /// The command stays unread.
    Unread,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unanswered {
    Submission,
    Cont,
    Rset,
    Hello,
    Deta,
}

#[derive(Debug, Clone)]
struct Twin {
    maxtimer: Duration,
    margin: Duration,
    asked: bool,
    unanswered: Option<Unanswered>,
    interim_open: bool,
    untransmitted: bool,
    decision: Option<Decision>,
    due: Option<Timestamp>,
    gone_at: Option<Timestamp>,
    left: Duration,
    over: bool,
}

impl Twin {
    fn finish(&mut self, out: Out) -> Out {
        self.over = true;
        self.due = None;
        self.gone_at = None;
        self.interim_open = false;
        self.unanswered = None;
        out
    }

    fn reset_reply(&mut self, aborted: bool) -> Out {
        match self.unanswered {
            Some(Unanswered::Hello) => self.finish(Out::Hello),
            _ if aborted => self.finish(Out::Reset250),
            _ => self.finish(Out::Reset554),
        }
    }

    fn take(&mut self, now: Timestamp, event: Event) -> Out {
        if self.over {
            return Out::Nothing;
        }
        match event {
            Event::Decide(_) if self.decision.is_some() => Out::Nothing,
            Event::Decide(decision) => {
                self.decision = Some(decision);
                match self.unanswered {
                    Some(Unanswered::Submission | Unanswered::Cont) => {
                        self.finish(Out::Final(decision))
                    }
                    Some(Unanswered::Rset | Unanswered::Hello) => {
                        self.reset_reply(decision == Decision::Refused)
                    }
                    Some(Unanswered::Deta) | None => Out::Nothing,
                }
            }
            Event::Timer(following) => {
                if self.gone_at.is_some_and(|at| at <= now) {
                    return self.finish(Out::CloseSilently);
                }
                if self.due.is_none_or(|at| now < at) {
                    return Out::Nothing;
                }
                self.due = None;
                if following == Following::Input {
                    return Out::Nothing;
                }
                self.unanswered = None;
                self.interim_open = true;
                self.untransmitted = true;
                self.gone_at = Some(now + self.maxtimer + self.margin);
                Out::Interim
            }
            Event::Transmitted => {
                if self.interim_open && self.untransmitted && self.unanswered.is_none() {
                    self.untransmitted = false;
                    self.gone_at = Some(now + self.maxtimer + self.margin);
                }
                Out::Nothing
            }
            Event::Command(_) if self.unanswered.is_some() => Out::Unread,
            Event::Command(Verb::Cont) => {
                self.interim_open = false;
                self.gone_at = None;
                self.unanswered = Some(Unanswered::Cont);
                match self.decision {
                    Some(decision) => self.finish(Out::Final(decision)),
                    None => {
                        self.due = Some(now + (self.maxtimer - self.margin));
                        Out::Nothing
                    }
                }
            }
            Event::Command(Verb::Deta) => {
                self.unanswered = Some(Unanswered::Deta);
                self.left = self.gone_at.unwrap().since(now);
                self.gone_at = None;
                self.untransmitted = false;
                Out::AskOwn
            }
            Event::Command(verb @ (Verb::Rset | Verb::Hello)) => {
                self.unanswered = Some(if verb == Verb::Rset {
                    Unanswered::Rset
                } else {
                    Unanswered::Hello
                });
                self.gone_at = None;
                self.interim_open = false;
                match self.decision {
                    Some(decision) => self.reset_reply(decision == Decision::Refused),
                    None => Out::AskAbort,
                }
            }
            Event::Command(Verb::Quit) => self.finish(Out::Bye("QUIT")),
            Event::Command(Verb::Other) => Out::Refused(503),
            Event::Eof => self.finish(Out::CloseSilently),
            Event::Detach(answer) => {
                if self.unanswered != Some(Unanswered::Deta) {
                    return Out::Nothing;
                }
                let refused = match answer {
                    DetachAnswer::Owned => return self.finish(Out::Bye("DETA")),
                    DetachAnswer::Outdated => return self.finish(Out::Bye("421")),
                    DetachAnswer::OverLimit => 450,
                    DetachAnswer::Failed => 451,
                };
                self.unanswered = None;
                self.gone_at = Some(now + self.left);
                Out::Refused(refused)
            }
            Event::Abort(answer) => {
                if !matches!(self.unanswered, Some(Unanswered::Rset | Unanswered::Hello)) {
                    return Out::Nothing;
                }
                match answer {
                    ResetAnswer::Aborted => self.reset_reply(true),
                    ResetAnswer::TooLate => self.reset_reply(false),
                    ResetAnswer::Outdated => self.finish(Out::Bye("421")),
                }
            }
        }
    }
}

fn settled(server: &Server, settled: Settled) -> Out {
    match settled
        .reply(server.settings())
        .map(|reply| reply.code().get())
    {
        None => Out::Hello,
        Some(250) => Out::Reset250,
        Some(554) => Out::Reset554,
        Some(421) => Out::Bye("421"),
        Some(other) => panic!("{other}"),
    }
}

/// What a session makes of the machine's outcomes.
fn machine(server: &mut Server, held: &mut Option<Decision>, now: Timestamp, event: Event) -> Out {
    match event {
        Event::Decide(decision) => match server.decided(decision) {
            DecidedOutcome::Give => Out::Final(decision),
            DecidedOutcome::Hold => {
                *held = Some(decision);
                Out::Nothing
            }
            DecidedOutcome::Settled(ending) => settled(server, ending),
            DecidedOutcome::NotAwaited => Out::Nothing,
        },
        Event::Timer(following) => match server.due(now, following) {
            Due::Nothing | Due::Suppressed => Out::Nothing,
            Due::Send => Out::Interim,
            Due::ClientGone(gone) => {
                let expected = held.map_or(Gone::Running, Gone::Undelivered);
                assert_eq!(gone, expected);
                Out::CloseSilently
            }
        },
        Event::Transmitted => {
            server.transmitted(now);
            Out::Nothing
        }
        Event::Command(verb) => match server.command(now, verb) {
            CommandOutcome::Continue => Out::Nothing,
            CommandOutcome::GiveHeld => Out::Final(held.take().unwrap()),
            CommandOutcome::AskDetach(progress) => {
                assert_eq!(progress, held.map_or(Progress::Running, Progress::Decided));
                Out::AskOwn
            }
            CommandOutcome::AskAbort => Out::AskAbort,
            CommandOutcome::Settled(ending) => settled(server, ending),
            CommandOutcome::Quit(gone) => {
                let expected = held.map_or(Gone::Running, Gone::Undelivered);
                assert_eq!(gone, expected);
                Out::Bye("QUIT")
            }
            CommandOutcome::OutOfTurn => Out::Refused(503),
            CommandOutcome::NotNow => Out::Unread,
            other @ (CommandOutcome::Pass | CommandOutcome::NotOffered) => panic!("{other:?}"),
        },
        Event::Eof => {
            let _gone = server.gone();
            Out::CloseSilently
        }
        Event::Detach(answer) => match server.detach(now, answer) {
            DetaOutcome::Detached(progress) => {
                assert_eq!(progress, held.map_or(Progress::Running, Progress::Decided));
                Out::Bye("DETA")
            }
            DetaOutcome::Refused(reply) => Out::Refused(reply.code().get()),
            DetaOutcome::Outdated => Out::Bye("421"),
            DetaOutcome::Stale => Out::Nothing,
        },
        Event::Abort(answer) => match server.reset(answer) {
            Some(ending) => settled(server, ending),
            None => Out::Nothing,
        },
    }
}

#[derive(Clone)]
struct Run {
    server: Server,
    held: Option<Decision>,
    twin: Twin,
    now: Timestamp,
    log: Vec<(Event, Out)>,
}

/// What must hold of everything that was written.
fn check_wire(log: &[(Event, Out)], asked: bool) {
    let mut commands = 1; // the verb that ended the message
    let mut replies = 0;
    let mut open = false;
    let mut finals = 0;
    let mut decided = None;
    for (event, out) in log {
        if let Event::Command(_) = event {
            if *out != Out::Unread {
                commands += 1;
                assert!(open, "a command was read with no 120 open: {log:?}");
            }
        }
        if let Event::Decide(decision) = event {
            decided.get_or_insert(*decision);
        }
        match out {
            Out::Interim => {
                assert!(asked, "a 120 that was not asked for");
                assert!(!open, "a second 120: {log:?}");
                open = true;
                replies += 1;
            }
            Out::Final(decision) => {
                assert_eq!(decided, Some(*decision), "another reply than was decided");
                finals += 1;
                replies += 1;
            }
            Out::Reset250
            | Out::Reset554
            | Out::Hello
            | Out::Bye("QUIT" | "DETA" | "421")
            | Out::Refused(_) => replies += 1,
            _ => {}
        }
        if matches!((event, out), (Event::Command(Verb::Cont), Out::Nothing)) {
            open = false;
        }
        // A reset that aborted is true.
        if *out == Out::Reset250 {
            assert_ne!(
                decided,
                Some(Decision::Stands),
                "250 although the message stands"
            );
        }
        assert!(replies <= commands, "a reply without a command: {log:?}");
    }
    assert!(finals <= 1, "a final reply twice: {log:?}");
    // Lost is a final reply only where the client took another way out.
    if let Some((_, last)) = log.last().filter(|_| decided.is_some() && finals == 0) {
        let still_held = open;
        let other_way = matches!(
            last,
            Out::Reset250 | Out::Reset554 | Out::Hello | Out::Bye(_) | Out::CloseSilently
        );
        assert!(still_held || other_way, "a final reply lost: {log:?}");
    }
}

fn explore(run: &Run, depth: usize, orders: &mut u64) {
    for event in EVENTS {
        let mut next = run.clone();
        next.now = match event {
            Event::Timer(_) => next.server.poll_timeout().unwrap_or(next.now).max(next.now),
            _ => next.now + STEP,
        };
        let out = machine(&mut next.server, &mut next.held, next.now, event);
        let twin = next.twin.take(next.now, event);
        next.log.push((event, out));
        assert_eq!(out, twin, "{:?}", next.log);
        let deadline = next.twin.due.or(next.twin.gone_at);
        assert_eq!(next.server.poll_timeout(), deadline, "{:?}", next.log);
        check_wire(&next.log, next.twin.asked);
        if next.twin.over {
            *orders += 1;
            assert_over(&mut next);
            continue;
        }
        let reading = if next.twin.unanswered.is_some() {
            Reading::None
        } else {
            Reading::One
        };
        assert_eq!(next.server.reading(), reading, "{:?}", next.log);
        let unchanged = std::format!("{:?}", next.server) == std::format!("{:?}", run.server);
        if depth > 1 && !unchanged {
            explore(&next, depth - 1, orders);
        } else {
            *orders += 1;
        }
    }
}

/// Behind the end nothing is awaited, held or due.
fn assert_over(run: &mut Run) {
    let (server, now) = (&mut run.server, run.now);
    assert_eq!(server.poll_timeout(), None);
    assert_eq!(server.reading(), Reading::AsEver);
    assert_eq!(server.progress(), None);
    assert_eq!(server.decided(Decision::Stands), DecidedOutcome::NotAwaited);
    assert_eq!(server.detach(now, DetachAnswer::Owned), DetaOutcome::Stale);
    assert_eq!(server.reset(ResetAnswer::Aborted), None);
    assert_eq!(server.command(now, Verb::Cont), CommandOutcome::OutOfTurn);
    assert_eq!(server.command(now, Verb::Deta), CommandOutcome::OutOfTurn);
    assert_eq!(
        server.due(now + Duration::MAX, Following::Nothing),
        Due::Nothing
    );
    assert_eq!(server.gone(), Gone::Nothing);
}

fn start(maxtimer: Option<u32>) -> Run {
    let settings = ServerSettings::new(1).unwrap().deta(true);
    let mut server = Server::new(settings);
    let seconds = Duration::from_secs(u64::from(maxtimer.unwrap_or(0)));
    let margin = DEFAULT_MARGIN.min(seconds / 2);
    if let Some(maxtimer) = maxtimer {
        let outcome = server.request(Rdlv { maxtimer }, Within::Transaction);
        assert_eq!(outcome, RequestOutcome::Accepted);
    }
    server.end_of_data(Timestamp::ORIGIN);
    Run {
        server,
        held: None,
        twin: Twin {
            maxtimer: seconds,
            margin,
            asked: maxtimer.is_some(),
            unanswered: Some(Unanswered::Submission),
            interim_open: false,
            untransmitted: false,
            decision: None,
            due: maxtimer.map(|_| Timestamp::ORIGIN + (seconds - margin)),
            gone_at: None,
            left: Duration::ZERO,
            over: false,
        },
        now: Timestamp::ORIGIN,
        log: Vec::new(),
    }
}

#[test]
fn every_order_of_events_as_the_naive_twin() {
    let mut orders = 0;
    explore(&start(Some(30)), LENGTH, &mut orders);
    assert!(orders > 100_000, "{orders} orders");
}

#[test]
fn every_order_of_events_with_the_shortest_timer() {
    let mut orders = 0;
    explore(&start(Some(1)), 6, &mut orders);
    assert!(orders > 1_000, "{orders} orders");
}

#[test]
fn every_order_of_events_without_rdlv() {
    let mut orders = 0;
    explore(&start(None), LENGTH, &mut orders);
    assert!(orders > 0);
}
