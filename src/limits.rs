//! Every bound in the program, and why it has that value.
//!
//! Memory, added up at the limits: events in flight 64 batches × 1 MiB text + 1024 × ~250 B ≈ 80 MiB;
//! environments 1 000 000 × ~100 B ≈ 100 MB; runs 10 000 × ~2 KiB ≈ 20 MB; outbox in memory
//! 64 sinks × 512 × ~2 KiB ≈ 64 MiB. What a bound refuses is counted and answered; what is held stays.

use std::time::Duration;

/// A line of telemetry (contract: 256 KiB). A metrics line is under 10 KiB; the rest is tracebacks.
pub const LINE_BYTES_MAX: usize = 256 * 1024;
/// The body of one POST: a thousand large lines.
pub const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Events in the body of one POST: 262 144 × ~270 B ≈ 70 MB, five times the largest body of ordinary lines.
pub const BODY_EVENTS_MAX: usize = 256 * 1024;
/// Bodies of POSTs and the events read from them, in memory at once: the largest body fits when it
/// is alone (32 MiB compressed, 32 MiB text, 70 MB events). Beyond it HTTP answers 429.
pub const BODY_BYTES_IN_FLIGHT_MAX: usize = 192 * 1024 * 1024;
/// How long a sender may take over one body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Refused lines listed in one answer; the rest is counted.
pub const REFUSALS_LISTED_MAX: usize = 1000;
/// Incidents listed in one answer, newest first.
pub const INCIDENTS_LISTED_MAX: usize = 1000;
/// Levels of objects and arrays in one event, its own object included. Metrics nest three deep; a
/// decoder that recurses is safe to twice this.
pub const NESTING_MAX: u32 = 64;
/// Names a reader keeps for sharing, of each kind; one that meets more starts over.
pub const NAMES_KEPT_MAX: usize = 512;
/// The longest lease or bound that an event may ask for: ten years, far from any overflow.
pub const SPAN_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Events handed on in one message: large enough that an actor hop costs under 10 ns an event.
pub const BATCH_EVENTS_MAX: usize = 1024;
/// Batches under way in the engine at once; beyond it HTTP answers 429 and sockets wait.
pub const BATCHES_IN_FLIGHT_MAX: usize = 64;
/// Characters in a run's name (contract).
pub const RUN_NAME_CHARS_MAX: usize = 200;
/// Characters in the name of a type, group, phase, thread or host.
pub const NAME_CHARS_MAX: usize = 200;
/// Runs held. A lab has hundreds; past this a sender is inventing names.
pub const RUNS_MAX: usize = 10_000;
/// Environments held over all runs.
pub const ENVS_MAX: usize = 1_000_000;
/// Types of events held per run.
pub const SERIES_PER_RUN_MAX: usize = 256;
/// Groups held per run.
pub const GROUPS_PER_RUN_MAX: usize = 64;
/// Members held per run.
pub const MEMBERS_PER_RUN_MAX: usize = 4096;
/// How long a name is held for a process that is about to begin under it: `run` begins it at once.
pub const NAME_HELD: Duration = Duration::from_secs(10);
/// Named threads watched per run.
pub const THREADS_PER_RUN_MAX: usize = 256;
/// Labels per run, and characters in a label's value.
pub const LABELS_PER_RUN_MAX: usize = 64;
/// Characters in a label's value.
pub const LABEL_CHARS_MAX: usize = 1024;
/// Bytes kept of a run's last event as evidence.
pub const LAST_EVENT_BYTES_MAX: usize = 4096;
/// Characters kept of an error or traceback as evidence: its end is what tells.
pub const TRACEBACK_CHARS_MAX: usize = 4000;
/// Alerts kept in a run's verdict and incident, the worst of them; the count is told in words. Without
/// it every further env that falls silent would cost as much as all before it together.
pub const ALERTS_KEPT_MAX: usize = 256;
/// Alerts listed in one notification; the count is told in words.
pub const ALERTS_LISTED_MAX: usize = 50;
/// Deliveries a sink holds in memory; the rest waits in the journal.
pub const OUTBOX_PER_SINK_MAX: usize = 256;
/// Deliveries of a sink that were settled while the journal does not know: beyond it no more is read from
/// the journal. Some hundred bytes each; more than a burst of a thousand.
pub const SETTLEMENTS_PER_SINK_MAX: usize = 4096;
/// How long the word of a delivery that was taken may wait while there is more to tell. A kill within this
/// time has it sent again, under the same id.
pub const SETTLEMENTS_WAIT: Duration = Duration::from_millis(250);
/// Settlements that are handed on at once: some milliseconds of the journal's time.
pub const SETTLEMENTS_TOGETHER: usize = 256;
/// Deliveries recovered for a sink that wait for a time: a night's warnings of many runs, apart from
/// those that may go at once so that they take no place of theirs.
pub const OUTBOX_HELD_PER_SINK_MAX: usize = 1024;
/// Deliveries a sink holds in memory that wait for a time, as in quiet hours: a night's worth of a team.
/// The rest waits in the journal.
pub const HELD_PER_SINK_MAX: usize = 256;
/// Incidents whose end a sink is known to have told: what of them comes late, by way of another sink, is not
/// told behind it. Far more than wait for a sink; 64 × 1024 × ~150 B ≈ 10 MB.
pub const ENDED_PER_SINK_MAX: usize = 1024;
/// Notifications told as one digest: more than a person reads, and a body of some hundred KiB.
pub const DIGEST_MESSAGES_MAX: usize = 50;
/// One delivery, whatever the sink does.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that a template makes of one text: the plain ones are under 1 KiB, and chat cuts at 3000 characters.
pub const TEMPLATE_OUTPUT_BYTES_MAX: usize = 4096;
/// What one template may do: an instruction, or 64 bytes of text. The longest that makes sense, a line for
/// each of 50 alerts, takes about 1000.
pub const TEMPLATE_FUEL: u64 = 20_000;
/// Connections on the unix socket at once.
pub const CONNECTIONS_MAX: usize = 1024;
/// Run facts are written this often while they change: what a crash may lose of "last seen".
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
/// Between two beats of the engine's thread: how late one comes tells how late everything is.
pub const PULSE_INTERVAL: Duration = Duration::from_millis(500);
/// A beat this late means that we did not run: the machine slept, or we were stopped. Silence in that
/// time is ours, not the runs'.
pub const PULSE_GAP: Duration = Duration::from_secs(2);
/// From this lateness on the engine is not ready: a bound of 5 s would be told at twice its time.
pub const SCHEDULER_LATE: Duration = Duration::from_secs(5);
/// A stage, or the journal, that does not answer within this time does not answer.
pub const SELF_ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The journal is told this often that we live, so that a quiet night is not taken for an absence.
pub const ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// From this length on our own absence is told: three beats of the journal, and longer than a restart takes.
pub const BLIND_TOLD: Duration = Duration::from_secs(60);
/// A journal that took nothing for this long is cause enough to be started anew by the service manager.
pub const JOURNAL_DOWN: Duration = Duration::from_secs(60);
/// Between two looks at ourselves for the service manager's status line, where it asks for no watchdog.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// One ping to the outside: the service that is pinged waits for minutes, so that this is ample.
pub const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest time between two pings: more often no service wants to hear of us.
pub const PING_INTERVAL_MIN: Duration = Duration::from_secs(5);
/// An answer that waits for the journal waits for so long: whoever asks is told then, and is not held up by
/// a full disk. Less than clients wait.
pub const WRITTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Commands of people under way in the engine at once: as each waits for the journal, more are refused.
pub const COMMANDS_IN_FLIGHT_MAX: usize = 64;
/// Mailbox capacity of an actor: more than the batches under way, so that none ever waits for room.
pub const MAILBOX_MESSAGES_MAX: usize = 128;
/// Bytes a telemetry reader asks for at once: the socket outruns the parser at this size already.
pub const READ_BYTES: usize = 64 * 1024;

/// Requests that wait for the journal's writer or reader, each (~5 KiB an entry, 5 MiB in all);
/// beyond it the callers wait.
pub const JOURNAL_REQUESTS_MAX: usize = 1024;
/// Entries written in one transaction: they share one fsync, so that its cost is small beside theirs
/// already, and more would only make the first of them wait longer.
pub const JOURNAL_GROUP_MAX: usize = 64;
/// How long closed incidents, settled deliveries and transitions are kept: a quarter's history.
pub const JOURNAL_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// Rows kept of each kind of history, however young: a chatty year cannot fill the disk. The largest
/// are deliveries, 200 000 × ~3 KiB ≈ 600 MB. What is open is never dropped.
pub const JOURNAL_ROWS_MAX: usize = 200_000;
/// Rows of each kind in one answer of the ledger, the newest: 10 000 × ~3 KiB ≈ 30 MB.
pub const LEDGER_ROWS_MAX: usize = 10_000;
/// How long before an incident opened the ledger looks for what led to it.
pub const LEDGER_BEFORE: Duration = Duration::from_secs(3600);
/// Lines of each kind on a report's page; the rest is counted there, and told in its JSON.
pub const REPORT_LINES_MAX: usize = 15;
/// Characters of a report's page in a message: what chats take without cutting it.
pub const REPORT_CHARS_MAX: usize = 2500;
/// The longest time one scheduled report tells of, after an engine was gone for longer.
pub const REPORT_SPAN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How far back a report reaches that does not say: a night.
pub const REPORT_SINCE: Duration = Duration::from_secs(12 * 3600);
/// Deliveries listed in one answer, newest first.
pub const DELIVERIES_LISTED_MAX: usize = 1000;
/// Old rows are looked for once in so many commits, so that looking is cheap beside the commits.
pub const JOURNAL_PRUNE_COMMITS: u64 = 256;
/// Old rows removed from each table at once: at least these, and twice what was written since where
/// that is more, so that dropping keeps up.
pub const JOURNAL_PRUNE_ROWS: usize = 1024;
/// Unreadable rows kept aside for a person to look at.
pub const JOURNAL_UNREADABLE_MAX: usize = 1000;
/// How long the journal waits for another program (a backup, a `sqlite3` shell) to let go of its file.
pub const JOURNAL_BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// The write-ahead log is cut to this when it is checkpointed, after one large entry made it long.
pub const JOURNAL_WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The write-ahead log is folded into the file once it holds so many rows and nothing waits to be written,
/// or is half as long as it may be: a thousand alarms at once are about as many rows, in some 8 MiB.
pub const JOURNAL_CHECKPOINT_ROWS: usize = 8192;
/// Pages the journal's writer keeps in memory: all that a large entry changes, so that none is written twice.
pub const JOURNAL_CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// How deep evidence may be nested in a stored notification: the JSON reader stops at 128 levels.
pub const EVIDENCE_DEPTH_MAX: usize = 64;
/// Numbered copies of damaged journals kept aside; past it a person has to look.
pub const JOURNAL_SET_ASIDE_MAX: u32 = 1000;
/// A configuration file. A lab of a hundred teams writes some 50 KiB; more is not a configuration.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;
/// Team files of one configuration: a lab has dozens of teams, each read whole at a reload.
pub const TEAM_FILES_MAX: usize = 256;
/// Between two looks at the files of the configuration; a change counts when it is the same at the second.
/// A look costs some microseconds a file.
pub const CONFIG_LOOK: Duration = Duration::from_secs(1);
/// A duration in a configuration file: a year. Past it a unit was mistaken, and sums might overflow.
pub const CONFIG_DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Sinks in one configuration, over all teams: each may hold its part of the outbox in memory.
pub const SINKS_MAX: usize = 64;
/// The path of a unix socket, as `sockaddr_un` has room for it (108 bytes, the last one zero).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Between two looks at a process or thread whose end the kernel cannot announce (TELE-703).
pub const PROBE_INTERVAL: Duration = Duration::from_millis(250);
/// Looks, 10 ms apart, at a zombie whose exit status cannot be read before its parent reaps it: a
/// parent that waits does so within milliseconds, and a death must not be told late for its cause.
pub const EXIT_STATUS_TRIES: usize = 20;
/// A thread that ends while its whole process does is told with it, or after this time: freeing a
/// host's memory takes seconds, and a process that a driver holds for longer has lost it in earnest.
pub const EXITING_PROCESS_WAIT: Duration = Duration::from_secs(60);
/// The longest pause between two looks for what a run's process became: members that began, a group
/// it moved to. Each look reads `/proc` once, so that this costs nothing.
pub const LOOK_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Between two looks at a pid file that names no living process.
pub const PID_FILE_INTERVAL: Duration = Duration::from_millis(500);
/// How long `attach --pid-file` waits for the successor of a process that did not end well: supervisors
/// restart within seconds, and back off to some minutes.
pub const SUCCESSOR_WAIT: Duration = Duration::from_secs(600);
/// Looks, 5 ms apart, at a control group's count of kills for want of memory, where the host's has
/// risen and the group's has not: the kernel counts both within the kill, so this is ample.
pub const OOM_COUNTER_TRIES: usize = 10;
/// A SIGINT explains an end that follows within this time: a trainer that stops gracefully writes
/// its checkpoint first. One that it caught and outlived for longer explains nothing.
pub const CANCEL_WINDOW: Duration = Duration::from_secs(600);
/// Characters kept of a command line: enough for its script and arguments, too few to flood a message.
pub const COMMAND_CHARS_MAX: usize = 2000;
/// Processes that a run left behind, listed in a message; more than a person would look at one by one.
pub const LEFTOVERS_MAX: usize = 32;
/// How long the last lines of a process that has ended may take to be read before its end is judged;
/// its own connections close with it, and only its children can hold one open.
pub const LAST_LINES_WAIT: Duration = Duration::from_secs(1);
/// How long processes that a run left behind may take to go by themselves before they are listed: a
/// worker that saw its parent go is gone within milliseconds.
pub const LEFTOVERS_WAIT: Duration = Duration::from_millis(500);
/// Files followed at once, and files whose mark one run keeps. A look at each costs about 5 µs; each
/// holds a read (64 KiB) while lines come, a line at the most, and nothing while it rests.
pub const FOLLOWED_FILES_MAX: usize = 512;
/// Names looked at in one search for files that match a pattern, or for one that was renamed: past
/// it a pattern begins too high up.
pub const FOLLOW_NAMES_MAX: usize = 100_000;
/// How long the end of a run waits for the files that it wrote to be read to their end: they were
/// read as they grew, so that little is left.
pub const FOLLOW_DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long `run` waits for the engine to write down that its command began or ended (contract: 5 s).
pub const LIFECYCLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long `run` waits at its end for delivery by an engine it carries (contract: 10 s).
pub const FINISH_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a scheduler may take to say why it ended a job: it kills what is left half a minute later.
pub const SCHEDULER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an engine may take to say hello on its socket: it is on this host, so longer is "stuck".
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest pause between two tries to reach an engine that is gone.
pub const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Silences kept: more are written by a program, and one pattern covers many runs.
pub const SILENCES_MAX: usize = 1000;
/// How long a silence or a snooze may last: a year; what is never to be told needs no rule.
pub const SILENCE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long a silence is listed after its end.
pub const SILENCE_LISTED: Duration = Duration::from_secs(24 * 3600);
