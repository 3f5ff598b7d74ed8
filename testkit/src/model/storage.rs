//! A disk that counts its steps, and fails where it is told to.

use crate::random::Random;
use crate::store::{StoreError, Trouble, Unsynced};

#[derive(Debug, Default)]
pub(super) struct Storage {
    steps: u64,
    trouble: Option<(u64, Trouble)>,
    full: bool,
    /// The power is off.
    off: bool,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Needs room.
    Write,
    Sync,
    Other,
}

impl Storage {
    /// One step; what it does is done by the caller, and only where this is `Ok`.
    pub(super) fn step(&mut self, step: Step) -> Result<(), StoreError> {
        if self.off {
            return Err(StoreError::Crashed);
        }
        let number = self.steps;
        self.steps += 1;
        let trouble = self.trouble.filter(|(at, _)| *at == number);
        if trouble.is_some() {
            self.trouble = None;
        }
        match trouble.map(|(_, trouble)| trouble) {
            Some(Trouble::PowerCut) => {
                self.off = true;
                return Err(StoreError::Crashed);
            }
            Some(Trouble::Fails) => return Err(StoreError::Failed),
            Some(Trouble::Full) => self.full = true,
            None => {}
        }
        if self.full && step == Step::Write {
            return Err(StoreError::Failed);
        }
        Ok(())
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn trouble_at(&mut self, step: u64, trouble: Trouble) {
        self.trouble = Some((step, trouble));
    }

    pub(super) fn end_of_trouble(&mut self) {
        self.trouble = None;
        self.full = false;
        self.off = false;
    }
}

/// Octets in a file: those up to `synced` survive a crash.
#[derive(Debug, Default, Clone)]
pub(super) struct Segment {
    pub(super) octets: Vec<u8>,
    pub(super) synced: usize,
}

impl Segment {
    pub(super) fn cut(&mut self, length: usize) {
        self.octets.truncate(length);
        self.synced = self.synced.min(length);
    }

    /// What a crash leaves.
    pub(super) fn crash(&mut self, unsynced: Unsynced, random: &mut Random) {
        let loose = self.octets.len().saturating_sub(self.synced);
        let kept = match unsynced {
            Unsynced::Lost => 0,
            Unsynced::Kept => loose,
            Unsynced::Torn(_) => random.index(loose + 1),
        };
        self.octets.truncate(self.synced + kept);
        self.synced = self.octets.len();
    }
}

/// Whether a file that was not synced is there after a crash.
pub(super) fn survives(unsynced: Unsynced, random: &mut Random) -> bool {
    match unsynced {
        Unsynced::Lost => false,
        Unsynced::Kept => true,
        Unsynced::Torn(_) => random.chance(50),
    }
}
