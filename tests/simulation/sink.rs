//! A sink that does everything the other side of a network does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use runwatch_plugin::{Digest, Notification, Receipt, Sink, SinkError};

use super::record::{Did, Pace, Record};
use crate::support::Random;

/// How a sink is disposed for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It takes everything at once.
    Well,
    /// It takes everything, after a while.
    Slow,
    /// It takes nothing.
    Down,
    /// Each call is answered in another way.
    Odd,
    /// It refuses each message for good.
    Closed,
    /// It says that it takes nothing any more.
    Gone,
}

/// How one call is answered.
enum Answer {
    Takes(Duration),
    /// It has the message, and nobody hears of it.
    TakesInSilence,
    Fails,
    Busy(Duration),
    Hangs,
    Garbage,
    Refuses,
    IsGone,
}

pub struct FaultySink {
    pub pace: Pace,
    pub record: Arc<Record>,
    pub mood: Mutex<Mood>,
    pub random: Mutex<Random>,
}

impl FaultySink {
    fn answer(&self) -> Answer {
        let mut random = self.random.lock().unwrap();
        match *self.mood.lock().unwrap() {
            Mood::Well => Answer::Takes(Duration::ZERO),
            Mood::Slow => Answer::Takes(Duration::from_millis(random.below(9_000))),
            Mood::Closed => Answer::Refuses,
            Mood::Gone => Answer::IsGone,
            Mood::Down if random.percent(70) => Answer::Fails,
            Mood::Down => Answer::Hangs,
            Mood::Odd => match random.below(8) {
                0 => Answer::Fails,
                1 => Answer::Busy(Duration::from_secs(random.below(60))),
                2 => Answer::Hangs,
                3 => Answer::Garbage,
                4 => Answer::TakesInSilence,
                5 => Answer::Takes(Duration::from_millis(random.below(5_000))),
                _ => Answer::Takes(Duration::ZERO),
            },
        }
    }

    async fn hear(&self, id: &str, told: &[&Notification]) -> Result<Receipt, SinkError> {
        let (answer, key) = (self.answer(), self.pace.key);
        // The other side has it, or not, from the first moment; what lasts is the answer.
        let did = match answer {
            Answer::Takes(_) | Answer::TakesInSilence => Did::Took,
            Answer::Refuses => Did::Refused,
            Answer::Fails | Answer::Busy(_) | Answer::Hangs | Answer::Garbage | Answer::IsGone => Did::Failed,
        };
        self.record.on_call(&self.pace, id, told, did);
        match answer {
            Answer::Takes(after) => {
                tokio::time::sleep(after).await;
                self.record.on_success(key);
                Ok(Receipt("taken".to_owned()))
            }
            Answer::TakesInSilence | Answer::Hangs => std::future::pending().await,
            // Its own panic, without the noise.
            Answer::Garbage => std::panic::resume_unwind(Box::new("an answer that nobody expected")),
            Answer::Refuses => {
                self.record.on_success(key);
                Err(SinkError::refused("413 too large"))
            }
            Answer::IsGone => {
                self.record.on_gone(key);
                Err(SinkError::gone("410 gone"))
            }
            Answer::Fails => {
                self.record.on_failure(key, id, None);
                Err(SinkError::retry("503"))
            }
            Answer::Busy(after) => {
                self.record.on_failure(key, id, Some(after));
                Err(SinkError::Retry { reason: "429".to_owned(), after: Some(after) })
            }
        }
    }
}

#[async_trait]
impl Sink for FaultySink {
    async fn deliver(&self, notification: &Notification) -> Result<Receipt, SinkError> {
        self.hear(&notification.delivery.id, &[notification]).await
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<Receipt, SinkError> {
        let told: Vec<&Notification> = digest.notifications.iter().collect();
        self.hear(&digest.delivery.id, &told).await
    }

    fn describe(&self) -> String {
        format!("a simulated {}", self.pace.key)
    }
}
