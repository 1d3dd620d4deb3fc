"""The dashboard of experiments: figures of whole runs against the number of workers and nodes."""

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from . import panels
from .influx import table, values_of, variable

ENDS = "\"event\" = 'end'"
CHOSEN = f'{ENDS} AND "kind" =~ /^${{kind:regex}}$/ AND "bits" =~ /^${{bits:regex}}$/'


def _means(columns: dict[str, str], by: str):
    select = ", ".join(f'MEAN("{field}") AS "{name}"' for name, field in columns.items())
    return table(f'SELECT {select} FROM "run" WHERE {CHOSEN} AND $timeFilter GROUP BY "{by}"')


def _scaling(board: builders.Dashboard, by: str, what: str) -> builders.Dashboard:
    return (
        board.with_row(panels.row(f"Against {what}"))
        .with_panel(
            panels.against(
                f"Throughput against {what}",
                "Jobs that ended well per second: the mean of the runs with as many. A straight line through the origin is perfect.",
                _means({"throughput": "jobs_per_s"}, by),
                by,
                panels.JOBS_PER_S,
                names=["throughput"],
            )
        )
        .with_panel(
            panels.against(
                f"Throughput per {by[:-1]} against {what}",
                "Throughput / their number. A level line is perfect; where it falls, something is shared: cores, clock, broker.",
                _means({"throughput": "jobs_per_s"}, by),
                by,
                panels.JOBS_PER_S,
                names=[f"per {by[:-1]}"],
                transformations=[panels.calculated("throughput", "/", by, f"per {by[:-1]}"), panels.without("throughput")],
            )
        )
        .with_panel(
            panels.against(
                f"Efficiency against {what}",
                "Busy time / (alive time × workers). Where it falls, workers wait for units.",
                _means({"efficiency": "efficiency"}, by),
                by,
                panels.SHARE,
                names=["efficiency"],
                maximum=1,
                width=8,
            )
        )
        .with_panel(
            panels.against(
                f"CPU against {what}",
                "Of the pool's processes, per cent of the cores that they may use, and of the nodes as a whole; means of the nodes.",
                _means({"pool": "pool_cpu_pct", "node": "cpu_pct"}, by),
                by,
                panels.PERCENT,
                names=["pool", "node"],
                maximum=100,
                width=8,
            )
        )
        .with_panel(
            panels.against(
                f"Memory against {what}",
                "Resident memory of the largest consumer.",
                _means({"memory": "rss_bytes"}, by),
                by,
                "bytes",
                names=["memory"],
                width=8,
            )
        )
    )


def build() -> builders.Dashboard:
    board = (
        panels.dashboard(
            "primepool-experiments",
            "Primepool: experiments",
            "Whole runs side by side, against the number of workers and of nodes. Only runs of the same kind and size compare.",
            since="now-90d",
            refresh="1m",
        )
        .with_variable(variable("kind", "Kind", values_of("kind", "run", "jobs_ok", ENDS), models.VariableSort.ALPHABETICAL_ASC))
        .with_variable(variable("bits", "Bits", values_of("bits", "run", "jobs_ok", ENDS), models.VariableSort.NUMERICAL_ASC))
    )
    board = _scaling(board, "workers", "workers")
    board = _scaling(board, "nodes", "cluster size")
    return (
        board.with_row(panels.row("Runs"))
        .with_panel(
            panels.scatter(
                "Throughput of each run",
                "A point for each run: how far runs of the same size lie apart.",
                table(f'SELECT "jobs_per_s" AS "throughput" FROM "run" WHERE {CHOSEN} AND $timeFilter GROUP BY "workers"'),
                "workers",
                "throughput",
                panels.JOBS_PER_S,
            )
        )
        .with_panel(
            panels.against(
                "Latency against workers",
                "From publication to result, over jobs: means of the runs' percentiles.",
                _means({"p50": "latency_p50_ms", "p95": "latency_p95_ms", "p99": "latency_p99_ms"}, "workers"),
                "workers",
                "ms",
                names=["p50", "p95", "p99"],
            )
        )
        .with_panel(
            panels.rows(
                "Runs",
                "Runs that ended in the time shown. A click on the name opens the run at its time.",
                [
                    table(
                        'SELECT "jobs", "jobs_per_s" AS "throughput", "elapsed_s" AS "elapsed", "error_rate" AS "error rate", '
                        '"efficiency", "latency_p95_ms" AS "latency p95", "pool_cpu_pct" AS "CPU of pool", "mem_pct" AS "memory of nodes", '
                        '"rss_bytes" AS "largest consumer", "elapsed_s" * 1000 AS "elapsed ms" '
                        f'FROM "run" WHERE {CHOSEN} AND $timeFilter GROUP BY "run", "nodes", "workers"'
                    )
                ],
                {
                    "throughput": panels.JOBS_PER_S,
                    "elapsed": "s",
                    "error rate": panels.SHARE,
                    "efficiency": panels.SHARE,
                    "latency p95": "ms",
                    "CPU of pool": panels.PERCENT,
                    "memory of nodes": panels.PERCENT,
                    "largest consumer": "bytes",
                },
                limits={"error rate": panels.ERROR_RATE, "efficiency": panels.GOOD_HIGH},
                links={
                    "run": "/d/primepool-run?var-run=${__value.text}&from=${__data.fields.began.numeric}&to=${__data.fields.Time.numeric}"
                },
                transformations=[panels.calculated("Time", "-", "elapsed ms", "began")],
                hidden=["elapsed ms", "began"],
                sort_by="Time",
                descending=True,
                height=10,
            )
        )
    )
