//! `[engine]`: the address, the paths, the URL.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::EngineConfig;
use super::diagnostics::{Problem, quoted};
use super::environment::Environment;
use super::file::{EngineFile, Text};
use crate::limits;

/// The default of `listen`.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7171);

/// Resolves `[engine]`; relative paths start at `folder`. What is wrong is replaced by its default.
pub(super) fn engine(file: &EngineFile, folder: &Path, env: &Environment, problems: &mut Vec<Problem>) -> EngineConfig {
    let state_dir = state_dir(file.state_dir.as_ref(), folder, env, problems);
    let insecure = file.insecure.as_ref().is_some_and(|flag| *flag.get_ref());
    EngineConfig {
        listen: file.listen.as_ref().and_then(|text| listen(text, insecure, problems)).unwrap_or(LISTEN),
        insecure,
        socket: socket(file.socket.as_ref(), &state_dir, folder, env, problems),
        external_url: file.external_url.as_ref().and_then(|text| external_url(text, problems)),
        state_dir,
    }
}

fn listen(text: &Text, insecure: bool, problems: &mut Vec<Problem>) -> Option<SocketAddr> {
    let typed = text.get_ref();
    let Ok(address) = typed.parse::<SocketAddr>() else {
        let port = typed.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or(LISTEN.port());
        problems.push(
            Problem::error(text.span(), format!("{} is not an address and a port", quoted(typed)))
                .hint(format!("write numbers: \"127.0.0.1:{port}\" or \"[::1]:{port}\"")),
        );
        return None;
    };
    if address.ip().is_loopback() {
        return Some(address);
    }
    if !insecure {
        let port = address.port();
        problems.push(Problem::error(text.span(), format!("{} is not a loopback address", quoted(typed))).hint(
            format!(
                "write \"127.0.0.1:{port}\"; or, on a network where everyone may send and read everything, \
                 insecure = true beside it"
            ),
        ));
        return None;
    }
    let message = format!("everyone who reaches {} may send events and read all: nobody is asked who he is", address);
    problems.push(Problem::warning(Some(text.span()), message));
    Some(address)
}

fn state_dir(text: Option<&Text>, folder: &Path, env: &Environment, problems: &mut Vec<Problem>) -> PathBuf {
    if let Some(path) = text.and_then(|text| typed_path(text, folder, env, problems)) {
        return path;
    }
    let state_home = env.xdg_state_home.clone().or_else(|| Some(env.home.as_ref()?.join(".local/state")));
    let Some(state_home) = state_home else {
        problems.push(
            Problem::placeless("there is no folder for the engine's state: neither XDG_STATE_HOME nor HOME is set")
                .hint("set one of them, or state_dir under [engine]"),
        );
        return PathBuf::new();
    };
    let host = if env.hostname.is_empty() { "localhost" } else { &env.hostname };
    state_home.join("runwatch").join(host)
}

fn socket(
    text: Option<&Text>,
    state_dir: &Path,
    folder: &Path,
    env: &Environment,
    problems: &mut Vec<Problem>,
) -> PathBuf {
    let typed = text.and_then(|text| typed_path(text, folder, env, problems));
    let path = typed.unwrap_or_else(|| match &env.xdg_runtime_dir {
        Some(runtime_dir) => runtime_dir.join("runwatch").join("engine.sock"),
        None => state_dir.join(format!("engine-{}.sock", env.uid)),
    });
    let length = path.as_os_str().len();
    if length > limits::SOCKET_PATH_BYTES_MAX {
        let most = limits::SOCKET_PATH_BYTES_MAX;
        let message = format!("the socket's path is {length} bytes long, more than a unix socket may have ({most})");
        let hint = format!("it would be {}; set a shorter socket under [engine]", quoted(&path.to_string_lossy()));
        problems.push(match text {
            Some(text) => Problem::error(text.span(), message).hint("choose a shorter one"),
            None => Problem::placeless(message).hint(hint),
        });
    }
    path
}

/// A path as typed; `None` for `auto` and for what is none.
fn typed_path(text: &Text, folder: &Path, env: &Environment, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    let typed = text.get_ref().as_str();
    let refuse = |at: Range<usize>, message: &str, hint: &str| Problem::error(at, message).hint(hint);
    match (typed, typed.strip_prefix("~/"), &env.home) {
        ("auto", ..) => None,
        ("", ..) => {
            problems.push(refuse(text.span(), "the path is empty", "write a path, or \"auto\""));
            None
        }
        (_, Some(below_home), Some(home)) => Some(home.join(below_home)),
        (_, Some(_), None) => {
            problems.push(refuse(text.span(), "`~` stands for HOME, which is not set", "write the whole path"));
            None
        }
        _ if typed.contains('\0') => {
            problems.push(refuse(text.span(), "the path holds a zero byte", "take it out"));
            None
        }
        _ => Some(folder.join(typed)),
    }
}

fn external_url(text: &Text, problems: &mut Vec<Problem>) -> Option<String> {
    let typed = text.get_ref();
    match reqwest::Url::parse(typed) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() => {
            Some(typed.trim_end_matches('/').to_owned())
        }
        _ => {
            problems.push(
                Problem::error(text.span(), "external_url is not the address of a web page")
                    .hint("write how people reach this engine, like \"http://gpu-head:7171\""),
            );
            None
        }
    }
}
