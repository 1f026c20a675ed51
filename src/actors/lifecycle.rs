//! Launching, timing and draining of actors.
//!
//! actix drops the handle of a started actor, so a panic in it is silent; `launch` keeps it. One
//! timer per actor is armed from its machine's `next_deadline`, never counted in ticks.

use std::cell::Cell;
use std::rc::Rc;

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
///
/// actix polls what was cancelled once more, so that a timer that is due when it is replaced goes
/// off all the same. Each arming has a number, and only the last one fires: otherwise every such
/// replacement would leave a timer more that arms itself anew for ever.
#[derive(Debug)]
pub struct Timer {
    clock: Clock,
    armed: Option<(Moment, SpawnHandle)>,
    last: Rc<Cell<u64>>,
}

impl Timer {
    /// A timer that is not armed.
    pub fn new(clock: Clock) -> Timer {
        Timer { clock, armed: None, last: Rc::default() }
    }

    /// Arms the timer for `deadline`, in place of what it was armed for; `fire` runs when it comes.
    pub fn arm<A>(&mut self, ctx: &mut Context<A>, deadline: Option<Moment>, fire: fn(&mut A, &mut Context<A>))
    where
        A: Actor<Context = Context<A>>,
    {
        if self.armed.as_ref().map(|(at, _)| *at) == deadline {
            return;
        }
        self.rewind(ctx);
        if let Some(at) = deadline {
            let wait = at.since(self.clock.now().moment);
            let (last, number) = (Rc::clone(&self.last), self.last.get());
            let handle = ctx.run_later(wait, move |actor, ctx| {
                if last.get() == number {
                    fire(actor, ctx);
                }
            });
            self.armed = Some((at, handle));
        }
    }

    /// The clock went on while timers did not: the next arming sets the timer anew.
    pub fn rewind<A>(&mut self, ctx: &mut Context<A>)
    where
        A: Actor<Context = Context<A>>,
    {
        if let Some((_, handle)) = self.armed.take() {
            ctx.cancel_future(handle);
            self.last.set(self.last.get() + 1);
        }
    }

    /// The timer has fired: it may be armed again, for the same moment too.
    pub fn fired(&mut self) {
        self.armed = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix::{Handler, Message};
    use jiff::Timestamp;

    use super::*;

    /// Fires every second from the last message on.
    struct Beat {
        clock: Clock,
        timer: Timer,
        fired: Rc<Cell<u32>>,
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Again;

    impl Beat {
        fn arm(&mut self, ctx: &mut Context<Self>) {
            let next = self.clock.now().moment + Duration::from_secs(1);
            self.timer.arm(ctx, Some(next), |beat, ctx| {
                beat.timer.fired();
                beat.fired.set(beat.fired.get() + 1);
                beat.arm(ctx);
            });
        }
    }

    impl Actor for Beat {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Context<Self>) {
            self.arm(ctx);
        }
    }

    impl Handler<Again> for Beat {
        type Result = ();

        fn handle(&mut self, _: Again, ctx: &mut Context<Self>) {
            self.arm(ctx);
        }
    }

    #[test]
    fn a_timer_replaced_when_it_is_due_does_not_fire() {
        let system = actix_rt::System::with_tokio_rt(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
        });
        system.block_on(async {
            let fired = Rc::new(Cell::new(0));
            let clock = Clock::virtual_from(Timestamp::UNIX_EPOCH);
            let seat = Seat::new();
            let addr = seat.addr.clone();
            let stage = seat.launch("beat", Beat { clock, timer: Timer::new(clock), fired: fired.clone() });
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                addr.send(Again).await.unwrap();
            }
            let replaced = fired.get();
            tokio::time::sleep(Duration::from_millis(10_500)).await;
            assert_eq!(fired.get() - replaced, 10, "one timer, once a second");
            stage.handle.abort();
        });
    }
}
