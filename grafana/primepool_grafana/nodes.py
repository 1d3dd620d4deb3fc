"""The dashboard of nodes: utilisation, saturation and errors."""

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from . import panels
from .influx import NODE_INTERVAL, efficiency_by_node, efficiency_of_all, error_rate, series, table, values_of, variable

NODE = '"node" =~ /^${node:regex}$/'


def _by_node(select: str, fill: str = "null"):
    return series(
        f'SELECT {select} FROM "node" WHERE {NODE} AND $timeFilter GROUP BY time($__interval), "node" fill({fill})',
        "[[tag_node]]",
    )


def _change(field: str, divisor: str | None = None):
    """The increase of a cumulative field, optionally divided by the increase of another one.
    Intervals with a restart of the consumer have no value."""
    select = f'NON_NEGATIVE_DIFFERENCE(LAST("{field}"))'
    if divisor:
        select += f' / NON_NEGATIVE_DIFFERENCE(LAST("{divisor}"))'
    return _by_node(f'{select} AS "{field}"', fill="none")


def build() -> builders.Dashboard:
    columns = [
        ("workers", "workers"),
        ("busy_workers", "busy"),
        ("in_flight", "units held"),
        ("efficiency", "efficiency since start"),
        ("alive_s", "alive for"),
        ("cores", "cores"),
        ("cpu_pct", "CPU of node"),
        ("pool_cpu_pct", "CPU of pool"),
        ("mem_pct", "memory of node"),
        ("rss_bytes", "memory of pool"),
        ("jobs_ok", "jobs ok"),
        ("jobs_failed", "jobs failed"),
    ]
    select = ", ".join(f'LAST("{field}") AS "{name}"' for field, name in columns)
    return (
        panels.dashboard(
            "primepool-nodes",
            "Primepool: nodes",
            "What each consumer does with its machine: use, saturation, errors.",
            since="now-30m",
            refresh="10s",
        )
        .with_variable(
            variable("node", "Node", values_of("node", "node", "workers"), models.VariableSort.ALPHABETICAL_ASC, multi=True)
        )
        .with_panel(
            panels.rows(
                "Nodes",
                "The last report of each node in the time shown; counters are since the start of its process.",
                [table(f'SELECT {select} FROM "node" WHERE {NODE} AND $timeFilter GROUP BY "node", "kernel"')],
                {
                    "efficiency since start": panels.SHARE,
                    "alive for": "s",
                    "CPU of node": panels.PERCENT,
                    "CPU of pool": panels.PERCENT,
                    "memory of node": panels.PERCENT,
                    "memory of pool": "bytes",
                    "jobs failed": "short",
                },
                limits={"efficiency since start": panels.GOOD_HIGH, "jobs failed": [(None, "text"), (1, "red")]},
                links={"node": "/d/primepool-nodes?var-node=${__value.text}&${__url_time_range}"},
                sort_by="node",
            )
        )
        .with_row(panels.row("Use"))
        .with_panel(
            panels.lines(
                "Busy workers",
                "Compute threads at work, the mean of the reports in each interval.",
                [_by_node('MEAN("busy_workers") AS "busy"')],
                "short",
                interval=NODE_INTERVAL,
                stacked=True,
            )
        )
        .with_panel(
            panels.lines(
                "Efficiency",
                "Busy time / (alive time × workers) in each interval, from the cumulative counters.",
                [series(efficiency_by_node(NODE), "[[tag_node]]"), series(efficiency_of_all(NODE), "all nodes")],
                panels.SHARE,
                names=["all nodes"],
                maximum=1,
                interval=NODE_INTERVAL,
                calcs=["mean", "min"],
            )
        )
        .with_panel(
            panels.lines(
                "CPU of the pool",
                "CPU time of the consumer's process, per cent of the cores that it may use (within its cgroup's limit). Lower than "
                "the efficiency says: others take the cores.",
                [_by_node('MEAN("pool_cpu_pct") AS "pool"')],
                panels.PERCENT,
                interval=NODE_INTERVAL,
                maximum=100,
            )
        )
        .with_panel(
            panels.lines(
                "CPU of the node",
                "Use of the node's CPUs by anyone, per cent of all cores. Much above the pool's: something else runs there.",
                [_by_node('MEAN("cpu_pct") AS "node"')],
                panels.PERCENT,
                interval=NODE_INTERVAL,
                maximum=100,
            )
        )
        .with_panel(
            panels.lines(
                "Memory of the pool",
                "Resident memory of the consumer's process. It should level off within minutes.",
                [_by_node('MAX("rss_bytes") AS "pool"')],
                "bytes",
                interval=NODE_INTERVAL,
            )
        )
        .with_panel(
            panels.lines(
                "Memory of the node",
                "Memory in use by anyone, per cent of what there is (within the cgroup's limit). Above 90 %: the kernel may end "
                "processes.",
                [_by_node('MAX("mem_pct") AS "node"')],
                panels.PERCENT,
                interval=NODE_INTERVAL,
                maximum=100,
                limits=[(None, "transparent"), (90, "red")],
            )
        )
        .with_panel(
            panels.lines(
                "Jobs ended",
                "Jobs that ended well per second, as the consumers count them.",
                [_change("jobs_ok", "alive_s")],
                panels.JOBS_PER_S,
                interval=NODE_INTERVAL,
                stacked=True,
            )
        )
        .with_panel(
            panels.lines(
                "CPU time for a job",
                "CPU seconds of the process / jobs ended. Comparable only between nodes that work on the same run; one that is "
                "much slower uses another kernel (see the table) or slower cores.",
                [_change("cpu_s", "jobs_ok")],
                "s",
                interval=NODE_INTERVAL,
            )
        )
        .with_row(panels.row("Saturation"))
        .with_panel(
            panels.lines(
                "Units held",
                "Units that a node has received and not acknowledged. About its prefetch: there is enough to do. Near zero in the "
                "middle of a run: the broker or the network is too slow, or prefetch too small.",
                [_by_node('MEAN("in_flight") AS "units"')],
                "short",
                interval=NODE_INTERVAL,
            )
        )
        .with_panel(
            panels.lines(
                "Memory in use on the node",
                "By anyone, in bytes.",
                [_by_node('MAX("mem_used_bytes") AS "used"')],
                "bytes",
                interval=NODE_INTERVAL,
            )
        )
        .with_row(panels.row("Errors"))
        .with_panel(
            panels.lines(
                "Failed jobs",
                "Jobs that failed or were refused, as the consumers count them.",
                [_change("jobs_failed")],
                "short",
                interval=NODE_INTERVAL,
                bars=True,
                stacked=True,
                calcs=["sum"],
            )
        )
        .with_panel(
            panels.lines(
                "Error rate",
                "Jobs that did not end well / jobs that ended, as the producers see it: with results that were found to be wrong. "
                "Of all nodes that are chosen above.",
                [series(error_rate(NODE), "[[col]]")],
                panels.SHARE,
                names=["error rate"],
                limits=[(None, "transparent"), (0.01, "red")],
            )
        )
    )
