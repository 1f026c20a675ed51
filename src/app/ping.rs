//! Pings to a service outside that misses us when we are silent (`[self] ping_url`).
//!
//! In: how the engine is. Out: one request at a time, on the threads for input and output, bounded in
//! time. The URL is a secret: no log names it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Client, Url};
use runwatch_plugin::SinkError;
use runwatch_plugin::http::{self, Answer, Secrets};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::SelfConfig;
use crate::domain::time::Moment;
use crate::limits::PING_TIMEOUT;
use crate::ports::NotReady;
use crate::telemetry;

/// Where pings go, and how often.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PingPlan {
    url: Url,
    interval: Duration,
}

impl PingPlan {
    /// What `[self]` asks for; `None` where it asks for no pings.
    ///
    /// # Errors
    /// Its URL is not to be had; the text of it is left out.
    pub(super) fn of(own: &SelfConfig) -> Result<Option<PingPlan>, String> {
        let Some(source) = &own.ping_url else { return Ok(None) };
        let url = source.resolve().map_err(|error| error.reason)?;
        Ok(Some(PingPlan { url, interval: own.ping_interval }))
    }
}

/// Sends pings as the configuration that is in force has it.
pub(super) struct Pings {
    plan: watch::Receiver<Option<PingPlan>>,
    io: Handle,
    pinger: Option<Pinger>,
}

impl Pings {
    /// Pings by `plan`, whatever it becomes.
    pub(super) fn new(plan: watch::Receiver<Option<PingPlan>>, io: Handle) -> Pings {
        let mut pings = Pings { plan, io, pinger: None };
        pings.refit();
        pings
    }

    /// Sends what is due. When the next one is.
    pub(super) fn go_on(&mut self, trouble: Option<&NotReady>, now: Moment) -> Option<Duration> {
        self.pinger.as_mut().map(|pinger| pinger.go_on(trouble, now))
    }

    /// Resolves when the plan has become another, and is followed.
    pub(super) async fn changed(&mut self) {
        if self.plan.changed().await.is_err() {
            // Who had it changed is gone: it stays as it is.
            return std::future::pending().await;
        }
        self.refit();
    }

    fn refit(&mut self) {
        let plan = self.plan.borrow_and_update().clone();
        let pinger = plan.map(|plan| Pinger::new(plan.url, plan.interval, self.io.clone())).transpose();
        self.pinger = pinger.map_err(|reason| telemetry::ping_disabled(&reason)).unwrap_or_default();
    }
}

/// Sends pings to one place.
struct Pinger {
    to: Arc<Target>,
    io: Handle,
    interval: Duration,
    next: Moment,
    /// What was said last: that all is well, or not.
    said_well: Option<bool>,
    under_way: Option<JoinHandle<()>>,
}

/// Where pings go.
struct Target {
    client: Client,
    url: Url,
    fail_url: Option<Url>,
    secrets: Secrets,
    failing: AtomicBool,
}

impl Pinger {
    /// Pings to `url` every `interval`.
    ///
    /// # Errors
    /// There can be no HTTP client.
    fn new(url: Url, interval: Duration, io: Handle) -> Result<Pinger, String> {
        let client = http::client(PING_TIMEOUT)?;
        let (secrets, fail_url) = (Secrets::of_url(&url), fail_url(&url));
        let to = Arc::new(Target { client, url, fail_url, secrets, failing: AtomicBool::new(false) });
        Ok(Pinger { to, io, interval, next: Moment::LONG_AGO, said_well: None, under_way: None })
    }

    /// Sends what is due: a ping while the engine is well; where it is not, its reason to a service
    /// that has a place for it, and nothing to any other. When the next one is due.
    fn go_on(&mut self, trouble: Option<&NotReady>, now: Moment) -> Duration {
        // A stop that was asked for is no trouble, and no life either.
        if trouble == Some(&NotReady::Stopping) {
            return self.interval;
        }
        let well = trouble.is_none();
        let busy = self.under_way.as_ref().is_some_and(|ping| !ping.is_finished());
        if !busy && (now >= self.next || self.said_well != Some(well)) {
            let reason = trouble.map(ToString::to_string);
            let to = self.to.clone();
            self.under_way = Some(self.io.spawn(async move { to.ping(reason).await }));
            self.said_well = Some(well);
            self.next = now + self.interval;
        }
        self.next.since(now).max(Duration::from_millis(100))
    }
}

impl Target {
    async fn ping(&self, trouble: Option<String>) {
        let request = match (trouble, &self.fail_url) {
            (None, _) => self.client.get(self.url.clone()),
            (Some(reason), Some(url)) => self.client.post(url.clone()).body(reason),
            (Some(_), None) => return,
        };
        let answer = async {
            let response = request.send().await.map_err(http::no_answer)?;
            let answer = Answer::read(response, &self.secrets).await?;
            if answer.status.is_success() { Ok(()) } else { Err(SinkError::retry(answer.words())) }
        };
        match answer.await {
            Ok(()) if self.failing.swap(false, Ordering::AcqRel) => telemetry::pings_again(),
            Ok(()) => {}
            Err(error) if !self.failing.swap(true, Ordering::AcqRel) => {
                telemetry::ping_failed(&http::describe_url(&self.url), &error.to_string());
            }
            Err(_) => {}
        }
    }
}

/// Where a failure is told, for services with Healthchecks' ping API: hc-ping.com, and others whose
/// path begins with `/ping/`. `None` for any other, to which silence has to say it.
fn fail_url(url: &Url) -> Option<Url> {
    let hosted = url.host_str().is_some_and(|host| host == "hc-ping.com" || host.ends_with(".hc-ping.com"));
    let segments: Vec<&str> = url.path_segments()?.filter(|segment| !segment.is_empty()).collect();
    let own = segments.iter().position(|segment| *segment == "ping").is_some_and(|at| at + 1 < segments.len());
    if !(hosted && !segments.is_empty() || own) {
        return None;
    }
    let mut fail = url.clone();
    fail.path_segments_mut().ok()?.pop_if_empty().push("fail");
    Some(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_a_place_at_services_with_the_ping_api_only() {
        for (url, fail) in [
            ("https://hc-ping.com/1234-5678", Some("https://hc-ping.com/1234-5678/fail")),
            ("https://hc-ping.com/key/slug?create=1", Some("https://hc-ping.com/key/slug/fail?create=1")),
            ("https://checks.lab.org/ping/1234/", Some("https://checks.lab.org/ping/1234/fail")),
            ("http://10.0.0.1:7171/ping/night", Some("http://10.0.0.1:7171/ping/night/fail")),
            ("https://hc-ping.com/", None),
            ("https://lab.org/ping", None),
            ("https://uptime.lab.org/api/push/Abc?status=up", None),
        ] {
            let found = fail_url(&Url::parse(url).unwrap()).map(String::from);
            assert_eq!(found.as_deref(), fail, "{url}");
        }
    }
}
