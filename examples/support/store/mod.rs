//! A store of plain files for transactions that may be interrupted.
//!
//! ```text
//! incoming/<name>.seg           content as it comes, written unsynced: one file a generation
//! partial/<key>-<owner>         a partial record, and the list of its segments
//! delivered/<name>.envelope     MAIL and RCPT lines, and the completion record: its rename is the commit
//! delivered/<name>.eml          the message, moved here from incoming behind the commit
//! refused/<name>                the completion record of a message that was refused
//! dsn/<name>.eml                a notification of failure, to be sent with MAIL FROM:<>
//! limiter                       how many messages each client has left to the server
//! ```
//!
//! `<name>` is `<key>-<owner>-<generation>`, hashes both, or a time for a transaction without a
//! TRANSID.
//!
//! A message that is never interrupted costs what it costs in a spool without CHECKPOINT: its
//! content and its envelope, each written and synced once. The completion record is a line in the
//! envelope. Partial records are written only when a transaction is interrupted, or has grown past
//! what one is willing to lose in a crash.
//!
//! What makes it safe:
//!
//! * a **claim** raises the generation of its key, in memory, in one step with reading the record;
//!   storing, deciding and discarding name a generation, and an outdated one is refused;
//! * each generation writes **a segment of its own**, so nobody writes to what another one reads;
//! * a record names how much of each segment counts, and is stored **behind the sync** of them;
//! * a small file appears **whole or not at all**: written aside, synced, renamed, its directory
//!   synced;
//! * after a failed sync nothing more is written to that segment, and no later sync is trusted;
//! * [`FileStore::open`] finishes or removes whatever a crash left half done.
//!
//! A message that its client leaves to the server (DETA) is stored as a partial record with all
//! its data, marked detached; where it has no TRANSID, under a key that only the store knows. From
//! then on it is never removed before its [duty](smtp_checkpoint::checkpoint::Record::duty) is
//! done: `detached.rs`.
//!
//! One process owns the directory. Whatever takes messages out of `delivered` moves the `.eml` and
//! leaves the `.envelope` to this store, which needs its record until [`FileStore::expire`]
//! removes it; an envelope without a record line is the taker's to remove.
//!
//! One lock covers all keys, and is held while a partial record is renamed and its directory
//! synced. A busy server would lock each key by itself.

mod content;
mod decision;
mod detached;
pub mod disk;
mod index;
mod names;
mod recover;
mod text;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Claim, Confirmation, Discard, Duty, Generation, Record, TransactionKey,
};
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::rdlv::LimiterBounds;
use smtp_checkpoint::server::{AwaitAnswer, ClaimToConfirm};
use thiserror::Error;

pub use self::content::Content;
use self::content::{Segment, are_there};
#[allow(unused_imports)] // not every example handles every error
pub use self::decision::{CommitError, Decision, DecisionHandle, Failures, Outdated};
use self::decision::{Progress, Stage, Subject, completion};
#[allow(unused_imports)]
pub use self::detached::{Detached, Due, DueReport};
use self::disk::{Disk, UNFINISHED};
use self::index::{Entry, Held, Index};
pub use self::names::KeyHash;
use self::names::{OwnerHash, message_name, partial_name};

/// How long and how much the store keeps.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For records of both kinds (RFC 1845 §3 recommends 48 hours).
    pub retention: Duration,
    /// For completion records whose reply the client has for certain.
    pub retention_acknowledged: Duration,
    /// Records of one owner. Over it, transactions go on without one.
    pub records_per_owner: usize,
    /// Records in all.
    pub records: usize,
    /// Octets of partial content of one owner.
    pub octets_per_owner: u64,
    /// Octets of partial content in all.
    pub octets: u64,
    /// Messages that clients have left to the server and that are being decided on.
    pub detached: LimiterBounds,
    /// How long a claim waits for the session that holds the key to store what it has. A client
    /// often notices a lost connection before the server does, and is back at once.
    pub takeover: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(48 * 3600),
            retention_acknowledged: Duration::from_secs(3600),
            records_per_owner: 1000,
            records: 100_000,
            octets_per_owner: 1 << 30,
            octets: 16 << 30,
            detached: LimiterBounds::default(),
            takeover: Duration::from_secs(2),
        }
    }
}

/// Why a key cannot be claimed now. The reply is 451 4.3.0, and what is held stays.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// A record is damaged, of a newer version, or not known to be durable.
    #[error("the record cannot be read")]
    Unreadable,
    /// The store failed.
    #[error("the record cannot be read: {0}")]
    Failed(#[from] io::Error),
}

/// Why a partial record was not stored. What was stored before stays.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another session holds the key.
    #[error("another session holds the key")]
    Outdated,
    /// The store failed.
    #[error("the record cannot be stored: {0}")]
    Failed(#[from] io::Error),
}

/// See the [module](self).
pub struct FileStore {
    settings: Settings,
    folders: Folders,
    disk: Disk,
    index: Mutex<Index>,
    /// A session has let go of its key, or a decision has ended.
    changed: Condvar,
    plain_messages: AtomicU64,
}

struct Folders {
    root: PathBuf,
    incoming: PathBuf,
    partial: PathBuf,
    delivered: PathBuf,
    refused: PathBuf,
    dsn: PathBuf,
}

impl FileStore {
    /// What the store does to the disk, counted.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- claims ----

    /// Claims a key: from now on no session but this one stores, decides or discards under it.
    /// A session that held it before is told by its own `wanted`, has [`Settings::takeover`] to
    /// store what it has and to [`release`](Self::release) the key, and is fenced then.
    ///
    /// # Errors
    ///
    /// [`ClaimError`]: MAIL is to be answered 451 4.3.0.
    pub fn claim(
        &self,
        key: &TransactionKey,
        owner: &[u8],
        wanted: impl FnOnce(Generation) + Send + 'static,
    ) -> Result<Claim, ClaimError> {
        let (key, owner) = (KeyHash::of(key), OwnerHash::of(owner));
        let mut index = self.keep_what_is_decided(self.take_over(key), key)?;
        // Asked before a record is made, never of one that is there.
        if index.get(key).is_none() && self.is_full(&index, owner) {
            return Ok(Claim::Unrecorded);
        }
        let generation = index.next_generation();
        let entry = index.enter(key, owner);
        entry.generation = generation;
        entry.claimed = true;
        entry.wanted = Some(Box::new(wanted));
        let found = if let Some(running) = &mut entry.running {
            for waiter in running.waiters.drain(..) {
                waiter(AwaitAnswer::Outdated);
            }
            Some(running.record.processing(running.record.generation().0))
        } else {
            match self.read_held(&mut index, key) {
                Ok(found) => found,
                Err(error) => {
                    release(&mut index, key, generation);
                    return Err(error);
                }
            }
        };
        Ok(Claim::Claimed {
            generation,
            found: found.map(Box::new),
        })
    }

    /// Tells the session that holds the key to let go of it, and gives it a moment to store what
    /// it has received.
    fn take_over(&self, key: KeyHash) -> MutexGuard<'_, Index> {
        let mut index = self.lock();
        let Some(entry) = index.get_mut(key).filter(|entry| entry.claimed) else {
            return index;
        };
        let generation = entry.generation;
        if let Some(wanted) = entry.wanted.take() {
            wanted(generation);
        }
        let (index, _) = self
            .changed
            .wait_timeout_while(index, self.settings.takeover, |index| {
                index
                    .current(key, generation)
                    .is_some_and(|entry| entry.claimed)
            })
            .unwrap_or_else(PoisonError::into_inner);
        index
    }

    /// A decision under way is answered with the offset behind all of its data: that has to be on
    /// the disk from then on, and to stay if the decision comes to nothing, for the offset that was
    /// announced never decreases.
    fn keep_what_is_decided<'a>(
        &'a self,
        mut index: MutexGuard<'a, Index>,
        key: KeyHash,
    ) -> io::Result<MutexGuard<'a, Index>> {
        loop {
            index = self.wait_for_decision(index, |index| {
                let running = index.get_mut(key)?.running.as_ref()?;
                Some(running.progress.stage())
            });
            let generation = index.next_generation();
            let undecided = |entry: &Entry| {
                let running = entry.running.as_ref()?;
                let kept = running.segments.is_empty()
                    || matches!(entry.held(), Held::Partial(held) if *held == running.segments);
                let open = running.progress.stage() == Stage::Open;
                (open && !kept).then(|| {
                    let (record, segments) = (running.record.clone(), running.segments.clone());
                    (
                        record,
                        segments,
                        running.name.clone(),
                        running.progress.clone(),
                    )
                })
            };
            let Some((record, segments, name, progress)) = index.get(key).and_then(undecided)
            else {
                return Ok(index);
            };
            drop(index); // syncing takes its time
            let prepared = self.sync_segments(&segments, &progress).and_then(|()| {
                self.prepare_partial(&format!("{name}.{generation}"), &segments, &record)
            });
            index = self.lock();
            let now = index.get(key).and_then(undecided);
            match (now, prepared) {
                (Some((now, ..)), prepared) if now == record => {
                    self.publish_partial(&mut index, key, &prepared?, segments, &record)?;
                    return Ok(index);
                }
                // Committed, called back, or its client has detached.
                (_, Ok(prepared)) => self.disk.remove(&prepared),
                (_, Err(_)) => {}
            }
        }
    }

    fn is_full(&self, index: &Index, owner: OwnerHash) -> bool {
        let (all, own) = (index.total(), index.usage(owner));
        all.records >= self.settings.records
            || all.octets >= self.settings.octets
            || own.records >= self.settings.records_per_owner
            || own.octets >= self.settings.octets_per_owner
    }

    /// Reads the record under a key.
    fn read_held(&self, index: &mut Index, key: KeyHash) -> Result<Option<Record>, ClaimError> {
        let Some(entry) = index.get(key) else {
            return Ok(None);
        };
        let file = match entry.held() {
            Held::Nothing => return Ok(None),
            Held::Unclear => return Err(ClaimError::Unreadable),
            Held::Partial(_) => {
                let name = partial_name(key, entry.owner);
                let text = fs::read(self.folders.partial.join(name))?;
                let (segments, record) =
                    text::read_partial(&text).map_err(|_| ClaimError::Unreadable)?;
                if are_there(&self.folders.incoming, &segments) {
                    return Ok(Some(record));
                }
                if entry.owes() {
                    return Err(ClaimError::Unreadable); // for somebody to look at
                }
                // Octets that were announced are lost: the record is worth nothing.
                let before = index.set_held(key, Held::Nothing, false);
                self.remove_held(index, key, &before, None);
                return Ok(None);
            }
            Held::Delivered(name) => {
                self.finish_delivery(name)?;
                let envelope = format!("{name}.envelope");
                self.folders.delivered.join(envelope)
            }
            Held::Refused(name) => {
                let file = self.folders.refused.join(name);
                self.publish_report(&text::read_files(&fs::read(&file)?))?;
                file
            }
        };
        let text = fs::read(file)?;
        text::read_record(&text)
            .map(Some)
            .map_err(|_| ClaimError::Unreadable)
    }

    /// The session lets go of the key: what is held is no longer pinned. Nothing but memory
    /// depends on this call.
    pub fn release(&self, key: &TransactionKey, generation: Generation) {
        release(&mut self.lock(), KeyHash::of(key), generation);
        self.changed.notify_all();
    }

    // ---- content ----

    /// Confirms a claim when its data command comes, and gives the right to write behind what is
    /// there.
    ///
    /// # Errors
    ///
    /// [`Confirmation::Outdated`] or [`Confirmation::WrongLength`].
    pub fn confirm(&self, claim: &ClaimToConfirm) -> Result<Content, Confirmation> {
        let key = KeyHash::of(&claim.key);
        let mut index = self.lock();
        let Some(entry) = index.current(key, claim.generation) else {
            return Err(Confirmation::Outdated);
        };
        let name = message_name(key, entry.owner, claim.generation);
        if claim.fresh {
            // What an older transaction left must not stand beside it.
            if let Held::Partial(_) = entry.held() {
                let before = index.set_held(key, Held::Nothing, false);
                self.remove_held(&index, key, &before, None);
            }
            return Ok(Content::new(&self.folders.incoming, name, Vec::new()));
        }
        let base = match entry.held() {
            Held::Partial(segments)
                if octets(segments) == claim.length.get()
                    && are_there(&self.folders.incoming, segments) =>
            {
                segments.clone()
            }
            // All data is in already: nothing will be written.
            _ if entry.running.is_some() => Vec::new(),
            Held::Delivered(_) | Held::Refused(_) => Vec::new(),
            Held::Partial(_) | Held::Nothing | Held::Unclear => {
                return Err(Confirmation::WrongLength);
            }
        };
        Ok(Content::new(&self.folders.incoming, name, base))
    }

    /// The right to write the content of a transaction without a record.
    pub fn plain_content(&self) -> Content {
        let time = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let count = self.plain_messages.fetch_add(1, Relaxed);
        let name = format!("{}.{:09}-{count}", time.as_secs(), time.subsec_nanos());
        Content::new(&self.folders.incoming, name, Vec::new())
    }

    /// Writes octets of the message that begin at `start`. Lazy: nothing vouches for them yet.
    ///
    /// # Errors
    ///
    /// Where they do not fit behind what is there, or the store fails or has failed before.
    pub fn append(
        &self,
        content: &mut Content,
        start: OctetOffset,
        octets: &[Bytes],
    ) -> io::Result<()> {
        content.append(&self.disk, start.get(), octets)
    }

    /// Content that comes to nothing.
    pub fn drop_content(&self, content: Content) {
        if content.file.is_some() && !content.kept {
            self.disk.remove(&content.path());
        }
    }

    // ---- partial records ----

    /// Stores a partial record, and makes the content that it counts on durable first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; what was stored before stays as it is.
    pub fn store_partial(
        &self,
        key: &TransactionKey,
        content: &mut Content,
        record: &Record,
    ) -> Result<(), StoreError> {
        let length = record.length().get();
        if content.octets() < length {
            return Err(io::Error::other("less content than the record counts on").into());
        }
        content.sync(&self.disk)?;
        let segments = content.segments(length);
        let prepared = self.prepare_partial(&content.name, &segments, record)?;
        let key = KeyHash::of(key);
        let mut index = self.lock();
        let current = index
            .current(key, record.generation())
            .is_some_and(|entry| {
                let decided = matches!(entry.held(), Held::Delivered(_) | Held::Refused(_));
                entry.running.is_none() && !decided
            });
        if !current {
            drop(index);
            self.disk.remove(&prepared);
            return Err(StoreError::Outdated);
        }
        content.kept = true;
        self.publish_partial(&mut index, key, &prepared, segments, record)?;
        Ok(())
    }

    fn prepare_partial(
        &self,
        name: &str,
        segments: &[Segment],
        record: &Record,
    ) -> io::Result<PathBuf> {
        // The name has the generation in it, so that two sessions never write to one file.
        let path = self.folders.partial.join(format!("{name}{UNFINISHED}"));
        let text = text::write_partial(segments, record);
        self.disk.prepare(&path, &text).map(|()| path)
    }

    fn publish_partial(
        &self,
        index: &mut Index,
        key: KeyHash,
        prepared: &Path,
        segments: Vec<Segment>,
        record: &Record,
    ) -> io::Result<()> {
        let Some(owner) = index.get(key).map(|entry| entry.owner) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let partial = &self.folders.partial;
        self.disk
            .rename(prepared, &partial.join(partial_name(key, owner)))?;
        if let Err(error) = self.disk.sync_folder(partial) {
            // Which of the two records a crash would leave is anybody's guess.
            index.set_held(key, Held::Unclear, false);
            return Err(error);
        }
        let owes = record.duty() != Duty::Nothing;
        let before = index.set_held(key, Held::Partial(segments.clone()), owes);
        if let Held::Partial(before) = before {
            for old in before {
                if segments.iter().all(|segment| segment.file != old.file) {
                    self.disk.remove(&self.folders.incoming.join(old.file));
                }
            }
        }
        Ok(())
    }

    /// Makes the content of a decision durable. Once this has failed, the decision is not
    /// committed: the next sync would succeed, and the octets be gone all the same.
    fn sync_segments(&self, segments: &[Segment], progress: &Progress) -> io::Result<()> {
        progress.is_trusted()?;
        let synced = segments.iter().try_for_each(|segment| {
            let path = self.folders.incoming.join(&segment.file);
            self.disk.sync(&path, &fs::File::open(&path)?)
        });
        let synced = synced.and_then(|()| self.disk.sync_folder(&self.folders.incoming));
        if synced.is_err() {
            progress.spoil();
        }
        synced
    }

    /// Discards what is held under a key, if the generation still holds it and it is what the
    /// advice is about. What cannot be read stays.
    pub fn discard(&self, discard: &Discard) {
        let key = KeyHash::of(&discard.key);
        let mut index = self.lock();
        let idle = index.get(key).filter(|entry| entry.running.is_none());
        let Some(current) = idle.map(|entry| entry.generation) else {
            return;
        };
        let Ok(Some(record)) = self.read_held(&mut index, key) else {
            return;
        };
        if discard.applies_to(&record, current) {
            let before = index.set_held(key, Held::Nothing, false);
            self.remove_held(&index, key, &before, None);
        }
    }

    // ---- decisions ----

    /// Begins the decision on a message, by compare-and-set on the key. From now on it belongs to
    /// the record: later claims find it under way.
    ///
    /// # Errors
    ///
    /// [`Outdated`] where the key, or the content, is not what the record says.
    pub fn begin_decision(
        &self,
        key: &TransactionKey,
        record: &Record,
        content: Content,
    ) -> Result<Decision, Outdated> {
        let key = KeyHash::of(key);
        let fits = content.octets() == record.length().get();
        let mut index = self.lock();
        match index.current(key, record.generation()) {
            Some(entry) if fits && entry.running.is_none() => {
                let subject = Subject::Recorded(key, Box::new(record.clone()));
                let decision = Decision::new(subject, content);
                entry.running = Some(decision.running(record));
                Ok(decision)
            }
            _ => {
                drop(index);
                self.drop_content(content);
                Err(Outdated)
            }
        }
    }

    /// Begins the decision on a message without a record.
    pub fn begin_plain_decision(&self, envelope: &Envelope, content: Content) -> Decision {
        Decision::new(Subject::Plain(envelope.clone()), content)
    }

    /// Calls `waiter` once the decision under way is made, at once if it is made already.
    pub fn await_decision(
        &self,
        key: &TransactionKey,
        generation: Generation,
        waiter: impl FnOnce(AwaitAnswer) + Send + 'static,
    ) {
        let key = KeyHash::of(key);
        let mut index = self.lock();
        let Some(entry) = index.current(key, generation) else {
            return waiter(AwaitAnswer::Outdated);
        };
        if let Some(running) = &mut entry.running {
            return running.waiters.push(Box::new(waiter));
        }
        let found = self.read_held(&mut index, key);
        drop(index);
        waiter(match found {
            Ok(Some(record)) => match completion(&record) {
                Some(completion) => AwaitAnswer::Decided(completion),
                None => AwaitAnswer::Withdrawn,
            },
            // The client learns what there is by a restart.
            Ok(None) | Err(_) => AwaitAnswer::Outdated,
        });
    }

    // ---- the end of a message's life here ----

    /// The client has these replies for certain: their records need not be kept as long.
    pub fn shorten_retention(&self, keys: &[TransactionKey]) {
        let mut index = self.lock();
        for key in keys {
            if let Some(entry) = index.get_mut(KeyHash::of(key)) {
                entry.acknowledged = true;
            }
        }
    }

    /// Removes what has been held for too long. To be called now and then.
    pub fn expire(&self, now: SystemTime) {
        let mut index = self.lock();
        let is_old = |entry: &index::Entry| {
            let completed = matches!(entry.held(), Held::Delivered(_) | Held::Refused(_));
            let retention = if completed && entry.acknowledged {
                self.settings.retention_acknowledged
            } else {
                self.settings.retention
            };
            let age = now.duration_since(entry.since).unwrap_or_default();
            // What a session holds is pinned; what cannot be read, or has a duty, is never removed.
            !entry.claimed
                && !entry.owes()
                && entry.running.is_none()
                && *entry.held() != Held::Unclear
                && age > retention
        };
        let old: Vec<_> = index
            .keys()
            .filter(|(_, entry)| is_old(entry))
            .map(|(key, _)| key)
            .collect();
        for key in old {
            let before = index.set_held(key, Held::Nothing, false);
            self.remove_held(&index, key, &before, None);
            index.tidy(key);
        }
    }

    /// Moves a committed message to its place.
    fn publish_message(&self, name: &str, file: &str) -> io::Result<()> {
        let message = self.folders.delivered.join(format!("{name}.eml"));
        self.disk
            .rename(&self.folders.incoming.join(file), &message)
    }

    /// Moves a committed message, and its notification, to their places if that has not been done.
    fn finish_delivery(&self, name: &str) -> io::Result<()> {
        let delivered = &self.folders.delivered;
        let envelope = fs::read(delivered.join(format!("{name}.envelope")))?;
        let files = text::read_files(&envelope);
        self.publish_report(&files)?;
        // Where it is in neither place, somebody has taken it.
        match files.content {
            Some(file)
                if !delivered.join(format!("{name}.eml")).exists()
                    && self.folders.incoming.join(&file).is_file() =>
            {
                self.publish_message(name, &file)
            }
            _ => Ok(()),
        }
    }

    // ---- removing ----

    /// Removes what was on disk under a key, but for the file that has become a message.
    fn remove_held(&self, index: &Index, key: KeyHash, held: &Held, but: Option<&str>) {
        match held {
            Held::Nothing | Held::Unclear => {}
            Held::Partial(segments) => {
                if let Some(entry) = index.get(key) {
                    let name = partial_name(key, entry.owner);
                    self.disk.remove(&self.folders.partial.join(name));
                }
                self.remove_files(segments.iter().map(|segment| &*segment.file), but);
            }
            Held::Refused(name) => self.disk.remove(&self.folders.refused.join(name)),
            Held::Delivered(name) => {
                // The envelope of a message that is still there goes with the message.
                let delivered = &self.folders.delivered;
                if !delivered.join(format!("{name}.eml")).exists() {
                    self.disk
                        .remove(&delivered.join(format!("{name}.envelope")));
                }
            }
        }
    }

    /// Removes the segments of a message that has been decided on, but for the file that has
    /// become the message.
    fn remove_segments(&self, content: &Content, but: Option<&str>) {
        let own = content.file.as_ref().map(|_| content.file_name());
        let files = content.base.iter().map(|segment| &*segment.file);
        self.remove_files(files.chain(own.as_deref()), but);
    }

    fn remove_files<'a>(&self, files: impl Iterator<Item = &'a str>, but: Option<&str>) {
        for file in files.filter(|file| Some(*file) != but) {
            self.disk.remove(&self.folders.incoming.join(file));
        }
    }
}

fn release(index: &mut Index, key: KeyHash, generation: Generation) {
    if let Some(entry) = index.current(key, generation) {
        entry.claimed = false;
        entry.wanted = None;
        index.tidy(key);
    }
}

fn octets(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| segment.octets).sum()
}
