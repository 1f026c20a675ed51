//! From an envelope's fields to an event.

use std::ops::Range;

use crate::domain::event::{Event, GroupRule, Meaning};
use crate::domain::names::Name;

use super::meaning::{self, Kind};
use super::names::{Kept, Names};
use super::scan::{Field, Fields};
use super::value;

/// What every event of one reading has in common.
#[derive(Clone, Copy)]
pub(in crate::sources::formats) struct Source<'a> {
    /// The run of events that name none.
    pub(in crate::sources::formats) pinned: Option<&'a Name>,
    /// Whether the sender is this user, on the user's own socket.
    pub(in crate::sources::formats) trusted: bool,
    /// The type of events that name none.
    pub(in crate::sources::formats) series: Option<&'a str>,
}

/// Where a line's text will lie in the batch's text.
#[derive(Clone, Copy)]
pub(in crate::sources::formats) struct Place<'a> {
    pub(in crate::sources::formats) text: &'a str,
    pub(in crate::sources::formats) base: usize,
}

/// `data`, as the event is to carry it.
pub(in crate::sources::formats) struct DataText<'a> {
    pub(in crate::sources::formats) text: &'a str,
    pub(in crate::sources::formats) range: Range<u32>,
}

impl Place<'_> {
    /// The range of a slice of this place's text.
    pub(in crate::sources::formats) fn range(&self, slice: &str) -> Option<Range<u32>> {
        let offset = (slice.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        let start = u32::try_from(self.base + offset).ok()?;
        Some(start..start.checked_add(u32::try_from(slice.len()).ok()?)?)
    }
}

/// The event that the fields describe.
///
/// # Errors
/// The first field that is missing or wrong, by name.
pub(super) fn event(
    line: u32,
    fields: &Fields<'_>,
    place: Place<'_>,
    data: Option<DataText<'_>>,
    source: Source<'_>,
    names: &mut Names,
) -> Result<Event, String> {
    let (series, kind) = match (named(&mut names.series, Field::Type, fields, Kind::of)?, source.series) {
        (Some(found), _) => found,
        (None, Some(series)) => names.series.get(series, Kind::of).map_err(|error| error.to_string())?,
        (None, None) => {
            return Err("`type` is missing: say what kind of event it is, like \"type\":\"EPOCH_COMPLETED\"".to_owned());
        }
    };
    if kind.needs_trust() && !source.trusted {
        return Err(format!("{series} is taken only from the user's own socket"));
    }
    let run = match named(&mut names.runs, Field::Run, fields, |_| ())? {
        Some((run, ())) => run,
        None => source
            .pinned
            .cloned()
            .ok_or("`run` is missing: name the run in the event, in ?run= or in the hello line")?,
    };
    let message = message(fields.get(Field::Message), place)?;
    let mut event = Event {
        line,
        run,
        series,
        meaning: Meaning::Telemetry,
        ts: optional(fields.get(Field::Ts), |raw| value::time("`ts`", raw))?,
        env: optional(fields.get(Field::Env), |raw| value::whole_u32("`env`", raw, 0))?,
        group: named(&mut names.groups, Field::Group, fields, |_| ())?.map(|(name, ())| name),
        groups: GroupRule::OnceNamed,
        rank: optional(fields.get(Field::Rank), |raw| value::whole_u32("`rank`", raw, 0))?,
        host: named(&mut names.hosts, Field::Host, fields, |_| ())?.map(|(name, ())| name),
        pid: optional(fields.get(Field::Pid), |raw| value::whole_u32("`pid`", raw, 1))?,
        phase: named(&mut names.phases, Field::Phase, fields, |_| ())?.map(|(name, ())| name),
        step: optional(fields.get(Field::Step), |raw| value::whole("`step`", raw, 0, u64::MAX))?,
        seq: optional(fields.get(Field::Seq), |raw| value::whole("`seq`", raw, 0, u64::MAX))?,
        // It is the run's own metric, not a field of ours: what is no count is no error.
        episodes: fields.episodes.and_then(|raw| value::whole("", raw, 0, u64::MAX).ok().flatten()),
        message,
        data: None,
    };
    let data_text = data.as_ref().map(|data| data.text);
    match data_text {
        Some(raw) if !raw.starts_with('{') => return Err(value::wrong("`data`", "an object or null", raw)),
        _ if kind == Kind::Ordinary => {}
        _ => meaning::decode(kind, data_text, &mut event, names)?,
    }
    event.data = data.map(|data| data.range);
    Ok(event)
}

/// Where `message` lies, quotes and escapes included.
pub(in crate::sources::formats) fn message(raw: Option<&str>, place: Place<'_>) -> Result<Option<Range<u32>>, String> {
    match raw {
        None | Some("null") => Ok(None),
        Some(raw) if raw.starts_with('"') => Ok(place.range(raw)),
        Some(raw) => Err(value::wrong("`message`", "a string", raw)),
    }
}

fn named<V: Copy>(
    names: &mut Kept<V>,
    field: Field,
    fields: &Fields<'_>,
    follows: impl FnOnce(&str) -> V,
) -> Result<Option<(Name, V)>, String> {
    let Some(raw) = fields.get(field) else { return Ok(None) };
    name(names, raw, follows)
}

/// The shared name that a value's JSON text is; `None` for null.
pub(in crate::sources::formats) fn name<V: Copy>(
    names: &mut Kept<V>,
    raw: &str,
    follows: impl FnOnce(&str) -> V,
) -> Result<Option<(Name, V)>, String> {
    let Some(text) = value::text(names.what(), raw)? else { return Ok(None) };
    names.get(&text, follows).map(Some).map_err(|error| error.to_string())
}

/// What a value's JSON text reads as; `None` where there is none.
pub(in crate::sources::formats) fn optional<V>(
    raw: Option<&str>,
    read: impl FnOnce(&str) -> Result<Option<V>, String>,
) -> Result<Option<V>, String> {
    raw.map_or(Ok(None), read)
}
