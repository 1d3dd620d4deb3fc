//! The search allocates memory for each prime, not for each candidate.
//!
//! Counts only allocations through Rust's allocator, not GMP's own.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use primepool_engine::{Cancel, Engine, Form, Kernel, Method, Stream};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // Fails only while the thread terminates.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
// Counting does not allocate, because the counter is initialised at compile time and needs no
// destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and the memory is from the same
        // allocator.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`, and the memory is from the same
        // allocator.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The numbers of allocations and of candidates in the search for one prime.
fn cost(engine: &mut Engine, method: Method, form: Form, bits: u32, index: u64) -> (u64, u64) {
    let mut streams = [Stream::seeded(31, index)];
    let mut candidates = 0;
    let before = COUNT.get();
    engine
        .primes_by(
            method,
            form,
            bits,
            &mut streams,
            &Cancel::new(),
            &mut |_, found| {
                candidates = found.candidates;
            },
        )
        .unwrap();
    (COUNT.get() - before, candidates)
}

#[test]
fn allocations_do_not_grow_with_candidates() {
    for kernel in Kernel::ALL {
        let Ok(mut engine) = Engine::with_kernel(kernel) else {
            continue;
        };
        for method in [Method::Incremental, Method::Uniform] {
            for bits in [128, 256, 521] {
                // The first search builds the tables.
                cost(&mut engine, method, Form::Prime, bits, 0);
                let costs: Vec<(u64, u64)> = (1..60)
                    .map(|index| cost(&mut engine, method, Form::Prime, bits, index))
                    .collect();
                let least = costs.iter().min_by_key(|cost| cost.1).unwrap();
                let most = costs.iter().max_by_key(|cost| cost.1).unwrap();
                assert!(most.1 > 5 * least.1, "{least:?} {most:?}");
                for &(allocations, candidates) in &costs {
                    assert!(
                        allocations <= least.0 + 4,
                        "{kernel} {method:?} {bits}: {allocations} for {candidates} candidates, {} for {}",
                        least.0,
                        least.1
                    );
                }
            }
        }
    }
}
