"""Pictures, tables and notes of a comparison, from the results of `experiment compare`."""

import statistics

from markupsafe import Markup

from pictures import Chart, Line, Panel, draw_panels, in_page, write_pictures
from sources import read_json
from text import count, moment, number
from words import TEMPLATES, paragraphs

SYSTEMS = {"primepool": "Primepool", "ray": "Ray", "celery": "Celery", "dask": "Dask", "engine": "engine, bare loop",
           "gmpy2": "gmpy2, bare loop"}
COLOURS = dict(zip(SYSTEMS, (0, 1, 2, 3, 0, 7)))
LOOPS = {system: "engine" if system in ("primepool", "engine") else "gmpy2" for system in SYSTEMS}
"""The bare loop with the same arithmetic as a system."""
METRICS = {  # label in tables, where the figure is, title of the panel
    "primes": ("primes/s, one a task", "primes", "per_s", "Primes per second"),
    "primes_packed": ("primes/s, packed (Primepool's default)", "primes_packed", "per_s", "Primes per second"),
    "share": ("% of its bare loop, one a task", "primes", "per_s", "Part of its own bare loop, %"),
    "share_packed": ("% of its bare loop, packed", "primes_packed", "per_s", "Part of its own bare loop, %"),
    "empty": ("empty tasks/s, one at a time", "empty", "per_s", "Empty tasks per second, one at a time"),
    "empty_batched": ("empty tasks/s, batched", "empty_batched", "per_s", "Empty tasks per second, batched"),
    "round_trip_p50": ("round trip p50, ms", "round_trip_ms", "p50", "Round trip of one task, median, ms"),
    "round_trip_p99": ("round trip p99, ms", "round_trip_ms", "p99", "Round trip of one task, 99th percentile, ms"),
    "startup": ("start to first result, s", "startup_s", None, "From start to first result, s"),
    "memory": ("peak memory, MB", "memory", "bytes", "Peak memory of all its processes, MB"),
}
COSTS = ("round_trip_p50", "round_trip_p99", "startup", "memory")
PACKED = {"primes_packed": "primes", "share_packed": "share"}
"""Only Primepool packs by itself: its packed figures are compared with these of the others."""


class Comparison:
    def __init__(self, data):
        self.settings, self.machine, self.records = data["settings"], data["machine"], data["records"]
        self.systems = [system for system in SYSTEMS if any(record["system"] == system for record in self.records)]
        self.pools = [system for system in self.systems if LOOPS[system] != system]
        measured = [record for record in self.records if "measured" in record]
        keys = [(one.get("nodes", 1), one["round"], one["system"]) for one in measured]
        self.figures = {key: one["measured"] for key, one in zip(keys, measured)}
        self.last = {key[2]: self.figures[key] for key in sorted(self.figures, key=lambda key: (-key[0], key[1]))}
        self.nodes = sorted({nodes for nodes, _, _ in self.figures})
        self.medians, self.ratios = {}, {}
        for metric in METRICS:
            for nodes, turn, system in sorted(self.figures):
                value, ours = self.value(nodes, turn, system, metric), self.value(nodes, turn, "primepool", metric)
                theirs = self.value(nodes, turn, system, PACKED.get(metric, metric))
                self.medians.setdefault((system, metric, nodes), []).append(value)
                if ours and theirs and nodes == 1 and system in self.pools and system != "primepool":
                    ratio = theirs / ours if metric in COSTS else ours / theirs
                    self.ratios.setdefault((system, metric), []).append(ratio)

    def value(self, nodes, turn, system, metric):
        """A figure of a system in a round; None if it was not measured."""
        _, group, key, _ = METRICS[metric]
        value = self.figures.get((nodes, turn, system), {}).get(group)
        value = value[key] if value and key else value
        if metric.startswith("share") and value:
            # A bare loop has no share.
            loop = self.figures.get((1, turn, LOOPS[system])) if LOOPS[system] != system else None
            rate = loop and loop["primes"]["per_s"]
            return 100 * value / rate if rate else None
        return value / 1e6 if metric == "memory" and value else value

    def spread(self, system, metric, nodes=1):
        return spread(self.medians.get((system, metric, nodes), []))

    def cell(self, found):
        if not found:
            return "–"
        median, least, most = map(number, found)
        return median if self.settings["repeat"] == 1 else f"{median} ({least}–{most})"

    def failures(self):
        for record in self.records:
            if "failed" in record:
                nodes, turn = record.get("nodes", 1), record["round"] + 1
                place = f"with {count(nodes, 'node')} in round {turn}" if nodes > 1 else f"in round {turn}"
                yield {"name": SYSTEMS[record["system"]], "place": place, "reason": record["failed"]}

    def tables(self):
        """Tables that have rows, each as its head and its rows."""
        others = [system for system in self.pools if (system, "primes") in self.ratios]
        medians = [["median (range)", *(SYSTEMS[system] for system in self.systems)]]
        ratios = [["Primepool is … times better", *(f"than {SYSTEMS[system]}" for system in others)]]
        for metric, (label, *_) in METRICS.items():
            of_systems = [self.spread(system, metric) for system in self.systems]
            of_others = [spread(self.ratios.get((system, metric), [])) for system in others]
            # On nodes only throughput is measured.
            medians += [[label, *map(self.cell, of_systems)]] if any(of_systems) else []
            ratios += [[label, *map(self.cell, of_others)]] if any(of_others) else []
        by_nodes = [["throughput by nodes, primes/s; efficiency against 1 node", *(SYSTEMS[one] for one in self.pools)]]
        for nodes in self.nodes if self.nodes[-1:] > [1] else []:
            pairs = [(self.spread(system, "primes"), self.spread(system, "primes", nodes)) for system in self.pools]
            shares = [f"; {100 * many[0] / (nodes * one[0]):.0f} %" if one and many else "" for one, many in pairs]
            cells = [self.cell(many) + share for (_, many), share in zip(pairs, shares)]
            by_nodes.append([count(nodes, "node"), *cells])
        return [(head, rows) for head, *rows in (medians, ratios, by_nodes) if rows and len(head) > 1]

    def pictures(self):
        panels = {}
        for title in dict.fromkeys(title for *_, title in METRICS.values()):
            # Packed figures come first.
            metrics = [metric for metric in reversed(METRICS) if METRICS[metric][-1] == title]
            kinds = {one: ", packed" if one in PACKED else ", single" for one in metrics} if metrics[1:] else {}
            panels[title] = Panel(title, "less is better" if metrics[0] in COSTS else "more is better", [
                (SYSTEMS[system] + kinds.get(metric, "") * (system == "primepool"), COLOURS[system],
                 1 if system in self.pools else 0.45, found)
                for system in self.systems for metric in metrics if (found := self.spread(system, metric))
            ], 100 if "%" in title else 0)
        cores, bits, rounds = (self.settings[key] for key in ("cores", "bits", "repeat"))
        rounds = "one round" if rounds == 1 else f"medians of {rounds} rounds, whiskers from least to most"
        yield "compare", draw_panels("Primepool beside other pools, on the same cores", (
            f"{self.machine['processor']}, {cores} cores; {cores} workers each, one system at a time; primes of {bits} "
            f"bits; {rounds}. The other pools compute with gmpy2. Axes with powers of ten are logarithmic: there "
            "compare figures, not lengths."
        ), [panel for panel in panels.values() if panel.bars])
        if self.nodes[-1:] > [1]:
            found = {one: [(n, self.spread(one, "primes", n)) for n in self.nodes] for one in self.pools}
            lines = [Line(SYSTEMS[one], [(n, *values) for n, values in found[one] if values], colour=COLOURS[one])
                     for one in self.pools]
            yield "nodes", Chart("Throughput by nodes", f"Primes of {bits} bits, one a task; {rounds}.", "nodes",
                                 "throughput (primes/s)", [line for line in lines if line.points], self.nodes).draw()


def spread(values):
    """Median (the upper one of an even number), least and most; None without values."""
    values = [value for value in values if value is not None]
    return (statistics.median_high(values), min(values), max(values)) if values else None


def write_comparison(folder):
    """Writes the files beside compare.json; returns the page and the Markdown."""
    comparison = read_json(folder / "compare.json", Comparison)
    last = {name: comparison.last[system] for system, name in SYSTEMS.items() if system in comparison.last}
    given = comparison.settings | {"machine": comparison.machine, "last": last, "tables": comparison.tables()}
    given |= {"failures": list(comparison.failures()), "started": moment(comparison.settings["started_ms"])}
    given["notes"] = paragraphs("comparison.txt", **given)
    pictures = dict(comparison.pictures())
    write_pictures(folder, pictures)
    markdown = TEMPLATES.get_template("comparison.md").render(given)
    (folder / "compare.md").write_text(markdown, encoding="utf-8")
    charts = {name: Markup(in_page(svg, name)) for name, (svg, _) in pictures.items()}
    title = "Primepool beside Ray, Celery and Dask"
    page = TEMPLATES.get_template("page.html").render(given, content="comparison.html", title=title, charts=charts)
    (folder / "compare.html").write_text(page, encoding="utf-8")
    return folder / "compare.html", markdown
