//! What a command asks to have followed, and what it is answered: parts of the socket's hello.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::trouble::Trouble;
use crate::domain::event::Expect;
use crate::domain::following::Followed;
use crate::domain::names::{Name, check_name};
use crate::limits::{NAME_CHARS_MAX, RUN_NAME_CHARS_MAX, SPAN_MAX};

/// One file or pattern: `{"path":"/abs/m.jsonl","run":"x","from":123}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TailRequest {
    /// The file, or the pattern that files match: absolute.
    pub path: String,
    /// Whether `path` is a pattern.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub glob: bool,
    /// The run of lines that name none; without it each file is a run by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Where to begin.
    #[serde(default)]
    pub from: From,
    /// Which command it is followed for. Its lines are taken once the command is told to have begun,
    /// and a mark of another command does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<String>,
    /// What is said of the runs of these files, beside that they are followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<TailExpect>,
}

/// Where following begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// Behind the kept mark; without one at the beginning, and what stands there is history.
    #[default]
    Kept,
    /// At this byte; what stands before it is skipped.
    #[serde(untagged)]
    Byte(u64),
}

/// What the command line says of the runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TailExpect {
    /// The team that owns them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Their labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Silence that is critical, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_s: Option<f64>,
    /// How long the first event may take, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_s: Option<f64>,
}

/// What became of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailAnswer {
    /// As it was asked for.
    pub path: String,
    /// The runs that are fed so far.
    #[serde(default)]
    pub runs: Vec<String>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// It is followed all the same, and what is wrong may pass.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_pass: bool,
}

impl TailRequest {
    /// The path, if all of the request can be carried out.
    pub(super) fn checked(&self) -> Result<PathBuf, Trouble> {
        let wrong = |what: String| Err(Trouble::Wrong(what));
        if !Path::new(&self.path).is_absolute() {
            return wrong("the path must be absolute".to_owned());
        }
        if let Some(run) = &self.run {
            check_name("`run`", run, RUN_NAME_CHARS_MAX).map_err(|error| Trouble::Wrong(error.to_string()))?;
        }
        let expect = self.expect.clone().unwrap_or_default();
        if let Some(team) = &expect.team {
            check_name("`team`", team, NAME_CHARS_MAX).map_err(|error| Trouble::Wrong(error.to_string()))?;
        }
        let bad = |s: &f64| !(*s > 0.0 && *s <= SPAN_MAX.as_secs_f64());
        if expect.stale_s.as_ref().is_some_and(bad) || expect.startup_s.as_ref().is_some_and(bad) {
            return wrong("a bound must be longer than nothing and shorter than ten years".to_owned());
        }
        Ok(PathBuf::from(&self.path))
    }

    /// What the engine is told of each run; nothing where the command itself promises.
    pub(super) fn followed(&self) -> Option<Followed> {
        if self.life.is_some() {
            return None;
        }
        let expect = self.expect.clone().unwrap_or_default();
        let span = |s: Option<f64>| s.and_then(|s| Duration::try_from_secs_f64(s).ok());
        Some(Followed {
            team: expect.team.map(Name::from),
            declared: Expect { stale: span(expect.stale_s), startup: span(expect.startup_s) },
            labels: expect.labels,
        })
    }
}

impl TailAnswer {
    pub(super) fn fine(path: &str, runs: Vec<String>) -> TailAnswer {
        TailAnswer { path: path.to_owned(), runs, ..TailAnswer::default() }
    }

    /// The answer to whoever may not ask.
    pub fn not_allowed(request: &TailRequest) -> TailAnswer {
        TailAnswer::fine(&request.path, Vec::new()).with(&Trouble::NotAllowed)
    }

    pub(super) fn with(self, trouble: &Trouble) -> TailAnswer {
        TailAnswer {
            error: Some(trouble.to_string()),
            hint: trouble.hint().map(str::to_owned),
            may_pass: trouble.may_pass(),
            ..self
        }
    }
}
