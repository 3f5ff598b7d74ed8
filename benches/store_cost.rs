//! What CHECKPOINT costs a message that is never interrupted: the examples' file store with a
//! record, against the same store as a plain spool. Both write and sync the content and the
//! envelope; with a record there is a claim before and a completion record in the envelope.
//!
//! `cargo bench --bench store_cost [-- DIR]`. The two are timed in turn, message by message, and
//! the medians compared. DIR should be on the disk that matters; by default it is the system's
//! directory for temporary files, which may be in memory.

#![allow(clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Claim, DataOutcome, EndOutcome, Following, Identity, Offered, Scope, Transaction,
    TransactionKey, Transfer, Verdict,
};
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::reply::standard as reply;
use smtp_checkpoint::server::ClaimToConfirm;
use smtp_checkpoint::transid::TransId;

use self::store::{FileStore, Settings};

#[allow(dead_code, unreachable_pub)]
#[path = "../examples/support/store/mod.rs"]
mod store;

const ROUNDS: u32 = 200;

/// One transaction, with a TRANSID or without.
fn deliver(store: &FileStore, transid: Option<&str>, message: &Bytes) {
    let key = transid.map(|transid| {
        let identity = Identity::Authenticated(b"client");
        let transid = TransId::parse(transid.as_bytes()).expect("TRANSID");
        TransactionKey::new(
            &Scope {
                identity,
                tls: true,
            },
            transid,
        )
    });
    let mail = match transid {
        None => "MAIL FROM:<a@c.example>".into(),
        Some(transid) => format!("MAIL FROM:<a@c.example> TRANSID={transid}"),
    };
    let mut transaction = Transaction::default();
    transaction
        .begin(mail.as_bytes(), key.clone())
        .expect("MAIL");
    let claim = match &key {
        None => Claim::Unrecorded,
        Some(key) => store.claim(key, b"client", |_| {}).expect("claim"),
    };
    let _ = transaction.claim(
        claim,
        Offered::default(),
        Following::Nothing,
        reply::OK.into(),
    );
    let _ = transaction.rcpt(b"RCPT TO:<b@example.net>").expect("RCPT");
    transaction.answer_recipient(0, reply::OK.into());
    let mut content = match (&key, transaction.data(Transfer::Data)) {
        (
            Some(key),
            DataOutcome::Confirm {
                generation,
                length,
                fresh,
            },
        ) => {
            let key = key.clone();
            let claim = ClaimToConfirm {
                key,
                generation,
                length,
                fresh,
            };
            transaction.confirm(smtp_checkpoint::checkpoint::Confirmation::Current);
            store.confirm(&claim).expect("confirmed")
        }
        _ => store.plain_content(),
    };
    let start = OctetOffset::default();
    store
        .append(&mut content, start, std::slice::from_ref(message))
        .expect("written");
    let size = OctetOffset::from(message.len() as u64);
    transaction.progress(size, Default::default());
    assert_eq!(transaction.end(size), EndOutcome::Decide);
    let decision = match (&key, transaction.snapshot()) {
        (Some(key), Some(record)) => store.begin_decision(key, &record, content).expect("begun"),
        _ => store.begin_plain_decision(transaction.envelope(), content),
    };
    let verdict = Verdict::from(reply::MESSAGE_ACCEPTED);
    store.commit(decision, &verdict).expect("committed");
    if let (Some(key), Some(generation)) = (&key, transaction.generation()) {
        store.release(key, generation);
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let folder = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join(format!("store_cost-{}", std::process::id()));
    println!("octets  spool      with a record  ratio  syncs  writes (spool / with a record)");
    for octets in [2_000, 50_000, 1_000_000] {
        let message = Bytes::from(vec![b'x'; octets]);
        let store = FileStore::open(&folder, Settings::default()).expect("store");
        let mut times = [Vec::new(), Vec::new()];
        let mut counts = [[0, 0]; 2];
        for round in 0..ROUNDS {
            // Whoever comes second finds a warmer disk: they take turns at that too.
            for which in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                let transid = format!("<{octets}.{round}@c.example>");
                let transid = (which == 1).then_some(&*transid);
                let before = (store.disk().syncs(), store.disk().writes());
                let start = Instant::now();
                deliver(&store, transid, &message);
                times[which].push(start.elapsed());
                counts[which] = [
                    store.disk().syncs() - before.0,
                    store.disk().writes() - before.1,
                ];
            }
        }
        let [spool, recorded] = &mut times;
        let (spool, recorded) = (median(spool), median(recorded));
        println!(
            "{octets:<7} {spool:<10.2?} {recorded:<14.2?} {:<6.3} {} / {}  {} / {}",
            recorded.as_secs_f64() / spool.as_secs_f64(),
            counts[0][0],
            counts[1][0],
            counts[0][1],
            counts[1][1],
        );
        drop(store);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
