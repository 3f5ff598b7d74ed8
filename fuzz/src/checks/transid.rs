//! TRANSID, the key made of it, and the octet offset of a 355.

use smtp_checkpoint::checkpoint::{Identity, Scope, TransactionKey};
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::transid::TransId;

use super::input;

pub fn check(data: &[u8]) {
    let (value, mut choices) = input::parse(data);
    assert_eq!(
        TransId::parse(value).is_ok(),
        is_transid(value),
        "{value:?}"
    );
    if let Ok(id) = TransId::parse(value) {
        assert_eq!(id.as_bytes(), value);
        assert_eq!(id.as_str().parse(), Ok(id));
        keys(id, &mut choices);
    }
    let random = std::array::from_fn(|_| choices.next());
    if let Ok(id) = TransId::from_random(random, value) {
        assert!(id.as_bytes().len() <= TransId::CLIENT_MAX_LEN);
        assert_eq!(TransId::parse(id.as_bytes()), Ok(id));
        assert!(id.as_bytes().ends_with(&[value, b">"].concat()));
    }
    if let Ok(key) = TransactionKey::from_bytes(data) {
        assert_eq!(key.as_bytes(), data);
    }
    if let Ok(offset) = OctetOffset::from_reply_text(value) {
        let text = offset.reply_text();
        assert_eq!(OctetOffset::from_reply_text(text.as_bytes()), Ok(offset));
        let digits = value.iter().take_while(|octet| octet.is_ascii_digit());
        let digits: Vec<u8> = digits.copied().collect();
        if !digits.is_empty() {
            assert_eq!(OctetOffset::from_digits(&digits), Some(offset));
        }
    }
    if let Some(offset) = OctetOffset::from_digits(value) {
        let plain: u128 = String::from_utf8_lossy(value).parse().expect("digits");
        assert_eq!(u128::from(offset.get()), plain);
    }
}

/// Keys are read back as they were, and no two scopes share one.
fn keys(id: TransId, choices: &mut input::Choices<'_>) {
    let tls = choices.below(2) == 1;
    let cut = usize::from(choices.next());
    let (name, address) = id.as_bytes().split_at(cut.min(id.as_bytes().len()));
    let lower = name.to_ascii_lowercase();
    let mut seen = Vec::new();
    for identity in [
        Identity::Authenticated(name),
        Identity::TlsClient(name),
        Identity::Host { name, address },
        Identity::Host {
            name: address,
            address: name,
        },
        Identity::Host {
            name: &[],
            address: id.as_bytes(),
        },
    ] {
        let key = TransactionKey::new(&Scope { identity, tls }, id);
        assert_eq!(TransactionKey::from_bytes(key.as_bytes()), Ok(key.clone()));
        let other = TransactionKey::new(
            &Scope {
                identity,
                tls: !tls,
            },
            id,
        );
        assert_ne!(key, other);
        // The case of a host name does not count, all else does.
        let plain = match identity {
            Identity::Authenticated(name) => (0, name.to_vec(), Vec::new()),
            Identity::TlsClient(name) => (1, name.to_vec(), Vec::new()),
            Identity::Host { name, address } => (2, name.to_ascii_lowercase(), address.to_vec()),
        };
        for (before, key_before) in &seen {
            assert_eq!(plain == *before, key == *key_before);
        }
        seen.push((plain, key));
    }
    let upper = Identity::Host { name, address };
    let lower = Identity::Host {
        name: &lower,
        address,
    };
    assert_eq!(
        TransactionKey::new(
            &Scope {
                identity: upper,
                tls
            },
            id
        ),
        TransactionKey::new(
            &Scope {
                identity: lower,
                tls
            },
            id
        )
    );
}

/// The grammar of RFC 1845 §2 once more: "<" atoms "@" atoms ">", 80 octets at most.
fn is_transid(value: &[u8]) -> bool {
    let Some(inner) = value
        .strip_prefix(b"<")
        .and_then(|rest| rest.strip_suffix(b">"))
    else {
        return false;
    };
    let sides: Vec<&[u8]> = inner.split(|octet| *octet == b'@').collect();
    let atoms = |side: &[u8]| {
        side.split(|octet| *octet == b'.').all(|atom| {
            !atom.is_empty()
                && atom
                    .iter()
                    .all(|octet| octet.is_ascii_graphic() && !br#"()<>@,;:\"/[]?="#.contains(octet))
        })
    };
    value.len() <= 80 && sides.len() == 2 && sides.into_iter().all(atoms)
}
