//! Runs every query of every dashboard, alert rule and example of `docs/METRICS.md` on a real
//! InfluxDB. Grafana itself is not needed: `primepool_tests::expand` substitutes variables and
//! macros as Grafana does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use primepool_tests::{
    AlertRule, Choice, Context, Dashboard, Database, GrafanaQuery, Recording, Span, Variable,
    alert_rules, dashboards, expand, fill_rarities, fill_trouble, grafana_dir, workspace,
};
use serde_json::Value;

/// A query with this condition may return nothing in healthy runs: it selects jobs that failed or
/// were rejected.
const RARE: &str = "\"outcome\" != 'ok'";

/// Panels that may be empty in healthy runs.
const RARE_PANELS: [&str; 1] = ["Failed and rejected jobs"];

/// Minimum interval of panels without their own: `timeInterval` of the data source.
const INTERVAL: Duration = Duration::from_secs(5);

#[test]
fn every_query_gives_something() {
    let recording = Recording::get();
    check_queries(&recording.copy("queries"), recording.span);
}

/// Runs each query of dashboards and alerts on the metrics of healthy runs.
pub(crate) fn check_queries(database: &Database<'_>, span: Span) {
    let mut failures = Vec::new();
    let mut rare = Vec::new();

    for dashboard in dashboards() {
        let mut given = BTreeSet::new();
        for choices in choices(&dashboard, database, span) {
            for query in dashboard.annotation_queries() {
                run(database, &query, span, &choices).unwrap_or_else(|e| failures.push(e));
            }
            for query in dashboard.panel_queries() {
                match run(database, &query, span, &choices) {
                    Ok(()) => drop(given.insert(panel_of(&query))),
                    Err(_) if query.influxql.contains(RARE) => {
                        rare.push((query, choices.clone()));
                    }
                    Err(failure) => failures.push(failure),
                }
            }
        }
        for panel in dashboard.panels() {
            let title = panel["title"].as_str().unwrap();
            let place = format!("{}, panel {title:?}", dashboard.file);
            if !given.contains(&place) && !RARE_PANELS.contains(&title) {
                failures.push(format!("{place} is empty"));
            }
        }
    }
    for query in alert_rules().iter().flat_map(|rule| &rule.queries) {
        run(database, query, span, &[]).unwrap_or_else(|e| failures.push(e));
    }

    fill_rarities(database, span);
    for (query, choices) in rare {
        run(database, &query, span, &choices).unwrap_or_else(|e| failures.push(e));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let recording = Recording::get();
    let (healthy, ill) = (recording.copy("healthy"), recording.empty("ill"));
    check_alerts(&healthy, &ill, recording.span);
}

/// Checks that no alert fires on the metrics of healthy runs, and that each fires once on `ill`, an
/// empty database that this function fills with trouble.
pub(crate) fn check_alerts(healthy: &Database<'_>, ill: &Database<'_>, span: Span) {
    fill_trouble(ill, span);
    for rule in alert_rules() {
        assert_eq!(fires(&rule, healthy, span), 0, "{} fires", rule.title);
        assert_eq!(fires(&rule, ill, span), 1, "{}", rule.title);
    }
}

/// Number of label sets for which the rule's condition holds.
fn fires(rule: &AlertRule, database: &Database<'_>, span: Span) -> usize {
    // The last value of each series, as in the rules' expressions of type "reduce".
    let mut values: BTreeMap<String, BTreeMap<&str, f64>> = BTreeMap::new();
    for query in &rule.queries {
        let influxql = expanded(query, span, &[]);
        for series in database.query(&influxql).expect(&query.place) {
            let rows = series["values"].as_array().unwrap();
            if let Some(last) = rows.last().and_then(|row| row[1].as_f64()) {
                let labels = series["tags"].to_string();
                let reduced = &rule.reduced[&query.ref_id];
                values.entry(labels).or_default().insert(reduced, last);
            }
        }
    }
    let holds = |values: &&BTreeMap<&str, f64>| {
        rule.condition.split(" && ").all(|comparison| {
            let [value, operator, limit] = comparison.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{}: this test cannot read {comparison:?}", rule.title);
            };
            let value = values.get(value.strip_prefix('$').unwrap());
            let limit: f64 = limit.parse().unwrap();
            value.is_some_and(|&value| match operator {
                ">" => value > limit,
                "==" => value == limit,
                other => panic!("{}: this test does not know {other:?}", rule.title),
            })
        })
    };
    values.values().filter(holds).count()
}

#[test]
fn every_example_of_the_reference_gives_something_and_every_field_is_in_it() {
    let recording = Recording::get();
    check_reference(&recording.copy("examples"), recording.span);
}

/// Runs the examples of the reference on the metrics of healthy runs, and checks that the reference
/// names every field and tag.
pub(crate) fn check_reference(database: &Database<'_>, span: Span) {
    fill_rarities(database, span);
    let reference = fs::read_to_string(workspace().join("docs/METRICS.md")).unwrap();
    let mut failures = Vec::new();

    let examples: Vec<_> = reference.split("```sql\n").skip(1).collect();
    assert!(examples.len() >= 5, "examples in ```sql");
    for example in examples {
        let influxql = example.split("```").next().unwrap().trim();
        check(database.query(influxql), None)
            .unwrap_or_else(|e| failures.push(format!("docs/METRICS.md: {e}\n{influxql}")));
    }

    // The reference has a section for each measurement, with each of its fields and tags.
    let series = database.query("SHOW FIELD KEYS").unwrap();
    for measurement in series
        .into_iter()
        .chain(database.query("SHOW TAG KEYS").unwrap())
    {
        let name = measurement["name"].as_str().unwrap();
        let heading = format!("\n## `{name}`");
        let section = reference.split(&heading).nth(1).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap();
        // One row may describe several similar fields.
        let cells = section.lines().filter_map(|line| line.strip_prefix("| "));
        let named: Vec<&str> = cells.filter_map(|line| line.split(" | ").next()).collect();
        for row in measurement["values"].as_array().unwrap() {
            let key = row[0].as_str().unwrap();
            let in_ticks = format!("`{key}`");
            if !named.iter().any(|cell| cell.contains(&in_ticks)) {
                failures.push(format!("docs/METRICS.md: {name} has no row `{key}`"));
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}

#[test]
fn dashboards_are_well_formed() {
    let (mut uids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    let provisioning = grafana_dir().join("provisioning");
    let sources = fs::read_to_string(provisioning.join("datasources/influxdb.yaml")).unwrap();
    assert!(sources.contains(&format!("timeInterval: {INTERVAL:?}\n")));
    let dashboards = dashboards();
    for dashboard in &dashboards {
        let (file, json) = (&dashboard.file, &dashboard.json);
        assert!(uids.insert(json["uid"].as_str().unwrap()), "{file}: uid");
        assert!(titles.insert(json["title"].as_str().unwrap()), "{file}");
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in json["panels"].as_array().unwrap() {
            let place = format!("{file}, panel {}", panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{place}: id");
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|k| panel["gridPos"][k].as_u64().unwrap());
            assert!(x + w <= 24, "{place} is beyond the grid");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{place} covers another panel");
            }
        }
        for panel in dashboard.panels() {
            let place = format!("{file}, panel {}", panel["title"]);
            assert!(
                panel["description"].as_str().is_some_and(|t| t.len() > 8),
                "{place} has no description"
            );
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{place}");
        }
        let text = json.to_string();
        for uid in after_each(&text, "\"type\":\"influxdb\",\"uid\":\"") {
            assert!(sources.contains(&format!("uid: {uid}\n")), "{file}: {uid}");
        }
    }
    for dashboard in &dashboards {
        for uid in after_each(&dashboard.json.to_string(), "\"url\":\"/d/") {
            let uid = uid.split('?').next().unwrap();
            assert!(uids.contains(uid), "{}: link to {uid}", dashboard.file);
        }
    }
}

/// The texts between each `start` and the next quote.
fn after_each<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    let found = text.split(start).skip(1);
    found.map(|rest| rest.split('"').next().unwrap()).collect()
}

/// Combinations of selections to try on a dashboard: the initial ones first, then others for
/// variables that take several values.
fn choices(
    dashboard: &Dashboard,
    database: &Database<'_>,
    span: Span,
) -> Vec<Vec<(String, Choice)>> {
    let mut sets = vec![Vec::new()];
    for variable in dashboard.variables() {
        let chosen = choices_of(&variable, database, span);
        sets = chosen
            .into_iter()
            .flat_map(|choice| {
                sets.iter().map(move |set| {
                    let mut set = set.clone();
                    set.push(choice.clone());
                    set
                })
            })
            .collect();
    }
    sets
}

fn choices_of(variable: &Variable, database: &Database<'_>, span: Span) -> Vec<(String, Choice)> {
    let place = &variable.query.place;
    let influxql = expanded(&variable.query, span, &[]);
    let series = database.query(&influxql).expect(place);
    // Grafana shows the values of a single text column.
    let values = series
        .first()
        .unwrap_or_else(|| panic!("{place}: no value"))["values"]
        .as_array()
        .unwrap();
    let mut values: Vec<_> = values
        .iter()
        .map(|row| row[1].as_str().expect(place).to_owned())
        .collect();
    values.sort();
    if variable.descending {
        values.reverse();
    }
    let choices = if variable.multi {
        let all = match &variable.all {
            Some(all) => Choice::All(all.clone()),
            None => Choice::Several(values.clone()),
        };
        vec![
            all,
            Choice::Several(values[..1].to_vec()),
            Choice::Several(values),
        ]
    } else {
        vec![Choice::One(values.swap_remove(0))]
    };
    choices
        .into_iter()
        .map(|choice| (variable.name.clone(), choice))
        .collect()
}

fn expanded(query: &GrafanaQuery, (from, to): Span, choices: &[(String, Choice)]) -> String {
    let context = Context {
        from_ms: match query.last {
            Some(last) => to - u64::try_from(last.as_millis()).unwrap(),
            None => from,
        },
        to_ms: to,
        interval: query.interval.unwrap_or(INTERVAL),
        choices: choices.to_vec(),
    };
    expand(&query.influxql, &context).unwrap_or_else(|error| panic!("{}: {error}", query.place))
}

fn run(
    database: &Database<'_>,
    query: &GrafanaQuery,
    span: Span,
    choices: &[(String, Choice)],
) -> Result<(), String> {
    let influxql = expanded(query, span, choices);
    check(database.query(&influxql), query.unit.as_deref())
        .map_err(|error| format!("{}: {error}\n{influxql}", query.place))
}

/// Checks that each column has a value, and that shares are between 0 and 1 or 100 %.
fn check(answer: Result<Vec<Value>, String>, unit: Option<&str>) -> Result<(), String> {
    let series = answer?;
    let first = series.first().ok_or("gives nothing")?;
    let columns = first["columns"].as_array().unwrap();
    for (index, column) in columns.iter().enumerate() {
        let mut values = series
            .iter()
            .flat_map(|series| series["values"].as_array().unwrap())
            .map(|row| &row[index])
            .filter(|value| !value.is_null())
            .peekable();
        if values.peek().is_none() {
            return Err(format!("gives nothing in column {column}"));
        }
        // Rounding, and clocks that are read one after the other, may exceed the maximum a little.
        let highest = match unit {
            Some("percentunit") if column != "time" => 1.05,
            Some("percent") if column != "time" => 105.0,
            _ => continue,
        };
        if let Some(odd) =
            values.find(|v| !v.as_f64().is_some_and(|v| (0.0..=highest).contains(&v)))
        {
            return Err(format!("gives {odd} in column {column}, which is no share"));
        }
    }
    Ok(())
}

fn panel_of(query: &GrafanaQuery) -> String {
    query.place.rsplit_once(", query ").unwrap().0.to_owned()
}
