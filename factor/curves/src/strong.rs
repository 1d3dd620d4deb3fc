//! Strong probable-prime tests, with a number in each lane.

use std::marker::PhantomData;

use super::field::{Field, Moduli, Task};

/// Bits of the exponents that are processed at a time.
const WINDOW: u32 = 4;

/// Number of powers of the base in the table.
const POWERS: usize = 1 << WINDOW;

/// Memory of the tests, reused.
#[derive(Default)]
pub(crate) struct Memory {
    /// The powers of the base as words; the first power is one.
    table: Vec<u64>,
    /// The factors of the next multiplication as words: one power for each lane.
    chosen: Vec<u64>,
    power: Vec<u64>,
}

/// Tests the numbers in the first lanes, which are odd and above the bases. Bit l of the result
/// says whether the number in lane l is a strong probable prime to all of the bases.
pub(crate) fn pass_all<M: Moduli>(
    moduli: &M,
    numbers: &[u64],
    bases: &[u64],
    memory: &mut Memory,
) -> u32 {
    let mut pass_all = ((1_u64 << numbers.len()) - 1) as u32;
    for &base in bases {
        if pass_all != 0 {
            pass_all &= pass(moduli, numbers, base as i32, memory);
        }
    }
    pass_all
}

/// The lanes whose numbers are strong probable primes to a base, as bits.
fn pass<M: Moduli>(moduli: &M, numbers: &[u64], base: i32, memory: &mut Memory) -> u32 {
    let words = moduli.words();
    memory.table.resize(POWERS * words, 0);
    memory.chosen.resize(words, 0);
    memory.power.resize(words, 0);
    moduli.with(Power::<M> {
        numbers,
        base,
        memory,
        moduli: PhantomData,
    });
    let mut pass = 0;
    let mut open = 0;
    for (lane, &n) in numbers.iter().enumerate() {
        let one = moduli.value_word(lane, n, &memory.table[..words]);
        let power = moduli.value_word(lane, n, &memory.power);
        if power == one || power == n - one {
            pass |= 1 << lane;
        } else if (n - 1).trailing_zeros() > 1 {
            open |= 1_u32 << lane;
        }
    }
    let mut squarings = 0;
    while open != 0 {
        squarings += 1;
        moduli.with(Square {
            number: &mut memory.power,
        });
        for (lane, &n) in numbers.iter().enumerate() {
            if open >> lane & 1 == 0 {
                continue;
            }
            let one = moduli.value_word(lane, n, &memory.table[..words]);
            if moduli.value_word(lane, n, &memory.power) == n - one {
                pass |= 1 << lane;
                open &= !(1 << lane);
            } else if squarings + 1 >= (n - 1).trailing_zeros() {
                open &= !(1 << lane);
            }
        }
    }
    pass
}

/// Computes a base to the power of the odd part of n − 1 in each lane.
struct Power<'a, M> {
    numbers: &'a [u64],
    base: i32,
    memory: &'a mut Memory,
    moduli: PhantomData<M>,
}

impl<M: Moduli> Task<M::Field> for Power<'_, M> {
    type Output = ();

    #[inline(always)]
    fn run(self, f: &M::Field) {
        let Memory {
            table,
            chosen,
            power,
        } = self.memory;
        let words = chosen.len();
        let base = f.factor(&f.integer(self.base));
        let mut next = f.product(&f.one());
        for to in table.chunks_mut(words) {
            f.store(&next, to);
            next = f.multiply(&f.factor(&next), &base);
        }
        let odd_part = |n: u64| (n - 1) >> (n - 1).trailing_zeros();
        let greatest = self.numbers.iter().map(|&n| odd_part(n)).max();
        let bits = u64::BITS - greatest.unwrap_or(0).leading_zeros();
        let mut x = f.one();
        for window in (0..bits.div_ceil(WINDOW)).rev() {
            for _ in 0..WINDOW {
                x = f.factor(&f.square(&x));
            }
            for (lane, &n) in self.numbers.iter().enumerate() {
                let digit = odd_part(n) >> (WINDOW * window) & (POWERS as u64 - 1);
                let from = &table[digit as usize * words..][..words];
                for place in M::places(lane) {
                    chosen[place] = from[place];
                }
            }
            x = f.factor(&f.multiply(&x, &f.factor(&f.load(chosen))));
        }
        f.store(&f.product(&x), power);
    }
}

/// Squares the numbers in the lanes.
struct Square<'a> {
    number: &'a mut [u64],
}

impl<F: Field> Task<F> for Square<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, f: &F) {
        let square = f.square(&f.factor(&f.load(self.number)));
        f.store(&square, self.number);
    }
}
