//! RDLV and DETA in a server session: every order in which a decision, its time, the client and the
//! answers to what the client asks can come, up to a stated length.
//!
//! Each run is judged by a model of its own: which commands are outstanding, as the client sees
//! them, and what has become of the decision, as the caller sees it.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Claim, Completion, Generation, Record, Verdict};
use smtp_checkpoint::ehlo::EhloBuildError;
use smtp_checkpoint::error::PeerError;
use smtp_checkpoint::rdlv::{Decision, DetachAnswer, ResetAnswer, ServerSettings};
use smtp_checkpoint::reply::standard;
use smtp_checkpoint::server::{
    AbandonAnswer, AbandonQuestion, AbortQuestion, Answered, AwaitAnswer, AwaitQuestion,
    BurlAnswer, BurlQuestion, ConfigError, DataAnswer, DetachQuestion, EndOfDataAnswer,
    EndOfDataQuestion, Ending, Event, MailAnswer, Peer, Protocol, ServerConfig, ServerSession,
    Timeouts,
};
use smtp_checkpoint::time::Timestamp;

/// What a message comes by, and what is kept of it.
#[derive(Debug, Clone, Copy)]
struct Setting {
    lmtp: bool,
    record: bool,
    /// RDLV was said.
    rdlv: bool,
    way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Data,
    BdatLast,
    /// The content of the URL is still to be fetched.
    BurlLast,
    /// The decision is another session's, and is awaited.
    Await,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Accept,
    Refuse,
    OutdatedDecision,
    Withdrawn,
    Fetched,
    NotFetched,
    /// Time passes up to the next deadline.
    Timer,
    Transmitted,
    Cont,
    Deta,
    Rset,
    Ehlo,
    Quit,
    Noop,
    /// A line that cannot be read.
    Bad,
    /// The octets of a chunk come with its command.
    Chunk,
    /// Half of a line: CONT, without its end.
    Half,
    Eof,
    Shutdown,
    Detach(DetachAnswer),
    Abort(ResetAnswer),
    Abandon(AbandonAnswer),
}

const OPS: [Op; 28] = [
    Op::Accept,
    Op::Refuse,
    Op::OutdatedDecision,
    Op::Withdrawn,
    Op::Fetched,
    Op::NotFetched,
    Op::Timer,
    Op::Transmitted,
    Op::Cont,
    Op::Deta,
    Op::Rset,
    Op::Ehlo,
    Op::Quit,
    Op::Noop,
    Op::Bad,
    Op::Chunk,
    Op::Half,
    Op::Eof,
    Op::Shutdown,
    Op::Detach(DetachAnswer::Owned),
    Op::Detach(DetachAnswer::OverLimit),
    Op::Detach(DetachAnswer::Failed),
    Op::Detach(DetachAnswer::Outdated),
    Op::Abort(ResetAnswer::Aborted),
    Op::Abort(ResetAnswer::TooLate),
    Op::Abort(ResetAnswer::Outdated),
    Op::Abandon(AbandonAnswer::Abandoned),
    Op::Abandon(AbandonAnswer::TooLate),
];

/// A command that the client has sent and that is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    /// The end of the message, or CONT in answer to a 120.
    Message,
    Cont,
    Deta,
    Rset,
    Ehlo,
    Quit,
    Noop,
    Bad,
    Chunk,
}

/// What became of the message, as far as its caller can tell. One of these, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The final replies were written.
    Replied,
    /// Told to be undelivered.
    Undelivered,
    /// 221 to DETA.
    Detached,
    /// Stopped, or let go of, by RSET or EHLO.
    Reset,
    /// Asked to be abandoned.
    Abandon,
    /// 421: the key has moved on.
    Outdated,
    /// The session is gone and the decision goes on with its record.
    GoesOn,
    /// The session is gone; the answer to the open question of DETA or of a reset decides.
    Asked,
    /// Refused before any decision, and let go of.
    Interrupted,
}

struct Run {
    setting: Setting,
    smtp: ServerSession,
    now: Timestamp,
    // the caller
    end_of_data: Option<EndOfDataQuestion>,
    awaiting: Option<AwaitQuestion>,
    burl: Option<BurlQuestion>,
    detach: Option<DetachQuestion>,
    abort: Option<AbortQuestion>,
    abandon: Option<AbandonQuestion>,
    abandon_told: bool,
    /// A decision that the session took.
    decided: Option<Decision>,
    ends: Vec<End>,
    asked: usize,
    finished: Option<Ending>,
    // the wire
    unreported: usize,
    transmitted: usize,
    /// Where the final replies end in all that was written.
    replied_at: usize,
    outstanding: VecDeque<Command>,
    half: bool,
    eof: bool,
    /// The client has a 120 and may answer it.
    open: bool,
    /// The message has had its end, for the client.
    over: bool,
    progress: usize,
    final_replies: usize,
    last: u16,
    closed: bool,
}

fn expected(setting: Setting) -> usize {
    if setting.lmtp { 2 } else { 1 }
}

fn config(setting: Setting) -> Arc<ServerConfig> {
    thread_local! {
        static CONFIGS: [Arc<ServerConfig>; 2] = [Protocol::Smtp, Protocol::Lmtp].map(|protocol| {
            let settings = ServerSettings::new(30).unwrap().deta(true);
            let config = ServerConfig::builder("mx.example.net")
                .protocol(protocol)
                .burl("imap")
                .dsn(true)
                .rdlv(settings);
            Arc::new(config.build().unwrap())
        });
    }
    CONFIGS.with(|configs| Arc::clone(&configs[usize::from(setting.lmtp)]))
}

/// The record of a message whose decision is under way in another session.
fn processing(setting: Setting) -> Box<Record> {
    let mut run = Run::connected(Setting {
        way: Way::Data,
        rdlv: false,
        ..setting
    });
    run.prologue();
    let question = run.end_of_data.take().unwrap();
    Box::new(question.record().unwrap().processing(1))
}

impl Run {
    fn connected(setting: Setting) -> Self {
        let now = Timestamp::ORIGIN;
        Self {
            setting,
            smtp: ServerSession::new(config(setting), Peer::at(b"192.0.2.7"), now),
            now,
            end_of_data: None,
            awaiting: None,
            burl: None,
            detach: None,
            abort: None,
            abandon: None,
            abandon_told: false,
            decided: None,
            ends: Vec::new(),
            asked: 0,
            finished: None,
            unreported: 0,
            transmitted: 0,
            replied_at: 0,
            outstanding: VecDeque::new(),
            half: false,
            eof: false,
            open: false,
            over: false,
            progress: 0,
            final_replies: 0,
            last: 0,
            closed: false,
        }
    }

    /// Up to where the client waits for the final reply.
    fn prologue(&mut self) {
        let setting = self.setting;
        let hello: &[u8] = if setting.lmtp {
            b"LHLO c.example\r\n"
        } else {
            b"EHLO c.example\r\n"
        };
        self.quiet(hello);
        self.quiet(if setting.record {
            b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n"
        } else {
            b"MAIL FROM:<a@c.example>\r\n"
        });
        self.quiet(b"RCPT TO:<b@x.example>\r\nRCPT TO:<c@x.example>\r\n");
        if setting.rdlv {
            self.quiet(b"RDLV maxtimer=30\r\n");
        }
        match setting.way {
            Way::Data => {
                self.quiet(b"DATA\r\n");
                self.quiet(b"line\r\n.\r\n");
            }
            Way::BdatLast => self.quiet(b"BDAT 6 LAST\r\nline\r\n"),
            Way::BurlLast => self.quiet(b"BURL imap:x LAST\r\n"),
            Way::Await => {
                self.quiet(b"DATA\r\n");
                self.quiet(b".\r\n");
            }
        }
        self.outstanding.push_back(Command::Message);
        assert!(self.end_of_data.is_some() || self.awaiting.is_some() || self.burl.is_some());
    }

    /// Sends what the run is not about, and looks at no reply.
    fn quiet(&mut self, octets: &'static [u8]) {
        let mut input = Bytes::from_static(octets);
        self.smtp.handle_input(self.now, &mut input);
        self.events();
        while let Some(octets) = self.smtp.take_output() {
            self.smtp.transmitted(self.now, octets.len()).unwrap();
            self.events();
        }
    }

    fn events(&mut self) {
        let now = self.now;
        while let Some(event) = self.smtp.poll_event() {
            assert_eq!(self.finished, None, "{event:?} behind the end");
            match event {
                Event::Mail(question) => {
                    let claim = match (question.key(), self.setting.way) {
                        (None, _) => Claim::Unrecorded,
                        (Some(_), Way::Await) => Claim::Claimed {
                            generation: Generation(8),
                            found: Some(processing(self.setting)),
                        },
                        (Some(_), _) => Claim::Claimed {
                            generation: Generation(7),
                            found: None,
                        },
                    };
                    let accept = MailAnswer::accept(claim);
                    self.smtp.answer_mail(now, question, accept).unwrap();
                }
                Event::Rcpt(question) => {
                    let reply = standard::RECIPIENT_OK;
                    self.smtp.answer_rcpt(now, question, reply).unwrap();
                }
                Event::Data(question) => {
                    let proceed = DataAnswer::Proceed;
                    self.smtp.answer_data(now, question, proceed).unwrap();
                }
                Event::Content => {
                    self.smtp.poll_content(&mut Vec::new());
                }
                Event::Burl(question) => {
                    assert!(self.burl.is_none());
                    self.burl = Some(question);
                }
                Event::EndOfData(question) => {
                    assert_eq!(question.key().is_some(), self.setting.record);
                    self.asked += 1;
                    assert!(self.end_of_data.replace(question).is_none());
                }
                Event::AwaitDecision(question) => {
                    assert!(self.awaiting.is_none());
                    assert_eq!(question.generation(), Generation(8));
                    self.awaiting = Some(question);
                }
                Event::Detach(question) => {
                    assert!(self.detach.is_none() && self.abort.is_none());
                    assert!(self.smtp.transaction().generation() == question.generation());
                    assert_eq!(question.key().is_some(), self.setting.record);
                    assert_eq!(question.held().is_some(), self.decided.is_some());
                    self.detach = Some(question);
                }
                Event::Abort(question) => {
                    assert!(self.detach.is_none() && self.abort.is_none());
                    assert_eq!(self.decided, None, "it is too late for that");
                    assert_eq!(question.key().is_some(), self.setting.record);
                    self.abort = Some(question);
                }
                Event::Abandon(question) => {
                    assert_eq!(self.decided, None, "a decision that is made");
                    assert_eq!(question.key().is_some(), self.setting.record);
                    assert!(self.abandon.is_none());
                    self.abandon = Some(question);
                    self.abandon_told = true;
                }
                Event::ReplyUndelivered {
                    key,
                    generation,
                    decision,
                } => {
                    assert_eq!(Some(decision), self.decided);
                    assert_eq!(key.is_some(), self.setting.record);
                    assert_eq!(generation.is_some(), self.setting.record);
                    if self.ends == [End::Replied] {
                        assert!(self.transmitted < self.replied_at, "it was transmitted");
                        self.ends.pop();
                    }
                    self.ends.push(End::Undelivered);
                }
                Event::Finished(ending) => self.finished = Some(ending),
                Event::TakenBack { .. } => panic!("nothing was detached"),
                _ => {}
            }
        }
    }

    /// Whether `op` can happen now.
    fn applies(&self, op: Op) -> bool {
        let awaits = self.end_of_data.is_some() || self.awaiting.is_some();
        match op {
            Op::Accept | Op::Refuse | Op::OutdatedDecision => awaits,
            Op::Withdrawn => self.awaiting.is_some(),
            Op::Fetched | Op::NotFetched => self.burl.is_some(),
            Op::Detach(_) => self.detach.is_some(),
            Op::Abort(_) => self.abort.is_some(),
            Op::Abandon(_) => self.abandon.is_some(),
            _ if self.finished.is_some() => false,
            Op::Timer => self.smtp.poll_timeout().is_some(),
            Op::Transmitted => self.unreported > 0,
            Op::Eof => !self.eof,
            Op::Shutdown => true,
            // The client sends what it likes, but nothing behind the end, and within half a line
            // only the rest of it.
            Op::Half => !self.eof && !self.half && self.smtp.wants_input(),
            _ if self.half => op == Op::Cont && !self.eof && self.smtp.wants_input(),
            _ => !self.eof && self.smtp.wants_input(),
        }
    }

    fn apply(&mut self, op: Op) {
        let now = self.now;
        let was_open = self.open;
        let answered = match op {
            Op::Accept => Some(self.decide(standard::MESSAGE_ACCEPTED.into(), Decision::Stands)),
            Op::Refuse => Some(self.decide(standard::TRANSACTION_FAILED.into(), Decision::Refused)),
            Op::OutdatedDecision => Some(if let Some(question) = self.end_of_data.take() {
                let outdated = EndOfDataAnswer::Outdated;
                (self.smtp.answer_end_of_data(now, question, outdated)).unwrap()
            } else {
                let question = self.awaiting.take().unwrap();
                (self.smtp.answer_await(now, question, AwaitAnswer::Outdated)).unwrap()
            }),
            Op::Withdrawn => {
                let question = self.awaiting.take().unwrap();
                let withdrawn = AwaitAnswer::Withdrawn;
                let answered = self.smtp.answer_await(now, question, withdrawn).unwrap();
                if answered == Answered::Taken {
                    self.abandon = None; // it asked for the decision before
                    self.abandon_told = false;
                }
                Some(answered)
            }
            Op::Fetched => {
                let question = self.burl.take().unwrap();
                let stored = BurlAnswer::Stored { octets: 6 };
                Some(self.smtp.answer_burl(now, question, stored).unwrap())
            }
            Op::NotFetched => {
                let question = self.burl.take().unwrap();
                let refuse = BurlAnswer::Refuse(standard::TRANSACTION_FAILED.into());
                let answered = self.smtp.answer_burl(now, question, refuse).unwrap();
                if answered == Answered::Taken {
                    self.decided = Some(Decision::Refused);
                }
                Some(answered)
            }
            Op::Timer => {
                self.now = self.smtp.poll_timeout().unwrap();
                self.smtp.handle_timeout(self.now);
                None
            }
            Op::Transmitted => {
                let octets = std::mem::take(&mut self.unreported);
                self.transmitted += octets;
                self.smtp.transmitted(now, octets).unwrap();
                None
            }
            Op::Cont => self.say(
                if self.half { b"T\r\n" } else { b"CONT\r\n" },
                Command::Cont,
            ),
            Op::Deta => self.say(b"DETA\r\n", Command::Deta),
            Op::Rset => self.say(b"RSET\r\n", Command::Rset),
            Op::Ehlo if self.setting.lmtp => self.say(b"LHLO c.example\r\n", Command::Ehlo),
            Op::Ehlo => self.say(b"EHLO c.example\r\n", Command::Ehlo),
            Op::Quit => self.say(b"QUIT\r\n", Command::Quit),
            Op::Noop => self.say(b"NOOP\r\n", Command::Noop),
            Op::Bad => self.say(b"DETA x\r\n", Command::Bad),
            Op::Chunk => self.say(b"BDAT 6\r\nCONT\r\n", Command::Chunk),
            Op::Half => {
                self.half = true;
                let mut input = Bytes::from_static(b"CON");
                self.smtp.handle_input(now, &mut input);
                None
            }
            Op::Eof => {
                self.eof = true;
                self.smtp.handle_eof(now);
                None
            }
            Op::Shutdown => {
                self.smtp.shutdown(now);
                None
            }
            Op::Detach(answer) => {
                let question = self.detach.take().unwrap();
                Some((self.smtp.answer_detach(now, question, answer)).unwrap())
            }
            Op::Abort(answer) => {
                let question = self.abort.take().unwrap();
                Some((self.smtp.answer_abort(now, question, answer)).unwrap())
            }
            Op::Abandon(answer) => {
                let question = self.abandon.take().unwrap();
                let answered = self.smtp.answer_abandon(now, question, answer).unwrap();
                if answered == Answered::Taken && self.smtp.poll_timeout().is_some() {
                    // The decision that was awaited is no more, and this session makes it.
                    self.awaiting = None;
                }
                Some(answered)
            }
        };
        // What is written is on its way, also where the session then sees that its client is gone.
        self.read_replies(op);
        self.events();
        self.read_replies(op);
        self.note_end(op, answered, was_open);
    }

    /// Sends a command.
    fn say(&mut self, octets: &'static [u8], command: Command) -> Option<Answered> {
        self.half = false;
        self.outstanding.push_back(command);
        let mut input = Bytes::from_static(octets);
        self.smtp.handle_input(self.now, &mut input);
        assert!(input.is_empty());
        None
    }

    fn decide(&mut self, reply: smtp_checkpoint::reply::Reply, decision: Decision) -> Answered {
        let now = self.now;
        let replies = vec![reply; expected(self.setting)];
        let answered = if let Some(question) = self.end_of_data.take() {
            let verdict = EndOfDataAnswer::Decided(Verdict::for_each_recipient(replies));
            self.smtp.answer_end_of_data(now, question, verdict)
        } else {
            let completion = AwaitAnswer::Decided(Completion {
                replies,
                dsn_issued: false,
            });
            let question = self.awaiting.take().unwrap();
            match self.smtp.answer_await(now, question, completion) {
                Ok(answered) => Ok(answered),
                Err(error) => panic!("{error}"),
            }
        };
        let answered = answered.unwrap();
        if answered == Answered::Taken {
            assert_eq!(self.decided, None, "decided twice");
            self.decided = Some(decision);
        }
        answered
    }

    /// Reads what was written, as the client will: each reply is to the command that is outstanding
    /// longest.
    fn read_replies(&mut self, op: Op) {
        let Some(octets) = self.smtp.take_output() else {
            return;
        };
        self.unreported += octets.len();
        let text = String::from_utf8(octets.to_vec()).unwrap();
        assert!(text.ends_with("\r\n"), "a reply in pieces");
        let codes: Vec<u16> = text
            .lines()
            .filter(|line| line.as_bytes()[3] == b' ')
            .map(|line| line[..3].parse().unwrap())
            .collect();
        let mut codes = VecDeque::from(codes);
        while let Some(code) = codes.pop_front() {
            assert!(!self.closed, "{code} behind the last reply");
            self.last = code;
            self.reply(code, &mut codes, op);
        }
    }

    fn reply(&mut self, code: u16, more: &mut VecDeque<u16>, op: Op) {
        // CONT in answer to a 120 stands for the message from then on.
        if self.open && self.outstanding.front() == Some(&Command::Cont) {
            self.open = false;
            self.outstanding[0] = Command::Message;
        }
        if code == 421 {
            self.closed = true;
            return;
        }
        let command = self.outstanding.pop_front();
        let command = command.unwrap_or_else(|| panic!("{code} without a command"));
        if self.over {
            let right = match command {
                Command::Message => unreachable!(),
                Command::Cont | Command::Deta => code == 503,
                Command::Rset | Command::Ehlo | Command::Noop => code == 250,
                Command::Quit => code == 221,
                Command::Bad => code == 501,
                Command::Chunk => code == 503,
            };
            assert!(right, "{code} to {command:?} behind the message");
            self.closed |= code == 221;
            return;
        }
        match (command, code) {
            (Command::Message, 120) => {
                assert!(self.setting.rdlv, "120 that was not asked for");
                assert!(!self.open, "two 120s");
                assert_eq!(op, Op::Timer, "a 120 comes at its time");
                assert!(
                    self.outstanding.is_empty() && !self.half,
                    "a 120 although input follows"
                );
                self.open = true;
                self.progress += 1;
            }
            (Command::Message, 250 | 554) => {
                assert!(!self.open, "a final reply while a 120 is open");
                let decided = self.decided.expect("a final reply without a decision");
                assert_eq!(decided == Decision::Stands, code == 250);
                for _ in 1..expected(self.setting) {
                    assert_eq!(more.pop_front(), Some(code), "not all final replies");
                }
                self.final_replies += 1;
                self.replied_at = self.transmitted + self.unreported;
                self.ends.push(End::Replied);
                self.over = true;
            }
            (_, _) if !self.open => panic!("{code} to {command:?} while the message waits"),
            (Command::Deta, 221) => {
                assert_eq!(op, Op::Detach(DetachAnswer::Owned));
                self.ends.push(End::Detached);
                self.closed = true;
            }
            (Command::Deta, 450) => assert_eq!(op, Op::Detach(DetachAnswer::OverLimit)),
            (Command::Deta, 451) => {
                // or where the content of the URL did not come in time
                assert!(op == Op::Detach(DetachAnswer::Failed) || op == Op::Timer);
            }
            (Command::Rset, 250 | 554) => {
                let stands =
                    op == Op::Abort(ResetAnswer::TooLate) || self.decided == Some(Decision::Stands);
                assert_eq!(stands, code == 554, "{op:?} {:?}", self.decided);
                self.reset_done();
            }
            (Command::Ehlo, 250) => self.reset_done(),
            (Command::Quit, 221) => self.closed = true,
            (Command::Noop | Command::Chunk, 503) | (Command::Bad, 501) => {}
            (command, code) => panic!("{code} to {command:?} while a 120 is open"),
        }
    }

    fn reset_done(&mut self) {
        self.open = false;
        self.over = true;
        // A result that was held is told as undelivered.
        if self.decided.is_none() {
            self.ends.push(End::Reset);
        }
    }

    /// What the caller can tell of the end of the message, if it has come.
    fn note_end(&mut self, op: Op, answered: Option<Answered>, was_open: bool) {
        let stale = answered == Some(Answered::Stale) && self.decided.is_none();
        if self.ends.is_empty() && (self.finished.is_some() || self.closed || stale) {
            let undecided = self.decided.is_none();
            let end = match op {
                _ if !undecided => panic!("a decision that is lost: {:?}", self.finished),
                Op::OutdatedDecision
                | Op::Detach(DetachAnswer::Outdated)
                | Op::Abort(ResetAnswer::Outdated)
                    if answered == Some(Answered::Taken) =>
                {
                    End::Outdated
                }
                Op::Detach(_) | Op::Abort(_) if stale => End::Asked,
                // The server goes down: 421 in place of the reply to EHLO.
                Op::Abort(_) => End::Reset,
                Op::Fetched | Op::NotFetched if stale => End::Interrupted,
                _ if self.abandon_told => End::Abandon,
                _ if self.detach.is_some() || self.abort.is_some() => End::Asked,
                _ if self.burl.is_some() => End::Interrupted,
                _ if self.setting.record => End::GoesOn,
                _ => panic!("a decision without an end: {op:?}, open {was_open}"),
            };
            self.ends.push(end);
        }
    }

    /// What has to hold after every step.
    fn check(&self) {
        assert!(self.ends.len() <= 1, "more than one end: {:?}", self.ends);
        assert!(self.final_replies <= 1, "a final reply twice");
        if self.finished.is_some() {
            assert_eq!(self.ends.len(), 1, "no end");
            // Refused before any decision: nobody needs to know.
            if self.ends[0] == End::Replied && self.asked > 0 {
                assert!(self.transmitted >= self.replied_at, "never transmitted");
            }
            assert!(self.smtp.poll_timeout().is_none());
        }
        if let Some(ending) = self.finished {
            assert_eq!(
                ending == Ending::Detached,
                self.ends[0] == End::Detached && ending != Ending::Lost,
            );
            // Without a reply only where one would promise too much, or the client is gone.
            if ending == Ending::Silent {
                assert!(!matches!(self.ends[0], End::Replied | End::Detached));
            }
        }
        // A decision that was taken is given, held, or told as undelivered.
        if self.decided.is_some() && self.ends.is_empty() {
            assert!(self.open, "a final reply is lost");
        }
        assert!(self.asked <= 1 || self.setting.way == Way::Await);
    }
}

/// All runs of `ops` up to `length` steps behind `begin`, depth first.
#[derive(Debug)]
struct Explorer<'a> {
    setting: Setting,
    begin: &'a [Op],
    ops: &'a [Op],
    length: usize,
    runs: usize,
    /// What came of them, so that a kind of run that is not tried is noticed.
    seen: BTreeSet<String>,
}

impl Explorer<'_> {
    fn explore(&mut self, script: &mut Vec<Op>) {
        // Each run from the start: a session cannot be copied.
        let judged = std::panic::catch_unwind(|| {
            let mut run = Run::connected(self.setting);
            run.prologue();
            for op in self.begin.iter().chain(&*script) {
                run.apply(*op);
                run.check();
            }
            run
        });
        let Ok(run) = judged else {
            panic!("{:?} {:?} {script:?}", self.setting, self.begin);
        };
        self.runs += 1;
        if let Some(end) = run.ends.first() {
            self.seen.insert(format!("{end:?}"));
        }
        if let Some(ending) = run.finished {
            self.seen.insert(format!("{ending:?}"));
        }
        if script.len() == self.length {
            return;
        }
        let next: Vec<_> = (self.ops.iter().copied())
            .filter(|op| run.applies(*op))
            .collect();
        drop(run);
        for op in next {
            script.push(op);
            self.explore(script);
            script.pop();
        }
    }
}

fn explore(setting: Setting, begin: &[Op], ops: &[Op], length: usize) -> Vec<String> {
    let mut explorer = Explorer {
        setting,
        begin,
        ops,
        length,
        runs: 0,
        seen: BTreeSet::new(),
    };
    explorer.explore(&mut Vec::new());
    assert!(explorer.runs > 1000, "{} runs only", explorer.runs);
    explorer.seen.into_iter().collect()
}

/// `RDLV_MORE_STEPS` makes each run longer by so many: one more takes 12 times as long.
fn more_steps() -> usize {
    let more = std::env::var("RDLV_MORE_STEPS").ok();
    more.map_or(0, |more| more.parse().expect("a number"))
}

const WAYS: [Way; 4] = [Way::Data, Way::BdatLast, Way::BurlLast, Way::Await];

fn settings(way: Way, rdlv: bool) -> Vec<Setting> {
    let setting = |lmtp, record| Setting {
        lmtp,
        record,
        rdlv,
        way,
    };
    let mut settings = vec![setting(false, true), setting(true, true)];
    // Only on a record can another session decide.
    if way != Way::Await {
        settings.extend([setting(false, false), setting(true, false)]);
    }
    settings
}

/// Everything that can happen, in every order, up to 4 steps behind the end of the data; for DATA,
/// BDAT, BURL and a decision that another session makes, SMTP and LMTP, with and without a record,
/// with RDLV and without.
#[test]
fn every_interleaving() {
    for way in WAYS {
        for rdlv in [false, true] {
            for setting in settings(way, rdlv) {
                let seen = explore(setting, &[], &OPS, 4 + more_steps());
                let seen = |what: &str| seen.iter().any(|seen| seen == what);
                assert!(seen("Replied") && seen("Silent") && seen("Quit") && seen("Lost"));
                assert_eq!(seen("Detached"), rdlv);
                assert_eq!(seen("Reset"), rdlv);
                assert_eq!(seen("Asked"), rdlv);
            }
        }
    }
}

/// The same up to 6 steps behind an open 120, with what may answer it and what becomes of that.
#[test]
fn every_interleaving_behind_a_120() {
    let ops = [
        Op::Accept,
        Op::Refuse,
        Op::Fetched,
        Op::NotFetched,
        Op::Timer,
        Op::Transmitted,
        Op::Cont,
        Op::Deta,
        Op::Rset,
        Op::Quit,
        Op::Eof,
        Op::Detach(DetachAnswer::Owned),
        Op::Detach(DetachAnswer::OverLimit),
        Op::Abort(ResetAnswer::Aborted),
        Op::Abort(ResetAnswer::TooLate),
    ];
    for way in WAYS {
        for setting in settings(way, true) {
            let seen = explore(
                setting,
                &[Op::Timer, Op::Transmitted],
                &ops,
                6 + more_steps(),
            );
            for end in [
                "Replied",
                "Detached",
                "Reset",
                "Asked",
                "Undelivered",
                "Quit",
            ] {
                assert!(seen.iter().any(|seen| seen == end), "{setting:?}: {end}");
            }
        }
    }
}

/// HD-05, RD-09: CONT and the end of the input behind a DETA that is refused: the reply is written,
/// and cannot be transmitted any more.
#[test]
fn a_final_reply_that_is_written_and_not_transmitted_is_told() {
    let setting = Setting {
        lmtp: false,
        record: true,
        rdlv: true,
        way: Way::Data,
    };
    let refused = Op::Detach(DetachAnswer::OverLimit);
    let held = [Op::Timer, Op::Transmitted, Op::Accept];
    for script in [
        &[&held[..], &[Op::Deta, Op::Cont, Op::Eof, refused]].concat()[..],
        &[&held[..], &[Op::Cont, Op::Eof]].concat(),
        // without any 120
        &[Op::Accept, Op::Eof],
    ] {
        let mut run = Run::connected(setting);
        run.prologue();
        for op in script {
            run.apply(*op);
            run.check();
        }
        assert_eq!(run.finished, Some(Ending::Lost));
        assert_eq!(run.ends, [End::Undelivered], "{script:?}");
    }
}

/// RD-10: a decision that is stopped is refused by the store, or withdrawn, before the answer to the
/// reset may come: that answer alone says what became of it, and none is begun anew.
#[test]
fn a_reset_is_settled_by_its_answer() {
    for (way, news) in [
        (Way::Data, Op::OutdatedDecision),
        (Way::Await, Op::OutdatedDecision),
        (Way::Await, Op::Withdrawn),
    ] {
        for (answer, code) in [
            (ResetAnswer::Aborted, 250),
            (ResetAnswer::TooLate, 554),
            (ResetAnswer::Outdated, 421),
        ] {
            let mut run = Run::connected(Setting {
                lmtp: false,
                record: true,
                rdlv: true,
                way,
            });
            run.prologue();
            for op in [Op::Timer, Op::Transmitted, Op::Rset, news] {
                run.apply(op);
                run.check();
            }
            assert_eq!((run.last, run.asked), (120, usize::from(way == Way::Data)));
            assert!(run.end_of_data.is_none(), "no decision is begun");
            run.apply(Op::Abort(answer));
            run.check();
            assert_eq!(run.last, code, "{way:?} {news:?}");
        }
    }
}

// ---- time ----

/// The message of a client that says RDLV with this time, complete.
fn waiting(settings: ServerSettings, maxtimer: u32) -> (ServerSession, Vec<EndOfDataQuestion>) {
    let timeouts = Timeouts {
        long_decision: Duration::MAX,
        ..Timeouts::default()
    };
    let config = ServerConfig::builder("mx.example.net")
        .dsn(true)
        .rdlv(settings)
        .timeouts(timeouts);
    let now = Timestamp::ORIGIN;
    let config = Arc::new(config.build().unwrap());
    let mut smtp = ServerSession::new(config, Peer::default(), now);
    let rdlv = format!("RDLV maxtimer={maxtimer}\r\n");
    let mut questions = Vec::new();
    for group in [
        "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@x.example>\r\n",
        &rdlv,
        "DATA\r\n",
        "line\r\n.\r\n",
    ] {
        smtp.handle_input(now, &mut Bytes::copy_from_slice(group.as_bytes()));
        while let Some(event) = smtp.poll_event() {
            match event {
                Event::Mail(question) => {
                    let accept = MailAnswer::accept(Claim::Unrecorded);
                    smtp.answer_mail(now, question, accept).unwrap();
                }
                Event::Rcpt(question) => {
                    let reply = standard::RECIPIENT_OK;
                    smtp.answer_rcpt(now, question, reply).unwrap();
                }
                Event::Content => {
                    smtp.poll_content(&mut Vec::new());
                }
                Event::EndOfData(question) => questions.push(question),
                _ => {}
            }
        }
    }
    let octets = smtp.take_output().unwrap().len();
    smtp.transmitted(now, octets).unwrap();
    assert_eq!(questions.len(), 1);
    (smtp, questions)
}

/// RD-06, RD-09: the 120 comes at its time and not a nanosecond earlier, from the end of the data and
/// from CONT; the client is gone maxtimer and the margin after it was transmitted.
#[test]
fn timers_at_one_second_at_mintimer_and_at_the_longest() {
    const LONGEST: u32 = 2_147_483_647;
    let at = |millis: u64| Timestamp::from_origin(Duration::from_millis(millis));
    for (mintimer, maxtimer) in [
        (1, 1),
        (1, 14),
        (30, 30),
        (30, 31),
        (1, LONGEST),
        (LONGEST, LONGEST),
    ] {
        let (mut smtp, _questions) = waiting(ServerSettings::new(mintimer).unwrap(), maxtimer);
        let millis = u64::from(maxtimer) * 1000;
        let margin = 7000.min(millis / 2);
        let due = millis - margin;
        let mut began = 0;
        for round in 0..3 {
            let due = began + due;
            assert_eq!(smtp.poll_timeout(), Some(at(due)), "{maxtimer}, {round}");
            let early =
                Timestamp::from_origin(Duration::from_millis(due) - Duration::from_nanos(1));
            smtp.handle_timeout(early);
            assert!(smtp.poll_event().is_none());
            assert_eq!(smtp.output(), b"");
            smtp.handle_timeout(at(due));
            assert!(smtp.poll_event().is_none());
            assert_eq!(smtp.output(), b"120 Still in progress\r\n");
            // Not a second one, though time passes.
            smtp.handle_timeout(at(due + 1));
            assert_eq!(smtp.output().len(), 23);
            // It takes a while to be transmitted; the time of the client is counted from there.
            let transmitted = due + millis / 3;
            smtp.transmitted(at(transmitted), 23).unwrap();
            assert_eq!(
                smtp.poll_timeout(),
                Some(at(transmitted + millis + margin)),
                "{maxtimer}, {round}"
            );
            began = transmitted + millis;
            smtp.handle_input(at(began), &mut Bytes::from_static(b"CONT\r\n"));
            assert!(smtp.poll_event().is_none());
            assert_eq!(smtp.output(), b"");
        }
        smtp.handle_timeout(at(began + due));
        smtp.transmitted(at(began + due), 23).unwrap();
        smtp.handle_timeout(at(began + due + millis + margin));
        let told: Vec<_> = std::iter::from_fn(|| smtp.poll_event()).collect();
        assert!(matches!(
            told[..],
            [
                Event::PeerFault(PeerError::TimedOut),
                Event::Abandon(_),
                Event::TransactionEnded,
                Event::Finished(Ending::Silent)
            ]
        ));
        assert_eq!(smtp.output(), b"");
    }
}

/// RD-06: no 120 between 354 and the end of the data, however long it takes: every second of a day.
#[test]
fn no_120_while_the_data_comes() {
    let settings = ServerSettings::new(1).unwrap();
    let config = ServerConfig::builder("mx.example.net")
        .rdlv(settings)
        .data_rate(None);
    let mut now = Timestamp::ORIGIN;
    let config = Arc::new(config.build().unwrap());
    let mut smtp = ServerSession::new(config, Peer::default(), now);
    let mut written = Vec::new();
    let mut turn = |smtp: &mut ServerSession, now, octets: &'static [u8]| {
        smtp.handle_input(now, &mut Bytes::from_static(octets));
        while let Some(event) = smtp.poll_event() {
            match event {
                Event::Mail(question) => {
                    let accept = MailAnswer::accept(Claim::Unrecorded);
                    smtp.answer_mail(now, question, accept).unwrap();
                }
                Event::Rcpt(question) => {
                    let reply = standard::RECIPIENT_OK;
                    smtp.answer_rcpt(now, question, reply).unwrap();
                }
                Event::Content => {
                    smtp.poll_content(&mut Vec::new());
                }
                _ => {}
            }
        }
        if let Some(octets) = smtp.take_output() {
            smtp.transmitted(now, octets.len()).unwrap();
            written.extend(octets);
        }
        String::from_utf8(written.clone()).unwrap()
    };
    turn(
        &mut smtp,
        now,
        b"EHLO c.example\r\nMAIL FROM:<a@c.example>\r\n",
    );
    turn(
        &mut smtp,
        now,
        b"RCPT TO:<b@x.example>\r\nRDLV maxtimer=1\r\n",
    );
    let before = turn(&mut smtp, now, b"DATA\r\n");
    assert!(before.ends_with("354 Start mail input; end with <CRLF>.<CRLF>\r\n"));
    for _ in 0..24 * 60 * 60 {
        now = now + Duration::from_secs(1);
        smtp.handle_timeout(now);
        assert_eq!(turn(&mut smtp, now, b"x"), before);
    }
    assert_eq!(turn(&mut smtp, now, b"\r\n.\r\n"), before);
    smtp.handle_timeout(now + Duration::from_millis(499));
    assert_eq!(turn(&mut smtp, now, b""), before);
    smtp.handle_timeout(now + Duration::from_millis(500));
    let after = turn(&mut smtp, now, b"");
    assert_eq!(
        after.strip_prefix(&before),
        Some("120 Still in progress\r\n")
    );
}

/// DE-01: whoever offers DETA offers RDLV, of which it is a setting, and DSN.
#[test]
fn deta_without_dsn_does_not_build() {
    let rdlv = ServerSettings::new(30).unwrap();
    let build = |settings, dsn| {
        let config = ServerConfig::builder("mx.example.net")
            .rdlv(settings)
            .dsn(dsn);
        config.build().map(drop)
    };
    assert_eq!(build(rdlv.deta(true), true), Ok(()));
    assert_eq!(
        build(rdlv.deta(true), false),
        Err(ConfigError::DetaWithoutDsn)
    );
    assert_eq!(build(rdlv, false), Ok(()));
    // nor is it to be had by the back door
    let keyword = ServerConfig::builder("mx.example.net").keyword("DETA", "");
    let error = keyword.build().map(drop).unwrap_err();
    assert_eq!(error, ConfigError::Ehlo(EhloBuildError::DetaAlone));
}

/// The texts can be set, and not so that a reply becomes two.
#[test]
fn texts_of_replies() {
    let rdlv = ServerSettings::new(30).unwrap();
    for text in ["fine", "2.5.0 fine"] {
        let config = ServerConfig::builder("mx").rdlv(rdlv).rdlv_accepted(text);
        assert!(config.build().is_ok());
    }
    for text in ["a\r\n250 b", "a\nb", "a\0"] {
        let config = || ServerConfig::builder("mx").rdlv(rdlv);
        for config in [
            config().rdlv_accepted(text),
            config().in_progress(text),
            config().cannot_delay(text),
        ] {
            assert_eq!(config.build().err(), Some(ConfigError::Text), "{text:?}");
        }
    }
}
