//! What is watched, and what is said when it does not hold.

use std::error::Error;
use std::fmt;

/// The promises that are watched in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A message is delivered at most once to each recipient, and only to those that its outcome
    /// was told for (RFC 1845 §1).
    AtMostOnce,
    /// What is delivered is what was sent, octet for octet.
    Unaltered,
    /// What was accepted by a final 2yz is there, whatever dies next.
    AcceptedIsDurable,
    /// A 355 announces no octet that a crash could lose (RFC 1845 §4).
    OffsetIsDurable,
    /// Nobody learns of, or touches, a transaction of another identity (RFC 1845 §2 (4)).
    IdentitiesApart,
    /// One session owns a key on a host: claims raise the generation, and what names an older one
    /// is refused.
    OneOwner,
    /// One decision of a key is made at a time, and one is committed.
    OneCommit,
    /// A decision belongs to the record: it outlives its session, and is in force until it is
    /// committed, withdrawn, or dies with its process.
    DecisionOutlives,
    /// What the client was told is what happened.
    OutcomeIsTrue,
    /// A message from which its client has detached is the server's: it is held, whole, until it
    /// is decided on, and nobody but its client takes it back (draft-burger-smtp-deta-00 §2.2.1).
    DetachedIsOwned,
    /// A detached message that fails is reported by DSN, once for each recipient, and to nobody who
    /// was told.
    ReportedOnce,
    /// When nothing disturbs any more, a transaction ends within a few attempts.
    Ends,
    /// Something that the [`Store`](crate::Store) has to do otherwise, see its methods.
    Contract,
    /// A session of `smtp-checkpoint` did or refused something that it must not: a bug in that
    /// crate, or in this one.
    Session,
}

/// A promise that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub rule: Rule,
    /// What happened.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(rule: Rule, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { rule, what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Whether a promise held.
pub(crate) type Held<T = ()> = Result<T, Violation>;

/// A run in which a promise did not hold.
///
/// Printed, also by `unwrap`, it says which one, in which case, and what happened last.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    /// The promise.
    pub violation: Violation,
    /// The run: a seed, or a case of a suite in words.
    pub case: String,
    /// What happened, the last line last: the time in milliseconds, who, and what.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        write!(f, "{}\nin {}", self.violation, self.case)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        fmt::Display::fmt(self, f)
    }
}

impl Error for Failure {}
