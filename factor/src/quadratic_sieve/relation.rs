//! Relations, and their form in packets.
//!
//! A relation is y² ≡ 4a·v modulo the number, with a value v of a polynomial that is a product of
//! primes of the factor base and at most two large primes. Family, polynomial and place determine
//! y, a and v, so these are not sent. The primes of v are sent: finding them again would take
//! longer than finding the relation. A packet consists of one byte with the number of this form,
//! [`RELATIONS_FORM`], and a sequence of relations, compressed as a zlib stream (RFC 1950). Each
//! relation:
//!
//! | form | meaning |
//! |---|---|
//! | LEB128 | 4 · (number of base primes) + 2 · (1 if two large primes) + (1 if a family follows) |
//! | LEB128 | the family, if it differs from that of the relation before |
//! | LEB128 | the polynomial |
//! | 2 bytes | the place in the block, least significant first |
//! | LEB128 | the large prime, or 1; of two, the smaller one |
//! | LEB128 | of two, the larger one |
//! | LEB128 each | a prime's index in the factor base, minus the one before, or 0; 2 is left out |

use std::io::{self, Read, Write};

use flate2::{Compression, bufread::ZlibDecoder, write::ZlibEncoder};

use super::RELATIONS_FORM;

/// When a packet has this many bytes of uncompressed relations, no family is added.
pub(super) const FULL: usize = 6 << 20;

/// Most bytes of uncompressed relations that are read from a packet: [`FULL`], and more than any
/// family has.
const MOST: u64 = 2 * FULL as u64;

/// Largest number of primes of a value below 2^256.
const MOST_PRIMES: u64 = 256;

/// Packs relations into a packet.
///
/// # Errors
///
/// None in practice: it writes to memory.
pub(super) fn pack(relations: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(vec![RELATIONS_FORM as u8], Compression::fast());
    encoder.write_all(relations)?;
    encoder.finish()
}

/// The form of the relations in a packet, see [`RELATIONS_FORM`]; `None` if it is not a packet of
/// any version.
#[must_use]
pub fn form(packet: &[u8]) -> Option<u32> {
    match *packet.first()? {
        FIRST_OF_FORM_1 => Some(1),
        form => Some(form.into()).filter(|form| *form >= FIRST_NUMBERED),
    }
}

/// The first form whose packets begin with the number of the form.
const FIRST_NUMBERED: u32 = 2;

/// The first byte of a zlib stream, with which packets of form 1 begin.
const FIRST_OF_FORM_1: u8 = 0x78;

/// The relations of a packet, and whether they are complete. They end early if the packet is
/// damaged, or has more bytes than a packet can have.
pub(super) fn unpack(packet: &[u8]) -> (Vec<u8>, bool) {
    let mut relations = Vec::new();
    if form(packet) != Some(RELATIONS_FORM) {
        return (relations, false);
    }
    let read = ZlibDecoder::new(&packet[1..])
        .take(MOST)
        .read_to_end(&mut relations);
    (relations, read.is_ok_and(|count| (count as u64) < MOST))
}

/// One relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relation<'a> {
    pub(super) family: u64,
    pub(super) polynomial: u32,
    pub(super) place: u16,
    /// Indices in the factor base of the odd primes of the value, ascending; each as often as it
    /// divides the value.
    pub(super) primes: &'a [u32],
    /// The large primes, ascending; 1 stands for a missing one.
    pub(super) large: [u32; 2],
}

/// Writes relations one after the other.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    family: Option<u64>,
}

impl Writer {
    pub(super) fn write(&mut self, relation: &Relation<'_>) {
        let Self { bytes, family } = self;
        let is_other = *family != Some(relation.family);
        let [lesser, greater] = relation.large;
        let two = lesser > 1;
        push_leb128(
            4 * relation.primes.len() as u64 + 2 * u64::from(two) + u64::from(is_other),
            bytes,
        );
        if is_other {
            push_leb128(relation.family, bytes);
            *family = Some(relation.family);
        }
        push_leb128(relation.polynomial.into(), bytes);
        bytes.extend(relation.place.to_le_bytes());
        if two {
            push_leb128(lesser.into(), bytes);
        }
        push_leb128(greater.into(), bytes);
        let mut before = 0;
        for &index in relation.primes {
            push_leb128((index - before).into(), bytes);
            before = index;
        }
    }
}

/// Reads relations that a [`Writer`] has written.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    family: Option<u64>,
    primes: Vec<u32>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self::at(bytes, None)
    }

    /// Begins between two written relations; `family` is that of the relation before.
    pub(super) fn at(rest: &'a [u8], family: Option<u64>) -> Self {
        Self {
            rest,
            family,
            primes: Vec::new(),
        }
    }

    /// Number of bytes left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The family of the relation that was read last.
    pub(super) fn family(&self) -> Option<u64> {
        self.family
    }

    /// The next relation; `None` at the end, and if the bytes are not a relation.
    pub(super) fn next(&mut self) -> Option<Relation<'_>> {
        let rest = &mut self.rest;
        let head = pop_leb128(rest)?;
        if head / 4 > MOST_PRIMES {
            return None;
        }
        if head & 1 == 1 {
            self.family = Some(pop_leb128(rest)?);
        }
        let family = self.family?;
        let polynomial = pop_leb128(rest)?.try_into().ok()?;
        let (place, after) = rest.split_first_chunk()?;
        *rest = after;
        let place = u16::from_le_bytes(*place);
        let mut large = [1; 2];
        let two = head & 2 == 2;
        for prime in &mut large[usize::from(!two)..] {
            *prime = pop_leb128(rest)?.try_into().ok()?;
        }
        if two && (large[0] < 2 || large[1] < large[0]) {
            return None;
        }
        self.primes.clear();
        let mut index = 0_u32;
        for _ in 0..head / 4 {
            index = index.checked_add(pop_leb128(rest)?.try_into().ok()?)?;
            self.primes.push(index);
        }
        Some(Relation {
            family,
            polynomial,
            place,
            primes: &self.primes,
            large,
        })
    }
}

fn push_leb128(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn pop_leb128(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = *bytes.split_off_first()?;
        let bits = u64::from(byte & 0x7f);
        value |= bits << shift;
        // Bits must not be lost.
        if value >> shift != bits {
            return None;
        }
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
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

    #[test]
    fn packets_of_other_versions_are_known() {
        let packet = pack(&[1, 2, 3]).unwrap();
        assert_eq!(form(&packet), Some(RELATIONS_FORM));
        // A packet of the first form was a stream of zlib alone.
        assert_eq!(form(&packet[1..]), Some(1));
        assert_eq!(form(&[2, 0x78]), Some(2));
        assert_eq!(
            form(&[RELATIONS_FORM as u8 + 1, 0]),
            Some(RELATIONS_FORM + 1)
        );
        assert_eq!((form(&[]), form(&[0]), form(&[1])), (None, None, None));
        assert_eq!(unpack(&packet[1..]), (vec![], false));
    }

    #[test]
    fn a_relation_that_has_too_many_primes_is_none() {
        let mut writer = Writer::default();
        let primes = [7; MOST_PRIMES as usize + 1];
        let relation = Relation {
            family: 3,
            polynomial: 1,
            place: 2,
            primes: &primes,
            large: [1, 1],
        };
        writer.write(&relation);
        assert_eq!(Reader::new(&writer.bytes).next(), None);
    }

    /// None, one or two large primes.
    fn large_primes() -> impl Strategy<Value = [u32; 2]> {
        (0..3, 2..=u32::MAX, 2..=u32::MAX).prop_map(|(count, a, b)| match count {
            0 => [1, 1],
            1 => [1, a],
            _ => [a.min(b), a.max(b)],
        })
    }

    proptest! {
        #[test]
        fn anything_can_come_as_relations(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            let mut writer = Writer::default();
            let mut count = 0;
            while let Some(relation) = reader.next() {
                writer.write(&relation);
                count += 1;
            }
            let (mut again, mut first) = (Reader::new(&writer.bytes), Reader::new(&bytes));
            for _ in 0..count {
                prop_assert_eq!(again.next(), first.next());
            }
            prop_assert_eq!(again.left(), 0);
        }

        #[test]
        fn relations_are_read_as_they_were_written(
            all in proptest::collection::vec(
                (0..3_u64, any::<u32>(), any::<u16>(), proptest::collection::vec(0..1_000_000_u32, 0..20), large_primes()),
                0..20,
            ),
        ) {
            let mut writer = Writer::default();
            let all: Vec<_> = all
                .into_iter()
                .map(|(family, polynomial, place, mut primes, large)| {
                    primes.sort_unstable();
                    (family, polynomial, place, primes, large)
                })
                .collect();
            let relation = |(family, polynomial, place, primes, large): &(u64, u32, u16, Vec<u32>, [u32; 2])| {
                (*family, *polynomial, *place, primes.clone(), *large)
            };
            for (family, polynomial, place, primes, large) in &all {
                writer.write(&Relation {
                    family: *family, polynomial: *polynomial, place: *place, primes, large: *large,
                });
            }
            let mut reader = Reader::new(&writer.bytes);
            for expected in &all {
                // Reading can begin at any relation, given the family before it.
                let mut other = Reader::at(reader.rest, reader.family());
                let read = reader.next().unwrap();
                prop_assert_eq!(other.next(), Some(read));
                let read = (read.family, read.polynomial, read.place, read.primes.to_vec(), read.large);
                prop_assert_eq!(read, relation(expected));
            }
            prop_assert_eq!(reader.next(), None);
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
