//! Addresses of the broker, of its management API and of InfluxDB: their passwords are never shown.

use primepool_common::{
    broker::{BrokerArgs, Endpoint, Management, TlsFiles},
    metrics::InfluxTarget,
    text::{printable, without_passwords},
};
use primepool_fuzz::{SECRET, assert_no_secret, assert_printable, next_text};

pub(crate) fn run(data: &[u8]) {
    let mut rest = data;
    let (before, after) = (next_text(&mut rest), next_text(&mut rest));
    let (head, tail) = (next_text(&mut rest), next_text(&mut rest));
    // The password may contain further characters, such as those that should be percent-encoded.
    let address = format!("{before}:{SECRET}{tail}@{after}");
    let endpoint = Endpoint::from_args(&BrokerArgs {
        amqp_url: address.clone(),
        amqp_url_file: None,
        tls_ca: None,
        tls_cert: None,
        tls_key: None,
        management_url: None,
    });
    match endpoint {
        Ok(endpoint) => assert_no_secret(&format!("{endpoint} {endpoint:?}")),
        Err(error) => assert_printable(&error),
    }
    // Neither of these accepts a password in an address.
    let error = Management::new(&address, &before, SECRET, &after, &TlsFiles::default());
    assert_printable(&error.expect_err("it is refused"));
    let error = InfluxTarget::new(&address, "", "bucket", "");
    assert_printable(&error.expect_err("it is refused").to_string());
    match InfluxTarget::new(&before, &head, &tail, SECRET) {
        Ok(target) => assert_no_secret(&format!("{target} {target:?}")),
        Err(error) => assert_printable(&error.to_string()),
    }

    // An address in an unexpected place.
    if !head.contains("://") && !tail.contains("://") {
        let shown = printable(&format!("{before}amqp://u:{head}{SECRET}{tail}@h{after}"));
        assert_printable(&shown);
    }
    // A text without passwords stays unchanged, and a second pass finds nothing more.
    if !before.contains('@') {
        assert_eq!(without_passwords(&before), before);
    }
    let once = without_passwords(&address).into_owned();
    assert_eq!(without_passwords(&once), once);
}
