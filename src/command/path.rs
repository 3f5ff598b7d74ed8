//! Paths: what stands behind `MAIL FROM:` and `RCPT TO:`.
//!
//! Layer 1. Null reverse-path, `<Postmaster>`, source routes (read and ignored) and, because
//! clients send them, paths without brackets.
//!
//! ```
//! use smtp_checkpoint::command::{Command, ReversePath};
//!
//! let Command::Mail(mail) = Command::parse(b"MAIL FROM:<>")? else { unreachable!() };
//! assert_eq!(mail.reverse_path, ReversePath::Null);
//! # Ok::<(), smtp_checkpoint::command::CommandError>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

use super::domain::scan_domain;
use super::error::MailboxError;
use super::mailbox::{Mailbox, scan_mailbox, scan_usual_mailbox};
use crate::syntax::is_wsp;

/// Octets of a path with its brackets and source route (RFC 5321 §4.5.3.1.3).
pub const MAX_PATH: usize = 256;

const POSTMASTER: &[u8] = b"Postmaster";

/// Who sent it (RFC 5321 §4.1.1.2). A source route is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReversePath<'a> {
    /// `<>`: nobody wants to hear of failures.
    Null,
    /// A mailbox.
    Mailbox(Mailbox<'a>),
}

impl<'a> ReversePath<'a> {
    /// The mailbox, where there is one.
    #[must_use]
    pub const fn mailbox(&self) -> Option<Mailbox<'a>> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(*mailbox),
        }
    }

    /// Whether it can be used with SMTPUTF8 only (RFC 6531 §3.4).
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        self.mailbox().is_some_and(|mailbox| !mailbox.is_ascii())
    }

    /// Whether both are the same sender: both null, or [the same
    /// mailbox](Mailbox::same_mailbox).
    #[must_use]
    pub fn same_reverse_path(&self, other: &ReversePath<'_>) -> bool {
        match (self, other) {
            (Self::Null, ReversePath::Null) => true,
            (Self::Mailbox(one), ReversePath::Mailbox(other)) => one.same_mailbox(other),
            _ => false,
        }
    }

    pub(super) fn write_to(&self, line: &mut Vec<u8>) {
        line.push(b'<');
        if let Self::Mailbox(mailbox) = self {
            mailbox.write_to(line);
        }
        line.push(b'>');
    }
}

impl fmt::Display for ReversePath<'_> {
    /// As MAIL has it, with its brackets; controls and what is not UTF-8 are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

impl<'a> From<Mailbox<'a>> for ReversePath<'a> {
    fn from(mailbox: Mailbox<'a>) -> Self {
        Self::Mailbox(mailbox)
    }
}

/// Whom it is for (RFC 5321 §4.1.1.3). A source route is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForwardPath<'a> {
    /// `<Postmaster>` in any case, without a domain.
    Postmaster,
    /// A mailbox.
    Mailbox(Mailbox<'a>),
}

impl<'a> ForwardPath<'a> {
    /// The mailbox, where there is one.
    #[must_use]
    pub const fn mailbox(&self) -> Option<Mailbox<'a>> {
        match self {
            Self::Postmaster => None,
            Self::Mailbox(mailbox) => Some(*mailbox),
        }
    }

    /// Whether it can be used with SMTPUTF8 only (RFC 6531 §3.4).
    #[must_use]
    pub fn needs_smtputf8(&self) -> bool {
        self.mailbox().is_some_and(|mailbox| !mailbox.is_ascii())
    }

    /// Whether both are the same recipient: both `<Postmaster>`, or [the same
    /// mailbox](Mailbox::same_mailbox). `<Postmaster>` is no mailbox of any domain.
    #[must_use]
    pub fn same_forward_path(&self, other: &ForwardPath<'_>) -> bool {
        match (self, other) {
            (Self::Postmaster, ForwardPath::Postmaster) => true,
            (Self::Mailbox(one), ForwardPath::Mailbox(other)) => one.same_mailbox(other),
            _ => false,
        }
    }

    pub(super) fn write_to(&self, line: &mut Vec<u8>) {
        line.push(b'<');
        match self {
            Self::Postmaster => line.extend_from_slice(POSTMASTER),
            Self::Mailbox(mailbox) => mailbox.write_to(line),
        }
        line.push(b'>');
    }
}

impl fmt::Display for ForwardPath<'_> {
    /// As RCPT has it, with its brackets; controls and what is not UTF-8 are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("<Postmaster>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

impl<'a> From<Mailbox<'a>> for ForwardPath<'a> {
    fn from(mailbox: Mailbox<'a>) -> Self {
        Self::Mailbox(mailbox)
    }
}

/// A path and what surrounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scanned<'a, P> {
    pub(super) path: P,
    pub(super) bracketed: bool,
    /// What follows: empty, or white space and parameters.
    pub(super) rest: &'a [u8],
}

/// A mailbox in brackets, as nearly every path is; all others are for the two below.
#[inline(always)]
pub(super) fn scan_usual<'a, P: From<Mailbox<'a>>>(input: &'a [u8]) -> Option<Scanned<'a, P>> {
    let (mailbox, rest) = scan_usual_mailbox(input.strip_prefix(b"<")?)?;
    let rest = rest.strip_prefix(b">")?;
    let is_path = rest.first().is_none_or(|octet| is_wsp(*octet)) && mailbox.len() + 2 <= MAX_PATH;
    is_path.then_some(Scanned {
        path: mailbox.into(),
        bracketed: true,
        rest,
    })
}

#[inline(never)]
pub(super) fn scan_reverse_path(
    input: &[u8],
) -> Result<Scanned<'_, ReversePath<'_>>, MailboxError> {
    scan(input, |inner| match inner.first() {
        Some(b'>') => Ok((ReversePath::Null, inner)),
        _ => scan_mailbox(inner).map(|(mailbox, rest)| (mailbox.into(), rest)),
    })
}

#[inline(never)]
pub(super) fn scan_forward_path(
    input: &[u8],
) -> Result<Scanned<'_, ForwardPath<'_>>, MailboxError> {
    scan(input, |inner| {
        if let Some((name, rest)) = inner.split_at_checked(POSTMASTER.len()) {
            let ends = rest
                .first()
                .is_none_or(|octet| *octet == b'>' || is_wsp(*octet));
            if ends && name.eq_ignore_ascii_case(POSTMASTER) {
                return Ok((ForwardPath::Postmaster, rest));
            }
        }
        match inner.first() {
            Some(b'>') => Err(MailboxError::Missing),
            _ => scan_mailbox(inner).map(|(mailbox, rest)| (mailbox.into(), rest)),
        }
    })
}

#[inline(always)]
fn scan<'a, P>(
    input: &'a [u8],
    address: impl FnOnce(&'a [u8]) -> Result<(P, &'a [u8]), MailboxError>,
) -> Result<Scanned<'a, P>, MailboxError> {
    let (path, bracketed, rest) = match input.strip_prefix(b"<") {
        Some(inner) => {
            let (path, rest) = address(match inner.first() {
                Some(b'@') => skip_source_route(inner)?,
                _ => inner,
            })?;
            let rest = match rest.split_first() {
                Some((b'>', rest)) => rest,
                None => return Err(MailboxError::Brackets),
                Some(_) => return Err(MailboxError::TrailingOctets),
            };
            (path, true, rest)
        }
        None if input.is_empty() => return Err(MailboxError::Missing),
        // Without this the null path's ">" would pass as an address without brackets.
        None if input.first() == Some(&b'>') => return Err(MailboxError::Brackets),
        None => {
            let (path, rest) = address(input)?;
            (path, false, rest)
        }
    };
    if rest.first().is_some_and(|octet| !is_wsp(*octet)) {
        return Err(MailboxError::TrailingOctets);
    }
    let brackets = if bracketed { 0 } else { 2 };
    if input.len() - rest.len() + brackets > MAX_PATH {
        return Err(MailboxError::PathTooLong);
    }
    Ok(Scanned {
        path,
        bracketed,
        rest,
    })
}

/// `A-d-l ":"` (RFC 5321 §4.1.2), to be accepted and ignored (appendix C).
#[inline(never)]
fn skip_source_route(inner: &[u8]) -> Result<&[u8], MailboxError> {
    let mut rest = inner;
    while let Some(host) = rest.strip_prefix(b"@") {
        let (_, behind) = scan_domain(host).map_err(|_| MailboxError::SourceRoute)?;
        match behind.split_first() {
            Some((b':', address)) => {
                return match address.first() {
                    Some(b'@' | b'>') | None => Err(MailboxError::SourceRoute),
                    Some(_) => Ok(address),
                };
            }
            Some((b',', next)) if next.first() == Some(&b'@') => rest = next,
            _ => return Err(MailboxError::SourceRoute),
        }
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    fn mailbox(raw: &[u8]) -> Mailbox<'_> {
        Mailbox::parse(raw).unwrap()
    }

    #[test]
    fn reverse_paths() {
        let parse = |input| scan_reverse_path(input).map(|at| (at.path, at.bracketed, at.rest));
        assert_eq!(parse(b"<>"), Ok((ReversePath::Null, true, &b""[..])));
        assert_eq!(
            parse(b"<a@b> SIZE=1"),
            Ok((mailbox(b"a@b").into(), true, &b" SIZE=1"[..]))
        );
        assert_eq!(
            parse(b"a@b SIZE=1"),
            Ok((mailbox(b"a@b").into(), false, &b" SIZE=1"[..]))
        );
        assert_eq!(
            parse(b"<@x,@[192.0.2.1]:u@d>"),
            Ok((mailbox(b"u@d").into(), true, &b""[..]))
        );
        assert_eq!(
            parse(br#"<"a>b"@c>"#),
            Ok((mailbox(br#""a>b"@c"#).into(), true, &b""[..]))
        );
    }

    #[test]
    fn what_is_no_reverse_path() {
        use MailboxError as E;
        for (input, error) in [
            (&b""[..], E::Missing),
            (b"<", E::LocalPart),
            (b">", E::Brackets),
            (b"<a@b", E::Brackets),
            (b"a@b>", E::TrailingOctets),
            (b"<a@b>x", E::TrailingOctets),
            (b"<a@b>>", E::TrailingOctets),
            (b"<a@b >", E::TrailingOctets),
            (b"<<a@b>>", E::LocalPart),
            (b"<Postmaster>", E::MissingDomain),
            (b"<@a:>", E::SourceRoute),
            (b"<@a,b:c@d>", E::SourceRoute),
            (b"<@a,:c@d>", E::SourceRoute),
            (b"<@a c@d>", E::SourceRoute),
            (b"<@a", E::SourceRoute),
            (b"@a:b@c", E::LocalPart),
        ] {
            assert_eq!(scan_reverse_path(input).unwrap_err(), error, "{input:?}");
        }
    }

    #[test]
    fn forward_paths() {
        for input in [&b"<Postmaster>"[..], b"<POSTMASTER>", b"postmaster"] {
            let path = scan_forward_path(input).unwrap().path;
            assert_eq!(path, ForwardPath::Postmaster, "{input:?}");
        }
        let path = scan_forward_path(b"<Postmaster@x>").unwrap().path;
        assert_eq!(path, mailbox(b"Postmaster@x").into());
        assert_eq!(format!("{path}"), "<Postmaster@x>");
        assert!(!path.same_forward_path(&ForwardPath::Postmaster));
        assert_eq!(scan_forward_path(b"<>").unwrap_err(), MailboxError::Missing);
        assert_eq!(
            scan_forward_path(b"<postmasters>").unwrap_err(),
            MailboxError::MissingDomain
        );
    }

    #[test]
    fn a_path_has_256_octets() {
        let path = |domain: usize| format!("<a@{}>", "d".repeat(domain));
        assert!(scan_reverse_path(path(252).as_bytes()).is_ok());
        let error = scan_reverse_path(path(253).as_bytes()).unwrap_err();
        assert_eq!(error, MailboxError::PathTooLong);
        let bare = format!("a@{}", "d".repeat(253));
        assert_eq!(
            scan_reverse_path(bare.as_bytes()).unwrap_err(),
            MailboxError::PathTooLong
        );
    }
}
