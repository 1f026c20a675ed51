//! What of the evidence a team is told: log lines, arguments and stacks may be nobody else's business.

use runwatch_plugin::Notification;

use super::ending::without_arguments;
use super::scrub::scrub_notification;

/// The type of the events that are log lines.
const LOG: &str = "log";

/// What a team is told beside the words of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceKept {
    /// Log lines: the log's tail, and a last event that is one.
    pub log: bool,
    /// The traceback that the run reported, or the stack that was taken of it.
    pub stack: bool,
    /// The last event, with its data.
    pub last_event: bool,
    /// The arguments of commands: without them a process is told by its program alone.
    pub arguments: bool,
}

impl Default for EvidenceKept {
    fn default() -> EvidenceKept {
        EvidenceKept { log: true, stack: true, last_event: true, arguments: true }
    }
}

impl EvidenceKept {
    /// The notification as its team may be told it: without what is left out, and without secrets.
    #[must_use]
    pub fn cleaned(self, mut notification: Notification) -> Notification {
        self.leave_out(&mut notification);
        scrub_notification(&mut notification);
        notification
    }

    fn leave_out(self, notification: &mut Notification) {
        let evidence = &mut notification.evidence;
        let is_log = evidence.last_event.as_ref().is_some_and(|event| event.get("type").is_some_and(|t| t == LOG));
        if !self.last_event || !self.log && is_log {
            evidence.last_event = None;
        }
        if !self.log {
            evidence.log_tail.clear();
        }
        if !self.stack {
            evidence.stack = None;
        }
        if self.arguments {
            return;
        }
        let reasons = notification.alerts.iter_mut().map(|alert| &mut alert.reason);
        for text in reasons.chain([&mut notification.reason]) {
            if let Some(without) = without_arguments(text) {
                *text = without;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with_evidence() -> Notification {
        let mut notification = Notification::test("vision", "chat", "2026-11-22T03:12:09Z".parse().unwrap());
        notification.reason = "1 process of it is still running: pid 9 python worker.py --site berlin".to_owned();
        notification.evidence.log_tail = vec!["a line".to_owned()];
        notification.evidence.stack = Some("Traceback".to_owned());
        notification.evidence.last_event = Some(json!({"type": "log", "data": {"text": "a line"}}));
        notification
    }

    #[test]
    fn each_part_is_left_out_alone() {
        let all = EvidenceKept::default();
        let without = |kept: EvidenceKept| {
            let notification = with_evidence();
            kept.cleaned(notification)
        };
        assert_eq!(without(all), with_evidence());
        let log = without(EvidenceKept { log: false, ..all });
        assert_eq!((log.evidence.log_tail.len(), log.evidence.last_event.is_some()), (0, false));
        assert!(log.evidence.stack.is_some());
        let stack = without(EvidenceKept { stack: false, ..all });
        assert_eq!((stack.evidence.stack, stack.evidence.log_tail.len()), (None, 1));
        let event = without(EvidenceKept { last_event: false, ..all });
        assert_eq!((event.evidence.last_event, event.evidence.log_tail.len()), (None, 1));
        let arguments = without(EvidenceKept { arguments: false, ..all });
        assert_eq!(arguments.reason, "1 process of it is still running: pid 9 python");
        assert_eq!(arguments.evidence, with_evidence().evidence);
    }

    #[test]
    fn what_is_told_holds_no_secret() {
        let mut notification = with_evidence();
        notification.summary = "token=hunter2".to_owned();
        assert_eq!(EvidenceKept::default().cleaned(notification).summary, "token=[scrubbed]");
    }

    #[test]
    fn a_last_event_that_is_no_log_line_stays_without_log_lines() {
        let mut notification = with_evidence();
        notification.evidence.last_event = Some(json!({"type": "EPOCH_COMPLETED"}));
        let notification = EvidenceKept { log: false, ..EvidenceKept::default() }.cleaned(notification);
        assert!(notification.evidence.last_event.is_some());
    }
}
