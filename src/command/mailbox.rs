//! Mailboxes and their local parts.
//!
//! Layer 1. A mailbox is checked at the door and kept as it came, octet for octet; comparing is
//! what knows about quotes and case.
//!
//! ```
//! use smtp_checkpoint::command::Mailbox;
//!
//! let mailbox = Mailbox::parse(br#""j.doe"@Example.ORG"#)?;
//! assert!(mailbox.same_mailbox(&Mailbox::parse(b"j.doe@example.org")?));
//! assert_eq!(mailbox.domain().as_bytes(), b"Example.ORG");
//! # Ok::<(), smtp_checkpoint::command::MailboxError>(())
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;

use bytes::Bytes;

use super::domain::{DomainOrLiteral, MAX_DOMAIN, check_utf8, scan_domain, split};
use super::error::MailboxError;
use crate::class::{ATEXT, LABEL, split_run};
use crate::dotted::dotted;
use crate::text::Text;

/// Octets of a local part (RFC 5321 §4.5.3.1.1).
pub const MAX_LOCAL_PART: usize = 64;

/// The part before the "@", as it came: quotes and backslashes included.
///
/// ```text
/// Local-part    = Dot-string / Quoted-string
/// Dot-string    = Atom *( "." Atom )
/// Quoted-string = DQUOTE *( qtextSMTP / quoted-pairSMTP ) DQUOTE
/// ```
///
/// RFC 5321 §4.1.2, RFC 6531 §3.3. `==` compares octet for octet; [`same_local_part`] what is
/// meant.
///
/// [`same_local_part`]: Self::same_local_part
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalPart<'a> {
    raw: &'a [u8],
}

impl<'a> LocalPart<'a> {
    /// The local part as it came.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.raw
    }

    /// What is meant: without the quotes, each quoted pair as the octet that it stands for.
    #[must_use]
    pub fn decoded(self) -> DecodedLocalPart<'a> {
        let inner = self
            .raw
            .strip_prefix(b"\"")
            .and_then(|raw| raw.strip_suffix(b"\""));
        DecodedLocalPart {
            quoted: inner.is_some(),
            rest: inner.unwrap_or(self.raw).iter(),
        }
    }

    /// Whether both mean the same: decoded, octet for octet, so `"a.b"` is `a.b` (RFC 5321
    /// §4.1.2: they are to be treated as equivalent) and `A` is not `a`.
    #[must_use]
    pub fn same_local_part(self, other: LocalPart<'_>) -> bool {
        self.raw == other.raw || self.decoded().eq(other.decoded())
    }
}

impl fmt::Display for LocalPart<'_> {
    /// As it came; controls and what is not UTF-8 are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text(self.raw).fmt(f)
    }
}

impl fmt::Debug for LocalPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalPart").field(&Text(self.raw)).finish()
    }
}

/// The octets that a [`LocalPart`] means, from [`LocalPart::decoded`].
#[derive(Debug, Clone)]
pub struct DecodedLocalPart<'a> {
    quoted: bool,
    rest: core::slice::Iter<'a, u8>,
}

impl Iterator for DecodedLocalPart<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        match *self.rest.next()? {
            b'\\' if self.quoted => self.rest.next().copied(),
            octet => Some(octet),
        }
    }
}

impl FusedIterator for DecodedLocalPart<'_> {}

/// A mailbox that RFC 5321 §4.1.2 or RFC 6531 §3.3 allows: `Local-part "@" ( Domain /
/// address-literal )`.
///
/// At most 64 octets before the "@" and 255 behind it. `==` compares octet for octet,
/// [`same_mailbox`](Self::same_mailbox) what is meant.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mailbox<'a> {
    local: LocalPart<'a>,
    domain: DomainOrLiteral<'a>,
}

impl<'a> Mailbox<'a> {
    /// Checks a mailbox: no brackets, no source route, nothing around it.
    ///
    /// # Errors
    ///
    /// [`MailboxError`]: what is wrong with it.
    pub fn parse(raw: &'a [u8]) -> Result<Self, MailboxError> {
        if raw.is_empty() {
            return Err(MailboxError::Missing);
        }
        let (mailbox, rest) = scan_mailbox(raw)?;
        if rest.is_empty() {
            Ok(mailbox)
        } else {
            Err(MailboxError::TrailingOctets)
        }
    }

    /// The part before the "@".
    #[must_use]
    pub const fn local_part(&self) -> LocalPart<'a> {
        self.local
    }

    /// The part behind the "@".
    #[must_use]
    pub const fn domain(&self) -> DomainOrLiteral<'a> {
        self.domain
    }

    /// Octets of the mailbox as it came, the "@" included.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // no mailbox is empty
    pub const fn len(&self) -> usize {
        self.local.raw.len() + 1 + self.domain.as_bytes().len()
    }

    /// Whether only ASCII is in it. Where not, it can be used with SMTPUTF8 only (RFC 6531 §3.4).
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.local.raw.is_ascii() && self.domain.as_bytes().is_ascii()
    }

    /// Whether both mean the same: the local part decoded and octet for octet, the domain without
    /// regard to case (RFC 5321 §2.4).
    #[must_use]
    pub fn same_mailbox(&self, other: &Mailbox<'_>) -> bool {
        self.domain.same_domain(other.domain) && self.local.same_local_part(other.local)
    }

    pub(super) fn write_to(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(self.local.raw);
        line.push(b'@');
        line.extend_from_slice(self.domain.as_bytes());
    }
}

impl fmt::Display for Mailbox<'_> {
    /// As it came; controls and what is not UTF-8 are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl fmt::Debug for Mailbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut octets = Vec::with_capacity(self.len());
        self.write_to(&mut octets);
        f.debug_tuple("Mailbox").field(&Text(&octets)).finish()
    }
}

/// A mailbox at the start of `input`, and what follows it.
#[inline(always)]
pub(super) fn scan_mailbox(input: &[u8]) -> Result<(Mailbox<'_>, &[u8]), MailboxError> {
    scan_usual_mailbox(input).map_or_else(|| scan_any_mailbox(input), Ok)
}

/// The same for nearly every mailbox: of ASCII, and nothing quoted in it.
#[inline(always)]
pub(super) fn scan_usual_mailbox(input: &[u8]) -> Option<(Mailbox<'_>, &[u8])> {
    let (at, end) = dotted(ATEXT, LABEL, input)?;
    let raw = input.get(..at)?;
    let domain = input.get(at + 1..end)?;
    if at > MAX_LOCAL_PART || domain.len() > MAX_DOMAIN {
        return None;
    }
    let (local, domain) = (LocalPart { raw }, DomainOrLiteral::Domain(domain));
    Some((Mailbox { local, domain }, input.get(end..)?))
}

/// The same for all.
#[inline(never)]
pub(super) fn scan_any_mailbox(input: &[u8]) -> Result<(Mailbox<'_>, &[u8]), MailboxError> {
    let (raw, rest) = scan_local_part(input)?;
    let (domain, rest) = scan_domain(rest.strip_prefix(b"@").ok_or(MailboxError::MissingDomain)?)?;
    let local = LocalPart { raw };
    Ok((Mailbox { local, domain }, rest))
}

#[inline(always)]
fn scan_local_part(input: &[u8]) -> Result<(&[u8], &[u8]), MailboxError> {
    let len = match input.first() {
        Some(b'"') => scan_quoted_string(input)?,
        _ => scan_dot_string(input)?,
    };
    let (raw, rest) = split(input, len);
    if len > MAX_LOCAL_PART {
        return Err(MailboxError::LocalPartTooLong);
    }
    check_utf8(raw)?;
    Ok((raw, rest))
}

/// Length of a quoted string at the start of `input`.
fn scan_quoted_string(input: &[u8]) -> Result<usize, MailboxError> {
    let mut rest = input.iter().enumerate().skip(1);
    while let Some((at, &octet)) = rest.next() {
        match octet {
            b'"' => return Ok(at + 1),
            b'\\' => match rest.next() {
                Some((_, b' '..=b'~')) => {}
                _ => return Err(MailboxError::LocalPart),
            },
            b' '..=b'~' | 0x80.. => {}
            _ => return Err(MailboxError::LocalPart),
        }
    }
    Err(MailboxError::LocalPart)
}

/// Length of atoms joined by single dots at the start of `input`.
#[inline(always)]
fn scan_dot_string(input: &[u8]) -> Result<usize, MailboxError> {
    let mut rest = input;
    loop {
        let (atom, behind) = split_run(ATEXT, rest);
        if atom.is_empty() {
            return Err(MailboxError::LocalPart);
        }
        match behind {
            [b'.', next @ ..] => rest = next,
            _ => return Ok(input.len() - behind.len()),
        }
    }
}

/// A checked mailbox that owns its octets, for the client: nothing that could end a line or a path
/// gets into it.
///
/// ```
/// use smtp_checkpoint::command::MailboxBuf;
///
/// assert!(MailboxBuf::parse("a@b>\r\nRCPT TO:<evil@x").is_err());
/// let mailbox = MailboxBuf::from_parts("joe bloggs", "example.org")?;
/// assert_eq!(mailbox.as_bytes(), br#""joe bloggs"@example.org"#);
/// # Ok::<(), smtp_checkpoint::command::MailboxError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MailboxBuf {
    octets: Bytes,
    /// Octets of the local part.
    local: usize,
}

impl MailboxBuf {
    /// Checks a mailbox and copies it.
    ///
    /// # Errors
    ///
    /// [`MailboxError`]: what is wrong with it.
    pub fn parse(raw: impl AsRef<[u8]>) -> Result<Self, MailboxError> {
        let raw = raw.as_ref();
        let mailbox = Mailbox::parse(raw)?;
        Ok(Self {
            local: mailbox.local.raw.len(),
            octets: Bytes::copy_from_slice(raw),
        })
    }

    /// A mailbox from a local part as it is meant, which is quoted where it has to be, and a
    /// domain or address literal.
    ///
    /// # Errors
    ///
    /// [`MailboxError`]: what is wrong with the outcome. A local part with controls is none.
    pub fn from_parts(
        local: impl AsRef<[u8]>,
        domain: impl AsRef<[u8]>,
    ) -> Result<Self, MailboxError> {
        let (local, domain) = (local.as_ref(), DomainOrLiteral::parse(domain.as_ref())?);
        let mut raw = Vec::with_capacity(local.len() + domain.as_bytes().len() + 3);
        match scan_dot_string(local) {
            Ok(len) if len == local.len() => raw.extend_from_slice(local),
            _ => {
                raw.push(b'"');
                for &octet in local {
                    if matches!(octet, b'"' | b'\\') {
                        raw.push(b'\\');
                    }
                    raw.push(octet);
                }
                raw.push(b'"');
            }
        }
        raw.push(b'@');
        raw.extend_from_slice(domain.as_bytes());
        Self::parse(raw)
    }

    /// The mailbox as it is written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }

    /// The mailbox, borrowed.
    #[must_use]
    pub fn mailbox(&self) -> Mailbox<'_> {
        let (raw, rest) = split(&self.octets, self.local);
        let domain = rest.get(1..).unwrap_or_default();
        Mailbox {
            local: LocalPart { raw },
            domain: if domain.first() == Some(&b'[') {
                DomainOrLiteral::Literal(domain)
            } else {
                DomainOrLiteral::Domain(domain)
            },
        }
    }
}

impl fmt::Display for MailboxBuf {
    /// As it is written; controls are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text(&self.octets).fmt(f)
    }
}

impl fmt::Debug for MailboxBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MailboxBuf")
            .field(&Text(&self.octets))
            .finish()
    }
}

impl core::str::FromStr for MailboxBuf {
    type Err = MailboxError;

    fn from_str(mailbox: &str) -> Result<Self, MailboxError> {
        Self::parse(mailbox)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::String;

    #[test]
    fn mailboxes() {
        for (raw, local, domain) in [
            ("a@b", "a", "b"),
            ("a.b+c=d@x-y.example", "a.b+c=d", "x-y.example"),
            (r#""a>b @\"\\"@c"#, r#""a>b @\"\\""#, "c"),
            (r#"""@c"#, r#""""#, "c"),
            ("**@a_b", "**", "a_b"),
            ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
            ("a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]"),
            ("a@[x-tag:any(thing)]", "a", "[x-tag:any(thing)]"),
            ("ü.é@bücher.example", "ü.é", "bücher.example"),
        ] {
            let mailbox = Mailbox::parse(raw.as_bytes()).expect(raw);
            assert_eq!(mailbox.local_part().as_bytes(), local.as_bytes());
            assert_eq!(mailbox.domain().as_bytes(), domain.as_bytes());
            assert_eq!(mailbox.len(), raw.len());
            assert_eq!(mailbox.is_ascii(), raw.is_ascii());
            assert_eq!(MailboxBuf::parse(raw).unwrap().mailbox(), mailbox);
        }
    }

    #[test]
    fn mailboxes_can_be_read() {
        let raw = r#""a \"b"@bücher.example"#;
        let mailbox = Mailbox::parse(raw.as_bytes()).unwrap();
        assert_eq!(format!("{mailbox}"), raw);
        assert_eq!(format!("{}", MailboxBuf::parse(raw).unwrap()), raw);
        assert_eq!(
            format!("{:?}", Mailbox::parse(b"a@[192.0.2.1]").unwrap()),
            r#"Mailbox("a@[192.0.2.1]")"#
        );
        assert_eq!(
            format!("{:?}", mailbox.domain()),
            "Domain(\"bücher.example\")"
        );
        assert_eq!(
            format!("{:?}", mailbox.local_part()),
            r#"LocalPart("\"a \\\"b\"")"#
        );
    }

    #[test]
    fn what_is_no_mailbox() {
        use MailboxError as E;
        for (raw, error) in [
            (&b""[..], E::Missing),
            (b"@b", E::LocalPart),
            (b".a@b", E::LocalPart),
            (b"a..b@c", E::LocalPart),
            (b"a.@c", E::LocalPart),
            (b"\"a@b", E::LocalPart),
            (b"\"a\r\n\"@b", E::LocalPart),
            (b"\"a\\\"@b", E::LocalPart),
            (b"\"a\\\xc3\xa9\"@b", E::LocalPart),
            (b"\"a\"b@c", E::MissingDomain),
            (b"a", E::MissingDomain),
            (b"a b@c", E::MissingDomain),
            (b"a@", E::MissingDomain),
            (b"a@-b", E::Domain),
            (b"a@b-", E::Domain),
            (b"a@b-.c", E::Domain),
            (b"a@b..c", E::Domain),
            (b"a@b.", E::Domain),
            (b"a@ b", E::Domain),
            (b"a@b@c", E::TrailingOctets),
            (b"a@b\0", E::TrailingOctets),
            (b"a@b>\r\nRCPT TO:<evil@x", E::TrailingOctets),
            (b"a@[192.0.2.256]", E::AddressLiteral),
            (b"a@[192.0.2.1.5]", E::AddressLiteral),
            (b"a@[IPv6:1::2::3]", E::AddressLiteral),
            (b"a@[]", E::AddressLiteral),
            (b"a@[tag-:x]", E::AddressLiteral),
            (b"a@[tag:]", E::AddressLiteral),
            (b"a@[1.2.3.4", E::AddressLiteral),
            (b"\xc3@b", E::NotUtf8),
            (b"a@\xff", E::NotUtf8),
        ] {
            assert_eq!(Mailbox::parse(raw), Err(error), "{raw:?}");
        }
    }

    #[test]
    fn lengths() {
        let parse = |local: usize, domain: usize| {
            let raw = format!("{}@{}", "l".repeat(local), "d".repeat(domain));
            Mailbox::parse(raw.as_bytes()).map(|mailbox| mailbox.len())
        };
        assert_eq!(parse(64, 255), Ok(320));
        assert_eq!(parse(65, 1), Err(MailboxError::LocalPartTooLong));
        assert_eq!(parse(1, 256), Err(MailboxError::DomainTooLong));
    }

    #[test]
    fn sameness() {
        let same = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|raw| Mailbox::parse(raw.as_bytes()).unwrap());
            a.same_mailbox(&b)
        };
        assert!(same("a@B.example", "a@b.EXAMPLE"));
        assert!(same(r#""a\b"@d"#, "ab@d"));
        assert!(!same("A@b", "a@b"));
        assert!(!same("a@b", "a@bc"));
        assert!(!same(r#""a b"@c"#, r#""a  b"@c"#));
    }

    #[test]
    fn local_parts_are_quoted_where_needed() {
        let build = |local: &str| {
            MailboxBuf::from_parts(local, "d")
                .map(|mailbox| String::from_utf8(mailbox.as_bytes().to_vec()).unwrap())
        };
        assert_eq!(build("a.b").as_deref(), Ok("a.b@d"));
        assert_eq!(build("a..b").as_deref(), Ok(r#""a..b"@d"#));
        assert_eq!(build(r#"a"\"#).as_deref(), Ok(r#""a\"\\"@d"#));
        assert_eq!(build("a\r\nb"), Err(MailboxError::LocalPart));
        assert!(MailboxBuf::from_parts("a", "b c").is_err());
    }
}
