//! Counts what is allocated. One measurement at a time: all share one counter.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::panic
)]

pub mod client;
pub mod server;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

pub const KIB: usize = 1024;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);
static OCTETS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        OCTETS.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Measures from here on.
pub struct Gauge {
    start: usize,
    calls: usize,
    octets: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Gauge {
    pub fn new() -> Self {
        let alone = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let start = HELD.load(Ordering::Relaxed);
        PEAK.store(start, Ordering::Relaxed);
        Self {
            start,
            calls: CALLS.load(Ordering::Relaxed),
            octets: OCTETS.load(Ordering::Relaxed),
            _alone: alone,
        }
    }

    /// What is held now, above the start.
    pub fn held(&self) -> usize {
        HELD.load(Ordering::Relaxed).saturating_sub(self.start)
    }

    /// The most that was held since the last call, above the start.
    pub fn peak(&self) -> usize {
        let held = HELD.load(Ordering::Relaxed);
        PEAK.swap(held, Ordering::Relaxed)
            .saturating_sub(self.start)
    }

    /// Calls of the allocator and octets asked for, since the start.
    pub fn allocated(&self) -> (usize, usize) {
        (
            CALLS.load(Ordering::Relaxed) - self.calls,
            OCTETS.load(Ordering::Relaxed) - self.octets,
        )
    }
}
