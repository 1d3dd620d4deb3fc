"""The picture of a benchmark in engine/benches: random primes per second by size in bits."""

import platform
import re
import statistics
from pathlib import Path

from pictures import Chart, Line
from sources import lines_of, read
from text import ReportError

LINES = {  # label and colour of each series; {} stands for the version
    "ours, ifma512": ("Primepool, ifma512", 0), "ours, ifma256": ("Primepool, ifma256", 4),
    "ours, fma512": ("Primepool, fma512", 2), "ours, fma256": ("Primepool, fma256", 3),
    "ours, gmp": ("Primepool, gmp", 7), "gmpy2.next_prime": ("gmpy2.next_prime", 5),
    "mpz_nextprime": ("mpz_nextprime, same GMP", 1), "BN_generate_prime_ex": ("{}", 6),
    "crypto-primes": ("crypto-primes {}", 8),
}


def draw_primes(folder):
    """Writes primes.svg from records.tsv, whose columns are bits, series, round and value."""
    values, versions, lines = {}, {}, []
    form = re.compile(r"(\d+)\t(.+)\t\d+\t([-+.eE\d]+)")
    for bits, what, value in lines_of(folder / "records.tsv", lambda line: form.fullmatch(line).groups()):
        name, _, versions[name] = what.partition(" (")
        values.setdefault(name, {}).setdefault(int(bits), []).append(float(value))
    for name in (name for name in LINES if name in values):
        points = [(bits, statistics.median(each), min(each), max(each)) for bits, each in sorted(values[name].items())]
        label, colour = LINES[name]
        lines.append(Line(label.format(versions[name].removesuffix(")")), points, colour=colour))
    if not lines:
        raise ReportError(f"{folder / 'records.tsv'} holds no rates of primes")
    cpus = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", read(cpus)) if cpus.exists() else None
    ticks = sorted({point[0] for line in lines for point in line.points})
    chart = Chart("Random primes per second", f"{model[1] if model else platform.machine()}; median and range.", "bits",
                  "primes per second, one core", lines, ticks, is_logarithmic=True)
    (folder / "primes.svg").write_text(chart.draw()[0], encoding="utf-8")
    return folder / "primes.svg"
