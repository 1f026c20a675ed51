//! Sink types for tests: the shapes of the real ones, without their wires.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use runwatch_plugin::{
    Digest, Notification, OpenError, Pace, Receipt, SecretSource, SettingsError, Sink, SinkError, SinkPlan,
    SinkSettings, SinkType,
};
use serde::Deserialize;

use super::Environment;

/// The keys of the real ones. A webhook's URL says how the sink behaves: `echo`, `refuse`, `hang`, `panic`.
pub(crate) const TYPES: &[SinkType] = &[
    SinkType { name: "terminal", about: "", sample: "", pace: PACE, plan: |settings| plan::<Terminal>(settings) },
    SinkType { name: "desktop", about: "", sample: "", pace: PACE, plan: |settings| plan::<Desktop>(settings) },
    SinkType { name: "slack", about: "", sample: "", pace: PACE, plan: |settings| plan::<Slack>(settings) },
    SinkType { name: "webhook", about: "", sample: "", pace: PACE, plan: |settings| plan::<Webhook>(settings) },
];

const PACE: Pace = Pace { rate: None, in_flight: 1 };

/// A user `ana` on a host `gpu-3`, without a session bus.
pub(crate) fn environment() -> Environment {
    Environment {
        home: Some("/home/ana".into()),
        xdg_runtime_dir: Some("/run/user/1000".into()),
        hostname: "gpu-3".to_owned(),
        uid: 1000,
        working_dir: "/site".into(),
        ..Environment::default()
    }
}

fn plan<T: SinkPlan + for<'de> Deserialize<'de> + 'static>(
    settings: SinkSettings<'_>,
) -> Result<Box<dyn SinkPlan>, SettingsError> {
    Ok(Box::new(settings.read::<T>()?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Terminal {
    #[serde(default, rename = "color")]
    _color: Option<Color>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Desktop {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slack {
    webhook_url: SecretSource,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    url: SecretSource,
    #[serde(default, rename = "format")]
    _format: Option<String>,
    #[serde(default, rename = "headers")]
    _headers: BTreeMap<String, SecretSource>,
}

impl SinkPlan for Terminal {
    fn open(&self) -> Result<Arc<dyn Sink>, OpenError> {
        Ok(Arc::new(FakeSink { behaviour: "write".to_owned() }))
    }
}

impl SinkPlan for Desktop {
    fn open(&self) -> Result<Arc<dyn Sink>, OpenError> {
        Ok(Arc::new(FakeSink { behaviour: "write".to_owned() }))
    }
}

impl SinkPlan for Slack {
    fn open(&self) -> Result<Arc<dyn Sink>, OpenError> {
        resolve(&self.webhook_url)?;
        Ok(Arc::new(FakeSink { behaviour: "ok".to_owned() }))
    }
}

impl SinkPlan for Webhook {
    fn open(&self) -> Result<Arc<dyn Sink>, OpenError> {
        Ok(Arc::new(FakeSink { behaviour: resolve(&self.url)? }))
    }
}

fn resolve(source: &SecretSource) -> Result<String, OpenError> {
    let hint = Some("set it where the engine runs".to_owned());
    let secret = source.resolve().map_err(|error| OpenError { reason: error.to_string(), hint })?;
    Ok(secret.expose().to_owned())
}

struct FakeSink {
    behaviour: String,
}

#[async_trait]
impl Sink for FakeSink {
    async fn deliver(&self, notification: &Notification) -> Result<Receipt, SinkError> {
        match self.behaviour.as_str() {
            "echo" => Ok(Receipt(notification.summary.clone())),
            _ => self.answer().await,
        }
    }

    async fn deliver_digest(&self, _: &Digest) -> Result<Receipt, SinkError> {
        self.answer().await
    }

    fn describe(&self) -> String {
        format!("a fake that answers {}", self.behaviour)
    }
}

impl FakeSink {
    async fn answer(&self) -> Result<Receipt, SinkError> {
        match self.behaviour.as_str() {
            "refuse" => Err(SinkError::refused("404 no such hook")),
            "hang" => std::future::pending().await,
            "panic" => panic!("a sink of the tests panics"),
            "write" => Ok(Receipt("written".to_owned())),
            _ => Ok(Receipt("200 ok".to_owned())),
        }
    }
}
