//! A disk that fails and forgets, for stores of plain files.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::random::Random;
use crate::store::{Trouble, Unsynced};

/// What a store is about to do to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileOperation<'a> {
    /// A file gets a name and is empty.
    Create(&'a Path),
    /// Octets are appended.
    Write(&'a Path),
    /// `fsync` of a file: its octets are durable, its name is not.
    Sync(&'a Path),
    /// `fsync` of a directory: the names in it are durable.
    SyncFolder(&'a Path),
    /// A file changes its name, and replaces what had it.
    Rename(&'a Path, &'a Path),
    /// A name goes away.
    Remove(&'a Path),
}

/// Watches the file operations of a store, makes them fail, and takes back in a crash what was not
/// synced: octets of files, and names in directories.
///
/// Your store tells it of each operation [before](Self::before) it does it, in real files of a real
/// directory. Copies of it are the same disk.
///
/// Files are only ever appended to, and are in directories that stay. What a crash leaves of names
/// is what was done to them up to some point, as with a journalling file system.
///
/// ```
/// use std::fs::{self, File};
/// use smtp_checkpoint_testkit::{FaultyDisk, FileOperation as Op, Unsynced};
///
/// let folder = std::env::temp_dir().join(format!("faulty-disk-{}", std::process::id()));
/// fs::create_dir_all(&folder)?;
/// let disk = FaultyDisk::new();
/// let (draft, message) = (folder.join("draft"), folder.join("message"));
/// disk.before(Op::Create(&draft))?;
/// let file = File::create(&draft)?;
/// disk.before(Op::Sync(&draft))?;
/// file.sync_all()?;
/// disk.before(Op::SyncFolder(&folder))?; // from here on `draft` is there
/// disk.before(Op::Rename(&draft, &message))?;
/// fs::rename(&draft, &message)?;
/// // The power fails before the directory is synced again.
/// disk.restart(Unsynced::Lost)?;
/// assert!(draft.exists() && !message.exists());
/// # fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct FaultyDisk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    steps: u64,
    trouble: Option<(u64, Trouble)>,
    full: bool,
    off: bool,
    /// Octets that are durable, of files that are not durable as a whole.
    synced: BTreeMap<PathBuf, u64>,
    /// What was done to names and is not durable, the oldest first.
    names: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Created(PathBuf),
    Renamed(PathBuf, PathBuf, Option<Gone>),
    Removed(PathBuf, Gone),
}

/// A file that has lost its name, and may get it back.
#[derive(Debug)]
struct Gone {
    octets: Vec<u8>,
    synced: Option<u64>,
}

impl FaultyDisk {
    /// A disk on which nothing goes wrong.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called before each operation.
    ///
    /// # Errors
    ///
    /// The operation fails and must not be done.
    pub fn before(&self, operation: FileOperation<'_>) -> io::Result<()> {
        self.lock().before(operation)
    }

    /// Whether the power has failed: all that is not a [`restart`](Self::restart) fails.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.lock().off
    }

    /// Operations so far, for [`Store::steps`](crate::Store::steps).
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// For [`Store::trouble_at`](crate::Store::trouble_at).
    pub fn trouble_at(&self, step: u64, trouble: Trouble) {
        self.lock().trouble = Some((step, trouble));
    }

    /// For [`Store::end_of_trouble`](crate::Store::end_of_trouble).
    pub fn end_of_trouble(&self) {
        let mut inner = self.lock();
        (inner.trouble, inner.full) = (None, false);
    }

    /// The process has died; the power is on again. For [`Store::restart`](crate::Store::restart).
    ///
    /// # Errors
    ///
    /// Where the real directory cannot be changed.
    pub fn restart(&self, unsynced: Unsynced) -> io::Result<()> {
        self.lock().restart(unsynced)
    }
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |found| found.len())
}

fn in_folder(path: &Path, folder: &Path) -> bool {
    path.parent() == Some(folder)
}

impl Inner {
    fn before(&mut self, operation: FileOperation<'_>) -> io::Result<()> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        let number = self.steps;
        self.steps += 1;
        if let Some((_, trouble)) = self.trouble.filter(|(at, _)| *at == number) {
            self.trouble = None;
            match trouble {
                Trouble::PowerCut => {
                    self.off = true;
                    return Err(io::Error::other("the power fails"));
                }
                Trouble::Fails => {
                    if let FileOperation::Sync(path) = operation {
                        self.lose_octets(path)?;
                    }
                    return Err(io::Error::other("the disk is failing"));
                }
                Trouble::Full => self.full = true,
            }
        }
        let needs_room = matches!(
            operation,
            FileOperation::Create(_) | FileOperation::Write(_)
        );
        if self.full && needs_room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.note(operation)
    }

    /// A failed sync: the system has thrown away what it could not write.
    fn lose_octets(&mut self, path: &Path) -> io::Result<()> {
        let synced = self.synced.get(path).copied().unwrap_or_else(|| size(path));
        let mut octets = fs::read(path)?;
        let synced = usize::try_from(synced)
            .unwrap_or(usize::MAX)
            .min(octets.len());
        octets[synced..].fill(0);
        fs::write(path, octets)
    }

    fn note(&mut self, operation: FileOperation<'_>) -> io::Result<()> {
        match operation {
            FileOperation::Create(path) => {
                if !path.exists() {
                    self.names.push(Change::Created(path.into()));
                }
                self.synced.insert(path.into(), 0);
            }
            FileOperation::Write(path) => {
                self.synced.entry(path.into()).or_insert_with(|| size(path));
            }
            FileOperation::Sync(path) => {
                self.synced.insert(path.into(), size(path));
            }
            FileOperation::SyncFolder(folder) => self.names.retain(|change| match change {
                Change::Created(path) | Change::Removed(path, _) => !in_folder(path, folder),
                Change::Renamed(_, to, _) => !in_folder(to, folder),
            }),
            FileOperation::Rename(from, to) => {
                let replaced = self.take(to)?;
                if let Some(synced) = self.synced.remove(from) {
                    self.synced.insert(to.into(), synced);
                }
                self.names
                    .push(Change::Renamed(from.into(), to.into(), replaced));
            }
            FileOperation::Remove(path) => {
                if let Some(gone) = self.take(path)? {
                    self.names.push(Change::Removed(path.into(), gone));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &Path) -> io::Result<Option<Gone>> {
        if !path.is_file() {
            return Ok(None);
        }
        Ok(Some(Gone {
            octets: fs::read(path)?,
            synced: self.synced.remove(path),
        }))
    }

    fn put_back(&mut self, path: PathBuf, gone: Gone) -> io::Result<()> {
        fs::write(&path, gone.octets)?;
        if let Some(synced) = gone.synced {
            self.synced.insert(path, synced);
        }
        Ok(())
    }

    fn restart(&mut self, unsynced: Unsynced) -> io::Result<()> {
        (self.off, self.full, self.trouble) = (false, false, None);
        let names = std::mem::take(&mut self.names);
        let (mut random, kept) = match unsynced {
            Unsynced::Kept => {
                self.synced.clear();
                return Ok(());
            }
            Unsynced::Lost => (None, 0),
            Unsynced::Torn(seed) => {
                let mut random = Random::new(seed);
                let kept = random.index(names.len() + 1);
                (Some(random), kept)
            }
        };
        for change in names.into_iter().skip(kept).rev() {
            self.undo(change)?;
        }
        for (path, synced) in std::mem::take(&mut self.synced) {
            let loose = size(&path).saturating_sub(synced);
            let left = random.as_mut().map_or(0, |random| random.below(loose + 1));
            if path.is_file() {
                let file = OpenOptions::new().write(true).open(&path)?;
                file.set_len(synced + left)?;
            }
        }
        Ok(())
    }

    fn undo(&mut self, change: Change) -> io::Result<()> {
        match change {
            Change::Created(path) => {
                self.synced.remove(&path);
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }
            }
            Change::Renamed(from, to, replaced) => {
                if to.is_file() {
                    fs::rename(&to, &from)?;
                }
                if let Some(synced) = self.synced.remove(&to) {
                    self.synced.insert(from, synced);
                }
                match replaced {
                    Some(gone) => self.put_back(to, gone),
                    None => Ok(()),
                }
            }
            Change::Removed(path, gone) => self.put_back(path, gone),
        }
    }
}
