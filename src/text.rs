//! Octets of a peer's for people: in logs and error messages.
//!
//! Layer 0, private.

use core::fmt::{self, Write as _};

/// Octets shown as text: UTF-8 as it is, controls and what is not UTF-8 escaped, so that nothing
/// in it ends a line of a log.
pub(crate) struct Text<'a>(pub(crate) &'a [u8]);

impl Text<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>, quoted: bool) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                if char.is_control() || (quoted && matches!(char, '"' | '\\')) {
                    write!(f, "{}", char.escape_default())?;
                } else {
                    f.write_char(char)?;
                }
            }
            for octet in chunk.invalid() {
                write!(f, "\\x{octet:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, false)
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        self.write(f, true)?;
        f.write_char('"')
    }
}

/// Octets that are no business of a log: what a SASL exchange carries is a password in clear.
#[cfg(feature = "session")]
pub(crate) struct Secret(pub(crate) bytes::Bytes);

#[cfg(feature = "session")]
impl fmt::Debug for Secret {
    /// How many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} octets]", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn nothing_ends_a_line() {
        let octets = b"\"\xc3\xa4\xff\r\n\\\xc2\x85";
        assert_eq!(format!("{}", Text(octets)), "\"\u{e4}\\xff\\r\\n\\\\u{85}");
        assert_eq!(
            format!("{:?}", Text(octets)),
            "\"\\\"\u{e4}\\xff\\r\\n\\\\\\u{85}\""
        );
    }
}
