//! What can be wrong with a command, one variant for each rule, and the reply that each earns.
//!
//! Layer 1. Nothing in here holds an octet of the peer, so a `Display` is safe to log.
//!
//! ```
//! use smtp_checkpoint::command::{Command, CommandError};
//!
//! let error = Command::parse(b"MAIL FROM:<a@b> SIZE=1 SIZE=2").unwrap_err();
//! assert_eq!(error, CommandError::DuplicateParameter);
//! assert_eq!((error.reply_code(), error.enhanced_code()), (501, (5, 5, 4)));
//! ```

use thiserror::Error;

use crate::reply::{EnhancedCode, Reply, ReplyCode, standard};

/// A mailbox or path that RFC 5321 §4.1.2 does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum MailboxError {
    /// There is no path at all.
    #[error("the path is missing")]
    Missing,
    /// The local part is not a `Dot-string` or `Quoted-string` (RFC 5321 §4.1.2).
    #[error("malformed local part")]
    LocalPart,
    /// The local part is longer than 64 octets (RFC 5321 §4.5.3.1.1).
    #[error("local part over 64 octets")]
    LocalPartTooLong,
    /// No "@" and domain after the local part.
    #[error("the domain is missing")]
    MissingDomain,
    /// The domain is not made of labels of letters, digits, "-" and "_" (RFC 5321 §4.1.2).
    #[error("malformed domain")]
    Domain,
    /// The domain is longer than 255 octets (RFC 5321 §4.5.3.1.2).
    #[error("domain over 255 octets")]
    DomainTooLong,
    /// The address literal is none (RFC 5321 §4.1.3).
    #[error("malformed address literal")]
    AddressLiteral,
    /// Octets above 127 that are not UTF-8 (RFC 6531 §3.3).
    #[error("not UTF-8")]
    NotUtf8,
    /// The source route is malformed (RFC 5321 appendix C).
    #[error("malformed source route")]
    SourceRoute,
    /// "<" without ">", or no brackets where a server wants them.
    #[error("unbalanced or missing angle brackets")]
    Brackets,
    /// The path with its brackets is longer than 256 octets (RFC 5321 §4.5.3.1.3).
    #[error("path over 256 octets")]
    PathTooLong,
    /// Something stands behind the path or mailbox that is not separated from it.
    #[error("octets behind the path")]
    TrailingOctets,
}

/// A command line that cannot be taken. An unknown verb and an unknown parameter are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// CR, LF or NUL within the line (RFC 5321 §2.3.8). 500 5.5.2.
    #[error("CR, LF or NUL in a command")]
    ForbiddenOctet,
    /// An argument that the verb needs is missing. 501 5.5.4.
    #[error("the argument is missing")]
    MissingArgument,
    /// An argument behind a verb that takes none (RFC 5321 §4.1.1.11). 501 5.5.4.
    #[error("the command takes no argument")]
    UnexpectedArgument,
    /// A control character in the argument of EHLO, HELO or LHLO. 501 5.5.4.
    #[error("unprintable client name")]
    ClientName,
    /// MAIL without `FROM:` or RCPT without `TO:` (RFC 5321 §4.1.1.2, §4.1.1.3). 501 5.5.2.
    #[error("FROM: or TO: is missing")]
    MissingColon,
    /// The reverse-path of MAIL. 501 5.1.7 (RFC 3463 §3.2).
    #[error("bad reverse-path: {0}")]
    ReversePath(MailboxError),
    /// The forward-path of RCPT. 501 5.1.3 (RFC 3463 §3.2).
    #[error("bad forward-path: {0}")]
    ForwardPath(MailboxError),
    /// Not an `esmtp-param` (RFC 5321 §4.1.2). 501 5.5.4.
    #[error("malformed parameter")]
    Parameter,
    /// The same keyword twice. 501 5.5.4.
    #[error("duplicate parameter")]
    DuplicateParameter,
    /// More than [`MAX_UNKNOWN_PARAMETERS`](super::MAX_UNKNOWN_PARAMETERS) unknown ones. 501 5.5.4.
    #[error("too many parameters")]
    TooManyParameters,
    /// `SIZE=` is not 1 to 20 digits (RFC 1870 §5). 501 5.5.4.
    #[error("malformed SIZE")]
    Size,
    /// `BODY=` is not 7BIT, 8BITMIME or BINARYMIME (RFC 6152 §2, RFC 3030 §3). 501 5.5.4.
    #[error("malformed BODY")]
    Body,
    /// `SMTPUTF8` with a value (RFC 6531 §3.1). 501 5.5.4.
    #[error("SMTPUTF8 takes no value")]
    SmtpUtf8,
    /// `RET=` is not FULL or HDRS (RFC 3461 §4.3). 501 5.5.4.
    #[error("malformed RET")]
    Ret,
    /// `ENVID=` is not xtext of printable ASCII (RFC 3461 §4.4). 501 5.5.4.
    #[error("malformed ENVID")]
    Envid,
    /// `AUTH=` is not xtext (RFC 4954 §5). 501 5.5.4.
    #[error("malformed AUTH parameter")]
    AuthParameter,
    /// `TRANSID=` is not a transaction identifier (RFC 1845 §2). 501 5.5.4.
    #[error("malformed TRANSID")]
    TransId,
    /// `TRANSOFF=` is not 1 to 20 digits (draft-fanf-smtp-rfc1845bis-01 §2). 501 5.5.4.
    #[error("malformed TRANSOFF")]
    TransOff,
    /// `TRANSOFF=` without `TRANSID=` (draft-fanf-smtp-rfc1845bis-01 §2). 501 5.5.4.
    #[error("TRANSOFF without TRANSID")]
    TransOffAlone,
    /// `NOTIFY=` is not NEVER or a list of SUCCESS, FAILURE, DELAY (RFC 3461 §4.1). 501 5.5.4.
    #[error("malformed NOTIFY")]
    Notify,
    /// `ORCPT=` is not an address type, ";" and xtext (RFC 3461 §4.2, RFC 6533 §3). 501 5.5.4.
    #[error("malformed ORCPT")]
    Orcpt,
    /// BDAT without a chunk-size that can be trusted (RFC 3030 §2). 501 5.5.4, then close: where
    /// the chunk ends is unknown.
    #[error("malformed BDAT")]
    Bdat,
    /// BURL without a URL, or with more behind it than `LAST` (RFC 4468 §3.2). 501 5.5.4.
    #[error("malformed BURL")]
    Burl,
    /// AUTH with a mechanism name that is none, or with too many arguments (RFC 4954 §4).
    /// 501 5.5.4.
    #[error("malformed AUTH")]
    Auth,
    /// The initial response of AUTH is not base64 (RFC 4954 §4). 501 5.5.2.
    #[error("the initial response is not base64")]
    InitialResponse,
    /// RDLV without `maxtimer=` (draft-burger-smtp-rdlv-01 §7). 501 5.5.2.
    #[error("maxtimer is missing")]
    MissingMaxTimer,
    /// `maxtimer=` twice, not a number of seconds from 1 to 2^31 - 1, or with other arguments
    /// beside it (draft-burger-smtp-rdlv-01 §7). 501 5.5.4.
    #[error("malformed maxtimer")]
    MaxTimer,
    /// RESUME with something that cannot be a TRANSID (draft-fanf-smtp-rfc1845bis-01 §2).
    /// 501 5.5.4.
    #[error("malformed RESUME")]
    Resume,
}

impl CommandError {
    /// The code of the reply: 500 or 501.
    #[must_use]
    pub const fn reply_code(self) -> u16 {
        match self {
            Self::ForbiddenOctet => 500,
            _ => 501,
        }
    }

    /// The enhanced status code of the reply (RFC 3463): class, subject, detail.
    #[must_use]
    pub const fn enhanced_code(self) -> (u8, u16, u16) {
        match self {
            Self::ForbiddenOctet
            | Self::MissingColon
            | Self::InitialResponse
            | Self::MissingMaxTimer => (5, 5, 2),
            Self::ReversePath(_) => (5, 1, 7),
            Self::ForwardPath(_) => (5, 1, 3),
            _ => (5, 5, 4),
        }
    }

    /// The whole reply, in words that hold nothing of what the peer sent.
    ///
    /// ```
    /// use smtp_checkpoint::command::Command;
    ///
    /// let error = Command::parse(b"RCPT TO:<@>").unwrap_err();
    /// let mut octets = bytes::BytesMut::new();
    /// error.reply().encode(true, &mut octets);
    /// assert_eq!(octets, "501 5.1.3 Syntax error in the path\r\n");
    /// ```
    #[must_use]
    pub fn reply(self) -> Reply {
        let (class, subject, detail) = self.enhanced_code();
        let code = ReplyCode::new(self.reply_code()).unwrap_or(standard::BAD_ARGUMENT.code());
        let text: &[u8] = match self {
            Self::ForbiddenOctet => return standard::BAD_OCTET.reply(),
            Self::ReversePath(_) | Self::ForwardPath(_) => b"Syntax error in the path",
            _ => b"Syntax error in the arguments",
        };
        Reply::cleaned(code, EnhancedCode::new(class, subject, detail), text)
    }

    /// Whether what follows the line cannot be told from a command any more: reply, then close.
    #[must_use]
    pub const fn sync_lost(self) -> bool {
        matches!(self, Self::Bdat)
    }
}

/// A line that the client asked for and that cannot be written. Nothing has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The finished line, or the one to be taken as it is, is not a command of this kind.
    #[error("not a valid command: {0}")]
    Command(CommandError),
    /// The line holds a valid command, but another one.
    #[error("another command than asked for")]
    OtherCommand,
    /// CR, LF, NUL or another octet that the place does not allow.
    #[error("octet not allowed here")]
    ForbiddenOctet,
    /// The client name is empty, longer than 255 octets, or holds SPACE or controls.
    #[error("unusable client name")]
    ClientName,
    /// A non-ASCII mailbox in a MAIL without SMTPUTF8 (RFC 6531 §3.4).
    #[error("a non-ASCII mailbox needs SMTPUTF8")]
    NeedsSmtpUtf8,
    /// The TRANSID has more than 79 octets, brackets included: the line would grow by more than
    /// the 88 octets of RFC 1845 §2 (5).
    #[error("TRANSID over 79 octets")]
    TransIdTooLong,
    /// The ENVID is empty, unprintable, or longer than 100 octets as xtext (RFC 3461 §4.4).
    #[error("unusable ENVID")]
    Envid,
    /// The ORCPT is empty, unprintable, or longer than 500 octets with its type (RFC 3461 §4.2).
    #[error("unusable ORCPT")]
    Orcpt,
    /// The identity of AUTH= is empty or longer than 500 octets with `AUTH=` (RFC 4954 §5).
    #[error("unusable AUTH identity")]
    AuthIdentity,
    /// A parameter that has a method of its own, or that is not an `esmtp-param`.
    #[error("unusable parameter")]
    Parameter,
    /// maxtimer is not between 1 and 2^31 - 1 seconds.
    #[error("maxtimer out of range")]
    MaxTimer,
    /// The SASL mechanism is not 1 to 20 letters, digits, "-" and "_" (RFC 4422 §3.1).
    #[error("malformed SASL mechanism name")]
    Mechanism,
    /// The verb is not made of letters, digits and "-".
    #[error("malformed verb")]
    Verb,
    /// The line with CRLF is longer than 2048 octets (512 for AUTH).
    #[error("line too long")]
    LineTooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_chunk_size_loses_sync() {
        assert!(CommandError::Bdat.sync_lost());
        assert!(!CommandError::Burl.sync_lost());
        assert!(!CommandError::ForbiddenOctet.sync_lost());
    }

    #[test]
    fn codes_of_the_requirements() {
        let reply = |error: CommandError| (error.reply_code(), error.enhanced_code());
        assert_eq!(reply(CommandError::MissingMaxTimer), (501, (5, 5, 2)));
        assert_eq!(reply(CommandError::MaxTimer), (501, (5, 5, 4)));
        assert_eq!(reply(CommandError::TransId), (501, (5, 5, 4)));
        assert_eq!(reply(CommandError::ForbiddenOctet), (500, (5, 5, 2)));
        assert_eq!(
            reply(CommandError::ReversePath(MailboxError::Domain)),
            (501, (5, 1, 7))
        );
        assert_eq!(
            reply(CommandError::ForwardPath(MailboxError::Domain)),
            (501, (5, 1, 3))
        );
    }
}
