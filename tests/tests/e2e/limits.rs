//! Messages whose headers exceed a frame are refused, and those that just fit are discarded like
//! other bad messages.

use lapin::{
    BasicProperties, Error,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldArray, FieldTable},
};
use primepool_tests::{Binary, Broker, Consumer, Process, Results, wait_for, with_channel};
use tempfile::tempdir;

fn with_header(value: AMQPValue) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("x".into(), value);
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_headers(headers)
}

fn long(bytes: usize) -> BasicProperties {
    with_header(AMQPValue::LongString("x".repeat(bytes).into()))
}

/// Nested arrays, as many as fit into one frame: each takes five bytes.
fn deep_arrays() -> BasicProperties {
    let mut value = AMQPValue::Boolean(true);
    for _ in 0..3200 {
        value = AMQPValue::FieldArray(FieldArray::from(vec![value]));
    }
    with_header(value)
}

/// Nested tables, as many as fit into one frame: each takes six bytes.
fn deep_tables() -> BasicProperties {
    let mut value = AMQPValue::Boolean(true);
    for _ in 0..2680 {
        let mut table = FieldTable::default();
        table.insert("".into(), value);
        value = AMQPValue::FieldTable(table);
    }
    with_header(value)
}

/// Bytes left in a frame for the value of this header.
const FITS: usize = 16_384 - 60;

/// Messages with properties that a consumer might fail on, published by this user.
fn awkward(user: &str) -> [BasicProperties; 6] {
    [
        long(FITS),
        deep_arrays(),
        deep_tables(),
        // The broker accepts these two only from the user that they name.
        long(10).with_user_id(user.into()),
        long(FITS - 50).with_user_id(user.into()),
        long(10).with_expiration("3600000".into()),
    ]
}

#[test]
fn headers_that_nobody_takes_do_not_get_in() {
    let broker = Broker::vhost();
    for bytes in [16_384, 100_000] {
        let done: Result<(), Error> = with_channel(&broker.url, async |channel| {
            let options = BasicPublishOptions::default();
            channel
                .basic_publish("amq.fanout".into(), "".into(), options, b"x", long(bytes))
                .await?
                .await?;
            Ok(())
        });
        assert!(done.is_err(), "{bytes}");
    }
}

#[test]
fn a_unit_with_awkward_headers_does_not_stop_the_consumers() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let consumer = Consumer::start(dir.path(), &broker, "n1");
    let awkward = awkward("primepool");
    for properties in &awkward {
        broker.publish("primepool.jobs", "prime", b"no unit", properties.clone());
    }
    wait_for("the dead letters", || {
        let all = broker.ready("primepool.dead") == Some(awkward.len() as u32);
        all.then_some(())
    });
    let args = ["--count", "20", "--bits", "64"];
    let done = Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    for _ in &awkward {
        let letter = broker.take("primepool.dead").unwrap();
        assert_eq!(letter.data, b"no unit");
        assert_eq!(letter.properties.user_id(), &None);
        assert_eq!(letter.properties.expiration(), &None, "it stays");
    }
    let (_, log) = consumer.0.output();
    assert!(!log.contains("session with the broker ended"), "{log}");
}

#[test]
fn an_answer_with_awkward_headers_does_not_stop_the_run() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let args = ["--count", "20", "--bits", "64"];
    let producer = Process::start(Binary::Producer, dir.path(), &broker.url, &args);
    let folder = wait_for("a run", || Results::folder(dir.path()));
    let run = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let awkward = awkward("primepool");
    for properties in &awkward {
        broker.publish("primepool.results", &run, b"no answer", properties.clone());
    }
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let done = producer.wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    let summary = Results::read(dir.path()).summary;
    assert_eq!(summary["refused_messages"], awkward.len(), "{summary}");
}

#[test]
fn a_broker_with_another_limit_is_told_of() {
    // The default configuration of RabbitMQ, without primepool.conf.
    let broker = Broker::private();
    let config = broker.dir().join("rabbitmq.conf");
    let text = std::fs::read_to_string(&config).unwrap();
    broker.kill();
    std::fs::write(&config, text.replace("frame_max = 16384", "")).unwrap();
    broker.start_again();
    let dir = tempdir().unwrap();
    let consumer = Consumer::start(dir.path(), &broker, "n1");
    broker.publish("primepool.jobs", "prime", b"no unit", long(100_000));
    consumer
        .0
        .wait_for_line("set frame_max = 16384 in rabbitmq.conf");
    consumer.0.kill();
    // The remedy that the message names.
    let url = format!("{}?frame_max=131072", broker.url);
    let consumer = Process::start(Binary::Consumer, dir.path(), &url, &["--node", "n2"]);
    wait_for("the dead letter", || broker.take("primepool.dead"));
    drop(consumer);
}

#[test]
fn limits_of_the_virtual_host_are_told_as_limits() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let produce = || {
        let args = ["--count", "5", "--bits", "64"];
        Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait()
    };
    let consumer = Consumer::start(dir.path(), &broker, "n1");
    let vhost = broker.url.rsplit('/').next().unwrap();
    let limit = |limits: &str| {
        broker.ctl(&["set_vhost_limits", "-p", vhost, limits]);
    };
    limit(r#"{"max-connections": 2}"#);
    let done = produce();
    assert_eq!(done.code, Some(3), "{done:?}");
    for text in [
        "limit of the broker is reached",
        "two connections",
        "set_vhost_limits",
    ] {
        assert!(done.stderr.contains(text), "{done:?}");
    }
    assert!(!done.stderr.contains("add_vhost"), "{done:?}");
    limit(r#"{"max-connections": -1, "max-queues": 1}"#);
    let done = produce();
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(
        done.stderr.contains("limit of the broker is reached"),
        "{done:?}"
    );
    limit("{}");
    assert_eq!(produce().code, Some(0), "the consumer has worked on");
    drop(consumer);
}

#[test]
fn a_unit_that_the_broker_finds_too_large_ends_the_run() {
    let (broker, dir) = (Broker::private(), tempdir().unwrap());
    broker.ctl(&[
        "eval",
        "application:set_env(rabbit, max_message_size, 20000).",
    ]);
    let digits = "7".repeat(1000);
    std::fs::write(dir.path().join("numbers"), format!("{digits}\n").repeat(40)).unwrap();
    let produce = |size: &str| {
        let args = ["factor", "--file", "numbers", "--unit-size", size];
        let timeout = ["--deadline", "10ms", "--timeout", "30s"];
        let args = [&args[..], &timeout].concat();
        Process::start(Binary::Producer, dir.path(), &broker.url, &args).wait()
    };
    let done = produce("40");
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.stderr.contains("max_message_size"), "{done:?}");
    assert!(done.stderr.contains("--unit-size"), "{done:?}");
    let _consumer = Consumer::start(dir.path(), &broker, "n1");
    let done = produce("10");
    assert!(!done.stderr.contains("max_message_size"), "{done:?}");
    assert_eq!(done.code, Some(1), "published and answered: {done:?}");
}
