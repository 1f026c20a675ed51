//! Reporter. In: time, what the journal holds of it. Out: `ReportMade` to the Router, which writes it
//! down and sends it like everything. It never sends by itself.

use std::sync::Arc;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};

use super::lifecycle::Timer;
use super::outlet::Outlet;
use crate::clock::Clock;
use crate::domain::ledger::{Ledger, LedgerQuery};
use crate::domain::report::Report;
use crate::domain::report_schedule::{ReportDue, ReportSchedule};
use crate::messages::{Drain, ReportMade, TeamsChanged};
use crate::ports::{Journal, JournalError};
use crate::telemetry;

/// Makes each team's report at its time.
pub struct Reporter {
    schedule: ReportSchedule,
    clock: Clock,
    timer: Timer,
    journal: Arc<dyn Journal>,
    /// The journal's own name: the stem of every id.
    name: String,
    router: Outlet<ReportMade>,
}

impl Reporter {
    /// A reporter that reads the journal called `name`.
    pub fn new(
        schedule: ReportSchedule,
        clock: Clock,
        journal: Arc<dyn Journal>,
        name: String,
        router: Outlet<ReportMade>,
    ) -> Reporter {
        Reporter { schedule, clock, timer: Timer::new(clock), journal, name, router }
    }

    fn go_on(&mut self, ctx: &mut Context<Self>) {
        let (due, new) = self.schedule.on_deadline(self.clock.now());
        if !new.is_empty() {
            let begun = self.router.hand_over(ReportMade { deliveries: Vec::new(), reports: new });
            actix_rt::spawn(async move { begun.await.unwrap_or_default() });
        }
        for due in due {
            self.make(due, ctx);
        }
        self.rearm(ctx);
    }

    fn make(&self, due: ReportDue, ctx: &mut Context<Self>) {
        let query = LedgerQuery {
            since: Some(due.since),
            until: Some(due.until),
            team: Some(due.team.clone()),
            ..LedgerQuery::default()
        };
        let journal = self.journal.clone();
        let asked = async move { journal.ledger(query).await };
        ctx.spawn(asked.into_actor(self).map(move |ledger, reporter, ctx| reporter.on_ledger(&due, ledger, ctx)));
    }

    fn on_ledger(&mut self, due: &ReportDue, ledger: Result<Ledger, JournalError>, ctx: &mut Context<Self>) {
        let ledger = match ledger {
            Ok(ledger) => ledger,
            // The schedule says when it is tried again.
            Err(error) => return telemetry::report_not_made(&due.team, &error.to_string()),
        };
        let report = Report::of(&ledger, due.since, due.until, Some(&due.team));
        let deliveries = due.deliveries(&report, &self.name, self.clock.now().utc);
        let (team, until) = (due.team.clone(), due.until);
        let written = self.router.hand_over(ReportMade { deliveries, reports: vec![(team.clone(), until)] });
        ctx.spawn(written.into_actor(self).map(move |written, reporter, ctx| {
            if written.is_ok() {
                reporter.schedule.on_written(&team, until, reporter.clock.now());
                reporter.rearm(ctx);
            }
        }));
    }

    fn rearm(&mut self, ctx: &mut Context<Self>) {
        self.timer.arm(ctx, self.schedule.next_deadline(), |reporter, ctx| {
            reporter.timer.fired();
            reporter.go_on(ctx);
        });
    }
}

impl Actor for Reporter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.go_on(ctx);
    }
}

impl Handler<TeamsChanged> for Reporter {
    type Result = ();

    fn handle(&mut self, message: TeamsChanged, ctx: &mut Context<Self>) {
        self.schedule.reload(&message.0, self.clock.now());
        self.rearm(ctx);
    }
}

impl Handler<Drain> for Reporter {
    type Result = ();

    /// A report that is not made yet is made by the next life.
    fn handle(&mut self, _: Drain, _: &mut Context<Self>) {
        self.schedule = ReportSchedule::default();
    }
}
