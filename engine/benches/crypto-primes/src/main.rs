//! Primes per second of thread CPU time that crypto-primes finds. Prints name, rate and version,
//! separated by tabs.
//!
//! usage: crypto-primes-rate BITS SECONDS COUNT, where SECONDS and COUNT (of primes) are minima.

use std::hint::black_box;

use crypto_bigint::{RandomBits, Uint};
use crypto_primes::{Flavor, random_prime};
use rustix::time::{ClockId, clock_gettime};

fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

fn rate<const LIMBS: usize>(bits: u32, seconds: f64, least: u64) -> f64
where
    Uint<LIMBS>: RandomBits + crypto_bigint::UnsignedWithMontyForm,
{
    let mut random = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
    let (start, mut count) = (now(), 0);
    while count < least.max(1) || now() - start < seconds {
        black_box(random_prime::<Uint<LIMBS>, _>(
            &mut random,
            Flavor::Any,
            bits,
        ));
        count += 1;
    }
    count as f64 / (now() - start)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bits, seconds, least] = arguments.as_slice() else {
        panic!("usage: crypto-primes-rate BITS SECONDS COUNT");
    };
    let bits: u32 = bits.parse().expect("bits");
    let seconds: f64 = seconds.parse().expect("seconds");
    let least: u64 = least.parse().expect("count");
    let rate = match bits {
        256 => rate::<4>(bits, seconds, least),
        512 => rate::<8>(bits, seconds, least),
        1024 => rate::<16>(bits, seconds, least),
        2048 => rate::<32>(bits, seconds, least),
        4096 => rate::<64>(bits, seconds, least),
        _ => return,
    };
    println!("crypto-primes\t{rate}\t0.7.2");
}
