//! A person's side of the fake engine.

use std::sync::Mutex;

use async_trait::async_trait;
use jiff::Timestamp;

use super::at;
use crate::domain::command::{Command, Done};
use crate::domain::silence::Silence;
use crate::domain::widening::Forget;
use crate::ports::{OperateError, Operator};

/// An operator that keeps what it is told, and carries all of it out.
#[derive(Default)]
pub(crate) struct FakeOperator {
    /// Every command, in order.
    pub(crate) commands: Mutex<Vec<Command>>,
    /// The silences it has.
    pub(crate) silences: Mutex<Vec<Silence>>,
    /// How the next command is refused.
    pub(crate) refuses: Mutex<Option<OperateError>>,
}

#[async_trait]
impl Operator for FakeOperator {
    async fn operate(&self, command: Command) -> Result<Done, OperateError> {
        if let Some(error) = self.refuses.lock().unwrap().take() {
            return Err(error);
        }
        if let Command::Silence(silence) = &command {
            self.silences.lock().unwrap().push(Silence::clone(silence));
        }
        self.commands.lock().unwrap().push(command);
        Ok(Done { said: "done".to_owned() })
    }

    async fn forget_widening(&self, forget: Forget, by: String) -> Result<Done, OperateError> {
        match self.refuses.lock().unwrap().take() {
            Some(error) => Err(error),
            None => Ok(Done { said: format!("{} forgotten by {by}", forget.run) }),
        }
    }

    async fn silences(&self) -> Result<Vec<Silence>, OperateError> {
        Ok(self.silences.lock().unwrap().clone())
    }

    fn silence_id(&self) -> String {
        format!("s{}", self.silences.lock().unwrap().len() + 1)
    }

    fn now(&self) -> Timestamp {
        at(600.0)
    }
}
