//! The task that reads one sender's files, in turn.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::batches::Pieces;
use super::file::{Piece, Start, TailFile};
use super::pattern::{Pattern, run_name};
use super::registry::Held;
use super::request::{From, TailAnswer, TailRequest};
use super::trouble::Trouble;
use super::words::BadLines;
use super::{Order, TailDoor};
use crate::domain::event::{Event, EventBatch, Meaning};
use crate::domain::following::Followed;
use crate::domain::names::Name;
use crate::ports::{IntakeError, Origin};

/// The pause between two looks while nothing comes: first and longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// A pattern is looked at again this often.
const SCAN_EVERY: Duration = Duration::from_secs(1);
/// First and longest wait before a batch is offered again to an engine that was full.
const FULL_WAIT: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(200));

/// The engine is stopping, or is built anew: whoever comes back begins at the kept marks.
pub(super) struct Gone;

pub(super) struct Driver {
    door: TailDoor,
    origin: Origin,
    stop: CancellationToken,
    notes: mpsc::Sender<TailAnswer>,
    /// The life of the engine that knows our marks.
    life: u64,
    files: Vec<FollowedFile>,
    patterns: Vec<(Arc<Pattern>, TailRequest)>,
    /// The command whose files these are has begun.
    begun: bool,
    /// Files of a connection that was just lost are waited for.
    patient: bool,
    bad: BadLines,
}

struct FollowedFile {
    file: TailFile,
    pieces: Pieces,
    /// Read only once the command has begun.
    gated: bool,
    /// What the engine is still to be told of its run.
    announce: Option<Followed>,
    told_trouble: Option<Trouble>,
    _held: Held,
}

impl Driver {
    pub(super) fn new(
        door: TailDoor,
        origin: Origin,
        stop: CancellationToken,
        notes: mpsc::Sender<TailAnswer>,
    ) -> Driver {
        let life = door.board.life();
        let (files, patterns, bad) = (Vec::new(), Vec::new(), BadLines::default());
        Driver { door, origin, stop, notes, life, files, patterns, begun: false, patient: true, bad }
    }

    /// Opens the files, answers, and reads until told to leave or the engine is gone.
    pub(super) async fn drive(
        mut self,
        requests: Vec<TailRequest>,
        answer: oneshot::Sender<Vec<TailAnswer>>,
        orders: mpsc::Receiver<Order>,
    ) {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            match self.begin_with(request).await {
                Ok(answered) => answers.push(answered),
                Err(Gone) => return,
            }
        }
        // A connection that did not wait for the answer goes on without it.
        answer.send(answers).unwrap_or_default();
        self.patient = false;
        // The engine's end is told by the end of this task.
        let _gone = self.follow(orders).await;
    }

    async fn follow(&mut self, mut orders: mpsc::Receiver<Order>) -> Result<(), Gone> {
        let mut pause = PAUSE.0;
        let mut scan = timer(SCAN_EVERY);
        let mut report: Option<Pin<Box<Sleep>>> = None;
        self.announce().await?;
        loop {
            let pausing = sleep(pause);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Gone),
                order = orders.recv() => match order {
                    Some(Order::Begin) => self.begun = true,
                    Some(Order::Drain(done)) => {
                        self.drain().await?;
                        done.send(()).unwrap_or_default();
                    }
                    Some(Order::Leave(done)) => {
                        self.leave().await?;
                        done.send(()).unwrap_or_default();
                        return Ok(());
                    }
                    None => return self.leave().await,
                },
                () = &mut scan, if !self.patterns.is_empty() => {
                    self.look_again().await?;
                    scan = timer(SCAN_EVERY);
                }
                () = due(&mut report), if report.is_some() => report = None,
                () = pausing => {}
            }
            let news = self.round(false).await?;
            // More may lie there already: the pause is for those who have read all.
            pause = if news { Duration::ZERO } else { (pause * 2).clamp(PAUSE.0, PAUSE.1) };
            if self.tell_troubles() {
                self.announce().await?;
            }
            if report.is_none() && self.bad.tell(&self.notes) {
                report = Some(timer(BadLines::EVERY));
            }
        }
    }

    /// Takes a request in: what is wrong with it, and which runs it feeds.
    async fn begin_with(&mut self, request: TailRequest) -> Result<TailAnswer, Gone> {
        let answer = TailAnswer::fine(&request.path, Vec::new());
        let path = match request.checked() {
            Ok(path) => path,
            Err(trouble) => return Ok(answer.with(&trouble)),
        };
        if !request.glob {
            let run = request.run.clone().unwrap_or_else(|| run_name(&path, false));
            let added = self.add(path, &run, &request, true).await?;
            let answer = TailAnswer { runs: vec![run], ..answer };
            return Ok(added.map_or(answer.clone(), |trouble| answer.with(&trouble)));
        }
        let pattern = match Pattern::new(&path) {
            Ok(pattern) => Arc::new(pattern),
            Err(trouble) => return Ok(answer.with(&trouble)),
        };
        if let Some(trouble) = Trouble::of_absence(&pattern.base().join("any")) {
            self.patterns.push((pattern, request));
            return Ok(answer.with(&trouble));
        }
        self.patterns.push((pattern, request));
        let place = self.patterns.len() - 1;
        let (runs, trouble) = self.look_at(place, true).await?;
        let answer = TailAnswer { runs, ..answer };
        Ok(trouble.map_or(answer.clone(), |trouble| answer.with(&trouble)))
    }

    /// Follows what the pattern at `place` matches and is not followed yet.
    async fn look_at(&mut self, place: usize, at_first: bool) -> Result<(Vec<String>, Option<Trouble>), Gone> {
        let (mut runs, mut worst) = (Vec::new(), None);
        let Some((pattern, request)) = self.patterns.get(place) else { return Ok((runs, worst)) };
        let request = request.clone();
        let pinned = request.run.clone();
        let pattern = Arc::clone(pattern);
        // Reading folders may take its time.
        let found = tokio::task::spawn_blocking(move || {
            let named = |path: PathBuf| {
                let run = pinned.clone().unwrap_or_else(|| pattern.run_of(&path));
                (path, run)
            };
            pattern.files().into_iter().map(named).collect::<Vec<_>>()
        });
        let found = found.await.map_err(|_| Gone)?;
        for (path, run) in found {
            if self.files.iter().any(|known| known.file.path() == path) {
                continue;
            }
            let trouble = self.add(path, &run, &request, at_first).await?;
            worst = worst.or(trouble);
            if !runs.contains(&run) {
                runs.push(run);
            }
        }
        Ok((runs, worst))
    }

    async fn look_again(&mut self) -> Result<(), Gone> {
        for place in 0..self.patterns.len() {
            self.look_at(place, false).await?;
        }
        self.announce().await
    }

    /// Follows a file; what is wrong with it. One that was not there when its pattern was first
    /// looked at has no history.
    async fn add(
        &mut self,
        path: PathBuf,
        run: &str,
        request: &TailRequest,
        at_first: bool,
    ) -> Result<Option<Trouble>, Gone> {
        let run = Name::from(run);
        let held = match self.door.registry.claim(&run, &path, self.patient).await {
            Ok(held) => held,
            Err(trouble) => {
                // Who was waited for once has not let go.
                self.patient = false;
                return Ok(Some(trouble));
            }
        };
        let shown: Arc<str> = path.to_string_lossy().into();
        let kept = self.door.board.kept_mark(&run, &shown).await.map_err(|_| Gone)?;
        let life: Option<Arc<str>> = request.life.as_deref().map(Arc::from);
        let start = match (request.from, kept) {
            (From::Kept, Some(mark)) => Start::Kept(mark),
            (From::Kept, None) if at_first => Start::History,
            (From::Kept, None) => Start::At(0),
            // Our own mark from before the engine came back.
            (From::Byte(_), Some(mark)) if life.is_some() && mark.life == life => Start::Kept(mark),
            (From::Byte(byte), _) => Start::At(byte),
        };
        let gated = life.is_some();
        let opened = tokio::task::spawn_blocking(move || TailFile::new(path, run, life, start)).await;
        let file = opened.map_err(|_| Gone)?;
        let trouble = file.trouble().cloned();
        self.files.push(FollowedFile {
            file,
            pieces: Pieces::default(),
            gated,
            announce: request.followed(),
            told_trouble: trouble.clone(),
            _held: held,
        });
        Ok(trouble)
    }

    /// Tells the engine of runs that are followed from now on.
    async fn announce(&mut self) -> Result<(), Gone> {
        for place in 0..self.files.len() {
            let followed = &mut self.files[place];
            // A run of a file that cannot be read may be a slip of the pen.
            if followed.file.trouble().is_some() {
                continue;
            }
            let Some(said) = followed.announce.take() else { continue };
            let mark = followed.file.first_mark();
            let event = Event::bare(followed.file.run(), "followed", Meaning::Followed(Box::new(said)));
            self.offer(EventBatch { mark, ..EventBatch::of(event) }).await?;
        }
        Ok(())
    }

    /// Reads every file to its end.
    async fn drain(&mut self) -> Result<(), Gone> {
        self.begun = true;
        self.look_again().await?;
        while self.round(true).await? {}
        Ok(())
    }

    /// Tells the engine of runs that nobody follows any more.
    async fn leave(&mut self) -> Result<(), Gone> {
        let told = self.files.iter().filter(|followed| match followed.gated {
            true => self.begun,
            false => followed.announce.is_none(),
        });
        let runs: BTreeSet<Name> = told.map(|followed| followed.file.run().clone()).collect();
        for run in runs {
            self.offer(EventBatch::of(Event::bare(&run, "unfollowed", Meaning::Unfollowed))).await?;
        }
        Ok(())
    }

    /// One piece of each file, if it has one: whether any had.
    async fn round(&mut self, last: bool) -> Result<bool, Gone> {
        let begun = self.begun;
        let mut files = std::mem::take(&mut self.files);
        let read = tokio::task::spawn_blocking(move || {
            let read = files.iter_mut().enumerate().filter(|(_, followed)| begun || !followed.gated);
            let pieces: Vec<(usize, Piece)> =
                read.filter_map(|(place, followed)| Some((place, followed.file.poll(last)?))).collect();
            (files, pieces)
        });
        let (files, pieces) = read.await.map_err(|_| Gone)?;
        self.files = files;
        let news = !pieces.is_empty();
        for (place, piece) in pieces {
            let followed = &mut self.files[place];
            let (batches, bad) = followed.pieces.read(piece);
            let path = followed.file.path().to_owned();
            self.bad.add(&path, bad);
            for batch in batches {
                let before = batch.mark.as_ref().map_or(0, |mark| mark.lines);
                let refused = self.offer(batch).await?;
                self.bad.add_later(&path, before, refused);
            }
        }
        Ok(news)
    }

    /// Offers a batch until the engine takes it: what it refuses of it.
    async fn offer(&mut self, batch: EventBatch) -> Result<Vec<String>, Gone> {
        let mut wait = FULL_WAIT.0;
        loop {
            // An engine that was built anew knows less than we handed on.
            if self.door.board.life() != self.life {
                return Err(Gone);
            }
            match self.door.intake.ingest(self.origin, batch.clone()).await {
                Ok(taken) => return Ok(taken.rejected.into_iter().map(|refused| refused.error).collect()),
                Err(IntakeError::Full) => tokio::select! {
                    () = self.stop.cancelled() => return Err(Gone),
                    () = sleep(wait) => wait = (wait * 2).min(FULL_WAIT.1),
                },
                Err(IntakeError::Closed) => return Err(Gone),
            }
        }
    }

    /// Tells what keeps files from being read, when that changes; whether it did.
    fn tell_troubles(&mut self) -> bool {
        let mut changed = false;
        for followed in &mut self.files {
            let now = followed.file.trouble().cloned();
            if now == followed.told_trouble {
                continue;
            }
            if let Some(trouble) = &now {
                super::words::tell_trouble(followed.file.path(), trouble, &self.notes);
            }
            followed.told_trouble = now;
            changed = true;
        }
        changed
    }
}

fn timer(after: Duration) -> Pin<Box<Sleep>> {
    Box::pin(sleep(after))
}

async fn due(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}
