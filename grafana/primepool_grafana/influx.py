"""Queries, variables and annotations of Grafana's InfluxDB data source, in InfluxQL. The SDK does
not have them."""

from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog import builder as cogbuilder
from grafana_foundation_sdk.cog import variants as cogvariants
from grafana_foundation_sdk.models import dashboard as models

# The same as in provisioning/datasources/influxdb.yaml.
DATASOURCE_UID = "primepool-influxdb"
DATASOURCE = models.DataSourceRef(type_val="influxdb", uid=DATASOURCE_UID)

# Consumers write their state every few seconds: shorter intervals would have gaps.
NODE_INTERVAL = "10s"

JOB_QUEUES = '"queue" =~ /^primepool\\.jobs\\./'


class Query(cogvariants.Dataquery):
    """One query of a panel or an alert rule."""

    def __init__(self, influxql: str, alias: str = "", table: bool = False) -> None:
        self.influxql = " ".join(influxql.split())
        self.alias = alias
        self.table = table
        self.ref_id = "A"

    def to_json(self) -> dict[str, object]:
        payload: dict[str, object] = {
            "refId": self.ref_id,
            "datasource": DATASOURCE,
            "query": self.influxql,
            "rawQuery": True,
            "resultFormat": "table" if self.table else "time_series",
        }
        if self.alias:
            payload["alias"] = self.alias
        return payload


class QueryBuilder(cogbuilder.Builder[Query]):
    """Wraps a finished query for the interfaces of the SDK that expect a builder."""

    def __init__(self, query: Query) -> None:
        self.query = query

    def build(self) -> Query:
        return self.query


def series(influxql: str, alias: str) -> Query:
    """A query for time series. In `alias`, [[tag_x]] is the value of tag x, [[col]] the column's
    name."""
    return Query(influxql, alias=alias)


def table(influxql: str) -> Query:
    """A query for rows, with a column for each tag of the GROUP BY clause."""
    return Query(influxql, table=True)


def values_of(tag: str, measurement: str, field: str, condition: str = "") -> str:
    """A query for the values of a tag in the time range. SHOW TAG VALUES would also list nodes and
    runs of earlier times (in InfluxDB 3: of the last day)."""
    where = f"{condition} AND $timeFilter" if condition else "$timeFilter"
    return f'SELECT DISTINCT("{tag}") AS "{tag}" FROM (SELECT LAST("{field}") FROM "{measurement}" WHERE {where} GROUP BY "{tag}")'


def variable(name: str, label: str, influxql: str, sort: models.VariableSort, multi: bool = False) -> builders.QueryVariable:
    """A variable with a drop-down list in a dashboard; `multi` allows several values, or all."""
    built = (
        builders.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": influxql, "refId": "variable"})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(sort)
        .multi(multi)
        .include_all(multi)
    )
    if multi:
        # One short pattern instead of an alternation of all values.
        built = built.all_value(".*").current(models.VariableOption(text="All", value="$__all"))
    return built


class Annotation(cogbuilder.Builder[models.AnnotationQuery]):
    """Markers at the times of points. The query returns the columns `text` and `kind` (shown as
    tag)."""

    def __init__(self, name: str, color: str, influxql: str) -> None:
        self.built = _AnnotationQuery(name=name, datasource=DATASOURCE, enable=True, icon_color=color, hide=None, built_in=None)
        self.built.influxql = " ".join(influxql.split())

    def build(self) -> models.AnnotationQuery:
        return self.built


class _AnnotationQuery(models.AnnotationQuery):
    influxql: str

    def to_json(self) -> dict[str, object]:
        payload: dict[str, Any] = super().to_json()
        payload["target"] = {
            "refId": "annotation",
            "datasource": DATASOURCE,
            "query": self.influxql,
            "rawQuery": True,
            "fromAnnotations": True,
            "textEditor": True,
            "name": self.name,
            "textColumn": "text",
            # Not empty: an empty name would match every column.
            "tagsColumn": "kind",
        }
        return payload


# Parts of queries ---------------------------------------------------------------------------------


def efficiency_by_node(condition: str = "") -> str:
    """Busy time / (alive time × workers) between two readings of the cumulative counters. Intervals
    with a restart, where the counters fall, are left out. The product is computed first, from
    fields of the same point, so that a missing reading cannot distort it."""
    return f"""
        SELECT NON_NEGATIVE_DIFFERENCE(LAST("busy_s")) / NON_NEGATIVE_DIFFERENCE(LAST("capacity_s")) AS "efficiency"
        FROM ({_capacity(condition)}) WHERE $timeFilter GROUP BY time($__interval), "node" fill(none)"""


def efficiency_of_all(condition: str = "", over_time: bool = True) -> str:
    """The same for all nodes together: sums first, then divides, because an average of the ratios
    would give all nodes the same weight."""
    grouped = "GROUP BY time($__interval) fill(none)" if over_time else ""
    return f"""
        SELECT SUM("busy") / SUM("capacity") AS "efficiency"
        FROM (SELECT NON_NEGATIVE_DIFFERENCE(LAST("busy_s")) AS "busy", NON_NEGATIVE_DIFFERENCE(LAST("capacity_s")) AS "capacity"
              FROM ({_capacity(condition)}) WHERE $timeFilter GROUP BY time($__interval), "node" fill(none))
        WHERE $timeFilter {grouped}"""


def _capacity(condition: str) -> str:
    where = f"{condition} AND $timeFilter" if condition else "$timeFilter"
    return f'SELECT "busy_s", "alive_s" * "workers" AS "capacity_s" FROM "node" WHERE {where} GROUP BY "node"'


def error_rate(condition: str = "", over_time: bool = True) -> str:
    """Jobs that did not succeed / all jobs. Each job also adds 0 to "bad", so that the sum exists
    without any failure. The middle SELECT is needed because InfluxDB 1.x otherwise sums only one of
    the fields of two sources."""
    where = f"{condition} AND $timeFilter" if condition else "$timeFilter"
    grouped = "GROUP BY time($__interval) fill(null)" if over_time else ""
    return f"""
        SELECT SUM("bad") / SUM("all") AS "error rate"
        FROM (SELECT "bad", "all"
              FROM (SELECT "jobs" AS "all", "jobs" * 0 AS "bad" FROM "job" WHERE {where}),
                   (SELECT "jobs" AS "bad" FROM "job" WHERE {where} AND "outcome" != 'ok'))
        WHERE $timeFilter {grouped}"""


def queue_length() -> str:
    """Ready + unacknowledged units of all job queues. The sum is over two sources, because without
    the management API the second number does not exist."""
    sources = ", ".join(
        f'''(SELECT MEAN("{field}") AS "length" FROM "queue" WHERE {JOB_QUEUES} AND $timeFilter
             GROUP BY time($__interval), "queue" fill(none))'''
        for field in ("ready", "unacked")
    )
    return f'SELECT SUM("length") AS "length" FROM {sources} WHERE $timeFilter GROUP BY time($__interval) fill(none)'


def mean_over_jobs(field: str, condition: str, group: str) -> str:
    """The mean of a time per job. Each point is weighted with its field `jobs`, a number of
    jobs."""
    return f"""
        SELECT SUM("sum") / SUM("jobs") AS "{field}"
        FROM (SELECT "{field}" * "jobs" AS "sum", "jobs" FROM "job" WHERE {condition} AND $timeFilter)
        WHERE $timeFilter {group}"""
