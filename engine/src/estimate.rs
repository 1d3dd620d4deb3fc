//! Cost estimates of jobs, for packing jobs into work units.

use crate::{Form, Kernel};

/// Expected compute time of one job in seconds on one core of a current server, within a factor of
/// about 3.
///
/// The time of a single job is close to exponentially distributed, with this mean. Sizes outside
/// the valid range get the value of the nearest valid size. `kernel` is the kernel that the
/// consumers are expected to use; `None` means the portable kernel.
#[must_use]
pub fn seconds(form: Form, bits: u32, kernel: Option<Kernel>) -> f64 {
    let bits = f64::from(bits);
    let portable = match form {
        Form::Prime => interpolate(PRIME, bits),
        Form::SafePrime => interpolate(SAFE_PRIME, bits),
    };
    // Share of the gain of `ifma512`. On one processor, the strong tests of the four kernels are 8,
    // 6, 4 and 2.6 to 3 times as fast as GMP's at 512 to 2048 bits.
    let share = match kernel {
        Some(Kernel::Gmp) | None => return portable,
        Some(Kernel::Ifma512) => 1.0,
        Some(Kernel::Ifma256) => 0.75,
        Some(Kernel::Fma512) => 0.5,
        Some(Kernel::Fma256) => 0.35,
    };
    portable / (interpolate(IFMA_GAIN, bits) * share).max(1.0)
}

/// Pairs of bits and gain: how many times faster `ifma512` finds a prime than the portable kernel
/// on the same processor. Measured from 256 to 4096 bits.
const IFMA_GAIN: &[(f64, f64)] = &[
    (64.0, 1.0),
    (65.0, 4.0),
    (256.0, 7.8),
    (512.0, 8.0),
    (1024.0, 6.8),
    (4096.0, 6.5),
    (8192.0, 6.0),
    (8400.0, 1.0),
];

/// Pairs of bits and mean seconds on one core of an AMD EPYC (Zen 4): measured up to 4096 bits;
/// computed above from the time of a strong test and the expected number of candidates.
const PRIME: &[(f64, f64)] = &[
    (8.0, 0.1e-6),
    (32.0, 1.5e-6),
    (64.0, 6.5e-6),
    (65.0, 12e-6),
    (128.0, 21e-6),
    (256.0, 0.12e-3),
    (512.0, 1.2e-3),
    (1024.0, 11e-3),
    (2048.0, 0.13),
    (4096.0, 1.5),
    (8192.0, 21.0),
    (16_384.0, 265.0),
    (32_768.0, 2800.0),
    (65_536.0, 34_000.0),
];

/// Like [`PRIME`] for safe primes; measured up to 1024 bits.
const SAFE_PRIME: &[(f64, f64)] = &[
    (8.0, 0.3e-6),
    (32.0, 10e-6),
    (64.0, 47e-6),
    (128.0, 75e-6),
    (256.0, 0.8e-3),
    (512.0, 18e-3),
    (1024.0, 0.33),
    (2048.0, 5.5),
    (4096.0, 140.0),
    (8192.0, 3900.0),
    (16_384.0, 95e3),
    (32_768.0, 2e6),
    (65_536.0, 5e7),
];

/// Interpolates with the power law between neighbouring points; beyond the ends, returns the value
/// at the end.
fn interpolate(points: &[(f64, f64)], x: f64) -> f64 {
    let after = points.partition_point(|&(bits, _)| bits < x);
    match (
        after.checked_sub(1).and_then(|i| points.get(i)),
        points.get(after),
    ) {
        (Some(&(x0, y0)), Some(&(x1, y1))) => {
            let exponent = (y1 / y0).ln() / (x1 / x0).ln();
            y0 * (x / x0).powf(exponent)
        }
        (Some(&(_, y)), None) | (None, Some(&(_, y))) => y,
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MAX_BITS, MIN_BITS};

    #[test]
    fn grows_with_size_and_is_finite() {
        for form in [Form::Prime, Form::SafePrime] {
            let mut last = 0.0;
            for bits in MIN_BITS..=MAX_BITS {
                let seconds = seconds(form, bits, None);
                assert!(seconds.is_finite() && seconds > 0.0 && seconds >= last);
                last = seconds;
            }
        }
    }

    #[test]
    fn a_faster_kernel_is_never_expected_to_be_slower() {
        for bits in MIN_BITS..=MAX_BITS {
            let times = Kernel::ALL.map(|kernel| seconds(Form::Prime, bits, Some(kernel)));
            assert!(times[0] > 0.0 && times.is_sorted(), "{bits}: {times:?}");
        }
    }

    #[test]
    fn passes_through_its_points() {
        for &(bits, expected) in PRIME {
            let found = interpolate(PRIME, bits);
            assert!((found / expected - 1.0).abs() < 1e-9);
        }
        assert!(
            seconds(Form::Prime, 0, None) > 0.0 && seconds(Form::Prime, u32::MAX, None).is_finite()
        );
    }
}
