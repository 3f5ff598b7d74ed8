//! Messages without a record: delivered, or left to the server.

use smtp_checkpoint::checkpoint::{
    Claim, Confirmation, DataOutcome, Generation, Identity, MailOutcome, Offered, RcptOutcome,
    Scope, Transaction, TransactionKey, Transfer,
};
use smtp_checkpoint::dsn::{Owed, RecipientResult};
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::line::Following;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::rdlv::DetachAnswer;
use smtp_checkpoint::reply::{Reply, standard};
use smtp_checkpoint::server::{EndOfDataAnswer, EndOfDataQuestion};
use smtp_checkpoint::transid::TransId;

use super::decisions::{local_error, verdict};
use super::events::refused;
use super::{Host, Recorded};
use crate::mutant::Mutant;
use crate::store::{Reported, Store, StoreError};
use crate::violation::{Rule, Violation};
use crate::watched::{Call, Stop};

impl<S: Store> Host<S> {
    /// It is decided on. With its session it is gone.
    pub(super) fn deliver(
        &mut self,
        id: u64,
        question: Option<EndOfDataQuestion>,
        codes: &[u16],
    ) -> Call {
        let now = self.now;
        let Some((at, question)) = self.at(id).zip(question) else {
            return Ok(());
        };
        let connection = &mut self.connections[at];
        let octets = std::mem::take(&mut connection.plain);
        if octets.len() as u64 != question.size().get() {
            return Err(another_size());
        }
        let transaction = connection.session.transaction();
        let envelope = transaction.envelope().clone();
        let expected = transaction.expected_replies();
        let verdict = verdict(codes, expected);
        let answer = if verdict.accepts() {
            match self.store.deliver(&envelope, &verdict, &octets) {
                Ok(()) => EndOfDataAnswer::Decided(verdict),
                Err(Stop::Store(StoreError::Failed)) => local_error(expected),
                Err(Stop::Store(StoreError::Unclear)) => return self.hang_up(at),
                Err(stop) => return Err(stop),
            }
        } else {
            EndOfDataAnswer::Decided(verdict)
        };
        let session = &mut self.connections[at].session;
        session
            .answer_end_of_data(now, question, answer)
            .map_err(refused)?;
        Ok(())
    }

    /// DETA. Where it is not known what the store has done, there is no answer.
    pub(super) fn detach_unrecorded(
        &mut self,
        at: usize,
        held: Option<&[Reply]>,
    ) -> Call<Option<DetachAnswer>> {
        let left = match held {
            Some(replies) => self.report_held(at, replies),
            None => self.take_over(at),
        };
        match left {
            Ok(()) => {
                self.counted.detached += 1;
                Ok(Some(DetachAnswer::Owned))
            }
            Err(Stop::Store(StoreError::Failed | StoreError::Outdated)) => {
                Ok(Some(DetachAnswer::Failed))
            }
            Err(Stop::Store(StoreError::Unclear)) => {
                self.hang_up(at)?;
                Ok(None)
            }
            Err(stop) => Err(stop),
        }
    }

    /// The decision goes on under a record.
    fn take_over(&mut self, at: usize) -> Call {
        let connection = &self.connections[at];
        let Some(running) = self.running(connection.id, None) else {
            return Err(StoreError::Failed.into());
        };
        let question = self.jobs[running].question.as_ref();
        let size = connection.plain.len() as u64;
        if question.is_none_or(|question| question.size().get() != size) {
            return Err(another_size());
        }
        self.ids += 1;
        let key = own_key(self.store.host(), self.ids)?;
        let transaction = connection.session.transaction();
        let made = (key.clone(), Generation(1));
        let transfer = transaction.transfer().unwrap_or(Transfer::Data);
        let record = transaction_of(transaction.envelope(), made, transfer, self.lmtp);
        let record = record.and_then(|mut transaction| {
            let _ = transaction.end(OctetOffset::from(size));
            Some(transaction.snapshot()?.detach())
        });
        let Some(record) = record else {
            return Err(Violation::new(Rule::Session, "no record can be made").into());
        };
        let begun = self
            .store
            .detach_unrecorded(&key, &record, &connection.plain);
        if begun == Err(StoreError::Unclear.into()) {
            // Maybe it is the server's: nobody else delivers it.
            self.jobs.remove(running);
        }
        let decision = begun?;
        let job = &mut self.jobs[running];
        (job.connection, job.question) = (0, None);
        job.recorded = Some(Recorded {
            key,
            decision,
            record,
        });
        Ok(())
    }

    /// The decision is made, and its client will not hear of it.
    fn report_held(&mut self, at: usize, replies: &[Reply]) -> Call {
        let envelope = self.connections[at].session.transaction().envelope();
        let Ok(results) = RecipientResult::from_replies(envelope, replies) else {
            return Err(Violation::new(Rule::Session, "replies that are not final").into());
        };
        let Ok(Owed::Report(report)) = Owed::by(envelope, &results) else {
            return Ok(());
        };
        let report = Reported::by(&report, envelope);
        if self.breaks(Mutant::HeldFailureForgotten) {
            return Ok(());
        }
        self.store.report_unrecorded(report)?;
        self.counted.reported += 1;
        Ok(())
    }

    /// Any reply could be wrong.
    fn hang_up(&mut self, at: usize) -> Call {
        let connection = &mut self.connections[at];
        connection.broken = true;
        connection.session.handle_disconnect(self.now);
        Ok(())
    }
}

fn another_size() -> Stop {
    Violation::new(Rule::Session, "a message of another size").into()
}

/// A key that no client can claim, and that was not used before.
fn own_key(host: usize, number: u64) -> Call<TransactionKey> {
    let server = Scope {
        identity: Identity::Authenticated(b""),
        tls: false,
    };
    let name = format!("<{number}@mx{host}.invalid>");
    match TransId::parse(name.as_bytes()) {
        Ok(name) => Ok(TransactionKey::new(&server, name)),
        Err(error) => Err(Violation::new(Rule::Session, error.to_string()).into()),
    }
}

/// The transaction of this envelope, up to its data.
pub(crate) fn transaction_of(
    envelope: &Envelope,
    (key, generation): (TransactionKey, Generation),
    transfer: Transfer,
    lmtp: bool,
) -> Option<Transaction> {
    let mut transaction = if lmtp {
        Transaction::lmtp()
    } else {
        Transaction::default()
    };
    transaction.begin(envelope.mail_line(), Some(key)).ok()?;
    let claim = Claim::Claimed {
        generation,
        found: None,
    };
    let answered: Reply = envelope.mail_reply().cloned()?;
    let MailOutcome::Fresh =
        transaction.claim(claim, Offered::default(), Following::Nothing, answered)
    else {
        return None;
    };
    for recipient in envelope.recipients() {
        let RcptOutcome::Ask { index } = transaction.rcpt(recipient.line()).ok()? else {
            return None;
        };
        let reply = recipient.reply().cloned();
        let reply = reply.unwrap_or_else(|| standard::OK.into());
        let _ = transaction.answer_recipient(index, reply);
    }
    let DataOutcome::Confirm { .. } = transaction.data(transfer) else {
        return None;
    };
    let _ = transaction.confirm(Confirmation::Current);
    Some(transaction)
}
