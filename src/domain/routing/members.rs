//! The words for runs of several members: which of them it was, and what became of the others.

use runwatch_plugin::RunState;

use super::cause::Cause;
use super::fold;
use crate::domain::change::{Deaths, FoldStep, RunChange};
use crate::domain::check::CheckKind;
use crate::domain::ending::next_after;
use crate::domain::liveness::{DeathCause, Exit, Liveness};

/// One sentence on a run that one of its members is to blame for; `None` where none is.
pub(super) fn summary(change: &RunChange, cause: &Cause, at_step: &str) -> Option<String> {
    let run = &change.verdict.key.name;
    let state = change.verdict.state;
    let silent = change.story.heard && change.story.silent_members > 0 && cause.check == CheckKind::Freshness;
    if let Some(deaths) = change.story.deaths.as_deref() {
        let verb = match state {
            RunState::Failed => "failed",
            RunState::Killed => "was killed",
            RunState::Ended => "ended",
            _ if state.is_end() => return None,
            // Alive, and told of a death; or of something else that came after it.
            _ if cause.check == CheckKind::Process || fold::step(change) == FoldStep::Closes => {
                return Some(format!("{run}: {}{at_step}", told(deaths, change)));
            }
            _ if silent => return Some(by_member(run, state, cause, at_step)),
            _ => return None,
        };
        // A launcher that died first is what the run's own end tells.
        if deaths.others.is_none() && deaths.first.starts_with("its launcher") {
            return None;
        }
        return Some(format!("{run} {verb}{at_step}: {}", told(deaths, change)));
    }
    silent.then(|| by_member(run, state, cause, at_step))
}

fn by_member(run: &str, state: RunState, cause: &Cause, at_step: &str) -> String {
    let what = match state {
        RunState::Hung => "hangs",
        RunState::Lost => "is lost in part",
        RunState::Slow => "is slow",
        _ => "is silent in part",
    };
    format!("{run} {what}{at_step}: {}", cause.reason)
}

fn told(deaths: &Deaths, change: &RunChange) -> String {
    let error = change.story.error.as_deref().and_then(|error| error.lines().next());
    let error = error.map(|error| format!(": {error}")).unwrap_or_default();
    let others = deaths.others.as_ref().map(|others| format!("; {others}")).unwrap_or_default();
    format!("{}{error}{others}", deaths.first)
}

/// How the first of several that died ended.
pub(super) fn first_exit(change: &RunChange) -> Option<Exit> {
    let ended = change.verdict.state.is_end();
    let own = matches!(change.verdict.liveness, Liveness::Dead { cause: DeathCause::Exited(exit), .. } if exit.signal.is_some() && ended);
    change.story.deaths.as_ref().filter(|_| !own)?.exit
}

/// What to look at after the death of a member.
pub(super) fn next(change: &RunChange) -> String {
    match first_exit(change) {
        Some(exit) if exit.signal.is_some() => next_after(Some(exit), None),
        _ => "the traceback in that member's log; the cause is usually in the last lines".to_owned(),
    }
}
