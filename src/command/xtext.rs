//! xtext: any octets as printable ASCII (RFC 3461 §4), for ENVID, ORCPT and AUTH=.
//!
//! Layer 1. Checked once, kept as it came, compared decoded.
//!
//! ```
//! use smtp_checkpoint::command::XText;
//!
//! let text = XText::parse(b"a+20b").unwrap();
//! assert!(text.decoded().eq(*b"a b"));
//! assert_eq!(XText::encode(b"a+b c="), b"a+2Bb+20c+3D");
//! ```

use alloc::vec::Vec;
use core::iter::FusedIterator;

use crate::class::{XCHAR, run};
use crate::lanes::run_before;

/// A checked xtext, as it stands on the wire.
///
/// ```text
/// xtext   = *( xchar / hexchar )
/// xchar   = any ASCII CHAR from "!" to "~", except "+" and "="
/// hexchar = "+" two hexadecimal digits
/// ```
///
/// Equality compares what is meant: `a+62` equals `ab`. Hexadecimal digits in lower case are read
/// too; only upper case is written.
#[derive(Debug, Clone, Copy)]
pub struct XText<'a> {
    raw: &'a [u8],
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// What [`scan`] found.
struct Found {
    /// No octet above 127.
    is_ascii: bool,
}

/// Looks for octets that no xtext may hold; those above 127 are for the caller to judge.
fn scan(raw: &[u8]) -> Option<Found> {
    let mut is_ascii = true;
    let mut rest = raw;
    loop {
        rest = rest.get(run(XCHAR, rest)..)?;
        rest = match rest {
            [] => return Some(Found { is_ascii }),
            [b'+', high, low, rest @ ..] => {
                hex(*high)?;
                hex(*low)?;
                rest
            }
            [0x80..=u8::MAX, rest @ ..] => {
                is_ascii = false;
                rest
            }
            _ => return None,
        };
    }
}

/// Above 0 for all octets but those of the class `XCHAR`.
#[inline(always)]
fn no_xchar(octet: u8) -> u8 {
    let no_graphic = octet.wrapping_sub(b'!').saturating_sub(b'~' - b'!');
    let plus = 1u8.saturating_sub(octet ^ b'+');
    let equals = 1u8.saturating_sub(octet ^ b'=');
    no_graphic | plus | equals
}

impl<'a> XText<'a> {
    /// The xtext at the start of `octets` and what follows it, if it is ASCII, not empty and means
    /// no control character.
    #[inline(always)]
    pub(super) fn leading(octets: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut len = run_before(octets, 0, no_xchar)?;
        while let Some([b'+', high, low]) = octets.get(len..).and_then(<[u8]>::first_chunk) {
            if (hex(*high)? << 4 | hex(*low)?).is_ascii_control() {
                return None;
            }
            len += 3;
            len += run_before(octets, len, no_xchar)?;
        }
        let (raw, behind) = octets.split_at_checked(len)?;
        (len > 0 && behind.first().is_none_or(u8::is_ascii)).then_some((Self { raw }, behind))
    }

    /// Checks `raw`; `None` where it is not xtext. The empty text is xtext.
    #[must_use]
    pub fn parse(raw: &'a [u8]) -> Option<Self> {
        scan(raw)?.is_ascii.then_some(Self { raw })
    }

    /// As [`parse`](Self::parse), with the UTF-8 that RFC 6533 §3 adds to addresses of type
    /// `utf-8`.
    pub(super) fn parse_utf8(raw: &'a [u8]) -> Option<Self> {
        let is_sound = scan(raw)?.is_ascii || core::str::from_utf8(raw).is_ok();
        is_sound.then_some(Self { raw })
    }

    /// The text as it stands on the wire.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.raw
    }

    /// The octets that are meant. They may be controls: clean them before they go into a header.
    #[must_use]
    pub fn decoded(self) -> Decoded<'a> {
        Decoded {
            rest: self.raw.iter(),
        }
    }

    /// The xtext for `octets`, whatever they are.
    #[must_use]
    pub fn encode(octets: &[u8]) -> Vec<u8> {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let mut out = Vec::with_capacity(octets.len());
        for &octet in octets {
            match octet {
                b'+' | b'=' | ..=b' ' | 0x7f.. => out.extend([
                    b'+',
                    DIGITS[usize::from(octet >> 4)],
                    DIGITS[usize::from(octet & 15)],
                ]),
                _ => out.push(octet),
            }
        }
        out
    }

    /// Whether what is meant holds no control character.
    pub(super) fn is_free_of_controls(self) -> bool {
        // No control stands there as it is.
        memchr::memchr(b'+', self.raw).is_none()
            || !self.decoded().any(|octet| octet.is_ascii_control())
    }
}

impl PartialEq for XText<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.decoded().eq(other.decoded())
    }
}

impl Eq for XText<'_> {}

/// The octets that an [`XText`] means, from [`XText::decoded`].
#[derive(Debug, Clone)]
pub struct Decoded<'a> {
    rest: core::slice::Iter<'a, u8>,
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        match *self.rest.next()? {
            b'+' => {
                let high = hex(*self.rest.next()?)?;
                let low = hex(*self.rest.next()?)?;
                Some(high << 4 | low)
            }
            octet => Some(octet),
        }
    }
}

impl FusedIterator for Decoded<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_xtext() {
        for raw in [
            &b"a b"[..],
            b"a=b",
            b"a+b",
            b"+4",
            b"+",
            b"+G0",
            b"a\r\nb",
            b"\x7f",
            b"\xc3\xa9",
        ] {
            assert!(XText::parse(raw).is_none(), "{raw:?}");
        }
        assert!(XText::parse_utf8("é".as_bytes()).is_some());
        assert!(XText::parse_utf8(b"\xc3").is_none());
    }

    #[test]
    fn the_class_is_told_without_a_table() {
        for octet in 0..=u8::MAX {
            assert_eq!(no_xchar(octet) > 0, run(XCHAR, &[octet]) == 0, "{octet:#x}");
        }
    }

    #[test]
    fn xtext_at_the_start() {
        for (octets, len) in [
            (&b"a"[..], Some(1)),
            (b"bob+2Bx@b.example NOTIFY", Some(17)),
            (b"+2B+2b+FF", Some(9)),
            (b"sixteen-octets.. ", Some(16)),
            (b"a=b", Some(1)),
            (b"a+2", Some(1)),
            (b"a+2G", None),
            (b"a+0D", None),
            (b"a+7F", None),
            (b"\xc3\xa9", None),
            (b"a\xc3\xa9", None),
            (b" ", None),
            (b"", None),
        ] {
            let found = XText::leading(octets).map(|(text, behind)| (text.raw, behind));
            assert_eq!(found, len.map(|len| octets.split_at(len)), "{octets:?}");
        }
    }

    #[test]
    fn compared_decoded() {
        assert_eq!(XText::parse(b"a+62"), XText::parse(b"ab"));
        assert_eq!(XText::parse(b"+2b"), XText::parse(b"+2B"));
        assert_ne!(XText::parse(b"AB"), XText::parse(b"ab"));
        assert_ne!(XText::parse(b"ab"), XText::parse(b"abc"));
    }

    proptest! {
        #[test]
        fn round_trip(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            let raw = XText::encode(&octets);
            let text = XText::parse(&raw).unwrap();
            prop_assert!(text.decoded().eq(octets));
        }
    }
}
