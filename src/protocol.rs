//! Which of the two protocols a session speaks.
//!
//! Layer 0.

/// SMTP or LMTP.
///
/// ```
/// use smtp_checkpoint::protocol::Protocol;
///
/// assert_eq!(Protocol::default(), Protocol::Smtp);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// SMTP (RFC 5321): EHLO or HELO, one final reply.
    #[default]
    Smtp,
    /// LMTP (RFC 2033): LHLO, one final reply for each accepted recipient.
    Lmtp,
}
