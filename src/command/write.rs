//! Lines that a client writes, other than MAIL and RCPT.
//!
//! Layer 1. One value, one line: what could end it is refused when it is built.
//!
//! ```
//! use smtp_checkpoint::command::{Bdat, ClientName, CommandLine};
//!
//! let name = ClientName::parse("client.example")?;
//! assert_eq!(CommandLine::ehlo(&name).as_bytes(), b"EHLO client.example");
//! assert_eq!(CommandLine::bdat(Bdat { size: 0, last: true }).as_bytes(), b"BDAT 0 LAST");
//! assert!(ClientName::parse("c.example\r\nMAIL FROM:<x@y>").is_err());
//! # Ok::<(), smtp_checkpoint::command::BuildError>(())
//! ```

use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;

use super::base64;
use super::domain::{DomainOrLiteral, MAX_DOMAIN};
use super::error::BuildError;
use super::parse::{Bdat, Burl, Command, MAX_TIMER, Rdlv, is_mechanism};
use crate::syntax::is_keyword;
use crate::transid::TransId;

/// Octets of a line without its CRLF.
pub(super) const MAX_LINE: usize = 2046;
/// Octets of an AUTH line without its CRLF: RFC 4954 §4 leaves it with the limit of RFC 5321
/// §4.5.3.1.4, unlike the lines of the exchange.
const MAX_AUTH_LINE: usize = 510;

/// The name that a client gives of itself in EHLO, HELO and LHLO.
///
/// A domain or an address literal by RFC 5321 §4.1.1.1; any printable ASCII of 1 to 255 octets
/// without SPACE is taken, as many hosts have no better name.
///
/// ```
/// use smtp_checkpoint::command::ClientName;
///
/// assert!(ClientName::parse("[192.0.2.1]")?.is_domain_or_literal());
/// assert!(!ClientName::parse("my-laptop!")?.is_domain_or_literal());
/// assert!(ClientName::parse("c example").is_err());
/// # Ok::<(), smtp_checkpoint::command::BuildError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientName {
    octets: Bytes,
}

impl ClientName {
    /// Checks a name and copies it.
    ///
    /// # Errors
    ///
    /// [`BuildError::ClientName`].
    pub fn parse(name: impl AsRef<[u8]>) -> Result<Self, BuildError> {
        let name = name.as_ref();
        let is_sound =
            (1..=MAX_DOMAIN).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
        if !is_sound {
            return Err(BuildError::ClientName);
        }
        Ok(Self {
            octets: Bytes::copy_from_slice(name),
        })
    }

    /// The name as it is written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }

    /// Whether it is what RFC 5321 asks for.
    #[must_use]
    pub fn is_domain_or_literal(&self) -> bool {
        DomainOrLiteral::parse(&self.octets).is_ok()
    }
}

/// One command line without its CRLF, of which the rest of the session can be sure that it is one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommandLine {
    octets: Bytes,
}

impl CommandLine {
    const fn fixed(verb: &'static str) -> Self {
        Self {
            octets: Bytes::from_static(verb.as_bytes()),
        }
    }

    fn joined(parts: &[&[u8]]) -> Self {
        Self {
            octets: parts.concat().into(),
        }
    }

    /// A line that is checked for its octets and its length.
    fn checked(verb: &[u8], argument: &[u8]) -> Result<Self, BuildError> {
        if memchr::memchr3(b'\r', b'\n', 0, argument).is_some() {
            return Err(BuildError::ForbiddenOctet);
        }
        if verb.len() + 1 + argument.len() > MAX_LINE {
            return Err(BuildError::LineTooLong);
        }
        Ok(Self::joined(&[verb, b" ", argument]))
    }

    /// `EHLO name`.
    #[must_use]
    pub fn ehlo(name: &ClientName) -> Self {
        Self::joined(&[b"EHLO ", name.as_bytes()])
    }

    /// `HELO name`.
    #[must_use]
    pub fn helo(name: &ClientName) -> Self {
        Self::joined(&[b"HELO ", name.as_bytes()])
    }

    /// `LHLO name`.
    #[must_use]
    pub fn lhlo(name: &ClientName) -> Self {
        Self::joined(&[b"LHLO ", name.as_bytes()])
    }

    /// `DATA`.
    #[must_use]
    pub const fn data() -> Self {
        Self::fixed("DATA")
    }

    /// `RSET`.
    #[must_use]
    pub const fn rset() -> Self {
        Self::fixed("RSET")
    }

    /// `NOOP`.
    #[must_use]
    pub const fn noop() -> Self {
        Self::fixed("NOOP")
    }

    /// `QUIT`.
    #[must_use]
    pub const fn quit() -> Self {
        Self::fixed("QUIT")
    }

    /// `STARTTLS`.
    #[must_use]
    pub const fn starttls() -> Self {
        Self::fixed("STARTTLS")
    }

    /// `CONT`.
    #[must_use]
    pub const fn cont() -> Self {
        Self::fixed("CONT")
    }

    /// `DETA`.
    #[must_use]
    pub const fn deta() -> Self {
        Self::fixed("DETA")
    }

    /// `BDAT size` or `BDAT size LAST`; the chunk is to follow the CRLF.
    #[must_use]
    pub fn bdat(bdat: Bdat) -> Self {
        let last = if bdat.last { " LAST" } else { "" };
        Self {
            octets: format!("BDAT {}{last}", bdat.size).into(),
        }
    }

    /// `BURL url` or `BURL url LAST`.
    ///
    /// # Errors
    ///
    /// [`BuildError::ForbiddenOctet`] where the URL is empty or not printable ASCII without SPACE,
    /// [`BuildError::LineTooLong`].
    pub fn burl(burl: Burl<'_>) -> Result<Self, BuildError> {
        if burl.url.is_empty() || !burl.url.iter().all(u8::is_ascii_graphic) {
            return Err(BuildError::ForbiddenOctet);
        }
        let last: &[u8] = if burl.last { b" LAST" } else { b"" };
        Self::checked(b"BURL", &[burl.url, last].concat())
    }

    /// `AUTH mechanism` with the initial response, which is given as it is and written as base64,
    /// an empty one as `=`.
    ///
    /// # Errors
    ///
    /// [`BuildError::Mechanism`], or [`BuildError::LineTooLong`] over 512 octets with CRLF: then the
    /// response must not stand here, and answers the empty challenge to AUTH without one (RFC 4954
    /// §4).
    pub fn auth(mechanism: impl AsRef<[u8]>, initial: Option<&[u8]>) -> Result<Self, BuildError> {
        let mechanism = mechanism.as_ref();
        if !is_mechanism(mechanism) {
            return Err(BuildError::Mechanism);
        }
        let mut line = Vec::new();
        line.extend_from_slice(b"AUTH ");
        line.extend(mechanism.to_ascii_uppercase());
        match initial {
            None => {}
            Some([]) => line.extend_from_slice(b" ="),
            Some(response) => {
                line.push(b' ');
                line.extend(base64::encode(response));
            }
        }
        if line.len() > MAX_AUTH_LINE {
            return Err(BuildError::LineTooLong);
        }
        Ok(Self {
            octets: line.into(),
        })
    }

    /// `RDLV maxtimer=seconds`.
    ///
    /// # Errors
    ///
    /// [`BuildError::MaxTimer`] outside 1 to [`MAX_TIMER`] seconds.
    pub fn rdlv(rdlv: Rdlv) -> Result<Self, BuildError> {
        match rdlv.maxtimer {
            1..=MAX_TIMER => Ok(Self {
                octets: format!("RDLV maxtimer={}", rdlv.maxtimer).into(),
            }),
            _ => Err(BuildError::MaxTimer),
        }
    }

    /// `RESUME transid`.
    #[must_use]
    pub fn resume(transid: TransId) -> Self {
        Self::joined(&[b"RESUME ", transid.as_bytes()])
    }

    /// `VRFY argument`.
    ///
    /// # Errors
    ///
    /// [`BuildError::ForbiddenOctet`] where the argument is blank or holds CR, LF or NUL,
    /// [`BuildError::LineTooLong`].
    pub fn vrfy(argument: impl AsRef<[u8]>) -> Result<Self, BuildError> {
        let line = Self::checked(b"VRFY", argument.as_ref())?;
        match Command::parse(&line.octets) {
            Ok(_) => Ok(line),
            Err(_) => Err(BuildError::ForbiddenOctet),
        }
    }

    /// A command that this crate does not know.
    ///
    /// # Errors
    ///
    /// [`BuildError::Verb`] where the verb is none, or one that this crate knows: its
    /// replies or what follows it would be taken for something else.
    /// [`BuildError::ForbiddenOctet`] where the argument holds CR, LF or NUL,
    /// [`BuildError::LineTooLong`].
    pub fn other(verb: impl AsRef<[u8]>, argument: Option<&[u8]>) -> Result<Self, BuildError> {
        let verb = verb.as_ref();
        if verb.is_empty() || !verb.iter().all(|octet| is_keyword(*octet)) {
            return Err(BuildError::Verb);
        }
        match Command::parse(verb) {
            Ok(Command::Unknown(_)) => {}
            _ => return Err(BuildError::Verb),
        }
        match argument {
            Some(argument) => Self::checked(verb, argument),
            None if verb.len() > MAX_LINE => Err(BuildError::LineTooLong),
            None => Ok(Self::joined(&[verb])),
        }
    }

    /// The line without its CRLF.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }

    /// The line without its CRLF.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let name = ClientName::parse("c.example").unwrap();
        let transid = TransId::parse(b"<x@y>").unwrap();
        let burl = Burl {
            url: b"imap://x",
            last: true,
        };
        for (line, written) in [
            (CommandLine::lhlo(&name), &b"LHLO c.example"[..]),
            (CommandLine::helo(&name), b"HELO c.example"),
            (CommandLine::data(), b"DATA"),
            (CommandLine::starttls(), b"STARTTLS"),
            (CommandLine::cont(), b"CONT"),
            (CommandLine::deta(), b"DETA"),
            (
                CommandLine::bdat(Bdat {
                    size: u64::MAX,
                    last: false,
                }),
                b"BDAT 18446744073709551615",
            ),
            (CommandLine::burl(burl).unwrap(), b"BURL imap://x LAST"),
            (
                CommandLine::auth("plain", Some(b"\0u\0p")).unwrap(),
                b"AUTH PLAIN AHUAcA==",
            ),
            (
                CommandLine::auth("EXTERNAL", Some(b"")).unwrap(),
                b"AUTH EXTERNAL =",
            ),
            (CommandLine::auth("LOGIN", None).unwrap(), b"AUTH LOGIN"),
            (
                CommandLine::rdlv(Rdlv { maxtimer: 30 }).unwrap(),
                b"RDLV maxtimer=30",
            ),
            (CommandLine::resume(transid), b"RESUME <x@y>"),
            (CommandLine::vrfy("a b").unwrap(), b"VRFY a b"),
        ] {
            assert_eq!(line.as_bytes(), written);
            match Command::parse(written) {
                Ok(Command::Unknown(_)) | Err(_) => panic!("{}", written.escape_ascii()),
                Ok(_) => {}
            }
        }
        let other = CommandLine::other("XCLIENT", Some(b"NAME=x")).unwrap();
        assert_eq!(other.into_bytes(), &b"XCLIENT NAME=x"[..]);
    }

    #[test]
    fn what_is_refused() {
        use BuildError as E;
        for name in [
            "",
            "c example",
            "c.example\r\nMAIL FROM:<x@y>",
            "é",
            "c.example\n\tby x",
        ] {
            assert_eq!(ClientName::parse(name), Err(E::ClientName), "{name:?}");
        }
        let burl = |url| CommandLine::burl(Burl { url, last: false });
        assert_eq!(burl(b""), Err(E::ForbiddenOctet));
        assert_eq!(burl(b"imap://x LAST"), Err(E::ForbiddenOctet));
        assert_eq!(CommandLine::auth("=\r\nNOOP", None), Err(E::Mechanism));
        // "AUTH X ", 378 octets as base64 and CRLF: 513.
        assert_eq!(CommandLine::auth("X", Some(&[0; 378])), Err(E::LineTooLong));
        assert!(CommandLine::auth("X", Some(&[0; 375])).is_ok());
        assert_eq!(CommandLine::rdlv(Rdlv { maxtimer: 0 }), Err(E::MaxTimer));
        assert_eq!(
            CommandLine::rdlv(Rdlv { maxtimer: 1 << 31 }),
            Err(E::MaxTimer)
        );
        assert_eq!(CommandLine::vrfy("a\r\nDATA"), Err(E::ForbiddenOctet));
        assert_eq!(CommandLine::vrfy(" "), Err(E::ForbiddenOctet));
        assert_eq!(CommandLine::vrfy([b'a'; 2042]), Err(E::LineTooLong));
        for verb in ["", "X Y", "bdat", "Mail", "DATA", "X\r\n"] {
            assert_eq!(CommandLine::other(verb, None), Err(E::Verb), "{verb:?}");
        }
        assert_eq!(
            CommandLine::other("X", Some(b"a\nb")),
            Err(E::ForbiddenOctet)
        );
    }
}
