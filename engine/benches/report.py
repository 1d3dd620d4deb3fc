"""The table of a benchmark.

usage: report.py FOLDER

Reads FOLDER/records.tsv, which benches/primes.rs writes; prints the table, and writes it to FOLDER/primes.md. The
picture is made by experiment/report.
"""

import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path

RIVALS = {
    "gmpy2.next_prime": "gmpy2.next_prime",
    "mpz_nextprime": "mpz_nextprime, same GMP",
    "BN_generate_prime_ex": "OpenSSL",
    "crypto-primes": "crypto-primes",
}
KERNELS = ["ifma512", "ifma256", "fma512", "fma256", "gmp"]


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


def kernels(values):
    """Those that were measured, the fastest first."""
    return [k for k in KERNELS if any(f"ours, {k}" in at for at in values.values())]


def table(values, versions):
    ours = kernels(values)
    best = f"ours, {ours[0]}"
    rivals = [rival for rival in RIVALS if rival in versions]
    header = ["primes/s", *(f"`{k}`" for k in ours), *(RIVALS[r] for r in rivals)]
    yield from lines(
        [
            header,
            *(
                [f"{bits} bits", *(spread(at[f"ours, {k}"]) for k in ours), *(spread(at[r]) for r in rivals)]
                for bits, at in values.items()
            ),
        ]
    )
    yield ""
    header = [
        "ratios",
        *(f"`{k}` / gmpy2" for k in ours),
        *(f"`{ours[0]}` / {RIVALS[r]}" for r in rivals if r != "gmpy2.next_prime"),
    ]
    yield from lines(
        [
            header,
            *(
                [
                    f"{bits} bits",
                    *(ratio(at[f"ours, {k}"], at["gmpy2.next_prime"]) for k in ours),
                    *(ratio(at[best], at[r]) for r in rivals if r != "gmpy2.next_prime"),
                ]
                for bits, at in values.items()
            ),
        ]
    )
    yield ""
    header = ["strong test to base 2, µs; share of the limit", *(f"`{k}`" for k in ours if k != "gmp")]
    yield from lines(
        [
            header,
            *(
                [f"{bits} bits", *(limit(at, k) for k in ours if k != "gmp")]
                for bits, at in values.items()
            ),
        ]
    )
    yield ""
    header = [
        f"`{ours[0]}`",
        "uniform method, primes/s",
        "provable method, primes/s",
        "incremental / provable",
        "confirmation's share of the time",
        "verification, µs",
        "check of a certificate, µs",
        "check / verification",
    ]
    yield from lines(
        [
            header,
            *(
                [
                    f"{bits} bits",
                    spread(at[f"{best}, uniform"]),
                    spread(at[f"{best}, provable"]),
                    ratio(at[best], at[f"{best}, provable"]),
                    f"{100 * statistics.median(at[f'{best}, confirmation' + chr(39) + 's share'] or [0]):.0f} %",
                    number(statistics.median(at[f"{best}, verification, µs"])),
                    number(statistics.median(at[f"{best}, check of a certificate, µs"])),
                    ratio(at[f"{best}, check of a certificate, µs"], at[f"{best}, verification, µs"]),
                ]
                for bits, at in values.items()
            ),
        ]
    )
    yield ""
    yield f"Medians over {max(len(at[best]) for at in values.values())} rounds (range); ratios are of the two rates in a round. "
    yield "Rivals: " + "; ".join(f"{r}: {versions[r]}" for r in rivals) + "."


def limit(at, kernel):
    """Time of a strong test, and the products it does beside those that the processor could do."""
    times, shares = at[f"ours, {kernel}, strong test, µs"], at[f"ours, {kernel}, share of the limit"]
    if not times:
        return "–"
    return f"{number(statistics.median(times))}; {100 * statistics.median(shares):.0f} %"


def lines(rows):
    rows = [f"| {' | '.join(map(str, row))} |" for row in rows]
    yield rows[0]
    yield "|" + "---|" * (rows[0].count("|") - 1)
    yield from rows[1:]


def main():
    folder = Path(sys.argv[1])
    values, versions = read(folder / "records.tsv")
    text = "\n".join(table(values, versions))
    print(text)
    (folder / "primes.md").write_text(text + "\n")


main()
