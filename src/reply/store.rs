//! Replies to and from the octets of a record.
//!
//! Layer 1. The encoding has no version of its own: it is part of formats that have one.
//!
//! ```text
//! reply = code:u16  class:u8 [subject:u16 detail:u16]  length:varint  text
//! ```
//!
//! Numbers are big-endian, `class` is 0 where there is no enhanced code, the length is LEB128 and
//! the text has an LF between two lines.
//!
//! ```
//! use smtp_checkpoint::reply::{Reply, standard};
//!
//! let mut record = Vec::new();
//! standard::RECIPIENT_OK.reply().store(&mut record);
//! let mut rest = &record[..];
//! assert_eq!(Reply::load(&mut rest)?, standard::RECIPIENT_OK.reply());
//! assert!(rest.is_empty());
//! # Ok::<(), smtp_checkpoint::reply::ReplyLoadError>(())
//! ```

use alloc::vec::Vec;

use bytes::Bytes;
use thiserror::Error;

use super::{EnhancedCode, Reply, ReplyCode, check_enhanced};

/// Why stored octets are not a reply: the record is damaged or of another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum ReplyLoadError {
    /// The octets end within the reply.
    #[error("stored reply is cut short")]
    Truncated,
    /// The reply code is not in 100 to 599.
    #[error("stored reply has no valid reply code")]
    Code,
    /// The enhanced code is not one, or does not go with the reply code.
    #[error("stored reply has no valid enhanced status code")]
    EnhancedCode,
    /// The length of the text is no number that can be.
    #[error("stored reply has no valid length")]
    Length,
    /// The text holds a CR or a NUL.
    #[error("stored reply has an octet that no reply may hold")]
    Text,
}

impl Reply {
    /// Appends the reply to `out`.
    pub fn store(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.code.get().to_be_bytes());
        match self.enhanced {
            None => out.push(0),
            Some(enhanced) => {
                out.push(enhanced.class());
                out.extend_from_slice(&enhanced.subject().to_be_bytes());
                out.extend_from_slice(&enhanced.detail().to_be_bytes());
            }
        }
        let text = self.raw_text();
        let mut rest = text.len();
        while rest > 0x7f {
            out.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        out.push((rest & 0x7f) as u8);
        out.extend_from_slice(text);
    }

    /// Reads what [`Reply::store`] wrote at the start of `input` and advances `input` behind it.
    ///
    /// No octets make it panic, and it takes no memory beyond the length of `input`.
    ///
    /// # Errors
    ///
    /// Where the octets are no reply; `input` is then as it was.
    pub fn load(input: &mut &[u8]) -> Result<Self, ReplyLoadError> {
        let mut rest = *input;
        let code = ReplyCode::new(load_u16(&mut rest)?).ok_or(ReplyLoadError::Code)?;
        let enhanced = match load_u8(&mut rest)? {
            0 => None,
            class => {
                let subject = load_u16(&mut rest)?;
                let detail = load_u16(&mut rest)?;
                let enhanced = EnhancedCode::new(class, subject, detail);
                Some(enhanced.ok_or(ReplyLoadError::EnhancedCode)?)
            }
        };
        check_enhanced(code, enhanced).map_err(|_| ReplyLoadError::EnhancedCode)?;
        let len = load_varint(&mut rest)?;
        let (text, rest) = rest
            .split_at_checked(len)
            .ok_or(ReplyLoadError::Truncated)?;
        if memchr::memchr2(b'\r', 0, text).is_some() {
            return Err(ReplyLoadError::Text);
        }
        *input = rest;
        Ok(Self::from_parts(
            code,
            enhanced,
            Bytes::copy_from_slice(text),
        ))
    }
}

fn load_u8(rest: &mut &[u8]) -> Result<u8, ReplyLoadError> {
    let (octet, tail) = rest.split_first().ok_or(ReplyLoadError::Truncated)?;
    *rest = tail;
    Ok(*octet)
}

fn load_u16(rest: &mut &[u8]) -> Result<u16, ReplyLoadError> {
    let (octets, tail) = rest.split_first_chunk().ok_or(ReplyLoadError::Truncated)?;
    *rest = tail;
    Ok(u16::from_be_bytes(*octets))
}

fn load_varint(rest: &mut &[u8]) -> Result<usize, ReplyLoadError> {
    let mut value = 0u64;
    // nine groups of seven bits: more than any text that fits into memory needs
    for shift in (0..63).step_by(7) {
        let octet = load_u8(rest)?;
        value |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            // an overlong form would let one reply be stored in two ways
            if octet == 0 && shift > 0 {
                return Err(ReplyLoadError::Length);
            }
            return usize::try_from(value).map_err(|_| ReplyLoadError::Length);
        }
    }
    Err(ReplyLoadError::Length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::standard;
    use std::vec;

    fn stored(reply: &Reply) -> Vec<u8> {
        let mut out = Vec::new();
        reply.store(&mut out);
        out
    }

    #[test]
    fn every_reply_comes_back_and_every_cut_is_noticed() {
        let mut replies: Vec<Reply> = standard::ALL.iter().map(|row| row.reply()).collect();
        for len in [0, 127, 128, 16_383, 16_384] {
            replies.push(Reply::with_text(ReplyCode::OK, None, vec![b'x'; len]).unwrap());
        }
        replies.push(Reply::with_lines(ReplyCode::OK, None, ["a", "", "b"]).unwrap());
        replies.push(Reply::from_parts(
            ReplyCode::OK,
            None,
            Bytes::from_static(b"caf\xe9"),
        ));
        for reply in &replies {
            let octets = stored(reply);
            let mut more = octets.clone();
            more.push(7);
            let mut rest = &more[..];
            assert_eq!(Reply::load(&mut rest).as_ref(), Ok(reply));
            assert_eq!(rest, [7]);
            for cut in 0..octets.len().min(300) {
                let mut rest = &octets[..cut];
                assert_eq!(Reply::load(&mut rest), Err(ReplyLoadError::Truncated));
                assert_eq!(rest.len(), cut);
            }
        }
    }

    #[test]
    fn the_layout_is_fixed() {
        assert_eq!(
            stored(&standard::OK.reply()),
            b"\x00\xfa\x02\x00\x00\x00\x00\x02OK"
        );
        assert_eq!(
            stored(&standard::IN_PROGRESS.reply()),
            b"\x00\x78\x00\x11Still in progress"
        );
    }

    #[test]
    fn damage_is_named_and_never_a_panic() {
        for (octets, error) in [
            (&b"\x00\x00\x00\x00"[..], ReplyLoadError::Code),
            (b"\x02\x58\x00\x00", ReplyLoadError::Code),
            (b"\x00\xfa\x03\0\0\0\0\0", ReplyLoadError::EnhancedCode),
            (b"\x00\xfa\x05\0\0\0\0\0", ReplyLoadError::EnhancedCode),
            (b"\x00\xfa\x02\xff\xff\0\0\0", ReplyLoadError::EnhancedCode),
            (b"\x00\xfa\x00\xff\xff\xff\xff", ReplyLoadError::Truncated),
            (
                b"\x00\xfa\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
                ReplyLoadError::Truncated,
            ),
            (
                b"\x00\xfa\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                ReplyLoadError::Length,
            ),
            (b"\x00\xfa\x00\x80\x00", ReplyLoadError::Length),
            (b"\x00\xfa\x00\x02a\r", ReplyLoadError::Text),
            (b"\x00\xfa\x00\x02a\0", ReplyLoadError::Text),
        ] {
            assert_eq!(Reply::load(&mut &octets[..]), Err(error), "{octets:?}");
        }
    }
}
