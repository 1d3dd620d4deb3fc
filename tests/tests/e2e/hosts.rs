//! Every form of a host (RFC 3986, 3.2.2) works in addresses of the broker, the management API and
//! InfluxDB.

use std::{
    io::Read,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener},
    path::Path,
};

use primepool_tests::{
    Authority, Binary, Broker, Consumer, Finished, Influx, Process, Results, chaos::Proxy, wait_for,
};
use tempfile::tempdir;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Whether this machine has IPv6; some containers have none.
fn has_ipv6() -> bool {
    let has = TcpListener::bind((V6, 0)).is_ok();
    if !has {
        eprintln!("this machine has no ::1: IPv6 addresses are not tried");
    }
    has
}

/// For each IP address of this machine: ways to write it as the host of an AMQP URL, and how it is
/// shown.
fn hosts() -> Vec<(IpAddr, &'static str, &'static str)> {
    let mut hosts = vec![
        (V4, "127.0.0.1", "127.0.0.1"),
        (V4, "%31%32%37.0.0.1", "127.0.0.1"),
    ];
    // A name may resolve to both; every machine has the name `localhost`.
    if has_ipv6() {
        hosts.extend([
            (V6, "[::1]", "[::1]"),
            (V6, "[0:0:0:0:0:0:0:1]", "[::1]"),
            (V6, "[0000::0001]", "[::1]"),
            (V4, "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
        ]);
    }
    hosts
}

/// A broker's URL with another host and port.
fn at(url: &str, host: &str, port: u16) -> String {
    let (login, address) = url.split_once('@').unwrap();
    let (_, vhost) = address.split_once('/').unwrap();
    format!("{login}@{host}:{port}/{vhost}")
}

/// Runs a consumer and a producer of three primes at these URLs; returns how they ended, the
/// producer first.
fn primes(consumer: &str, producer: &str, args: &[&str]) -> [Finished; 2] {
    let dir = tempdir().unwrap();
    let consumer = Consumer::at(dir.path(), consumer, &[&["--node", "n1"], args].concat()).0;
    let args = [&["--count", "3", "--bits", "64"], args].concat();
    let done = Process::start(Binary::Producer, dir.path(), producer, &args).wait();
    assert_eq!(done.code, Some(0), "{done:?}");
    Results::read(dir.path()).assert_primes(3, 64);
    consumer.signal("TERM");
    [done, consumer.wait()]
}

#[test]
fn the_broker_is_where_its_address_says() {
    let broker = Broker::vhost();
    let (_, address) = broker.url.split_once('@').unwrap();
    let (real, _) = address.split_once('/').unwrap();
    for (ip, host, shown) in hosts() {
        let proxy = Proxy::at(ip, real);
        let url = at(&broker.url, host, proxy.port());
        let [_, consumer] = primes(&url, &url, &[]);
        assert!(proxy.connections() >= 3, "{host}: both came this way");
        let place = format!("@{shown}:{}/", proxy.port());
        assert!(consumer.stderr.contains(&place), "{}", consumer.stderr);
        drop(proxy);
        // If no broker listens there, the error names the address, and no other address is tried.
        let url = at(&broker.url, host, 9);
        let dir = tempdir().unwrap();
        let args = ["--count", "1", "--bits", "64"];
        let done = Process::start(Binary::Producer, dir.path(), &url, &args).wait();
        assert_eq!(done.code, Some(3), "{done:?}");
        assert!(done.stderr.contains(&format!("@{shown}:9/")), "{done:?}");
    }
    let port = real.rsplit_once(':').unwrap().1.parse().unwrap();
    for name in ["localhost", "LOCALHOST", "local%68ost"] {
        let url = at(&broker.url, name, port);
        primes(&url, &url, &[]);
    }
}

#[test]
fn a_host_that_cannot_be_read_is_refused_by_both() {
    let dir = tempdir().unwrap();
    for url in [
        "amqp://u:s3cr3t@::1:5672/%2f",
        "amqp://u:s3cr3t@[fe80::1%25lo]:5672/%2f",
        "amqp://u:s3cr3t@[v7.a]:5672/%2f",
        "amqps://u:s3cr3t@[::1:5671/%2f",
        "amqp:u:s3cr3t@[::1]/%2f",
    ] {
        for (binary, args) in [
            (Binary::Producer, &["--count", "1", "--bits", "64"][..]),
            (Binary::Consumer, &["--node", "n1"]),
        ] {
            let done = Process::start(binary, dir.path(), url, args).wait();
            assert_eq!(done.code, Some(2), "{url}: {done:?}");
            assert!(
                done.stderr.contains("an IPv6 address in brackets"),
                "{done:?}"
            );
            assert!(!done.stderr.contains("s3cr3t"), "{done:?}");
        }
    }
}

#[test]
fn the_name_in_a_certificate_is_the_address() {
    if !has_ipv6() {
        return;
    }
    let (folder, authority) = (tempdir().unwrap(), Authority::new("pool"));
    authority.write_server(folder.path(), &["::1"]);
    let (broker, port, management) = Broker::tls(folder.path(), false);
    let proxy = Proxy::at(V6, &format!("127.0.0.1:{port}"));
    let url = |user: &str, host: &str| {
        let plain = broker.pool_url(user);
        let url = plain.replacen("amqp://", "amqps://", 1);
        at(&url, host, proxy.port())
    };
    let ca = folder.path().join("ca.pem");
    let api = management.strip_prefix("https://127.0.0.1:").unwrap();
    let api_proxy = Proxy::at(V6, &format!("127.0.0.1:{api}"));
    let api = format!("https://[::1]:{}", api_proxy.port());
    let args = ["--tls-ca", path(&ca), "--management-url", &api];
    let [consumer, producer] = ["consumer", "producer"].map(|user| url(user, "[::1]"));
    let [done, _] = primes(&consumer, &producer, &args);
    assert!(
        api_proxy.connections() > 0 && !done.stderr.contains(" WARN "),
        "{done:?}"
    );

    // The same server at an address that is not in the certificate.
    let other = Proxy::at(V4, &format!("127.0.0.1:{port}"));
    let url = at(&url("producer", "127.0.0.1"), "127.0.0.1", other.port());
    let args = ["--count", "1", "--bits", "64", "--tls-ca", path(&ca)];
    let done = Process::start(Binary::Producer, folder.path(), &url, &args).wait();
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.stderr.contains("certificate"), "{done:?}");
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn influxdb_and_the_management_api_are_where_their_addresses_say() {
    let (influx, dir) = (Influx::private(), tempdir().unwrap());
    let (broker, management) = Broker::with_management();
    let [database, api] =
        [&influx.url, &management].map(|url| url.strip_prefix("http://").unwrap());
    let token = dir.path().join("token");
    std::fs::write(&token, &influx.token).unwrap();
    for (number, (ip, host, _)) in hosts().into_iter().enumerate() {
        let (to_database, to_api) = (Proxy::at(ip, database), Proxy::at(ip, api));
        let bucket = format!("b{number}");
        let args = [
            "--influx-host",
            &format!("http://{host}:{}", to_database.port()),
            "--influx-bucket",
            &bucket,
            "--influx-token-file",
            path(&token),
            "--management-url",
            &format!("http://{host}:{}/", to_api.port()),
        ];
        let [done, _] = primes(&broker.url, &broker.url, &args);
        assert!(!done.stderr.contains(" WARN "), "{host}: {done:?}");
        assert!(
            to_database.connections() > 0 && to_api.connections() > 0,
            "{host}"
        );
        assert_eq!(influx.rows(&bucket, "SELECT SUM(jobs) FROM job")[0][1], 3.0);
    }
}

#[test]
fn a_proxy_is_asked_for_what_is_not_on_this_machine() {
    let (broker, dir) = (Broker::vhost(), tempdir().unwrap());
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let mut command = Binary::Consumer.command();
    command
        .args([
            "--node",
            "n1",
            "--concurrency",
            "1",
            "--metrics-spool",
            "spool",
        ])
        .env("PRIMEPOOL_AMQP_URL", &broker.url)
        .env("INFLUX_HOST", "http://influx.invalid:8086/metrics")
        .env("HTTP_PROXY", &address)
        .env("http_proxy", &address);
    let _consumer = Process::spawn(command, "consumer", dir.path());
    let (mut client, _) = wait_for("the proxy to be asked", || proxy.accept().ok());
    client.set_nonblocking(false).unwrap();
    let mut request = [0; 64];
    client.read_exact(&mut request[..48]).unwrap();
    let request = String::from_utf8_lossy(&request);
    let asked = "http://influx.invalid:8086/metrics/ping";
    assert!(request.starts_with(&format!("GET {asked}")), "{request}");
}
