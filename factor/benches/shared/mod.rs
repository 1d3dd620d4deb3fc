//! The clock and the random numbers of the benchmarks.

use std::time::Duration;

use primepool_engine::{Cancel, Engine, Form, Found, Integer, Stream};
use rustix::time::{ClockId, clock_gettime};

/// CPU time of all threads of this process in seconds.
pub(crate) fn now() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32).as_secs_f64()
}

/// CPU time in seconds of the child processes that this process has waited for.
#[allow(dead_code)]
pub(crate) fn children() -> f64 {
    let mut usage = Duration::ZERO;
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    // After the name: the fields cutime and cstime, in hundredths of a second.
    let fields = text.rsplit(") ").next().unwrap().split(' ');
    for ticks in fields.skip(13).take(2) {
        usage += Duration::from_millis(10 * ticks.parse::<u64>().unwrap());
    }
    usage.as_secs_f64()
}

/// A random prime of this many bits.
pub(crate) fn prime(engine: &mut Engine, bits: u32, stream: &mut Stream) -> Integer {
    let mut prime = Integer::new();
    let mut found = |_, found: Found| prime = found.prime;
    let stream = std::slice::from_mut(stream);
    engine
        .primes(Form::Prime, bits, stream, &Cancel::new(), &mut found)
        .unwrap();
    prime
}

/// A product of two primes of half the bits.
pub(crate) fn semiprime(engine: &mut Engine, bits: u32, streams: &mut [Stream; 2]) -> Integer {
    loop {
        let [p, q] = streams.each_mut();
        let n = prime(engine, bits / 2, p) * prime(engine, bits / 2, q);
        if n.significant_bits() == bits && !n.is_perfect_square() {
            return n;
        }
    }
}
