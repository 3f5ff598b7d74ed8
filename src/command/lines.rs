//! MAIL and RCPT lines that are kept: written by a client, stored by both sides.
//!
//! Layer 1. A line is checked when it is made and parsed again whenever it is asked something, so
//! that what is stored is what was on the wire and nothing else.
//!
//! ```
//! use smtp_checkpoint::command::{Body, MailLine, MailboxBuf, RcptLine};
//! use smtp_checkpoint::transid::TransId;
//!
//! let sender = MailboxBuf::parse("a@b.example")?;
//! let mail = MailLine::builder(sender.mailbox().into())
//!     .body(Body::EightBitMime)
//!     .transid(TransId::parse(b"<12345@claremont.edu>")?)
//!     .build()?;
//! let line = b"MAIL FROM:<a@b.example> BODY=8BITMIME TRANSID=<12345@claremont.edu>";
//! assert_eq!(mail.as_bytes(), line);
//! assert_eq!(mail.with_size(Some(42)).mail().size, Some(42));
//! assert!(RcptLine::parse(&b"RCPT TO:<v@s>\nDATA"[..]).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use super::builder::{MailLineBuilder, RcptLineBuilder};
use super::error::BuildError;
use super::mail::Mail;
use super::params;
use super::parse::{Command, trim_end};
use super::path::{ForwardPath, ReversePath};
use super::rcpt::{Notify, Rcpt};
use crate::transid::TransId;

/// Octets of a TRANSID that a client writes, brackets included (RFC 1845 §2 (5)).
pub(super) const MAX_TRANSID: usize = 79;
/// A MAIL line without its CRLF, sure to be one.
///
/// `==` compares octet for octet; [`Mail::same_transaction`] what is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MailLine {
    octets: Bytes,
}

impl MailLine {
    /// Begins a line with its reverse-path.
    pub fn builder(reverse_path: ReversePath<'_>) -> MailLineBuilder {
        MailLineBuilder::new(reverse_path)
    }

    /// Takes a line as it came or was stored.
    ///
    /// # Errors
    ///
    /// [`BuildError::Command`] with what is wrong, [`BuildError::OtherCommand`].
    pub fn parse(line: impl Into<Bytes>) -> Result<Self, BuildError> {
        let octets = line.into();
        match Command::parse(&octets) {
            Ok(Command::Mail(_)) => Ok(Self { octets }),
            Ok(_) => Err(BuildError::OtherCommand),
            Err(error) => Err(BuildError::Command(error)),
        }
    }

    /// The line without its CRLF.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }

    /// The line without its CRLF; no copy is made.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.octets.clone()
    }

    /// What the line says. It is parsed each time, without taking memory.
    #[must_use]
    pub fn mail(&self) -> Mail<'_> {
        match Command::parse(&self.octets) {
            Ok(Command::Mail(mail)) => mail,
            // Never: the same octets were parsed when the line was made.
            _ => Mail::NULL,
        }
    }

    /// The same line with another SIZE, in its old place or at the end, or without one.
    #[must_use]
    pub fn with_size(&self, size: Option<u64>) -> Self {
        let size = size.map(|size| size.to_string());
        self.rewritten(b"SIZE", size.as_deref().map(str::as_bytes), &[])
    }

    /// The same line with another TRANSID, in its old place or at the end, or without one. A
    /// TRANSOFF, which belongs to the old one, is left out.
    ///
    /// # Errors
    ///
    /// [`BuildError::TransIdTooLong`] over 79 octets.
    pub fn with_transid(&self, transid: Option<TransId>) -> Result<Self, BuildError> {
        let value = transid.as_ref().map(|transid| transid.as_bytes());
        if value.is_some_and(|value| value.len() > MAX_TRANSID) {
            return Err(BuildError::TransIdTooLong);
        }
        Ok(self.rewritten(b"TRANSID", value, b"TRANSOFF"))
    }

    /// The same line without the parameters that `dropped` names.
    pub(crate) fn without(&self, dropped: impl Fn(&[u8]) -> bool) -> Self {
        Self {
            octets: without(&self.octets, self.mail().raw_parameters(), dropped),
        }
    }

    /// The line with `keyword` set to `value` and without `dropped`, all else as it was.
    fn rewritten(&self, keyword: &[u8], mut value: Option<&[u8]>, dropped: &[u8]) -> Self {
        let line = trim_end(&self.octets);
        let mut rest = self.mail().raw_parameters();
        let head = line.len().saturating_sub(rest.len());
        let mut new = Vec::with_capacity(line.len() + 32);
        new.extend(line.iter().take(head));
        let mut set = |new: &mut Vec<u8>| {
            if let Some(value) = value.take() {
                new.push(b' ');
                new.extend_from_slice(keyword);
                new.push(b'=');
                new.extend_from_slice(value);
            }
        };
        loop {
            let before = rest;
            let Ok(Some(parameter)) = params::next(&mut rest) else {
                break;
            };
            if parameter.is(keyword) {
                set(&mut new);
            } else if !parameter.is(dropped) {
                new.extend(before.iter().take(before.len() - rest.len()));
            }
        }
        set(&mut new);
        Self { octets: new.into() }
    }
}

/// A RCPT line without its CRLF, sure to be one.
///
/// `==` compares octet for octet; [`Rcpt::same_recipient`] what is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RcptLine {
    octets: Bytes,
}

impl RcptLine {
    /// Begins a line with its forward-path.
    pub fn builder(forward_path: ForwardPath<'_>) -> RcptLineBuilder {
        RcptLineBuilder::new(forward_path)
    }

    /// Takes a line as it came or was stored.
    ///
    /// # Errors
    ///
    /// [`BuildError::Command`] with what is wrong, [`BuildError::OtherCommand`].
    pub fn parse(line: impl Into<Bytes>) -> Result<Self, BuildError> {
        let octets = line.into();
        match Command::parse(&octets) {
            Ok(Command::Rcpt(_)) => Ok(Self { octets }),
            Ok(_) => Err(BuildError::OtherCommand),
            Err(error) => Err(BuildError::Command(error)),
        }
    }

    /// The line without its CRLF.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }

    /// The line without its CRLF; no copy is made.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.octets.clone()
    }

    /// What the line says. It is parsed each time, without taking memory.
    #[must_use]
    pub fn rcpt(&self) -> Rcpt<'_> {
        match Command::parse(&self.octets) {
            Ok(Command::Rcpt(rcpt)) => rcpt,
            // Never: the same octets were parsed when the line was made.
            _ => Rcpt::POSTMASTER,
        }
    }

    /// The same line without the parameters that `dropped` names.
    pub(crate) fn without(&self, dropped: impl Fn(&[u8]) -> bool) -> Self {
        Self {
            octets: without(&self.octets, self.rcpt().raw_parameters(), dropped),
        }
    }

    /// The same line with NOTIFY, where it has none.
    pub(crate) fn with_notify(&self, notify: Notify) -> Self {
        if self.rcpt().notify.is_some() {
            return self.clone();
        }
        let mut line = trim_end(&self.octets).to_vec();
        line.extend_from_slice(b" NOTIFY=");
        notify.write_to(&mut line);
        Self {
            octets: line.into(),
        }
    }
}

/// A line without some of the `parameters` that it ends with, all else as it was.
fn without(line: &Bytes, parameters: &[u8], dropped: impl Fn(&[u8]) -> bool) -> Bytes {
    let line = trim_end(line);
    let mut rest = parameters;
    let head = line.len().saturating_sub(rest.len());
    let mut new = Vec::with_capacity(line.len());
    new.extend(line.iter().take(head));
    loop {
        let before = rest;
        let Ok(Some(parameter)) = params::next(&mut rest) else {
            break;
        };
        if !dropped(parameter.keyword) {
            new.extend(before.iter().take(before.len() - rest.len()));
        }
    }
    new.into()
}

#[cfg(test)]
mod tests {
    use super::super::error::CommandError;
    use super::*;
    use proptest::prelude::*;
    use std::format;

    fn mail(line: &'static str) -> MailLine {
        MailLine::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn only_lines_of_the_kind_are_taken() {
        use BuildError as E;
        assert_eq!(MailLine::parse(&b"RSET"[..]), Err(E::OtherCommand));
        assert_eq!(RcptLine::parse(&b"MAIL FROM:<>"[..]), Err(E::OtherCommand));
        let injected = E::Command(CommandError::ForbiddenOctet);
        assert_eq!(RcptLine::parse(&b"RCPT TO:<v@s>\nDATA"[..]), Err(injected));
    }

    #[test]
    fn only_size_changes() {
        let line = mail("mail from:a@b  X=1 Size=5\tY ");
        assert_eq!(
            line.with_size(Some(7)).as_bytes(),
            b"mail from:a@b  X=1 SIZE=7\tY"
        );
        assert_eq!(line.with_size(None).as_bytes(), b"mail from:a@b  X=1\tY");
        let bare = mail("MAIL FROM:<>");
        assert_eq!(bare.with_size(Some(0)).as_bytes(), b"MAIL FROM:<> SIZE=0");
        assert_eq!(bare.with_size(None), bare);
    }

    #[test]
    fn a_new_transid_has_no_old_offset() {
        let line = mail("MAIL FROM:<> TRANSID=<a@b> TRANSOFF=5 X");
        let other = TransId::parse(b"<c@d>").ok();
        let renewed = line.with_transid(other).unwrap();
        assert_eq!(renewed.as_bytes(), b"MAIL FROM:<> TRANSID=<c@d> X");
        assert_eq!(
            line.with_transid(None).unwrap().as_bytes(),
            b"MAIL FROM:<> X"
        );
    }

    proptest! {
        #[test]
        fn rewriting_keeps_the_transaction(
            pieces in proptest::collection::vec(proptest::sample::select(std::vec![
                " SIZE=3", " X=1", "\tY", " BODY=7BIT", " TRANSID=<a@b>", " TRANSOFF=0", " Z=é", "  ",
                " ENVID=a+2B",
            ]), 0..8),
            size in any::<Option<u64>>(),
        ) {
            let line = format!("MAIL FROM:<a@b>{}", pieces.concat());
            if let Ok(line) = MailLine::parse(line.into_bytes()) {
                let sized = line.with_size(size);
                prop_assert!(MailLine::parse(sized.to_bytes()).is_ok());
                prop_assert!(sized.mail().same_transaction(&line.mail()));
                prop_assert_eq!(sized.mail().transid, line.mail().transid);
                prop_assert_eq!(sized.mail().size, size);
                let renewed = line.with_transid(None).unwrap();
                prop_assert!(MailLine::parse(renewed.to_bytes()).is_ok());
                prop_assert!(renewed.mail().same_transaction(&line.mail()));
                prop_assert_eq!(renewed.mail().transid_value, None);
            }
        }
    }
}
