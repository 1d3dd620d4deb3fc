//! Random products of two primes of equal size: the hardest integers of their size to factor, for measuring.

use primepool_common::message::HexInteger;
use primepool_engine::{Cancel, Engine, Error, Form, Integer, Method, Stream};

/// Such products, still to be made.
#[derive(Debug, Clone, Copy)]
pub struct Semiprimes {
    /// How many.
    pub count: u64,
    /// Bits of each.
    pub bits: u32,
    /// The same seed gives the same ones.
    pub seed: Option<u64>,
}

impl Semiprimes {
    /// Makes them and hands them out: products of exactly so many bits of two different primes whose
    /// sizes differ by one bit at most.
    ///
    /// # Errors
    /// The operating system gives no random bits, for people; or what `each` says.
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

/// Nothing if the two primes of this attempt do not have such a product: every second time or so.
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
