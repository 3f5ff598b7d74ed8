//! DE-08: a message that its client has left to the server, and clients that come back for it, in
//! every order up to a stated length. In the end a failure has been told exactly once: by a final
//! reply that was transmitted, or by a notification.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use smtp_checkpoint::checkpoint::{RecordState, Verdict};
use smtp_checkpoint::rdlv::ServerSettings;
use smtp_checkpoint::server::{Protocol, ServerConfig};
use support::{Question, World, reply};

/// Two sessions of the client that comes back, one after the other or side by side.
type Who = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    /// The decision under way is made, wherever it runs.
    Decide,
    /// It is called back.
    Withdraw,
    Crash,
    /// The client comes back, and gets 355.
    Mail(Who),
    /// It asks for the outcome, and for RDLV.
    Ask(Who),
    /// Time passes up to the next deadline of its session.
    Timer(Who),
    Cont(Who),
    Deta(Who),
    Rset(Who),
    Quit(Who),
    /// What was written is transmitted.
    Transmit(Who),
    Cut(Who),
}

const OPS: [Op; 21] = [
    Op::Decide,
    Op::Withdraw,
    Op::Crash,
    Op::Mail(0),
    Op::Ask(0),
    Op::Timer(0),
    Op::Cont(0),
    Op::Deta(0),
    Op::Rset(0),
    Op::Quit(0),
    Op::Transmit(0),
    Op::Cut(0),
    Op::Mail(1),
    Op::Ask(1),
    Op::Timer(1),
    Op::Cont(1),
    Op::Deta(1),
    Op::Rset(1),
    Op::Quit(1),
    Op::Transmit(1),
    Op::Cut(1),
];

const NAMES: [&str; 2] = ["b", "c"];

/// What is decided, for one recipient or, with LMTP, for two.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    lmtp: bool,
    replies: &'static [&'static str],
}

const OUTCOMES: [Outcome; 5] = [
    Outcome {
        lmtp: false,
        replies: &["250 2.0.0 Done"],
    },
    Outcome {
        lmtp: false,
        replies: &["550 5.1.1 No"],
    },
    Outcome {
        lmtp: false,
        replies: &["451 4.3.0 Later"],
    },
    Outcome {
        lmtp: true,
        replies: &["250 2.0.0 Done", "550 5.1.1 No"],
    },
    Outcome {
        lmtp: true,
        replies: &["451 4.3.0 Later", "550 5.1.1 No"],
    },
];

const REPORTED: &str = "250 2.0.0 Outcome reported by delivery status notification";

struct Run {
    outcome: Outcome,
    world: World,
    /// All that was transmitted to a session.
    heard: [String; 2],
    /// Asked, or over.
    asked: [bool; 2],
    aborted: bool,
    /// How many of the two have ever been there.
    came: usize,
}

impl Run {
    /// A message whose client has left by DETA.
    fn new(outcome: Outcome) -> Self {
        let config = ServerConfig::builder("mx.example.net")
            .protocol(if outcome.lmtp {
                Protocol::Lmtp
            } else {
                Protocol::Smtp
            })
            .dsn(true)
            .rdlv(ServerSettings::new(30).unwrap().deta(true));
        let mut world = World::new(config.build().unwrap());
        world.hold.push("verdict".into());
        world.connect("a");
        let mut run = Self {
            outcome,
            world,
            heard: Default::default(),
            asked: [false; 2],
            aborted: false,
            came: 0,
        };
        run.hello("a");
        let rcpt: &[u8] = b"RCPT TO:<x@x.example>\r\nRCPT TO:<y@x.example>\r\n";
        let end = if outcome.lmtp { rcpt.len() } else { 23 };
        run.world.send("a", &rcpt[..end]);
        run.world.send("a", b"RDLV maxtimer=60\r\nDATA\r\n");
        run.world.send("a", b"line\r\n.\r\n");
        run.world.time_out("a");
        run.world.send("a", b"DETA\r\n");
        let heard = run.world.take("a");
        assert!(
            heard.ends_with(
                "120 Still in progress\r\n221 2.0.0 Detached, closing the connection\r\n"
            )
        );
        run.world.drop_session("a");
        assert_eq!(run.world.store.outline(), "detached processing 6");
        run
    }

    fn hello(&mut self, name: &str) {
        let verb = if self.outcome.lmtp { "LHLO" } else { "EHLO" };
        self.world
            .send(name, format!("{verb} c.example\r\n").as_bytes());
        self.world
            .send(name, b"MAIL FROM:<a@c.example> TRANSID=<1@c>\r\n");
    }

    fn verdict(&self) -> Verdict {
        Verdict::for_each_recipient(self.outcome.replies.iter().map(|text| reply(text)))
    }

    fn is_open(&self, who: Who) -> bool {
        let link = self.world.links.get(NAMES[who]);
        link.is_some_and(|link| link.finished.is_none())
    }

    fn running(&self) -> bool {
        self.world
            .store
            .held
            .values()
            .any(|held| held.processing.is_some())
    }

    fn gone(&self) -> bool {
        self.world.store.outline() == "none"
    }

    fn applies(&self, op: Op) -> bool {
        let waits = |who: Who| self.is_open(who) && self.asked[who];
        match op {
            Op::Decide | Op::Withdraw => self.running(),
            Op::Crash => self.world.links.is_empty() || self.is_open(0) || self.is_open(1),
            // Once the replies were given twice, or it was aborted, MAIL begins another message.
            Op::Mail(who) => who <= self.came && !self.is_open(who) && !self.gone(),
            Op::Ask(who) => self.is_open(who) && !self.asked[who],
            Op::Timer(who) | Op::Cont(who) | Op::Deta(who) | Op::Rset(who) => waits(who),
            Op::Quit(who) | Op::Cut(who) | Op::Transmit(who) => self.is_open(who),
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Decide => self.decide(),
            Op::Withdraw => self.world.withdraw(),
            Op::Crash => {
                self.listen();
                self.world.crash();
                self.asked = [false; 2];
            }
            Op::Mail(who) => {
                self.asked[who] = false;
                self.came = self.came.max(who + 1);
                self.world.drop_session(NAMES[who]);
                self.world.supersede_holders();
                self.listen();
                self.world.connect(NAMES[who]);
                self.hello(NAMES[who]);
                let heard = self.world.take(NAMES[who]);
                let last = heard.lines().last().unwrap();
                assert_eq!(last, "355 6 is the transaction offset");
                self.world.send(NAMES[who], b"RDLV maxtimer=60\r\nDATA\r\n");
                self.world.take(NAMES[who]);
                if let Some(link) = self.world.links.get_mut(NAMES[who]) {
                    link.stuck = true;
                }
            }
            Op::Ask(who) => {
                self.asked[who] = true;
                self.world.send(NAMES[who], b".\r\n");
            }
            Op::Timer(who) => {
                let now = self.world.now;
                let deadline = self.world.link(NAMES[who]).session.poll_timeout();
                self.world.wait(NAMES[who], deadline.unwrap().since(now));
            }
            Op::Cont(who) => self.world.send(NAMES[who], b"CONT\r\n"),
            Op::Deta(who) => self.world.send(NAMES[who], b"DETA\r\n"),
            Op::Rset(who) => {
                let before = self.gone();
                self.world.send(NAMES[who], b"RSET\r\n");
                self.aborted |= !before && self.gone() && self.world.told(NAMES[who], "Abort");
            }
            Op::Quit(who) => self.world.send(NAMES[who], b"QUIT\r\n"),
            Op::Transmit(who) => {
                self.world.link(NAMES[who]).stuck = false;
                self.world.run(NAMES[who]);
                self.world.link(NAMES[who]).stuck = true;
            }
            Op::Cut(who) => self.world.disconnect(NAMES[who]),
        }
        self.listen();
    }

    fn listen(&mut self) {
        for (name, heard) in NAMES.into_iter().zip(&mut self.heard) {
            if self.world.links.contains_key(name) {
                *heard += &self.world.take(name);
            }
        }
    }

    fn decide(&mut self) {
        let verdict = self.verdict();
        // A session that had to begin it anew is asked; else it is nobody's.
        let asked = (0..2).find_map(|who| {
            let questions = &mut self.world.links.get_mut(NAMES[who])?.questions;
            let at = (questions.iter())
                .position(|question| matches!(question, Question::EndOfData(_)))?;
            Some((who, questions.remove(at)?))
        });
        match asked {
            Some((who, question)) => {
                self.world.verdicts.push_back(verdict);
                self.world.answer(NAMES[who], question);
                self.world.run(NAMES[who]);
            }
            None => self.world.decide(&verdict),
        }
    }

    /// What holds at any time.
    fn check(&self) {
        let store = &self.world.store;
        assert!(store.delivered.len() <= 1, "delivered twice");
        assert!(store.reports.len() <= 1, "reported twice");
        for held in store.held.values() {
            if let Some(RecordState::Committed(completion)) =
                held.record.as_ref().map(|record| record.state())
            {
                assert_eq!(completion.dsn_issued, !store.reports.is_empty());
            }
        }
        if self.aborted {
            assert!(store.delivered.is_empty() && store.reports.is_empty());
        }
    }

    /// All sessions end, the decision is made if it was not, and what is due is done.
    fn finish(&mut self) {
        for name in NAMES {
            self.world.drop_session(name);
        }
        if self.running() {
            self.world.decide(&self.verdict());
        }
        self.check();
        let outcome = self.outcome.replies;
        let heard = self.heard.concat();
        let failures: Vec<_> = (outcome.iter())
            .filter(|reply| !reply.starts_with('2'))
            .collect();
        let told = failures.iter().any(|reply| heard.contains(**reply));
        let store = &self.world.store;
        if self.aborted {
            assert!(!told && !heard.contains(REPORTED));
            return;
        }
        let accepted = failures.len() < outcome.len();
        assert_eq!(store.delivered.len(), usize::from(accepted));
        let reported = !store.reports.is_empty();
        if failures.is_empty() {
            assert!(!reported);
        } else {
            assert!(told || reported, "nobody was told of the failure");
            assert!(!(told && reported), "told twice");
        }
        assert!(
            reported || !heard.contains(REPORTED),
            "told of a report too early"
        );
        // All or nothing.
        if told {
            assert!(outcome.iter().all(|reply| heard.contains(reply)));
        }
    }
}

fn explore(outcome: Outcome, script: &mut Vec<Op>, length: usize, runs: &mut usize) {
    let judged = std::panic::catch_unwind(|| {
        let mut run = Run::new(outcome);
        for op in &*script {
            run.apply(*op);
            run.check();
        }
        let next: Vec<_> = (OPS.iter().copied())
            .filter(|op| run.applies(*op))
            .collect();
        run.finish();
        next
    });
    let Ok(next) = judged else {
        panic!("{outcome:?} {script:?}");
    };
    *runs += 1;
    if script.len() == length {
        return;
    }
    for op in next {
        script.push(op);
        explore(outcome, script, length, runs);
        script.pop();
    }
}

/// Up to 5 steps of two sessions, the decision, its withdrawal and a crash, for acceptance and
/// refusal, SMTP and LMTP; `RDLV_MORE_STEPS` makes them longer.
#[test]
fn every_way_to_take_a_message_back() {
    let more = std::env::var("RDLV_MORE_STEPS").map_or(0, |more| more.parse().unwrap());
    for outcome in OUTCOMES {
        let mut runs = 0;
        explore(outcome, &mut Vec::new(), 5 + more, &mut runs);
        assert!(runs > 1000);
    }
}

fn run(outcome: Outcome, script: &[Op]) -> Run {
    let mut run = Run::new(outcome);
    for op in script {
        assert!(run.applies(*op), "{op:?}");
        run.apply(*op);
        run.check();
    }
    run
}

/// The client came back twice. The failure that waits to be transmitted to its earlier session is
/// not transmitted any more, so that it cannot be reported as well.
#[test]
fn a_reply_of_a_session_that_is_superseded_is_not_transmitted() {
    let script = [Op::Mail(0), Op::Decide, Op::Ask(0), Op::Mail(1), Op::Ask(1)];
    let mut run = run(OUTCOMES[1], &script);
    assert!(!run.is_open(0));
    assert!(run.world.told(NAMES[0], "ReplyUndelivered Refused"));
    assert!(!run.world.told(NAMES[0], "TakenBack"));
    // No session held the key for a moment, so it was reported.
    assert_eq!(run.world.store.reports, ["x 5.1.1"]);
    run.apply(Op::Transmit(1));
    assert!(!run.world.told(NAMES[1], "TakenBack"));
    assert!(run.heard[1].contains(REPORTED));
    run.finish();
}

/// A decision that is withdrawn while nobody waits is begun anew by the server.
#[test]
fn a_withdrawn_decision_of_a_detached_message_is_begun_anew() {
    let mut run = run(OUTCOMES[1], &[Op::Mail(0), Op::Withdraw]);
    // The session that holds the key may begin it.
    assert_eq!(run.world.store.outline(), "detached partial 6");
    run.apply(Op::Cut(0));
    assert_eq!(run.world.store.outline(), "detached processing 6");
    run.apply(Op::Decide);
    assert_eq!(run.world.store.reports, ["x 5.1.1"]);
    run.finish();
}
