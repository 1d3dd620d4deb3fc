"""Reads what an experiment recorded, from its folder or from InfluxDB. Both give the same."""

import base64
import http.client
import json
import re
import statistics
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from urllib.parse import urlencode

from text import ReportError

OF_A_RUN = ("job", "node", "queue", "run")
"""Measurements that tell of a run."""
PERCENTILES = [f"{of}_{which}_ms" for of in ("latency", "queue_wait") for which in ("p50", "p95", "p99", "max", "mean")]
FIGURES = [
    *("jobs", "elapsed_s", "primes_per_s", *PERCENTILES, "error_rate", "node_efficiency", "cpu_pct", "rss_bytes"),
    *("consumer_cpu_s", "producer_cpu_s", "broker_cpu_s", "joined_s"),
    *("node_jobs_least", "node_jobs_median", "node_jobs_most", "node_jobs_deviation", "nodes_idle"),
]
MACHINE = ("processor", "cores", "memory_bytes", "system", "version", "kernel")
RENAMED = {"jobs_per_s": "primes_per_s", "efficiency": "node_efficiency"}
"""Fields whose names differ from those of records.jsonl."""
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)


class Point(NamedTuple):
    measurement: str
    tags: dict
    fields: dict
    at_ns: int


class Folder:
    def __init__(self, folder):
        self.folder = Path(folder)

    def recorded(self):
        """Settings, records, and the baseline or None."""
        records = lines_of(self.folder / "records.jsonl", lambda line: record_of_json(json.loads(line)))
        if not records:
            raise ReportError(f"{self.folder} holds no records: run `experiment run` first")
        settings, baseline = read_json(self.folder / "settings.json", settings_of), self.folder / "baseline.json"
        return settings, records, read_json(baseline, baseline_of_json) if baseline.exists() else None

    def points(self, run, measurements=OF_A_RUN):
        prefixes = tuple(f"{measurement}," for measurement in measurements)
        points = lines_of(self.folder / run.folder / "metrics.lp", point_of_line, prefixes)
        return sorted(points, key=lambda point: point.at_ns)


class Influx:
    """An experiment in the InfluxDB that the environment names. No error holds the token."""

    def __init__(self, environment, name):
        host, self.name = environment.get("INFLUX_HOST", "").strip().rstrip("/"), name
        bucket = environment.get("INFLUX_BUCKET", "").strip() or "primepool"
        address = re.fullmatch(r"https?://(\[[\da-fA-F:]+\]|[^][:/?#@]+)(:\d+)?(/[^?#@]*)?", host)
        if not address:
            raise ReportError("--influx needs INFLUX_HOST as http://HOST:8086, without a user, and INFLUX_TOKEN")
        file = environment.get("INFLUX_TOKEN_FILE")
        token = (read(Path(file)) if file else environment.get("INFLUX_TOKEN", "")).strip("\ufeff \r\n")
        # Only the credentials of InfluxDB 1.x have a colon.
        scheme = f"Basic {base64.b64encode(token.encode()).decode()}" if ":" in token else f"Token {token}"
        self.headers = {"Authorization": scheme} if token else {}
        database, _, policy = bucket.partition("/")
        self.parameters = {"db": database, "epoch": "ns"} | ({"rp": policy} if policy else {})
        self.url, self.server = f"{host}/query", f"{host}, bucket {bucket}"
        is_loopback = address[1] in ("localhost", "[::1]") or address[1].startswith("127.")
        self.opener = urllib.request.build_opener(NoRedirect, *[urllib.request.ProxyHandler({})] * is_loopback)

    def recorded(self):
        """Settings, records, and the baseline or None."""
        points = self.query("experiment", "experiment", self.name)
        asked = next((point for point in reversed(points) if point.tags.get("part") == "settings"), None)
        if asked is None:
            raise ReportError(
                f"{self.server} knows no experiment {self.name}: name the folder that `experiment run` made while "
                "INFLUX_HOST was set, without the path; or import the files metrics.lp of that folder and its runs"
            )
        # Earlier points belong to another experiment of the same name.
        since = [point for point in points if point.at_ns >= asked.at_ns]
        try:
            lists = {key: [int(one) for one in asked.fields[f"all_{key}"].split(",")] for key in ("nodes", "workers")}
            fields = asked.fields | lists | {"launcher": json.loads(asked.fields["launcher"]), "machine": asked.fields}
            settings, records = settings_of(fields), []
            for point in since:
                fields = {RENAMED.get(key, key): value for key, value in point.fields.items()}
                records += [record_of(fields | point.tags)] if point.tags.get("part") == "record" else []
            baselines = [baseline_of_fields(point.fields) for point in since if point.tags.get("part") == "baseline"]
        except UNREADABLE as error:
            raise ReportError(f"the points of {self.name} in {self.server} cannot be read: {error!r}") from error
        if not records:
            raise ReportError(f"{self.server} holds no records of {self.name}: run `experiment run` first")
        return settings, records, baselines[-1] if baselines else None

    def points(self, run, measurements=OF_A_RUN):
        name = run.folder.rsplit("/", 1)[-1]
        points = [point for measurement in measurements for point in self.query(measurement, "run", name)]
        if not points:
            raise ReportError(f"{self.server} has no points of run {name}")
        return sorted(points, key=lambda point: point.at_ns)

    def query(self, measurement, tag, value):
        """The points of a measurement with this value of a tag."""
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        influxql = f"""SELECT * FROM "{measurement}" WHERE "{tag}" = '{quoted}' GROUP BY *"""
        try:
            url = f"{self.url}?{urlencode(self.parameters | {'q': influxql})}"
            with self.opener.open(urllib.request.Request(url, headers=self.headers), timeout=30) as response:
                results = json.load(response)["results"]
            error = next((result["error"] for result in results if "error" in result), None)
        except urllib.error.HTTPError as failure:
            error = f"{failure}: {failure.read(300).decode(errors='replace').strip()}"
        except (OSError, http.client.HTTPException, *UNREADABLE) as failure:
            error = getattr(failure, "reason", failure)
        if error:
            raise ReportError(f"{self.server} does not answer queries: {error}")
        points = []
        for series in (series for result in results for series in result.get("series", [])):
            for at_ns, *row in series["values"]:
                fields = {key: value for key, value in zip(series["columns"][1:], row) if value is not None}
                points.append(Point(measurement, series.get("tags", {}), fields, at_ns))
        return sorted(points, key=lambda point: point.at_ns)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would hand the token to another server."""

    def redirect_request(self, *_):
        return None


def read(path):
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ReportError(f"there is no {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"cannot read {path}: {error}") from error


def read_json(path, build):
    """What is built of the file."""
    try:
        return build(json.loads(read(path)))
    except UNREADABLE as error:
        raise ReportError(f"{path} cannot be read: {error!r}") from error


def lines_of(path, build, prefixes=("",)):
    """What is built of each line that has a prefix. The last line does not count if it was cut short."""
    built, lines = [], read(path).split("\n")
    for place, line in enumerate(lines, 1):
        try:
            built += [build(line)] if line and line.startswith(prefixes) else []
        except UNREADABLE as error:
            if place < len(lines):
                raise ReportError(f"{path}, line {place} cannot be read: {error!r}") from error
    return built


def settings_of(data):
    """The keys that a report uses. Numbers from InfluxDB may be integers or texts."""
    cpus = data.get("cpus_per_node")
    return {key: data[key] for key in ("nodes", "workers", "bits", "count", "repeat", "started_ms")} | {
        "kind": data.get("kind", "prime"),
        "seed": int(data["seed"]),
        "min_time_s": float(data["min_time_s"]),
        "cpus_per_node": None if cpus is None else float(cpus),
        "launcher": data.get("launcher", "process"),
        "machine": {key: data["machine"][key] for key in MACHINE},
    }


def baseline_of_json(data):
    together = {int(nodes): rates for nodes, rates in data.get("together", {}).items()}
    return {"bits": data["bits"], "cores": data["cores"], "rates": data["primes_per_s"], "together": together}


def baseline_of_fields(fields):
    lists = {"0": fields["rates"]} | dict(one.split(":") for one in fields.get("together", "").split(";") if one)
    together = {int(nodes): [float(rate) for rate in rates.split(",") if rate] for nodes, rates in lists.items()}
    cores = float(fields["share_cores"])
    return {"bits": fields["bits"], "cores": cores, "rates": together.pop(0), "together": together}


def record_of_json(data):
    run = data.get("measured")
    if run is None:
        return record_of(data | {"reason": data["failed"]})
    parts = [name.rsplit("_", 2) for name in PERCENTILES]
    percentiles = {f"{of}_{which}_ms": run[f"{of}_ms"][which] for of, which, _ in parts}
    return record_of(data | run | percentiles | dispatch([jobs for _, jobs in run["jobs_by_node"]], data["nodes"]))


def record_of(fields):
    """A measurement. Its `run` is None if it failed, for a `reason`."""
    numbers = {key: int(fields[key]) for key in ("nodes", "workers", "repeat", "started_ms")}
    record = SimpleNamespace(run=None, reason=fields.get("reason"), **numbers)
    if "folder" in fields:
        without = {"broker_cpu_s": None} if fields.get("broker_cpu_s") is None else {}
        figures = {name: float(fields[name]) for name in FIGURES if name not in without} | without
        # The program that wrote the point may round the last digit another way.
        figures["node_jobs_deviation"] = round(figures["node_jobs_deviation"], 9)
        record.run = SimpleNamespace(folder=fields["folder"], queue_length=None, **figures)
    return record


def dispatch(jobs, nodes):
    """How evenly the nodes got jobs. A node without any is missing in `jobs`."""
    jobs = sorted(jobs + [0] * (nodes - len(jobs)))
    mean, middle = statistics.fmean(jobs), jobs[len(jobs) // 2]
    deviation = statistics.pstdev(jobs) / mean if mean else 0
    return {"node_jobs_least": jobs[0], "node_jobs_median": middle, "node_jobs_most": jobs[-1],
            "node_jobs_deviation": deviation, "nodes_idle": jobs.count(0)}


# InfluxDB's line protocol: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
KEY, VALUE = r"(?:\\.|[^\\,= ])+", r"(?:\\.|[^\\, ])+"
POINT = re.compile(rf"({VALUE})((?:,{KEY}={VALUE})*) +(.+) +(-?\d+)\s*")
FIELD = re.compile(rf'({KEY})=(?:"((?:\\.|[^"\\])*)"|([-+.\d][^," ]*)|(t|T|true|True|TRUE)|f|F|false|False|FALSE)(,|$)')


def point_of_line(line):
    """Raises an error if the line is not of the protocol."""
    measurement, tags, rest, at_ns = POINT.fullmatch(line).groups()
    fields, at, more = {}, 0, ","
    while more:
        field = FIELD.match(rest, at)
        key, text, figure, is_true, more = field.groups()
        at, value = field.end(), bool(is_true) if text is None else re.sub(r'\\(["\\])', r"\1", text)
        if figure:
            value = int(figure[:-1]) if figure[-1] in "iu" else float(figure)
        fields[unescaped(key)] = value
    tags = {unescaped(key): unescaped(value) for key, value in re.findall(rf",({KEY})=({VALUE})", tags)}
    return Point(unescaped(measurement), tags, fields, int(at_ns))


def unescaped(text):
    return re.sub(r"\\([,= ])", r"\1", text)
