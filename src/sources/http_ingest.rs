//! Telemetry by POST, short of HTTP itself: from a body's bytes to the engine's answer.
//!
//! A body goes to the engine as one message, however long it is: so "busy" means that none of it
//! was taken, and the sender may send the same again. What its length costs is bounded where the
//! bytes are read ([`BODY_BYTES_MAX`], [`BODY_BYTES_IN_FLIGHT_MAX`]).
//!
//! [`BODY_BYTES_MAX`]: crate::limits::BODY_BYTES_MAX
//! [`BODY_BYTES_IN_FLIGHT_MAX`]: crate::limits::BODY_BYTES_IN_FLIGHT_MAX

use std::net::IpAddr;

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

/// Who sent a body, as far as the connection shows it.
#[derive(Debug, Clone, Copy)]
pub enum Sender<'h> {
    /// Somebody on this host.
    Here,
    /// Somebody on another host.
    Elsewhere {
        /// That host's address.
        address: IpAddr,
        /// This host's name, which another host may have as well.
        host: &'h Name,
    },
}

impl<'h> Sender<'h> {
    /// The sender at the other end of a connection; `host` is this host's name.
    pub fn at(peer: Option<IpAddr>, host: &'h Name) -> Sender<'h> {
        match peer.map(|peer| peer.to_canonical()) {
            Some(address) if !address.is_loopback() => Sender::Elsewhere { address, host },
            _ => Sender::Here,
        }
    }

    /// Says in every event of another host that it is of that host: a process id from there says
    /// nothing of the process that has it here, whatever name the sender goes by.
    fn sign(self, batch: &mut EventBatch) {
        let Sender::Elsewhere { address, host } = self else { return };
        let unnamed = Name::from(address.to_string());
        let namesake = Name::from(format!("{host} at {address}"));
        for event in &mut batch.events {
            match &event.host {
                None => event.host = Some(unnamed.clone()),
                Some(named) if named == host => event.host = Some(namesake.clone()),
                Some(_) => {}
            }
        }
    }
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
    /// Reads a body, with the run of `?run=` for events that name none, and the host of `sender`
    /// for events of another host.
    ///
    /// # Errors
    /// Nothing of it may be taken, whatever its lines say.
    pub fn read(
        format: &mut NativeFormat,
        bytes: &[u8],
        run: Option<&str>,
        sender: Sender<'_>,
    ) -> Result<Body, BodyError> {
        let pinned = match run {
            Some(run) => {
                check_name("?run=", run, limits::RUN_NAME_CHARS_MAX)?;
                Some(Name::from(run))
            }
            None => None,
        };
        let (mut batch, refused) = format.read(bytes, pinned.as_ref(), false);
        sender.sign(&mut batch);
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
