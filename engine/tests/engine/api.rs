//! The public interface as a worker uses it.

use std::thread;
use std::time::{Duration, Instant};

use primepool_engine::{
    Cancel, Engine, Error, Form, Found, Integer, MAX_BITS, MIN_BITS, Stream, primality,
};
use proptest::prelude::*;

use crate::cases;

fn prime(form: Form, bits: u32, seed: u64, index: u64) -> Result<Found, Error> {
    let mut result = None;
    Engine::new().primes(
        form,
        bits,
        &mut [Stream::seeded(seed, index)],
        &Cancel::new(),
        &mut |_, found| result = Some(found),
    )?;
    Ok(result.expect("a prime for the stream"))
}

/// A number below 2^bits from the generator SplitMix64 of Steele, Lea & Flood.
fn random(bits: u32, seed: u64) -> Integer {
    let mut state = seed;
    let words: Vec<u64> = (0..bits.div_ceil(64))
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        })
        .collect();
    Integer::from_digits(&words, rug::integer::Order::Lsf).keep_bits(bits)
}

fn assert_next_prime(engine: &mut Engine, after: &Integer) {
    let found = engine.next_prime(after, &Cancel::new()).unwrap();
    assert_eq!(
        found.prime,
        Integer::from(after.next_prime_ref()),
        "{after}"
    );
}

#[test]
fn seeded_primes_are_frozen() {
    for (form, bits, seed, index, expected) in FROZEN {
        let found = prime(*form, *bits, *seed, *index).unwrap();
        assert_eq!(
            format!("{:x}", found.prime),
            *expected,
            "{form:?} {bits} {seed} {index}"
        );
    }
}

/// Results that must be the same in every version.
const FROZEN: &[(Form, u32, u64, u64, &str)] = &[
    (Form::Prime, 2, 2026, 0, "2"),
    (Form::Prime, 2, 2026, 1, "3"),
    (Form::Prime, 2, 2026, 2, "2"),
    (Form::Prime, 3, 2026, 0, "7"),
    (Form::Prime, 3, 2026, 1, "7"),
    (Form::Prime, 16, 2026, 0, "9fa3"),
    (Form::Prime, 16, 2026, 1, "b393"),
    (Form::Prime, 63, 2026, 0, "766e01f3f4ec9fab"),
    (Form::Prime, 64, 2026, 0, "f66e01f3f4ec9fb3"),
    (Form::Prime, 64, 2026, 1, "fbe7d7a15fef338b"),
    (Form::Prime, 65, 2026, 0, "1f66e01f3f4ec9fd5"),
    (Form::Prime, 65, 2026, 1, "17be7d7a15fef3397"),
    (
        Form::Prime,
        128,
        2026,
        0,
        "9a8b89fe35307cebf66e01f3f4ec9f97",
    ),
    (
        Form::Prime,
        128,
        2026,
        1,
        "fd8ce0fe617d581f7be7d7a15fef3453",
    ),
    (
        Form::Prime,
        256,
        2026,
        0,
        "ff8f34452aa4e9893b03e86ae661e1649a8b89fe35307cebf66e01f3f4eca033",
    ),
    (
        Form::Prime,
        256,
        2026,
        1,
        "fab97dc90d21ae9930445cfa484fc3f3fd8ce0fe617d581f7be7d7a15fef343b",
    ),
    (
        Form::Prime,
        521,
        2026,
        0,
        "17b707a18eea44c50725ad22554414312d4212cba2da5b789945587c1b4be6ab878ff8f34452aa4e9893b03e86ae661e1649a8b89fe35307cebf66e01f3f4eca037",
    ),
    (
        Form::Prime,
        1024,
        2026,
        0,
        "8d2ac63e2a4c0aa04b0e3fb5d6f5e530a93090cb917ffa9c493ffa44c2c6201269a01c800a0be75dca83d1088dfa67ebdabc6cfdc9a91e009e4cb6a04514577b707a18eea44c50725ad22554414312d4212cba2da5b789945587c1b4be6ab878ff8f34452aa4e9893b03e86ae661e1649a8b89fe35307cebf66e01f3f4eca657",
    ),
    (Form::SafePrime, 3, 2026, 0, "7"),
    (Form::SafePrime, 3, 2026, 1, "7"),
    (Form::SafePrime, 16, 2026, 0, "9fb3"),
    (Form::SafePrime, 16, 2026, 1, "b477"),
    (Form::SafePrime, 32, 2026, 0, "f4eca08b"),
    (Form::SafePrime, 64, 2026, 0, "f66e01f3f4eca02b"),
    (Form::SafePrime, 65, 2026, 0, "1f66e01f3f4eca88b"),
    (
        Form::SafePrime,
        128,
        2026,
        0,
        "9a8b89fe35307cebf66e01f3f4eca873",
    ),
    (
        Form::SafePrime,
        256,
        2026,
        0,
        "ff8f34452aa4e9893b03e86ae661e1649a8b89fe35307cebf66e01f3f4ecbd3b",
    ),
];

#[test]
fn types_are_send() {
    fn send<T: Send>() {}
    send::<Engine>();
    send::<Stream>();
    send::<Cancel>();
}

#[test]
fn a_batch_gives_what_single_searches_give() {
    let mut streams: Vec<Stream> = (0..11).map(|index| Stream::seeded(5, index)).collect();
    let mut batch = vec![Integer::new(); 11];
    let mut engine = Engine::new();
    engine
        .primes(
            Form::Prime,
            200,
            &mut streams,
            &Cancel::new(),
            &mut |i, found| {
                assert!(found.candidates > 0);
                batch[i] = found.prime;
            },
        )
        .unwrap();
    for (index, p) in batch.iter().enumerate() {
        assert_eq!(*p, prime(Form::Prime, 200, 5, index as u64).unwrap().prime);
    }
    assert_eq!(engine.verify(&batch).unwrap(), vec![true; 11]);
    engine
        .primes(Form::Prime, 200, &mut [], &Cancel::new(), &mut |_, _| {
            unreachable!("no streams")
        })
        .unwrap();
}

#[test]
fn a_stream_goes_on() {
    let mut streams = [Stream::seeded(6, 0)];
    let mut primes = Vec::new();
    for _ in 0..2 {
        Engine::new()
            .primes(
                Form::Prime,
                128,
                &mut streams,
                &Cancel::new(),
                &mut |_, found| {
                    primes.push(found.prime);
                },
            )
            .unwrap();
    }
    assert_ne!(primes[0], primes[1]);
}

#[test]
fn operating_system_streams_differ() {
    let mut primes = Vec::new();
    Engine::new()
        .primes(
            Form::Prime,
            256,
            &mut [Stream::os(), Stream::os()],
            &Cancel::new(),
            &mut |_, found| primes.push(found.prime),
        )
        .unwrap();
    assert_ne!(primes[0], primes[1]);
    assert!(primes.iter().all(|p| p.significant_bits() == 256));
}

#[test]
fn invalid_sizes_are_refused() {
    for (form, bits) in [
        (Form::Prime, 0),
        (Form::Prime, MIN_BITS - 1),
        (Form::Prime, MAX_BITS + 1),
        (Form::Prime, u32::MAX),
        (Form::SafePrime, 2),
        (Form::SafePrime, 1),
    ] {
        let error = prime(form, bits, 1, 1).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        assert!(error.to_string().contains(&bits.to_string()), "{error}");
    }
    let after = Integer::from(1) << MAX_BITS;
    let error = Engine::new()
        .next_prime(&after, &Cancel::new())
        .unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

#[test]
fn next_prime_of_small_and_negative_numbers() {
    let mut engine = Engine::new();
    for n in -100..5000 {
        assert_next_prime(&mut engine, &n.into());
    }
    let negative = -(Integer::from(1) << (MAX_BITS + 10));
    let found = engine.next_prime(&negative, &Cancel::new()).unwrap();
    assert_eq!(found.prime, 2);
}

#[test]
fn next_prime_around_powers_of_two() {
    let mut engine = Engine::new();
    for k in 1..=300_u32 {
        for offset in [-2, -1, 0, 1] {
            assert_next_prime(&mut engine, &((Integer::from(1) << k) + offset));
        }
    }
    for offset in 50..70_u32 {
        assert_next_prime(&mut engine, &((Integer::from(1) << 64) - offset));
    }
}

#[test]
fn next_prime_across_large_gaps() {
    let mut engine = Engine::new();
    // Maximal gaps (OEIS A002386, A005250), and factorials: n! + 2 ... n! + n are composite.
    for (before, gap) in [
        (1327_u64, 34),
        (31_397, 72),
        (2_010_733, 148),
        (436_273_009, 282),
        (1_425_172_824_437_699_411, 1476),
        (18_361_375_334_787_046_697, 1550),
    ] {
        let before = Integer::from(before);
        let found = engine.next_prime(&before, &Cancel::new()).unwrap();
        assert_eq!(found.prime, Integer::from(&before + gap));
    }
    for n in cases(&[30_u32, 100, 200][..], &[30, 100, 200, 400]) {
        assert_next_prime(
            &mut engine,
            &(Integer::from(Integer::factorial(*n)) + 1_u32),
        );
    }
}

#[test]
fn next_prime_equals_gmps_on_many_inputs() {
    let mut engine = Engine::new();
    for seed in 0..cases(800, 4000_u64) {
        let bits = 1 + (seed % 200) as u32;
        assert_next_prime(&mut engine, &random(bits, seed));
    }
    for seed in (0..300_u64).step_by(cases(7, 1)) {
        let bits = 200 + (seed % 300) as u32;
        assert_next_prime(&mut engine, &random(bits, seed));
    }
    for bits in [777, 1024, 1100] {
        assert_next_prime(&mut engine, &random(bits, 1));
    }
}

#[test]
fn next_prime_counts_up() {
    let mut engine = Engine::new();
    let mut n: Integer = (Integer::from(1) << 80) - 3000_u32;
    let mut expected = n.clone();
    for _ in 0..300 {
        n = engine.next_prime(&n, &Cancel::new()).unwrap().prime;
        expected.next_prime_mut();
        assert_eq!(n, expected);
    }
}

#[test]
fn verify_accepts_primes_and_refuses_others() {
    let mut engine = Engine::new();
    assert_eq!(engine.verify(&[]), Ok(vec![]));
    let numbers: Vec<Integer> = (-10..1000).map(Integer::from).collect();
    let expected: Vec<bool> = (-10..1000)
        .map(|n| n > 1 && (2..n).take_while(|d| d * d <= n).all(|d| n % d != 0))
        .collect();
    assert_eq!(engine.verify(&numbers), Ok(expected));

    let mut numbers = Vec::new();
    let mut expected = Vec::new();
    for bits in [65_u32, 128, 1000, 5000] {
        let p = random(bits, 3) | Integer::from(1) << (bits - 1);
        let p = if bits == 5000 {
            (Integer::from(1) << 4423) - 1_u32
        } else {
            p.next_prime()
        };
        numbers.extend([Integer::from(&p * 2), Integer::from(&p * 3), -p.clone(), p]);
        expected.extend([false, false, false, true]);
    }
    assert_eq!(engine.verify(&numbers), Ok(expected));
}

#[test]
fn a_set_flag_stops_every_call_at_once() {
    let cancel = Cancel::new();
    cancel.cancel();
    let mut engine = Engine::new();
    for (form, bits) in [
        (Form::Prime, 10),
        (Form::Prime, 100),
        (Form::SafePrime, MAX_BITS),
    ] {
        let result = engine.primes(
            form,
            bits,
            &mut [Stream::seeded(1, 1)],
            &cancel,
            &mut |_, _| unreachable!("cancelled before"),
        );
        assert_eq!(result, Err(Error::Cancelled));
    }
    let result = engine.next_prime(&Integer::from(10), &cancel);
    assert_eq!(result, Err(Error::Cancelled));
    let result = primality::is_probable_prime(&Integer::from(7), &cancel);
    assert_eq!(result, Err(Error::Cancelled));
}

/// How long a call continues after the flag is set, which happens `delay` after its start. The call
/// itself would take minutes to years.
fn latency(delay: Duration, call: impl FnOnce(&Cancel) -> Result<(), Error>) -> Duration {
    let cancel = Cancel::new();
    let flag = cancel.clone();
    let setter = thread::spawn(move || {
        thread::sleep(delay);
        flag.cancel();
        Instant::now()
    });
    let result = call(&cancel);
    let end = Instant::now();
    assert_eq!(result, Err(Error::Cancelled));
    end.saturating_duration_since(setter.join().unwrap())
}

#[test]
fn a_flag_set_meanwhile_stops_searches() {
    // The bound is generous for busy machines: a call that ignores the flag takes minutes at least.
    let bound = Duration::from_secs(2);
    for (form, bits) in [
        (Form::SafePrime, 4096),
        (Form::SafePrime, 8192),
        (Form::Prime, MAX_BITS),
        (Form::SafePrime, MAX_BITS),
    ] {
        // Early, while the sieve is set up, and later, during the tests.
        for delay in [1, 50, 700] {
            let taken = latency(Duration::from_millis(delay), |cancel| {
                let mut streams = [Stream::seeded(1, 1)];
                Engine::new().primes(form, bits, &mut streams, cancel, &mut |_, _| ())
            });
            assert!(taken < bound, "{form:?} {bits} {delay}: {taken:?}");
        }
    }
}

#[test]
fn a_flag_set_meanwhile_stops_tests() {
    type Test<'a> = &'a dyn Fn(&Cancel) -> Result<bool, Error>;

    let bound = Duration::from_secs(2);
    // A strong pseudoprime to base 2 that soon reaches the Lucas test, and numbers for the strong
    // tests.
    let mersenne = (Integer::from(1) << 44_497) - 1_u32;
    let base = random(40_000, 1);
    let calls: [Test<'_>; 3] = [
        &|cancel| primality::is_strong_lucas_probable_prime(&mersenne, cancel),
        &|cancel| primality::is_strong_probable_prime(&mersenne, &base, cancel),
        &|cancel| primality::is_probable_prime(&mersenne, cancel),
    ];
    for call in calls {
        let taken = latency(Duration::from_millis(200), |cancel| call(cancel).map(drop));
        assert!(taken < bound, "{taken:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn results_are_primes_of_the_size(bits in 2_u32..600, seed: u64, index: u64) {
        let found = prime(Form::Prime, bits, seed, index).unwrap();
        prop_assert_eq!(found.prime.significant_bits(), bits);
        prop_assert!(found.prime.is_probably_prime(40) != rug::integer::IsPrime::No);
        prop_assert_eq!(&prime(Form::Prime, bits, seed, index).unwrap().prime, &found.prime);
    }

    #[test]
    fn results_are_safe_primes_of_the_size(bits in 3_u32..160, seed: u64, index: u64) {
        let p = prime(Form::SafePrime, bits, seed, index).unwrap().prime;
        prop_assert_eq!(p.significant_bits(), bits);
        prop_assert!(p.is_probably_prime(40) != rug::integer::IsPrime::No);
        prop_assert!(Integer::from(&p / 2).is_probably_prime(40) != rug::integer::IsPrime::No);
    }

    #[test]
    fn verify_refuses_products(bits in 3_u32..200, a: u64, b: u64) {
        let n = random(bits, a).next_prime() * random(bits, b).next_prime();
        // Few composites pass one round, and hardly any pass all ten.
        let mut engine = Engine::new();
        let refused = (0..10).any(|_| !engine.verify(std::slice::from_ref(&n)).unwrap()[0]);
        prop_assert!(refused);
    }
}
