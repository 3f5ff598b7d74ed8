//! The few file operations that durability is made of, in one place: so that they can be counted,
//! and so that tests can pull the plug between any two of them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A file whose name ends so was being written when it was last seen.
pub const UNFINISHED: &str = ".tmp";

#[derive(Debug)]
pub struct Disk {
    steps: AtomicU64,
    /// The step from which on everything fails.
    plug_pulled_at: AtomicU64,
    /// The one step that fails, as a full or a dying disk would have it.
    failing: AtomicU64,
    syncs: AtomicU64,
    writes: AtomicU64,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            steps: AtomicU64::new(0),
            plug_pulled_at: AtomicU64::new(u64::MAX),
            failing: AtomicU64::new(u64::MAX),
            syncs: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        }
    }
}

impl Disk {
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

    fn step(&self) -> io::Result<()> {
        let step = self.steps.fetch_add(1, Relaxed);
        if step >= self.plug_pulled_at.load(Relaxed) {
            return Err(io::Error::other("the plug is pulled"));
        }
        if step == self.failing.load(Relaxed) {
            return Err(io::Error::other("the disk is failing"));
        }
        Ok(())
    }

    /// A file that was not there before.
    pub fn create_new(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        File::create_new(path)
    }

    pub fn write(&self, mut file: &File, octets: &[u8]) -> io::Result<()> {
        self.step()?;
        self.writes.fetch_add(1, Relaxed);
        file.write_all(octets)
    }

    pub fn sync(&self, file: &File) -> io::Result<()> {
        self.step()?;
        self.syncs.fetch_add(1, Relaxed);
        file.sync_all()
    }

    /// A new name in a directory is durable only once the directory is synced.
    pub fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        self.syncs.fetch_add(1, Relaxed);
        File::open(folder)?.sync_all()
    }

    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        fs::rename(from, to)
    }

    /// Removes what is of no use any more. That is never urgent, never synced and may fail: what
    /// is left over is found again when the store is opened.
    pub fn remove(&self, path: &Path) {
        if self.step().is_ok() {
            let _ = fs::remove_file(path);
        }
    }

    /// Removes what must not be found again; durable once its directory is synced.
    pub fn remove_now(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes and syncs a small file under a name that does not count yet: rename it to make it
    /// count, in one step, so that a reader finds all of it or nothing.
    pub fn prepare(&self, path: &Path, octets: &[u8]) -> io::Result<()> {
        self.step()?;
        let file = File::create(path)?;
        self.write(&file, octets)?;
        self.sync(&file)
    }
}
