//! How far a transaction got: the octet offset of the 355 reply, read and written.
//!
//! Layer 1. The offset counts from zero the octets of the message in SMTP canonical form: CRLF
//! line ends, no stuffing dots, no final "." line, no envelope (RFC 1845 §4).
//!
//! ```
//! use smtp_checkpoint::offset::{OctetOffset, OffsetError};
//!
//! // what stands after "355 " on the first line of the reply
//! let offset = OctetOffset::from_reply_text(b"6135 is the transaction offset")?;
//! assert_eq!(offset.get(), 6135);
//! assert_eq!(offset.reply_text().as_str(), "6135 is the transaction offset");
//! # Ok::<(), OffsetError>(())
//! ```

use core::fmt;

use thiserror::Error;

use crate::syntax::{is_wsp, parse_decimal};

/// A place in a message: octets in SMTP canonical form, from zero (RFC 1845 §4).
///
/// As an offset announced by a server it is also the number of octets received and durably
/// stored.
///
/// ```
/// use smtp_checkpoint::offset::OctetOffset;
///
/// let stored = OctetOffset::from(998);
/// assert!(stored > OctetOffset::ZERO);
/// assert_eq!(stored.checked_add(2), Some(OctetOffset::new(1000)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OctetOffset(u64);

/// Why the text of a 355 reply holds no offset. The reply is a protocol error (RFC 1845 §4); to a
/// client session a number that is too large is an offset beyond the message, as others are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum OffsetError {
    /// The text does not begin with a digit. A second space after the code counts too: the offset
    /// has to be the first thing on the line.
    #[error("no offset at the start of the reply text")]
    NoNumber,
    /// Something other than SPACE, TAB or the end of the line stands behind the digits.
    #[error("no white space after the offset")]
    NoSeparator,
    /// More than 20 digits, leading zeros included, or more than 2^64 - 1.
    #[error("offset too large")]
    Overflow,
}

impl OctetOffset {
    /// The start of the message.
    pub const ZERO: Self = Self(0);

    /// The most digits that an offset may have on the wire.
    pub const MAX_DIGITS: usize = 20;

    /// The offset `octets` from the start of the message.
    #[must_use]
    pub const fn new(octets: u64) -> Self {
        Self(octets)
    }

    /// Octets from the start of the message.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The offset `octets` further on; `None` where that is above 2^64 - 1.
    #[must_use]
    pub const fn checked_add(self, octets: u64) -> Option<Self> {
        match self.0.checked_add(octets) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Reads the offset from the text of a 355 reply: what follows `355 ` or `355-` on its first
    /// line. Further lines say nothing about the offset.
    ///
    /// ```abnf
    /// text = 1*20DIGIT [ LWSP *text ]        ; RFC 1845 §4
    /// ```
    ///
    /// Leading zeros are taken. `355  6135` (two spaces) is refused: the RFC wants the number to
    /// be the first thing on the line, and no server is known to write otherwise.
    ///
    /// # Errors
    ///
    /// Where the text does not begin with a number of the form above.
    pub fn from_reply_text(first_line_text: &[u8]) -> Result<Self, OffsetError> {
        let end = first_line_text
            .iter()
            .position(|octet| !octet.is_ascii_digit())
            .unwrap_or(first_line_text.len());
        let (digits, rest) = first_line_text
            .split_at_checked(end)
            .unwrap_or((first_line_text, &[]));
        if digits.is_empty() {
            return Err(OffsetError::NoNumber);
        }
        if rest.first().is_some_and(|octet| !is_wsp(*octet)) {
            return Err(OffsetError::NoSeparator);
        }
        Self::from_digits(digits).ok_or(OffsetError::Overflow)
    }

    /// Reads 1 to 20 digits and nothing else; `None` for any other text and above 2^64 - 1.
    #[must_use]
    pub fn from_digits(digits: &[u8]) -> Option<Self> {
        if digits.len() > Self::MAX_DIGITS {
            return None;
        }
        parse_decimal(digits).map(Self)
    }

    /// The text of the 355 reply that announces this offset, as RFC 1845 §4 words it.
    #[must_use]
    pub fn reply_text(self) -> OffsetText {
        OffsetText::new(self.0)
    }
}

impl From<u64> for OctetOffset {
    fn from(octets: u64) -> Self {
        Self(octets)
    }
}

impl From<OctetOffset> for u64 {
    fn from(offset: OctetOffset) -> Self {
        offset.0
    }
}

impl fmt::Display for OctetOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The text of a 355 reply, made without an allocation: `6135 is the transaction offset`.
///
/// ```
/// use smtp_checkpoint::offset::OctetOffset;
///
/// let text = OctetOffset::ZERO.reply_text();
/// assert_eq!(text.as_bytes(), b"0 is the transaction offset");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OffsetText {
    /// Filled from the end, because digits come out last first.
    octets: [u8; OffsetText::MAX_LEN],
    start: u8,
}

impl OffsetText {
    const TAIL: &'static [u8; 26] = b" is the transaction offset";

    /// The longest text, in octets.
    pub const MAX_LEN: usize = OctetOffset::MAX_DIGITS + Self::TAIL.len();

    fn new(offset: u64) -> Self {
        let mut octets = [0; Self::MAX_LEN];
        let mut rest = offset;
        let mut tail = Self::TAIL.iter().rev();
        let mut used = 0u8;
        for slot in octets.iter_mut().rev() {
            *slot = match tail.next() {
                Some(octet) => *octet,
                None => {
                    // `rest % 10` is below 10, so nothing is cut off here
                    let digit = (rest % 10) as u8;
                    rest /= 10;
                    b'0' + digit
                }
            };
            used += 1;
            if rest == 0 && usize::from(used) > Self::TAIL.len() {
                break;
            }
        }
        Self {
            octets,
            start: Self::MAX_LEN as u8 - used,
        }
    }

    /// The text, without code and CRLF.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets
            .get(usize::from(self.start)..)
            .unwrap_or_default()
    }

    /// The text, without code and CRLF. It is always ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for OffsetText {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for OffsetText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for OffsetText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OffsetText").field(&self.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn the_published_texts_are_read_or_refused() {
        for (text, offset) in [
            (&b"6135 is the transaction offset"[..], 6135),
            (b"0 start over", 0),
            (b"1 x", 1),
            (b"6135\tis it", 6135),
            (b"6135", 6135),
            (b"6135 ", 6135),
            (b"006135 x", 6135),
            (b"00000000000000006135 twenty digits", 6135),
            (b"18446744073709551615 x", u64::MAX),
            (b"7 \xff not UTF-8", 7),
        ] {
            assert_eq!(
                OctetOffset::from_reply_text(text),
                Ok(OctetOffset(offset)),
                "{text:?}"
            );
        }
        for (text, error) in [
            (&b"Hello"[..], OffsetError::NoNumber),
            (b"", OffsetError::NoNumber),
            (b"x", OffsetError::NoNumber),
            (b"+6135 x", OffsetError::NoNumber),
            (b"-1 x", OffsetError::NoNumber),
            (b" 6135 x", OffsetError::NoNumber),
            (b"6135is x", OffsetError::NoSeparator),
            (b"6,135 x", OffsetError::NoSeparator),
            (b"0x17F7 x", OffsetError::NoSeparator),
            (b"3.0.0 6135 x", OffsetError::NoSeparator),
            (b"6135\x0b", OffsetError::NoSeparator),
            (b"18446744073709551616 x", OffsetError::Overflow),
            (b"99999999999999999999999999999999 x", OffsetError::Overflow),
            (b"000000000000000006135 21 digits", OffsetError::Overflow),
        ] {
            assert_eq!(OctetOffset::from_reply_text(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut offset = 0u64;
        loop {
            let text = OctetOffset(offset).reply_text();
            assert_eq!(text.as_str(), format!("{offset} is the transaction offset"));
            assert_eq!(
                OctetOffset::from_reply_text(text.as_bytes()),
                Ok(OctetOffset(offset))
            );
            match offset.checked_mul(7) {
                Some(next) => offset = next + 1,
                None => break,
            }
        }
        let longest = OctetOffset(u64::MAX).reply_text();
        assert_eq!(longest.as_bytes().len(), OffsetText::MAX_LEN);
        assert_eq!(
            longest.as_str(),
            "18446744073709551615 is the transaction offset"
        );
    }

    #[test]
    fn addition_stops_at_the_end() {
        assert_eq!(OctetOffset(1).checked_add(2), Some(OctetOffset(3)));
        assert_eq!(OctetOffset(u64::MAX).checked_add(1), None);
    }

    #[test]
    fn the_number_is_the_same_by_every_door() {
        let offset = OctetOffset::from(6135);
        assert_eq!(offset, OctetOffset::new(6135));
        assert_eq!(offset.get(), 6135);
        assert_eq!(u64::from(offset), 6135);
    }

    #[test]
    fn both_types_are_shown_and_padded() {
        let offset = OctetOffset::new(6135);
        assert_eq!(format!("{offset:>6}"), "  6135");
        let text = OctetOffset::ZERO.reply_text();
        assert_eq!(text.as_ref(), b"0 is the transaction offset");
        assert_eq!(format!("{text:>29}"), "  0 is the transaction offset");
        assert_eq!(
            format!("{text:?}"),
            "OffsetText(\"0 is the transaction offset\")"
        );
    }
}
