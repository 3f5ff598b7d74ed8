//! Octet classes of commands in one table: one look-up an octet instead of a chain of comparisons.
//!
//! Layer 1, private. What belongs to a class is said in [`crate::syntax`]; what is read beyond that
//! is said here.
//!
//! ```
//! use smtp_checkpoint::command::Mailbox;
//!
//! assert!(Mailbox::parse(b"a!b@c_d").is_ok());
//! assert!(Mailbox::parse(b"a(b@c-d").is_err());
//! ```

use crate::syntax::{is_atext, is_esmtp_value, is_keyword};

/// Atoms of a local part, with octets above 127 (RFC 6531 §3.3).
pub(super) const ATEXT: u8 = 1;
/// Ends of domain labels, with octets above 127 and "_", which is no letter of RFC 5321 §4.1.2 but
/// stands in domains that do get mail.
pub(super) const LET_DIG: u8 = 2;
/// Keywords of parameters.
pub(super) const KEYWORD: u8 = 4;
/// Values of parameters, and "=", which is for each parameter's own rule: TRANSID with TRANSOFF may
/// hold it.
pub(super) const VALUE: u8 = 8;
/// `xchar` of RFC 3461 §4.
pub(super) const XCHAR: u8 = 16;

static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let value = octet as u8;
        if is_atext(value) || value >= 0x80 {
            table[octet] |= ATEXT;
        }
        if value.is_ascii_alphanumeric() || value >= 0x80 || value == b'_' {
            table[octet] |= LET_DIG;
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
        octet += 1;
    }
    table
};

pub(super) fn is_in(class: u8, octet: u8) -> bool {
    CLASS[usize::from(octet)] & class != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_outside() {
        for octet in *b" \t\r\n\0\x7f" {
            assert!(
                !is_in(ATEXT | LET_DIG | KEYWORD | VALUE | XCHAR, octet),
                "{octet:#x}"
            );
        }
        for octet in *b"<>@.,:;\"\\[]()" {
            assert!(!is_in(ATEXT | LET_DIG | KEYWORD, octet), "{octet:#x}");
        }
        assert!(is_in(VALUE, b'=') && !is_in(XCHAR | KEYWORD, b'='));
        assert!(!is_in(XCHAR, b'+') && !is_in(XCHAR | KEYWORD, 0xc3));
    }
}
