//! Decisions on whole messages, and their commit.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use smtp_checkpoint::checkpoint::{Completion, Record, RecordState, Verdict};
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::reply::standard;
use smtp_checkpoint::server::{AwaitAnswer, EndOfDataAnswer};
use thiserror::Error;

use super::content::{Content, Segment, read_segments};
use super::disk::UNFINISHED;
use super::index::{Held, Index, Running, Waiter};
use super::names::KeyHash;
use super::{FileStore, text};

/// Where a decision stands. It is committed or withdrawn, never both: whoever comes first.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicU8>);

const OPEN: u8 = 0;
const COMMITTING: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Progress {
    fn turn(&self, into: u8) -> bool {
        self.0.compare_exchange(OPEN, into, SeqCst, SeqCst).is_ok()
    }
}

/// A decision under way. It belongs to the record, not to the session that began it, and may be
/// sent to any thread.
#[derive(Debug)]
pub struct Decision {
    pub(super) subject: Subject,
    pub(super) content: Content,
    progress: Progress,
}

/// What is being decided on.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    Recorded(KeyHash, Box<Record>),
    /// A transaction without a record: nobody but its session knows of it.
    Plain(Envelope),
}

/// What is needed to call a decision back.
#[derive(Debug)]
pub struct Withdrawal {
    progress: Progress,
    recorded: Option<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    key: KeyHash,
    record: Box<Record>,
    name: String,
    segments: Vec<Segment>,
}

/// What a commit made.
struct Committed {
    held: Held,
    completion: Option<Completion>,
    /// The file in `incoming` that became the message.
    message: Option<String>,
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
    /// What to answer the session.
    #[must_use]
    pub fn answer(&self) -> EndOfDataAnswer {
        match self {
            Self::Failed(_) => EndOfDataAnswer::Decided(standard::LOCAL_ERROR.into()),
            // A final reply of either kind could be wrong. 421 promises nothing, and the client
            // learns the truth by a restart.
            Self::Withdrawn | Self::Unclear(_) => EndOfDataAnswer::Outdated,
        }
    }
}

impl Decision {
    pub(super) fn new(subject: Subject, content: Content) -> Self {
        Self {
            subject,
            content,
            progress: Progress::default(),
        }
    }

    pub(super) fn running(&self, record: &Record) -> Running {
        Running {
            record: record.clone(),
            progress: self.progress.clone(),
            waiters: Vec::new(),
        }
    }

    /// Who sent the message and whom it is for.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        match &self.subject {
            Subject::Recorded(_, record) => record.envelope(),
            Subject::Plain(envelope) => envelope,
        }
    }

    /// What calls this decision back as long as it is not being committed.
    #[must_use]
    pub fn withdrawal(&self) -> Withdrawal {
        Withdrawal {
            progress: self.progress.clone(),
            recorded: match &self.subject {
                Subject::Plain(_) => None,
                Subject::Recorded(key, record) => Some(Recorded {
                    key: *key,
                    record: record.clone(),
                    name: self.content.name.clone(),
                    segments: self.content.segments(record.length().get()),
                }),
            },
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
    pub fn commit(&self, mut decision: Decision, verdict: &Verdict) -> Result<(), CommitError> {
        if !decision.progress.turn(COMMITTING) {
            if let Subject::Plain(_) = decision.subject {
                self.drop_content(decision.content);
            }
            return Err(CommitError::Withdrawn);
        }
        let committed = self.commit_files(&mut decision, verdict);
        if let Subject::Recorded(key, _) = &decision.subject {
            self.settle(*key, &decision.progress, &committed);
        }
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
    ) -> Result<Committed, CommitError> {
        let name = decision.content.name.clone();
        let completed = match &decision.subject {
            Subject::Recorded(_, record) => Some(
                record
                    .complete(verdict)
                    .map_err(|refused| CommitError::Failed(io::Error::other(refused)))?,
            ),
            Subject::Plain(_) => None,
        };
        let completion = completed.as_ref().and_then(completion);
        if !verdict.accepts() {
            // What the client may come back for is the reply, not the message.
            if let Some(record) = &completed {
                let text = text::write_envelope(decision.envelope(), verdict, "-", Some(record));
                self.write_for_good(&self.folders.refused, &name, &text)?;
            }
            return Ok(Committed {
                held: Held::Refused(name),
                completion,
                message: None,
            });
        }
        let message = self
            .whole_message(&mut decision.content)
            .map_err(CommitError::Failed)?;
        let text = text::write_envelope(decision.envelope(), verdict, &message, completed.as_ref());
        // The commit: one rename, which makes the message and its completion record count.
        self.write_for_good(&self.folders.delivered, &format!("{name}.envelope"), &text)?;
        // If this fails it is done when the record is looked up, or the store opened.
        let _ = self.publish_message(&name, &message);
        Ok(Committed {
            held: Held::Delivered(name),
            completion,
            message: Some(message),
        })
    }

    /// Writes a file that is either there, whole and durable, or not there.
    fn write_for_good(&self, folder: &Path, name: &str, text: &[u8]) -> Result<(), CommitError> {
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

    /// Tells the index, and whoever waits, what became of a decision with a record.
    fn settle(
        &self,
        key: KeyHash,
        progress: &Progress,
        committed: &Result<Committed, CommitError>,
    ) {
        let mut index = self.lock();
        let waiters = stop(&mut index, key, progress);
        let mut answer = AwaitAnswer::Outdated;
        match committed {
            Ok(committed) => {
                let before = index.set_held(key, committed.held.clone());
                self.remove_held(&index, key, &before, committed.message.as_deref());
                if let Some(completion) = &committed.completion {
                    answer = AwaitAnswer::Decided(completion.clone());
                }
            }
            Err(CommitError::Unclear(_)) => {
                index.set_held(key, Held::Unclear);
            }
            // What was stored before is still good.
            Err(CommitError::Failed(_) | CommitError::Withdrawn) => {}
        }
        for waiter in waiters {
            waiter(answer.clone());
        }
        index.tidy(key);
    }

    /// Calls a decision back. True if nothing was or will be delivered of it; a record is then
    /// partial with all its data.
    pub fn withdraw(&self, withdrawal: &Withdrawal) -> bool {
        if !withdrawal.progress.turn(WITHDRAWN) {
            return false;
        }
        let Some(recorded) = &withdrawal.recorded else {
            return true;
        };
        let (key, record) = (recorded.key, recorded.record.withdraw());
        let prepared = self
            .sync_segments(&recorded.segments)
            .and_then(|()| self.prepare_partial(&recorded.name, &recorded.segments, &record));
        let mut index = self.lock();
        let waiters = stop(&mut index, key, &withdrawal.progress);
        let stored = prepared.and_then(|prepared| {
            self.publish_partial(&mut index, key, &prepared, recorded.segments.clone())
        });
        for waiter in waiters {
            waiter(match &stored {
                Ok(()) => AwaitAnswer::Withdrawn,
                Err(_) => AwaitAnswer::Outdated,
            });
        }
        index.tidy(key);
        true
    }
}

/// Ends a decision, and tells who waits for it.
fn stop(index: &mut Index, key: KeyHash, progress: &Progress) -> Vec<Waiter> {
    let Some(entry) = index.get_mut(key) else {
        return Vec::new();
    };
    match &entry.running {
        Some(running) if Arc::ptr_eq(&running.progress.0, &progress.0) => entry
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
