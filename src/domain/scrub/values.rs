//! Whether what stands behind a name is a secret, or a number, a path, a piece of code or a word.

use regex::Captures;

use super::SCRUBBED;

/// A value behind a name.
pub(super) struct Named<'t> {
    /// The name as written: `--api-key`, `WANDB_API_KEY`.
    pub(super) name: &'t str,
    /// What stands between: `=`, `: `, a space.
    pub(super) sep: &'t str,
    /// The value, without its quotes.
    pub(super) value: &'t str,
    /// Whether it stands without quotes.
    pub(super) bare: bool,
}

/// Names that end in `token` and are credentials; what else does so may be a word of a vocabulary.
const CREDENTIALS: &[&str] = &[
    "access", "api", "app", "auth", "bearer", "bot", "client", "gh", "github", "gitlab", "hf", "hub", "id", "login",
    "oauth", "personal", "refresh", "secret", "security", "session", "slack", "telegram", "user", "wandb", "webhook",
];
/// Values that are a type, or say that there is none.
const NO_VALUES: &[&str] =
    &["none", "null", "nil", "true", "false", "str", "bytes", "int", "bool", "any", "optional", "undefined", "missing"];
/// Words that stand before a number and are no secret: ways of authentication, and what is counted.
const NUMBERED: &[&str] = &[
    "oauth", "sha", "scram", "ed25519", "md5", "hmac", "rsa", "epoch", "step", "stage", "layer", "fold", "rank",
    "iter", "batch", "phase", "block", "level", "round", "node", "gpu", "cuda",
];
/// How names of files end.
const FILES: &[&str] = &[".json", ".yaml", ".yml", ".toml", ".txt", ".pem", ".ini", ".cfg", ".py"];
/// What code takes a value from.
const OBJECTS: &[&str] = &["self.", "args.", "cfg.", "config.", "os.", "env.", "settings.", "opts.", "hparams."];

/// Whether a match of a name and a value is a secret.
pub(super) fn is_named_secret(found: &Captures<'_>) -> bool {
    let text = |group| found.name(group).map_or("", |found| found.as_str());
    let bare = found.name("bare").is_some();
    let value = ["eq", "dq", "sq", "bare"].into_iter().map(text).find(|value| !value.is_empty()).unwrap_or_default();
    let named = Named { name: text("name"), sep: text("sep"), value, bare };
    // `/etc/passwd: no such file` is a path with words behind it.
    let is_path = found.name("before").is_some() && named.sep.contains(':');
    !is_path && is_secret(&named)
}

/// Whether the value is a secret.
pub(super) fn is_secret(named: &Named<'_>) -> bool {
    let name = named.name.trim_start_matches('-').replace('-', "_").to_lowercase();
    let value = named.value;
    if is_placeholder(&name, value) || named.bare && is_code(value) {
        return false;
    }
    // `api_key= token=x`: the first has no value.
    if named.bare && named.sep.starts_with('=') && named.sep.ends_with(' ') && value.contains('=') {
        return false;
    }
    let is_option = named.name.starts_with("--");
    // A parser's word on an option, or the option after one that was given no value.
    if is_option && (named.sep.contains(':') || named.bare && value.starts_with('-')) {
        return false;
    }
    if is_password(&name) {
        return true;
    }
    if is_short(&name) {
        return is_made_up(value);
    }
    if is_path(value) {
        return false;
    }
    let Some(kind) = name.strip_suffix("token") else { return true };
    if is_number(value) {
        return false;
    }
    // `unexpected token: foo` is no credential.
    if named.bare && named.sep.contains(':') && !looks_secret(value) {
        return false;
    }
    let kind = kind.trim_end_matches(['_', '.']);
    let last = kind.rsplit(['_', '.']).next().unwrap_or_default();
    kind.is_empty() || CREDENTIALS.iter().any(|known| last.ends_with(known)) || looks_secret(value)
}

/// Whether what has this name is a secret even as a number.
pub(super) fn is_password(name: &str) -> bool {
    let name = name.to_lowercase();
    ["password", "passwd", "passphrase", "mysql_pwd"].iter().any(|end| name.ends_with(end))
}

/// Whether the name is a short one, under which a harmless word may stand as well: `auth=basic`, `pass: forward`,
/// `PWD=/home/ana`.
fn is_short(name: &str) -> bool {
    let last = name.rsplit(['_', '.']).next().unwrap_or_default();
    ["pass", "pwd", "auth", "credential", "credentials"].contains(&last)
}

/// Whether the value is one that somebody made up to be a secret, and no word, number, path or name of a file.
fn is_made_up(value: &str) -> bool {
    let lower = value.to_lowercase();
    let has = |what: fn(&u8) -> bool| value.as_bytes().iter().any(what);
    let is_word_with_number = lower == value
        && value.len() < 20
        && (has(|byte| b"_-".contains(byte)) || NUMBERED.iter().any(|word| lower.starts_with(word)));
    let is_file =
        FILES.iter().any(|end| lower.ends_with(end)) || value.starts_with(['/', '~']) || value.contains("://");
    let mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    !is_number(value) && !is_file && !is_word_with_number && !value.ends_with(':') && value.len() >= 7 && mixed
}

/// The same of a match that is all value.
pub(super) fn is_made_up_alone(found: &Captures<'_>) -> bool {
    found.name("v").is_some_and(|secret| is_made_up(secret.as_str()))
}

/// Whether a key of wandb stands under this name.
pub(super) fn is_key_of_wandb(name: &str, value: &str) -> bool {
    name.to_lowercase().ends_with("key") && value.len() == 40 && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether it has a digit, which a word has not.
pub(super) fn has_digit(found: &Captures<'_>) -> bool {
    found.name("v").is_some_and(|secret| secret.as_str().bytes().any(|byte| byte.is_ascii_digit()))
}

/// Whether it has a digit, or is longer than words are.
pub(super) fn has_digit_or_is_long(found: &Captures<'_>) -> bool {
    has_digit(found) || found.name("v").is_some_and(|secret| secret.len() >= 20)
}

/// Whether it is anything but a number: `-u 1000:1000` names a group.
pub(super) fn is_no_number(found: &Captures<'_>) -> bool {
    found.name("v").is_some_and(|secret| !is_number(secret.as_str()))
}

/// Whether it stands for a value: nothing, a variable, the name itself, or what was scrubbed before.
fn is_placeholder(name: &str, value: &str) -> bool {
    let lower = value.to_lowercase().replace('-', "_");
    let starts = ["$", "{", "<", "%", "*", "...", "…"];
    value.is_empty()
        || SCRUBBED.starts_with(value)
        || value.starts_with(SCRUBBED)
        || starts.iter().any(|start| value.starts_with(start)) && !looks_secret(value)
        || NO_VALUES.contains(&lower.trim_end_matches('.'))
        || name.ends_with(&lower)
}

/// Whether it is a call, an index or a member: what a stack shows of the source.
fn is_code(value: &str) -> bool {
    let ident = value.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
    let is_called = ident.len() < value.len() && ident.starts_with(['(', '[']);
    let starts_well = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && (is_called || OBJECTS.iter().any(|object| value.starts_with(object)))
}

fn is_path(value: &str) -> bool {
    let inside = value.strip_prefix('/').is_some_and(|rest| rest.contains(['/', '.']) && !rest.contains(['+', '=']));
    inside || ["./", "../", "~/"].iter().any(|start| value.starts_with(start))
}

fn is_number(value: &str) -> bool {
    let value = value.trim_end_matches(['.', ',', '%', 'k', 'K', 'm', 'M', 'b', 'B']);
    !value.is_empty()
        && (value.parse::<f64>().is_ok()
            || value.bytes().all(|byte| byte.is_ascii_digit() || b"._,/x:-".contains(&byte)))
}

/// Whether it has the looks of what a machine made up: long, with letters and digits, or of mixed case.
fn looks_secret(value: &str) -> bool {
    let has = |what: fn(&u8) -> bool| value.as_bytes().iter().any(what);
    let has_digit = has(u8::is_ascii_digit);
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    value.len() >= 8 && has_digit && has(u8::is_ascii_alphabetic) || value.len() >= 20 && mixed && !value.contains(' ')
}
