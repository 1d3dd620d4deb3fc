"""The Universal Scalability Law (N. Gunther): C(N) = λN / (1 + σ(N − 1) + κN(N − 1)).

λ is the throughput of one, σ the share of the work that is serial (contention), κ the cost of
agreement between each pair (coherence).
"""

import math
from dataclasses import dataclass

import numpy
from scipy.optimize import least_squares

FEWEST = 3
"""Least number of different N for a fit, which has three parameters."""


@dataclass(frozen=True)
class Fit:
    lambda_: float
    sigma: float
    kappa: float
    r_squared: float
    peak: float | None  # N of the largest throughput; none if it always grows
    sizes: int

    def at(self, n):
        return throughput(n, self.lambda_, self.sigma, self.kappa)


def throughput(n, lambda_, sigma, kappa):
    return lambda_ * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))


def fit(points):
    """Fits the law to pairs of N and throughput by least squares; None with too few N."""
    points = [(n, y) for n, y in points if y > 0]
    sizes = len({n for n, _ in points})
    if sizes < FEWEST:
        return None
    n, y = numpy.array(points, dtype=float).T
    scale = float(y.max())  # one tolerance serves all units
    y = y / scale
    # There may be several minima. Only dogbox reaches a bound, so that σ = 0 is exact.
    found = min((least_squares(
        lambda p: throughput(n, *p) - y, (float((y / n).max()), sigma, kappa), bounds=(0, [numpy.inf, 1, numpy.inf]),
        method="dogbox", x_scale="jac", ftol=1e-14, xtol=1e-14, gtol=1e-14,
    ) for sigma in (0.01, 0.3) for kappa in (1e-4, 1e-2)), key=lambda one: one.cost)
    lambda_, sigma, kappa = map(float, found.x)
    variance = float(((y - y.mean()) ** 2).sum())
    r_squared = 1 - 2 * float(found.cost) / variance if variance > 0 else 1.0
    # A κ of rounding errors gives no peak.
    peak = max(1.0, math.sqrt((1 - sigma) / kappa)) if kappa >= 1e-9 else None
    return Fit(scale * lambda_, sigma, kappa, r_squared, peak, sizes)
