//! Selection of dead letters for a command.

use std::collections::BTreeSet;

use primepool_common::message::RunId;

use super::letter::DeadLetter;

/// Selects dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LetterSelection {
    /// Letters whose ids start with one of these texts.
    Ids(Vec<String>),
    /// Letters with units of this run.
    Run(RunId),
    All,
}

/// The start of an id does not select exactly one letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectionError {
    /// No letter has such an id.
    #[error(
        "no dead letter has an id that starts with {0}: `primepool dead list --limit 0` lists all. \
         Letters that another program looks at are missing for that moment"
    )]
    Unknown(String),
    /// Several letters have such an id.
    #[error("{0} is the start of {1} ids: write more digits")]
    Ambiguous(String, usize),
}

impl LetterSelection {
    /// Whether the letter is selected.
    pub(crate) fn selects(&self, letter: &DeadLetter) -> bool {
        match self {
            Self::Ids(ids) => ids
                .iter()
                .any(|start| letter.id.starts_with(start.as_str())),
            Self::Run(run) => letter.run.as_ref() == Some(run),
            Self::All => true,
        }
    }

    /// Checks that the start of each id matches exactly one of the selected letters. Copies of a
    /// letter have the same id.
    pub(crate) fn check<'l>(
        &self,
        taken: impl Iterator<Item = &'l DeadLetter>,
    ) -> Result<(), SelectionError> {
        let Self::Ids(starts) = self else {
            return Ok(());
        };
        let ids: BTreeSet<&str> = taken.map(|letter| &*letter.id).collect();
        for start in starts {
            match ids.iter().filter(|id| id.starts_with(start)).count() {
                0 => return Err(SelectionError::Unknown(start.clone())),
                1 => {}
                several => return Err(SelectionError::Ambiguous(start.clone(), several)),
            }
        }
        Ok(())
    }
}

/// Parses an id or the start of one.
///
/// # Errors
/// The text is not 1 to 16 hexadecimal digits in lower case.
pub(crate) fn letter_id(text: &str) -> Result<String, String> {
    let is_digit = |c: char| c.is_ascii_digit() || matches!(c, 'a'..='f');
    if (1..=16).contains(&text.len()) && text.chars().all(is_digit) {
        Ok(text.to_owned())
    } else {
        Err("an id is 16 digits 0-9 and a-f, or the first of them".to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use lapin::BasicProperties;

    use super::*;

    fn letter(id: &str, run: &str) -> DeadLetter {
        DeadLetter {
            id: id.to_owned(),
            run: run.parse().ok(),
            ..DeadLetter::of(&BasicProperties::default(), b"")
        }
    }

    #[test]
    fn a_selection_selects_what_it_names() {
        let letters = [
            letter("aa11", "r1"),
            letter("aa22", "r2"),
            letter("bb33", ""),
        ];
        let taken = |selection: &LetterSelection| {
            let taken = letters.iter().filter(|letter| selection.selects(letter));
            taken
                .map(|letter| &*letter.id)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let ids =
            |ids: &[&str]| LetterSelection::Ids(ids.iter().map(|id| (*id).to_owned()).collect());
        assert_eq!(taken(&LetterSelection::All), "aa11 aa22 bb33");
        assert_eq!(taken(&LetterSelection::Run("r2".parse().unwrap())), "aa22");
        assert_eq!(taken(&ids(&["aa2", "bb"])), "aa22 bb33");
        assert_eq!(ids(&["aa2", "bb"]).check(letters.iter()), Ok(()));
        let ambiguous = ids(&["aa"]).check(letters.iter());
        assert_eq!(
            ambiguous,
            Err(SelectionError::Ambiguous("aa".to_owned(), 2))
        );
        let unknown = ids(&["c"]).check(letters.iter());
        assert_eq!(unknown, Err(SelectionError::Unknown("c".to_owned())));
        let copies = [letter("aa11", "r1"), letter("aa11", "r1")];
        assert_eq!(ids(&["aa"]).check(copies.iter()), Ok(()));
    }

    #[test]
    fn ids_are_hexadecimal() {
        assert_eq!(letter_id("0af"), Ok("0af".to_owned()));
        for wrong in ["", "A", "x", "0123456789abcdef0"] {
            assert!(letter_id(wrong).is_err(), "{wrong}");
        }
    }
}
