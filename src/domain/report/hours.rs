//! How long runs trained and how long they stood still, within a stretch of time.

use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::{Health, Subject};

use super::ReportedRun;
use crate::domain::check::CheckKind;
use crate::domain::ledger::{Ledger, PastRun};

/// An attempt that lies in the time, at least in part.
pub(super) struct RunInTime {
    pub(super) team: String,
    /// It began in the time, and is not the run's first.
    pub(super) is_restart: bool,
    pub(super) line: ReportedRun,
}

/// The attempts that lie in the time from `since` up to `until`. What was read as history ran at
/// another time.
pub(super) fn runs(ledger: &Ledger, since: Timestamp, until: Timestamp) -> Vec<RunInTime> {
    ledger.runs.iter().filter_map(|run| run_in_time(ledger, run, since, until)).collect()
}

fn run_in_time(ledger: &Ledger, run: &PastRun, since: Timestamp, until: Timestamp) -> Option<RunInTime> {
    let verdict = &run.verdict;
    if run.sent.as_ref().is_some_and(|sent| sent.past) {
        return None;
    }
    // What is still under way is known to have been so until the last word of the journal.
    let known_until = ledger.written_until.map_or(until, |written| written.min(until));
    let ended_at = verdict.ended_at.filter(|at| *at < until);
    let began_at = match &run.sent {
        Some(sent) => sent.began_at,
        None => ended_at.unwrap_or(known_until).checked_sub(verdict.runtime).ok()?,
    };
    let (from, to) = (began_at.max(since), ended_at.unwrap_or(known_until));
    if to < from || began_at >= until {
        return None;
    }
    let ran = span(from, to);
    let stalled = if began_at >= since && ended_at.is_some() {
        // All of it lies in the time: what was counted then is exact, pauses included.
        verdict.runtime.saturating_sub(verdict.active)
    } else {
        silent(ledger, run, from, to)
    };
    let stalled = stalled.min(ran);
    let line = ReportedRun {
        run: verdict.key.name.to_string(),
        attempt: verdict.attempt,
        state: verdict.state,
        ended_at,
        trained_s: (ran - stalled).as_secs_f64(),
        stalled_s: stalled.as_secs_f64(),
        step: run.sent.as_ref().and_then(|sent| sent.step),
        max_steps: run.sent.as_ref().and_then(|sent| sent.max_steps),
    };
    let is_restart = verdict.attempt > 1 && began_at >= since;
    Some(RunInTime { team: verdict.key.team.to_string(), is_restart, line })
}

/// How long the run was silent past its bound between two times, by what was judged of it.
fn silent(ledger: &Ledger, run: &PastRun, from: Timestamp, to: Timestamp) -> Duration {
    let whole = Subject::default();
    let judged = ledger.transitions.iter().filter(|one| {
        one.run == run.verdict.key
            && one.attempt == run.verdict.attempt
            && one.check == CheckKind::Freshness
            && one.subject == whole
    });
    let mut total = Duration::ZERO;
    let mut silent_since: Option<Timestamp> = None;
    let mut first = true;
    for one in judged {
        if std::mem::take(&mut first) && one.from == Health::Critical {
            silent_since = Some(from);
        }
        match (silent_since, one.to == Health::Critical) {
            (None, true) => silent_since = Some(one.at.max(from)),
            (Some(since), false) => {
                total += span(since, one.at.min(to));
                silent_since = None;
            }
            _ => {}
        }
    }
    // Nothing was judged of it in this time: it is as it was.
    let is_silent = first
        && run.verdict.alerts.iter().any(|alert| {
            alert.check == CheckKind::Freshness && alert.subject == whole && alert.health == Health::Critical
        });
    silent_since = silent_since.or(is_silent.then_some(from));
    total + silent_since.map_or(Duration::ZERO, |since| span(since, to))
}

fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
