"""One run, from its start to its end."""

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from . import panels
from .influx import error_rate, mean_over_jobs, series, table, values_of, variable
from .overview import PER_SECOND

RUN = "\"run\" = '$run'"


def build() -> builders.Dashboard:
    return (
        panels.dashboard(
            "primepool-run",
            "Primepool: run",
            "One run: its result, its course, and each node's part in it.",
            since="now-1h",
            refresh="10s",
            condition=f"{RUN} AND",
        )
        .with_variable(
            # Names of runs begin with the time of their start: the latest comes first.
            variable("run", "Run", values_of("run", "job", "jobs"), models.VariableSort.ALPHABETICAL_DESC)
        )
        .with_panel(
            panels.numbers(
                "Result",
                "The figures that the producer wrote when the run ended: exact, over all jobs.",
                table(
                    'SELECT "jobs_ok" AS "ok", "jobs_failed" AS "failed", "jobs_rejected" AS "rejected", "elapsed_s" AS "elapsed", '
                    '"jobs_per_s" AS "throughput", "error_rate" AS "error rate", "efficiency", "latency_p50_ms" AS "latency p50", '
                    '"latency_p95_ms" AS "latency p95", "latency_p99_ms" AS "latency p99", "pool_cpu_pct" AS "CPU of pool", '
                    '"mem_pct" AS "memory of nodes", "rss_bytes" AS "largest consumer" '
                    f'FROM "run" WHERE {RUN} AND "event" = \'end\' AND $timeFilter ORDER BY time DESC LIMIT 1'
                ),
                {
                    "ok": ("short", [(None, "green")]),
                    "failed": ("short", [(None, "green"), (1, "red")]),
                    "rejected": ("short", [(None, "green"), (1, "red")]),
                    "elapsed": ("s", panels.NEUTRAL),
                    "throughput": (panels.JOBS_PER_S, [(None, "green")]),
                    "error rate": (panels.SHARE, panels.ERROR_RATE),
                    "efficiency": (panels.SHARE, panels.GOOD_HIGH),
                    "latency p50": ("ms", panels.NEUTRAL),
                    "latency p95": ("ms", panels.NEUTRAL),
                    "latency p99": ("ms", panels.NEUTRAL),
                    "CPU of pool": (panels.PERCENT, panels.NEUTRAL),
                    "memory of nodes": (panels.PERCENT, panels.NEUTRAL),
                    "largest consumer": ("bytes", panels.NEUTRAL),
                },
                no_value="has not ended in the time shown",
            )
        )
        .with_row(panels.row("Course"))
        .with_panel(
            panels.lines(
                "Throughput by node",
                "Jobs that ended well per second, stacked.",
                [
                    series(
                        f'SELECT SUM("jobs") {PER_SECOND} AS "throughput" FROM "job" '
                        f"WHERE {RUN} AND \"outcome\" = 'ok' AND $timeFilter "
                        'GROUP BY time($__interval), "node" fill(0)',
                        "[[tag_node]]",
                    )
                ],
                panels.JOBS_PER_S,
                stacked=True,
            )
        )
        .with_panel(
            panels.lines(
                "Jobs done",
                "Jobs that ended since the left edge of the time shown, by outcome.",
                [
                    series(
                        f'SELECT CUMULATIVE_SUM(SUM("jobs")) AS "done" FROM "job" WHERE {RUN} AND $timeFilter '
                        'GROUP BY time($__interval), "outcome" fill(0)',
                        "[[tag_outcome]]",
                    )
                ],
                "short",
                names=["ok", "failed", "rejected"],
                stacked=True,
                calcs=["lastNotNull"],
            )
        )
        .with_panel(
            panels.lines(
                "Latency",
                "From publication to result: percentiles over answers (see Result for those over jobs). A straight rise: all units "
                "were published at once and the last had to wait for all others.",
                [
                    series(
                        'SELECT PERCENTILE("latency_ms", 50) AS "p50", PERCENTILE("latency_ms", 95) AS "p95", '
                        f'PERCENTILE("latency_ms", 99) AS "p99" FROM "job" WHERE {RUN} AND $timeFilter '
                        "GROUP BY time($__interval) fill(null)",
                        "[[col]]",
                    )
                ],
                "ms",
                names=["p50", "p95", "p99"],
            )
        )
        .with_panel(
            panels.lines(
                "Where the time goes",
                "Queue wait: latency without the compute time of the whole unit. Compute: of one job. Means over jobs.",
                [
                    series(mean_over_jobs("queue_wait_ms", RUN, "GROUP BY time($__interval) fill(null)"), "queue wait"),
                    series(mean_over_jobs("compute_ms", RUN, "GROUP BY time($__interval) fill(null)"), "compute"),
                ],
                "ms",
                names=["queue wait", "compute"],
            )
        )
        .with_panel(
            panels.lines(
                "Compute time by node",
                "Of a worker for a job, mean over jobs. A node far above the others: slower cores, or others use them.",
                [series(mean_over_jobs("compute_ms", RUN, 'GROUP BY time($__interval), "node" fill(null)'), "[[tag_node]]")],
                "ms",
            )
        )
        .with_panel(
            panels.lines(
                "Candidates per job",
                "Numbers that were tested for each job. Its mean is known for a size and kernel: a node that is off among its like is "
                "at fault.",
                [
                    series(
                        f'SELECT SUM("candidates") / SUM("jobs") AS "candidates" FROM "job" WHERE {RUN} AND $timeFilter '
                        'GROUP BY time($__interval), "node" fill(null)',
                        "[[tag_node]]",
                    )
                ],
                "short",
            )
        )
        .with_panel(
            panels.lines(
                "Error rate",
                "Jobs that did not end well / jobs that ended.",
                [series(error_rate(RUN), "[[col]]")],
                panels.SHARE,
                names=["error rate"],
                limits=[(None, "transparent"), (0.01, "red")],
            )
        )
        .with_panel(
            panels.lines(
                "Jobs handed out again",
                "Jobs whose unit the broker had delivered before: a consumer died, lost its connection or gave units back.",
                [
                    series(
                        f'SELECT SUM("redelivered") AS "redelivered" FROM "job" WHERE {RUN} AND $timeFilter '
                        'GROUP BY time($__interval), "node" fill(0)',
                        "[[tag_node]]",
                    )
                ],
                "short",
                bars=True,
                stacked=True,
                calcs=["sum"],
            )
        )
        .with_row(panels.row("Outcomes and nodes"))
        .with_panel(
            panels.rows(
                "Outcomes",
                "Jobs by outcome in the time shown. Latency and wait are means over answers.",
                [
                    table(
                        'SELECT SUM("jobs") AS "jobs", MEAN("latency_ms") AS "latency", MEAN("queue_wait_ms") AS "queue wait", '
                        'SUM("redelivered") AS "handed out again" '
                        f'FROM "job" WHERE {RUN} AND $timeFilter GROUP BY "outcome"'
                    )
                ],
                {"latency": "ms", "queue wait": "ms"},
                width=12,
                sort_by="jobs",
                descending=True,
            )
        )
        .with_panel(
            panels.rows(
                "Nodes",
                "Each node's part in the time shown. Fast nodes take more units by themselves.",
                [
                    table(
                        f"""SELECT SUM("jobs") AS "jobs", SUM("sum") / SUM("jobs") AS "compute",
                        SUM("candidates") / SUM("jobs") AS "candidates per job", SUM("redelivered") AS "handed out again"
                        FROM (SELECT "jobs", "compute_ms" * "jobs" AS "sum", "candidates", "redelivered" FROM "job"
                              WHERE {RUN} AND $timeFilter)
                        WHERE $timeFilter GROUP BY "node\""""
                    )
                ],
                {"compute": "ms"},
                links={"node": "/d/primepool-nodes?var-node=${__value.text}&${__url_time_range}"},
                width=12,
                sort_by="jobs",
                descending=True,
            )
        )
    )
