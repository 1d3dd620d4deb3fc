//! The primes that the two methods choose: the same on every kernel, with the documented
//! distribution.
//!
//! The seeds are fixed, so the tests give the same answer each time. Statistics must be within
//! [`LIMIT`] standard deviations: with random seeds, a correct engine would fail a comparison with
//! a probability of 1e-6.

use primepool_engine::{Cancel, Engine, Error, Form, Integer, Kernel, Method, Stream};
use proptest::prelude::*;
use rug::integer::IsPrime;

/// Greatest deviation in standard deviations: two-sided significance 1e-6.
const LIMIT: f64 = 4.89;

fn engines() -> Vec<Engine> {
    Kernel::ALL
        .into_iter()
        .rev()
        .filter_map(|kernel| Engine::with_kernel(kernel).ok())
        .collect()
}

fn find(
    engine: &mut Engine,
    method: Method,
    form: Form,
    bits: u32,
    streams: &mut [Stream],
) -> Vec<Integer> {
    let mut primes = vec![Integer::new(); streams.len()];
    engine
        .primes_by(
            method,
            form,
            bits,
            streams,
            &Cancel::new(),
            &mut |index, found| {
                assert_eq!(primes[index], 0, "twice");
                primes[index] = found.prime;
            },
        )
        .unwrap();
    primes
}

fn streams(seed: u64, count: u64) -> Vec<Stream> {
    (0..count)
        .map(|index| Stream::seeded(seed, index))
        .collect()
}

fn is_prime(n: &Integer) -> bool {
    n.is_probably_prime(30) != IsPrime::No
}

/// Checks that every kernel finds the same primes, and that its streams then continue with the same
/// primes.
fn assert_same(method: Method, form: Form, bits: u32, seed: u64, count: u64) {
    let mut expected = Vec::new();
    for engine in &mut engines() {
        let mut streams = streams(seed, count);
        let mut primes = find(engine, method, form, bits, &mut streams);
        primes.extend(find(engine, method, form, bits, &mut streams));
        for p in &primes {
            assert_eq!(p.significant_bits(), bits);
            assert!(is_prime(p), "{p:x}");
            assert!(
                form == Form::Prime || is_prime(&Integer::from(p / 2)),
                "{p:x}"
            );
        }
        if expected.is_empty() {
            expected.clone_from(&primes);
        }
        assert_eq!(
            primes, expected,
            "{method:?} {form:?} {bits} {seed} {count}"
        );
    }
}

#[test]
fn kernels_and_continued_streams_agree() {
    for method in [Method::Incremental, Method::Uniform] {
        for bits in (2..=130).chain([150, 191, 256, 300, 384, 512, 600]) {
            assert_same(method, Form::Prime, bits, 21, 9);
        }
        assert_same(method, Form::Prime, 1024, 22, 2);
        for bits in (3..=12).chain(60..=70).chain([128, 160, 200]) {
            assert_same(method, Form::SafePrime, bits, 23, 2);
        }
        for count in 0..20 {
            assert_same(method, Form::Prime, 100, 24, count);
        }
    }
}

#[test]
fn sizes_are_exact() {
    let mut engine = Engine::new();
    for bits in 2..=130 {
        for method in [Method::Incremental, Method::Uniform] {
            for p in find(&mut engine, method, Form::Prime, bits, &mut streams(25, 12)) {
                assert_eq!(p.significant_bits(), bits);
            }
        }
    }
    for bits in [255, 257, 521, 1000, 1537, 2048] {
        for p in find(
            &mut engine,
            Method::Incremental,
            Form::Prime,
            bits,
            &mut streams(26, 2),
        ) {
            assert_eq!(p.significant_bits(), bits);
            assert!(is_prime(&p));
        }
    }
    if engine.kernel() != Kernel::Gmp {
        // The portable kernel would take too long for a test.
        for bits in [3000, 4096] {
            let p = &find(
                &mut engine,
                Method::Incremental,
                Form::Prime,
                bits,
                &mut streams(27, 1),
            )[0];
            assert_eq!(p.significant_bits(), bits);
        }
    }
}

/// How many standard deviations χ² is from its mean, if the counts have probabilities proportional
/// to `weights` (Wilson & Hilferty 1931).
fn deviation(counts: &[u32], weights: &[f64]) -> f64 {
    let total: f64 = counts.iter().copied().map(f64::from).sum();
    let weight: f64 = weights.iter().sum();
    let square: f64 = counts
        .iter()
        .zip(weights)
        .map(|(&count, w)| {
            let expected = total * w / weight;
            assert!(expected >= 4.0, "too few for the approximation");
            (f64::from(count) - expected).powi(2) / expected
        })
        .sum();
    let freedom = (counts.len() - 1) as f64;
    let part = 2.0 / (9.0 * freedom);
    ((square / freedom).cbrt() - (1.0 - part)) / part.sqrt()
}

/// How often each of the primes in `all` is found.
fn histogram(method: Method, form: Form, bits: u32, all: &[u32], each: u64) -> Vec<u32> {
    let mut counts = vec![0; all.len()];
    let mut streams = streams(28, each * all.len() as u64);
    for p in find(&mut Engine::new(), method, form, bits, &mut streams) {
        let index = all
            .binary_search(&p.to_u32().unwrap())
            .expect("one of them");
        counts[index] += 1;
    }
    counts
}

#[test]
fn small_primes_have_the_documented_distributions() {
    let prime = |n: &u32| is_prime(&Integer::from(*n));
    for (form, bits, each) in [
        (Form::Prime, 2, 2000),
        (Form::Prime, 3, 2000),
        (Form::Prime, 5, 1000),
        (Form::Prime, 13, 60),
        (Form::Prime, 16, 60),
        (Form::SafePrime, 3, 2000),
        (Form::SafePrime, 6, 1000),
        (Form::SafePrime, 13, 100),
    ] {
        let first = 1 << (bits - 1);
        let all: Vec<u32> = (first..1 << bits)
            .filter(|n| prime(n) && (form == Form::Prime || prime(&(n / 2))))
            .collect();
        let same = vec![1.0; all.len()];
        // The number of starts that lead to a prime is its distance from the previous prime.
        let before = [first - 1].into_iter().chain(all.iter().copied());
        let gaps: Vec<f64> = all
            .iter()
            .zip(before)
            .map(|(p, q)| f64::from(p - q))
            .collect();

        let uniform = histogram(Method::Uniform, form, bits, &all, each);
        let z = deviation(&uniform, &same);
        assert!(z.abs() < LIMIT, "{form:?} {bits}: {z}");
        // Leaves out gaps with an expected count below 4; enough others remain.
        let (counts, gaps): (Vec<u32>, Vec<f64>) =
            histogram(Method::Incremental, form, bits, &all, each)
                .into_iter()
                .zip(gaps)
                .filter(|(_, gap)| *gap >= 2.0 || bits < 8)
                .unzip();
        let z = deviation(&counts, &gaps);
        assert!(z.abs() < LIMIT, "{form:?} {bits}: {z}");
        if bits >= 13 {
            // The test can tell one distribution from the other.
            assert!(deviation(&counts, &vec![1.0; counts.len()]) > 20.0);
            assert!(deviation(&uniform, &gaps) > 20.0);
        }
    }
}

#[test]
fn larger_primes_are_spread_evenly() {
    let mut engine = Engine::new();
    for (method, bits, count) in [
        (Method::Uniform, 65, 8000),
        (Method::Uniform, 128, 4000),
        (Method::Uniform, 256, 3000),
        (Method::Incremental, 65, 8000),
        (Method::Incremental, 128, 4000),
        (Method::Incremental, 256, 4000),
        (Method::Incremental, 512, 1000),
    ] {
        let primes = find(
            &mut engine,
            method,
            Form::Prime,
            bits,
            &mut streams(29, count),
        );
        for modulus in [3_u32, 5, 7, 8, 11, 13, 16, 17, 19, 23] {
            let units: Vec<u32> = (1..modulus)
                .filter(|r| Integer::from(*r).gcd_u(modulus) == 1)
                .collect();
            let mut counts = vec![0; units.len()];
            for p in &primes {
                counts[units.binary_search(&p.mod_u(modulus)).expect("a unit")] += 1;
            }
            let z = deviation(&counts, &vec![1.0; units.len()]);
            assert!(z.abs() < LIMIT, "{method:?} {bits} mod {modulus}: {z}");
        }
        // The four bits below the top bit: the density of primes falls by less than the test can
        // detect.
        let mut counts = vec![0; 16];
        for p in &primes {
            counts[Integer::from(p >> (bits - 5)).to_usize().unwrap() - 16] += 1;
        }
        let z = deviation(&counts, &[1.0; 16]);
        assert!(z.abs() < LIMIT, "{method:?} {bits}, top bits: {z}");
    }
}

#[test]
fn cancelled_between_candidates() {
    let cancel = Cancel::new();
    cancel.cancel();
    for engine in &mut engines() {
        for (form, bits) in [
            (Form::Prime, 20),
            (Form::Prime, 500),
            (Form::SafePrime, 9000),
        ] {
            let result = engine.primes_by(
                Method::Uniform,
                form,
                bits,
                &mut streams(1, 1),
                &cancel,
                &mut |_, _| (),
            );
            assert_eq!(result, Err(Error::Cancelled));
        }
    }
}

#[test]
fn operating_system_streams_serve_both_methods() {
    for method in [Method::Incremental, Method::Uniform] {
        for engine in &mut engines() {
            let primes = find(
                engine,
                method,
                Form::Prime,
                256,
                &mut [Stream::os(), Stream::os()],
            );
            assert_ne!(primes[0], primes[1]);
            assert!(primes.iter().all(is_prime));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn kernels_agree_on_independent_candidates(bits in 60_u32..300, seed: u64, count in 1_u64..20) {
        assert_same(Method::Uniform, Form::Prime, bits, seed, count);
    }

    #[test]
    fn kernels_agree_on_independent_safe_primes(bits in 60_u32..120, seed: u64, count in 1_u64..4) {
        assert_same(Method::Uniform, Form::SafePrime, bits, seed, count);
    }
}
