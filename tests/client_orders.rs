//! Everything that can happen to a client session behind the end of the data under RDLV, in every
//! order up to [`LENGTH`] events, against a naive twin.
//!
//! The twin knows what is written on the wire and what the drafts make of a reply, nothing of how
//! the session keeps track. After each event the two have to agree on what is sent, asked and told;
//! at the end on the one outcome, and on what is stored of it.

#![cfg(feature = "session")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use smtp_checkpoint::checkpoint::{
    Cause, Content, NextStep, Outcome, RestartPolicy, Sent, Stage, UnfinishedTransaction,
};
use smtp_checkpoint::client::{ChoiceError, Ending, Protocol, RdlvRequest};
use smtp_checkpoint::error::PeerError;
use smtp_checkpoint::rdlv::Choice;
use smtp_checkpoint::transid::TransId;

mod client_scene;

use client_scene::{Scene, config, ned, rcpt};

/// Events behind the end of the data, not counting those that can change nothing.
const LENGTH: usize = 10;

const MESSAGE: &[u8] = b"one\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// A reply with this code; 0 is one that breaks the grammar.
    Reply(u16),
    /// What is written leaves.
    Transmit,
    /// The time that the session waits for comes.
    Timer,
    Choose(Choice),
    Eof,
    Abandon,
}

const EVENTS: [Event; 17] = [
    Event::Reply(120),
    Event::Reply(250),
    Event::Reply(221),
    Event::Reply(450),
    Event::Reply(554),
    Event::Reply(421),
    Event::Reply(503),
    Event::Reply(520),
    Event::Reply(354),
    Event::Reply(0),
    Event::Transmit,
    Event::Timer,
    Event::Choose(Choice::CarryOn),
    Event::Choose(Choice::Detach),
    Event::Choose(Choice::Abort),
    Event::Eof,
    Event::Abandon,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Setting {
    transid: bool,
    lmtp: bool,
    bdat: bool,
    reset_aborts: bool,
}

/// What the last line of the client was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    End,
    Cont,
    Deta,
    Rset,
}

/// What became of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Delivered,
    Deferred,
    Refused,
    PerRecipient(Vec<u16>),
    Detached,
    Aborted,
    /// The TRANSID, where there is one, is restarted.
    Undecided(Cause2),
    /// It is not, be there one or not.
    Unknown(Cause2),
    /// 520: sent once more.
    Again,
}

/// A cause without its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause2 {
    Lost,
    Closed,
    TimedOut,
    Abandoned,
    Protocol(PeerError),
    Answered(Stage, u16),
    NoChoice,
    DetachUnanswered,
    AbortUnanswered,
}

impl From<&Cause> for Cause2 {
    fn from(cause: &Cause) -> Self {
        match cause {
            Cause::Lost => Self::Lost,
            Cause::Closed(reply) => {
                assert_eq!(reply.code().get(), 421);
                Self::Closed
            }
            Cause::TimedOut => Self::TimedOut,
            Cause::Abandoned => Self::Abandoned,
            Cause::Protocol(error) => Self::Protocol(*error),
            Cause::Answered(stage, reply) => Self::Answered(*stage, reply.code().get()),
            Cause::NoChoice => Self::NoChoice,
            Cause::DetachUnanswered => Self::DetachUnanswered,
            Cause::AbortUnanswered => Self::AbortUnanswered,
            other => panic!("{other:?}"),
        }
    }
}

/// What an event leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// It can change nothing: not tried.
    Idle,
    GoOn,
    /// A line is written.
    Write(&'static str),
    /// The 120 is asked about.
    Ask,
    Warn,
    NoDetach,
    Over(End),
}

#[derive(Debug, Clone)]
struct Twin {
    setting: Setting,
    said: Said,
    /// It has not left.
    pending: bool,
    open: bool,
    refused: bool,
    /// DETA was refused for good.
    never: bool,
    warned: bool,
    /// LMTP: final replies, and whether one of them decides nothing.
    finals: Vec<u16>,
    undecided: Option<u16>,
}

impl Twin {
    fn new(setting: Setting) -> Self {
        Self {
            setting,
            said: Said::End,
            pending: false,
            open: false,
            refused: false,
            never: false,
            warned: false,
            finals: Vec::new(),
            undecided: None,
        }
    }

    /// The connection is of no use any more.
    fn broken(&self, cause: Cause2) -> Step {
        let unanswered = matches!(cause, Cause2::Lost | Cause2::TimedOut | Cause2::Abandoned);
        // A refusal that came before is what is told, unless all was to be sent again after it.
        if let Some(code) = self.undecided.filter(|_| !self.all_520()) {
            return Step::Over(End::Undecided(Cause2::Answered(Stage::EndOfData, code)));
        }
        let is_plain = !self.setting.transid && !self.setting.lmtp;
        Step::Over(match self.said {
            // A 4yz in the place of the final reply (RFC 5321 §3.8).
            Said::End if cause == Cause2::Closed && is_plain && !self.open => End::Deferred,
            Said::Deta if !self.open && unanswered => End::Undecided(Cause2::DetachUnanswered),
            Said::Rset if unanswered => End::Unknown(Cause2::AbortUnanswered),
            Said::Rset => End::Unknown(cause),
            _ => End::Undecided(cause),
        })
    }

    /// Final replies have come, and all say that the message is to be sent again.
    fn all_520(&self) -> bool {
        !self.finals.is_empty() && self.finals.iter().all(|code| *code == 520)
    }

    fn say(&mut self, said: Said, line: &'static str) -> Step {
        self.said = said;
        self.pending = true;
        self.open = false;
        Step::Write(line)
    }

    fn ask(&mut self, refused: bool) -> Step {
        self.open = true;
        self.warned = false;
        self.refused = refused;
        Step::Ask
    }

    fn take(&mut self, event: Event) -> Step {
        let unexpected = Cause2::Protocol(PeerError::UnexpectedReply);
        match event {
            Event::Eof => self.broken(Cause2::Lost),
            Event::Abandon => self.broken(Cause2::Abandoned),
            Event::Transmit if !self.pending => Step::Idle,
            Event::Transmit => {
                self.pending = false;
                Step::GoOn
            }
            Event::Timer if self.open && !self.warned => {
                self.warned = true;
                Step::Warn
            }
            Event::Timer if self.open => self.broken(Cause2::NoChoice),
            Event::Timer => self.broken(Cause2::TimedOut),
            Event::Choose(_) if !self.open => Step::Idle,
            Event::Choose(Choice::CarryOn) => self.say(Said::Cont, "CONT\r\n"),
            Event::Choose(Choice::Abort) => self.say(Said::Rset, "RSET\r\n"),
            Event::Choose(Choice::Detach) if self.refused || self.never => Step::NoDetach,
            Event::Choose(Choice::Detach) => self.say(Said::Deta, "DETA\r\n"),
            Event::Reply(0) => self.broken(Cause2::Protocol(PeerError::MalformedReply)),
            Event::Reply(421) => self.broken(Cause2::Closed),
            Event::Reply(_) if self.open || self.pending => {
                self.broken(Cause2::Protocol(PeerError::UnsolicitedReply))
            }
            Event::Reply(code) => match (self.said, code) {
                (Said::Deta, 221) => Step::Over(End::Detached),
                (Said::Deta, 450 | 554 | 503 | 520) => {
                    self.never |= code != 450;
                    self.ask(true)
                }
                (Said::Rset, 250 | 221) if self.setting.reset_aborts => Step::Over(End::Aborted),
                (Said::Rset, 250 | 221) => {
                    Step::Over(End::Unknown(Cause2::Answered(Stage::Reset, code)))
                }
                (Said::Rset, 450 | 554 | 503 | 520) => {
                    Step::Over(End::Undecided(Cause2::Answered(Stage::Reset, code)))
                }
                (Said::Deta | Said::Rset, _) => self.broken(unexpected),
                (Said::End | Said::Cont, _) => self.final_reply(code),
            },
        }
    }

    fn final_reply(&mut self, code: u16) -> Step {
        let unexpected = Cause2::Protocol(PeerError::UnexpectedReply);
        let is_first = self.finals.is_empty() && self.undecided.is_none();
        match code {
            120 if is_first => return self.ask(false),
            120 => return self.broken(unexpected),
            // A refusal that was told before stands.
            354 if self.undecided.is_none() || self.all_520() => return self.broken(unexpected),
            503 | 520 if is_first && self.said == Said::Cont => return self.broken(unexpected),
            520 if is_first && !self.setting.lmtp => return Step::Over(End::Again),
            _ => {}
        }
        // Without a TRANSID no restart could tell more than the reply does.
        let decides = !matches!(code, 503 | 520 | 354) || !self.setting.transid;
        if !decides && self.undecided.is_none() {
            self.undecided = Some(code);
        }
        self.finals.push(code);
        let owed = if self.setting.lmtp { 2 } else { 1 };
        if self.finals.len() < owed {
            return Step::GoOn;
        }
        if self.all_520() {
            return Step::Over(End::Again);
        }
        Step::Over(match (self.undecided, self.setting.lmtp, code) {
            (Some(code), ..) => End::Undecided(Cause2::Answered(Stage::EndOfData, code)),
            (None, true, _) => End::PerRecipient(self.finals.clone()),
            (None, false, 250 | 221) => End::Delivered,
            (None, false, 450) => End::Deferred,
            (None, false, _) => End::Refused,
        })
    }
}

fn transaction(setting: Setting) -> UnfinishedTransaction {
    let mut builder = UnfinishedTransaction::builder(ned(), Content::measure(MESSAGE), 0)
        .recipient(rcpt("a@b"))
        .recipient(rcpt("c@d"));
    if setting.transid {
        builder = builder.transid(TransId::parse(b"<12345@claremont.edu>").unwrap());
    }
    if setting.lmtp {
        builder = builder.lmtp();
    }
    if setting.bdat {
        builder = builder.bdat();
    }
    builder.build().unwrap()
}

/// A session that has sent all of the message under RDLV.
fn sent(setting: Setting) -> Scene {
    let mut request = RdlvRequest::new(30);
    request.settings.reset_aborts = setting.reset_aborts;
    let (hello, protocol) = if setting.lmtp {
        ("LHLO ymir.claremont.edu\r\n", Protocol::Lmtp)
    } else {
        ("EHLO ymir.claremont.edu\r\n", Protocol::Smtp)
    };
    let mut scene = Scene::with(config().rdlv(request).protocol(protocol), MESSAGE);
    let transid = if setting.transid {
        " TRANSID=<12345@claremont.edu>"
    } else {
        ""
    };
    scene
        .s("220 hi")
        .c(hello)
        .s("250-hi\r\n250-CHECKPOINT\r\n250-CHUNKING\r\n250-RDLV\r\n250-DETA\r\n250 DSN")
        .send(&transaction(setting))
        .c(&format!("MAIL FROM:<ned@ymir.claremont.edu>{transid}\r\n"))
        .s("250 ok")
        .c("RCPT TO:<a@b> NOTIFY=FAILURE\r\n")
        .s("250 ok")
        .c("RCPT TO:<c@d> NOTIFY=FAILURE\r\n")
        .s("250 ok")
        .c("RDLV maxtimer=30\r\n")
        .s("250 ok");
    if setting.bdat {
        scene.c("BDAT 5 LAST\r\none\r\n");
    } else {
        scene.c("DATA\r\n").s("354 go").c("one\r\n.\r\n");
    }
    scene
}

/// What waits to be transmitted.
fn output(scene: &mut Scene) -> String {
    scene.run();
    String::from_utf8(scene.smtp.output().to_vec()).unwrap()
}

fn apply(scene: &mut Scene, event: Event) {
    match event {
        Event::Reply(0) => drop(scene.s("garbage")),
        Event::Reply(code) => drop(scene.s(&format!("{code} text"))),
        Event::Transmit => {
            let octets = scene.smtp.take_output().unwrap();
            scene.smtp.transmitted(scene.now, octets.len()).unwrap();
        }
        Event::Timer => {
            scene.now = scene.smtp.poll_timeout().expect("a wait has an end");
            scene.smtp.handle_timeout(scene.now);
        }
        Event::Choose(choice) => {
            let question = scene.question.take().unwrap();
            assert_eq!(
                question.can_detach(),
                scene.smtp.rdlv().unwrap().can_detach()
            );
            match scene.smtp.choose(scene.now, question, choice) {
                Ok(_) => {}
                Err(ChoiceError::NoDetach(question)) => scene.question = Some(question),
                Err(error) => panic!("{error:?}"),
            }
        }
        Event::Eof => scene.smtp.handle_eof(scene.now),
        Event::Abandon => scene.smtp.abandon(scene.now),
    }
    scene.run();
}

fn check_end(scene: &mut Scene, setting: Setting, end: &End, path: &[Event]) {
    if *end == End::Again {
        assert_eq!(scene.outcome, None, "{path:?}");
        let expected = "RSET\r\n";
        assert_eq!(output(scene), expected, "{path:?}");
        return;
    }
    let outcome = scene.outcome.take();
    let outcome = outcome.unwrap_or_else(|| panic!("no outcome: {path:?}"));
    let context = || format!("{path:?}: {outcome:?}, not {end:?}");
    let restarts = setting.transid;
    match (&outcome, end) {
        (Outcome::Delivered { reply }, End::Delivered) => {
            assert!((200..300).contains(&reply.code().get()), "{}", context());
        }
        (Outcome::Deferred { .. }, End::Deferred)
        | (Outcome::Refused { .. }, End::Refused)
        | (Outcome::Aborted { .. }, End::Aborted) => {}
        (Outcome::Detached { reply }, End::Detached) => {
            assert_eq!(path.last(), Some(&Event::Reply(221)), "{}", context());
            assert_eq!(reply.code().get(), 221);
            assert_eq!(scene.ending, Some(Ending::Detached));
        }
        (Outcome::PerRecipient { replies }, End::PerRecipient(codes)) => {
            let told: Vec<u16> = replies
                .iter()
                .map(|(_, reply)| reply.code().get())
                .collect();
            assert_eq!(told, *codes, "{}", context());
        }
        (Outcome::Interrupted { cause, transaction }, End::Undecided(expected)) if restarts => {
            assert_eq!(Cause2::from(cause), *expected, "{}", context());
            is_restartable(transaction);
        }
        (Outcome::Unknown { cause, transaction }, End::Undecided(expected)) if !restarts => {
            assert_eq!(Cause2::from(cause), *expected, "{}", context());
            assert_eq!(transaction.sent(), Sent::EndOfData);
        }
        (Outcome::Unknown { cause, transaction }, End::Unknown(expected)) => {
            assert_eq!(Cause2::from(cause), *expected, "{}", context());
            assert_eq!(transaction.sent(), Sent::EndOfData);
        }
        _ => panic!("{}", context()),
    }
    // Nothing of the transaction comes after its outcome.
    if !matches!(end, End::Undecided(_) | End::Unknown(_)) {
        assert!(outcome.is_spent());
    }
    assert!(scene.question.is_none() || *end != End::Detached);
    assert_eq!(output(scene), "", "{}", context());
    let _ = scene.smtp.outcome_stored(scene.now);
    let after = output(scene);
    assert!(after.is_empty() || after == "QUIT\r\n", "{after}: {path:?}");
    if scene.smtp.is_finished() {
        for event in EVENTS {
            match event {
                Event::Choose(choice) => {
                    if let Some(question) = scene.question.take() {
                        let stale = scene.smtp.choose(scene.now, question, choice).unwrap();
                        assert_eq!(stale, smtp_checkpoint::client::Answered::Stale);
                    }
                }
                Event::Transmit | Event::Timer => assert_eq!(scene.smtp.poll_timeout(), None),
                event => apply(scene, event),
            }
            assert_eq!(output(scene), "", "{event:?} behind {path:?}");
        }
        assert_eq!(scene.outcome, None, "a second outcome: {path:?}");
    }
}

/// The unfinished transaction is kept, under its TRANSID, and what is to be done is to send it.
fn is_restartable(transaction: &UnfinishedTransaction) {
    assert_eq!(transaction.sent(), Sent::EndOfData);
    assert!(transaction.is_restart());
    let loaded = UnfinishedTransaction::decode(&transaction.encode()).unwrap();
    assert_eq!(loaded, *transaction);
    let step = loaded.next_step(0, &RestartPolicy::default(), &Content::measure(MESSAGE));
    assert_eq!(step, NextStep::Send);
}

/// One order of events from the end of the data on, all but the last known to be right.
fn replay(setting: Setting, path: &[Event]) -> (Scene, Twin, Step) {
    let mut scene = sent(setting);
    let mut twin = Twin::new(setting);
    let mut step = Step::GoOn;
    for event in path {
        step = twin.take(*event);
        if step == Step::Idle {
            break;
        }
        apply(&mut scene, *event);
    }
    (scene, twin, step)
}

fn explore(setting: Setting, path: &mut Vec<Event>, orders: &mut usize, ends: &mut Vec<End>) {
    for event in EVENTS {
        path.push(event);
        let (mut scene, twin, step) = replay(setting, path);
        if step != Step::Idle {
            *orders += 1;
            match &step {
                Step::Over(end) => {
                    check_end(&mut scene, setting, end, path);
                    if !ends.contains(end) {
                        ends.push(end.clone());
                    }
                }
                step => {
                    assert_eq!(scene.outcome, None, "{path:?}");
                    assert!(!scene.smtp.is_finished(), "{path:?}");
                    let written = output(&mut scene);
                    match step {
                        // One command, and none before it unanswered.
                        Step::Write(line) => assert_eq!(written, *line, "{path:?}"),
                        _ if twin.pending => assert!(!written.is_empty()),
                        _ => assert_eq!(written, "", "{path:?}"),
                    }
                    assert_eq!(scene.question.is_some(), twin.open, "{path:?}");
                    let warned = twin.open && twin.warned;
                    assert!(!warned || scene.warnings > 0, "{path:?}");
                    let machine = scene.smtp.rdlv();
                    if twin.finals.is_empty() && twin.undecided.is_none() {
                        let outcome = machine.unwrap().outcome();
                        let deciding = smtp_checkpoint::rdlv::Outcome::StillDeciding;
                        assert_eq!(outcome, deciding, "{path:?}");
                    }
                    if path.len() < LENGTH {
                        explore(setting, path, orders, ends);
                    }
                }
            }
        }
        path.pop();
    }
}

fn every_order(transid: bool, lmtp: bool) {
    let (mut orders, mut ends) = (0, Vec::new());
    for (bdat, reset_aborts) in [(false, false), (true, true)] {
        let setting = Setting {
            transid,
            lmtp,
            bdat,
            reset_aborts,
        };
        explore(setting, &mut Vec::new(), &mut orders, &mut ends);
    }
    println!("{orders} orders of up to {LENGTH} events");
    assert!(orders > 3_000, "{orders}");
    for end in [
        End::Detached,
        End::Aborted,
        End::Again,
        End::Undecided(Cause2::NoChoice),
        End::Undecided(Cause2::DetachUnanswered),
        End::Unknown(Cause2::AbortUnanswered),
    ] {
        assert!(ends.contains(&end), "{end:?} is never reached");
    }
}

#[test]
fn smtp_without_checkpoint() {
    every_order(false, false);
}

#[test]
fn smtp_with_checkpoint() {
    every_order(true, false);
}

#[test]
fn lmtp_without_checkpoint() {
    every_order(false, true);
}

#[test]
fn lmtp_with_checkpoint() {
    every_order(true, true);
}
