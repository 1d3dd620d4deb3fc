//! Work on parts of a slice, on several threads.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Runs `work` on chunks of `size` items, with the index of the first item of each chunk.
pub(super) fn in_chunks<T: Send>(
    items: &mut [T],
    size: usize,
    threads: NonZero<usize>,
    work: impl Fn(&mut [T], usize) + Sync,
) {
    let count = items.len().div_ceil(size);
    let chunks = Mutex::new(items.chunks_mut(size).enumerate());
    let work = || {
        while let Some((number, chunk)) = {
            let mut chunks = chunks.lock().unwrap_or_else(PoisonError::into_inner);
            chunks.next()
        } {
            work(chunk, number * size);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.get().min(count) {
            // If the system provides no thread, the others do its part.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_worked_on_once() {
        for (threads, count) in [(1, 10), (2, 1000), (3, 999), (8, 0), (2, 1)] {
            let mut items = vec![0; count];
            let threads = NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN);
            in_chunks(&mut items, 7, threads, |chunk, first| {
                for (i, item) in chunk.iter_mut().enumerate() {
                    *item += first + i + 1;
                }
            });
            assert!(
                items
                    .iter()
                    .zip(1..)
                    .all(|(item, expected)| *item == expected)
            );
        }
    }
}
