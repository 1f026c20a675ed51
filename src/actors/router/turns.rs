//! Whose turn it is: the parts of what changed go one by one, others in between; and while the desk is full
//! everything waits in the order it came, unlooked at, so that what is decided first is written first.
//!
//! What waits here is bounded by who sends it: each has one message under way, and batches of events are
//! answered when what they came to is in the journal.

use std::collections::VecDeque;

use actix::{ActorFutureExt, AsyncContext, Context, ResponseFuture, WrapFuture};
use tokio::sync::oneshot;

use super::Router;

/// Something to look at; it writes one entry at the most.
type Turn = Box<dyn FnOnce(&mut Router, &mut Context<Router>)>;

/// What waits to be looked at.
#[derive(Default)]
pub(super) struct Turns {
    waiting: VecDeque<Turn>,
    /// There was no room for one of them: nothing goes before it.
    held_up: bool,
    /// What is due waits among them.
    late: bool,
}

impl Router {
    /// Whether what comes now has to wait for room on the desk.
    pub(super) fn is_held_up(&self) -> bool {
        self.turns.held_up || !self.desk.has_room()
    }

    /// Acts at once where there is room, before the parts that wait, too; else in turn. `closed` is the answer where
    /// the Router ends before that.
    pub(super) fn when_there_is_room<T: 'static>(
        &mut self,
        closed: T,
        ctx: &mut Context<Self>,
        act: impl FnOnce(&mut Router, &mut Context<Router>) -> ResponseFuture<T> + 'static,
    ) -> ResponseFuture<T> {
        if self.is_held_up() {
            self.turns.held_up = true;
            return self.in_turn(closed, ctx, act);
        }
        act(self, ctx)
    }

    /// Acts behind all that waits.
    pub(super) fn in_turn<T: 'static>(
        &mut self,
        closed: T,
        ctx: &mut Context<Self>,
        act: impl FnOnce(&mut Router, &mut Context<Router>) -> ResponseFuture<T> + 'static,
    ) -> ResponseFuture<T> {
        if self.turns.waiting.is_empty() && self.desk.has_room() {
            return act(self, ctx);
        }
        let (answer, answered) = oneshot::channel();
        let turn = |router: &mut Router, ctx: &mut Context<Router>| {
            let done = act(router, ctx);
            // Who asked may be gone.
            actix_rt::spawn(async move { drop(answer.send(done.await)) });
        };
        self.push(Box::new(turn), ctx);
        Box::pin(async move { answered.await.unwrap_or(closed) })
    }

    /// Acts on each of them behind all that waits, the first at once where nothing does. Between two, others
    /// have their turn: the desk writes the first while the second is looked at.
    pub(super) fn one_by_one<F>(&mut self, acts: impl Iterator<Item = F>, ctx: &mut Context<Self>)
    where
        F: FnOnce(&mut Router, &mut Context<Router>) + 'static,
    {
        let idle = self.turns.waiting.is_empty();
        self.turns.waiting.extend(acts.map(|act| Box::new(act) as Turn));
        if idle {
            self.take_turn(ctx);
        }
    }

    /// What is due is looked at in turn.
    pub(super) fn be_late(&mut self, ctx: &mut Context<Self>) {
        self.turns.held_up = true;
        if !std::mem::replace(&mut self.turns.late, true) {
            let turn = |router: &mut Router, ctx: &mut Context<Router>| {
                router.turns.late = false;
                router.do_what_is_due(ctx);
            };
            self.push(Box::new(turn), ctx);
        }
    }

    fn push(&mut self, turn: Turn, ctx: &mut Context<Self>) {
        self.turns.waiting.push_back(turn);
        if self.turns.waiting.len() == 1 {
            self.go_on(ctx);
        }
    }

    fn take_turn(&mut self, ctx: &mut Context<Self>) {
        if self.desk.has_room()
            && let Some(turn) = self.turns.waiting.pop_front()
        {
            turn(self, ctx);
        }
        if self.turns.waiting.is_empty() {
            self.turns.held_up = false;
        } else {
            self.go_on(ctx);
        }
    }

    /// Takes the next turn, after others had theirs and once there is room.
    fn go_on(&self, ctx: &mut Context<Self>) {
        let room = self.desk.room();
        let next = async move {
            tokio::task::yield_now().await;
            room.await;
        };
        ctx.spawn(next.into_actor(self).map(|(), router, ctx| router.take_turn(ctx)));
    }
}
