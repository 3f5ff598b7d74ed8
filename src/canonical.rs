//! Where an octet of the message stands in storage whose lines end in LF.
//!
//! Layer 2. A 355 names an offset in SMTP canonical form, where every line ends in CRLF (RFC 1845
//! §4). Where the message is stored so, that is an offset in the file and nothing here is needed.
//! Where its lines end in LF alone, as Unix keeps text, somebody has to count the lines before it:
//! a [`CanonicalIndex`] has them counted, in 0.0062 % of the stored message and 20 octets. To seek
//! then takes a look-up and one read of at most 64 KiB (32 KiB and an octet, as built here).
//!
//! # The rule
//!
//! One rule, here and in [`CanonicalForm`]: an LF with no CR before it stands for CRLF, and every
//! other octet for itself. So a file that holds both kinds of line ends is one message; a CR that
//! no LF follows stays as it is (what SMTP then says of it is told by
//! [`dot::ContentChecker`](crate::dot::ContentChecker)); and nothing is added to a last line that
//! is not finished. The CRLF that DATA adds there is not in storage, and is beyond the end here.
//!
//! # The use
//!
//! Built while the message is measured or sent for the first time, kept with the unfinished
//! transaction, and asked at the restart:
//!
//! ```
//! use smtp_checkpoint::canonical::{CanonicalForm, CanonicalIndex, IndexBuilder};
//! use smtp_checkpoint::offset::OctetOffset;
//!
//! let stored = b"Subject: lines\n\nThe first one\nand the second\n";
//! let mut builder = IndexBuilder::new();
//! for read in stored.chunks(10) {
//!     builder.update(read);
//! }
//! let kept: Vec<u8> = builder.finish().encode();
//!
//! // The server says 355 33.
//! let index = CanonicalIndex::decode(&kept)?;
//! let window = index.look_up(OctetOffset::new(33))?;
//! let range = window.range(); // to be read, at most 64 KiB
//! let place = window.find(&stored[range.start as usize..range.end as usize])?;
//!
//! let mut rest = &stored[place.stored() as usize..];
//! let (mut form, mut buffer) = (CanonicalForm::starting_at(place), [0; 64]);
//! let octets = form.convert(&mut rest, &mut buffer);
//! assert_eq!(&buffer[..octets], b"and the second\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An index is of one message: what proves that the storage still holds it (size, fingerprint) is
//! the caller's. [`Window::find`] counts what it is given whole, and refuses a place that does not
//! hold as many line ends as were indexed.

use alloc::vec::Vec;
use core::ops::Range;

use memchr::memchr;
use thiserror::Error;

use crate::encoding::{Kind, Reader, Writer};
use crate::error::DecodeError;
use crate::offset::OctetOffset;

const CR: u8 = b'\r';
const LF: u8 = b'\n';

const KIND: Kind = *b"CIX";
const VERSION: u8 = 1;

/// Stored octets that one count is about. With the octet before them they are one read.
const BLOCK: u32 = 32 * 1024;
/// Blocks whose counts are added up one by one at a look-up.
const GROUP: usize = 256;
/// Octets that are counted together.
const STRIDE: usize = 128;

/// Counts the lines of a stored message, as it is read for any purpose.
///
/// ```
/// use smtp_checkpoint::canonical::IndexBuilder;
///
/// let mut builder = IndexBuilder::new();
/// builder.update(b"one\n");
/// builder.update(b"two\r");
/// builder.update(b"\nthree");
/// assert_eq!(builder.canonical_length().get(), 15);
/// assert_eq!(builder.finish().stored_length(), 14);
/// ```
#[derive(Debug, Clone)]
pub struct IndexBuilder {
    block: u32,
    stored: u64,
    added: u64,
    after_cr: bool,
    counts: Vec<u16>,
}

/// What leads from an offset in the message to one in storage. See the [module](self).
///
/// It takes two octets for each 32 KiB stored, in memory 8 more for each 8 MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalIndex {
    /// Stored octets in a block: at most 65,535, so that a count fits and a read is 64 KiB.
    block: u32,
    stored: u64,
    added: u64,
    /// For each block the LFs that stand for CRLF; none in the blocks that are left out at the
    /// end.
    counts: Vec<u16>,
    /// Where each group of blocks begins in the message.
    groups: Vec<u64>,
}

/// Why a place cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum SeekError {
    /// The offset is beyond the end of the message.
    #[error("offset beyond the end of the stored message")]
    BeyondEnd,
    /// The octets are more or fewer than [`Window::range`] asked for.
    #[error("not the octets that were asked for")]
    WrongOctets,
    /// They hold more or fewer line ends than when the index was built: this is not the message
    /// that was indexed.
    #[error("the stored message is not the one that was indexed")]
    Changed,
}

/// The part of storage in which a place is. See [`CanonicalIndex::look_up`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Window {
    start: u64,
    octets: u32,
    /// The first octet is not of the block: it tells whether an LF behind it has its CR.
    led: bool,
    /// The offset, in canonical octets from the start of the block.
    target: u64,
    count: u16,
}

/// A place in a stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Place {
    stored: u64,
    after_cr: bool,
}

impl Default for IndexBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl IndexBuilder {
    /// For a message from its start on.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_block(BLOCK)
    }

    const fn with_block(block: u32) -> Self {
        Self {
            block,
            stored: 0,
            added: 0,
            after_cr: false,
            counts: Vec::new(),
        }
    }

    /// Takes the next octets as they are stored, in pieces of any size.
    pub fn update(&mut self, mut stored: &[u8]) {
        while let Some(last) = stored.last() {
            let block = self.stored / u64::from(self.block);
            let left = u64::from(self.block) - self.stored % u64::from(self.block);
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            let (piece, rest) = stored.split_at(left.min(stored.len()));
            let count = lone_line_feeds(piece, self.after_cr);
            if count > 0 {
                self.count(block, count);
            }
            self.stored = self.stored.saturating_add(piece.len() as u64);
            self.after_cr = piece.last().unwrap_or(last) == &CR;
            stored = rest;
        }
    }

    fn count(&mut self, block: u64, count: usize) {
        let block = usize::try_from(block).unwrap_or(usize::MAX);
        if block >= self.counts.len() {
            self.counts.resize(block.saturating_add(1), 0);
        }
        if let Some(counted) = self.counts.get_mut(block) {
            // No block holds more LFs than octets, and these fit.
            *counted = counted.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
        }
        self.added = self.added.saturating_add(count as u64);
    }

    /// Octets taken so far.
    #[must_use]
    pub fn stored_length(&self) -> u64 {
        self.stored
    }

    /// How long the message is so far in SMTP canonical form.
    #[must_use]
    pub fn canonical_length(&self) -> OctetOffset {
        self.stored.saturating_add(self.added).into()
    }

    /// The message ends here.
    #[must_use]
    pub fn finish(self) -> CanonicalIndex {
        CanonicalIndex::new(self.block, self.stored, self.counts)
    }
}

impl CanonicalIndex {
    fn new(block: u32, stored: u64, counts: Vec<u16>) -> Self {
        let mut added = 0_u64;
        let mut groups = Vec::with_capacity(counts.len().div_ceil(GROUP));
        for (number, group) in counts.chunks(GROUP).enumerate() {
            groups.push(stored_at(number * GROUP, block).saturating_add(added));
            added = added.saturating_add(sum(group));
        }
        Self {
            block,
            stored,
            added,
            counts,
            groups,
        }
    }

    /// How many octets are stored.
    #[must_use]
    pub fn stored_length(&self) -> u64 {
        self.stored
    }

    /// How many octets the message has in SMTP canonical form, without the CRLF that DATA adds to
    /// an unfinished last line.
    #[must_use]
    pub fn canonical_length(&self) -> OctetOffset {
        self.stored.saturating_add(self.added).into()
    }

    /// Whether it is stored in SMTP canonical form: offsets in storage are those in the message,
    /// and an index is not needed.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.added == 0
    }

    /// The part of storage that has to be read to find the octet at `offset`. It may be empty.
    ///
    /// # Errors
    ///
    /// [`SeekError::BeyondEnd`] for an offset above [`canonical_length`](Self::canonical_length).
    pub fn look_up(&self, offset: OctetOffset) -> Result<Window, SeekError> {
        if offset > self.canonical_length() {
            return Err(SeekError::BeyondEnd);
        }
        let offset = offset.get();
        let later = self.groups.partition_point(|begins| *begins <= offset);
        let group = later.saturating_sub(1);
        let mut block = group * GROUP;
        let begins = self.groups.get(group).copied().unwrap_or_default();
        let mut added = begins.saturating_sub(stored_at(block, self.block));
        while let Some(count) = self.counts.get(block) {
            let after = added + u64::from(*count);
            if stored_at(block + 1, self.block).saturating_add(after) > offset {
                break;
            }
            (block, added) = (block + 1, after);
        }
        // Behind the last count nothing is added any more.
        if block >= self.counts.len() {
            let number = (offset - added) / u64::from(self.block);
            block = usize::try_from(number).unwrap_or(usize::MAX);
        }
        let start = stored_at(block, self.block);
        let end = start.saturating_add(self.block.into()).min(self.stored);
        let led = start > 0;
        Ok(Window {
            start: start - u64::from(led),
            octets: u32::try_from(end - start).unwrap_or(u32::MAX) + u32::from(led),
            led,
            target: offset - added - start,
            count: self.counts.get(block).copied().unwrap_or_default(),
        })
    }

    /// The octets to store: versioned, with a checksum.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(KIND, VERSION);
        writer.u32(self.block).u64(self.stored);
        let octets = writer.raw();
        octets.reserve_exact(2 * self.counts.len() + 8);
        for count in &self.counts {
            octets.extend_from_slice(&count.to_be_bytes());
        }
        writer.finish_long()
    }

    /// Reads what [`encode`](Self::encode) wrote. It takes no more memory than the octets do.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything else. The index is then built anew, or the message counted.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_long(octets, KIND, VERSION)?;
        let (block, stored) = (reader.u32()?, reader.u64()?);
        let rest = core::mem::take(reader.raw());
        reader.finish()?;
        if block == 0 || block > u32::from(u16::MAX) || rest.len() % 2 != 0 {
            return Err(DecodeError::Damaged);
        }
        let counts: Vec<u16> = rest
            .chunks_exact(2)
            .map(|count| count.try_into().map_or(0, u16::from_be_bytes))
            .collect();
        // As many counts as blocks at most, none above what its block holds, none left at the end
        // that is nothing.
        let most = u16::try_from(block).unwrap_or(u16::MAX);
        let fits = counts.iter().fold(0, |most, count| most.max(*count)) <= most;
        let last_fits = counts.split_last().is_none_or(|(last, others)| {
            let before = stored_at(others.len(), block);
            *last > 0
                && stored
                    .checked_sub(before)
                    .is_some_and(|left| u64::from(*last) <= left)
        });
        if !fits || !last_fits || stored.checked_add(sum(&counts)).is_none() {
            return Err(DecodeError::Damaged);
        }
        Ok(Self::new(block, stored, counts))
    }
}

#[cfg(feature = "serde")]
crate::encoding::serde_as_octets!(CanonicalIndex);

/// Where a block begins in storage.
fn stored_at(block: usize, size: u32) -> u64 {
    (block as u64).saturating_mul(size.into())
}

fn sum(counts: &[u16]) -> u64 {
    counts.iter().map(|count| u64::from(*count)).sum()
}

impl Window {
    /// The octets of storage to read: at most 64 KiB.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.start..self.start.saturating_add(u64::from(self.octets))
    }

    /// The place, in the octets that [`range`](Self::range) names.
    ///
    /// # Errors
    ///
    /// [`SeekError::WrongOctets`] where it is not as many octets; [`SeekError::Changed`] where
    /// their line ends are not those that were indexed.
    pub fn find(&self, stored: &[u8]) -> Result<Place, SeekError> {
        if stored.len() as u64 != u64::from(self.octets) {
            return Err(SeekError::WrongOctets);
        }
        let (lead, block) = stored.split_at(usize::from(self.led).min(stored.len()));
        let start = self.start + lead.len() as u64;
        let mut after_cr = lead.last() == Some(&CR);
        let (mut counted, mut before, mut place) = (0, 0, None);
        for (number, piece) in block.chunks(STRIDE).enumerate() {
            let count = lone_line_feeds(piece, after_cr);
            let canonical = (piece.len() + count) as u64;
            if place.is_none() && self.target < before + canonical {
                let at = start + (number * STRIDE) as u64;
                place = find_in(piece, after_cr, at, self.target - before);
            }
            counted += count as u64;
            before += canonical;
            after_cr = piece.last() == Some(&CR);
        }
        if counted != u64::from(self.count) || self.target > before {
            return Err(SeekError::Changed);
        }
        // Else it is the end of the message.
        Ok(place.unwrap_or(Place {
            stored: start + block.len() as u64,
            after_cr,
        }))
    }
}

/// The place `target` canonical octets behind the start of `piece`, which is in it.
fn find_in(piece: &[u8], mut after_cr: bool, start: u64, mut target: u64) -> Option<Place> {
    for (stored, octet) in (start..).zip(piece) {
        if target == 0 {
            return Some(Place { stored, after_cr });
        }
        target -= 1;
        if *octet == LF && !after_cr {
            if target == 0 {
                // Between the CR that it stands for and itself.
                let after_cr = true;
                return Some(Place { stored, after_cr });
            }
            target -= 1;
        }
        after_cr = *octet == CR;
    }
    None
}

impl Place {
    /// The start of a message.
    pub const START: Self = Self {
        stored: 0,
        after_cr: false,
    };

    /// Where to read on, in stored octets.
    #[must_use]
    pub const fn stored(self) -> u64 {
        self.stored
    }

    /// Whether the octet of the message before this place is a CR: an LF that stands here is then
    /// the second half of a line end, whether or not that CR is stored.
    #[must_use]
    pub const fn is_after_cr(self) -> bool {
        self.after_cr
    }
}

/// Turns stored octets into those of the message: LF without a CR before it into CRLF.
///
/// ```
/// use smtp_checkpoint::canonical::CanonicalForm;
///
/// let mut form = CanonicalForm::new();
/// let (mut stored, mut out) = (&b"one\ntwo\r\n"[..], [0; 4]);
/// assert_eq!(form.convert(&mut stored, &mut out), 4);
/// assert_eq!(&out, b"one\r");
/// assert_eq!(form.convert(&mut stored, &mut out), 4);
/// assert_eq!(&out, b"\ntwo");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CanonicalForm {
    after_cr: bool,
    after_crlf: bool,
}

impl CanonicalForm {
    /// For a message from its start on.
    #[must_use]
    pub const fn new() -> Self {
        Self::starting_at(Place::START)
    }

    /// For what is stored from `place` on.
    #[must_use]
    pub const fn starting_at(place: Place) -> Self {
        Self {
            after_cr: place.after_cr,
            after_crlf: false,
        }
    }

    /// Writes to the start of `out` and tells how many octets; advances `stored` over what has
    /// been turned. It stops where either is used up.
    pub fn convert(&mut self, stored: &mut &[u8], out: &mut [u8]) -> usize {
        let mut left = &mut *out;
        let room = left.len();
        while !stored.is_empty() && !left.is_empty() {
            let most = stored.len().min(left.len());
            let (ready, _) = stored.split_at(most);
            let run = memchr(LF, ready).unwrap_or(most);
            let (run, rest) = stored.split_at(run);
            let (filled, free) = core::mem::take(&mut left).split_at_mut(run.len());
            filled.copy_from_slice(run);
            if let Some(last) = run.last() {
                (self.after_cr, self.after_crlf) = (*last == CR, false);
            }
            (*stored, left) = (rest, free);
            // The LF in front, if there is room for what it stands for.
            if rest.first() != Some(&LF) {
                continue;
            }
            let Some((slot, free)) = core::mem::take(&mut left).split_first_mut() else {
                break;
            };
            if self.after_cr {
                *slot = LF;
                *stored = rest.get(1..).unwrap_or_default();
                (self.after_cr, self.after_crlf) = (false, true);
            } else {
                *slot = CR;
                self.after_cr = true; // the LF itself comes next
            }
            left = free;
        }
        room - left.len()
    }

    /// Whether the last octet written ends a line; false before the first.
    #[must_use]
    pub const fn is_after_crlf(&self) -> bool {
        self.after_crlf
    }
}

/// The LFs in `octets` that no CR precedes; `after_cr` where one stands before them all.
fn lone_line_feeds(octets: &[u8], after_cr: bool) -> usize {
    let first = octets.first() == Some(&LF) && !after_cr;
    let later = octets.get(1..).unwrap_or_default();
    // Sums of single octets, so that many are added at once.
    let pairs = octets.chunks(STRIDE).zip(later.chunks(STRIDE));
    let lone = |(a, b): (&u8, &u8)| u8::from(*b == LF) & u8::from(*a != CR);
    let later: usize = pairs
        .map(|(a, b)| usize::from(a.iter().zip(b).map(lone).sum::<u8>()))
        .sum();
    usize::from(first) + later
}

#[cfg(test)]
#[path = "canonical_tests.rs"]
mod tests;
