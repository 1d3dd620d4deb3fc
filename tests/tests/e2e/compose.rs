//! Checks of the configuration in docker-compose.yml. Its behaviour on a real engine with real
//! containers is tested in `long/compose.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use primepool_tests::workspace;
use serde_json::Value;

/// Output of `docker compose config` for the file.
fn configuration(variables: &[(&str, &str)]) -> Output {
    let script = ". infra/local/lib.sh && export DOCKER_CONFIG=$PRIMEPOOL_DOCKER_CONFIG && \
                  exec docker compose --env-file /dev/null config --format json";
    Command::new("bash")
        .args(["-c", script])
        .current_dir(workspace())
        .env_remove("PRIMEPOOL_SECRETS")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn services(variables: &[(&str, &str)]) -> BTreeMap<String, Value> {
    let output = configuration(variables);
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(told["services"].clone()).unwrap()
}

#[test]
fn without_passwords_one_line_says_what_to_do() {
    let output = configuration(&[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(text.contains("make up makes them"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn every_service_is_confined() {
    let services = services(&[
        ("PRIMEPOOL_SECRETS", "/nowhere"),
        ("PRIMEPOOL_USER", "1000:1000"),
    ]);
    let names: Vec<_> = services.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "consumer",
            "dashboard",
            "grafana",
            "influxdb",
            "producer",
            "rabbitmq"
        ]
    );
    for (name, service) in &services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        let options = serde_json::json!(["no-new-privileges:true"]);
        assert_eq!(service["security_opt"], options, "{name}");
        assert!(
            service["cap_add"].is_null() && service["privileged"].is_null(),
            "{name}"
        );
        assert!(service["cpus"].as_f64().unwrap() > 0.0, "{name}");
        assert!(service["mem_limit"].is_string(), "{name}");
        // The images of the pool and of Grafana are made so that they do not start as root.
        if !matches!(name.as_str(), "consumer" | "dashboard" | "grafana") {
            assert_ne!(service["user"].as_str().unwrap(), "root", "{name}");
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}");
        }
        match name.as_str() {
            "producer" => assert_eq!(service["restart"], "no"),
            _ => assert_eq!(service["restart"], "unless-stopped", "{name}"),
        }
        let own_check = service["healthcheck"]["test"].is_array();
        assert!(
            own_check || matches!(name.as_str(), "consumer" | "dashboard" | "producer"),
            "{name}"
        );
        // Passwords are in files, never in environment variables.
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let secret = ["PASSWORD", "TOKEN", "AMQP_URL"]
                .iter()
                .any(|word| variable.contains(word));
            let file = value
                .as_str()
                .unwrap_or_default()
                .starts_with("/run/secrets/");
            assert!(!secret || file, "{name}: {variable}");
        }
    }
    let order = |name: &str| -> BTreeSet<String> {
        let needs = services[name]["depends_on"].as_object().unwrap();
        assert!(
            needs
                .values()
                .all(|need| need["condition"] == "service_healthy"),
            "{name}"
        );
        needs.keys().cloned().collect()
    };
    assert_eq!(
        order("consumer"),
        ["influxdb", "rabbitmq"].map(str::to_owned).into()
    );
    assert_eq!(
        order("producer"),
        ["influxdb", "rabbitmq"].map(str::to_owned).into()
    );
    assert_eq!(order("grafana"), ["influxdb".to_owned()].into());
    let grace = services["consumer"]["stop_grace_period"].as_str().unwrap();
    let drain = services["consumer"]["environment"]["PRIMEPOOL_DRAIN_TIMEOUT"]
        .as_str()
        .unwrap();
    let seconds = |text: &str| text.trim_end_matches('s').parse::<u32>().unwrap();
    assert!(seconds(grace) > seconds(drain), "{grace} {drain}");

    // Ports are open to other machines only on request.
    let variables = [
        ("PRIMEPOOL_SECRETS", "/nowhere"),
        ("PRIMEPOOL_BIND", "0.0.0.0"),
    ];
    let open = self::services(&variables);
    assert_eq!(open["rabbitmq"]["ports"][0]["host_ip"], "0.0.0.0");
}

#[test]
fn grafana_is_given_what_its_provisioning_asks_for() {
    let services = services(&[("PRIMEPOOL_SECRETS", "/nowhere")]);
    let grafana = &services["grafana"];
    let environment = grafana["environment"].as_object().unwrap();
    let entrypoint = grafana["entrypoint"].to_string();
    let provisioning = workspace().join("grafana/provisioning");
    let mut asked = BTreeSet::new();
    for file in ["datasources/influxdb.yaml", "dashboards/primepool.yaml"] {
        let text = fs::read_to_string(provisioning.join(file)).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        for word in lines.flat_map(|line| line.split('$').skip(1)) {
            let name = |c: char| c.is_ascii_uppercase() || c == '_';
            asked.insert(word.chars().take_while(|c| name(*c)).collect::<String>());
        }
    }
    assert!(asked.len() >= 4, "{asked:?}");
    for variable in &asked {
        let exported = entrypoint.contains(&format!("export {variable}"));
        assert!(environment.contains_key(variable) || exported, "{variable}");
    }
    let mounts = grafana["volumes"].as_array().unwrap();
    let mounted = |target: &Value| {
        let mount = mounts.iter().find(|mount| mount["target"] == *target);
        PathBuf::from(mount.unwrap()["source"].as_str().unwrap())
    };
    assert!(
        mounted(&environment["GRAFANA_DASHBOARDS"])
            .join("overview.json")
            .exists()
    );
    assert_eq!(mounted(&"/etc/grafana/provisioning".into()), provisioning);
    // Writers and the reader (Grafana) use the same database.
    for variable in ["INFLUX_HOST", "INFLUX_BUCKET"] {
        assert_eq!(
            environment[variable],
            services["consumer"]["environment"][variable]
        );
    }
}
