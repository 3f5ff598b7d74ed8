//! What the store knows of each key without looking at the disk.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use smtp_checkpoint::checkpoint::{Generation, Record};
use smtp_checkpoint::rdlv::{Limiter, LimiterBounds};
use smtp_checkpoint::server::AwaitAnswer;

use super::content::Segment;
use super::decision::Progress;
use super::names::{KeyHash, OwnerHash};

/// Told what became of a decision.
pub type Waiter = Box<dyn FnOnce(AwaitAnswer) + Send>;

/// Told that another session wants the key.
pub type Wanted = Box<dyn FnOnce(Generation) + Send>;

/// What is on disk under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    Nothing,
    /// A partial record, with its content.
    Partial(Vec<Segment>),
    /// A completion record, beside the message.
    Delivered(String),
    /// A completion record; the message was refused.
    Refused(String),
    /// Something that cannot be read, or of which it is not known whether it is durable. It is
    /// kept, and the client told to come back later.
    Unclear,
}

/// A decision that is being made in this process.
pub struct Running {
    /// As it is now: the client may have detached since the decision began.
    pub record: Record,
    /// The name of the message, and where its octets are.
    pub name: String,
    pub segments: Vec<Segment>,
    pub progress: Progress,
    pub waiters: Vec<Waiter>,
}

pub struct Entry {
    pub owner: OwnerHash,
    /// Of the latest claim. Whoever names another one is outdated.
    pub generation: Generation,
    /// A session holds the key: what is stored is pinned.
    pub claimed: bool,
    pub wanted: Option<Wanted>,
    pub running: Option<Running>,
    /// Since when what is held has been held.
    pub since: SystemTime,
    /// The client has the reply for certain.
    pub acknowledged: bool,
    held: Held,
    owes: bool,
}

impl Entry {
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// The record that is held has a duty: it is never removed.
    pub fn owes(&self) -> bool {
        self.owes
    }
}

/// How much is held, of one owner or in all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub records: usize,
    pub octets: u64,
}

pub struct Index {
    /// One count for all keys: a key that was forgotten can never meet an old generation again.
    last_generation: u64,
    entries: HashMap<KeyHash, Entry>,
    /// Whose records have a duty.
    owing: HashSet<KeyHash>,
    total: Usage,
    owners: HashMap<OwnerHash, Usage>,
    /// Detached messages that are being decided on.
    pub limiter: Limiter,
}

impl Index {
    pub fn new(detached: LimiterBounds) -> Self {
        Self {
            last_generation: 0,
            entries: HashMap::new(),
            owing: HashSet::new(),
            total: Usage::default(),
            owners: HashMap::new(),
            limiter: Limiter::new(detached),
        }
    }

    pub fn next_generation(&mut self) -> Generation {
        self.last_generation += 1;
        Generation(self.last_generation)
    }

    /// A generation that was found in a file.
    pub fn saw_generation(&mut self, generation: Generation) {
        self.last_generation = self.last_generation.max(generation.0);
    }

    pub fn total(&self) -> Usage {
        self.total
    }

    pub fn usage(&self, owner: OwnerHash) -> Usage {
        self.owners.get(&owner).copied().unwrap_or_default()
    }

    pub fn get(&self, key: KeyHash) -> Option<&Entry> {
        self.entries.get(&key)
    }

    pub fn get_mut(&mut self, key: KeyHash) -> Option<&mut Entry> {
        self.entries.get_mut(&key)
    }

    /// The entry, if this is the generation that holds it.
    pub fn current(&mut self, key: KeyHash, generation: Generation) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(&key)?;
        (entry.generation == generation).then_some(entry)
    }

    pub fn keys(&self) -> impl Iterator<Item = (KeyHash, &Entry)> {
        self.entries.iter().map(|(key, entry)| (*key, entry))
    }

    /// The keys whose records have a duty.
    pub fn owing(&self) -> impl Iterator<Item = KeyHash> {
        self.owing.iter().copied()
    }

    /// The entry of a key, made if there is none.
    pub fn enter(&mut self, key: KeyHash, owner: OwnerHash) -> &mut Entry {
        self.entries.entry(key).or_insert_with(|| {
            self.total.records += 1;
            self.owners.entry(owner).or_default().records += 1;
            Entry {
                owner,
                generation: Generation(0),
                claimed: false,
                wanted: None,
                running: None,
                since: SystemTime::now(),
                acknowledged: false,
                held: Held::Nothing,
                owes: false,
            }
        })
    }

    /// Notes what is on disk now, whether it has a duty, and tells what was there before.
    pub fn set_held(&mut self, key: KeyHash, held: Held, owes: bool) -> Held {
        let Some(entry) = self.entries.get_mut(&key) else {
            return Held::Nothing;
        };
        entry.since = SystemTime::now();
        entry.acknowledged = false;
        entry.owes = owes;
        if owes {
            self.owing.insert(key);
        } else {
            self.owing.remove(&key);
        }
        let octets = octets(&held);
        let before = std::mem::replace(&mut entry.held, held);
        for usage in [&mut self.total, self.owners.entry(entry.owner).or_default()] {
            usage.octets = usage.octets + octets - self::octets(&before);
        }
        before
    }

    /// What is held has no duty any more.
    pub fn settle_debt(&mut self, key: KeyHash) {
        self.owing.remove(&key);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.owes = false;
        }
    }

    /// Forgets a key that nobody holds and under which nothing is held.
    pub fn tidy(&mut self, key: KeyHash) {
        let idle = self.entries.get(&key).is_some_and(|entry| {
            !entry.claimed && entry.running.is_none() && entry.held == Held::Nothing
        });
        if !idle {
            return;
        }
        if let Some(entry) = self.entries.remove(&key) {
            self.total.records -= 1;
            if let Some(usage) = self.owners.get_mut(&entry.owner) {
                usage.records -= 1;
                if usage.records == 0 {
                    self.owners.remove(&entry.owner);
                }
            }
        }
    }
}

fn octets(held: &Held) -> u64 {
    match held {
        Held::Partial(segments) => segments.iter().map(|segment| segment.octets).sum(),
        _ => 0,
    }
}
