//! Replies: built and written by a server, read by a client, stored with a transaction.
//!
//! Layer 1. A [`Reply`] holds no CR, LF or NUL in a line of its text, whatever it was made from,
//! so one reply on the wire stays one reply. Codes that the crate does not know are read all the
//! same and judged by their first digit (RFC 5321 §4.2.1).
//!
//! ```
//! use bytes::BytesMut;
//! use smtp_checkpoint::reply::{EnhancedCode, Reply, ReplyCode, standard};
//!
//! let mut out = BytesMut::new();
//! standard::LINE_TOO_LONG.reply().encode(true, &mut out);
//! assert_eq!(&out[..], b"500 5.5.2 Line too long\r\n");
//!
//! let code = EnhancedCode::new(5, 1, 1);
//! // made from a peer's octets, and still one reply
//! let reply = Reply::cleaned(ReplyCode::MAILBOX_UNAVAILABLE, code, b"<a\r\n250 ok> unknown");
//! out.clear();
//! reply.encode(true, &mut out);
//! assert_eq!(&out[..], b"550 5.1.1 <a??250 ok> unknown\r\n");
//! ```

mod borrowed;
mod code;
mod encode;
mod read;
pub mod standard;
mod store;

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use memchr::memchr;
use thiserror::Error;

pub use borrowed::{ParsedReply, ReplyRef};
pub use code::{EnhancedCode, EnhancedCodeError, ReplyCode, Severity};
pub use read::{ReplyError, ReplyReader};
pub use standard::StaticReply;
pub use store::ReplyLoadError;

use crate::offset::OctetOffset;
use crate::text::Text;

/// A reply: a code, perhaps an enhanced status code (RFC 2034), and one or more lines of text.
///
/// Cloning is cheap and copies no text. A reply that was read has its text exactly as it came,
/// octets that are not UTF-8 included; an enhanced code that the server wrote is part of that
/// text (see [`Reply::enhanced_code`] and [`Reply::with_enhanced_from_text`]).
///
/// ```
/// use smtp_checkpoint::reply::{Reply, ReplyCode};
///
/// let reply = Reply::with_text(ReplyCode::CHECKPOINT_OFFSET, None, "6135 is the offset")?;
/// assert_eq!(reply.first_line(), b"6135 is the offset");
/// assert!(Reply::with_text(ReplyCode::OK, None, "one\r\n250 two").is_err());
/// # Ok::<(), smtp_checkpoint::reply::ReplyTextError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reply {
    code: ReplyCode,
    enhanced: Option<EnhancedCode>,
    /// The lines, with an LF between two of them: no line holds one.
    text: Bytes,
}

/// Why a reply cannot be built from what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum ReplyTextError {
    /// A control other than TAB; CR, LF and NUL are among them (RFC 5321 §4.2, `textstring`).
    #[error("control in the reply text, at octet {at}")]
    Control {
        /// The octet, counted from zero in its line.
        at: usize,
    },
    /// Octets above 127 that are not UTF-8.
    #[error("reply text not UTF-8 from octet {at} on")]
    NotUtf8 {
        /// The first octet that is not, counted from zero in its line.
        at: usize,
    },
    /// An enhanced code whose class is not the first digit of the reply code, as with any 1yz or
    /// 3yz (RFC 2034 §4).
    #[error("enhanced status code does not go with the reply code")]
    EnhancedCode,
}

impl Reply {
    /// A reply of one line. Fixed texts are better made as [`StaticReply`], which can be constant.
    ///
    /// # Errors
    ///
    /// [`ReplyTextError`] where `text` holds a control other than TAB or is not UTF-8, or
    /// `enhanced` does not go with `code`. Nothing is repaired: [`Reply::cleaned`] does that.
    pub fn with_text(
        code: ReplyCode,
        enhanced: Option<EnhancedCode>,
        text: impl Into<Bytes>,
    ) -> Result<Self, ReplyTextError> {
        check_enhanced(code, enhanced)?;
        let text = text.into();
        check_text(&text)?;
        Ok(Self {
            code,
            enhanced,
            text,
        })
    }

    /// A reply of several lines; none at all makes one empty line.
    ///
    /// # Errors
    ///
    /// As for [`Reply::with_text`], for each line.
    pub fn with_lines<L: AsRef<[u8]>>(
        code: ReplyCode,
        enhanced: Option<EnhancedCode>,
        lines: impl IntoIterator<Item = L>,
    ) -> Result<Self, ReplyTextError> {
        check_enhanced(code, enhanced)?;
        let mut text = Vec::new();
        for (index, line) in lines.into_iter().enumerate() {
            let line = line.as_ref();
            check_text(line)?;
            if index > 0 {
                text.push(b'\n');
            }
            text.extend_from_slice(line);
        }
        Ok(Self {
            code,
            enhanced,
            text: text.into(),
        })
    }

    /// 355: the content goes on at this offset (RFC 1845 §4). It never has an enhanced code.
    ///
    /// ```
    /// use smtp_checkpoint::offset::OctetOffset;
    /// use smtp_checkpoint::reply::Reply;
    ///
    /// let mut octets = bytes::BytesMut::new();
    /// Reply::checkpoint_offset(OctetOffset::new(6135)).encode(true, &mut octets);
    /// assert_eq!(octets, "355 6135 is the transaction offset\r\n");
    /// ```
    #[must_use]
    pub fn checkpoint_offset(offset: OctetOffset) -> Self {
        Self::cleaned(
            ReplyCode::CHECKPOINT_OFFSET,
            None,
            offset.reply_text().as_bytes(),
        )
    }

    /// A reply of one line from any octets, made fit to be written: everything but printable
    /// ASCII and SPACE becomes "?", and an enhanced code that does not go with `code` is left out.
    ///
    /// For text that holds something the peer sent, or that an outside library worded.
    #[must_use]
    pub fn cleaned(code: ReplyCode, enhanced: Option<EnhancedCode>, text: &[u8]) -> Self {
        let clean: Vec<u8> = text
            .iter()
            .map(|octet| match octet {
                b' '..=b'~' => *octet,
                _ => b'?',
            })
            .collect();
        Self {
            code,
            enhanced: enhanced.filter(|enhanced| enhanced.goes_with(code)),
            text: clean.into(),
        }
    }

    /// The parts, checked by the caller.
    const fn from_parts(code: ReplyCode, enhanced: Option<EnhancedCode>, text: Bytes) -> Self {
        Self {
            code,
            enhanced,
            text,
        }
    }

    /// The reply code.
    #[must_use]
    pub const fn code(&self) -> ReplyCode {
        self.code
    }

    /// What the first digit of the code says.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.code.severity()
    }

    /// The enhanced status code: the one that the reply was built with, else the one that the
    /// text of its first line begins with. Only a code whose class is the first digit of the reply
    /// code counts, so 1yz and 3yz replies have none.
    ///
    /// Whether the server means it as one is told by its ENHANCEDSTATUSCODES keyword.
    #[must_use]
    pub fn enhanced_code(&self) -> Option<EnhancedCode> {
        self.enhanced
            .or_else(|| split_enhanced(self.code, self.first_line()).map(|(code, _)| code))
    }

    /// Takes an enhanced code that every line of the text begins with out of the text. The reply
    /// stays as it is where they differ, where there is none, or where one was built in.
    ///
    /// For a reply read from a server that offers ENHANCEDSTATUSCODES.
    #[must_use]
    pub fn with_enhanced_from_text(self) -> Self {
        match self.enhanced_moved() {
            Some(moved) => moved,
            None => self,
        }
    }

    fn enhanced_moved(&self) -> Option<Self> {
        if self.enhanced.is_some() {
            return None;
        }
        let (enhanced, rest) = split_enhanced(self.code, self.first_line())?;
        let text = if self.is_one_line() {
            self.text.slice_ref(rest)
        } else {
            let mut text = Vec::with_capacity(self.text.len());
            for (index, line) in self.lines().enumerate() {
                let (code, rest) = split_enhanced(self.code, line)?;
                if code != enhanced {
                    return None;
                }
                if index > 0 {
                    text.push(b'\n');
                }
                text.extend_from_slice(rest);
            }
            text.into()
        };
        Some(Self::from_parts(self.code, Some(enhanced), text))
    }

    /// The text of each line, without code, separator and CRLF, and without the enhanced code that
    /// the reply was built with. There is always at least one line.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|octet| *octet == b'\n')
    }

    /// The text of the first line; see [`Reply::lines`]. The offset of a 355 stands here.
    #[must_use]
    pub fn first_line(&self) -> &[u8] {
        self.lines().next().unwrap_or_default()
    }

    /// Whether the text is a single line.
    #[must_use]
    pub fn is_one_line(&self) -> bool {
        memchr(b'\n', &self.text).is_none()
    }

    /// The same reply in memory of its own. A reply that was read may be a slice of the input and
    /// keeps that buffer alive; this one does not.
    #[must_use]
    pub fn compact(&self) -> Self {
        Self {
            code: self.code,
            enhanced: self.enhanced,
            text: Bytes::copy_from_slice(&self.text),
        }
    }

    /// [`compact`](Self::compact), with no more than 1 KiB of the text, in whole lines if that can
    /// be: for what is kept of each of many recipients, which is the peer's to make long.
    pub(crate) fn excerpt(&self) -> Self {
        let mut text = &self.text[..];
        if let Some((start, _)) = text.split_at_checked(Self::EXCERPT) {
            let lines = memchr::memrchr(b'\n', start);
            text = lines.and_then(|end| start.get(..end)).unwrap_or(start);
        }
        Self {
            code: self.code,
            enhanced: self.enhanced,
            text: Bytes::copy_from_slice(text),
        }
    }

    const EXCERPT: usize = 1024;

    /// A reply of lines that the caller has checked, with an LF between two of them.
    pub(crate) const fn from_checked_lines(code: ReplyCode, text: Bytes) -> Self {
        Self::from_parts(code, None, text)
    }

    /// The lines with an LF between two of them.
    pub(crate) fn raw_text(&self) -> &Bytes {
        &self.text
    }
}

impl fmt::Display for Reply {
    /// As it is sent where enhanced codes are, `250-` and `250 ` included, with an LF between two
    /// lines; controls and what is not UTF-8 are escaped.
    ///
    /// ```
    /// use smtp_checkpoint::reply::standard;
    ///
    /// assert_eq!(standard::SENDER_OK.reply().to_string(), "250 2.1.0 Sender OK");
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.lines().peekable();
        while let Some(line) = lines.next() {
            let last = lines.peek().is_none();
            write!(f, "{}{}", self.code, if last { ' ' } else { '-' })?;
            if let Some(enhanced) = self.enhanced {
                write!(f, "{enhanced} ")?;
            }
            write!(f, "{}{}", Text(line), if last { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reply = f.debug_struct("Reply");
        reply.field("code", &self.code.get());
        if let Some(enhanced) = self.enhanced {
            reply.field("enhanced", &format_args!("{enhanced}"));
        }
        reply.field("text", &self.text).finish()
    }
}

/// An enhanced code at the start of `line` that goes with `code`, and what follows it.
fn split_enhanced(code: ReplyCode, line: &[u8]) -> Option<(EnhancedCode, &[u8])> {
    let (first, rest) = match memchr(b' ', line) {
        Some(at) => (line.get(..at)?, line.get(at + 1..)?),
        // an empty slice of `line`, so that it can still be found in its buffer
        None => (line, line.get(line.len()..)?),
    };
    let enhanced = EnhancedCode::parse(first).ok()?;
    enhanced.goes_with(code).then_some((enhanced, rest))
}

const fn check_enhanced(
    code: ReplyCode,
    enhanced: Option<EnhancedCode>,
) -> Result<(), ReplyTextError> {
    match enhanced {
        Some(enhanced) if !enhanced.goes_with(code) => Err(ReplyTextError::EnhancedCode),
        _ => Ok(()),
    }
}

fn check_text(line: &[u8]) -> Result<(), ReplyTextError> {
    let control = |octet: &u8| octet.is_ascii_control() && *octet != b'\t';
    if let Some(at) = line.iter().position(control) {
        return Err(ReplyTextError::Control { at });
    }
    match core::str::from_utf8(line) {
        Ok(_) => Ok(()),
        Err(error) => Err(ReplyTextError::NotUtf8 {
            at: error.valid_up_to(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn refused() -> Option<EnhancedCode> {
        EnhancedCode::new(5, 7, 1)
    }

    #[test]
    fn a_line_end_in_the_text_is_refused() {
        for (text, at) in [
            ("a\r\nb", 1),
            ("a\n", 1),
            ("\r", 0),
            ("ab\0", 2),
            ("\x7f", 0),
        ] {
            assert_eq!(
                Reply::with_text(ReplyCode::OK, None, text),
                Err(ReplyTextError::Control { at }),
                "{text:?}"
            );
        }
        assert_eq!(
            Reply::with_lines(ReplyCode::OK, None, ["fine", "a\nb"]),
            Err(ReplyTextError::Control { at: 1 })
        );
        assert_eq!(
            Reply::with_text(ReplyCode::OK, None, &b"caf\xe9"[..]),
            Err(ReplyTextError::NotUtf8 { at: 3 })
        );
        assert!(Reply::with_text(ReplyCode::OK, None, "caf\u{e9}\tau lait").is_ok());
    }

    #[test]
    fn an_enhanced_code_goes_with_its_class_only() {
        for code in [
            ReplyCode::OK,
            ReplyCode::IN_PROGRESS,
            ReplyCode::START_MAIL_INPUT,
            ReplyCode::CHECKPOINT_OFFSET,
            ReplyCode::SERVICE_NOT_AVAILABLE,
        ] {
            assert_eq!(
                Reply::with_text(code, refused(), "x"),
                Err(ReplyTextError::EnhancedCode)
            );
            assert_eq!(Reply::cleaned(code, refused(), b"x").enhanced_code(), None);
        }
        let reply = Reply::with_text(ReplyCode::MAILBOX_UNAVAILABLE, refused(), "x").unwrap();
        assert_eq!(reply.enhanced_code(), refused());
    }

    #[test]
    fn cleaning_keeps_one_line_and_printable_ascii() {
        let all: Vec<u8> = (0..=255).collect();
        let reply = Reply::cleaned(ReplyCode::MAILBOX_UNAVAILABLE, None, &all);
        assert!(reply.is_one_line());
        assert_eq!(reply.first_line().len(), 256);
        assert!(reply.first_line().iter().all(|o| (b' '..=b'~').contains(o)));
        assert_eq!(&reply.first_line()[b'A' as usize..][..3], b"ABC");
    }

    #[test]
    fn an_enhanced_code_in_the_text_is_found_and_taken_out() {
        let read = Reply::with_text(ReplyCode::OK, None, "2.1.5 fine").unwrap();
        assert_eq!(read.enhanced_code(), EnhancedCode::new(2, 1, 5));
        assert_eq!(read.first_line(), b"2.1.5 fine");
        let moved = read.with_enhanced_from_text();
        assert_eq!(moved.enhanced_code(), EnhancedCode::new(2, 1, 5));
        assert_eq!(moved.first_line(), b"fine");

        let bare = Reply::with_text(ReplyCode::OK, None, "2.1.5").unwrap();
        assert_eq!(bare.with_enhanced_from_text().first_line(), b"");

        let lines = ["5.7.1 no", "5.7.1 never"];
        let two = Reply::with_lines(ReplyCode::MAILBOX_UNAVAILABLE, None, lines)
            .unwrap()
            .with_enhanced_from_text();
        assert!(two.lines().eq([&b"no"[..], b"never"]));
        assert_eq!(format!("{two}"), "550-5.7.1 no\n550 5.7.1 never");

        let mixed = Reply::with_lines(ReplyCode::OK, None, ["2.0.0 a", "b"]).unwrap();
        assert_eq!(mixed.clone().with_enhanced_from_text(), mixed);
        // another class than the code's is text, and so is all that a 355 says
        for (code, text) in [(250, "5.7.1 x"), (355, "3.0.0 6135 x"), (250, "2.1 x")] {
            let reply = Reply::with_text(ReplyCode::new(code).unwrap(), None, text).unwrap();
            assert_eq!(reply.enhanced_code(), None, "{code} {text}");
            assert_eq!(reply.clone().with_enhanced_from_text(), reply);
        }
    }

    #[test]
    fn there_is_always_a_line() {
        let none = Reply::with_lines(ReplyCode::OK, None, [""; 0]).unwrap();
        assert!(none.lines().eq([&b""[..]]));
        assert_eq!(none, Reply::with_text(ReplyCode::OK, None, "").unwrap());
        assert_eq!(format!("{none:?}"), "Reply { code: 250, text: b\"\" }");
    }

    #[test]
    fn an_excerpt_is_whole_lines_of_a_kibibyte_at_most() {
        let reply = |lines: &[&str]| Reply::with_lines(ReplyCode::OK, None, lines).unwrap();
        let (half, whole) = ("x".repeat(600), "y".repeat(2000));
        let short = reply(&["one", "two"]);
        assert_eq!(short.excerpt(), short);
        assert_eq!(reply(&[&half, &half]).excerpt(), reply(&[&half]));
        let most = "y".repeat(1024);
        assert_eq!(reply(&[&whole]).excerpt(), reply(&[&most]));
        assert_eq!(reply(&[&most]).excerpt(), reply(&[&most]));
    }

    #[test]
    fn a_compact_reply_is_equal_and_elsewhere() {
        let reply = Reply::with_text(ReplyCode::OK, None, "text").unwrap();
        let compact = reply.compact();
        assert_eq!(compact, reply);
        assert_ne!(compact.first_line().as_ptr(), reply.first_line().as_ptr());
    }
}
