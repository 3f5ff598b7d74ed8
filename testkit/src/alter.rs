//! What broken rules make of what sessions are given and told, see [`Mutant`](crate::Mutant).

use smtp_checkpoint::checkpoint::{Identity, Record, Scope, TransactionKey, UnfinishedTransaction};
use smtp_checkpoint::reply::standard;
use smtp_checkpoint::transid::TransId;

use crate::host::transaction_of;

/// The same partial record with no faults in it.
pub(crate) fn without_faults(record: &Record, key: &TransactionKey, lmtp: bool) -> Option<Record> {
    let made = (key.clone(), record.generation());
    let mut transaction = transaction_of(record.envelope(), made, record.transfer(), lmtp)?;
    transaction.progress(record.length(), Default::default());
    transaction.snapshot().map(|record| *record)
}

/// The key of whoever has this TRANSID.
pub(crate) fn without_identity(key: &TransactionKey) -> TransactionKey {
    let octets = key.as_bytes();
    let begin = octets.iter().rposition(|octet| *octet == b'<');
    let transid = begin.and_then(|begin| TransId::parse(&octets[begin..]).ok());
    let anybody = Scope {
        identity: Identity::Authenticated(b"anybody"),
        tls: false,
    };
    transid.map_or_else(|| key.clone(), |it| TransactionKey::new(&anybody, it))
}

/// A transaction that believes that one MAIL was answered 250, and so leaves its RCPTs out.
pub(crate) fn answered_once(transaction: &UnfinishedTransaction) -> Option<UnfinishedTransaction> {
    let mut envelope = transaction.envelope().recipients();
    let held = envelope.all(|recipient| recipient.reply().is_some());
    if !held || !transaction.is_restart() || transaction.may_leave_out_recipients() {
        return None;
    }
    let mut once = transaction.start_over(
        transaction.transid(),
        transaction.content().clone(),
        transaction.began(),
    );
    once.begin_attempt();
    once.mail_accepted(&standard::OK.reply());
    for recipient in transaction.envelope().recipients() {
        once.recipient_answered(recipient.index(), recipient.reply()?);
    }
    let (used, scope) = (transaction.used()?, transaction.scope()?.clone());
    once.will_send(used, scope, transaction.last_server()?.clone());
    once.may_have_sent(transaction.sent());
    Some(once)
}

/// The reply lines of a server whose offsets are rounded up to the next line start of `message`.
#[derive(Debug, Default)]
pub(crate) struct RoundUp {
    line: Vec<u8>,
}

impl RoundUp {
    /// What the client gets to see: whole lines.
    pub(crate) fn pass(&mut self, octets: &[u8], message: &[u8]) -> Vec<u8> {
        let mut passed = Vec::new();
        for octet in octets {
            self.line.push(*octet);
            if *octet == b'\n' {
                passed.extend(rounded(&std::mem::take(&mut self.line), message));
            }
        }
        passed
    }
}

fn rounded(line: &[u8], message: &[u8]) -> Vec<u8> {
    let offset = line
        .strip_prefix(b"355 ")
        .and_then(|text| text.split(|octet| *octet == b' ').next())
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
    let Some(rest) = offset.and_then(|offset| message.get(offset..)) else {
        return line.to_vec();
    };
    let line_end = rest.iter().position(|octet| *octet == b'\n');
    let up = message.len() - rest.len() + line_end.map_or(rest.len(), |end| end + 1);
    format!("355 {up} is the transaction offset\r\n").into_bytes()
}
