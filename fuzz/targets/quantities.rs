//! Durations and sizes on command lines.

use std::time::{Duration, Instant, SystemTime};

use primepool_common::{
    cli::{duration, duration_within, show_duration, size},
    message::MAX_UNIT_JOBS,
};
use primepool_fuzz::{assert_brief, valid_text};
use primepool_producer::request::UnitSize;

pub(crate) fn run(data: &[u8]) {
    let text = valid_text(data);
    match duration(text) {
        Ok(time) => {
            // A duration can be added to every clock.
            assert!(Instant::now().checked_add(time).is_some());
            assert!(SystemTime::now().checked_add(time).is_some());
            assert!(u64::try_from(time.as_nanos()).is_ok());
            let whole = Duration::from_secs(time.as_secs());
            assert_eq!(duration(&time.as_secs().to_string()), Ok(whole));
            if whole >= Duration::from_secs(60) {
                assert_eq!(duration(&show_duration(time)), Ok(whole));
            } else {
                assert!(show_duration(time).ends_with(" s"));
            }
            let below = Duration::ZERO..=time.saturating_sub(Duration::from_nanos(1));
            let is_zero = time == Duration::ZERO;
            assert_eq!(duration_within(text, below, "too long").is_ok(), is_zero);
        }
        Err(error) => assert_brief(&error),
    }
    match size(text) {
        Ok(bytes) => {
            assert_eq!(size(&bytes.to_string()), Ok(bytes));
            assert_eq!(size(&format!("{bytes} B")), Ok(bytes));
            if let Some(more) = bytes.checked_mul(1 << 10) {
                assert_eq!(size(&format!("{bytes}KiB")), Ok(more));
            }
        }
        Err(error) => assert_brief(&error),
    }
    match text.parse::<UnitSize>() {
        Ok(UnitSize::Fixed(jobs)) => {
            assert!((1..=MAX_UNIT_JOBS).contains(&jobs));
            assert_eq!(text.parse(), Ok(jobs));
        }
        Ok(UnitSize::Auto) => assert_eq!(text, "auto"),
        Err(error) => assert_brief(&error),
    }
}
