//! The transaction identifier: what a client gives a transaction so that it can be found again
//! after the connection was lost.
//!
//! Layer 1. [`TransId`] is the value of the `TRANSID=` parameter of MAIL (RFC 1845 §2), checked
//! once, when it is made; a [`TransId`] in hand is well-formed.
//!
//! ```
//! use smtp_checkpoint::transid::{TransId, TransIdError};
//!
//! let id = TransId::parse(b"<12345@claremont.edu>")?;
//! assert_eq!(id.as_str(), "<12345@claremont.edu>");
//! assert_eq!(TransId::parse(b"<12345>"), Err(TransIdError::NoAt));
//! # Ok::<(), TransIdError>(())
//! ```

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

use crate::class::{TRANSID_ATOM, split_run};
use crate::dotted::dotted;
use crate::lanes::{LANES, sixteen};

/// A well-formed TRANSID, brackets included.
///
/// ```abnf
/// transid = "<" token "@" token ">"      ; at most 80 octets (RFC 1845 §2 (4) and (5))
/// token   = atom *("." atom)
/// atom    = 1*<any CHAR except SPACE, CTLs, tspecials and ".">
/// ```
///
/// It is opaque and case-sensitive: compared, ordered and hashed octet by octet, brackets
/// included. It is stored in place, without an allocation.
///
/// It is *not* fit to be a file name (`<**@x>` and `<|rm@x>` are legal): hash it first.
///
/// ```
/// use smtp_checkpoint::transid::TransId;
///
/// let upper: TransId = "<A@b>".parse()?;
/// let lower: TransId = "<a@b>".parse()?;
/// assert_ne!(upper, lower);
/// # Ok::<(), smtp_checkpoint::transid::TransIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransId {
    /// Zero after `len`, so that the derived comparisons are those of the octets in use.
    octets: [u8; TransId::MAX_LEN],
    len: u8,
}

/// The rule of RFC 1845 §2 that a TRANSID breaks. On the wire all of them are 501 5.5.4.
///
/// `at` counts octets from the start of the value, from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum TransIdError {
    /// Longer than [`TransId::MAX_LEN`], or, made by [`TransId::from_random`], than
    /// [`TransId::CLIENT_MAX_LEN`].
    #[error("transaction identifier too long")]
    TooLong,
    /// The first octet is not "<".
    #[error("transaction identifier does not begin with \"<\"")]
    NoOpeningBracket,
    /// No ">" at the end.
    #[error("transaction identifier does not end with \">\"")]
    NoClosingBracket,
    /// Something stands behind the ">".
    #[error("octets after the closing \">\", at octet {at}")]
    AfterClosingBracket {
        /// The first octet behind the bracket.
        at: usize,
    },
    /// No "@".
    #[error("transaction identifier without \"@\"")]
    NoAt,
    /// No atom where one has to stand: before or after "@", or around a ".".
    #[error("empty atom at octet {at}")]
    EmptyAtom {
        /// Where the atom should begin.
        at: usize,
    },
    /// An octet that an atom may not hold: SPACE, a control, one of the tspecials, or not ASCII.
    /// A second "@" is one of them.
    #[error("octet not allowed in an atom, at octet {at}")]
    Octet {
        /// The octet in question.
        at: usize,
    },
}

impl TransId {
    /// The longest value that a server takes, in octets, brackets included (RFC 1845 §2 (5)).
    pub const MAX_LEN: usize = 80;

    /// The longest value that a client writes, in octets, brackets included: ` TRANSID=` and the
    /// value then add at most the 88 octets to the MAIL line that RFC 1845 §2 (5) allows.
    pub const CLIENT_MAX_LEN: usize = 79;

    /// The longest domain that [`TransId::from_random`] takes, in octets.
    pub const RANDOM_DOMAIN_MAX_LEN: usize = Self::CLIENT_MAX_LEN - "<@>".len() - 2 * 16;

    /// Reads a value as it stands after `TRANSID=`, brackets included.
    ///
    /// # Errors
    ///
    /// The first rule of the grammar that `value` breaks.
    pub fn parse(value: &[u8]) -> Result<Self, TransIdError> {
        if value.len() > Self::MAX_LEN {
            return Err(TransIdError::TooLong);
        }
        check(value)?;
        Self::copied(value).ok_or(TransIdError::TooLong)
    }

    /// A value that was found to be well-formed, if it is not too long.
    #[inline(always)]
    pub(crate) fn copied(value: &[u8]) -> Option<Self> {
        if value.len() > Self::MAX_LEN {
            return None;
        }
        let mut octets = [0; Self::MAX_LEN];
        // In pieces of the size that it is moved in afterwards: it is still on its way to memory.
        for (at, piece) in octets.chunks_exact_mut(LANES).enumerate() {
            let Some(sixteen) = sixteen(value, at * LANES) else {
                break;
            };
            piece.copy_from_slice(&sixteen);
        }
        // At most 80.
        let len = value.len() as u8;
        Some(Self { octets, len })
    }

    /// Makes a client's TRANSID: 32 lower-case hexadecimal digits from `random`, then `domain`.
    ///
    /// Whoever guesses a TRANSID can collide with the transaction, so all 128 bits have to come
    /// from a cryptographic source of randomness, fresh for each transaction; the crate has none
    /// of its own. `domain` names the client, and an address literal is not a legal one.
    ///
    /// ```
    /// use smtp_checkpoint::transid::TransId;
    ///
    /// let random = [0xa5; 16]; // in earnest: from the operating system
    /// let id = TransId::from_random(random, b"client.example")?;
    /// assert_eq!(id.as_str(), "<a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5@client.example>");
    /// # Ok::<(), smtp_checkpoint::transid::TransIdError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TransIdError::TooLong`] where `domain` is longer than
    /// [`TransId::RANDOM_DOMAIN_MAX_LEN`]; otherwise the rule that `domain` breaks.
    pub fn from_random(random: [u8; 16], domain: &[u8]) -> Result<Self, TransIdError> {
        const HEX: &[u8; 16] = b"0123456789abcdef";

        if domain.len() > Self::RANDOM_DOMAIN_MAX_LEN {
            return Err(TransIdError::TooLong);
        }
        let local = random
            .iter()
            .flat_map(|octet| [octet >> 4, octet & 0x0f])
            .map(|nibble| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0'));
        let value = [b'<']
            .into_iter()
            .chain(local)
            .chain([b'@'])
            .chain(domain.iter().copied())
            .chain([b'>']);

        let mut octets = [0; Self::MAX_LEN];
        let mut len = 0u8;
        for (slot, octet) in octets.iter_mut().zip(value) {
            *slot = octet;
            len += 1;
        }
        let id = Self { octets, len };
        check(id.as_bytes())?;
        Ok(id)
    }

    /// The value, brackets included.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The value, brackets included. It is always ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// Whether this is a TRANSID, but for its length.
pub(crate) fn is_well_formed(value: &[u8]) -> bool {
    check(value).is_ok()
}

/// The length of the value at the start of `octets`, where it is well-formed and a usual one.
#[inline(always)]
pub(crate) fn leading(octets: &[u8]) -> Option<usize> {
    let (_, end) = dotted(TRANSID_ATOM, TRANSID_ATOM, octets.strip_prefix(b"<")?)?;
    (octets.get(1 + end) == Some(&b'>')).then_some(end + 2)
}

#[inline(always)]
fn check(value: &[u8]) -> Result<(), TransIdError> {
    if leading(value) == Some(value.len()) {
        Ok(())
    } else {
        check_closely(value)
    }
}

#[inline(never)]
fn check_closely(value: &[u8]) -> Result<(), TransIdError> {
    let mut rest = value
        .strip_prefix(b"<")
        .ok_or(TransIdError::NoOpeningBracket)?;
    let mut after_at = false;
    loop {
        let (atom, behind) = split_run(TRANSID_ATOM, rest);
        let at = value.len() - behind.len();
        rest = match behind {
            [] => return Err(TransIdError::NoClosingBracket),
            [b'>' | b'@' | b'.', ..] if atom.is_empty() => {
                return Err(TransIdError::EmptyAtom { at });
            }
            [b'.', rest @ ..] => rest,
            [b'@', rest @ ..] if !after_at => {
                after_at = true;
                rest
            }
            [b'>', ..] if !after_at => return Err(TransIdError::NoAt),
            [b'>'] => return Ok(()),
            [b'>', ..] => return Err(TransIdError::AfterClosingBracket { at: at + 1 }),
            _ => return Err(TransIdError::Octet { at }),
        };
    }
}

impl TryFrom<&[u8]> for TransId {
    type Error = TransIdError;

    fn try_from(value: &[u8]) -> Result<Self, TransIdError> {
        Self::parse(value)
    }
}

impl FromStr for TransId {
    type Err = TransIdError;

    fn from_str(value: &str) -> Result<Self, TransIdError> {
        Self::parse(value.as_bytes())
    }
}

impl AsRef<[u8]> for TransId {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for TransId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for TransId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TransId").field(&self.as_str()).finish()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for TransId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for TransId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = TransId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a transaction identifier, <local@domain>")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TransId, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    #[test]
    fn the_published_values_are_judged_as_the_rfc_does() {
        for good in [
            &b"<12345@claremont.edu>"[..],
            b"<A@b>",
            b"<**@x>",
            b"<a.b.c@d.e>",
            b"<!#$%&'*+-^_`{|}~@b>",
        ] {
            let id = TransId::parse(good).unwrap();
            assert_eq!(id.as_bytes(), good);
        }
        for (bad, error) in [
            (&b"<!#$%&'*+-/@b>"[..], TransIdError::Octet { at: 10 }),
            (b"<.@b>", TransIdError::EmptyAtom { at: 1 }),
            (b"<.a@b>", TransIdError::EmptyAtom { at: 1 }),
            (b"<a..b@c>", TransIdError::EmptyAtom { at: 3 }),
            (b"<a.@b>", TransIdError::EmptyAtom { at: 3 }),
            (b"<@b>", TransIdError::EmptyAtom { at: 1 }),
            (b"<a@b.>", TransIdError::EmptyAtom { at: 5 }),
            (b"<a@>", TransIdError::EmptyAtom { at: 3 }),
            (b"<a@b@c>", TransIdError::Octet { at: 4 }),
            (b"<a@b", TransIdError::NoClosingBracket),
            (b"a@b>", TransIdError::NoOpeningBracket),
            (b"", TransIdError::NoOpeningBracket),
            (b"<>", TransIdError::EmptyAtom { at: 1 }),
            (b"<a>", TransIdError::NoAt),
            (b"<x@y>z", TransIdError::AfterClosingBracket { at: 5 }),
            (b"<x@y>>", TransIdError::AfterClosingBracket { at: 5 }),
            (b"<a@[127.0.0.1]>", TransIdError::Octet { at: 3 }),
            (b"<a(b)@c>", TransIdError::Octet { at: 2 }),
            (b"<a;b@c>", TransIdError::Octet { at: 2 }),
            (b"<a=b@c>", TransIdError::Octet { at: 2 }),
            (b"<a\\b@c>", TransIdError::Octet { at: 2 }),
            (b"<a b@c>", TransIdError::Octet { at: 2 }),
            (b"<a\tb@c>", TransIdError::Octet { at: 2 }),
            (b"<a\x7fb@c>", TransIdError::Octet { at: 2 }),
            (b"<a\0b@c>", TransIdError::Octet { at: 2 }),
            ("<ä@c>".as_bytes(), TransIdError::Octet { at: 1 }),
            (b"<a\r\nRCPT TO:<x@y>@c>", TransIdError::Octet { at: 2 }),
        ] {
            assert_eq!(TransId::parse(bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn eighty_octets_pass_and_eighty_one_do_not() {
        let mut value: Vec<u8> = Vec::new();
        value.push(b'<');
        value.resize(75, b'a');
        value.extend_from_slice(b"@bcd>");
        assert_eq!(value.len(), 80);
        assert_eq!(TransId::parse(&value).unwrap().as_bytes(), &value[..]);
        value.insert(1, b'a');
        assert_eq!(TransId::parse(&value), Err(TransIdError::TooLong));
    }

    #[test]
    fn a_made_value_is_hexadecimal_and_leaves_the_clients_octet() {
        let mut random = [0; 16];
        random[0] = 0x0f;
        random[15] = 0xf0;
        let id = TransId::from_random(random, b"c.example").unwrap();
        assert_eq!(id.as_str(), "<0f0000000000000000000000000000f0@c.example>");

        let longest = [b'd'; TransId::RANDOM_DOMAIN_MAX_LEN];
        let id = TransId::from_random(random, &longest).unwrap();
        assert_eq!(id.as_bytes().len(), TransId::CLIENT_MAX_LEN);
        assert_eq!(TransId::parse(id.as_bytes()), Ok(id));

        let longer = [b'd'; TransId::RANDOM_DOMAIN_MAX_LEN + 1];
        assert_eq!(
            TransId::from_random(random, &longer),
            Err(TransIdError::TooLong)
        );
        for bad in [&b""[..], b"[::1]", b"a b", b"a\r\nb", b"a>", b"a..b"] {
            assert!(TransId::from_random(random, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_short_value_is_judged_as_octet_by_octet() {
        const OCTETS: &[u8] = b"<>@.a-=\x80 ";
        let mut values: Vec<Vec<u8>> = std::vec![Vec::new()];
        for _ in 0..6 {
            let longer = values.iter().flat_map(|value| {
                OCTETS.iter().map(|octet| {
                    let mut longer = value.clone();
                    longer.push(*octet);
                    longer
                })
            });
            values = longer.collect();
            for value in &values {
                for fill in [&b""[..], b"0123456789", b"0123456789abcde"] {
                    let value = [b"<", fill, value].concat();
                    let sound = check_closely(&value).is_ok();
                    assert!(leading(&value) != Some(value.len()) || sound, "{value:?}");
                    assert_eq!(TransId::parse(&value).is_ok(), sound, "{value:?}");
                }
            }
        }
    }

    #[test]
    fn order_is_that_of_the_octets() {
        let mut ids: Vec<TransId> = ["<b@c>", "<a@c>", "<a.b@c>", "<A@c>", "<a@cc>"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let mut octets: Vec<Vec<u8>> = ids.iter().map(|id| id.as_bytes().to_vec()).collect();
        ids.sort();
        octets.sort();
        assert!(
            ids.iter()
                .map(TransId::as_bytes)
                .eq(octets.iter().map(|o| &o[..]))
        );
    }

    #[test]
    fn display_is_the_value_and_errors_hold_none_of_it() {
        let id: TransId = "<a@b>".parse().unwrap();
        assert_eq!(format!("{id}"), "<a@b>");
        assert_eq!(format!("{id:?}"), "TransId(\"<a@b>\")");
        assert_eq!(id.as_ref(), b"<a@b>");
        let error = TransId::parse(b"<secret^secret@\r\n>").unwrap_err();
        assert!(!format!("{error}{error:?}").contains("secret"));
    }

    #[cfg(feature = "serde")]
    #[test]
    fn serde_goes_through_the_same_door() {
        use serde::Deserialize;
        use serde::de::IntoDeserializer;
        use serde::de::value::{Error, StrDeserializer};

        let good: StrDeserializer<'_, Error> = "<a@b>".into_deserializer();
        assert_eq!(TransId::deserialize(good).unwrap().as_str(), "<a@b>");
        let bad: StrDeserializer<'_, Error> = "<a@b".into_deserializer();
        assert!(TransId::deserialize(bad).is_err());
        let number: serde::de::value::U8Deserializer<Error> = 5u8.into_deserializer();
        assert!(
            format!("{}", TransId::deserialize(number).unwrap_err())
                .contains("a transaction identifier, <local@domain>")
        );
    }
}
