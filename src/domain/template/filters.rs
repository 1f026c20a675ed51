//! What templates know beyond Jinja: durations, and times of day where the team is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use minijinja::value::{Object, ObjectRepr};
use minijinja::{Environment, Error, ErrorKind, State};

use crate::domain::run::format_runtime;

/// Every filter that a template has.
pub const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "dictsort",
    "duration",
    "e",
    "escape",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "time",
    "title",
    "trim",
    "unique",
    "upper",
    "zip",
];
/// Every test that a template has, by the names that people write.
pub const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "startingwith",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];
/// How a time is written where the template does not say.
const TIME: &str = "%Y-%m-%d %H:%M:%S %Z";

/// The team's time zone, as a value of a template.
#[derive(Debug)]
pub(super) struct Zone(pub(super) TimeZone);

impl Object for Zone {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

/// Adds the filters to an environment.
pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("duration", duration);
    env.add_filter("time", time);
}

/// Seconds as people say them: `45s`, `5m 30s`, `1h 23m`.
fn duration(seconds: f64) -> Result<String, Error> {
    let span = Duration::try_from_secs_f64(seconds).map_err(|_| {
        let message = format!("{seconds} is no number of seconds");
        Error::new(ErrorKind::InvalidOperation, message)
    })?;
    // What took no time is no absence of one.
    Ok(format_runtime(span.max(Duration::from_micros(1)), false))
}

/// A time where the team is: `2026-11-22 04:12:09 CET`, or as `format` (strftime) says.
fn time(state: &State<'_, '_>, at: &str, format: Option<&str>) -> Result<String, Error> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidOperation, message);
    let at: Timestamp = at.parse().map_err(|_| wrong(format!("`{at}` is no time: use `at` or `since`")))?;
    let zone = state.lookup("timezone");
    let zone = zone.as_ref().and_then(|zone| zone.downcast_object_ref::<Zone>()).map(|zone| zone.0.clone());
    let there = at.to_zoned(zone.unwrap_or(TimeZone::UTC));
    strtime::format(format.unwrap_or(TIME), &there).map_err(|error| wrong(format!("no format of a time: {error}")))
}
