//! What is known of each message from outside: what was sent, told, and delivered.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::client::Told;
use crate::log::shown;
use crate::message::Message;
use crate::store::Delivered;
use crate::violation::{Held, Rule, Violation};

/// All messages of a run.
#[derive(Debug, Default)]
pub(super) struct Truth {
    messages: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    message: Rc<Message>,
    /// The recipients that a final 2yz was told for.
    served: Vec<String>,
    /// Nobody knows what became of a transaction with these.
    unknown: Vec<String>,
}

impl Truth {
    pub(super) fn is_sent(&mut self, message: &Rc<Message>) {
        let known = Known {
            message: Rc::clone(message),
            served: Vec::new(),
            unknown: Vec::new(),
        };
        self.messages.insert(message.sender.clone(), known);
    }

    /// A transaction is decided, and this was told of it.
    pub(super) fn is_told(
        &mut self,
        transaction: &Message,
        told: &Told,
        delivered: &[Delivered],
    ) -> Held {
        let served = told.served();
        let Some(known) = self.messages.get_mut(&transaction.sender) else {
            return Ok(());
        };
        for (index, recipient) in transaction.recipients.iter().enumerate() {
            let is_served = served.contains(&index);
            let copies = copies(known, recipient, delivered);
            match (is_served, copies) {
                (true, 1) | (false, 0) => {}
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
            }
        }
        Ok(())
    }

    /// The server wants none of a transaction.
    pub(super) fn is_declined(&self, transaction: &Message, delivered: &[Delivered]) -> Held {
        let Some(known) = self.messages.get(&transaction.sender) else {
            return Ok(());
        };
        let delivered = transaction.recipients.iter().find(|recipient| {
            copies(known, recipient, delivered) > 0 && !known.unknown.contains(recipient)
        });
        match delivered {
            None => Ok(()),
            Some(recipient) => Err(Violation::new(
                Rule::OutcomeIsTrue,
                format!(
                    "{} was declined, and went to {recipient}",
                    transaction.sender
                ),
            )),
        }
    }

    pub(super) fn is_unknown(&mut self, transaction: &Message) {
        if let Some(known) = self.messages.get_mut(&transaction.sender) {
            known.unknown.extend(transaction.recipients.iter().cloned());
        }
    }

    /// What holds at any time.
    pub(super) fn check(&self, delivered: &[Delivered]) -> Held {
        for copy in delivered {
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
                let copies = copies(known, recipient, delivered);
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

    /// What holds when all is over: whatever died, what was accepted is there, and nothing else.
    pub(super) fn check_in_the_end(&self, delivered: &[Delivered]) -> Held {
        self.check(delivered)?;
        for known in self.messages.values() {
            let sender = &known.message.sender;
            for recipient in &known.message.recipients {
                let copies = copies(known, recipient, delivered);
                let served = known.served.contains(recipient);
                if served && copies == 0 {
                    let what = format!("{sender} was accepted for {recipient} and is gone");
                    return Err(Violation::new(Rule::AcceptedIsDurable, what));
                }
                if !served && copies > 0 && !known.unknown.contains(recipient) {
                    let what = format!("{sender} went to {recipient}, of which nobody was told");
                    return Err(Violation::new(Rule::OutcomeIsTrue, what));
                }
            }
        }
        Ok(())
    }
}

fn copies(known: &Known, recipient: &str, delivered: &[Delivered]) -> usize {
    let line = format!("RCPT TO:<{recipient}>");
    delivered
        .iter()
        .filter(|copy| known.message.is_from(&copy.mail))
        .flat_map(|copy| &copy.recipients)
        .filter(|to| ***to == *line.as_bytes())
        .count()
}

fn check_content(message: &Message, copy: &Delivered) -> Held {
    if message.is_faulty() {
        let what = format!("{} is delivered for all that is in it", message.sender);
        return Err(Violation::new(Rule::Unaltered, what));
    }
    crate::wire::check_unaltered(message, std::slice::from_ref(copy))
}
