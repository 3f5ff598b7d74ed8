//! Messages that their clients leave to the server: owned, decided on without a client, reported
//! where they fail (draft-burger-smtp-deta-00 §2.2.1).
//!
//! Owned is what a partial record with all its data says that is marked detached, durable before
//! 221 is written. What it asks for then is told by [`Record::duty`], which is looked at whenever a
//! session lets go of the key, a decision is committed, or the store is opened:
//! [`FileStore::due`] and [`FileStore::take_due`].
//!
//! A notification is written aside in `incoming`, synced, and counts with the rename of the
//! completion record that names it; then it is moved to `dsn`. So it is issued once, wherever the
//! crash comes.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use smtp_checkpoint::checkpoint::{
    Claim, Confirmation, Duty, Following, Generation, Identity, Offered, Record, Scope,
    Transaction, TransactionKey, Transfer,
};
use smtp_checkpoint::dsn::RecipientResult;
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::rdlv::{Grant, Limiter, ResetAnswer};
use smtp_checkpoint::reply::{Reply, standard};
use smtp_checkpoint::server::AwaitAnswer;
use smtp_checkpoint::transid::TransId;

use super::content::{Content, Segment};
use super::decision::{CommitError, Decision, DecisionHandle, Progress, Stage, Subject, stop};
use super::disk::UNFINISHED;
use super::index::{Held, Index, Running};
use super::names::{KeyHash, OwnerHash, message_name, partial_name};
use super::{FileStore, text};

/// What became of the wish to leave a message to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detached {
    /// It is the server's, durably.
    Owned,
    /// The client has too many already.
    OverLimit,
    /// Another session holds the key.
    Outdated,
    /// It is decided already, with these replies, and there is no record of it.
    Decided(Vec<Reply>),
    /// Nothing is being decided on, and nothing has been.
    NothingHeld,
}

/// What is due for a record that no session holds.
#[derive(Debug)]
pub enum Due {
    /// To make this decision, which has been begun.
    Decide(Decision),
    /// To report a failure.
    Report(DueReport),
}

/// See [`FileStore::report`].
#[derive(Debug)]
pub struct DueReport {
    key: KeyHash,
    record: Record,
    results: Vec<RecipientResult>,
}

impl DueReport {
    /// Of which message.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        self.record.envelope()
    }

    /// What is held of it.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What became of its recipients.
    #[must_use]
    pub fn results(&self) -> &[RecipientResult] {
        &self.results
    }
}

impl FileStore {
    // ---- leaving a message to the server ----

    /// Marks what is held under a key, or decided on, as detached. With [`Detached::Owned`] the
    /// message survives a crash from here on.
    ///
    /// # Errors
    ///
    /// Where the store fails: the message is as much the client's as before.
    pub fn detach(&self, key: &TransactionKey, generation: Generation) -> io::Result<Detached> {
        let key = KeyHash::of(key);
        loop {
            let mut index = self.wait_for_decision(self.lock(), |index| {
                let entry = index.current(key, generation)?;
                Some(entry.running.as_ref()?.progress.stage())
            });
            let Some(entry) = index.current(key, generation) else {
                return Ok(Detached::Outdated);
            };
            let owner = entry.owner;
            let Some(running) = &entry.running else {
                return self.detach_completed(&mut index, key);
            };
            let subject = Detaching {
                key,
                owner,
                record: running.record.detach(),
                name: running.name.clone(),
                segments: running.segments.clone(),
                progress: running.progress.clone(),
            };
            drop(index);
            let prepared = self.prepare_detached(&subject);
            let mut index = self.lock();
            let running = index
                .current(key, generation)
                .and_then(|entry| entry.running.as_ref());
            if running.is_some_and(|running| running.progress.stage() == Stage::Open) {
                return self.own(&mut index, &subject, &prepared?);
            }
            // Committed, called back or claimed in between: looked at again.
            self.give_up_detaching(prepared);
        }
    }

    /// The same for a message without a TRANSID: it is given a record, under a key that no client
    /// knows.
    ///
    /// # Errors
    ///
    /// As for [`detach`](Self::detach).
    pub fn detach_plain(&self, handle: &DecisionHandle, owner: &[u8]) -> io::Result<Detached> {
        let Subject::Plain(envelope) = &handle.subject else {
            return Ok(Detached::NothingHeld);
        };
        let (key, owner) = (handle.key_once_adopted(), OwnerHash::of(owner));
        let generation = self.lock().next_generation();
        let length = handle.segments.iter().map(|segment| segment.octets).sum();
        let Some(record) = record_of(envelope, generation, length) else {
            return Err(io::Error::other("no record can be made"));
        };
        let subject = Detaching {
            key,
            owner,
            record: record.detach(),
            name: message_name(key, owner, generation),
            segments: handle.segments.clone(),
            progress: handle.progress.clone(),
        };
        let prepared = self.prepare_detached(&subject);
        let mut index = self.wait_for_decision(self.lock(), |_| {
            let stage = handle.progress.stage();
            (stage == Stage::Committing).then_some(stage)
        });
        let detached = match handle.progress.stage() {
            Stage::Open => {
                let prepared = prepared?;
                let entry = index.enter(key, owner);
                entry.generation = generation;
                entry.running = Some(Running {
                    record: subject.record.clone(),
                    name: subject.name.clone(),
                    segments: subject.segments.clone(),
                    progress: handle.progress.clone(),
                    waiters: Vec::new(),
                });
                let detached = self.own(&mut index, &subject, &prepared);
                if let Ok(Detached::Owned) = detached {
                    handle.progress.adopt(key);
                    return detached;
                }
                // Nobody else knows of the key.
                stop(&mut index, key, &handle.progress);
                index.set_held(key, Held::Nothing, false);
                index.tidy(key);
                // A crash would have it decided on beside the message that its client still waits
                // for: it has to be gone for certain, or is decided on then and not now.
                let partial = &self.folders.partial;
                let gone = self
                    .disk
                    .remove_now(&partial.join(partial_name(key, owner)));
                if gone.and_then(|()| self.disk.sync_folder(partial)).is_err() {
                    handle.progress.turn(Stage::Withdrawn);
                }
                return detached;
            }
            Stage::Committed(replies) => Detached::Decided(replies),
            Stage::Committing | Stage::Withdrawn | Stage::Failed => Detached::NothingHeld,
        };
        self.give_up_detaching(prepared);
        Ok(detached)
    }

    fn give_up_detaching(&self, prepared: io::Result<PathBuf>) {
        if let Ok(prepared) = prepared {
            self.disk.remove(&prepared);
        }
    }

    /// Waits while a decision is just being committed or called back: neither takes long.
    pub(super) fn wait_for_decision<'a>(
        &'a self,
        mut index: MutexGuard<'a, Index>,
        stage: impl Fn(&mut Index) -> Option<Stage>,
    ) -> MutexGuard<'a, Index> {
        while let Some(Stage::Committing | Stage::Withdrawn) = stage(&mut index) {
            let changed = self.changed.wait(index);
            index = changed.unwrap_or_else(PoisonError::into_inner);
        }
        index
    }

    /// The content is durable, and the record is on the disk under a name that does not count yet.
    fn prepare_detached(&self, subject: &Detaching) -> io::Result<PathBuf> {
        self.sync_segments(&subject.segments, &subject.progress)?;
        self.prepare_partial(&subject.name, &subject.segments, &subject.record)
    }

    /// The decision goes on, and from here on it is the server's.
    fn own(&self, index: &mut Index, subject: &Detaching, prepared: &Path) -> io::Result<Detached> {
        let Detaching {
            key,
            owner,
            record,
            segments,
            ..
        } = subject;
        let (id, sender) = (key.to_string(), owner.to_string());
        let grant = index.limiter.detach(sender.as_bytes(), id.as_bytes());
        if !grant.is_granted() {
            self.disk.remove(prepared);
            return Ok(Detached::OverLimit);
        }
        // Counted first: a crash in between counts one too many, until the store is opened.
        let owned = match grant {
            Grant::Granted => self.store_limiter(&index.limiter),
            _ => Ok(()),
        }
        .and_then(|()| self.publish_partial(index, *key, prepared, segments.clone(), record));
        if let Err(error) = owned {
            if grant == Grant::Granted {
                index.limiter.finish(id.as_bytes());
            }
            return Err(error);
        }
        if let Some(running) = index.get_mut(*key).and_then(|entry| entry.running.as_mut()) {
            running.record = record.clone();
        }
        Ok(Detached::Owned)
    }

    /// The decision is made already: what is held is marked.
    fn detach_completed(&self, index: &mut Index, key: KeyHash) -> io::Result<Detached> {
        let marked = self.change_completed(index, key, None, Record::detach)?;
        Ok(marked.map_or(Detached::NothingHeld, |()| Detached::Owned))
    }

    /// The client has come back and has the final reply for certain: the duty is its own again.
    ///
    /// # Errors
    ///
    /// Where the store fails: what is held stays detached.
    pub fn take_back(&self, key: &TransactionKey, generation: Generation) -> io::Result<()> {
        let key = KeyHash::of(key);
        let mut index = self.lock();
        // Whoever holds the key by now: what the client has been told stays told.
        let taken_back = Cell::new(false);
        self.change_completed(&mut index, key, None, |record| {
            let after = record.take_back(generation);
            taken_back.set(!after.is_detached());
            after
        })?;
        if taken_back.get() {
            index.limiter.finish(key.to_string().as_bytes());
        }
        Ok(())
    }

    /// Stops the decision under a key and removes what is held, in one step.
    pub fn abort(&self, key: &TransactionKey, generation: Generation) -> ResetAnswer {
        let key = KeyHash::of(key);
        let mut index = self.wait_for_decision(self.lock(), |index| {
            let entry = index.current(key, generation)?;
            let stage = entry.running.as_ref()?.progress.stage();
            (stage == Stage::Withdrawn).then_some(stage)
        });
        let Some(entry) = index.current(key, generation) else {
            return ResetAnswer::Outdated;
        };
        let running = entry.running.as_ref();
        let can_stop = match (running, entry.held()) {
            (Some(running), _) => running.progress.stage() == Stage::Open,
            (None, Held::Partial(_) | Held::Nothing) => true,
            (None, _) => false,
        };
        if !can_stop {
            return ResetAnswer::TooLate;
        }
        // What may be detached would be decided on after a crash: it has to be gone for certain.
        if entry.owes() || *entry.held() == Held::Unclear {
            let partial = &self.folders.partial;
            let file = partial.join(partial_name(key, entry.owner));
            let gone = self.disk.remove_now(&file);
            if gone.and_then(|()| self.disk.sync_folder(partial)).is_err() {
                return ResetAnswer::TooLate;
            }
        }
        if let Some(running) = entry.running.take() {
            running.progress.turn(Stage::Withdrawn);
            for waiter in running.waiters {
                waiter(AwaitAnswer::Outdated);
            }
            self.remove_files(running.segments.iter().map(|segment| &*segment.file), None);
        }
        let before = index.set_held(key, Held::Nothing, false);
        self.remove_held(&index, key, &before, None);
        index.limiter.finish(key.to_string().as_bytes());
        drop(index);
        self.changed.notify_all();
        ResetAnswer::Aborted
    }

    // ---- duties ----

    /// The keys whose records have a duty.
    #[must_use]
    pub fn due(&self) -> Vec<KeyHash> {
        self.lock().owing().collect()
    }

    /// What is due for a key, if no session holds it and no decision runs.
    ///
    /// # Errors
    ///
    /// Where the record cannot be read.
    pub fn take_due(&self, key: KeyHash) -> Result<Option<Due>, super::ClaimError> {
        let mut index = self.lock();
        let is_due =
            |entry: &super::index::Entry| entry.owes() && !entry.claimed && entry.running.is_none();
        if !index.get(key).is_some_and(is_due) {
            return Ok(None);
        }
        let Some(record) = self.read_held(&mut index, key)? else {
            return Ok(None);
        };
        match record.duty() {
            Duty::Nothing => {
                index.settle_debt(key); // its notification has been moved to its place
                Ok(None)
            }
            Duty::Report(results) => Ok(Some(Due::Report(DueReport {
                key,
                record,
                results,
            }))),
            Duty::Decide => Ok(self.decide_detached(&mut index, key, record)),
        }
    }

    fn decide_detached(&self, index: &mut Index, key: KeyHash, record: Record) -> Option<Due> {
        // Whoever held the key before is outdated.
        let generation = index.next_generation();
        let entry = index.get_mut(key)?;
        let Held::Partial(segments) = entry.held().clone() else {
            return None;
        };
        entry.generation = generation;
        let name = message_name(key, entry.owner, generation);
        let content = Content::new(&self.folders.incoming, name, segments);
        let decision = Decision::new(Subject::Recorded(key, Box::new(record.clone())), content);
        entry.running = Some(decision.running(&record));
        Some(Due::Decide(decision))
    }

    /// Makes a notification durable, and notes in the same step that it was issued. Nothing happens
    /// where that was done already, or a session holds the key.
    ///
    /// # Errors
    ///
    /// Where the store fails: the report is as due as before.
    pub fn report(&self, due: &DueReport, notification: &[u8]) -> io::Result<()> {
        let mut index = self.lock();
        let name = match index.get(due.key) {
            Some(entry) if entry.owes() && !entry.claimed => match entry.held() {
                Held::Delivered(name) | Held::Refused(name) => name.clone(),
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        let record = self.read_held(&mut index, due.key);
        if record.map_err(io::Error::other)?.as_ref() != Some(&due.record) {
            return Ok(());
        }
        let report = self.prepare_report(&name, notification)?;
        self.disk.sync_folder(&self.folders.incoming)?;
        let issued = Record::with_dsn_issued;
        self.change_completed(&mut index, due.key, Some(&report), issued)?;
        Ok(())
    }

    /// Makes a notification durable for a message of which nothing else is stored.
    ///
    /// # Errors
    ///
    /// Where the store fails: nothing was issued.
    pub fn report_plain(&self, notification: &[u8]) -> io::Result<()> {
        let name = format!("{}.eml", self.plain_content().name);
        let issued = self.write_for_good(&self.folders.dsn, &name, notification);
        issued.map_err(|error| match error {
            CommitError::Failed(error) | CommitError::Unclear(error) => error,
            CommitError::Withdrawn => io::Error::other("withdrawn"),
        })
    }

    /// Writes a notification aside, and tells the name of the file.
    pub(super) fn prepare_report(&self, name: &str, notification: &[u8]) -> io::Result<String> {
        let file = format!("{name}.dsn");
        let path = self.folders.incoming.join(&file);
        let prepared = self.disk.prepare(&path, notification);
        if prepared.is_err() {
            self.disk.remove(&path);
        }
        prepared.map(|()| file)
    }

    /// Moves a notification that counts to its place, if that has not been done.
    pub(super) fn publish_report(&self, files: &text::Files) -> io::Result<()> {
        let Some(file) = &files.report else {
            return Ok(());
        };
        let from = self.folders.incoming.join(file);
        if !from.is_file() {
            return Ok(());
        }
        let name = file.strip_suffix(".dsn").unwrap_or(file);
        let to = self.folders.dsn.join(format!("{name}.eml"));
        self.disk.rename(&from, &to)
    }

    /// Changes a completion record in its file, which stays whole whatever happens. `None` where no
    /// completion record is held.
    fn change_completed(
        &self,
        index: &mut Index,
        key: KeyHash,
        report: Option<&str>,
        change: impl Fn(&Record) -> Record,
    ) -> io::Result<Option<()>> {
        let Some(held) = index.get(key).map(|entry| entry.held().clone()) else {
            return Ok(None);
        };
        let (folder, name) = match &held {
            Held::Delivered(name) => (&self.folders.delivered, format!("{name}.envelope")),
            Held::Refused(name) => (&self.folders.refused, name.clone()),
            Held::Nothing | Held::Partial(_) | Held::Unclear => return Ok(None),
        };
        let Some(record) = self.read_held(index, key).map_err(io::Error::other)? else {
            return Ok(None);
        };
        let record = change(&record);
        let text = text::with_record(&fs::read(folder.join(&name))?, report, &record);
        let unfinished = folder.join(format!("{name}{UNFINISHED}"));
        self.disk
            .prepare(&unfinished, &text)
            .and_then(|()| self.disk.rename(&unfinished, &folder.join(&name)))?;
        if let Err(error) = self.disk.sync_folder(folder) {
            // Which of the two a crash would leave is anybody's guess.
            index.set_held(key, Held::Unclear, false);
            return Err(error);
        }
        let unreported = self.publish_report(&text::read_files(&text)).is_err();
        let owes = record.duty() != Duty::Nothing || unreported;
        index.set_held(key, held, owes);
        Ok(Some(()))
    }

    // ---- the limiter ----

    fn store_limiter(&self, limiter: &Limiter) -> io::Result<()> {
        let root = &self.folders.root;
        let unfinished = root.join(format!("{LIMITER}{UNFINISHED}"));
        self.disk.prepare(&unfinished, &limiter.encode())?;
        self.disk.rename(&unfinished, &root.join(LIMITER))?;
        self.disk.sync_folder(root)
    }

    /// What was counted when the store was open the last time, and is still to be decided on.
    pub(super) fn recover_limiter(&self, index: &mut Index) {
        let bounds = self.settings.detached;
        let stored = fs::read(self.folders.root.join(LIMITER)).ok();
        let stored = stored.and_then(|octets| Limiter::decode(&octets, bounds).ok());
        let mut limiter = stored.unwrap_or_else(|| Limiter::new(bounds));
        let undecided: Vec<_> = index
            .owing()
            .filter_map(|key| {
                let entry = index.get(key)?;
                let partial = matches!(entry.held(), Held::Partial(_));
                partial.then(|| (entry.owner.to_string(), key.to_string()))
            })
            .collect();
        limiter.retain(|_, id| undecided.iter().any(|(_, key)| key.as_bytes() == id));
        // Where the file was lost or damaged.
        for (sender, id) in &undecided {
            let _ = limiter.detach(sender.as_bytes(), id.as_bytes());
        }
        index.limiter = limiter;
    }
}

const LIMITER: &str = "limiter";

/// A message on its way into the store's hands.
struct Detaching {
    key: KeyHash,
    owner: OwnerHash,
    record: Record,
    name: String,
    segments: Vec<Segment>,
    progress: Progress,
}

/// The record of a message without a TRANSID, all of whose data is in.
fn record_of(envelope: &Envelope, generation: Generation, length: u64) -> Option<Record> {
    let transid = TransId::parse(b"<detached@store.invalid>").ok()?;
    let identity = Identity::Authenticated(b"");
    let key = TransactionKey::new(
        &Scope {
            identity,
            tls: false,
        },
        transid,
    );
    let mut transaction = Transaction::default();
    transaction.begin(envelope.mail_line(), Some(key)).ok()?;
    let claim = Claim::Claimed {
        generation,
        found: None,
    };
    let reply = envelope.mail_reply().cloned();
    let reply = reply.unwrap_or_else(|| standard::SENDER_OK.into());
    let _ = transaction.claim(claim, Offered::default(), Following::Nothing, reply);
    for recipient in envelope.recipients() {
        let _ = transaction.rcpt(recipient.line()).ok()?;
        transaction.answer_recipient(recipient.index(), recipient.reply()?.clone());
    }
    let _ = transaction.data(Transfer::Data);
    transaction.confirm(Confirmation::Current);
    let _ = transaction.end(OctetOffset::from(length));
    transaction.snapshot().map(|record| *record)
}
