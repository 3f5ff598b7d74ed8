//! What servers answer at the edges of the protocol, and what the client makes of it: each row is a
//! whole session, and its outcome.
#![cfg(feature = "session")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Content, Outcome, UnfinishedTransaction};
use smtp_checkpoint::client::{
    ClientConfig, ClientSession, Ending, Event, Protocol, RecipientVerdict, TlsPolicy,
};
use smtp_checkpoint::command::{MailLine, RcptLine};
use smtp_checkpoint::error::PeerError;
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

const NOW: Timestamp = Timestamp::ORIGIN;
const MESSAGE: &[u8] = b"hello\r\n";

#[derive(Debug, Default)]
struct Seen {
    sent: String,
    outcome: Option<Outcome>,
    verdicts: Vec<RecipientVerdict>,
    finals: Vec<u16>,
    fault: Option<PeerError>,
    ending: Option<Ending>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Lmtp,
    TransId,
}

/// Plays a session against replies that each come when all that was written has left; `-` is the
/// end of the transport. The caller sends one message to two recipients and quits.
fn play(kind: Kind, replies: &[&str]) -> Seen {
    let protocol = match kind {
        Kind::Lmtp => Protocol::Lmtp,
        Kind::Plain | Kind::TransId => Protocol::Smtp,
    };
    let config = ClientConfig::builder("c.example", TlsPolicy::Never);
    let config = config.protocol(protocol).build().unwrap();
    let mail = MailLine::parse(&b"MAIL FROM:<a@b.example>"[..]).unwrap();
    let rcpt = |line: &'static [u8]| RcptLine::parse(line).unwrap();
    let transaction = UnfinishedTransaction::builder(mail, Content::measure(MESSAGE), 0)
        .recipient(rcpt(b"RCPT TO:<c@d.example>"))
        .recipient(rcpt(b"RCPT TO:<e@f.example>"));
    let transaction = match kind {
        Kind::Plain => transaction,
        Kind::Lmtp => transaction.lmtp(),
        Kind::TransId => transaction.transid(TransId::parse(b"<1@c>").unwrap()),
    };
    let transaction = transaction.build().unwrap();
    let mut smtp = ClientSession::new(Arc::new(config), NOW);
    let mut seen = Seen::default();
    let mut content = MESSAGE;
    for reply in replies {
        match *reply {
            "-" => smtp.handle_eof(NOW),
            reply => {
                let octets = format!("{}\r\n", reply.replace('|', "\r\n"));
                smtp.handle_input(NOW, &mut Bytes::from(octets));
            }
        }
        loop {
            while let Some(event) = smtp.poll_event() {
                match event {
                    Event::Ready if seen.outcome.is_some() => smtp.quit(NOW).unwrap(),
                    Event::Ready => smtp.send(NOW, &transaction).unwrap(),
                    Event::Store(question) => {
                        smtp.stored(NOW, question).unwrap();
                    }
                    Event::Recipient { verdict, .. } => seen.verdicts.push(verdict),
                    Event::FinalReply { reply, .. } => seen.finals.push(reply.code().get()),
                    Event::Done(outcome) => {
                        assert_eq!(seen.outcome.replace(outcome), None);
                        smtp.outcome_stored(NOW).unwrap();
                    }
                    Event::PeerFault(fault) => seen.fault = Some(fault),
                    Event::Finished(ending) => seen.ending = Some(ending),
                    _ => {}
                }
            }
            if smtp.wants_content() {
                match content {
                    [] => smtp.finish_content(NOW).unwrap(),
                    _ => smtp.send_content(NOW, &mut content).unwrap(),
                }
            } else if let Some(octets) = smtp.take_output() {
                seen.sent += std::str::from_utf8(&octets).unwrap();
                smtp.transmitted(NOW, octets.len()).unwrap();
            } else {
                break;
            }
        }
    }
    seen
}

fn name(outcome: Option<&Outcome>) -> String {
    let text = outcome
        .map(|outcome| format!("{outcome:?}"))
        .unwrap_or_default();
    text.split(' ').next().unwrap().to_owned()
}

const PIPELINING: &str = "250-mx|250 PIPELINING";

/// SM-08, SM-12: without a TRANSID the final reply decides by its first digit, whatever it is, as
/// with any client of today.
#[test]
fn plain_final_replies_decide() {
    for (reply, outcome, ending) in [
        ("250 ok", "Delivered", None),
        ("252 ok", "Delivered", None),
        (
            "421 4.7.0 too many messages",
            "Deferred",
            Some(Ending::Closed),
        ),
        ("451 later", "Deferred", None),
        ("503 5.5.1 no", "Refused", None),
        ("520 5.7.1 no", "Refused", None),
        ("599 no", "Refused", None),
        ("354 go on", "Unknown", Some(Ending::Protocol)),
        ("120 wait", "Unknown", Some(Ending::Protocol)),
        ("-", "Unknown", Some(Ending::Lost)),
    ] {
        let greeting = [
            "220 hi", PIPELINING, "250 ok", "250 ok", "250 ok", "354 go", reply,
        ];
        let seen = play(Kind::Plain, &greeting);
        assert_eq!(name(seen.outcome.as_ref()), outcome, "{reply}");
        assert_eq!(seen.ending, ending, "{reply}");
        assert_eq!(seen.sent.ends_with("QUIT\r\n"), ending.is_none(), "{reply}");
    }
}

/// CP-35: with one, the same replies decide nothing.
#[test]
fn with_a_transid_they_do_not() {
    for reply in ["421 bye", "503 no", "520 no"] {
        let offered = "250-mx|250 CHECKPOINT";
        let dialogue = [
            "220 hi", offered, "250 ok", "250 ok", "250 ok", "354 go", reply,
        ];
        let seen = play(Kind::TransId, &dialogue);
        assert_eq!(name(seen.outcome.as_ref()), "Interrupted", "{reply}");
    }
}

/// SM-10: one recipient's reply is no reason to know nothing of the others.
#[test]
fn lmtp_final_replies_decide_each() {
    for (last, outcome, finals) in [
        ("520 no", "PerRecipient", &[250, 520][..]),
        ("503 no", "PerRecipient", &[250, 503]),
        ("421 bye", "Unknown", &[250]),
    ] {
        let dialogue = [
            "220 hi", "250 mx", "250 ok", "250 ok", "250 ok", "354 go", "250 ok", last,
        ];
        let seen = play(Kind::Lmtp, &dialogue);
        assert_eq!(name(seen.outcome.as_ref()), outcome, "{last}");
        assert_eq!(seen.finals, finals, "{last}");
    }
}

/// Greetings and hellos as they should not be.
#[test]
fn greetings_and_hellos() {
    use PeerError::{MalformedReply, UnexpectedReply};
    for (replies, sent, fault, ending) in [
        (&["220-a|220-b|220 c"][..], "EHLO c.example\r\n", None, None),
        (&["220"], "EHLO c.example\r\n", None, None),
        (
            &["220-a|250 b"],
            "",
            Some(MalformedReply),
            Some(Ending::Protocol),
        ),
        (
            &["354 a"],
            "",
            Some(UnexpectedReply),
            Some(Ending::Protocol),
        ),
        (&["421 a"], "", None, Some(Ending::Closed)),
        (
            &["554 a", "221 b"],
            "QUIT\r\n",
            None,
            Some(Ending::Rejected),
        ),
        (
            &["220 a", "421 b"],
            "EHLO c.example\r\n",
            None,
            Some(Ending::Closed),
        ),
        (
            &["220 a", "451 b"],
            "EHLO c.example\r\nQUIT\r\n",
            None,
            None,
        ),
        (
            &["220 a", "502 b", "550 c", "221 d"],
            "EHLO c.example\r\nHELO c.example\r\nQUIT\r\n",
            None,
            Some(Ending::Rejected),
        ),
        (
            &["220 a", "250 a\nb"],
            "EHLO c.example\r\n",
            Some(MalformedReply),
            Some(Ending::Protocol),
        ),
        // Empty lines and stray spaces offer what they offer.
        (
            &["220 a", "250-a|250-|250- size 100|250 X "],
            "EHLO c.example\r\nMAIL FROM:<a@b.example> SIZE=7\r\n",
            None,
            None,
        ),
        // Not a 250: nothing is offered.
        (
            &["220 a", "252-a|252 PIPELINING"],
            "EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n",
            None,
            None,
        ),
    ] {
        let seen = play(Kind::Plain, replies);
        assert_eq!(seen.sent, sent, "{replies:?}");
        assert_eq!((seen.fault, seen.ending), (fault, ending), "{replies:?}");
    }
}

/// SM-04: the rest of a group is read to its end, and nothing is taken for what it is not.
#[test]
fn groups() {
    for (replies, outcome, tail) in [
        // MAIL refused, and a server that goes on all the same.
        (
            &["550 no", "250 ok", "503 no", "354 go", "250 ok"][..],
            "Declined",
            ".\r\nQUIT\r\n",
        ),
        (
            &["550 no", "503 no", "503 no", "503 no"],
            "Declined",
            "DATA\r\nQUIT\r\n",
        ),
        (
            &["250 ok", "450 no", "550 no", "354 go", "554 no"],
            "NoRecipients",
            ".\r\nQUIT\r\n",
        ),
        (
            &["250 ok", "550 no", "550 no", "503 no", "250 ok"],
            "NoRecipients",
            "RSET\r\nQUIT\r\n",
        ),
        (
            &["250 ok", "251 ok", "252 ok", "399 go"],
            "",
            "hello\r\n.\r\n",
        ),
        (
            &["250 ok", "250 ok", "250 ok", "250 ok"],
            "Interrupted",
            "DATA\r\n",
        ),
        (&["250 ok", "354 go"], "Interrupted", "DATA\r\n"),
        (&["250 ok", "421 bye"], "Interrupted", "DATA\r\n"),
        // One reply too many, before the content has left.
        (
            &["250 ok|250 ok|250 ok|354 go|250 ok"],
            "Interrupted",
            "DATA\r\n",
        ),
    ] {
        let dialogue = [&["220 hi", PIPELINING], replies].concat();
        let seen = play(Kind::Plain, &dialogue);
        assert_eq!(name(seen.outcome.as_ref()), outcome, "{replies:?}");
        assert!(seen.sent.ends_with(tail), "{replies:?}: {}", seen.sent);
    }
}

/// SM-08: 552 to RCPT is 452.
#[test]
fn too_many_recipients_is_for_now() {
    let dialogue = ["220 hi", PIPELINING, "250 ok", "552 5.5.3 many", "550 no"];
    let seen = play(Kind::Plain, &dialogue);
    let verdicts = [RecipientVerdict::Deferred, RecipientVerdict::Refused];
    assert_eq!(seen.verdicts, verdicts);
}
