//! The client's unfinished transaction: what it has to know to go on after a loss, or a crash.
//!
//! Layer 3, plain data. It is stored before MAIL is sent and again before the first octet of the
//! data, so that whatever the client remembers after a crash is on the safe side: a loaded
//! transaction without certainty is a restart (RFC 1845 §4). Transactions without a TRANSID go the
//! same way, so that a client has one path.
//!
//! ```
//! use smtp_checkpoint::checkpoint::{Content, UnfinishedTransaction};
//! use smtp_checkpoint::command::{Mailbox, MailLine, RcptLine};
//! use smtp_checkpoint::transid::TransId;
//!
//! let message = b"Subject: ping\r\n\r\npong\r\n";
//! // Addresses as a configuration or a user gives them; what is none is an error here.
//! let from = Mailbox::parse(b"ned@ymir.claremont.edu")?;
//! let to = Mailbox::parse(b"mrose@dbc.mtview.ca.us")?;
//! let mut mail = MailLine::builder(from.into()); // or of `ReversePath::Null`
//! if !(from.is_ascii() && to.is_ascii()) {
//!     mail = mail.smtputf8();
//! }
//! let now = 1_190_000_000; // seconds since 1970, from the wall clock
//! let transaction = UnfinishedTransaction::builder(mail.build()?, Content::measure(message), now)
//!     .recipient(RcptLine::builder(to.into()).build()?)
//!     .transid(TransId::parse(b"<12345@claremont.edu>")?) // in earnest `TransId::from_random`
//!     .build()?;
//! assert!(!transaction.is_restart());
//! let stored = transaction.encode();
//! assert_eq!(UnfinishedTransaction::decode(&stored)?, transaction);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;
use core::time::Duration;

use thiserror::Error;

use super::plan::{ContentCommand, Used};
use super::stored::is_url;
use crate::command::{Body, MailLine, RcptLine};
use crate::envelope::Envelope;
use crate::reply::Reply;
use crate::transid::TransId;

/// The longest line of an envelope in octets, without its CRLF.
pub(super) const MAX_LINE: usize = 2046;

/// The most that the attempts of a transaction may have sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Sent {
    /// No octet of a message has left.
    #[default]
    Nothing,
    /// Some of the message, but never its end.
    Data,
    /// The end of the data too: the server may have taken the message.
    EndOfData,
}

/// What is sent, without being it: enough to tell whether it is still the same, if there is a
/// [fingerprint](Self::with_fingerprint); without, only whether it is still as long.
///
/// [`measure`](Self::measure) is for a message in memory. For a file read it once, or keep what
/// was known when it was written: `octets` is its length, and `unfinished_last_line` says that it
/// neither is empty nor ends in CRLF; [`CanonicalLength`](crate::dot::CanonicalLength) counts both
/// in one pass, block by block, and gives the [size](Self::size) for DATA. Give the session the
/// file as it is: the CRLF that an unfinished last line lacks is added by the session.
///
/// Line ends have to be CRLF. A file with LF has to be converted before it is measured, and in
/// the same way in every attempt: offsets count the octets of the converted message.
///
/// ```
/// use smtp_checkpoint::checkpoint::{Content, ContentCommand};
/// use smtp_checkpoint::dot::CanonicalLength;
///
/// let (mut octets, mut canonical) = (0, CanonicalLength::new());
/// for block in [&b"Subject: ping\r\n"[..], b"\r\npong"] {
///     octets += block.len() as u64;
///     canonical.update(block);
/// }
/// let unfinished_last_line = canonical.get() != octets;
/// let content = Content { octets, unfinished_last_line, fingerprint: Vec::new() };
/// assert_eq!(content, Content::measure(b"Subject: ping\r\n\r\npong"));
/// assert_eq!(content.size(ContentCommand::Data), canonical.get());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Content {
    /// The octets that the caller gives, with CRLF line ends and without stuffing dots.
    pub octets: u64,
    /// The last line has no CRLF. DATA then adds one, which counts (RFC 1845 §4, RFC 5321
    /// §4.1.1.4); BDAT sends what there is.
    pub unfinished_last_line: bool,
    /// Octets of the caller's choice that differ when the content differs: a digest, or a file's
    /// identity and time. Empty: not looked at.
    pub fingerprint: Vec<u8>,
}

impl Content {
    /// Measures a message that is in memory; the fingerprint is left empty.
    #[must_use]
    pub fn measure(message: &[u8]) -> Self {
        Self {
            octets: message.len() as u64,
            unfinished_last_line: !message.is_empty() && !message.ends_with(b"\r\n"),
            fingerprint: Vec::new(),
        }
    }

    /// The same with a fingerprint.
    #[must_use]
    pub fn with_fingerprint(mut self, fingerprint: impl Into<Vec<u8>>) -> Self {
        self.fingerprint = fingerprint.into();
        self
    }

    /// The size of the message in octets as `command` transfers it, which is what SIZE and the
    /// offset of a 355 count.
    #[must_use]
    pub fn size(&self, command: ContentCommand) -> u64 {
        match command {
            ContentCommand::Data if self.unfinished_last_line => self.octets.saturating_add(2),
            ContentCommand::Data | ContentCommand::Bdat | ContentCommand::Burl => self.octets,
        }
    }
}

/// From where a client speaks: what a server may take as the scope of a TRANSID (RFC 1845 §2 (4),
/// draft-fanf-smtp-rfc1845bis-01 §2.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ClientScope {
    /// The argument of EHLO, HELO or LHLO.
    pub name: Vec<u8>,
    /// The identity that AUTH or a TLS certificate established; `None` without.
    pub identity: Option<Vec<u8>>,
    /// Whether TLS is in use.
    pub tls: bool,
    /// The address that the connection comes from, in a form of the caller's choice, without its
    /// port, which is another one each time; empty where it is not known.
    pub local_address: Vec<u8>,
}

impl ClientScope {
    /// Whether a server finds under `other` what it stored under this one: an identity counts
    /// alone, else the name (without case) and the address.
    #[must_use]
    pub fn is_same_for_server(&self, other: &Self) -> bool {
        self.tls == other.tls
            && match (&self.identity, &other.identity) {
                (Some(one), Some(other)) => one == other,
                (None, None) => {
                    self.name.eq_ignore_ascii_case(&other.name)
                        && self.local_address == other.local_address
                }
                _ => false,
            }
    }
}

/// The server that an attempt spoke to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Server {
    /// Its host name, as MX or the configuration gave it; empty where it is not known.
    pub host: Vec<u8>,
    /// Its address, in a form of the caller's choice.
    pub address: Vec<u8>,
}

/// How long to go on restarting (CP-35, CP-36).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Attempts after which a transaction is given up.
    pub attempts: u32,
    /// Its age after which it is given up. A server that follows RFC 1845 §3 keeps its record for
    /// 48 hours, the default.
    pub age: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            attempts: 100,
            age: Duration::from_secs(48 * 3600),
        }
    }
}

/// What to do with a stored transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum NextStep {
    /// Send it, under the TRANSID that it has.
    Send,
    /// Nothing of it can have been delivered: send the message as a new transaction, with
    /// [`UnfinishedTransaction::start_over`].
    StartOver,
    /// It may or may not have been delivered, and a restart will not tell any more.
    Unknown,
}

/// Why a transaction cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum InvalidTransaction {
    /// There is no recipient.
    #[error("transaction without recipients")]
    NoRecipients,
    /// MAIL has a TRANSID or TRANSOFF: the transaction writes them itself.
    #[error("MAIL with a TRANSID of its own")]
    TransIdInMail,
    /// The TRANSID is longer than the 79 octets of [`TransId::CLIENT_MAX_LEN`].
    #[error("TRANSID longer than a client may write")]
    TransIdTooLong,
    /// The MAIL or RCPT line has no room for what is added to it.
    #[error("line too long")]
    LineTooLong,
    /// BINARYMIME goes with BDAT only (RFC 3030 §3).
    #[error("BINARYMIME needs BDAT")]
    BinaryMimeWithoutBdat,
    /// MAIL or a RCPT goes beyond ASCII, and MAIL has no SMTPUTF8 (RFC 6531 §3.4). With it the
    /// transaction is sent only where SMTPUTF8 is offered.
    #[error("commands beyond ASCII need SMTPUTF8")]
    NeedsSmtpUtf8,
    /// A URL that cannot be written (RFC 4468 §3.2).
    #[error("not a URL that BURL can carry")]
    Url,
}

/// A transaction of the client, from before its MAIL to its outcome.
///
/// It is the same for the first attempt and for every one after: whether an attempt is a restart
/// is told by [`sent`](Self::sent).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedTransaction {
    pub(super) transid: Option<TransId>,
    pub(super) lmtp: bool,
    pub(super) envelope: Envelope,
    pub(super) content: Content,
    pub(super) wanted: ContentCommand,
    /// Of BURL; empty otherwise.
    pub(super) url: Vec<u8>,
    pub(super) used: Option<Used>,
    pub(super) sent: Sent,
    pub(super) attempts: u32,
    pub(super) mails_accepted: u32,
    pub(super) began: u64,
    pub(super) scope: Option<ClientScope>,
    pub(super) last_server: Option<Server>,
    pub(super) doubling_allowed: bool,
}

/// Builds an [`UnfinishedTransaction`].
#[derive(Debug, Clone)]
#[must_use]
pub struct UnfinishedTransactionBuilder {
    mail: MailLine,
    recipients: Vec<RcptLine>,
    content: Content,
    transid: Option<TransId>,
    lmtp: bool,
    wanted: ContentCommand,
    url: Vec<u8>,
    began: u64,
}

impl UnfinishedTransactionBuilder {
    /// Adds a recipient.
    pub fn recipient(mut self, rcpt: RcptLine) -> Self {
        self.recipients.push(rcpt);
        self
    }

    /// Makes it restartable where CHECKPOINT is offered. The TRANSID is new for every transaction:
    /// for another set of recipients, another copy, another next hop (RFC 1845 §3).
    pub fn transid(mut self, transid: TransId) -> Self {
        self.transid = Some(transid);
        self
    }

    /// Asks for BDAT where CHUNKING is offered; else DATA is used (RFC 3030 §2).
    pub fn bdat(mut self) -> Self {
        self.wanted = ContentCommand::Bdat;
        self
    }

    /// Sends a URL in place of the content: the server fetches it, and the caller is asked for
    /// none. The size of the content has to be that of what the URL stands for. Where BURL is not
    /// offered, the transaction cannot be sent (RFC 4468 §3.2).
    pub fn burl(mut self, url: impl Into<Vec<u8>>) -> Self {
        self.wanted = ContentCommand::Burl;
        self.url = url.into();
        self
    }

    /// One final reply for each accepted recipient (RFC 2033).
    pub fn lmtp(mut self) -> Self {
        self.lmtp = true;
        self
    }

    /// The transaction.
    ///
    /// # Errors
    ///
    /// [`InvalidTransaction`].
    pub fn build(self) -> Result<UnfinishedTransaction, InvalidTransaction> {
        use InvalidTransaction as E;
        // TRANSID 88 (RFC 1845 §2 (5)), SIZE 26 (RFC 1870 §3).
        const ADDED: usize = 88 + 26;

        let mail = self.mail.with_size(None);
        if self.recipients.is_empty() {
            return Err(E::NoRecipients);
        }
        if mail.mail().transid_value.is_some() {
            return Err(E::TransIdInMail);
        }
        if self
            .transid
            .is_some_and(|transid| transid.as_bytes().len() > TransId::CLIENT_MAX_LEN)
        {
            return Err(E::TransIdTooLong);
        }
        if mail.mail().body == Some(Body::BinaryMime) && self.wanted == ContentCommand::Data {
            return Err(E::BinaryMimeWithoutBdat);
        }
        let mut recipients = self.recipients.iter();
        let is_ascii =
            mail.as_bytes().is_ascii() && recipients.all(|rcpt| rcpt.as_bytes().is_ascii());
        if !is_ascii && !mail.mail().smtputf8 {
            return Err(E::NeedsSmtpUtf8);
        }
        if self.wanted == ContentCommand::Burl && !is_url(&self.url) {
            return Err(E::Url);
        }
        if self.url.len() > MAX_LINE - ADDED {
            return Err(E::LineTooLong);
        }
        if mail.as_bytes().len() > MAX_LINE - ADDED
            || self
                .recipients
                .iter()
                .any(|rcpt| rcpt.as_bytes().len() > MAX_LINE)
        {
            return Err(E::LineTooLong);
        }
        let mut envelope = Envelope::empty();
        envelope
            .begin(mail.as_bytes())
            .map_err(|_| E::LineTooLong)?;
        for rcpt in &self.recipients {
            envelope
                .push_open(rcpt.as_bytes())
                .map_err(|_| E::LineTooLong)?;
        }
        Ok(UnfinishedTransaction {
            transid: self.transid,
            lmtp: self.lmtp,
            envelope,
            content: self.content,
            url: match self.wanted {
                ContentCommand::Burl => self.url,
                ContentCommand::Data | ContentCommand::Bdat => Vec::new(),
            },
            wanted: self.wanted,
            used: None,
            sent: Sent::Nothing,
            attempts: 0,
            mails_accepted: 0,
            began: self.began,
            scope: None,
            last_server: None,
            doubling_allowed: false,
        })
    }
}

impl UnfinishedTransaction {
    /// Begins a transaction. Without a [`transid`](UnfinishedTransactionBuilder::transid) it is
    /// plain SMTP, and cannot be restarted. A SIZE in `mail` is left out: the size is that of
    /// `content`, written where SIZE is offered. `began` is the time now, in seconds of the wall clock (since 1970),
    /// by which [`next_step`](Self::next_step) tells its age.
    pub fn builder(mail: MailLine, content: Content, began: u64) -> UnfinishedTransactionBuilder {
        UnfinishedTransactionBuilder {
            mail,
            recipients: Vec::new(),
            content,
            transid: None,
            lmtp: false,
            wanted: ContentCommand::Data,
            url: Vec::new(),
            began,
        }
    }

    /// The TRANSID; `None` for one that cannot be restarted.
    #[must_use]
    pub fn transid(&self) -> Option<TransId> {
        self.transid
    }

    /// The URL of BURL; `None` where the content is sent.
    #[must_use]
    pub fn url(&self) -> Option<&[u8]> {
        (self.wanted == ContentCommand::Burl).then_some(&self.url)
    }

    /// MAIL, without SIZE and TRANSID, and every RCPT, with the replies that are held.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// What is sent.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Whether it gets one final reply for each accepted recipient.
    #[must_use]
    pub fn is_lmtp(&self) -> bool {
        self.lmtp
    }

    /// How the caller wants the content to go.
    #[must_use]
    pub fn wanted(&self) -> ContentCommand {
        self.wanted
    }

    /// What the attempt that sent data from the start made use of: a restart uses the same.
    #[must_use]
    pub fn used(&self) -> Option<Used> {
        self.used
    }

    /// The most that was sent in any attempt. On the safe side: what was stored before the data
    /// says [`Sent::EndOfData`] until something later is stored.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Whether the next attempt is a restart: any octet of the message may have been sent under
    /// the TRANSID.
    #[must_use]
    pub fn is_restart(&self) -> bool {
        self.sent > Sent::Nothing && self.used.is_some_and(|used| used.transid)
    }

    /// Attempts begun so far.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// When it began, in seconds of the wall clock.
    #[must_use]
    pub fn began(&self) -> u64 {
        self.began
    }

    /// From where the last attempt that sent data spoke.
    #[must_use]
    pub fn scope(&self) -> Option<&ClientScope> {
        self.scope.as_ref()
    }

    /// The server that the last attempt that sent data spoke to.
    #[must_use]
    pub fn last_server(&self) -> Option<&Server> {
        self.last_server.as_ref()
    }

    /// Whether the message is still the one that was begun: a changed one is not restarted.
    #[must_use]
    pub fn matches(&self, content: &Content) -> bool {
        let (mine, theirs) = (&self.content.fingerprint, &content.fingerprint);
        self.content.octets == content.octets
            && self.content.unfinished_last_line == content.unfinished_last_line
            && (mine.is_empty() || theirs.is_empty() || mine == theirs)
    }

    /// Whether a restart may leave out its RCPTs: exactly one MAIL under this TRANSID was ever
    /// accepted, and the replies to all RCPTs of that attempt are held (CP-34).
    #[must_use]
    pub fn may_leave_out_recipients(&self) -> bool {
        self.mails_accepted == 1
            && self
                .envelope
                .recipients()
                .all(|rcpt| rcpt.reply().is_some())
    }

    /// Whether it is older than `age` at `now`, in seconds of the wall clock.
    #[must_use]
    pub fn too_old(&self, now: u64, age: Duration) -> bool {
        now.saturating_sub(self.began) > age.as_secs()
    }

    /// What to do with it, at `now` in seconds of the wall clock, with the content as it is now.
    /// Ask before each [`ClientSession::send`](crate#where-to-begin), which does not look at the
    /// age.
    pub fn next_step(&self, now: u64, policy: &RestartPolicy, content: &Content) -> NextStep {
        let is_over = self.is_restart()
            && (self.attempts >= policy.attempts || self.too_old(now, policy.age));
        // Sent whole in plain SMTP, and then a crash: no restart will tell.
        let is_lost = self.sent == Sent::EndOfData && !self.is_restart() && !self.doubling_allowed;
        if self.matches(content) && !is_over && !is_lost {
            NextStep::Send
        } else if self.sent == Sent::EndOfData {
            NextStep::Unknown
        } else {
            NextStep::StartOver
        }
    }

    /// The same message as a new transaction, under a new TRANSID: nothing of this one is left in
    /// it but envelope and content. Without a TRANSID, and with one of more than
    /// [`TransId::CLIENT_MAX_LEN`] octets, it is plain SMTP, and cannot be restarted.
    #[must_use]
    pub fn start_over(&self, transid: Option<TransId>, content: Content, began: u64) -> Self {
        let mut envelope = self.envelope.clone();
        envelope.forget_replies();
        Self {
            transid: transid.filter(|transid| transid.as_bytes().len() <= TransId::CLIENT_MAX_LEN),
            lmtp: self.lmtp,
            envelope,
            content,
            wanted: self.wanted,
            url: self.url.clone(),
            used: None,
            sent: Sent::Nothing,
            attempts: 0,
            mails_accepted: 0,
            began,
            scope: None,
            last_server: None,
            doubling_allowed: false,
        }
    }

    /// The caller's consent to an attempt that a server cannot connect with the one that sent the
    /// end of the data (another scope, or no CHECKPOINT): the message may be delivered twice.
    pub fn allow_doubling(&mut self) {
        self.doubling_allowed = true;
    }

    /// Whether [`allow_doubling`](Self::allow_doubling) was called.
    #[must_use]
    pub fn is_doubling_allowed(&self) -> bool {
        self.doubling_allowed
    }

    /// An attempt begins: store the result before MAIL is sent.
    pub fn begin_attempt(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    /// MAIL was answered 250: the transaction is new to the server, and replies held from before
    /// are not in force.
    pub fn mail_accepted(&mut self, reply: &Reply) {
        self.mails_accepted = self.mails_accepted.saturating_add(1);
        self.envelope.forget_replies();
        self.envelope.answer_mail(reply.compact());
    }

    /// The RCPT with this index was answered. The reply to a repeated one counts. Of its text 1 KiB
    /// is kept, in whole lines if that can be.
    pub fn recipient_answered(&mut self, index: usize, reply: &Reply) {
        self.envelope.answer_recipient(index, reply.excerpt());
    }

    /// Data is about to be sent from `scope` to `server`, in the way of `used`: after a 355 that of
    /// [`used`](Self::used) again. An attempt without TRANSID changes nothing of what is known
    /// from one with it.
    pub fn will_send(&mut self, used: Used, scope: ClientScope, server: Server) {
        if used.transid || self.used.is_none_or(|before| !before.transid) {
            self.used = Some(used);
            self.scope = Some(scope);
            self.last_server = Some(server);
        }
    }

    /// What is stored before data is sent: as [`will_send`](Self::will_send), but an attempt
    /// without TRANSID, which may send the whole message, leaves nothing to restart by a crash.
    /// Where doubling is allowed there is.
    #[cfg(feature = "session")]
    pub(crate) fn will_store(&mut self, used: Used, scope: ClientScope, server: Server) {
        if !used.transid && !self.doubling_allowed {
            self.used = None;
        }
        self.will_send(used, scope, server);
    }

    /// At most `sent` has left: raises [`sent`](Self::sent), never lowers it.
    pub fn may_have_sent(&mut self, sent: Sent) {
        self.sent = self.sent.max(sent);
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
