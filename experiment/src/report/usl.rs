//! The Universal Scalability Law (N. Gunther): `C(N) = λN / (1 + σ(N − 1) + κN(N − 1))`.
//!
//! λ is what one would do alone, σ the share that all must queue for (contention), κ what each pair spends on agreeing
//! (coherence). The fit minimises the sum of the squares of `C(N) − measured` under λ > 0 and σ, κ ≥ 0. With `a = 1/λ`,
//! `b = σ/λ` and `c = κ/λ` the law is `N / (a + b(N − 1) + cN(N − 1))`, whose denominator is linear in the parameters:
//! `N/measured` against it gives the first guess by linear least squares, weighted so that it counts errors of the measured
//! value; Levenberg–Marquardt then goes to the minimum itself. The bounds are kept by doing that for each choice of those of b
//! and c that may differ from zero; the best admissible of the four fits is the answer.

use serde::Serialize;

/// Fewest different N that a fit needs: it has three parameters.
pub(crate) const FEWEST: usize = 3;

/// The law's parameters and how well they describe what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Fit {
    /// Throughput of one, in the unit of what was fitted.
    pub lambda: f64,
    /// Contention.
    pub sigma: f64,
    /// Coherence.
    pub kappa: f64,
    /// Share of the variance that the law explains, at most 1.
    pub r_squared: f64,
    /// The N with the largest throughput; none if it grows for ever.
    pub peak: Option<f64>,
    /// Different N that were fitted. With [`FEWEST`] the law goes through all of them whatever they are.
    pub sizes: usize,
}

impl Fit {
    /// Throughput that the law predicts.
    #[must_use]
    pub(crate) fn at(&self, n: f64) -> f64 {
        self.lambda * n / (1.0 + self.sigma * (n - 1.0) + self.kappa * n * (n - 1.0))
    }

    /// Whether there are no more sizes than parameters, so that R² says nothing.
    #[must_use]
    pub(crate) fn is_exact(&self) -> bool {
        self.sizes <= FEWEST
    }
}

type Parameters = [f64; 3];

/// Fits the law to points of N and throughput; none if there are fewer than [`FEWEST`] different N, or no throughput.
#[must_use]
pub(crate) fn fit(points: &[(f64, f64)]) -> Option<Fit> {
    let points: Vec<(f64, f64)> = points
        .iter()
        .copied()
        .filter(|(n, y)| *n > 0.0 && *y > 0.0 && n.is_finite() && y.is_finite())
        .collect();
    let mut sizes: Vec<f64> = points.iter().map(|point| point.0).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    sizes.dedup();
    if sizes.len() < FEWEST {
        return None;
    }
    // In units of the largest value, so that one tolerance serves all.
    let scale = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let scaled: Vec<(f64, f64)> = points.iter().map(|(n, y)| (*n, y / scale)).collect();

    let choices = [
        [true, false, false],
        [true, true, false],
        [true, false, true],
        [true, true, true],
    ];
    let best = choices
        .iter()
        .filter_map(|free| minimise(&scaled, *free))
        .filter(|p| p[0] > 0.0 && p[1] >= 0.0 && p[2] >= 0.0)
        .min_by(|p, q| squares(&scaled, p).total_cmp(&squares(&scaled, q)))?;

    let mean = scaled.iter().map(|point| point.1).sum::<f64>() / scaled.len() as f64;
    let variance: f64 = scaled.iter().map(|point| (point.1 - mean).powi(2)).sum();
    let left = squares(&scaled, &best);
    let (sigma, kappa) = (best[1] / best[0], best[2] / best[0]);
    Some(Fit {
        lambda: scale / best[0],
        sigma,
        kappa,
        r_squared: if variance > 0.0 {
            1.0 - left / variance
        } else {
            1.0
        },
        peak: peak(sigma, kappa),
        sizes: sizes.len(),
    })
}

/// `sqrt((1 − σ)/κ)`, at least 1. A κ of rounding errors gives no peak.
fn peak(sigma: f64, kappa: f64) -> Option<f64> {
    if kappa < 1e-9 {
        return None;
    }
    Some(((1.0 - sigma).max(0.0) / kappa).sqrt().max(1.0))
}

/// What the parameters are multiplied with in the law's denominator.
fn terms(n: f64) -> Parameters {
    [1.0, n - 1.0, n * (n - 1.0)]
}

fn denominator(p: &Parameters, n: f64) -> f64 {
    p.iter().zip(terms(n)).map(|(p, term)| p * term).sum()
}

fn squares(points: &[(f64, f64)], p: &Parameters) -> f64 {
    points
        .iter()
        .map(|(n, y)| (y - n / denominator(p, *n)).powi(2))
        .sum()
}

/// Levenberg–Marquardt over the parameters that are `free`; the others stay 0.
fn minimise(points: &[(f64, f64)], free: [bool; 3]) -> Option<Parameters> {
    let mut p = first_guess(points, free)?;
    let mut left = squares(points, &p);
    let mut damping = 1e-3;
    for _ in 0..500 {
        let mut matrix = [[0.0; 3]; 3];
        let mut right = [0.0; 3];
        for (n, y) in points {
            let d = denominator(&p, *n);
            let residual = y - n / d;
            let slope = terms(*n).map(|term| -n * term / (d * d));
            accumulate(&mut matrix, &mut right, &slope, residual, 1.0);
        }
        for (index, row) in matrix.iter_mut().enumerate() {
            row[index] *= 1.0 + damping;
        }
        let step = solve(matrix, right, free)?;
        let next = [p[0] + step[0], p[1] + step[1], p[2] + step[2]];
        let possible = points.iter().all(|(n, _)| denominator(&next, *n) > 0.0);
        let next_left = squares(points, &next);
        if possible && next_left <= left {
            let gain = left - next_left;
            (p, left) = (next, next_left);
            damping = (damping / 10.0).max(1e-12);
            if gain <= 1e-15 * left || left < 1e-26 {
                break;
            }
        } else {
            damping *= 10.0;
            if damping > 1e12 {
                break;
            }
        }
    }
    Some(p)
}

/// Linear least squares of `N/y`, whose errors are about `N/y²` times those of `y`.
fn first_guess(points: &[(f64, f64)], free: [bool; 3]) -> Option<Parameters> {
    let mut matrix = [[0.0; 3]; 3];
    let mut right = [0.0; 3];
    for (n, y) in points {
        let weight = (y * y / n).powi(2);
        accumulate(&mut matrix, &mut right, &terms(*n), n / y, weight);
    }
    let guess = solve(matrix, right, free)?;
    let possible = points.iter().all(|(n, _)| denominator(&guess, *n) > 0.0);
    // Wild points can make a guess that no throughput has; linear scaling is a start that always exists.
    let (n, y) = points.first()?;
    Some(if possible { guess } else { [n / y, 0.0, 0.0] })
}

fn accumulate(
    matrix: &mut [[f64; 3]; 3],
    right: &mut [f64; 3],
    terms: &Parameters,
    value: f64,
    weight: f64,
) {
    for i in 0..3 {
        for j in 0..3 {
            matrix[i][j] += weight * terms[i] * terms[j];
        }
        right[i] += weight * terms[i] * value;
    }
}

/// Solves the normal equations of the free parameters by Gauss's elimination with pivots; none if they determine nothing.
fn solve(mut matrix: [[f64; 3]; 3], mut right: [f64; 3], free: [bool; 3]) -> Option<Parameters> {
    for fixed in (0..3).filter(|index| !free[*index]) {
        matrix[fixed] = [0.0; 3];
        for row in &mut matrix {
            row[fixed] = 0.0;
        }
        matrix[fixed][fixed] = 1.0;
        right[fixed] = 0.0;
    }
    // Columns of the same size, as N(N − 1) is much larger than 1.
    let scale: Parameters = [0, 1, 2].map(|index| f64::sqrt(matrix[index][index]));
    if scale.iter().any(|scale| scale.is_nan() || *scale <= 0.0) {
        return None;
    }
    for i in 0..3 {
        for j in 0..3 {
            matrix[i][j] /= scale[i] * scale[j];
        }
        right[i] /= scale[i];
    }
    for column in 0..3 {
        let pivot = (column..3).max_by(|a, b| {
            matrix[*a][column]
                .abs()
                .total_cmp(&matrix[*b][column].abs())
        })?;
        if matrix[pivot][column].abs() < 1e-14 {
            return None;
        }
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let row = matrix[column];
        for below in column + 1..3 {
            let factor = matrix[below][column] / row[column];
            for (value, above) in matrix[below].iter_mut().zip(row) {
                *value -= factor * above;
            }
            right[below] -= factor * right[column];
        }
    }
    let mut solution = [0.0; 3];
    for index in (0..3).rev() {
        let known: f64 = (index + 1..3)
            .map(|later| matrix[index][later] * solution[later])
            .sum();
        solution[index] = (right[index] - known) / matrix[index][index];
    }
    for (value, scale) in solution.iter_mut().zip(scale) {
        *value /= scale;
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn law(lambda: f64, sigma: f64, kappa: f64) -> Fit {
        Fit {
            lambda,
            sigma,
            kappa,
            r_squared: 1.0,
            peak: None,
            sizes: 0,
        }
    }

    fn points(law: &Fit, sizes: &[u32]) -> Vec<(f64, f64)> {
        sizes
            .iter()
            .map(|n| (f64::from(*n), law.at(f64::from(*n))))
            .collect()
    }

    proptest! {
        #[test]
        fn known_parameters_come_back(lambda in 0.1f64..1e5, sigma in 0.0f64..0.5, kappa in 0.0f64..0.02) {
            let fit = fit(&points(&law(lambda, sigma, kappa), &[1, 2, 4, 8, 16, 32])).unwrap();
            prop_assert!((fit.lambda / lambda - 1.0).abs() < 1e-3, "{fit:?}");
            prop_assert!((fit.sigma - sigma).abs() < 1e-3, "{fit:?}");
            prop_assert!((fit.kappa - kappa).abs() < 1e-4, "{fit:?}");
            prop_assert!(fit.r_squared > 0.999);
        }

        #[test]
        fn no_point_makes_it_fail(values in prop::collection::vec((1u32..64, 1e-3f64..1e6), 3..12)) {
            let points: Vec<(f64, f64)> = values.iter().map(|(n, y)| (f64::from(*n), *y)).collect();
            if let Some(fit) = fit(&points) {
                prop_assert!(fit.lambda > 0.0 && fit.sigma >= 0.0 && fit.kappa >= 0.0, "{fit:?}");
                prop_assert!(fit.r_squared <= 1.0 + 1e-9);
            }
        }
    }

    #[test]
    fn noise_moves_them_a_little() {
        let truth = law(100.0, 0.08, 0.002);
        let noise = [1.01, 0.99, 1.005, 0.992, 1.008, 0.997];
        let noisy: Vec<(f64, f64)> = points(&truth, &[1, 2, 4, 8, 16, 24])
            .into_iter()
            .zip(noise)
            .map(|((n, y), noise)| (n, y * noise))
            .collect();
        let fit = fit(&noisy).unwrap();
        assert!((fit.lambda - 100.0).abs() < 4.0, "{fit:?}");
        assert!((fit.sigma - 0.08).abs() < 0.02, "{fit:?}");
        assert!((fit.kappa - 0.002).abs() < 0.0006, "{fit:?}");
        let peak = fit.peak.unwrap();
        assert!((peak - (0.92f64 / 0.002).sqrt()).abs() < 3.0, "{fit:?}");
        assert!(fit.r_squared > 0.99);
    }

    #[test]
    fn what_only_grows_has_no_peak() {
        let fit = fit(&[(1.0, 10.0), (2.0, 20.1), (4.0, 40.5), (8.0, 82.0)]).unwrap();
        assert_eq!((fit.sigma, fit.kappa, fit.peak), (0.0, 0.0, None));
        assert!(!fit.is_exact());
    }

    #[test]
    fn few_sizes_give_no_fit() {
        assert_eq!(fit(&[]), None);
        assert_eq!(fit(&[(1.0, 10.0), (2.0, 19.0)]), None);
        assert_eq!(
            fit(&[(1.0, 10.0), (1.0, 11.0), (2.0, 19.0), (2.0, 20.0)]),
            None
        );
        assert!(
            fit(&[(1.0, 10.0), (2.0, 19.0), (3.0, 27.0)])
                .unwrap()
                .is_exact()
        );
    }

    #[test]
    fn a_fall_has_its_peak_where_it_begins() {
        let fit = fit(&[(1.0, 10.0), (2.0, 8.0), (4.0, 5.0), (8.0, 3.0)]).unwrap();
        assert!(fit.peak.is_none_or(|peak| peak < 2.0), "{fit:?}");
    }
}
