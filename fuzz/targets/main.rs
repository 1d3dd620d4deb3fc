//! The fuzzer. All targets are in one program, because each program would link all dependencies of
//! producers and consumers. The environment variable FUZZ_TARGET selects the target.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use primepool_fuzz::holds_secret;

mod addresses;
mod answer;
mod certificate;
mod consumer_line;
mod control;
mod folder;
mod integers;
mod line_protocol;
mod names;
mod presence;
mod primality;
mod producer_line;
mod quantities;
mod relations;
mod replies;
mod unit;

static TARGET: LazyLock<fn(&[u8])> =
    LazyLock::new(
        || match std::env::var("FUZZ_TARGET").unwrap_or_default().as_str() {
            "addresses" => addresses::run,
            "answer" => answer::run,
            "certificate" => certificate::run,
            "consumer_line" => consumer_line::run,
            "control" => control::run,
            "folder" => folder::run,
            "integers" => integers::run,
            "line_protocol" => line_protocol::run,
            "names" => names::run,
            "presence" => presence::run,
            "primality" => primality::run,
            "producer_line" => producer_line::run,
            "quantities" => quantities::run,
            "relations" => relations::run,
            "replies" => replies::run,
            "unit" => unit::run,
            other => panic!("FUZZ_TARGET names no target: {other:?}"),
        },
    );

fuzz_target!(init: LazyLock::force(&TARGET), |data: &[u8]| {
    // The fuzzer learns the secret from comparisons with it; skip inputs that contain the secret,
    // since an error may quote its input.
    if !holds_secret(data) {
        TARGET(data);
    }
});
