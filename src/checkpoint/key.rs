//! The key of a transaction: its TRANSID, and the scope that keeps strangers apart.
//!
//! Layer 3. RFC 1845 §2 (4) couples the TRANSID with the EHLO name; draft-fanf-smtp-rfc1845bis-01
//! §2.3 asks for a secure identity where there is one. Both are octets here, compared octet by
//! octet, so a store looks a key up with one exact match and a foreign scope cannot be told from
//! an unknown TRANSID.
//!
//! ```
//! use smtp_checkpoint::checkpoint::{Identity, Scope, TransactionKey};
//! use smtp_checkpoint::transid::TransId;
//!
//! let transid = TransId::parse(b"<12345@claremont.edu>")?;
//! let host = Identity::Host { name: b"YMIR.claremont.edu", address: b"192.0.2.7" };
//! let key = TransactionKey::new(&Scope { identity: host, tls: false }, transid);
//!
//! // The EHLO name is compared without case, everything else as it is.
//! let same = Identity::Host { name: b"ymir.claremont.edu", address: b"192.0.2.7" };
//! assert_eq!(key, TransactionKey::new(&Scope { identity: same, tls: false }, transid));
//! assert_ne!(key, TransactionKey::new(&Scope { identity: same, tls: true }, transid));
//! # Ok::<(), smtp_checkpoint::transid::TransIdError>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::error::DecodeError;
use crate::transid::TransId;

/// Who the client is, as surely as it is known. The surest form that holds is the one to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity<'a> {
    /// The identity that AUTH established. Such a client may come back from any address, under
    /// any EHLO name.
    Authenticated(&'a [u8]),
    /// The identity of the client's TLS certificate, as the caller verified it.
    TlsClient(&'a [u8]),
    /// Nothing better than the EHLO name and the address that the connection came from.
    Host {
        /// The argument of EHLO or LHLO, in any case.
        name: &'a [u8],
        /// The peer's address, in a form of the caller's choice that is always the same for the
        /// same host.
        address: &'a [u8],
    },
}

/// What a TRANSID is unique within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// Who the client is.
    pub identity: Identity<'a>,
    /// Whether TLS is in use: what began under TLS never goes on in clear.
    pub tls: bool,
}

/// The key under which a transaction is stored: scope and TRANSID as one octet string.
///
/// It holds octets of the peer's choice: hash it before it becomes the name of a file. Cheap to
/// clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionKey(Bytes);

const VERSION: u8 = 1;

impl TransactionKey {
    /// The key of `transid` within `scope`.
    #[must_use]
    pub fn new(scope: &Scope<'_>, transid: TransId) -> Self {
        let mut octets = Vec::with_capacity(64 + transid.as_bytes().len());
        octets.push(VERSION);
        octets.push(u8::from(scope.tls));
        match scope.identity {
            Identity::Authenticated(identity) => {
                octets.push(b'A');
                push(&mut octets, identity);
            }
            Identity::TlsClient(identity) => {
                octets.push(b'T');
                push(&mut octets, identity);
            }
            Identity::Host { name, address } => {
                octets.push(b'H');
                push(&mut octets, &name.to_ascii_lowercase());
                push(&mut octets, address);
            }
        }
        push(&mut octets, transid.as_bytes());
        Self(octets.into())
    }

    /// The key as octets: its exact-match form, for the store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key from what [`as_bytes`](Self::as_bytes) gave.
    ///
    /// # Errors
    ///
    /// Where the octets are no key.
    pub fn from_bytes(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = octets.get(3..).ok_or(DecodeError::Truncated)?;
        let parts = match octets {
            [VERSION, 0 | 1, b'A' | b'T', ..] => 2,
            [VERSION, 0 | 1, b'H', ..] => 3,
            [VERSION, ..] => return Err(DecodeError::Damaged),
            _ => return Err(DecodeError::UnknownVersion),
        };
        let mut last: &[u8] = &[];
        for _ in 0..parts {
            let (length, after) = rest
                .split_first_chunk::<4>()
                .ok_or(DecodeError::Truncated)?;
            let length =
                usize::try_from(u32::from_be_bytes(*length)).map_err(|_| DecodeError::Truncated)?;
            (last, rest) = after
                .split_at_checked(length)
                .ok_or(DecodeError::Truncated)?;
        }
        if !rest.is_empty() || TransId::parse(last).is_err() {
            return Err(DecodeError::Damaged);
        }
        Ok(Self(Bytes::copy_from_slice(octets)))
    }
}

fn push(octets: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    octets.extend_from_slice(&length.to_be_bytes());
    octets.extend_from_slice(part);
}

#[cfg(feature = "serde")]
impl TransactionKey {
    fn encode(&self) -> &[u8] {
        self.as_bytes()
    }

    fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes(octets)
    }
}

#[cfg(feature = "serde")]
crate::encoding::serde_as_octets!(TransactionKey);

impl fmt::Debug for TransactionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransactionKey(\"{}\")", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(identity: Identity<'_>, tls: bool, transid: &[u8]) -> TransactionKey {
        let transid = TransId::parse(transid).unwrap();
        TransactionKey::new(&Scope { identity, tls }, transid)
    }

    #[test]
    fn scopes_do_not_meet() {
        let host = |name, address| Identity::Host { name, address };
        let keys = [
            key(host(b"ab", b"c"), false, b"<x@y>"),
            key(host(b"a", b"bc"), false, b"<x@y>"),
            key(host(b"ab", b"c"), true, b"<x@y>"),
            key(host(b"ab", b"c"), false, b"<X@y>"),
            key(Identity::Authenticated(b"ab"), false, b"<x@y>"),
            key(Identity::TlsClient(b"ab"), false, b"<x@y>"),
            key(Identity::Authenticated(b"AB"), false, b"<x@y>"),
        ];
        for (index, one) in keys.iter().enumerate() {
            for other in &keys[index + 1..] {
                assert_ne!(one, other);
            }
        }
    }

    #[test]
    fn only_keys_are_read_back() {
        let whole = key(
            Identity::Host {
                name: b"h",
                address: b"1",
            },
            true,
            b"<x@y>",
        );
        assert_eq!(
            TransactionKey::from_bytes(whole.as_bytes()),
            Ok(whole.clone())
        );
        for end in 0..whole.as_bytes().len() {
            assert!(
                TransactionKey::from_bytes(&whole.as_bytes()[..end]).is_err(),
                "{end}"
            );
        }
        let longer = [whole.as_bytes(), b"x"].concat();
        assert_eq!(
            TransactionKey::from_bytes(&longer),
            Err(DecodeError::Damaged)
        );
    }

    #[test]
    fn keys_of_every_identity_are_read_back_and_shown() {
        for identity in [
            Identity::Authenticated(b"ned"),
            Identity::TlsClient(b"CN=ned"),
            Identity::Host {
                name: b"h",
                address: b"1",
            },
        ] {
            for tls in [false, true] {
                let key = key(identity, tls, b"<x@y>");
                assert_eq!(TransactionKey::from_bytes(key.as_bytes()), Ok(key.clone()));
                #[cfg(feature = "serde")]
                assert_eq!(TransactionKey::decode(key.encode()), Ok(key));
            }
        }
        let shown = std::format!("{:?}", key(Identity::Authenticated(b"n\n"), true, b"<x@y>"));
        let octets = r"\x01\x01A\x00\x00\x00\x02n\n\x00\x00\x00\x05<x@y>";
        assert_eq!(shown, std::format!("TransactionKey(\"{octets}\")"));
    }

    #[test]
    fn other_versions_are_told_from_damage() {
        let key = key(Identity::Authenticated(b"ned"), true, b"<x@y>");
        for (at, octet, error) in [
            (0, 0, DecodeError::UnknownVersion),
            (0, 2, DecodeError::UnknownVersion),
            (1, 2, DecodeError::Damaged),
            (2, b'X', DecodeError::Damaged),
        ] {
            let mut octets = key.as_bytes().to_vec();
            octets[at] = octet;
            assert_eq!(TransactionKey::from_bytes(&octets), Err(error));
        }
    }
}
