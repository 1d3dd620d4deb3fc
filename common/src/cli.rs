//! Values that both command lines take.

use std::{ops::RangeInclusive, time::Duration};

/// Reads a duration such as `30s`, `5m` or `1h30m`; a plain number is seconds.
///
/// # Errors
/// Says how to write one.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is not a duration: write 30s, 5m or 1h30m"))
}

/// The same within bounds, which `hint` names.
///
/// # Errors
/// What [`duration`] says, or the hint.
pub fn duration_within(
    text: &str,
    allowed: RangeInclusive<Duration>,
    hint: &str,
) -> Result<Duration, String> {
    let time = duration(text)?;
    let fits = allowed.contains(&time).then_some(time);
    fits.ok_or_else(|| hint.to_owned())
}

/// Reads a number of bytes such as `500kB`, `64MiB` or `2G`; a plain number is bytes, a single letter means the binary unit.
///
/// # Errors
/// Says how to write one.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size: write 500kB, 64MiB or 2GiB");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).ok_or_else(wrong)
}

/// How long a duration is, as a person would say it: `0.42 s`, `1m 12s`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    if duration < Duration::from_secs(60) {
        format!("{:.2} s", duration.as_secs_f64())
    } else {
        humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("soon").is_err());
        assert_eq!(show_duration(Duration::from_millis(420)), "0.42 s");
        assert_eq!(show_duration(Duration::from_secs(72)), "1m 12s");
    }

    #[test]
    fn sizes() {
        assert_eq!(size("123"), Ok(123));
        assert_eq!(size("500kB"), Ok(500_000));
        assert_eq!(size("64 MiB"), Ok(64 << 20));
        assert_eq!(size("2G"), Ok(2 << 30));
        for wrong in ["", "MiB", "1.5G", "3 apples", "99999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
