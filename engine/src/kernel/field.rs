//! Arithmetic modulo several numbers at once, one in each lane of a kernel's vectors, in Montgomery
//! form.

/// Exponent bits per window in a power of any base.
pub(crate) const WINDOW: u32 = 4;

/// A register of a [`Field`], which holds one number per lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    /// Operand of all operations.
    First,
    /// The second term of the Lucas sequence.
    Second,
}

/// Position of the digits of numbers, one number per lane, in a slice of words: digit j of all
/// lanes of a group, then digit j + 1; group after group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Number of digits of a number.
    pub(crate) limbs: usize,
    /// Number of lanes of a group.
    pub(crate) width: usize,
    /// Number of lanes of all groups.
    pub(crate) lanes: usize,
}

impl Layout {
    /// Number of words that hold one number in each lane.
    pub(crate) fn words(self) -> usize {
        self.limbs * self.lanes
    }

    /// Index of the lowest digit of a lane; the next digit is [`Layout::width`] further.
    pub(crate) fn lowest(self, lane: usize) -> usize {
        // The width is a power of two. A division would take longer than the work on the digit.
        let group = lane >> self.width.trailing_zeros();
        group * self.limbs * self.width + (lane & (self.width - 1))
    }

    /// Indices of the digits of a lane, the least significant first.
    pub(crate) fn places(self, lane: usize) -> impl Iterator<Item = usize> {
        let first = self.lowest(lane);
        (0..self.limbs).map(move |j| first + j * self.width)
    }
}

/// Arithmetic modulo several numbers at once.
///
/// Arguments and results are 52-bit digits, in words in the field's layout.
pub(crate) trait Field: Send {
    /// The layout of the field's numbers.
    fn layout(&self) -> Layout;

    /// Sets the moduli, all odd and below R/16.
    fn set_moduli(&mut self, moduli: &[u64]);

    /// The exponents for powers and Lucas sequences.
    fn exponents_mut(&mut self) -> &mut [u64];

    /// Sets the numbers to 2^head in Montgomery form, where each lane has its own head. If `digits`
    /// is not empty, also writes them there as integers less than twice the moduli. `bits` are the
    /// lengths of the moduli, which differ by at most 512.
    fn set_powers_of_two(
        &mut self,
        bits: &[u32],
        heads: &[u32],
        moduli: &[u64],
        digits: &mut [u64],
    );

    /// Sets a register to numbers, which must be less than twice the moduli.
    fn set(&mut self, register: Register, numbers: &[u64]);

    /// Sets the addends of [`Field::lucas`]: −P for its mixed products, and −2 for its squares.
    /// Both are in Montgomery form and less than the moduli.
    fn set_addends(&mut self, mixed: &[u64], square: &[u64]);

    /// Saves the numbers for [`Field::restore`].
    fn keep(&mut self);

    /// Sets the numbers to those that [`Field::keep`] saved.
    fn restore(&mut self);

    /// For each exponent bit from `high − 1` down to `low`: squares, and doubles if the bit is set.
    fn power_of_two(&mut self, high: u32, low: u32);

    /// Fills the table with the powers of the numbers. Then sets the numbers to one, which `ones`
    /// gives in Montgomery form.
    fn begin_power(&mut self, ones: &[u64]);

    /// For each of `count` windows of [`WINDOW`] exponent bits, down to bit `low`: squares
    /// [`WINDOW`] times, and multiplies by the power of the base that the window selects.
    fn power(&mut self, count: u32, low: u32);

    /// Squares, and multiplies by the base if the exponent's bit `bit` is set.
    fn power_step(&mut self, bit: u32);

    /// For each exponent bit from `high − 1` down to `low`, one step of the Lucas sequence with Q =
    /// 1: replaces (V_k, V_k+1) in the registers by (V_2k, V_2k+1) or, if the bit is set, by
    /// (V_2k+1, V_2k+2).
    fn lucas(&mut self, high: u32, low: u32);

    /// The lanes where the number is 1, and those where it is −1; bit l is lane l.
    fn units(&mut self) -> (u32, u32);

    /// Writes a register's numbers in ordinary form, in [0, N].
    fn convert_from_montgomery(&mut self, register: Register, moduli: &[u64], numbers: &mut [u64]);
}
