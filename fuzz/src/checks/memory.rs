//! Octets that the allocator has given out. Zero where no counting allocator is installed, so
//! that bounds then hold trivially.

use std::sync::atomic::{AtomicU64, Ordering};

static TAKEN: AtomicU64 = AtomicU64::new(0);
static GIVEN: AtomicU64 = AtomicU64::new(0);

/// Called by the allocator.
pub fn taken(octets: usize) {
    TAKEN.fetch_add(octets as u64, Ordering::Relaxed);
}

/// Called by the allocator.
pub fn given(octets: usize) {
    GIVEN.fetch_add(octets as u64, Ordering::Relaxed);
}

/// Octets in use now.
pub fn in_use() -> u64 {
    let given = GIVEN.load(Ordering::Relaxed);
    TAKEN.load(Ordering::Relaxed).saturating_sub(given)
}

/// Octets ever taken: a measure of work that no clock disturbs.
pub fn ever_taken() -> u64 {
    TAKEN.load(Ordering::Relaxed)
}
