//! Launching, timing and draining of actors.
//!
//! actix drops the handle of a started actor, so a panic in it is silent; `launch` keeps it. One
//! timer per actor is armed from its machine's `next_deadline`, never counted in ticks.

use actix::dev::ContextFut;
use actix::{Actor, Addr, AsyncContext, Context, SpawnHandle};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::domain::time::Moment;
use crate::limits::MAILBOX_MESSAGES_MAX;

/// A running stage: its name, and how it ended once it has.
pub struct Stage {
    /// The stage's name.
    pub name: &'static str,
    /// Ends when the actor does.
    pub handle: JoinHandle<()>,
}

/// An actor whose address is known before it runs, so that a graph with a loop can be wired.
pub struct Seat<A: Actor<Context = Context<A>>> {
    context: Context<A>,
    /// The address.
    pub addr: Addr<A>,
}

impl<A: Actor<Context = Context<A>>> Seat<A> {
    /// A seat with a mailbox of the house's size.
    pub fn new() -> Seat<A> {
        let mut context = Context::new();
        context.set_mailbox_capacity(MAILBOX_MESSAGES_MAX);
        let addr = context.address();
        Seat { context, addr }
    }

    /// Puts the actor on it.
    pub fn launch(self, name: &'static str, actor: A) -> Stage {
        let running: ContextFut<A, Context<A>> = self.context.into_future(actor);
        Stage { name, handle: actix_rt::spawn(running) }
    }
}

impl<A: Actor<Context = Context<A>>> Default for Seat<A> {
    fn default() -> Self {
        Seat::new()
    }
}

/// An actor's one timer.
#[derive(Debug)]
pub struct Timer {
    clock: Clock,
    armed: Option<(Moment, SpawnHandle)>,
}

impl Timer {
    /// A timer that is not armed.
    pub fn new(clock: Clock) -> Timer {
        Timer { clock, armed: None }
    }

    /// Arms the timer for `deadline`, in place of what it was armed for; `fire` runs when it comes.
    pub fn arm<A>(&mut self, ctx: &mut Context<A>, deadline: Option<Moment>, fire: fn(&mut A, &mut Context<A>))
    where
        A: Actor<Context = Context<A>>,
    {
        if self.armed.as_ref().map(|(at, _)| *at) == deadline {
            return;
        }
        if let Some((_, handle)) = self.armed.take() {
            ctx.cancel_future(handle);
        }
        if let Some(at) = deadline {
            let wait = at.since(self.clock.now().moment);
            self.armed = Some((at, ctx.run_later(wait, fire)));
        }
    }

    /// The timer has fired: it may be armed again, for the same moment too.
    pub fn fired(&mut self) {
        self.armed = None;
    }
}
