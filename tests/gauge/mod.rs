//! Counts what this thread allocates: what the test harness does beside it does not count.
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
use std::cell::Cell;

pub const KIB: usize = 1024;

struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static OCTETS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all is left to the system's allocator. The counters need neither allocation nor drop.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.get() + layout.size() as isize;
        HELD.set(held);
        PEAK.set(PEAK.get().max(held));
        CALLS.set(CALLS.get() + 1);
        OCTETS.set(OCTETS.get() + layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Measures from here on.
pub struct Gauge {
    start: isize,
    calls: usize,
    octets: usize,
}

impl Gauge {
    pub fn new() -> Self {
        let start = HELD.get();
        PEAK.set(start);
        Self {
            start,
            calls: CALLS.get(),
            octets: OCTETS.get(),
        }
    }

    /// What is held now, above the start.
    pub fn held(&self) -> usize {
        usize::try_from(HELD.get() - self.start).unwrap_or(0)
    }

    /// The most that was held since the last call, above the start.
    pub fn peak(&self) -> usize {
        let peak = PEAK.replace(HELD.get());
        usize::try_from(peak - self.start).unwrap_or(0)
    }

    /// Calls of the allocator and octets asked for, since the start.
    pub fn allocated(&self) -> (usize, usize) {
        (CALLS.get() - self.calls, OCTETS.get() - self.octets)
    }
}
