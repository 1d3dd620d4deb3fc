//! Integers in messages, in `--after` and in files.

use primepool_common::message::{HexInteger, MAX_INTEGER_BITS};
use primepool_engine::Integer;
use primepool_fuzz::{assert_brief, within_bounds};
use primepool_producer::request::read_integers;

/// Parses digits and an optional sign with GMP.
fn gmp(text: &str, radix: i32) -> Integer {
    Integer::from_str_radix(text, radix).expect("GMP reads them too")
}

pub(crate) fn run(data: &[u8]) {
    let listed = within_bounds(data, |data| {
        let mut all = Vec::new();
        read_integers(data, |integer| {
            all.push(integer);
            Ok(())
        })?;
        Ok::<_, String>(all)
    });
    if let Err(error) = &listed {
        assert_brief(error);
    }
    let Ok(text) = str::from_utf8(data) else {
        assert!(listed.is_err());
        return;
    };
    // A file is read like its single lines, without a byte order mark and comments.
    let file = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = file.split('\n').filter_map(|line| line.split('#').next());
    let lines = lines.filter(|line| !line.trim().is_empty());
    let each: Result<Vec<_>, _> = lines.map(HexInteger::parse_human).collect();
    if let Ok(listed) = &listed {
        assert_eq!(each.as_ref(), Ok(listed));
    }

    match text.parse::<HexInteger>() {
        Ok(integer) => {
            assert!(integer.0.significant_bits() <= MAX_INTEGER_BITS);
            assert_eq!(integer.0, gmp(text, 16));
            assert_eq!(integer.to_string().parse().as_ref(), Ok(&integer));
            let json = serde_json::to_string(&integer).expect("it has a JSON form");
            assert_eq!(json, format!("\"{integer}\""));
        }
        Err(error) => assert_brief(&error),
    }
    match HexInteger::parse_human(text) {
        Ok(integer) => {
            assert!(integer.0.significant_bits() <= MAX_INTEGER_BITS);
            assert_eq!(listed.as_deref(), Ok(&[integer.clone()][..]));
            let plain = text.trim().to_ascii_lowercase();
            let (digits, radix) = match plain.strip_prefix("-0x").map(|hex| format!("-{hex}")) {
                Some(digits) => (digits, 16),
                None => match plain.strip_prefix("0x") {
                    Some(digits) => (digits.to_owned(), 16),
                    None => (plain, 10),
                },
            };
            assert_eq!(integer.0, gmp(&digits, radix));
            let mut human = Vec::new();
            integer.push_human(&mut human);
            let human = str::from_utf8(&human).expect("digits");
            assert_eq!(HexInteger::parse_human(human).as_ref(), Ok(&integer));
            let decimal = integer.0.to_string();
            // A number of almost the largest size may have too many decimal digits to be accepted.
            if integer.0.significant_bits() < MAX_INTEGER_BITS - 3 {
                assert_eq!(HexInteger::parse_human(&decimal).as_ref(), Ok(&integer));
            }
        }
        Err(error) => assert_brief(&error),
    }
}
