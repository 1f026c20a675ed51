//! LivenessPoller. In: `WatchRequested` from the HealthEvaluator, `Sighted` from its own probe tasks.
//! Out: `ProbesObserved` to the HealthEvaluator. It never decides what a death means.

use std::collections::HashMap;
use std::sync::Arc;

use actix::ActorFutureExt;
use actix::{Actor, AsyncContext, Context, Handler, WrapFuture};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::lifecycle::Timer;
use super::outlet::Outlet;
use crate::clock::Clock;
use crate::domain::change::ProbeObserved;
use crate::domain::liveness::{ProbeTarget, Sighting};
use crate::domain::watching::{LivenessMachine, WatchEffect, WatchId};
use crate::messages::{Drain, Ping, ProbesObserved, Sighted, WatchRequested};
use crate::ports::Probe;

/// Looks at processes and threads, each in a task of its own.
pub struct LivenessPoller {
    machine: LivenessMachine,
    clock: Clock,
    timer: Timer,
    probe: Arc<dyn Probe>,
    io: Handle,
    tasks: HashMap<WatchId, AbortHandle>,
    evaluator: Outlet<ProbesObserved>,
    gathered: Vec<ProbeObserved>,
    under_way: bool,
}

impl LivenessPoller {
    /// A poller whose looks run on `io`.
    pub fn new(clock: Clock, probe: Arc<dyn Probe>, io: Handle, evaluator: Outlet<ProbesObserved>) -> Self {
        LivenessPoller {
            machine: LivenessMachine::default(),
            clock,
            timer: Timer::new(clock),
            probe,
            io,
            tasks: HashMap::new(),
            evaluator,
            gathered: Vec::new(),
            under_way: false,
        }
    }

    fn perform(&mut self, effects: Vec<WatchEffect>, ctx: &mut Context<Self>) {
        for effect in effects {
            match effect {
                WatchEffect::Look { id, target, start_ticks } => self.look(id, target, start_ticks, ctx),
                WatchEffect::Stop(id) => {
                    if let Some(task) = self.tasks.remove(&id) {
                        task.abort();
                    }
                }
                WatchEffect::Report(observed) => self.gathered.push(observed),
            }
        }
        self.pass_on(ctx);
        self.timer.arm(ctx, self.machine.next_deadline(), Self::on_timer);
    }

    /// Passes on what was gathered, one message under way at a time.
    fn pass_on(&mut self, ctx: &mut Context<Self>) {
        if self.under_way || self.gathered.is_empty() {
            return;
        }
        self.under_way = true;
        let handed = self.evaluator.hand_over(ProbesObserved(std::mem::take(&mut self.gathered)));
        ctx.spawn(handed.into_actor(self).map(|_, actor, ctx| {
            actor.under_way = false;
            actor.pass_on(ctx);
        }));
    }

    fn look(&mut self, id: WatchId, target: ProbeTarget, start_ticks: Option<u64>, ctx: &mut Context<Self>) {
        let probe = self.probe.clone();
        let back = Outlet::to(&ctx.address());
        let task = self.io.spawn(watch(probe, id.clone(), target, start_ticks, back));
        if let Some(old) = self.tasks.insert(id, task.abort_handle()) {
            old.abort();
        }
    }

    fn on_timer(&mut self, ctx: &mut Context<Self>) {
        self.timer.fired();
        let effects = self.machine.on_deadline(self.clock.now());
        self.perform(effects, ctx);
    }
}

/// Looks once, then follows what was found to its end.
async fn watch(
    probe: Arc<dyn Probe>,
    id: WatchId,
    target: ProbeTarget,
    start_ticks: Option<u64>,
    back: Outlet<Sighted>,
) {
    let first = probe.look(&target).await;
    // A process that was taken up again must be the one it was.
    let first = match first {
        Sighting::Found { start_ticks: found, .. } if start_ticks.is_some_and(|known| known != found) => {
            Sighting::Ended(crate::domain::liveness::DeathCause::Replaced)
        }
        other => other,
    };
    let found = match first {
        Sighting::Found { start_ticks, id } => Some((start_ticks, id)),
        _ => None,
    };
    if back.hand_over(Sighted { id: id.clone(), sighting: first }).await.is_err() {
        return;
    }
    if let Some((start_ticks, thread_or_pid)) = found {
        let sighting = probe.ended(&target, start_ticks, thread_or_pid).await;
        // A poller that is gone has nobody to tell.
        back.hand_over(Sighted { id, sighting }).await.unwrap_or_default();
    }
}

impl Actor for LivenessPoller {
    type Context = Context<Self>;
}

impl Handler<WatchRequested> for LivenessPoller {
    type Result = ();

    fn handle(&mut self, message: WatchRequested, ctx: &mut Context<Self>) {
        let effects = message.0.into_iter().flat_map(|request| self.machine.on_request(request)).collect();
        self.perform(effects, ctx);
    }
}

impl Handler<Sighted> for LivenessPoller {
    type Result = ();

    fn handle(&mut self, message: Sighted, ctx: &mut Context<Self>) {
        let effects = self.machine.on_sighting(&message.id, message.sighting, self.clock.now());
        self.perform(effects, ctx);
    }
}

impl Handler<Ping> for LivenessPoller {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

impl Handler<Drain> for LivenessPoller {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) {
        for (_, task) in self.tasks.drain() {
            task.abort();
        }
    }
}
