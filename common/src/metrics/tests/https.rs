//! HTTPS: certificates, and a missing bucket.

use super::*;

/// URL of the server that [`writes_3000_lines_in_a_process_of_its_own`] writes to.
const HOST: &str = "PRIMEPOOL_TEST_HTTPS_HOST";

/// The part of the HTTPS tests that needs its own environment.
#[test]
#[ignore = "only for the tests of HTTPS, which start it with a server and SSL_CERT_FILE"]
#[allow(clippy::print_stdout, reason = "the test that starts it reads it")]
fn writes_3000_lines_in_a_process_of_its_own() {
    let (log, _guard) = Log::begin();
    let (host, dir) = (env::var(HOST).unwrap(), tempdir().unwrap());
    let target = InfluxTarget::new(&host, "o", "new", "user:s3cr3t").unwrap();
    let writer = MetricsWriter::start(&target, options(dir.path())).unwrap();
    write(&writer, 0..3000);
    let stats = writer.close(Duration::from_secs(2));
    println!("{}{} points written", log.text(), stats.written);
}

/// Starts a process that writes to `https://localhost` and trusts only this authority (PEM).
/// Returns its log.
fn write_by_https(server: &TestServer, authority: &str) -> String {
    let dir = tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    fs::write(&file, authority).unwrap();
    let test = "metrics::tests::https::writes_3000_lines_in_a_process_of_its_own";
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("SSL_CERT_FILE", file)
        .env(HOST, format!("https://localhost:{}", server.address.port()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn points_arrive_by_https_and_a_missing_bucket_is_made() {
    for (speaks, path, authorization) in [
        (
            Speaks::V2,
            "/api/v2/write?bucket=new&org=o&precision=ns",
            "Token user:s3cr3t",
        ),
        (
            Speaks::V1,
            "/write?db=new&precision=ns",
            "Basic dXNlcjpzM2NyM3Q=",
        ),
    ] {
        let (server, certificate) = TestServer::start_tls(speaks, "localhost");
        let log = write_by_https(&server, &certificate);
        assert!(log.contains("3001 points written"), "{log}");
        assert_eq!(server.lines(), expected(0..3000));
        let writes = server.writes();
        assert!(writes.iter().any(|request| request.gzip), "{speaks:?}");
        for request in writes {
            assert_eq!(request.path, path);
            assert_eq!(request.authorization, authorization);
        }
    }
}

#[test]
fn a_server_with_a_wrong_certificate_gets_nothing_and_the_log_says_why() {
    let (stranger, _) = TestServer::start_tls(Speaks::V2, "localhost");
    let (other, certificate) = TestServer::start_tls(Speaks::V2, "db.example");
    // The other server's certificate has the same names but another key.
    for (server, reason) in [(stranger, "BadSignature"), (other, "db.example")] {
        let log = write_by_https(&server, &certificate);
        assert!(log.contains("0 points written"), "{log}");
        assert!(log.contains("cannot reach InfluxDB"), "{log}");
        assert!(log.contains("certificate") && log.contains(reason), "{log}");
        assert!(!log.contains("s3cr3t"), "{log}");
        assert!(server.requests().is_empty());
    }
}
