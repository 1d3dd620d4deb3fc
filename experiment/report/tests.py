"""Tests of the reports: python -m unittest discover -s experiment/report -p 'tests.py'"""

import json
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import comparison
import law
from experiment import write_report
from pictures import Chart, Line, in_page
from records import Study
from sources import Folder, Influx, record_of_json
from text import ReportError, number, plain
from words import find_bounds, paragraphs

MACHINE = {"processor": 'A <fast> & "new" one', "cores": 8, "memory_bytes": 16_000_000_000, "system": "Linux",
           "version": "0.1.0", "kernel": "portable"}
SETTINGS = {"nodes": [1, 2, 4], "workers": [1, 2], "bits": 1024, "count": 500, "repeat": 3, "seed": 7,
            "min_time_s": 5.0, "cpus_per_node": 2.0, "launcher": "process", "started_ms": 1_700_000_000_000,
            "machine": MACHINE, "kind": "prime"}
BASELINE = {"bits": 1024, "cores": 2.0, "jobs_per_s": [104.0, 103.5, 105.0], "together": {"2": [205.25, 204.0]}}


def record(nodes, workers, repeat, **changes):
    rate = 50 * workers * nodes / (1 + 0.04 * (nodes - 1) + 0.01 * nodes * (nodes - 1)) * (1 + 0.01 * repeat)
    times = {"p50": 100.0, "p95": 250.0, "p99": 400.0, "max": 900.0, "mean": 120.5}
    jobs = int(rate * 10) // nodes
    run = {"folder": f"runs/{nodes}{workers}{repeat}", "jobs": jobs * nodes, "elapsed_s": 10.0, "jobs_per_s": rate,
           **{f"{of}_{which}_ms": ms for of in ("latency", "queue_wait") for which, ms in times.items()},
           "error_rate": 0.0, "efficiency": 0.97, "cpu_pct": 48.0 * workers, "rss_bytes": 15e6 + repeat,
           "consumer_cpu_s": 9.6 * nodes * workers, "producer_cpu_s": 0.5, "broker_cpu_s": 2.0, "joined_s": 0.8,
           "queue_length": 4.5,
           "node_jobs_least": jobs, "node_jobs_median": jobs, "node_jobs_most": jobs, "node_jobs_deviation": 0.0,
           "nodes_idle": 0}
    return {"nodes": nodes, "workers": workers, "repeat": repeat, "started_ms": 1, "measured": run | changes}


def failed(nodes, workers, repeat, reason):
    return {"nodes": nodes, "workers": workers, "repeat": repeat, "started_ms": 2, "failed": reason}


def all_records():
    return [record(nodes, workers, repeat) for nodes in (1, 2, 4) for workers in (1, 2) for repeat in range(3)]


def study(records, baseline=None, **settings):
    return Study(SETTINGS | settings, [record_of_json(one) for one in records], baseline)


def fake_draw(chart):
    return "<svg ></svg>", chart.title.encode()


class Base(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, records, baseline=None):
        (self.folder / "settings.json").write_text(json.dumps(SETTINGS))
        (self.folder / "records.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records) + '{"cut sho')
        if baseline:
            (self.folder / "baseline.json").write_text(json.dumps(baseline))

    def report(self, source, to="report", draw=fake_draw):
        with mock.patch.object(Chart, "draw", draw):
            page, words = write_report(source, self.folder / to)
        return page.read_text(), "\n".join(words)

    def assert_holds(self, whole, *parts):
        for part in parts:
            self.assertIn(part, whole)


class Records(Base):
    def test_medians_ranges_and_the_latest_record(self):
        one = study([record(1, 1, 0, jobs_per_s=9.0), *all_records()]).configurations[0]
        self.assertEqual(vars(one.throughput), {"median": 50.5, "least": 50.0, "most": 51.0})
        self.assertEqual(one.median_run.folder, "runs/111")
        self.assertEqual(study([record(1, 1, 0), record(1, 1, 1)]).best.throughput.median, 50.25)
        found = study([failed(1, 1, 0, "no broker"), record(1, 1, 0), failed(1, 2, 0, "gone")])
        self.assertEqual([one.reason for one in found.failures], ["gone"])
        with self.assertRaisesRegex(ReportError, "no measurement succeeded.* no broker"):
            study([failed(1, 1, 0, "no broker")])

    def test_ceiling(self):
        ceiling = study(all_records(), {"bits": 1024, "cores": 2.0, "jobs_per_s": [104.0], "together": {"2": [200.0]}}).ceiling
        self.assertEqual((ceiling.per_core, ceiling.per_core_beside(2), ceiling.per_core_beside(4)), (52.0, 50.0, 52.0))
        self.assertEqual((ceiling.cores(3, 1), ceiling.cores(3, 4), ceiling.cores(9, 4)), (3.0, 6.0, 8.0))
        ceiling = study(all_records(), {"bits": 512, "cores": 2.0, "jobs_per_s": [104.0], "together": {}}).ceiling
        self.assertEqual((ceiling.per_core, ceiling.is_baseline), (50.5, False))
        self.assert_holds(ceiling.source, "the baseline is of 512 bits, the experiment of 1024")
        launcher = {"command": {"words": ["ssh", "{host}"], "hosts": ["a"]}}
        self.assertEqual(study(all_records(), launcher=launcher, cpus_per_node=None).ceiling.cores(9, 2), 18.0)

    def test_law(self):
        truth = law.Fit(100.0, 0.08, 0.002, 1.0, None, 6)
        fit = law.fit([(n, truth.at(n)) for n in (1, 2, 4, 8, 16, 32)])
        for found, known in ((fit.lambda_, 100), (fit.sigma, 0.08), (fit.kappa, 0.002), (fit.peak, 21.447)):
            self.assertAlmostEqual(found / known, 1, 4)
        fit = law.fit([(1, 10.0), (2, 20.1), (4, 40.5), (8, 82.0)])
        self.assertEqual((fit.sigma, fit.kappa, fit.peak), (0, 0, None))
        self.assertIsNone(law.fit([(1, 10.0), (1, 11.0), (2, 19.0)]))

    def test_what_bounds_it(self):
        idle = {"consumer_cpu_s": 1.0, "cpu_pct": 10.0, "efficiency": 0.9}
        uneven = {"node_jobs_least": 100, "node_jobs_most": 900, "jobs": 1000}
        for cause, changes in {
            "cpu": {}, "machine": {"producer_cpu_s": 74.0, "consumer_cpu_s": 0.0}, "unknown": idle,
            "broker": idle | {"broker_cpu_s": 9.0}, "producer": idle | {"producer_cpu_s": 9.0},
            "imbalance": idle | uneven,
        }.items():
            (bound,) = find_bounds(study([record(2, 2, 0, **changes)]))
            self.assertEqual(bound["cause"], cause, bound["verdict"])
        found = find_bounds(study([record(2, 2, 0), record(2, 6, 0, jobs_per_s=90.0)], cpus_per_node=None))
        self.assertEqual([bound["cause"] for bound in found], ["cpu", "crowding"])


class Reports(Base):
    def test_all_that_a_report_has(self):
        self.write([*all_records(), failed(4, 2, 3, "the broker <went> away")], BASELINE)
        (self.folder / "report/cluster_size_9").mkdir(parents=True)
        page, words = self.report(Folder(self.folder))
        files = {path.stem for path in (self.folder / "report").rglob("*.svg")}
        self.assertLessEqual({"queue_length_vs_cluster_size", "avg_cpu_vs_total_workers"}, files)
        self.assertEqual(len(list((self.folder / "report").rglob("*.png"))), 2 + 5 * 7)
        self.assertFalse((self.folder / "report/cluster_size_9").exists())
        self.assert_holds(page, "the broker &lt;went&gt; away", "A &lt;fast&gt; &amp; &#34;new&#34; one")
        self.assert_holds(
            words, "configuration is 4 nodes × 2 workers: 326 primes/s", "σ = 0.04, coherence κ = 0.01", "N* = 9.8",
            "bounds 4 nodes × 2 workers: the CPU time of the consumers", "Knee with 2 workers per node: at 2 nodes",
            "2 cores the peak is at 2 workers each; others reach of its throughput: 1 worker 50.0 %.",
            "no node went without", "1 failed and is left out")
        rows = (self.folder / "report/configurations.csv").read_text().splitlines()
        self.assertEqual((len(rows), rows[1][:15]), (7, "1,1,1,1,52,3,50"))

    def test_one_configuration_is_drawn(self):
        self.write([record(1, 1, 0)])
        page, words = self.report(Folder(self.folder), draw=Chart.draw)
        self.assertEqual(page.count("<svg "), 2 + 2 * 7)
        self.assertNotIn("http", page.replace("http://www.w3.org/", ""))
        self.assert_holds(words, "also the smallest", "No fit of the Universal", "no measurement failed")

    def test_factoring_and_numbers(self):
        found = study(all_records(), kind="factor")
        self.assert_holds(paragraphs("words.txt", study=found, bounds=find_bounds(found))[0], "326 numbers/s")
        shown = [number(value) for value in (0.0, 2.0, 0.003_612, 1e-6, 12.34, 12_345.0)]
        self.assertEqual(shown, ["0", "2", "0.00361", "1.0e-6", "12.3", "12\u202f345"])
        self.assertEqual([plain(1e-7), plain(2.0)], ["0.0000001", "2"])

    def test_pictures_are_the_same_each_time_and_escaped(self):
        lines = [Line("<n>", [(1, 2, 1, 3), (2, 3)]), Line("m", [(1, 1)], colour=1)]
        svg, again = (Chart("a < b & $c$", "", "x", "y", lines).draw()[0] for _ in range(2))
        self.assertEqual(svg, again)
        self.assert_holds(svg, ">a &lt; b &amp; $c$</text>", ">&lt;n&gt;</text>", "#0072b2")
        self.assertNotIn("#0072b2", in_page(svg, 1))


def influx_points(folder):
    """Tags and fields by time. Whole numbers are integers, as InfluxDB may return them."""
    tags = {"experiment": "one", "nodes": "9", "workers": "9", "part": "record"}
    yield tags, {}  # of an earlier experiment of the same name
    for part, document in (("settings", SETTINGS), ("baseline", BASELINE)):
        yield {"experiment": "one", "part": part}, {"document": json.dumps(document)}
    for one in Folder(folder).recorded()[1]:
        fields = {"reason": one.reason, "repeat": one.repeat, "started_ms": one.started_ms}
        for key, value in vars(one.run).items() if one.run else ():
            fields[key] = int(value) if isinstance(value, float) and value.is_integer() else value
        yield tags | {"nodes": str(one.nodes), "workers": str(one.workers)}, fields


class FromInflux(Base):
    def test_the_report_is_the_same(self):
        self.write([*all_records(), failed(1, 1, 7, "it's gone")], BASELINE)
        points, seen = list(influx_points(self.folder)), []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                query = parse_qs(urlsplit(self.path).query)
                seen.append((self.headers["Authorization"], query["db"], query["epoch"]))
                is_known = "\"experiment\" = 'one'" in query["q"][0]
                series = [{"tags": tags, "columns": ["time", "none", *fields], "values": [[at_ns, None, *fields.values()]]}
                          for at_ns, (tags, fields) in enumerate(points * is_known)]
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps({"results": [{"series": series} if series else {}]}).encode())

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        environment = {"INFLUX_HOST": f"http://127.0.0.1:{server.server_port}/", "INFLUX_TOKEN": "user:s3cr3t"}
        self.report(Folder(self.folder), "folder")
        self.report(Influx(environment, "one"), "influx")
        for name in ("measurements.csv", "configurations.csv", "report.html"):
            self.assertEqual(*((self.folder / source / name).read_text() for source in ("folder", "influx")))
        self.assertEqual(seen[0], ("Basic dXNlcjpzM2NyM3Q=", ["primepool"], ["ns"]))
        with self.assertRaisesRegex(ReportError, "knows no experiment other"):
            Influx(environment, "other").recorded()
        with self.assertRaisesRegex(ReportError, "does not answer queries: .*refused"):
            Influx(environment | {"INFLUX_HOST": "http://127.0.0.1:1"}, "one").recorded()


class Comparisons(Base):
    def test_a_failed_system_and_several_nodes(self):
        def one(turn, system, per_s, nodes=1):
            packed = {"primes_packed": {"per_s": 2 * per_s}} if system == "primepool" else {}
            figures = {"how": "as told", "primes": {"per_s": per_s}} | packed
            return {"round": turn, "system": system, "nodes": nodes, "measured": figures}

        settings = {"bits": 1024, "seed": 7, "repeat": 3, "min_time_s": 1.0, "round_trips": 10, "cores": 2,
                    "broker_is_counted": True, "started_ms": 0}
        rates = {"primepool": 400, "ray": 40, "engine": 1000, "gmpy2": 50}
        # The machine is twice as fast in the second round: ratios must not notice.
        records = [one(turn, system, (1, 2, 1)[turn] * rates[system]) for turn in range(3) for system in rates]
        records += [one(0, "primepool", 600, 2), {"round": 0, "system": "dask", "failed": "not <there>"}]
        data = {"settings": settings, "machine": MACHINE, "records": records}
        (self.folder / "compare.json").write_text(json.dumps(data))
        page, markdown = comparison.write_comparison(self.folder)
        self.assert_holds(
            markdown, "| median (range) | Primepool | Ray | Dask | engine, bare loop | gmpy2, bare loop |",
            "| primes/s, one a task | 400 (400–800) | 40 (40–80) | – | 1000 (1000–2000) | 50 (50–100) |",
            "| % of its bare loop, packed | 80 (80–80) | – | – | – | – |", "| 2 nodes | 600 (600–600); 75 % | – | – |",
            "| primes/s, packed (Primepool's default) | 20 (20–20) |", "**Dask failed** in round 1: not <there>")
        self.assert_holds(page.read_text(), "Dask in round 1: not &lt;there&gt;")
        self.assertTrue((self.folder / "nodes.svg").exists() and (self.folder / "compare.png").exists())


if __name__ == "__main__":
    unittest.main()
