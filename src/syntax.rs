//! Octet classes of the grammars that SMTP draws on, each with its source.
//!
//! Layer 0, private: the modules above put names of their own on what they check with it.

/// `atext` of RFC 5322 §3.2.3: what an atom of a mailbox may hold.
pub(crate) const fn is_atext(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(
            octet,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'/'
                | b'='
                | b'?'
                | b'^'
                | b'_'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
                | b'~'
        )
}

/// `tspecials` of RFC 1521 §4, which RFC 1845 §2 names. (`.` is a tspecial of RFC 822 only.)
pub(crate) const fn is_tspecial(octet: u8) -> bool {
    matches!(
        octet,
        b'(' | b')'
            | b'<'
            | b'>'
            | b'@'
            | b','
            | b';'
            | b':'
            | b'\\'
            | b'"'
            | b'/'
            | b'['
            | b']'
            | b'?'
            | b'='
    )
}

/// An octet of a TRANSID atom (RFC 1845 §2 (4)): ASCII except SPACE, CTLs, tspecials and ".".
pub(crate) const fn is_transid_atom(octet: u8) -> bool {
    octet.is_ascii_graphic() && octet != b'.' && !is_tspecial(octet)
}

/// `esmtp-value` of RFC 5321 §4.1.2: anything but "=", SP and controls, UTF-8 with RFC 6531.
pub(crate) const fn is_esmtp_value(octet: u8) -> bool {
    !octet.is_ascii_control() && octet != b'=' && octet != b' '
}

/// An octet of `esmtp-keyword` and `ehlo-keyword` after the first (RFC 5321 §4.1.1.1, §4.1.2).
pub(crate) const fn is_keyword(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'-'
}

/// White space that separates the parts of a line: SPACE and TAB.
pub(crate) const fn is_wsp(octet: u8) -> bool {
    octet == b' ' || octet == b'\t'
}

/// A number in decimal digits and nothing else; `None` where it is empty, not digits or does not
/// fit.
pub(crate) fn parse_decimal(digits: &[u8]) -> Option<u64> {
    /// So many digits fit, whatever they are.
    const SURE: usize = 19;

    if digits.is_empty() {
        return None;
    }
    let (sure, more) = digits.split_at_checked(SURE).unwrap_or((digits, &[]));
    let mut value = 0;
    for octet in sure {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    more.iter().try_fold(value, |value, octet| {
        let digit = octet.is_ascii_digit().then(|| octet - b'0')?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_does_not_wrap() {
        assert_eq!(parse_decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_decimal(b"18446744073709551616"), None);
        assert_eq!(parse_decimal(b"0018"), Some(18));
        for bad in [&b""[..], b"+1", b"-1", b"1 ", b"0x1", b"1,0"] {
            assert_eq!(parse_decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn transid_atoms_hold_no_delimiter_of_the_value() {
        for octet in [
            b'<', b'>', b'@', b'.', b' ', b'=', b'\\', 0, 0x7f, 0x80, 0xff,
        ] {
            assert!(!is_transid_atom(octet), "{octet:#x}");
        }
        for octet in *b"aZ09!#$%&'*+-^_`{|}~" {
            assert!(is_transid_atom(octet), "{octet:#x}");
        }
    }
}
