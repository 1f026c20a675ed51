//! Names of a stream of events, checked once and shared: the same name again allocates nothing.

use std::collections::HashMap;

use crate::domain::names::{Name, NameError, check_name};
use crate::limits;
use crate::sources::formats::esper;

use super::meaning::Kind;

/// The names one reader has met, by kind.
#[derive(Debug)]
pub(in crate::sources::formats) struct Names {
    pub(in crate::sources::formats) runs: Kept<()>,
    pub(super) series: Kept<Kind>,
    pub(super) groups: Kept<()>,
    pub(super) hosts: Kept<()>,
    pub(super) phases: Kept<()>,
    pub(in crate::sources::formats) event_types: Kept<esper::Kind>,
    pub(in crate::sources::formats) group_ids: Kept<()>,
}

/// Names of one kind, each with what follows from it.
#[derive(Debug)]
pub(in crate::sources::formats) struct Kept<V> {
    what: &'static str,
    chars_max: usize,
    last: Option<(Name, V)>,
    all: HashMap<Name, V>,
}

impl Default for Names {
    fn default() -> Names {
        Names {
            runs: Kept::new("`run`", limits::RUN_NAME_CHARS_MAX),
            series: Kept::new("`type`", limits::NAME_CHARS_MAX),
            groups: Kept::new("`group`", limits::NAME_CHARS_MAX),
            hosts: Kept::new("`host`", limits::NAME_CHARS_MAX),
            phases: Kept::new("`phase`", limits::NAME_CHARS_MAX),
            event_types: Kept::new("`event_type`", limits::NAME_CHARS_MAX),
            group_ids: Kept::new("`group_id`", limits::NAME_CHARS_MAX),
        }
    }
}

impl<V: Copy> Kept<V> {
    fn new(what: &'static str, chars_max: usize) -> Kept<V> {
        Kept { what, chars_max, last: None, all: HashMap::new() }
    }

    /// What these names name, as an error says it.
    pub(in crate::sources::formats) fn what(&self) -> &'static str {
        self.what
    }

    /// The shared name for `text`; `follows` is asked once a name.
    pub(in crate::sources::formats) fn get(
        &mut self,
        text: &str,
        follows: impl FnOnce(&str) -> V,
    ) -> Result<(Name, V), NameError> {
        if let Some((name, value)) = &self.last
            && **name == *text
        {
            return Ok((name.clone(), *value));
        }
        let found = match self.all.get_key_value(text) {
            Some((name, value)) => (name.clone(), *value),
            None => {
                check_name(self.what, text, self.chars_max)?;
                if self.all.len() >= limits::NAMES_KEPT_MAX {
                    self.all.clear();
                }
                let name = Name::from(text);
                let value = follows(text);
                self.all.insert(name.clone(), value);
                (name, value)
            }
        };
        self.last = Some(found.clone());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_same_name_is_shared_and_an_invented_flood_is_bounded() {
        let mut names = Names::default();
        let (first, ()) = names.groups.get("A", |_| ()).unwrap();
        names.groups.get("B", |_| ()).unwrap();
        let (again, ()) = names.groups.get("A", |_| ()).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        for invented in 0..limits::NAMES_KEPT_MAX * 3 {
            names.groups.get(&invented.to_string(), |_| ()).unwrap();
            assert!(names.groups.all.len() <= limits::NAMES_KEPT_MAX);
        }
    }
}
