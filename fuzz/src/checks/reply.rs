//! Replies: two readers agree however the input is split, and stay within their limits.

use bytes::{Bytes, BytesMut};
use smtp_checkpoint::limits::Limits;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::reply::{
    EnhancedCode, ParsedReply, Reply, ReplyCode, ReplyError, ReplyReader, ReplyRef,
};

use super::{input, memory};

type Outcome = Result<Reply, ReplyError>;

pub fn check(data: &[u8]) {
    let (wire, mut choices) = input::parse(data);
    let small = choices.below(2) == 1;
    let limits = if small {
        Limits {
            reply_line: 64,
            reply_lines: 3,
            reply_octets: 100,
            ..Limits::default()
        }
    } else {
        Limits::default()
    };
    let pieces = choices.pieces(wire);
    let one_by_one = read(&input::octets(wire), &limits);
    assert_eq!(read(&[wire], &limits), one_by_one);
    assert_eq!(read(&pieces, &limits), one_by_one);

    let unbounded = borrowed(wire);
    if limits_hold(wire, &limits) {
        assert_eq!(one_by_one, unbounded);
    }
    for reply in one_by_one.into_iter().flatten() {
        one(&reply);
    }
    made(wire, &mut choices);
    stored(wire);
}

/// The reader over pieces, up to the first error.
fn read(pieces: &[&[u8]], limits: &Limits) -> Vec<Outcome> {
    let mut reader = ReplyReader::new();
    let mut outcomes = Vec::new();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        let before = memory::in_use();
        while let Some(outcome) = reader.read(&mut input, limits) {
            let failed = outcome.is_err();
            outcomes.push(outcome);
            if failed {
                return outcomes;
            }
        }
        let grown = memory::in_use().saturating_sub(before);
        assert!(grown <= (2 * limits.reply_octets + 4096) as u64 + 128 * outcomes.len() as u64);
        assert!(input.is_empty());
    }
    outcomes
}

/// The same from a slice, without limits.
fn borrowed(mut wire: &[u8]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    loop {
        match ReplyRef::parse(wire) {
            ParsedReply::Complete { reply, consumed } => {
                assert!(reply.lines().eq(reply.to_reply().lines()));
                assert_eq!(reply.first_line(), reply.to_reply().first_line());
                outcomes.push(Ok(reply.to_reply()));
                wire = &wire[consumed..];
            }
            ParsedReply::Incomplete => return outcomes,
            ParsedReply::Malformed(error) => {
                outcomes.push(Err(error));
                return outcomes;
            }
        }
    }
}

/// Whether nothing in `wire` can be over a limit, by a rule that is coarse and safe.
fn limits_hold(wire: &[u8], limits: &Limits) -> bool {
    let lines = wire.iter().filter(|octet| **octet == b'\n').count();
    wire.len() + 2 <= limits.reply_line.min(limits.reply_octets) && lines <= limits.reply_lines
}

fn one(reply: &Reply) {
    let _ = reply.enhanced_code();
    let _ = OctetOffset::from_reply_text(reply.first_line());
    assert!((100..600).contains(&reply.code().get()));
    assert_eq!(reply.compact(), *reply);
    assert_eq!(reply.is_one_line(), reply.lines().count() == 1);
    let taken = reply.clone().with_enhanced_from_text();
    assert_eq!(taken.lines().count(), reply.lines().count());
    again(reply);
    again(&taken);
}

/// Stored and loaded, written and read.
fn again(reply: &Reply) {
    let mut octets = Vec::new();
    reply.store(&mut octets);
    let mut rest = &octets[..];
    assert_eq!(Reply::load(&mut rest).as_ref(), Ok(reply));
    assert!(rest.is_empty());

    let mut wire = BytesMut::new();
    reply.encode(true, &mut wire);
    let mut wire = wire.freeze();
    let limits = Limits {
        reply_line: usize::MAX,
        reply_lines: usize::MAX,
        reply_octets: usize::MAX,
        ..Limits::default()
    };
    let read = ReplyReader::new().read(&mut wire, &limits);
    let read = read.expect("a whole reply").expect("a reply");
    assert!(wire.is_empty());
    assert_eq!(read.code(), reply.code());
    // What does not fit a line goes on in the next.
    if reply.lines().all(|line| line.len() <= 480) {
        assert_eq!(read.lines().count(), reply.lines().count());
    } else {
        assert!(read.lines().count() >= reply.lines().count());
    }
    assert_eq!(read.enhanced_code(), reply.enhanced_code());
}

/// Replies made from any octets cannot be more than one reply.
fn made(text: &[u8], choices: &mut input::Choices<'_>) {
    let code = ReplyCode::new(200 + 2 * u16::from(choices.next())).unwrap_or(ReplyCode::OK);
    let class = (code.get() / 100) as u8;
    let detail = u16::from(choices.next());
    let enhanced = EnhancedCode::new(class, 1, detail);
    again(&Reply::cleaned(code, enhanced, text));
    if let Ok(reply) = Reply::with_text(code, enhanced, text.to_vec()) {
        assert!(reply.is_one_line());
    }
    if let Ok(reply) = Reply::with_lines(code, None, text.split(|octet| *octet == b'|')) {
        again(&reply);
    }
}

fn stored(octets: &[u8]) {
    let mut rest = octets;
    match Reply::load(&mut rest) {
        Ok(reply) => {
            let mut again = Vec::new();
            reply.store(&mut again);
            assert_eq!(Reply::load(&mut &again[..]), Ok(reply));
        }
        Err(_) => assert_eq!(rest, octets),
    }
}
