//! Verbs, keywords and other fixed words, compared in any case with a few numbers.
//!
//! Layer 0, private.
//!
//! ```
//! use smtp_checkpoint::command::Command;
//!
//! assert!(matches!(Command::parse(b"sTaRtTlS"), Ok(Command::StartTls)));
//! ```

/// A word of up to 16 octets, without regard to case.
///
/// The numbers are overlapping pieces of it, which tell it apart together with its length: what is
/// compared is never a loop over octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    len: usize,
    first: u64,
    last: u64,
}

/// All bits but the one in which the two cases of a letter differ.
///
/// In a word of letters, digits and "-" no other octet becomes the same as one of them, controls
/// aside ("8" becomes 0x18, "-" CR).
pub(crate) const CASELESS: u64 = u64::from_ne_bytes([!0x20; 8]);

/// Up to eight octets as a little-endian number without regard to case, with zeros behind the last:
/// what is read together with what follows it, and masked, is compared with it.
pub(crate) const fn caseless(octets: &[u8]) -> u64 {
    let (mut number, mut left) = (0, octets.len());
    while left > 0 {
        left -= 1;
        number = number << 8 | octets[left] as u64;
    }
    number & CASELESS
}

impl Word {
    /// `octets` as a word. Equal to a fixed word of letters only where it is that word in any case,
    /// and to one with digits or "-" too, if `octets` holds no controls. All that is longer than 16
    /// octets is equal, to no fixed word.
    #[inline(always)]
    pub(crate) const fn new(octets: &[u8]) -> Self {
        let (first, last) = match octets.len() {
            8..=16 => match (octets.first_chunk(), octets.last_chunk()) {
                (Some(first), Some(last)) => {
                    (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
                }
                _ => (0, 0),
            },
            4..=7 => match (octets.first_chunk(), octets.last_chunk()) {
                (Some(first), Some(last)) => (
                    u32::from_le_bytes(*first) as u64,
                    u32::from_le_bytes(*last) as u64,
                ),
                _ => (0, 0),
            },
            _ => match *octets {
                [a] => (a as u64, 0),
                [a, b] => (u64::from_le_bytes([a, b, 0, 0, 0, 0, 0, 0]), 0),
                [a, b, c] => (u64::from_le_bytes([a, b, c, 0, 0, 0, 0, 0]), 0),
                _ => (0, 0),
            },
        };
        let len = if octets.len() > 16 { 0 } else { octets.len() };
        Self {
            len,
            first: first & CASELESS,
            last: last & CASELESS,
        }
    }

    /// Octets of the word; 0 where it is longer than 16.
    pub(crate) const fn len(self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const WORDS: [&[u8]; 10] = [
        b"NO",
        b"DSN",
        b"SIZE",
        b"ENVID",
        b"NOTIFY",
        b"TRANSID",
        b"8BITMIME",
        b"CHECKPOINT",
        b"A-LONGER-WORD",
        b"SIXTEEN-OF-THEM-",
    ];

    #[test]
    fn any_other_octet_at_any_place_makes_it_another_word() {
        for word in WORDS {
            for at in 0..word.len() {
                for octet in b' '..=u8::MAX {
                    let mut other = word.to_vec();
                    other[at] = octet;
                    let same = other.eq_ignore_ascii_case(word);
                    assert_eq!(Word::new(&other) == Word::new(word), same, "{other:?}");
                }
            }
        }
    }

    #[test]
    fn letters_are_not_taken_for_controls_either() {
        for octet in 0..=u8::MAX {
            let same = octet.eq_ignore_ascii_case(&b'S');
            assert_eq!(Word::new(&[octet, b'I']) == Word::new(b"SI"), same);
        }
    }

    #[test]
    fn lengths_are_told_apart() {
        for len in 0..40 {
            let word = std::vec![b'A'; len];
            for other in 0..40 {
                let same = Word::new(&std::vec![b'a'; other]) == Word::new(&word);
                let none = |len| len == 0 || len > 16;
                assert_eq!(same, len == other || none(len) && none(other));
            }
        }
    }

    proptest! {
        #[test]
        fn words_are_equal_as_their_octets_are(
            one in prop::collection::vec(prop::sample::select(&b"aAbB0-"[..]), 0..=16),
            swap in any::<u16>(),
        ) {
            // Other cases, or another octet.
            let other: Vec<u8> = (one.iter().enumerate())
                .map(|(at, octet)| match swap >> at & 1 {
                    1 if octet.is_ascii_alphabetic() => octet ^ 0x20,
                    _ => *octet,
                })
                .collect();
            prop_assert_eq!(Word::new(&one), Word::new(&other));
        }
    }
}
