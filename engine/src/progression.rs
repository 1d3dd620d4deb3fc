//! Arithmetic progressions that are searched for provable primes.

use rug::Integer;

use crate::{Error, Form, Stream};

/// The numbers n = 2kq + 1 with exactly the given number of bits, for a prime q that is at least
/// their cube root. A [`certificate`](crate::certificate) can prove such a prime n from q alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progression {
    /// The prime q.
    pub(crate) q: Integer,
    /// 2q.
    pub(crate) step: Integer,
    /// The least k. `count` is the number of possible k.
    least: Integer,
    count: Integer,
    /// 2q modulo [`SMALL_PRODUCT`].
    step_residue: u64,
}

/// Odd primes for trial division of k before n is computed; they divide most numbers.
const SMALL_PRIMES: [u32; 8] = [3, 5, 7, 11, 13, 17, 19, 23];

/// Product of [`SMALL_PRIMES`].
const SMALL_PRODUCT: u32 = 111_546_435;

impl Progression {
    /// The progression of numbers of `bits` bits; q has [`root_bits`] bits.
    pub(crate) fn new(q: Integer, bits: u32) -> Self {
        let step = Integer::from(&q << 1_u32);
        // n ≤ 2^b − 1 for numbers below 2^b, so k ≤ (2^b − 2)/2q, rounded down.
        let most = |bits: u32| ((Integer::from(1) << bits) - 2_u32) / &step;
        let below = most(bits - 1);
        let count = most(bits) - &below;
        let least = below + 1_u32;
        Self {
            step_residue: step.mod_u(SMALL_PRODUCT).into(),
            q,
            step,
            least,
            count,
        }
    }

    /// Sets `n` to the next number from a stream, uniform among the numbers of the progression that
    /// no prime of [`SMALL_PRIMES`] divides.
    pub(crate) fn draw(&self, stream: &mut Stream, n: &mut Integer) -> Result<(), Error> {
        loop {
            stream.draw_below(n, &self.count)?;
            *n += &self.least;
            let residue = u64::from(n.mod_u(SMALL_PRODUCT)) * self.step_residue + 1;
            if SMALL_PRIMES
                .iter()
                .all(|&p| !residue.is_multiple_of(u64::from(p)))
            {
                break;
            }
        }
        *n *= &self.step;
        *n += 1_u32;
        Ok(())
    }
}

/// Bits of the prime q from which a prime of `bits` bits, more than 64, is built: the least size
/// for which every q is above the cube root of every such prime.
fn root_bits(bits: u32) -> u32 {
    bits.div_ceil(3) + 1
}

/// Bits of the primes of the chain that leads to a prime of `bits` bits, or to the half of a safe
/// prime, in ascending order. The first is at most 64; all others are more.
pub(crate) fn sizes(form: Form, bits: u32) -> Vec<u32> {
    let last = match form {
        Form::Prime => bits,
        Form::SafePrime => bits - 1,
    };
    let next = |&bits: &u32| (bits > u64::BITS).then(|| root_bits(bits));
    let mut sizes: Vec<u32> = std::iter::successors(Some(last), next).collect();
    sizes.reverse();
    sizes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::certificate::Sufficiency;

    #[test]
    fn sizes_fall_to_a_word() {
        assert_eq!(sizes(Form::Prime, 64), [64]);
        assert_eq!(sizes(Form::Prime, 65), [23, 65]);
        assert_eq!(sizes(Form::Prime, 1024), [40, 116, 343, 1024]);
        assert_eq!(sizes(Form::SafePrime, 1025), [40, 116, 343, 1024]);
    }

    #[test]
    fn numbers_have_their_bits_and_can_be_proven() {
        for bits in 65..200 {
            let root = root_bits(bits);
            let least = (Integer::from(1) << (root - 1)) + 1_u32;
            let greatest = (Integer::from(1) << root) - 1_u32;
            for q in [least, greatest] {
                let progression = Progression::new(q.clone(), bits);
                let number = |k: &Integer| Integer::from(k * &progression.step) + 1_u32;
                let first = number(&progression.least);
                let last =
                    number(&(Integer::from(&progression.least + &progression.count) - 1_u32));
                assert_eq!(first.significant_bits(), bits);
                assert_eq!(last.significant_bits(), bits);
                let before = Integer::from(&first - &progression.step);
                assert!(before.significant_bits() < bits);
                assert!(Integer::from(&last + &progression.step).significant_bits() > bits);
                assert_ne!(Sufficiency::of(&last, &[q]), Sufficiency::TooLittle);
            }
        }
    }

    #[test]
    fn draws_cover_the_progression() {
        let q = (Integer::from(1) << 57) + 1_u32;
        let progression = Progression::new(q, 65);
        let mut seen = std::collections::BTreeSet::new();
        let mut stream = Stream::seeded(1, 1);
        let mut n = Integer::new();
        for _ in 0..2000 {
            progression.draw(&mut stream, &mut n).unwrap();
            assert_eq!(n.significant_bits(), 65);
            seen.insert(n.clone());
        }
        let all = (0..progression.count.to_u32().unwrap())
            .map(|i| (Integer::from(&progression.least + i) * &progression.step) + 1_u32);
        let expected: std::collections::BTreeSet<_> = all
            .filter(|n| SMALL_PRIMES.iter().all(|&p| !n.is_divisible_u(p)))
            .collect();
        assert_eq!(seen, expected);
        assert_eq!(SMALL_PRIMES.iter().product::<u32>(), SMALL_PRODUCT);
    }
}
