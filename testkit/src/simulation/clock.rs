//! Clocks that run too fast or too slow, and jump ahead.

use std::time::Duration;

use smtp_checkpoint::time::Timestamp;

use crate::client::BEGINNING;

/// A clock beside the true one, which counts milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    /// Of its milliseconds, so many pass in a true second.
    rate: u64,
    ahead: u64,
}

impl Clock {
    pub(super) fn new(rate: u64, ahead: u64) -> Self {
        let rate = rate.max(1);
        Self { rate, ahead }
    }

    fn milliseconds(&self, now: u64) -> u64 {
        now.saturating_mul(self.rate) / 1000 + self.ahead
    }

    pub(super) fn at(&self, now: u64) -> Timestamp {
        Timestamp::from_origin(Duration::from_millis(self.milliseconds(now)))
    }

    pub(super) fn seconds(&self, now: u64) -> u64 {
        self.milliseconds(now) / 1000
    }

    pub(super) fn jump(&mut self, milliseconds: u64) {
        self.ahead = self.ahead.saturating_add(milliseconds);
    }

    /// The true time at which it shows `time`, or has shown it.
    pub(super) fn when(&self, time: Timestamp) -> u64 {
        let shown = u64::try_from(time.elapsed().as_millis()).unwrap_or(u64::MAX);
        let shown = shown.saturating_sub(self.ahead);
        // The first millisecond at which it does.
        shown
            .saturating_mul(1000)
            .div_ceil(self.rate)
            .saturating_add(1)
    }
}

/// What the wall clock of a client shows, so many seconds ahead, in seconds.
pub(super) fn wall(clock: &Clock, now: u64, ahead: u64) -> u64 {
    BEGINNING + clock.seconds(now) + ahead
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_shown_has_come() {
        for rate in [990, 999, 1000, 1001, 1010] {
            for ahead in [0, 1, 5000] {
                let clock = Clock::new(rate, ahead);
                for milliseconds in [0, 1, 4999, 5000, 300_001] {
                    let time = Timestamp::from_origin(Duration::from_millis(milliseconds));
                    let when = clock.when(time);
                    assert!(clock.at(when) >= time);
                    assert!(clock.at(when.saturating_sub(3)) <= time.max(clock.at(0)));
                }
            }
        }
    }
}
