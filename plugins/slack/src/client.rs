//! The requests to Slack, and what its answers mean.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use runwatch_plugin::http::{self, Answer, Secrets};
use runwatch_plugin::{Digest, Notification, OpenError, Receipt, Sink, SinkError, SinkPlan};
use serde_json::Value;

use crate::config::Config;
use crate::{digest, render};

/// Refusals of the webhook or of the person behind it: another form of the message will not help.
const NOT_ABOUT_THE_FORM: [&str; 4] = ["invalid_token", "user_not_found", "no_active_hooks", "no_team"];
const NEW_WEBHOOK: &str = "Slack does not let this webhook post any more; make a new one and change webhook_url";

/// An incoming webhook.
struct Slack {
    client: Client,
    url: Url,
    secrets: Secrets,
}

impl SinkPlan for Config {
    fn open(&self) -> Result<Arc<dyn Sink>, OpenError> {
        let url = self.webhook_url.resolve()?;
        let client = http::client(http::BACKSTOP).map_err(|reason| OpenError { reason, hint: None })?;
        Ok(Arc::new(Slack { client, secrets: Secrets::of_url(&url), url }))
    }
}

#[async_trait]
impl Sink for Slack {
    async fn deliver(&self, notification: &Notification) -> Result<Receipt, SinkError> {
        self.tell(&render::payload(notification), || render::plain(notification)).await
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<Receipt, SinkError> {
        self.tell(&digest::payload(digest), || digest::plain(digest)).await
    }

    fn describe(&self) -> String {
        format!("slack {}", http::describe_url(&self.url))
    }
}

impl Slack {
    async fn tell(&self, payload: &Value, plain: impl FnOnce() -> Value + Send) -> Result<Receipt, SinkError> {
        let answer = self.post(payload).await?;
        if !is_about_the_form(&answer) {
            return receipt(&answer);
        }
        // A message Slack cannot read must not keep the news back: once more, as plain text.
        let again = self.post(&plain()).await?;
        let Receipt(words) = receipt(&again)?;
        Ok(Receipt(format!("{words}, as plain text; the full message was refused: {}", answer.words())))
    }

    async fn post(&self, payload: &Value) -> Result<Answer, SinkError> {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let response = request.body(payload.to_string()).send().await.map_err(http::no_answer)?;
        Answer::read(response, &self.secrets).await
    }
}

fn is_about_the_form(answer: &Answer) -> bool {
    answer.status.as_u16() == 400 && !is_about_the_webhook(answer)
}

fn is_about_the_webhook(answer: &Answer) -> bool {
    NOT_ABOUT_THE_FORM.iter().any(|reason| answer.body.contains(reason))
}

/// The one good answer is 200 with the body `ok`.
fn receipt(answer: &Answer) -> Result<Receipt, SinkError> {
    match answer.status.as_u16() {
        200 if answer.body == "ok" => Ok(Receipt(answer.words())),
        200 => Err(SinkError::retry(format!("not Slack's answer, is a proxy in between? {}", answer.words()))),
        status => Err(match answer.failure() {
            SinkError::Retry { reason, after } => SinkError::Retry { reason, after: after.or(asked_in_body(answer)) },
            SinkError::Refused { .. } if status == 400 && is_about_the_webhook(answer) => {
                SinkError::gone(format!("{}: {}", answer.words(), NEW_WEBHOOK))
            }
            SinkError::Refused { reason } => SinkError::refused(advised(reason, status)),
            SinkError::Gone { reason } => SinkError::gone(advised(reason, status)),
        }),
    }
}

/// `retry_after` of the body, where the header was lost on the way.
fn asked_in_body(answer: &Answer) -> Option<Duration> {
    let body: Value = serde_json::from_str(&answer.body).ok()?;
    Duration::try_from_secs_f64(body["retry_after"].as_f64()?.ceil()).ok()
}

fn advised(reason: String, status: u16) -> String {
    match what_to_do(status) {
        Some(advice) => format!("{reason}: {advice}"),
        None => reason,
    }
}

fn what_to_do(status: u16) -> Option<&'static str> {
    match status {
        400 => Some("Slack cannot read the message"),
        401 | 403 => Some("Slack does not let this webhook post; ask an admin of the workspace, or make a new one"),
        404 => Some("the webhook or its channel is gone; make a new one and change webhook_url"),
        410 => Some("the channel is archived; make a webhook for another one and change webhook_url"),
        _ => None,
    }
}
