use super::*;
use std::vec;

/// The naive twin: for every canonical offset, from 0 to the end and with it, the octet stored
/// there and whether a CR is before it in the message.
fn places(stored: &[u8]) -> Vec<Place> {
    let (mut places, mut message) = (Vec::new(), Vec::new());
    for (at, octet) in stored.iter().enumerate() {
        if *octet == LF && (at == 0 || stored[at - 1] != CR) {
            let after_cr = message.last() == Some(&CR);
            places.push(place(at, after_cr));
            message.push(CR);
        }
        places.push(place(at, message.last() == Some(&CR)));
        message.push(*octet);
    }
    places.push(place(stored.len(), message.last() == Some(&CR)));
    places
}

fn place(at: usize, after_cr: bool) -> Place {
    Place {
        stored: at as u64,
        after_cr,
    }
}

/// The message: what the rule makes of storage.
fn message(stored: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    for octet in stored {
        if *octet == LF && message.last() != Some(&CR) {
            message.push(CR);
        }
        message.push(*octet);
    }
    message
}

fn index(stored: &[u8], block: u32, piece: usize) -> CanonicalIndex {
    let mut builder = IndexBuilder::with_block(block);
    for piece in stored.chunks(piece) {
        builder.update(piece);
    }
    assert_eq!(builder.stored_length(), stored.len() as u64);
    let length = builder.canonical_length();
    let index = builder.finish();
    assert_eq!(index.canonical_length(), length);
    index
}

fn read(stored: &[u8], window: &Window) -> Vec<u8> {
    let range = window.range();
    stored[range.start as usize..range.end as usize].to_vec()
}

fn seek(index: &CanonicalIndex, stored: &[u8], offset: u64) -> Result<Place, SeekError> {
    let window = index.look_up(offset.into())?;
    assert!(window.range().end - window.range().start <= 64 * 1024);
    window.find(&read(stored, &window))
}

/// Everything that has to hold for a stored message.
fn check(stored: &[u8], block: u32, piece: usize) {
    let index = index(stored, block, piece);
    let places = places(stored);
    assert_eq!(index.canonical_length().get(), places.len() as u64 - 1);
    for (offset, place) in places.iter().enumerate() {
        let found = seek(&index, stored, offset as u64);
        assert_eq!(
            found,
            Ok(*place),
            "{} at {offset}, blocks of {block}",
            stored.escape_ascii()
        );
    }
    let beyond = OctetOffset::new(places.len() as u64);
    assert_eq!(index.look_up(beyond), Err(SeekError::BeyondEnd));
    assert_eq!(index.is_identity(), message(stored) == stored);
    assert_eq!(CanonicalIndex::decode(&index.encode()), Ok(index));
}

/// All strings over an alphabet that holds every octet that matters, up to a length.
fn all_strings(longest: u32, mut check: impl FnMut(&[u8])) {
    const ALPHABET: [u8; 4] = [CR, LF, b'.', b'a'];
    for length in 0..=longest {
        for number in 0..4_usize.pow(length) {
            let octet = |place| ALPHABET[number >> (2 * place) & 3];
            check(&(0..length).map(octet).collect::<Vec<_>>());
        }
    }
}

/// A stream of numbers that is the same at every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    fn octets(&mut self, length: usize, alphabet: &[u8]) -> Vec<u8> {
        (0..length)
            .map(|_| alphabet[self.next(alphabet.len())])
            .collect()
    }
}

#[test]
fn every_string_at_every_offset() {
    all_strings(6, |stored| {
        for block in 1..=4 {
            for piece in [1, 3, 16] {
                check(stored, block, piece);
            }
        }
    });
}

#[test]
fn longer_messages_of_several_groups() {
    let mut numbers = Numbers(7);
    for round in 0..60 {
        let alphabet: &[u8] =
            [&b"\n"[..], b"a\n", b"\r\n", b"\r\na.", b"aaaaaaaaaaaaa\n"][round % 5];
        let length = numbers.next(1500);
        let stored = numbers.octets(length, alphabet);
        let block = [1, 2, 5, 64, 200, 65_535][numbers.next(6)];
        check(&stored, block, 1 + numbers.next(300));
    }
}

#[test]
fn messages_larger_than_a_block() {
    let mut numbers = Numbers(99);
    for alphabet in [
        &b"\n"[..],
        b"ab\n",
        b"\r\n",
        b"0123456789abcdef\n",
        b"\r\na",
        b"a",
    ] {
        let stored = numbers.octets(3 * BLOCK as usize + 1234, alphabet);
        let index = index(&stored, BLOCK, 4096);
        let places = places(&stored);
        for around in [0, 1, 2, 3].map(|block| block * BLOCK as usize) {
            // Near the bounds of blocks, in storage as in the message.
            let stored_there = places.partition_point(|place| place.stored() < around as u64);
            for middle in [around, stored_there] {
                let near = places.iter().enumerate().skip(middle.saturating_sub(9));
                for (offset, place) in near.take(18) {
                    assert_eq!(seek(&index, &stored, offset as u64), Ok(*place));
                }
            }
        }
        for _ in 0..300 {
            let offset = numbers.next(places.len());
            assert_eq!(seek(&index, &stored, offset as u64), Ok(places[offset]));
        }
        let size = index.encode().len();
        assert!(size <= 24 + stored.len() / 5000, "{size}");
    }
}

#[test]
fn what_is_read_on_from_a_place_is_the_rest_of_the_message() {
    let rest = |stored: &[u8], room: usize, place: Place| {
        let mut stored = &stored[place.stored() as usize..];
        let (mut form, mut out, mut buffer) =
            (CanonicalForm::starting_at(place), vec![], vec![0; room]);
        loop {
            match form.convert(&mut stored, &mut buffer) {
                0 => return (out, form.is_after_crlf()),
                octets => out.extend_from_slice(&buffer[..octets]),
            }
        }
    };
    all_strings(5, |stored| {
        let message = message(stored);
        for (offset, place) in places(stored).into_iter().enumerate() {
            for room in 1..4 {
                let (out, after_crlf) = rest(stored, room, place);
                assert_eq!(out, &message[offset..], "{}", stored.escape_ascii());
                let ends = offset < message.len() && message.ends_with(b"\r\n");
                assert_eq!(after_crlf, ends, "{}", stored.escape_ascii());
            }
        }
    });
}

/// The sender that has no CR before it: the octets of a block boundary.
#[test]
fn a_line_end_that_two_blocks_share() {
    for stored in [&b"aaa\r\nb"[..], b"aaaa\nb", b"aaa\n\nb", b"aaa\r\rb"] {
        check(stored, 4, 4);
    }
}

#[test]
fn storage_of_crlf_keeps_no_counts() {
    let stored = b"a line\r\n".repeat(100_000);
    let index = index(&stored, BLOCK, 8192);
    assert!(index.is_identity());
    assert_eq!(index.encode().len(), 24);
    assert_eq!(seek(&index, &stored, 799_999), Ok(place(799_999, true)));
}

#[test]
fn another_message_is_noticed_where_its_lines_differ() {
    let stored = b"one\ntwo\nthree\n".repeat(10);
    let index = index(&stored, 64, 64);
    let window = index.look_up(OctetOffset::new(100)).unwrap();
    let mut octets = read(&stored, &window);
    assert!(window.find(&octets).is_ok());
    let shorter = &octets[1..];
    assert_eq!(window.find(shorter), Err(SeekError::WrongOctets));
    let line_end = octets.iter().rposition(|octet| *octet == LF).unwrap();
    octets[line_end] = b' ';
    assert_eq!(window.find(&octets), Err(SeekError::Changed));
    assert_eq!(window.find(&[]), Err(SeekError::WrongOctets));
}

#[test]
fn damage_is_told_and_never_panics() {
    let octets = index(&b"a line\n".repeat(500), 64, 64).encode();
    for cut in 0..octets.len() {
        assert!(CanonicalIndex::decode(&octets[..cut]).is_err());
    }
    for at in 0..octets.len() {
        for bit in 0..8 {
            let mut damaged = octets.clone();
            damaged[at] ^= 1 << bit;
            assert!(CanonicalIndex::decode(&damaged).is_err());
        }
    }
}

fn encoded(block: u32, stored: u64, counts: &[u16]) -> Vec<u8> {
    let mut writer = Writer::new(KIND, VERSION);
    writer.u32(block).u64(stored);
    for count in counts {
        writer.raw().extend_from_slice(&count.to_be_bytes());
    }
    writer.finish_long()
}

/// Whole, with a right checksum, and not what an encoder writes.
#[test]
fn counts_that_cannot_be_are_damage() {
    for (block, stored, counts) in [
        (0, 1, &[][..]),
        (65_536, 1, &[]),
        (u32::MAX, 1, &[]),
        (4, 0, &[1]),
        (4, 8, &[1, 5]),
        (4, 8, &[5, 1]),
        (4, 7, &[1, 4]),
        (4, 8, &[1, 0]),
        (4, 8, &[1, 1, 1]),
        (1, u64::MAX, &[1]),
    ] {
        assert_eq!(
            CanonicalIndex::decode(&encoded(block, stored, counts)),
            Err(DecodeError::Damaged),
            "{block} {stored} {counts:?}"
        );
    }
    let mut odd = Writer::new(KIND, VERSION);
    odd.u32(4).u64(8).u8(1);
    let odd = CanonicalIndex::decode(&odd.finish_long());
    assert_eq!(odd, Err(DecodeError::Damaged));
}

/// Any index that decodes answers every offset, or says that it cannot, whatever the storage is.
#[test]
fn whatever_is_decoded_looks_up_without_harm() {
    let mut numbers = Numbers(3);
    let lengths = [0, 1, 5, 64, 1 << 40, u64::MAX >> 1, u64::MAX];
    let mut decoded = 0;
    for _ in 0..2_000 {
        let block = [1, 2, 64, 32_768, 65_535][numbers.next(5)];
        let stored = lengths[numbers.next(lengths.len())];
        let many = numbers.next(4) * numbers.next(4) * numbers.next(100);
        let counts: Vec<u16> = (0..many).map(|_| numbers.next(3) as u16).collect();
        let Ok(index) = CanonicalIndex::decode(&encoded(block, stored, &counts)) else {
            continue;
        };
        decoded += 1;
        let end = index.canonical_length().get();
        for offset in [
            0,
            1,
            end / 2,
            end.saturating_sub(1),
            end,
            numbers.0 % (end | 1),
        ] {
            let window = index.look_up(offset.min(end).into()).unwrap();
            let octets = window.range().end - window.range().start;
            assert!(octets <= 65_536 && window.range().end <= stored);
            let length = octets as usize;
            for stored in [vec![b'a'; length], vec![LF; length], vec![CR; length]] {
                if let Ok(place) = window.find(&stored) {
                    assert!(window.range().start <= place.stored());
                    assert!(place.stored() <= window.range().end);
                }
            }
        }
    }
    assert!(decoded > 100, "{decoded}");
}

#[test]
fn the_index_of_a_gibibyte_is_small() {
    // Every octet is a line: as many counts as there can be.
    let mut builder = IndexBuilder::new();
    let lines = vec![LF; 1 << 20];
    for _ in 0..64 {
        builder.update(&lines);
    }
    let octets = builder.finish().encode().len();
    assert!(octets * 5000 <= 64 << 20, "{octets}");
}
