//! Lines of an EHLO reply that are a known keyword and nothing else, as most are, read at once.
//!
//! Layer 1, private. All other lines are for [`super::lines`].
//!
//! ```
//! use smtp_checkpoint::ehlo::CapabilitiesRef;
//! use smtp_checkpoint::reply::{ParsedReply, ReplyRef};
//!
//! let input = b"250-mx.example\r\n250-chunking\r\n250 SIZE 1000\r\n";
//! let ParsedReply::Complete { reply, .. } = ReplyRef::parse(input) else {
//!     panic!("the reply is complete");
//! };
//! assert!(CapabilitiesRef::from_reply(&reply, &Default::default())?.chunking());
//! # Ok::<(), smtp_checkpoint::ehlo::CapabilitiesError>(())
//! ```

use super::lines::Known;
use crate::class::first_below;
use crate::word::CASELESS;

/// Octets that are read at once: the longest keyword, and what ends its line.
const AT_ONCE: usize = 24;

/// The keywords that take no parameters, and SIZE; of the longer ones the first eight octets.
mod start {
    use crate::word::caseless;

    pub(super) const DSN: u64 = caseless(b"DSN");
    pub(super) const SIZE: u64 = caseless(b"SIZE");
    pub(super) const DETA: u64 = caseless(b"DETA");
    pub(super) const RESUME: u64 = caseless(b"RESUME");
    pub(super) const EIGHT_BIT_MIME: u64 = caseless(b"8BITMIME");
    pub(super) const SMTPUTF8: u64 = caseless(b"SMTPUTF8");
    pub(super) const CHUNKING: u64 = caseless(b"CHUNKING");
    pub(super) const STARTTLS: u64 = caseless(b"STARTTLS");
    pub(super) const PIPELINI: u64 = caseless(b"PIPELINI");
    pub(super) const CHECKPOI: u64 = caseless(b"CHECKPOI");
    pub(super) const BINARYMI: u64 = caseless(b"BINARYMI");
    pub(super) const ENHANCED: u64 = caseless(b"ENHANCED");
}

/// What follows the first eight octets of the longer ones.
mod rest {
    use crate::word::caseless;

    pub(super) const NG: u64 = caseless(b"NG");
    pub(super) const NT: u64 = caseless(b"NT");
    pub(super) const ME: u64 = caseless(b"ME");
    pub(super) const STATUSCO: u64 = caseless(b"STATUSCO");
    pub(super) const DES: u64 = caseless(b"DES");
}

/// What was read.
pub(super) struct Found {
    pub(super) known: Known,
    /// The number behind SIZE.
    pub(super) size: Option<u64>,
    /// Octets of the line with what ends it.
    pub(super) octets: usize,
}

/// The line at the start of `text`, up to its `ending`: a known keyword alone, or SIZE and a number.
#[inline(always)]
pub(super) fn line(text: &[u8], ending: &[u8]) -> Option<Found> {
    match text.first_chunk() {
        Some(text) => read(text, ending),
        None => {
            let mut padded = [0; AT_ONCE];
            padded.get_mut(..text.len())?.copy_from_slice(text);
            read(&padded, ending)
        }
    }
}

#[inline(always)]
fn read(text: &[u8; AT_ONCE], ending: &[u8]) -> Option<Found> {
    let (first, behind) = text.split_first_chunk::<8>()?;
    let (second, behind) = behind.split_first_chunk::<8>()?;
    let first = u64::from_le_bytes(*first);
    let second = u64::from_le_bytes(*second) & CASELESS;
    let end = first_below(first, b' ' + 1);
    // What stands before the end; all of it where there is none.
    let start = first & ((end & end.wrapping_neg()) >> 7).wrapping_sub(1) & CASELESS;
    let (known, len) = match start {
        start::DSN => (Known::DSN, 3),
        start::SIZE => return size(text, ending),
        start::DETA => (Known::DETA, 4),
        start::RESUME => (Known::RESUME, 6),
        start::EIGHT_BIT_MIME => (Known::EIGHT_BIT_MIME, 8),
        start::SMTPUTF8 => (Known::SMTPUTF8, 8),
        start::CHUNKING => (Known::CHUNKING, 8),
        start::STARTTLS => (Known::STARTTLS, 8),
        start::PIPELINI if second & 0xffff == rest::NG => (Known::PIPELINING, 10),
        start::CHECKPOI if second & 0xffff == rest::NT => (Known::CHECKPOINT, 10),
        start::BINARYMI if second & 0xffff == rest::ME => (Known::BINARY_MIME, 10),
        start::ENHANCED if second == rest::STATUSCO => {
            let third = u64::from_le_bytes(*behind.first_chunk()?);
            if third & CASELESS & 0xff_ffff != rest::DES {
                return None;
            }
            (Known::ENHANCED_STATUS_CODES, 19)
        }
        _ => return None,
    };
    (text.get(len..)?.starts_with(ending)).then_some(Found {
        known,
        size: None,
        octets: len + ending.len(),
    })
}

/// `SIZE`, a SPACE and a number, which always fits.
#[inline(always)]
fn size(text: &[u8; AT_ONCE], ending: &[u8]) -> Option<Found> {
    let digits = text.get(4..)?.strip_prefix(b" ")?;
    let (mut size, mut len) = (0, 0);
    for octet in digits {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        size = size * 10 + u64::from(digit);
        len += 1;
    }
    (len > 0 && digits.get(len..)?.starts_with(ending)).then_some(Found {
        known: Known::SIZE,
        size: Some(size),
        octets: 5 + len + ending.len(),
    })
}
