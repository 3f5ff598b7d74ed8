//! The file store of the examples, in the suites.
#![allow(missing_docs, unreachable_pub, dead_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../examples/support/store/mod.rs"]
mod store;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use smtp_checkpoint::checkpoint::{
    Claim, Confirmation, Discard, Following, Generation, Identity, Offered, Record, Scope,
    Transaction, TransactionKey, Transfer, Verdict,
};
use smtp_checkpoint::envelope::Envelope;
use smtp_checkpoint::offset::OctetOffset;
use smtp_checkpoint::rdlv::ResetAnswer;
use smtp_checkpoint::reply::standard;
use smtp_checkpoint::server::{AwaitAnswer, ClaimToConfirm};
use smtp_checkpoint::transid::TransId;
use smtp_checkpoint_testkit::{
    Decision, Delivered, Due, Failure, FaultyDisk, FileOperation, Reported, Simulation, Standing,
    Store, StoreError, Suite, Tally, Trouble, Unsynced,
};

use store::disk::{Disk, Operation};
use store::{
    CommitError, Content, DecisionHandle, Detached, DueReport, FileStore, KeyHash, Settings,
    StoreError as FileError,
};

/// What a session has in hand.
type Held = (TransactionKey, Generation);

/// The file store in a directory that goes away with it, on a disk that fails.
struct Tried {
    store: Option<FileStore>,
    folder: PathBuf,
    disk: FaultyDisk,
    contents: HashMap<Held, Content>,
    awaited: HashMap<Held, Arc<Mutex<Option<AwaitAnswer>>>>,
    decisions: HashMap<Decision, (Option<store::Decision>, DecisionHandle)>,
    last: u64,
    /// All keys that were ever claimed, or given to messages without a record.
    keys: Vec<(TransactionKey, KeyHash)>,
    reports: HashMap<TransactionKey, DueReport>,
}

impl Tried {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("smtp-checkpoint-testkit-{}-{number}", std::process::id());
        // In memory where there is such a place: nothing here needs a real sync.
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() {
            memory
        } else {
            std::env::temp_dir()
        }
        .join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut tried = Self {
            store: None,
            folder,
            disk: FaultyDisk::new(),
            contents: HashMap::new(),
            awaited: HashMap::new(),
            decisions: HashMap::new(),
            last: 0,
            keys: Vec::new(),
            reports: HashMap::new(),
        };
        tried.open();
        tried
    }

    fn open(&mut self) {
        let watched = self.disk.clone();
        let disk = Disk::watched(Box::new(move |operation| {
            watched.before(match operation {
                Operation::Create(path) => FileOperation::Create(path),
                Operation::Write(path) => FileOperation::Write(path),
                Operation::Sync(path) => FileOperation::Sync(path),
                Operation::SyncFolder(path) => FileOperation::SyncFolder(path),
                Operation::Rename(from, to) => FileOperation::Rename(from, to),
                Operation::Remove(path) => FileOperation::Remove(path),
            })
        }));
        let settings = Settings {
            takeover: Duration::ZERO, // nobody answers here
            ..Settings::default()
        };
        self.store = Some(FileStore::open_on(disk, &self.folder, settings).unwrap());
    }

    fn store(&self) -> &FileStore {
        self.store.as_ref().unwrap()
    }

    /// An error, or the end of the process.
    fn failed(&self, error: StoreError) -> StoreError {
        if self.disk.is_off() {
            StoreError::Crashed
        } else {
            error
        }
    }

    /// What was done although the power failed is not known to the caller.
    fn done<T>(&self, value: T) -> Result<T, StoreError> {
        if self.disk.is_off() {
            Err(StoreError::Crashed)
        } else {
            Ok(value)
        }
    }

    fn begun(&mut self, begun: store::Decision) -> Decision {
        self.last += 1;
        let decision = Decision(self.last);
        let handle = begun.handle();
        self.decisions.insert(decision, (Some(begun), handle));
        decision
    }

    fn hash_of(&self, key: &TransactionKey) -> Option<KeyHash> {
        let mut keys = self.keys.iter();
        keys.find(|(known, _)| known == key).map(|(_, hash)| *hash)
    }

    /// The decision on a message without a record.
    fn plain(&self, envelope: &Envelope, octets: &[u8]) -> Result<store::Decision, StoreError> {
        let mut content = self.store().plain_content();
        let octets = [Bytes::copy_from_slice(octets)];
        match self.store().append(&mut content, 0.into(), &octets) {
            Ok(()) => Ok(self.store().begin_plain_decision(envelope, content)),
            Err(_) => {
                self.store().drop_content(content);
                Err(self.failed(StoreError::Failed))
            }
        }
    }

    fn delivery(&self, envelope: &Path) -> Option<Delivered> {
        let text = fs::read(envelope).unwrap();
        let mut lines = text.split(|octet| *octet == b'\n');
        let mail = lines.next()?.to_vec();
        let (mut recipients, mut file) = (Vec::new(), None);
        for line in lines {
            if line.starts_with(b"RCPT") {
                recipients.push(line.to_vec());
            } else if let Some(name) = line.strip_prefix(b"content ") {
                file = Some(String::from_utf8(name.to_vec()).unwrap());
            }
        }
        let moved = envelope.with_extension("eml");
        let content = match fs::read(moved) {
            Ok(content) => content,
            Err(_) => fs::read(self.folder.join("incoming").join(file?)).ok()?,
        };
        Some(Delivered {
            mail,
            recipients,
            content,
        })
    }
}

impl Drop for Tried {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Store for Tried {
    fn claim(&mut self, key: &TransactionKey) -> Result<Claim, StoreError> {
        if self.hash_of(key).is_none() {
            self.keys.push((key.clone(), KeyHash::of(key)));
        }
        match self.store().claim(key, b"c", |_| {}) {
            Ok(claim) => self.done(claim),
            Err(_) => Err(self.failed(StoreError::Unclear)),
        }
    }

    fn confirm(&mut self, claim: &ClaimToConfirm) -> Result<Confirmation, StoreError> {
        let confirmed = self.store().confirm(claim);
        let confirmation = match confirmed {
            Ok(content) => {
                let held = (claim.key.clone(), claim.generation);
                self.contents.insert(held, content);
                Confirmation::Current
            }
            Err(confirmation) => confirmation,
        };
        self.done(confirmation)
    }

    fn write(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
        start: OctetOffset,
        octets: &[Bytes],
    ) -> Result<(), StoreError> {
        let store = self.store.as_ref().unwrap();
        let content = self.contents.get_mut(&(key.clone(), generation));
        let content = content.ok_or(StoreError::Outdated)?;
        match store.append(content, start, octets) {
            Ok(()) => self.done(()),
            Err(_) => Err(self.failed(StoreError::Failed)),
        }
    }

    fn keep(&mut self, key: &TransactionKey, record: &Record) -> Result<(), StoreError> {
        let store = self.store.as_ref().unwrap();
        let content = self.contents.get_mut(&(key.clone(), record.generation()));
        let content = content.ok_or(StoreError::Outdated)?;
        match store.store_partial(key, content, record) {
            Ok(()) => self.done(()),
            Err(FileError::Outdated) => Err(self.failed(StoreError::Outdated)),
            Err(FileError::Failed(_)) => Err(self.failed(StoreError::Failed)),
        }
    }

    fn begin(&mut self, key: &TransactionKey, record: &Record) -> Result<Decision, StoreError> {
        let held = (key.clone(), record.generation());
        let claim = ClaimToConfirm {
            key: key.clone(),
            generation: record.generation(),
            length: record.length(),
            fresh: false,
        };
        let content = match self.contents.remove(&held) {
            Some(content) => content,
            // A decision that was awaited and withdrawn: all data is in the store.
            None => self
                .store()
                .confirm(&claim)
                .map_err(|_| StoreError::Outdated)?,
        };
        let begun = self.store().begin_decision(key, record, content);
        let begun = begun.map_err(|_| self.failed(StoreError::Outdated))?;
        let decision = self.begun(begun);
        self.done(decision)
    }

    fn commit(
        &mut self,
        _key: &TransactionKey,
        decision: Decision,
        verdict: &Verdict,
    ) -> Result<(), StoreError> {
        let entry = self.decisions.get_mut(&decision);
        let begun = entry.and_then(|(begun, _)| begun.take());
        match self
            .store()
            .commit(begun.ok_or(StoreError::Outdated)?, verdict)
        {
            Ok(()) => self.done(()),
            Err(CommitError::Withdrawn) => Err(self.failed(StoreError::Outdated)),
            Err(CommitError::Failed(_)) => Err(self.failed(StoreError::Failed)),
            Err(CommitError::Unclear(_)) => Err(self.failed(StoreError::Unclear)),
        }
    }

    fn withdraw(&mut self, _key: &TransactionKey, decision: Decision) -> Result<(), StoreError> {
        let (_, withdrawal) = self.decisions.get(&decision).ok_or(StoreError::Outdated)?;
        if self.store().withdraw(withdrawal) {
            self.done(())
        } else {
            Err(self.failed(StoreError::Outdated))
        }
    }

    fn look(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<Standing, StoreError> {
        let held = (key.clone(), generation);
        // What stands in the store is all there is: this session has nothing of its own.
        let slot = self.awaited.entry(held.clone()).or_default();
        let slot = Arc::clone(slot);
        if Arc::strong_count(&slot) == 2 {
            let tell = Arc::clone(&slot);
            self.store().await_decision(key, generation, move |answer| {
                *tell.lock().unwrap() = Some(answer);
            });
        }
        let answer = slot.lock().unwrap().take();
        let standing = match answer {
            None => Standing::Running,
            Some(answer) => {
                self.awaited.remove(&held);
                match answer {
                    AwaitAnswer::Decided(completion) => Standing::Decided(completion),
                    AwaitAnswer::Withdrawn => Standing::Withdrawn,
                    AwaitAnswer::Outdated => Standing::Outdated,
                }
            }
        };
        self.done(standing)
    }

    fn abort(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<ResetAnswer, StoreError> {
        let answer = self.store().abort(key, generation);
        self.done(answer)
    }

    fn detaches(&self) -> bool {
        true
    }

    fn detach(&mut self, key: &TransactionKey, generation: Generation) -> Result<(), StoreError> {
        match self.store().detach(key, generation) {
            Ok(Detached::Owned) => self.done(()),
            Ok(Detached::Outdated) => Err(self.failed(StoreError::Outdated)),
            Ok(Detached::OverLimit | Detached::Decided(_) | Detached::NothingHeld) => {
                Err(self.failed(StoreError::Failed))
            }
            Err(_) => Err(self.failed(StoreError::Unclear)),
        }
    }

    fn take_back(
        &mut self,
        key: &TransactionKey,
        generation: Generation,
    ) -> Result<(), StoreError> {
        match self.store().take_back(key, generation) {
            Ok(()) => self.done(()),
            Err(_) => Err(self.failed(StoreError::Failed)),
        }
    }

    fn due(&mut self) -> Vec<TransactionKey> {
        let due = self.store().due();
        let keys = self.keys.iter().filter(|(_, hash)| due.contains(hash));
        keys.map(|(key, _)| key.clone()).collect()
    }

    fn take_duty(&mut self, key: &TransactionKey) -> Result<Option<Due>, StoreError> {
        let Some(hash) = self.hash_of(key) else {
            return Ok(None);
        };
        match self.store().take_due(hash) {
            Ok(None) => self.done(None),
            Ok(Some(store::Due::Decide(begun))) => {
                let record = Box::new(begun.record().unwrap().clone());
                let decision = self.begun(begun);
                self.done(Some(Due::Decide(decision, record)))
            }
            Ok(Some(store::Due::Report(due))) => {
                let record = Box::new(due.record().clone());
                self.reports.insert(key.clone(), due);
                self.done(Some(Due::Report(record)))
            }
            Err(_) => Err(self.failed(StoreError::Failed)),
        }
    }

    fn report(
        &mut self,
        key: &TransactionKey,
        _record: &Record,
        report: Reported,
    ) -> Result<(), StoreError> {
        let due = self.reports.remove(key).ok_or(StoreError::Outdated)?;
        let before = self.reported().len();
        match self.store().report(&due, &notification(report)) {
            Ok(()) if self.reported().len() > before => self.done(()),
            Ok(()) => Err(self.failed(StoreError::Outdated)),
            Err(_) => Err(self.failed(StoreError::Unclear)),
        }
    }

    fn detach_unrecorded(
        &mut self,
        key: &TransactionKey,
        record: &Record,
        content: &[u8],
    ) -> Result<Decision, StoreError> {
        if record.expected_replies() > 1 {
            return Err(StoreError::Failed); // the record that the store makes is one of SMTP
        }
        let mut begun = self.plain(record.envelope(), content)?;
        let handle = begun.handle();
        self.keys.push((key.clone(), handle.key_once_adopted()));
        match self.store().detach_plain(&handle, b"c") {
            Ok(Detached::Owned) => {
                self.store().catch_up(&mut begun);
                let decision = self.begun(begun);
                self.done(decision)
            }
            // It could still be called back: nothing is left of it.
            _ if self.store().withdraw(&handle) => Err(self.failed(StoreError::Failed)),
            _ => Err(self.failed(StoreError::Unclear)),
        }
    }

    fn report_unrecorded(&mut self, report: Reported) -> Result<(), StoreError> {
        let text = notification(report);
        match self.store().report_plain(&text) {
            Ok(()) => self.done(()),
            Err(_) => Err(self.failed(StoreError::Unclear)),
        }
    }

    fn deliver(
        &mut self,
        envelope: &Envelope,
        verdict: &Verdict,
        content: &[u8],
    ) -> Result<(), StoreError> {
        let decision = self.plain(envelope, content)?;
        match self.store().commit(decision, verdict) {
            Ok(()) => self.done(()),
            Err(CommitError::Failed(_) | CommitError::Withdrawn) => {
                Err(self.failed(StoreError::Failed))
            }
            Err(CommitError::Unclear(_)) => Err(self.failed(StoreError::Unclear)),
        }
    }

    /// Those in their place, and those that count and are still to be moved there.
    fn reported(&mut self) -> Vec<Reported> {
        let list = |folder: &str| {
            let entries = fs::read_dir(self.folder.join(folder)).unwrap();
            let files = entries.map(|entry| entry.unwrap().path());
            files.collect::<Vec<PathBuf>>()
        };
        let mut reports = list("dsn");
        for completion in list("refused").into_iter().chain(list("delivered")) {
            let unfinished = completion
                .to_string_lossy()
                .ends_with(store::disk::UNFINISHED);
            let text = fs::read(&completion).unwrap();
            let mut lines = text.split(|octet| *octet == b'\n');
            if let Some(file) = lines.find_map(|line| line.strip_prefix(b"report ")) {
                let file = String::from_utf8(file.to_vec()).unwrap();
                let waits = self.folder.join("incoming").join(file);
                reports.extend(Some(waits).filter(|file| !unfinished && file.is_file()));
            }
        }
        let reports = reports.into_iter().map(|file| {
            let text = fs::read(file).unwrap();
            let mut lines = text.split(|octet| *octet == b'\n').map(<[u8]>::to_vec);
            Reported {
                mail: lines.next().unwrap(),
                recipients: lines.collect(),
            }
        });
        reports.collect()
    }

    fn discard(&mut self, discard: &Discard) -> Result<(), StoreError> {
        self.store().discard(discard);
        self.done(())
    }

    fn release(&mut self, key: &TransactionKey, generation: Generation) {
        let held = (key.clone(), generation);
        if let Some(content) = self.contents.remove(&held) {
            self.store().drop_content(content);
        }
        self.awaited.remove(&held);
        self.store().release(key, generation);
    }

    fn delivered(&mut self) -> Vec<Delivered> {
        let entries = fs::read_dir(self.folder.join("delivered")).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        let envelopes = files.filter(|file| file.extension().is_some_and(|it| it == "envelope"));
        envelopes.filter_map(|it| self.delivery(&it)).collect()
    }

    fn restart(&mut self, unsynced: Unsynced) {
        self.store = None;
        self.contents.clear();
        self.awaited.clear();
        self.decisions.clear();
        self.reports.clear();
        self.disk.restart(unsynced).unwrap();
        self.open();
    }

    fn steps(&self) -> u64 {
        self.disk.steps()
    }

    fn trouble_at(&mut self, step: u64, trouble: Trouble) {
        self.disk.trouble_at(step, trouble);
    }

    fn end_of_trouble(&mut self) {
        self.disk.end_of_trouble();
    }
}

/// One line for each command.
fn notification(report: Reported) -> Vec<u8> {
    let lines = std::iter::once(report.mail).chain(report.recipients);
    lines.collect::<Vec<Vec<u8>>>().join(&b'\n')
}

/// One case of so many, or of as many as `TESTKIT_EVERY` says.
fn suite(every: u64) -> Suite<fn() -> Tried> {
    let said = std::env::var("TESTKIT_EVERY").ok();
    let every = said.map_or(every, |every| every.parse().expect("a number"));
    Suite::new(Tried::new as fn() -> Tried).every(every)
}

#[test]
fn cuts() -> Result<(), Failure> {
    println!("{}", suite(101).cuts()?);
    Ok(())
}

#[test]
fn crashes() -> Result<(), Failure> {
    println!("{}", suite(13).crashes()?);
    Ok(())
}

#[test]
fn fencing() -> Result<(), Failure> {
    println!("{}", suite(31).fencing()?);
    Ok(())
}

#[test]
fn lmtp() -> Result<(), Failure> {
    println!("{}", suite(31).lmtp()?);
    Ok(())
}

#[test]
fn detached() -> Result<(), Failure> {
    println!("{}", suite(97).detached()?);
    Ok(())
}

/// A sync failed behind the rename that takes a message over; its removal was not durable, and a
/// crash brought it back, to be decided on a second time.
#[test]
fn what_could_not_be_taken_over_is_gone() {
    let key = |name: &str| {
        let identity = Identity::Authenticated(b"");
        let scope = Scope {
            identity,
            tls: false,
        };
        TransactionKey::new(&scope, TransId::parse(name.as_bytes()).unwrap())
    };
    let mut transaction = Transaction::default();
    transaction
        .begin(b"MAIL FROM:<a@b>", Some(key("<1@b>")))
        .unwrap();
    let claim = Claim::Claimed {
        generation: Generation(1),
        found: None,
    };
    let ok = || standard::OK.into();
    let _ = transaction.claim(claim, Offered::default(), Following::Nothing, ok());
    let _ = transaction.rcpt(b"RCPT TO:<c@d>").unwrap();
    let _ = transaction.answer_recipient(0, ok());
    let _ = transaction.data(Transfer::Data);
    let _ = transaction.confirm(Confirmation::Current);
    let _ = transaction.end(3.into());
    let record = transaction.snapshot().unwrap().detach();
    let (mut failed, mut done) = (0, 0);
    for step in 0..40 {
        for seed in 0..8 {
            let mut tried = Tried::new();
            tried.trouble_at(tried.steps() + step, Trouble::Fails);
            match tried.detach_unrecorded(&key("<2@b>"), &record, b"x\r\n") {
                Ok(_) => done += 1,
                Err(StoreError::Failed) => {
                    failed += 1;
                    tried.restart(Unsynced::Torn(seed));
                    assert_eq!(tried.due(), [], "step {step}, seed {seed}");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert!(failed > 80 && done > 80, "{failed} failed, {done} done");
}

#[test]
fn simulated() -> Result<(), Failure> {
    let said = std::env::var("TESTKIT_RUNS").ok();
    let runs = said.map_or(60, |runs| runs.parse().expect("a number"));
    let mut tally = Tally::default();
    for seed in 0..runs {
        tally.add(&Simulation::new(seed).run(Tried::new)?);
    }
    println!("{tally}");
    Ok(())
}

#[test]
fn identities() -> Result<(), Failure> {
    println!("{}", suite(31).identities()?);
    Ok(())
}
