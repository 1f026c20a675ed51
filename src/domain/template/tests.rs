//! Templates on notifications: what they make, and that one which fails harms nothing.

use super::samples::full;
use super::*;

fn template(source: &str) -> Template {
    Template::compile(source).unwrap()
}

fn said(source: &str) -> String {
    let templates = MessageTemplates { summary: Some(template(source)), ..MessageTemplates::default() };
    let (said, failures) = templates.apply(&full(), &zone());
    assert_eq!(failures, []);
    said.summary
}

fn failure(source: &str) -> String {
    let templates = MessageTemplates { summary: Some(template(source)), ..MessageTemplates::default() };
    let (said, failures) = templates.apply(&full(), &zone());
    assert_eq!(said.summary, full().summary, "the plain words stay");
    assert_eq!(said.reason, format!("{} (plain words: the template for summary failed)", full().reason));
    let [failure] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!((failure.field, failure.team.as_str()), (Field::Summary, "sample"));
    failure.error.clone()
}

/// What lint says: place, message, hint.
fn linted(source: &str) -> Vec<String> {
    let help = |help: &Help| match help {
        Help::None => String::new(),
        Help::Say(text) => format!(": {text}"),
        Help::OneOf { word, words, what } => format!(": {word}? {what} {}", words.len()),
    };
    lint(&template(source)).iter().map(|problem| problem.with_place() + &help(&problem.help)).collect()
}

fn zone() -> TimeZone {
    TimeZone::posix("CET-1").unwrap()
}

#[test]
fn every_field_can_be_said() {
    assert_eq!(
        said("[{{ team }}] {{ run.id }} #{{ run.attempt }}: {{ state | upper }}"),
        "[sample] cifar-9 #2: KILLED"
    );
    assert_eq!(said("{{ run.labels.user }}, env {{ subject.env }}, {{ evidence.exit.signal }}"), "ana, env 3, 9");
    assert_eq!(said("{% for alert in alerts %}{{ alert.check }} {% endfor %}"), "process process");
    assert_eq!(said("{{ evidence.last_event.step }} <b>&"), "8120 <b>&", "nothing is escaped: sinks do that");
    assert_eq!(said("  {{ summary }}\n"), full().summary);
}

#[test]
fn durations_and_times_read_as_people_write_them() {
    assert_eq!(said("{{ 4980 | duration }} {{ 0 | duration }} {{ lasted_s | duration }}"), "1h 23m 0s 0s");
    assert_eq!(said("{{ at | time }}"), "1970-01-01 01:00:00 CET");
    assert_eq!(said("{{ since | time('%H:%M') }} {{ timezone }}"), "01:00 UTC");
    assert_eq!(
        failure("{{ summary | time }}"),
        "`cifar-9 was killed by SIGKILL at step 8120 of 10000` is no time: use `at` or `since` (line 1, column 14)"
    );
    assert!(failure("{{ at | time('%Q%!') }}").starts_with("no format of a time: "));
    assert!(failure("{{ -1 | duration }}").starts_with("-1 is no number of seconds"));
}

#[test]
fn what_fails_keeps_its_plain_words() {
    assert_eq!(failure("{{ evidence.last_event.loss }}"), "`evidence.last_event.loss` is not there (line 1, column 4)");
    assert_eq!(failure("a\n {{ nothing }}"), "`nothing` is not there (line 2, column 5)");
    assert_eq!(failure("{{ 1 / 0 }}"), "unable to calculate 1 / 0 (line 1, column 4)");
    assert_eq!(failure("{% if kind == 'resolved' %}over{% endif %}  \n"), "it makes an empty text");
    assert_eq!(failure("{{ 'x' * 4097 }}"), "it makes more than 4096 bytes");
    assert_eq!(said("{{ 'x' * 4096 }}").len(), 4096);
}

#[test]
fn none_runs_for_ever_or_grows_without_end() {
    assert!(
        failure("{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}")
            .starts_with("it runs too long")
    );
    let doubled = format!("{{% set x = 'x' * 64 %}}{}{{{{ x }}}}", "{% set x = x ~ x %}".repeat(40));
    assert!(failure(&doubled).starts_with("it runs too long"));
    assert!(failure(&format!("{{{{ reason{} }}}}", "|replace('', reason)".repeat(20))).starts_with("it runs too long"));
}

#[test]
fn a_text_without_a_template_stays_and_others_do_not_suffer() {
    let templates = MessageTemplates {
        summary: Some(template("{{ nothing }}")),
        next: Some(template("ask {{ run.labels.user }}")),
        ..MessageTemplates::default()
    };
    let (said, failures) = templates.apply(&full(), &zone());
    assert_eq!(failures.len(), 1);
    assert_eq!((said.next.as_str(), said.summary), ("ask ana", full().summary));
    assert!(said.reason.starts_with(&full().reason));
}

#[test]
fn a_sinks_template_wins_over_its_teams_key_by_key() {
    let of = |summary: Option<&str>, next: Option<&str>| MessageTemplates {
        summary: summary.map(template),
        next: next.map(template),
        ..MessageTemplates::default()
    };
    let team = Team { templates: of(Some("team"), Some("{{ at | time }}")), timezone: zone(), ..Team::named("sample") };
    let book = TemplateBook::new(of(Some("sink"), None), &[team, Team::named("other")]);
    let (said, failures) = book.apply(&full());
    assert_eq!((said.summary.as_str(), said.next.as_str(), failures.len()), ("sink", "1970-01-01 01:00:00 CET", 0));
    for team in ["other", "gone"] {
        let (said, _) = book.apply(&Notification { team: team.to_owned(), ..full() });
        assert_eq!((said.summary.as_str(), &said.next), ("sink", &full().next), "{team}");
    }
    for check in BESIDE_RUNS {
        let page = Notification { check: (*check).to_owned(), ..full() };
        assert_eq!(book.apply(&page).0, page, "{check} stays as it is");
    }
    let (said, failures) = TemplateBook::default().apply(&full());
    assert_eq!((said, failures), (full(), Vec::new()));
}

#[test]
fn syntax_is_refused_with_its_place() {
    for (source, message) in [
        ("{{ run.id", "unexpected end of input, expected end of variable block (line 1, column 8)"),
        ("a\n{% if %}", "unexpected end of block (line 2, column 7)"),
        ("{% include 'x' %}", "unknown statement include (line 1, column 4)"),
    ] {
        assert_eq!(Template::compile(source).unwrap_err().with_place(), message, "{source}");
    }
}

#[test]
fn lint_finds_what_no_notification_has_in_any_branch() {
    for (source, problems) in [
        (
            "{{ summary }} {% for a in alerts if a.health == 'critical' %}{{ loop.index }} {{ a.check }}{% endfor %}",
            vec![],
        ),
        ("{{ run.labels.user | default('-') }} {{ evidence.last_event | default('-') }}x", vec![]),
        ("{{ sumary }}", vec!["no notification has `sumary` (line 1, column 4): sumary? a notification has 23"]),
        (
            "{% if false %}{{ run.idd }}{% endif %}x",
            vec!["no notification has `run.idd` (line 1, column 18): idd? `run` has 3"],
        ),
        (
            "{% if false %}{{ run.id | uper }}{% endif %}x",
            vec!["there is no filter `uper` (line 1, column 27): uper? filters are 49"],
        ),
        (
            "{% if x is defned or run.id == 'x is odd | up' %}{# | no #}{% endif %}",
            vec![
                "no notification has `x` (line 1, column 7): x? a notification has 23",
                "there is no test `defned` (line 1, column 12): defned? tests are 34",
            ],
        ),
        (
            "{{ run.labels.user }}",
            vec![
                "`run.labels.user` is not there in a notification of kind firing (line 1, column 4): write {% if … %} around it, or {{ run.labels.user | default(\"-\") }}",
            ],
        ),
        (
            "{% for a in alerts %}{{ a.reasn }}{% endfor %}x",
            vec![
                "`a.reasn` is not there in a notification of kind firing (line 1, column 25): write {% if … %} around it, or {{ a.reasn | default(\"-\") }}",
            ],
        ),
        (
            "{% if kind == 'firing' %}{{ summary }}{% endif %}",
            vec!["it makes an empty text in a notification of kind update: write what is to be said in every case"],
        ),
    ] {
        assert_eq!(linted(source), problems, "{source}");
    }
}

#[test]
fn every_filter_and_test_that_is_named_is_there() {
    let template = template("x");
    let mut state = template.env.empty_state();
    for filter in FILTERS {
        let kind = state.apply_filter(filter, &[Value::from(1)]).err().map(|error| error.kind());
        assert_ne!(kind, Some(ErrorKind::UnknownFilter), "{filter}");
    }
    for test in TESTS {
        let kind = state.perform_test(test, &[Value::from(1)]).err().map(|error| error.kind());
        assert_ne!(kind, Some(ErrorKind::UnknownTest), "{test}");
    }
}
