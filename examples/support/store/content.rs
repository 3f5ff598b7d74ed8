//! The content of one message on its way in.
//!
//! Each generation of a key writes a segment of its own, so that a session which does not know yet
//! that it has been superseded spoils nothing: what it still writes is in a file that nobody reads
//! beyond the length that was synced when the record was stored.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::disk::Disk;

/// Octets at the start of a file, as part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub file: String,
    pub octets: u64,
}

/// The right to write the content of one transaction, from where it stood at the claim.
#[derive(Debug)]
pub struct Content {
    folder: PathBuf,
    /// What earlier generations left.
    pub(super) base: Vec<Segment>,
    /// The name of the message, and of the file for what comes now.
    pub(super) name: String,
    /// There from the first octet on.
    pub(super) file: Option<Arc<File>>,
    pub(super) written: u64,
    /// A write or a sync failed: no later one is trusted.
    failed: bool,
    /// A stored record counts on the segment.
    pub(super) kept: bool,
}

impl Content {
    pub(super) fn new(folder: &Path, name: String, base: Vec<Segment>) -> Self {
        Self {
            folder: folder.into(),
            base,
            name,
            file: None,
            written: 0,
            failed: false,
            kept: false,
        }
    }

    /// Octets of the message so far, those of earlier generations included.
    pub fn octets(&self) -> u64 {
        self.base.iter().map(|segment| segment.octets).sum::<u64>() + self.written
    }

    pub(super) fn file_name(&self) -> String {
        segment_file(&self.name)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(self.file_name())
    }

    /// Appends octets. They are not durable before [`sync`](Self::sync).
    pub(super) fn append(&mut self, disk: &Disk, start: u64, octets: &[Bytes]) -> io::Result<()> {
        // Never a hole, never twice.
        if self.failed || start != self.octets() {
            return Err(io::Error::other("content out of place"));
        }
        let appended = self.open(disk).and_then(|file| {
            let mut written = 0;
            for slice in octets {
                disk.write(&self.path(), &file, slice)?;
                written += slice.len() as u64;
            }
            Ok(written)
        });
        match appended {
            Ok(written) => self.written += written,
            Err(_) => self.failed = true,
        }
        appended.map(drop)
    }

    pub(super) fn open(&mut self, disk: &Disk) -> io::Result<Arc<File>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(disk.create_new(&self.path())?);
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Makes everything appended so far durable. Once this has failed it fails for ever: the
    /// system may have thrown the octets away, and would report the next sync as a success.
    pub(super) fn sync(&mut self, disk: &Disk) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier write failed"));
        }
        let Some(file) = &self.file else {
            return Ok(());
        };
        let synced = disk
            .sync(&self.path(), file)
            .and_then(|()| disk.sync_folder(&self.folder));
        self.failed = synced.is_err();
        synced
    }

    /// Where the first `length` octets of the message are.
    pub(super) fn segments(&self, length: u64) -> Vec<Segment> {
        let own = Segment {
            file: self.file_name(),
            octets: self.written,
        };
        let mut left = length;
        let mut segments = Vec::new();
        for segment in self.base.iter().chain([&own]) {
            let octets = segment.octets.min(left);
            if octets > 0 {
                let file = segment.file.clone();
                segments.push(Segment { file, octets });
                left -= octets;
            }
        }
        segments
    }
}

pub fn segment_file(name: &str) -> String {
    format!("{name}.seg")
}

/// Reads the octets of these segments, one behind the other.
pub fn read_segments(folder: &Path, segments: &[Segment]) -> io::Result<impl Read + use<>> {
    let mut whole: Box<dyn Read> = Box::new(io::empty());
    for segment in segments {
        let file = File::open(folder.join(&segment.file))?;
        whole = Box::new(whole.chain(file.take(segment.octets)));
    }
    Ok(whole)
}

/// Whether all octets are still there.
pub fn are_there(folder: &Path, segments: &[Segment]) -> bool {
    segments.iter().all(|segment| {
        let found = folder.join(&segment.file).metadata();
        found.is_ok_and(|found| found.len() >= segment.octets)
    })
}
