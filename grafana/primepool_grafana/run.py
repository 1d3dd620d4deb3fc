"""The dashboard of one run, from its start to its end."""

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from . import panels
from .influx import error_rate, mean_over_jobs, series, table, values_of, variable
from .overview import PER_SECOND

RUN = "\"run\" = '$run'"

# The stages of factoring that have counters.
CURVES = f"{RUN} AND \"stage\" = 'ecm' AND $timeFilter"
RELATIONS = f"{RUN} AND \"stage\" = 'sieve' AND $timeFilter"
LATEST = "ORDER BY time DESC LIMIT 1"


def over_time(figure: str, condition: str, source: str = '"factor"') -> str:
    return f"SELECT {figure} FROM {source} WHERE {condition} GROUP BY time($__interval) fill(null)"


def time_left(done: str, condition: str) -> str:
    """Estimated seconds until the expected number is done, at the rate of the last half minute."""
    left = f'SELECT ("expected" - "{done}") / "rate" AS "left" FROM "factor" WHERE {condition} AND "rate" > 0'
    return over_time('LAST("left")', "$timeFilter", f"({left})")


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
            # Names of runs begin with their start time: the latest comes first.
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
        # This panel is last, because it is empty unless the pool works on a single integer.
        .with_row(panels.row("Factoring of integers of more than 200 bits"))
        .with_panel(
            panels.numbers(
                "Sieve, latest",
                "The quadratic sieve in the last second that it was at work in the time shown: which of the run's integers, bits of the "
                "composite, relations of those that are needed, time left. The linear algebra follows, which takes seconds.",
                table(
                    'SELECT "job" + 1 AS "integer", "bits", "left_s" AS "left", "relations", "expected" AS "needed", '
                    f'"rate" AS "pace" FROM "factor" WHERE {RELATIONS} {LATEST}'
                ),
                {
                    "integer": ("none", panels.NEUTRAL),
                    "bits": ("none", panels.NEUTRAL),
                    "left": ("s", panels.NEUTRAL),
                    "relations": ("short", panels.NEUTRAL),
                    "needed": ("short", panels.NEUTRAL),
                    "pace": (panels.A_SECOND, panels.NEUTRAL),
                },
                width=12,
                no_value="no sieve in the time shown",
            )
        )
        .with_panel(
            panels.numbers(
                "Curves, latest",
                "The elliptic curves in the last second that they were at work in the time shown: digits of the factors that they look "
                "for, curves of those that are worth trying. They end early when one of them finds a factor.",
                table(
                    'SELECT "job" + 1 AS "integer", "bits", "digits", "curves" / "expected" AS "done", "curves", '
                    f'"expected" AS "at most", "rate" AS "pace" FROM "factor" WHERE {CURVES} {LATEST}'
                ),
                {
                    "integer": ("none", panels.NEUTRAL),
                    "bits": ("none", panels.NEUTRAL),
                    "digits": ("none", panels.NEUTRAL),
                    "done": (panels.SHARE, [(None, "green")]),
                    "curves": ("short", panels.NEUTRAL),
                    "at most": ("short", panels.NEUTRAL),
                    "pace": (panels.A_SECOND, panels.NEUTRAL),
                },
                width=12,
                no_value="no curves in the time shown",
            )
        )
        .with_panel(
            panels.lines(
                "Relations",
                "Relations of the sieve, and how many are needed. The line gets steeper: large primes pair up more and more often.",
                [
                    series(over_time('LAST("relations")', RELATIONS), "relations"),
                    series(over_time('LAST("expected")', RELATIONS), "needed"),
                ],
                "short",
                names=["relations", "needed"],
                calcs=["lastNotNull"],
            )
        )
        .with_panel(
            panels.lines(
                "Curves",
                "Elliptic curves of the level, and how many are worth trying; on the right, digits of the factors that the level looks "
                "for. A level that has found nothing is followed by one for more digits, the last one by the sieve.",
                [
                    series(over_time('LAST("curves")', CURVES), "curves"),
                    series(over_time('LAST("expected")', CURVES), "at most"),
                    series(over_time('LAST("digits")', CURVES), "digits"),
                ],
                "short",
                names=["curves", "at most"],
                steps=True,
                calcs=["lastNotNull"],
            ).override_by_name("digits", panels.on_the_right("digits"))
        )
        .with_panel(
            panels.lines(
                "Pace",
                "Relations and curves per second, each over half a minute. It falls when nodes leave, and to 0 when none is left. Curves "
                "get slower with each level.",
                [
                    series(over_time('MEAN("rate")', RELATIONS), "relations"),
                    series(over_time('MEAN("rate")', CURVES), "curves"),
                ],
                panels.A_SECOND,
                names=["relations", "curves"],
            )
        )
        .with_panel(
            panels.lines(
                "Time left",
                "Of the sieve, and of the level of curves at most, at the pace of then. The sieve's falls faster than time goes by, as "
                "relations come faster and faster. Nothing while the pace is 0.",
                [
                    series(time_left("relations", RELATIONS), "sieve"),
                    series(time_left("curves", CURVES), "ecm"),
                ],
                "s",
                names=["sieve", "ecm"],
                calcs=["lastNotNull"],
            )
        )
        .with_panel(
            panels.lines(
                "Stage",
                "What the pool works at; the height is the size of the composite. take-apart: one worker looks for small factors; ecm: "
                "elliptic curves; sieve: the quadratic sieve; linear-algebra: the producer makes factors of the relations.",
                [
                    series(
                        f'SELECT LAST("bits") FROM "factor" WHERE {RUN} AND $timeFilter GROUP BY time($__interval), "stage" fill(none)',
                        "[[tag_stage]]",
                    )
                ],
                panels.BITS,
                names=["take-apart", "ecm", "sieve", "linear-algebra"],
                bars=True,
                calcs=[],
            )
        )
        .with_panel(
            panels.lines(
                "Units outstanding",
                "Units that workers have or that wait for them: two for each worker while there are curves to run or families to sieve. "
                "Fewer for long: the producer cannot keep up with the answers.",
                [
                    series(
                        f'SELECT MEAN("outstanding") FROM "factor" WHERE {RUN} AND $timeFilter '
                        'GROUP BY time($__interval), "stage" fill(null)',
                        "[[tag_stage]]",
                    )
                ],
                "short",
                names=["take-apart", "ecm", "sieve", "linear-algebra"],
            )
        )
    )
