//! The bounds that hold before memory is taken.
//!
//! Layer 0. Every buffer of a session has its bound here. The defaults meet the minima of
//! RFC 5321 §4.5.3.1 with the room that the extensions ask for.

/// Bounds of one session, each named with the side that uses it. Octets unless said otherwise.
///
/// ```
/// use smtp_checkpoint::limits::Limits;
///
/// let limits = Limits { recipients: 100, ..Limits::default() };
/// assert_eq!(limits.command_line, 2048);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Server: a command line with its CRLF. Over it: 500 5.5.2, and the rest of the line is
    /// skipped.
    ///
    /// RFC 5321 §4.5.3.1.4 asks for 512, the extensions for more: TRANSID 88 (RFC 1845 §2), SIZE
    /// 26, BODY 17, SMTPUTF8 10, AUTH 500.
    pub command_line: usize,
    /// Server: a line of a SASL exchange with its CRLF (RFC 4954 §4), and where AUTH is offered the
    /// AUTH command too, whose initial response may be as long. Over it: 500 5.5.6.
    pub auth_line: usize,
    /// Client: a reply line with its CRLF. Over it the session is a protocol error, when the line
    /// ends; what is over the limit takes no memory, and the time for the reply runs on.
    pub reply_line: usize,
    /// Client: lines in one reply. Over it the session is a protocol error.
    pub reply_lines: usize,
    /// Client: all lines of one reply together. Over it the session is a protocol error.
    pub reply_octets: usize,
    /// Client: keywords of an EHLO reply that are kept; what comes after them is left out.
    pub ehlo_keywords: usize,
    /// Server: accepted and refused recipients in one transaction. Over it: 452 4.5.3, never 552.
    pub recipients: usize,
    /// Server: the whole message in SMTP canonical form, restarts included; 64 MiB by default.
    /// `None`: no limit, for a store that has one of its own. Where SIZE is offered the EHLO reply
    /// tells it (RFC 1870 §4). Over it: 552 5.3.4, at MAIL where SIZE tells, else after the end of
    /// the data.
    pub message_size: Option<u64>,
    /// Server: errors of the peer in one session, after which it is answered 421. What stands in
    /// one pipelined group behind a refused MAIL is none.
    pub errors: u32,
    /// Server: commands that move no mail (NOOP, VRFY, RSET, EHLO, a refused MAIL, ...) in one
    /// session between two messages, after which it is answered 421.
    pub idle_commands: u32,
    /// Server: AUTH attempts that failed in one session, after which it is answered 421.
    pub auth_attempts: u32,
    /// Server: recipient questions that may be open at the same time.
    pub open_questions: usize,
    /// Both: output waiting for the transport. Above it the server reads no further command, and
    /// the client [wants no content](crate#where-to-begin).
    pub output: usize,
    /// Server: message content handed over in one batch; more waits in the input.
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
            message_size: Some(64 << 20),
            errors: 20,
            idle_commands: 100,
            auth_attempts: 3,
            open_questions: 16,
            output: 64 * 1024,
            content_batch: 64 * 1024,
        }
    }
}
