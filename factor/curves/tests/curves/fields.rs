//! Tests of the fields of all kernels and sizes.

use primepool_curves::{Cancel, Ecm, Error, Integer, Kernel, WordPrimality};
use primepool_engine::{Engine, Form, Stream, small};

fn kernels() -> impl Iterator<Item = Kernel> {
    Kernel::ALL
        .into_iter()
        .filter(|kernel| kernel.is_available())
}

/// Random primes, the same in every run.
struct Primes(Engine, Stream);

impl Primes {
    fn new(seed: u64) -> Self {
        Self(Engine::new(), Stream::seeded(seed, 0))
    }

    fn prime(&mut self, bits: u32) -> Integer {
        let mut prime = Integer::new();
        let stream = std::slice::from_mut(&mut self.1);
        let mut found = |_, found: primepool_engine::Found| prime = found.prime;
        self.0
            .primes(Form::Prime, bits, stream, &Cancel::new(), &mut found)
            .unwrap();
        prime
    }

    /// A product of two different primes.
    fn semiprime(&mut self, bits: u32, other_bits: u32) -> Integer {
        loop {
            let (p, q) = (self.prime(bits), self.prime(other_bits));
            if p != q {
                return p * q;
            }
        }
    }
}

/// How many of the numbers are split.
fn split(ecm: &mut Ecm, numbers: &[Integer], bits: u32, b1: u32, most: u32) -> usize {
    let mut is_split = vec![false; numbers.len()];
    let mut found = |place: usize, divisor: Integer| {
        let n: &Integer = &numbers[place];
        assert!(divisor > 1 && divisor < *n && n.is_divisible(&divisor));
        assert!(!is_split[place], "told twice");
        is_split[place] = true;
    };
    ecm.split_many(numbers, bits, b1, most, &Cancel::new(), &mut found)
        .unwrap();
    is_split.into_iter().filter(|&is_split| is_split).count()
}

#[test]
fn every_kernel_splits_many_numbers_of_any_length() {
    let mut primes = Primes::new(1);
    for (bits, count, b1) in [
        (34, 300, 20),
        (40, 300, 30),
        (46, 300, 50),
        (48, 300, 50),
        (50, 300, 60),
        (63, 100, 180),
        (64, 100, 180),
        (66, 60, 200),
        (98, 10, 2000),
        (100, 10, 2000),
        (112, 6, 5000),
    ] {
        let numbers: Vec<Integer> = (0..count)
            .map(|_| primes.semiprime(bits / 2, bits - bits / 2))
            .collect();
        for kernel in kernels() {
            let mut ecm = Ecm::new(kernel);
            assert_eq!(
                split(&mut ecm, &numbers, bits, b1, 1000),
                count,
                "{kernel}, {bits} bits"
            );
            // Numbers of fewer bits, and of any count.
            for count in [0, 1, 2, 3, 5, 7, 9, 17] {
                let some = &numbers[..count.min(numbers.len())];
                assert_eq!(split(&mut ecm, some, bits + 2, b1, 1000), some.len());
            }
            if bits <= 64 {
                let words: Vec<u64> = numbers.iter().map(|n| n.to_u64().unwrap()).collect();
                let mut found = 0;
                let mut check = |place: usize, divisor: u64| {
                    assert!(divisor > 1 && divisor < words[place]);
                    assert_eq!(words[place] % divisor, 0);
                    found += 1;
                };
                ecm.split_many(&words, bits, b1, 1000, &Cancel::new(), &mut check)
                    .unwrap();
                assert_eq!(found, count, "{kernel}, {bits} bits");
            }
        }
    }
}

#[test]
fn a_curve_is_the_same_on_every_kernel_and_at_every_length() {
    let mut primes = Primes::new(2);
    // About one curve in ten finds the smaller factor.
    let p = primes.prime(36);
    let mut first = None;
    for bits in [60_u32, 110, 150, 200, 250, 300, 360, 450, 760, 1000, 1900] {
        let n = Integer::from(&p * &primes.prime(bits));
        for kernel in kernels() {
            let mut ecm = Ecm::new(kernel);
            let found = (0..40_u64).map(|curve| {
                let divisor = ecm.curves(&n, 600, curve..curve + 1, &Cancel::new(), &mut |_| {});
                divisor.unwrap().is_some_and(|divisor| divisor == p)
            });
            let found: Vec<bool> = found.collect();
            let hits = found.iter().filter(|&&found| found).count();
            assert!((2..30).contains(&hits), "{kernel}, {bits} bits: {hits}");
            // The same curve may find a short cofactor too.
            if bits >= 150 {
                assert_eq!(
                    *first.get_or_insert(found.clone()),
                    found,
                    "{kernel}, {bits} bits"
                );
            }
        }
    }
}

/// A fault in the second stage, or in the starting points of curves, would show here.
#[test]
fn curves_find_factors_as_often_as_theory_says() {
    let mut primes = Primes::new(3);
    // The order of a curve of Suyama's family is smooth about as often as a number of the size of
    // p/23 (Zimmermann & Dodson, *20 years of ECM*, ANTS-VII, 2006). The probabilities are those
    // that a random number of that size is smooth with these bounds except for one prime, counted
    // in a sample.
    let mut ecm = Ecm::new(Kernel::fastest());
    for (bits, all_bits, b1, count, chance) in [
        (48, 330, 2_000, 250, 0.0466_f64),
        (64, 330, 15_000, 125, 0.0193),
    ] {
        let is_hit = |_: &u32| {
            let n = primes.semiprime(bits, all_bits - bits);
            let divisor = ecm.curves(&n, b1, 0..8, &Cancel::new(), &mut |_| {});
            divisor.unwrap().is_some()
        };
        let hits = (0..count).filter(is_hit).count();
        // The probability that at least one of eight curves finds the factor.
        let chance = 1.0 - (1.0 - chance).powi(8);
        let expected = chance * f64::from(count);
        let deviation = (expected * (1.0 - chance)).sqrt();
        let is_near = (hits as f64 - expected).abs() < 4.0 * deviation;
        assert!(
            is_near,
            "{bits} bits: {hits} of {count}, not {expected:.0} ± {deviation:.0}"
        );
    }
}

/// A prime p for which p − `sign` is 12 times a smooth number times one larger prime.
fn beside_smooth(sign: i32) -> Integer {
    let smooth: Integer = [61_u32, 67, 101, 103, 107, 211, 307, 401, 503, 599, 701, 809]
        .into_iter()
        .map(Integer::from)
        .product();
    // The second stage has to find the last prime.
    let primes = (1000..20_000).filter(|&p| small::is_prime(p));
    let candidates = primes.map(|p| Integer::from(&smooth * p) * 12 + sign);
    { candidates }
        .find(|n: &Integer| n.is_probably_prime(30) != rug::integer::IsPrime::No)
        .unwrap()
}

#[test]
fn p_minus_1_and_p_plus_1_find_what_they_are_for() {
    let other = Primes::new(4).prime(300);
    for sign in [1, -1] {
        let p = beside_smooth(sign);
        let n = Integer::from(&p * &other);
        for kernel in kernels() {
            let mut ecm = Ecm::new(kernel);
            let found = ecm.plus_minus(&n, 1_000, &Cancel::new()).unwrap();
            assert_eq!(found.as_ref(), Some(&p), "{kernel}, {sign}");
            let missed = ecm.plus_minus(&n, 500, &Cancel::new()).unwrap();
            assert_eq!(missed, None, "{kernel}, {sign}");
        }
    }
}

#[test]
fn what_has_no_field_has_an_answer() {
    let mut ecm = Ecm::new(Kernel::fastest());
    let mut curves = |n: Integer| {
        ecm.curves(&n, 100, 0..8, &Cancel::new(), &mut |_| {})
            .unwrap()
    };
    assert_eq!(curves(0.into()), None);
    assert_eq!(curves(1.into()), None);
    assert_eq!(curves(2.into()), None);
    assert_eq!(curves(Integer::from(1) << 3000), None);
    assert_eq!(curves(1000.into()), Some(2.into()));
    // Curves that find all factors at once, or run on a prime, must end.
    for n in [9, 15, 105, 1_000_003] {
        let divisor = curves(n.into());
        assert!(
            divisor.is_none_or(|d| Integer::from(n).is_divisible(&d)),
            "{n}"
        );
    }
}

#[test]
fn a_cancellation_ends_curves_and_p_plus_minus_1() {
    let n = Primes::new(5).semiprime(150, 150);
    for kernel in kernels() {
        let cancel = Cancel::new();
        cancel.cancel();
        let mut ecm = Ecm::new(kernel);
        let curves = ecm.curves(&n, 2_000, 0..9, &cancel, &mut |_| {});
        assert!(matches!(curves, Err(Error::Cancelled)));
        let runs = ecm.plus_minus(&n, 2_000, &cancel);
        assert!(matches!(runs, Err(Error::Cancelled)));
        let numbers = [Primes::new(6).semiprime(55, 60)];
        let many = ecm.split_many(&numbers, 115, 2_000, 10, &cancel, &mut |_, _| {});
        assert!(matches!(many, Err(Error::Cancelled)));
    }
}

#[test]
fn every_kernel_tells_primes_from_composites() {
    // Covers each size of a field, and each number of bases.
    let starts = [
        39,
        2_001,
        1_373_001,
        25_326_001 - 400,
        1 << 32,
        1 << 45,
        1 << 48,
        (1 << 62) + 1,
        (1 << 63) - 333,
        u64::MAX - 700,
    ]
    .map(|start: u64| start | 1);
    // Strong pseudoprimes to the first bases.
    let pseudoprimes = [
        2_047,
        1_373_653,
        25_326_001,
        3_215_031_751,
        2_152_302_898_747,
        3_474_749_660_383,
        341_550_071_728_321,
        3_825_123_056_546_413_051,
    ];
    for kernel in kernels() {
        let mut tests = WordPrimality::new(kernel);
        for start in starts {
            let numbers: Vec<u64> = (0..333).map(|i| start + 2 * i).collect();
            let expected = numbers.iter().map(|&n| small::is_prime(n));
            assert!(
                expected.eq(tests.are_prime(&numbers)),
                "{kernel}, from {start}"
            );
        }
        assert_eq!(tests.are_prime(&pseudoprimes), [false; 8], "{kernel}");
        assert_eq!(tests.are_prime(&[]), [false; 0]);
        // Enough numbers for the small ones to be looked up.
        let numbers: Vec<u64> = (0..50_000).map(|i: u64| i * 334 + 1001).collect();
        let expected: Vec<bool> = numbers.iter().map(|&n| small::is_prime(n)).collect();
        assert_eq!(tests.are_prime(&numbers), expected, "{kernel}");
        // Numbers of all sizes, in any order.
        let numbers: Vec<u64> = (0..500)
            .map(|i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (i % 64))
            .chain([u64::MAX - 58, u64::MAX, 0, 1, 2, 1681])
            .collect();
        let expected: Vec<bool> = numbers.iter().map(|&n| small::is_prime(n)).collect();
        assert_eq!(tests.are_prime(&numbers), expected, "{kernel}");
    }
}
