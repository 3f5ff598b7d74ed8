//! Domains and address literals: the part behind the "@", and what a source route is made of.
//!
//! Layer 1. Checked at the door, kept as it came, compared without regard to case.
//!
//! ```
//! use smtp_checkpoint::command::DomainOrLiteral;
//!
//! let literal = DomainOrLiteral::parse(b"[IPv6:::1]")?;
//! assert!(literal.ip().is_some_and(|ip| ip.is_loopback()));
//! assert!(DomainOrLiteral::parse(b"-a.example").is_err());
//! # Ok::<(), smtp_checkpoint::command::MailboxError>(())
//! ```

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::MailboxError;
use crate::class::{LABEL, split_run};
use crate::text::Text;

/// Octets of a domain or address literal (RFC 5321 §4.5.3.1.2).
pub const MAX_DOMAIN: usize = 255;

/// The part behind the "@". `==` compares octet for octet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum DomainOrLiteral<'a> {
    /// A domain name, as it came. It may hold U-labels (RFC 6531 §3.3).
    Domain(&'a [u8]),
    /// An address literal with its brackets, as it came (RFC 5321 §4.1.3).
    Literal(&'a [u8]),
}

impl<'a> DomainOrLiteral<'a> {
    /// Checks a domain or an address literal.
    ///
    /// # Errors
    ///
    /// [`MailboxError`]: what is wrong with it.
    pub fn parse(raw: &'a [u8]) -> Result<Self, MailboxError> {
        let (domain, rest) = scan_domain(raw)?;
        if rest.is_empty() {
            Ok(domain)
        } else {
            Err(MailboxError::Domain)
        }
    }

    /// The domain or literal as it came, the brackets of a literal included.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Domain(raw) | Self::Literal(raw) => raw,
        }
    }

    /// The address of an IPv4 or IPv6 literal; `None` for a domain and for a general literal.
    #[must_use]
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Domain(_) => None,
            Self::Literal(raw) => {
                let inner = raw.strip_prefix(b"[")?.strip_suffix(b"]")?;
                match strip_ipv6_tag(inner) {
                    Some(address) => ipv6(address).map(IpAddr::V6),
                    None => ipv4(inner).map(IpAddr::V4),
                }
            }
        }
    }

    /// Whether both are the same but for the case of ASCII letters. U-labels and A-labels are not
    /// converted into each other.
    #[must_use]
    pub fn same_domain(self, other: DomainOrLiteral<'_>) -> bool {
        self.as_bytes().eq_ignore_ascii_case(other.as_bytes())
    }
}

impl fmt::Display for DomainOrLiteral<'_> {
    /// As it came; controls and what is not UTF-8 are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text(self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for DomainOrLiteral<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            Self::Domain(_) => "Domain",
            Self::Literal(_) => "Literal",
        };
        f.debug_tuple(variant)
            .field(&Text(self.as_bytes()))
            .finish()
    }
}

pub(super) fn check_utf8(raw: &[u8]) -> Result<(), MailboxError> {
    if raw.is_ascii() || core::str::from_utf8(raw).is_ok() {
        Ok(())
    } else {
        Err(MailboxError::NotUtf8)
    }
}

pub(super) fn split(input: &[u8], len: usize) -> (&[u8], &[u8]) {
    input.split_at_checked(len).unwrap_or((input, &[]))
}

/// A domain or an address literal at the start of `input`, and what follows it.
#[inline(always)]
pub(super) fn scan_domain(input: &[u8]) -> Result<(DomainOrLiteral<'_>, &[u8]), MailboxError> {
    match input.first() {
        None => return Err(MailboxError::MissingDomain),
        Some(b'[') => return scan_literal(input),
        Some(_) => {}
    }
    let len = scan_labels(input)?;
    if len > MAX_DOMAIN {
        return Err(MailboxError::DomainTooLong);
    }
    let (raw, rest) = split(input, len);
    check_utf8(raw)?;
    Ok((DomainOrLiteral::Domain(raw), rest))
}

/// Length of labels joined by single dots at the start of `input`.
#[inline(always)]
fn scan_labels(input: &[u8]) -> Result<usize, MailboxError> {
    let mut rest = input;
    loop {
        let (label, behind) = split_run(LABEL, rest);
        if matches!(label, [] | [b'-', ..] | [.., b'-']) {
            return Err(MailboxError::Domain);
        }
        match behind {
            [b'.', next @ ..] => rest = next,
            _ => return Ok(input.len() - behind.len()),
        }
    }
}

#[inline(never)]
fn scan_literal(input: &[u8]) -> Result<(DomainOrLiteral<'_>, &[u8]), MailboxError> {
    let end = memchr::memchr(b']', input).ok_or(MailboxError::AddressLiteral)?;
    let (raw, rest) = split(input, end + 1);
    if raw.len() > MAX_DOMAIN {
        return Err(MailboxError::DomainTooLong);
    }
    let inner = raw.get(1..end).unwrap_or_default();
    let is_literal = match strip_ipv6_tag(inner) {
        Some(address) => ipv6(address).is_some(),
        None => ipv4(inner).is_some() || is_general_literal(inner),
    };
    if is_literal {
        Ok((DomainOrLiteral::Literal(raw), rest))
    } else {
        Err(MailboxError::AddressLiteral)
    }
}

fn strip_ipv6_tag(inner: &[u8]) -> Option<&[u8]> {
    let (tag, address) = inner.split_at_checked(5)?;
    tag.eq_ignore_ascii_case(b"IPv6:").then_some(address)
}

fn ipv6(address: &[u8]) -> Option<Ipv6Addr> {
    core::str::from_utf8(address).ok()?.parse().ok()
}

/// `IPv4-address-literal = Snum 3("." Snum)`; a Snum may have leading zeros and is decimal.
fn ipv4(address: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = address.split(|octet| *octet == b'.');
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() <= 3)?;
        *octet = u8::try_from(crate::syntax::parse_decimal(part)?).ok()?;
    }
    parts.next().is_none().then_some(Ipv4Addr::from(octets))
}

/// `General-address-literal = Standardized-tag ":" 1*dcontent`.
fn is_general_literal(inner: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', inner) else {
        return false;
    };
    let (tag, content) = split(inner, colon);
    let content = content.get(1..).unwrap_or_default();
    tag.last().is_some_and(u8::is_ascii_alphanumeric)
        && tag.iter().all(|octet| crate::syntax::is_keyword(*octet))
        && !content.is_empty()
        && content
            .iter()
            .all(|octet| matches!(octet, b'!'..=b'Z' | b'^'..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_have_addresses() {
        let ip = |raw: &str| DomainOrLiteral::parse(raw.as_bytes()).unwrap().ip();
        assert_eq!(ip("[192.0.02.1]"), Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(ip("[ipv6:::1]"), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        assert_eq!(ip("[tag:1]"), None);
        assert_eq!(ip("example"), None);
    }

    #[test]
    fn domains_of_any_case_are_the_same() {
        let same = |one: &[u8], other: &[u8]| {
            let [one, other] = [one, other].map(|raw| DomainOrLiteral::parse(raw).unwrap());
            one.same_domain(other)
        };
        assert!(same(b"A.example", b"a.EXAMPLE"));
        assert!(same(b"[IPv6:2001:DB8::1]", b"[ipv6:2001:db8::1]"));
        assert!(!same(b"a.example", b"a.example.org"));
        assert!(!same(
            "\u{dc}.example".as_bytes(),
            "\u{fc}.example".as_bytes()
        ));
    }
}
