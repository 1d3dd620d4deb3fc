//! Streams of random bits.

use std::fmt;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rug::Integer;
use rug::integer::Order;

use crate::{Error, Form};

/// The part of the key that separates these streams from any other use of the same seed. Part of
/// the definition of a seeded stream: it must never change.
const DOMAIN: &[u8; 24] = b"primepool prime stream 1";

/// A job's stream of random bits.
///
/// It cannot be cloned: two jobs with the same bits would find the same prime.
pub struct Stream {
    source: BitSource,
    /// Words of the number being drawn, and their bytes; kept to reuse their memory.
    words: Vec<u64>,
    bytes: Vec<u8>,
}

/// A position in a stream, to return to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place(u128);

enum BitSource {
    Seeded(Box<ChaCha20Rng>),
    Os,
}

impl Stream {
    /// The stream of job number `index` in a run with seed `seed`.
    ///
    /// The bits are those of ChaCha20 (Bernstein's original: 64-bit block counter from 0, 64-bit
    /// stream number). The key is `seed` as eight little-endian bytes followed by the 24 ASCII
    /// bytes `primepool prime stream 1`; the stream number is `index`. The bits are read as
    /// little-endian 64-bit words. This is stable: the same `(seed, index)` gives the same prime in
    /// every version.
    ///
    /// A seed of 64 bits can be guessed, so such primes are for measurements and tests, not for
    /// keys.
    #[must_use]
    pub fn seeded(seed: u64, index: u64) -> Self {
        let mut key = [0; 32];
        let (head, tail) = key.split_at_mut(8);
        head.copy_from_slice(&seed.to_le_bytes());
        tail.copy_from_slice(DOMAIN);
        let mut generator = ChaCha20Rng::from_seed(key);
        generator.set_stream(index);
        Self::from_source(BitSource::Seeded(Box::new(generator)))
    }

    /// A stream that takes every bit from the operating system's generator, as is needed for keys.
    #[must_use]
    pub fn os() -> Self {
        Self::from_source(BitSource::Os)
    }

    /// ChaCha20 with a key from the operating system: as unpredictable as [`Stream::os`], but with
    /// only one system call in all.
    pub(crate) fn from_os_key() -> Result<Self, Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let generator = ChaCha20Rng::from_seed(key);
        Ok(Self::from_source(BitSource::Seeded(Box::new(generator))))
    }

    fn from_source(source: BitSource) -> Self {
        Self {
            source,
            words: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// The next word of the stream.
    pub(crate) fn word(&mut self) -> Result<u64, Error> {
        match &mut self.source {
            BitSource::Seeded(generator) => Ok(generator.next_u64()),
            BitSource::Os => Ok(getrandom::u64()?),
        }
    }

    /// Sets `target` to a uniform integer in [0, 2^bits) from the next ⌈bits/64⌉ words of the
    /// stream.
    pub(crate) fn draw(&mut self, target: &mut Integer, bits: u32) -> Result<(), Error> {
        let count = bits.div_ceil(64) as usize;
        self.words.clear();
        match &mut self.source {
            BitSource::Seeded(generator) => {
                self.words.extend((0..count).map(|_| generator.next_u64()));
            }
            BitSource::Os => {
                // One system call for all words.
                self.bytes.resize(8 * count, 0);
                getrandom::fill(&mut self.bytes)?;
                let (words, _) = self.bytes.as_chunks();
                self.words
                    .extend(words.iter().map(|&word| u64::from_le_bytes(word)));
            }
        }
        target.assign_digits(&self.words, Order::Lsf);
        target.keep_bits_mut(bits);
        Ok(())
    }

    /// Sets `target` to the next start of a search: uniform in [2^(bits − 1), 2^bits). `bits` is at
    /// least 1.
    pub(crate) fn draw_start(&mut self, target: &mut Integer, bits: u32) -> Result<(), Error> {
        self.draw(target, bits)?;
        target.set_bit(bits - 1, true);
        Ok(())
    }

    /// Sets `target` to the next independent candidate for a prime of the form: uniform among the
    /// integers of `bits` bits that can have the form. There must be primes of the form with `bits`
    /// bits.
    pub(crate) fn draw_candidate(
        &mut self,
        target: &mut Integer,
        form: Form,
        bits: u32,
    ) -> Result<(), Error> {
        self.draw_start(target, bits)?;
        // The only even prime is 2; the only safe prime that is not 3 mod 4 is 5.
        target.set_bit(0, bits > 2 || target.get_bit(0));
        target.set_bit(1, form == Form::SafePrime && bits > 3 || target.get_bit(1));
        Ok(())
    }

    /// Sets `target` to a uniform integer in [0, bound), for a positive bound: draws numbers with
    /// as many bits as bound − 1 has until one is below the bound.
    pub(crate) fn draw_below(
        &mut self,
        target: &mut Integer,
        bound: &Integer,
    ) -> Result<(), Error> {
        let bits = Integer::from(bound - 1_u32).significant_bits();
        loop {
            self.draw(target, bits)?;
            if &*target < bound {
                return Ok(());
            }
        }
    }

    /// The current position of the stream.
    pub(crate) fn place(&self) -> Place {
        match &self.source {
            BitSource::Seeded(generator) => Place(generator.get_word_pos()),
            BitSource::Os => Place::default(),
        }
    }

    /// Returns to an earlier position of the stream. The operating system's generator cannot
    /// return: it never gives the same bits twice.
    pub(crate) fn return_to(&mut self, place: Place) {
        match &mut self.source {
            BitSource::Seeded(generator) => generator.set_word_pos(place.0),
            BitSource::Os => {}
        }
    }
}

impl fmt::Debug for Stream {
    // Do not print the generator's state: it is as secret as the primes that come from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            BitSource::Seeded(_) => "Stream(seeded)",
            BitSource::Os => "Stream(os)",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn debug_shows_no_state() {
        assert_eq!(format!("{:?}", Stream::seeded(1, 2)), "Stream(seeded)");
        assert_eq!(format!("{:?}", Stream::os()), "Stream(os)");
    }

    #[test]
    fn starts_cover_their_range_evenly() {
        let mut counts = [0_u32; 8];
        let mut stream = Stream::seeded(3, 0);
        let mut start = Integer::new();
        for _ in 0..8000 {
            stream.draw_start(&mut start, 4).unwrap();
            counts[start.to_usize().unwrap() - 8] += 1;
        }
        // Five standard deviations of a binomial with mean 1000.
        assert!(
            counts.iter().all(|&count| count.abs_diff(1000) < 150),
            "{counts:?}"
        );
    }

    #[test]
    fn streams_differ_by_seed_and_index() {
        let first = |seed, index| {
            let mut start = Integer::new();
            Stream::seeded(seed, index)
                .draw_start(&mut start, 256)
                .unwrap();
            start
        };
        assert_eq!(first(1, 1), first(1, 1));
        assert_ne!(first(1, 1), first(1, 2));
        assert_ne!(first(1, 1), first(2, 1));
    }

    proptest! {
        #[test]
        fn a_start_has_its_bits(bits in 1_u32..5000, seed: u64, index: u64) {
            for mut stream in [Stream::seeded(seed, index), Stream::os()] {
                let mut start = Integer::new();
                stream.draw_start(&mut start, bits).unwrap();
                prop_assert_eq!(start.significant_bits(), bits);
            }
        }
    }
}
