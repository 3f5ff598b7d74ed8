//! Two dotted words around an "@", as mailboxes and TRANSIDs are made, found sixteen octets at a time.
//!
//! Layer 0, private. What is found is sound; where nothing is, whoever asked looks closer and tells
//! what is wrong, if anything is.
//!
//! ```
//! use smtp_checkpoint::command::Mailbox;
//!
//! assert_eq!(Mailbox::parse(b"a.b@c.d").map(|mailbox| mailbox.len()), Ok(7));
//! ```

use crate::class::is_in;
use crate::lanes::{LANES, marks, sixteen};

/// Where the "@" stands, and octets up to the end of what stands behind it: before the first octet
/// that is not of the class `domain`. `None` for all that is not ASCII or not well-formed, and for
/// what is rare: two octets side by side that are neither letters nor digits.
///
/// Letters and digits belong to both classes, "." and "@" to none.
#[inline(always)]
pub(crate) fn dotted(local: u8, domain: u8, octets: &[u8]) -> Option<(usize, usize)> {
    let (mut at, mut class) = (None, local);
    // Something has to stand before the first dot, too.
    let mut last = 1;
    let mut base = 0;
    loop {
        let others = marks(&sixteen(octets, base)?, other);
        let pairs = others & (others << 1 | last);
        // What stands behind the first pair is not looked at.
        let mut marks = others & pairs.wrapping_sub(1) & !pairs;
        while marks != 0 {
            let place = base + marks.trailing_zeros() as usize;
            marks &= marks - 1;
            let octet = octets.get(place).copied().unwrap_or_default();
            if octet == b'.' || (octet < 0x80 && is_in(class, octet)) {
                continue;
            }
            match at {
                None if octet == b'@' => at = Some(place),
                None => return None,
                Some(at) if octet < 0x80 => return Some((at, place)),
                Some(_) => return None,
            }
            class = domain;
        }
        if pairs != 0 {
            return None;
        }
        last = others >> (LANES - 1);
        base += LANES;
    }
}

/// Above 0 for all octets but letters and digits.
#[inline(always)]
fn other(octet: u8) -> u8 {
    let no_letter = (octet | 0x20).wrapping_sub(b'a').saturating_sub(25);
    let no_digit = octet.wrapping_sub(b'0').saturating_sub(9);
    no_letter.min(no_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::{ATEXT, LABEL, TRANSID_ATOM};

    #[test]
    fn letters_and_digits_are_told_from_all_others() {
        for octet in 0..=u8::MAX {
            assert_eq!(
                other(octet) > 0,
                !octet.is_ascii_alphanumeric(),
                "{octet:#x}"
            );
        }
    }

    #[test]
    fn what_is_found_and_where_it_ends() {
        for (octets, found) in [
            (&b"a@b"[..], Some((1, 3))),
            (b"a.b-c@d.e-f> SIZE", Some((5, 11))),
            (b"a@b..c", None),
            (b"a@b>>", Some((1, 3))),
            (b"aaaaaa@aaaaaaa-", None),
            (b"aaaaaa@aaaaaaaa-", None),
            (b"aaaaaaa@", None),
            (b"aaaaaaaa@b", Some((8, 10))),
            (b"aaaaaaa@-b", None),
            (b"alice.smith@mail.example.com>", Some((11, 28))),
            (b"abcdefg@hijklmno", Some((7, 16))),
            (b"a@b@c", Some((1, 3))),
            (b"a@b_c+d", Some((1, 5))),
            (b"", None),
            (b"a", None),
            (b"a>", None),
            (b"@b", None),
            (b"a@", None),
            (b".a@b", None),
            (b"a.@b", None),
            (b"a..b@c", None),
            (b"a@b..c", None),
            (b"a@b.", None),
            (b"a@-b", None),
            (b"a@b-", None),
            (b"a@b-.c", None),
            (b"a@b.-c", None),
            (b"\xc3\xa9@b", None),
            (b"a@\xc3\xa9", None),
            (b"a\0@b", None),
        ] {
            assert_eq!(
                dotted(ATEXT, LABEL, octets),
                found,
                "{}",
                octets.escape_ascii()
            );
        }
        assert_eq!(dotted(TRANSID_ATOM, TRANSID_ATOM, b"a-c@b>"), Some((3, 5)));
        assert_eq!(dotted(TRANSID_ATOM, TRANSID_ATOM, b"a=@b>"), None);
    }
}
