//! Arithmetic modulo several numbers at once, one in each lane of a kernel's vectors, in Montgomery
//! form.

/// Bits of the exponent taken at a time in a power of any base.
pub(crate) const WINDOW: u32 = 4;

/// Numbers of a [`Field`] that are computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    /// All operations'.
    First,
    /// The second of the Lucas sequence.
    Second,
}

/// Where the digits of numbers, one a lane, are among words: digit j of all lanes of a group, then
/// the next digit; group after group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Digits of a number.
    pub(crate) limbs: usize,
    /// Lanes of a group.
    pub(crate) width: usize,
    /// All lanes.
    pub(crate) lanes: usize,
}

impl Layout {
    /// Words of a number in each lane.
    pub(crate) fn words(self) -> usize {
        self.limbs * self.lanes
    }

    /// The place of the lowest digit of a lane; the next one is [`Layout::width`] further.
    pub(crate) fn lowest(self, lane: usize) -> usize {
        // The width is a power of two: a division would take longer than what is done with the
        // digit.
        let group = lane >> self.width.trailing_zeros();
        group * self.limbs * self.width + (lane & (self.width - 1))
    }

    /// The places of the digits of a lane, the least significant first.
    pub(crate) fn places(self, lane: usize) -> impl Iterator<Item = usize> {
        let first = self.lowest(lane);
        (0..self.limbs).map(move |j| first + j * self.width)
    }
}

/// Arithmetic modulo several numbers at once.
///
/// Numbers are given and taken as digits of 52 bits, in words in the field's layout.
pub(crate) trait Field: Send {
    /// Digits of a number and lanes.
    fn layout(&self) -> Layout;

    /// Sets the moduli, all odd and below R/16.
    fn set_moduli(&mut self, moduli: &[u64]);

    /// The exponents of powers.
    fn exponents_mut(&mut self) -> &mut [u64];

    /// Sets the numbers to 2^head in Montgomery form, for the head of each lane, and writes them,
    /// as integers less than twice the moduli, to `digits` if it is not empty. `bits` are the
    /// lengths of the moduli, which differ by at most 512.
    fn set_powers_of_two(
        &mut self,
        bits: &[u32],
        heads: &[u32],
        moduli: &[u64],
        digits: &mut [u64],
    );

    /// Sets a register to numbers less than twice the moduli.
    fn set(&mut self, register: Register, numbers: &[u64]);

    /// Sets what [`Field::lucas`] adds to its mixed products, −P, and to its squares, −2, both in
    /// Montgomery form and less than the moduli.
    fn set_addends(&mut self, mixed: &[u64], square: &[u64]);

    /// Keeps the numbers for [`Field::restore`].
    fn keep(&mut self);

    /// Sets the numbers to what was kept.
    fn restore(&mut self);

    /// For each exponent bit from `high − 1` down to `low`: squares, and doubles if the bit is set.
    fn power_of_two(&mut self, high: u32, low: u32);

    /// Fills the table of powers of the numbers; then sets the numbers to one, which `ones` is in
    /// Montgomery form.
    fn begin_power(&mut self, ones: &[u64]);

    /// For each window of [`WINDOW`] exponent bits, `count` of them down to bit `low`: squares that
    /// often, and multiplies by the power of the base that the window is.
    fn power(&mut self, count: u32, low: u32);

    /// Squares, and multiplies by the base where the exponent's bit `bit` is set.
    fn power_step(&mut self, bit: u32);

    /// For each exponent bit from `high − 1` down to `low`, one step of the Lucas sequence with Q =
    /// 1: of (V_k, V_k+1), in the registers, to (V_2k, V_2k+1) or, where the bit is set, (V_2k+1,
    /// V_2k+2).
    fn lucas(&mut self, high: u32, low: u32);

    /// In which lanes the number is 1, and in which it is −1; bit l is lane l.
    fn units(&mut self) -> (u32, u32);

    /// Writes a register's numbers without their Montgomery form, in [0, N].
    fn leave(&mut self, register: Register, moduli: &[u64], numbers: &mut [u64]);
}
