//! What runwatch says of itself: one function an internal event, so that a log line has one place.

use std::time::Duration;

use crate::domain::delivery::SinkCondition;

/// The engine is ready.
pub fn engine_ready(runs: usize, incidents: usize, deliveries: usize) {
    tracing::info!(runs, incidents, deliveries, "ready; taken up from the journal");
}

/// A sink could not be opened, and is out of work until it can.
pub fn sink_disabled(sink: &str, reason: &str) {
    tracing::error!(sink, reason, "sink is disabled");
}

/// A sink cannot be opened with the settings that a reload asks for: it goes on with those before.
pub fn sink_kept(sink: &str, reason: &str) {
    tracing::error!(sink, reason, "sink cannot be opened: it goes on with its last good settings");
}

/// A delivery was not taken, and will be tried again.
pub fn delivery_retried(sink: &str, delivery: &str, attempt: u32, reason: &str) {
    tracing::warn!(sink, delivery, attempt, reason, "delivery failed, will be tried again");
}

/// A delivery was refused for good.
pub fn delivery_refused(sink: &str, delivery: &str, reason: &str) {
    tracing::error!(sink, delivery, reason, "delivery refused for good");
}

/// A delivery need not be made any more: another one says it.
pub fn delivery_folded(sink: &str, delivery: &str, into: &str) {
    tracing::info!(sink, delivery, into, "delivery folded into another");
}

/// A sink does not take what it is sent, or takes it again.
pub fn sink_changed(sink: &str, condition: &SinkCondition) {
    match condition {
        SinkCondition::Working => tracing::info!(sink, "sink works"),
        SinkCondition::Down { reason, .. } => tracing::error!(sink, reason, "sink is down, it is probed"),
        SinkCondition::Parked { reason, .. } => tracing::error!(sink, reason, "sink is left alone"),
    }
}

/// A template failed; its text went in plain words. Told once until it works again.
pub fn template_failed(sink: &str, team: &str, field: &str, error: &str) {
    tracing::error!(sink, team, field, error, "a template failed: its text goes in plain words");
}

/// A note for the ledger could not be written down.
pub fn note_lost(reason: &str) {
    tracing::warn!(reason, "a note for the ledger was not written down");
}

/// A delivery has no sink of its name any more; it stays in the journal.
pub fn delivery_without_sink(sink: &str, delivery: &str) {
    tracing::error!(sink, delivery, "no sink of this name: the delivery stays in the journal");
}

/// Deliveries were left for a sink that is no more: they go another way.
pub fn orphans_found(sink: &str, deliveries: usize) {
    tracing::warn!(sink, deliveries, "deliveries of a sink that is no more go another way");
}

/// A sink is no more; `drained` says that nothing was under way to it at its end.
pub fn sink_removed(sink: &str, drained: bool) {
    tracing::info!(sink, drained, "sink taken out");
}

/// Another configuration is in force.
pub fn config_reloaded(changes: usize, quarantined: usize) {
    tracing::info!(changes, quarantined, "configuration reloaded");
}

/// A configuration was not taken: what was in force stays.
pub fn config_refused(why: &str) {
    tracing::error!(why, "configuration not reloaded: what was in force stays");
}

/// A setting changed that holds from the next start on.
pub fn config_needs_restart(keys: &str) {
    tracing::warn!(keys, "these settings of [engine] were changed, and hold from the next start on");
}

/// A team file is broken.
pub fn team_file_quarantined(file: &str, error: &str, is_kept: bool) {
    tracing::error!(file, error, last_good_in_force = is_kept, "team file put aside");
}

/// A configuration came into force that has no such team any more.
pub fn team_taken_out(team: &str) {
    tracing::warn!(team, "team taken out");
}

/// What is good of a configuration could not be kept.
pub fn config_not_kept(reason: &str) {
    tracing::warn!(reason, "configuration not kept: a team file that breaks has no last good version");
}

/// The journal did not take an entry; it is tried again, and nothing is sent before.
pub fn journal_failed(reason: &str, retry_in: Duration) {
    tracing::error!(reason, retry_in_s = retry_in.as_secs_f64(), "journal cannot be written, trying again");
}

/// The journal takes entries again.
pub fn journal_back() {
    tracing::warn!("journal can be written again");
}

/// A journal that could not be read was set aside.
pub fn journal_set_aside(path: &str) {
    tracing::error!(path, "the journal was damaged: kept aside, a new one was begun");
}

/// A stage ended unasked; the engine is built anew from the journal.
pub fn stage_ended(stage: &str, how: &str, rebuild_in: Duration) {
    tracing::error!(
        stage,
        how,
        rebuild_in_s = rebuild_in.as_secs_f64(),
        "stage ended unasked, building the engine anew"
    );
}

/// A stage was stopped.
pub fn stage_stopped(stage: &str, took: Duration, drained: bool) {
    tracing::debug!(stage, took_ms = took.as_millis() as u64, drained, "stage stopped");
}

/// The engine's thread stood still: the silence of that time is ours.
pub fn stood_still(span: Duration, why: &str) {
    tracing::warn!(span_s = span.as_secs_f64(), why, "the engine stood still; silence in that time counts for nobody");
}

/// The journal did not take that the engine was told to stop: the next life takes it for killed.
pub fn not_signed_off() {
    tracing::warn!("the journal did not take that this end was asked for; the next start calls it killed");
}

/// The service manager could not be told.
pub fn service_manager_deaf(reason: &str) {
    tracing::debug!(reason, "the service manager cannot be told");
}

/// The URL of pings that a reload asks for is not to be had: they go on as they did.
pub fn ping_kept(reason: &str) {
    tracing::error!(reason, "the new ping_url is not to be had: pings go where they went before");
}

/// A service outside was to hear that we live, and did not. Said once until it hears again.
pub fn ping_failed(target: &str, reason: &str) {
    tracing::warn!(target_host = target, reason, "ping_url is not reached: whoever waits for it may think us dead");
}

/// The service outside hears us again.
pub fn pings_again() {
    tracing::info!("ping_url is reached again");
}

/// There is no ping to the outside, for want of its URL.
pub fn ping_disabled(reason: &str) {
    tracing::error!(reason, "ping_url is out of work: nobody outside hears that we live");
}

/// A run's state changed.
pub fn run_changed(run: &str, attempt: u32, state: &str) {
    tracing::debug!(run, attempt, state, "run changed");
}

/// An attempt of a name began while another of it is live: it is known by a name of its own.
pub fn name_taken(run: &str, known_as: &str) {
    tracing::warn!(run, known_as, "an attempt of this run is live already, so another is known by its own name");
}

/// A run asks for a team that is not there.
pub fn team_missing(run: &str, asked: &str) {
    tracing::warn!(
        run,
        asked,
        "there is no team of this name: the run is of the team that claims it, else of `default`"
    );
}

/// A team's report could not be made.
pub fn report_not_made(team: &str, reason: &str) {
    tracing::warn!(team, reason, "a report could not be made, and is tried again in a minute");
}

/// A way in failed.
pub fn source_failed(source: &str, reason: &str) {
    tracing::error!(source, reason, "a way in failed");
}

/// Lines of a followed file were refused.
pub fn file_lines_refused(path: &str, count: u64, first: &str) {
    tracing::warn!(path, count, first, "lines of a followed file are not taken");
}

/// A followed file cannot be read.
pub fn file_not_read(path: &str, reason: &str) {
    tracing::warn!(path, reason, "a followed file cannot be read");
}

/// The engine's thread panicked.
pub fn host_panicked() {
    tracing::error!("the engine's thread panicked");
}
