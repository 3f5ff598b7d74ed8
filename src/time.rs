//! Time as data: the crate has no clock, every call that needs the time is given it.
//!
//! Layer 0. A [`Timestamp`] is a monotonic point in time, counted from an origin that the caller
//! chooses once for each session (for instance the `Instant` at which the connection was
//! accepted). It is never part of stored state.
//!
//! ```
//! use core::time::Duration;
//! use smtp_checkpoint::time::Timestamp;
//!
//! let accepted = Timestamp::from_origin(Duration::ZERO);
//! let deadline = accepted + Duration::from_secs(300);
//! assert_eq!(deadline.since(accepted), Duration::from_secs(300));
//! assert_eq!(accepted.since(deadline), Duration::ZERO); // never negative, never a panic
//! ```

use core::ops::Add;
use core::time::Duration;

/// A monotonic point in time: the time that has passed since an origin of the caller's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(Duration);

impl Timestamp {
    /// The origin itself.
    pub const ORIGIN: Self = Self(Duration::ZERO);

    /// The point in time `elapsed` after the origin.
    #[must_use]
    pub const fn from_origin(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time since the origin.
    #[must_use]
    pub const fn elapsed(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this one; zero where `earlier` is the later of the two.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// Saturates at the end of time instead of overflowing.
    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(after))
    }
}
