//! Small numbers, whose primality another method decides, and products, which are composite.

use std::cell::RefCell;

use primepool_engine::{Cancel, Engine, Integer, primality::is_probable_prime};
use primepool_fuzz::next_number;

thread_local! {
    // Building the engine's tables takes longer than testing a number.
    static ENGINE: RefCell<Engine> = RefCell::new(Engine::new());
}

fn power(base: u64, mut exponent: u64, modulus: u64) -> u64 {
    let times = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(modulus)) as u64;
    let (mut result, mut base) = (1 % modulus, base % modulus);
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = times(result, base);
        }
        base = times(base, base);
        exponent /= 2;
    }
    result
}

/// Deterministic below 2^64: strong probable-prime tests to the first twelve primes as bases
/// (Sorenson and Webster, 2015).
fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 {
        return false;
    }
    if let Some(base) = BASES.iter().find(|base| n % **base == 0) {
        return n == *base;
    }
    let twos = (n - 1).trailing_zeros();
    BASES.iter().all(|base| {
        let start = power(*base, (n - 1) >> twos, n);
        let mut squares = (0..twos).scan(start, |x, _| {
            let now = *x;
            *x = power(now, 2, n);
            Some(now)
        });
        start == 1 || squares.any(|x| x == n - 1)
    })
}

pub(crate) fn run(data: &[u8]) {
    let mut rest = data;
    let (a, b) = (next_number(&mut rest), next_number(&mut rest));
    let cancel = Cancel::new();
    ENGINE.with_borrow_mut(|engine| {
        let mut numbers: Vec<Integer> = [a, b].map(Integer::from).into();
        numbers.push(-Integer::from(a));
        let mut expected = vec![is_prime(a), is_prime(b), false];
        if a > 1 && b > 1 {
            numbers.push(Integer::from(a) * b);
            expected.push(false);
        }
        assert_eq!(engine.verify(&numbers), Ok(expected.clone()), "{numbers:?}");
        for (n, expected) in numbers.iter().zip(expected) {
            assert_eq!(is_probable_prime(n, &cancel), Ok(expected), "{n}");
        }
        let start = a >> 1; // the next prime also fits in 64 bits
        let next = engine.next_prime(&Integer::from(start), &cancel);
        let next = next
            .expect("there is one")
            .prime
            .to_u64()
            .expect("of 64 bits");
        assert!(next > start && is_prime(next));
        assert!((start + 1..next).all(|n| !is_prime(n)), "{start} {next}");
    });
}
