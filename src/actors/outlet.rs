//! The only sends in the program.
//!
//! `hand_over` is reliable: the message is in the receiver's mailbox when the call returns, in the
//! order of calls, and the future resolves with the receiver's answer. One long-lived outlet stands
//! for one producer: actix counts capacity per address, so nothing is cloned per message.

use std::future::Future;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};

use crate::ports::IntakeError;

/// A way to one receiver.
pub struct Outlet<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    recipient: Recipient<M>,
}

/// The receiver is gone: the engine is stopping, or about to be built anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiver is gone")]
pub struct Closed;

impl From<Closed> for IntakeError {
    fn from(_: Closed) -> IntakeError {
        IntakeError::Closed
    }
}

impl<M> Outlet<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    /// An outlet to an actor.
    pub fn to<A>(addr: &Addr<A>) -> Outlet<M>
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        Outlet { recipient: addr.clone().recipient() }
    }

    /// Hands the message over: it is in the mailbox when this returns, and has been taken when the
    /// future resolves. Dropping the future before that may take the message back.
    pub fn hand_over(&self, message: M) -> impl Future<Output = Result<M::Result, Closed>> + Send + 'static + use<M> {
        let sent = self.recipient.send(message);
        async move { sent.await.map_err(|_| Closed) }
    }
}

impl<M> Clone for Outlet<M>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Outlet { recipient: self.recipient.clone() }
    }
}
