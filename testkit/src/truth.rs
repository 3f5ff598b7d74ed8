//! What is known of each message from outside: what was sent, told, delivered and reported.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::client::Told;
use crate::log::shown;
use crate::message::{Message, is_to};
use crate::store::{Delivered, Reported};
use crate::violation::{Held, Rule, Violation};

/// What became of all messages so far.
#[derive(Debug)]
pub(crate) struct Outcomes {
    pub(crate) delivered: Vec<Delivered>,
    pub(crate) reported: Vec<Reported>,
}

/// All messages of a run.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    messages: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    message: Rc<Message>,
    /// The recipients that a final 2yz was told for.
    served: Vec<String>,
    /// Those that a final 4yz or 5yz was told for, or that all was aborted.
    failed: Vec<String>,
    /// Those for whom it is the server's to deliver, or to report that it cannot.
    detached: Vec<String>,
    /// Nobody knows what became of a transaction with these.
    unknown: Vec<String>,
}

impl Truth {
    pub(crate) fn is_sent(&mut self, message: &Rc<Message>) {
        let known = Known {
            message: Rc::clone(message),
            served: Vec::new(),
            failed: Vec::new(),
            detached: Vec::new(),
            unknown: Vec::new(),
        };
        self.messages.insert(message.sender.clone(), known);
    }

    /// A transaction is decided, and this was told of it.
    pub(crate) fn is_told(
        &mut self,
        transaction: &Message,
        told: &Told,
        outcomes: &Outcomes,
    ) -> Held {
        let served = told.served();
        let Some(known) = self.messages.get_mut(&transaction.sender) else {
            return Ok(());
        };
        for (index, recipient) in transaction.recipients.iter().enumerate() {
            let is_served = served.contains(&index);
            let copies = known.copies(recipient, outcomes);
            let reports = known.reports(recipient, outcomes);
            match (is_served, copies) {
                (true, 1) | (false, 0) => {}
                // Told as 250: reported by DSN. The one reply of SMTP stands for those too who do
                // not want to hear of it.
                (true, 0) if reports > 0 || known.is_quiet(recipient, outcomes) => {}
                (true, 0) => {
                    return Err(Violation::new(
                        Rule::AcceptedIsDurable,
                        format!(
                            "{} is not there for {recipient}: {told:?}",
                            transaction.sender
                        ),
                    ));
                }
                (false, _) if known.unknown.contains(recipient) => {}
                (false, _) => {
                    return Err(Violation::new(
                        Rule::OutcomeIsTrue,
                        format!("{} went to {recipient}: {told:?}", transaction.sender),
                    ));
                }
                (true, _) => {
                    return Err(Violation::new(
                        Rule::AtMostOnce,
                        format!("{} went to {recipient} {copies} times", transaction.sender),
                    ));
                }
            }
            if is_served {
                known.served.push(recipient.clone());
            } else if told.accepted.contains(&index) {
                known.failed.push(recipient.clone());
            }
        }
        Ok(())
    }

    /// Those who were deferred get another transaction.
    pub(crate) fn is_sent_again(&mut self, transaction: &Message, deferred: &[String]) {
        if let Some(known) = self.messages.get_mut(&transaction.sender) {
            known.failed.retain(|failed| !deferred.contains(failed));
        }
    }

    /// The client left a transaction to the server, which had accepted these recipients.
    pub(crate) fn is_detached(&mut self, transaction: &Message, accepted: &[usize]) {
        if let Some(known) = self.messages.get_mut(&transaction.sender) {
            let accepted = accepted.iter();
            let recipients = accepted.filter_map(|index| transaction.recipients.get(*index));
            known.detached.extend(recipients.cloned());
        }
    }

    /// The server wants none of a transaction, or the client wants it no more.
    pub(crate) fn has_nothing(
        &mut self,
        transaction: &Message,
        why: &str,
        outcomes: &Outcomes,
    ) -> Held {
        let Some(known) = self.messages.get_mut(&transaction.sender) else {
            return Ok(());
        };
        let delivered = transaction.recipients.iter().find(|recipient| {
            known.copies(recipient, outcomes) > 0 && !known.unknown.contains(recipient)
        });
        match delivered {
            None => {
                known.failed.extend(transaction.recipients.iter().cloned());
                Ok(())
            }
            Some(recipient) => Err(Violation::new(
                Rule::OutcomeIsTrue,
                format!("{} was {why}, and went to {recipient}", transaction.sender),
            )),
        }
    }

    pub(crate) fn is_unknown(&mut self, transaction: &Message) {
        if let Some(known) = self.messages.get_mut(&transaction.sender) {
            known.unknown.extend(transaction.recipients.iter().cloned());
        }
    }

    /// What holds at any time.
    pub(crate) fn check(&self, outcomes: &Outcomes) -> Held {
        for copy in &outcomes.delivered {
            let mut all = self.messages.values();
            let Some(known) = all.find(|known| known.message.is_from(&copy.mail)) else {
                return Err(Violation::new(
                    Rule::Contract,
                    format!("nobody sent {}", shown(&copy.mail)),
                ));
            };
            check_content(&known.message, copy)?;
        }
        for known in self.messages.values() {
            for recipient in &known.message.recipients {
                let copies = known.copies(recipient, outcomes);
                if copies > 1 {
                    return Err(Violation::new(
                        Rule::AtMostOnce,
                        format!(
                            "{} went to {recipient} {copies} times",
                            known.message.sender
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// What holds when all is over: whatever died, what was accepted is there, what was left to
    /// the server is there or reported, and nothing else. Where a process died as a session may
    /// have told a failure (`excused`), the failure may be reported too.
    pub(crate) fn check_in_the_end(
        &self,
        outcomes: &Outcomes,
        excused: impl Fn(&Message) -> bool,
    ) -> Held {
        self.check(outcomes)?;
        for known in self.messages.values() {
            for recipient in &known.message.recipients {
                known.check_in_the_end(recipient, outcomes, &excused)?;
            }
        }
        Ok(())
    }
}

impl Known {
    fn copies(&self, recipient: &str, outcomes: &Outcomes) -> usize {
        let copies = outcomes.delivered.iter();
        copies
            .filter(|copy| self.message.is_from(&copy.mail))
            .flat_map(|copy| &copy.recipients)
            .filter(|line| is_to(line, recipient))
            .count()
    }

    fn reports(&self, recipient: &str, outcomes: &Outcomes) -> usize {
        let reports = outcomes.reported.iter();
        reports
            .filter(|report| self.message.is_from(&report.mail))
            .flat_map(|report| &report.recipients)
            .filter(|line| is_to(line, recipient))
            .count()
    }

    /// No DSN is wanted for it.
    fn wants_none(&self, recipient: &str) -> bool {
        self.message.dsn && recipient.starts_with("quiet")
    }

    /// The same, and the message was reported for others.
    fn is_quiet(&self, recipient: &str, outcomes: &Outcomes) -> bool {
        let mut reports = outcomes.reported.iter();
        self.wants_none(recipient) && reports.any(|it| self.message.is_from(&it.mail))
    }

    fn check_in_the_end(
        &self,
        recipient: &String,
        outcomes: &Outcomes,
        excused: &impl Fn(&Message) -> bool,
    ) -> Held {
        let sender = &self.message.sender;
        let copies = self.copies(recipient, outcomes);
        let reports = self.reports(recipient, outcomes);
        let served = self.served.contains(recipient);
        let detached = self.detached.contains(recipient);
        let unknown = self.unknown.contains(recipient);
        let failed = self.failed.contains(recipient);
        let wants_none = self.wants_none(recipient);
        let quiet = self.is_quiet(recipient, outcomes);
        let (rule, what) = if served && copies == 0 && reports == 0 && !quiet {
            (
                Rule::AcceptedIsDurable,
                format!("{sender} was accepted for {recipient} and is gone"),
            )
        } else if !served && !detached && copies > 0 && !unknown {
            (
                Rule::OutcomeIsTrue,
                format!("{sender} went to {recipient}, of which nobody was told"),
            )
        } else if detached && copies == 0 && reports == 0 && !wants_none {
            (
                Rule::DetachedIsOwned,
                format!("{sender} was left to the server for {recipient} and is gone"),
            )
        } else if reports > 0 && wants_none {
            (
                Rule::ReportedOnce,
                format!("the failure of {sender} for {recipient} was not to be reported"),
            )
        } else if (reports > 1 || reports == 1 && (copies > 0 || failed))
            // Without a TRANSID a client sends nothing again that may have been decided on, and
            // nobody else can tell it.
            && (self.message.transid.is_none() || !unknown && !excused(&self.message))
        {
            (
                Rule::ReportedOnce,
                format!(
                    "{sender} for {recipient}: {reports} failures reported, {copies} copies, told \
                     of the failure {failed}"
                ),
            )
        } else {
            return Ok(());
        };
        Err(Violation::new(rule, what))
    }
}

fn check_content(message: &Message, copy: &Delivered) -> Held {
    if message.is_faulty() {
        let what = format!("{} is delivered for all that is in it", message.sender);
        return Err(Violation::new(Rule::Unaltered, what));
    }
    crate::wire::check_unaltered(message, std::slice::from_ref(copy))
}
