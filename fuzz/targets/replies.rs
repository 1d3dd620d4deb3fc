//! Replies of servers, and health files; the first byte of the input selects the format.

use primepool_common::{broker::QueueFigures, metrics::Series};
use primepool_consumer::health::Health;
use primepool_fuzz::{assert_brief, within_bounds};

pub(crate) fn run(data: &[u8]) {
    match data.split_first() {
        Some((b'm', body)) => match within_bounds(body, QueueFigures::read) {
            Ok(figures) => {
                assert!(figures.publish_rate.is_finite() && figures.deliver_rate.is_finite());
            }
            Err(error) => assert_brief(&error),
        },
        Some((b'i', body)) => match Series::read(body) {
            Some(Ok(series)) => {
                for series in &series {
                    for column in &series.columns {
                        let number = series.number(column);
                        assert!(number.is_none_or(f64::is_finite));
                    }
                }
            }
            Some(Err(error)) => assert!(error.len() <= 500 && !error.contains(char::is_control)),
            None => {}
        },
        Some((b'h', body)) => match Health::read(body) {
            Ok(health) => {
                let written = serde_json::to_vec(&health).expect("it has a JSON form");
                let again = Health::read(&written).expect("it can be read back");
                assert_eq!((again.pid, again.at), (health.pid, health.at));
            }
            Err(error) => assert_brief(&error),
        },
        _ => {}
    }
}
