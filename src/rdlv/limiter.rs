//! How many detached submissions a sender may have: a pure value that can be stored and loaded.
//!
//! Layer 3. draft-burger-smtp-deta-00 §5 asks to limit the concurrent submissions on behalf of a
//! given sender, since detaching costs the client nothing.
//!
//! # Crash and reload
//!
//! Store the value with the ownership of the message, before 221 is written; store it again, at
//! leisure, when a submission is finished. Every way to fail then counts a submission too many,
//! never one too few:
//!
//! | crash | after the reload |
//! | --- | --- |
//! | after `detach`, before it was stored | not counted, and the message is not owned either |
//! | after it was stored, before the message was owned | counted, without a message |
//! | after `finish`, before it was stored | counted, without a detached message |
//!
//! [`Limiter::retain`] takes out what is counted without a message: call it after loading with
//! the submissions that the queue knows to be detached. [`Limiter::detach`] with an id that is
//! counted already counts nothing twice, so that it may also be repeated for all that the queue
//! knows, where the value itself was lost.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::encoding::{Kind, Reader, Writer};
use crate::error::DecodeError;

const KIND: Kind = *b"LIM";
const VERSION: u8 = 1;

/// The bounds of a [`Limiter`]. They are configuration, and not stored with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimiterBounds {
    /// Submissions of one sender at a time.
    pub per_sender: usize,
    /// Submissions of all senders at a time.
    pub total: usize,
    /// Octets of a sender's name.
    pub sender_octets: usize,
    /// Octets of an id.
    pub id_octets: usize,
}

impl Default for LimiterBounds {
    /// 4 for each sender, 10,000 in all, names of 512 octets and ids of 128.
    fn default() -> Self {
        Self {
            per_sender: 4,
            total: 10_000,
            sender_octets: 512,
            id_octets: 128,
        }
    }
}

/// Whether a submission may be detached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Grant {
    /// It may, and is counted.
    Granted,
    /// It may: it is counted already, for whichever sender.
    AlreadyGranted,
    /// The sender has as many as it may have: 450 4.7.1.
    SenderOverLimit,
    /// All senders together have as many as they may have: 450 4.7.1.
    TotalOverLimit,
    /// The sender's name or the id is longer than its bound.
    TooLong,
}

impl Grant {
    /// Whether it may be detached.
    #[must_use]
    pub const fn is_granted(self) -> bool {
        matches!(self, Self::Granted | Self::AlreadyGranted)
    }
}

/// What was known of a submission that is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finish {
    /// It was counted, and is not any more.
    Finished,
    /// It was not counted.
    NotCounted,
}

/// Counts the detached submissions of each sender.
///
/// The sender is whatever octets tell one from another: the identity that authenticated, or the
/// address of the connection. The reverse-path is a poor one, for anybody can write it.
///
/// ```
/// use smtp_checkpoint::rdlv::{Finish, Grant, Limiter, LimiterBounds};
///
/// let bounds = LimiterBounds { per_sender: 1, ..LimiterBounds::default() };
/// let mut limiter = Limiter::new(bounds);
/// assert_eq!(limiter.detach(b"ned", b"queue-1"), Grant::Granted);
/// assert_eq!(limiter.detach(b"ned", b"queue-2"), Grant::SenderOverLimit);
///
/// let stored = limiter.encode(); // with the ownership of the message, before 221
/// let mut limiter = Limiter::decode(&stored, bounds)?;
/// limiter.retain(|_sender, id| id == b"queue-1"); // what the queue knows after a crash
/// assert_eq!(limiter.finish(b"queue-1"), Finish::Finished);
/// assert_eq!(limiter.detach(b"ned", b"queue-2"), Grant::Granted);
/// # Ok::<(), smtp_checkpoint::error::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limiter {
    bounds: LimiterBounds,
    /// Sender of each id.
    submissions: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// Never zero.
    counts: BTreeMap<Box<[u8]>, usize>,
}

impl Limiter {
    /// Nothing is detached.
    #[must_use]
    pub const fn new(bounds: LimiterBounds) -> Self {
        Self {
            bounds,
            submissions: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// A submission of `sender`, which the caller knows by `id`, is to be detached.
    pub fn detach(&mut self, sender: &[u8], id: &[u8]) -> Grant {
        if sender.len() > self.bounds.sender_octets || id.len() > self.bounds.id_octets {
            return Grant::TooLong;
        }
        if self.submissions.contains_key(id) {
            return Grant::AlreadyGranted;
        }
        if self.count(sender) >= self.bounds.per_sender {
            return Grant::SenderOverLimit;
        }
        if self.submissions.len() >= self.bounds.total {
            return Grant::TotalOverLimit;
        }
        self.insert(sender, id);
        Grant::Granted
    }

    fn insert(&mut self, sender: &[u8], id: &[u8]) {
        let count = self.counts.entry(sender.into()).or_insert(0);
        *count = count.saturating_add(1);
        self.submissions.insert(id.into(), sender.into());
    }

    /// The decision on a submission is made, or the client took it back: it does not count any
    /// more.
    pub fn finish(&mut self, id: &[u8]) -> Finish {
        let Some(sender) = self.submissions.remove(id) else {
            return Finish::NotCounted;
        };
        if let Some(count) = self.counts.get_mut(&sender) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&sender);
            }
        }
        Finish::Finished
    }

    /// Keeps the submissions for which `keep` is true, of sender and id.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        self.submissions.retain(|id, sender| keep(sender, id));
        self.counts.clear();
        for sender in self.submissions.values() {
            let count = self.counts.entry(sender.clone()).or_insert(0);
            *count = count.saturating_add(1);
        }
    }

    /// The submissions of this sender.
    #[must_use]
    pub fn count(&self, sender: &[u8]) -> usize {
        self.counts.get(sender).copied().unwrap_or(0)
    }

    /// The submissions of all senders.
    #[must_use]
    pub fn total(&self) -> usize {
        self.submissions.len()
    }

    /// All submissions: sender and id, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.submissions
            .iter()
            .map(|(id, sender)| (sender.as_ref(), id.as_ref()))
    }

    /// The value as octets. The bounds are not in it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(KIND, VERSION);
        writer.count(self.submissions.len());
        for (id, sender) in &self.submissions {
            writer.octets(id).octets(sender);
        }
        writer.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote. All of it counts, also where `bounds` have become
    /// smaller since; nothing more is granted then until enough is finished.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]. Start anew then, and [`detach`](Self::detach) what the queue knows.
    pub fn decode(octets: &[u8], bounds: LimiterBounds) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(octets, KIND, VERSION)?;
        let mut limiter = Self::new(bounds);
        for _ in 0..reader.count()? {
            let (id, sender) = (reader.octets()?, reader.octets()?);
            if limiter.submissions.contains_key(id) {
                return Err(DecodeError::Damaged);
            }
            limiter.insert(sender, id);
        }
        reader.finish()?;
        Ok(limiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap as Model;

    fn bounds(per_sender: usize, total: usize) -> LimiterBounds {
        LimiterBounds {
            per_sender,
            total,
            ..LimiterBounds::default()
        }
    }

    #[test]
    fn four_by_default_and_each_sender_for_itself() {
        let mut limiter = Limiter::new(LimiterBounds::default());
        for id in [b"1", b"2", b"3", b"4"] {
            assert_eq!(limiter.detach(b"ned", id), Grant::Granted);
        }
        assert_eq!(limiter.detach(b"ned", b"5"), Grant::SenderOverLimit);
        assert_eq!(limiter.detach(b"ned", b"4"), Grant::AlreadyGranted);
        assert_eq!(limiter.detach(b"Ned", b"5"), Grant::Granted);
        assert_eq!(limiter.finish(b"2"), Finish::Finished);
        assert_eq!(limiter.finish(b"2"), Finish::NotCounted);
        assert_eq!(limiter.detach(b"ned", b"6"), Grant::Granted);
        assert_eq!((limiter.count(b"ned"), limiter.total()), (4, 5));
    }

    #[test]
    fn memory_is_bounded() {
        let mut limiter = Limiter::new(LimiterBounds {
            per_sender: 4,
            total: 2,
            sender_octets: 3,
            id_octets: 2,
        });
        assert_eq!(limiter.detach(b"long", b"1"), Grant::TooLong);
        assert_eq!(limiter.detach(b"a", b"123"), Grant::TooLong);
        assert_eq!(limiter.detach(b"abc", b"12"), Grant::Granted);
        assert_eq!(limiter.finish(b"12"), Finish::Finished);
        assert!(limiter.detach(b"a", b"1").is_granted());
        assert!(limiter.detach(b"b", b"2").is_granted());
        assert_eq!(limiter.detach(b"c", b"3"), Grant::TotalOverLimit);
        for id in [b"1", b"2"] {
            assert_eq!(limiter.finish(id), Finish::Finished);
        }
        assert!(limiter.counts.is_empty() && limiter.submissions.is_empty());
    }

    /// Crashes between every two steps of "detach, store, own, finish, store".
    #[test]
    fn a_crash_never_counts_too_few() {
        let bounds = bounds(1, 10);
        for crash in 0..5 {
            let mut queue: Vec<&[u8]> = Vec::new();
            let mut limiter = Limiter::new(bounds);
            let mut stored = limiter.encode();
            if crash > 0 {
                assert!(limiter.detach(b"ned", b"1").is_granted());
            }
            if crash > 1 {
                stored = limiter.encode();
            }
            if crash > 2 {
                queue.push(b"1");
            }
            if crash > 3 {
                queue.clear();
                assert_eq!(limiter.finish(b"1"), Finish::Finished);
            }
            // The process dies; what was stored is loaded.
            let mut limiter = Limiter::decode(&stored, bounds).unwrap();
            assert!(limiter.total() >= queue.len(), "crash {crash}");
            limiter.retain(|_, id| queue.contains(&id));
            assert_eq!(limiter.total(), queue.len(), "crash {crash}");
            assert_eq!(limiter.count(b"ned"), queue.len(), "crash {crash}");
        }
    }

    #[test]
    fn smaller_bounds_forget_nothing() {
        let mut limiter = Limiter::new(bounds(3, 10));
        for id in [b"1", b"2", b"3"] {
            assert!(limiter.detach(b"ned", id).is_granted());
        }
        let mut limiter = Limiter::decode(&limiter.encode(), bounds(1, 1)).unwrap();
        assert_eq!(limiter.count(b"ned"), 3);
        assert_eq!(limiter.detach(b"ned", b"4"), Grant::SenderOverLimit);
        assert_eq!(limiter.detach(b"tom", b"4"), Grant::TotalOverLimit);
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let mut limiter = Limiter::new(LimiterBounds::default());
        let _granted = limiter.detach(b"ned", b"1");
        let stored = limiter.encode();
        for at in 0..stored.len() {
            let bounds = LimiterBounds::default();
            assert!(
                Limiter::decode(&stored[..at], bounds).is_err(),
                "cut at {at}"
            );
            let mut damaged = stored.clone();
            damaged[at] ^= 1;
            assert!(Limiter::decode(&damaged, bounds).is_err(), "octet {at}");
        }
        let mut twice = Writer::new(KIND, VERSION);
        twice.count(2);
        for sender in [b"a", b"b"] {
            twice.octets(b"same").octets(sender);
        }
        let twice = twice.finish();
        assert_eq!(
            Limiter::decode(&twice, LimiterBounds::default()),
            Err(DecodeError::Damaged)
        );
    }

    proptest! {
        /// Against a list of pairs, with a reload now and then.
        #[test]
        fn as_a_list_of_pairs(steps in proptest::collection::vec((0u8..4, 0u8..3, 0u8..6), 0..60)) {
            let bounds = bounds(2, 4);
            let mut limiter = Limiter::new(bounds);
            let mut model: Model<u8, u8> = Model::new();
            for (step, sender, id) in steps {
                match step {
                    0 | 1 => {
                        let of_sender = model.values().filter(|other| **other == sender).count();
                        let granted = model.contains_key(&id)
                            || (of_sender < 2 && model.len() < 4);
                        prop_assert_eq!(limiter.detach(&[sender], &[id]).is_granted(), granted);
                        if granted {
                            model.entry(id).or_insert(sender);
                        }
                    }
                    2 => {
                        let known = model.remove(&id).is_some();
                        prop_assert_eq!(limiter.finish(&[id]) == Finish::Finished, known);
                    }
                    _ => limiter = Limiter::decode(&limiter.encode(), bounds).unwrap(),
                }
                let pairs: Vec<(u8, u8)> =
                    limiter.iter().map(|(sender, id)| (id[0], sender[0])).collect();
                let expected: Vec<(u8, u8)> = model.iter().map(|(id, sender)| (*id, *sender)).collect();
                prop_assert_eq!(pairs, expected);
                for sender in 0..3 {
                    let expected = model.values().filter(|other| **other == sender).count();
                    prop_assert_eq!(limiter.count(&[sender]), expected);
                }
            }
        }
    }
}
