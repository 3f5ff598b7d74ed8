//! The bounds that hold before memory is taken.
//!
//! Layer 0. Every buffer of a session has its bound here. The defaults meet the minima of
//! RFC 5321 §4.5.3.1 with the room that the extensions ask for.

/// Bounds of one session. Octets unless said otherwise.
///
/// ```
/// use smtp_checkpoint::limits::Limits;
///
/// let limits = Limits { recipients: 100, ..Limits::default() };
/// assert_eq!(limits.command_line, 2048);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A command line with its CRLF. Over it: 500 5.5.2, and the rest of the line is skipped.
    ///
    /// RFC 5321 §4.5.3.1.4 asks for 512, the extensions for more: TRANSID 88 (RFC 1845 §2), SIZE
    /// 26, BODY 17, SMTPUTF8 10, AUTH 500.
    pub command_line: usize,
    /// A line of a SASL exchange with its CRLF (RFC 4954 §4). Over it: 500 5.5.6.
    pub auth_line: usize,
    /// A reply line with its CRLF, read by the client. Over it the session is a protocol error.
    pub reply_line: usize,
    /// Lines in one reply, read by the client.
    pub reply_lines: usize,
    /// All lines of one reply together, read by the client.
    pub reply_octets: usize,
    /// Keywords of an EHLO reply that the client keeps; what comes after them is left out.
    pub ehlo_keywords: usize,
    /// Accepted and refused recipients in one transaction. Over it: 452 4.5.3, never 552.
    pub recipients: usize,
    /// The whole message in SMTP canonical form, restarts included. `None`: no limit.
    /// Over it: 552 5.3.4, at MAIL where SIZE tells, else after the end of the data.
    pub message_size: Option<u64>,
    /// Errors of the peer in one session, after which it is answered 421. What stands in one
    /// pipelined group behind a refused MAIL is none.
    pub errors: u32,
    /// Commands that move no mail (NOOP, VRFY, RSET, EHLO, a refused MAIL, ...) in one session between two
    /// messages, after which it is answered 421.
    pub idle_commands: u32,
    /// AUTH attempts that failed in one session, after which it is answered 421.
    pub auth_attempts: u32,
    /// Recipient questions that may be open at the same time.
    pub open_questions: usize,
    /// Output waiting for the transport above which no further command is read.
    pub output: usize,
    /// Message content handed over in one batch; more waits in the input.
    pub content_batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command_line: 2048,
            auth_line: 12_288,
            reply_line: 2048,
            reply_lines: 128,
            reply_octets: 64 * 1024,
            ehlo_keywords: 64,
            recipients: 1000,
            message_size: None,
            errors: 20,
            idle_commands: 100,
            auth_attempts: 3,
            open_questions: 16,
            output: 64 * 1024,
            content_batch: 64 * 1024,
        }
    }
}
