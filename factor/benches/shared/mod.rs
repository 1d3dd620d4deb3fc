//! Clock and numbers of the benchmarks.

use std::time::Duration;

use primepool_engine::{Cancel, Engine, Form, Found, Integer, Stream};
use rustix::time::{ClockId, clock_gettime};

/// CPU time of all threads of this process in seconds.
pub(crate) fn now() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32).as_secs_f64()
}

/// A product of two primes of half the bits.
pub(crate) fn semiprime(engine: &mut Engine, bits: u32, streams: &mut [Stream; 2]) -> Integer {
    loop {
        let mut n = Integer::from(1);
        let mut multiply = |_, found: Found| n *= found.prime;
        engine
            .primes(
                Form::Prime,
                bits / 2,
                streams,
                &Cancel::new(),
                &mut multiply,
            )
            .unwrap();
        if n.significant_bits() == bits && !n.is_perfect_square() {
            return n;
        }
    }
}
