//! Telemetry by POST, short of HTTP itself: from a body's bytes to the engine's answer.
//!
//! A body goes to the engine as one message, however long it is: so "busy" means that none of it
//! was taken, and the sender may send the same again. What its length costs is bounded where the
//! bytes are read ([`BODY_BYTES_MAX`], [`BODY_BYTES_IN_FLIGHT_MAX`]).
//!
//! [`BODY_BYTES_MAX`]: crate::limits::BODY_BYTES_MAX
//! [`BODY_BYTES_IN_FLIGHT_MAX`]: crate::limits::BODY_BYTES_IN_FLIGHT_MAX

use crate::domain::event::{Event, EventBatch, Refused};
use crate::domain::names::{Name, NameError, check_name};
use crate::limits;
use crate::ports::{Intake, IntakeError, Origin, Taken};

use super::formats::NativeFormat;

/// A body as it was read, not yet offered to the engine.
#[derive(Debug)]
pub struct Body {
    batch: EventBatch,
    refused: Vec<Refused>,
}

/// Why a body is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// `?run=` cannot be a run's name.
    #[error(transparent)]
    Run(#[from] NameError),
    /// It holds too many events.
    #[error("the body holds more than {} events: send it in parts", limits::BODY_EVENTS_MAX)]
    TooMany,
}

impl Body {
    /// Reads a body, with the run of `?run=` for events that name none.
    ///
    /// # Errors
    /// Nothing of it may be taken, whatever its lines say.
    pub fn read(format: &mut NativeFormat, bytes: &[u8], run: Option<&str>) -> Result<Body, BodyError> {
        let pinned = match run {
            Some(run) => {
                check_name("?run=", run, limits::RUN_NAME_CHARS_MAX)?;
                Some(Name::from(run))
            }
            None => None,
        };
        let (batch, refused) = format.read(bytes, pinned.as_ref(), false);
        if batch.events.len() > limits::BODY_EVENTS_MAX {
            return Err(BodyError::TooMany);
        }
        Ok(Body { batch, refused })
    }

    /// About how much memory the body takes while it is under way, in bytes.
    pub fn weight_bytes(&self) -> usize {
        self.batch.text.len() + self.batch.events.len() * size_of::<Event>()
    }

    /// Offers the body to the engine: how many events were taken, and each line that was not.
    ///
    /// # Errors
    /// Nothing was taken.
    pub async fn offer(self, intake: &dyn Intake) -> Result<Taken, IntakeError> {
        let Body { batch, mut refused } = self;
        let mut taken = Taken::default();
        if !batch.is_empty() {
            taken = intake.ingest(Origin::Http, batch).await?;
        }
        taken.rejected.append(&mut refused);
        taken.rejected.sort_by_key(|refused| refused.line);
        Ok(taken)
    }
}
