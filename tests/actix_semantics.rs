//! What runwatch relies on in actix 0.13, one small test a behaviour, named as a sentence.
//!
//! An update of actix that changes one of these changes what `src/actors/` may assume. Everything
//! runs on tokio's paused clock on one arbiter; nothing here reads a wall clock.

#![allow(clippy::disallowed_methods, reason = "the banned sends and clocks are what is looked at here")]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::poll;
use tokio::time::{Instant, advance, sleep};

/// What happened, in order.
type Book = Rc<RefCell<Vec<String>>>;

/// Runs a test on a paused clock, as the engine's own virtual time does.
fn in_virtual_time<F: Future>(test: F) -> F::Output {
    let paused = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    System::with_tokio_rt(paused).block_on(test)
}

/// An actor that writes down what it is given.
#[derive(Default)]
struct Clerk {
    book: Book,
    timer: Timer,
    armed: Option<SpawnHandle>,
}

/// The timer a clerk arms when it starts.
#[derive(Default, Clone, Copy)]
enum Timer {
    #[default]
    None,
    Once(Duration),
    Rearmed(Duration),
    Interval(Duration),
}

impl Clerk {
    fn write(&self, line: impl Into<String>) {
        self.book.borrow_mut().push(line.into());
    }

    fn arm(&mut self, ctx: &mut Context<Self>, period: Duration, began: Instant) {
        ctx.run_later(period, move |clerk, ctx| {
            clerk.write(format!("tick {}", began.elapsed().as_secs()));
            clerk.arm(ctx, period, began);
        });
    }
}

impl Actor for Clerk {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let began = Instant::now();
        let tick = move |clerk: &mut Self| clerk.write(format!("tick {}", began.elapsed().as_secs()));
        match self.timer {
            Timer::None => {}
            Timer::Once(after) => drop(ctx.run_later(after, move |clerk, _| tick(clerk))),
            Timer::Rearmed(period) => self.arm(ctx, period, began),
            Timer::Interval(period) => drop(ctx.run_interval(period, move |clerk, _| tick(clerk))),
        }
        self.write("started");
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.write("stopped");
    }
}

impl Supervised for Clerk {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.write("restarting");
    }
}

/// Written down at once; answered with nothing.
#[derive(Message)]
#[rtype(result = "()")]
struct Note(&'static str);

/// Sends itself on until it is zero, then is written down.
#[derive(Message)]
#[rtype(result = "()")]
struct Chain(u32);

/// Written down at once; answered after a while.
#[derive(Message)]
#[rtype(result = "()")]
struct Slow(Duration);

/// Arms a timer that [`Cancel`] cancels.
#[derive(Message)]
#[rtype(result = "()")]
struct Cancelled(Duration);

/// Cancels the timer of [`Cancelled`].
#[derive(Message)]
#[rtype(result = "()")]
struct Cancel;

/// Panics in its handler.
#[derive(Message)]
#[rtype(result = "()")]
struct Boom;

/// Stops the actor.
#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

/// Stops the actor as the engine does: an ordinary message behind the work.
#[derive(Message)]
#[rtype(result = "()")]
struct Drain;

impl Handler<Note> for Clerk {
    type Result = ();
    fn handle(&mut self, Note(text): Note, _: &mut Context<Self>) {
        self.write(text);
    }
}

impl Handler<Chain> for Clerk {
    type Result = ();
    fn handle(&mut self, Chain(left): Chain, ctx: &mut Context<Self>) {
        match left {
            0 => self.write("end of chain"),
            _ => ctx.address().do_send(Chain(left - 1)),
        }
    }
}

impl Handler<Cancelled> for Clerk {
    type Result = ();
    fn handle(&mut self, Cancelled(after): Cancelled, ctx: &mut Context<Self>) {
        self.armed = Some(ctx.run_later(after, |clerk, _| clerk.write("fired though cancelled")));
    }
}

impl Handler<Cancel> for Clerk {
    type Result = ();
    fn handle(&mut self, _: Cancel, ctx: &mut Context<Self>) {
        let cancelled = self.armed.take().is_some_and(|armed| ctx.cancel_future(armed));
        self.write(format!("cancelled: {cancelled}"));
    }
}

impl Handler<Slow> for Clerk {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, Slow(span): Slow, _: &mut Context<Self>) -> Self::Result {
        self.write("slow taken");
        let book = self.book.clone();
        Box::pin(async move {
            sleep(span).await;
            book.borrow_mut().push("slow done".to_owned());
        })
    }
}

impl Handler<Boom> for Clerk {
    type Result = ();
    fn handle(&mut self, _: Boom, _: &mut Context<Self>) {
        panic!("boom, on purpose");
    }
}

impl Handler<Stop> for Clerk {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Handler<Drain> for Clerk {
    type Result = ();
    fn handle(&mut self, _: Drain, ctx: &mut Context<Self>) {
        self.write("drained");
        ctx.stop();
    }
}

/// A clerk whose mailbox holds `capacity`, with the one address there is.
fn clerk_with_capacity(capacity: usize) -> (Addr<Clerk>, Book) {
    let clerk = Clerk::default();
    let book = clerk.book.clone();
    let mut ctx = Context::new();
    ctx.set_mailbox_capacity(capacity);
    let addr = ctx.address();
    actix_rt::spawn(ctx.into_future(clerk));
    (addr, book)
}

fn clerk_with_timer(timer: Timer) -> (Addr<Clerk>, Book) {
    let clerk = Clerk { timer, ..Clerk::default() };
    let book = clerk.book.clone();
    (clerk.start(), book)
}

fn clerk() -> (Addr<Clerk>, Book) {
    clerk_with_timer(Timer::None)
}

/// Lets every task that can run do so.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

fn lines(book: &Book) -> Vec<String> {
    book.borrow().clone()
}

/// How many `try_send`s an address takes before its mailbox is full for it.
fn room(addr: &Addr<Clerk>) -> usize {
    (0..1000).take_while(|_| addr.try_send(Note("filler")).is_ok()).count()
}

// ---- capacity and sends ----

#[test]
fn the_capacity_holds_for_one_address_and_every_further_address_brings_room_for_one_more() {
    in_virtual_time(async {
        let (addr, _) = clerk_with_capacity(4);
        assert_eq!(room(&addr), 4);
        assert_eq!(room(&addr), 0, "a full address stays full while the actor does not run");
        let others: Vec<_> = (0..3).map(|_| addr.clone()).collect();
        assert_eq!(others.iter().map(room).sum::<usize>(), 3);
    });
}

#[test]
fn room_comes_back_when_the_actor_has_run() {
    in_virtual_time(async {
        let (addr, _) = clerk_with_capacity(4);
        assert_eq!(room(&addr), 4);
        settle().await;
        assert_eq!(room(&addr), 4);
    });
}

#[test]
fn send_does_not_wait_for_room_a_full_mailbox_takes_it_at_its_first_poll() {
    in_virtual_time(async {
        let (addr, book) = clerk_with_capacity(1);
        let mut requests: Vec<_> = (0..100).map(|_| Box::pin(addr.send(Note("sent")))).collect();
        // One poll each, without giving way to the actor in between; never polled again.
        for request in &mut requests {
            assert!(poll!(request).is_pending(), "the reply cannot be there yet");
        }
        settle().await;
        assert_eq!(lines(&book).iter().filter(|line| *line == "sent").count(), 100);
    });
}

#[test]
fn send_waits_for_the_reply() {
    in_virtual_time(async {
        let (addr, book) = clerk();
        let began = Instant::now();
        addr.send(Slow(Duration::from_secs(7))).await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(7));
        assert_eq!(lines(&book), ["started", "slow taken", "slow done"]);
    });
}

#[test]
fn a_request_that_found_the_mailbox_full_is_not_sent_before_it_is_polled() {
    in_virtual_time(async {
        let (addr, book) = clerk_with_capacity(1);
        let _first = addr.send(Note("first"));
        let second = addr.send(Note("second"));
        settle().await;
        assert_eq!(lines(&book), ["started", "first"]);
        second.await.unwrap();
        assert_eq!(lines(&book), ["started", "first", "second"]);
    });
}

#[test]
fn do_send_ignores_the_capacity() {
    in_virtual_time(async {
        let (addr, book) = clerk_with_capacity(1);
        (0..1000).for_each(|_| addr.do_send(Note("sent")));
        settle().await;
        assert_eq!(lines(&book).iter().filter(|line| *line == "sent").count(), 1000);
    });
}

#[test]
fn do_send_to_a_stopped_actor_is_dropped_without_a_word() {
    in_virtual_time(async {
        let (addr, book) = clerk();
        addr.send(Stop).await.unwrap();
        addr.do_send(Note("lost"));
        settle().await;
        assert_eq!(lines(&book), ["started", "stopped"]);
        assert_eq!(addr.send(Note("refused")).await, Err(MailboxError::Closed));
    });
}

#[test]
fn dropping_a_request_cancels_a_message_that_was_not_handled() {
    in_virtual_time(async {
        let (addr, book) = clerk();
        drop(addr.send(Note("never seen")));
        addr.send(Note("seen")).await.unwrap();
        assert_eq!(lines(&book), ["started", "seen"]);
    });
}

#[test]
fn a_request_that_timed_out_may_have_been_handled() {
    in_virtual_time(async {
        let (addr, book) = clerk();
        let answer = addr.send(Slow(Duration::from_secs(60))).timeout(Duration::from_secs(1)).await;
        assert_eq!(answer, Err(MailboxError::Timeout));
        sleep(Duration::from_secs(60)).await;
        assert_eq!(lines(&book), ["started", "slow taken", "slow done"]);
    });
}

// ---- handlers ----

#[test]
fn a_response_future_does_not_block_the_mailbox_and_its_reply_comes_after() {
    in_virtual_time(async {
        let (addr, book) = clerk();
        let slow = addr.send(Slow(Duration::from_secs(5)));
        addr.send(Note("quick")).await.unwrap();
        assert_eq!(lines(&book), ["started", "slow taken", "quick"]);
        slow.await.unwrap();
        assert_eq!(lines(&book), ["started", "slow taken", "quick", "slow done"]);
    });
}

#[test]
fn a_response_future_outlives_its_actor() {
    in_virtual_time(async {
        let (addr, book) = clerk();
        let slow = addr.send(Slow(Duration::from_secs(5)));
        addr.send(Stop).await.unwrap();
        slow.await.unwrap();
        assert_eq!(lines(&book), ["started", "slow taken", "stopped", "slow done"]);
    });
}

#[test]
fn messages_starve_timers_until_the_mailbox_is_empty() {
    in_virtual_time(async {
        let (addr, book) = clerk_with_timer(Timer::Once(Duration::from_secs(1)));
        settle().await;
        addr.do_send(Chain(10_000));
        // The timer is due before the actor runs again, and still comes last.
        advance(Duration::from_secs(2)).await;
        settle().await;
        assert_eq!(lines(&book), ["started", "end of chain", "tick 2"]);
    });
}

#[test]
fn started_runs_later_than_start() {
    in_virtual_time(async {
        let (_addr, book) = clerk();
        assert!(lines(&book).is_empty(), "a capacity set in started would be too late for a first burst");
        settle().await;
        assert_eq!(lines(&book), ["started"]);
    });
}

// ---- timers and the clock ----

#[test]
fn run_interval_bursts_after_a_stall() {
    in_virtual_time(async {
        let (_addr, book) = clerk_with_timer(Timer::Interval(Duration::from_secs(1)));
        settle().await;
        advance(Duration::from_secs(60)).await;
        settle().await;
        let ticks = lines(&book).split_off(1);
        assert_eq!(ticks, vec!["tick 60"; 60], "sixty ticks at one moment");
    });
}

#[test]
fn run_later_rearmed_in_its_own_callback_does_not_burst() {
    in_virtual_time(async {
        let (_addr, book) = clerk_with_timer(Timer::Rearmed(Duration::from_secs(1)));
        settle().await;
        advance(Duration::from_secs(60)).await;
        settle().await;
        assert_eq!(lines(&book), ["started", "tick 60"]);
    });
}

#[test]
fn a_paused_clock_drives_run_later_to_the_second_through_a_night_of_eight_hours() {
    in_virtual_time(async {
        let (_addr, book) = clerk_with_timer(Timer::Rearmed(Duration::from_secs(60)));
        settle().await;
        sleep(Duration::from_secs(8 * 3600)).await;
        let ticks: Vec<_> = (1..=480).map(|minute| format!("tick {}", minute * 60)).collect();
        assert_eq!(lines(&book).split_off(1), ticks);
    });
}

#[test]
fn sleep_steps_through_timers_where_advance_takes_them_in_one() {
    let ticks = |advancing: bool| {
        in_virtual_time(async {
            let (_addr, book) = clerk_with_timer(Timer::Rearmed(Duration::from_secs(1)));
            settle().await;
            match advancing {
                true => advance(Duration::from_secs(3)).await,
                false => sleep(Duration::from_secs(3)).await,
            }
            settle().await;
            lines(&book).split_off(1)
        })
    };
    assert_eq!(ticks(false), ["tick 1", "tick 2", "tick 3"]);
    assert_eq!(ticks(true), ["tick 3"]);
}

#[test]
fn a_paused_clock_runs_ahead_of_a_thread_it_cannot_see() {
    in_virtual_time(async {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let (go, gone) = std::sync::mpsc::sync_channel::<()>(1);
        let thread = std::thread::spawn(move || {
            gone.recv().unwrap();
            answer.send(()).unwrap_err();
        });
        // Virtual time therefore means no threads and no sockets: an hour "passes" at once.
        assert!(tokio::time::timeout(Duration::from_secs(3600), answered).await.is_err());
        go.send(()).unwrap();
        thread.join().unwrap();
    });
}

#[test]
fn a_paused_clock_does_not_reach_another_arbiter() {
    in_virtual_time(async {
        let arbiter = Arbiter::new();
        let (report, reported) = tokio::sync::oneshot::channel();
        let began = Instant::now();
        sleep(Duration::from_secs(24 * 3600)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(24 * 3600));
        assert!(arbiter.spawn(async move { report.send(began.elapsed()).unwrap() }));
        let elsewhere = reported.await.unwrap();
        assert!(
            elsewhere < Duration::from_secs(24 * 3600),
            "the other arbiter's clock is the machine's: {elsewhere:?}"
        );
        arbiter.stop();
        arbiter.join().unwrap();
    });
}

// ---- the end of an actor ----

#[test]
fn a_panic_in_a_handler_closes_the_mailbox_and_siblings_live() {
    in_virtual_time(async {
        let (addr, _) = clerk();
        let (sibling, book) = clerk();
        assert_eq!(addr.send(Boom).await, Err(MailboxError::Closed));
        assert!(!addr.connected());
        assert_eq!(addr.send(Note("lost")).await, Err(MailboxError::Closed));
        sibling.send(Note("alive")).await.unwrap();
        assert_eq!(lines(&book), ["started", "alive"]);
    });
}

#[test]
fn stopped_runs_after_a_panic_on_whatever_state_is_left() {
    in_virtual_time(async {
        let (addr, book) = clerk();
        assert_eq!(addr.send(Boom).await, Err(MailboxError::Closed));
        settle().await;
        assert_eq!(lines(&book), ["started", "stopped"]);
    });
}

#[test]
fn the_join_handle_of_a_context_future_tells_a_panic_from_an_end() {
    in_virtual_time(async {
        let end_by = |message: Recipient<Note>| drop(message);
        let ctx = Context::new();
        let addr = ctx.address();
        let panicked = actix_rt::spawn(ctx.into_future(Clerk::default()));
        assert_eq!(addr.send(Boom).await, Err(MailboxError::Closed));
        assert!(panicked.await.unwrap_err().is_panic());

        let ctx = Context::new();
        let addr: Addr<Clerk> = ctx.address();
        let ended = actix_rt::spawn(ctx.into_future(Clerk::default()));
        settle().await;
        end_by(addr.recipient());
        ended.await.unwrap();
    });
}

#[test]
fn a_supervisor_does_not_restart_after_a_panic() {
    in_virtual_time(async {
        let book = Book::default();
        let kept = book.clone();
        let addr = Supervisor::start(move |_| Clerk { book: kept, ..Clerk::default() });
        assert_eq!(addr.send(Boom).await, Err(MailboxError::Closed));
        assert_eq!(addr.send(Note("lost")).await, Err(MailboxError::Closed));
        assert!(!lines(&book).contains(&"restarting".to_owned()));
    });
}

#[test]
fn a_supervisor_restarts_after_a_stop_and_at_once() {
    in_virtual_time(async {
        let book = Book::default();
        let kept = book.clone();
        let began = Instant::now();
        let addr = Supervisor::start(move |_| Clerk { book: kept, ..Clerk::default() });
        addr.send(Stop).await.unwrap();
        addr.send(Note("alive")).await.unwrap();
        assert_eq!(lines(&book), ["started", "stopped", "restarting", "started", "alive"]);
        assert_eq!(began.elapsed(), Duration::ZERO, "no back-off");
    });
}

#[test]
fn stop_drops_what_is_queued() {
    in_virtual_time(async {
        let (addr, book) = clerk();
        let stop = addr.send(Stop);
        let queued = addr.send(Note("lost"));
        stop.await.unwrap();
        assert_eq!(queued.await, Err(MailboxError::Closed));
        assert_eq!(lines(&book), ["started", "stopped"]);
    });
}

#[test]
fn stop_cancels_timers() {
    in_virtual_time(async {
        let (addr, book) = clerk_with_timer(Timer::Once(Duration::from_secs(1)));
        addr.send(Stop).await.unwrap();
        sleep(Duration::from_secs(2)).await;
        assert_eq!(lines(&book), ["started", "stopped"]);
    });
}

#[test]
fn a_timer_cancelled_when_it_is_due_fires_all_the_same() {
    in_virtual_time(async {
        let (addr, book) = clerk();
        addr.send(Cancelled(Duration::from_secs(1))).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        addr.send(Cancel).await.unwrap();
        addr.send(Note("behind")).await.unwrap();
        assert!(lines(&book).contains(&"fired though cancelled".to_owned()), "{:?}", lines(&book));
    });
}

#[test]
fn a_drain_message_comes_behind_the_work_that_was_sent_before_it() {
    in_virtual_time(async {
        let (addr, book) = clerk();
        let work = [addr.send(Note("one")), addr.send(Note("two"))];
        let drain = addr.send(Drain);
        let late = addr.send(Note("late"));
        drain.await.unwrap();
        for request in work {
            request.await.unwrap();
        }
        assert_eq!(late.await, Err(MailboxError::Closed));
        assert_eq!(lines(&book), ["started", "one", "two", "drained", "stopped"]);
    });
}

#[test]
fn an_actor_without_addresses_lives_on_while_a_timer_is_armed() {
    in_virtual_time(async {
        let (addr, book) = clerk_with_timer(Timer::Once(Duration::from_secs(60)));
        drop(addr);
        sleep(Duration::from_secs(61)).await;
        assert_eq!(lines(&book), ["started", "tick 60", "stopped"]);
    });
}

#[test]
fn stopping_the_system_drops_work_in_flight() {
    /// Tells of its own end.
    struct Guard(Rc<Cell<bool>>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let (dropped, finished) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (guard, done) = (Guard(dropped.clone()), finished.clone());
    let paused = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let system = System::with_tokio_rt(paused);
    system.block_on(async {
        actix_rt::spawn(async move {
            let _guard = guard;
            sleep(Duration::from_secs(1)).await;
            done.set(true);
        });
        tokio::task::yield_now().await;
        System::current().stop();
    });
    system.run().unwrap();
    assert!(dropped.get() && !finished.get());
}
