//! Octets that are mostly few.
//!
//! Layer 4, private. A few stand in the session itself; only more of them take memory elsewhere.

use alloc::boxed::Box;
use core::ops::Deref;

/// As many as fit in the place of a pointer, a length and what most allocators add to them.
const FEW: usize = 30;

#[derive(Debug)]
pub(super) enum Short {
    Few { len: u8, octets: [u8; FEW] },
    Many(Box<[u8]>),
}

impl Default for Short {
    fn default() -> Self {
        Self::Few {
            len: 0,
            octets: [0; FEW],
        }
    }
}

impl From<&[u8]> for Short {
    fn from(from: &[u8]) -> Self {
        let mut octets = [0; FEW];
        match (octets.get_mut(..from.len()), u8::try_from(from.len())) {
            (Some(few), Ok(len)) => {
                few.copy_from_slice(from);
                Self::Few { len, octets }
            }
            _ => Self::Many(from.into()),
        }
    }
}

impl Deref for Short {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Few { len, octets } => octets.get(..usize::from(*len)).unwrap_or_default(),
            Self::Many(octets) => octets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_what_they_were_however_many() {
        assert!(Short::default().is_empty());
        for len in [0, 1, FEW - 1, FEW, FEW + 1, 255, 256, 300] {
            let octets = std::vec![7; len];
            let short = Short::from(&octets[..]);
            assert_eq!(*short, octets);
            assert_eq!(matches!(short, Short::Few { .. }), len <= FEW, "{len}");
        }
    }
}
