"""What the SDK lacks: queries, variables and annotations of Grafana's InfluxDB data source, in InfluxQL."""

from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog import builder as cogbuilder
from grafana_foundation_sdk.cog import variants as cogvariants
from grafana_foundation_sdk.models import dashboard as models

# As in provisioning/datasources/influxdb.yaml.
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
    """A query that is built already."""

    def __init__(self, query: Query) -> None:
        self.query = query

    def build(self) -> Query:
        return self.query


def series(influxql: str, alias: str) -> Query:
    """Time series. In aliases, [[tag_x]] is the value of tag x and [[col]] the name of the column."""
    return Query(influxql, alias=alias)


def table(influxql: str) -> Query:
    """Rows, with a column for each tag that is grouped by."""
    return Query(influxql, table=True)


def values_of(tag: str, measurement: str, field: str, condition: str = "") -> str:
    """The values that a tag has in the time range. SHOW TAG VALUES would list those of all times (or, in InfluxDB 3, of the
    last day), among them nodes and runs long gone."""
    where = f"{condition} AND $timeFilter" if condition else "$timeFilter"
    return f'SELECT DISTINCT("{tag}") AS "{tag}" FROM (SELECT LAST("{field}") FROM "{measurement}" WHERE {where} GROUP BY "{tag}")'


def variable(name: str, label: str, influxql: str, sort: models.VariableSort, multi: bool = False) -> builders.QueryVariable:
    """A choice at the top of a dashboard; with `multi` of several values or all."""
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
    """Markers at the times of points. The query has the columns `text` and `kind` (shown as a tag)."""

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


# Parts of queries ------------------------------------------------------------------------------------------------------


def efficiency_by_node(condition: str = "") -> str:
    """Busy time / (alive time × workers) between two readings of the cumulative counters; a restart, where they fall, is left
    out. The product comes first: it is made of fields of one point, so that a missing reading cannot tear it apart."""
    return f"""
        SELECT NON_NEGATIVE_DIFFERENCE(LAST("busy_s")) / NON_NEGATIVE_DIFFERENCE(LAST("capacity_s")) AS "efficiency"
        FROM ({_capacity(condition)}) WHERE $timeFilter GROUP BY time($__interval), "node" fill(none)"""


def efficiency_of_all(condition: str = "", over_time: bool = True) -> str:
    """The same of all nodes: sums before the division, as an average of ratios would misweight the nodes."""
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
    """Jobs that did not end well / jobs. Each job counts for "bad" with 0 first, so that there is a sum without any failure; the
    middle SELECT is there because InfluxDB 1.x sums only one of the fields of two sources."""
    where = f"{condition} AND $timeFilter" if condition else "$timeFilter"
    grouped = "GROUP BY time($__interval) fill(null)" if over_time else ""
    return f"""
        SELECT SUM("bad") / SUM("all") AS "error rate"
        FROM (SELECT "bad", "all"
              FROM (SELECT "jobs" AS "all", "jobs" * 0 AS "bad" FROM "job" WHERE {where}),
                   (SELECT "jobs" AS "bad" FROM "job" WHERE {where} AND "outcome" != 'ok'))
        WHERE $timeFilter {grouped}"""


def queue_length() -> str:
    """Ready + unacknowledged, over all job queues. A sum over two sources, as without the management API there is no second
    number to add."""
    sources = ", ".join(
        f'''(SELECT MEAN("{field}") AS "length" FROM "queue" WHERE {JOB_QUEUES} AND $timeFilter
             GROUP BY time($__interval), "queue" fill(none))'''
        for field in ("ready", "unacked")
    )
    return f'SELECT SUM("length") AS "length" FROM {sources} WHERE $timeFilter GROUP BY time($__interval) fill(none)'


def mean_over_jobs(field: str, condition: str, group: str) -> str:
    """The mean of a time over jobs: a point stands for as many as its field `jobs` says."""
    return f"""
        SELECT SUM("sum") / SUM("jobs") AS "{field}"
        FROM (SELECT "{field}" * "jobs" AS "sum", "jobs" FROM "job" WHERE {condition} AND $timeFilter)
        WHERE $timeFilter {group}"""
