//! The optional first line of a connection, and its answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::suggest::advise;
use crate::domain::intake::{Claim, Prospect};
use crate::domain::names::Name;
use crate::domain::status::{SinkView, StatusView};
use crate::sources::tail::{TailAnswer, TailRequest};

/// The version of the hello that is spoken here.
pub const PROTOCOL: u32 = 1;

/// `{"hello":1,"run":"..","watch":"peer","ack":true}`: what a sender wants of its connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the hello: [`PROTOCOL`].
    pub hello: u32,
    /// The run of lines that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// `peer` makes the process at the other end a member of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<String>,
    /// Whether a process of the run is about to begin: the answer says under which name it will be known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begins: bool,
    /// The key of the attempt of that process, or of the peer, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<String>,
    /// The team that the run will ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The labels that the run will have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether each lifecycle line is to be answered once it is in the journal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ack: bool,
    /// Files to be followed for as long as the connection stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tail: Vec<TailRequest>,
}

/// What the engine says of itself to whoever says hello.
#[derive(Debug, Clone)]
pub struct HelloInfo {
    /// Its version.
    pub version: &'static str,
    /// Its process.
    pub pid: u32,
    /// Where its API is, if it has one.
    pub url: Option<String>,
    /// This host, by the name that members of it are known by.
    pub host: Name,
}

/// The answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloAnswer {
    /// The version of the hello that was understood.
    pub hello: u32,
    /// The engine's version.
    pub version: String,
    /// The engine's process.
    pub pid: u32,
    /// The name under which the pinned run is known: another than was asked for while an attempt of that is live.
    #[serde(default)]
    pub run: Option<String>,
    /// Where the engine's API is, if it has one.
    pub url: Option<String>,
    /// The team that owns the pinned run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// What of the hello is not as its sender may think.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Where the engine sends to: the sinks that the pinned run is told through, else all.
    pub sinks: Vec<HelloSink>,
    /// What became of the files that were to be followed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tail: Vec<TailAnswer>,
}

/// One sink, as a hello tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloSink {
    /// The key the engine knows it by: `vision/slack`, `desktop`.
    pub sink: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it sends, without secrets.
    pub target: String,
    /// Why it is disabled.
    pub disabled: Option<String>,
}

impl HelloInfo {
    /// `prospect` is that of the pinned run, which asks for the team `asked`.
    pub(super) fn answer(
        &self,
        run: Option<&Name>,
        asked: Option<&str>,
        prospect: Option<&Prospect>,
        status: &StatusView,
    ) -> HelloAnswer {
        let is_told = |sink: &&SinkView| match prospect {
            Some(prospect) => prospect.audience.sinks.contains(&sink.sink),
            None => !sink.last_resort,
        };
        let sinks = status.sinks.iter().filter(is_told).map(|sink| HelloSink {
            sink: sink.sink.to_string(),
            kind: sink.kind.to_owned(),
            target: sink.target.clone(),
            disabled: sink.disabled.clone(),
        });
        HelloAnswer {
            hello: PROTOCOL,
            version: self.version.to_owned(),
            pid: self.pid,
            run: run.map(|run| run.to_string()),
            url: self.url.clone(),
            team: prospect.map(|prospect| prospect.audience.team.to_string()),
            warning: prospect.zip(asked).and_then(|(prospect, asked)| no_team(asked, prospect)),
            sinks: sinks.collect(),
            tail: Vec::new(),
        }
    }
}

/// A team that is not there owns nothing: whoever asks for it must know who is told instead.
fn no_team(asked: &str, prospect: &Prospect) -> Option<String> {
    let teams: Vec<&str> = prospect.teams.iter().map(|team| &**team).collect();
    let hint = advise(asked, &teams, "teams there are");
    let owner = &prospect.audience.team;
    (!teams.contains(&asked)).then(|| format!("there is no team `{asked}`, so the run goes to team {owner}; {hint}"))
}

impl Hello {
    /// The claim of the pinned run.
    pub(super) fn claim(&self) -> Claim {
        Claim { team: self.team.as_deref().map(Name::from), labels: self.labels.clone() }
    }

    /// The hello in a connection's first line; `None` if that is an event.
    ///
    /// # Errors
    /// It is a hello, and cannot be understood.
    pub(super) fn in_line(line: &[u8]) -> Option<Result<Hello, String>> {
        let value: serde_json::Value = serde_json::from_slice(line).ok()?;
        if value.get("hello").is_none() || value.get("type").is_some() {
            return None;
        }
        Some(Self::understood(value))
    }

    fn understood(value: serde_json::Value) -> Result<Hello, String> {
        let hello: Hello = serde_json::from_value(value).map_err(|error| format!("the hello is wrong: {error}"))?;
        if hello.hello != PROTOCOL {
            return Err(format!("hello {} is not known here: this engine speaks hello {PROTOCOL}", hello.hello));
        }
        match hello.watch.as_deref() {
            _ if hello.begins && hello.run.is_none() => Err("`begins` needs `run`: the run that begins".to_owned()),
            None => Ok(hello),
            Some("peer") if hello.run.is_none() => {
                Err("`watch` needs `run`: the run the peer is a member of".to_owned())
            }
            Some("peer") => Ok(hello),
            Some(other) => Err(format!("`watch` must be \"peer\", found \"{other}\"")),
        }
    }
}
