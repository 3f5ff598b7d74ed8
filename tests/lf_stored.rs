//! The example client over a message that is stored with LF: where a restart reads, and what.
#![cfg(feature = "session")]
#![allow(missing_docs, unreachable_pub, dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../examples/support/measure.rs"]
mod measure;
#[path = "../examples/support/message.rs"]
mod message;

use std::cell::RefCell;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{Outcome, UnfinishedTransaction};
use smtp_checkpoint::client::{ClientConfig, ClientSession, Event, TlsPolicy};
use smtp_checkpoint::command::{MailLine, RcptLine};
use smtp_checkpoint::dot::DotDecoder;
use smtp_checkpoint::time::Timestamp;
use smtp_checkpoint::transid::TransId;

use measure::Measure;
use message::Rest;

const NOW: Timestamp = Timestamp::ORIGIN;

/// Storage that writes down which octets were read.
struct Counting {
    stored: Cursor<Vec<u8>>,
    reads: Rc<RefCell<Vec<Range<u64>>>>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let start = self.stored.position();
        let count = self.stored.read(buffer)?;
        self.reads.borrow_mut().push(start..start + count as u64);
        Ok(count)
    }
}

impl Seek for Counting {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.stored.seek(to)
    }
}

/// Lines of many lengths, some of them of dots.
fn stored(octets: usize) -> Vec<u8> {
    let mut stored = Vec::new();
    for number in 0_usize.. {
        if stored.len() >= octets {
            return stored;
        }
        let line = number.wrapping_mul(2_654_435_761) % 97;
        stored.extend(std::iter::repeat_n(
            if line % 7 == 0 { b'.' } else { b'x' },
            line,
        ));
        stored.push(b'\n');
    }
    unreachable!()
}

fn canonical(stored: &[u8]) -> Vec<u8> {
    stored
        .iter()
        .flat_map(|octet| match octet {
            b'\n' => &b"\r\n"[..],
            octet => std::slice::from_ref(octet),
        })
        .copied()
        .collect()
}

fn transaction(measure: &Measure) -> UnfinishedTransaction {
    let mail = MailLine::parse(Bytes::from_static(b"MAIL FROM:<a@c.example>")).unwrap();
    let rcpt = RcptLine::parse(Bytes::from_static(b"RCPT TO:<b@mx.example>")).unwrap();
    UnfinishedTransaction::builder(mail, measure.content.clone(), 0)
        .transid(TransId::parse(b"<1@c.example>").unwrap())
        .recipient(rcpt)
        .build()
        .unwrap()
}

/// One attempt. Each of `replies` comes when all that was written is transmitted; behind the last,
/// the end of the connection. Tells what was written behind 354, and the outcome.
fn attempt(
    transaction: &UnfinishedTransaction,
    replies: &[&[u8]],
    mut open: impl FnMut(u64) -> Rest<Counting>,
) -> (Vec<u8>, Outcome) {
    let config = ClientConfig::builder("c.example", TlsPolicy::Never);
    let mut smtp = ClientSession::new(Arc::new(config.build().unwrap()), NOW);
    let (mut source, mut content, mut replies) = (None, Vec::new(), replies.iter());
    let (mut wire, mut in_data) = (Vec::new(), false);
    loop {
        while let Some(event) = smtp.poll_event() {
            match event {
                Event::Ready => smtp.send(NOW, transaction).unwrap(),
                Event::Store(question) => drop(smtp.stored(NOW, question).unwrap()),
                Event::SendContent { start, .. } => source = Some(open(start.get())),
                Event::Done(outcome) => return (wire, outcome),
                _ => {}
            }
        }
        while smtp.wants_content() {
            if content.is_empty() {
                let source = source.as_mut().unwrap();
                source.take(4096).read_to_end(&mut content).unwrap();
            }
            let mut left = &content[..];
            if left.is_empty() {
                smtp.finish_content(NOW).unwrap();
            } else {
                smtp.send_content(NOW, &mut left).unwrap();
                content = left.to_vec();
            }
        }
        let octets = smtp.output().len();
        if octets > 0 {
            if in_data {
                wire.extend_from_slice(smtp.output());
            }
            smtp.transmitted(NOW, octets).unwrap();
        } else if let Some(reply) = replies.next() {
            in_data |= reply.windows(4).any(|four| four == b"354 ");
            smtp.handle_input(NOW, &mut Bytes::copy_from_slice(reply));
        } else {
            smtp.handle_eof(NOW);
        }
    }
}

const GREETING: &[u8] = b"220 mx.example\r\n";
const EHLO: &[u8] = b"250-mx.example\r\n250-PIPELINING\r\n250 CHECKPOINT\r\n";
const OK: &[u8] = b"250 ok\r\n";

/// A message that was sent and interrupted: what is left of it is sent from `offset` on.
fn restart(stored: &[u8], offset: u64) -> (Vec<u8>, Vec<Range<u64>>) {
    let measure = Measure::of(stored).unwrap();
    let reads = Rc::new(RefCell::new(Vec::new()));
    let open = |start| {
        let stored = Cursor::new(stored.to_vec());
        let reads = Rc::clone(&reads);
        Rest::new(Counting { stored, reads }, &measure.index, start).unwrap()
    };
    let to_data: &[&[u8]] = &[GREETING, EHLO, OK, b"250 ok\r\n354 go\r\n"];
    let (wire, outcome) = attempt(&transaction(&measure), to_data, open);
    assert_eq!(content(&wire), canonical(stored));
    let Outcome::Interrupted { transaction, .. } = outcome else {
        panic!("{outcome:?}")
    };
    reads.borrow_mut().clear();

    let told = format!("355 {offset} is the offset\r\n");
    let replies = [GREETING, EHLO, told.as_bytes(), b"354 go\r\n", OK];
    let (wire, outcome) = attempt(&transaction, &replies, open);
    assert!(matches!(outcome, Outcome::Delivered { .. }), "{outcome:?}");
    (content(&wire), reads.take())
}

fn content(wire: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    DotDecoder::new().decode_with(&mut &wire[..], |octets| content.extend_from_slice(octets));
    content
}

/// Line starts of a message, in canonical and in stored octets.
fn line_starts(stored: &[u8]) -> Vec<(u64, u64)> {
    let mut lines = 0;
    let mut starts = vec![(0, 0)];
    for (at, octet) in stored.iter().enumerate() {
        if *octet == b'\n' {
            lines += 1;
            starts.push((at as u64 + 1 + lines, at as u64 + 1));
        }
    }
    starts
}

#[test]
fn a_restart_reads_at_most_64_kib_below_its_offset() {
    let stored = stored(1024 * 1024);
    let (whole, starts) = (canonical(&stored), line_starts(&stored));
    for part in [1, 500, 990, 999] {
        let (offset, place) = starts[starts.len() * part / 1000];
        let (content, reads) = restart(&stored, offset);
        assert_eq!(content, &whole[offset as usize..], "from {offset}");
        let below: u64 = reads
            .iter()
            .map(|read| read.end.min(place) - read.start.min(place))
            .sum();
        assert!(
            below <= 64 * 1024,
            "{below} octets below {place}: {reads:?}"
        );
        let lowest = reads.iter().map(|read| read.start).min().unwrap();
        assert!(lowest + 64 * 1024 >= place, "{lowest}");
        let all: u64 = reads.iter().map(|read| read.end - read.start).sum();
        assert!(all <= stored.len() as u64 - place + 64 * 1024, "{all}");
    }
}

#[test]
fn every_offset_gives_the_rest_whatever_the_line_ends_are() {
    for stored in [
        &b"one\ntwo\n\n.\nthree\n"[..],
        b"one\r\ntwo\r\n\r\n",
        b"mixed\r\nline\nends\r\n\n",
        b"unfinished\nlast line",
        b"",
        b"\n",
    ] {
        let measure = Measure::of(stored).unwrap();
        let mut whole = Vec::new();
        for octet in stored {
            if *octet == b'\n' && whole.last() != Some(&b'\r') {
                whole.push(b'\r');
            }
            whole.push(*octet);
        }
        assert_eq!(measure.content.octets, whole.len() as u64);
        let unfinished = !whole.is_empty() && !whole.ends_with(b"\r\n");
        assert_eq!(measure.content.unfinished_last_line, unfinished);
        for offset in 0..=whole.len() + 2 {
            let mut rest = Vec::new();
            let stored = Cursor::new(stored);
            let mut from = Rest::new(stored, &measure.index, offset as u64).unwrap();
            from.read_to_end(&mut rest).unwrap();
            // Beyond the end is the CRLF that DATA adds.
            assert_eq!(rest, &whole[offset.min(whole.len())..]);
        }
    }
}

#[test]
fn a_message_that_has_changed_is_not_sent_on() {
    let stored = stored(100_000);
    let measure = Measure::of(&stored[..]).unwrap();
    let mut other = stored.clone();
    let line_end = other.iter().rposition(|octet| *octet == b'\n').unwrap();
    other.truncate(line_end);
    other.push(b' ');
    for storage in [&other[..], &stored[..50_000]] {
        let end = measure.content.octets - 2;
        assert!(Rest::new(Cursor::new(storage), &measure.index, end).is_err());
    }
}

#[test]
fn what_was_measured_is_kept_for_the_same_file_only() {
    let measure = Measure::of(&stored(300_000)[..]).unwrap();
    let text = measure.text("a file");
    assert_eq!(Measure::read(&text, "a file"), Some(measure));
    assert_eq!(Measure::read(&text, "another"), None);
    for cut in [0, 1, text.len() / 2, text.len() - 1] {
        assert_eq!(Measure::read(&text[..cut], "a file"), None);
    }
    let damaged = text.replacen("7bit", "8bit", 1);
    assert_eq!(Measure::read(&damaged, "a file"), None);
}
