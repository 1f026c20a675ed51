//! The door for what people say.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::command::{Command, CommandError, Done};
use crate::domain::silence::Silence;
use crate::domain::widening::Forget;

/// The way to say: what people tell the engine.
#[async_trait]
pub trait Operator: Send + Sync {
    /// Carries out a command. The answer comes when what follows from it is in the journal.
    ///
    /// # Errors
    /// It was not carried out, and nothing of it holds; after [`OperateError::Closed`] that is not known,
    /// and it is to be said again.
    async fn operate(&self, command: Command) -> Result<Done, OperateError>;
    /// Forgets what false alarms taught of a run: its declared bounds hold again.
    ///
    /// # Errors
    /// As of [`Operator::operate`].
    async fn forget_widening(&self, forget: Forget, by: String) -> Result<Done, OperateError>;
    /// Silences that are in force, are to come, or ended within a day, in the order of their ids.
    ///
    /// # Errors
    /// [`OperateError::Closed`]
    async fn silences(&self) -> Result<Vec<Silence>, OperateError>;
    /// The id of the next silence to be made.
    fn silence_id(&self) -> String;
    /// The time by which spans like "for two hours" are counted.
    fn now(&self) -> Timestamp;
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperateError {
    /// It was refused.
    #[error(transparent)]
    Refused(CommandError),
    /// The engine is stopping, or is being built anew: what was asked may not be in its journal.
    #[error("the engine is stopping or is being built anew")]
    Closed,
    /// So many commands wait for the journal that this one was not taken.
    #[error("too many commands wait for the journal: nothing was done")]
    Full,
}

impl From<CommandError> for OperateError {
    fn from(error: CommandError) -> OperateError {
        match error {
            CommandError::Closed => OperateError::Closed,
            refused => OperateError::Refused(refused),
        }
    }
}
