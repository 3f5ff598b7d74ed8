//! Any client, from attempt to attempt.

use std::rc::Rc;

use smtp_checkpoint::client::Connection;
use smtp_checkpoint::time::Timestamp;

use super::library::{self, BEGINNING, Kept, Library};
use super::simple::{Memory, Simple};
use super::{Client, End, Journal, Told};
use crate::message::Message;
use crate::mutant::Mutant;
use crate::violation::Held;
use crate::watched::Blow;

/// The TRANSID of a message that has begun anew so often, if it has one.
pub(crate) fn transid(message: &Message, over: u32) -> Option<String> {
    let transid = message.transid.as_ref()?;
    Some(match transid.split_once('@') {
        Some((local, domain)) if over > 0 => format!("{local}.{over}@{domain}"),
        _ => transid.clone(),
    })
}

/// Which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Simple,
    /// The library's, which is given its content in pieces of so many octets.
    Library(usize),
}

/// A message that a client has to get rid of, with what is on disk of it.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) message: Rc<Message>,
    kind: Kind,
    pub(crate) mutant: Option<Mutant>,
}

#[derive(Debug)]
enum Kind {
    Simple(Journal<Memory>),
    Library(Journal<Kept>, usize),
}

impl Caller {
    pub(crate) fn new(who: Who, message: &Rc<Message>) -> Held<Self> {
        Self::at(who, message, BEGINNING)
    }

    /// With this wall clock, in seconds.
    pub(crate) fn at(who: Who, message: &Rc<Message>, wall: u64) -> Held<Self> {
        let kind = match who {
            Who::Simple => Kind::Simple(Journal::new(Memory::default())),
            Who::Library(piece) => {
                Kind::Library(Journal::new(library::first(message, wall)?), piece)
            }
        };
        Ok(Self {
            message: Rc::clone(message),
            kind,
            mutant: None,
        })
    }

    /// The simple client, with something to remember.
    pub(crate) fn remembering(message: &Rc<Message>, memory: Memory) -> Self {
        Self {
            message: Rc::clone(message),
            kind: Kind::Simple(Journal::new(memory)),
            mutant: None,
        }
    }

    pub(crate) fn breaking(mut self, mutant: Option<Mutant>) -> Self {
        self.mutant = mutant;
        self
    }

    /// Begins an attempt.
    pub(crate) fn begin(self) -> Held<Attempt> {
        self.begin_at(Connection::default(), (Timestamp::ORIGIN, BEGINNING))
    }

    /// Begins an attempt on this connection, at this time and time of the wall clock.
    pub(crate) fn begin_at(self, connection: Connection, clock: (Timestamp, u64)) -> Held<Attempt> {
        let Self {
            message,
            kind,
            mutant,
        } = self;
        Ok(match kind {
            Kind::Simple(journal) => Attempt {
                mutant,
                kind: AttemptKind::Simple(Box::new(Simple::new(
                    Rc::clone(&message),
                    journal,
                    mutant,
                    clock.0,
                ))),
                message,
            },
            Kind::Library(journal, piece) => Attempt {
                mutant,
                kind: AttemptKind::Library(Box::new(Library::new(
                    Rc::clone(&message),
                    journal,
                    piece,
                    mutant,
                    connection,
                    clock,
                )?)),
                message,
            },
        })
    }

    /// What the final replies said, once that is on disk.
    pub(crate) fn told(&self) -> Option<Told> {
        match &self.kind {
            Kind::Simple(journal) => journal.durable.told.clone(),
            Kind::Library(journal, _) => match &journal.durable {
                Kept::Told(told) => Some(told.clone()),
                _ => None,
            },
        }
    }

    /// What is on disk of the outcome: also of one that the process died of.
    pub(crate) fn outcome(&self) -> Option<End> {
        match &self.kind {
            Kind::Library(journal, _) => match &journal.durable {
                Kept::Open(..) => None,
                Kept::Told(told) => Some(End::Decided(told.clone())),
                Kept::Unknown => Some(End::Unknown),
                Kept::Declined => Some(End::Declined),
                Kept::Detached(accepted) => Some(End::Detached(accepted.clone())),
                Kept::Aborted => Some(End::Aborted),
            },
            Kind::Simple(_) => self.told().map(End::Decided),
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        match &self.kind {
            Kind::Simple(journal) => journal.calls,
            Kind::Library(journal, _) => journal.calls,
        }
    }

    pub(crate) fn crashes(&self) -> u64 {
        match &self.kind {
            Kind::Simple(journal) => journal.crashes,
            Kind::Library(journal, _) => journal.crashes,
        }
    }

    /// Nothing happens to the journal any more.
    pub(crate) fn spare(&mut self) {
        match &mut self.kind {
            Kind::Simple(journal) => journal.blows.clear(),
            Kind::Library(journal, _) => journal.blows.clear(),
        }
    }

    pub(crate) fn blow(&mut self, call: u64, blow: Blow) {
        match &mut self.kind {
            Kind::Simple(journal) => journal.blows.push((call, blow)),
            Kind::Library(journal, _) => journal.blows.push((call, blow)),
        }
    }
}

/// One attempt of any client.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) message: Rc<Message>,
    kind: AttemptKind,
    pub(crate) mutant: Option<Mutant>,
}

#[derive(Debug)]
enum AttemptKind {
    Simple(Box<Simple>),
    Library(Box<Library>),
}

impl Attempt {
    pub(crate) fn client(&mut self) -> &mut dyn Client {
        match &mut self.kind {
            AttemptKind::Simple(client) => client.as_mut(),
            AttemptKind::Library(client) => client.as_mut(),
        }
    }

    /// Whether it has something to say (the simple client only).
    pub(crate) fn has_output(&self) -> bool {
        matches!(&self.kind, AttemptKind::Simple(client) if client.has_output())
    }

    /// Something happens to a call of the journal, so many calls from now.
    pub(crate) fn blow(&mut self, after: u64, blow: Blow) {
        let (calls, blows) = match &mut self.kind {
            AttemptKind::Simple(client) => (client.journal.calls, &mut client.journal.blows),
            AttemptKind::Library(client) => (client.journal.calls, &mut client.journal.blows),
        };
        blows.push((calls + after, blow));
    }

    /// Nothing happens to the journal any more.
    pub(crate) fn spare(&mut self) {
        match &mut self.kind {
            AttemptKind::Simple(client) => client.journal.blows.clear(),
            AttemptKind::Library(client) => client.journal.blows.clear(),
        }
    }

    /// The attempt is over, or its process dead.
    pub(crate) fn into_caller(self) -> Caller {
        Caller {
            message: self.message,
            kind: match self.kind {
                AttemptKind::Simple(client) => Kind::Simple(client.journal),
                AttemptKind::Library(client) => Kind::Library(client.journal, client.piece),
            },
            mutant: self.mutant,
        }
    }
}
