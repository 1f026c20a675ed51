//! Reserved types: what they mean, and their fields, which may stand at the top level or in `data`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use runwatch_plugin::OomEvidence;

use crate::domain::event::{
    Event, Expect, Leftover, Meaning, ProcessEnded, ProcessStarted, RunStarted, SchedulerWord, ThreadReport, Watcher,
};
use crate::domain::liveness::Exit;
use crate::domain::names::{Name, check_name};
use crate::limits;

use super::envelope::{Pairs, pairs};
use super::names::Names;
use super::timestamp::rfc3339;
use super::value;

/// What an event's type stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ordinary,
    RunStarted,
    RunFinished,
    RunFailed,
    Heartbeat,
    PhaseStarted,
    PhaseEnded,
    ThreadReport,
    Log,
    Paused,
    Resumed,
    ProcessStarted,
    ProcessEnded,
}

impl Kind {
    pub(super) fn of(series: &str) -> Kind {
        match series {
            "run_started" => Kind::RunStarted,
            "run_finished" => Kind::RunFinished,
            "run_failed" => Kind::RunFailed,
            "heartbeat" => Kind::Heartbeat,
            "phase_started" => Kind::PhaseStarted,
            "phase_ended" => Kind::PhaseEnded,
            "thread_report" => Kind::ThreadReport,
            "log" => Kind::Log,
            "paused" => Kind::Paused,
            "resumed" => Kind::Resumed,
            "process_started" => Kind::ProcessStarted,
            "process_ended" => Kind::ProcessEnded,
            _ => Kind::Ordinary,
        }
    }

    /// Whether only this user's own socket may say it: it is taken for evidence.
    pub(super) fn needs_trust(self) -> bool {
        matches!(self, Kind::ProcessStarted | Kind::ProcessEnded)
    }
}

/// Decodes `data` into the event's meaning. Envelope fields that stand in `data` alone are taken
/// from there; the envelope's own win.
///
/// # Errors
/// A field that is needed and missing, or of the wrong type.
pub(super) fn decode(kind: Kind, data: Option<&str>, event: &mut Event, names: &mut Names) -> Result<(), String> {
    let data = Data { pairs: data.map(pairs).transpose()?.unwrap_or_default() };
    data.lift(event, names)?;
    event.meaning = match kind {
        Kind::Ordinary => Meaning::Telemetry,
        Kind::Heartbeat => Meaning::Heartbeat,
        Kind::Log => Meaning::Log,
        Kind::Paused => Meaning::Paused,
        Kind::Resumed => Meaning::Resumed,
        Kind::PhaseEnded => Meaning::PhaseEnded,
        Kind::PhaseStarted => {
            let phase = event.phase.clone().ok_or("phase_started needs `phase`: the name of the phase")?;
            Meaning::PhaseStarted { phase, lease: data.span("lease")? }
        }
        Kind::RunStarted => Meaning::RunStarted(Box::new(data.run_started()?)),
        Kind::RunFinished => Meaning::RunFinished { summary: data.raw("summary").map(str::to_owned) },
        Kind::RunFailed => Meaning::RunFailed { error: data.words("error"), traceback: data.words("traceback") },
        Kind::ThreadReport => Meaning::ThreadReport(data.thread_report()?),
        Kind::ProcessStarted => {
            event.pid.ok_or("process_started needs `pid`")?;
            Meaning::ProcessStarted(Box::new(data.process_started()?))
        }
        Kind::ProcessEnded => {
            event.pid.ok_or("process_ended needs `pid`")?;
            Meaning::ProcessEnded(data.process_ended()?)
        }
    };
    Ok(())
}

/// The fields of a reserved type.
struct Data<'a> {
    pairs: Pairs<'a>,
}

impl<'a> Data<'a> {
    fn of(field: &str, raw: Option<&'a str>) -> Result<Data<'a>, String> {
        match raw {
            None => Ok(Data { pairs: Pairs::new() }),
            Some(raw) if raw.starts_with('{') => Ok(Data { pairs: pairs(raw)? }),
            Some(raw) => Err(value::wrong(&format!("`{field}`"), "an object", raw)),
        }
    }

    /// The field's JSON text, if it is there and not null.
    fn raw(&self, field: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(key, _)| key == field).map(|(_, raw)| *raw).filter(|raw| *raw != "null")
    }

    fn text(&self, field: &str) -> Result<Option<String>, String> {
        let text = self.raw(field).map(|raw| value::text(&format!("`{field}`"), raw)).transpose()?;
        Ok(text.flatten().map(std::borrow::Cow::into_owned))
    }

    fn name(&self, field: &str) -> Result<Option<Name>, String> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        let what = match field {
            "thread" => "`thread`",
            "phase" => "`phase`",
            "host" => "`host`",
            _ => "`team`",
        };
        check_name(what, &text, limits::NAME_CHARS_MAX).map_err(|error| error.to_string())?;
        Ok(Some(Name::from(text)))
    }

    fn whole_u32(&self, field: &str, min: u32) -> Result<Option<u32>, String> {
        let number = self.raw(field).map(|raw| value::whole_u32(&format!("`{field}`"), raw, min)).transpose()?;
        Ok(number.flatten())
    }

    fn flag(&self, field: &str) -> Result<Option<bool>, String> {
        Ok(self.raw(field).map(|raw| value::flag(&format!("`{field}`"), raw)).transpose()?.flatten())
    }

    fn span(&self, field: &str) -> Result<Option<Duration>, String> {
        Ok(self.raw(field).map(|raw| value::span(&format!("`{field}`"), raw)).transpose()?.flatten())
    }

    /// A run's own words: a string's text, anything else as JSON, the end of it where it is long,
    /// since that is what tells.
    fn words(&self, field: &str) -> Option<String> {
        let raw = self.raw(field)?;
        let words = match value::text(field, raw) {
            Ok(Some(text)) => text,
            _ => raw.into(),
        };
        let chars = words.chars().count();
        Some(words.chars().skip(chars.saturating_sub(limits::TRACEBACK_CHARS_MAX)).collect())
    }

    /// Envelope fields of a reserved type that stand in `data` alone.
    fn lift(&self, event: &mut Event, names: &mut Names) -> Result<(), String> {
        if event.pid.is_none() {
            event.pid = self.whole_u32("pid", 1)?;
        }
        if event.rank.is_none() {
            event.rank = self.whole_u32("rank", 0)?;
        }
        if event.host.is_none() {
            event.host = shared(&mut names.hosts, self.text("host")?)?;
        }
        if event.phase.is_none() {
            event.phase = shared(&mut names.phases, self.text("phase")?)?;
        }
        Ok(())
    }

    fn labels(&self) -> Result<BTreeMap<String, String>, String> {
        let fields = Data::of("labels", self.raw("labels"))?.pairs;
        if fields.len() > limits::LABELS_PER_RUN_MAX {
            return Err(format!("`labels` holds {} labels, more than {}", fields.len(), limits::LABELS_PER_RUN_MAX));
        }
        let mut labels = BTreeMap::new();
        for (key, raw) in fields {
            check_name("a label's name", &key, limits::NAME_CHARS_MAX).map_err(|error| error.to_string())?;
            let field = format!("label `{key}`");
            let value = match raw.as_bytes() {
                b"null" => continue,
                [b'"', ..] => value::text(&field, raw)?.unwrap_or_default().into_owned(),
                [b'{' | b'[', ..] => return Err(value::wrong(&field, "a string, a number or a flag", raw)),
                _ => raw.to_owned(),
            };
            let chars = value.chars().count();
            if chars > limits::LABEL_CHARS_MAX {
                return Err(format!("{field} is {chars} characters long, more than {}", limits::LABEL_CHARS_MAX));
            }
            labels.insert(key, value);
        }
        Ok(labels)
    }

    fn run_started(&self) -> Result<RunStarted, String> {
        let expect = Data::of("expect", self.raw("expect"))?;
        let max_steps = self.raw("max_steps").map(|raw| value::whole("`max_steps`", raw, 0, u64::MAX)).transpose()?;
        Ok(RunStarted {
            replaces: false,
            labels: self.labels()?,
            team: self.name("team")?,
            attempt_id: self.attempt_id()?,
            tid: self.whole_u32("tid", 1)?,
            world_size: self.whole_u32("world_size", 1)?,
            n_envs: self.whole_u32("n_envs", 0)?,
            max_steps: max_steps.flatten(),
            expect: Expect { stale: expect.span("stale")?, startup: expect.span("startup")? },
        })
    }

    /// A string or a number: schedulers' job ids are numbers.
    fn attempt_id(&self) -> Result<Option<String>, String> {
        let id = match self.raw("attempt_id") {
            Some(raw) if raw.starts_with(|c: char| c.is_ascii_digit()) => Some(raw.to_owned()),
            _ => self.text("attempt_id")?,
        };
        if let Some(id) = &id {
            check_name("`attempt_id`", id, limits::NAME_CHARS_MAX).map_err(|error| error.to_string())?;
        }
        Ok(id)
    }

    fn thread_report(&self) -> Result<ThreadReport, String> {
        Ok(ThreadReport {
            thread: self.name("thread")?.ok_or("thread_report needs `thread`: the thread's name")?,
            tid: self.whole_u32("tid", 1)?,
            alive: self.flag("alive")?,
            clean: self.flag("clean")?.unwrap_or(false),
        })
    }

    fn process_started(&self) -> Result<ProcessStarted, String> {
        let declared = Data::of("declared", self.raw("declared"))?;
        let threads = match self.raw("threads") {
            None => Vec::new(),
            Some(raw) => serde_json::from_str::<Vec<String>>(raw)
                .map_err(|_| value::wrong("`threads`", "a list of strings", raw))?,
        };
        if threads.len() > limits::THREADS_PER_RUN_MAX {
            return Err(format!(
                "`threads` names {} threads, more than {}",
                threads.len(),
                limits::THREADS_PER_RUN_MAX
            ));
        }
        for thread in &threads {
            check_name("a thread in `threads`", thread, limits::NAME_CHARS_MAX).map_err(|error| error.to_string())?;
        }
        Ok(ProcessStarted {
            command: self.text("command")?.unwrap_or_default(),
            labels: self.labels()?,
            team: self.name("team")?,
            declared: Expect { stale: declared.span("stale_s")?, startup: declared.span("startup_s")? },
            threads,
            promised: self.flag("promised")?.unwrap_or(false),
            attempt_id: self.attempt_id()?,
            world_size: self.whole_u32("world_size", 1)?,
            watcher: self.word("watcher", Watcher::from_word)?.unwrap_or_default(),
            began_at: self.instant("began_at")?,
            launched_by: self.whole_u32("launched_by", 1)?,
        })
    }

    fn instant(&self, field: &str) -> Result<Option<Timestamp>, String> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        rfc3339(&text).map(Some).ok_or_else(|| value::wrong(&format!("`{field}`"), "a time as in RFC 3339", &text))
    }

    /// A word of which `known` knows the meaning.
    fn word<W>(&self, field: &str, known: impl FnOnce(&str) -> Option<W>) -> Result<Option<W>, String> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        known(&text).map(Some).ok_or_else(|| format!("`{field}` is a word that is not known here: {text}"))
    }

    fn leftovers(&self) -> Result<Vec<Leftover>, String> {
        #[derive(serde::Deserialize)]
        struct Left {
            pid: u32,
            #[serde(default)]
            command: String,
        }
        let Some(raw) = self.raw("left") else { return Ok(Vec::new()) };
        let left: Vec<Left> =
            serde_json::from_str(raw).map_err(|_| value::wrong("`left`", "a list of processes", raw))?;
        Ok(left
            .into_iter()
            .take(limits::LEFTOVERS_MAX)
            .map(|left| Leftover { pid: left.pid, command: left.command })
            .collect())
    }

    fn process_ended(&self) -> Result<ProcessEnded, String> {
        let raw = self.raw("exit").ok_or("process_ended needs `exit`")?;
        let exit = Data::of("exit", Some(raw))?;
        let number = |field: &str| -> Result<Option<i32>, String> {
            let Some(raw) = exit.raw(field) else { return Ok(None) };
            raw.parse().map(Some).map_err(|_| value::wrong(&format!("`{field}`"), "an exit status", raw))
        };
        let oom = match exit.text("oom")? {
            None => None,
            Some(word) => Some(word.parse::<OomEvidence>().map_err(|error| error.to_string())?),
        };
        let exit =
            Exit { code: number("code")?, signal: number("signal")?, core: exit.flag("core")?.unwrap_or(false), oom };
        Ok(ProcessEnded {
            exit,
            cancelled: self.flag("cancelled")?.unwrap_or(false),
            scheduler: self.word("scheduler", SchedulerWord::from_word)?,
            left: self.leftovers()?,
        })
    }
}

fn shared(names: &mut super::names::Kept<()>, text: Option<String>) -> Result<Option<Name>, String> {
    let name = text.map(|text| names.get(&text, |_| ())).transpose().map_err(|error| error.to_string())?;
    Ok(name.map(|(name, ())| name))
}
