//! Silences: what is not told for a while, by whom and why.

use std::collections::BTreeMap;

use globset::{Glob, GlobMatcher};
use jiff::Timestamp;

use super::names::{Name, check_name};
use super::team::labels_match;
use crate::limits::{LABEL_CHARS_MAX, LABELS_PER_RUN_MAX, NAME_CHARS_MAX};

/// What matches is not told from `starts_at` to `ends_at`. Whoever was told before is still told the end.
#[derive(Debug, Clone)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// What it covers.
    pub matcher: SilenceMatcher,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
    /// Who made it.
    pub author: String,
    /// Why.
    pub comment: String,
}

/// All that is given must hold of a run; nothing given covers nothing.
#[derive(Debug, Clone, Default)]
pub struct SilenceMatcher {
    /// The team that owns the run, exactly.
    pub team: Option<Name>,
    /// A glob on the run's name.
    pub run: Option<GlobMatcher>,
    /// A glob on the check's word.
    pub check: Option<GlobMatcher>,
    /// Globs on labels.
    pub labels: BTreeMap<String, GlobMatcher>,
}

impl Silence {
    /// Whether it is in force.
    pub fn is_active(&self, at: Timestamp) -> bool {
        self.starts_at <= at && at < self.ends_at
    }
}

impl SilenceMatcher {
    /// The matcher that people write as texts; a label's name stands beside the pattern of its value.
    ///
    /// # Errors
    /// A pattern is none, or too long: which, and why.
    pub fn read(
        team: Option<&str>,
        run: Option<&str>,
        check: Option<&str>,
        labels: &BTreeMap<String, String>,
    ) -> Result<SilenceMatcher, String> {
        if let Some(team) = team {
            check_name("team", team, NAME_CHARS_MAX).map_err(|error| error.to_string())?;
        }
        if labels.len() > LABELS_PER_RUN_MAX {
            return Err(format!("a run has at most {LABELS_PER_RUN_MAX} labels, and {} are asked for", labels.len()));
        }
        let label = |(key, value): (&String, &String)| Ok((key.clone(), pattern(&format!("label {key}"), value)?));
        Ok(SilenceMatcher {
            team: team.map(Name::from),
            run: run.map(|text| pattern("run", text)).transpose()?,
            check: check.map(|text| pattern("check", text)).transpose()?,
            labels: labels.iter().map(label).collect::<Result<_, String>>()?,
        })
    }

    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        self.team.is_none() && self.run.is_none() && self.check.is_none() && self.labels.is_empty()
    }

    /// Whether what is told of a run's check is covered.
    pub fn covers(&self, team: &str, run: &str, check: &str, labels: &BTreeMap<String, String>) -> bool {
        !self.is_empty()
            && self.team.as_ref().is_none_or(|wanted| &**wanted == team)
            && self.run.as_ref().is_none_or(|glob| glob.is_match(run))
            && self.check.as_ref().is_none_or(|glob| glob.is_match(check))
            && labels_match(&self.labels, labels)
    }
}

fn pattern(what: &str, text: &str) -> Result<GlobMatcher, String> {
    if text.is_empty() || text.chars().count() > LABEL_CHARS_MAX {
        return Err(format!("the pattern of {what} is empty or longer than {LABEL_CHARS_MAX} characters"));
    }
    let glob =
        Glob::new(text).map_err(|error| format!("the pattern of {what}, `{text}`, is none: {}", error.kind()))?;
    Ok(glob.compile_matcher())
}
