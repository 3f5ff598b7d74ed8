//! Names of files. A TRANSID is opaque octets of the peer's choice (`<**@x>` is a good one), so
//! nothing of it becomes part of a name: hashes do.

use std::fmt;

use sha2::{Digest, Sha256};
use smtp_checkpoint::checkpoint::{Generation, TransactionKey};

/// Stands for a transaction key. 128 bits of SHA-256: nobody finds two keys with one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(u128);

/// Stands for whoever the records of a client are counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerHash(u64);

fn hash<const N: usize>(octets: &[u8]) -> [u8; N] {
    let digest = Sha256::digest(octets);
    std::array::from_fn(|at| digest[at])
}

impl KeyHash {
    pub fn of(key: &TransactionKey) -> Self {
        Self(u128::from_be_bytes(hash(key.as_bytes())))
    }

    /// Stands for a transaction without a TRANSID, of which only the store knows. No client can
    /// name it: what is hashed begins like no key.
    pub fn of_message(name: &str) -> Self {
        Self(u128::from_be_bytes(hash(
            &[b"\xff", name.as_bytes()].concat(),
        )))
    }
}

impl OwnerHash {
    pub fn of(owner: &[u8]) -> Self {
        Self(u64::from_be_bytes(hash(owner)))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for OwnerHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The name of a partial record: one for each key.
pub fn partial_name(key: KeyHash, owner: OwnerHash) -> String {
    format!("{key}-{owner}")
}

pub fn read_partial_name(name: &str) -> Option<(KeyHash, OwnerHash)> {
    let (key, owner) = name.split_once('-')?;
    (key.len() == 32 && owner.len() == 16).then_some(())?;
    Some((
        KeyHash(u128::from_str_radix(key, 16).ok()?),
        OwnerHash(u64::from_str_radix(owner, 16).ok()?),
    ))
}

/// The name of what one generation of a key writes, without its extension.
pub fn message_name(key: KeyHash, owner: OwnerHash, generation: Generation) -> String {
    format!("{key}-{owner}-{generation}")
}

/// `None` for the message of a transaction without a TRANSID.
pub fn read_message_name(name: &str) -> Option<(KeyHash, OwnerHash, Generation)> {
    let (rest, generation) = name.rsplit_once('-')?;
    let (key, owner) = read_partial_name(rest)?;
    Some((key, owner, Generation(generation.parse().ok()?)))
}
