//! Secrets in free text: log lines, arguments, stacks and errors that a run wrote, before they are told.
//!
//! In: a text. Out: the same text with [`SCRUBBED`] in the place of what has the shape of a secret or
//! stands behind the name of one. It knows no secret, so it errs on the side of a name: what is
//! called `password` goes, whatever it is. Counts of tokens, paths, hashes of commits and code stay.

#[cfg(test)]
mod tests;
mod values;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex, RegexSet};
use runwatch_plugin::Notification;
use serde_json::Value;

use crate::limits::TRACEBACK_CHARS_MAX;

use values::{
    Named, has_digit, has_digit_or_is_long, is_key_of_wandb, is_made_up_alone, is_named_secret, is_no_number,
    is_password, is_secret,
};

/// What stands where a secret was.
pub const SCRUBBED: &str = "[scrubbed]";

/// Whether what was found is a secret, where the pattern alone does not tell.
type Judge = fn(&Captures<'_>) -> bool;

/// How one pattern is scrubbed. A pattern's group `v` is the secret; what is around it stays.
struct Shape {
    pattern: &'static str,
    judge: Judge,
}

/// The shapes, whole blocks first: what one takes, the next does not see.
const SHAPES: &[Shape] = &[
    always(
        r"(?s)(?P<v>-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z))",
    ),
    // The end of a block whose beginning was cut off.
    always(r"(?P<v>(?:[A-Za-z0-9+/=]{16,}\s+)+-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)"),
    // A webhook's address is its password.
    always(r"https://hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/(?P<v>[A-Za-z0-9/_-]+)"),
    always(r"https://(?:[a-z]+\.)?discord(?:app)?\.com/api/webhooks/(?P<v>[A-Za-z0-9/_-]+)"),
    always(r"api\.telegram\.org/bot(?P<v>[A-Za-z0-9:_-]+)"),
    // URLs: `user:pass@`, and a long word alone before the `@`.
    always(r#"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@"'<>]*:(?P<v>[^/\s"'<>]+)@"#),
    always(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<v>[A-Za-z0-9_-]{20,})@"),
    always(
        r#"(?i)[?&](?:sig|signature|key|auth|code|x-amz-signature|x-amz-credential|x-goog-signature)=(?P<v>[^&\s"'#<>]+)"#,
    ),
    // Headers, to the end of their line or string.
    always(r#"(?i)\b(?:proxy-)?authorization["']?[ \t]*(?:[:=]|=>)[ \t]*["']?(?P<v>[^\s"'][^\r\n"']*)"#),
    always(r#"(?i)\b(?:set-)?cookie["']?[ \t]*:[ \t]*["']?(?P<v>[^\s"';=]+=[^\r\n"']*)"#),
    judged(r"(?i)\bbearer[ \t]+(?P<v>[A-Za-z0-9._~+/=-]{6,})", has_digit_or_is_long),
    // Keys that begin with the name of who gave them out.
    always(r"\b(?P<v>(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})\b"),
    always(r"\b(?P<v>gh[pousr]_[A-Za-z0-9]{16,})"),
    always(r"\b(?P<v>github_pat_[A-Za-z0-9_]{16,})"),
    always(r"\b(?P<v>glpat-[A-Za-z0-9_-]{16,})"),
    always(r"\b(?P<v>hf_[A-Za-z0-9]{20,})"),
    always(r"\b(?P<v>xox[abeoprs]-[A-Za-z0-9-]{8,})"),
    always(r"\b(?P<v>xapp-[A-Za-z0-9-]{16,})"),
    judged(r"\b(?P<v>sk-[A-Za-z0-9_-]{16,})", has_digit),
    always(r"\b(?P<v>[rs]k_(?:live|test)_[A-Za-z0-9]{8,})"),
    always(r"\b(?P<v>AIza[A-Za-z0-9_-]{35})"),
    always(r"\b(?P<v>ya29\.[A-Za-z0-9_-]{16,})"),
    always(r"\b(?P<v>(?:npm|dop_v1|wandb_v1)_[A-Za-z0-9_]{20,})"),
    always(r"\b(?P<v>SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})"),
    judged(r"\b(?P<v>tskey-[A-Za-z0-9-]{12,})", has_digit),
    always(r"\b(?P<v>pypi-[A-Za-z0-9_-]{16,})"),
    always(r"\b(?P<v>eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?)"),
    // A wandb key looks like the hash of a commit: it takes the word before it to tell them apart.
    always(r#"(?i)\b(?:api[ _-]?)?key["']?[ \t]*[:=]?[ \t]*["']?(?P<v>[0-9a-f]{40})\b"#),
    always(r"(?i)\bwandb[ \t]+login[ \t]+(?:--[a-z]+[ \t]+)*(?P<v>[0-9a-f]{40})\b"),
    judged(r"(?:^|\s)(?:-u|--user)[ \t=]+[^\s:]+:(?P<v>\S+)", is_no_number),
    judged(
        r#"(?im)\bpassw(?:or)?d[ \t]+for[ \t]+\S+(?:[ \t]+is)?[ \t]*[:=][ \t]*["']?(?P<v>[^\s"']+)"#,
        is_made_up_alone,
    ),
    // A value that stands alone on the line below its name.
    judged(
        r#"(?im)\b[A-Za-z0-9_.-]*(?:passw(?:or)?d|passphrase|secret|api[_-]?key)["']?:[ \t]*\r?\n[ \t]+["']?(?P<v>[^\s"']+)["']?[ \t]*\r?$"#,
        is_made_up_alone,
    ),
    judged(NAMED, is_named_secret),
    judged(OPTION, is_named_secret),
];

/// The names of secrets, whatever stands before them: `WANDB_API_KEY`, `clientSecret`. Behind those, the short
/// ones that are the end of many a word (`bypass`), and stand alone or behind a `_`: `DB_PASS`.
macro_rules! names {
    () => {
        r"(?:[A-Za-z0-9_.-]*(?:passw(?:or)?d|passphrase|mysql_pwd|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?|(?:secret|private|account|auth|shared|signing|encryption)[_-]?key)|(?:[A-Za-z0-9_.-]*[_.-]|\b)(?:pass|pwd|auth|credentials?))"
    };
}

/// A value: in quotes (of Python's bytes, too), in quotes that are escaped themselves, or a bare word.
macro_rules! value {
    () => {
        r#"(?:[bru]{0,2}(?:\\"(?P<eq>[^"\\\r\n]*)|"(?P<dq>(?:[^"\\\r\n]|\\.)*)|'(?P<sq>(?:[^'\\\r\n]|\\.)*))|(?P<bare>[^\s"',;&)}\]\\=][^\s"',;&)}\]\\]*))"#
    };
}

/// `k=v`, `k: v`, `"k": "v"`, `'k': 'v'`.
const NAMED: &str =
    concat!(r#"(?i)(?P<before>/)?(?P<name>"#, names!(), r#")\\?["']?(?P<sep>[ \t]*(?:=>|=|:)[ \t]*)"#, value!());
/// `--k v`, also as two strings of a list.
const OPTION: &str = concat!(r#"(?i)(?P<name>--"#, names!(), r#")["']?(?P<sep>,?[ \t]+)"#, value!());
/// A key of a table that holds a secret, and nothing beside it.
const KEY: &str = concat!(r"(?i)^(?:", names!(), r"|(?:proxy-)?authorization|(?:set-)?cookie)$");

const fn always(pattern: &'static str) -> Shape {
    Shape { pattern, judge: |_| true }
}

const fn judged(pattern: &'static str, judge: Judge) -> Shape {
    Shape { pattern, judge }
}

/// Every shape, compiled once: a set that says which occur at all, and each alone.
struct Scrubber {
    set: RegexSet,
    shapes: Vec<(Regex, Judge)>,
    key: Option<Regex>,
}

static SCRUBBER: LazyLock<Scrubber> = LazyLock::new(|| {
    // A pattern that does not compile is found by a test, and never by a reader.
    let (patterns, shapes): (Vec<&str>, Vec<_>) =
        SHAPES.iter().filter_map(|shape| Some((shape.pattern, (Regex::new(shape.pattern).ok()?, shape.judge)))).unzip();
    Scrubber { set: RegexSet::new(patterns).unwrap_or_default(), shapes, key: Regex::new(KEY).ok() }
});

/// The text without secrets.
pub fn scrub(text: &str) -> Cow<'_, str> {
    let scrubber = &*SCRUBBER;
    let found = scrubber.set.matches(text);
    let mut scrubbed = Cow::Borrowed(text);
    for index in found.iter() {
        let Some((regex, judge)) = scrubber.shapes.get(index) else { continue };
        if let Some(text) = replaced(&scrubbed, regex, *judge) {
            scrubbed = Cow::Owned(text);
        }
    }
    scrubbed
}

/// The text with one shape's secrets replaced, where it has any.
fn replaced(text: &str, regex: &Regex, judge: Judge) -> Option<String> {
    let (mut out, mut copied, mut from) = (String::new(), 0, 0);
    while let Some(captures) = regex.captures_at(text, from) {
        let secret = ["v", "eq", "dq", "sq", "bare"].iter().find_map(|group| captures.name(group));
        let (Some(whole), Some(secret)) = (captures.get(0), secret) else { break };
        if judge(&captures) {
            out.push_str(&text[copied..secret.start()]);
            out.push_str(SCRUBBED);
            (copied, from) = (secret.end(), whole.end());
        } else {
            // What was taken for a value may be a name with a value of its own.
            from = secret.start().max(from + 1);
        }
        while !text.is_char_boundary(from.min(text.len())) {
            from += 1;
        }
        if from > text.len() {
            break;
        }
    }
    (copied > 0).then(|| out + &text[copied..])
}

/// Scrubs every string of a JSON value in its place.
pub fn scrub_json(value: &mut Value) {
    match value {
        Value::String(text) => scrub_in_place(text),
        Value::Array(items) => {
            let mut option = None;
            for item in items {
                let named = option.take().is_some_and(|option: String| holds_secret(&option, item));
                option = item.as_str().filter(|text| text.starts_with("--")).map(str::to_owned);
                if named { *item = SCRUBBED.into() } else { scrub_json(item) }
            }
        }
        Value::Object(table) => {
            for (key, value) in table.iter_mut() {
                if holds_secret(key, value) { *value = SCRUBBED.into() } else { scrub_json(value) }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether the value under this name is a secret.
fn holds_secret(name: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => is_secret_text(name, text),
        Value::Number(_) => is_password(name) && is_name_of_secret(name),
        _ => false,
    }
}

fn is_secret_text(name: &str, text: &str) -> bool {
    let named = || Named { name, sep: "=", value: text, bare: false };
    is_key_of_wandb(name, text) || is_name_of_secret(name) && is_secret(&named())
}

fn is_name_of_secret(name: &str) -> bool {
    SCRUBBER.key.as_ref().is_some_and(|key| key.is_match(name))
}

/// Scrubs the values of labels: by their keys, and by their shape.
pub fn scrub_labels(labels: &mut BTreeMap<String, String>) {
    for (key, value) in labels {
        if is_secret_text(key, value) { *value = SCRUBBED.to_owned() } else { scrub_in_place(value) }
    }
}

/// Scrubs all that a run or a person may have written in a notification; names stay.
pub fn scrub_notification(notification: &mut Notification) {
    scrub_in_place(&mut notification.summary);
    scrub_in_place(&mut notification.reason);
    scrub_in_place(&mut notification.next);
    scrub_labels(&mut notification.run.labels);
    for alert in &mut notification.alerts {
        scrub_in_place(&mut alert.reason);
    }
    let evidence = &mut notification.evidence;
    evidence.last_event.iter_mut().for_each(scrub_json);
    if let Some(stack) = &mut evidence.stack {
        drop_cut_line(stack);
        scrub_in_place(stack);
    }
    scrub_lines(&mut evidence.log_tail);
}

/// Drops what is left of a line that was cut to make a long text fit: half a secret has no shape.
fn drop_cut_line(text: &mut String) {
    if text.chars().nth(TRACEBACK_CHARS_MAX - 1).is_some()
        && let Some(end) = text.find('\n')
    {
        text.drain(..=end);
    }
}

/// Scrubs lines together: a block of several is a secret as a whole.
fn scrub_lines(lines: &mut Vec<String>) {
    let text = lines.join("\n");
    if let Cow::Owned(scrubbed) = scrub(&text) {
        *lines = scrubbed.split('\n').map(str::to_owned).collect();
    }
}

fn scrub_in_place(text: &mut String) {
    if let Cow::Owned(scrubbed) = scrub(text) {
        *text = scrubbed;
    }
}
