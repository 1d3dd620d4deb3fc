"""Reads what an experiment recorded, from its folder or from InfluxDB. Both give the same."""

import base64
import http.client
import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from urllib.parse import urlencode

from text import ReportError

FIGURES = [
    *("jobs", "elapsed_s", "jobs_per_s"),
    *(f"{of}_{which}_ms" for of in ("latency", "queue_wait") for which in ("p50", "p95", "p99", "max", "mean")),
    *("error_rate", "efficiency", "cpu_pct", "rss_bytes"),
    *("consumer_cpu_s", "producer_cpu_s", "broker_cpu_s", "queue_length", "joined_s"),
    *("node_jobs_least", "node_jobs_median", "node_jobs_most", "node_jobs_deviation", "nodes_idle"),
]
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)


class Point(NamedTuple):
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
        settings, baseline = read_json(self.folder / "settings.json"), self.folder / "baseline.json"
        return settings, records, read_json(baseline) if baseline.exists() else None


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
        points = self.query()
        asked = next((point for point in reversed(points) if point.tags.get("part") == "settings"), None)
        if asked is None:
            raise ReportError(
                f"{self.server} knows no experiment {self.name}: name the folder that `experiment run` made while "
                "INFLUX_HOST was set, without the path; or import metrics.lp of that folder"
            )
        # Earlier points belong to another experiment of the same name.
        since = [point for point in points if point.at_ns >= asked.at_ns]
        try:
            settings = json.loads(asked.fields["document"])
            records = [record_of(point.fields | point.tags) for point in since if point.tags.get("part") == "record"]
            baselines = [point.fields["document"] for point in since if point.tags.get("part") == "baseline"]
            baseline = json.loads(baselines[-1]) if baselines else None
        except UNREADABLE as error:
            raise ReportError(f"the points of {self.name} in {self.server} cannot be read: {error!r}") from error
        if not records:
            raise ReportError(f"{self.server} holds no records of {self.name}: run `experiment run` first")
        return settings, records, baseline

    def query(self):
        """The points of the experiment, sorted by time."""
        quoted = self.name.replace("\\", "\\\\").replace("'", "\\'")
        influxql = f"""SELECT * FROM "experiment" WHERE "experiment" = '{quoted}' GROUP BY *"""
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
                points.append(Point(series.get("tags", {}), fields, at_ns))
        return sorted(points, key=lambda point: point.at_ns)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, which would send the token to another server."""

    def redirect_request(self, *_):
        return None


def read(path):
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ReportError(f"there is no {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"cannot read {path}: {error}") from error


def read_json(path, build=lambda data: data):
    """The result of `build` for the content of the file."""
    try:
        return build(json.loads(read(path)))
    except UNREADABLE as error:
        raise ReportError(f"{path} cannot be read: {error!r}") from error


def lines_of(path, build):
    """The results of `build` for all lines. A truncated last line does not count."""
    built, lines = [], read(path).split("\n")
    for place, line in enumerate(lines, 1):
        try:
            built += [build(line)] if line else []
        except UNREADABLE as error:
            if place < len(lines):
                raise ReportError(f"{path}, line {place} cannot be read: {error!r}") from error
    return built


def record_of_json(data):
    return record_of(data | data.get("measured", {}) | {"reason": data.get("failed")})


def record_of(fields):
    """A measurement. If it failed, `run` is None and `reason` says why."""
    numbers = {key: int(fields[key]) for key in ("nodes", "workers", "repeat", "started_ms")}
    record = SimpleNamespace(run=None, reason=fields.get("reason"), **numbers)
    if "folder" in fields:
        figures = {name: None if fields.get(name) is None else float(fields[name]) for name in FIGURES}
        record.run = SimpleNamespace(folder=fields["folder"], **figures)
    return record
