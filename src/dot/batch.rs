//! Gathers the pieces of a codec into few [`Bytes`]: long ones as slices, short ones copied.
//!
//! Layer 2, private. A slice shares the memory of what came in, but costs two counter updates and
//! a place in every list it goes through; for short pieces (mail full of dots) that is several
//! times the price of the copy.
//!
//! ```
//! use bytes::Bytes;
//! use smtp_checkpoint::dot::DotDecoder;
//!
//! let mut out = Vec::new();
//! let mut wire = Bytes::from_static(b"one\r\n..two\r\n..three\r\n");
//! DotDecoder::new().decode_batch(&mut wire, &mut out, 1024);
//! assert_eq!(out, [&b"one\r\n.two\r\n.three\r\n"[..]]);
//! ```

use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

/// From this length on a piece leaves as a slice.
const LONG: usize = 512;
/// The most that one copy buffer takes. Larger ones would be mostly empty where one short pair
/// stands in much long content.
const COPY: usize = 8 * 1024;

/// What a codec hands out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece<'i> {
    /// Octets of the input.
    Input(&'i [u8]),
    /// Octets that are not in this input.
    Static(&'static [u8]),
}

impl<'i> Piece<'i> {
    #[inline(always)]
    pub(super) fn octets(self) -> &'i [u8] {
        match self {
            Self::Input(octets) | Self::Static(octets) => octets,
        }
    }

    fn bytes(self, input: &Bytes) -> Bytes {
        match self {
            Self::Input(octets) => input.slice_ref(octets),
            Self::Static(octets) => Bytes::from_static(octets),
        }
    }
}

pub(super) struct Batch<'a> {
    input: &'a Bytes,
    out: &'a mut Vec<Bytes>,
    /// Octets that may still come, so that no buffer is larger than what it can be filled with.
    left: usize,
    /// A short piece that is alone so far, and so needs no copy.
    alone: Option<Piece<'a>>,
    copy: BytesMut,
}

impl<'a> Batch<'a> {
    /// A batch that will be given pieces of `input`, at most `bound` octets together.
    pub(super) fn new(input: &'a Bytes, out: &'a mut Vec<Bytes>, bound: usize) -> Self {
        Self {
            input,
            out,
            left: bound,
            alone: None,
            copy: BytesMut::new(),
        }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, piece: Piece<'a>) {
        let octets = piece.octets();
        let room = self.copy.capacity() - self.copy.len();
        if !self.copy.is_empty() && octets.len() <= room.min(LONG - 1) {
            self.copy.extend_from_slice(octets);
            self.left = self.left.saturating_sub(octets.len());
        } else {
            self.start(piece);
        }
    }

    #[inline(never)]
    fn start(&mut self, piece: Piece<'a>) {
        let octets = piece.octets();
        if octets.len() >= LONG {
            self.flush();
            self.left = self.left.saturating_sub(octets.len());
            self.out.push(piece.bytes(self.input));
        } else if let Some(first) = self.alone.take() {
            self.copy(first.octets());
            self.copy(octets);
        } else if self.copy.is_empty() {
            self.alone = Some(piece);
        } else {
            self.copy(octets);
        }
    }

    fn copy(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            let mut room = self.copy.capacity() - self.copy.len();
            if room == 0 {
                self.flush();
                room = self.left.min(COPY).max(octets.len());
                self.copy = BytesMut::with_capacity(room);
            }
            let (now, later) = octets.split_at(octets.len().min(room));
            self.copy.extend_from_slice(now);
            self.left = self.left.saturating_sub(now.len());
            octets = later;
        }
    }

    /// Puts out what is still held. To be called at the end.
    pub(super) fn flush(&mut self) {
        if let Some(piece) = self.alone.take() {
            let octets = piece.bytes(self.input);
            self.left = self.left.saturating_sub(octets.len());
            self.out.push(octets);
        }
        if !self.copy.is_empty() {
            self.out.push(self.copy.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(input: &Bytes, lengths: &[usize]) -> Vec<Bytes> {
        let (mut out, mut at) = (Vec::new(), 0);
        let mut batch = Batch::new(input, &mut out, input.len());
        for length in lengths {
            batch.push(Piece::Input(&input[at..at + length]));
            at += length;
        }
        batch.flush();
        assert_eq!(out.concat(), input.slice(..at));
        out
    }

    #[test]
    fn long_pieces_are_slices_and_short_neighbours_one_copy() {
        let input = Bytes::from((0..20_000u32).map(|at| at as u8).collect::<Vec<_>>());
        let within = |piece: &Bytes| input.as_ptr_range().contains(&piece.as_ptr());
        let out = batch(&input, &[600, 3, 4, 5, 700, 9, 800]);
        let shape: Vec<_> = out
            .iter()
            .map(|piece| (piece.len(), within(piece)))
            .collect();
        assert_eq!(
            shape,
            [
                (600, true),
                (12, false),
                (700, true),
                (9, true),
                (800, true)
            ]
        );
    }

    #[test]
    fn from_512_octets_on_a_piece_is_long() {
        let input = Bytes::from(std::vec![7; 2000]);
        // Behind a copy that has room for both.
        for (length, pieces) in [(LONG - 1, 1), (LONG, 2), (LONG + 1, 2)] {
            assert_eq!(batch(&input, &[3, 4, length]).len(), pieces, "{length}");
        }
    }

    #[test]
    fn copies_go_in_buffers_of_bounded_size() {
        let input = Bytes::from(std::vec![7; 30_000]);
        let lengths = std::vec![100; 300];
        let out = batch(&input, &lengths);
        assert!(out.iter().all(|piece| piece.len() <= COPY));
        assert_eq!(out.len(), 30_000usize.div_ceil(COPY));
    }
}
