use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use crate::workspace;

/// A query of a dashboard or an alert rule.
#[derive(Debug, Clone)]
pub struct GrafanaQuery {
    /// Dashboard and panel, or alert rule, of the query; for messages.
    pub place: String,
    /// The letter that identifies the query in its panel or rule.
    pub ref_id: String,
    /// InfluxQL as in the file, with variables and macros.
    pub influxql: String,
    /// Length of the query's own time range, if any; it ends where the dashboard's time range ends.
    pub last: Option<Duration>,
    /// Minimum length of an interval.
    pub interval: Option<Duration>,
    /// Grafana's name for the unit of the values.
    pub unit: Option<String>,
}

/// An alert rule: queries, the last value of each series, and a comparison of these values.
#[derive(Debug)]
pub struct AlertRule {
    /// Title of the rule.
    pub title: String,
    /// The queries that the rule sends to the data source.
    pub queries: Vec<GrafanaQuery>,
    /// Maps the letter of a query to the letter of the expression that holds its last value.
    pub reduced: BTreeMap<String, String>,
    /// A comparison such as `$C > 0 && $D == 0`.
    pub condition: String,
}

/// A dashboard and the name of its file.
#[derive(Debug)]
pub struct Dashboard {
    /// Name of the file.
    pub file: String,
    /// The parsed content of the file.
    pub json: Value,
}

/// A variable of a dashboard.
#[derive(Debug)]
pub struct Variable {
    /// Name of the variable.
    pub name: String,
    /// The query for its values.
    pub query: GrafanaQuery,
    /// Whether the user may select several values at once.
    pub multi: bool,
    /// The text that stands for all values, if there is one.
    pub all: Option<String>,
    /// Whether the values are sorted in descending order.
    pub descending: bool,
}

/// The folder with dashboards and provisioning.
pub fn grafana_dir() -> PathBuf {
    workspace().join("grafana")
}

/// Reads all dashboards.
pub fn dashboards() -> Vec<Dashboard> {
    let mut files: Vec<_> = fs::read_dir(grafana_dir().join("dashboards"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = |path: &PathBuf| Dashboard {
        file: path.file_name().unwrap().to_str().unwrap().to_owned(),
        json: read_json(path),
    };
    files.iter().map(read).collect()
}

/// Reads all alert rules.
pub fn alert_rules() -> Vec<AlertRule> {
    let file = read_json(&grafana_dir().join("provisioning/alerting/primepool.json"));
    let rules = list(&file["groups"]).flat_map(|group| list(&group["rules"]));
    rules.map(AlertRule::read).collect()
}

impl AlertRule {
    fn read(rule: &Value) -> Self {
        let title = text(&rule["title"]).to_owned();
        let (mut queries, mut reduced, mut condition) = (Vec::new(), BTreeMap::new(), None);
        for data in list(&rule["data"]) {
            let (model, ref_id) = (&data["model"], text(&data["refId"]).to_owned());
            let place = format!("alert {title:?}, query {ref_id}");
            let range = &data["relativeTimeRange"];
            assert_eq!(range["to"], 0, "{place}: its time range ends before now");
            match model["type"].as_str() {
                None => queries.push(GrafanaQuery {
                    last: Some(Duration::from_secs(range["from"].as_u64().unwrap())),
                    ..GrafanaQuery::new(place, model)
                }),
                Some("reduce") => {
                    assert_eq!(model["reducer"], "last", "{place}");
                    reduced.insert(text(&model["expression"]).to_owned(), ref_id);
                }
                Some("math") => {
                    assert_eq!(rule["condition"], *ref_id, "{place}");
                    condition = Some(text(&model["expression"]).to_owned());
                }
                Some(other) => panic!("{place} is of type {other}"),
            }
        }
        Self {
            condition: condition.unwrap_or_else(|| panic!("{title}: no condition")),
            title,
            queries,
            reduced,
        }
    }
}

impl Dashboard {
    /// The panels, without the headings of rows.
    pub fn panels(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["panels"]).filter(|panel| panel["type"] != "row")
    }

    /// The queries of all panels.
    pub fn panel_queries(&self) -> Vec<GrafanaQuery> {
        let mut queries = Vec::new();
        for panel in self.panels() {
            for target in list(&panel["targets"]) {
                let (title, query) = (&panel["title"], text(&target["refId"]));
                let place = format!("{}, panel {}, query {query}", self.file, title);
                let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
                queries.push(GrafanaQuery {
                    last: panel["timeFrom"].as_str().map(duration),
                    interval: panel["interval"].as_str().map(duration),
                    unit: unit.map(str::to_owned),
                    ..GrafanaQuery::new(place, target)
                });
            }
        }
        queries
    }

    /// The queries of all annotations.
    pub fn annotation_queries(&self) -> Vec<GrafanaQuery> {
        let annotations = list(&self.json["annotations"]["list"]);
        let query = |annotation: &Value| {
            let place = format!("{}, annotation {}", self.file, annotation["name"]);
            GrafanaQuery::new(place, &annotation["target"])
        };
        annotations.map(query).collect()
    }

    /// The dashboard's variables.
    pub fn variables(&self) -> Vec<Variable> {
        let variable = |json: &Value| {
            let name = text(&json["name"]).to_owned();
            let place = format!("{}, variable {name}", self.file);
            let order = json["sort"].as_u64().unwrap();
            Variable {
                query: GrafanaQuery::new(place, &json["query"]),
                multi: json["multi"] == true,
                all: json["allValue"].as_str().map(str::to_owned),
                // Grafana's sort orders: 1 and 3 are ascending, 2 and 4 descending.
                descending: order != 0 && order.is_multiple_of(2),
                name,
            }
        };
        list(&self.json["templating"]["list"])
            .map(variable)
            .collect()
    }
}

impl GrafanaQuery {
    fn new(place: String, json: &Value) -> Self {
        Self {
            influxql: text(&json["query"]).to_owned(),
            ref_id: text(&json["refId"]).to_owned(),
            place,
            last: None,
            interval: None,
            unit: None,
        }
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().into_iter().flatten()
}

fn text(json: &Value) -> &str {
    json.as_str().unwrap()
}

fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => panic!("{text:?} is not a duration"),
    };
    Duration::from_secs(number.parse::<u64>().unwrap() * seconds)
}
