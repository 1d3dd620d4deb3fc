//! The broker as infra/rabbitmq sets it up: its definitions match what the programs declare, and
//! each user can do its job and no more.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use lapin::{
    BasicProperties, Channel, Error, ErrorKind, ExchangeKind,
    options::{
        BasicGetOptions, BasicPublishOptions, ExchangeBindOptions, ExchangeDeclareOptions,
        QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
    },
    types::{AMQPValue, FieldTable},
};
use primepool_common::{message::JobKind, topology};
use primepool_tests::{
    Binary, Broker, Consumer, Process, Results, chaos::Proxy, wait_for, with_channel, workspace,
};
use serde_json::Value;
use tempfile::tempdir;

use crate::monitor::wait_for_letters;

/// The broker of the tests in this file that leave it unchanged; they run one after the other.
fn shared_pool() -> MutexGuard<'static, (Broker, String)> {
    static POOL: OnceLock<Mutex<(Broker, String)>> = OnceLock::new();
    let pool = POOL.get_or_init(|| Mutex::new(Broker::pool()));
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rows that rabbitmqctl lists, sorted.
fn list(broker: &Broker, vhost: &str, what: &[&str]) -> Vec<Value> {
    let args = [what, &["-p", vhost, "--formatter", "json", "--quiet"]].concat();
    let mut rows: Vec<Value> = serde_json::from_str(&broker.ctl(&args)).unwrap();
    rows.sort_by_key(Value::to_string);
    rows
}

#[test]
fn definitions_are_what_the_programs_declare() {
    let (broker, _) = Broker::pool();
    // The programs declare everything in the default virtual host, as a user who may do so.
    let dir = tempdir().unwrap();
    let url = format!("{}/%2f", broker.url.trim_end_matches("/primepool"));
    let _consumer = Consumer::at(dir.path(), &url, &[]);
    for what in [
        &["list_queues", "name", "durable", "auto_delete", "arguments"][..],
        &[
            "list_bindings",
            "source_name",
            "destination_name",
            "routing_key",
            "arguments",
        ],
        &[
            "list_exchanges",
            "name",
            "type",
            "durable",
            "internal",
            "auto_delete",
            "arguments",
        ],
    ] {
        let declared = list(&broker, "/", what);
        assert!(declared.len() >= JobKind::ALL.len(), "{declared:?}");
        assert_eq!(list(&broker, "primepool", what), declared);
    }
}

#[test]
fn policies_say_what_the_programs_say() {
    let pool = shared_pool();
    let broker = &pool.0;
    let queues = list(broker, "primepool", &["list_queues", "name", "policy"]);
    let policy_of = |queue: &str| {
        let row = queues.iter().find(|row| row["name"] == queue);
        row.unwrap()["policy"].as_str().unwrap().to_owned()
    };
    for kind in JobKind::ALL {
        assert_eq!(policy_of(&topology::jobs_queue(kind)), "primepool-jobs");
    }
    // By default, RabbitMQ 4 drops a message that was read and put back twenty times.
    assert_eq!(policy_of(topology::DEAD_QUEUE), "primepool-kept");
    assert_eq!(policy_of(topology::UNROUTED_QUEUE), "primepool-kept");

    let text = fs::read(workspace().join("infra/rabbitmq/definitions.json")).unwrap();
    let definitions: Value = serde_json::from_slice(&text).unwrap();
    let policies = definitions["policies"].as_array().unwrap();
    let jobs = policies.iter().find(|one| one["name"] == "primepool-jobs");
    let jobs = &jobs.unwrap()["definition"];
    assert_eq!(jobs["delivery-limit"], topology::DELIVERY_LIMIT);
    assert_eq!(jobs["dead-letter-routing-key"], topology::DEAD_QUEUE);
    // The policy agrees with the arguments of the queues, which take precedence.
    let arguments = &definitions["queues"][0]["arguments"];
    for (key, value) in jobs.as_object().unwrap() {
        let argument = &arguments[format!("x-{key}")];
        assert!(argument == value || key == "queue-leader-locator", "{key}");
    }
    // Each installation sets its own passwords.
    for user in definitions["users"].as_array().unwrap() {
        assert_eq!(user["password_hash"], "", "{user}");
    }
}

#[test]
fn each_user_can_do_its_job() {
    let (pool, dir) = (shared_pool(), tempdir().unwrap());
    let (broker, management) = &*pool;
    let address = ["--management-url", management];
    let url = broker.pool_url("consumer");
    let args = [&["--node", "n1", "--concurrency", "2"][..], &address].concat();
    let consumer = Consumer::at(dir.path(), &url, &args);

    let url = broker.pool_url("producer");
    let args = [&["--count", "300", "--bits", "256"][..], &address].concat();
    let done = Process::start(Binary::Producer, dir.path(), &url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    results.assert_primes(300, 256);
    assert!(!done.stderr.contains("metrics lack"), "{done:?}");
    // The run's end is permitted too: the results queue is deleted.
    let queue = format!("{}.{}", topology::RESULTS_EXCHANGE, results.run());
    assert_eq!(broker.ready(&queue), None);

    // A run may also be detached and resumed later.
    let dir = tempdir().unwrap();
    let args = ["--count", "50", "--bits", "256", "--detach"];
    let done = Process::start(Binary::Producer, dir.path(), &url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let run = done.stdout.trim();
    let done = Process::start(Binary::Producer, dir.path(), &url, &["resume", run]).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = Results::read(dir.path());
    results.assert_primes(50, 256);
    assert_eq!(results.summary["duplicates"], 0);

    broker.publish(
        topology::JOBS_EXCHANGE,
        "prime",
        b"no unit",
        BasicProperties::default(),
    );
    wait_for_letters(broker, 1);
    operate(broker, management);
    wait_for_letters(broker, 0);

    let (_, log) = consumer.0.output();
    assert!(
        !log.contains("metrics lack") && !log.contains("ERROR"),
        "{log}"
    );
}

/// Does the work of an operator, with one unreadable dead letter and a consumer named n1.
fn operate(broker: &Broker, management: &str) {
    let dir = tempdir().unwrap();
    let url = broker.pool_url("operator");
    let primepool = |args: &[&str]| {
        let done = Process::start(Binary::Monitor, dir.path(), &url, args).wait();
        assert!(!done.stderr.contains("lacks a permission"), "{done:?}");
        done
    };
    let status = primepool(&["status", "--json", "--management-url", management]);
    assert_eq!(status.code, Some(0), "{status:?}");
    let report: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(report["nodes"][0]["node"], "n1", "{report}");
    assert_eq!(report["unknown"], Value::Array(Vec::new()), "{report}");
    assert_eq!(report["dead"]["reasons"][0]["letters"], 1, "{report}");
    assert!(report["queues"][0]["unacked"].is_u64(), "{report}");

    // A unit that was dead-lettered by mistake goes back to the consumers.
    const UNIT: &[u8] = br#"{"version":1,"run":"9-over","unit":0,"first":0,"published_ns":0,"kind":"prime","bits":64,"count":1}"#;
    let properties = BasicProperties::default;
    broker.publish(topology::DEAD_EXCHANGE, "", UNIT, properties());
    wait_for_letters(broker, 2);
    let requeued = primepool(&["dead", "requeue", "--all"]);
    assert_eq!(requeued.code, Some(1), "{requeued:?}");
    assert!(
        requeued.stdout.contains("requeued 1 letter"),
        "{requeued:?}"
    );
    wait_for("the answer to a run that is over", || {
        broker.take(topology::UNROUTED_QUEUE)
    });
    wait_for_letters(broker, 1);
    let dropped = primepool(&["dead", "drop", "--all"]);
    assert_eq!(dropped.code, Some(0), "{dropped:?}");

    let producer = broker.pool_url("producer");
    let args = ["--count", "200000", "--bits", "512"];
    let producer = Process::start(Binary::Producer, dir.path(), &producer, &args);
    let run = Results::wait_for_run(dir.path());
    wait_for("results", || (Results::count(dir.path()) > 0).then_some(()));
    let elsewhere = ["cancel", &run, "--runs-dir", "elsewhere"];
    let cancelled = primepool(&elsewhere);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let ended = producer.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("was cancelled"), "{ended:?}");
}

/// As just after the broker was killed: it accepts connections, but a queue is not available yet.
#[test]
fn a_queue_that_is_not_up_yet_is_waited_for() {
    let ((broker, _), dir) = (Broker::pool(), tempdir().unwrap());
    // Hide the queue from the broker, as if it were not up.
    let name = topology::CONTROL_STREAM;
    broker.ctl(&[
        "eval",
        &format!(
            r#"Name = rabbit_misc:r(<<"primepool">>, queue, <<"{name}">>), [Queue] = mnesia:dirty_read(rabbit_queue, Name), persistent_term:put(away, Queue), ok = mnesia:dirty_delete(rabbit_queue, Name)."#
        ),
    ]);
    let (proxy, url) = Proxy::before(&broker.pool_url("consumer"));
    let consumer = Consumer::begin(dir.path(), &url, &[]);
    // One connection for publishing, and three failed attempts to take units.
    wait_for("further attempts", || {
        (proxy.connections() >= 4).then_some(())
    });
    assert_eq!(consumer.is_connected(), Some(false));
    broker.ctl(&[
        "eval",
        "ok = mnesia:dirty_write(rabbit_queue, persistent_term:get(away)).",
    ]);
    consumer.wait_until_connected();
}

/// Panics unless the broker refuses the action with ACCESS_REFUSED (403).
fn assert_refused(url: &str, what: &str, act: impl AsyncFnOnce(&Channel) -> Result<(), Error>) {
    let done = with_channel(url, act);
    let error = done.expect_err(what);
    let refused = matches!(error.kind(), ErrorKind::ProtocolError(amqp) if amqp.get_id() == 403);
    assert!(refused, "{what}: {error:?}");
}

/// Panics if this user may declare or delete anything of the pool, or make anything of its own.
fn assert_declares_nothing(url: &str) {
    let table = FieldTable::default;
    assert_refused(url, "a queue", async |channel| {
        let options = QueueDeclareOptions::default();
        channel
            .queue_declare("mine".into(), options, table())
            .await?;
        Ok(())
    });
    assert_refused(url, "a queue of the server's naming", async |channel| {
        let options = QueueDeclareOptions::default();
        channel.queue_declare("".into(), options, table()).await?;
        Ok(())
    });
    assert_refused(url, "an exchange", async |channel| {
        let (kind, options) = (ExchangeKind::Fanout, ExchangeDeclareOptions::default());
        channel
            .exchange_declare("primepool.mine".into(), kind, options, table())
            .await
    });
    let jobs = topology::jobs_queue(JobKind::Prime);
    for queue in [
        jobs.as_str(),
        topology::DEAD_QUEUE,
        topology::UNROUTED_QUEUE,
        topology::CONTROL_STREAM,
    ] {
        assert_refused(url, queue, async |channel| {
            let options = QueueDeleteOptions::default();
            channel.queue_delete(queue.into(), options).await?;
            Ok(())
        });
        assert_refused(url, queue, async |channel| {
            let (exchange, options) = (topology::RESULTS_EXCHANGE, QueueBindOptions::default());
            channel
                .queue_bind(queue.into(), exchange.into(), "".into(), options, table())
                .await
        });
    }
}

fn assert_cannot_publish(url: &str, targets: &[(&str, &str)]) {
    for (exchange, key) in targets {
        assert_refused(url, &format!("to {exchange:?}, {key}"), async |channel| {
            let options = BasicPublishOptions::default();
            let properties = BasicProperties::default();
            channel
                .basic_publish((*exchange).into(), (*key).into(), options, b"x", properties)
                .await?
                .await?;
            Ok(())
        });
    }
}

fn assert_cannot_read(url: &str, queues: &[&str]) {
    for queue in queues {
        assert_refused(url, queue, async |channel| {
            let options = BasicGetOptions::default();
            channel.basic_get((*queue).into(), options).await?;
            Ok(())
        });
        assert_refused(url, queue, async |channel| {
            let options = QueuePurgeOptions::default();
            channel.queue_purge((*queue).into(), options).await?;
            Ok(())
        });
    }
}

#[test]
fn nobody_can_do_more() {
    let pool = shared_pool();
    let (broker, management) = &*pool;
    let jobs = topology::jobs_queue(JobKind::Prime);
    // The results queue of a run.
    let run = "primepool.results.20261122-201530-9f3c01ab";
    with_channel(&broker.pool_url("producer"), async |channel| {
        let options = QueueDeclareOptions::default();
        channel
            .queue_declare(run.into(), options, FieldTable::default())
            .await
            .unwrap();
    });

    let consumer = broker.pool_url("consumer");
    assert_declares_nothing(&consumer);
    assert_cannot_publish(
        &consumer,
        &[
            (topology::JOBS_EXCHANGE, "prime"),
            (topology::UNROUTED_EXCHANGE, ""),
            (topology::CONTROL_EXCHANGE, ""),
            ("", &jobs), // the default exchange leads to every queue
            ("", run),
            ("", topology::DEAD_QUEUE),
        ],
    );
    assert_cannot_read(
        &consumer,
        &[
            topology::DEAD_QUEUE,
            topology::UNROUTED_QUEUE,
            topology::NODES_STREAM,
            run,
        ],
    );

    let producer = broker.pool_url("producer");
    assert_declares_nothing(&producer);
    assert_refused(&producer, "a queue of jobs", async |channel| {
        let options = QueueDeclareOptions::default();
        let name = "primepool.jobs.other".into();
        channel
            .queue_declare(name, options, FieldTable::default())
            .await?;
        Ok(())
    });
    assert_cannot_publish(
        &producer,
        &[
            (topology::RESULTS_EXCHANGE, "20261122-201530-9f3c01ab"),
            (topology::DEAD_EXCHANGE, ""),
            ("", &jobs),
        ],
    );
    assert_cannot_read(
        &producer,
        &[&jobs, topology::DEAD_QUEUE, topology::UNROUTED_QUEUE],
    );

    let operator = broker.pool_url("operator");
    assert_declares_nothing(&operator);
    assert_cannot_publish(
        &operator,
        &[
            (topology::RESULTS_EXCHANGE, "20261122-201530-9f3c01ab"),
            (topology::DEAD_EXCHANGE, ""),
            (topology::NODES_EXCHANGE, ""),
            (topology::UNROUTED_EXCHANGE, ""),
            ("", &jobs),
            ("", topology::DEAD_QUEUE),
        ],
    );
    assert_cannot_read(
        &operator,
        &[
            &jobs,
            topology::UNROUTED_QUEUE,
            topology::CONTROL_STREAM,
            run,
        ],
    );
    assert_refused(&operator, "a run's queue", async |channel| {
        let options = QueueDeleteOptions::default();
        channel.queue_delete(run.into(), options).await?;
        Ok(())
    });

    let monitoring = broker.pool_url("monitoring");
    assert_declares_nothing(&monitoring);
    assert_cannot_publish(
        &monitoring,
        &[
            (topology::JOBS_EXCHANGE, "prime"),
            (topology::RESULTS_EXCHANGE, "r"),
            (topology::DEAD_EXCHANGE, ""),
            ("", &jobs),
        ],
    );
    assert_cannot_read(&monitoring, &[&jobs, topology::DEAD_QUEUE, run]);

    let queue = format!("/api/queues/primepool/{jobs}");
    let get = r#"{"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}"#;
    let publish =
        r#"{"properties":{},"routing_key":"prime","payload":"x","payload_encoding":"string"}"#;
    for user in ["monitoring", "operator", "consumer", "producer"] {
        let url = broker.pool_url(user);
        let ask = |method: &str, path: &str, body: &str| {
            let (status, body) = http(management, &url, method, path, body);
            (
                status,
                serde_json::from_str::<Value>(&body).unwrap_or_default(),
            )
        };
        let (status, told) = ask("GET", &queue, "");
        assert_eq!(
            (status, &told["name"]),
            (200, &jobs.as_str().into()),
            "{user}"
        );
        let mut forbidden = vec![
            ("DELETE", queue.clone(), ""),
            ("PUT", "/api/queues/primepool/mine".to_owned(), "{}"),
            (
                "PUT",
                "/api/users/mine".to_owned(),
                r#"{"password":"x","tags":"administrator"}"#,
            ),
            (
                "PUT",
                "/api/policies/primepool/mine".to_owned(),
                r#"{"pattern":".*","definition":{"max-length":1}}"#,
            ),
            (
                "PUT",
                format!("/api/permissions/primepool/{user}"),
                r#"{"configure":".*","write":".*","read":".*"}"#,
            ),
            ("GET", "/api/definitions".to_owned(), ""),
        ];
        if user != "consumer" {
            forbidden.push(("POST", format!("{queue}/get"), get));
            forbidden.push(("DELETE", format!("{queue}/contents"), ""));
        }
        if !matches!(user, "producer" | "operator") {
            let path = format!(
                "/api/exchanges/primepool/{}/publish",
                topology::JOBS_EXCHANGE
            );
            forbidden.push(("POST", path, publish));
        }
        for (method, path, body) in forbidden {
            let (status, answer) = ask(method, &path, body);
            let told = answer.to_string();
            // RabbitMQ 3.10 answers 400 where AMQP would refuse the access.
            let refused =
                matches!(status, 401 | 403) || status == 400 && told.contains("access to");
            assert!(refused, "{user}: {method} {path}: {status} {told}");
        }
    }
    // The monitoring user sees everything that matters.
    let url = broker.pool_url("monitoring");
    for path in [
        "/api/overview",
        "/api/nodes",
        "/api/connections",
        "/api/queues",
    ] {
        assert_eq!(http(management, &url, "GET", path, "").0, 200, "{path}");
    }
    assert_eq!(broker.ready(&jobs), Some(0));
    broker.delete_queue(run);
}

/// A queue name like that of a run, which producers may declare.
const OWN: &str = "primepool.results.9-own";

#[test]
fn a_name_that_may_be_made_leads_nowhere_else() {
    let pool = shared_pool();
    let broker = &pool.0;
    let jobs = topology::jobs_queue(JobKind::Prime);
    let (consumer, producer) = (broker.pool_url("consumer"), broker.pool_url("producer"));
    let operator = broker.pool_url("operator");
    let argument = |key: &'static str, value: &str| {
        let mut table = FieldTable::default();
        table.insert(key.into(), AMQPValue::LongString(value.into()));
        table
    };
    let (queue, exchange) = (
        QueueDeclareOptions::default,
        ExchangeDeclareOptions::default,
    );
    // A permitted declaration as a control; without it, the rest might fail for another reason.
    with_channel(&producer, async |channel| {
        let table = FieldTable::default;
        channel
            .queue_declare(OWN.into(), queue(), table())
            .await
            .unwrap();
        let results = topology::RESULTS_EXCHANGE.into();
        let key = "9-own".into();
        let options = QueueBindOptions::default();
        channel
            .queue_bind(OWN.into(), results, key, options, table())
            .await
            .unwrap();
    });

    // Dead letters of a queue and unroutable messages of an exchange are published without any
    // permission check.
    for target in ["", topology::DEAD_EXCHANGE, "amq.fanout"] {
        assert_refused(
            &producer,
            &format!("dead letters to {target:?}"),
            async |channel| {
                let table = argument("x-dead-letter-exchange", target);
                let name = "primepool.results.9-dead".into();
                channel.queue_declare(name, queue(), table).await?;
                Ok(())
            },
        );
        if !target.is_empty() {
            assert_refused(
                &producer,
                &format!("an alternate {target}"),
                async |channel| {
                    let table = argument("alternate-exchange", target);
                    let name = "primepool.results.9-exchange".into();
                    channel
                        .exchange_declare(name, ExchangeKind::Fanout, exchange(), table)
                        .await
                },
            );
        }
    }
    // Bindings that would copy units, dead letters, unrouted answers or all messages.
    for source in [
        topology::JOBS_EXCHANGE,
        topology::DEAD_EXCHANGE,
        topology::UNROUTED_EXCHANGE,
        topology::CONTROL_EXCHANGE,
        topology::NODES_EXCHANGE,
        "amq.rabbitmq.trace",
        "amq.topic",
    ] {
        for user in [&producer, &consumer, &operator] {
            assert_refused(user, &format!("a binding to {source}"), async |channel| {
                let (options, table) = (QueueBindOptions::default(), FieldTable::default());
                channel
                    .queue_bind(OWN.into(), source.into(), "#".into(), options, table)
                    .await
            });
        }
    }
    // Bindings that would lead around the exchange of a job queue, or into another exchange.
    for (destination, source) in [
        (topology::JOBS_EXCHANGE, topology::RESULTS_EXCHANGE),
        (topology::DEAD_EXCHANGE, topology::RESULTS_EXCHANGE),
        (topology::RESULTS_EXCHANGE, topology::JOBS_EXCHANGE),
        (topology::RESULTS_EXCHANGE, "amq.topic"),
        (topology::NODES_EXCHANGE, "amq.topic"),
    ] {
        for user in [&producer, &consumer, &operator] {
            // A producer may publish units and read answers, so it may bind one exchange to the
            // other: no message is valid as both.
            if user == &producer && destination == topology::JOBS_EXCHANGE {
                continue;
            }
            let what = format!("{source} into {destination}");
            assert_refused(user, &what, async |channel| {
                let (options, table) = (ExchangeBindOptions::default(), FieldTable::default());
                channel
                    .exchange_bind(destination.into(), source.into(), "".into(), options, table)
                    .await
            });
        }
    }
    for exchange in [
        "amq.direct",
        "amq.fanout",
        "amq.headers",
        "amq.match",
        "amq.topic",
        "amq.rabbitmq.trace",
    ] {
        for user in ["consumer", "producer", "operator", "monitoring"] {
            assert_cannot_publish(&broker.pool_url(user), &[(exchange, jobs.as_str())]);
        }
    }
    broker.delete_queue(OWN);
}

#[test]
fn the_management_api_opens_nothing_more() {
    let pool = shared_pool();
    let (broker, management) = &*pool;
    let jobs = topology::jobs_queue(JobKind::Prime);
    broker.publish(
        topology::JOBS_EXCHANGE,
        "prime",
        b"no unit",
        BasicProperties::default(),
    );
    with_channel(&broker.pool_url("producer"), async |channel| {
        let (options, table) = (QueueDeclareOptions::default(), FieldTable::default());
        channel
            .queue_declare(OWN.into(), options, table)
            .await
            .unwrap();
    });
    let shovel = r#"{"value":{"src-protocol":"amqp091","src-uri":"amqp://","src-queue":"primepool.dead","dest-protocol":"amqp091","dest-uri":"amqp://","dest-queue":"mine"}}"#;
    let get = r#"{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}"#;
    let everything = r#"{"configure":".*","write":".*","read":".*"}"#;
    let forbidden = [
        ("GET", "/api/users", ""),
        ("GET", "/api/permissions", ""),
        ("GET", "/api/definitions/primepool", ""),
        ("POST", "/api/definitions", "{}"),
        ("PUT", "/api/vhosts/mine", "{}"),
        ("DELETE", "/api/vhosts/primepool", ""),
        (
            "PUT",
            "/api/vhost-limits/primepool/max-queues",
            r#"{"value":0}"#,
        ),
        (
            "PUT",
            "/api/user-limits/consumer/max-connections",
            r#"{"value":0}"#,
        ),
        ("PUT", "/api/parameters/shovel/primepool/mine", shovel),
        ("PUT", "/api/global-parameters/mine", r#"{"value":"x"}"#),
        (
            "PUT",
            "/api/operator-policies/primepool/mine",
            r#"{"pattern":".*","definition":{"max-length":1}}"#,
        ),
        (
            "PUT",
            "/api/topic-permissions/primepool/consumer",
            r#"{"exchange":"amq.topic","write":".*","read":".*"}"#,
        ),
        ("PUT", "/api/permissions/%2F/consumer", everything),
        (
            "PUT",
            "/api/exchanges/primepool/mine",
            r#"{"type":"fanout"}"#,
        ),
        ("DELETE", "/api/exchanges/primepool/primepool.jobs", ""),
        (
            "POST",
            "/api/bindings/primepool/e/primepool.jobs/q/primepool.dead",
            r#"{"routing_key":"prime"}"#,
        ),
        ("GET", "/api/aliveness-test/primepool", ""),
        ("POST", "/api/queues/primepool/primepool.dead/get", get),
        (
            "POST",
            "/api/queues/primepool/primepool.results.unrouted/get",
            get,
        ),
        ("POST", "/api/queues/%2F/mine/get", get),
    ];
    for user in ["consumer", "producer", "operator", "monitoring"] {
        let url = broker.pool_url(user);
        for (method, path, body) in forbidden {
            // The operator may read dead letters.
            if user == "operator" && path == "/api/queues/primepool/primepool.dead/get" {
                continue;
            }
            let (status, answer) = http(management, &url, method, path, body);
            let refused = matches!(status, 401 | 403 | 404 | 405)
                || status == 400 && answer.contains("access to")
                || status == 500 && answer.contains("access to");
            assert!(refused, "{user}: {method} {path}: {status} {answer}");
        }
    }
    // None of these requests had an effect.
    let (_, vhosts) = http(management, &broker.url, "GET", "/api/vhosts", "");
    let vhosts: Vec<Value> = serde_json::from_str(&vhosts).unwrap();
    assert_eq!(vhosts.len(), 2, "{vhosts:?}");
    let policies = broker.ctl(&[
        "list_policies",
        "-p",
        "primepool",
        "--quiet",
        "--no-table-headers",
    ]);
    assert_eq!(policies.lines().count(), 2, "{policies}");
    assert_eq!(broker.ready(&jobs), Some(1));

    // With the management API, too, producers may read answers, and consumers may not.
    let path = format!("/api/queues/primepool/{OWN}/get");
    for (user, allowed) in [
        ("producer", true),
        ("consumer", false),
        ("operator", false),
        ("monitoring", false),
    ] {
        let (status, answer) = http(management, &broker.pool_url(user), "POST", &path, get);
        assert_eq!(status == 200, allowed, "{user}: {status} {answer}");
    }

    // With a user's password one can close the connections of that user, but of no other user.
    let dir = tempdir().unwrap();
    let url = broker.pool_url("consumer");
    let _consumer = Consumer::at(dir.path(), &url, &["--node", "n1"]);
    let connected = || {
        wait_for("the consumer's connections", || {
            let (_, text) = http(management, &broker.url, "GET", "/api/connections", "");
            let all: Vec<Value> = serde_json::from_str(&text).ok()?;
            let own = all.iter().filter(|one| one["user"] == "consumer");
            let own: BTreeSet<String> = own
                .filter_map(|one| Some(one["name"].as_str()?.to_owned()))
                .collect();
            (own.len() == 2).then_some(own)
        })
    };
    let connections = connected();
    let close = |user: &str, connection: &str| {
        let name = connection.replace(' ', "%20").replace('>', "%3E");
        let path = format!("/api/connections/{name}");
        http(management, &broker.pool_url(user), "DELETE", &path, "").0
    };
    for connection in &connections {
        for user in ["producer", "operator", "monitoring"] {
            assert!(matches!(close(user, connection), 401 | 403), "{user}");
        }
    }
    assert_eq!(connected(), connections);
    let first = connections.first().unwrap();
    assert_eq!(close("consumer", first), 204);
    wait_for("another connection in its place", || {
        (!connected().contains(first)).then_some(())
    });
    broker.delete_queue(OWN);
}

/// Sends one request to the management API as the user of this AMQP URL; returns status and body.
fn http(server: &str, user: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let address = server.trim_start_matches("http://");
    let (login, _) = user["amqp://".len()..].split_once('@').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    // HTTP 1.0, because the body then ends with the connection.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Basic {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        STANDARD.encode(login),
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap();
    (status.parse().unwrap(), body.to_owned())
}
