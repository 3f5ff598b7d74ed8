//! The replies that SMTP and its extensions fix: code, enhanced code and a plain text.
//!
//! Layer 1. Each is a [`StaticReply`], a constant that turns into a [`Reply`] without an
//! allocation.
//!
//! ```
//! use smtp_checkpoint::reply::{Reply, standard};
//!
//! let reply: Reply = standard::BAD_SEQUENCE.into();
//! assert_eq!(reply.code().get(), 503);
//! assert_eq!(reply.enhanced_code().unwrap().to_string(), "5.5.1");
//! ```

use bytes::Bytes;

use super::{EnhancedCode, Reply, ReplyCode, ReplyTextError, check_enhanced};

/// A reply of one line with a fixed text: `Copy`, and fit for a constant.
///
/// ```
/// use smtp_checkpoint::reply::{EnhancedCode, ReplyCode, StaticReply};
///
/// const BUSY: StaticReply = match StaticReply::new(
///     ReplyCode::MAILBOX_BUSY,
///     EnhancedCode::new(4, 2, 1),
///     "Mailbox is being moved",
/// ) {
///     Ok(reply) => reply,
///     Err(_) => panic!("caught when this is compiled"),
/// };
/// assert_eq!(BUSY.reply().first_line(), b"Mailbox is being moved");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StaticReply {
    code: ReplyCode,
    enhanced: Option<EnhancedCode>,
    text: &'static str,
}

impl StaticReply {
    /// A reply with this text, or an error that a constant shows when it is compiled.
    ///
    /// # Errors
    ///
    /// As for [`Reply::with_text`].
    pub const fn new(
        code: ReplyCode,
        enhanced: Option<EnhancedCode>,
        text: &'static str,
    ) -> Result<Self, ReplyTextError> {
        if let Err(error) = check_enhanced(code, enhanced) {
            return Err(error);
        }
        let mut rest = text.as_bytes();
        while let [octet, tail @ ..] = rest {
            if octet.is_ascii_control() && *octet != b'\t' {
                let at = text.len() - rest.len();
                return Err(ReplyTextError::Control { at });
            }
            rest = tail;
        }
        Ok(Self {
            code,
            enhanced,
            text,
        })
    }

    /// The reply code.
    #[must_use]
    pub const fn code(self) -> ReplyCode {
        self.code
    }

    /// The enhanced status code.
    #[must_use]
    pub const fn enhanced_code(self) -> Option<EnhancedCode> {
        self.enhanced
    }

    /// The text.
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.text
    }

    /// The reply itself. No allocation.
    #[must_use]
    pub const fn reply(self) -> Reply {
        Reply::from_parts(
            self.code,
            self.enhanced,
            Bytes::from_static(self.text.as_bytes()),
        )
    }
}

impl From<StaticReply> for Reply {
    fn from(reply: StaticReply) -> Self {
        reply.reply()
    }
}

/// A row of the table below; the test of this module checks what this does not.
const fn fixed(code: u16, enhanced: Option<EnhancedCode>, text: &'static str) -> StaticReply {
    StaticReply {
        code: ReplyCode::unchecked(code),
        enhanced,
        text,
    }
}

const fn e(class: u8, subject: u16, detail: u16) -> Option<EnhancedCode> {
    Some(EnhancedCode::unchecked(class, subject, detail))
}

/// 120: processing goes on, CONT or DETA is awaited (draft-burger-smtp-rdlv-01 §3.2.1).
pub const IN_PROGRESS: StaticReply = fixed(120, None, "Still in progress");
/// 220 2.0.0: TLS begins behind this reply (RFC 3207 §4).
pub const START_TLS: StaticReply = fixed(220, e(2, 0, 0), "Ready to start TLS");
/// 221 2.0.0: to QUIT (RFC 5321 §4.1.1.10).
pub const CLOSING: StaticReply = fixed(221, e(2, 0, 0), "Closing the connection");
/// 221 2.0.0: to DETA: the message is the server's now (draft-burger-smtp-deta-00 §2.2.1).
pub const DETACHED: StaticReply = fixed(221, e(2, 0, 0), "Detached, closing the connection");
/// 235 2.7.0: AUTH succeeded (RFC 4954 §6).
pub const AUTHENTICATED: StaticReply = fixed(235, e(2, 7, 0), "Authenticated");
/// 250 2.0.0: done.
pub const OK: StaticReply = fixed(250, e(2, 0, 0), "OK");
/// 250 2.1.0: to MAIL.
pub const SENDER_OK: StaticReply = fixed(250, e(2, 1, 0), "Sender OK");
/// 250 2.1.5: to RCPT.
pub const RECIPIENT_OK: StaticReply = fixed(250, e(2, 1, 5), "Recipient OK");
/// 250 2.0.0: to the end of the data: the message is the server's now.
pub const MESSAGE_ACCEPTED: StaticReply = fixed(250, e(2, 0, 0), "Message accepted");
/// 250 2.0.0: in place of a failure that has been reported by a DSN since the client detached.
pub const REPORTED_BY_DSN: StaticReply = fixed(
    250,
    e(2, 0, 0),
    "Outcome reported by delivery status notification",
);
/// 250 2.0.0: to a chunk that is not the last (RFC 3030 §2).
pub const CHUNK_OK: StaticReply = fixed(250, e(2, 0, 0), "Chunk received");
/// 252 2.0.0: to VRFY (RFC 5321 §3.5.3).
pub const CANNOT_VERIFY: StaticReply = fixed(
    252,
    e(2, 0, 0),
    "Cannot verify, but will take the message and try",
);
/// 354: to DATA (RFC 5321 §4.1.1.4).
pub const START_MAIL_INPUT: StaticReply =
    fixed(354, None, "Start mail input; end with <CRLF>.<CRLF>");
/// 421 4.3.0: another session claimed the transaction (RFC 1845 leaves this open).
pub const FENCED: StaticReply = fixed(
    421,
    e(4, 3, 0),
    "Superseded by another session, closing the connection",
);
/// 421 4.3.0: a decision that did not come in time, or was withdrawn.
pub const NO_ANSWER: StaticReply = fixed(
    421,
    e(4, 3, 0),
    "Local error in processing, closing the connection",
);
/// 421 4.3.2: the server stops (RFC 5321 §3.8).
pub const SHUTTING_DOWN: StaticReply =
    fixed(421, e(4, 3, 2), "Shutting down, closing the connection");
/// 421 4.4.2: the client was silent for too long (RFC 5321 §4.5.3.2).
pub const IDLE_TIMEOUT: StaticReply = fixed(421, e(4, 4, 2), "Timeout, closing the connection");
/// 421 4.7.0: a limit of errors, of idle commands or of AUTH attempts was reached.
pub const TOO_MANY_ERRORS: StaticReply =
    fixed(421, e(4, 7, 0), "Too many errors, closing the connection");
/// 450 4.7.1: to DETA over the limit for a sender (draft-burger-smtp-deta-00 §5).
pub const TOO_MANY_DETACHED: StaticReply =
    fixed(450, e(4, 7, 1), "Too many detached messages, try CONT");
/// 451 4.3.0: something failed here; the same command may work later.
pub const LOCAL_ERROR: StaticReply = fixed(451, e(4, 3, 0), "Local error in processing");
/// 452 4.5.3: to RCPT (RFC 5321 §4.5.3.1.10).
pub const TOO_MANY_RECIPIENTS: StaticReply = fixed(452, e(4, 5, 3), "Too many recipients");
/// 452 4.3.1: storage ran out (RFC 5321 §4.2.3).
pub const INSUFFICIENT_STORAGE: StaticReply = fixed(452, e(4, 3, 1), "Insufficient storage");
/// 454 4.7.0: to STARTTLS (RFC 3207 §4).
pub const TLS_NOT_AVAILABLE: StaticReply = fixed(454, e(4, 7, 0), "TLS not available for now");
/// 454 4.7.0: to AUTH (RFC 4954 §6).
pub const AUTH_TEMPORARY_FAILURE: StaticReply =
    fixed(454, e(4, 7, 0), "Temporary authentication failure");
/// 500 5.5.2: a command line over the limit (RFC 5321 §4.5.3.1.4).
pub const LINE_TOO_LONG: StaticReply = fixed(500, e(5, 5, 2), "Line too long");
/// 500 5.5.6: a SASL line over the limit (RFC 4954 §4).
pub const AUTH_LINE_TOO_LONG: StaticReply =
    fixed(500, e(5, 5, 6), "Authentication exchange line too long");
/// 500 5.5.2: a command line with an octet that no line may hold (RFC 5321 §2.3.8).
pub const BAD_OCTET: StaticReply = fixed(500, e(5, 5, 2), "NUL, bare CR or bare LF in a command");
/// 500 5.5.1: the verb is not known.
pub const UNKNOWN_COMMAND: StaticReply = fixed(500, e(5, 5, 1), "Command unknown");
/// 501 5.5.4: an argument or parameter is malformed or stands twice.
pub const BAD_ARGUMENT: StaticReply = fixed(501, e(5, 5, 4), "Syntax error in the arguments");
/// 501 5.5.2: an argument that has to be there is not.
pub const MISSING_ARGUMENT: StaticReply = fixed(501, e(5, 5, 2), "Argument missing");
/// 501 5.7.0: the client cancelled the exchange with "*" (RFC 4954 §4).
pub const AUTH_CANCELLED: StaticReply = fixed(501, e(5, 7, 0), "Authentication cancelled");
/// 501 5.5.2: a SASL response is not base64 (RFC 4954 §4).
pub const AUTH_BAD_BASE64: StaticReply = fixed(501, e(5, 5, 2), "Cannot decode the response");
/// 502 5.5.1: the verb is known but was not offered.
pub const NOT_IMPLEMENTED: StaticReply = fixed(502, e(5, 5, 1), "Command not offered");
/// 503 5.5.1: the command is not allowed now.
pub const BAD_SEQUENCE: StaticReply = fixed(503, e(5, 5, 1), "Bad sequence of commands");
/// 504 5.5.4: AUTH with another mechanism than those offered (RFC 4954 §4).
pub const MECHANISM_UNKNOWN: StaticReply = fixed(504, e(5, 5, 4), "Mechanism not offered");
/// 520 5.3.3: no 120 can be sent for the verb: it and RDLV are rejected (draft-burger-smtp-rdlv-01
/// §3.2.1).
pub const CANNOT_DELAY: StaticReply = fixed(520, e(5, 3, 3), "RDLV not possible for this command");
/// 530 5.7.0: TLS is required (RFC 3207 §4).
pub const TLS_REQUIRED: StaticReply = fixed(530, e(5, 7, 0), "Must issue a STARTTLS command first");
/// 530 5.7.0: AUTH is required (RFC 4954 §6).
pub const AUTH_REQUIRED: StaticReply = fixed(530, e(5, 7, 0), "Authentication required");
/// 534 5.7.9: mechanism too weak (RFC 4954 §6).
pub const MECHANISM_TOO_WEAK: StaticReply = fixed(534, e(5, 7, 9), "Mechanism too weak");
/// 535 5.7.8: credentials invalid (RFC 4954 §6).
pub const CREDENTIALS_INVALID: StaticReply = fixed(535, e(5, 7, 8), "Credentials invalid");
/// 538 5.7.11: encryption required for this mechanism (RFC 5248).
pub const ENCRYPTION_REQUIRED: StaticReply =
    fixed(538, e(5, 7, 11), "Encryption required for this mechanism");
/// 550 5.1.1: to RCPT (RFC 5321 §3.3).
pub const NO_SUCH_MAILBOX: StaticReply = fixed(550, e(5, 1, 1), "No such mailbox");
/// 550 5.6.0: after the end of the data (RFC 5321 §2.3.8).
pub const BAD_CONTENT: StaticReply =
    fixed(550, e(5, 6, 0), "Bare CR, bare LF or NUL in the message");
/// 552 5.3.4: to MAIL or after the end of the data (RFC 1870 §6).
pub const MESSAGE_TOO_BIG: StaticReply = fixed(552, e(5, 3, 4), "Message too big");
/// 553 5.5.1: RCPT after 355 with a path that is not stored.
pub const UNKNOWN_RECIPIENT_ON_RESTART: StaticReply =
    fixed(553, e(5, 5, 1), "Recipient not in the transaction held");
/// 554 5.5.0: the message was not taken.
pub const TRANSACTION_FAILED: StaticReply = fixed(554, e(5, 5, 0), "Transaction failed");
/// 554 5.5.1: to DATA where every RCPT was refused (RFC 2920 §3.1).
pub const NO_VALID_RECIPIENTS: StaticReply = fixed(554, e(5, 5, 1), "No valid recipients");
/// 554 5.5.0: to RSET in answer to 120.
pub const TOO_LATE_TO_ABORT: StaticReply =
    fixed(554, e(5, 5, 0), "Too late to abort, the message stands");
/// 555 5.5.4: MAIL or RCPT with a parameter that was not offered (RFC 5321 §4.1.1.11).
pub const UNKNOWN_PARAMETER: StaticReply = fixed(555, e(5, 5, 4), "Parameter unknown");

/// All of them, for tests of what has to hold for each.
#[cfg(test)]
pub(super) const ALL: &[StaticReply] = &[
    IN_PROGRESS,
    START_TLS,
    CLOSING,
    DETACHED,
    AUTHENTICATED,
    OK,
    SENDER_OK,
    RECIPIENT_OK,
    MESSAGE_ACCEPTED,
    REPORTED_BY_DSN,
    CHUNK_OK,
    CANNOT_VERIFY,
    START_MAIL_INPUT,
    FENCED,
    NO_ANSWER,
    SHUTTING_DOWN,
    IDLE_TIMEOUT,
    TOO_MANY_ERRORS,
    TOO_MANY_DETACHED,
    LOCAL_ERROR,
    TOO_MANY_RECIPIENTS,
    INSUFFICIENT_STORAGE,
    TLS_NOT_AVAILABLE,
    AUTH_TEMPORARY_FAILURE,
    LINE_TOO_LONG,
    AUTH_LINE_TOO_LONG,
    BAD_OCTET,
    UNKNOWN_COMMAND,
    BAD_ARGUMENT,
    MISSING_ARGUMENT,
    AUTH_CANCELLED,
    AUTH_BAD_BASE64,
    NOT_IMPLEMENTED,
    BAD_SEQUENCE,
    MECHANISM_UNKNOWN,
    CANNOT_DELAY,
    TLS_REQUIRED,
    AUTH_REQUIRED,
    MECHANISM_TOO_WEAK,
    CREDENTIALS_INVALID,
    ENCRYPTION_REQUIRED,
    NO_SUCH_MAILBOX,
    BAD_CONTENT,
    MESSAGE_TOO_BIG,
    UNKNOWN_RECIPIENT_ON_RESTART,
    TRANSACTION_FAILED,
    NO_VALID_RECIPIENTS,
    TOO_LATE_TO_ABORT,
    UNKNOWN_PARAMETER,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_would_pass_the_checked_door() {
        for row in ALL {
            assert_eq!(StaticReply::new(row.code, row.enhanced, row.text), Ok(*row));
            assert_eq!(ReplyCode::new(row.code.get()), Some(row.code));
            if let Some(code) = row.enhanced {
                assert_eq!(
                    EnhancedCode::new(code.class(), code.subject(), code.detail()),
                    row.enhanced
                );
            }
            let reply = row.reply();
            assert_eq!(
                Reply::with_text(row.code, row.enhanced, row.text),
                Ok(reply)
            );
        }
    }

    #[test]
    fn what_may_not_carry_an_enhanced_code_does_not() {
        for row in ALL {
            let without = matches!(row.code.get() / 100, 1 | 3);
            assert_eq!(row.enhanced.is_none(), without, "{row:?}");
        }
    }

    #[test]
    fn a_constant_is_refused_for_the_reasons_of_any_reply() {
        assert_eq!(
            StaticReply::new(ReplyCode::OK, None, "ab\r\nc"),
            Err(ReplyTextError::Control { at: 2 })
        );
        assert_eq!(
            StaticReply::new(ReplyCode::OK, EnhancedCode::new(5, 0, 0), "x"),
            Err(ReplyTextError::EnhancedCode)
        );
    }
}
