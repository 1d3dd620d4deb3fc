"""Building blocks of all dashboards: panels with common sizes, colours, units and legends."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import stat, table, timeseries, trend, xychart
from grafana_foundation_sdk.cog import builder as cogbuilder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import xychart as xychart_models

from .influx import DATASOURCE, Annotation, Query, QueryBuilder

TAG = "primepool"

# Each meaning has one colour, the same on all dashboards.
COLORS = {
    "ok": "green",
    "failed": "red",
    "rejected": "orange",
    "p50": "light-blue",
    "p95": "blue",
    "p99": "dark-purple",
    "queue wait": "yellow",
    "compute": "green",
    "ready": "yellow",
    "unacknowledged": "purple",
    "consumers": "blue",
    "published": "blue",
    "delivered": "green",
    "answered": "light-green",
    "nodes": "blue",
    "runs": "purple",
    "workers": "light-blue",
    "busy workers": "green",
    "all nodes": "text",
    "pool": "green",
    "node": "blue",
    "memory": "purple",
    "error rate": "red",
    "efficiency": "green",
    "throughput": "green",
    "per worker": "light-green",
    "per node": "light-green",
    "waiting": "yellow",
    "dropped": "red",
    "refused": "orange",
    "errors": "dark-orange",
    "take-apart": "yellow",
    "ecm": "blue",
    "curves": "blue",
    "sieve": "green",
    "relations": "green",
    "linear-algebra": "purple",
    "needed": "text",
    "at most": "text",
}

# Thresholds: a list of (lower limit, colour); the first limit is None.
Steps = Sequence[tuple[float | None, str]]

GOOD_HIGH: Steps = [(None, "red"), (0.5, "orange"), (0.8, "green")]
ERROR_RATE: Steps = [(None, "green"), (0.001, "orange"), (0.01, "red")]
NEUTRAL: Steps = [(None, "blue")]

SHARE = "percentunit"
PERCENT = "percent"
JOBS_PER_S = "suffix:jobs/s"
A_SECOND = "suffix:/s"
BITS = "suffix:bits"


def _thresholds(steps: Steps) -> builders.ThresholdsConfig:
    return (
        builders.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=shade) for value, shade in steps])
    )


def _property(name: str, value: object) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val=name, value=value)


def color(name: str) -> models.DynamicConfigValue:
    """The colour of a meaning, as a property for overrides."""
    return _property("color", {"mode": "fixed", "fixedColor": COLORS[name]})


def on_the_right(label: str) -> list[models.DynamicConfigValue]:
    """A second axis, as properties for overrides of a series with another magnitude."""
    return [_property("custom.axisPlacement", "right"), _property("custom.axisLabel", label), _property("custom.fillOpacity", 0)]


def _base(panel, title: str, description: str, queries: Sequence[Query], width: int, height: int):
    """Sets the properties that all panels have."""
    for number, query in enumerate(queries):
        query.ref_id = chr(ord("A") + number)
        panel = panel.with_target(QueryBuilder(query))
    return panel.title(title).description(description).datasource(DATASOURCE).span(width).height(height)


def _legend(calcs: Sequence[str]) -> common_builders.VizLegendOptions:
    return (
        common_builders.VizLegendOptions()
        .show_legend(True)
        .display_mode(common.LegendDisplayMode.TABLE if calcs else common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .calcs(list(calcs))
    )


def _tooltip() -> common_builders.VizTooltipOptions:
    return common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)


def _colored(panel, names: Sequence[str]):
    for name in names:
        panel = panel.override_by_name(name, [color(name)])
    return panel


def lines(
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    *,
    names: Sequence[str] = (),
    width: int = 12,
    height: int = 8,
    calcs: Sequence[str] = ("mean", "max"),
    stacked: bool = False,
    bars: bool = False,
    steps: bool = False,
    interval: str | None = None,
    minimum: float | None = 0,
    maximum: float | None = None,
    decimals: float | None = None,
    limits: Steps | None = None,
) -> timeseries.Panel:
    """A chart over time. Series in `names` have fixed colours. Grafana chooses the colour of
    others, such as nodes, from their name, so that it is the same on all panels."""
    panel = (
        _base(timeseries.Panel(), title, description, queries, width, height)
        .unit(unit)
        .legend(_legend(calcs))
        .tooltip(_tooltip())
        .draw_style(common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(60 if bars else 30 if stacked else 8)
        .line_interpolation(common.LineInterpolation.STEP_AFTER if steps else common.LineInterpolation.LINEAR)
        .show_points(common.VisibilityMode.AUTO)
        # Bridges intervals without a point, but not times when nothing ran. In milliseconds.
        .span_nulls(60_000)
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    )
    if stacked:
        panel = panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if interval:
        panel = panel.interval(interval)
    if minimum is not None:
        panel = panel.min(minimum)
    if maximum is not None:
        panel = panel.max(maximum)
    if decimals is not None:
        panel = panel.decimals(decimals)
    if limits:
        panel = panel.thresholds(_thresholds(limits)).thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    return _colored(panel, names)


def number(
    title: str,
    description: str,
    query: Query,
    unit: str,
    *,
    limits: Steps = NEUTRAL,
    width: int = 4,
    calc: str = "lastNotNull",
    decimals: float | None = None,
    maximum: float | None = None,
    interval: str | None = None,
    time_from: str | None = None,
    no_value: str = "no data",
) -> stat.Panel:
    """One big number, with a sparkline if the query returns several values."""
    panel = (
        _base(stat.Panel(), title, description, [query], width, 4)
        .unit(unit)
        .reduce_options(common_builders.ReduceDataOptions().calcs([calc]).fields("").values(False))
        .graph_mode(common.BigValueGraphMode.AREA)
        .color_mode(common.BigValueColorMode.VALUE)
        .thresholds(_thresholds(limits))
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .min(0)
        .no_value(no_value)
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    if maximum is not None:
        panel = panel.max(maximum)
    if interval:
        panel = panel.interval(interval)
    if time_from:
        panel = panel.time_from(time_from)
    return panel


def numbers(
    title: str,
    description: str,
    query: Query,
    units: dict[str, tuple[str, Steps]],
    *,
    width: int = 24,
    no_value: str = "no data",
) -> stat.Panel:
    """One number for each column of a one-row table."""
    panel = (
        _base(stat.Panel(), title, description, [query], width, 4)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME)
        .thresholds(_thresholds(NEUTRAL))
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .no_value(no_value)
    )
    for name, (unit, limits) in units.items():
        steps = [{"value": value, "color": shade} for value, shade in limits]
        panel = panel.override_by_name(
            name, [_property("unit", unit), _property("thresholds", {"mode": "absolute", "steps": steps})]
        )
    return panel


def rows(
    title: str,
    description: str,
    queries: Sequence[Query],
    units: dict[str, str],
    *,
    links: dict[str, str] | None = None,
    limits: dict[str, Steps] | None = None,
    transformations: Sequence[models.DataTransformerConfig] = (),
    hidden: Sequence[str] = ("Time",),
    sort_by: str | None = None,
    descending: bool = False,
    width: int = 24,
    height: int = 8,
) -> table.Panel:
    """A table. `links` are the link addresses of the cells of a column."""
    panel = (
        _base(table.Panel(), title, description, queries, width, height)
        .show_header(True)
        .filterable(True)
        .thresholds(_thresholds([(None, "text")]))
        .transformations(list(transformations))
    )
    if sort_by:
        panel = panel.sort_by([common_builders.TableSortByFieldState().display_name(sort_by).desc(descending)])
    for name, unit in units.items():
        properties = [_property("unit", unit)]
        if limits and name in limits:
            steps = [{"value": value, "color": shade} for value, shade in limits[name]]
            properties.append(_property("thresholds", {"mode": "absolute", "steps": steps}))
            properties.append(_property("custom.cellOptions", {"type": "color-text"}))
        panel = panel.override_by_name(name, properties)
    for name in hidden:
        panel = panel.override_by_name(name, [_property("custom.hidden", True)])
    for name, url in (links or {}).items():
        panel = panel.override_by_name(name, [_property("links", [{"title": "Open", "url": url, "targetBlank": False}])])
    return panel


def against(
    title: str,
    description: str,
    query: Query,
    x: str,
    unit: str,
    *,
    names: Sequence[str] = (),
    transformations: Sequence[models.DataTransformerConfig] = (),
    width: int = 12,
    maximum: float | None = None,
) -> trend.Panel:
    """A chart against a number that is stored as a tag, such as `workers`."""
    panel = (
        _base(trend.Panel(), title, description, [query], width, 8)
        .x_field(x)
        .unit(unit)
        .min(0)
        .legend(_legend(()))
        .tooltip(_tooltip())
        .draw_style(common.GraphDrawStyle.LINE)
        .line_width(2)
        .fill_opacity(0)
        .show_points(common.VisibilityMode.ALWAYS)
        .point_size(7)
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .override_by_name(x, [_property("unit", "none"), _property("decimals", 0), _property("custom.axisLabel", x)])
    )
    for transformation in [*by_number(x), *transformations]:
        panel = panel.with_transformation(transformation)
    if maximum is not None:
        panel = panel.max(maximum)
    return _colored(panel, names)


def scatter(title: str, description: str, query: Query, x: str, y: str, unit: str, *, width: int = 12) -> xychart.Panel:
    """A scatter chart: for each row a point, column `y` against column `x`."""
    one = xychart_models.XYSeriesConfig(
        frame=xychart_models.XychartXYSeriesConfigFrame(xychart_models.MatcherConfig("byIndex", 0)),
        x=xychart_models.XychartXYSeriesConfigX(xychart_models.MatcherConfig("byName", x)),
        y=xychart_models.XychartXYSeriesConfigY(xychart_models.MatcherConfig("byName", y)),
    )
    panel = (
        _base(xychart.Panel(), title, description, [query], width, 8)
        .mapping(xychart_models.SeriesMapping.MANUAL)
        .series([_Built(one)])
        .show(xychart_models.XYShowMode.POINTS)
        .legend(_legend(()))
        .tooltip(_tooltip())
        .unit(unit)
        .min(0)
        .override_by_name(x, [_property("unit", "none"), _property("decimals", 0), _property("custom.axisLabel", x)])
    )
    for transformation in by_number(x):
        panel = panel.with_transformation(transformation)
    return _colored(panel, [y] if y in COLORS else [])


class _Built(cogbuilder.Builder[xychart_models.XYSeriesConfig]):
    def __init__(self, value: xychart_models.XYSeriesConfig) -> None:
        self.value = value

    def build(self) -> xychart_models.XYSeriesConfig:
        return self.value


def by_number(tag: str) -> list[models.DataTransformerConfig]:
    """Converts a tag, which is text, to a number, and sorts by it."""
    return [
        models.DataTransformerConfig(
            id_val="convertFieldType",
            options={"fields": {}, "conversions": [{"targetField": tag, "destinationType": "number"}]},
        ),
        models.DataTransformerConfig(id_val="sortBy", options={"fields": {}, "sort": [{"field": tag}]}),
        models.DataTransformerConfig(id_val="organize", options={"excludeByName": {"Time": True}}),
    ]


def calculated(left: str, operator: str, right: str, alias: str) -> models.DataTransformerConfig:
    """Adds a column computed from two others."""
    return models.DataTransformerConfig(
        id_val="calculateField",
        options={
            "mode": "binary",
            "alias": alias,
            "binary": {"left": left, "operator": operator, "right": right},
            "replaceFields": False,
        },
    )


def without(*columns: str) -> models.DataTransformerConfig:
    """Hides columns."""
    return models.DataTransformerConfig(id_val="organize", options={"excludeByName": dict.fromkeys(columns, True)})


def row(title: str) -> builders.Row:
    """A row with a heading."""
    return builders.Row(title)


RUN_STARTS = 'SELECT "text", "kind" FROM "run" WHERE "event" = \'start\' AND {condition} $timeFilter'
RUN_ENDS = 'SELECT "text", "kind" FROM "run" WHERE "event" = \'end\' AND {condition} $timeFilter'


def dashboard(uid: str, title: str, description: str, *, since: str, refresh: str, condition: str = "") -> builders.Dashboard:
    """An empty dashboard, with links to the others and markers for the start and end of runs."""
    return (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .time(since, "now")
        .refresh(refresh)
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .timepicker(builders.TimePicker().refresh_intervals(["5s", "10s", "30s", "1m", "5m", "15m", "1h"]))
        .link(
            builders.DashboardLink("Primepool")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .keep_time(True)
            .as_dropdown(False)
        )
        .annotation(Annotation("Run starts", "green", RUN_STARTS.format(condition=condition)))
        .annotation(Annotation("Run ends", "blue", RUN_ENDS.format(condition=condition)))
    )
