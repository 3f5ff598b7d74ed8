use super::super::naive::{self, Meaning};
use super::super::scan::{BLOCK, Portable};
use super::*;
use proptest::prelude::*;
use std::string::String;

/// Decodes `inputs` one after the other, each form in its turn, and compares with the judge
/// after each.
fn check(inputs: &[&[u8]]) {
    let wire = inputs.concat();
    let meanings: Vec<Meaning> = (inputs.iter())
        .scan(0, |at, input| {
            *at += input.len();
            Some(naive::decode(&wire[..*at]))
        })
        .collect();
    for form in [by_step, by_sink, by_blocks, by_best_blocks, by_batch] {
        let (mut decoder, mut content, mut read) = (DotDecoder::new(), Vec::new(), 0);
        for (input, meaning) in inputs.iter().zip(&meanings) {
            read += form(&mut decoder, input, &mut content);
            assert_eq!(content, meaning.content, "{inputs:?}");
            assert_eq!(decoder.offset().get(), content.len() as u64);
            assert_eq!(decoder.line_start_offset().get(), meaning.line_start);
            assert_eq!(
                decoder.at_line_start(),
                meaning.line_start == content.len() as u64
            );
            assert_eq!(decoder.is_ended(), meaning.end.is_some(), "{inputs:?}");
            if let Some(end) = meaning.end {
                assert_eq!(read, end, "{inputs:?}");
            }
            // A fault is known as soon as the octet after a CR has been read.
            assert_eq!(decoder.faults(), meaning.faults, "{inputs:?}");
        }
    }
}

fn by_step(decoder: &mut DotDecoder, mut input: &[u8], content: &mut Vec<u8>) -> usize {
    let whole = input.len();
    loop {
        match decoder.decode(&mut input) {
            Decoded::Content(octets) => {
                assert!(!octets.is_empty());
                content.extend(octets);
            }
            Decoded::NeedInput => {
                assert!(input.is_empty());
                return whole;
            }
            Decoded::End => {
                assert!(decoder.is_ended());
                return whole - input.len();
            }
        }
    }
}

fn by_sink(decoder: &mut DotDecoder, mut input: &[u8], content: &mut Vec<u8>) -> usize {
    let whole = input.len();
    let status = decoder.decode_with(&mut input, |octets| {
        assert!(!octets.is_empty());
        content.extend(octets);
    });
    assert_ne!(status, DecodeStatus::BatchFull);
    assert_eq!(status == DecodeStatus::End, decoder.is_ended());
    whole - input.len()
}

/// As long inputs are decoded, however short this one is.
fn by_blocks(decoder: &mut DotDecoder, wire: &[u8], content: &mut Vec<u8>) -> usize {
    let emit = |piece: Piece<'_>| {
        content.extend(piece.octets());
        ControlFlow::Continue(())
    };
    let run = Run {
        decoder,
        wire,
        emit,
    };
    run.run(Portable)
}

/// The same with the best kernel that the machine has.
fn by_best_blocks(decoder: &mut DotDecoder, wire: &[u8], content: &mut Vec<u8>) -> usize {
    let emit = |piece: Piece<'_>| {
        content.extend(piece.octets());
        ControlFlow::Continue(())
    };
    let run = Run {
        decoder,
        wire,
        emit,
    };
    dispatch(run, usize::MAX)
}

fn by_batch(decoder: &mut DotDecoder, input: &[u8], content: &mut Vec<u8>) -> usize {
    let mut left = Bytes::copy_from_slice(input);
    for max_octets in [0, 1, 2, 3, 1, 1000].into_iter().cycle() {
        let mut out = Vec::new();
        let status = decoder.decode_batch(&mut left, &mut out, max_octets);
        let batch = out.concat();
        assert!(batch.len() <= max_octets);
        content.extend(batch);
        match status {
            DecodeStatus::BatchFull => assert!(!left.is_empty()),
            DecodeStatus::NeedInput => assert!(left.is_empty()),
            DecodeStatus::End => assert!(decoder.is_ended()),
        }
        if status != DecodeStatus::BatchFull {
            break;
        }
    }
    input.len() - left.len()
}

#[test]
fn every_string_in_every_two_pieces() {
    naive::all_strings(6, |wire| {
        for cut in 0..=wire.len() {
            let (first, second) = wire.split_at(cut);
            check(&[first, second]);
        }
    });
    naive::strings_of(7, |wire| {
        let meaning = naive::decode(wire);
        for cut in 0..=wire.len() {
            let (mut first, mut second) = wire.split_at(cut);
            let (mut at, mut decoder) = (0, DotDecoder::new());
            let mut sink = |octets: &[u8]| {
                assert_eq!(meaning.content.get(at..at + octets.len()), Some(octets));
                at += octets.len();
            };
            decoder.decode_with(&mut first, &mut sink);
            decoder.decode_with(&mut second, &mut sink);
            assert_eq!(at, meaning.content.len(), "{wire:?}");
            assert_eq!(decoder.faults(), meaning.faults, "{wire:?}");
            assert_eq!(decoder.line_start_offset().get(), meaning.line_start);
            assert_eq!(
                decoder
                    .is_ended()
                    .then(|| wire.len() - first.len() - second.len()),
                meaning.end
            );
        }
        let mut decoder = DotDecoder::starting_at(5.into());
        decoder.decode_with(&mut &wire[..], |_| {});
        assert_eq!(decoder.offset().get(), 5 + meaning.content.len() as u64);
        assert_eq!(decoder.line_start_offset().get(), 5 + meaning.line_start);
    });
    naive::strings_of(8, |wire| {
        let (mut decoder, mut content) = (DotDecoder::new(), Vec::new());
        let read = by_sink(&mut decoder, wire, &mut content);
        let meaning = naive::decode(wire);
        assert_eq!(
            (content, decoder.faults()),
            (meaning.content, meaning.faults)
        );
        assert_eq!(decoder.is_ended().then_some(read), meaning.end);
    });
}

#[test]
fn every_short_string_at_every_place_around_the_blocks() {
    let quiet = [b'x'; 300];
    naive::all_strings(3, |middle| {
        for before in [
            0, 1, 29, 30, 31, 32, 33, 61, 64, 124, 125, 126, 127, 128, 129, 130, 254,
        ] {
            for after in [0, 1, 2, 31, 63, 126, 127, 128, 129, 131, 140] {
                let wire = [&quiet[..before], b"\r\n", middle, &quiet[..after]].concat();
                check(&[&wire]);
            }
        }
    });
}

/// Each string of eight lies across the edge of the first block, at one of nine places in turn;
/// once with a whole block behind it, once with one that overlaps it.
#[test]
fn every_string_across_the_edge_of_a_block_by_each_kernel() {
    let quiet = [b'x'; 2 * BLOCK];
    let mut place = 0;
    naive::strings_of(8, |middle| {
        place = (place + 1) % 9;
        let (before, after) = (BLOCK - 7 + place, [40, BLOCK + 20][place % 2]);
        let wire = [&quiet[..before], middle, &quiet[..after]].concat();
        let meaning = naive::decode(&wire);
        for form in [by_blocks, by_best_blocks] {
            let (mut decoder, mut content) = (DotDecoder::new(), Vec::new());
            let read = form(&mut decoder, &wire, &mut content);
            assert_eq!(content, meaning.content, "{middle:?} at {before}");
            assert_eq!(decoder.faults(), meaning.faults, "{middle:?} at {before}");
            assert_eq!(decoder.line_start_offset().get(), meaning.line_start);
            assert_eq!(decoder.is_ended().then_some(read), meaning.end);
        }
    });
}

#[test]
fn a_line_start_is_announced_and_a_restart_goes_on_from_it() {
    let wire = b"a\r\n..b\r\n.c\rd\r\ne\n.\r\n\0\r\n.\r\n";
    let whole = naive::decode(wire);
    for cut in 0..wire.len() {
        let mut first = DotDecoder::new();
        let mut content = Vec::new();
        by_sink(&mut first, &wire[..cut], &mut content);
        let offset = first.line_start_offset();
        content.truncate(offset.get() as usize);
        let kept = first.faults_before(offset);

        let rest = naive::encode(&whole.content[content.len()..]);
        let mut second = DotDecoder::starting_at(offset);
        assert!(second.at_line_start());
        by_sink(&mut second, &rest, &mut content);
        assert_eq!(content, whole.content);
        assert_eq!(kept.merge(second.faults()), whole.faults);
        assert!(second.is_ended());
    }
}

/// A buffer has room for all that may be copied into it.
#[test]
fn a_withheld_cr_and_what_is_behind_it_are_one_copy() {
    let (mut decoder, mut out) = (DotDecoder::new(), Vec::new());
    let mut input = Bytes::from_static(b".\r");
    assert_eq!(
        decoder.decode_batch(&mut input, &mut out, 100),
        DecodeStatus::NeedInput
    );
    let mut input = Bytes::from_static(b"x\r\n");
    decoder.decode_batch(&mut input, &mut out, 100);
    assert_eq!(out, [&b"\rx\r\n"[..]]);
}

#[test]
fn absurd_offsets_do_not_overflow() {
    let mut decoder = DotDecoder::starting_at(u64::MAX.into());
    let mut content = Vec::new();
    by_step(&mut decoder, b"a\r.\n\0\r\n.b\r\n.\r\n", &mut content);
    assert_eq!(content, b"a\r.\n\0\r\nb\r\n");
    assert_eq!(decoder.offset().get(), u64::MAX);
    assert!(decoder.is_ended());
}

#[test]
fn a_batch_of_content_without_dots_is_one_slice() {
    let mut input = Bytes::from(b"some line\r\n".repeat(1000));
    let (start, mut out) = (input.as_ptr(), Vec::new());
    DotDecoder::new().decode_batch(&mut input, &mut out, usize::MAX);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].as_ptr(), start);
}

proptest! {
    #[test]
    fn random_wires_cut_at_random_places(
        tokens in prop::collection::vec(
            prop_oneof![
                6 => "[a-z]{1,150}".prop_map(String::into_bytes),
                6 => Just(b"\r\n".to_vec()),
                2 => Just(b"\r\n.".to_vec()),
                1 => prop::collection::vec(
                    prop::sample::select(&b"\r\n.\0a"[..]), 1..6),
                1 => prop::collection::vec(any::<u8>(), 0..20),
            ],
            0..40,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let wire = tokens.concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        cuts.extend([0, wire.len()]);
        cuts.sort();
        let inputs: Vec<_> = cuts.windows(2).map(|cut| &wire[cut[0]..cut[1]]).collect();
        check(&inputs);
    }
}

/// A buffer has room for all that may come, so that short pieces are not strewn over many.
#[test]
fn short_pieces_are_one_copy_also_behind_a_withheld_cr() {
    for withheld in [false, true] {
        let mut decoder = DotDecoder::new();
        if withheld {
            assert_eq!(decoder.decode(&mut &b".\r"[..]), Decoded::NeedInput);
        }
        let (mut input, mut out) = (Bytes::from(b"\r\n..a\r\n..b".repeat(20)), Vec::new());
        let status = decoder.decode_batch(&mut input, &mut out, 1000);
        assert_eq!(status, DecodeStatus::NeedInput);
        assert_eq!(out.len(), 1, "{withheld}");
    }
}
