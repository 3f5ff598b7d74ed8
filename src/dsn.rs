//! Which failure DSNs a message owes, to whom, and with what fields (RFC 3461, RFC 3464).
//!
//! Layer 3. A server that took a message by DETA, or answered 250 for some recipients of it, is
//! the only one who knows when it fails. From the [`Envelope`] and what became of each recipient,
//! [`Owed::by`] tells whether a notification is owed, and [`Report::delivery_status`] writes its
//! `message/delivery-status` part. The text for humans, the MIME frame and what RET wants returned
//! stay with the caller, who sends it with `MAIL FROM:<>` (RFC 3461 §6.1). Notifications of
//! success, relay or delay are not made here.
//!
//! ```
//! use smtp_checkpoint::dsn::{Owed, RecipientResult, Failure, Reporting};
//! use smtp_checkpoint::envelope::Envelope;
//! use smtp_checkpoint::reply::{Reply, ReplyCode, standard as reply};
//!
//! let mail = b"MAIL FROM:<ned@a.example> RET=HDRS ENVID=A123bzq";
//! let mut envelope = Envelope::new(mail, reply::OK.into())?;
//! envelope.push_recipient(b"RCPT TO:<jones@b.example> NOTIFY=FAILURE", reply::OK.into())?;
//! envelope.push_recipient(b"RCPT TO:<smith@b.example> NOTIFY=NEVER", reply::OK.into())?;
//!
//! let no = Reply::with_text(ReplyCode::MAILBOX_UNAVAILABLE, None, "5.1.1 no such mailbox")?;
//! let results = [Failure::new(no)?.into(), RecipientResult::Delivered];
//! let Owed::Report(report) = Owed::by(&envelope, &results)? else { unreachable!() };
//! assert_eq!(report.failed().len(), 1);
//!
//! let status = report.delivery_status(&Reporting::new("mx.b.example")?);
//! assert_eq!(
//!     String::from_utf8(status)?,
//!     "Original-Envelope-Id: A123bzq\r\n\
//!      Reporting-MTA: dns; mx.b.example\r\n\
//!      \r\n\
//!      Final-Recipient: rfc822; jones@b.example\r\n\
//!      Action: failed\r\n\
//!      Status: 5.1.1\r\n\
//!      Diagnostic-Code: smtp; 550 5.1.1 no such mailbox\r\n"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod status;

use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

use crate::command::{Mailbox, Notify, NotifyOn, Orcpt, Ret, ReversePath, XText};
use crate::envelope::{Envelope, Recipient};
use crate::reply::{EnhancedCode, Reply, Severity};

/// What became of an accepted recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecipientResult {
    /// Delivered.
    Delivered,
    /// Passed on: the duty is another server's now, or ends here (RFC 3461 §5.2.2).
    Relayed,
    /// Failed, for good: nobody will try again.
    Failed(Failure),
}

impl From<Failure> for RecipientResult {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl RecipientResult {
    /// The results that final replies stand for: one for each accepted recipient, as with LMTP, or
    /// one for all of them, as with SMTP. A 4yz is a failure too, for nobody is left who could try
    /// again.
    ///
    /// # Errors
    ///
    /// [`ResultsError`] for another number of replies, or one that is not final.
    pub fn from_replies(envelope: &Envelope, replies: &[Reply]) -> Result<Vec<Self>, ResultsError> {
        let result = |reply: &Reply| match reply.severity() {
            Severity::Completion => Ok(Self::Delivered),
            _ => Failure::new(reply.clone())
                .map(Self::Failed)
                .map_err(|NotAFailure| ResultsError::NotFinal),
        };
        match replies {
            [reply] => {
                let result = result(reply)?;
                Ok(envelope.accepted().map(|_| result.clone()).collect())
            }
            replies if replies.len() == envelope.accepted().count() => {
                replies.iter().map(result).collect()
            }
            _ => Err(ResultsError::Count),
        }
    }
}

/// Why results do not go with an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// Not one for each accepted recipient.
    #[error("not one result for each accepted recipient")]
    Count,
    /// A reply that is 1yz or 3yz.
    #[error("not a final reply")]
    NotFinal,
}

/// A reply that is not 4yz or 5yz is no failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[error("not a 4yz or 5yz reply")]
pub struct NotAFailure;

/// Why a recipient failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    reply: Reply,
    remote: Option<(String, Option<Reply>)>,
}

impl Failure {
    /// A failure with the 4yz or 5yz that it earns here.
    ///
    /// # Errors
    ///
    /// [`NotAFailure`].
    pub fn new(reply: Reply) -> Result<Self, NotAFailure> {
        match reply.severity() {
            Severity::TransientFailure | Severity::PermanentFailure => Ok(Self {
                reply,
                remote: None,
            }),
            _ => Err(NotAFailure),
        }
    }

    /// The server that refused it, by its domain name, and the reply that it gave, if any.
    #[must_use]
    pub fn with_remote(mut self, mta: &str, reply: Option<Reply>) -> Self {
        self.remote = Some((mta.into(), reply));
        self
    }

    /// The reply that it earns here.
    #[must_use]
    pub fn reply(&self) -> &Reply {
        &self.reply
    }

    /// The server that refused it, as the caller named it.
    #[must_use]
    pub fn remote_mta(&self) -> Option<&str> {
        self.remote.as_ref().map(|(mta, _)| mta.as_str())
    }

    /// The reply for `Diagnostic-Code`: that of the remote server, else the one given here.
    #[must_use]
    pub fn diagnostic(&self) -> &Reply {
        match &self.remote {
            Some((_, Some(reply))) => reply,
            _ => &self.reply,
        }
    }

    /// `Status`: the enhanced code of the reply, else that of the remote server, else the class
    /// alone, as in 5.0.0.
    #[must_use]
    pub fn status(&self) -> EnhancedCode {
        let class = if self.reply.severity() == Severity::TransientFailure {
            EnhancedCode::TRANSIENT
        } else {
            EnhancedCode::PERMANENT
        };
        [&self.reply, self.diagnostic()]
            .into_iter()
            .filter_map(Reply::enhanced_code)
            .find(|code| matches!(code.class(), 4 | 5))
            .unwrap_or(class)
    }
}

/// Whether a failure DSN is owed.
#[derive(Debug, Clone)]
#[must_use]
pub enum Owed<'a> {
    /// None.
    Nothing(NothingBecause),
    /// This one, for all failed recipients that want it.
    Report(Report<'a>),
}

/// Why no failure DSN is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NothingBecause {
    /// No recipient failed.
    NoFailure,
    /// The reverse-path is null: nobody is to hear of it (RFC 3461 §6.1).
    NullReversePath,
    /// No recipient that failed wants one: NOTIFY=NEVER, or NOTIFY without FAILURE.
    NotWanted,
}

impl<'a> Owed<'a> {
    /// What is owed by results that are one for each accepted recipient, in the order of the RCPT
    /// commands.
    ///
    /// # Errors
    ///
    /// [`ResultsError::Count`].
    pub fn by(
        envelope: &'a Envelope,
        results: &'a [RecipientResult],
    ) -> Result<Self, ResultsError> {
        if envelope.accepted().count() != results.len() {
            return Err(ResultsError::Count);
        }
        let mut failures = envelope
            .accepted()
            .zip(results)
            .filter_map(|(recipient, result)| match result {
                RecipientResult::Failed(failure) => Some(FailedRecipient { recipient, failure }),
                RecipientResult::Delivered | RecipientResult::Relayed => None,
            })
            .peekable();
        if failures.peek().is_none() {
            return Ok(Self::Nothing(NothingBecause::NoFailure));
        }
        let mail = envelope.mail();
        let ReversePath::Mailbox(to) = mail.reverse_path else {
            return Ok(Self::Nothing(NothingBecause::NullReversePath));
        };
        let failed: Vec<_> = failures
            .filter(|failed| wants_failure(failed.recipient.rcpt().notify))
            .collect();
        if failed.is_empty() {
            return Ok(Self::Nothing(NothingBecause::NotWanted));
        }
        Ok(Self::Report(Report {
            to,
            ret: mail.ret,
            envid: mail.envid,
            failed,
        }))
    }
}

/// Whether a recipient with this NOTIFY is reported when it fails (RFC 3461 §4.1, §5.2.6): without
/// NOTIFY it is.
#[must_use]
pub fn wants_failure(notify: Option<Notify>) -> bool {
    match notify {
        None => true,
        Some(Notify::Never) => false,
        Some(Notify::On(events)) => events.contains(NotifyOn::FAILURE),
    }
}

/// A failure DSN that is owed.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    to: Mailbox<'a>,
    ret: Option<Ret>,
    envid: Option<XText<'a>>,
    failed: Vec<FailedRecipient<'a>>,
}

/// A recipient whose failure is to be reported.
#[derive(Debug, Clone, Copy)]
pub struct FailedRecipient<'a> {
    recipient: Recipient<'a>,
    failure: &'a Failure,
}

impl<'a> FailedRecipient<'a> {
    /// The RCPT.
    #[must_use]
    pub fn recipient(&self) -> Recipient<'a> {
        self.recipient
    }

    /// ORCPT, for `Original-Recipient`.
    #[must_use]
    pub fn orcpt(&self) -> Option<Orcpt<'a>> {
        self.recipient.rcpt().orcpt
    }

    /// Why it failed.
    #[must_use]
    pub fn failure(&self) -> &'a Failure {
        self.failure
    }
}

impl<'a> Report<'a> {
    /// Whom it goes to: the reverse-path of the message.
    #[must_use]
    pub fn to(&self) -> Mailbox<'a> {
        self.to
    }

    /// What of the message it returns; `None` leaves it to the server (RFC 3461 §4.3).
    #[must_use]
    pub fn ret(&self) -> Option<Ret> {
        self.ret
    }

    /// ENVID, for `Original-Envelope-Id`.
    #[must_use]
    pub fn envid(&self) -> Option<XText<'a>> {
        self.envid
    }

    /// The recipients to report, in the order of the RCPT commands; one at least.
    #[must_use]
    pub fn failed(&self) -> &[FailedRecipient<'a>] {
        &self.failed
    }

    /// The body of the part `Content-Type: message/delivery-status` (RFC 3464 §2.1), with CRLF
    /// line ends: printable ASCII only, no line longer than 998 octets, whatever the peers sent.
    ///
    /// ENVID and ORCPT stand in it decoded (RFC 3461 §6.3); what is not printable ASCII once
    /// decoded stands as it came. Addresses beyond ASCII are of the type `utf-8`, encoded
    /// (RFC 6533 §3). An original recipient or envelope id too long for a line is left out.
    #[must_use]
    pub fn delivery_status(&self, reporting: &Reporting<'_>) -> Vec<u8> {
        status::write(self, reporting)
    }
}

/// Who reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reporting<'a> {
    mta: &'a str,
    arrival_date: Option<&'a str>,
}

/// Why something cannot stand in a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ReportingError {
    /// The name of the reporting server is empty, longer than 255 octets, or holds something else
    /// than printable ASCII without SPACE.
    #[error("not the name of a server")]
    Mta,
    /// The date is empty, longer than 100 octets, or holds something else than printable ASCII.
    #[error("not a date")]
    ArrivalDate,
}

impl<'a> Reporting<'a> {
    /// The server with this domain name.
    ///
    /// # Errors
    ///
    /// [`ReportingError::Mta`].
    pub fn new(mta: &'a str) -> Result<Self, ReportingError> {
        let is_sound = (1..=255).contains(&mta.len()) && mta.bytes().all(|o| o.is_ascii_graphic());
        is_sound
            .then_some(Self {
                mta,
                arrival_date: None,
            })
            .ok_or(ReportingError::Mta)
    }

    /// Adds when the message arrived, a `date-time` of RFC 5322 §3.3, as in
    /// `Thu, 7 Jul 1994 17:15:49 -0400`. Its form is not checked any closer.
    ///
    /// # Errors
    ///
    /// [`ReportingError::ArrivalDate`].
    pub fn arrival_date(mut self, date: &'a str) -> Result<Self, ReportingError> {
        let printable = |octet: u8| octet.is_ascii_graphic() || octet == b' ';
        if date.trim().is_empty() || date.len() > 100 || !date.bytes().all(printable) {
            return Err(ReportingError::ArrivalDate);
        }
        self.arrival_date = Some(date);
        Ok(self)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::reply::{ReplyCode, standard};
    use std::format;
    use std::vec;

    pub(crate) fn envelope(mail: &str, recipients: &[&str]) -> Envelope {
        let mail = format!("MAIL FROM:{mail}");
        let mut envelope = Envelope::new(mail.as_bytes(), standard::OK.into()).unwrap();
        for rcpt in recipients {
            let rcpt = format!("RCPT TO:{rcpt}");
            envelope
                .push_recipient(rcpt.as_bytes(), standard::OK.into())
                .unwrap();
        }
        envelope
    }

    pub(crate) fn failure(code: u16, text: &'static str) -> Failure {
        let code = ReplyCode::new(code).unwrap();
        Failure::new(Reply::with_text(code, None, text).unwrap()).unwrap()
    }

    fn nothing(envelope: &Envelope, results: &[RecipientResult]) -> Option<NothingBecause> {
        match Owed::by(envelope, results).unwrap() {
            Owed::Nothing(because) => Some(because),
            Owed::Report(_) => None,
        }
    }

    #[test]
    fn whether_a_failure_is_reported() {
        use NothingBecause::{NoFailure, NotWanted, NullReversePath};
        let failed: RecipientResult = failure(550, "no").into();
        for (mail, parameter, result, because) in [
            ("<a@b>", "", failed.clone(), None),
            ("<a@b>", " NOTIFY=FAILURE", failed.clone(), None),
            ("<a@b>", " NOTIFY=SUCCESS,FAILURE", failed.clone(), None),
            ("<a@b>", " NOTIFY=NEVER", failed.clone(), Some(NotWanted)),
            ("<a@b>", " NOTIFY=SUCCESS", failed.clone(), Some(NotWanted)),
            ("<a@b>", " NOTIFY=DELAY", failed.clone(), Some(NotWanted)),
            ("<>", "", failed.clone(), Some(NullReversePath)),
            ("<>", " NOTIFY=FAILURE", failed, Some(NullReversePath)),
            ("<a@b>", "", RecipientResult::Delivered, Some(NoFailure)),
            (
                "<a@b>",
                " NOTIFY=SUCCESS",
                RecipientResult::Relayed,
                Some(NoFailure),
            ),
        ] {
            let rcpt = format!("<x@y>{parameter}");
            let envelope = envelope(mail, &[rcpt.as_str()]);
            assert_eq!(nothing(&envelope, &[result]), because, "{mail} {rcpt}");
        }
    }

    #[test]
    fn one_report_for_all_that_failed_and_want_it() {
        let mut envelope = envelope(
            "<ned@a.example> RET=FULL ENVID=a+2Bb",
            &[
                "<never@b> NOTIFY=NEVER",
                "<default@b>",
                "<fine@b>",
                "<success@b> NOTIFY=SUCCESS",
                "<failure@b> NOTIFY=FAILURE ORCPT=rfc822;first@c",
            ],
        );
        // one that RCPT refused is the client's to know
        let refused = standard::TOO_MANY_RECIPIENTS.into();
        envelope.push_recipient(b"RCPT TO:<no@b>", refused).unwrap();
        let failed: RecipientResult = failure(554, "no").into();
        let mut results = vec![failed; 5];
        results[2] = RecipientResult::Delivered;
        let Owed::Report(report) = Owed::by(&envelope, &results).unwrap() else {
            panic!("nothing owed");
        };
        let indexes: Vec<usize> = report
            .failed()
            .iter()
            .map(|failed| failed.recipient().index())
            .collect();
        assert_eq!(indexes, [1, 4]);
        assert_eq!(report.to(), Mailbox::parse(b"ned@a.example").unwrap());
        assert_eq!(report.ret(), Some(Ret::Full));
        assert!(report.envid().unwrap().decoded().eq(*b"a+b"));
        let original = report.failed()[1].orcpt().unwrap();
        assert!(original.address.decoded().eq(*b"first@c"));
        results.pop();
        let wrong = Owed::by(&envelope, &results);
        assert_eq!(wrong.err(), Some(ResultsError::Count));
    }

    #[test]
    fn results_from_final_replies() {
        let envelope = envelope("<a@b>", &["<x@y>", "<z@y>"]);
        let (yes, no) = (
            Reply::from(standard::OK),
            Reply::from(standard::LOCAL_ERROR),
        );
        let failed = RecipientResult::Failed(Failure::new(no.clone()).unwrap());
        let of = |replies: &[Reply]| RecipientResult::from_replies(&envelope, replies);
        // SMTP: one for all, and 4yz is a failure as nobody will try again
        assert_eq!(
            of(core::slice::from_ref(&no)),
            Ok(vec![failed.clone(), failed.clone()])
        );
        assert_eq!(
            of(&[yes.clone(), no.clone()]),
            Ok(vec![RecipientResult::Delivered, failed])
        );
        assert_eq!(of(&[]), Err(ResultsError::Count));
        assert_eq!(of(&[yes.clone(), yes, no]), Err(ResultsError::Count));
        assert_eq!(
            of(&[standard::IN_PROGRESS.into()]),
            Err(ResultsError::NotFinal)
        );
    }

    #[test]
    fn status_is_the_most_that_is_known() {
        let remote = Reply::with_text(ReplyCode::MAILBOX_UNAVAILABLE, None, "5.1.1 x").unwrap();
        let bare = failure(554, "no");
        for (failure, status) in [
            (failure(550, "5.7.1 policy"), "5.7.1"),
            (failure(451, "later"), "4.0.0"),
            (bare.clone(), "5.0.0"),
            (bare.clone().with_remote("mx", None), "5.0.0"),
            (bare.with_remote("mx", Some(remote.clone())), "5.1.1"),
            (
                failure(550, "5.7.1 x").with_remote("mx", Some(remote)),
                "5.7.1",
            ),
        ] {
            assert_eq!(format!("{}", failure.status()), status, "{failure:?}");
        }
        assert_eq!(Failure::new(standard::OK.into()), Err(NotAFailure));
        assert_eq!(Failure::new(standard::IN_PROGRESS.into()), Err(NotAFailure));
    }

    #[test]
    fn who_reports_cannot_add_a_field() {
        for mta in ["", "a b", "a\r\nX: y", "é"] {
            assert_eq!(Reporting::new(mta), Err(ReportingError::Mta), "{mta}");
        }
        let reporting = Reporting::new("mx.example").unwrap();
        for date in ["", " ", "now\r\nX: y", "é"] {
            let error = reporting.arrival_date(date);
            assert_eq!(error, Err(ReportingError::ArrivalDate), "{date}");
        }
    }
}
