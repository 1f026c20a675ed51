//! The sink itself: built from settings, given notifications, owing an answer to each.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::digest::Digest;
use crate::notification::Notification;
use crate::secret::SecretError;
use crate::settings::{SettingsError, SinkSettings};

/// One configured destination.
///
/// The host calls `deliver` and `deliver_digest` in a task of its own, under a timeout, at most
/// [`Pace::in_flight`] at a time; a panic or a timeout counts as [`SinkError::Retry`]. A sink keeps
/// no queue and retries nothing: that is the host's.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Sends one notification.
    ///
    /// # Errors
    /// [`SinkError::Retry`] where a later attempt may succeed, [`SinkError::Refused`] where none will,
    /// [`SinkError::Gone`] where none of any notification will.
    async fn deliver(&self, notification: &Notification) -> Result<Receipt, SinkError>;

    /// Sends several notifications as one message.
    ///
    /// # Errors
    /// As of `deliver`. Of a digest that is refused the host sends each notification by itself.
    async fn deliver_digest(&self, digest: &Digest) -> Result<Receipt, SinkError>;

    /// Where it sends, without secrets: `webhook http://gpu-head:9000/…`.
    fn describe(&self) -> String;
}

/// Proof of a delivery, for the record and for `sinks test`: `200 ok`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt(pub String);

/// Why a notification was not delivered. Reasons never hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// It may work later.
    #[error("{reason}")]
    Retry {
        /// What went wrong.
        reason: String,
        /// How long the other side asked to be left alone.
        after: Option<Duration>,
    },
    /// It will never work for this notification.
    #[error("{reason}")]
    Refused {
        /// What the other side said.
        reason: String,
    },
    /// It works for no notification until somebody changes something: the webhook was deleted, the
    /// token is no longer good, nobody reads any more.
    #[error("{reason}")]
    Gone {
        /// What the other side said.
        reason: String,
    },
}

/// How fast a sink may be sent messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Over it messages wait, and are told as one; `None` sends all at once.
    pub rate: Option<Rate>,
    /// Deliveries under way at a time, at least one.
    pub in_flight: usize,
}

/// A token bucket: a message takes a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Tokens that come each second; above zero.
    pub per_s: f64,
    /// Tokens there are room for, at least one: so many messages may go at once.
    pub burst: u32,
}

/// A sink whose settings are valid, not yet opened. Holds no secret and touches nothing.
pub trait SinkPlan: Send + Sync + fmt::Debug {
    /// Resolves secrets and makes the sink ready.
    ///
    /// # Errors
    /// A secret that is not there, a session bus that does not answer: the sink is disabled,
    /// loudly, and the engine goes on.
    fn open(&self) -> Result<Arc<dyn Sink>, OpenError>;
}

/// Why a sink could not be opened, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct OpenError {
    /// What is missing.
    pub reason: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A type of sink: the one thing a sink crate exports.
#[derive(Clone, Copy)]
pub struct SinkType {
    /// The `type` in TOML.
    pub name: &'static str,
    /// One line for `sinks list` and the docs.
    pub about: &'static str,
    /// A commented TOML sample of every key at its default; it must parse.
    pub sample: &'static str,
    /// How fast it may be sent messages, unless the settings say otherwise.
    pub pace: Pace,
    /// Reads the settings; touches nothing outside.
    pub plan: fn(SinkSettings<'_>) -> Result<Box<dyn SinkPlan>, SettingsError>,
}

impl SinkError {
    /// A failure that may pass.
    pub fn retry(reason: impl Into<String>) -> SinkError {
        SinkError::Retry { reason: reason.into(), after: None }
    }

    /// A failure that will not pass.
    pub fn refused(reason: impl Into<String>) -> SinkError {
        SinkError::Refused { reason: reason.into() }
    }

    /// A failure of the sink as a whole that will not pass by itself.
    pub fn gone(reason: impl Into<String>) -> SinkError {
        SinkError::Gone { reason: reason.into() }
    }
}

impl OpenError {
    /// A secret that is not there.
    pub fn missing(error: &SecretError) -> OpenError {
        OpenError {
            reason: error.to_string(),
            hint: Some("provide it, or remove the sink; all other sinks go on without it".to_owned()),
        }
    }
}

impl fmt::Debug for SinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkType").field("name", &self.name).finish_non_exhaustive()
    }
}
