//! Names: of runs, teams, groups, series. Shared, never copied per event.

use std::fmt;
use std::sync::Arc;

/// A name that many things share.
pub type Name = Arc<str>;

/// A run's place in the engine's tables. Small, dense, for this life of the engine only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u32);

/// What a run is known by across lives of the engine: its owner team and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunKey {
    /// The team whose thresholds judge it.
    pub team: Name,
    /// Its name.
    pub name: Name,
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.team, self.name)
    }
}

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("{what} is empty")]
    Empty {
        /// What was to be named.
        what: &'static str,
    },
    /// It is too long.
    #[error("{what} is {chars} characters long, more than {max}")]
    TooLong {
        /// What was to be named.
        what: &'static str,
        /// How long it is.
        chars: usize,
        /// How long it may be.
        max: usize,
    },
    /// It holds a control character.
    #[error("{what} holds a control character (U+{code:04X}) at character {at}")]
    Control {
        /// What was to be named.
        what: &'static str,
        /// The character's code point.
        code: u32,
        /// Its place, counted from 1.
        at: usize,
    },
}

/// Checks a text that is to name something: 1 to `max` characters, no control characters.
///
/// # Errors
/// The first rule it breaks.
pub fn check_name(what: &'static str, text: &str, max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    // Counting characters is only needed where the bytes might be too many.
    if text.len() > max {
        let chars = text.chars().count();
        if chars > max {
            return Err(NameError::TooLong { what, chars, max });
        }
    }
    match text.chars().enumerate().find(|(_, c)| c.is_control()) {
        Some((index, c)) => Err(NameError::Control { what, code: u32::from(c), at: index + 1 }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_counted_in_characters() {
        assert_eq!(check_name("run", &"ü".repeat(200), 200), Ok(()));
        assert_eq!(
            check_name("run", &"ü".repeat(201), 200),
            Err(NameError::TooLong { what: "run", chars: 201, max: 200 })
        );
        assert_eq!(check_name("run", "", 200), Err(NameError::Empty { what: "run" }));
    }

    #[test]
    fn control_characters_are_named_and_placed() {
        let error = check_name("run", "ab\u{1b}[31m", 200).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("run holds a control character (U+001B) at character 3"));
        assert!(check_name("run", "a\u{85}b", 200).is_err());
    }
}
