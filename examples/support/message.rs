//! A message in a file: measured once, read again from any offset.
//!
//! Lines may end in CRLF or LF. What is sent has CRLF and is otherwise the file, octet for octet.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use smtp_checkpoint::checkpoint::Content;
use smtp_checkpoint::dot::{ContentChecker, Fault};

#[derive(Debug)]
pub struct Message {
    file: File,
    /// What the file looked like when it was measured.
    seen: (u64, Option<SystemTime>),
    content: Content,
    /// Every line ends in CRLF already, so that offsets in the file are offsets in the message.
    is_canonical: bool,
    fault: Option<Fault>,
    needs_8bit: bool,
    needs_utf8: bool,
}

impl Message {
    /// Opens a file and reads it once.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let seen = fingerprint_of(&file.metadata()?);
        let mut digest = Sha256::new();
        let mut checker = ContentChecker::new();
        let (mut octets, mut in_header, mut at_line_start) = (0, true, true);
        let (mut needs_8bit, mut needs_utf8) = (false, false);
        let mut canonical = Canonical::new(&file);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = canonical.read(&mut buffer)?;
            let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else {
                break;
            };
            octets += count as u64;
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
        let unfinished_last_line = octets > 0 && !canonical.after_crlf;
        let is_canonical = octets == seen.0;
        Ok(Self {
            seen,
            content: Content {
                octets,
                unfinished_last_line,
                fingerprint: digest.finalize().to_vec(),
            },
            is_canonical,
            fault: checker.finish().first(),
            needs_8bit,
            needs_utf8,
            file,
        })
    }

    /// Size and fingerprint, for the transaction.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// What SMTP cannot carry: a bare CR, or NUL.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Whether an octet has its eighth bit set (RFC 6152).
    #[must_use]
    pub fn needs_8bit(&self) -> bool {
        self.needs_8bit
    }

    /// Whether the header does (RFC 6531).
    #[must_use]
    pub fn needs_utf8(&self) -> bool {
        self.needs_utf8
    }

    /// The message from `start` on. A file with LF alone is read from its beginning for that: to
    /// know where octet `start` is, somebody has to count the lines.
    ///
    /// The last read fails if the file was changed meanwhile: what has been sent is then neither
    /// the old message nor the new one, and must not be ended as if it were whole.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read.
    pub fn read_from(&self, start: u64) -> io::Result<impl Read + use<>> {
        let mut file = self.file.try_clone()?;
        let (seen, watched) = (self.seen, self.file.try_clone()?);
        let skip = if self.is_canonical { 0 } else { start };
        file.seek(SeekFrom::Start(start - skip))?;
        let mut canonical = Canonical::new(file);
        io::copy(&mut (&mut canonical).take(skip), &mut io::sink())?;
        // An LF at the very start of what is left belongs to the CR before it.
        canonical.after_cr |= self.is_canonical && start > 0;
        Ok(Watched {
            canonical,
            file: watched,
            seen,
        })
    }
}

fn fingerprint_of(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

/// Turns LF without CR into CRLF.
struct Canonical<R> {
    inner: BufReader<R>,
    after_cr: bool,
    after_crlf: bool,
}

impl<R: Read> Canonical<R> {
    fn new(inner: R) -> Self {
        Self {
            inner: BufReader::with_capacity(64 * 1024, inner),
            after_cr: false,
            after_crlf: false,
        }
    }
}

impl<R: Read> Read for Canonical<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = self.inner.fill_buf()?;
        let (mut read, mut written) = (0, 0);
        while let (Some(&octet), Some(slot)) = (input.get(read), buffer.get_mut(written)) {
            if octet == b'\n' && !self.after_cr {
                *slot = b'\r';
                self.after_cr = true; // the LF itself comes next
            } else {
                *slot = octet;
                read += 1;
                self.after_crlf = octet == b'\n';
                self.after_cr = octet == b'\r';
            }
            written += 1;
        }
        self.inner.consume(read);
        Ok(written)
    }
}

struct Watched<R> {
    canonical: Canonical<R>,
    file: File,
    seen: (u64, Option<SystemTime>),
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.canonical.read(buffer)?;
        if count == 0 && fingerprint_of(&self.file.metadata()?) != self.seen {
            return Err(io::Error::other("the file was changed while it was sent"));
        }
        Ok(count)
    }
}
