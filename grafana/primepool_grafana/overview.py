"""The overview of the pool: rate, errors and duration of jobs, queues, and nodes."""

from grafana_foundation_sdk.builders import dashboard as builders

from . import panels
from .influx import (
    JOB_QUEUES,
    NODE_INTERVAL,
    efficiency_by_node,
    efficiency_of_all,
    error_rate,
    queue_length,
    series,
    table,
)

PER_SECOND = "* 1000.0 / $__interval_ms"

# Twice the longest time between two points of a node.
ALIVE_INTERVAL = "15s"


def build() -> builders.Dashboard:
    return (
        panels.dashboard(
            "primepool-overview",
            "Primepool: overview",
            "Jobs by rate, errors and duration; the queues; the nodes as a whole.",
            since="now-30m",
            refresh="10s",
        )
        .with_panel(
            panels.number(
                "Throughput",
                "Jobs that ended well per second: the mean over the time shown.",
                series(
                    f'SELECT SUM("jobs") {PER_SECOND} AS "throughput" FROM "job" WHERE "outcome" = \'ok\' AND $timeFilter '
                    "GROUP BY time($__interval) fill(0)",
                    "[[col]]",
                ),
                panels.JOBS_PER_S,
                calc="mean",
                limits=[(None, "green")],
            )
        )
        .with_panel(
            panels.number(
                "Error rate",
                "Jobs that failed or were rejected / jobs that ended, over the time shown. Above 1 % an alert fires.",
                table(error_rate(over_time=False)),
                panels.SHARE,
                limits=panels.ERROR_RATE,
                decimals=2,
                no_value="no jobs",
            )
        )
        .with_panel(
            panels.number(
                "Queue length",
                "Units that wait or are being worked on, in all job queues: ready + unacknowledged. Without RabbitMQ's management "
                "API the unacknowledged ones are not known and the number is of the waiting ones alone.",
                series(
                    queue_length(),
                    "[[col]]",
                ),
                "short",
                decimals=0,
                interval=NODE_INTERVAL,
            )
        )
        .with_panel(
            panels.number(
                "Nodes alive",
                "Nodes that reported in the last 30 seconds; in the whole time shown, if that is a fixed one.",
                table(
                    'SELECT COUNT("workers") AS "nodes" FROM '
                    '(SELECT LAST("workers") AS "workers" FROM "node" WHERE $timeFilter GROUP BY "node") WHERE $timeFilter'
                ),
                "short",
                limits=[(None, "red"), (1, "green")],
                time_from="30s",
                no_value="none",
            )
        )
        .with_panel(
            panels.number(
                "Workers",
                "Compute threads of the nodes alive.",
                table(
                    'SELECT SUM("workers") AS "workers" FROM '
                    '(SELECT LAST("workers") AS "workers" FROM "node" WHERE $timeFilter GROUP BY "node") WHERE $timeFilter'
                ),
                "short",
                limits=[(None, "red"), (1, "green")],
                time_from="30s",
                no_value="none",
            )
        )
        .with_panel(
            panels.number(
                "Efficiency",
                "Busy time / (alive time × workers) of all nodes over the time shown. Low while there is no work, too.",
                table(efficiency_of_all(over_time=False)),
                panels.SHARE,
                limits=panels.GOOD_HIGH,
                maximum=1,
                decimals=1,
                interval=NODE_INTERVAL,
            )
        )
        .with_row(panels.row("Jobs"))
        .with_panel(
            panels.lines(
                "Throughput",
                "Jobs that ended well per second, by what was asked for. The last point covers an interval that has not ended.",
                [
                    series(
                        f'SELECT SUM("jobs") {PER_SECOND} AS "throughput" FROM "job" WHERE "outcome" = \'ok\' AND $timeFilter '
                        'GROUP BY time($__interval), "kind", "bits" fill(0)',
                        "[[tag_kind]], [[tag_bits]] bits",
                    )
                ],
                panels.JOBS_PER_S,
                stacked=True,
            )
        )
        .with_panel(
            panels.lines(
                "Latency",
                "From publication to result, on the producer's clock: percentiles over answers. An answer may stand for many jobs "
                "and counts once here; the figures at the end of a run are over jobs. In a run that is published at once, most "
                "of it is time in the queue.",
                [
                    series(
                        'SELECT PERCENTILE("latency_ms", 50) AS "p50", PERCENTILE("latency_ms", 95) AS "p95", '
                        'PERCENTILE("latency_ms", 99) AS "p99" FROM "job" WHERE $timeFilter GROUP BY time($__interval) fill(null)',
                        "[[col]]",
                    )
                ],
                "ms",
                names=["p50", "p95", "p99"],
            )
        )
        .with_panel(
            panels.lines(
                "Error rate",
                "Jobs that failed or were rejected / jobs that ended. Above the dashed line an alert fires after five minutes.",
                [series(error_rate(), "[[col]]")],
                panels.SHARE,
                names=["error rate"],
                limits=[(None, "transparent"), (0.01, "red")],
            )
        )
        .with_panel(
            panels.lines(
                "Failed and rejected jobs",
                "Jobs that did not end well, by outcome. Failed: tried in vain, or the producer found the result to be wrong. "
                "Rejected: refused as invalid. `results.jsonl` of the run holds the reason for each. Empty when all is well.",
                [
                    series(
                        'SELECT SUM("jobs") AS "jobs" FROM "job" WHERE "outcome" != \'ok\' AND $timeFilter '
                        'GROUP BY time($__interval), "outcome" fill(0)',
                        "[[tag_outcome]]",
                    )
                ],
                "short",
                names=["failed", "rejected"],
                bars=True,
                stacked=True,
                calcs=["sum"],
            )
        )
        .with_row(panels.row("Runs"))
        .with_panel(
            panels.lines(
                "Runs side by side",
                "Jobs that ended well per second, by run. Runs of equal weight (`--share`) get equal parts of the workers; their jobs "
                "need not take the same time.",
                [
                    series(
                        f'SELECT SUM("jobs") {PER_SECOND} AS "throughput" FROM "job" WHERE "outcome" = \'ok\' AND $timeFilter '
                        'GROUP BY time($__interval), "run" fill(0)',
                        "[[tag_run]]",
                    )
                ],
                panels.JOBS_PER_S,
            )
        )
        .with_panel(
            panels.lines(
                "Runs at work, and the workers that they share",
                "What has announced itself, as producers see it: no points without a run.",
                [
                    series(
                        'SELECT MAX("runs") AS "runs", MAX("workers") AS "workers", MEAN("busy_workers") AS "busy workers" '
                        'FROM "pool" WHERE $timeFilter GROUP BY time($__interval) fill(null)',
                        "[[col]]",
                    )
                ],
                "short",
                names=["runs", "workers", "busy workers"],
                steps=True,
                calcs=["lastNotNull", "max"],
                interval=NODE_INTERVAL,
            )
        )
        .with_row(panels.row("Queues"))
        .with_panel(
            panels.lines(
                "Queue length",
                "Units that wait (ready) and that consumers hold (unacknowledged), stacked: the height is the length. The latter "
                "are only known where the management API of RabbitMQ is configured.",
                [
                    series(
                        f'SELECT MEAN("{field}") AS "{name}" FROM "queue" WHERE {JOB_QUEUES} AND $timeFilter '
                        'GROUP BY time($__interval), "queue" fill(null)',
                        "[[col]] [[tag_queue]]",
                    )
                    for field, name in [("ready", "ready"), ("unacked", "unacknowledged")]
                ],
                "short",
                stacked=True,
                calcs=["lastNotNull", "max"],
                interval=NODE_INTERVAL,
            )
            .override_by_regexp("/^ready/", [panels.color("ready")])
            .override_by_regexp("/^unacknowledged/", [panels.color("unacknowledged")])
        )
        .with_panel(
            panels.lines(
                "Rates",
                "Units published to and delivered from the job queues per second (both need the management API of RabbitMQ), and "
                "answers that producers received. Published above answered for long: the backlog grows.",
                [
                    series(
                        f"""SELECT SUM("{field}") AS "{name}" FROM
                        (SELECT MEAN("{field}") AS "{field}" FROM "queue" WHERE {JOB_QUEUES} AND $timeFilter
                         GROUP BY time($__interval), "queue" fill(none))
                        WHERE $timeFilter GROUP BY time($__interval) fill(none)""",
                        "[[col]]",
                    )
                    for field, name in [("publish_rate", "published"), ("deliver_rate", "delivered")]
                ]
                + [
                    series(
                        f'SELECT COUNT("jobs") {PER_SECOND} AS "answered" FROM "job" WHERE $timeFilter '
                        "GROUP BY time($__interval) fill(0)",
                        "[[col]]",
                    )
                ],
                "suffix:units/s",
                names=["published", "delivered", "answered"],
                interval=NODE_INTERVAL,
                width=6,
            )
        )
        .with_panel(
            panels.lines(
                "Consumers by queue",
                "Consumers that have subscribed to a job queue. None while units wait: nothing will happen; an alert fires.",
                [
                    series(
                        f'SELECT MIN("consumers") AS "consumers" FROM "queue" WHERE {JOB_QUEUES} AND $timeFilter '
                        'GROUP BY time($__interval), "queue" fill(null)',
                        "[[tag_queue]]",
                    )
                ],
                "short",
                decimals=0,
                steps=True,
                calcs=["lastNotNull", "min"],
                interval=NODE_INTERVAL,
                width=6,
            )
        )
        .with_row(panels.row("Nodes"))
        .with_panel(
            panels.lines(
                "Nodes and workers alive",
                "Nodes that reported in each interval, their compute threads, and how many of these worked.",
                [
                    series(
                        """SELECT COUNT("workers") AS "nodes", SUM("workers") AS "workers", SUM("busy") AS "busy workers" FROM
                        (SELECT LAST("workers") AS "workers", MEAN("busy_workers") AS "busy" FROM "node" WHERE $timeFilter
                         GROUP BY time($__interval), "node" fill(none))
                        WHERE $timeFilter GROUP BY time($__interval) fill(0)""",
                        "[[col]]",
                    )
                ],
                "short",
                names=["nodes", "workers", "busy workers"],
                steps=True,
                calcs=["lastNotNull", "min", "max"],
                interval=ALIVE_INTERVAL,
            )
        )
        .with_panel(
            panels.lines(
                "Efficiency",
                "Busy time / (alive time × workers), from the cumulative counters, by node and of all nodes together. Below 80 % "
                "in the middle of a run: too little prefetch, units too short, or a slow broker.",
                [
                    series(efficiency_by_node(), "[[tag_node]]"),
                    series(efficiency_of_all(), "all nodes"),
                ],
                panels.SHARE,
                names=["all nodes"],
                maximum=1,
                interval=NODE_INTERVAL,
                calcs=["mean", "min"],
            )
        )
        .with_row(panels.row("Metrics themselves"))
        .with_panel(
            panels.lines(
                "Points written",
                "Points that InfluxDB took per second, by process.",
                [
                    series(
                        'SELECT NON_NEGATIVE_DERIVATIVE(LAST("points_written"), 1s) AS "written" FROM "metrics" WHERE $timeFilter '
                        'GROUP BY time($__interval), "source", "node" fill(none)',
                        "[[tag_source]] [[tag_node]]",
                    )
                ],
                "suffix:points/s",
                interval="20s",
            )
        )
        .with_panel(
            panels.lines(
                "Points that wait or are lost",
                "Waiting: in the spool on disk, because InfluxDB did not take them yet. Dropped: the spool was full. Refused: "
                "InfluxDB called them wrong. Errors: requests that failed and were tried again.",
                [
                    series(
                        """SELECT SUM("spooled") AS "waiting" FROM
                        (SELECT LAST("points_spooled") AS "spooled" FROM "metrics" WHERE $timeFilter
                         GROUP BY time($__interval), "source", "node" fill(none))
                        WHERE $timeFilter GROUP BY time($__interval) fill(none)""",
                        "[[col]]",
                    )
                ]
                + [
                    series(
                        f"""SELECT SUM("lost") AS "{name}" FROM
                        (SELECT NON_NEGATIVE_DIFFERENCE(LAST("{field}")) AS "lost" FROM "metrics" WHERE $timeFilter
                         GROUP BY time($__interval), "source", "node" fill(none))
                        WHERE $timeFilter GROUP BY time($__interval) fill(none)""",
                        "[[col]]",
                    )
                    for field, name in [
                        ("points_dropped", "dropped"),
                        ("points_refused", "refused"),
                        ("write_errors", "errors"),
                    ]
                ],
                "short",
                names=["waiting", "dropped", "refused", "errors"],
                calcs=["max"],
                interval="20s",
            )
        )
    )
