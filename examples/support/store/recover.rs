//! Opening the store: what a crash left half done is finished or removed.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Condvar, Mutex};
use std::time::SystemTime;

use smtp_checkpoint::checkpoint::{Duty, Generation};

use super::disk::{Disk, UNFINISHED};
use super::index::{Held, Index};
use super::names::{KeyHash, OwnerHash, partial_name, read_message_name, read_partial_name};
use super::{FileStore, Folders, Settings, text};

impl FileStore {
    /// Opens the store in a directory, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// Where the directory cannot be read or written.
    pub fn open(directory: &Path, settings: Settings) -> io::Result<Self> {
        Self::open_on(Disk::default(), directory, settings)
    }

    /// The same on a disk of the caller's.
    ///
    /// # Errors
    ///
    /// Where the directory cannot be read or written.
    pub fn open_on(disk: Disk, directory: &Path, settings: Settings) -> io::Result<Self> {
        let folder = |name: &str| -> io::Result<_> {
            let folder = directory.join(name);
            fs::create_dir_all(&folder)?;
            Ok(folder)
        };
        let store = Self {
            folders: Folders {
                root: directory.into(),
                incoming: folder("incoming")?,
                partial: folder("partial")?,
                delivered: folder("delivered")?,
                refused: folder("refused")?,
                dsn: folder("dsn")?,
            },
            disk,
            index: Mutex::new(Index::new(settings.detached)),
            settings,
            changed: Condvar::new(),
            plain_messages: AtomicU64::new(0),
        };
        store.disk.sync_folder(directory)?;
        store.recover()?;
        Ok(store)
    }

    fn recover(&self) -> io::Result<()> {
        let folders = &self.folders;
        let mut index = self.lock();
        for name in names(&folders.delivered)? {
            if let Some(name) = name.strip_suffix(".envelope") {
                self.finish_delivery(name)?;
                let file = folders.delivered.join(format!("{name}.envelope"));
                self.find_completion(&mut index, name, &file, Held::Delivered(name.into()))?;
            } else if name.ends_with(UNFINISHED) {
                self.disk.remove(&folders.delivered.join(name));
            }
        }
        for name in names(&folders.refused)? {
            let file = folders.refused.join(&name);
            if name.ends_with(UNFINISHED) {
                self.disk.remove(&file);
            } else {
                self.publish_report(&text::read_files(&fs::read(&file)?))?;
                self.find_completion(&mut index, &name, &file, Held::Refused(name.clone()))?;
            }
        }
        for name in names(&folders.dsn)? {
            if name.ends_with(UNFINISHED) {
                self.disk.remove(&folders.dsn.join(name));
            }
        }
        let mut unclaimed: HashSet<String> = names(&folders.incoming)?.into_iter().collect();
        for file in &unclaimed {
            let name = file.rsplit_once('.').map_or("", |(name, _)| name);
            if let Some((_, _, generation)) = read_message_name(name) {
                index.saw_generation(generation);
            }
        }
        for name in names(&folders.partial)? {
            if name.ends_with(UNFINISHED) {
                self.disk.remove(&folders.partial.join(name));
            } else if let Some((key, owner)) = read_partial_name(&name) {
                self.find_partial(&mut index, key, owner, &mut unclaimed)?;
            }
        }
        self.recover_limiter(&mut index);
        drop(index);
        for file in unclaimed {
            self.disk.remove(&folders.incoming.join(file));
        }
        // What was found here may not have been durable when the crash came: now it is.
        for folder in [
            &folders.incoming,
            &folders.partial,
            &folders.delivered,
            &folders.refused,
            &folders.dsn,
        ] {
            self.disk.sync_folder(folder)?;
        }
        Ok(())
    }

    /// A file that may hold a completion record.
    fn find_completion(
        &self,
        index: &mut Index,
        name: &str,
        file: &Path,
        held: Held,
    ) -> io::Result<()> {
        let Some((key, owner, generation)) = read_message_name(name) else {
            return Ok(()); // of a transaction without a TRANSID
        };
        index.saw_generation(generation);
        // One that cannot be read is found to be so when it is asked for.
        let record = text::read_record(&fs::read(file)?);
        let owes = record.is_ok_and(|record| record.duty() != Duty::Nothing);
        let since = modified(file);
        let age = SystemTime::now().duration_since(since).unwrap_or_default();
        let entry = index.enter(key, owner);
        if (owes || age <= self.settings.retention) && entry.generation <= generation {
            entry.generation = generation;
            index.set_held(key, held, owes);
            if let Some(entry) = index.get_mut(key) {
                entry.since = since;
            }
        }
        index.tidy(key);
        Ok(())
    }

    /// A partial record. Its segments are taken out of `unclaimed`.
    fn find_partial(
        &self,
        index: &mut Index,
        key: KeyHash,
        owner: OwnerHash,
        unclaimed: &mut HashSet<String>,
    ) -> io::Result<()> {
        let file = self.folders.partial.join(partial_name(key, owner));
        let text = fs::read(&file)?;
        let (held, generation, owes) = match text::read_partial(&text) {
            Ok((segments, record)) => {
                index.saw_generation(record.generation());
                let committed = index
                    .get(key)
                    .is_some_and(|entry| entry.generation >= record.generation());
                if committed {
                    // The crash came between the commit and the removal of this.
                    self.disk.remove(&file);
                    return Ok(());
                }
                for segment in &segments {
                    unclaimed.remove(&segment.file);
                }
                let owes = record.duty() != Duty::Nothing;
                (Held::Partial(segments), record.generation(), owes)
            }
            Err(text::Unreadable) => {
                // Kept with all that may belong to it, for somebody to look at.
                unclaimed.retain(|file| !file.starts_with(&key.to_string()));
                for file in text::named_files(&text) {
                    unclaimed.remove(&file);
                }
                (Held::Unclear, Generation(0), false)
            }
        };
        let entry = index.enter(key, owner);
        entry.generation = entry.generation.max(generation);
        index.set_held(key, held, owes);
        if let Some(entry) = index.get_mut(key) {
            entry.since = modified(&file);
        }
        Ok(())
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn modified(file: &Path) -> SystemTime {
    file.metadata()
        .and_then(|found| found.modified())
        .unwrap_or_else(|_| SystemTime::now())
}
