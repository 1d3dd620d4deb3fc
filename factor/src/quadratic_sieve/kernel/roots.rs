//! Roots of polynomials modulo all moduli: constants, the start of a family of polynomials, and
//! steps from one polynomial to the next.

use super::vectors::{Operation, SHORTS, Shorts, Vectors, WORDS, Words};

/// Constants of the moduli, 16 in each line. A modulus is odd and below 2^31.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moduli {
    pub(crate) modulus: Vec<Words>,
    /// Inverse of the modulus modulo 2^32.
    pub(crate) inverse: Vec<Words>,
    /// 2^32 modulo the modulus.
    pub(crate) one: Vec<Words>,
    /// 2^64 modulo the modulus.
    pub(crate) square: Vec<Words>,
    /// The exponent of an inverse: Euler's function of the modulus, less 1.
    pub(crate) exponent: Vec<Words>,
    /// A square root of the number times its multiplier.
    pub(crate) root: Vec<Words>,
    /// The place of x = 0 in the block, modulo the modulus.
    pub(crate) middle: Vec<Words>,
    /// Number of lines whose roots are kept in 16 bits; even.
    pub(crate) short_lines: usize,
}

/// Places where the values of a polynomial are divisible, and the steps by which they move when the
/// sign of one term of the coefficient b changes.
#[derive(Clone, Debug)]
pub(crate) struct Roots<L> {
    pub(crate) first: Vec<L>,
    pub(crate) second: Vec<L>,
    /// By term: the step that is added to both roots when its sign becomes negative.
    pub(crate) steps: Vec<Vec<L>>,
}

impl<L: Copy> Roots<L> {
    pub(crate) fn new(zero: L, lines: usize, terms: usize) -> Self {
        Self {
            first: vec![zero; lines],
            second: vec![zero; lines],
            steps: vec![vec![zero; lines]; terms],
        }
    }
}

/// A change of a polynomial: the term of b whose sign changes, and whether it becomes positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) term: usize,
    pub(crate) to_positive: bool,
}

impl Change {
    /// The change from polynomial `polynomial` − 1 of a family to `polynomial`, in the order of
    /// Gray code.
    pub(crate) fn to(polynomial: u32) -> Self {
        let term = polynomial.trailing_zeros();
        Self {
            term: term as usize,
            to_positive: polynomial >> term >> 1 & 1 == 1,
        }
    }
}

/// The sum of residues.
#[inline(always)]
fn add<V: Vectors>(v: V, a: V::W, b: V::W, modulus: V::W) -> V::W {
    let sum = v.add(a, b);
    v.min(sum, v.sub(sum, modulus))
}

/// The difference of residues.
#[inline(always)]
fn subtract<V: Vectors>(v: V, a: V::W, b: V::W, modulus: V::W) -> V::W {
    let difference = v.sub(a, b);
    v.min(difference, v.add(difference, modulus))
}

/// Half of a residue; for an odd one, half of its sum with the modulus.
#[inline(always)]
fn halve<V: Vectors>(v: V, a: V::W, modulus: V::W) -> V::W {
    let odd = v.sub(v.splat(0), v.and(a, v.splat(1)));
    v.shift_right(v.add(a, v.and(odd, modulus)), 1)
}

/// Computes the inverses of a number modulo all moduli, in Montgomery form: powers, by Euler's
/// theorem. Entries whose modulus is not coprime to the number are meaningless.
pub(crate) struct Inverses<'a> {
    pub(crate) moduli: &'a Moduli,
    pub(crate) number: u32,
}

impl Operation for Inverses<'_> {
    type Output = Vec<Words>;

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) -> Vec<Words> {
        let moduli = self.moduli;
        let one_bit = v.splat(1);
        let mut inverses = vec![Words([0; WORDS]); moduli.modulus.len()];
        for (line, result) in inverses.iter_mut().enumerate() {
            let modulus = v.load(&moduli.modulus[line]);
            let inverse = v.load(&moduli.inverse[line]);
            let exponent = v.load(&moduli.exponent[line]);
            let square = v.load(&moduli.square[line]);
            let base = v.montgomery(v.splat(self.number), square, modulus, inverse);
            let mut power = v.load(&moduli.one[line]);
            let longest = moduli.exponent[line].0.iter().max();
            let bits = longest.map_or(0, |longest| u32::BITS - longest.leading_zeros());
            for bit in (0..bits).rev() {
                power = v.montgomery(power, power, modulus, inverse);
                let product = v.montgomery(power, base, modulus, inverse);
                let is_set = v.and(v.shift_right(exponent, bit), one_bit);
                let mask = v.sub(v.splat(0), is_set);
                power = v.xor(power, v.and(v.xor(power, product), mask));
            }
            v.store(power, result);
        }
        inverses
    }
}

/// Computes the roots and steps of the first polynomial of a family.
///
/// With a = Π q, b = Σ B_i (+ a) and B_i = (a/q_i) γ_i, a change of the sign of B_i adds B_i/a =
/// γ_i/q_i to the roots (±t − b)/2a: one multiplication for each term.
pub(crate) struct StartRoots<'a> {
    pub(crate) moduli: &'a Moduli,
    /// For each q, its inverses modulo all moduli.
    pub(crate) inverses: &'a [&'a [Words]],
    pub(crate) gammas: &'a [u32],
    /// Whether a is added to b.
    pub(crate) is_a_added: bool,
    pub(crate) short: &'a mut Roots<Shorts>,
    pub(crate) long: &'a mut Roots<Words>,
}

/// The half of a line of 32 words that belongs to a line of 16.
fn half(lines: &mut [Shorts], line: usize) -> &mut [u16; WORDS] {
    let (halves, _) = lines[line / 2].0.as_chunks_mut::<WORDS>();
    &mut halves[line % 2]
}

impl Operation for StartRoots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, v: V) {
        let moduli = self.moduli;
        for line in 0..moduli.modulus.len() {
            let modulus = v.load(&moduli.modulus[line]);
            let inverse = v.load(&moduli.inverse[line]);
            let mut a_inverse = v.load(&moduli.one[line]);
            let mut b_over_a = v.splat(0);
            for (term, (inverses, &gamma)) in self.inverses.iter().zip(self.gammas).enumerate() {
                let q_inverse = v.load(&inverses[line]);
                a_inverse = v.montgomery(a_inverse, q_inverse, modulus, inverse);
                let step = v.montgomery(q_inverse, v.splat(gamma), modulus, inverse);
                b_over_a = add(v, b_over_a, step, modulus);
                match line.checked_sub(moduli.short_lines) {
                    None => v.store_low_halves(step, half(&mut self.short.steps[term], line)),
                    Some(line) => v.store(step, &mut self.long.steps[term][line]),
                }
            }
            if self.is_a_added {
                b_over_a = add(v, b_over_a, v.splat(1), modulus);
            }
            let root = v.montgomery(v.load(&moduli.root[line]), a_inverse, modulus, inverse);
            let distance = halve(v, root, modulus);
            let middle = v.load(&moduli.middle[line]);
            let centre = subtract(v, middle, halve(v, b_over_a, modulus), modulus);
            let first = add(v, centre, distance, modulus);
            let second = subtract(v, centre, distance, modulus);
            match line.checked_sub(moduli.short_lines) {
                None => {
                    v.store_low_halves(first, half(&mut self.short.first, line));
                    v.store_low_halves(second, half(&mut self.short.second, line));
                }
                Some(line) => {
                    v.store(first, &mut self.long.first[line]);
                    v.store(second, &mut self.long.second[line]);
                }
            }
        }
    }
}

/// Advances the roots in 16 bits to the next polynomial.
#[inline(always)]
pub(super) fn change_short<V: Vectors>(
    v: V,
    moduli: &[Shorts],
    roots: &mut Roots<Shorts>,
    change: Change,
) {
    let Roots {
        first,
        second,
        steps,
    } = roots;
    let roots = first.iter_mut().zip(second);
    for (((first, second), step), modulus) in roots.zip(&steps[change.term]).zip(moduli) {
        let modulus = v.load_shorts(modulus);
        let mut step = v.load_shorts(step);
        if change.to_positive {
            step = v.sub_shorts(modulus, step);
        }
        for root in [first, second] {
            let sum = v.add_shorts(v.load_shorts(root), step);
            v.store_shorts(v.min_shorts(sum, v.sub_shorts(sum, modulus)), root);
        }
    }
}

const _: () = assert!(SHORTS == 2 * WORDS);
