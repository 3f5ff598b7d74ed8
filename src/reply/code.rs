//! Reply codes and enhanced status codes.
//!
//! Layer 1.
//!
//! ```
//! use smtp_checkpoint::reply::{EnhancedCode, ReplyCode, Severity};
//!
//! assert_eq!(ReplyCode::parse(b"452"), Some(ReplyCode::INSUFFICIENT_STORAGE));
//! assert_eq!(ReplyCode::INSUFFICIENT_STORAGE.severity(), Severity::TransientFailure);
//! assert_eq!(EnhancedCode::parse(b"4.3.1"), Ok(EnhancedCode::new(4, 3, 1).unwrap()));
//! ```

use core::fmt;

use thiserror::Error;

use crate::syntax::parse_decimal;

/// A three-digit reply code, 100 to 599 (RFC 5321 §4.2).
///
/// ```
/// use smtp_checkpoint::reply::{ReplyCode, Severity};
///
/// let unknown = ReplyCode::new(299).unwrap();
/// assert_eq!(unknown.severity(), Severity::Completion);
/// assert_eq!(ReplyCode::new(600), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyCode(u16);

/// What the first digit of a reply code says (RFC 5321 §4.2.1). Enough to act on any code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// 1yz: accepted, held until the client says more. Only RDLV makes use of it.
    Preliminary,
    /// 2yz: done.
    Completion,
    /// 3yz: accepted, more is awaited.
    Intermediate,
    /// 4yz: not done, may work later.
    TransientFailure,
    /// 5yz: not done, do not repeat.
    PermanentFailure,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl ReplyCode {
            $($(#[$doc])* pub const $name: Self = Self($code);)*
        }
    };
}

codes! {
    /// 120: in progress, a CONT or DETA is awaited (draft-burger-smtp-rdlv-01 §3.2.1).
    IN_PROGRESS = 120;
    /// 214: help.
    HELP = 214;
    /// 220: greeting, and go ahead with TLS.
    SERVICE_READY = 220;
    /// 221: closing the connection.
    CLOSING = 221;
    /// 235: authenticated (RFC 4954 §6).
    AUTHENTICATED = 235;
    /// 250: done.
    OK = 250;
    /// 252: cannot verify.
    CANNOT_VERIFY = 252;
    /// 334: the next SASL challenge (RFC 4954 §4).
    AUTH_CHALLENGE = 334;
    /// 354: send the message.
    START_MAIL_INPUT = 354;
    /// 355: a transaction is held, its octet offset follows (RFC 1845 §4).
    CHECKPOINT_OFFSET = 355;
    /// 421: closing the connection, come back later.
    SERVICE_NOT_AVAILABLE = 421;
    /// 450: mailbox busy or refused for now.
    MAILBOX_BUSY = 450;
    /// 451: error in processing.
    LOCAL_ERROR = 451;
    /// 452: not enough storage, or too many recipients.
    INSUFFICIENT_STORAGE = 452;
    /// 454: TLS or authentication not available for now (RFC 3207 §4, RFC 4954 §6).
    TEMPORARILY_UNAVAILABLE = 454;
    /// 500: syntax error, verb unknown or line too long.
    SYNTAX_ERROR = 500;
    /// 501: syntax error in the arguments.
    ARGUMENT_SYNTAX_ERROR = 501;
    /// 502: verb not implemented.
    NOT_IMPLEMENTED = 502;
    /// 503: bad sequence of commands.
    BAD_SEQUENCE = 503;
    /// 504: parameter not implemented.
    PARAMETER_NOT_IMPLEMENTED = 504;
    /// 520: RDLV not possible for this verb (draft-burger-smtp-rdlv-01 §3.2.1).
    CANNOT_DELAY = 520;
    /// 530: TLS or authentication required.
    AUTHENTICATION_REQUIRED = 530;
    /// 534: mechanism too weak (RFC 4954 §6).
    MECHANISM_TOO_WEAK = 534;
    /// 535: credentials invalid (RFC 4954 §6).
    CREDENTIALS_INVALID = 535;
    /// 538: encryption required for the mechanism (RFC 2554 §6).
    ENCRYPTION_REQUIRED = 538;
    /// 550: mailbox unavailable, or refused by policy.
    MAILBOX_UNAVAILABLE = 550;
    /// 552: too much storage used.
    STORAGE_EXCEEDED = 552;
    /// 553: mailbox name not allowed.
    MAILBOX_NAME_NOT_ALLOWED = 553;
    /// 554: transaction failed.
    TRANSACTION_FAILED = 554;
    /// 555: parameter of MAIL or RCPT not known.
    PARAMETER_UNKNOWN = 555;
}

impl ReplyCode {
    /// The code of this number; `None` below 100 and above 599.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            100..=599 => Some(Self(code)),
            _ => None,
        }
    }

    /// Reads three digits and nothing else; `None` for any other text and for a first digit other
    /// than 1 to 5.
    #[must_use]
    pub const fn parse(digits: &[u8]) -> Option<Self> {
        match digits {
            [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] => Some(Self(
                (*a - b'0') as u16 * 100 + (*b - b'0') as u16 * 10 + (*c - b'0') as u16,
            )),
            _ => None,
        }
    }

    /// The code as a number, 100 to 599.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// What the first digit says.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self.0 / 100 {
            1 => Severity::Preliminary,
            2 => Severity::Completion,
            3 => Severity::Intermediate,
            4 => Severity::TransientFailure,
            _ => Severity::PermanentFailure,
        }
    }

    /// The code as it is written.
    pub(super) const fn digits(self) -> [u8; 3] {
        // each is below 10, as the code is below 600
        [
            b'0' + (self.0 / 100) as u8,
            b'0' + (self.0 / 10 % 10) as u8,
            b'0' + (self.0 % 10) as u8,
        ]
    }

    /// For the tables of this module; a test holds them against [`ReplyCode::new`].
    pub(super) const fn unchecked(code: u16) -> Self {
        Self(code)
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyCode({})", self.0)
    }
}

/// An enhanced status code (RFC 3463 §2).
///
/// ```abnf
/// status-code = ("2" / "4" / "5") "." 1*3DIGIT "." 1*3DIGIT
/// ```
///
/// ```
/// use smtp_checkpoint::reply::EnhancedCode;
///
/// const NO_SUCH_MAILBOX: Option<EnhancedCode> = EnhancedCode::new(5, 1, 1);
/// assert_eq!(NO_SUCH_MAILBOX.unwrap().to_string(), "5.1.1");
/// assert_eq!(EnhancedCode::new(3, 0, 0), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnhancedCode {
    class: u8,
    subject: u16,
    detail: u16,
}

/// Why a text is not an enhanced status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum EnhancedCodeError {
    /// The class is not 2, 4 or 5.
    #[error("class of the enhanced status code is not 2, 4 or 5")]
    Class,
    /// The subject is missing, not digits, longer than three, or has a leading zero.
    #[error("malformed subject in the enhanced status code")]
    Subject,
    /// The detail is missing, not digits, longer than three, or has a leading zero.
    #[error("malformed detail in the enhanced status code")]
    Detail,
}

impl EnhancedCode {
    /// 4.0.0: a failure that may pass, of which nothing more is said.
    pub const TRANSIENT: Self = Self::unchecked(4, 0, 0);
    /// 5.0.0: a failure that will not pass, of which nothing more is said.
    pub const PERMANENT: Self = Self::unchecked(5, 0, 0);

    /// The code `class.subject.detail`; `None` where `class` is not 2, 4 or 5, or another part is
    /// above 999.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Option<Self> {
        match (class, subject, detail) {
            (2 | 4 | 5, 0..=999, 0..=999) => Some(Self {
                class,
                subject,
                detail,
            }),
            _ => None,
        }
    }

    /// Reads `class.subject.detail` and nothing else.
    ///
    /// # Errors
    ///
    /// The first part that is malformed.
    pub fn parse(text: &[u8]) -> Result<Self, EnhancedCodeError> {
        let mut parts = text.splitn(3, |octet| *octet == b'.');
        let class = match parts.next() {
            Some([class @ (b'2' | b'4' | b'5')]) => class - b'0',
            _ => return Err(EnhancedCodeError::Class),
        };
        let subject = part(parts.next()).ok_or(EnhancedCodeError::Subject)?;
        let detail = part(parts.next()).ok_or(EnhancedCodeError::Detail)?;
        Ok(Self {
            class,
            subject,
            detail,
        })
    }

    /// 2 for success, 4 for a failure that may pass, 5 for one that will not.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.class
    }

    /// What the status is about, 0 to 999.
    #[must_use]
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// The status within its subject, 0 to 999.
    #[must_use]
    pub const fn detail(self) -> u16 {
        self.detail
    }

    /// Whether a reply with `code` may carry this: the class is its first digit (RFC 2034 §4).
    #[must_use]
    pub const fn goes_with(self, code: ReplyCode) -> bool {
        self.class as u16 == code.0 / 100
    }

    /// For the tables of this module; a test holds them against [`EnhancedCode::new`].
    pub(super) const fn unchecked(class: u8, subject: u16, detail: u16) -> Self {
        Self {
            class,
            subject,
            detail,
        }
    }
}

fn part(digits: Option<&[u8]>) -> Option<u16> {
    match digits? {
        // a leading zero would not survive being written again
        [b'0', _, ..] => None,
        digits if digits.len() > 3 => None,
        digits => u16::try_from(parse_decimal(digits)?).ok(),
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl fmt::Debug for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnhancedCode({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn codes_are_read_from_100_to_599() {
        for code in 0..=1000u16 {
            let read = ReplyCode::parse(code.to_string().as_bytes());
            assert_eq!(read, ReplyCode::new(code));
            assert_eq!(read.is_some(), (100..=599).contains(&code));
            if let Some(read) = read {
                assert_eq!(&read.digits()[..], code.to_string().as_bytes());
            }
        }
        for bad in [&b""[..], b"25", b"2500", b"25 ", b"+25", b"2a0"] {
            assert_eq!(ReplyCode::parse(bad), None);
        }
    }

    #[test]
    fn the_first_digit_is_the_severity() {
        for (code, severity) in [
            (199, Severity::Preliminary),
            (200, Severity::Completion),
            (355, Severity::Intermediate),
            (499, Severity::TransientFailure),
            (599, Severity::PermanentFailure),
        ] {
            assert_eq!(ReplyCode::new(code).unwrap().severity(), severity);
        }
    }

    #[test]
    fn enhanced_codes_are_read_as_they_are_written() {
        for text in ["2.0.0", "4.7.999", "5.123.1"] {
            assert_eq!(
                EnhancedCode::parse(text.as_bytes()).unwrap().to_string(),
                text
            );
        }
        for (text, error) in [
            ("", EnhancedCodeError::Class),
            ("3.0.0", EnhancedCodeError::Class),
            ("25.0.0", EnhancedCodeError::Class),
            ("2", EnhancedCodeError::Subject),
            ("2..0", EnhancedCodeError::Subject),
            ("2.1000.0", EnhancedCodeError::Subject),
            ("2.00.0", EnhancedCodeError::Subject),
            ("2.0", EnhancedCodeError::Detail),
            ("2.0.0.0", EnhancedCodeError::Detail),
            ("2.0.-1", EnhancedCodeError::Detail),
            ("2.0.0:", EnhancedCodeError::Detail),
        ] {
            assert_eq!(EnhancedCode::parse(text.as_bytes()), Err(error), "{text}");
        }
        assert_eq!(EnhancedCode::new(5, 1000, 0), None);
        assert_eq!(
            format!("{:?}", EnhancedCode::unchecked(5, 7, 1)),
            "EnhancedCode(5.7.1)"
        );
    }
}
