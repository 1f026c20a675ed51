//! The words runwatch uses in code, documents and messages alike.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A word that is not in the vocabulary, with the words that are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{word}`, expected one of {}", .expected.join(", "))]
pub struct UnknownWord {
    /// What kind of word was expected: `state`, `health`, `severity`.
    pub what: &'static str,
    /// The word that was given.
    pub word: String,
    /// Every word that would have done.
    pub expected: &'static [&'static str],
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $what:literal { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vmeta])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every word, in order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word as it stands in messages, JSON and TOML.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { what: $what, word: word.to_owned(), expected: Self::WORDS }),
                }
            }
        }
    };
}

words! {
    /// The answer of a check. `unknown` stands beside the ladder, not on it.
    Health, "health" {
        /// Not known: no evidence either way.
        Unknown = "unknown",
        /// All is well.
        Healthy = "healthy",
        /// Worth a look when there is time.
        Warning = "warning",
        /// Needs somebody now.
        Critical = "critical",
    }
}

words! {
    /// How bad a notification is.
    Severity, "severity" {
        /// An outcome worth knowing.
        Info = "info",
        /// Worth a look when there is time.
        Warning = "warning",
        /// Needs somebody now.
        Critical = "critical",
    }
}

words! {
    /// A run's one word.
    RunState, "state" {
        /// Said so itself, or ended with a code other than 0.
        Failed = "failed",
        /// Ended by a signal.
        Killed = "killed",
        /// Stopped by its user.
        Cancelled = "cancelled",
        /// Stopped by its scheduler, to run again.
        Preempted = "preempted",
        /// Done.
        Finished = "finished",
        /// Ended well, but short of its announced steps.
        EndedEarly = "ended_early",
        /// Said it was done, and is still there.
        Finishing = "finishing",
        /// Gone, and nobody can read why.
        Ended = "ended",
        /// A newer attempt began while this one was open.
        Superseded = "superseded",
        /// Silent, where no process can be seen.
        Lost = "lost",
        /// Alive, and silent past its bound.
        Hung = "hung",
        /// Its numbers ran away.
        Diverged = "diverged",
        /// Paused by its own word.
        Paused = "paused",
        /// Quieter than it should be.
        Slow = "slow",
        /// Alive and at work.
        Running = "running",
        /// Nothing seen of it yet.
        Waiting = "waiting",
    }
}

words! {
    /// How sure it is that the kernel's out-of-memory killer ended a process.
    OomEvidence, "oom evidence" {
        /// The run's own memory cgroup counted the kill.
        Confirmed = "confirmed",
        /// The host's counter rose when it died.
        Probable = "probable",
    }
}

impl Health {
    /// The severity of a message about this health; `None` for healthy and unknown.
    pub fn severity(self) -> Option<Severity> {
        match self {
            Health::Critical => Some(Severity::Critical),
            Health::Warning => Some(Severity::Warning),
            Health::Healthy | Health::Unknown => None,
        }
    }

    /// Whether this is an alert: a warning or worse.
    pub fn is_unhealthy(self) -> bool {
        matches!(self, Health::Warning | Health::Critical)
    }
}

impl RunState {
    /// How bad the state is.
    pub fn severity(self) -> Severity {
        match self {
            RunState::Failed | RunState::Killed | RunState::Hung | RunState::Lost | RunState::Diverged => {
                Severity::Critical
            }
            RunState::EndedEarly | RunState::Ended | RunState::Finishing | RunState::Slow => Severity::Warning,
            _ => Severity::Info,
        }
    }

    /// Whether the attempt is over.
    pub fn is_end(self) -> bool {
        matches!(
            self,
            RunState::Failed
                | RunState::Killed
                | RunState::Cancelled
                | RunState::Preempted
                | RunState::Finished
                | RunState::EndedEarly
                | RunState::Ended
                | RunState::Superseded
        )
    }
}
