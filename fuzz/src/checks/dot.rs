//! The dot codec: against a naive one, however it is split, there and back, and restarted.

use bytes::{Bytes, BytesMut};
use smtp_checkpoint::dot::{
    ContentChecker, DecodeStatus, Decoded, DotDecoder, DotEncoder, FaultKind, FaultPolicy, Faults,
    canonical_size,
};
use smtp_checkpoint::offset::OctetOffset;

use super::input::{self, Choices};

pub fn check(data: &[u8]) {
    let (octets, mut choices) = input::parse(data);
    decode(octets, &mut choices);
    encode(octets, &mut choices);
}

/// What a wire means: content, and how many octets up to the end of the data where it came.
#[derive(Debug, PartialEq)]
struct Meaning {
    content: Vec<u8>,
    end: Option<usize>,
    faults: Faults,
    line_start: u64,
}

/// The rules written down with no thought of speed: line by line, a line ends with CRLF.
fn naive(wire: &[u8]) -> Meaning {
    let mut meaning = Meaning {
        content: Vec::new(),
        end: None,
        faults: Faults::default(),
        line_start: 0,
    };
    let mut rest = wire;
    loop {
        if rest.starts_with(b".\r\n") {
            meaning.end = Some(wire.len() - rest.len() + 3);
            break;
        }
        if matches!(rest, b"" | b"." | b".\r") {
            break;
        }
        let crlf = rest.windows(2).position(|pair| pair == b"\r\n");
        let (line, later) = rest.split_at(crlf.map_or(rest.len(), |at| at + 2));
        meaning
            .content
            .extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        if crlf.is_none() {
            break;
        }
        meaning.line_start = meaning.content.len() as u64;
        rest = later;
    }
    meaning.faults = faults_of(&meaning.content, false);
    meaning
}

fn faults_of(content: &[u8], whole: bool) -> Faults {
    let mut faults = Faults::default();
    for (at, octet) in content.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| content[at]);
        let after = content.get(at + 1);
        let kind = match octet {
            0 => FaultKind::Nul,
            b'\r' if after != Some(&b'\n') && (after.is_some() || whole) => FaultKind::BareCr,
            b'\n' if before != Some(b'\r') => FaultKind::BareLf,
            _ => continue,
        };
        faults.record(kind, (at as u64).into());
    }
    faults
}

fn decode(wire: &[u8], choices: &mut Choices<'_>) {
    let expected = naive(wire);
    let pieces = choices.pieces(wire);
    for pieces in [vec![wire], input::octets(wire), pieces] {
        let mut decoder = DotDecoder::new();
        let mut content = Vec::new();
        let mut read = 0;
        let mut starts = vec![0];
        for piece in pieces {
            let mut rest = piece;
            while !rest.is_empty() && !decoder.is_ended() {
                let before = (decoder.offset(), decoder.line_start_offset(), rest.len());
                step(&mut decoder, &mut rest, &mut content, choices);
                assert_eq!(decoder.offset().get(), content.len() as u64);
                assert!(decoder.offset() >= before.0 && decoder.line_start_offset() >= before.1);
                assert!(decoder.line_start_offset() <= decoder.offset());
                // Never more is handed out than came.
                let came = read + piece.len() - rest.len();
                assert!(content.len() <= came);
                if decoder.line_start_offset() > before.1 {
                    starts.push(decoder.line_start_offset().get() as usize);
                }
            }
            read += piece.len() - rest.len();
        }
        let got = Meaning {
            end: decoder.is_ended().then_some(read),
            faults: decoder.faults(),
            line_start: decoder.line_start_offset().get(),
            content,
        };
        assert_eq!(got, expected);
        assert_eq!(decoder.faults_before(OctetOffset::ZERO), Faults::default());
        // The last ones will do: each costs a pass over the whole.
        for start in starts.into_iter().rev().take(3) {
            restart_decoder(&got.content, start, expected.end.is_some());
        }
    }

    let mut checker = ContentChecker::new();
    for piece in choices.pieces(wire) {
        checker.check(piece);
    }
    assert_eq!(checker.faults(), faults_of(wire, false));
    assert_eq!(checker.finish(), faults_of(wire, true));
    assert_eq!(checker.offset().get(), wire.len() as u64);
}

/// One call of one of the three forms.
fn step(
    decoder: &mut DotDecoder,
    rest: &mut &[u8],
    content: &mut Vec<u8>,
    choices: &mut Choices<'_>,
) {
    match choices.below(3) {
        0 => {
            decoder.decode_with(rest, |octets| content.extend_from_slice(octets));
        }
        1 => {
            if let Decoded::Content(octets) = decoder.decode(rest) {
                assert!(!octets.is_empty());
                content.extend_from_slice(octets);
            }
        }
        _ => {
            let mut input = Bytes::copy_from_slice(rest);
            let mut out = Vec::new();
            let bound = 1 + usize::from(choices.next());
            let status = decoder.decode_batch(&mut input, &mut out, bound);
            let octets = out.concat();
            assert!(octets.len() <= bound);
            assert_eq!(
                status == DecodeStatus::BatchFull,
                !input.is_empty() && !decoder.is_ended()
            );
            content.extend_from_slice(&octets);
            *rest = &rest[rest.len() - input.len()..];
        }
    }
}

/// What was announced at a line start is where a new decoder goes on, and both give the whole.
fn restart_decoder(content: &[u8], start: usize, ended: bool) {
    let (stored, left) = content.split_at(start);
    assert!(stored.is_empty() || stored.ends_with(b"\r\n"));
    let before = &stored[stored.len().saturating_sub(2)..];
    let offset = OctetOffset::from(start as u64);
    let encoder = DotEncoder::resume(offset, before, left.first().copied());
    let mut encoder = encoder
        .expect("a line start")
        .with_policy(FaultPolicy::KEEP_ALL);
    let mut wire = Vec::new();
    encoder
        .encode_with(&mut &left[..], |octets| wire.extend_from_slice(octets))
        .expect("everything is kept");
    wire.extend_from_slice(encoder.finish().expect("everything is kept"));
    let mut decoder = DotDecoder::starting_at(offset);
    let mut whole = stored.to_vec();
    let status = decoder.decode_with(&mut &wire[..], |octets| whole.extend_from_slice(octets));
    assert_eq!(status, DecodeStatus::End);
    let (head, added) = whole.split_at(content.len());
    assert_eq!(head, content);
    assert!(added.is_empty() || (added == b"\r\n" && !ended));
    assert_eq!(decoder.offset().get(), whole.len() as u64);
}

fn encode(content: &[u8], choices: &mut Choices<'_>) {
    let mut encoder = DotEncoder::new().with_policy(FaultPolicy::KEEP_ALL);
    let mut wire = BytesMut::new();
    for piece in choices.pieces(content) {
        let mut rest = piece;
        while !rest.is_empty() {
            if choices.below(2) == 0 {
                encoder
                    .encode_with(&mut rest, |octets| wire.extend_from_slice(octets))
                    .expect("everything is kept");
            } else {
                let room = 2 + usize::from(choices.next());
                let before = wire.len();
                encoder
                    .encode(&mut rest, &mut wire, room)
                    .expect("everything is kept");
                assert!(wire.len() - before <= room);
            }
        }
    }
    let size = encoder.canonical_len();
    wire.extend_from_slice(encoder.finish().expect("everything is kept"));
    assert_eq!(encoder.offset().get(), size);
    assert_eq!(canonical_size(content), size);

    let meaning = naive(&wire);
    assert_eq!(meaning.end, Some(wire.len()));
    let (head, added) = meaning.content.split_at(content.len());
    assert_eq!(head, content);
    assert!(added.is_empty() || added == b"\r\n");
    assert_eq!(meaning.content.len() as u64, size);

    // A strict encoder refuses exactly the faults, at the first of them.
    let mut strict = DotEncoder::new();
    let mut rest = content;
    let refused = strict
        .encode_with(&mut rest, |_| {})
        .and_then(|()| strict.finish().map(|_| ()));
    assert_eq!(
        refused.is_err(),
        !faults_of(content, true).is_empty(),
        "{refused:?}"
    );
}
