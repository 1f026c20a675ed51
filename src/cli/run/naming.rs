//! What a run is called when nobody says, and how its command line reads to people.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::limits::{COMMAND_CHARS_MAX, RUN_NAME_CHARS_MAX};

/// Programs that run the script among their arguments.
const LAUNCHERS: &[&str] = &[
    "torchrun",
    "accelerate",
    "deepspeed",
    "horovodrun",
    "mpirun",
    "mpiexec",
    "srun",
    "env",
    "nice",
    "ionice",
    "nohup",
    "time",
    "timeout",
    "stdbuf",
    "taskset",
    "numactl",
    "uv",
    "poetry",
    "pipenv",
    "conda",
    "mamba",
    "micromamba",
    "sudo",
];
/// Those among them that start many members.
const MEMBER_LAUNCHERS: &[&str] = &["torchrun", "accelerate", "deepspeed", "horovodrun", "mpirun", "mpiexec", "srun"];
/// Modules that do the same: `python -m torch.distributed.run train.py`.
const LAUNCHER_MODULES: &[&str] = &[
    "torch.distributed.run",
    "torch.distributed.launch",
    "accelerate.commands.launch",
    "accelerate.commands.accelerate_cli",
    "deepspeed.launcher.runner",
];
const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "fish", "ksh"];
const SCRIPT_ENDINGS: &[&str] = &["py", "pyz", "ipynb", "sh", "bash", "jl", "r", "R", "lua"];
/// Options of Python that take the next argument.
const PYTHON_VALUES: &[&str] = &["-W", "-X", "--check-hash-based-pycs"];
/// Parts of an option's or variable's name whose value is nobody's business.
const SECRET_WORDS: &[&str] = &["key", "token", "secret", "passw", "credential", "auth", "webhook", "dsn"];
const REDACTED: &str = "***";

/// `<user>/<script stem>`: the name under which a run is known from one night to the next.
pub(in crate::cli) fn default_name(user: &str, command: &[OsString]) -> String {
    let stem = command.split_first().and_then(|(program, args)| script_stem(program, args));
    let name = format!("{user}/{}", stem.unwrap_or_else(|| "run".to_owned()));
    name.chars().map(|c| if c.is_control() { '_' } else { c }).take(RUN_NAME_CHARS_MAX).collect()
}

/// Whether the command starts the members of a run rather than being one.
pub(super) fn launches_members(command: &[OsString]) -> bool {
    let before_script = command.iter().take_while(|arg| !is_script(arg));
    before_script
        .map(|arg| file_name(arg))
        .any(|name| MEMBER_LAUNCHERS.contains(&name.as_str()) || LAUNCHER_MODULES.contains(&name.as_str()))
}

/// The user's name: `USER`, `LOGNAME`, the password file's, or `uid1000`.
pub(in crate::cli) fn user_name(uid: u32) -> String {
    let told = ["USER", "LOGNAME"].into_iter().filter_map(|variable| std::env::var(variable).ok());
    name_of_user(told.into_iter().find(|name| !name.is_empty()), uid)
}

/// The name of the user `uid`, whose environment may have told it.
pub(in crate::cli) fn name_of_user(told: Option<String>, uid: u32) -> String {
    told
        // A system without that file has no names to offer.
        .or_else(|| named_in_passwd(&std::fs::read_to_string("/etc/passwd").unwrap_or_default(), uid))
        .unwrap_or_else(|| format!("uid{uid}"))
}

fn named_in_passwd(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

fn script_stem(program: &OsStr, args: &[OsString]) -> Option<String> {
    let name = file_name(program);
    let script = if is_python(&name) {
        python_script(args)
    } else if SHELLS.contains(&name.as_str()) {
        shell_script(args)
    } else if LAUNCHERS.contains(&name.as_str()) {
        launched_script(args)
    } else {
        None
    };
    script.or_else(|| stem(program))
}

fn is_python(name: &str) -> bool {
    let version = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"));
    version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// The script of `python [options] SCRIPT`, or the module of `python -m MODULE`.
fn python_script(args: &[OsString]) -> Option<String> {
    let mut rest = args;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first.to_str()? {
            "-m" => {
                let (module, after) = rest.split_first()?;
                let module = module.to_string_lossy().into_owned();
                let launched = LAUNCHER_MODULES.contains(&module.as_str()).then(|| launched_script(after));
                return launched.flatten().or(Some(module));
            }
            "-" | "-c" => return None,
            option if PYTHON_VALUES.contains(&option) => rest = rest.get(1..)?,
            option if option.starts_with('-') => {}
            _ => return stem(first),
        }
    }
    None
}

/// The script of `bash [options] SCRIPT`; a command line (`-c`) has none.
fn shell_script(args: &[OsString]) -> Option<String> {
    let first = args.iter().find(|arg| !arg.to_string_lossy().starts_with(['-', '+']));
    let is_command = args
        .iter()
        .map(|arg| arg.to_string_lossy())
        .take_while(|arg| arg.starts_with('-'))
        .any(|arg| !arg.starts_with("--") && arg.contains('c'));
    first.filter(|_| !is_command).and_then(|script| stem(script))
}

/// The first argument that is a script, or the module after the first `-m`.
fn launched_script(args: &[OsString]) -> Option<String> {
    for (index, arg) in args.iter().enumerate() {
        if arg == "-m" {
            return python_script(&args[index..]);
        }
        if is_script(arg) && !arg.to_string_lossy().starts_with('-') {
            return stem(arg);
        }
    }
    None
}

fn is_script(arg: &OsStr) -> bool {
    Path::new(arg).extension().and_then(OsStr::to_str).is_some_and(|ending| SCRIPT_ENDINGS.contains(&ending))
}

fn file_name(program: &OsStr) -> String {
    Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
}

fn stem(script: &OsStr) -> Option<String> {
    let stem = Path::new(script).file_stem()?.to_string_lossy().into_owned();
    Some(stem).filter(|stem| !stem.is_empty())
}

/// The command as a shell would read it, without the values of arguments that sound like secrets.
pub(in crate::cli) fn command_line(command: &[OsString]) -> String {
    let mut line = String::new();
    let mut hide_next = false;
    for arg in command {
        let text = arg.to_string_lossy();
        let shown = match text.split_once('=') {
            _ if hide_next => REDACTED.to_owned(),
            Some((name, _)) if is_secret(name) => format!("{name}={REDACTED}"),
            _ => without_password(&text),
        };
        // The value of `--api-key VALUE` is the next argument.
        hide_next = text.starts_with('-') && !text.contains('=') && is_secret(&text);
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&quoted(&shown));
    }
    match line.char_indices().nth(COMMAND_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// A URL without the user and password in it.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let host_end = rest.find('/').unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}://{REDACTED}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

fn quoted(arg: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+*…".contains(c);
    if !arg.is_empty() && arg.chars().all(is_plain) {
        return arg.to_owned();
    }
    let shown: String = arg.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("'{}'", shown.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn a_run_is_named_after_its_user_and_script() {
        for (command, name) in [
            ("python train.py", "train"),
            ("/usr/bin/python3.11 -u -X dev -W ignore jobs/train.v2.py --lr 1e-3", "train.v2"),
            ("python -m pkg.mod --config a.py", "pkg.mod"),
            ("python -m torch.distributed.run --nproc_per_node 8 sft.py", "sft"),
            ("python -m torch.distributed.run -m pkg.sft", "pkg.sft"),
            ("python -c pass", "python"),
            ("python3", "python3"),
            ("torchrun --nproc_per_node=8 --rdzv_conf a=b train_llm.py --x y.py", "train_llm"),
            ("torchrun -m pkg.train", "pkg.train"),
            ("torchrun --standalone", "torchrun"),
            ("accelerate launch --config_file a.yaml ./ft.py", "ft"),
            ("bash -e night.sh", "night"),
            ("bash jobs/night", "night"),
            ("bash -c sleep", "bash"),
            ("bash -lc sleep", "bash"),
            ("uv run train.py", "train"),
            ("srun -N 2 python -u train.py", "train"),
            ("srun -N 2 python -m pkg.train", "pkg.train"),
            ("./train.sh", "train"),
            ("./my-trainer --config a.py", "my-trainer"),
            ("/opt/bin/trainer", "trainer"),
        ] {
            assert_eq!(default_name("ann", &words(command)), format!("ann/{name}"), "{command}");
        }
    }

    #[test]
    fn who_launches_members_is_none() {
        for (command, launches) in [
            ("python train.py --backend deepspeed", false),
            ("uv run train.py", false),
            ("bash night.sh srun", false),
            ("torchrun --nproc_per_node 8 train.py", true),
            ("uv run torchrun train.py", true),
            ("/opt/bin/mpirun -n 4 ./trainer", true),
            ("python -m torch.distributed.run train.py", true),
        ] {
            assert_eq!(launches_members(&words(command)), launches, "{command}");
        }
    }

    #[test]
    fn a_default_name_is_always_a_name() {
        let long = format!("{}.py", "x".repeat(300));
        let names = [
            default_name("ann", &["python".into(), "a\u{1b}b\n.py".into()]),
            default_name("ann", &["python".into(), long.into()]),
            default_name("ann", &[]),
            default_name("ann", &["".into()]),
        ];
        for name in names {
            assert_eq!(crate::domain::names::check_name("run", &name, RUN_NAME_CHARS_MAX), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn a_user_without_a_variable_is_looked_up() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(named_in_passwd(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(named_in_passwd(passwd, 7), None);
    }

    #[test]
    fn a_command_line_reads_as_typed_and_tells_no_secret() {
        for (args, line) in [
            (vec!["python", "train.py", "--lr", "1e-3"], "python train.py --lr 1e-3"),
            (vec!["echo", "two words", "", "it's"], r"echo 'two words' '' 'it'\''s'"),
            (vec!["env", "WANDB_API_KEY=abc", "python", "t.py"], "env WANDB_API_KEY=*** python t.py"),
            (vec!["t", "--hf-token", "abc", "x"], "t --hf-token *** x"),
            (vec!["t", "--password=abc"], "t --password=***"),
            (vec!["t", "--db", "postgres://u:p@host/db"], "t --db postgres://***@host/db"),
            (vec!["t", "https://host/a@b"], "t https://host/a@b"),
            (vec!["t", "a\nb"], "t 'a b'"),
        ] {
            let command: Vec<OsString> = args.iter().map(OsString::from).collect();
            assert_eq!(command_line(&command), line);
        }
        let long = command_line(&["x".repeat(COMMAND_CHARS_MAX + 5).into()]);
        assert_eq!(long.chars().count(), COMMAND_CHARS_MAX + 1);
    }
}
