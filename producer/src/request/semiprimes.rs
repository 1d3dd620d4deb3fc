//! Random products of two primes of equal size, for measurements: no integers of their size are
//! harder to factor.

use primepool_common::message::HexInteger;
use primepool_engine::{Cancel, Engine, Error, Form, Integer, Method, Stream};

/// A request for random products of two primes.
#[derive(Debug, Clone, Copy)]
pub struct Semiprimes {
    /// Number of products.
    pub count: u64,
    /// Bits of each product.
    pub bits: u32,
    /// Seed of the random streams; the same seed gives the same products.
    pub seed: Option<u64>,
}

impl Semiprimes {
    /// Generates the products and passes them to `each`. Each has exactly `bits` bits and two
    /// different prime factors, whose sizes differ by at most one bit.
    ///
    /// # Errors
    /// The operating system provides no random bits, or the error of `each`.
    pub fn make(
        &self,
        mut each: impl FnMut(HexInteger) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut engine = Engine::default();
        let mut made = 0;
        // Each attempt draws two primes from streams of its own.
        let mut attempt = 0;
        while made < self.count {
            let product = product(&mut engine, self.bits, self.seed, attempt);
            if let Some(product) = product.map_err(|error| error.to_string())? {
                each(HexInteger(product))?;
                made += 1;
            }
            attempt += 1;
        }
        Ok(())
    }
}

/// The product of two primes of this attempt; `None` if it has the wrong size, as in about half of
/// the attempts, or the primes are equal.
fn product(
    engine: &mut Engine,
    bits: u32,
    seed: Option<u64>,
    attempt: u64,
) -> Result<Option<Integer>, Error> {
    let mut prime = |bits, place| {
        let stream = seed.map_or_else(Stream::os, |seed| Stream::seeded(seed, 2 * attempt + place));
        let mut found = None;
        engine.primes_by(
            Method::Uniform,
            Form::Prime,
            bits,
            &mut [stream],
            &Cancel::new(),
            &mut |_, one| found = Some(one.prime),
        )?;
        Ok::<_, Error>(found.unwrap_or_default())
    };
    let (p, q) = (prime(bits.div_ceil(2), 0)?, prime(bits / 2, 1)?);
    let is_semiprime = p != q;
    let n = p * q;
    Ok((is_semiprime && n.significant_bits() == bits).then_some(n))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn make(count: u64, bits: u32, seed: Option<u64>) -> Vec<HexInteger> {
        let mut products = Vec::new();
        let each = |product| {
            products.push(product);
            Ok(())
        };
        Semiprimes { count, bits, seed }.make(each).unwrap();
        products
    }

    #[test]
    fn products_have_their_size_and_their_seed() {
        for bits in [6, 7, 20, 65, 160] {
            let products = make(5, bits, Some(7));
            assert_eq!(products.len(), 5);
            assert!(products.iter().all(|n| n.0.significant_bits() == bits));
            assert_eq!(products, make(5, bits, Some(7)));
        }
        assert_ne!(make(3, 64, None), make(3, 64, None));
    }
}
