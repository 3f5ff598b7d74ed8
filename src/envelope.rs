//! The envelope of a transaction: the MAIL command and every RCPT, with the replies given.
//!
//! Layer 2. Lines are kept octet for octet in one buffer and read on demand, so an envelope holds
//! what the peer said and nothing else, costs no allocation once it is warm, and is compared and
//! stored as it came. RCPTs that were refused are in it too: a restart repeats their replies
//! (draft-fanf-smtp-rfc1845bis-01 §2.9).
//!
//! ```
//! use smtp_checkpoint::envelope::Envelope;
//! use smtp_checkpoint::reply::standard as reply;
//!
//! let mut envelope = Envelope::new(b"MAIL FROM:<ned@ymir.claremont.edu>", reply::OK.into())?;
//! envelope.push_recipient(b"RCPT TO:<mrose@dbc.mtview.ca.us>", reply::OK.into())?;
//! assert_eq!(envelope.recipients().len(), 1);
//! assert_eq!(envelope.accepted().count(), 1);
//! # Ok::<(), smtp_checkpoint::envelope::NotAnEnvelopeLine>(())
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use thiserror::Error;

use crate::command::{Command, Mail, Rcpt};
use crate::encoding::{Reader, Writer};
use crate::error::DecodeError;
use crate::reply::{Reply, Severity, standard};

/// MAIL and the RCPTs of one transaction, with the reply that each was given.
///
/// Cloning is cheap: clones share their memory until one of them is changed.
#[derive(Clone)]
pub struct Envelope {
    /// `None` where there is nothing yet.
    said: Option<Arc<Said>>,
}

/// What an envelope holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    /// All lines, one behind the other, without CRLF.
    lines: Vec<u8>,
    mail: Entry,
    recipients: Vec<Entry>,
}

static NOTHING: Said = Said::nothing();

impl Said {
    const fn nothing() -> Self {
        Self {
            lines: Vec::new(),
            mail: Entry {
                line: 0..0,
                reply: None,
            },
            recipients: Vec::new(),
        }
    }

    fn clear(&mut self) {
        const KEPT: usize = 4096;
        self.lines.clear();
        self.lines.shrink_to(KEPT);
        self.recipients.clear();
        self.recipients.shrink_to(KEPT / size_of::<Entry>());
        self.mail.line = 0..0;
        self.mail.reply = None;
    }
}

/// With room for the commands of a usual message.
#[cold]
fn first() -> Arc<Said> {
    Arc::new(Said {
        lines: Vec::with_capacity(256),
        recipients: Vec::with_capacity(4),
        ..Said::nothing()
    })
}

impl PartialEq for Envelope {
    fn eq(&self, other: &Self) -> bool {
        self.said() == other.said()
    }
}

impl Eq for Envelope {}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    line: Range<usize>,
    reply: Option<Reply>,
}

/// A line that is not the MAIL or RCPT command it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[error("not a MAIL or RCPT command")]
pub struct NotAnEnvelopeLine;

/// One RCPT of an envelope.
#[derive(Debug, Clone, Copy)]
pub struct Recipient<'a> {
    index: usize,
    line: &'a [u8],
    reply: Option<&'a Reply>,
}

impl<'a> Recipient<'a> {
    /// Its place among the RCPTs of the transaction, refused ones counted, from zero.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The command line without CRLF, octet for octet.
    #[must_use]
    pub fn line(&self) -> &'a [u8] {
        self.line
    }

    /// The command, read.
    #[must_use]
    pub fn rcpt(&self) -> Rcpt<'a> {
        read_rcpt(self.line)
    }

    /// The reply that it was given; `None` while its question is open.
    #[must_use]
    pub fn reply(&self) -> Option<&'a Reply> {
        self.reply
    }

    /// Whether the reply accepted it.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.reply
            .is_some_and(|reply| reply.severity() == Severity::Completion)
    }
}

impl Envelope {
    /// An envelope that begins with `mail`, a MAIL command line without CRLF.
    ///
    /// # Errors
    ///
    /// Where `mail` is no MAIL command.
    pub fn new(mail: &[u8], reply: Reply) -> Result<Self, NotAnEnvelopeLine> {
        let mut envelope = Self::empty();
        envelope.begin(mail)?;
        envelope.answer_mail(reply);
        Ok(envelope)
    }

    /// Nothing yet. Private to the crate: outside it an envelope has its MAIL.
    pub(crate) const fn empty() -> Self {
        Self { said: None }
    }

    fn said(&self) -> &Said {
        self.said.as_deref().unwrap_or(&NOTHING)
    }

    /// For changes: from here on this envelope shares nothing.
    fn own(&mut self) -> &mut Said {
        Arc::make_mut(self.said.get_or_insert_with(first))
    }

    /// Lets go of what others have too: it is not to be changed, and is of no use here.
    fn release(&mut self) {
        if self
            .said
            .as_ref()
            .is_some_and(|said| Arc::strong_count(said) > 1)
        {
            self.said = None;
        }
    }

    /// Forgets all, keeps the memory up to a bound, where nobody else has it.
    pub(crate) fn clear(&mut self) {
        self.release();
        if self.said.is_some() {
            self.own().clear();
        }
    }

    pub(crate) fn begin(&mut self, mail: &[u8]) -> Result<(), NotAnEnvelopeLine> {
        if !matches!(Command::parse(mail), Ok(Command::Mail(_))) {
            return Err(NotAnEnvelopeLine);
        }
        self.begin_with(mail);
        Ok(())
    }

    /// Begins with a line that was read as a MAIL command.
    pub(crate) fn begin_with(&mut self, mail: &[u8]) {
        self.release();
        let said = self.own();
        said.clear();
        said.lines.extend_from_slice(mail);
        said.mail.line = 0..mail.len();
    }

    pub(crate) fn answer_mail(&mut self, reply: Reply) {
        self.own().mail.reply = Some(reply);
    }

    /// Adds `rcpt`, an RCPT command line without CRLF, with the reply that it was given.
    ///
    /// # Errors
    ///
    /// Where `rcpt` is no RCPT command.
    pub fn push_recipient(&mut self, rcpt: &[u8], reply: Reply) -> Result<(), NotAnEnvelopeLine> {
        let index = self.push_open(rcpt)?;
        self.answer_recipient(index, reply);
        Ok(())
    }

    /// Adds an RCPT whose reply is still to come, and tells its index.
    pub(crate) fn push_open(&mut self, rcpt: &[u8]) -> Result<usize, NotAnEnvelopeLine> {
        if !matches!(Command::parse(rcpt), Ok(Command::Rcpt(_))) {
            return Err(NotAnEnvelopeLine);
        }
        Ok(self.push_with(rcpt))
    }

    /// The same for a line that was read as an RCPT command.
    pub(crate) fn push_with(&mut self, rcpt: &[u8]) -> usize {
        let said = self.own();
        let start = said.lines.len();
        said.lines.extend_from_slice(rcpt);
        said.recipients.push(Entry {
            line: start..said.lines.len(),
            reply: None,
        });
        said.recipients.len() - 1
    }

    pub(crate) fn answer_recipient(&mut self, index: usize, reply: Reply) {
        if let Some(entry) = self.own().recipients.get_mut(index) {
            entry.reply = Some(reply);
        }
    }

    fn line(&self, entry: &Entry) -> &[u8] {
        self.said()
            .lines
            .get(entry.line.clone())
            .unwrap_or_default()
    }

    /// The MAIL command line without CRLF, octet for octet.
    #[must_use]
    pub fn mail_line(&self) -> &[u8] {
        self.line(&self.said().mail)
    }

    /// The MAIL command, read.
    #[must_use]
    pub fn mail(&self) -> Mail<'_> {
        match Command::parse(self.mail_line()) {
            Ok(Command::Mail(mail)) => mail,
            // Every line was read when it was taken in.
            _ => Mail::NULL,
        }
    }

    /// The reply that MAIL was given; `None` while its question is open.
    #[must_use]
    pub fn mail_reply(&self) -> Option<&Reply> {
        self.said().mail.reply.as_ref()
    }

    /// Whether any command has a parameter of DSN (RFC 3461 §4).
    pub(crate) fn asks_for_dsn(&self) -> bool {
        let mail = self.mail();
        mail.ret.is_some()
            || mail.envid.is_some()
            || self.recipients().any(|recipient| {
                let rcpt = recipient.rcpt();
                rcpt.notify.is_some() || rcpt.orcpt.is_some()
            })
    }

    /// All RCPTs, refused ones too, in the order of the commands.
    #[must_use]
    pub fn recipients(&self) -> Recipients<'_> {
        self.recipients_from(0)
    }

    /// The RCPTs from this index on.
    pub(crate) fn recipients_from(&self, next: usize) -> Recipients<'_> {
        Recipients {
            envelope: self,
            next,
        }
    }

    /// The RCPT with this index.
    #[must_use]
    pub fn recipient(&self, index: usize) -> Option<Recipient<'_>> {
        let entry = self.said().recipients.get(index)?;
        Some(Recipient {
            index,
            line: self.line(entry),
            reply: entry.reply.as_ref(),
        })
    }

    /// The accepted RCPTs, in the order of the commands.
    pub fn accepted(&self) -> impl Iterator<Item = Recipient<'_>> {
        self.recipients().filter(Recipient::is_accepted)
    }

    /// The accepted RCPTs to whom the message goes by these final replies, in the order of the
    /// commands. The replies are those of a [verdict](crate::checkpoint::Verdict::replies) or of a
    /// [completion record](crate::checkpoint::Completion): one for all, or with LMTP one for each.
    ///
    /// A failure that has been reported by DSN is 250 in a completion record
    /// ([`REPORTED_BY_DSN`](standard::REPORTED_BY_DSN)), and serves nobody all the same.
    ///
    /// ```
    /// use smtp_checkpoint::envelope::Envelope;
    /// use smtp_checkpoint::reply::standard;
    ///
    /// let mut envelope = Envelope::new(b"MAIL FROM:<a@b>", standard::OK.reply())?;
    /// envelope.push_recipient(b"RCPT TO:<c@d>", standard::OK.reply())?;
    /// envelope.push_recipient(b"RCPT TO:<e@d>", standard::NO_SUCH_MAILBOX.reply())?;
    /// envelope.push_recipient(b"RCPT TO:<f@d>", standard::OK.reply())?;
    /// let served = |replies: &[_]| envelope.served(replies).map(|it| it.index()).collect::<Vec<_>>();
    /// assert_eq!(served(&[standard::OK.reply()]), [0, 2]);
    /// assert_eq!(served(&[standard::LOCAL_ERROR.reply(), standard::OK.reply()]), [2]);
    /// assert_eq!(served(&[standard::REPORTED_BY_DSN.reply()]), []);
    /// # Ok::<(), smtp_checkpoint::envelope::NotAnEnvelopeLine>(())
    /// ```
    pub fn served<'a>(&'a self, replies: &'a [Reply]) -> impl Iterator<Item = Recipient<'a>> {
        let reported = standard::REPORTED_BY_DSN.reply();
        self.accepted()
            .enumerate()
            .filter(move |(place, _)| {
                let reply = match replies {
                    [one] => Some(one),
                    each => each.get(*place),
                };
                reply.is_some_and(|reply| {
                    reply.severity() == Severity::Completion && *reply != reported
                })
            })
            .map(|(_, recipient)| recipient)
    }

    /// Forgets all replies, keeps the commands.
    pub(crate) fn forget_replies(&mut self) {
        let said = self.own();
        said.mail.reply = None;
        for recipient in &mut said.recipients {
            recipient.reply = None;
        }
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        let entry = |writer: &mut Writer, entry: &Entry| {
            writer.octets(self.line(entry)).flag(entry.reply.is_some());
            if let Some(reply) = &entry.reply {
                reply.store(writer.raw());
            }
        };
        let said = self.said();
        entry(writer, &said.mail);
        writer.count(said.recipients.len());
        for recipient in &said.recipients {
            entry(writer, recipient);
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut envelope = Self::empty();
        let reply = |reader: &mut Reader<'_>| -> Result<Option<Reply>, DecodeError> {
            Ok(if reader.flag()? {
                Some(Reply::load(reader.raw()).map_err(|_| DecodeError::Damaged)?)
            } else {
                None
            })
        };
        envelope
            .begin(reader.octets()?)
            .map_err(|_| DecodeError::Damaged)?;
        envelope.own().mail.reply = reply(reader)?;
        for _ in 0..reader.count()? {
            let index = envelope
                .push_open(reader.octets()?)
                .map_err(|_| DecodeError::Damaged)?;
            if let Some(reply) = reply(reader)? {
                envelope.answer_recipient(index, reply);
            }
        }
        Ok(envelope)
    }
}

pub(crate) fn read_rcpt(line: &[u8]) -> Rcpt<'_> {
    match Command::parse(line) {
        Ok(Command::Rcpt(rcpt)) => rcpt,
        // Every line was read when it was taken in.
        _ => Rcpt::POSTMASTER,
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("mail", &format_args!("{}", self.mail_line().escape_ascii()))
            .field("recipients", &self.said().recipients.len())
            .finish_non_exhaustive()
    }
}

/// The RCPTs of an envelope. See [`Envelope::recipients`].
#[derive(Debug, Clone)]
pub struct Recipients<'a> {
    envelope: &'a Envelope,
    next: usize,
}

impl<'a> Iterator for Recipients<'a> {
    type Item = Recipient<'a>;

    fn next(&mut self) -> Option<Recipient<'a>> {
        let recipient = self.envelope.recipient(self.next)?;
        self.next += 1;
        Some(recipient)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self
            .envelope
            .said()
            .recipients
            .len()
            .saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Recipients<'_> {}
