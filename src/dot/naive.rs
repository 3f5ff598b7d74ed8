//! The judge of the codec: the rules written down once more, with no thought of speed or of
//! streams. It looks at all that has come on the wire so far, and knows nothing of how it came.
//!
//! Layer 2, tests only.
//!
//! ```
//! # // The module is private: this is the codec that it judges.
//! let mut decoder = smtp_checkpoint::dot::DotDecoder::new();
//! assert!(decoder.at_line_start());
//! ```

use std::vec::Vec;

use super::{FaultKind, Faults};

/// What a wire means.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) content: Vec<u8>,
    pub(super) faults: Faults,
    pub(super) line_start: u64,
    /// Octets up to the end of the data and with it, where it has come.
    pub(super) end: Option<usize>,
}

/// Line by line: a line is all up to the next CRLF and with it.
pub(super) fn decode(wire: &[u8]) -> Meaning {
    let mut meaning = Meaning::default();
    let mut rest = wire;
    loop {
        if rest.starts_with(b".\r\n") {
            meaning.end = Some(wire.len() - rest.len() + 3);
            break;
        }
        if rest.is_empty() || rest == b"." || rest == b".\r" {
            break;
        }
        let crlf = rest.windows(2).position(|pair| pair == b"\r\n");
        let (line, later) = rest.split_at(crlf.map_or(rest.len(), |at| at + 2));
        meaning
            .content
            .extend(line.strip_prefix(b".").unwrap_or(line));
        if crlf.is_none() {
            break;
        }
        meaning.line_start = meaning.content.len() as u64;
        rest = later;
    }
    meaning.faults = faults_of(&meaning.content, false);
    meaning
}

/// What is wrong in canonical content; a CR at its end only where it is `whole`.
pub(super) fn faults_of(content: &[u8], whole: bool) -> Faults {
    let mut faults = Faults::default();
    for (at, octet) in content.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| content[at]);
        let after = content.get(at + 1);
        let kind = match octet {
            0 => FaultKind::Nul,
            b'\r' if after != Some(&b'\n') && (after.is_some() || whole) => FaultKind::BareCr,
            b'\n' if before != Some(b'\r') => FaultKind::BareLf,
            _ => continue,
        };
        faults.record(kind, (at as u64).into());
    }
    faults
}

/// The wire of a whole message, kept as it is whatever is wrong in it.
pub(super) fn encode(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut rest = content;
    while !rest.is_empty() {
        let crlf = rest.windows(2).position(|pair| pair == b"\r\n");
        let (line, later) = rest.split_at(crlf.map_or(rest.len(), |at| at + 2));
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend(line);
        if crlf.is_none() {
            wire.extend(b"\r\n");
        }
        rest = later;
    }
    wire.extend(b".\r\n");
    wire
}

pub(super) fn canonical_size(content: &[u8]) -> u64 {
    let ended = content.is_empty() || content.ends_with(b"\r\n");
    content.len() as u64 + if ended { 0 } else { 2 }
}

/// Calls `f` with every string of up to `longest` octets on the alphabet that matters.
pub(super) fn all_strings(longest: usize, mut f: impl FnMut(&[u8])) {
    for length in 0..=longest {
        strings_of(length, &mut f);
    }
}

/// Calls `f` with every string of `length` octets on the alphabet that matters.
pub(super) fn strings_of(length: usize, mut f: impl FnMut(&[u8])) {
    const ALPHABET: [u8; 5] = [b'\r', b'\n', b'.', 0, b'a'];
    let mut string = std::vec![0; length];
    for number in 0..ALPHABET.len().pow(length as u32) {
        let mut digits = number;
        for octet in &mut string {
            *octet = ALPHABET[digits % ALPHABET.len()];
            digits /= ALPHABET.len();
        }
        f(&string);
    }
}
