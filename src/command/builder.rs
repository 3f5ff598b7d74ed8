//! Writing MAIL and RCPT, parameter by parameter.
//!
//! Layer 1. What is given as it is meant is encoded; what could end a value or a line is refused.
//!
//! ```
//! use smtp_checkpoint::command::{BuildError, ForwardPath, Notify, RcptLine, ReversePath, MailLine};
//!
//! let rcpt = RcptLine::builder(ForwardPath::Postmaster)
//!     .notify(Notify::Never)
//!     .orcpt("rfc822", "a+b@c.example")
//!     .build()?;
//! let line = b"RCPT TO:<Postmaster> NOTIFY=NEVER ORCPT=rfc822;a+2Bb@c.example";
//! assert_eq!(rcpt.as_bytes(), line);
//! let injected = MailLine::builder(ReversePath::Null).envid("a\r\nDATA").build();
//! assert_eq!(injected, Err(BuildError::Envid));
//! # Ok::<(), BuildError>(())
//! ```

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use super::error::BuildError;
use super::lines::{MAX_TRANSID, MailLine, RcptLine};
use super::mail::{Body, Mail, Ret};
use super::mailbox::Mailbox;
use super::path::{ForwardPath, ReversePath};
use super::rcpt::{Notify, Rcpt, is_addr_type};
use super::write::MAX_LINE;
use super::xtext::XText;
use crate::offset::OctetOffset;
use crate::syntax::{is_esmtp_value, is_keyword};
use crate::transid::TransId;

/// Octets of an ENVID as xtext (RFC 3461 §4.4).
const MAX_ENVID: usize = 100;
/// Octets of an ORCPT (RFC 3461 §4.2).
const MAX_ORCPT: usize = 500;
/// Octets of the value of AUTH= (RFC 4954 §3), with ` AUTH=` 500.
const MAX_AUTH: usize = 494;

/// A line being written, or the first thing that was wrong with it.
#[derive(Debug, Clone)]
struct Line {
    octets: Vec<u8>,
    error: Option<BuildError>,
}

impl Line {
    fn new(head: &[u8]) -> Self {
        let mut octets = Vec::with_capacity(128);
        octets.extend_from_slice(head);
        Self {
            octets,
            error: None,
        }
    }

    fn fail(&mut self, error: BuildError) {
        self.error.get_or_insert(error);
    }

    fn push(&mut self, keyword: &[u8], value: Option<&[u8]>) {
        self.octets.push(b' ');
        self.octets.extend_from_slice(keyword);
        if let Some(value) = value {
            self.octets.push(b'=');
            self.octets.extend_from_slice(value);
        }
    }

    fn parameter(&mut self, keyword: &[u8], value: Option<&[u8]>, known: bool) {
        let is_sound = keyword.first().is_some_and(u8::is_ascii_alphanumeric)
            && keyword.iter().all(|octet| is_keyword(*octet))
            && value.is_none_or(|value| {
                !value.is_empty() && value.iter().all(|octet| is_esmtp_value(*octet))
            });
        if known || !is_sound {
            self.fail(BuildError::Parameter);
        } else {
            self.push(keyword, value);
        }
    }

    fn finish(self) -> Result<Bytes, BuildError> {
        match self.error {
            Some(error) => Err(error),
            None if self.octets.len() > MAX_LINE => Err(BuildError::LineTooLong),
            None => Ok(self.octets.into()),
        }
    }
}

/// Writes a [`MailLine`]. Nothing is checked before [`build`](Self::build), which tells the first
/// fault.
#[derive(Debug, Clone)]
#[must_use]
pub struct MailLineBuilder {
    line: Line,
    needs_smtputf8: bool,
}

impl MailLineBuilder {
    pub(super) fn new(reverse_path: ReversePath<'_>) -> Self {
        let mut line = Line::new(b"MAIL FROM:");
        reverse_path.write_to(&mut line.octets);
        Self {
            line,
            needs_smtputf8: reverse_path.needs_smtputf8(),
        }
    }

    /// `SIZE=`, in octets (RFC 1870 §3).
    pub fn size(mut self, size: u64) -> Self {
        self.line.push(b"SIZE", Some(size.to_string().as_bytes()));
        self
    }

    /// `BODY=` (RFC 6152 §2, RFC 3030 §3).
    pub fn body(mut self, body: Body) -> Self {
        self.line.push(b"BODY", Some(body.as_str().as_bytes()));
        self
    }

    /// `SMTPUTF8` (RFC 6531 §3.4).
    pub fn smtputf8(mut self) -> Self {
        self.needs_smtputf8 = false;
        self.line.push(b"SMTPUTF8", None);
        self
    }

    /// `RET=` (RFC 3461 §4.3).
    pub fn ret(mut self, ret: Ret) -> Self {
        self.line.push(b"RET", Some(ret.as_str().as_bytes()));
        self
    }

    /// `ENVID=`, given as it is meant and written as xtext (RFC 3461 §4.4): printable ASCII of at
    /// most 100 octets as xtext.
    pub fn envid(mut self, envid: impl AsRef<[u8]>) -> Self {
        let envid = envid.as_ref();
        let text = XText::encode(envid);
        let is_sound = (1..=MAX_ENVID).contains(&text.len())
            && envid.iter().all(|octet| matches!(octet, b' '..=b'~'));
        if is_sound {
            self.line.push(b"ENVID", Some(&text));
        } else {
            self.line.fail(BuildError::Envid);
        }
        self
    }

    /// `AUTH=`: who submitted the message first, or `<>` (RFC 4954 §5).
    pub fn auth(mut self, identity: Option<Mailbox<'_>>) -> Self {
        match identity {
            None => self.line.push(b"AUTH", Some(b"<>")),
            Some(identity) => {
                let mut mailbox = Vec::with_capacity(identity.len());
                identity.write_to(&mut mailbox);
                let text = XText::encode(&mailbox);
                if text.len() > MAX_AUTH {
                    self.line.fail(BuildError::AuthIdentity);
                } else {
                    self.line.push(b"AUTH", Some(&text));
                }
            }
        }
        self
    }

    /// `TRANSID=` of at most 79 octets, brackets included: the line grows by 88 at most
    /// (RFC 1845 §2 (5)).
    pub fn transid(mut self, transid: TransId) -> Self {
        if transid.as_bytes().len() > MAX_TRANSID {
            self.line.fail(BuildError::TransIdTooLong);
        } else {
            self.line.push(b"TRANSID", Some(transid.as_bytes()));
        }
        self
    }

    /// `TRANSOFF=`, which needs a TRANSID too (draft-fanf-smtp-rfc1845bis-01 §2).
    pub fn transoff(mut self, offset: OctetOffset) -> Self {
        let offset = offset.get().to_string();
        self.line.push(b"TRANSOFF", Some(offset.as_bytes()));
        self
    }

    /// Another parameter, as it is to be written.
    pub fn parameter(mut self, keyword: impl AsRef<[u8]>, value: Option<&[u8]>) -> Self {
        let keyword = keyword.as_ref();
        self.line.parameter(keyword, value, Mail::knows(keyword));
        self
    }

    /// The line.
    ///
    /// # Errors
    ///
    /// [`BuildError`]: the first thing that was wrong. A parameter that was given twice is
    /// [`CommandError::DuplicateParameter`](super::CommandError::DuplicateParameter).
    pub fn build(self) -> Result<MailLine, BuildError> {
        if self.needs_smtputf8 {
            return Err(self.line.error.unwrap_or(BuildError::NeedsSmtpUtf8));
        }
        MailLine::parse(self.line.finish()?)
    }
}

/// Writes a [`RcptLine`]. Nothing is checked before [`build`](Self::build), which tells the first
/// fault.
#[derive(Debug, Clone)]
#[must_use]
pub struct RcptLineBuilder {
    line: Line,
}

impl RcptLineBuilder {
    pub(super) fn new(forward_path: ForwardPath<'_>) -> Self {
        let mut line = Line::new(b"RCPT TO:");
        forward_path.write_to(&mut line.octets);
        Self { line }
    }

    /// `NOTIFY=` (RFC 3461 §4.1).
    pub fn notify(mut self, notify: Notify) -> Self {
        let mut value = Vec::with_capacity(24);
        notify.write_to(&mut value);
        self.line.push(b"NOTIFY", Some(&value));
        self
    }

    /// `ORCPT=`, the address given as it is meant: printable ASCII, written as xtext (RFC 3461
    /// §4.2), or for the type `utf-8` any printable UTF-8, written as `utf-8-addr-xtext` (RFC 6533
    /// §3). At most 500 octets with its type.
    pub fn orcpt(mut self, addr_type: impl AsRef<[u8]>, address: impl AsRef<str>) -> Self {
        let (addr_type, address) = (addr_type.as_ref(), address.as_ref());
        let is_utf8 = addr_type.eq_ignore_ascii_case(b"utf-8");
        let mut value = addr_type.to_vec();
        value.push(b';');
        if is_utf8 {
            for char in address.chars() {
                match char {
                    '+' | '=' | '\\' | ' ' | '\u{80}'.. => {
                        value.extend(alloc::format!("\\x{{{:02X}}}", u32::from(char)).into_bytes());
                    }
                    _ => value.push(char as u8),
                }
            }
        } else {
            value.extend(XText::encode(address.as_bytes()));
        }
        let is_sound = is_addr_type(addr_type)
            && !address.is_empty()
            && !address.chars().any(char::is_control)
            && (is_utf8 || address.is_ascii())
            && value.len() <= MAX_ORCPT;
        if is_sound {
            self.line.push(b"ORCPT", Some(&value));
        } else {
            self.line.fail(BuildError::Orcpt);
        }
        self
    }

    /// Another parameter, as it is to be written.
    pub fn parameter(mut self, keyword: impl AsRef<[u8]>, value: Option<&[u8]>) -> Self {
        let keyword = keyword.as_ref();
        self.line.parameter(keyword, value, Rcpt::knows(keyword));
        self
    }

    /// The line.
    ///
    /// # Errors
    ///
    /// [`BuildError`]: the first thing that was wrong. A parameter that was given twice is
    /// [`CommandError::DuplicateParameter`](super::CommandError::DuplicateParameter).
    pub fn build(self) -> Result<RcptLine, BuildError> {
        RcptLine::parse(self.line.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::CommandError;
    use super::super::mailbox::MailboxBuf;
    use super::super::rcpt::NotifyOn;
    use super::*;
    use std::format;

    fn null() -> MailLineBuilder {
        MailLine::builder(ReversePath::Null)
    }

    fn rcpt() -> RcptLineBuilder {
        RcptLine::builder(ForwardPath::Postmaster)
    }

    #[test]
    fn all_of_mail() {
        let sender = MailboxBuf::from_parts("ü >", "b").unwrap();
        let line = MailLine::builder(sender.mailbox().into())
            .size(1)
            .body(Body::BinaryMime)
            .smtputf8()
            .ret(Ret::Hdrs)
            .envid("a b+c=d")
            .auth(Some(Mailbox::parse(b"a=x@y").unwrap()))
            .transid(TransId::parse(b"<x@y>").unwrap())
            .transoff(OctetOffset::from(9))
            .parameter("X-Y", Some(b"z"))
            .parameter("W", None)
            .build()
            .unwrap();
        let expected = "MAIL FROM:<\"ü >\"@b> SIZE=1 BODY=BINARYMIME SMTPUTF8 RET=HDRS \
                        ENVID=a+20b+2Bc+3Dd AUTH=a+3Dx@y TRANSID=<x@y> TRANSOFF=9 X-Y=z W";
        assert_eq!(line.as_bytes(), expected.as_bytes());
        assert_eq!(line.mail().unknown_parameters().count(), 2);
    }

    #[test]
    fn all_of_rcpt() {
        let line = rcpt()
            .notify(Notify::On(NotifyOn::DELAY | NotifyOn::SUCCESS))
            .orcpt("utf-8", "ü+\\@b")
            .parameter("X", Some(b"1"))
            .build()
            .unwrap();
        let expected =
            r"RCPT TO:<Postmaster> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;\x{FC}\x{2B}\x{5C}@b X=1";
        assert_eq!(line.as_bytes(), expected.as_bytes());
        let line = rcpt()
            .notify(Notify::Never)
            .orcpt("rfc822", "a+b@c")
            .build()
            .unwrap();
        assert!(line.rcpt().orcpt.unwrap().address.decoded().eq(*b"a+b@c"));
    }

    #[test]
    fn what_cannot_be_written() {
        use BuildError as E;
        let long = TransId::parse(format!("<{}@d>", "a".repeat(76)).as_bytes()).unwrap();
        let utf8 = MailboxBuf::parse("ü@b").unwrap();
        let duplicate = E::Command(CommandError::DuplicateParameter);
        let alone = E::Command(CommandError::TransOffAlone);
        for (builder, error) in [
            (null().envid("a\r\nb"), E::Envid),
            (null().envid(""), E::Envid),
            (null().envid([b'='; 34]), E::Envid),
            (null().transid(long), E::TransIdTooLong),
            (null().transoff(OctetOffset::from(0)), alone),
            (null().size(1).size(1), duplicate),
            (null().parameter("X", None).parameter("x", None), duplicate),
            (null().parameter("SIZE", Some(b"1")), E::Parameter),
            (null().parameter("X", Some(b"")), E::Parameter),
            (null().parameter("X", Some(b"a b")), E::Parameter),
            (null().parameter("X", Some(b"a\r\nDATA")), E::Parameter),
            (null().parameter("X Y", None), E::Parameter),
            (null().parameter("X", Some(&[b'a'; 2033])), E::LineTooLong),
            (MailLine::builder(utf8.mailbox().into()), E::NeedsSmtpUtf8),
        ] {
            assert_eq!(builder.build(), Err(error));
        }
        for builder in [
            rcpt().orcpt("rfc822", "a\r\nb@c"),
            rcpt().orcpt("rfc822", "ü"),
            rcpt().orcpt("rf c", "a"),
            rcpt().orcpt("utf-8", "\u{85}"),
            rcpt().orcpt("rfc822", ""),
        ] {
            assert_eq!(builder.build(), Err(E::Orcpt));
        }
    }

    #[test]
    fn the_longest_transid_adds_88_octets() {
        let transid = TransId::parse(format!("<{}@d>", "a".repeat(75)).as_bytes()).unwrap();
        let plain = null().build().unwrap();
        let line = null().transid(transid).build().unwrap();
        assert_eq!(line.as_bytes().len() - plain.as_bytes().len(), 88);
    }
}
