//! The one file that names the sink crates.

use runwatch_plugin::SinkType;

/// Every type of sink of this build, in the order of the documentation.
const SINK_TYPES: &[SinkType] = &[
    runwatch_terminal::SINK_TYPE,
    runwatch_desktop::SINK_TYPE,
    runwatch_slack::SINK_TYPE,
    runwatch_webhook::SINK_TYPE,
];

/// Whether there is a session bus that a desktop sink could speak to.
pub use runwatch_desktop::session_bus_available;

/// Every type of sink of this build.
pub fn sink_types() -> &'static [SinkType] {
    SINK_TYPES
}

/// The type of this name.
pub fn find(name: &str) -> Option<SinkType> {
    SINK_TYPES.iter().find(|kind| kind.name == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use runwatch_plugin::SinkSettings;

    #[test]
    fn every_type_is_found_by_its_one_name() {
        let names: Vec<&str> = sink_types().iter().map(|kind| kind.name).collect();
        assert_eq!(names, ["terminal", "desktop", "slack", "webhook"]);
        assert!(names.iter().all(|name| find(name).is_some_and(|kind| kind.name == *name)));
        assert!(find("pager").is_none());
    }

    #[test]
    fn what_exists_by_name_needs_no_settings() {
        for name in ["terminal", "desktop"] {
            let plan = SinkSettings::parse("").and_then(find(name).unwrap().plan);
            assert!(plan.is_ok(), "{name}: {plan:?}");
        }
        let slack = SinkSettings::parse("webhook_url = { env = \"RUNWATCH_SLACK_URL\" }");
        assert!(slack.and_then(find("slack").unwrap().plan).is_ok());
    }
}
