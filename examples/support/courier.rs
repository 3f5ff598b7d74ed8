//! A message on its way: what the journal says about it, the next attempt, and what an attempt
//! changes.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use smtp_checkpoint::checkpoint::{
    Address, Cause, ClientScope, NextStep, Outcome, Reconnect, Server, Stage, UnfinishedTransaction,
};
use smtp_checkpoint::client::{ChoiceQuestion, ClientConfig, Ending, RecipientVerdict};
use smtp_checkpoint::command::{Body, ForwardPath, MailLine, Mailbox, RcptLine, ReversePath};
use smtp_checkpoint::rdlv::Choice;
use smtp_checkpoint::reply::{Reply, Severity};
use smtp_checkpoint::transid::TransId;

use super::client_driver::{self, Attempt, Delivery, Recipients};
use super::dialogue::Dialogue;
use super::journal::{Entry, Fate};
use super::message::Message;

/// How long a server has to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// The envelope, as it was asked for.
#[derive(Debug, Clone, Default)]
pub struct Letter {
    /// Empty for a message without a sender.
    pub from: String,
    pub to: Vec<String>,
    /// Use BDAT where it is offered.
    pub bdat: bool,
}

/// What is said to a server that is still deciding (120).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// So many of them are answered CONT in an attempt.
    pub carry_on: u32,
    /// The next one is answered so.
    pub then: Choice,
}

impl Default for Patience {
    /// For as long as it takes.
    fn default() -> Self {
        Self {
            carry_on: 0,
            then: Choice::CarryOn,
        }
    }
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Everybody has it.
    Delivered,
    /// Nobody is left to be served, and somebody's is with a server that reports a failure.
    Detached,
    /// Nobody is left to be served, and it was given up for somebody.
    Aborted,
    /// Somebody will never have it, and nobody is left who may.
    Refused,
    /// Somebody is still to be served.
    Pending,
    /// Somebody may have it or not, and nobody will tell any more.
    Unknown,
}

pub struct Courier<'m> {
    letter: Letter,
    message: &'m Message,
    entry: Entry,
    config: Arc<ClientConfig>,
    /// Go on although somebody may get the message twice.
    allow_doubling: bool,
    patience: Patience,
    carried_on: u32,
    trace: Option<Dialogue<'m>>,
}

impl<'m> Courier<'m> {
    /// Takes up a message where the journal left it.
    ///
    /// # Errors
    ///
    /// Those of [`Entry::open`].
    pub fn new(
        letter: Letter,
        message: &'m Message,
        journal: &Path,
        config: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        // The same message to the same people is the same entry, wherever the file lies.
        let mut name = Sha256::new();
        for part in [&letter.from].into_iter().chain(&letter.to) {
            name.update(part);
            name.update([0]);
        }
        name.update(&message.content().fingerprint);
        let name = format!("{:x}.journal", name.finalize());
        let entry = Entry::open(journal, &name, letter.to.len())?;
        Ok(Self {
            letter,
            message,
            entry,
            config,
            allow_doubling: false,
            patience: Patience::default(),
            carried_on: 0,
            trace: None,
        })
    }

    pub fn allow_doubling(&mut self) {
        self.allow_doubling = true;
    }

    /// What is said to a server that is still deciding. The configuration asks for RDLV.
    pub fn patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// Writes down the dialogue of the next attempt.
    pub fn trace(&mut self, dialogue: Dialogue<'m>) {
        self.trace = Some(dialogue);
    }

    /// What became of every recipient, in the order of the letter.
    pub fn fates(&self) -> impl Iterator<Item = (&str, &Fate)> {
        let to = self.letter.to.iter().map(String::as_str);
        to.zip(&self.entry.fates)
    }

    #[must_use]
    pub fn unknown(&self) -> Option<&str> {
        self.entry.unknown.as_deref()
    }

    #[must_use]
    pub fn standing(&self) -> Standing {
        let refused = |fate: &Fate| matches!(fate, Fate::Refused(_));
        let aborted = |fate: &Fate| matches!(fate, Fate::Aborted(_));
        let detached = |fate: &Fate| matches!(fate, Fate::Detached(_));
        if self.entry.unknown.is_some() {
            Standing::Unknown
        } else if self.entry.pending().next().is_some() {
            Standing::Pending
        } else if self.entry.fates.iter().any(refused) {
            Standing::Refused
        } else if self.entry.fates.iter().any(aborted) {
            Standing::Aborted
        } else if self.entry.fates.iter().any(detached) {
            Standing::Detached
        } else {
            Standing::Delivered
        }
    }

    /// The transaction to send now: the one that the journal holds, or a new one for those who are
    /// still to be served. `None` where there is nothing to be sent.
    ///
    /// # Errors
    ///
    /// Where the letter makes no transaction, or the journal cannot be written.
    pub fn next_transaction(&mut self) -> Result<Option<UnfinishedTransaction>, Box<dyn Error>> {
        if self.entry.unknown.is_some() && self.allow_doubling {
            self.entry.unknown = None;
            self.entry.transaction = None;
        }
        if self.standing() != Standing::Pending {
            return Ok(None);
        }
        let Some(mut transaction) = self.entry.transaction.clone() else {
            return self.begin().map(Some);
        };
        let (policy, content) = (self.config.restart_policy(), self.message.content());
        match transaction.next_step(unix_time(), policy, content) {
            NextStep::Send => {
                if self.allow_doubling {
                    transaction.allow_doubling();
                }
                Ok(Some(transaction))
            }
            NextStep::StartOver => self.begin().map(Some),
            NextStep::Unknown if self.allow_doubling || is_plain(&transaction) => {
                self.begin().map(Some)
            }
            NextStep::Unknown => {
                self.entry.unknown = Some("the transaction cannot be restarted any more".into());
                self.entry.store()?;
                Ok(None)
            }
        }
    }

    /// A new transaction for all who are still to be served.
    fn begin(&self) -> Result<UnfinishedTransaction, Box<dyn Error>> {
        let from = match self.letter.from.as_str() {
            "" => ReversePath::Null,
            from => ReversePath::Mailbox(Mailbox::parse(from.as_bytes())?),
        };
        let mut to = Vec::new();
        for index in self.entry.pending() {
            let address = self.letter.to.get(index).ok_or("too few recipients")?;
            to.push(ForwardPath::Mailbox(Mailbox::parse(address.as_bytes())?));
        }
        let mut mail = MailLine::builder(from);
        if self.message.needs_8bit() {
            mail = mail.body(Body::EightBitMime);
        }
        if self.message.needs_utf8()
            || from.needs_smtputf8()
            || to.iter().any(ForwardPath::needs_smtputf8)
        {
            mail = mail.smtputf8();
        }
        let mut random = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let transid = TransId::from_random(random, self.config.name().as_bytes())?;
        let content = self.message.content().clone();
        let mut transaction =
            UnfinishedTransaction::builder(mail.build()?, content, unix_time()).transid(transid);
        for to in to {
            transaction = transaction.recipient(RcptLine::builder(to).build()?);
        }
        if self.letter.bdat {
            transaction = transaction.bdat();
        }
        Ok(transaction.build()?)
    }

    /// Makes one attempt, at the first address that lets itself be connected to.
    ///
    /// # Errors
    ///
    /// Where there is none, or the journal or the message fails.
    pub fn attempt(
        &mut self,
        transaction: &UnfinishedTransaction,
        host: &str,
        addresses: &[SocketAddr],
    ) -> io::Result<Attempt> {
        let candidates: Vec<Address> = addresses
            .iter()
            .map(|address| Address {
                server: server(host, *address),
                scope: ClientScope {
                    name: self.config.name().as_bytes().to_vec(),
                    // Known once it is connected; the session looks again then.
                    local_address: transaction
                        .scope()
                        .map_or_else(Vec::new, |scope| scope.local_address.clone()),
                    ..ClientScope::default()
                },
            })
            .collect();
        self.carried_on = 0;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no address to connect to");
        for index in Reconnect::new(transaction).order(&candidates) {
            let Some(address) = addresses.get(index) else {
                continue;
            };
            match TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    let (config, server) = (Arc::clone(&self.config), server(host, *address));
                    let attempt =
                        client_driver::attempt(stream, &config, server, transaction, self)?;
                    if let (Some(trace), true) = (&mut self.trace, is_broken(&attempt)) {
                        trace.broken();
                    }
                    return Ok(attempt);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Gives recipients of the transaction their fates.
    fn settle(&mut self, recipients: &Recipients, accepted: Option<Fate>) {
        let pending: Vec<usize> = self.entry.pending().collect();
        for (index, verdict, reply) in recipients {
            let place = pending.get(*index);
            let Some(fate) = place.and_then(|place| self.entry.fates.get_mut(*place)) else {
                continue;
            };
            match (verdict, &accepted) {
                (RecipientVerdict::Accepted, Some(accepted)) => *fate = accepted.clone(),
                (RecipientVerdict::Refused, _) => *fate = Fate::Refused(one_line(reply)),
                _ => {}
            }
        }
        // Whoever is left is another set of recipients: another TRANSID (RFC 1845 §3).
        self.entry.transaction = None;
    }
}

impl Delivery for Courier<'_> {
    fn store(&mut self, transaction: &UnfinishedTransaction) -> io::Result<()> {
        self.entry.transaction = Some(transaction.clone());
        self.entry.store()
    }

    fn content(&mut self, start: u64) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(self.message.read_from(start)?))
    }

    fn done(&mut self, outcome: &Outcome, recipients: &Recipients) -> io::Result<()> {
        match outcome {
            Outcome::Delivered { reply } => {
                self.settle(recipients, Some(Fate::Delivered(one_line(reply))));
            }
            Outcome::Refused { reply } => {
                self.settle(recipients, Some(Fate::Refused(one_line(reply))));
            }
            Outcome::Declined { reply, .. } if reply.severity() == Severity::PermanentFailure => {
                let refused = Fate::Refused(one_line(reply));
                if recipients.is_empty() {
                    // It did not come to the recipients.
                    let fates = self.entry.fates.iter_mut();
                    fates
                        .filter(|fate| **fate == Fate::Pending)
                        .for_each(|fate| *fate = refused.clone());
                    self.entry.transaction = None;
                } else {
                    self.settle(recipients, Some(refused));
                }
            }
            // (Of LMTP, which is not spoken here, every recipient has a reply of its own.)
            Outcome::Deferred { .. }
            | Outcome::NoRecipients { .. }
            | Outcome::PerRecipient { .. } => {
                self.settle(recipients, None);
            }
            Outcome::Interrupted { transaction, .. } | Outcome::Declined { transaction, .. } => {
                self.entry.transaction = Some((**transaction).clone());
            }
            Outcome::StartOver { .. } => self.entry.transaction = None,
            // As every MTA does it: better twice than not at all (RFC 1047). But not what the
            // client has wanted stopped.
            Outcome::Unknown { cause, .. }
                if self.entry.transaction.as_ref().is_some_and(is_plain) && !was_aborted(cause) =>
            {
                self.entry.transaction = None;
            }
            // What was stored before the data stays: it knows the most.
            Outcome::Unknown { cause, .. } => self.entry.unknown = Some(explain(cause)),
            Outcome::Detached { reply } => {
                self.settle(recipients, Some(Fate::Detached(one_line(reply))));
            }
            // For good, as was wished.
            Outcome::Aborted { reply } => {
                self.settle(recipients, Some(Fate::Aborted(one_line(reply))));
            }
        }
        self.entry.store()
    }

    fn still_deciding(&mut self, question: &ChoiceQuestion) -> Choice {
        if self.carried_on < self.patience.carry_on {
            self.carried_on += 1;
            return Choice::CarryOn;
        }
        match self.patience.then {
            Choice::Detach if !question.can_detach() => Choice::CarryOn,
            choice => choice,
        }
    }

    fn saw(&mut self, side: char, octets: &[u8]) {
        match (&mut self.trace, side) {
            (Some(trace), 'C') => trace.client(octets),
            (Some(trace), _) => trace.server(octets),
            (None, _) => {}
        }
    }
}

/// Whether the transaction was sent to a server without CHECKPOINT: it cannot be asked about.
fn is_plain(transaction: &UnfinishedTransaction) -> bool {
    transaction.used().is_some_and(|used| !used.transid)
}

/// Why an attempt ended, for people.
#[must_use]
pub fn explain(cause: &Cause) -> String {
    match cause {
        Cause::Lost => "the connection was lost".into(),
        Cause::Closed(reply) => format!("the server closed with {}", reply.code().get()),
        Cause::TimedOut => "the server did not answer in time".into(),
        Cause::Protocol(error) => error.to_string(),
        Cause::Answered(stage, reply) => {
            format!("the server said {} ({stage:?})", reply.code().get())
        }
        Cause::Missing(extension) => extension.to_string(),
        Cause::DetachUnanswered => "the server did not answer DETA".into(),
        Cause::AbortUnanswered => "the server did not answer RSET".into(),
        cause => format!("{cause:?}"),
    }
}

/// Whether the client has said RSET to a server that was deciding.
fn was_aborted(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::AbortUnanswered | Cause::Answered(Stage::Reset, _)
    )
}

fn is_broken(attempt: &Attempt) -> bool {
    !matches!(
        attempt.ending,
        Ending::Quit | Ending::Rejected | Ending::Closed | Ending::Detached
    )
}

fn server(host: &str, address: SocketAddr) -> Server {
    Server {
        host: host.into(),
        address: address.to_string().into_bytes(),
    }
}

/// A reply as one line of the journal.
fn one_line(reply: &Reply) -> String {
    let text = String::from_utf8_lossy(reply.first_line()).replace(char::is_control, " ");
    format!("{} {text}", reply.code().get())
}

fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
