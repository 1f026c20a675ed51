//! Rows of the ledger: transitions, notes, silences.

use std::borrow::Cow;
use std::collections::BTreeMap;

use globset::{Glob, GlobMatcher};
use jiff::Timestamp;
use runwatch_plugin::{Health, Subject};
use serde::{Deserialize, Serialize};

use super::words::{CheckWord, Each, NameRow, RunKeyRow, words};
use super::{Bad, body_of};
use crate::domain::check::Transition;
use crate::domain::ledger::{Note, NoteKind, PastTransition};
use crate::domain::names::{Name, RunKey};
use crate::domain::silence::{Silence, SilenceMatcher};

/// A [`Transition`]; of which run is in the columns.
#[derive(Serialize, Deserialize)]
struct TransitionRow<'a> {
    check: CheckWord,
    subject: Cow<'a, Subject>,
    from: Health,
    to: Health,
    status: Cow<'a, str>,
    at: Timestamp,
    since: Timestamp,
    reason: Cow<'a, str>,
}

words!(
    NoteWord = NoteKind {
        Sent,
        Held,
        Withheld,
        Folded,
        Refused,
        Unrouted,
        Acknowledged,
        Snoozed,
        Silence,
        Escalated,
        Flapping,
        Restarted,
        Sink,
        TemplateFailed,
        Reloaded,
        Blind,
        Widened,
    }
);

/// A [`Note`].
#[derive(Serialize, Deserialize)]
struct NoteRow<'a> {
    at: Timestamp,
    what: NoteWord,
    incident: Option<Cow<'a, str>>,
    run: Option<RunKeyRow>,
    team: Option<NameRow>,
    sink: Option<NameRow>,
    delivery: Option<Cow<'a, str>>,
    said: Cow<'a, str>,
}

/// A [`Silence`]: its globs as they were typed.
#[derive(Serialize, Deserialize)]
struct SilenceRow {
    id: String,
    team: Option<NameRow>,
    run: Option<String>,
    check: Option<String>,
    labels: BTreeMap<String, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    author: String,
    comment: String,
}

/// A transition as a body.
pub(in crate::journal) fn write_transition(transition: &Transition) -> Result<String, Bad> {
    let Transition { check, subject, from, to, status, at, since, reason } = transition;
    let row = TransitionRow {
        check: (*check).into(),
        subject: Cow::Borrowed(subject),
        from: *from,
        to: *to,
        status: Cow::Borrowed(status),
        at: *at,
        since: *since,
        reason: Cow::Borrowed(reason),
    };
    body_of(&row)
}

/// A run's transition from a body.
pub(in crate::journal) fn read_transition(run: RunKey, attempt: u32, body: &[u8]) -> Result<PastTransition, Bad> {
    let row: TransitionRow<'_> = serde_json::from_slice(body)?;
    Ok(PastTransition {
        run,
        attempt,
        check: row.check.into(),
        subject: row.subject.into_owned(),
        from: row.from,
        to: row.to,
        status: row.status.into_owned(),
        at: row.at,
        since: row.since,
        reason: row.reason.into_owned(),
    })
}

/// A note as a body.
pub(in crate::journal) fn write_note(note: &Note) -> Result<String, Bad> {
    let Note { at, what, incident, run, team, sink, delivery, said } = note;
    let row = NoteRow {
        at: *at,
        what: (*what).into(),
        incident: incident.as_deref().map(Cow::Borrowed),
        run: run.clone().each(),
        team: team.clone().each(),
        sink: sink.clone().each(),
        delivery: delivery.as_deref().map(Cow::Borrowed),
        said: Cow::Borrowed(said),
    };
    body_of(&row)
}

/// A note from a body.
pub(in crate::journal) fn read_note(body: &[u8]) -> Result<Note, Bad> {
    let row: NoteRow<'_> = serde_json::from_slice(body)?;
    Ok(Note {
        at: row.at,
        what: row.what.into(),
        incident: row.incident.map(Cow::into_owned),
        run: row.run.each(),
        team: row.team.each(),
        sink: row.sink.each(),
        delivery: row.delivery.map(Cow::into_owned),
        said: row.said.into_owned(),
    })
}

/// A silence as a body.
pub(in crate::journal) fn write_silence(silence: &Silence) -> Result<String, Bad> {
    let Silence { id, matcher, starts_at, ends_at, author, comment } = silence;
    let SilenceMatcher { team, run, check, labels } = matcher;
    let text = |glob: &GlobMatcher| glob.glob().glob().to_owned();
    let row = SilenceRow {
        id: id.clone(),
        team: team.clone().each(),
        run: run.as_ref().map(text),
        check: check.as_ref().map(text),
        labels: labels.iter().map(|(key, glob)| (key.clone(), text(glob))).collect(),
        starts_at: *starts_at,
        ends_at: *ends_at,
        author: author.clone(),
        comment: comment.clone(),
    };
    body_of(&row)
}

/// A silence from a body.
pub(in crate::journal) fn read_silence(body: &[u8]) -> Result<Silence, Bad> {
    let row: SilenceRow = serde_json::from_slice(body)?;
    let glob = |text: String| match Glob::new(&text) {
        Ok(glob) => Ok(glob.compile_matcher()),
        Err(error) => Err(Bad(format!("its pattern `{text}` is none: {error}"))),
    };
    let labels = row.labels.into_iter().map(|(key, text)| Ok((key, glob(text)?)));
    Ok(Silence {
        id: row.id,
        matcher: SilenceMatcher {
            team: row.team.map(Name::from),
            run: row.run.map(glob).transpose()?,
            check: row.check.map(glob).transpose()?,
            labels: labels.collect::<Result<_, Bad>>()?,
        },
        starts_at: row.starts_at,
        ends_at: row.ends_at,
        author: row.author,
        comment: row.comment,
    })
}
