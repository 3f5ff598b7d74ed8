//! What a decision on a message comes to: the verdict, and who does not get it.

use smtp_checkpoint::checkpoint::Verdict;
use smtp_checkpoint::command::{ForwardPath, Rcpt};
use smtp_checkpoint::dsn::{Failure, RecipientResult};
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::reply::{EnhancedCode, ReplyCode, StaticReply, standard as reply};

use super::report;
use super::store::Failures;

/// Stands for a scanner, and for the mailboxes.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Every message is refused.
    pub refuse: bool,
    /// The addresses whose RCPT is accepted and that fail when the message is delivered.
    pub reject: Vec<String>,
}

/// What to commit.
pub struct Ruling {
    pub verdict: Verdict,
    pub failures: Failures,
}

impl Rules {
    /// Decides on a message. `hostname` reports failures.
    #[must_use]
    pub fn decide(&self, envelope: &Envelope, hostname: &str) -> Ruling {
        let all = |verdict| Ruling {
            verdict,
            failures: Failures::default(),
        };
        if self.refuse {
            return all(REFUSED.into());
        }
        let failed: Vec<usize> = envelope
            .accepted()
            .filter(|recipient| self.rejects(&recipient.rcpt()))
            .map(|recipient| recipient.index())
            .collect();
        if failed.len() == envelope.accepted().count() {
            return all(MAILBOX_DISABLED.into());
        }
        let results: Vec<RecipientResult> = envelope
            .accepted()
            .map(|recipient| match Failure::new(MAILBOX_DISABLED.into()) {
                Ok(failure) if failed.contains(&recipient.index()) => failure.into(),
                _ => RecipientResult::Delivered,
            })
            .collect();
        // There is one reply for all, and it is 250: whoever fails is reported, be the client still
        // there or not.
        let notification = report::notification(envelope, &results, hostname);
        let verdict = Verdict::from(reply::MESSAGE_ACCEPTED);
        Ruling {
            verdict: match notification {
                Some(_) => verdict.with_dsn_issued(),
                None => verdict,
            },
            failures: Failures {
                recipients: failed,
                notification,
            },
        }
    }

    fn rejects(&self, rcpt: &Rcpt<'_>) -> bool {
        let ForwardPath::Mailbox(mailbox) = &rcpt.forward_path else {
            return false;
        };
        let local = String::from_utf8_lossy(mailbox.local_part().as_bytes());
        let domain = String::from_utf8_lossy(mailbox.domain().as_bytes());
        let address = format!("{local}@{domain}");
        self.reject
            .iter()
            .any(|rejected| rejected.eq_ignore_ascii_case(&address))
    }
}

const REFUSED: StaticReply = fixed(
    ReplyCode::TRANSACTION_FAILED,
    EnhancedCode::new(5, 7, 1),
    "Message refused",
);

const MAILBOX_DISABLED: StaticReply = fixed(
    ReplyCode::MAILBOX_UNAVAILABLE,
    EnhancedCode::new(5, 2, 1),
    "Mailbox disabled",
);

/// A reply with a text that can be written.
pub const fn fixed(
    code: ReplyCode,
    enhanced: Option<EnhancedCode>,
    text: &'static str,
) -> StaticReply {
    match StaticReply::new(code, enhanced, text) {
        Ok(reply) => reply,
        Err(_) => reply::TRANSACTION_FAILED,
    }
}
