//! Phrases every sink uses, so that a message reads the same wherever it arrives.

use std::time::Duration;

use jiff::Timestamp;

use crate::duration::format_duration;
use crate::notification::{DeliveryNote, ExitEvidence, Kind, Notification};
use crate::text::{one_line, shorten};
use crate::words::{Health, OomEvidence, Severity};

/// From how late on a message says so.
const LATE: Duration = Duration::from_secs(60);
/// A run's name in a title.
const NAME_CHARS_MAX: usize = 80;

/// How a message looks: its colour and its mark. Severity alone does not say it, since good news
/// may be about a critical incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tone {
    /// Needs somebody now.
    Critical,
    /// Worth a look when there is time.
    Warning,
    /// An outcome worth knowing.
    Info,
    /// It is over.
    Resolved,
    /// Only a test.
    Test,
}

impl Tone {
    /// A mark one column wide that carries the meaning without colour.
    pub fn symbol(self) -> &'static str {
        match self {
            Tone::Critical => "✗",
            Tone::Warning => "▲",
            Tone::Info => "●",
            Tone::Resolved => "✓",
            Tone::Test => "◇",
        }
    }

    /// The word in capitals: `CRITICAL`.
    pub fn label(self) -> &'static str {
        match self {
            Tone::Critical => "CRITICAL",
            Tone::Warning => "WARNING",
            Tone::Info => "INFO",
            Tone::Resolved => "RESOLVED",
            Tone::Test => "TEST",
        }
    }
}

impl Notification {
    /// How the message looks.
    pub fn tone(&self) -> Tone {
        match (self.kind, self.severity) {
            (Kind::Test, _) => Tone::Test,
            (Kind::Resolved, _) => Tone::Resolved,
            (_, Severity::Critical) => Tone::Critical,
            (_, Severity::Warning) => Tone::Warning,
            (_, Severity::Info) => Tone::Info,
        }
    }

    /// A few words for a header or a popup: `cifar-9 killed`, `cifar-9: thread loader died`.
    pub fn title(&self) -> String {
        let run = shorten(&one_line(&self.run.id), NAME_CHARS_MAX);
        let state = self.state.as_str().replace('_', " ");
        let said_by_state = self.state.severity() == self.severity;
        match self.kind {
            Kind::Test => "test message from runwatch".to_owned(),
            Kind::Resolved => format!("{run} resolved"),
            Kind::Info if self.check == "report" => {
                format!("report of team {}", shorten(&one_line(&self.team), NAME_CHARS_MAX))
            }
            Kind::Info if self.check == "self" => format!("{run} on itself"),
            Kind::Info | Kind::Digest => format!("{run} {state}"),
            Kind::Firing | Kind::Update | Kind::Reminder | Kind::Escalation => {
                let more = match self.kind {
                    Kind::Update => " (update)",
                    Kind::Reminder => " (reminder)",
                    Kind::Escalation => " (escalation)",
                    _ => "",
                };
                if said_by_state {
                    format!("{run} {state}{more}")
                } else {
                    format!("{run}: {}{more}", self.complaint())
                }
            }
        }
    }

    /// What is wrong where the run's state does not say it.
    fn complaint(&self) -> String {
        let subject = shorten(&one_line(&self.subject.words()), NAME_CHARS_MAX);
        match (self.check.as_str(), self.to) {
            ("thread", _) if !subject.is_empty() => format!("{subject} died"),
            ("env_freshness", Health::Warning) if !subject.is_empty() => format!("{subject} slow"),
            ("env_freshness", _) if !subject.is_empty() => format!("{subject} silent"),
            ("startup", _) => "no first event".to_owned(),
            (check, _) => format!("{} {}", shorten(&one_line(check), NAME_CHARS_MAX).replace('_', " "), self.severity),
        }
    }

    /// How long the subject had been unwell when it happened: `12m30s`; `None` below a second.
    pub fn unwell_for(&self) -> Option<String> {
        between(self.since, self.at).filter(|length| *length >= Duration::from_secs(1)).map(|length| {
            // A fraction of a second is noise to a reader.
            format_duration(Duration::from_secs(length.as_secs()))
        })
    }
}

impl DeliveryNote {
    /// `delivery 7-slack`, and where it matters that it may be a repeat or is late. None of the
    /// chat services knows an idempotency key: the id in the text is how a person tells a repeat.
    pub fn words(&self) -> String {
        let mut words = format!("delivery {}", shorten(&one_line(&self.id), NAME_CHARS_MAX));
        if self.attempt > 1 {
            words.push_str(&format!(", attempt {} (may be a repeat)", self.attempt));
        }
        if self.late_by_s.is_finite() && self.late_by_s >= LATE.as_secs_f64() {
            let late = Duration::try_from_secs_f64(self.late_by_s.floor()).unwrap_or(Duration::MAX);
            words.push_str(&format!(", {} late", format_duration(late)));
        }
        words
    }
}

impl ExitEvidence {
    /// `exit code 1`, `SIGKILL, out of memory (probable)`, `SIGSEGV, core left`.
    pub fn words(&self) -> String {
        let mut words = match (self.signal, self.code) {
            (Some(signal), _) => signal_name(signal),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => "exit status not known".to_owned(),
        };
        match self.oom {
            Some(OomEvidence::Confirmed) => words.push_str(", out of memory"),
            Some(OomEvidence::Probable) => words.push_str(", out of memory (probable)"),
            None => {}
        }
        if self.core {
            words.push_str(", core left");
        }
        words
    }
}

/// The length from `since` to `at`; `None` where that is backwards.
fn between(since: Timestamp, at: Timestamp) -> Option<Duration> {
    Duration::try_from(at.duration_since(since)).ok()
}

/// The name of a Linux signal; an unknown one keeps its number.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::RunState;

    fn notification(kind: Kind, state: RunState, severity: Severity) -> Notification {
        let mut notification = Notification::test("vision", "slack", Timestamp::UNIX_EPOCH);
        notification.kind = kind;
        notification.state = state;
        notification.severity = severity;
        notification.check = "env_freshness".to_owned();
        notification.run.id = "cifar-9".to_owned();
        notification
    }

    #[test]
    fn a_title_names_the_run_and_what_became_of_it() {
        for (kind, state, severity, title) in [
            (Kind::Firing, RunState::Killed, Severity::Critical, "cifar-9 killed"),
            (Kind::Update, RunState::Killed, Severity::Critical, "cifar-9 killed (update)"),
            (Kind::Firing, RunState::EndedEarly, Severity::Warning, "cifar-9 ended early"),
            (Kind::Firing, RunState::Running, Severity::Critical, "cifar-9: env freshness critical"),
            (Kind::Resolved, RunState::Running, Severity::Critical, "cifar-9 resolved"),
            (Kind::Info, RunState::Finished, Severity::Info, "cifar-9 finished"),
            (Kind::Test, RunState::Running, Severity::Info, "test message from runwatch"),
        ] {
            assert_eq!(notification(kind, state, severity).title(), title);
        }
        let mut told = notification(Kind::Firing, RunState::Running, Severity::Critical);
        told.subject.env = Some(3);
        for (check, to, title) in [
            ("env_freshness", Health::Critical, "cifar-9: env 3 silent"),
            ("env_freshness", Health::Warning, "cifar-9: env 3 slow"),
            ("thread", Health::Critical, "cifar-9: env 3 died"),
            ("startup", Health::Critical, "cifar-9: no first event"),
        ] {
            (told.check, told.to) = (check.to_owned(), to);
            assert_eq!(told.title(), title);
        }
    }

    #[test]
    fn good_news_of_a_critical_incident_does_not_look_critical() {
        assert_eq!(notification(Kind::Resolved, RunState::Running, Severity::Critical).tone(), Tone::Resolved);
        assert_eq!(notification(Kind::Update, RunState::Slow, Severity::Warning).tone(), Tone::Warning);
    }

    #[test]
    fn a_repeat_and_a_delay_are_said() {
        let mut note = DeliveryNote { id: "7-slack".to_owned(), attempt: 1, late_by_s: 2.0 };
        assert_eq!(note.words(), "delivery 7-slack");
        note.attempt = 3;
        note.late_by_s = 754.9;
        assert_eq!(note.words(), "delivery 7-slack, attempt 3 (may be a repeat), 12m34s late");
        note.late_by_s = f64::INFINITY;
        assert_eq!(note.words(), "delivery 7-slack, attempt 3 (may be a repeat)");
    }

    #[test]
    fn an_end_is_named() {
        let exit = ExitEvidence { signal: Some(9), oom: Some(OomEvidence::Probable), ..ExitEvidence::default() };
        assert_eq!(exit.words(), "SIGKILL, out of memory (probable)");
        let exit = ExitEvidence { signal: Some(11), core: true, ..ExitEvidence::default() };
        assert_eq!(exit.words(), "SIGSEGV, core left");
        assert_eq!(ExitEvidence { code: Some(1), ..ExitEvidence::default() }.words(), "exit code 1");
        assert_eq!(ExitEvidence::default().words(), "exit status not known");
    }

    #[test]
    fn time_that_runs_backwards_is_no_length() {
        let mut notification = notification(Kind::Firing, RunState::Hung, Severity::Critical);
        notification.since = Timestamp::from_second(100).expect("a valid second");
        assert_eq!(notification.unwell_for(), None);
        notification.at = Timestamp::from_millisecond(850_500).expect("a valid millisecond");
        assert_eq!(notification.unwell_for().as_deref(), Some("12m30s"));
    }
}
