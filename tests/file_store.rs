//! The examples' file store: crashed and failed at every operation, fenced, recovered.
#![cfg(feature = "session")]
#![allow(missing_docs, unreachable_pub, dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "file_store/detached.rs"]
mod detached;
#[path = "../examples/support/store/mod.rs"]
mod store;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Claim, Confirmation, DataOutcome, EndOutcome, Following, Generation, Identity, MailOutcome,
    Offered, RcptOutcome, Record, Scope, Transaction, TransactionKey, Transfer, Verdict,
};
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::reply::standard as reply;
use smtp_checkpoint::server::{AwaitAnswer, ClaimToConfirm, EndOfDataAnswer};
use smtp_checkpoint::transid::TransId;

use store::{ClaimError, CommitError, Content, Decision, FileStore, Settings, StoreError};

const MESSAGE: &[u8] = b"one\r\ntwo\r\nthree\r\nfour\r\n";
const MAIL: &[u8] = b"MAIL FROM:<a@c.example> TRANSID=<1@c.example>";
const RCPT: &[u8] = b"RCPT TO:<b@example.net>";

/// A directory that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("smtp-checkpoint-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn open(&self) -> FileStore {
        self.open_with(Settings::default())
    }

    fn open_with(&self, settings: Settings) -> FileStore {
        let takeover = Duration::ZERO; // nobody answers in these tests
        let settings = Settings {
            takeover,
            ..settings
        };
        FileStore::open(&self.0, settings).unwrap()
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.join(folder)).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        let is_message = |file: &PathBuf| file.extension().is_some_and(|ext| ext == "eml");
        let messages = self.files("delivered").into_iter().filter(is_message);
        messages.map(|file| fs::read(file).unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key(transid: &str) -> TransactionKey {
    let identity = Identity::Authenticated(b"c");
    let transid = TransId::parse(transid.as_bytes()).unwrap();
    TransactionKey::new(
        &Scope {
            identity,
            tls: true,
        },
        transid,
    )
}

/// Why an attempt ended without a final reply.
#[derive(Debug)]
enum Lost {
    /// 451 to MAIL.
    Refused,
    /// 421, or a connection that was closed.
    Closed,
}

/// One session with the store, as far as the store sees it.
struct Attempt<'a> {
    store: &'a FileStore,
    key: TransactionKey,
    generation: Generation,
    transaction: Transaction,
    content: Content,
    complete: bool,
}

impl<'a> Attempt<'a> {
    /// MAIL, RCPT and DATA.
    fn begin(store: &'a FileStore, transid: &str) -> Result<Self, Lost> {
        let key = key(transid);
        let claim = store
            .claim(&key, b"c", |_| {})
            .map_err(|_: ClaimError| Lost::Refused)?;
        let Claim::Claimed { generation, .. } = claim else {
            panic!("no limit is reached");
        };
        let mut transaction = Transaction::default();
        transaction.begin(MAIL, Some(key.clone())).unwrap();
        let ok = reply::OK.into();
        let fresh = match transaction.claim(claim, Offered::default(), Following::Nothing, ok) {
            MailOutcome::Fresh => true,
            MailOutcome::Restart(_) => false,
            MailOutcome::SequenceError => panic!("the same MAIL"),
        };
        let outcome = transaction.rcpt(RCPT).unwrap();
        assert_eq!(fresh, outcome == RcptOutcome::Ask { index: 0 });
        if fresh {
            let discard = transaction.answer_recipient(0, reply::OK.into());
            discard.inspect(|discard| store.discard(discard));
        }
        let DataOutcome::Confirm {
            generation,
            length,
            fresh,
        } = transaction.data(Transfer::Data)
        else {
            panic!("no claim to confirm for {generation}");
        };
        let claim = ClaimToConfirm {
            key: key.clone(),
            generation,
            length,
            fresh,
        };
        let content = store.confirm(&claim).map_err(|confirmation| {
            transaction.confirm(confirmation);
            Lost::Closed
        })?;
        assert_eq!(transaction.confirm(Confirmation::Current), None);
        let complete = transaction.is_complete();
        Ok(Self {
            store,
            key,
            generation,
            transaction,
            content,
            complete,
        })
    }

    fn offset(&self) -> usize {
        usize::try_from(self.transaction.length().get()).unwrap()
    }

    /// Content up to `end`.
    fn send(&mut self, end: usize) -> Result<(), Lost> {
        let start = self.offset();
        let octets = [Bytes::from_static(&MESSAGE[start..end])];
        let start = OctetOffset::from(start as u64);
        let stored = self.store.append(&mut self.content, start, &octets);
        stored.map_err(|_| Lost::Closed)?;
        let end = OctetOffset::from(end as u64);
        self.transaction.progress(end, Default::default());
        Ok(())
    }

    fn store_partial(&mut self) -> Result<(), StoreError> {
        let record = self.transaction.snapshot().unwrap();
        self.store
            .store_partial(&self.key, &mut self.content, &record)
    }

    /// All data is in.
    fn decide(mut self) -> Result<Decision, Lost> {
        let total = self.transaction.length();
        assert_eq!(self.transaction.end(total), EndOutcome::Decide);
        let record = self.transaction.snapshot().unwrap();
        self.store
            .begin_decision(&self.key, &record, self.content)
            .map_err(|_| Lost::Closed)
    }

    /// The end of the data and the final reply, whatever the state of the transaction.
    fn finish(mut self) -> Result<u16, Lost> {
        if self.complete {
            let total = self.transaction.length();
            return match self.transaction.end(total) {
                EndOutcome::Retained { completion, .. } => Ok(completion.replies[0].code().get()),
                other => panic!("{other:?}"),
            };
        }
        self.send(MESSAGE.len())?;
        let store = self.store;
        let verdict = Verdict::from(reply::MESSAGE_ACCEPTED);
        match store.commit(self.decide()?, &verdict) {
            Ok(()) => Ok(250),
            Err(error) => match error.answer(false) {
                EndOfDataAnswer::Decided(verdict) => Ok(verdict.replies()[0].code().get()),
                EndOfDataAnswer::Outdated => Err(Lost::Closed),
            },
        }
    }
}

/// A message that is checkpointed, interrupted, restarted and delivered.
fn story(store: &FileStore, transid: &str) -> Result<u16, Lost> {
    let mut first = Attempt::begin(store, transid)?;
    first.send(5)?;
    first.store_partial().map_err(|_| Lost::Closed)?;
    first.send(10)?;
    let _ = first.store_partial(); // interrupted: whether it is stored or not
    store.release(&first.key, first.generation);
    drop(first);
    let mut second = Attempt::begin(store, transid)?;
    second.send(17)?;
    second.finish()
}

#[test]
fn a_crash_at_every_operation_delivers_once() {
    let operations = {
        let folder = Folder::new();
        let store = folder.open();
        let before = store.disk().steps();
        assert_eq!(story(&store, "<1@c.example>").unwrap(), 250);
        store.disk().steps() - before
    };
    assert!(operations > 20, "{operations}");
    for crash in 0..=operations {
        let folder = Folder::new();
        let store = folder.open();
        store.disk().pull_plug_after(crash);
        let told = story(&store, "<1@c.example>");
        drop(store);
        let store = folder.open();
        if let Ok(250) = told {
            assert_eq!(
                folder.messages(),
                [MESSAGE],
                "crash {crash}: it was promised"
            );
        } else {
            assert!(folder.messages().len() <= 1, "crash {crash}");
        }
        if !matches!(told, Ok(451)) {
            let retried = Attempt::begin(&store, "<1@c.example>").and_then(Attempt::finish);
            assert_eq!(retried.unwrap(), 250, "crash {crash}");
            assert_eq!(folder.messages(), [MESSAGE], "crash {crash}");
            assert_eq!(folder.files("incoming"), [] as [&Path; 0], "crash {crash}");
            assert_eq!(folder.files("partial"), [] as [&Path; 0], "crash {crash}");
        } else {
            assert_eq!(folder.messages().len(), 0, "crash {crash}: it was refused");
        }
        drop(store);
        let _store = folder.open();
        assert!(folder.messages().len() <= 1, "crash {crash}, opened again");
    }
}

#[test]
fn an_operation_that_fails_at_any_point_delivers_once() {
    for failing in 0..60 {
        let folder = Folder::new();
        let mut store = folder.open();
        store.disk().fail_once_after(failing);
        let (mut transid, mut told) = ("<1@c.example>", story(&store, "<1@c.example>"));
        for attempt in 0.. {
            assert!(attempt < 3, "operation {failing}: {told:?}");
            match told {
                Ok(250) => break,
                // A final reply: the client tries again with a new one.
                Ok(451) => transid = "<2@c.example>",
                Ok(other) => panic!("operation {failing}: {other}"),
                // Not to be known before the store is opened again.
                Err(Lost::Refused) => {
                    drop(store);
                    store = folder.open();
                }
                Err(Lost::Closed) => {}
            }
            told = Attempt::begin(&store, transid).and_then(Attempt::finish);
        }
        drop(store);
        let _store = folder.open();
        assert_eq!(folder.messages(), [MESSAGE], "operation {failing}");
    }
}

#[test]
fn after_a_failed_sync_no_later_one_is_trusted() {
    let folder = Folder::new();
    let store = folder.open();
    let mut attempt = Attempt::begin(&store, "<1@c.example>").unwrap();
    attempt.send(5).unwrap();
    attempt.store_partial().unwrap();
    attempt.send(10).unwrap();
    store.disk().fail_once_after(0);
    assert!(matches!(
        attempt.store_partial(),
        Err(StoreError::Failed(_))
    ));
    assert!(matches!(
        attempt.store_partial(),
        Err(StoreError::Failed(_))
    ));
    assert!(attempt.send(17).is_err());
    let later = Attempt::begin(&store, "<1@c.example>").unwrap();
    assert_eq!(later.offset(), 5, "what was good before still is");
    assert_eq!(later.finish().unwrap(), 250);
    assert_eq!(folder.messages(), [MESSAGE]);
}

#[test]
fn the_later_of_two_sessions_wins_and_the_earlier_spoils_nothing() {
    let folder = Folder::new();
    let store = folder.open();
    let mut early = Attempt::begin(&store, "<1@c.example>").unwrap();
    early.send(10).unwrap();
    early.store_partial().unwrap();
    let late = Attempt::begin(&store, "<1@c.example>").unwrap();
    assert_eq!(late.offset(), 10);

    early.send(17).unwrap(); // into a segment that counts up to 10
    assert!(matches!(early.store_partial(), Err(StoreError::Outdated)));
    let discard = early.transaction.reset().unwrap();
    store.discard(&discard);
    assert_eq!(late.finish().unwrap(), 250);
    assert!(matches!(early.decide(), Err(Lost::Closed)));
    assert_eq!(folder.messages(), [MESSAGE]);
}

#[test]
fn a_decision_belongs_to_the_record() {
    let folder = Folder::new();
    let store = folder.open();
    let mut early = Attempt::begin(&store, "<1@c.example>").unwrap();
    early.send(MESSAGE.len()).unwrap();
    let decision = early.decide().unwrap();
    let mut late = Attempt::begin(&store, "<1@c.example>").unwrap();
    assert_eq!(late.offset(), MESSAGE.len());
    assert_eq!(
        late.transaction.end((MESSAGE.len() as u64).into()),
        EndOutcome::Await
    );
    let (tell, told) = mpsc::channel();
    store.await_decision(&late.key, late.generation, move |answer| {
        tell.send(answer).unwrap();
    });
    assert!(told.try_recv().is_err());
    let verdict = Verdict::from(reply::MESSAGE_ACCEPTED);
    store.commit(decision, &verdict).unwrap();
    let answer = told.recv().unwrap();
    assert!(matches!(answer, AwaitAnswer::Decided(made) if made.replies == verdict.replies()));
    assert_eq!(folder.messages(), [MESSAGE]);
}

#[test]
fn a_decision_is_withdrawn_or_committed_never_both() {
    let folder = Folder::new();
    let store = folder.open();
    let mut early = Attempt::begin(&store, "<1@c.example>").unwrap();
    early.send(MESSAGE.len()).unwrap();
    let decision = early.decide().unwrap();
    let handle = decision.handle();
    assert!(store.withdraw(&handle));
    let verdict = Verdict::from(reply::MESSAGE_ACCEPTED);
    let refused = store.commit(decision, &verdict);
    assert!(matches!(refused, Err(CommitError::Withdrawn)));
    assert_eq!(folder.messages().len(), 0);

    // All data is there, also after a crash: nothing is sent again.
    drop(store);
    let store = folder.open();
    let late = Attempt::begin(&store, "<1@c.example>").unwrap();
    assert_eq!(late.offset(), MESSAGE.len());
    let decision = late.decide().unwrap();
    let handle = decision.handle();
    store.commit(decision, &verdict).unwrap();
    assert!(!store.withdraw(&handle));
    assert_eq!(folder.messages(), [MESSAGE]);
}

#[test]
fn a_record_that_cannot_be_read_is_an_error_and_stays() {
    let folder = Folder::new();
    let store = folder.open();
    let mut attempt = Attempt::begin(&store, "<1@c.example>").unwrap();
    attempt.send(10).unwrap();
    attempt.store_partial().unwrap();
    drop(store);

    let [file] = &folder.files("partial")[..] else {
        panic!("one record");
    };
    let good = fs::read(file).unwrap();
    let mut damaged = good.clone();
    let last = damaged.len() - 5;
    damaged[last] ^= 1;
    fs::write(file, damaged).unwrap();
    for _ in 0..2 {
        let store = folder.open();
        assert!(matches!(
            Attempt::begin(&store, "<1@c.example>"),
            Err(Lost::Refused)
        ));
        store.expire(SystemTime::now() + Duration::from_secs(1 << 30));
    }
    // Somebody has mended it.
    fs::write(file, good).unwrap();
    let store = folder.open();
    let attempt = Attempt::begin(&store, "<1@c.example>").unwrap();
    assert_eq!(attempt.offset(), 10);
    assert_eq!(attempt.finish().unwrap(), 250);
    assert_eq!(folder.messages(), [MESSAGE]);
}

#[test]
fn a_record_whose_content_is_lost_is_dropped() {
    let folder = Folder::new();
    let store = folder.open();
    let mut attempt = Attempt::begin(&store, "<1@c.example>").unwrap();
    attempt.send(10).unwrap();
    attempt.store_partial().unwrap();
    let [segment] = &folder.files("incoming")[..] else {
        panic!("one segment");
    };
    let file = fs::OpenOptions::new().write(true).open(segment).unwrap();
    file.set_len(9).unwrap();
    let later = Attempt::begin(&store, "<1@c.example>").unwrap();
    assert_eq!(later.offset(), 0);
    assert_eq!(folder.files("partial").len(), 0);
    assert_eq!(later.finish().unwrap(), 250);
    assert_eq!(folder.messages(), [MESSAGE]);
}

#[test]
fn the_content_that_vanishes_behind_a_claim_is_noticed_before_the_data() {
    let folder = Folder::new();
    let store = folder.open();
    let mut attempt = Attempt::begin(&store, "<1@c.example>").unwrap();
    attempt.send(10).unwrap();
    attempt.store_partial().unwrap();
    let key = key("<1@c.example>");
    let Ok(Claim::Claimed { generation, found }) = store.claim(&key, b"c", |_| {}) else {
        panic!("claimed");
    };
    fs::remove_file(&folder.files("incoming")[0]).unwrap();
    let claim = ClaimToConfirm {
        key,
        generation,
        length: found.unwrap().length(),
        fresh: false,
    };
    let confirmed = store.confirm(&claim);
    assert_eq!(confirmed.err(), Some(Confirmation::WrongLength));
}

#[test]
fn what_an_older_transaction_left_does_not_stand_beside_a_fresh_one() {
    let folder = Folder::new();
    let store = folder.open();
    let mut attempt = Attempt::begin(&store, "<1@c.example>").unwrap();
    attempt.send(10).unwrap();
    attempt.store_partial().unwrap();
    let key = key("<1@c.example>");
    let Ok(Claim::Claimed { generation, .. }) = store.claim(&key, b"c", |_| {}) else {
        panic!("claimed");
    };
    // Another MAIL, so all anew; and no advice to discard has come.
    let length = OctetOffset::default();
    let claim = ClaimToConfirm {
        key,
        generation,
        length,
        fresh: true,
    };
    store.confirm(&claim).unwrap();
    let left = folder.files("partial").len() + folder.files("incoming").len();
    assert_eq!(left, 0);
}

#[test]
fn what_is_old_goes_and_what_is_held_stays() {
    let folder = Folder::new();
    let store = folder.open();
    let hours = |hours: u64| SystemTime::now() + Duration::from_secs(hours * 3600);
    let mut attempt = Attempt::begin(&store, "<1@c.example>").unwrap();
    attempt.send(10).unwrap();
    attempt.store_partial().unwrap();
    store.expire(hours(49));
    assert_eq!(folder.files("partial").len(), 1, "a session holds it");
    store.release(&attempt.key, attempt.generation);
    store.expire(hours(47));
    assert_eq!(folder.files("partial").len(), 1);
    store.expire(hours(49));
    assert_eq!(folder.files("partial").len(), 0);
    assert_eq!(folder.files("incoming").len(), 0);

    let attempt = Attempt::begin(&store, "<2@c.example>").unwrap();
    let (key, generation) = (attempt.key.clone(), attempt.generation);
    attempt.finish().unwrap();
    store.release(&key, generation);
    fs::remove_file(&folder.files("delivered")[0]).unwrap(); // taken away
    store.expire(hours(2));
    assert_eq!(folder.files("delivered").len(), 1, "the completion record");
    store.shorten_retention(&[key]);
    store.expire(hours(2));
    assert_eq!(folder.files("delivered").len(), 0);
}

#[test]
fn over_a_limit_a_transaction_has_no_record_and_others_keep_theirs() {
    let folder = Folder::new();
    let store = folder.open_with(Settings {
        records_per_owner: 2,
        records: 3,
        ..Settings::default()
    });
    let claim = |transid: &str, owner: &[u8]| store.claim(&key(transid), owner, |_| {}).unwrap();
    let is_claimed = |claim| matches!(claim, Claim::Claimed { .. });
    assert!(is_claimed(claim("<1@x>", b"x")));
    assert!(is_claimed(claim("<2@x>", b"x")));
    assert_eq!(claim("<3@x>", b"x"), Claim::Unrecorded);
    assert!(is_claimed(claim("<4@y>", b"y")));
    assert_eq!(claim("<5@z>", b"z"), Claim::Unrecorded);
    let Claim::Claimed { generation, .. } = claim("<1@x>", b"x") else {
        panic!("what is there can be claimed");
    };
    store.release(&key("<1@x>"), generation);
    assert!(is_claimed(claim("<3@x>", b"x")));
}

#[test]
fn a_refusal_is_retained_and_a_passing_one_given_once_more() {
    for (verdict, transient) in [
        (Verdict::from(reply::TRANSACTION_FAILED), false),
        (Verdict::from(reply::LOCAL_ERROR), true),
    ] {
        let folder = Folder::new();
        let store = folder.open();
        let mut attempt = Attempt::begin(&store, "<1@c.example>").unwrap();
        attempt.send(MESSAGE.len()).unwrap();
        store.commit(attempt.decide().unwrap(), &verdict).unwrap();
        drop(store);
        let store = folder.open();
        assert_eq!(
            folder.files("delivered").len() + folder.files("incoming").len(),
            0
        );
        let mut later = Attempt::begin(&store, "<1@c.example>").unwrap();
        let outcome = later.transaction.end((MESSAGE.len() as u64).into());
        let EndOutcome::Retained {
            completion,
            discard,
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        assert_eq!(completion.replies, verdict.replies());
        assert_eq!(discard.is_some(), transient);
        if let Some(discard) = discard {
            store.discard(&discard);
        }
        assert_eq!(folder.files("refused").is_empty(), transient);
    }
}

#[test]
fn a_record_survives_its_text_form() {
    let folder = Folder::new();
    let store = folder.open();
    let mut attempt = Attempt::begin(&store, "<1@c.example>").unwrap();
    attempt.send(10).unwrap();
    let record: Record = *attempt.transaction.snapshot().unwrap();
    attempt.store_partial().unwrap();
    let found = store.claim(&attempt.key, b"c", |_| {}).unwrap();
    assert!(matches!(found, Claim::Claimed { found: Some(found), .. } if *found == record));
}

#[test]
fn an_empty_message_is_delivered() {
    let folder = Folder::new();
    let store = folder.open();
    let attempt = Attempt::begin(&store, "<1@c.example>").unwrap();
    let decision = attempt.decide().unwrap();
    let verdict = Verdict::from(reply::MESSAGE_ACCEPTED);
    store.commit(decision, &verdict).unwrap();
    assert_eq!(folder.messages(), [b""]);
}

#[test]
fn a_commit_is_as_dear_with_a_record_as_without() {
    let folder = Folder::new();
    let store = folder.open();
    let disk = store.disk();
    let verdict = Verdict::from(reply::MESSAGE_ACCEPTED);
    let mut attempt = Attempt::begin(&store, "<1@c.example>").unwrap();
    attempt.send(MESSAGE.len()).unwrap();
    let envelope = attempt.transaction.envelope().clone();
    assert_eq!((disk.syncs(), disk.writes()), (6, 1), "6 to open the store");
    store.commit(attempt.decide().unwrap(), &verdict).unwrap();
    // Content and envelope, and the directory of each.
    assert_eq!((disk.syncs(), disk.writes()), (10, 2));

    let mut content = store.plain_content();
    let octets = [Bytes::from_static(MESSAGE)];
    let start = OctetOffset::default();
    store.append(&mut content, start, &octets).unwrap();
    let decision = store.begin_plain_decision(&envelope, content);
    store.commit(decision, &verdict).unwrap();
    assert_eq!((disk.syncs(), disk.writes()), (14, 4));
}

#[test]
fn a_committed_message_that_could_not_be_moved_is_moved_later() {
    for opened_again in [false, true] {
        let folder = Folder::new();
        let mut store = folder.open();
        let mut attempt = Attempt::begin(&store, "<1@c.example>").unwrap();
        attempt.send(10).unwrap();
        attempt.store_partial().unwrap();
        attempt.send(MESSAGE.len()).unwrap();
        let decision = attempt.decide().unwrap();
        // The last of a commit: sync twice, create, write, sync, rename, sync, rename.
        store.disk().fail_once_after(7);
        let verdict = Verdict::from(reply::MESSAGE_ACCEPTED);
        store.commit(decision, &verdict).unwrap();
        assert_eq!(folder.messages().len(), 0);
        if opened_again {
            drop(store);
            store = folder.open();
        } else {
            Attempt::begin(&store, "<1@c.example>").unwrap();
        }
        assert_eq!(folder.messages(), [MESSAGE]);
        drop(store);
        let _store = folder.open();
        assert_eq!(folder.messages(), [MESSAGE]);
    }
}

#[test]
fn a_record_that_comes_behind_the_decision_is_late() {
    let folder = Folder::new();
    let store = folder.open();
    let mut attempt = Attempt::begin(&store, "<1@c.example>").unwrap();
    assert_eq!(attempt.transaction.end(0.into()), EndOutcome::Decide);
    let record = attempt.transaction.snapshot().unwrap();
    let Attempt { key, content, .. } = attempt;
    let decision = store.begin_decision(&key, &record, content).unwrap();
    let late = |store: &FileStore| {
        let stored = store.store_partial(&key, &mut store.plain_content(), &record);
        matches!(stored, Err(StoreError::Outdated))
    };
    assert!(late(&store));
    let verdict = Verdict::from(reply::MESSAGE_ACCEPTED);
    store.commit(decision, &verdict).unwrap();
    assert!(late(&store));
    assert_eq!(folder.files("partial").len(), 0);
}
