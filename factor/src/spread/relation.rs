//! Relations of the sieve, and their form in packets.
//!
//! A relation is root² ≡ (−1)^sign · Π p^e · (large primes) modulo the composite, with primes p of the factor base. The collector checks
//! each before it counts, so that nobody can spoil the sieve with wrong ones, and drops those that it has. A packet is a sequence of
//! relations, compressed as a stream of zlib (RFC 1950). Each of them:
//!
//! | bytes | meaning |
//! |---|---|
//! | as many as the composite has | root, least significant first |
//! | 1 | bit 0: sign; bits 1 and 2: number of large primes, 0 to 2 |
//! | LEB128 each | the large primes |
//! | LEB128 | number of pairs that follow |
//! | LEB128 each | 2 · (distance from the index before) + (1 if an exponent other than 1 follows), then that exponent; indices rise |
//!
//! At 256 bits that is about a third of what the sieve's own form takes; zlib takes another third off.

use std::io::{self, Read, Write};

use flate2::{Compression, bufread::ZlibDecoder, write::ZlibEncoder};
use rug::Integer;
use rug::integer::Order;
use rusqsieve_parts::PARTS;

/// Largest exponent that a relation can have: numbers that are sieved have fewer bits.
const MAX_EXPONENT: u32 = 1024;

/// Bytes of a packet's relations from which on no family is added.
pub(super) const FULL: usize = 6 << 20;

/// Bytes of a packet's relations that are looked at: [`FULL`], and more than any family has.
const MOST: u64 = 2 * FULL as u64;

/// A packet of these relations.
pub(super) fn pack(relations: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(relations)?;
    encoder.finish()
}

/// The relations of a packet, and whether that is all of it: what cannot be read any further, or has more than a packet can have, ends early.
pub(super) fn unpack(packet: &[u8]) -> (Vec<u8>, bool) {
    let mut relations = Vec::new();
    let read = ZlibDecoder::new(packet)
        .take(MOST)
        .read_to_end(&mut relations);
    (relations, read.is_ok_and(|count| (count as u64) < MOST))
}

/// One relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) root: Integer,
    pub(super) negative: bool,
    /// Indices into the factor base, rising, and exponents.
    pub(super) powers: Vec<(u32, u32)>,
    pub(super) large: Vec<u64>,
}

impl Relation {
    pub(super) fn write(&self, width: usize, packet: &mut Vec<u8>) {
        let start = packet.len();
        packet.resize(start + width, 0);
        let digits = self.root.significant_digits::<u8>().min(width);
        self.root
            .write_digits(&mut packet[start..start + digits], Order::Lsf);
        packet.push(u8::from(self.negative) | (self.large.len() as u8) << 1);
        for prime in &self.large {
            push_leb128(*prime, packet);
        }
        push_leb128(self.powers.len() as u64, packet);
        let mut before = 0;
        for &(index, exponent) in &self.powers {
            let distance = u64::from(index - before);
            push_leb128(2 * distance + u64::from(exponent != 1), packet);
            if exponent != 1 {
                push_leb128(exponent.into(), packet);
            }
            before = index;
        }
    }

    /// Takes one from the start of `rest`. Needs no more memory than some times its bytes.
    pub(super) fn read(width: usize, rest: &mut &[u8]) -> Option<Self> {
        let root = Integer::from_digits(rest.split_off(..width)?, Order::Lsf);
        let head = *rest.split_off_first()?;
        let mut large = Vec::new();
        if head >> 1 > 2 {
            return None;
        }
        for _ in 0..head >> 1 {
            large.push(pop_leb128(rest)?);
        }
        let count = pop_leb128(rest)?;
        let mut powers = Vec::new();
        let mut before = 0_u32;
        for _ in 0..count {
            let word = pop_leb128(rest)?;
            let index = before.checked_add(u32::try_from(word / 2).ok()?)?;
            // The first may be 0; each of the others is above the one before it.
            if index == before && !powers.is_empty() {
                return None;
            }
            let exponent = if word % 2 == 0 {
                1
            } else {
                u32::try_from(pop_leb128(rest)?).ok()?
            };
            powers.push((index, exponent));
            before = index;
        }
        Some(Self {
            root,
            negative: head & 1 != 0,
            powers,
            large,
        })
    }

    /// Whether it is one, with these primes.
    pub(super) fn holds(&self, number: &Integer, base: &[u32]) -> bool {
        if self.root.is_zero() || self.root >= *number || self.large.contains(&0) {
            return false;
        }
        let mut right = Integer::from(if self.negative { -1 } else { 1 });
        for &prime in &self.large {
            right *= prime;
        }
        for &(index, exponent) in &self.powers {
            let Some(&prime) = base.get(index as usize) else {
                return false;
            };
            if !(1..=MAX_EXPONENT).contains(&exponent) {
                return false;
            }
            for _ in 0..exponent {
                right *= prime;
            }
            if right.significant_bits() > 2 * number.significant_bits() {
                right %= number;
            }
        }
        (Integer::from(self.root.square_ref()) - right).is_divisible(number)
    }

    /// Which primes it has an odd number of times, rising: 0 for the sign, then those of the factor base, then large ones by `number_of`.
    pub(super) fn odd(&self, mut number_of: impl FnMut(u64) -> u32) -> Vec<u32> {
        let base = self.powers.iter().filter(|(_, exponent)| exponent % 2 == 1);
        let sign = self.negative.then_some(0);
        let mut odd: Vec<u32> = sign
            .into_iter()
            .chain(base.map(|(index, _)| index + 1))
            .collect();
        match self.large[..] {
            [p, q] if p == q => {}
            _ => odd.extend(
                self.large
                    .iter()
                    .filter(|p| **p != 1)
                    .map(|p| number_of(*p)),
            ),
        }
        odd.sort_unstable();
        odd
    }

    /// What tells it from others: its root, up to the sign.
    pub(super) fn mark(&self, number: &Integer) -> u64 {
        let other = Integer::from(number - &self.root);
        (&other).min(&self.root).to_u64_wrapping()
    }
}

pub(super) fn push_leb128(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

pub(super) fn pop_leb128(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *bytes.split_off_first()?;
        let bits = u64::from(byte & 0x7f);
        value |= bits << shift;
        // No bits are lost.
        if value >> shift != bits {
            return None;
        }
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The sieve's own form of the relations of a family, as the documentation of its `EngineJobResult::to_bytes` describes it.
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl Raw<'_> {
    pub(super) fn family(mut self) -> Option<Vec<Relation>> {
        let (_family, _polynomials) = (self.word()?, self.word()?);
        let count = u32::from_le_bytes(self.take()?);
        let relations = (0..count).map(|_| self.relation()).collect();
        if self.0.is_empty() { relations } else { None }
    }

    fn relation(&mut self) -> Option<Relation> {
        let root = Integer::from_digits(self.0.split_off(..PARTS * 8)?, Order::Lsf);
        let [negative] = self.take()?;
        let [count] = self.take()?;
        let large = (0..count).map(|_| self.word()).collect::<Option<_>>()?;
        let count = u32::from_le_bytes(self.take()?);
        let mut powers = Vec::new();
        for _ in 0..count {
            let index = u32::from_le_bytes(self.take()?);
            powers.push((index, u16::from_le_bytes(self.take()?).into()));
        }
        powers.sort_unstable();
        Some(Relation {
            root,
            negative: negative != 0,
            powers,
            large,
        })
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.0.split_off(..N)?.try_into().ok()
    }

    fn word(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_packet_needs_no_more_memory_than_it_may() {
        let packet = pack(&vec![0; 10 * FULL]).unwrap();
        assert!(packet.len() < FULL / 10);
        let (relations, whole) = unpack(&packet);
        assert_eq!((relations.len() as u64, whole), (MOST, false));
    }

    #[test]
    fn what_comes_before_the_damage_is_unpacked() {
        let relations: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| n.wrapping_mul(n).to_le_bytes())
            .collect();
        let packet = pack(&relations).unwrap();
        let (read, whole) = unpack(&packet[..packet.len() / 2]);
        assert!(!read.is_empty() && relations.starts_with(&read) && !whole);
        assert_eq!(unpack(b""), (vec![], false));
    }

    proptest! {
        #[test]
        fn anything_can_come_as_relations(relations in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &relations[..];
            while let Some(relation) = Relation::read(17, &mut rest) {
                let mut again = Vec::new();
                relation.write(17, &mut again);
                prop_assert_eq!(Relation::read(17, &mut &again[..]), Some(relation));
            }
        }

        #[test]
        fn what_was_packed_is_unpacked(relations in proptest::collection::vec(any::<u8>(), 0..200)) {
            let packet = pack(&relations).unwrap();
            prop_assert_eq!(unpack(&packet), (relations, true));
        }

        #[test]
        fn a_word_is_read_as_it_was_written(value: u64) {
            let mut bytes = Vec::new();
            push_leb128(value, &mut bytes);
            prop_assert_eq!(pop_leb128(&mut &bytes[..]), Some(value));
        }
    }
}
