"""The table and the plot of a benchmark.

usage: report.py FOLDER

Reads FOLDER/records.tsv, which benches/primes.rs writes; prints the table, and writes it to FOLDER/primes.md and the plot to
FOLDER/primes.svg.
"""

import platform
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

IFMA, GMP = "ours, ifma", "ours, gmp"
RIVALS = {
    "gmpy2.next_prime": "gmpy2.next_prime",
    "mpz_nextprime": "mpz_nextprime, same GMP",
    "BN_generate_prime_ex": "OpenSSL",
}


def read(path):
    """{bits: {what: [value of each round]}}, and the versions of the rivals."""
    values, versions = defaultdict(lambda: defaultdict(list)), {}
    for line in path.read_text().splitlines():
        bits, what, _, value = line.split("\t")
        rival = re.fullmatch(r"(\S+) \((.*)\)", what)
        if rival:
            what = rival[1]
            versions[what] = rival[2]
        values[int(bits)][what].append(float(value))
    return values, versions


def number(value):
    """Three digits, with separators."""
    digits = max(0, 2 - len(str(int(value))) + 1) if value >= 1 else 3
    return f"{value:,.{digits}f}" if value < 1000 else f"{round(value, 3 - len(str(int(value)))):,.0f}"


def spread(values, unit=""):
    return f"{number(statistics.median(values))}{unit} ({number(min(values))}–{number(max(values))})"


def ratio(ours, theirs):
    """Median and range of the ratios within a round."""
    if not ours or not theirs:
        return "–"
    return spread([a / b for a, b in zip(ours, theirs)])


def table(values, versions):
    best = IFMA if any(IFMA in at for at in values.values()) else GMP
    name = "vector kernel" if best == IFMA else "portable kernel"
    rivals = [rival for rival in RIVALS if rival in versions]
    rows = [
        ["bits", f"{name}, primes/s", *(f"× {RIVALS[r]}" for r in rivals), "share of the vpmadd52 limit"],
        *(
            [
                bits,
                spread(at[best]),
                *(ratio(at[best], at[rival]) for rival in rivals),
                f"{100 * statistics.median(at['share of the limit'] or [0]):.0f} %",
            ]
            for bits, at in values.items()
        ),
    ]
    yield from lines(rows)
    yield ""
    share = "confirmation's share"
    rows = [
        [
            "bits",
            "uniform method, primes/s",
            "confirmation's share of the time",
            "strong test, µs",
            "verification, µs",
            "portable kernel, primes/s",
            "portable × mpz_nextprime, same GMP",
        ],
        *(
            [
                bits,
                spread(at[f"{best}, uniform"]),
                f"{100 * statistics.median(at[share] or [0]):.0f} %",
                number(statistics.median(at["strong test, µs"] or [0])),
                number(statistics.median(at[f"{best}, verification, µs"])),
                spread(at[GMP]),
                ratio(at[GMP], at["mpz_nextprime"]),
            ]
            for bits, at in values.items()
        ),
    ]
    yield from lines(rows)
    yield ""
    yield f"Medians over {max(len(at[best]) for at in values.values())} rounds (range); ratios are of the two rates in a round. "
    yield "Rivals: " + "; ".join(f"{r}: {versions[r]}" for r in rivals) + "."


def lines(rows):
    rows = [f"| {' | '.join(map(str, row))} |" for row in rows]
    yield rows[0]
    yield "|" + "---|" * (rows[0].count("|") - 1)
    yield from rows[1:]


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def plot(values, versions, path):
    plt.rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 11})
    figure, axes = plt.subplots(figsize=(8, 5))
    series = [
        (IFMA, "Primepool, vector kernel", "#0b6e4f", "o", 2.6),
        (GMP, "Primepool, portable kernel", "#5fb58f", "s", 1.8),
        ("gmpy2.next_prime", "gmpy2.next_prime", "#c8553d", "^", 1.4),
        ("mpz_nextprime", "mpz_nextprime, same GMP", "#e09f3e", "v", 1.4),
        ("BN_generate_prime_ex", versions.get("BN_generate_prime_ex", "OpenSSL"), "#5c6b8a", "D", 1.4),
    ]
    for what, label, colour, marker, width in series:
        points = [(bits, at[what]) for bits, at in values.items() if at[what]]
        if not points:
            continue
        x = [bits for bits, _ in points]
        y = [statistics.median(v) for _, v in points]
        below = [m - min(v) for m, (_, v) in zip(y, points)]
        above = [max(v) - m for m, (_, v) in zip(y, points)]
        axes.errorbar(
            x, y, (below, above), label=label, color=colour, marker=marker, markersize=6, linewidth=width, capsize=3
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(list(values), [str(bits) for bits in values])
    axes.minorticks_off()
    axes.set_xlabel("bits")
    axes.set_ylabel("primes per second, one core")
    axes.set_title("Random primes per second", loc="left", fontweight="bold")
    axes.grid(True, which="major", color="#e3e3e3", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False)
    figure.text(0.99, 0.01, f"{processor()}; median and range", ha="right", fontsize=8, color="#777777")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    folder = Path(sys.argv[1])
    values, versions = read(folder / "records.tsv")
    text = "\n".join(table(values, versions))
    print(text)
    (folder / "primes.md").write_text(text + "\n")
    plot(values, versions, folder / "primes.svg")


main()
