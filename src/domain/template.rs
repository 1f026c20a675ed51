//! A team's own words: templates for the texts of a notification.
//!
//! In: a notification in plain words. Out: the same with the texts that have a template replaced, and
//! what failed. A template that fails harms nothing: its text stays as it was. None runs for ever, writes
//! without end or reads anything but the notification.

mod filters;
mod lint;
mod samples;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::tz::TimeZone;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value, context};
use runwatch_plugin::Notification;

use super::check::CheckKind;
use super::names::Name;
use super::team::Team;
use crate::limits::{TEMPLATE_FUEL, TEMPLATE_OUTPUT_BYTES_MAX};

use filters::Zone;
pub use filters::{FILTERS, TESTS};
pub use lint::{Help, TemplateProblem, lint};

/// The text of a notification that a template makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// What happened to what.
    Summary,
    /// Why we think so.
    Reason,
    /// What to look at next.
    Next,
}

/// A template, compiled.
#[derive(Clone)]
pub struct Template {
    env: Arc<Environment<'static>>,
    source: Arc<str>,
}

/// The templates of one team or sink; a text without one stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MessageTemplates {
    /// Makes `summary`.
    pub summary: Option<Template>,
    /// Makes `reason`.
    pub reason: Option<Template>,
    /// Makes `next`.
    pub next: Option<Template>,
}

/// A template that failed for one notification; its text went in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFailure {
    /// The text it was to make.
    pub field: Field,
    /// The team whose notification it was.
    pub team: String,
    /// What was wrong: lower case, no final stop.
    pub error: String,
}

/// The templates that one sink sends by, for each team that it tells.
#[derive(Debug, Clone, Default)]
pub struct TemplateBook {
    /// Those of the sink alone, for a team that is not listed.
    own: MessageTemplates,
    teams: BTreeMap<Name, (MessageTemplates, TimeZone)>,
}

/// Checks of messages that are about no run.
const BESIDE_RUNS: &[&str] = &["report", CheckKind::Own.as_str()];
/// The name under which a template is compiled: it is the only one of its environment.
const ONLY: &str = "message";

impl Field {
    /// Every text that may have a template.
    pub const ALL: [Field; 3] = [Field::Summary, Field::Reason, Field::Next];

    /// The field's name in a notification and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Field::Summary => "summary",
            Field::Reason => "reason",
            Field::Next => "next",
        }
    }
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// What is wrong with its syntax, with the place in it.
    pub fn compile(source: &str) -> Result<Template, Box<TemplateProblem>> {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_auto_escape_callback(|_| AutoEscape::None);
        env.set_fuel(Some(TEMPLATE_FUEL));
        // Errors then know their place; nothing of the notification is put into them.
        env.set_debug(true);
        filters::add_to(&mut env);
        match env.add_template_owned(ONLY, source.to_owned()) {
            Ok(()) => Ok(Template { env: Arc::new(env), source: source.into() }),
            Err(error) => Err(Box::new(TemplateProblem::of(&error, source))),
        }
    }

    /// As it is written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it makes of a notification; never empty.
    ///
    /// # Errors
    /// What failed, with the place in the template.
    fn render(&self, values: &Value) -> Result<String, Box<TemplateProblem>> {
        let rendered = self.env.get_template(ONLY).and_then(|template| template.render(values.clone()));
        let text = rendered.map_err(|error| Box::new(TemplateProblem::of(&error, &self.source)))?;
        // It is never far longer: every byte that it makes takes of its fuel.
        if text.len() > TEMPLATE_OUTPUT_BYTES_MAX {
            let message = format!("it makes more than {TEMPLATE_OUTPUT_BYTES_MAX} bytes");
            let hint = say("write less, or take a part: {{ reason[:500] }}");
            return Err(Box::new(TemplateProblem::whole(message, hint)));
        }
        let text = text.trim();
        if text.is_empty() {
            let hint = say("write what is to be said in every case");
            return Err(Box::new(TemplateProblem::whole("it makes an empty text", hint)));
        }
        Ok(text.to_owned())
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.source).finish()
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Template) -> bool {
        self.source == other.source
    }
}

impl MessageTemplates {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        Field::ALL.iter().all(|field| self.get(*field).is_none())
    }

    /// The template of a text.
    pub fn get(&self, field: Field) -> Option<&Template> {
        match field {
            Field::Summary => self.summary.as_ref(),
            Field::Reason => self.reason.as_ref(),
            Field::Next => self.next.as_ref(),
        }
    }

    /// These, and where there is none that of `weaker`.
    #[must_use]
    pub fn or(&self, weaker: &MessageTemplates) -> MessageTemplates {
        let either = |field| self.get(field).or(weaker.get(field)).cloned();
        MessageTemplates { summary: either(Field::Summary), reason: either(Field::Reason), next: either(Field::Next) }
    }

    /// The notification in the team's words, times in its zone, and what failed. A text whose template
    /// failed stays as it is, and the reason ends with a word of it.
    pub fn apply(&self, notification: &Notification, zone: &TimeZone) -> (Notification, Vec<TemplateFailure>) {
        let mut out = notification.clone();
        let mut failures = Vec::new();
        let values = values(notification, zone);
        for field in Field::ALL {
            let Some(template) = self.get(field) else { continue };
            match template.render(&values) {
                Ok(text) => *text_of(&mut out, field) = text,
                Err(problem) => failures.push(TemplateFailure {
                    field,
                    team: notification.team.clone(),
                    error: problem.with_place(),
                }),
            }
        }
        if !failures.is_empty() {
            let fields: Vec<&str> = failures.iter().map(|failure| failure.field.as_str()).collect();
            out.reason.push_str(&format!(" (plain words: the template for {} failed)", fields.join(" and ")));
        }
        (out, failures)
    }
}

impl TemplateBook {
    /// The templates of a sink over those of the teams that it may tell.
    pub fn new(own: MessageTemplates, teams: &[Team]) -> TemplateBook {
        let of_team = |team: &Team| (team.name.clone(), (own.or(&team.templates), team.timezone.clone()));
        let teams = teams.iter().map(of_team).filter(|(_, (templates, _))| !templates.is_empty()).collect();
        TemplateBook { own, teams }
    }

    /// Whether nobody has a template.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.teams.is_empty()
    }

    /// The notification in the words of its team and this sink, and what failed.
    pub fn apply(&self, notification: &Notification) -> (Notification, Vec<TemplateFailure>) {
        let utc = TimeZone::UTC;
        let (templates, zone) = match self.teams.get(notification.team.as_str()) {
            Some((templates, zone)) => (templates, zone),
            None => (&self.own, &utc),
        };
        // A report, or a word on runwatch itself, is about no run that a template could name.
        if templates.is_empty() || BESIDE_RUNS.contains(&notification.check.as_str()) {
            return (notification.clone(), Vec::new());
        }
        templates.apply(notification, zone)
    }
}

fn text_of(notification: &mut Notification, field: Field) -> &mut String {
    match field {
        Field::Summary => &mut notification.summary,
        Field::Reason => &mut notification.reason,
        Field::Next => &mut notification.next,
    }
}

/// What a template may name: the notification as webhooks get it, how long it lasted, and the zone.
fn values(notification: &Notification, zone: &TimeZone) -> Value {
    let lasted = notification.at.duration_since(notification.since).as_secs_f64().max(0.0);
    context! {
        lasted_s => lasted,
        timezone => Value::from_object(Zone(zone.clone())),
        ..Value::from(Serde(notification))
    }
}

fn say(text: &str) -> Help {
    Help::Say(text.to_owned())
}

impl TemplateProblem {
    /// What the engine of templates says, in our words.
    fn of(error: &Error, source: &str) -> TemplateProblem {
        let at = error.range().filter(|at| source.get(at.clone()).is_some());
        let shown = at.clone().and_then(|at| source.get(at)).unwrap_or_default();
        let detail = error.detail().unwrap_or_default();
        let (message, help) = match error.kind() {
            ErrorKind::UndefinedError if !shown.is_empty() => (
                format!("`{shown}` is not there"),
                Help::Say(format!("write {{% if … %}} around it, or {{{{ {shown} | default(\"-\") }}}}")),
            ),
            ErrorKind::OutOfFuel => ("it runs too long".to_owned(), say("loop over less")),
            kind if detail.is_empty() => (kind.to_string(), Help::None),
            _ => (detail.to_owned(), Help::None),
        };
        TemplateProblem { message, help, at, place: error.line().map(|line| (line, None)) }.placed(source)
    }
}
