//! Messages of the control stream.

use primepool_common::message::{Control, MAX_CONTROL_BYTES};
use primepool_fuzz::{assert_brief, within_bounds};

pub(crate) fn run(body: &[u8]) {
    match within_bounds(body, Control::decode) {
        Ok(control) => {
            assert!(body.len() <= MAX_CONTROL_BYTES);
            let written = serde_json::to_vec(&control).expect("it has a JSON form");
            assert_eq!(Control::decode(&written), Ok(control));
        }
        Err(error) => assert_brief(&error.to_string()),
    }
}
