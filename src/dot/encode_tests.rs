use super::super::naive;
use super::super::scan::{BLOCK, Portable};
use super::*;
use proptest::prelude::*;

type Form = fn(&mut DotEncoder, &[u8], &mut Vec<u8>) -> (usize, Result<(), EncodeError>);

fn by_sink(
    encoder: &mut DotEncoder,
    mut content: &[u8],
    wire: &mut Vec<u8>,
) -> (usize, Result<(), EncodeError>) {
    let whole = content.len();
    let result = encoder.encode_with(&mut content, |octets| {
        assert!(!octets.is_empty());
        wire.extend(octets);
    });
    (whole - content.len(), result)
}

fn by_buffer(
    encoder: &mut DotEncoder,
    mut content: &[u8],
    wire: &mut Vec<u8>,
) -> (usize, Result<(), EncodeError>) {
    let whole = content.len();
    for max_out in [0, 1, 2, 3, 4, 5, 1000].into_iter().cycle() {
        let mut out = BytesMut::new();
        let result = encoder.encode(&mut content, &mut out, max_out);
        assert!(out.len() <= max_out);
        wire.extend(out);
        match result {
            Ok(EncodeStatus::OutputFull) => assert!(!content.is_empty()),
            Ok(EncodeStatus::NeedContent) => break,
            Err(error) => return (whole - content.len(), Err(error)),
        }
    }
    (whole, Ok(()))
}

fn by_batch(
    encoder: &mut DotEncoder,
    content: &[u8],
    wire: &mut Vec<u8>,
) -> (usize, Result<(), EncodeError>) {
    let mut left = Bytes::copy_from_slice(content);
    let mut out = Vec::new();
    let result = encoder.encode_batch(&mut left, &mut out, 10_000);
    wire.extend(out.concat());
    assert!(result.is_err() || left.is_empty());
    (content.len() - left.len(), result.map(|_| ()))
}

/// As long content is encoded on this machine, however short this one is.
fn by_best_blocks(
    encoder: &mut DotEncoder,
    content: &[u8],
    wire: &mut Vec<u8>,
) -> (usize, Result<(), EncodeError>) {
    let emit = |piece: Piece<'_>| wire.extend(piece.octets());
    let run = Run {
        encoder,
        content,
        emit,
    };
    dispatch(run, usize::MAX)
}

/// As every machine encodes.
fn by_blocks(
    encoder: &mut DotEncoder,
    content: &[u8],
    wire: &mut Vec<u8>,
) -> (usize, Result<(), EncodeError>) {
    let emit = |piece: Piece<'_>| wire.extend(piece.octets());
    let run = Run {
        encoder,
        content,
        emit,
    };
    run.run(Portable)
}

const FORMS: [Form; 5] = [by_sink, by_buffer, by_batch, by_blocks, by_best_blocks];

fn kept(pieces: &[&[u8]]) {
    let content = pieces.concat();
    for form in FORMS {
        let mut encoder = DotEncoder::new().with_policy(FaultPolicy::KEEP_ALL);
        let mut wire = Vec::new();
        for piece in pieces {
            assert_eq!(form(&mut encoder, piece, &mut wire), (piece.len(), Ok(())));
        }
        let size = naive::canonical_size(&content);
        assert_eq!(encoder.canonical_len(), size);
        wire.extend(encoder.finish().unwrap());
        assert_eq!(wire, naive::encode(&content), "{pieces:?}");
        assert_eq!(
            (encoder.offset().get(), encoder.canonical_len()),
            (size, size)
        );
        assert_eq!(encoder.finish(), Err(EncodeError::Finished));
    }
}

fn refused(pieces: &[&[u8]], policy: FaultPolicy) {
    let content = pieces.concat();
    let fault = naive::faults_of(&content, true).refused_by(policy);
    for form in FORMS {
        let mut encoder = DotEncoder::new().with_policy(policy);
        let (mut wire, mut result) = (Vec::new(), Ok(()));
        for piece in pieces {
            result = result.and_then(|()| form(&mut encoder, piece, &mut wire).1);
        }
        let result = result.and_then(|()| encoder.finish().map(|end| wire.extend(end)));
        assert_eq!(
            result,
            fault.map_or(Ok(()), |fault| Err(fault.into())),
            "{pieces:?}"
        );
        let Some(fault) = fault else {
            assert_eq!(wire, naive::encode(&content));
            continue;
        };
        // All before the fault is out, nothing from it on, and nothing ever will be.
        assert_eq!(encoder.offset(), fault.at);
        let before = naive::encode(&content[..fault.at.get() as usize]);
        assert!(before.starts_with(&wire), "{pieces:?}");
        let decoded = naive::decode(&wire).content.len() as u64;
        // A doubled dot may be out whose second half is what the decoder waits for.
        assert!(decoded == fault.at.get(), "{pieces:?} {wire:?}");
        assert_eq!(form(&mut encoder, b"x", &mut wire), (0, result));
        assert_eq!(encoder.finish().map(|_| ()), result);
    }
}

#[test]
fn every_string_in_every_two_pieces() {
    naive::all_strings(6, |content| {
        for cut in 0..=content.len() {
            let (first, second) = content.split_at(cut);
            kept(&[first, second]);
            refused(&[first, second], FaultPolicy::REFUSE_ALL);
        }
        refused(&[content], FaultPolicy::KEEP_NUL);
    });
}

/// As in the tests of the decoder.
#[test]
fn every_string_across_the_edge_of_a_block_by_each_kernel() {
    let quiet = [b'x'; 2 * BLOCK];
    let mut place = 0;
    naive::strings_of(8, |middle| {
        place = (place + 1) % 9;
        let (before, after) = (BLOCK - 7 + place, [40, BLOCK + 20][place % 2]);
        let content = [&quiet[..before], middle, &quiet[..after]].concat();
        let expected = naive::encode(&content);
        let fault = naive::faults_of(&content, true).refused_by(FaultPolicy::REFUSE_ALL);
        for form in [by_blocks, by_best_blocks] {
            let mut encoder = DotEncoder::new().with_policy(FaultPolicy::KEEP_ALL);
            let mut wire = Vec::new();
            assert_eq!(form(&mut encoder, &content, &mut wire).1, Ok(()));
            wire.extend(encoder.finish().unwrap());
            assert_eq!(wire, expected, "{middle:?} at {before}");

            wire.clear();
            let refused = form(&mut DotEncoder::new(), &content, &mut wire).1;
            assert_eq!(
                refused.err(),
                fault.map(EncodeError::from),
                "{middle:?} at {before}"
            );
            assert!(expected.starts_with(&wire), "{middle:?} at {before}");
        }
    });
    naive::all_strings(4, |middle| {
        for before in BLOCK - 5..BLOCK + 4 {
            let content = [&quiet[..before], middle, &quiet[..40]].concat();
            kept(&[&content]);
            refused(&[&content], FaultPolicy::REFUSE_ALL);
        }
    });
}

proptest! {
    #[test]
    fn random_content_cut_at_random_places(
        lines in prop::collection::vec(
            prop_oneof!["[a-z]{1,150}", "\\.{0,3}", "\r\n", "\r\n\\.", "[\r\n.\0]{1,4}"],
            0..40,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let content = lines.concat().into_bytes();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(content.len() + 1)).collect();
        cuts.extend([0, content.len()]);
        cuts.sort();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &content[cut[0]..cut[1]]).collect();
        kept(&pieces);
        refused(&pieces, FaultPolicy::REFUSE_ALL);
    }
}

#[test]
fn whether_a_line_begins() {
    for (content, begins) in [
        (&b""[..], true),
        (b"a", false),
        (b"a\r", false),
        (b"a\r\n", true),
        (b"a\r\n.", false),
    ] {
        let mut encoder = DotEncoder::new();
        encoder.encode_with(&mut &content[..], |_| ()).unwrap();
        assert_eq!(encoder.at_line_start(), begins, "{content:?}");
    }
}

/// Two octets are room for a doubled dot, one is room for nothing.
#[test]
fn the_least_room_that_something_is_taken_for() {
    for (room, wire, left) in [
        (1, &b""[..], 2),
        (2, b"..", 1),
        (3, b"..", 1),
        (4, b"..a", 0),
    ] {
        let (mut content, mut out) = (&b".a"[..], BytesMut::new());
        let _ = DotEncoder::new().encode(&mut content, &mut out, room);
        assert_eq!((&out[..], content.len()), (wire, left), "{room}");
    }
}
