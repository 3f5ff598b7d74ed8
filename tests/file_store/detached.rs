//! Messages that their clients leave to the store: owned or not, decided on and reported once,
//! wherever the crash comes.

use std::time::{Duration, SystemTime};

use smtp_checkpoint::checkpoint::{EndOutcome, Verdict};
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::rdlv::{LimiterBounds, ResetAnswer};
use smtp_checkpoint::reply::standard as reply;
use smtp_checkpoint::server::AwaitAnswer;

use super::store::{DecisionHandle, Detached, Due, Failures};
use super::*;

const NOTIFICATION: &[u8] = b"to whom it may concern";

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Accepted,
    /// For some, and the others are reported with the commit.
    AcceptedPartly,
    Refused,
}

const FATES: [Fate; 3] = [Fate::Accepted, Fate::AcceptedPartly, Fate::Refused];

impl Fate {
    fn verdict(self) -> Verdict {
        match self {
            Self::Accepted => reply::MESSAGE_ACCEPTED.into(),
            Self::AcceptedPartly => Verdict::from(reply::MESSAGE_ACCEPTED).with_dsn_issued(),
            Self::Refused => reply::TRANSACTION_FAILED.into(),
        }
    }

    fn commit(self, store: &FileStore, decision: Decision) -> Result<(), CommitError> {
        let failures = Failures {
            recipients: Vec::new(),
            notification: (self == Self::AcceptedPartly).then(|| NOTIFICATION.to_vec()),
        };
        store.commit_partly(decision, &self.verdict(), &failures)
    }

    /// Messages and notifications that come of it once nobody but the store is left.
    fn leaves(self) -> (usize, usize) {
        match self {
            Self::Accepted => (1, 0),
            Self::AcceptedPartly => (1, 1),
            Self::Refused => (0, 1),
        }
    }
}

/// What the mail system does at its start, and whenever a session or a decision ends.
fn see_to_duties(store: &FileStore, fate: Fate) {
    for _ in 0..2 {
        for key in store.due() {
            match store.take_due(key) {
                Ok(Some(Due::Decide(decision))) => drop(fate.commit(store, decision)),
                Ok(Some(Due::Report(due))) => drop(store.report(&due, NOTIFICATION)),
                Ok(None) | Err(_) => {}
            }
        }
    }
}

/// Messages and notifications, all of them whole.
fn outcome(folder: &Folder) -> (usize, usize) {
    let messages = folder.messages();
    assert!(messages.iter().all(|message| message == MESSAGE));
    let notifications = folder.files("dsn");
    for notification in &notifications {
        assert_eq!(fs::read(notification).unwrap(), NOTIFICATION);
    }
    (messages.len(), notifications.len())
}

/// After all is done nothing is left to do, also if whoever sends notifications has taken them.
fn nothing_is_due(folder: &Folder, fate: Fate) {
    let messages = folder.messages().len();
    for file in folder.files("dsn") {
        fs::remove_file(file).unwrap();
    }
    let store = folder.open();
    assert_eq!(store.due(), []);
    see_to_duties(&store, fate);
    assert_eq!(outcome(folder), (messages, 0));
    for left in ["incoming", "partial"] {
        assert_eq!(folder.files(left), [] as [&Path; 0], "{left}");
    }
}

/// Whether the client has a TRANSID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Yes,
    No,
}

/// A message that is being decided on.
struct Begun {
    key: TransactionKey,
    generation: Generation,
    decision: Decision,
    handle: DecisionHandle,
}

const TRANSID: &str = "<1@c.example>";

fn begin(store: &FileStore, named: Named, parts: &[usize]) -> Result<Begun, Lost> {
    let mut attempt = Attempt::begin(store, TRANSID)?;
    let (key, generation) = (attempt.key.clone(), attempt.generation);
    let decision = match named {
        Named::Yes => {
            for end in parts {
                attempt.send(*end)?;
                // Interrupted, and continued by another session.
                attempt.store_partial().map_err(|_| Lost::Closed)?;
                store.release(&key, attempt.generation);
                attempt = Attempt::begin(store, TRANSID)?;
            }
            attempt.send(MESSAGE.len())?;
            let generation = attempt.generation;
            let decision = attempt.decide()?;
            return Ok(Begun {
                handle: decision.handle(),
                key,
                generation,
                decision,
            });
        }
        Named::No => {
            let envelope: Envelope = attempt.transaction.envelope().clone();
            store.release(&key, generation);
            let mut content = store.plain_content();
            let octets = [Bytes::from_static(MESSAGE)];
            let start = OctetOffset::default();
            let appended = store.append(&mut content, start, &octets);
            appended.map_err(|_| Lost::Closed)?;
            store.begin_plain_decision(&envelope, content)
        }
    };
    Ok(Begun {
        handle: decision.handle(),
        key,
        generation,
        decision,
    })
}

impl Begun {
    fn detach(&self, store: &FileStore, named: Named) -> std::io::Result<Detached> {
        match named {
            Named::Yes => store.detach(&self.key, self.generation),
            Named::No => store.detach_plain(&self.handle, b"c"),
        }
    }
}

/// DETA, the end of the session, the decision and what follows. Whether 221 was said.
fn leave(store: &FileStore, named: Named, fate: Fate) -> Result<bool, Lost> {
    let begun = begin(store, named, &[5])?;
    let owned = matches!(begun.detach(store, named), Ok(Detached::Owned));
    if !owned && named == Named::No && store.withdraw(&begun.handle) {
        // The connection is lost, and nobody could ask for the outcome.
        let _ = fate.commit(store, begun.decision);
        return Ok(false);
    }
    store.release(&begun.key, begun.generation);
    let _ = fate.commit(store, begun.decision);
    see_to_duties(store, fate);
    Ok(owned)
}

fn operations(named: Named, fate: Fate) -> u64 {
    let folder = Folder::new();
    let store = folder.open();
    let before = store.disk().steps();
    assert!(leave(&store, named, fate).unwrap());
    assert_eq!(outcome(&folder), fate.leaves(), "{named:?} {fate:?}");
    store.disk().steps() - before
}

#[test]
fn what_is_owned_is_delivered_or_reported_once_whenever_the_crash_comes() {
    for named in [Named::Yes, Named::No] {
        for fate in FATES {
            let operations = operations(named, fate);
            assert!(operations > 15, "{operations}");
            for crash in 0..=operations {
                let case = format!("{named:?}, {fate:?}, crash {crash}");
                let folder = Folder::new();
                let store = folder.open();
                store.disk().pull_plug_after(crash);
                let owned = leave(&store, named, fate).unwrap_or(false);
                drop(store);
                // A crash while the store is being opened is one of these, too.
                let store = folder.open();
                see_to_duties(&store, fate);
                let (messages, notifications) = outcome(&folder);
                if owned {
                    assert_eq!((messages, notifications), fate.leaves(), "{case}");
                } else {
                    assert!(messages <= 1 && notifications <= 1, "{case}");
                }
                drop(store);
                if owned || named == Named::No {
                    nothing_is_due(&folder, fate);
                }
            }
        }
    }
}

#[test]
fn a_crash_while_a_crash_is_cleaned_up_changes_nothing() {
    for fate in FATES {
        for crash in 0..40 {
            let folder = Folder::new();
            let store = folder.open();
            let begun = begin(&store, Named::Yes, &[]).unwrap();
            assert_eq!(begun.detach(&store, Named::Yes).unwrap(), Detached::Owned);
            drop((begun, store));
            let store = folder.open();
            store.disk().pull_plug_after(crash);
            see_to_duties(&store, fate);
            drop(store);
            let store = folder.open();
            see_to_duties(&store, fate);
            assert_eq!(outcome(&folder), fate.leaves(), "{fate:?}, crash {crash}");
            drop(store);
            nothing_is_due(&folder, fate);
        }
    }
}

#[test]
fn an_operation_that_fails_owns_or_does_not_and_loses_nothing() {
    for named in [Named::Yes, Named::No] {
        for fate in FATES {
            for failing in 0..=operations(named, fate) {
                let case = format!("{named:?}, {fate:?}, operation {failing}");
                let folder = Folder::new();
                let store = folder.open();
                store.disk().fail_once_after(failing);
                let owned = leave(&store, named, fate).unwrap_or(false);
                // It is tried again now and then, and at the next start.
                see_to_duties(&store, fate);
                drop(store);
                let store = folder.open();
                see_to_duties(&store, fate);
                let (messages, notifications) = outcome(&folder);
                if owned {
                    assert_eq!((messages, notifications), fate.leaves(), "{case}");
                } else {
                    assert!(messages <= 1 && notifications <= 1, "{case}");
                }
            }
        }
    }
}

/// The client lost the 221, comes back and waits.
fn come_back(store: &FileStore) -> Result<(TransactionKey, Generation), Lost> {
    let mut attempt = Attempt::begin(store, TRANSID)?;
    assert!(attempt.complete);
    let total = attempt.transaction.length();
    assert_eq!(usize::try_from(total.get()).unwrap(), MESSAGE.len());
    let outcome = attempt.transaction.end(total);
    assert_eq!(outcome, EndOutcome::Await);
    assert!(attempt.transaction.takes_back());
    Ok((attempt.key, attempt.generation))
}

/// DETA, the loss of the connection, a restart, and RSET. Whether 250 was said to that.
fn stop(store: &FileStore) -> Result<bool, Lost> {
    let begun = begin(store, Named::Yes, &[5])?;
    let owned = begun.detach(store, Named::Yes);
    if !matches!(owned, Ok(Detached::Owned)) {
        return Ok(false);
    }
    store.release(&begun.key, begun.generation);
    let (key, generation) = come_back(store)?;
    let (tell, told) = mpsc::channel();
    store.await_decision(&key, generation, move |answer| {
        tell.send(answer).unwrap();
    });
    let stopped = store.abort(&key, generation) == ResetAnswer::Aborted;
    if stopped {
        assert_eq!(told.try_recv(), Ok(AwaitAnswer::Outdated));
    }
    store.release(&key, generation);
    let committed = Fate::Accepted.commit(store, begun.decision);
    assert!(!stopped || matches!(committed, Err(CommitError::Withdrawn)));
    Ok(stopped)
}

#[test]
fn what_is_stopped_is_not_decided_on_whenever_the_crash_comes() {
    let operations = {
        let folder = Folder::new();
        let store = folder.open();
        let before = store.disk().steps();
        assert!(stop(&store).unwrap());
        assert_eq!(store.due(), []);
        store.disk().steps() - before
    };
    for fails in [false, true] {
        for step in 0..=operations {
            let folder = Folder::new();
            let store = folder.open();
            if fails {
                store.disk().fail_once_after(step);
            } else {
                store.disk().pull_plug_after(step);
            }
            let stopped = stop(&store).unwrap_or(false);
            drop(store);
            let store = folder.open();
            see_to_duties(&store, Fate::Accepted);
            let (messages, notifications) = outcome(&folder);
            let most = if stopped { 0 } else { 1 };
            assert!(messages <= most, "step {step}: {messages}");
            assert_eq!(notifications, 0, "step {step}");
        }
    }
}

/// DETA, the loss of the connection, a restart that waits, and the final reply. Whether the store
/// knows that the client has it.
fn hear(store: &FileStore) -> Result<bool, Lost> {
    let begun = begin(store, Named::Yes, &[5])?;
    let owned = begun.detach(store, Named::Yes);
    if !matches!(owned, Ok(Detached::Owned)) {
        return Ok(false);
    }
    store.release(&begun.key, begun.generation);
    let (key, generation) = come_back(store)?;
    let (tell, told) = mpsc::channel();
    store.await_decision(&key, generation, move |answer| {
        tell.send(answer).unwrap();
    });
    let _ = Fate::Refused.commit(store, begun.decision);
    see_to_duties(store, Fate::Refused); // the session holds the key
    let Ok(AwaitAnswer::Decided(completion)) = told.try_recv() else {
        return Ok(false);
    };
    assert_eq!(completion.replies, Fate::Refused.verdict().replies());
    let heard = store.take_back(&key, generation).is_ok();
    store.release(&key, generation);
    see_to_duties(store, Fate::Refused);
    Ok(heard)
}

#[test]
fn what_the_client_has_heard_is_not_reported_whenever_the_crash_comes() {
    let operations = {
        let folder = Folder::new();
        let store = folder.open();
        let before = store.disk().steps();
        assert!(hear(&store).unwrap());
        store.disk().steps() - before
    };
    for fails in [false, true] {
        for step in 0..=operations {
            let folder = Folder::new();
            let store = folder.open();
            if fails {
                store.disk().fail_once_after(step);
            } else {
                store.disk().pull_plug_after(step);
            }
            let heard = hear(&store).unwrap_or(false);
            drop(store);
            let store = folder.open();
            see_to_duties(&store, Fate::Refused);
            let (messages, notifications) = outcome(&folder);
            let most = if heard { 0 } else { 1 };
            assert!(notifications <= most, "step {step}: {notifications}");
            assert_eq!(messages, 0, "step {step}");
        }
    }
}

/// The next sync would succeed, and the octets be gone all the same.
#[test]
fn after_a_failed_sync_nothing_is_owned_called_back_or_committed() {
    for named in [Named::Yes, Named::No] {
        let folder = Folder::new();
        let store = folder.open();
        let begun = begin(&store, named, &[]).unwrap();
        store.disk().fail_once_after(0);
        assert!(begun.detach(&store, named).is_err());
        assert!(begun.detach(&store, named).is_err());
        let committed = Fate::Accepted.commit(&store, begun.decision);
        assert!(matches!(committed, Err(CommitError::Failed(_))));
        assert_eq!(outcome(&folder), (0, 0), "{named:?}");
    }
}

/// A detached message, its client gone.
fn detached(store: &FileStore) -> Decision {
    let begun = begin(store, Named::Yes, &[]).unwrap();
    assert_eq!(begun.detach(store, Named::Yes).unwrap(), Detached::Owned);
    store.release(&begun.key, begun.generation);
    begun.decision
}

#[test]
fn nothing_is_reported_while_a_session_holds_the_key() {
    let folder = Folder::new();
    let store = folder.open();
    let decision = detached(&store);
    let (key, generation) = come_back(&store).unwrap();
    Fate::Refused.commit(&store, decision).unwrap();
    see_to_duties(&store, Fate::Refused);
    assert_eq!(outcome(&folder), (0, 0));
    // It is lost before it has given the reply.
    store.release(&key, generation);
    let [due] = store.due()[..] else {
        panic!("one is due");
    };
    let Ok(Some(Due::Report(due))) = store.take_due(due) else {
        panic!("to be reported");
    };
    // And before that is done another one comes.
    let (key, generation) = come_back(&store).unwrap();
    store.report(&due, NOTIFICATION).unwrap();
    assert_eq!(outcome(&folder), (0, 0));
    store.release(&key, generation);
    store.report(&due, NOTIFICATION).unwrap();
    store.report(&due, NOTIFICATION).unwrap();
    assert_eq!(outcome(&folder), (0, 1));
    // From now on the failure is answered 250: reported by DSN.
    let mut late = Attempt::begin(&store, TRANSID).unwrap();
    let end = late.transaction.end((MESSAGE.len() as u64).into());
    let EndOutcome::Retained { completion, .. } = end else {
        panic!("{end:?}");
    };
    assert_eq!(completion.replies, [reply::REPORTED_BY_DSN.into()]);
}

#[test]
fn a_decision_that_is_made_is_left_to_the_store_with_its_failure() {
    let folder = Folder::new();
    let store = folder.open();
    let begun = begin(&store, Named::Yes, &[]).unwrap();
    Fate::Refused.commit(&store, begun.decision).unwrap();
    assert_eq!(store.due(), []);
    let left = store.detach(&begun.key, begun.generation).unwrap();
    assert_eq!(left, Detached::Owned);
    see_to_duties(&store, Fate::Refused);
    assert_eq!(outcome(&folder), (0, 0), "a session holds the key");
    store.release(&begun.key, begun.generation);
    see_to_duties(&store, Fate::Refused);
    assert_eq!(outcome(&folder), (0, 1));

    // Without a record it is the caller's to report.
    let begun = begin(&store, Named::No, &[]).unwrap();
    Fate::Refused.commit(&store, begun.decision).unwrap();
    let replies = Fate::Refused.verdict().replies().to_vec();
    let left = store.detach_plain(&begun.handle, b"c").unwrap();
    assert_eq!(left, Detached::Decided(replies));
    store.report_plain(NOTIFICATION).unwrap();
    assert_eq!(outcome(&folder), (0, 2));
}

#[test]
fn a_decision_that_was_called_back_is_nobodys_to_own() {
    let folder = Folder::new();
    let store = folder.open();
    let begun = begin(&store, Named::No, &[]).unwrap();
    assert!(store.withdraw(&begun.handle));
    let late = store.detach_plain(&begun.handle, b"c").unwrap();
    assert_eq!(late, Detached::NothingHeld);
    let gone = Fate::Accepted.commit(&store, begun.decision);
    assert!(matches!(gone, Err(CommitError::Withdrawn)));
    let begun = begin(&store, Named::Yes, &[]).unwrap();
    let later = store.claim(&begun.key, b"c", |_| {}).unwrap();
    assert!(matches!(later, Claim::Claimed { .. }));
    let late = store.detach(&begun.key, begun.generation).unwrap();
    assert_eq!(late, Detached::Outdated);
    assert_eq!(
        store.abort(&begun.key, begun.generation),
        ResetAnswer::Outdated
    );
    assert_eq!(store.due(), []);
}

#[test]
fn what_is_left_to_the_store_cannot_be_called_back_by_its_session() {
    let folder = Folder::new();
    let store = folder.open();
    let begun = begin(&store, Named::No, &[]).unwrap();
    assert_eq!(begun.detach(&store, Named::No).unwrap(), Detached::Owned);
    assert!(!store.withdraw(&begun.handle));
    Fate::Accepted.commit(&store, begun.decision).unwrap();
    assert_eq!(outcome(&folder), (1, 0));

    // With a record it can, and is still the store's.
    let decision = detached(&store);
    assert!(store.withdraw(&decision.handle()));
    let committed = Fate::Accepted.commit(&store, decision);
    assert!(matches!(committed, Err(CommitError::Withdrawn)));
    see_to_duties(&store, Fate::Accepted);
    assert_eq!(outcome(&folder), (2, 0));
}

#[test]
fn too_late_to_stop_what_is_committed() {
    let folder = Folder::new();
    let store = folder.open();
    for fate in FATES {
        let begun = begin(&store, Named::Yes, &[]).unwrap();
        fate.commit(&store, begun.decision).unwrap();
        assert_eq!(
            store.abort(&begun.key, begun.generation),
            ResetAnswer::TooLate
        );
        store.release(&begun.key, begun.generation);
        store.shorten_retention(std::slice::from_ref(&begun.key));
        for file in folder.files("delivered") {
            let is_message = file.extension().is_some_and(|ext| ext == "eml");
            is_message.then(|| fs::remove_file(file).unwrap());
        }
        store.expire(SystemTime::now() + Duration::from_secs(2 * 3600));
    }
}

#[test]
fn a_duty_never_expires_and_what_has_none_does() {
    let folder = Folder::new();
    let store = folder.open();
    let later = SystemTime::now() + Duration::from_secs(49 * 3600);
    drop(detached(&store));
    drop(store);
    let store = folder.open();
    store.expire(later);
    assert_eq!(folder.files("partial").len(), 1);
    let [key] = store.due()[..] else {
        panic!("one is due");
    };
    let Ok(Some(Due::Decide(decision))) = store.take_due(key) else {
        panic!("to be decided on");
    };
    Fate::Refused.commit(&store, decision).unwrap();
    store.expire(later);
    assert_eq!(folder.files("refused").len(), 1);
    // Also if it was found to be old.
    drop(store);
    let settings = Settings {
        retention: Duration::ZERO,
        ..Settings::default()
    };
    let store = folder.open_with(settings.clone());
    store.expire(later);
    assert_eq!(folder.files("refused").len(), 1);
    see_to_duties(&store, Fate::Refused);
    assert_eq!(outcome(&folder), (0, 1));
    store.expire(later);
    assert_eq!(folder.files("refused").len(), 0);
}

#[test]
fn an_empty_message_is_owned_like_any_other() {
    let folder = Folder::new();
    let store = folder.open();
    let attempt = Attempt::begin(&store, TRANSID).unwrap();
    let (key, generation) = (attempt.key.clone(), attempt.generation);
    let decision = attempt.decide().unwrap();
    assert_eq!(store.detach(&key, generation).unwrap(), Detached::Owned);
    drop((decision, store));

    // Its length is that of a transaction that starts afresh.
    let store = folder.open();
    let mut back = Attempt::begin(&store, TRANSID).unwrap();
    assert_eq!(back.transaction.end(0.into()), EndOutcome::Await);
    let (tell, told) = mpsc::channel();
    store.await_decision(&back.key, back.generation, move |answer| {
        tell.send(answer).unwrap();
    });
    assert_eq!(told.try_recv(), Ok(AwaitAnswer::Withdrawn), "decide anew");
    store.release(&back.key, back.generation);
    see_to_duties(&store, Fate::Accepted);
    assert_eq!(folder.messages(), [b""]);
}

#[test]
fn a_session_that_came_back_decides_anew_what_nobody_decides_on() {
    let folder = Folder::new();
    let store = folder.open();
    drop(detached(&store));
    drop(store);
    let store = folder.open();
    let mut back = Attempt::begin(&store, TRANSID).unwrap();
    let total = back.transaction.length();
    assert_eq!(back.transaction.end(total), EndOutcome::Await);
    assert!(
        store
            .due()
            .iter()
            .all(|key| matches!(store.take_due(*key), Ok(None)))
    );
    back.transaction.decide_anew();
    let record = back.transaction.snapshot().unwrap();
    assert!(record.is_detached());
    let decision = store
        .begin_decision(&back.key, &record, back.content)
        .unwrap();
    Fate::Refused.commit(&store, decision).unwrap();
    // It is lost before the reply is transmitted.
    store.release(&back.key, back.generation);
    see_to_duties(&store, Fate::Refused);
    assert_eq!(outcome(&folder), (0, 1));
}

#[test]
fn what_is_owned_and_cannot_be_read_any_more_is_kept_for_somebody_to_look_at() {
    let folder = Folder::new();
    let store = folder.open();
    drop(detached(&store));
    drop(store);
    let [segment] = &folder.files("incoming")[..] else {
        panic!("one segment");
    };
    let whole = fs::read(segment).unwrap();
    fs::write(segment, &whole[1..]).unwrap();
    let store = folder.open();
    see_to_duties(&store, Fate::Accepted);
    assert!(matches!(
        Attempt::begin(&store, TRANSID),
        Err(Lost::Refused)
    ));
    assert_eq!(folder.files("partial").len(), 1);
    drop(store);
    fs::write(segment, whole).unwrap();
    let store = folder.open();
    see_to_duties(&store, Fate::Accepted);
    assert_eq!(outcome(&folder), (1, 0));
}

#[test]
fn a_damaged_record_of_a_message_without_a_transid_keeps_its_content() {
    let folder = Folder::new();
    let store = folder.open();
    let begun = begin(&store, Named::No, &[]).unwrap();
    assert_eq!(begun.detach(&store, Named::No).unwrap(), Detached::Owned);
    drop((begun, store));
    let [file] = &folder.files("partial")[..] else {
        panic!("one record");
    };
    let good = fs::read(file).unwrap();
    let mut damaged = good.clone();
    let last = damaged.len() - 5;
    damaged[last] ^= 1;
    fs::write(file, damaged).unwrap();
    drop(folder.open());
    fs::write(file, good).unwrap();
    let store = folder.open();
    see_to_duties(&store, Fate::Accepted);
    assert_eq!(outcome(&folder), (1, 0));
}

#[test]
fn each_client_may_leave_so_many_messages_at_a_time() {
    let settings = || Settings {
        detached: LimiterBounds {
            per_sender: 1,
            ..LimiterBounds::default()
        },
        ..Settings::default()
    };
    let over_limit = |store: &FileStore| {
        let begun = begin(store, Named::No, &[]).unwrap();
        let left = begun.detach(store, Named::No).unwrap();
        // The client has said CONT then, and the decision goes on.
        Fate::Accepted.commit(store, begun.decision).unwrap();
        left == Detached::OverLimit
    };
    let folder = Folder::new();
    let store = folder.open_with(settings());
    let decision = detached(&store);
    let again = come_back(&store).unwrap();
    let twice = store.detach(&again.0, again.1).unwrap();
    assert_eq!(twice, Detached::Owned, "counted already");
    store.release(&again.0, again.1);
    assert!(over_limit(&store));
    let begun = begin(&store, Named::No, &[]).unwrap();
    let other = store.detach_plain(&begun.handle, b"somebody else").unwrap();
    assert_eq!(other, Detached::Owned);
    Fate::Accepted.commit(&store, begun.decision).unwrap();
    assert!(over_limit(&store));
    drop((decision, store));

    // The count survives, with the file or without, whole or damaged.
    let file = folder.0.join("limiter");
    for damage in [None, Some(&b"limiter"[..]), Some(b"")] {
        if let Some(damage) = damage {
            fs::write(&file, damage).unwrap();
        }
        assert!(over_limit(&folder.open_with(settings())), "{damage:?}");
    }
    fs::remove_file(&file).unwrap();
    let store = folder.open_with(settings());
    assert!(over_limit(&store));
    // Finished, be it by a failure.
    see_to_duties(&store, Fate::Refused);
    assert!(!over_limit(&store));
    drop(store);
    assert!(!over_limit(&folder.open_with(settings())));
}

#[test]
fn what_is_over_the_limit_or_fails_leaves_nothing_behind() {
    let bounds = LimiterBounds {
        per_sender: 0,
        ..LimiterBounds::default()
    };
    for named in [Named::Yes, Named::No] {
        let folder = Folder::new();
        let store = folder.open_with(Settings {
            detached: bounds,
            ..Settings::default()
        });
        let begun = begin(&store, named, &[]).unwrap();
        let left = begun.detach(&store, named).unwrap();
        assert_eq!(left, Detached::OverLimit);
        assert_eq!(store.due(), []);
        assert_eq!(folder.files("partial"), [] as [&Path; 0]);
        Fate::Accepted.commit(&store, begun.decision).unwrap();
        assert_eq!(outcome(&folder), (1, 0));
    }
}
