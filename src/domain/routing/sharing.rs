//! Teams that share a sink: it is told once, by the one whose hours let it be told soonest.

use super::recipients::Route;
use crate::domain::delivery::Hold;
use crate::domain::incident::Recipient;

/// Somebody who is to be told.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) recipient: Recipient,
    pub(super) route: Route,
    /// Why and until when it waits.
    pub(super) hold: Option<Hold>,
}

/// By sink; of those that share one, the first is whose words it hears: who waits least, and of those
/// the owner.
pub(super) fn by_sink(mut due: Vec<Due>, owner: &str) -> Vec<Due> {
    due.sort_by(|one, other| {
        let key = |due: &Due| {
            let (team, sink) = &due.recipient;
            (sink.clone(), due.hold.as_ref().map(|hold| hold.until), **team != *owner, team.clone())
        };
        key(one).cmp(&key(other))
    });
    due
}
