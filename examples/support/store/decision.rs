//! Decisions on whole messages, and their commit.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smtp_checkpoint::checkpoint::{Completion, Duty, Record, RecordState, Verdict};
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::reply::{Reply, standard};
use smtp_checkpoint::server::{AwaitAnswer, EndOfDataAnswer};
use thiserror::Error;

use super::content::{Content, Segment, read_segments};
use super::disk::UNFINISHED;
use super::index::{Held, Index, Running, Waiter};
use super::names::KeyHash;
use super::{FileStore, text};

/// Where a decision stands. It is committed or withdrawn, never both: whoever comes first. It
/// changes under the lock of the index only.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    /// The key that the store gave to a message without a TRANSID when its client detached.
    adopted: Option<KeyHash>,
    /// A sync of the content failed: no later one is trusted, whoever asks for it.
    spoiled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stage {
    #[default]
    Open,
    Committing,
    /// Called back, or stopped for good.
    Withdrawn,
    /// With these final replies.
    Committed(Vec<Reply>),
    /// The store failed.
    Failed,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn stage(&self) -> Stage {
        self.state().stage.clone()
    }

    /// From [`Stage::Open`] only.
    pub fn turn(&self, into: Stage) -> bool {
        let mut state = self.state();
        let open = state.stage == Stage::Open;
        if open {
            state.stage = into;
        }
        open
    }

    pub fn adopted(&self) -> Option<KeyHash> {
        self.state().adopted
    }

    pub fn adopt(&self, key: KeyHash) {
        self.state().adopted = Some(key);
    }

    pub fn spoil(&self) {
        self.state().spoiled = true;
    }

    /// # Errors
    ///
    /// Where a sync of the content failed.
    pub fn is_trusted(&self) -> io::Result<()> {
        if self.state().spoiled {
            return Err(io::Error::other("an earlier sync failed"));
        }
        Ok(())
    }

    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A decision under way. It belongs to the record, not to the session that began it, and may be
/// sent to any thread.
#[derive(Debug)]
pub struct Decision {
    subject: Subject,
    pub(super) content: Content,
    /// The name of the message once it is delivered.
    name: String,
    progress: Progress,
}

/// What is being decided on.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    Recorded(KeyHash, Box<Record>),
    /// A transaction without a record: nobody but its session knows of it.
    Plain(Envelope),
}

/// What is left with the session: enough to call the decision back, or to leave it to the store.
#[derive(Debug)]
pub struct DecisionHandle {
    pub(super) progress: Progress,
    pub(super) subject: Subject,
    pub(super) name: String,
    pub(super) segments: Vec<Segment>,
}

/// What else is known of a message that is accepted for some recipients and not for others.
#[derive(Debug, Clone, Default)]
pub struct Failures {
    /// The recipients who do not get it, by their index in the envelope.
    pub recipients: Vec<usize>,
    /// The notification of that, a whole message, where one is owed. The verdict says so too
    /// ([`Verdict::with_dsn_issued`]).
    pub notification: Option<Vec<u8>>,
}

/// What a commit made.
struct Committed {
    held: Held,
    completed: Option<Record>,
    /// The file in `incoming` that became the message.
    message: Option<String>,
    /// The notification is still in `incoming`.
    unreported: bool,
}

/// The key has moved on since the claim, or the content is not what the record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("another session holds the key")]
pub struct Outdated;

/// Why a decision was not committed.
#[derive(Debug, Error)]
pub enum CommitError {
    /// It was withdrawn before.
    #[error("the decision was withdrawn")]
    Withdrawn,
    /// The store failed, and nothing is delivered.
    #[error("the message cannot be stored: {0}")]
    Failed(io::Error),
    /// The store failed at the very moment of the commit: whether the message is delivered is
    /// known when the store is opened the next time.
    #[error("it is not known whether the message is stored: {0}")]
    Unclear(io::Error),
}

impl CommitError {
    /// What to answer the session, where the decision began on a record that was `detached`.
    #[must_use]
    pub fn answer(&self, detached: bool) -> EndOfDataAnswer {
        match self {
            Self::Failed(_) if !detached => EndOfDataAnswer::Decided(standard::LOCAL_ERROR.into()),
            // A final reply of either kind could be wrong: what is detached is decided on again. 421
            // promises nothing, and the client learns the truth by a restart.
            Self::Failed(_) | Self::Withdrawn | Self::Unclear(_) => EndOfDataAnswer::Outdated,
        }
    }
}

impl DecisionHandle {
    /// The key that the store gives to a message without a TRANSID when its client detaches.
    #[must_use]
    pub fn key_once_adopted(&self) -> KeyHash {
        KeyHash::of_message(&self.name)
    }
}

impl Decision {
    pub(super) fn new(subject: Subject, content: Content) -> Self {
        Self {
            subject,
            name: content.name.clone(),
            content,
            progress: Progress::default(),
        }
    }

    pub(super) fn running(&self, record: &Record) -> Running {
        Running {
            record: record.clone(),
            name: self.name.clone(),
            segments: self.segments(),
            progress: self.progress.clone(),
            waiters: Vec::new(),
        }
    }

    fn segments(&self) -> Vec<Segment> {
        self.content.segments(self.content.octets())
    }

    /// Who sent the message and whom it is for.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        match &self.subject {
            Subject::Recorded(_, record) => record.envelope(),
            Subject::Plain(envelope) => envelope,
        }
    }

    /// What is decided on, as it was when the decision began; `None` without a record.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        match &self.subject {
            Subject::Recorded(_, record) => Some(record),
            Subject::Plain(_) => None,
        }
    }

    /// What the session keeps.
    #[must_use]
    pub fn handle(&self) -> DecisionHandle {
        DecisionHandle {
            progress: self.progress.clone(),
            subject: self.subject.clone(),
            name: self.name.clone(),
            segments: self.segments(),
        }
    }

    /// What became of the message since the decision began: its client may have detached.
    fn catch_up(&mut self, index: &Index) {
        let key = match &self.subject {
            Subject::Recorded(key, _) => Some(*key),
            Subject::Plain(_) => self.progress.adopted(),
        };
        let Some((key, entry)) = key.and_then(|key| Some((key, index.get(key)?))) else {
            return;
        };
        if let Some(running) = &entry.running {
            if running.progress.is(&self.progress) {
                self.name.clone_from(&running.name);
                self.subject = Subject::Recorded(key, Box::new(running.record.clone()));
            }
        }
        if let Held::Partial(segments) = entry.held() {
            let own = self.content.file_name();
            self.content.kept |= segments.iter().any(|segment| segment.file == own);
        }
    }
}

impl FileStore {
    /// The message, for whatever looks at its content before the verdict.
    ///
    /// # Errors
    ///
    /// Where a file cannot be opened.
    pub fn read_message(&self, decision: &Decision) -> io::Result<impl io::Read + use<>> {
        let content = &decision.content;
        read_segments(&self.folders.incoming, &content.segments(content.octets()))
    }

    /// Commits the verdict. Once this has returned the final reply may be given.
    ///
    /// # Errors
    ///
    /// [`CommitError::answer`] is then the answer in place of the verdict.
    pub fn commit(&self, decision: Decision, verdict: &Verdict) -> Result<(), CommitError> {
        self.commit_partly(decision, verdict, &Failures::default())
    }

    /// The same for a message that some recipients do not get. Their notification counts, and is
    /// durable, with the commit.
    ///
    /// # Errors
    ///
    /// As for [`commit`](Self::commit).
    pub fn commit_partly(
        &self,
        mut decision: Decision,
        verdict: &Verdict,
        failures: &Failures,
    ) -> Result<(), CommitError> {
        let index = self.lock();
        if !decision.progress.turn(Stage::Committing) {
            drop(index);
            if let Subject::Plain(_) = decision.subject {
                self.drop_content(decision.content);
            }
            return Err(CommitError::Withdrawn);
        }
        decision.catch_up(&index);
        drop(index); // whoever wants to detach now waits
        let trusted = decision.progress.is_trusted().map_err(CommitError::Failed);
        let committed = trusted.and_then(|()| self.commit_files(&mut decision, verdict, failures));
        self.settle(&decision, verdict, &committed);
        match committed {
            Ok(committed) => {
                self.remove_segments(&decision.content, committed.message.as_deref());
                Ok(())
            }
            Err(error) => {
                // Where it is unclear, the content may be a message when the store is opened.
                if let CommitError::Failed(_) = error {
                    self.drop_content(decision.content);
                }
                Err(error)
            }
        }
    }

    /// The files of a commit.
    fn commit_files(
        &self,
        decision: &mut Decision,
        verdict: &Verdict,
        failures: &Failures,
    ) -> Result<Committed, CommitError> {
        let name = decision.name.clone();
        let completed = match &decision.subject {
            Subject::Recorded(_, record) => Some(
                record
                    .complete(verdict)
                    .map_err(|refused| CommitError::Failed(io::Error::other(refused)))?,
            ),
            Subject::Plain(_) => None,
        };
        if !verdict.accepts() {
            // What the client may come back for is the reply, not the message.
            if let Some(record) = &completed {
                let files = text::Files::default();
                let text =
                    text::write_envelope(decision.envelope(), verdict, &[], &files, Some(record));
                self.write_for_good(&self.folders.refused, &name, &text)?;
            }
            return Ok(Committed {
                held: Held::Refused(name),
                completed,
                message: None,
                unreported: false,
            });
        }
        let mut files = text::Files::default();
        if let Some(notification) = &failures.notification {
            let report = self.prepare_report(&name, notification);
            files.report = Some(report.map_err(CommitError::Failed)?);
        }
        let message = self.whole_message(&mut decision.content);
        let message = message.map_err(|error| self.give_up_report(&files, error))?;
        files.content = Some(message.clone());
        let envelope = decision.envelope();
        let text = text::write_envelope(
            envelope,
            verdict,
            &failures.recipients,
            &files,
            completed.as_ref(),
        );
        // The commit: one rename, which makes the message, its completion record and the
        // notification count.
        let file = format!("{name}.envelope");
        self.write_for_good(&self.folders.delivered, &file, &text)
            .map_err(|error| match error {
                CommitError::Failed(error) => self.give_up_report(&files, error),
                error => error,
            })?;
        // If these fail it is done when the record is looked up, or the store opened.
        let _ = self.publish_message(&name, &message);
        let unreported = self.publish_report(&files).is_err();
        Ok(Committed {
            held: Held::Delivered(name),
            completed,
            message: Some(message),
            unreported,
        })
    }

    fn give_up_report(&self, files: &text::Files, error: io::Error) -> CommitError {
        if let Some(report) = &files.report {
            self.disk.remove(&self.folders.incoming.join(report));
        }
        CommitError::Failed(error)
    }

    /// Writes a file that is either there, whole and durable, or not there.
    pub(super) fn write_for_good(
        &self,
        folder: &Path,
        name: &str,
        text: &[u8],
    ) -> Result<(), CommitError> {
        let (unfinished, file) = (
            folder.join(format!("{name}{UNFINISHED}")),
            folder.join(name),
        );
        self.disk
            .prepare(&unfinished, text)
            .and_then(|()| self.disk.rename(&unfinished, &file))
            .map_err(CommitError::Failed)?;
        self.disk.sync_folder(folder).map_err(CommitError::Unclear)
    }

    /// The message in one file, durable: its own segment, or a copy of several.
    fn whole_message(&self, content: &mut Content) -> io::Result<String> {
        let incoming = &self.folders.incoming;
        if content.base.is_empty() {
            content.open(&self.disk)?; // an empty message has no file yet
            content.sync(&self.disk)?;
            return Ok(content.file_name());
        }
        // Segments of older generations may have writers that do not know better: their octets
        // are copied, never the files themselves delivered.
        let name = format!("{}.msg", content.name);
        let copied = self.copy(content, &incoming.join(&name));
        if copied.is_err() {
            self.disk.remove(&incoming.join(&name));
        }
        copied.map(|()| name)
    }

    fn copy(&self, content: &mut Content, path: &Path) -> io::Result<()> {
        let incoming = &self.folders.incoming;
        let file = self.disk.create_new(path)?;
        let mut segments = read_segments(incoming, &content.segments(content.octets()))?;
        if io::copy(&mut segments, &mut &file)? != content.octets() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.disk.sync(path, &file)?;
        self.disk.sync_folder(incoming)
    }

    /// Tells the index, and whoever waits, what became of a decision.
    fn settle(
        &self,
        decision: &Decision,
        verdict: &Verdict,
        committed: &Result<Committed, CommitError>,
    ) {
        let mut index = self.lock();
        decision.progress.state().stage = match committed {
            Ok(_) => Stage::Committed(verdict.replies().to_vec()),
            Err(_) => Stage::Failed,
        };
        if let Subject::Recorded(key, _) = &decision.subject {
            self.settle_record(&mut index, *key, &decision.progress, committed);
        }
        drop(index);
        self.changed.notify_all();
    }

    fn settle_record(
        &self,
        index: &mut Index,
        key: KeyHash,
        progress: &Progress,
        committed: &Result<Committed, CommitError>,
    ) {
        let waiters = stop(index, key, progress);
        let mut answer = AwaitAnswer::Outdated;
        match committed {
            Ok(committed) => {
                let completed = committed.completed.as_ref();
                let owes = completed.is_some_and(|record| record.duty() != Duty::Nothing);
                let held = committed.held.clone();
                let before = index.set_held(key, held, owes || committed.unreported);
                self.remove_held(index, key, &before, committed.message.as_deref());
                index.limiter.finish(key.to_string().as_bytes());
                if let Some(completion) = completed.and_then(completion) {
                    answer = AwaitAnswer::Decided(completion);
                }
            }
            Err(CommitError::Unclear(_)) => {
                index.set_held(key, Held::Unclear, false);
            }
            // What was stored before is still good.
            Err(CommitError::Failed(_) | CommitError::Withdrawn) => {}
        }
        for waiter in waiters {
            waiter(answer.clone());
        }
        index.tidy(key);
    }

    /// Lets a decision know what became of its message since it began: its client may have detached.
    /// By the handle of one that was left to the store, whoever decides can give up.
    pub fn catch_up(&self, decision: &mut Decision) {
        decision.catch_up(&self.lock());
    }

    /// Calls a decision back. True if nothing was or will be delivered of it; a record is then
    /// partial with all its data.
    pub fn withdraw(&self, handle: &DecisionHandle) -> bool {
        let index = self.lock();
        // A message that was left to the store is nobody's to call back.
        let left =
            matches!(handle.subject, Subject::Plain(_)) && handle.progress.adopted().is_some();
        if left || !handle.progress.turn(Stage::Withdrawn) {
            return false;
        }
        let Subject::Recorded(key, record) = &handle.subject else {
            return true;
        };
        let key = *key;
        // It may have been detached since it was begun.
        let running = index.get(key).and_then(|entry| entry.running.as_ref());
        let record = running.map_or(&**record, |running| &running.record);
        let record = record.withdraw();
        drop(index);
        let segments = &handle.segments;
        let prepared = self
            .sync_segments(segments, &handle.progress)
            .and_then(|()| self.prepare_partial(&handle.name, segments, &record));
        let mut index = self.lock();
        let waiters = stop(&mut index, key, &handle.progress);
        let stored = prepared.and_then(|prepared| {
            self.publish_partial(&mut index, key, &prepared, segments.clone(), &record)
        });
        for waiter in waiters {
            waiter(match &stored {
                Ok(()) => AwaitAnswer::Withdrawn,
                Err(_) => AwaitAnswer::Outdated,
            });
        }
        index.tidy(key);
        drop(index);
        self.changed.notify_all();
        true
    }
}

/// Ends a decision, and tells who waits for it.
pub(super) fn stop(index: &mut Index, key: KeyHash, progress: &Progress) -> Vec<Waiter> {
    let Some(entry) = index.get_mut(key) else {
        return Vec::new();
    };
    match &entry.running {
        Some(running) if running.progress.is(progress) => entry
            .running
            .take()
            .map(|running| running.waiters)
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

pub(super) fn completion(record: &Record) -> Option<Completion> {
    match record.state() {
        RecordState::Committed(completion) => Some(completion.clone()),
        RecordState::Partial | RecordState::Processing { .. } => None,
    }
}
