//! The small parts of rows: words, liveness, bounds, alerts. Domain types know nothing of serde.

use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{Health, OomEvidence, Subject};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::check::{Alert, CheckKind};
use crate::domain::event::Expect;
use crate::domain::freshness::{BoundSource, Bounds, FreshnessStatus};
use crate::domain::liveness::{DeathCause, Exit, Liveness, ProcessIdentity, UnknownWhy};
use crate::domain::names::{Name, RunKey};

/// A row's word for each variant of a domain enum, converted both ways by name; a variant that is
/// added there and not here does not compile.
macro_rules! words {
    ($row:ident = $domain:ident { $($variant:ident),+ $(,)? }) => {
        #[derive(Debug, Clone, Copy, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub(in crate::journal) enum $row { $($variant),+ }

        impl From<$domain> for $row {
            fn from(word: $domain) -> $row {
                match word { $($domain::$variant => $row::$variant),+ }
            }
        }

        impl From<$row> for $domain {
            fn from(word: $row) -> $domain {
                match word { $($row::$variant => $domain::$variant),+ }
            }
        }
    };
}
pub(super) use words;

words!(CheckWord = CheckKind { Outcome, Process, Thread, Startup, Freshness, Sink, Own, EnvFreshness });
words!(FreshnessWord = FreshnessStatus { NotWatched, Waiting, Live, Slow, Stale, Disconnected });
words!(UnknownWord = UnknownWhy { NeverSeen, NoPermission, OtherHost, Unsupported, Reported, AlreadyGone });

/// A struct's row with the same fields: `copied` as they are, `into` through a row type of their
/// own, `each` the same inside an `Option` or a `Vec`.
macro_rules! row {
    ($(#[$meta:meta])* $row:ident = $domain:ident {
        copied { $($copied:ident: $copied_type:ty),* $(,)? }
        into { $($into:ident: $into_type:ty),* $(,)? }
        each { $($each:ident: $each_type:ty),* $(,)? }
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
        pub(in crate::journal) struct $row {
            $($into: $into_type,)*
            $($copied: $copied_type,)*
            $($each: $each_type,)*
        }

        impl From<$domain> for $row {
            fn from(domain: $domain) -> $row {
                // Taken apart in full: a field that is added there and not here does not compile.
                let $domain { $($copied,)* $($into,)* $($each,)* } = domain;
                $row {
                    $($copied,)*
                    $($into: $into.into(),)*
                    $($each: $crate::journal::rows::words::Each::each($each),)*
                }
            }
        }

        impl From<$row> for $domain {
            fn from(row: $row) -> $domain {
                let $row { $($copied,)* $($into,)* $($each,)* } = row;
                $domain {
                    $($copied,)*
                    $($into: $into.into(),)*
                    $($each: $crate::journal::rows::words::Each::each($each),)*
                }
            }
        }
    };
}
pub(super) use row;

/// `Into` for what is inside a container.
pub(in crate::journal) trait Each<T> {
    /// The same container of the other type.
    fn each(self) -> T;
}

impl<A, B: From<A>> Each<Option<B>> for Option<A> {
    fn each(self) -> Option<B> {
        self.map(B::from)
    }
}

impl<A, B: From<A>> Each<Vec<B>> for Vec<A> {
    fn each(self) -> Vec<B> {
        self.into_iter().map(B::from).collect()
    }
}

/// A [`Name`].
#[derive(Debug, Clone)]
pub(in crate::journal) struct NameRow(Name);

impl Serialize for NameRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NameRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NameRow, D::Error> {
        String::deserialize(deserializer).map(|name| NameRow(name.into()))
    }
}

impl From<Name> for NameRow {
    fn from(name: Name) -> NameRow {
        NameRow(name)
    }
}

impl From<NameRow> for Name {
    fn from(row: NameRow) -> Name {
        row.0
    }
}

row!(RunKeyRow = RunKey { copied {} into { team: NameRow, name: NameRow } each {} });

row!(ExitRow = Exit {
    copied { code: Option<i32>, signal: Option<i32>, core: bool, oom: Option<OomEvidence> }
    into {}
    each {}
});

row!(ExpectRow = Expect { copied { stale: Option<Duration>, startup: Option<Duration> } into {} each {} });

/// Who set a bound: a word, but for what false alarms led to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::journal) enum BoundSourceRow {
    BuiltIn,
    File,
    Team,
    Widened { false_alarms: u32, was: Duration },
    Expect,
    CommandLine,
}

impl From<BoundSource> for BoundSourceRow {
    fn from(source: BoundSource) -> BoundSourceRow {
        match source {
            BoundSource::BuiltIn => BoundSourceRow::BuiltIn,
            BoundSource::File => BoundSourceRow::File,
            BoundSource::Team => BoundSourceRow::Team,
            BoundSource::Widened { false_alarms, was } => BoundSourceRow::Widened { false_alarms, was },
            BoundSource::Expect => BoundSourceRow::Expect,
            BoundSource::CommandLine => BoundSourceRow::CommandLine,
        }
    }
}

impl From<BoundSourceRow> for BoundSource {
    fn from(row: BoundSourceRow) -> BoundSource {
        match row {
            BoundSourceRow::BuiltIn => BoundSource::BuiltIn,
            BoundSourceRow::File => BoundSource::File,
            BoundSourceRow::Team => BoundSource::Team,
            BoundSourceRow::Widened { false_alarms, was } => BoundSource::Widened { false_alarms, was },
            BoundSourceRow::Expect => BoundSource::Expect,
            BoundSourceRow::CommandLine => BoundSource::CommandLine,
        }
    }
}

row!(BoundsRow = Bounds {
    copied { slow: Duration, stale: Duration, disconnected: Duration }
    into { source: BoundSourceRow }
    each {}
});

row!(ProcessRow = ProcessIdentity {
    copied { pid: u32, start_ticks: u64 }
    into { host: NameRow, boot_id: NameRow }
    each {}
});

row!(AlertRow = Alert {
    copied { subject: Subject, health: Health, since: Timestamp, reason: String }
    into { check: CheckWord }
    each { member: Option<NameRow> }
});

/// A [`DeathCause`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::journal) enum CauseRow {
    Exited(ExitRow),
    Gone,
    Replaced,
    Reported,
}

impl From<DeathCause> for CauseRow {
    fn from(cause: DeathCause) -> CauseRow {
        match cause {
            DeathCause::Exited(exit) => CauseRow::Exited(exit.into()),
            DeathCause::Gone => CauseRow::Gone,
            DeathCause::Replaced => CauseRow::Replaced,
            DeathCause::Reported => CauseRow::Reported,
        }
    }
}

impl From<CauseRow> for DeathCause {
    fn from(row: CauseRow) -> DeathCause {
        match row {
            CauseRow::Exited(exit) => DeathCause::Exited(exit.into()),
            CauseRow::Gone => DeathCause::Gone,
            CauseRow::Replaced => DeathCause::Replaced,
            CauseRow::Reported => DeathCause::Reported,
        }
    }
}

/// A [`Liveness`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::journal) enum LivenessRow {
    Alive,
    Dead { cause: CauseRow, at: Timestamp },
    Unknown(UnknownWord),
}

impl From<Liveness> for LivenessRow {
    fn from(liveness: Liveness) -> LivenessRow {
        match liveness {
            Liveness::Alive => LivenessRow::Alive,
            Liveness::Dead { cause, at } => LivenessRow::Dead { cause: cause.into(), at },
            Liveness::Unknown(why) => LivenessRow::Unknown(why.into()),
        }
    }
}

impl From<LivenessRow> for Liveness {
    fn from(row: LivenessRow) -> Liveness {
        match row {
            LivenessRow::Alive => Liveness::Alive,
            LivenessRow::Dead { cause, at } => Liveness::Dead { cause: cause.into(), at },
            LivenessRow::Unknown(why) => Liveness::Unknown(why.into()),
        }
    }
}
