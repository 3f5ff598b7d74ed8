//! The byte encoding of what outlives a process: kind, version, fields, checksum.
//!
//! Layer 0, private. Numbers are big-endian, octet strings carry a 32-bit length. The checksum
//! (FNV-1a, 64 bits; for what may be long over words of eight octets) tells a torn or rotten write;
//! it is no protection against an attacker who can write to the store. A decoder never panics and
//! takes no memory that the input does not back.

use alloc::vec::Vec;

use crate::error::DecodeError;

/// Three octets that tell the kinds of stored data apart.
pub(crate) type Kind = [u8; 3];

/// Writes the fields of one value.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(kind: Kind, version: u8) -> Self {
        let mut octets = Vec::with_capacity(128);
        octets.extend_from_slice(&kind);
        octets.push(version);
        Self(octets)
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(crate) fn flag(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn optional_u64(&mut self, value: Option<u64>) -> &mut Self {
        self.flag(value.is_some());
        if let Some(value) = value {
            self.u64(value);
        }
        self
    }

    /// A length, then the octets. Nothing in this crate comes near 4 GiB; what is longer is cut,
    /// and the reader's checks then refuse it.
    pub(crate) fn octets(&mut self, value: &[u8]) -> &mut Self {
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.u32(length);
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn count(&mut self, value: usize) -> &mut Self {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX))
    }

    /// For values that write themselves.
    pub(crate) fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let sum = checksum(&self.0);
        self.u64(sum);
        self.0
    }

    /// For what may be long: with the checksum that [`Reader::of_long`] wants.
    pub(crate) fn finish_long(mut self) -> Vec<u8> {
        let sum = checksum_of_words(&self.0);
        self.u64(sum);
        self.0
    }
}

/// Reads the fields of one value, in the order in which they were written.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    version: u8,
}

impl<'a> Reader<'a> {
    /// Checks kind, version (1 up to `newest`) and checksum.
    pub(crate) fn new(octets: &'a [u8], kind: Kind, newest: u8) -> Result<Self, DecodeError> {
        Self::with(octets, kind, newest, checksum)
    }

    /// The same for what [`Writer::finish_long`] wrote.
    pub(crate) fn of_long(octets: &'a [u8], kind: Kind, newest: u8) -> Result<Self, DecodeError> {
        Self::with(octets, kind, newest, checksum_of_words)
    }

    fn with(
        octets: &'a [u8],
        kind: Kind,
        newest: u8,
        checksum: fn(&[u8]) -> u64,
    ) -> Result<Self, DecodeError> {
        let found = octets.get(..3).ok_or(DecodeError::Truncated)?;
        if found != kind {
            return Err(DecodeError::WrongKind);
        }
        let version = *octets.get(3).ok_or(DecodeError::Truncated)?;
        if version == 0 || version > newest {
            return Err(DecodeError::UnknownVersion);
        }
        let end = octets.len().checked_sub(8).ok_or(DecodeError::Truncated)?;
        let (fields, sum) = octets.split_at(end);
        if end < 4 || checksum(fields).to_be_bytes() != sum {
            return Err(DecodeError::Damaged);
        }
        let rest = fields.get(4..).ok_or(DecodeError::Truncated)?;
        Ok(Self { rest, version })
    }

    /// The version that wrote the value.
    pub(crate) fn version(&self) -> u8 {
        self.version
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Truncated)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Damaged),
        }
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn optional_u64(&mut self) -> Result<Option<u64>, DecodeError> {
        Ok(if self.flag()? {
            Some(self.u64()?)
        } else {
            None
        })
    }

    pub(crate) fn octets(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.u32()?).map_err(|_| DecodeError::Truncated)?;
        self.take(length)
    }

    /// A number of items, each of which takes at least one octet of what is left: a count that
    /// the input cannot back is refused before memory is taken for it.
    pub(crate) fn count(&mut self) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.u32()?).map_err(|_| DecodeError::Truncated)?;
        if count > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(count)
    }

    /// For values that read themselves.
    pub(crate) fn raw(&mut self) -> &mut &'a [u8] {
        &mut self.rest
    }

    /// All fields have been read: anything left is damage.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Damaged)
        }
    }
}

/// Serde for a value with an encoding of its own: its octets, so that there is one stored form.
#[cfg(feature = "serde")]
macro_rules! serde_as_octets {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.encode().as_ref())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let octets = crate::encoding::octets_from(deserializer)?;
                Self::decode(&octets).map_err(serde::de::Error::custom)
            }
        }
    };
}
#[cfg(feature = "serde")]
pub(crate) use serde_as_octets;

/// Octets in whatever form the format has for them: bytes or a sequence of numbers.
#[cfg(feature = "serde")]
pub(crate) fn octets_from<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<u8>, D::Error> {
    struct Octets;

    impl<'de> serde::de::Visitor<'de> for Octets {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            f.write_str("octets")
        }

        fn visit_bytes<E>(self, octets: &[u8]) -> Result<Vec<u8>, E> {
            Ok(octets.to_vec())
        }

        fn visit_byte_buf<E>(self, octets: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(octets)
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut sequence: A,
        ) -> Result<Vec<u8>, A::Error> {
            let mut octets = Vec::new();
            while let Some(octet) = sequence.next_element()? {
                octets.push(octet);
            }
            Ok(octets)
        }
    }

    deserializer.deserialize_byte_buf(Octets)
}

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

fn checksum(octets: &[u8]) -> u64 {
    checksum_from(BASIS, octets)
}

fn checksum_from(basis: u64, octets: &[u8]) -> u64 {
    let step = |sum: u64, octet: &u8| (sum ^ u64::from(*octet)).wrapping_mul(PRIME);
    octets.iter().fold(basis, step)
}

/// The same over words of eight octets, and the octets left at the end: one step for eight.
fn checksum_of_words(octets: &[u8]) -> u64 {
    let words = octets.chunks_exact(8);
    let rest = words.remainder();
    let sum = words.fold(BASIS, |sum, word| {
        let word = word.try_into().map_or(0, u64::from_be_bytes);
        // The rotation brings what the product has lost at the top back in.
        (sum.rotate_left(23) ^ word).wrapping_mul(PRIME)
    });
    checksum_from(sum, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = *b"TST";

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new(KIND, 1);
        writer
            .u8(7)
            .flag(true)
            .u64(9)
            .optional_u64(None)
            .octets(b"abc")
            .count(2);
        writer.finish()
    }

    #[test]
    fn what_was_written_is_read() {
        let octets = sample();
        let mut reader = Reader::new(&octets, KIND, 1).unwrap();
        assert_eq!(reader.u8(), Ok(7));
        assert_eq!(reader.flag(), Ok(true));
        assert_eq!(reader.u64(), Ok(9));
        assert_eq!(reader.optional_u64(), Ok(None));
        assert_eq!(reader.octets(), Ok(&b"abc"[..]));
        assert_eq!(
            reader.count(),
            Err(DecodeError::Truncated),
            "2 items in 0 octets"
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let octets = sample();
        for index in 0..octets.len() {
            assert!(
                Reader::new(&octets[..index], KIND, 1).is_err(),
                "cut at {index}"
            );
            assert!(Reader::of_long(&octets[..index], KIND, 1).is_err());
            for bit in 0..8 {
                let mut damaged = octets.clone();
                damaged[index] ^= 1 << bit;
                assert!(
                    Reader::new(&damaged, KIND, 1).is_err(),
                    "octet {index} bit {bit}"
                );
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_long_value_is_noticed() {
        let octets = {
            let mut writer = Writer::new(KIND, 1);
            for number in 0..100 {
                writer.u32(number);
            }
            writer.finish_long()
        };
        assert!(Reader::of_long(&octets, KIND, 1).is_ok());
        assert!(Reader::new(&octets, KIND, 1).is_err());
        for index in 0..octets.len() {
            assert!(Reader::of_long(&octets[..index], KIND, 1).is_err());
            for bit in 0..8 {
                let mut damaged = octets.clone();
                damaged[index] ^= 1 << bit;
                assert!(Reader::of_long(&damaged, KIND, 1).is_err());
            }
        }
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let octets = Writer::new(KIND, 2).finish();
        assert_eq!(
            Reader::new(&octets, KIND, 1).err(),
            Some(DecodeError::UnknownVersion)
        );
    }
}
