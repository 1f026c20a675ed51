//! What `ack`, `snooze` and `silence` have in common: which incident is meant, who says so, until when.

use std::process::ExitCode;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned, civil};
use serde::Serialize;

use crate::api::wire;
use crate::client::{Client, ClientError};
use crate::limits::NAME_CHARS_MAX;
use crate::probes::{hostname, uid};

use super::paint::{self, BOLD, RED, clean, styled};
use super::run::naming::user_name;
use super::status::{no_answer, time};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeopleError {
    /// The engine does not answer, or says no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No incident is meant by these words, or several are.
    #[error("{message}")]
    Unclear {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
}

/// Prints an answer: the data on stdout, the words on stderr. 1 where the engine says no.
pub(super) fn end(answer: Result<(String, Vec<String>), PeopleError>) -> anyhow::Result<ExitCode> {
    match answer {
        Ok((data, words)) => {
            words.iter().for_each(|line| paint::say(&clean(line)));
            paint::print(&data)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(PeopleError::Client(error)) => Ok(no_answer(&error)),
        Err(PeopleError::Unclear { message, hint }) => {
            paint::say(&format!("{}: {}", styled(RED.bold(), "error"), clean(&message)));
            for line in hint.lines() {
                paint::say(&format!("{}: {}", styled(BOLD, "hint"), clean(line)));
            }
            Ok(ExitCode::from(1))
        }
    }
}

/// What was said, as data where JSON is wanted and as words otherwise.
pub(super) fn said(answer: &impl Serialize, words: String, json: bool) -> (String, Vec<String>) {
    match serde_json::to_string(answer) {
        Ok(data) if json => (format!("{data}\n"), Vec::new()),
        _ => (String::new(), vec![words]),
    }
}

/// The id of the incident that is meant: by its id, by the number it ends with (`-12`), or by the name
/// of a run with one open incident.
pub(super) async fn incident(client: &Client, meant: &str) -> Result<String, PeopleError> {
    let open = client.incidents(Some(true)).await?.incidents;
    if open.iter().any(|incident| incident.id == meant) {
        return Ok(meant.to_owned());
    }
    let number = meant.strip_prefix('-').unwrap_or(meant);
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let by_number = |incident: &&wire::Incident| is_number && ends_with(&incident.id, number);
    let by_run = |incident: &&wire::Incident| incident.run == meant;
    let numbered: Vec<_> = open.iter().filter(by_number).collect();
    let of_run: Vec<_> = open.iter().filter(by_run).collect();
    match (of_run.as_slice(), numbered.as_slice()) {
        ([one], []) | ([], [one]) => Ok(one.id.clone()),
        ([], []) => elsewhere(client, meant, number, is_number, &open).await,
        (of_run, numbered) => Err(PeopleError::Unclear {
            message: format!("{} incidents are meant by `{meant}`", of_run.len() + numbered.len()),
            hint: listed("name one of them by its id:", of_run.iter().copied().chain(numbered.iter().copied())),
        }),
    }
}

/// Nothing that is open is meant: one that is closed, or nothing at all.
async fn elsewhere(
    client: &Client,
    meant: &str,
    number: &str,
    is_number: bool,
    open: &[wire::Incident],
) -> Result<String, PeopleError> {
    let closed = client.incidents(Some(false)).await?.incidents;
    let by_number = |incident: &&wire::Incident| is_number && ends_with(&incident.id, number);
    // The newest comes first; the engine says what became of it.
    if let Some(incident) = closed.iter().find(|incident| incident.id == meant).or(closed.iter().find(by_number)) {
        return Ok(incident.id.clone());
    }
    let hint = match open {
        [] => "no incident is open".to_owned(),
        open => listed("open ones:", open.iter()),
    };
    let of_run = closed.iter().find(|incident| incident.run == meant);
    let hint = match of_run {
        Some(last) => format!("{hint}\nwhere the last was a false alarm: runwatch ack --false-alarm {}", last.id),
        None => hint,
    };
    let message = match of_run {
        Some(last) => format!("the run `{meant}` has no open incident; its last, {}, is closed", last.id),
        None => {
            format!("no incident is meant by `{meant}`: it is no id, no end of one (-12) and no run with an open one")
        }
    };
    Err(PeopleError::Unclear { message, hint })
}

fn ends_with(id: &str, number: &str) -> bool {
    id.rsplit_once('-').is_some_and(|(_, last)| last == number)
}

/// Incidents, each in its line, behind a word on them.
fn listed<'i>(word: &str, incidents: impl Iterator<Item = &'i wire::Incident>) -> String {
    incidents.fold(word.to_owned(), |text, incident| format!("{text}\n{}", line(incident)))
}

/// An incident in one line.
fn line(incident: &wire::Incident) -> String {
    format!("{}  team {}, since {}: {}", incident.id, incident.team, time(incident.opened_at), incident.summary)
}

/// `anna@gpu-3`: who says so, where nobody is named.
pub(super) fn me() -> String {
    let name = format!("{}@{}", user_name(uid()), hostname());
    name.chars().map(|c| if c.is_control() { '_' } else { c }).take(NAME_CHARS_MAX).collect()
}

/// A time as people write it: with a zone (`2026-11-27T07:00:00Z`), or this host's own (`2026-11-27 07:00`,
/// and `07:00` for the next time it is seven).
pub(super) fn until(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let unclear =
        || format!("`{text}` is no time: write 2026-11-27T07:00:00Z, or local time as 2026-11-27 07:00 or 07:00");
    if let Ok(at) = text.parse::<civil::DateTime>() {
        return at.to_zoned(now.time_zone().clone()).map(|at| at.timestamp()).map_err(|_| unclear());
    }
    let at: civil::Time = text.parse().map_err(|_| unclear())?;
    let today = now.date().to_datetime(at).to_zoned(now.time_zone().clone()).map_err(|_| unclear())?;
    if today > *now {
        return Ok(today.timestamp());
    }
    let tomorrow = now.date().checked_add(1.day()).map_err(|_| unclear())?;
    tomorrow.to_datetime(at).to_zoned(now.time_zone().clone()).map(|at| at.timestamp()).map_err(|_| unclear())
}

/// The same, as a parser of the command line.
pub(super) fn until_now(text: &str) -> Result<Timestamp, String> {
    until(text, &crate::clock::Clock::System.now().utc.to_zoned(TimeZone::system()))
}

/// What is left until `at`: `2h`.
pub(super) fn left(at: Timestamp, now: Timestamp) -> String {
    let left = at.duration_since(now).max(SignedDuration::ZERO);
    runwatch_plugin::format_duration(std::time::Duration::from_secs(left.unsigned_abs().as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_people_write_it() {
        let now: Zoned = "2026-11-26T22:15:00+01:00[Europe/Berlin]".parse().unwrap();
        for (text, at) in [
            ("2026-11-27T07:00:00Z", "2026-11-27T07:00:00Z"),
            ("2026-11-27T07:00:00+02:00", "2026-11-27T05:00:00Z"),
            ("2026-11-27 07:00", "2026-11-27T06:00:00Z"),
            ("07:00", "2026-11-27T06:00:00Z"),
            ("23:30", "2026-11-26T22:30:00Z"),
        ] {
            assert_eq!(until(text, &now), Ok(at.parse().unwrap()), "{text}");
        }
        for text in ["", "soon", "7", "25:00", "2026-13-01 07:00"] {
            assert!(until(text, &now).is_err(), "{text}");
        }
    }
}
