//! The few file operations that durability is made of, in one place: so that they can be counted,
//! and so that tests can pull the plug between any two of them, or watch each of them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A file whose name ends so was being written when it was last seen.
pub const UNFINISHED: &str = ".tmp";

/// What is about to be done.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    Create(&'a Path),
    Write(&'a Path),
    Sync(&'a Path),
    SyncFolder(&'a Path),
    Rename(&'a Path, &'a Path),
    Remove(&'a Path),
}

/// Looks at each operation before it is done. Where it fails, nothing is done.
pub type Watch = Box<dyn Fn(Operation<'_>) -> io::Result<()> + Send + Sync>;

pub struct Disk {
    steps: AtomicU64,
    /// The step from which on everything fails.
    plug_pulled_at: AtomicU64,
    /// The one step that fails, as a full or a dying disk would have it.
    failing: AtomicU64,
    syncs: AtomicU64,
    writes: AtomicU64,
    watch: Option<Watch>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            steps: AtomicU64::new(0),
            plug_pulled_at: AtomicU64::new(u64::MAX),
            failing: AtomicU64::new(u64::MAX),
            syncs: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            watch: None,
        }
    }
}

impl Disk {
    /// For tests: a disk that is watched.
    pub fn watched(watch: Watch) -> Self {
        Self {
            watch: Some(watch),
            ..Self::default()
        }
    }

    /// For tests: lets `steps` more operations through and no other, as a power failure would.
    pub fn pull_plug_after(&self, steps: u64) {
        self.plug_pulled_at
            .store(self.steps.load(Relaxed) + steps, Relaxed);
    }

    /// For tests: lets `steps` more operations through, and fails the next one only.
    pub fn fail_once_after(&self, steps: u64) {
        self.failing
            .store(self.steps.load(Relaxed) + steps, Relaxed);
    }

    /// Operations so far.
    pub fn steps(&self) -> u64 {
        self.steps.load(Relaxed)
    }

    /// Syncs, of files and directories, so far.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Relaxed)
    }

    /// Writes so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Relaxed)
    }

    fn step(&self, operation: Operation<'_>) -> io::Result<()> {
        let step = self.steps.fetch_add(1, Relaxed);
        if step >= self.plug_pulled_at.load(Relaxed) {
            return Err(io::Error::other("the plug is pulled"));
        }
        if step == self.failing.load(Relaxed) {
            return Err(io::Error::other("the disk is failing"));
        }
        match &self.watch {
            Some(watch) => watch(operation),
            None => Ok(()),
        }
    }

    /// A file that was not there before.
    pub fn create_new(&self, path: &Path) -> io::Result<File> {
        self.step(Operation::Create(path))?;
        File::create_new(path)
    }

    pub fn write(&self, path: &Path, mut file: &File, octets: &[u8]) -> io::Result<()> {
        self.step(Operation::Write(path))?;
        self.writes.fetch_add(1, Relaxed);
        file.write_all(octets)
    }

    pub fn sync(&self, path: &Path, file: &File) -> io::Result<()> {
        self.step(Operation::Sync(path))?;
        self.syncs.fetch_add(1, Relaxed);
        match self.watch {
            None => file.sync_all(),
            Some(_) => Ok(()), // whoever watches decides what a crash leaves
        }
    }

    /// A new name in a directory is durable only once the directory is synced.
    pub fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(Operation::SyncFolder(folder))?;
        self.syncs.fetch_add(1, Relaxed);
        match self.watch {
            None => File::open(folder)?.sync_all(),
            Some(_) => Ok(()),
        }
    }

    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Operation::Rename(from, to))?;
        fs::rename(from, to)
    }

    /// Removes what is of no use any more. That is never urgent, never synced and may fail: what
    /// is left over is found again when the store is opened.
    pub fn remove(&self, path: &Path) {
        if self.step(Operation::Remove(path)).is_ok() {
            let _ = fs::remove_file(path);
        }
    }

    /// Removes what must not be found again; durable once its directory is synced.
    pub fn remove_now(&self, path: &Path) -> io::Result<()> {
        self.step(Operation::Remove(path))?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes and syncs a small file under a name that does not count yet: rename it to make it
    /// count, in one step, so that a reader finds all of it or nothing.
    pub fn prepare(&self, path: &Path, octets: &[u8]) -> io::Result<()> {
        self.step(Operation::Create(path))?;
        let file = File::create(path)?;
        self.write(path, &file, octets)?;
        self.sync(path, &file)
    }
}
