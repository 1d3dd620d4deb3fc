//! Pollard's rho method with Brent's cycle detection.

use primepool_curves::gcd;
use primepool_engine::small::Montgomery;
use rug::{Assign, Integer};

use crate::{Cancel, Error};

/// Number of differences that are multiplied before one greatest common divisor is computed.
const BATCH: u64 = 128;

/// A proper divisor of an odd composite below 2^64 that is not the square of a prime, and the
/// number of iterations.
///
/// It always ends: it tries one constant after the other until a sequence gives a divisor.
pub(super) fn split_word(n: u64, cancel: &Cancel) -> Result<(u64, u64), Error> {
    let field = Montgomery::new(n);
    let mut iterations = 0;
    for constant in 1.. {
        cancel.check()?;
        if let Some(divisor) = walk_word(n, &field, constant, &mut iterations) {
            return Ok((divisor, iterations));
        }
    }
    Err(Error::fault("rho has not split a composite below 2^64"))
}

/// Walks y ↦ y² + c in Montgomery form until a common divisor with `n` appears; `None` if that is
/// `n` itself.
fn walk_word(n: u64, field: &Montgomery, constant: u64, iterations: &mut u64) -> Option<u64> {
    let step = |y: u64| {
        let (sum, carry) = field.multiply(y, y).overflowing_add(constant);
        if carry || sum >= n {
            sum.wrapping_sub(n)
        } else {
            sum
        }
    };
    let (mut y, mut length) = (2, 1);
    loop {
        let x = y;
        for _ in 0..length {
            y = step(y);
        }
        *iterations += length;
        let mut done = 0;
        while done < length {
            let start = y;
            let batch = BATCH.min(length - done);
            let mut product = 1;
            for _ in 0..batch {
                y = step(y);
                product = field.multiply(product, x.abs_diff(y));
            }
            *iterations += batch;
            let mut divisor = gcd(product, n);
            if divisor == n {
                // The batch has found all factors: repeat it step by step. The cycle modulo n ends
                // the loop at the latest.
                y = start;
                divisor = 1;
                while divisor == 1 {
                    y = step(y);
                    *iterations += 1;
                    divisor = gcd(x.abs_diff(y), n);
                }
                return (divisor != n).then_some(divisor);
            }
            if divisor != 1 {
                return Some(divisor);
            }
            done += batch;
        }
        length *= 2;
    }
}

/// A proper divisor of an odd composite, if about `limit` iterations find one, and the number of
/// iterations.
pub(super) fn split(
    n: &Integer,
    limit: u64,
    cancel: &Cancel,
) -> Result<(Option<Integer>, u64), Error> {
    let (mut x, mut y, mut start) = (Integer::new(), Integer::from(2), Integer::new());
    let (mut product, mut difference) = (Integer::new(), Integer::new());
    let step = |y: &mut Integer| {
        y.square_mut();
        *y += 1;
        *y %= n;
    };
    let (mut iterations, mut length) = (0, 1);
    while iterations < limit {
        x.assign(&y);
        for i in 0..length {
            if i % BATCH == 0 {
                cancel.check()?;
            }
            step(&mut y);
        }
        iterations += length;
        let mut done = 0;
        while done < length && iterations < limit {
            cancel.check()?;
            start.assign(&y);
            product.assign(1);
            let batch = BATCH.min(length - done);
            for _ in 0..batch {
                step(&mut y);
                difference.assign(&x - &y);
                product *= &difference;
                product %= n;
            }
            iterations += batch;
            done += batch;
            product.gcd_mut(n);
            if product == *n {
                y.assign(&start);
                product.assign(1);
                while product == 1 {
                    step(&mut y);
                    iterations += 1;
                    product.assign(&x - &y);
                    product.gcd_mut(n);
                }
                return Ok(((product != *n).then_some(product), iterations));
            }
            if product != 1 {
                return Ok((Some(product), iterations));
            }
        }
        length *= 2;
    }
    Ok((None, iterations))
}
