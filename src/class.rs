//! Octet classes of the parsers in one table: one look-up an octet instead of a chain of comparisons.
//!
//! Layer 0, private. What belongs to a class is said in [`crate::syntax`]; what is read beyond that
//! is said here.
//!
//! ```
//! use smtp_checkpoint::command::Mailbox;
//!
//! assert!(Mailbox::parse(b"a!b@c_d").is_ok());
//! assert!(Mailbox::parse(b"a(b@c-d").is_err());
//! ```

use crate::syntax::{is_atext, is_esmtp_value, is_keyword, is_transid_atom};

/// Atoms of a local part, with octets above 127 (RFC 6531 §3.3).
pub(crate) const ATEXT: u8 = 1;
/// Domain labels, the "-" that may not stand at their ends included. With octets above 127 and "_",
/// which is no letter of RFC 5321 §4.1.2 but stands in domains that do get mail.
pub(crate) const LABEL: u8 = 2;
/// Keywords of parameters and of EHLO replies.
pub(crate) const KEYWORD: u8 = 4;
/// Values of parameters, and "=", which is for each parameter's own rule: TRANSID with TRANSOFF may
/// hold it.
pub(crate) const VALUE: u8 = 8;
/// `xchar` of RFC 3461 §4.
pub(crate) const XCHAR: u8 = 16;
/// The address type of ORCPT: an atom that is xtext too (RFC 3461 §4.2).
pub(crate) const ADDR_TYPE: u8 = 32;
/// Atoms of a TRANSID (RFC 1845 §2 (4)).
pub(crate) const TRANSID_ATOM: u8 = 64;

static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let value = octet as u8;
        if is_atext(value) || value >= 0x80 {
            table[octet] |= ATEXT;
        }
        if value.is_ascii_alphanumeric() || value >= 0x80 || matches!(value, b'_' | b'-') {
            table[octet] |= LABEL;
        }
        if is_keyword(value) {
            table[octet] |= KEYWORD;
        }
        if is_esmtp_value(value) || value == b'=' {
            table[octet] |= VALUE;
        }
        if value.is_ascii_graphic() && value != b'+' && value != b'=' {
            table[octet] |= XCHAR;
        }
        if is_atext(value) && value != b'+' && value != b'=' {
            table[octet] |= ADDR_TYPE;
        }
        if is_transid_atom(value) {
            table[octet] |= TRANSID_ATOM;
        }
        octet += 1;
    }
    table
};

#[inline(always)]
pub(crate) fn is_in(class: u8, octet: u8) -> bool {
    CLASS[usize::from(octet)] & class != 0
}

/// How many octets of `class` stand at the start of `octets`.
///
/// A loop over an index, and not `position`: compilers keep less in registers, and it is the loop
/// that all parsers spend their time in.
#[inline(always)]
pub(crate) fn run(class: u8, octets: &[u8]) -> usize {
    run_where(octets, |octet| is_in(class, octet))
}

/// How many octets that are `wanted` stand at the start of `octets`.
#[inline(always)]
pub(crate) fn run_where(octets: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    let mut len = 0;
    while let Some(octet) = octets.get(len) {
        if !wanted(*octet) {
            break;
        }
        len += 1;
    }
    len
}

/// The same octet eight times.
pub(crate) const fn each(octet: u8) -> u64 {
    u64::from_le_bytes([octet; 8])
}

/// The first eight octets as a number, with zeros behind the last.
#[inline(always)]
pub(crate) fn eight(octets: &[u8]) -> u64 {
    #[inline(never)]
    fn few(octets: &[u8]) -> u64 {
        (octets.iter().rev()).fold(0, |number, octet| number << 8 | u64::from(*octet))
    }
    match octets.first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => few(octets),
    }
}

/// The top bit of the first of eight octets that is below `bound`, which is 128 at most; bits behind
/// it mean nothing.
///
/// What an octet lacks is borrowed, which sets its top bit where it was clear, and may spoil those
/// behind it.
#[inline(always)]
pub(crate) const fn first_below(eight: u64, bound: u8) -> u64 {
    eight.wrapping_sub(each(bound)) & !eight & each(0x80)
}

/// How many octets stand before the first of which `mark` sets the top bit; else, for the last few,
/// before the first that `is_end`. Eight at a time: one number, and one branch.
#[inline(always)]
fn run_before(octets: &[u8], mark: impl Fn(u64) -> u64, is_end: impl Fn(u8) -> bool) -> usize {
    let (mut rest, mut len) = (octets, 0);
    while let Some((eight, behind)) = rest.split_first_chunk() {
        let marks = mark(u64::from_le_bytes(*eight));
        if marks != 0 {
            return len + marks.trailing_zeros() as usize / 8;
        }
        (rest, len) = (behind, len + 8);
    }
    for octet in rest {
        if is_end(*octet) {
            break;
        }
        len += 1;
    }
    len
}

/// How many octets of [`VALUE`] stand at the start of `octets`: all but controls and SPACE.
#[inline(always)]
pub(crate) fn value_run(octets: &[u8]) -> usize {
    let mark = |eight| first_below(eight, b' ' + 1) | first_below(eight ^ each(0x7f), 1);
    run_before(octets, mark, |octet| !is_in(VALUE, octet))
}

/// How many octets stand before the first that is below `bound`, which is 128 at most.
#[inline(always)]
pub(crate) fn run_from(bound: u8, octets: &[u8]) -> usize {
    run_before(
        octets,
        |eight| first_below(eight, bound),
        |octet| octet < bound,
    )
}

/// The octets of `class` at the start of `octets`, and what follows them.
#[inline(always)]
pub(crate) fn split_run(class: u8, octets: &[u8]) -> (&[u8], &[u8]) {
    octets
        .split_at_checked(run(class, octets))
        .unwrap_or((octets, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_outside() {
        for octet in *b" \t\r\n\0\x7f" {
            assert!(!is_in(u8::MAX, octet), "{octet:#x}");
        }
        let names = ATEXT | LABEL | KEYWORD | ADDR_TYPE | TRANSID_ATOM;
        for octet in *b"<>@.,:;\"\\[]()" {
            assert!(!is_in(names, octet), "{octet:#x}");
        }
        assert!(is_in(VALUE, b'=') && !is_in(XCHAR | KEYWORD | TRANSID_ATOM, b'='));
        assert!(!is_in(XCHAR | ADDR_TYPE, b'+') && !is_in(XCHAR | KEYWORD, 0xc3));
    }

    #[test]
    fn values_are_found_as_their_class_is() {
        for octet in 0..=u8::MAX {
            for len in 0..40 {
                for at in 0..len {
                    let mut octets = std::vec![b'a'; len];
                    octets[at] = octet;
                    assert_eq!(
                        value_run(&octets),
                        run(VALUE, &octets),
                        "{octet:#x} {at} {len}"
                    );
                    for bound in [b' ', b' ' + 1] {
                        let end = if octet < bound { at } else { len };
                        assert_eq!(run_from(bound, &octets), end, "{octet:#x} {at} {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_run_ends_before_the_first_octet_of_another_class() {
        for len in 0..20 {
            for end in 0..=len {
                let mut octets = std::vec![b'a'; len];
                octets
                    .iter_mut()
                    .skip(end)
                    .step_by(2)
                    .for_each(|octet| *octet = b'=');
                assert_eq!(run(KEYWORD, &octets), end);
            }
        }
        assert_eq!(split_run(KEYWORD, b"SIZE=1"), (&b"SIZE"[..], &b"=1"[..]));
        assert_eq!(split_run(KEYWORD, b"X-Y"), (&b"X-Y"[..], &b""[..]));
    }
}
