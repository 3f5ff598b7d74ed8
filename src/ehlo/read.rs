//! What a server offers, from its EHLO reply.
//!
//! Layer 1.
//!
//! ```
//! use smtp_checkpoint::ehlo::Capabilities;
//! use smtp_checkpoint::limits::Limits;
//! use smtp_checkpoint::reply::{Reply, ReplyCode};
//!
//! let lines = ["mx.example greets you", "checkpoint", "AUTH PLAIN LOGIN", "RDLV mintimer=30"];
//! let reply = Reply::with_lines(ReplyCode::OK, None, lines)?;
//! let offered = Capabilities::from_reply(&reply, &Limits::default())?;
//! assert_eq!(offered.server_name(), b"mx.example");
//! assert!(offered.checkpoint() && !offered.resume());
//! assert!(offered.auth().eq([&b"PLAIN"[..], b"LOGIN"]));
//! assert_eq!(offered.rdlv().and_then(|rdlv| rdlv.mintimer), Some(30));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;
use thiserror::Error;

use super::lines::{Form, Offers};
use super::{CapabilitiesRef, RdlvOffer, SizeOffer};
use crate::class::run_where;
use crate::limits::Limits;
use crate::reply::{Reply, ReplyCode};
use crate::syntax::is_wsp;

/// What a server offers. The default offers nothing: what is known before EHLO and after HELO.
///
/// It shares the text of the reply it was read from and takes no memory of its own;
/// [`CapabilitiesRef`] borrows it. Keywords are
/// compared in any case; where one is given twice the first counts, except AUTH.
///
/// ```
/// use smtp_checkpoint::ehlo::Capabilities;
///
/// let after_helo = Capabilities::default();
/// assert!(!after_helo.checkpoint());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// The lines of the reply with an LF between two, cut behind the last keyword that counts.
    text: Bytes,
    offers: Offers,
}

/// A line of an EHLO reply after the first, as the server wrote it.
///
/// ```abnf
/// ehlo-line = ehlo-keyword *( SP ehlo-param )     ; RFC 5321 §4.1.1.1
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Keyword<'a> {
    /// The keyword, in the server's case.
    pub name: &'a [u8],
    /// What follows the keyword and the white space behind it; empty where nothing does.
    pub parameters: &'a [u8],
}

/// Why a reply says nothing of what is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum CapabilitiesError {
    /// The reply is not a 250.
    #[error("reply to EHLO is not a 250")]
    NotOk,
}

impl<'a> Keyword<'a> {
    /// Reads the text of one line; `None` where it is empty.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii();
        let end = line.iter().position(|octet| is_wsp(*octet));
        let (name, rest) = line.split_at_checked(end.unwrap_or(line.len()))?;
        if name.is_empty() {
            return None;
        }
        Some(Self {
            name,
            parameters: rest.trim_ascii_start(),
        })
    }

    /// Whether this is the keyword `name`, in any case.
    #[must_use]
    pub fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The parameters one by one.
    pub fn each_parameter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.parameters;
        core::iter::from_fn(move || {
            let start = run_where(rest, is_wsp);
            let len = run_where(rest.get(start..)?, |octet| !is_wsp(octet));
            let parameter = rest.get(start..start + len)?;
            rest = rest.get(start + len..)?;
            (len > 0).then_some(parameter)
        })
    }
}

impl Capabilities {
    /// Reads the reply to EHLO. Keywords after the first [`Limits::ehlo_keywords`] are left out.
    ///
    /// # Errors
    ///
    /// [`CapabilitiesError::NotOk`] where the reply is not a 250.
    pub fn from_reply(reply: &Reply, limits: &Limits) -> Result<Self, CapabilitiesError> {
        if reply.code() != ReplyCode::OK {
            return Err(CapabilitiesError::NotOk);
        }
        let mut text = reply.raw_text().clone();
        let rest = memchr::memchr(b'\n', &text).and_then(|lf| text.get(lf + 1..));
        let (offers, end) = Offers::read(&text, rest, Form::Texts, limits.ehlo_keywords);
        text.truncate(end);
        Ok(Self { text, offers })
    }

    fn borrowed(&self) -> CapabilitiesRef<'_> {
        CapabilitiesRef {
            lines: &self.text,
            form: Form::Texts,
            offers: self.offers,
        }
    }

    /// The first line: the server's name and what it says after it.
    #[must_use]
    pub fn greeting(&self) -> &[u8] {
        self.borrowed().greeting()
    }

    /// The server's name: the first word of the first line, not checked.
    #[must_use]
    pub fn server_name(&self) -> &[u8] {
        self.borrowed().server_name()
    }

    /// All keywords as the server wrote them, known or not, in its order.
    pub fn keywords(&self) -> impl Iterator<Item = Keyword<'_>> {
        self.borrowed().keywords()
    }

    /// The first keyword of this name, in any case.
    #[must_use]
    pub fn keyword(&self, name: &[u8]) -> Option<Keyword<'_>> {
        self.borrowed().keyword(name)
    }

    /// CHECKPOINT (RFC 1845 §2). A parameter, which it should not have, is no reason to do without.
    #[must_use]
    pub fn checkpoint(&self) -> bool {
        self.borrowed().checkpoint()
    }

    /// RESUME (draft-fanf-smtp-rfc1845bis-01 §2).
    #[must_use]
    pub fn resume(&self) -> bool {
        self.borrowed().resume()
    }

    /// PIPELINING (RFC 2920).
    #[must_use]
    pub fn pipelining(&self) -> bool {
        self.borrowed().pipelining()
    }

    /// SIZE (RFC 1870).
    #[must_use]
    pub fn size(&self) -> Option<SizeOffer> {
        self.borrowed().size()
    }

    /// 8BITMIME (RFC 6152).
    #[must_use]
    pub fn eight_bit_mime(&self) -> bool {
        self.borrowed().eight_bit_mime()
    }

    /// SMTPUTF8 (RFC 6531).
    #[must_use]
    pub fn smtputf8(&self) -> bool {
        self.borrowed().smtputf8()
    }

    /// DSN (RFC 3461).
    #[must_use]
    pub fn dsn(&self) -> bool {
        self.borrowed().dsn()
    }

    /// ENHANCEDSTATUSCODES (RFC 2034).
    #[must_use]
    pub fn enhanced_status_codes(&self) -> bool {
        self.borrowed().enhanced_status_codes()
    }

    /// CHUNKING (RFC 3030 §2).
    #[must_use]
    pub fn chunking(&self) -> bool {
        self.borrowed().chunking()
    }

    /// BINARYMIME (RFC 3030 §3).
    #[must_use]
    pub fn binary_mime(&self) -> bool {
        self.borrowed().binary_mime()
    }

    /// STARTTLS (RFC 3207).
    #[must_use]
    pub fn starttls(&self) -> bool {
        self.borrowed().starttls()
    }

    /// The SASL mechanisms of AUTH (RFC 4954 §3), of the old form `AUTH=LOGIN PLAIN` too. A server
    /// that writes both forms names mechanisms twice.
    pub fn auth(&self) -> impl Iterator<Item = &[u8]> {
        self.borrowed().auth()
    }

    /// BURL (RFC 4468 §3.3): its parameters as the server wrote them, perhaps none.
    #[must_use]
    pub fn burl(&self) -> Option<&[u8]> {
        self.borrowed().burl()
    }

    /// RDLV (draft-burger-smtp-rdlv-01 §3.1). A `mintimer` that is malformed, out of range or
    /// given twice leaves no `maxtimer` that is safe to ask for, so it counts as no offer.
    #[must_use]
    pub fn rdlv(&self) -> Option<RdlvOffer> {
        self.borrowed().rdlv()
    }

    /// DETA (draft-burger-smtp-deta-00 §2.1).
    #[must_use]
    pub fn deta(&self) -> bool {
        self.borrowed().deta()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn read(lines: &[&str]) -> Capabilities {
        let reply = Reply::with_lines(ReplyCode::OK, None, lines).unwrap();
        Capabilities::from_reply(&reply, &Limits::default()).unwrap()
    }

    fn one(line: &str) -> Capabilities {
        read(&["mx.example", line])
    }

    #[test]
    fn keywords_are_known_in_any_case_and_with_stray_parameters() {
        assert!(one("CHECKPOINT").checkpoint());
        assert!(one("CheckPoint").checkpoint());
        assert!(one("CHECKPOINT v2 ").checkpoint());
        assert!(!one("CHECKPOINTS").checkpoint());
        assert!(!one("X-CHECKPOINT").checkpoint());
        assert!(!one("SIZE CHECKPOINT").checkpoint());
        // the first line is the server's name and no keyword
        assert!(!read(&["CHECKPOINT", "SIZE"]).checkpoint());
    }

    #[test]
    fn each_keyword_sets_its_own_and_no_other() {
        type Getter = fn(&Capabilities) -> bool;
        let getters: [(&str, Getter); 13] = [
            ("CHECKPOINT", Capabilities::checkpoint),
            ("RESUME", Capabilities::resume),
            ("PIPELINING", Capabilities::pipelining),
            ("8BITMIME", Capabilities::eight_bit_mime),
            ("SMTPUTF8", Capabilities::smtputf8),
            ("DSN", Capabilities::dsn),
            ("ENHANCEDSTATUSCODES", Capabilities::enhanced_status_codes),
            ("CHUNKING", Capabilities::chunking),
            ("BINARYMIME", Capabilities::binary_mime),
            ("STARTTLS", Capabilities::starttls),
            ("DETA", Capabilities::deta),
            ("BURL imap", |offered| offered.burl().is_some()),
            ("RDLV", |offered| offered.rdlv().is_some()),
        ];
        for (line, _) in &getters {
            let offered = one(line);
            for (other, getter) in &getters {
                assert_eq!(getter(&offered), line == other, "{line} {other}");
            }
        }
    }

    #[test]
    fn size_has_three_forms() {
        for (line, size) in [
            ("SIZE 35882577", Some(SizeOffer::Limit(35_882_577))),
            ("size 0", Some(SizeOffer::NoFixedLimit)),
            ("SIZE", Some(SizeOffer::Unstated)),
            ("SIZE lots", Some(SizeOffer::Unstated)),
            ("SIZE 99999999999999999999999", Some(SizeOffer::Unstated)),
            ("DSN", None),
        ] {
            assert_eq!(one(line).size(), size, "{line}");
        }
    }

    #[test]
    fn rdlv_with_a_bad_timer_is_no_offer() {
        for (line, mintimer) in [
            ("RDLV mintimer=30", Some(Some(30))),
            ("rdlv MinTimer=2147483647", Some(Some(2_147_483_647))),
            ("RDLV x=1 mintimer=7", Some(Some(7))),
            ("RDLV", Some(None)),
            ("RDLV mintimer=0", None),
            ("RDLV mintimer=2147483648", None),
            ("RDLV mintimer=", None),
            ("RDLV mintimer=-1", None),
            ("RDLV mintimer=1 mintimer=1", None),
        ] {
            let offer = mintimer.map(|mintimer| RdlvOffer { mintimer });
            assert_eq!(one(line).rdlv(), offer, "{line}");
        }
    }

    #[test]
    fn mechanisms_come_from_both_forms_of_auth() {
        for (lines, mechanisms) in [
            (&["x", "AUTH PLAIN  LOGIN"][..], &["PLAIN", "LOGIN"][..]),
            (&["x", "AUTH=LOGIN PLAIN"], &["LOGIN", "PLAIN"]),
            (&["x", "auth= LOGIN"], &["LOGIN"]),
            (&["x", "AUTH A", "AUTH=B"], &["A", "B"]),
            (&["x", "AUTH"], &[]),
            (&["x", "AUTHENTICATE PLAIN", "XAUTH PLAIN", "AUT"], &[]),
        ] {
            let offered = read(lines);
            let found: Vec<&[u8]> = offered.auth().collect();
            let expected: Vec<&[u8]> = mechanisms.iter().map(|m| m.as_bytes()).collect();
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn unknown_keywords_are_seen_octet_for_octet() {
        let offered = read(&["mx", "x-Thing a=B  c", "", "BURL imap"]);
        let keywords: Vec<Keyword<'_>> = offered.keywords().collect();
        assert_eq!(
            keywords,
            [
                Keyword {
                    name: b"x-Thing",
                    parameters: b"a=B  c"
                },
                Keyword {
                    name: b"BURL",
                    parameters: b"imap"
                },
            ]
        );
        assert_eq!(offered.burl(), Some(&b"imap"[..]));
    }

    #[test]
    fn keywords_over_the_limit_are_left_out() {
        let lines = ["mx", "ONE", "TWO", "THREE"];
        let reply = Reply::with_lines(ReplyCode::OK, None, lines).unwrap();
        for kept in 0..5 {
            let limits = Limits {
                ehlo_keywords: kept,
                ..Limits::default()
            };
            let offered = Capabilities::from_reply(&reply, &limits).unwrap();
            assert_eq!(offered.keywords().count(), kept.min(3));
            assert_eq!(offered.server_name(), b"mx");
        }
    }

    #[test]
    fn only_a_250_offers_anything() {
        let reply = Reply::with_lines(ReplyCode::NOT_IMPLEMENTED, None, ["x", "DSN"]).unwrap();
        assert_eq!(
            Capabilities::from_reply(&reply, &Limits::default()),
            Err(CapabilitiesError::NotOk)
        );
        assert_eq!(Capabilities::default().keywords().count(), 0);
        assert_eq!(Capabilities::default().server_name(), b"");
    }
}
