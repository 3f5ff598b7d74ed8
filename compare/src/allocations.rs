//! How often and how much memory is asked for. One thread only.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, counting.
#[derive(Debug)]
pub struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);

/// A load and a store: no locked instruction, so that whoever allocates much is not timed unfairly.
fn add(counter: &AtomicUsize, more: usize) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(more),
        Ordering::Relaxed,
    );
}

// SAFETY: all is left to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(&CALLS, 1);
        add(&HELD, layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        add(&HELD, layout.size().wrapping_neg());
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(&CALLS, 1);
        add(&HELD, size.wrapping_sub(layout.size()));
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Allocations and reallocations so far.
#[must_use]
pub fn calls() -> usize {
    CALLS.load(Ordering::Relaxed)
}

/// Octets that are allocated now.
#[must_use]
pub fn held() -> usize {
    HELD.load(Ordering::Relaxed)
}
