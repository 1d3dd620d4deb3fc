"""How reports write numbers and moments, and the error that ends a report."""

import math
from datetime import UTC, datetime

import numpy


class ReportError(Exception):
    """A failure that the user can mend; its text says how."""


def number(value):
    """A number for a label: few digits, with thousands separated."""
    size = abs(value)
    if size >= 10_000 and math.isfinite(size):
        return f"{value:,.0f}".replace(",", "\u202f").replace("-", "−")
    if 0 < size < 0.000_1:
        return f"{value:.1e}".replace("e-0", "e-")
    digits = next((digits for least, digits in ((100, 0), (10, 1), (1, 2), (0.01, 3)) if size >= least), 5)
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"


def plain(value):
    """All digits that are needed to read the number back, never with an exponent."""
    return numpy.format_float_positional(value, trim="-") if isinstance(value, float) else str(value)


def count(amount, noun):
    return f"{amount} {noun}{'' if amount == 1 else 's'}"


def moment(unix_ms):
    return datetime.fromtimestamp(unix_ms // 1000, UTC).isoformat().replace("+00:00", "Z")
