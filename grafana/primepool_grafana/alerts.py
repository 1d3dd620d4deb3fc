"""Alert rules, in the format of Grafana's file provisioning."""

from grafana_foundation_sdk.builders import expr
from grafana_foundation_sdk.models import alerting as models
from grafana_foundation_sdk.models import dashboard as dashboard_models

from .influx import DATASOURCE_UID, JOB_QUEUES, Query, error_rate, series

EXPRESSION = dashboard_models.DataSourceRef(type_val="__expr__", uid="__expr__")

# Avoid `$` in the texts below, hence {{ .Labels.x }}: provisioning would expand it as an
# environment variable. In queries it is left alone.


class _Rule:
    """An alert rule: queries, then expressions; the last expression is the condition."""

    def __init__(self, uid: str, title: str, pending: str, panel: tuple[str, str], summary: str, description: str) -> None:
        self.uid = uid
        self.title = title
        self.pending = pending
        self.panel = panel
        self.summary = summary
        self.description = description
        self.data: list[models.Query] = []

    def _add(self, model, datasource: str, seconds: int) -> None:
        ref_id = chr(ord("A") + len(self.data))
        model.ref_id = ref_id
        self.data.append(
            models.Query(
                datasource_uid=datasource,
                model=model,
                ref_id=ref_id,
                relative_time_range=models.RelativeTimeRange(from_val=seconds, to=0),
            )
        )

    def query(self, query: Query, seconds: int) -> "_Rule":
        self._add(query, DATASOURCE_UID, seconds)
        return self

    def last(self, of: str) -> "_Rule":
        self._add(expr.TypeReduce().datasource(EXPRESSION).expression(of).reducer("last").build(), "__expr__", 0)
        return self

    def math(self, expression: str) -> "_Rule":
        self._add(expr.TypeMath().datasource(EXPRESSION).expression(expression).build(), "__expr__", 0)
        return self

    def json(self, panel_ids: dict[tuple[str, str], int]) -> dict[str, object]:
        dashboard, _ = self.panel
        return {
            "uid": self.uid,
            "title": self.title,
            "condition": self.data[-1].ref_id,
            "data": self.data,
            "dashboardUid": dashboard,
            "panelId": panel_ids[self.panel],
            # "No data" means that nothing runs. Errors of the data source are reported as errors.
            "noDataState": "OK",
            "execErrState": "Error",
            "for": self.pending,
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "__dashboardUid__": dashboard,
                "__panelId__": str(panel_ids[self.panel]),
            },
            "labels": {"service": "primepool"},
        }


def _rules() -> list[_Rule]:
    return [
        _Rule(
            "primepool-backlog",
            "Backlog grows with no consumer",
            "2m",
            ("primepool-overview", "Consumers by queue"),
            "{{ .Labels.queue }} holds {{ .Values.C }} units and no consumer serves it",
            "Units wait and no consumer takes them; what producers publish piles up. Start consumers, or find out why those that run "
            "cannot subscribe: their log says `consuming` when they do and names the broker's refusal when not. "
            "`consumer health --health-file FILE` tells whether they are connected.",
        )
        .query(series(f'SELECT LAST("ready") AS "ready" FROM "queue" WHERE {JOB_QUEUES} AND $timeFilter GROUP BY "queue"', ""), 120)
        .query(
            series(f'SELECT MAX("consumers") AS "consumers" FROM "queue" WHERE {JOB_QUEUES} AND $timeFilter GROUP BY "queue"', ""),
            120,
        )
        .last("A")
        .last("B")
        .math("$C > 0 && $D == 0"),
        _Rule(
            "primepool-errors",
            "Error rate above 1 %",
            "1m",
            ("primepool-overview", "Error rate"),
            "{{ humanizePercentage .Values.B.Value }} of the jobs of the last five minutes failed or were rejected",
            "Look at the panels Failed and rejected jobs and, for the run in question, Outcomes. `results.jsonl` of the run has the "
            "reason of each. All of one node: take it out of service, its memory or processor may be at fault (`wrong_results` in "
            "`summary.json`). All nodes: the jobs themselves, such as sizes that the consumers refuse.",
        )
        .query(series(error_rate(over_time=False), ""), 300)
        .last("A")
        .math("$B > 0.01"),
        _Rule(
            "primepool-node-silent",
            "A node is silent",
            "1m",
            ("primepool-overview", "Nodes and workers alive"),
            "Node {{ .Labels.node }} has not reported for more than a minute",
            "It reported within the last quarter of an hour and does no longer. Its units go to other nodes, so the run goes on. "
            "Was it stopped on purpose? Then this ends by itself. If not: is the process there, does its machine answer, does its log "
            "say that InfluxDB refuses its points (then it works, unseen)?",
        )
        .query(
            # A range of two minutes, because the last interval has not ended yet.
            series(
                'SELECT MOVING_AVERAGE(COUNT("alive_s"), 2) AS "reports" FROM "node" WHERE $timeFilter '
                'GROUP BY time(1m), "node" fill(0)',
                "",
            ),
            900,
        )
        .last("A")
        .math("$B == 0"),
        _Rule(
            "primepool-metrics-dropped",
            "Metrics are lost",
            "0s",
            ("primepool-overview", "Points that wait or are lost"),
            "The {{ .Labels.source }} on {{ .Labels.node }} lost {{ .Values.B }} points in the last quarter of an hour",
            "Dropped: InfluxDB was away, or too slow, for longer than the spool on disk could hold; look at the server, then make the "
            "spool larger. Refused: the server called the points wrong; the log of the process holds the first of them and the "
            "reason, mostly a field that has another type there. Dashboards and `experiment report` are incomplete for that time; "
            "results of runs are not affected.",
        )
        .query(
            series(
                """SELECT SUM("dropped") + SUM("refused") AS "lost" FROM
                (SELECT NON_NEGATIVE_DIFFERENCE("points_dropped") AS "dropped",
                        NON_NEGATIVE_DIFFERENCE("points_refused") AS "refused"
                 FROM "metrics" WHERE $timeFilter GROUP BY "source", "node")
                WHERE $timeFilter GROUP BY "source", "node\"""",
                "",
            ),
            900,
        )
        .last("A")
        .math("$B > 0"),
    ]


def provisioning(panel_ids: dict[tuple[str, str], int]) -> dict[str, object]:
    """The content of the file in Grafana's folder `provisioning/alerting`. The keys of `panel_ids`
    are (dashboard, panel title)."""
    return {
        "apiVersion": 1,
        "groups": [
            {
                "orgId": 1,
                "name": "primepool",
                "folder": "Primepool",
                "interval": "30s",
                "rules": [rule.json(panel_ids) for rule in _rules()],
            }
        ],
    }
