//! What a server offers, from its EHLO reply in a slice, read without an allocation.
//!
//! Layer 1. For callers that have the whole reply in one buffer, such as an engine of their own.
//!
//! ```
//! use smtp_checkpoint::ehlo::CapabilitiesRef;
//! use smtp_checkpoint::limits::Limits;
//! use smtp_checkpoint::reply::{ParsedReply, ReplyRef};
//!
//! let input = b"250-mx.example greets you\r\n250-SIZE 1000000\r\n250 CHECKPOINT\r\n";
//! let ParsedReply::Complete { reply, .. } = ReplyRef::parse(input) else {
//!     panic!("the reply is complete");
//! };
//! let offered = CapabilitiesRef::from_reply(&reply, &Limits::default())?;
//! assert_eq!(offered.server_name(), b"mx.example");
//! assert!(offered.checkpoint() && !offered.pipelining());
//! # Ok::<(), smtp_checkpoint::ehlo::CapabilitiesError>(())
//! ```

use super::lines::{Form, Known, Line, Lines, Offers};
use super::{CapabilitiesError, Keyword, RdlvOffer, SizeOffer};
use crate::limits::Limits;
use crate::reply::{ReplyCode, ReplyRef};

/// [`Capabilities`](super::Capabilities) of a reply that stands in a slice. The default offers
/// nothing.
///
/// All that can be asked was gathered in one pass, and means what it means there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilitiesRef<'a> {
    /// The lines, cut behind the last keyword that counts.
    pub(super) lines: &'a [u8],
    pub(super) form: Form,
    pub(super) offers: Offers,
}

impl<'a> CapabilitiesRef<'a> {
    /// Reads the reply to EHLO. Keywords after the first [`Limits::ehlo_keywords`] are left out.
    ///
    /// # Errors
    ///
    /// [`CapabilitiesError::NotOk`] where the reply is not a 250.
    pub fn from_reply(reply: &ReplyRef<'a>, limits: &Limits) -> Result<Self, CapabilitiesError> {
        if reply.code() != ReplyCode::OK {
            return Err(CapabilitiesError::NotOk);
        }
        let (wire, form) = (reply.wire(), Form::Wire);
        let rest = wire.get(reply.first_octets()..);
        let (offers, end) = Offers::read(wire, rest, form, limits.ehlo_keywords);
        let lines = wire.get(..end).unwrap_or_default();
        Ok(Self {
            lines,
            form,
            offers,
        })
    }

    /// The first line: the server's name and what it says after it.
    #[must_use]
    pub fn greeting(&self) -> &'a [u8] {
        self.each_line().next().map_or(&[], |line| line.text)
    }

    /// The server's name: the first word of the first line, not checked.
    #[must_use]
    pub fn server_name(&self) -> &'a [u8] {
        Keyword::parse(self.greeting()).map_or(&[], |first| first.name)
    }

    /// All keywords as the server wrote them, known or not, in its order.
    pub fn keywords(&self) -> impl Iterator<Item = Keyword<'a>> + use<'a> {
        self.each_line().skip(1).filter_map(Line::keyword)
    }

    /// The first keyword of this name, in any case.
    #[must_use]
    pub fn keyword(&self, name: &[u8]) -> Option<Keyword<'a>> {
        self.keywords().find(|keyword| keyword.is(name))
    }

    /// SIZE (RFC 1870).
    #[must_use]
    pub const fn size(&self) -> Option<SizeOffer> {
        self.offers.size
    }

    /// RDLV (draft-burger-smtp-rdlv-01 §3.1); see [`Capabilities::rdlv`](super::Capabilities::rdlv).
    #[must_use]
    pub const fn rdlv(&self) -> Option<RdlvOffer> {
        self.offers.rdlv
    }

    /// The SASL mechanisms; see [`Capabilities::auth`](super::Capabilities::auth).
    pub fn auth(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.offers.auth(self.lines, self.form)
    }

    /// BURL (RFC 4468 §3.3): its parameters as the server wrote them, perhaps none.
    #[must_use]
    pub fn burl(&self) -> Option<&'a [u8]> {
        if !self.offers.offers(Known::BURL) {
            return None;
        }
        self.keyword(super::name::BURL.as_bytes())
            .map(|burl| burl.parameters)
    }

    /// CHECKPOINT (RFC 1845 §2).
    #[must_use]
    pub const fn checkpoint(&self) -> bool {
        self.offers.offers(Known::CHECKPOINT)
    }

    /// RESUME (draft-fanf-smtp-rfc1845bis-01 §2).
    #[must_use]
    pub const fn resume(&self) -> bool {
        self.offers.offers(Known::RESUME)
    }

    /// PIPELINING (RFC 2920).
    #[must_use]
    pub const fn pipelining(&self) -> bool {
        self.offers.offers(Known::PIPELINING)
    }

    /// 8BITMIME (RFC 6152).
    #[must_use]
    pub const fn eight_bit_mime(&self) -> bool {
        self.offers.offers(Known::EIGHT_BIT_MIME)
    }

    /// SMTPUTF8 (RFC 6531).
    #[must_use]
    pub const fn smtputf8(&self) -> bool {
        self.offers.offers(Known::SMTPUTF8)
    }

    /// DSN (RFC 3461).
    #[must_use]
    pub const fn dsn(&self) -> bool {
        self.offers.offers(Known::DSN)
    }

    /// ENHANCEDSTATUSCODES (RFC 2034).
    #[must_use]
    pub const fn enhanced_status_codes(&self) -> bool {
        self.offers.offers(Known::ENHANCED_STATUS_CODES)
    }

    /// CHUNKING (RFC 3030 §2).
    #[must_use]
    pub const fn chunking(&self) -> bool {
        self.offers.offers(Known::CHUNKING)
    }

    /// BINARYMIME (RFC 3030 §3).
    #[must_use]
    pub const fn binary_mime(&self) -> bool {
        self.offers.offers(Known::BINARY_MIME)
    }

    /// STARTTLS (RFC 3207).
    #[must_use]
    pub const fn starttls(&self) -> bool {
        self.offers.offers(Known::STARTTLS)
    }

    /// DETA (draft-burger-smtp-deta-00 §2.1).
    #[must_use]
    pub const fn deta(&self) -> bool {
        self.offers.offers(Known::DETA)
    }

    fn each_line(&self) -> Lines<'a> {
        Lines::new(self.lines, self.form)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Capabilities;
    use super::*;
    use crate::reply::ParsedReply;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Each keyword, with both answers.
    fn flags(
        borrowed: &CapabilitiesRef<'_>,
        owned: &Capabilities,
    ) -> [(&'static str, bool, bool); 11] {
        [
            ("CHECKPOINT", borrowed.checkpoint(), owned.checkpoint()),
            ("RESUME", borrowed.resume(), owned.resume()),
            ("PIPELINING", borrowed.pipelining(), owned.pipelining()),
            (
                "8BITMIME",
                borrowed.eight_bit_mime(),
                owned.eight_bit_mime(),
            ),
            ("SMTPUTF8", borrowed.smtputf8(), owned.smtputf8()),
            ("DSN", borrowed.dsn(), owned.dsn()),
            (
                "ENHANCEDSTATUSCODES",
                borrowed.enhanced_status_codes(),
                owned.enhanced_status_codes(),
            ),
            ("CHUNKING", borrowed.chunking(), owned.chunking()),
            ("BINARYMIME", borrowed.binary_mime(), owned.binary_mime()),
            ("STARTTLS", borrowed.starttls(), owned.starttls()),
            ("DETA", borrowed.deta(), owned.deta()),
        ]
    }

    /// Both forms, and what the keywords themselves say, which is how it was read before there was
    /// anything gathered.
    fn check(wire: &[u8], ehlo_keywords: usize) {
        let limits = Limits {
            ehlo_keywords,
            ..Limits::default()
        };
        let ParsedReply::Complete { reply, .. } = ReplyRef::parse(wire) else {
            panic!("{}", wire.escape_ascii());
        };
        let borrowed = CapabilitiesRef::from_reply(&reply, &limits).unwrap();
        let owned = Capabilities::from_reply(&reply.to_reply(), &limits).unwrap();

        let texts: Vec<&[u8]> = reply.lines().take(ehlo_keywords + 1).collect();
        let keywords: Vec<_> = texts
            .iter()
            .skip(1)
            .filter_map(|line| Keyword::parse(line))
            .collect();
        assert_eq!(borrowed.greeting(), texts[0]);
        assert_eq!(owned.greeting(), texts[0]);
        assert!(
            borrowed.keywords().eq(keywords.iter().copied()),
            "{borrowed:?}"
        );
        assert!(owned.keywords().eq(keywords.iter().copied()), "{owned:?}");
        for (name, by_borrowed, by_owned) in flags(&borrowed, &owned) {
            let offered = keywords.iter().any(|keyword| keyword.is(name.as_bytes()));
            assert_eq!(
                (by_borrowed, by_owned),
                (offered, offered),
                "{name} {}",
                wire.escape_ascii()
            );
        }
        let first = |name: &[u8]| keywords.iter().find(|keyword| keyword.is(name));
        assert_eq!(borrowed.size().is_some(), first(b"SIZE").is_some());
        assert_eq!(borrowed.burl(), first(b"BURL").map(|burl| burl.parameters));
        let mechanisms: Vec<&[u8]> = (keywords.iter())
            .filter_map(|keyword| {
                let (name, rest) = keyword.name.split_at_checked(4)?;
                let is_auth = name.eq_ignore_ascii_case(b"AUTH") && matches!(rest, [] | [b'=', ..]);
                is_auth.then(|| {
                    core::iter::once(rest.get(1..).unwrap_or(&[])).chain(keyword.each_parameter())
                })
            })
            .flatten()
            .filter(|mechanism| !mechanism.is_empty())
            .collect();
        assert!(
            borrowed.auth().eq(mechanisms.iter().copied()),
            "{}",
            wire.escape_ascii()
        );
        assert!(owned.auth().eq(mechanisms.iter().copied()));
        assert_eq!(
            (
                owned.size(),
                owned.rdlv(),
                owned.burl(),
                owned.server_name()
            ),
            (
                borrowed.size(),
                borrowed.rdlv(),
                borrowed.burl(),
                borrowed.server_name()
            )
        );
    }

    #[test]
    fn replies_of_every_shape_of_line() {
        for last in ["250 DSN\r\n", "250 \r\n", "250\r\n", "250 AUTH\r\n"] {
            for line in [
                "",
                " ",
                "\t",
                "SIZE",
                "SIZE 1",
                "size\t7 ",
                " SIZE 9",
                "SIZE\x0c",
                "SIZE\x0b 1",
                "\x188ITMIME",
                "\x18BITMIME",
                "SMTPUTF\x18",
                "8bitmime x",
                "-",
                "DSN-",
                "BURL",
                "burl imap ",
                "AUTH=",
                "AUTH=A B",
                "AUTH A",
                "AUTHA",
                "RDLV mintimer=4",
                "RDLV mintimer=0",
                "ENHANCEDSTATUSCODES",
                "enhancedstatuscode",
            ] {
                for second in ["", "SIZE 8", "AUTH C", "RDLV"] {
                    let wire = std::format!("250-x {line}\r\n250-{line}\r\n250-{second}\r\n{last}");
                    for keywords in [64, 0, 1, 2, 3] {
                        check(wire.as_bytes(), keywords);
                    }
                }
            }
        }
        check(b"250\r\n", 64);
        check(b"250 mx.example\r\n", 64);
    }

    proptest! {
        #[test]
        fn random_replies(
            lines in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(&["DSN", "SIZE 5", "AUTH PLAIN LOGIN", "AUTH=X Y", "CHECKPOINT",
                        "BURL", "RDLV mintimer=1 mintimer=2", "XCLIENT NAME", "STARTTLS", "\t DSN"][..])
                        .prop_map(|line| line.as_bytes().to_vec()),
                    prop::collection::vec(any::<u8>(), 0..20),
                ],
                1..9,
            ),
            case in any::<bool>(),
            keywords in 0usize..9,
        ) {
            let mut wire = Vec::new();
            let last = lines.len() - 1;
            for (at, mut line) in lines.into_iter().enumerate() {
                line.retain(|octet| !matches!(octet, b'\r' | b'\n' | 0));
                if case {
                    line.make_ascii_lowercase();
                }
                wire.extend(if at == last { b"250 " } else { b"250-" });
                wire.extend(line);
                wire.extend(b"\r\n");
            }
            check(&wire, keywords);
        }
    }
}
