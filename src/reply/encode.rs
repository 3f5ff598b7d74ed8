//! Replies to octets.
//!
//! Layer 1.
//!
//! ```
//! use bytes::BytesMut;
//! use smtp_checkpoint::reply::{Reply, ReplyCode};
//!
//! let reply = Reply::with_lines(ReplyCode::OK, None, ["mx.example", "CHECKPOINT"])?;
//! let mut out = BytesMut::new();
//! reply.encode(false, &mut out);
//! assert_eq!(&out[..], b"250-mx.example\r\n250 CHECKPOINT\r\n");
//! # Ok::<(), smtp_checkpoint::reply::ReplyTextError>(())
//! ```

use bytes::{BufMut, BytesMut};

use super::{EnhancedCode, Reply, ReplyCode};

/// The longest line that is written, with its CRLF (RFC 5321 §4.5.3.1.5).
const LINE: usize = 512;

impl Reply {
    /// Writes the reply behind what stands in `out`, each line with its CRLF.
    ///
    /// `enhanced` tells whether the enhanced code, if there is one, is written (on every line, RFC
    /// 2034 §4): only where ENHANCEDSTATUSCODES was offered. Text that does not fit a line of 512
    /// octets goes on in the next line of the reply, if possible at a space.
    pub fn encode(&self, enhanced: bool, out: &mut BytesMut) {
        let mut prefix = Prefix::new(self.code);
        if let (true, Some(enhanced)) = (enhanced, self.enhanced) {
            prefix.push(enhanced);
        }
        let room = LINE - "\r\n".len() - prefix.as_bytes(true).len();

        out.reserve(self.text.len().saturating_add(32));
        if self.text.len() <= room && self.is_one_line() {
            // As nearly all replies are.
            return put_line(out, prefix.as_bytes(true), &self.text);
        }
        let mut lines = self.lines().peekable();
        while let Some(mut rest) = lines.next() {
            loop {
                let (piece, tail) = split_to_fit(rest, room);
                let last = tail.is_empty() && lines.peek().is_none();
                put_line(out, prefix.as_bytes(last), piece);
                if tail.is_empty() {
                    break;
                }
                rest = tail;
            }
        }
    }
}

fn put_line(out: &mut BytesMut, prefix: &[u8], text: &[u8]) {
    out.put_slice(prefix);
    out.put_slice(text);
    out.put_slice(b"\r\n");
}

/// What stands before the text of every line: `250 ` or `250-`, then the enhanced code and a space,
/// of which `5.999.999 ` is the longest.
struct Prefix {
    octets: [u8; 14],
    len: usize,
}

impl Prefix {
    fn new(code: ReplyCode) -> Self {
        let [first, second, third] = code.digits();
        let mut octets = [0; 14];
        octets[..4].copy_from_slice(&[first, second, third, b' ']);
        Self { octets, len: 4 }
    }

    fn push(&mut self, code: EnhancedCode) {
        self.number(code.class().into(), b'.');
        self.number(code.subject(), b'.');
        self.number(code.detail(), b' ');
    }

    /// Up to three digits, and what follows them.
    fn number(&mut self, number: u16, next: u8) {
        let digit = |value: u16| b'0' + (value % 10) as u8;
        if number > 99 {
            self.octet(digit(number / 100));
        }
        if number > 9 {
            self.octet(digit(number / 10));
        }
        self.octet(digit(number));
        self.octet(next);
    }

    fn octet(&mut self, octet: u8) {
        // Always there: 14 octets hold every code.
        if let Some(slot) = self.octets.get_mut(self.len) {
            *slot = octet;
            self.len += 1;
        }
    }

    fn as_bytes(&mut self, last: bool) -> &[u8] {
        self.octets[3] = if last { b' ' } else { b'-' };
        self.octets.get(..self.len).unwrap_or_default()
    }
}

/// What goes on this line, and what is left for the next. The piece is empty only where `text` is.
fn split_to_fit(text: &[u8], room: usize) -> (&[u8], &[u8]) {
    let Some((piece, tail)) = text.split_at_checked(room) else {
        return (text, &[]);
    };
    let Some(next) = tail.first() else {
        return (piece, &[]);
    };
    if *next == b' ' && tail.len() > 1 {
        return (piece, tail.get(1..).unwrap_or_default());
    }
    // a space that has something on either side: it is the one that the line end replaces
    if let Some(space) = piece.iter().rposition(|octet| *octet == b' ') {
        if space > 0 {
            return (
                text.get(..space).unwrap_or_default(),
                text.get(space + 1..).unwrap_or_default(),
            );
        }
    }
    // no space: at least not within a character of UTF-8, which has at most three such octets
    let mut at = room;
    while room - at < 3 && text.get(at).is_some_and(|octet| octet & 0xc0 == 0x80) {
        at -= 1;
    }
    text.split_at_checked(at).unwrap_or((piece, tail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::standard;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn written(reply: &Reply, enhanced: bool) -> Vec<u8> {
        let mut out = BytesMut::new();
        reply.encode(enhanced, &mut out);
        out.to_vec()
    }

    #[test]
    fn the_enhanced_code_is_written_when_asked_and_on_every_line() {
        let code = EnhancedCode::new(5, 123, 456);
        let reply =
            Reply::with_lines(ReplyCode::MAILBOX_UNAVAILABLE, code, ["one", "", "two"]).unwrap();
        assert_eq!(
            written(&reply, true),
            b"550-5.123.456 one\r\n550-5.123.456 \r\n550 5.123.456 two\r\n"
        );
        assert_eq!(written(&reply, false), b"550-one\r\n550-\r\n550 two\r\n");
        assert_eq!(
            written(&standard::START_MAIL_INPUT.reply(), true),
            b"354 Start mail input; end with <CRLF>.<CRLF>\r\n"
        );
        let longest = Reply::with_text(ReplyCode::OK, EnhancedCode::new(2, 999, 999), "x").unwrap();
        assert_eq!(written(&longest, true), b"250 2.999.999 x\r\n");
    }

    #[test]
    fn an_empty_text_still_has_its_space() {
        let empty = Reply::with_text(ReplyCode::OK, None, "").unwrap();
        assert_eq!(written(&empty, true), b"250 \r\n");
    }

    #[test]
    fn long_text_goes_on_in_lines_of_512_octets_and_loses_no_word() {
        for length in [1, 7, 505, 506, 507, 508, 1011, 1012, 1013, 3000] {
            let solid = "x".repeat(length);
            let words = "word ".repeat(length / 5) + "end";
            let utf8 = "\u{20ac}".repeat(length);
            for (text, separator) in [(&solid, ""), (&words, " "), (&utf8, "")] {
                let reply = Reply::with_text(ReplyCode::OK, None, text.clone()).unwrap();
                let out = String::from_utf8(written(&reply, true)).unwrap();
                let lines: Vec<&str> = out.split_terminator("\r\n").collect();
                assert!(lines.iter().all(|line| line.len() <= 510));
                let (last, others) = lines.split_last().unwrap();
                assert!(last.starts_with("250 "));
                assert!(others.iter().all(|line| line.starts_with("250-")));
                let back: Vec<&str> = lines.iter().map(|line| &line[4..]).collect();
                assert_eq!(&back.join(separator), text);
            }
        }
    }

    #[test]
    fn text_of_spaces_or_of_stray_continuation_octets_ends_too() {
        let spaces = Reply::with_text(ReplyCode::OK, None, " ".repeat(2000)).unwrap();
        assert!(written(&spaces, true).len() > 1500);
        let stray = Reply::from_parts(ReplyCode::OK, None, [0x80u8; 2000].to_vec().into());
        let out = written(&stray, true);
        assert_eq!(out.iter().filter(|octet| **octet == 0x80).count(), 2000);
        assert!(out.split(|o| *o == b'\n').all(|line| line.len() < 512));
    }
}
