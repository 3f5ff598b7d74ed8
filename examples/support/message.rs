//! A message in a file: measured once, read again from any offset.
//!
//! Lines may end in CRLF or LF. What is sent has CRLF and is otherwise the file, octet for octet.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

use smtp_checkpoint::canonical::{CanonicalForm, CanonicalIndex, SeekError};
use smtp_checkpoint::checkpoint::Content;
use smtp_checkpoint::dot::Fault;

use super::measure::Measure;

#[derive(Debug)]
pub struct Message {
    file: File,
    /// What the file looked like when it was opened.
    seen: Seen,
    measure: Measure,
}

type Seen = (u64, Option<SystemTime>);

impl Message {
    /// Opens a file and reads it once.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_keeping(path, None)
    }

    /// Opens a file and reads it once, or not even that where an earlier run has kept in `kept`
    /// what there is to know.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn open_keeping(path: &Path, kept: Option<&Path>) -> io::Result<Self> {
        let (file, began) = (File::open(path)?, SystemTime::now());
        let metadata = file.metadata()?;
        let recalled = kept.and_then(|kept| Measure::recall(kept, &metadata));
        let measure = match recalled {
            Some(measure) => measure,
            None => {
                let measure = Measure::of(&file)?;
                if let Some(kept) = kept {
                    // Without it the next run reads the file once more, and that is all.
                    let _ = measure.keep(kept, &metadata, began);
                }
                measure
            }
        };
        Ok(Self {
            seen: seen(&metadata),
            measure,
            file,
        })
    }

    /// Size and fingerprint, for the transaction.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.measure.content
    }

    /// What SMTP cannot carry: a bare CR, or NUL.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.measure.fault
    }

    /// Whether an octet has its eighth bit set (RFC 6152).
    #[must_use]
    pub fn needs_8bit(&self) -> bool {
        self.measure.needs_8bit
    }

    /// Whether the header does (RFC 6531).
    #[must_use]
    pub fn needs_utf8(&self) -> bool {
        self.measure.needs_utf8
    }

    /// The message from `start` on. Of what is before it at most 64 KiB are read, whatever the
    /// line ends are.
    ///
    /// The last read fails if the file was changed meanwhile: what has been sent is then neither
    /// the old message nor the new one, and must not be ended as if it were whole.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, or is seen not to be the one that was measured.
    pub fn read_from(&self, start: u64) -> io::Result<impl Read + use<>> {
        Ok(Watched {
            rest: Rest::new(self.file.try_clone()?, &self.measure.index, start)?,
            file: self.file.try_clone()?,
            seen: self.seen,
        })
    }
}

fn seen(metadata: &Metadata) -> Seen {
    (metadata.len(), metadata.modified().ok())
}

/// What is stored from some offset in the message on, in SMTP canonical form.
#[derive(Debug)]
pub struct Rest<R> {
    stored: BufReader<R>,
    form: CanonicalForm,
}

impl<R: Read + Seek> Rest<R> {
    /// Seeks.
    ///
    /// # Errors
    ///
    /// Where what is stored cannot be read, or is not what was indexed.
    pub fn new(mut stored: R, index: &CanonicalIndex, start: u64) -> io::Result<Self> {
        let window = match index.look_up(start.into()) {
            // The CRLF that DATA adds to an unfinished last line is not in the file.
            Err(SeekError::BeyondEnd) => index.look_up(index.canonical_length()),
            window => window,
        };
        let window = window.map_err(io::Error::other)?;
        let range = window.range();
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut octets = vec![0; length];
        stored.seek(SeekFrom::Start(range.start))?;
        stored.read_exact(&mut octets)?;
        let place = window.find(&octets).map_err(io::Error::other)?;
        stored.seek(SeekFrom::Start(place.stored()))?;
        Ok(Self {
            stored: BufReader::with_capacity(64 * 1024, stored),
            form: CanonicalForm::starting_at(place),
        })
    }
}

impl<R: Read> Read for Rest<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stored = self.stored.fill_buf()?;
        let before = stored.len();
        let written = self.form.convert(&mut stored, buffer);
        let consumed = before - stored.len();
        self.stored.consume(consumed);
        Ok(written)
    }
}

struct Watched<R> {
    rest: Rest<R>,
    file: File,
    seen: Seen,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.rest.read(buffer)?;
        if count == 0 && seen(&self.file.metadata()?) != self.seen {
            return Err(io::Error::other("the file was changed while it was sent"));
        }
        Ok(count)
    }
}
