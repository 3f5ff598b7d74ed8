//! A server that says anything at all: the client never panics, never takes memory beyond its
//! bounds, and never says "delivered" without a 2yz to an end of data that has left.

#![cfg(feature = "session")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Content, Outcome, Sent, UnfinishedTransaction};
use smtp_checkpoint::client::{ClientConfig, ClientSession, Event, Protocol, TlsOutcome};
use smtp_checkpoint::command::{MailLine, RcptLine};
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

const NOW: Timestamp = Timestamp::ORIGIN;
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
    let mut builder = UnfinishedTransaction::builder(mail, Content::measure(MESSAGE))
        .recipient(RcptLine::parse(&b"RCPT TO:<c@d>"[..]).unwrap())
        .recipient(RcptLine::parse(&b"RCPT TO:<e@f>"[..]).unwrap())
        .transid(TransId::parse(b"<x@y>").unwrap());
    if random.below(2) == 0 {
        builder = builder.bdat();
    }
    builder.build().unwrap()
}

/// One session; what it makes of the transaction, and whether it was delivered.
fn session(random: &mut Random, transaction: &UnfinishedTransaction) -> Option<Outcome> {
    let chunk = 1 + random.below(50);
    let config = ClientConfig::builder("c.example").chunk_size(chunk);
    let mut smtp = ClientSession::new(Arc::new(config.build().unwrap()), NOW);
    let (mut at, mut outcome, mut wire) = (0, None, Vec::new());
    let (mut tries, mut held) = (0, Vec::new());
    for turn in 0..60 {
        while let Some(event) = smtp.poll_event() {
            match event {
                Event::Ready if tries == 0 && outcome.is_none() => {
                    tries += 1;
                    if smtp.send(NOW, transaction).is_err() {
                        let _ = smtp.quit(NOW);
                    }
                }
                // The session may have ended since: then these are out of turn.
                Event::Ready => {
                    let _ = smtp.quit(NOW);
                }
                Event::TlsHandover => {
                    let _ = smtp.handle_tls(NOW, TlsOutcome::Established);
                }
                Event::Store(question) if random.below(4) == 0 => held.push(question),
                Event::Store(question) => {
                    smtp.stored(NOW, question).unwrap();
                }
                Event::SendContent { start, lookbehind } => {
                    assert!(lookbehind <= 2);
                    at = start.get() as usize;
                }
                Event::Done(done) => {
                    assert!(outcome.is_none(), "one outcome");
                    outcome = Some(done);
                    smtp.outcome_stored(NOW).unwrap();
                }
                _ => {}
            }
        }
        while smtp.wants_content() {
            let end = (at + 1 + random.below(9)).min(MESSAGE.len());
            let mut piece = &MESSAGE[at..end];
            if piece.is_empty() {
                smtp.finish_content(NOW).unwrap();
            } else {
                smtp.send_content(NOW, &mut piece).unwrap();
                at = end - piece.len();
            }
        }
        if let Some(question) = held.pop() {
            smtp.stored(NOW, question).unwrap();
        }
        if random.below(8) > 0 {
            if let Some(octets) = smtp.take_output() {
                wire.extend_from_slice(&octets);
                smtp.transmitted(NOW, octets.len()).unwrap();
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
                if last.starts_with(b"DATA") {
                    "354 go"
                } else {
                    "250 ok"
                }
            }
            _ => REPLIES[random.below(REPLIES.len())],
        };
        let mut input = Bytes::from(format!("{reply}\r\n"));
        smtp.handle_input(NOW, &mut input);
        if smtp.is_finished() {
            break;
        }
        if random.below(40) == 0 {
            smtp.handle_eof(NOW);
        }
    }
    smtp.abandon(NOW);
    while let Some(event) = smtp.poll_event() {
        if let Event::Done(done) = event {
            assert!(outcome.is_none(), "one outcome");
            outcome = Some(done);
        }
    }
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
        Some(other) => {
            let sent = other.transaction().unwrap().sent();
            let may_be = sent == Sent::EndOfData || matches!(other, Outcome::Unknown { .. });
            // A lone dot ends nothing.
            let lone = matches!(
                other,
                Outcome::NoRecipients { .. } | Outcome::Declined { .. }
            );
            assert!(
                !ended || may_be || lone,
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
    let (mut delivered, mut restarts) = (0, 0);
    for _ in 0..20_000 {
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
                _ => break,
            }
        }
    }
    assert!(delivered > 500 && restarts > 500, "{delivered} {restarts}");
}

#[test]
fn endless_lines_and_replies_take_no_memory() {
    for piece in [
        &b"2222222222222222222222222222222222222222222222222222222222222222"[..],
        b"250-x\r\n",
    ] {
        let config = ClientConfig::builder("c.example").protocol(Protocol::Smtp);
        let mut smtp = ClientSession::new(Arc::new(config.build().unwrap()), NOW);
        for _ in 0..100_000 {
            smtp.handle_input(NOW, &mut Bytes::from_static(piece));
        }
        // The line goes on for ever and is skipped, the reply is refused.
        assert_eq!(smtp.is_finished(), piece.ends_with(b"\n"));
        assert!(smtp.output().is_empty());
    }
}
