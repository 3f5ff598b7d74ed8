//! What is found out about a message by reading it once, kept so that a restart need not read it
//! again.
//!
//! ```text
//! smtp-checkpoint measure 1
//! file 1073741824 1760000000.123 1760000000.456 2049 131
//! content 1087163597 finished 8bit ascii
//! fingerprint 5f1c...
//! index 434958...
//! sum 77aa...
//! ```
//!
//! The file is known again by its length, its two times, its device and its number, as git does it:
//! whoever writes to it changes one of them. (That is Unix; elsewhere every run measures anew.) One
//! that was changed less than two seconds ago is not kept, for the clock of a file system may be as
//! coarse as that. What is damaged, or of another file, is as if it were not there: it costs a read,
//! and never a wrong octet.

use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use smtp_checkpoint::canonical::{CanonicalForm, CanonicalIndex, IndexBuilder};
use smtp_checkpoint::checkpoint::Content;
use smtp_checkpoint::dot::{ContentChecker, Fault};

const FIRST_LINE: &str = "smtp-checkpoint measure 1";

/// A shorter file is sooner read again.
const WORTH_KEEPING: u64 = 256 * 1024;

/// A change within this time may not show.
const COARSE: Duration = Duration::from_secs(2);

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    pub content: Content,
    pub index: CanonicalIndex,
    /// What SMTP cannot carry: a bare CR, or NUL.
    pub fault: Option<Fault>,
    pub needs_8bit: bool,
    /// The header does.
    pub needs_utf8: bool,
}

impl Measure {
    /// Reads a message whole.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn of(mut stored: impl Read) -> io::Result<Self> {
        let mut digest = Sha256::new();
        let (mut checker, mut builder) = (ContentChecker::new(), IndexBuilder::new());
        let (mut in_header, mut at_line_start) = (true, true);
        let (mut needs_8bit, mut needs_utf8) = (false, false);
        let mut form = CanonicalForm::new();
        let (mut buffer, mut canonical) = (vec![0; 64 * 1024], vec![0; 128 * 1024]);
        loop {
            let count = match stored.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            let mut read = buffer.get(..count).unwrap_or_default();
            if read.is_empty() {
                break;
            }
            builder.update(read);
            // No octet becomes more than two.
            let count = form.convert(&mut read, &mut canonical);
            let piece = canonical.get(..count).unwrap_or_default();
            digest.update(piece);
            checker.check(piece);
            needs_8bit |= !piece.is_ascii();
            if in_header {
                for octet in piece {
                    in_header &= !(at_line_start && *octet == b'\r');
                    at_line_start = *octet == b'\n';
                    needs_utf8 |= in_header && !octet.is_ascii();
                }
            }
        }
        let octets = builder.canonical_length().get();
        Ok(Self {
            content: Content {
                octets,
                unfinished_last_line: octets > 0 && !form.is_after_crlf(),
                fingerprint: digest.finalize().to_vec(),
            },
            index: builder.finish(),
            fault: checker.finish().first(),
            needs_8bit,
            needs_utf8,
        })
    }

    /// Where it is kept, in the folder of the journal.
    #[must_use]
    pub fn path(journal: &Path, file: &Path) -> PathBuf {
        let file = file.canonicalize().unwrap_or_else(|_| file.into());
        let name = Sha256::digest(file.as_os_str().as_encoded_bytes());
        journal.join(format!("{name:x}.measure"))
    }

    /// What was kept of this file, if it is still the file that was measured.
    #[must_use]
    pub fn recall(kept: &Path, metadata: &Metadata) -> Option<Self> {
        Self::read(&fs::read_to_string(kept).ok()?, &identity(metadata)?)
    }

    /// Keeps it for the next run, if the file can be known again. `began` is when it was begun to
    /// be read, `metadata` what the file was then and is still.
    ///
    /// # Errors
    ///
    /// Where it cannot be written; then nothing is lost but time.
    pub fn keep(&self, kept: &Path, metadata: &Metadata, began: SystemTime) -> io::Result<()> {
        let Some(file) = identity(metadata).filter(|_| is_settled(metadata, began)) else {
            return Ok(());
        };
        // One that is refused is not sent, and not restarted.
        if self.fault.is_some() || metadata.len() < WORTH_KEEPING {
            return Ok(());
        }
        let aside = kept.with_extension("measuring");
        fs::write(&aside, self.text(&file))?;
        fs::rename(&aside, kept)
    }

    /// As it is kept, for a file with this identity.
    #[must_use]
    pub fn text(&self, file: &str) -> String {
        let Content {
            octets,
            unfinished_last_line,
            fingerprint,
        } = &self.content;
        let last_line = either(*unfinished_last_line, "unfinished", "finished");
        let body = either(self.needs_8bit, "8bit", "7bit");
        let header = either(self.needs_utf8, "utf8", "ascii");
        let mut text = format!("{FIRST_LINE}\nfile {file}\n");
        // Writing to a string does not fail.
        let _ = writeln!(text, "content {octets} {last_line} {body} {header}");
        let _ = writeln!(text, "fingerprint {}", hex(fingerprint));
        let _ = writeln!(text, "index {}", hex(&self.index.encode()));
        let _ = writeln!(text, "sum {}", hex(&Sha256::digest(&text)));
        text
    }

    /// Reads [`text`](Self::text), if it is of the file with this identity.
    #[must_use]
    pub fn read(text: &str, file: &str) -> Option<Self> {
        let (fields, sum) = text.strip_suffix('\n')?.rsplit_once("sum ")?;
        if from_hex(sum)? != *Sha256::digest(fields) {
            return None;
        }
        let mut lines = fields.lines();
        if lines.next()? != FIRST_LINE || lines.next()?.strip_prefix("file ")? != file {
            return None;
        }
        let mut words = lines.next()?.strip_prefix("content ")?.split(' ');
        let octets = words.next()?.parse().ok()?;
        let unfinished_last_line = words.next()? == "unfinished";
        let (needs_8bit, needs_utf8) = (words.next()? == "8bit", words.next()? == "utf8");
        let fingerprint = from_hex(lines.next()?.strip_prefix("fingerprint ")?)?;
        let index = from_hex(lines.next()?.strip_prefix("index ")?)?;
        Some(Self {
            content: Content {
                octets,
                unfinished_last_line,
                fingerprint,
            },
            index: CanonicalIndex::decode(&index).ok()?,
            fault: None,
            needs_8bit,
            needs_utf8,
        })
    }
}

fn either(one: bool, yes: &'static str, no: &'static str) -> &'static str {
    if one { yes } else { no }
}

/// By what a file is known again.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    Some(format!(
        "{} {}.{} {}.{} {} {}",
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.dev(),
        metadata.ino(),
    ))
}

#[cfg(not(unix))]
fn identity(_metadata: &Metadata) -> Option<String> {
    None
}

/// Whether a change after `began` would show in the times of the file.
#[cfg(unix)]
fn is_settled(metadata: &Metadata, began: SystemTime) -> bool {
    use std::os::unix::fs::MetadataExt;
    let seconds = u64::try_from(metadata.ctime().max(metadata.mtime())).unwrap_or(0);
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    began
        .duration_since(changed)
        .is_ok_and(|since| since > COARSE)
}

#[cfg(not(unix))]
fn is_settled(_metadata: &Metadata, _began: SystemTime) -> bool {
    false
}

fn hex(octets: &[u8]) -> String {
    let mut text = String::with_capacity(2 * octets.len());
    for octet in octets {
        let _ = write!(text, "{octet:02x}");
    }
    text
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(octet).collect()
}
