//! The request, and what its answer means.

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use runwatch_plugin::http::{self, Answer, Secrets};
use runwatch_plugin::{Digest, Notification, OpenError, Receipt, SecretSource, Sink, SinkError, SinkPlan};

use crate::config::{Config, Format};
use crate::render;

/// Repeated by every re-send, so that the receiver can drop what it has.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A URL that takes JSON.
struct Webhook {
    client: Client,
    url: Url,
    headers: HeaderMap,
    format: Format,
    secrets: Secrets,
}

impl SinkPlan for Config {
    fn open(&self) -> Result<Arc<dyn Sink>, OpenError> {
        let url = self.url.resolve()?;
        let mut secrets = Secrets::of_url(&url);
        let mut headers = HeaderMap::new();
        for (name, source) in &self.headers {
            let (name, value) = header(name, source, &mut secrets)?;
            headers.insert(name, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let client = http::client(http::BACKSTOP).map_err(|reason| OpenError { reason, hint: None })?;
        Ok(Arc::new(Webhook { client, url, headers, format: self.format, secrets }))
    }
}

fn header(name: &str, source: &SecretSource, secrets: &mut Secrets) -> Result<(HeaderName, HeaderValue), OpenError> {
    let wrong = |what: &str| OpenError { reason: format!("header {name}: {what}"), hint: None };
    let secret = source.resolve().map_err(|error| OpenError::missing(&error))?;
    secrets.add(&secret);
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("not a header's name"))?;
    let mut value =
        HeaderValue::from_str(secret.expose()).map_err(|_| wrong("its value holds what a header cannot"))?;
    value.set_sensitive(true);
    Ok((header, value))
}

#[async_trait]
impl Sink for Webhook {
    async fn deliver(&self, notification: &Notification) -> Result<Receipt, SinkError> {
        let body = match self.format {
            Format::Runwatch => render::runwatch(notification),
            Format::Alertmanager => render::alertmanager(notification).to_string(),
        };
        self.post(&notification.delivery.id, body).await
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<Receipt, SinkError> {
        let body = match self.format {
            Format::Runwatch => render::runwatch_digest(digest),
            Format::Alertmanager => render::alertmanager_digest(digest).to_string(),
        };
        self.post(&digest.delivery.id, body).await
    }

    fn describe(&self) -> String {
        format!("webhook {}", http::describe_url(&self.url))
    }
}

impl Webhook {
    async fn post(&self, delivery: &str, body: String) -> Result<Receipt, SinkError> {
        let key = HeaderValue::from_str(delivery)
            .map_err(|_| SinkError::refused("the delivery's id holds what a header cannot"))?;
        let request = self.client.post(self.url.clone()).headers(self.headers.clone()).header(IDEMPOTENCY_KEY, key);
        let response = request.body(body).send().await.map_err(http::no_answer)?;
        let answer = Answer::read(response, &self.secrets).await?;
        if answer.status.is_success() { Ok(Receipt(answer.words())) } else { Err(answer.failure()) }
    }
}
