//! Lists of numbers on the command line: `1..6`, `1,2,3,4,6`, `1..3,6`.

/// Numbers of nodes or workers, ascending, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers(pub Vec<u32>);

/// Largest number of nodes or workers.
const MOST: u32 = 4096;

/// Reads a comma-separated list of numbers and ranges; a range includes both of its ends.
pub(crate) fn numbers(text: &str) -> Result<Numbers, String> {
    let wrong = || format!("{text:?} is no list of numbers from 1 to {MOST}: write 1..6 or 1,2,4");
    let number = |text: &str| match text.trim().parse() {
        Ok(number @ 1..=MOST) => Ok(number),
        _ => Err(wrong()),
    };
    let mut all = Vec::new();
    for part in text.split(',') {
        match part.split_once("..") {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last.trim_start_matches('='))?);
                if first > last {
                    return Err(wrong());
                }
                all.extend(first..=last);
            }
            None => all.push(number(part)?),
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(Numbers(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges() {
        let read = |text| numbers(text).map(|numbers| numbers.0);
        assert_eq!(read("1..6"), Ok(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(read("1..=3"), Ok(vec![1, 2, 3]));
        assert_eq!(read("6, 2,1..2"), Ok(vec![1, 2, 6]));
        for wrong in ["", "0", "2..1", "a", "1,,2", "1..", "5000"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
