//! Tests of factoring: results are complete and equal to PARI's, and valid after a cancellation.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use primepool_engine::{
    Cancel, Engine, Error, Form, Integer, Kernel, MAX_BITS, Stream, primality, small,
};
use primepool_factor::{
    Factorization, Factorizer, Limits, MANY_BITS, MAX_SIEVE_BITS, Progress, Reason, Stage,
};
use proptest::prelude::*;
use rug::integer::Order;
use rug::ops::Pow;

use crate::cases;

/// Random numbers, the same in every run: from the ChaCha20 streams of seeded jobs.
struct Random(Engine, Stream);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Engine::new(), Stream::seeded(seed, 0))
    }

    /// A random prime of this many bits.
    fn prime(&mut self, bits: u32) -> Integer {
        let mut prime = None;
        let mut found = |_, found: primepool_engine::Found| prime = Some(found.prime);
        let stream = std::slice::from_mut(&mut self.1);
        self.0
            .primes(Form::Prime, bits, stream, &Cancel::new(), &mut found)
            .unwrap();
        prime.unwrap()
    }

    /// A product of two different primes of half the bits.
    fn semiprime(&mut self, bits: u32) -> Integer {
        loop {
            let (p, q) = (self.prime(bits / 2), self.prime(bits - bits / 2));
            let n = Integer::from(&p * &q);
            if n.significant_bits() == bits && p != q {
                return n;
            }
        }
    }
}

/// A number of this many bits: a SplitMix64 word (Steele, Lea & Flood 2014) for each 64 of them.
fn number(bits: u32, state: &mut u64) -> Integer {
    let words: Vec<u64> = (0..bits.div_ceil(64))
        .map(|_| {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
        .collect();
    let mut n = Integer::from_digits(&words, Order::Lsf).keep_bits(bits);
    n.set_bit(bits - 1, true);
    n
}

fn power(base: u32, exponent: u32) -> Integer {
    Integer::from(base).pow(exponent)
}

fn factor(n: &Integer) -> Factorization {
    Factorizer::new()
        .factor(n, &Limits::default(), &Cancel::new(), &mut |_| {})
        .unwrap()
}

/// The factorization as `p^e q^f …`, the format of the oracle's answers.
fn line(found: &Factorization) -> String {
    let factors = found.factors.iter();
    let factors: Vec<String> = factors
        .map(|factor| format!("{}^{}", factor.prime, factor.exponent))
        .collect();
    factors.join(" ")
}

/// PARI's `gp`, which factors all numbers.
struct Oracle(Child, thread::JoinHandle<()>);

impl Oracle {
    fn ask(numbers: &[Integer]) -> Self {
        let mut gp = Command::new("gp")
            .args(["-q", "-f", "-D", "parisizemax=1000000000"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("gp, of the package pari-gp, which `infra/local/setup.sh --test` installs");
        let mut input = gp.stdin.take().unwrap();
        let mut script = "a(n)={my(f=factorint(n));for(i=1,#f~,print1(if(i>1,\" \",\"\"),f[i,1],\"^\",f[i,2]));print()};\n".to_owned();
        for n in numbers {
            script += &format!("a({n});\n");
        }
        let writer = thread::spawn(move || input.write_all(script.as_bytes()).unwrap());
        Self(gp, writer)
    }

    fn answers(self) -> Vec<String> {
        self.1.join().unwrap();
        let output = self.0.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// Factors all numbers and compares the results with the oracle's.
fn compare(numbers: &[Integer]) {
    compare_kernels(numbers, &[Kernel::fastest()]);
}

fn kernels() -> Vec<Kernel> {
    let all = Kernel::ALL.into_iter();
    all.filter(|kernel| kernel.is_available()).collect()
}

fn compare_kernels(numbers: &[Integer], kernels: &[Kernel]) {
    let oracle = Oracle::ask(numbers);
    let ours = kernels.iter().map(|kernel| lines(numbers, *kernel));
    let ours: Vec<_> = ours.collect();
    let theirs = oracle.answers();
    for (kernel, ours) in kernels.iter().zip(&ours) {
        assert_eq!(ours.len(), theirs.len());
        for ((n, ours), theirs) in numbers.iter().zip(ours).zip(&theirs) {
            assert_eq!(ours, theirs, "{n} with {kernel:?}");
        }
    }
}

/// The results of a kernel in the oracle's format. They must be the same one by one and side by
/// side.
fn lines(numbers: &[Integer], kernel: Kernel) -> Vec<String> {
    let mut factorizer = Factorizer::with_kernel(kernel);
    let together = many(&mut factorizer, numbers);
    let mut ours = Vec::new();
    for n in numbers {
        let found = factorizer.factor(n, &Limits::default(), &Cancel::new(), &mut |_| {});
        let found = found.unwrap();
        assert!(found.is_complete(), "{n}: {found:?}");
        assert_eq!(found.product(), *n);
        for factor in &found.factors {
            assert_eq!(factor.proven, factor.prime < Integer::from(1) << 64, "{n}");
        }
        assert_eq!(found, together[ours.len()], "{n}");
        ours.push(line(&found));
    }
    ours
}

/// Factors numbers side by side, and checks that each result is reported once.
fn many(factorizer: &mut Factorizer, numbers: &[Integer]) -> Vec<Factorization> {
    let mut all = vec![None; numbers.len()];
    factorizer
        .factor_many(
            numbers,
            &Limits::default(),
            &Cancel::new(),
            &mut |_| {},
            &mut |place, found| {
                let found: Factorization = found.unwrap();
                assert_eq!(found.product(), numbers[place]);
                assert!(all[place].replace(found).is_none(), "told twice");
            },
        )
        .unwrap();
    all.into_iter().map(Option::unwrap).collect()
}

/// All numbers below 10^5, or below 10^7 if [`cases`] says so.
#[test]
fn every_small_number_is_factored() {
    let numbers: Vec<Integer> = (1..cases(100_000_u32, 10_000_000))
        .map(Integer::from)
        .collect();
    let mut factorizer = Factorizer::new();
    for chunk in numbers.chunks(10_000) {
        for (n, found) in chunk.iter().zip(many(&mut factorizer, chunk)) {
            assert!(found.is_complete() && found.product() == *n);
            for factor in &found.factors {
                assert!(small::is_prime(factor.prime.to_u64().unwrap()), "{n}");
            }
            assert!(found.factors.is_sorted_by(|a, b| a.prime < b.prime), "{n}");
        }
    }
}

/// A million numbers of up to 64 bits, a hundred thousand of up to 96 bits and ten thousand of up
/// to 128 bits with every kernel if [`cases`] says so; otherwise a sample.
#[test]
fn random_numbers_of_any_size_are_factored_side_by_side() {
    for (bits, count) in [
        (20..64, cases(2_000, 1_000_000)),
        (64..97, cases(200, 100_000)),
        (97..129, cases(20, 10_000)),
    ] {
        let mut state = 5;
        let numbers: Vec<Integer> = bits
            .cycle()
            .take(count)
            .map(|bits| number(bits, &mut state))
            .collect();
        for kernel in kernels() {
            let mut factorizer = Factorizer::with_kernel(kernel);
            let mut tester = primality::Tester::default();
            for (n, found) in numbers.iter().zip(many(&mut factorizer, &numbers)) {
                assert!(
                    found.is_complete() && found.product() == *n,
                    "{kernel}: {n}"
                );
                for factor in &found.factors {
                    assert!(
                        tester
                            .is_probable_prime(&factor.prime, &Cancel::new())
                            .unwrap()
                    );
                }
            }
        }
    }
}

#[test]
fn many_numbers_are_zero_negative_or_large_too() {
    let mut random = Random::new(15);
    let numbers = [
        Integer::from(-12),
        Integer::new(),
        random.semiprime(MANY_BITS + 20),
        Integer::from(1) << (MAX_BITS + 1),
        Integer::from(-1),
        random.semiprime(90) * -4,
    ];
    let mut told = Vec::new();
    Factorizer::new()
        .factor_many(
            &numbers,
            &Limits::default(),
            &Cancel::new(),
            &mut |_| {},
            &mut |place, found| told.push((place, found)),
        )
        .unwrap();
    told.sort_by_key(|(place, _)| *place);
    assert_eq!(told.len(), numbers.len());
    for ((place, found), n) in told.into_iter().zip(&numbers) {
        match found {
            Ok(found) => assert!(found.is_complete() && found.product() == *n),
            Err(error) => assert!(
                matches!(error, Error::Invalid { .. }) && [1, 3].contains(&place),
                "{error}"
            ),
        }
    }
}

#[test]
fn many_numbers_are_cancelled() {
    let mut random = Random::new(16);
    let numbers: Vec<Integer> = (0..40).map(|_| random.semiprime(MANY_BITS)).collect();
    for at in [0, 1] {
        let (cancel, mut begun) = (Cancel::new(), 0);
        let ended = Factorizer::new().factor_many(
            &numbers,
            &Limits::default(),
            &cancel,
            &mut |progress| {
                if let Progress::Begun { .. } = progress {
                    if begun == at {
                        cancel.cancel();
                    }
                    begun += 1;
                }
            },
            &mut |_, _| panic!("none is done"),
        );
        assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
        assert_eq!(begun, at + 1);
    }
}

/// About every sixtieth of two thousand semiprimes, or all of them if [`cases`] says so. One in
/// twenty is above 160 bits.
#[test]
fn semiprimes_are_factored_as_by_pari_with_every_kernel() {
    let mut random = Random::new(14);
    let sizes = (0..2000_u32).map(|i| match i % 20 {
        7 => 161 + i / 20 % 40,
        _ => 60 + i % 101,
    });
    let (step, most) = cases((61, 180), (1, 200));
    let sizes = sizes.step_by(step).filter(|bits| *bits <= most);
    let numbers: Vec<Integer> = sizes.map(|bits| random.semiprime(bits)).collect();
    assert!(numbers.len() > 1900 / step);
    compare_kernels(&numbers, &kernels());
}

/// About every tenth of a thousand numbers, or all of them, which take two minutes, if [`cases`]
/// says so.
#[test]
fn a_thousand_random_numbers_are_factored_as_by_pari() {
    let mut state = 8;
    // Most of them are small, because the large ones take most of the time.
    let sizes = (0..1000_u32).map(|i| match i % 20 {
        0 | 10 => 161 + i / 10 % 40,
        1..6 => 121 + i % 40,
        _ => 20 + i % 101,
    });
    let numbers: Vec<Integer> = sizes.map(|bits| number(bits, &mut state)).collect();
    let bits = || numbers.iter().map(Integer::significant_bits);
    assert_eq!(
        (numbers.len(), bits().min(), bits().max()),
        (1000, Some(20), Some(200))
    );
    // The step does not divide the period of the sizes, so that each size occurs. The largest few
    // numbers take half of the time.
    let (step, most) = cases((11, 180), (1, 200));
    let chosen = numbers.into_iter().step_by(step);
    let chosen: Vec<Integer> = chosen.filter(|n| n.significant_bits() <= most).collect();
    assert!(chosen.len() >= 850 / step, "{}", chosen.len());
    compare(&chosen);
}

#[test]
fn two_hundred_numbers_of_special_form_are_factored_as_by_pari() {
    let mut random = Random::new(8);
    let mut numbers = Vec::new();
    // Squares of primes and of semiprimes, and higher powers.
    for i in 0..15 {
        numbers.push(random.prime(10 + 5 * i).square());
        numbers.push(random.semiprime(20 + 6 * i).square());
        numbers.push(random.prime(8 + 3 * i).pow(3 + i % 5));
        numbers.push(random.semiprime(34 + 2 * i).pow(3));
    }
    // Chernick's Carmichael numbers (6k + 1)(12k + 1)(18k + 1).
    let mut k = 1_u64;
    while numbers.len() < 90 {
        let factors = [6, 12, 18].map(|m| Integer::from(k) * m + 1_u32);
        let prime = |n: &Integer| primality::is_probable_prime(n, &Cancel::new()).unwrap();
        if factors.iter().all(prime) {
            numbers.push(Integer::from(Integer::product(factors.iter())));
            k = k * 7 / 3;
        }
        k += 1;
    }
    // p²q, where p is the smaller or the larger one.
    for i in 0..15 {
        numbers.push(random.prime(20 + 2 * i).square() * random.prime(30 + 5 * i));
        numbers.push(random.prime(25 + 3 * i).square() * random.prime(18 + i));
    }
    // Smooth numbers, among them p with a smooth p − 1 times a prime.
    for i in 1..=25 {
        numbers.push(Integer::from(Integer::factorial(2 * i)));
        let primes = (0..6).map(|j| random.prime(17 + (i + j) % 6));
        numbers.push(primes.fold(Integer::from(1), |product, prime| product * prime));
    }
    for exponent in [61, 67, 83, 97, 101, 103, 109, 113, 120, 127, 128, 131, 144] {
        numbers.push(power(2, exponent) - 1_u32);
        numbers.push(power(2, exponent) + 1_u32);
    }
    // Sieves that find too few polynomials, or take a bad multiplier, have hung on these.
    for n in [
        "126582278481012658227848101265822806309",
        "1666666666666666666666666666666666845161",
    ] {
        numbers.push(n.parse().unwrap());
    }
    // Repunits.
    numbers.extend((2..=40).map(|digits| (power(10, digits) - 1_u32) / 9_u32));
    assert!(numbers.len() >= 200, "{}", numbers.len());
    // Takes some of each sort, which come in fours and twos.
    let chosen: Vec<Integer> = numbers.into_iter().step_by(cases(3, 1)).collect();
    compare(&chosen);
}

#[test]
fn zero_one_and_negative_numbers() {
    let mut engine = Factorizer::new();
    let zero = engine.factor(
        &Integer::new(),
        &Limits::default(),
        &Cancel::new(),
        &mut |_| {},
    );
    assert!(matches!(zero, Err(Error::Invalid { .. })), "{zero:?}");
    let large = engine.factor(
        &(Integer::from(1) << MAX_BITS),
        &Limits::default(),
        &Cancel::new(),
        &mut |_| {},
    );
    assert!(matches!(large, Err(Error::Invalid { .. })), "{large:?}");

    assert_eq!(factor(&Integer::from(1)), Factorization::default());
    let minus_one = factor(&Integer::from(-1));
    assert!(minus_one.negative && minus_one.factors.is_empty() && minus_one.is_complete());
    let negative = factor(&Integer::from(-360));
    assert_eq!(
        (negative.negative, line(&negative)),
        (true, "2^3 3^2 5^1".into())
    );
    assert_eq!(negative.product(), -360);
    for n in 2..5000 {
        assert_eq!(factor(&Integer::from(n)).product(), n);
    }
    // 2^64 − 59 is the greatest prime below 2^64, 2^64 + 13 the first above.
    for (n, proven) in [
        (power(2, 64) - 59_u32, true),
        (power(2, 64) + 13_u32, false),
    ] {
        let found = factor(&n);
        assert_eq!(line(&found), format!("{n}^1"));
        assert_eq!(found.factors[0].proven, proven);
    }
    let large: Integer = Integer::from(3).pow(20_000) * 7_u32;
    assert_eq!(line(&factor(&large)), "3^20000 7^1");
    let mersenne: Integer = power(2, 2203) - 1_u32;
    assert_eq!(factor(&mersenne).factors[0].prime, mersenne);
}

#[test]
fn what_is_beyond_reach_is_left_with_what_was_found() {
    let mut random = Random::new(9);
    let hard = random.semiprime(MAX_SIEVE_BITS + 20);
    let limits = Limits {
        curve_digits: 10,
        ..Limits::default()
    };
    let n = Integer::from(&hard * 30_u32) * random.prime(20).square();
    let found = Factorizer::new()
        .factor(&n, &limits, &Cancel::new(), &mut |_| {})
        .unwrap();
    assert!(!found.is_complete() && !found.is_cancelled());
    assert_eq!((found.factors.len(), found.product()), (4, n));
    let left = &found.composites[0];
    assert_eq!(
        (&left.value, left.exponent, left.reason),
        (&hard, 1, Reason::TooLarge)
    );

    // Composites above `sieve_bits`, which the pool leaves to several workers, are left too; the
    // square of one is left once, with its exponent.
    let limits = Limits {
        sieve_bits: 100,
        curve_digits: 0,
    };
    let hard = random.semiprime(150);
    for exponent in 1..3 {
        let n = Integer::from((&hard).pow(exponent));
        let found = Factorizer::new()
            .factor(&n, &limits, &Cancel::new(), &mut |_| {})
            .unwrap();
        let left = &found.composites[0];
        assert_eq!(
            (&left.value, left.exponent, left.reason),
            (&hard, exponent, Reason::TooLarge)
        );
    }
}

#[test]
fn numbers_beyond_the_sieve_lose_their_middling_factors_to_curves() {
    let mut random = Random::new(10);
    let n = random.prime(50) * random.prime(55) * random.prime(450);
    let found = factor(&n);
    assert!(found.is_complete() && found.factors.len() == 3, "{found:?}");
}

/// Cancels a factorization when a certain stage begins, and checks the result.
fn cancelled_at(n: &Integer, at: fn(Stage) -> bool) {
    let (cancel, mut reached) = (Cancel::new(), false);
    let found = Factorizer::new()
        .factor(n, &Limits::default(), &cancel, &mut |progress| {
            if let Progress::Begun { stage, .. } = progress {
                assert!(!reached, "{stage:?} begins after the cancellation");
                if at(stage) {
                    reached = true;
                    cancel.cancel();
                }
            }
        })
        .unwrap();
    assert!(reached, "{n}");
    assert!(found.is_cancelled(), "{n}: {found:?}");
    assert_eq!(found.product(), *n);
}

#[test]
fn every_stage_is_cancelled() {
    let mut random = Random::new(11);
    let hard = random.semiprime(200);
    let n = Integer::from(&hard * 12_u32);
    cancelled_at(&n, |stage| stage == Stage::TrialDivision);
    cancelled_at(&n, |stage| stage == Stage::PerfectPower);
    cancelled_at(&n, |stage| matches!(stage, Stage::PMinus1 { .. }));
    cancelled_at(&n, |stage| matches!(stage, Stage::Ecm { .. }));
    cancelled_at(&n, |stage| stage == Stage::Sieve);
    // Also below 2^64, and beyond curves.
    let word = Integer::from(1_000_003) * 1_000_033_u32;
    cancelled_at(&word, |stage| matches!(stage, Stage::Ecm { .. }));
    cancelled_at(&random.semiprime(2100), |stage| stage == Stage::Rho);
}

#[test]
fn a_cancellation_takes_effect_at_once() {
    let mut random = Random::new(12);
    // Ten times the promised time, because other tests use the processor too.
    let soon = Duration::from_secs(1);
    for (n, wait) in [
        (random.semiprime(256), 100),
        (random.semiprime(256), 4000),
        (random.semiprime(1000), 500),
        (random.semiprime(2040), 1000),
    ] {
        let cancel = Cancel::new();
        let flag = cancel.clone();
        let canceller = thread::spawn(move || {
            thread::sleep(Duration::from_millis(wait));
            flag.cancel();
            Instant::now()
        });
        let found = Factorizer::new()
            .factor(&n, &Limits::default(), &cancel, &mut |_| {})
            .unwrap();
        let took = canceller.join().unwrap().elapsed();
        assert!(found.is_cancelled() && took < soon, "{took:?}: {found:?}");
    }
}

#[test]
fn stages_are_reported_in_pairs_and_count_what_they_do() {
    let mut random = Random::new(13);
    let n = random.semiprime(140) * 6_u32;
    let (mut open, mut seen, mut primes) = (None, Vec::new(), Vec::new());
    let mut relations = (0, 0);
    Factorizer::new()
        .factor(
            &n,
            &Limits::default(),
            &Cancel::new(),
            &mut |progress| match progress {
                Progress::Begun { stage, .. } => assert_eq!(open.replace(stage), None),
                Progress::Advanced {
                    stage,
                    done,
                    expected,
                } => {
                    assert_eq!(open, Some(stage));
                    if stage == Stage::Sieve {
                        relations = (done, expected);
                    }
                }
                Progress::Ended { stage, done } => {
                    assert_eq!(open.take(), Some(stage));
                    assert!(done > 0, "{stage:?}");
                    seen.push(stage.as_str());
                }
                Progress::Found { prime, exponent } => primes.push((prime.clone(), exponent)),
            },
        )
        .unwrap();
    assert_eq!(seen.first(), Some(&"trial-division"));
    assert_eq!(seen.last(), Some(&"sieve"));
    assert!(
        relations.1 > 0 && relations.0 >= relations.1,
        "{relations:?}"
    );
    assert_eq!(primes.len(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whenever the factorization is cancelled, the result multiplies to the number, its primes are
    /// prime, and its composites are not.
    #[test]
    fn a_cancelled_factorization_is_right_as_far_as_it_goes(
        seed: u64,
        sizes in prop::collection::vec(5_u32..60, 1..5),
        powers in prop::collection::vec(1_u32..4, 5),
        at in 0_u32..40,
    ) {
        let mut random = Random::new(seed);
        let n: Integer = sizes
            .iter()
            .zip(powers)
            .fold(Integer::from(1), |n, (&bits, power)| n * random.prime(bits).pow(power));
        let (cancel, mut told) = (Cancel::new(), 0);
        let limits = Limits { sieve_bits: 130, curve_digits: 15 };
        let found = Factorizer::new().factor(&n, &limits, &cancel, &mut |_| {
            if told == at {
                cancel.cancel();
            }
            told += 1;
        }).unwrap();
        prop_assert_eq!(found.product(), n);
        let mut last = Integer::new();
        for factor in &found.factors {
            prop_assert!(factor.prime > last && factor.exponent > 0);
            prop_assert!(primality::is_probable_prime(&factor.prime, &Cancel::new()).unwrap());
            last.clone_from(&factor.prime);
        }
        for left in &found.composites {
            prop_assert!(!primality::is_probable_prime(&left.value, &Cancel::new()).unwrap());
            prop_assert!(found.factors.iter().all(|factor| !left.value.is_divisible(&factor.prime)));
            prop_assert!(left.reason != Reason::SieveFailed && left.reason != Reason::Untested);
        }
        prop_assert!(!found.is_cancelled() || cancel.is_cancelled());
    }

    /// The result does not depend on chance.
    #[test]
    fn the_same_number_takes_the_same_way(bits in 66_u32..130, seed: u64) {
        let n = number(bits, &mut seed.clone());
        let way = || {
            let mut way = Vec::new();
            let found = Factorizer::new().factor(&n, &Limits::default(), &Cancel::new(), &mut |progress| {
                if let Progress::Ended { stage, done } = progress {
                    way.push((stage, done));
                }
            });
            (found.unwrap(), way)
        };
        prop_assert_eq!(way(), way());
    }
}

#[test]
fn close_factors_of_any_size_are_found_before_curves() {
    // Far beyond the sieve, with a difference of about 10^20.
    let p = (Integer::from(1) << 330u32).next_prime();
    let q = (Integer::from(&p) + Integer::from(Integer::u_pow_u(10, 20))).next_prime();
    let n = Integer::from(&p * &q);
    let limits = Limits::before_spreading(200);
    let mut stages = Vec::new();
    let found = Factorizer::new()
        .factor(&n, &limits, &Cancel::new(), &mut |progress| {
            if let Progress::Begun { stage, .. } = progress {
                stages.push(stage);
            }
        })
        .unwrap();
    assert!(found.composites.is_empty(), "{found:?}");
    assert!(stages.contains(&Stage::Fermat));
    assert!(
        !stages
            .iter()
            .any(|stage| matches!(stage, Stage::Ecm { .. }))
    );
}
