//! Base64 of SASL exchanges, strict (RFC 4648 §4, RFC 4954 §4).
//!
//! Layer 1. No white space, no missing or misplaced padding, no bits that are dropped: one value
//! has exactly one form.
//!
//! ```
//! use smtp_checkpoint::command::base64;
//!
//! assert_eq!(base64::encode(b"\0user\0pw"), b"AHVzZXIAcHc=");
//! assert_eq!(base64::decode(b"AHVzZXIAcHc=").unwrap(), b"\0user\0pw");
//! assert!(base64::decode(b"AHVzZXIAcHc").is_err());
//! ```

use alloc::vec::Vec;

use thiserror::Error;

/// The text is not base64. 501 5.5.2 (RFC 4954 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[error("not base64")]
pub struct Base64Error;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const fn digit(value: u32) -> u8 {
    ALPHABET[(value & 63) as usize]
}

const fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value as u32)
}

/// The base64 form of `octets`, padded.
#[must_use]
pub fn encode(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        match *group {
            [a, b, c] => {
                let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
                out.extend([
                    digit(bits >> 18),
                    digit(bits >> 12),
                    digit(bits >> 6),
                    digit(bits),
                ]);
            }
            [a, b] => {
                let bits = u32::from(a) << 16 | u32::from(b) << 8;
                out.extend([digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), b'=']);
            }
            [a] => {
                let bits = u32::from(a) << 16;
                out.extend([digit(bits >> 18), digit(bits >> 12), b'=', b'=']);
            }
            _ => {}
        }
    }
    out
}

/// The octets that `text` stands for. The empty text is the empty value; the `=` that AUTH writes
/// for an empty initial response is not base64 and is the caller's to know.
///
/// # Errors
///
/// [`Base64Error`] where `text` is not the one form that [`encode`] writes.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Base64Error> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    decode_with(text, |octets| out.extend_from_slice(octets))?;
    Ok(out)
}

/// Whether [`decode`] would take `text`, without taking memory.
#[must_use]
pub fn is_base64(text: &[u8]) -> bool {
    decode_with(text, |_| {}).is_ok()
}

fn decode_with(text: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), Base64Error> {
    let mut groups = text.chunks_exact(4);
    let mut ended = false;
    for group in &mut groups {
        let &[a, b, c, d] = group else {
            return Err(Base64Error);
        };
        if ended {
            return Err(Base64Error);
        }
        let high = value(a).ok_or(Base64Error)? << 18 | value(b).ok_or(Base64Error)? << 12;
        let (bits, len) = match (c, d) {
            (b'=', b'=') => (high, 1),
            (_, b'=') => (high | value(c).ok_or(Base64Error)? << 6, 2),
            _ => {
                let low = value(c).ok_or(Base64Error)? << 6 | value(d).ok_or(Base64Error)?;
                (high | low, 3)
            }
        };
        let [_, first, second, third] = bits.to_be_bytes();
        match len {
            3 => take(&[first, second, third]),
            2 if third == 0 => take(&[first, second]),
            1 if second == 0 => take(&[first]),
            _ => return Err(Base64Error),
        }
        ended = len < 3;
    }
    if groups.remainder().is_empty() {
        Ok(())
    } else {
        Err(Base64Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn vectors_of_rfc_4648() {
        for (octets, text) in [
            (&b""[..], &b""[..]),
            (b"f", b"Zg=="),
            (b"fo", b"Zm8="),
            (b"foo", b"Zm9v"),
            (b"foob", b"Zm9vYg=="),
            (b"fooba", b"Zm9vYmE="),
            (b"foobar", b"Zm9vYmFy"),
        ] {
            assert_eq!(encode(octets), text);
            assert_eq!(decode(text).unwrap(), octets);
        }
    }

    #[test]
    fn there_is_one_form_only() {
        for text in [
            &b"="[..],
            b"Zg",
            b"Zg=",
            b"Zg===",
            b"Zh==",
            b"Zm9=",
            b"Zg==Zg==",
            b"Z=g=",
            b"====",
            b"Zm9v\r\n",
            b" Zm9v",
            b"Zm-_",
            b"=\r\nNOOP",
        ] {
            assert_eq!(decode(text), Err(Base64Error), "{text:?}");
            assert!(!is_base64(text));
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_would_be_written(text in "[A-Za-e0+/=]{0,9}") {
            if let Ok(octets) = decode(text.as_bytes()) {
                prop_assert_eq!(encode(&octets), text.as_bytes());
            }
        }

        #[test]
        fn round_trip(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(&encode(&octets)).unwrap(), octets);
        }
    }
}
