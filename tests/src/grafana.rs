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
    /// Where it stands, for messages.
    pub place: String,
    /// Its letter.
    pub ref_id: String,
    /// As in the file, with variables and macros.
    pub influxql: String,
    /// The time range that it has in place of the dashboard's: this long, up to the end of that.
    pub last: Option<Duration>,
    /// The shortest interval.
    pub interval: Option<Duration>,
    /// The unit of what it gives, as Grafana calls it.
    pub unit: Option<String>,
}

/// An alert rule: queries, the last value of each series, and a comparison of these.
#[derive(Debug)]
pub struct AlertRule {
    /// What it is called.
    pub title: String,
    /// What it asks the server.
    pub queries: Vec<GrafanaQuery>,
    /// By a query's letter: the letter of its last value.
    pub reduced: BTreeMap<String, String>,
    /// A comparison such as `$C > 0 && $D == 0`.
    pub condition: String,
}

/// A dashboard's file.
#[derive(Debug)]
pub struct Dashboard {
    /// Name of the file.
    pub file: String,
    /// What it holds.
    pub json: Value,
}

/// A variable of a dashboard.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// The query for its values.
    pub query: GrafanaQuery,
    /// It takes several values at a time.
    pub multi: bool,
    /// What stands for all values.
    pub all: Option<String>,
    /// The values come with the last in front.
    pub descending: bool,
}

/// The folder with dashboards and provisioning.
pub fn grafana_dir() -> PathBuf {
    workspace().join("grafana")
}

/// All dashboards.
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

/// All alert rules.
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
    /// Its panels, without the headings of rows.
    pub fn panels(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["panels"]).filter(|panel| panel["type"] != "row")
    }

    /// The queries of its panels.
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

    /// The queries of its annotations.
    pub fn annotation_queries(&self) -> Vec<GrafanaQuery> {
        let annotations = list(&self.json["annotations"]["list"]);
        let query = |annotation: &Value| {
            let place = format!("{}, annotation {}", self.file, annotation["name"]);
            GrafanaQuery::new(place, &annotation["target"])
        };
        annotations.map(query).collect()
    }

    /// Its variables.
    pub fn variables(&self) -> Vec<Variable> {
        let variable = |json: &Value| {
            let name = text(&json["name"]).to_owned();
            let place = format!("{}, variable {name}", self.file);
            let order = json["sort"].as_u64().unwrap();
            Variable {
                query: GrafanaQuery::new(place, &json["query"]),
                multi: json["multi"] == true,
                all: json["allValue"].as_str().map(str::to_owned),
                // Grafana's orders: 1 and 3 ascending, 2 and 4 descending.
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
