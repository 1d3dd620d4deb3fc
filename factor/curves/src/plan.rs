//! The plan of curves with given bounds: the steps, which are the same for every number.

use rug::Integer;

use crate::{Cancel, Error, gcd};

/// Bounds of the two stages, and how the primes of the second are paired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurveBounds {
    /// The first stage multiplies by all powers of primes up to this bound.
    pub b1: u32,
    /// The second stage finds one further prime up to this bound.
    pub b2: u32,
    /// Length of a giant step of the second stage: a multiple of 6.
    pub step: u32,
    /// Largest baby step, in half giant steps.
    pub width: u32,
}

impl CurveBounds {
    /// The bounds for a given bound of the first stage. They were chosen by the time that curves
    /// take to find a factor of the size that the bound is for; 30 % more or less of any of them
    /// costs some percent.
    pub fn new(b1: u32) -> Self {
        let (ratio, step, width) = match b1 {
            0..40 => (30, 60, 1),
            40..80 => (40, 90, 1),
            80..400 => (45, 210, 1),
            400..1000 => (50, 420, 1),
            1000..4000 => (100, 2310, 1),
            4000..10_000 => (100, 2310, 2),
            10_000..40_000 => (120, 2310, 4),
            40_000..80_000 => (100, 2310, 6),
            80_000..400_000 => (100, 9240, 2),
            400_000..2_000_000 => (80, 9240, 3),
            _ => (80, 30_030, 3),
        };
        Self {
            b1,
            b2: b1.saturating_mul(ratio).min(MAX_B2),
            step,
            width,
        }
    }

    /// The bounds of p ± 1, which takes as long as curves with a fifth of the bound.
    pub fn of_plus_minus(b1: u32) -> Self {
        let curves = Self::new((b1 / 5).max(1));
        Self {
            b1,
            b2: curves.b2.max(b1 + curves.step),
            ..curves
        }
    }
}

/// Largest bound of the second stage: its plan takes about 200 MB while it is built.
const MAX_B2: u32 = 1 << 29;

/// Numbers tested for pairs between two polls of the cancellation flag.
const NUMBERS_BETWEEN_LOOKS: usize = 1 << 18;

/// Doublings of a point, and the multiple that is added or subtracted after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Number of doublings, at least 1.
    pub doublings: u32,
    /// The odd multiple of the point that is added; subtracted if negative, none if 0, as at the
    /// end.
    pub digit: i32,
}

/// The steps of both stages for given bounds.
///
/// The second stage finds a point Q of a prime order q up to B2. If q = i·D ± j, the multiples
/// i·D·Q, a giant step, and ±j·Q, a baby step, have the same y (Montgomery, *Speeding the Pollard
/// and elliptic curve methods of factorization*, 1987). One pair of steps serves two primes that
/// lie symmetric about i·D.
pub struct CurvePlan {
    pub bounds: CurveBounds,
    /// The product of all powers of primes up to B1. The powers of 2 and 3 are larger, because they
    /// divide the orders of curves more often.
    pub exponent: Integer,
    /// The leading digit of the exponent, which is odd; `windows` has the others.
    pub highest: i32,
    pub windows: Vec<Window>,
    /// Number of odd multiples 1, 3, … of the point that are needed.
    pub odd_multiples: usize,
    /// The baby steps, ascending: all numbers coprime to D up to width · D/2.
    pub baby_steps: Vec<u32>,
    /// The first giant step, in units of D.
    pub first_giant: u32,
    /// For each giant step, the index after its last pair.
    pub ends: Vec<u32>,
    /// For each pair, the index of its baby step.
    pub pairs: Vec<u16>,
}

impl CurvePlan {
    /// Builds the plan for some bounds. Large bounds take seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn new(bounds: CurveBounds, cancel: &Cancel) -> Result<Self, Error> {
        let CurveBounds { b1, b2, .. } = bounds;
        let primes = Primes::up_to(b1.max(b2), cancel)?;
        let exponent = exponent(b1, &primes);
        let bits = exponent.significant_bits();
        let window = window_bits(bits);
        let (highest, windows) = recode(&exponent, bits, window);
        let mut plan = Self {
            bounds,
            exponent,
            highest,
            windows,
            odd_multiples: 1 << (window - 2),
            baby_steps: Vec::new(),
            first_giant: 0,
            ends: Vec::new(),
            pairs: Vec::new(),
        };
        plan.pair(primes, cancel)?;
        Ok(plan)
    }

    /// Pairs the primes between the bounds. Each prime, from the smallest one on, is paired with an
    /// unpaired one that lies symmetric about a giant step not too far off, if there is one.
    fn pair(&mut self, mut open: Primes, cancel: &Cancel) -> Result<(), Error> {
        let CurveBounds {
            b1,
            b2,
            step,
            width,
        } = self.bounds;
        let reach = width * step / 2;
        let (step, reach) = (step as usize, reach as usize);
        let mut place = vec![0_u16; reach + 1];
        // The step is even, so numbers coprime to it are odd.
        let odd = (1..=reach).step_by(2);
        for baby in odd.filter(|&baby| gcd(step as u64, baby as u64) == 1) {
            place[baby] = self.baby_steps.len() as u16;
            self.baby_steps.push(baby as u32);
        }
        let mut found: Vec<(u32, u16)> = Vec::new();
        for prime in b1 as usize + 1..=b2 as usize {
            if prime.is_multiple_of(NUMBERS_BETWEEN_LOOKS) {
                cancel.check()?;
            }
            if !open.has(prime) || step.is_multiple_of(prime) {
                continue;
            }
            let symmetric = |&giant: &usize| {
                let other = 2 * giant * step - prime;
                other > prime && open.has(other)
            };
            let near = prime.div_ceil(step)..=(prime + reach) / step;
            let nearest = (prime + step / 2) / step;
            let giant = { near }.find(symmetric).unwrap_or(nearest);
            open.remove((2 * giant * step).saturating_sub(prime));
            found.push((giant as u32, place[prime.abs_diff(giant * step)]));
        }
        cancel.check()?;
        found.sort_unstable();
        let giants = || found.iter().map(|&(giant, _)| giant);
        let (Some(first), Some(last)) = (giants().next(), giants().next_back()) else {
            return Ok(());
        };
        self.first_giant = first;
        let ends =
            (first..=last).map(|giant| found.partition_point(|&(other, _)| other <= giant) as u32);
        self.ends = ends.collect();
        self.pairs = found.into_iter().map(|(_, baby)| baby).collect();
        Ok(())
    }
}

/// The primes up to a bound: one bit for each odd number.
struct Primes(Vec<u64>);

impl Primes {
    fn up_to(bound: u32, cancel: &Cancel) -> Result<Self, Error> {
        let count = (bound as usize).div_ceil(2);
        let mut primes = Self(vec![u64::MAX; count.div_ceil(64)]);
        primes.0[0] &= !1;
        for odd in count..64 * primes.0.len() {
            primes.remove(2 * odd + 1);
        }
        for p in (3..).step_by(2).take_while(|p| p * p <= bound as usize) {
            if primes.has(p) {
                cancel.check()?;
                for multiple in (p * p..=bound as usize).step_by(2 * p) {
                    primes.remove(multiple);
                }
            }
        }
        Ok(primes)
    }

    fn has(&self, n: usize) -> bool {
        let word = self.0.get(n / 128);
        n == 2 || n % 2 == 1 && word.is_some_and(|word| word >> (n / 2 % 64) & 1 == 1)
    }

    /// Removes a number above 2.
    fn remove(&mut self, n: usize) {
        if let Some(word) = self.0.get_mut(n / 128)
            && n % 2 == 1
        {
            *word &= !(1 << (n / 2 % 64));
        }
    }
}

fn exponent(b1: u32, primes: &Primes) -> Integer {
    let primes = (2..=b1).filter(|&p| primes.has(p as usize));
    let powers = primes.map(|p| {
        let bound = u64::from(b1) * if p <= 3 { 8 } else { 1 };
        let mut power = u64::from(p);
        while power * u64::from(p) <= bound {
            power *= u64::from(p);
        }
        Integer::from(power)
    });
    let mut factors: Vec<Integer> = powers.collect();
    while factors.len() > 1 {
        let pairs = factors.chunks(2);
        factors = pairs.map(|pair| pair.iter().product()).collect();
    }
    factors.pop().unwrap_or_else(|| Integer::from(1))
}

/// Size of the digits in bits that needs the fewest multiplications for an exponent of this many
/// bits.
fn window_bits(bits: u32) -> u32 {
    match bits {
        0..=60 => 3,
        61..=160 => 4,
        161..=500 => 5,
        501..=1800 => 6,
        1801..=6000 => 7,
        6001..=25_000 => 8,
        25_001..=120_000 => 9,
        _ => 10,
    }
}

/// Recodes an exponent of `bits` bits in signed odd digits of `window` bits: the leading digit, and
/// the windows after it.
fn recode(exponent: &Integer, bits: u32, window: u32) -> (i32, Vec<Window>) {
    let (mut digits, mut at, mut carry) = (Vec::new(), 0, 0);
    while at < bits || carry != 0 {
        let bit = i32::from(exponent.get_bit(at));
        if bit == carry {
            at += 1;
            continue;
        }
        let mut digit = carry;
        for i in 0..window {
            digit += i32::from(exponent.get_bit(at + i)) << i;
        }
        carry = 0;
        if digit >= 1 << (window - 1) {
            digit -= 1 << window;
            carry = 1;
        }
        digits.push((at, digit));
        at += window;
    }
    let mut digits = digits.into_iter().rev();
    let Some((mut before, highest)) = digits.next() else {
        return (1, Vec::new());
    };
    let mut windows = Vec::new();
    for (at, digit) in digits {
        let doublings = before - at;
        windows.push(Window { doublings, digit });
        before = at;
    }
    if before > 0 {
        windows.push(Window {
            doublings: before,
            digit: 0,
        });
    }
    (highest, windows)
}
