//! What is told of the deaths of members: the first at once, what follows within its window in one update.
//!
//! The evaluator holds the window, since it knows who is left; here it is decided what that means for
//! an incident: a first death is news whatever is open, and what follows it is none of its own.

use runwatch_plugin::{Kind, Severity};

use super::OpenIncident;
use crate::domain::change::{FoldStep, RunChange};

/// How a change that leaves something unhealthy is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// At once.
    Now(Kind),
    /// With what else joins the incident, in a while.
    Later,
    /// Not by itself: it is part of what is told with a first death.
    Folded,
    /// There is no news in it.
    Nothing,
}

/// What is news of a change for its incident.
#[derive(Debug, Clone, Copy)]
pub(super) struct News {
    /// The incident was opened by it.
    pub(super) fresh: bool,
    /// It is worse than all before.
    pub(super) severity: Severity,
    /// The attempt ended with it, and people must look.
    pub(super) ended_badly: bool,
    /// An attempt before it ended like that, and there was no progress since.
    pub(super) again: bool,
    /// It holds alerts that were not told of.
    pub(super) more: bool,
}

/// How the change is told.
pub(super) fn telling(change: &RunChange, open: &OpenIncident, news: News) -> Telling {
    let worse = news.fresh || news.severity > open.incident.severity;
    match step(change) {
        _ if worse => Telling::Now(Kind::Firing),
        FoldStep::Opens | FoldStep::Closes if news.again => Telling::Later,
        FoldStep::Opens => Telling::Now(Kind::Firing),
        FoldStep::Closes => Telling::Now(Kind::Update),
        FoldStep::Within => Telling::Folded,
        FoldStep::None if news.ended_badly && news.again => Telling::Later,
        FoldStep::None if news.ended_badly => Telling::Now(Kind::Firing),
        FoldStep::None if news.more && (news.again || !open.incident.fatal) => Telling::Later,
        FoldStep::None => Telling::Nothing,
    }
}

/// Where the telling of a first death stands.
pub(super) fn step(change: &RunChange) -> FoldStep {
    change.story.deaths.as_ref().map_or(FoldStep::None, |deaths| deaths.fold)
}
