//! esper-lite's own lines, taken as its file, directory and WebSocket outputs write them.
//!
//! A line is one of these where it is an object with `event_type` and no `type`. It names no run:
//! the source does. `event_type`, `timestamp`, `group_id`, `message`, `data` and `data.env_id` are
//! read; `data` stays where it lies, and the other keys are left alone. `epoch` is no step: for
//! some types it counts epochs, for others episodes.

use std::collections::BTreeMap;

use crate::domain::event::{Event, GroupRule, GroupStarted, Meaning};
use crate::limits;

use super::native::decode::{self, Place, Source, optional};
use super::native::envelope::{Envelope, Pairs, pairs};
use super::native::names::Names;
use super::native::scan::{self, Field, Scanned};
use super::native::value;

/// The group of lines that name none.
const DEFAULT_GROUP: &str = "default";

/// The key in `data` that names the environment.
const ENV: &str = "env_id";

/// What a training's start says of its run for people to find it by.
const LABELS: [&str; 6] = ["episode_id", "task", "reward_mode", "policy_device", "seed", "resume_path"];

/// What an event's type stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ordinary,
    Started,
    RoundCompleted,
}

impl Kind {
    fn of(event_type: &str) -> Kind {
        match event_type {
            "TRAINING_STARTED" => Kind::Started,
            "BATCH_EPOCH_COMPLETED" => Kind::RoundCompleted,
            _ => Kind::Ordinary,
        }
    }
}

/// The fields of one line: the JSON text of each that is there.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields<'a> {
    run: Option<&'a str>,
    event_type: Option<&'a str>,
    timestamp: Option<&'a str>,
    group: Option<&'a str>,
    message: Option<&'a str>,
    data: Option<&'a str>,
    env: Option<&'a str>,
}

/// A key of a line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key {
    Run,
    EventType,
    Timestamp,
    Group,
    Message,
    Data,
    Other,
}

impl<'a> Scanned<'a> for Fields<'a> {
    type Key = Key;
    const INNER: &'static str = ENV;

    fn key(name: &[u8]) -> Option<Key> {
        Some(match name {
            b"type" => return None,
            b"run" => Key::Run,
            b"event_type" => Key::EventType,
            b"timestamp" => Key::Timestamp,
            b"group_id" => Key::Group,
            b"message" => Key::Message,
            b"data" => Key::Data,
            _ => Key::Other,
        })
    }

    fn set(&mut self, key: Key, text: &'a str, inner: Option<&'a str>) {
        let field = match key {
            Key::Other => return,
            Key::Run => &mut self.run,
            Key::EventType => &mut self.event_type,
            Key::Timestamp => &mut self.timestamp,
            Key::Group => &mut self.group,
            Key::Message => &mut self.message,
            Key::Data => {
                self.env = inner;
                &mut self.data
            }
        };
        *field = Some(text);
    }
}

impl<'a> Fields<'a> {
    /// The same out of an envelope that was read with care; `None` where the line is not esper-lite's.
    ///
    /// # Errors
    /// Its `data` is broken.
    pub(super) fn of(envelope: &Envelope<'a>) -> Result<Option<Fields<'a>>, String> {
        let extra = |name: &str| envelope.extras.iter().find(|(key, _)| key == name).map(|(_, raw)| *raw);
        let Some(event_type) = extra("event_type") else { return Ok(None) };
        if envelope.fields.get(Field::Type).is_some() {
            return Ok(None);
        }
        let data = envelope.fields.get(Field::Data);
        let env = match data {
            Some(data) if data.starts_with('{') => pairs(data)?.into_iter().find(|(key, _)| key == ENV),
            _ => None,
        };
        Ok(Some(Fields {
            run: envelope.fields.get(Field::Run),
            event_type: Some(event_type),
            timestamp: extra("timestamp"),
            group: extra("group_id"),
            message: envelope.fields.get(Field::Message),
            data,
            env: env.map(|(_, raw)| raw),
        }))
    }
}

/// Scans a line. `None` is "not an ordinary line of esper-lite's", not "wrong".
pub(super) fn scan(line: &str) -> Option<Fields<'_>> {
    scan::scan_as::<Fields<'_>>(line).filter(|fields| fields.event_type.is_some())
}

/// The event that the fields describe.
///
/// # Errors
/// The first field that is missing or wrong, by name.
pub(super) fn event(
    line: u32,
    fields: &Fields<'_>,
    place: Place<'_>,
    source: Source<'_>,
    names: &mut Names,
) -> Result<Event, String> {
    let event_type = optional(fields.event_type, |raw| decode::name(&mut names.event_types, raw, Kind::of))?;
    let (series, kind) = event_type.ok_or("`event_type` is missing: say what kind of event it is")?;
    let run = match optional(fields.run, |raw| decode::name(&mut names.runs, raw, |_| ()))? {
        Some((run, ())) => run,
        None => source.pinned.cloned().ok_or(
            "`run` is missing: lines with `event_type` name none, so name it in ?run= or in the hello line, \
             like {\"hello\":1,\"run\":\"NAME\"}",
        )?,
    };
    let group = match optional(fields.group, |raw| decode::name(&mut names.group_ids, raw, |_| ()))? {
        Some((group, ())) => group,
        None => names.group_ids.get(DEFAULT_GROUP, |_| ()).map_err(|error| error.to_string())?.0,
    };
    let data = match fields.data {
        None | Some("null") => None,
        Some(raw) if raw.starts_with('{') => Some(raw),
        Some(raw) => return Err(value::wrong("`data`", "an object or null", raw)),
    };
    let meaning = match kind {
        Kind::Ordinary => Meaning::Telemetry,
        Kind::Started => Meaning::GroupStarted(Box::new(Data::of("TRAINING_STARTED", data)?.started()?)),
        Kind::RoundCompleted => Data::of("BATCH_EPOCH_COMPLETED", data)?.round_completed()?,
    };
    Ok(Event {
        line,
        run,
        series,
        meaning,
        ts: optional(fields.timestamp, |raw| value::time("`timestamp`", raw))?,
        env: optional(fields.env, |raw| value::whole_u32("`data.env_id`", raw, 0))?,
        group: Some(group),
        groups: GroupRule::OnceStarted,
        rank: None,
        host: None,
        pid: None,
        phase: None,
        step: None,
        seq: None,
        episodes: None,
        message: decode::message(fields.message, place)?,
        data: data.and_then(|data| place.range(data)),
    })
}

/// `data` of a type whose fields have a meaning here.
struct Data<'a> {
    event_type: &'static str,
    pairs: Pairs<'a>,
}

impl<'a> Data<'a> {
    fn of(event_type: &'static str, data: Option<&'a str>) -> Result<Data<'a>, String> {
        Ok(Data { event_type, pairs: data.map(pairs).transpose()?.unwrap_or_default() })
    }

    fn raw(&self, field: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(key, _)| key == field).map(|(_, raw)| *raw)
    }

    fn whole(&self, field: &str) -> Result<Option<u64>, String> {
        optional(self.raw(field), |raw| value::whole(&format!("`data.{field}`"), raw, 0, u64::MAX))
    }

    fn needed(&self, field: &str, what: &str) -> Result<u64, String> {
        self.whole(field)?.ok_or_else(|| format!("{} needs `data.{field}`: {what}", self.event_type))
    }

    fn started(&self) -> Result<GroupStarted, String> {
        let n_envs = self.needed("n_envs", "how many environments the group will have")?;
        let fits = u32::try_from(n_envs).ok().filter(|n_envs| *n_envs as usize <= limits::ENVS_MAX);
        let n_envs =
            fits.ok_or_else(|| format!("`data.n_envs` is {n_envs}, more than the {} held", limits::ENVS_MAX))?;
        let ranks = self.whole("world_size")?.is_some_and(|world_size| world_size > 1);
        let rank = self.whole("rank")?.filter(|_| ranks);
        Ok(GroupStarted {
            labels: self.labels()?,
            n_envs,
            first_episode: self.whole("start_episode")?.unwrap_or(0),
            max_episodes: self.whole("n_episodes")?,
            rank: rank.and_then(|rank| u32::try_from(rank).ok()),
        })
    }

    /// Labels are for people: one that is no single value is left out, a long one is cut.
    fn labels(&self) -> Result<BTreeMap<String, String>, String> {
        let mut labels = BTreeMap::new();
        for label in LABELS {
            let text = match self.raw(label) {
                None | Some("null") => continue,
                Some(raw) if raw.starts_with(['{', '[']) => continue,
                Some(raw) if raw.starts_with('"') => value::text(label, raw)?.unwrap_or_default().into_owned(),
                Some(raw) => raw.to_owned(),
            };
            if !text.is_empty() {
                labels.insert(label.to_owned(), text.chars().take(limits::LABEL_CHARS_MAX).collect());
            }
        }
        Ok(labels)
    }

    fn round_completed(&self) -> Result<Meaning, String> {
        let episodes = self.needed("episodes_completed", "how many episodes the group has done")?;
        Ok(Meaning::GroupProgress { episodes, max_episodes: self.whole("total_episodes")? })
    }
}

#[cfg(test)]
mod tests;
