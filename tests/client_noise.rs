//! A server that says anything at all: the client never panics, never takes memory beyond its
//! bounds, and never says "delivered" without a 2yz to an end of data that has left. RDLV is asked
//! for, and a 120 answered, by a caller who does what it likes.

#![cfg(feature = "session")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Content, Outcome, Sent, UnfinishedTransaction};
use smtp_checkpoint::client::{
    ClientConfig, ClientSession, Ending, Event, NoRdlv, Protocol, RdlvRequest, TlsOutcome,
    TlsPolicy,
};
use smtp_checkpoint::command::{MailLine, RcptLine};
use smtp_checkpoint::rdlv::{Choice, DetachOffer, Policy, Then};
use smtp_checkpoint::transid::TransId;

mod client_scene;

use client_scene::{NOW, Scene, config, plain};

const MESSAGE: &[u8] = b"Subject: x\r\n\r\n.dots\r\n..\r\nand more\r\n";

/// xorshift64*, seeded; the test is the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

const EHLO: &[&str] = &[
    "250-x\r\n250 CHECKPOINT",
    "250-x\r\n250-CHECKPOINT\r\n250 PIPELINING",
    "250-x\r\n250-CHUNKING\r\n250-CHECKPOINT\r\n250 PIPELINING",
    "250-x\r\n250 PIPELINING",
    "250-x\r\n250-RDLV mintimer=30\r\n250-DETA\r\n250-DSN\r\n250-CHUNKING\r\n250 CHECKPOINT",
    "250-x\r\n250-RDLV\r\n250-DETA\r\n250-DSN\r\n250 PIPELINING",
    "250-x\r\n250-RDLV\r\n250-DSN\r\n250-PIPELINING\r\n250 CHECKPOINT",
    "250-x\r\n250 STARTTLS",
    "250 x",
];

const REPLIES: &[&str] = &[
    "250 ok",
    "250 ok",
    "250 ok",
    "250 ok",
    "354 go",
    "354 go",
    "355 0 x",
    "355 14 x",
    "355 15 x",
    "355 36 x",
    "355 37 x",
    "355 x",
    "421 bye",
    "450 later",
    "451 later",
    "503 what",
    "520 no",
    "550 no",
    "552 full",
    "554 no",
    "120 wait",
    "120 wait",
    "120 wait",
    "299 odd",
    "334 more",
    "220 hi",
    "221 bye",
    "garbage",
    "250-a\r\n251 b",
    "",
];

fn transaction(random: &mut Random) -> UnfinishedTransaction {
    let mail = MailLine::parse(&b"MAIL FROM:<a@b>"[..]).unwrap();
    let mut builder = UnfinishedTransaction::builder(mail, Content::measure(MESSAGE), 0)
        .recipient(RcptLine::parse(&b"RCPT TO:<c@d>"[..]).unwrap())
        .recipient(RcptLine::parse(&b"RCPT TO:<e@f>"[..]).unwrap())
        .transid(TransId::parse(b"<x@y>").unwrap());
    if random.below(2) == 0 {
        builder = builder.bdat();
    }
    builder.build().unwrap()
}

/// RDLV in one way or another, mostly.
fn request(random: &mut Random) -> Option<RdlvRequest> {
    if random.below(5) == 0 {
        return None;
    }
    let mut request = RdlvRequest::new(60);
    request.settings.reset_aborts = random.below(2) == 0;
    if random.below(2) == 0 {
        request.settings.detach = DetachOffer::Tolerant;
    }
    if random.below(3) == 0 {
        let then = [Then::Detach, Then::Abort][random.below(2)];
        let carry_on_for = Duration::from_secs(60 * random.below(3) as u64);
        request.policy = Some(Policy { carry_on_for, then });
    }
    Some(request)
}

/// One session; what it makes of the transaction, and whether it was delivered.
fn session(random: &mut Random, transaction: &UnfinishedTransaction) -> Option<Outcome> {
    let chunk = 1 + random.below(50);
    let config = ClientConfig::builder("c.example", TlsPolicy::IfOffered).chunk_size(chunk);
    let request = request(random);
    let mut smtp = ClientSession::new(Arc::new(config.build().unwrap()), NOW);
    let (mut now, mut at, mut outcome, mut wire) = (NOW, 0, None, Vec::new());
    let (mut tries, mut held, mut voided, mut ending) = (0, Vec::new(), false, None);
    let (mut choices, mut behind) = (Vec::new(), None);
    for turn in 0..60 {
        while let Some(event) = smtp.poll_event() {
            match event {
                Event::Ready if tries == 0 && outcome.is_none() => {
                    tries += 1;
                    if smtp.send_with_rdlv(now, transaction, request).is_err() {
                        let _ = smtp.quit(now);
                    }
                }
                // The session may have ended since: then these are out of turn.
                Event::Ready => {
                    let _ = smtp.quit(now);
                }
                Event::TlsHandover => {
                    let _ = smtp.handle_tls(now, TlsOutcome::Established);
                }
                Event::Store(question) if random.below(4) == 0 => held.push(question),
                Event::Store(question) => {
                    smtp.stored(now, question).unwrap();
                }
                Event::SendContent { start, lookbehind } => {
                    assert!(lookbehind <= 2);
                    at = start.get() as usize;
                }
                Event::StillDeciding(question) => choices.push(question),
                // What was sent before was not taken.
                Event::NoRdlv(NoRdlv::NotPossible(_)) => voided = true,
                Event::Done(done) => {
                    assert!(outcome.is_none(), "one outcome");
                    outcome = Some(done);
                    behind = Some(wire.len());
                    smtp.outcome_stored(now).unwrap();
                }
                Event::Finished(how) => ending = Some(how),
                _ => {}
            }
        }
        while smtp.wants_content() {
            let end = (at + 1 + random.below(9)).min(MESSAGE.len());
            let mut piece = &MESSAGE[at..end];
            if piece.is_empty() {
                smtp.finish_content(now).unwrap();
            } else {
                smtp.send_content(now, &mut piece).unwrap();
                at = end - piece.len();
            }
        }
        if let Some(question) = held.pop() {
            smtp.stored(now, question).unwrap();
        }
        if random.below(4) > 0 {
            if let Some(question) = choices.pop() {
                let choice = [Choice::CarryOn, Choice::Detach, Choice::Abort][random.below(3)];
                // Detaching may be impossible: then nobody answers.
                let _ = smtp.choose(now, question, choice);
            }
        }
        if random.below(30) == 0 {
            if let Some(deadline) = smtp.poll_timeout() {
                now = now.max(deadline);
                smtp.handle_timeout(now);
            }
        }
        if random.below(8) > 0 {
            if let Some(octets) = smtp.take_output() {
                wire.extend_from_slice(&octets);
                smtp.transmitted(now, octets.len()).unwrap();
            }
        }
        let reply = match turn {
            0 => "220 hi",
            1 => EHLO[random.below(EHLO.len())],
            _ if random.below(3) > 0 => {
                // What a sound server could say, so that the middle of a dialogue is reached.
                let last = wire
                    .rsplit(|octet| *octet == b'\n')
                    .nth(1)
                    .unwrap_or_default();
                let is_end = last == b".\r" || last.ends_with(b" LAST\r");
                if last.starts_with(b"DATA") {
                    "354 go"
                } else if last.starts_with(b"DETA") {
                    "221 bye"
                } else if is_end && random.below(4) > 0 {
                    "120 wait"
                } else {
                    "250 ok"
                }
            }
            _ => REPLIES[random.below(REPLIES.len())],
        };
        let mut input = Bytes::from(format!("{reply}\r\n"));
        smtp.handle_input(now, &mut input);
        if smtp.is_finished() {
            break;
        }
        if random.below(40) == 0 {
            smtp.handle_eof(now);
        }
    }
    smtp.abandon(now);
    while let Some(event) = smtp.poll_event() {
        match event {
            Event::Done(done) => {
                assert!(outcome.is_none(), "one outcome");
                outcome = Some(done);
                behind = Some(wire.len());
            }
            Event::Finished(how) => ending = Some(how),
            _ => {}
        }
    }
    assert!(smtp.output().is_empty(), "nothing is left to be sent");
    let has = |what: &[u8]| wire.windows(what.len()).any(|octets| octets == what);
    let ended = if has(b"DATA\r\n") {
        has(b"\r\n.\r\n")
    } else {
        has(b" LAST\r\n")
    };
    match &outcome {
        Some(Outcome::Delivered { .. } | Outcome::Refused { .. } | Outcome::Deferred { .. }) => {
            assert!(ended, "decided without an end: {}", wire.escape_ascii());
        }
        Some(Outcome::Detached { .. }) => {
            assert!(ended && wire.ends_with(b"DETA\r\n"));
            assert_eq!(behind, Some(wire.len()), "nothing is sent behind it");
            assert_eq!(ending, Some(Ending::Detached));
        }
        Some(Outcome::Aborted { .. }) => assert!(ended && has(b"RSET\r\n")),
        Some(other) => {
            let sent = other.transaction().unwrap().sent();
            let may_be = sent == Sent::EndOfData || matches!(other, Outcome::Unknown { .. });
            // A lone dot ends nothing.
            let lone = matches!(
                other,
                Outcome::NoRecipients { .. } | Outcome::Declined { .. }
            );
            assert!(
                !ended || may_be || lone || voided,
                "{other:?}: {}",
                wire.escape_ascii()
            );
        }
        None => assert!(!ended || tries == 0),
    }
    outcome
}

#[test]
fn a_server_that_says_anything() {
    let mut random = Random(0x5eed);
    let (mut delivered, mut restarts, mut detached, mut aborted) = (0, 0, 0, 0);
    for _ in 0..40_000 {
        let mut transaction = transaction(&mut random);
        for _ in 0..3 {
            restarts += usize::from(transaction.is_restart());
            match session(&mut random, &transaction) {
                Some(Outcome::Interrupted {
                    transaction: next, ..
                }) => transaction = *next,
                Some(Outcome::Delivered { .. }) => {
                    delivered += 1;
                    break;
                }
                Some(Outcome::Detached { .. }) => {
                    detached += 1;
                    break;
                }
                Some(Outcome::Aborted { .. }) => {
                    aborted += 1;
                    break;
                }
                _ => break,
            }
        }
    }
    let reached = [delivered, restarts, detached, aborted];
    assert!(reached.iter().all(|count| *count > 50), "{reached:?}");
}

#[test]
fn endless_lines_and_replies_take_no_memory() {
    for piece in [
        &b"2222222222222222222222222222222222222222222222222222222222222222"[..],
        b"250-x\r\n",
    ] {
        let config =
            ClientConfig::builder("c.example", TlsPolicy::IfOffered).protocol(Protocol::Smtp);
        let mut smtp = ClientSession::new(Arc::new(config.build().unwrap()), NOW);
        for _ in 0..100_000 {
            smtp.handle_input(NOW, &mut Bytes::from_static(piece));
        }
        // The line goes on for ever and is skipped, the reply is refused.
        assert_eq!(smtp.is_finished(), piece.ends_with(b"\n"));
        assert!(smtp.output().is_empty());
    }
}

/// What the client has said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Ehlo,
    Mail,
    Rcpt,
    Rdlv,
    Data,
    /// The end of the data is written, and has not left.
    EndUnsent,
    End,
    /// A 120 is open.
    Interim,
    ContUnsent,
    Cont,
    Deta,
    Rset,
    Quit,
}

const STATES: [Said; 14] = [
    Said::Nothing,
    Said::Ehlo,
    Said::Mail,
    Said::Rcpt,
    Said::Rdlv,
    Said::Data,
    Said::EndUnsent,
    Said::End,
    Said::Interim,
    Said::ContUnsent,
    Said::Cont,
    Said::Deta,
    Said::Rset,
    Said::Quit,
];

/// A client that has said this, with RDLV in force from its reply on.
fn having_said(said: Said) -> Scene {
    let message = b"one\r\n";
    let mut request = RdlvRequest::new(30);
    request.settings.reset_aborts = true;
    let mut scene = Scene::with(config().rdlv(request), message);
    let script = [
        (Said::Ehlo, "220 hi", "EHLO ymir.claremont.edu\r\n"),
        (
            Said::Mail,
            "250-hi\r\n250-RDLV\r\n250-DETA\r\n250 DSN",
            "MAIL FROM:<ned@ymir.claremont.edu>\r\n",
        ),
        (
            Said::Rcpt,
            "250 ok",
            "RCPT TO:<mrose@dbc.mtview.ca.us> NOTIFY=FAILURE\r\n",
        ),
        (Said::Rdlv, "250 ok", "RDLV maxtimer=30\r\n"),
        (Said::Data, "250 ok", "DATA\r\n"),
    ];
    for (after, reply, line) in script {
        if said == Said::Nothing {
            return scene;
        }
        scene.s(reply);
        if after == Said::Mail {
            scene.send(&plain(message));
        }
        scene.c(line);
        if after == said {
            return scene;
        }
    }
    scene.s("354 go").run();
    if said == Said::EndUnsent {
        return scene;
    }
    scene.c("one\r\n.\r\n");
    match said {
        Said::End => return scene,
        Said::Quit => {
            scene.s("250 taken");
            scene.quit_unanswered();
            return scene;
        }
        _ => {}
    }
    scene.s("120 wait");
    match said {
        Said::ContUnsent => drop(scene.choose(Choice::CarryOn)),
        Said::Cont => drop(scene.choose(Choice::CarryOn).c("CONT\r\n")),
        Said::Deta => drop(scene.choose(Choice::Detach).c("DETA\r\n")),
        Said::Rset => drop(scene.choose(Choice::Abort).c("RSET\r\n")),
        _ => {}
    }
    scene.question = scene.question.take().filter(|_| said == Said::Interim);
    scene
}

#[test]
fn every_reply_in_every_state() {
    for said in STATES {
        for code in 100..600 {
            let mut scene = having_said(said);
            let was_open = scene.question.take().is_some();
            scene.outcome = None;
            scene.s(&format!("{code} text"));
            let context = || format!("{code} to {said:?}");
            let asks = scene.question.is_some();
            let outcome = scene.outcome.take();
            let is_final = matches!(said, Said::End | Said::Cont);
            let is_refusal = (400..600).contains(&code) && code != 421;
            let decides = match said {
                // Sent once more without RDLV.
                Said::End => code != 520,
                Said::Cont => !matches!(code, 500..=504 | 520),
                _ => false,
            };
            assert_eq!(
                matches!(outcome, Some(Outcome::Delivered { .. })),
                is_final && (200..300).contains(&code),
                "{}",
                context()
            );
            assert_eq!(
                matches!(
                    outcome,
                    Some(Outcome::Deferred { .. } | Outcome::Refused { .. })
                ),
                (decides && is_refusal) || (said == Said::End && code == 421),
                "{}",
                context()
            );
            assert_eq!(
                matches!(outcome, Some(Outcome::Detached { .. })),
                said == Said::Deta && code == 221,
                "{}",
                context()
            );
            assert_eq!(
                matches!(outcome, Some(Outcome::Aborted { .. })),
                said == Said::Rset && (200..300).contains(&code),
                "{}",
                context()
            );
            // A 120 is asked about, and nothing else is open.
            let still_open = said == Said::Deta && is_refusal;
            let interim = is_final && code < 200;
            assert_eq!(asks, interim || still_open, "{}", context());
            assert!(!was_open || scene.smtp.is_finished(), "{}", context());
            // 1yz in any other place ends the session, as does 421 in all of them.
            let ends = code == 421 || (code < 200 && !interim);
            assert!(!ends || scene.smtp.is_finished(), "{}", context());
            // Behind the end of the data every end is known to be one.
            let undecided = matches!(
                outcome,
                Some(Outcome::Interrupted { .. } | Outcome::Declined { .. })
            );
            let is_behind = matches!(
                said,
                Said::End | Said::Interim | Said::ContUnsent | Said::Cont | Said::Deta | Said::Rset
            );
            assert!(!is_behind || !undecided, "{}: {outcome:?}", context());
        }
    }
}
