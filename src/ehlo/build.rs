//! A server's reply to EHLO, built from what it offers.
//!
//! Layer 1.
//!
//! ```
//! use smtp_checkpoint::ehlo::{EhloBuildError, EhloBuilder};
//!
//! let reply = EhloBuilder::new("mx.example")?.checkpoint().pipelining().build()?;
//! assert!(reply.lines().eq([&b"mx.example"[..], b"CHECKPOINT", b"PIPELINING"]));
//!
//! // DETA without what it rests on
//! let deta = EhloBuilder::new("mx.example")?.deta().build();
//! assert_eq!(deta, Err(EhloBuildError::DetaAlone));
//! # Ok::<(), EhloBuildError>(())
//! ```

use alloc::vec::Vec;
use core::fmt::{self, Write};

use thiserror::Error;

use super::{Keyword, MAX_TIMER, SizeOffer, name};
use crate::reply::{Reply, ReplyCode};
use crate::syntax::is_keyword;

/// Builds the 250 reply to EHLO: the server's name, then one line for each keyword in the order
/// of the calls. A keyword offered twice is written once, as it was first.
///
/// ```
/// use smtp_checkpoint::ehlo::EhloBuilder;
///
/// let reply = EhloBuilder::new("mx.example")?
///     .chunking()
///     .binary_mime()
///     .auth(["PLAIN", "SCRAM-SHA-256"])?
///     .rdlv(30)?
///     .build()?;
/// assert_eq!(reply.lines().last(), Some(&b"RDLV mintimer=30"[..]));
/// # Ok::<(), smtp_checkpoint::ehlo::EhloBuildError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct EhloBuilder {
    /// The lines with an LF between two.
    text: Vec<u8>,
}

/// What is wrong with the offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum EhloBuildError {
    /// The server's name is empty or holds something other than printable ASCII without SPACE.
    #[error("server name empty or not printable")]
    ServerName,
    /// The keyword is not letters, digits and "-" with a letter or digit first (RFC 5321
    /// §4.1.1.1).
    #[error("malformed EHLO keyword")]
    Keyword,
    /// The parameters hold something other than printable ASCII and single SPACEs between them.
    #[error("malformed parameter of an EHLO keyword")]
    Parameter,
    /// The keyword has been offered already.
    #[error("EHLO keyword offered twice")]
    Duplicate,
    /// The line is longer than the 512 octets of RFC 5321 §4.5.3.1.5, and a keyword cannot go on
    /// in the next one.
    #[error("EHLO line too long")]
    TooLong,
    /// `mintimer` is not in 1 to 2^31 - 1 (draft-burger-smtp-rdlv-01 §4).
    #[error("RDLV mintimer out of range")]
    MinTimer,
    /// DETA without both RDLV and DSN (draft-burger-smtp-deta-00 §2.2.1).
    #[error("DETA offered without RDLV and DSN")]
    DetaAlone,
    /// BINARYMIME without CHUNKING (RFC 3030 §3).
    #[error("BINARYMIME offered without CHUNKING")]
    BinaryMimeAlone,
}

/// The longest text of a line: 512 octets without "250-" and CRLF.
const MAX_TEXT: usize = 512 - 4 - 2;

impl EhloBuilder {
    /// An offer of nothing, by the server of this name: a domain or an address literal.
    ///
    /// # Errors
    ///
    /// [`EhloBuildError::ServerName`] or [`EhloBuildError::TooLong`].
    pub fn new(server_name: &str) -> Result<Self, EhloBuildError> {
        if server_name.is_empty() || !server_name.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(EhloBuildError::ServerName);
        }
        if server_name.len() > MAX_TEXT {
            return Err(EhloBuildError::TooLong);
        }
        Ok(Self {
            text: server_name.into(),
        })
    }

    /// A text behind the server's name in the first line (RFC 5321 §4.1.1.1, `ehlo-greet`); an empty
    /// one changes nothing.
    ///
    /// # Errors
    ///
    /// [`EhloBuildError::Parameter`] where it is not printable ASCII, [`EhloBuildError::TooLong`]
    /// where the line gets too long.
    pub fn greeting(mut self, text: &str) -> Result<Self, EhloBuildError> {
        if text.is_empty() {
            return Ok(self);
        }
        if !text
            .bytes()
            .all(|octet| octet.is_ascii_graphic() || octet == b' ')
        {
            return Err(EhloBuildError::Parameter);
        }
        let end = memchr::memchr(b'\n', &self.text).unwrap_or(self.text.len());
        if end + 1 + text.len() > MAX_TEXT {
            return Err(EhloBuildError::TooLong);
        }
        let keywords = self.text.split_off(end);
        self.text.push(b' ');
        self.text.extend_from_slice(text.as_bytes());
        self.text.extend(keywords);
        Ok(self)
    }

    /// CHECKPOINT (RFC 1845 §2).
    pub fn checkpoint(self) -> Self {
        self.offer(name::CHECKPOINT)
    }

    /// RESUME (draft-fanf-smtp-rfc1845bis-01 §2).
    pub fn resume(self) -> Self {
        self.offer(name::RESUME)
    }

    /// PIPELINING (RFC 2920).
    pub fn pipelining(self) -> Self {
        self.offer(name::PIPELINING)
    }

    /// SIZE (RFC 1870 §3). A limit of 0 octets is written as no fixed limit: the wire has no way
    /// to say it.
    pub fn size(self, size: SizeOffer) -> Self {
        match size {
            SizeOffer::Limit(octets) => self.offer_with(name::SIZE, format_args!(" {octets}")),
            SizeOffer::NoFixedLimit => self.offer_with(name::SIZE, format_args!(" 0")),
            SizeOffer::Unstated => self.offer(name::SIZE),
        }
    }

    /// 8BITMIME (RFC 6152).
    pub fn eight_bit_mime(self) -> Self {
        self.offer(name::EIGHT_BIT_MIME)
    }

    /// SMTPUTF8 (RFC 6531).
    pub fn smtputf8(self) -> Self {
        self.offer(name::SMTPUTF8)
    }

    /// DSN (RFC 3461).
    pub fn dsn(self) -> Self {
        self.offer(name::DSN)
    }

    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub fn enhanced_status_codes(self) -> Self {
        self.offer(name::ENHANCED_STATUS_CODES)
    }

    /// CHUNKING (RFC 3030 §2).
    pub fn chunking(self) -> Self {
        self.offer(name::CHUNKING)
    }

    /// BINARYMIME (RFC 3030 §3); needs CHUNKING.
    pub fn binary_mime(self) -> Self {
        self.offer(name::BINARY_MIME)
    }

    /// STARTTLS (RFC 3207).
    pub fn starttls(self) -> Self {
        self.offer(name::STARTTLS)
    }

    /// AUTH with these SASL mechanisms (RFC 4954 §3); with none AUTH is not offered.
    ///
    /// # Errors
    ///
    /// [`EhloBuildError::Parameter`], [`EhloBuildError::TooLong`] or
    /// [`EhloBuildError::Duplicate`].
    pub fn auth<M: AsRef<str>>(
        self,
        mechanisms: impl IntoIterator<Item = M>,
    ) -> Result<Self, EhloBuildError> {
        let mut parameters = alloc::string::String::new();
        for mechanism in mechanisms {
            let mechanism = mechanism.as_ref();
            if mechanism.is_empty() || mechanism.contains(' ') {
                return Err(EhloBuildError::Parameter);
            }
            if !parameters.is_empty() {
                parameters.push(' ');
            }
            parameters.push_str(mechanism);
        }
        if parameters.is_empty() {
            return Ok(self);
        }
        self.keyword(name::AUTH, &parameters)
    }

    /// BURL with these parameters, such as `imap`, or none (RFC 4468 §3.3).
    ///
    /// # Errors
    ///
    /// As for [`EhloBuilder::keyword`].
    pub fn burl(self, parameters: &str) -> Result<Self, EhloBuildError> {
        self.keyword(name::BURL, parameters)
    }

    /// RDLV; `mintimer` is the least time in seconds before a 120 (draft-burger-smtp-rdlv-01
    /// §3.1).
    ///
    /// # Errors
    ///
    /// [`EhloBuildError::MinTimer`] for 0 and above 2^31 - 1.
    pub fn rdlv(self, mintimer: u32) -> Result<Self, EhloBuildError> {
        if !(1..=MAX_TIMER).contains(&mintimer) {
            return Err(EhloBuildError::MinTimer);
        }
        Ok(self.offer_with(name::RDLV, format_args!(" mintimer={mintimer}")))
    }

    /// DETA (draft-burger-smtp-deta-00 §2.1); needs RDLV and DSN.
    pub fn deta(self) -> Self {
        self.offer(name::DETA)
    }

    /// A keyword of the caller's own, with its parameters or "" for none.
    ///
    /// # Errors
    ///
    /// [`EhloBuildError::Keyword`], [`EhloBuildError::Parameter`], [`EhloBuildError::TooLong`] or
    /// [`EhloBuildError::Duplicate`]: nothing is written that is not one line of the grammar.
    pub fn keyword(self, name: &str, parameters: &str) -> Result<Self, EhloBuildError> {
        let starts_well = name
            .bytes()
            .next()
            .is_some_and(|o| o.is_ascii_alphanumeric());
        if !starts_well || !name.bytes().all(is_keyword) {
            return Err(EhloBuildError::Keyword);
        }
        let well_formed = |parameter: &str| {
            !parameter.is_empty() && parameter.bytes().all(|octet| octet.is_ascii_graphic())
        };
        if !parameters.is_empty() && !parameters.split(' ').all(well_formed) {
            return Err(EhloBuildError::Parameter);
        }
        if name.len().saturating_add(parameters.len()) >= MAX_TEXT {
            return Err(EhloBuildError::TooLong);
        }
        if self.offers(name) {
            return Err(EhloBuildError::Duplicate);
        }
        let separator = if parameters.is_empty() { "" } else { " " };
        Ok(self.offer_with(name, format_args!("{separator}{parameters}")))
    }

    /// The reply. It carries no enhanced code.
    ///
    /// # Errors
    ///
    /// [`EhloBuildError::DetaAlone`] or [`EhloBuildError::BinaryMimeAlone`], where a keyword lacks
    /// one that it rests on.
    pub fn build(self) -> Result<Reply, EhloBuildError> {
        if self.offers(name::DETA) && !(self.offers(name::RDLV) && self.offers(name::DSN)) {
            return Err(EhloBuildError::DetaAlone);
        }
        if self.offers(name::BINARY_MIME) && !self.offers(name::CHUNKING) {
            return Err(EhloBuildError::BinaryMimeAlone);
        }
        Ok(Reply::from_checked_lines(ReplyCode::OK, self.text.into()))
    }

    fn offer(self, name: &str) -> Self {
        self.offer_with(name, format_args!(""))
    }

    fn offer_with(mut self, name: &str, parameters: fmt::Arguments<'_>) -> Self {
        if !self.offers(name) {
            // writing into memory does not fail
            let _ = write!(Appender(&mut self.text), "\n{name}{parameters}");
        }
        self
    }

    fn offers(&self, name: &str) -> bool {
        self.text
            .split(|octet| *octet == b'\n')
            .skip(1)
            .filter_map(Keyword::parse)
            .any(|keyword| keyword.is(name.as_bytes()))
    }
}

struct Appender<'a>(&'a mut Vec<u8>);

impl Write for Appender<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ehlo::{Capabilities, RdlvOffer};
    use crate::limits::Limits;
    use bytes::BytesMut;

    fn builder() -> EhloBuilder {
        EhloBuilder::new("mx.example").unwrap()
    }

    #[test]
    fn what_is_offered_is_read_back() {
        let reply = builder()
            .checkpoint()
            .resume()
            .pipelining()
            .size(SizeOffer::Limit(10))
            .eight_bit_mime()
            .smtputf8()
            .dsn()
            .enhanced_status_codes()
            .chunking()
            .binary_mime()
            .starttls()
            .auth(["PLAIN", "LOGIN"])
            .unwrap()
            .burl("imap imap://mail.example")
            .unwrap()
            .rdlv(30)
            .unwrap()
            .deta()
            .build()
            .unwrap();
        let offered = Capabilities::from_reply(&reply, &Limits::default()).unwrap();
        assert_eq!(offered.keywords().count(), 15);
        assert!(offered.checkpoint() && offered.resume() && offered.pipelining());
        assert!(offered.eight_bit_mime() && offered.smtputf8() && offered.dsn());
        assert!(offered.enhanced_status_codes() && offered.chunking() && offered.binary_mime());
        assert!(offered.starttls() && offered.deta());
        assert_eq!(offered.size(), Some(SizeOffer::Limit(10)));
        assert_eq!(offered.burl(), Some(&b"imap imap://mail.example"[..]));
        let mintimer = Some(30);
        assert_eq!(offered.rdlv(), Some(RdlvOffer { mintimer }));
        assert!(offered.auth().eq([b"PLAIN", b"LOGIN"]));
    }

    #[test]
    fn the_reply_on_the_wire_has_one_line_a_keyword_and_no_enhanced_code() {
        let reply = builder()
            .size(SizeOffer::NoFixedLimit)
            .checkpoint()
            .checkpoint();
        let mut out = BytesMut::new();
        reply.build().unwrap().encode(true, &mut out);
        assert_eq!(
            &out[..],
            b"250-mx.example\r\n250-SIZE 0\r\n250 CHECKPOINT\r\n"
        );
    }

    #[test]
    fn a_greeting_stands_in_the_first_line_whenever_it_is_given() {
        let text = "g".repeat(MAX_TEXT - "mx.example ".len());
        let offered = builder().size(SizeOffer::Unstated).keyword("X", &text);
        let reply = offered.unwrap().greeting(&text).unwrap().build().unwrap();
        let first = std::format!("mx.example {text}");
        let second = std::format!("X {text}");
        let lines = [first.as_bytes(), b"SIZE", second.as_bytes()];
        assert!(reply.lines().eq(lines), "{reply}");
        let longer = builder().dsn().greeting(&std::format!("{text}g"));
        assert_eq!(longer.unwrap_err(), EhloBuildError::TooLong);
    }

    #[test]
    fn nothing_but_a_line_of_the_grammar_is_taken() {
        for name in ["", "-X", "X Y", "X\r\n250 Y", "X=1", "\u{e9}", "X_Y"] {
            let error = builder().keyword(name, "").unwrap_err();
            assert_eq!(error, EhloBuildError::Keyword, "{name:?}");
        }
        for parameters in [" ", "a  b", " a", "a ", "a\tb", "a\r\nb", "\u{e9}"] {
            let error = builder().keyword("X", parameters).unwrap_err();
            assert_eq!(error, EhloBuildError::Parameter, "{parameters:?}");
        }
        for server in ["", "a b", "a\r\nb", "\u{e9}"] {
            let error = EhloBuilder::new(server).unwrap_err();
            assert_eq!(error, EhloBuildError::ServerName, "{server:?}");
        }
        for mechanisms in [&["A B"][..], &["", "A"], &["A\n"]] {
            let error = builder().auth(mechanisms).unwrap_err();
            assert_eq!(error, EhloBuildError::Parameter, "{mechanisms:?}");
        }
        let twice = builder().dsn().keyword("Dsn", "").unwrap_err();
        assert_eq!(twice, EhloBuildError::Duplicate);
        for mintimer in [0, 1 << 31] {
            let error = builder().rdlv(mintimer).unwrap_err();
            assert_eq!(error, EhloBuildError::MinTimer);
        }
    }

    #[test]
    fn a_keyword_fits_its_line_or_is_refused() {
        let longest = "p".repeat(MAX_TEXT - 2);
        let reply = builder().keyword("X", &longest).unwrap().build().unwrap();
        let mut out = BytesMut::new();
        reply.encode(true, &mut out);
        let lines: Vec<&[u8]> = out.split_inclusive(|octet| *octet == b'\n').collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1].len(), 512);

        let longer = "p".repeat(MAX_TEXT - 1);
        let error = builder().keyword("X", &longer).unwrap_err();
        assert_eq!(error, EhloBuildError::TooLong);
    }

    #[test]
    fn keywords_that_rest_on_others_are_refused_alone() {
        let alone = builder().deta().dsn().build();
        assert_eq!(alone, Err(EhloBuildError::DetaAlone));
        let alone = builder().deta().rdlv(1).unwrap().build();
        assert_eq!(alone, Err(EhloBuildError::DetaAlone));
        assert_eq!(
            builder().binary_mime().build(),
            Err(EhloBuildError::BinaryMimeAlone)
        );
        assert!(
            builder()
                .auth([""; 0])
                .unwrap()
                .build()
                .unwrap()
                .is_one_line()
        );
    }
}
