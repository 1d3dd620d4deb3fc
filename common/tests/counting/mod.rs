//! An allocator that counts the memory of each thread, for the memory tests and the fuzz targets.
//!
//! Only Rust's allocator is counted. The words of integers are allocated by GMP; the number of
//! digits bounds them.

#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn change(more: usize, less: usize) {
    // This fails only while the thread ends.
    let _ = NOW.try_with(|now| {
        let bytes = now.get().wrapping_add(more);
        let _ = MOST.try_with(|most| most.set(most.get().max(bytes)));
        now.set(bytes.wrapping_sub(less));
    });
}

// SAFETY: every call is passed on unchanged to the system allocator, which upholds the contract.
// Counting does not allocate: the counters are initialised at compile time and need no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        change(layout.size(), 0);
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        change(0, layout.size());
        // SAFETY: the caller upholds the contract of `dealloc`, and the memory is from the same
        // allocator.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks exist while the contents are moved.
        change(size, layout.size());
        // SAFETY: the caller upholds the contract of `realloc`, and the memory is from the same
        // allocator.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` and returns its result and its peak memory, in bytes beyond those allocated before.
pub(crate) fn measure<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.get();
    MOST.set(before);
    let result = work();
    (result, MOST.get().wrapping_sub(before))
}
