//! MAIL and its parameters.
//!
//! Layer 1. Borrowed from the line; parsing takes no memory, so a stored line is parsed again
//! whenever it is asked something.
//!
//! ```
//! use smtp_checkpoint::command::{Body, Command};
//!
//! let line = b"MAIL FROM:<a@b.example> SIZE=1000 BODY=8BITMIME TRANSID=<12345@claremont.edu>";
//! let Command::Mail(mail) = Command::parse(line)? else { unreachable!() };
//! assert_eq!(mail.size, Some(1000));
//! assert_eq!(mail.body, Some(Body::EightBitMime));
//! assert!(mail.transid.is_some());
//! # Ok::<(), smtp_checkpoint::command::CommandError>(())
//! ```

use super::error::CommandError;
use super::params::{self, Parameter, UnknownParameters};
use super::path::{ReversePath, scan_reverse_path, scan_usual};
use super::xtext::XText;
use crate::class::value_run;
use crate::offset::OctetOffset;
use crate::syntax::parse_decimal;
use crate::transid::{self, TransId};
use crate::word::Word;

/// What the content is made of (RFC 6152 §2, RFC 3030 §3). Without `BODY=` it is 7BIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Body {
    /// `7BIT`.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
    /// `BINARYMIME`: any octets, with BDAT only.
    BinaryMime,
}

impl Body {
    /// The value as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
            Self::BinaryMime => "BINARYMIME",
        }
    }

    fn parse(value: &[u8]) -> Option<Self> {
        Some(match Word::new(value) {
            word::SEVEN_BIT => Self::SevenBit,
            word::EIGHT_BIT_MIME => Self::EightBitMime,
            word::BINARY_MIME => Self::BinaryMime,
            _ => return None,
        })
    }
}

/// What a failure DSN returns (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ret {
    /// `FULL`: the message.
    Full,
    /// `HDRS`: its header.
    Hdrs,
}

impl Ret {
    /// The value as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Hdrs => "HDRS",
        }
    }

    fn parse(value: &[u8]) -> Option<Self> {
        [Self::Full, Self::Hdrs]
            .into_iter()
            .find(|ret| value.eq_ignore_ascii_case(ret.as_str().as_bytes()))
    }
}

/// `AUTH=` of MAIL: who submitted the message first (RFC 4954 §5). Compared decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthParameter<'a> {
    /// `AUTH=<>`: unknown, or not to be told.
    Unknown,
    /// A mailbox as xtext. It is not checked to be one.
    Identity(XText<'a>),
}

impl<'a> AuthParameter<'a> {
    fn parse(value: &'a [u8]) -> Option<Self> {
        let identity = XText::parse(value)?;
        // "+3C+3E" says the same as "<>".
        Some(if identity.decoded().eq(*b"<>") {
            Self::Unknown
        } else {
            Self::Identity(identity)
        })
    }
}

/// A MAIL command (RFC 5321 §4.1.1.2).
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// The reverse-path.
    pub reverse_path: ReversePath<'a>,
    /// Whether the path had its angle brackets. RFC 5321 wants them, not every client writes them.
    pub bracketed: bool,
    /// `SIZE=`: octets of the message as the client estimates it (RFC 1870 §6). A number of up to
    /// 20 digits that is over `u64::MAX` is `u64::MAX`.
    pub size: Option<u64>,
    /// `BODY=`.
    pub body: Option<Body>,
    /// `SMTPUTF8` (RFC 6531 §3.4).
    pub smtputf8: bool,
    /// `RET=`.
    pub ret: Option<Ret>,
    /// `ENVID=` (RFC 3461 §4.4): printable ASCII once decoded.
    pub envid: Option<XText<'a>>,
    /// `AUTH=`.
    pub auth: Option<AuthParameter<'a>>,
    /// `TRANSID=` (RFC 1845 §2). `None` with [`transoff`](Self::transoff) where the value is one
    /// that only RESUME allows; [`transid_value`](Self::transid_value) has it.
    pub transid: Option<TransId>,
    /// `TRANSID=` as it came, brackets included.
    pub transid_value: Option<&'a [u8]>,
    /// `TRANSOFF=` (draft-fanf-smtp-rfc1845bis-01 §2). Never without a `TRANSID=`.
    pub transoff: Option<OctetOffset>,
    parameters: &'a [u8],
}

/// Keywords of parameters that are read at once.
mod keyword {
    use crate::word::caseless;

    pub(super) const SIZE: u64 = caseless(b"SIZE=");
    pub(super) const BODY: u64 = caseless(b"BODY=");
    pub(super) const TRANSID: u64 = caseless(b"TRANSID=");
}

/// The keywords and values with a meaning here.
mod word {
    use crate::word::Word;

    pub(super) const SIZE: Word = Word::new(b"SIZE");
    pub(super) const BODY: Word = Word::new(b"BODY");
    pub(super) const SMTPUTF8: Word = Word::new(b"SMTPUTF8");
    pub(super) const RET: Word = Word::new(b"RET");
    pub(super) const ENVID: Word = Word::new(b"ENVID");
    pub(super) const AUTH: Word = Word::new(b"AUTH");
    pub(super) const TRANSID: Word = Word::new(b"TRANSID");
    pub(super) const TRANSOFF: Word = Word::new(b"TRANSOFF");

    pub(super) const SEVEN_BIT: Word = Word::new(b"7BIT");
    pub(super) const EIGHT_BIT_MIME: Word = Word::new(b"8BITMIME");
    pub(super) const BINARY_MIME: Word = Word::new(b"BINARYMIME");
}

const KNOWN: &[&[u8]] = &[
    b"SIZE",
    b"BODY",
    b"SMTPUTF8",
    b"RET",
    b"ENVID",
    b"AUTH",
    b"TRANSID",
    b"TRANSOFF",
];

/// Sets a parameter that may stand once.
pub(super) fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), CommandError> {
    if slot.replace(value).is_some() {
        return Err(CommandError::DuplicateParameter);
    }
    Ok(())
}

/// A number of 1 to 20 digits; `u64::MAX` stands for all above it (RFC 1870 §6.1).
fn parse_size(value: &[u8]) -> Option<u64> {
    if value.len() > 20 {
        return None;
    }
    let too_large = || value.iter().all(u8::is_ascii_digit).then_some(u64::MAX);
    parse_decimal(value).or_else(too_large)
}

/// The number at the start of `octets` and what follows its 1 to 19 digits, which always fit.
#[inline(always)]
fn leading_decimal(octets: &[u8]) -> Option<(u64, &[u8])> {
    let (mut value, mut len) = (0, 0);
    for octet in octets {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        if len == 19 {
            return None;
        }
        value = value * 10 + u64::from(digit);
        len += 1;
    }
    Some((value, octets.get(len..)?)).filter(|_| len > 0)
}

/// Whether a value can be the transid-spec of RESUME (draft-fanf-smtp-rfc1845bis-01 §2), which is
/// looked at closely by whoever speaks RESUME.
pub(super) fn is_resume_transid(value: &[u8]) -> bool {
    value.len() <= 256 && value.iter().all(u8::is_ascii_graphic) && value.contains(&b'@')
}

impl<'a> Mail<'a> {
    /// A MAIL with the null reverse-path and nothing else.
    pub(crate) const NULL: Mail<'static> = Mail {
        reverse_path: ReversePath::Null,
        bracketed: true,
        size: None,
        body: None,
        smtputf8: false,
        ret: None,
        envid: None,
        auth: None,
        transid: None,
        transid_value: None,
        transoff: None,
        parameters: &[],
    };

    /// Reads what stands behind `FROM:` and its white space.
    #[inline(always)]
    pub(super) fn parse(argument: &'a [u8]) -> Result<Self, CommandError> {
        use CommandError as E;
        let scanned = match scan_usual(argument) {
            Some(scanned) => scanned,
            None => scan_reverse_path(argument).map_err(E::ReversePath)?,
        };
        let mut mail = Mail {
            reverse_path: scanned.path,
            bracketed: scanned.bracketed,
            parameters: scanned.rest,
            ..Mail::NULL
        };
        let mut rest = scanned.rest;
        let mut unknown = 0;
        // Whether the TRANSID is known to be well-formed. It is copied last: it is large.
        let mut is_usual = false;
        loop {
            if let Some(behind) = mail.take_usual(rest, &mut is_usual) {
                rest = behind;
                continue;
            }
            let Some(parameter) = params::next(&mut rest)? else {
                break;
            };
            if !mail.take(parameter)? {
                params::check_unknown(parameter, mail.parameters, rest, unknown)?;
                unknown += 1;
            }
        }
        if let Some(value) = mail.transid_value {
            if is_usual || transid::is_well_formed(value) {
                mail.transid = TransId::copied(value);
            }
            let resumes = mail.transoff.is_some() && is_resume_transid(value);
            if mail.transid.is_none() && !resumes {
                return Err(E::TransId);
            }
        } else if mail.transoff.is_some() {
            return Err(E::TransOffAlone);
        }
        Ok(mail)
    }

    /// Takes a parameter off `rest` that is as usual: one with nothing wrong, nothing rare and not
    /// there before. All others are for [`take`](Self::take). Says whether it was a TRANSID.
    #[inline(always)]
    fn take_usual(&mut self, rest: &'a [u8], is_transid: &mut bool) -> Option<&'a [u8]> {
        let (keyword, value) = params::usual(rest)?;
        let behind = match keyword {
            keyword::SIZE if self.size.is_none() => {
                let (size, behind) = leading_decimal(value)?;
                if !params::ends(behind) {
                    return None;
                }
                self.size = Some(size);
                behind
            }
            keyword::BODY if self.body.is_none() => {
                let (value, behind) = value.split_at_checked(value_run(value))?;
                if !params::ends(behind) {
                    return None;
                }
                self.body = Some(Body::parse(value)?);
                behind
            }
            keyword::TRANSID if self.transid_value.is_none() => {
                let (value, behind) = value.split_at_checked(transid::leading(value)?)?;
                if !params::ends(behind) {
                    return None;
                }
                self.transid_value = Some(value);
                *is_transid = true;
                behind
            }
            _ => return None,
        };
        Some(behind)
    }

    /// Takes a known parameter; `false` where it is not one.
    #[inline(always)]
    fn take(&mut self, parameter: Parameter<'a>) -> Result<bool, CommandError> {
        use CommandError as E;
        match parameter.word() {
            word::RET => {
                let value = parameter.required(E::Ret)?;
                set(&mut self.ret, Ret::parse(value).ok_or(E::Ret)?)?;
            }
            word::SIZE => {
                let size = parse_size(parameter.required(E::Size)?).ok_or(E::Size)?;
                set(&mut self.size, size)?;
            }
            word::BODY => {
                let value = parameter.required(E::Body)?;
                set(&mut self.body, Body::parse(value).ok_or(E::Body)?)?;
            }
            word::AUTH => {
                let value = parameter.required(E::AuthParameter)?;
                let auth = AuthParameter::parse(value).ok_or(E::AuthParameter)?;
                set(&mut self.auth, auth)?;
            }
            word::ENVID => {
                let envid = XText::parse(parameter.required(E::Envid)?)
                    .filter(|envid| envid.decoded().all(|octet| matches!(octet, b' '..=b'~')));
                set(&mut self.envid, envid.ok_or(E::Envid)?)?;
            }
            word::TRANSID => {
                set(&mut self.transid_value, parameter.required(E::TransId)?)?;
            }
            word::TRANSOFF => {
                let digits = parameter.required(E::TransOff)?;
                let offset = OctetOffset::from_digits(digits).ok_or(E::TransOff)?;
                set(&mut self.transoff, offset)?;
            }
            word::SMTPUTF8 => {
                if parameter.value.is_some() {
                    return Err(E::SmtpUtf8);
                }
                if core::mem::replace(&mut self.smtputf8, true) {
                    return Err(E::DuplicateParameter);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The parameters that this crate does not know, in order, octet for octet. Unless its own
    /// configuration knows them, a server answers 555 5.5.4 (RFC 5321 §4.1.1.11).
    #[must_use]
    pub fn unknown_parameters(&self) -> UnknownParameters<'a> {
        UnknownParameters::new(self.parameters, KNOWN)
    }

    /// Whether there is any parameter at all. After HELO nothing is offered that has one; clients send
    /// SIZE and BODY all the same.
    #[must_use]
    pub fn has_parameters(&self) -> bool {
        !self.parameters.is_empty()
    }

    /// Whether a restart with `other` is a restart of this transaction.
    ///
    /// Compared: the reverse-path (its domain without regard to case), BODY (none is 7BIT),
    /// SMTPUTF8, RET, ENVID and AUTH (decoded), and unknown parameters with their values octet for
    /// octet. Not compared: SIZE, TRANSID, TRANSOFF, the order.
    #[must_use]
    pub fn same_transaction(&self, other: &Mail<'_>) -> bool {
        self.reverse_path.same_reverse_path(&other.reverse_path)
            && self.body.unwrap_or_default() == other.body.unwrap_or_default()
            && self.smtputf8 == other.smtputf8
            && self.ret == other.ret
            && self.envid == other.envid
            && self.auth == other.auth
            && self
                .unknown_parameters()
                .same_parameters(other.unknown_parameters())
    }

    pub(super) fn knows(keyword: &[u8]) -> bool {
        KNOWN
            .iter()
            .any(|known| keyword.eq_ignore_ascii_case(known))
    }

    /// The parameters as they came, for rewriting the line.
    pub(super) const fn raw_parameters(&self) -> &'a [u8] {
        self.parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::String;

    fn mail(argument: &str) -> Result<Mail<'_>, CommandError> {
        Mail::parse(argument.as_bytes())
    }

    #[test]
    fn all_parameters() {
        let mail = mail(
            "<a@b> size=5 BODY=binarymime smtpUTF8 RET=hdrs ENVID=a+2Bb AUTH=<> TRANSID=<x@y> \
             transoff=00000000000000000007 X=1",
        )
        .unwrap();
        assert_eq!(mail.size, Some(5));
        assert_eq!(mail.body, Some(Body::BinaryMime));
        assert!(mail.smtputf8);
        assert_eq!(mail.ret, Some(Ret::Hdrs));
        assert!(mail.envid.unwrap().decoded().eq(*b"a+b"));
        assert_eq!(mail.auth, Some(AuthParameter::Unknown));
        assert_eq!(mail.transid.unwrap().as_bytes(), b"<x@y>");
        assert_eq!(mail.transoff.map(OctetOffset::get), Some(7));
        assert_eq!(mail.unknown_parameters().count(), 1);
    }

    #[test]
    fn bad_parameters() {
        use CommandError as E;
        for (parameters, error) in [
            ("SIZE", E::Size),
            ("SIZE=-1", E::Size),
            ("SIZE=+1", E::Size),
            ("SIZE=000000000000000000000", E::Size),
            ("BODY=8BIT", E::Body),
            ("BODY", E::Body),
            ("SMTPUTF8=1", E::SmtpUtf8),
            ("RET=NONE", E::Ret),
            ("ENVID=a+b", E::Envid),
            ("ENVID=a=b", E::Envid),
            ("ENVID=a+0D+0Ab", E::Envid),
            ("AUTH=a=b", E::AuthParameter),
            ("AUTH=é", E::AuthParameter),
            ("AUTH=", E::Parameter),
            ("TRANSID", E::TransId),
            ("TRANSID=<x@y>z", E::TransId),
            ("TRANSID=<a=b@c>", E::TransId),
            ("TRANSOFF=1", E::TransOffAlone),
            ("TRANSID=<a@b> TRANSOFF=x", E::TransOff),
            ("TRANSID=<a@b> TRANSOFF=18446744073709551616", E::TransOff),
            ("TRANSID=<a@b> TRANSID=<a@b>", E::DuplicateParameter),
            ("SMTPUTF8 smtputf8", E::DuplicateParameter),
            ("X=1 Y x=2", E::DuplicateParameter),
            ("X=a=b", E::Parameter),
            ("=", E::Parameter),
        ] {
            let line = format!("<a@b> {parameters}");
            assert_eq!(mail(&line).unwrap_err(), error, "{parameters}");
        }
    }

    #[test]
    fn a_size_beyond_all_sizes_is_a_size() {
        let mail = mail("<> SIZE=99999999999999999999").unwrap();
        assert_eq!(mail.size, Some(u64::MAX));
    }

    #[test]
    fn resume_allows_more_in_a_transid() {
        let mail = mail("<> TRANSID=<a=b@[192.0.2.1]> TRANSOFF=0").unwrap();
        assert_eq!(mail.transid, None);
        assert_eq!(mail.transid_value, Some(&b"<a=b@[192.0.2.1]>"[..]));
    }

    #[test]
    fn unknown_parameters_have_a_limit() {
        let line =
            |count: usize| (0..count).fold(String::from("<>"), |line, at| format!("{line} X{at}"));
        let at_limit = line(params::MAX_UNKNOWN_PARAMETERS);
        assert!(mail(&format!("{at_limit} SIZE=1")).is_ok());
        let over = line(params::MAX_UNKNOWN_PARAMETERS + 1);
        assert_eq!(mail(&over).unwrap_err(), CommandError::TooManyParameters);
    }

    #[test]
    fn restarts_of_the_same_transaction() {
        let stored = "<a@B.example> ENVID=ab AUTH=<> RET=FULL X=1 Y";
        for same in [
            "a@b.EXAMPLE BODY=7bit y x=1 ENVID=a+62 AUTH=+3C+3E ret=full SIZE=7 TRANSID=<a@b>",
            "<@relay:a@b.example> ENVID=ab AUTH=<> RET=FULL X=1 Y",
        ] {
            assert!(
                mail(stored).unwrap().same_transaction(&mail(same).unwrap()),
                "{same}"
            );
        }
        for other in [
            "<A@b.example> ENVID=ab AUTH=<> RET=FULL X=1 Y",
            "<> ENVID=ab AUTH=<> RET=FULL X=1 Y",
            "<a@b.example> ENVID=AB AUTH=<> RET=FULL X=1 Y",
            "<a@b.example> ENVID=ab AUTH=x RET=FULL X=1 Y",
            "<a@b.example> ENVID=ab AUTH=<> RET=HDRS X=1 Y",
            "<a@b.example> ENVID=ab AUTH=<> X=1 Y",
            "<a@b.example> ENVID=ab AUTH=<> RET=FULL X=1",
            "<a@b.example> ENVID=ab AUTH=<> RET=FULL X=2 Y",
            "<a@b.example> ENVID=ab AUTH=<> RET=FULL X=1 Y BODY=8BITMIME",
            "<a@b.example> ENVID=ab AUTH=<> RET=FULL X=1 Y SMTPUTF8",
        ] {
            assert!(
                !mail(stored)
                    .unwrap()
                    .same_transaction(&mail(other).unwrap()),
                "{other}"
            );
        }
    }
}
