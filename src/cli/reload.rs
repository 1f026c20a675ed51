//! What `serve` does about its configuration while it runs: reads it anew when it is told to or when it
//! changes, has it carried out, and tells what became of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::reload_words;
use crate::app::service::ServiceManager;
use crate::app::{Host, NotOpened};
use crate::clock::Clock;
use crate::config::{self, Config, Environment, Problems, Quarantined, SelfConfig, SinkConfig, Stamp};
use crate::domain::names::Name;
use crate::domain::notice::ConfigNotice;
use crate::plugins::sink_types;
use crate::ports::{ConfigView, TeamFileView};
use crate::telemetry;

/// The configuration of an engine that runs.
pub(super) struct Served {
    file: Option<PathBuf>,
    env: Environment,
    in_force: Config,
    /// The files as they were read last, whatever came of it.
    read: Stamp,
    /// The files as they were looked at last: a change counts once it is at rest.
    seen: Stamp,
    trouble: Option<String>,
    /// What of it could not be opened, so that what worked before goes on.
    not_opened: Vec<NotOpened>,
    needs_restart: Vec<&'static str>,
    manager: Option<Arc<ServiceManager>>,
}

impl Served {
    /// The configuration that the engine was started with.
    pub(super) fn new(
        file: Option<&Path>,
        env: &Environment,
        in_force: Config,
        manager: Option<Arc<ServiceManager>>,
    ) -> Served {
        let read = Stamp::now(file, env, &in_force.include);
        let (file, env, seen) = (file.map(Path::to_owned), env.clone(), read.clone());
        let (trouble, not_opened, needs_restart) = (None, Vec::new(), Vec::new());
        Served { file, env, in_force, read, seen, trouble, not_opened, needs_restart, manager }
    }

    /// Keeps what is good of it, shows it, and tells whose files are broken.
    pub(super) async fn begin(&self, host: &Host) {
        self.keep();
        self.show(host);
        host.tell(self.in_force.quarantined.iter().map(quarantined).collect()).await;
    }

    /// Whether the files changed and are at rest now.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = Stamp::now(self.file.as_deref(), &self.env, &self.in_force.include);
        let is_at_rest = now == self.seen;
        self.seen = now;
        is_at_rest && self.seen != self.read
    }

    /// Reads the configuration anew and has it carried out. What cannot be used changes nothing.
    pub(super) async fn reload(&mut self, host: &Host) {
        if let Some(manager) = &self.manager {
            manager.reloading(Clock::System);
        }
        self.read = Stamp::now(self.file.as_deref(), &self.env, &self.in_force.include);
        match config::load(self.file.as_deref(), &self.env, sink_types()) {
            Ok((config, warnings)) => {
                if !warnings.is_empty() {
                    anstream::eprintln!("{}", warnings.render(true));
                }
                self.take(config, host).await;
            }
            Err(problems) => self.refuse(&problems, host).await,
        }
        self.show(host);
        if let Some(manager) = &self.manager {
            manager.ready();
        }
    }

    async fn take(&mut self, mut config: Config, host: &Host) {
        self.needs_restart = config::needs_restart(&self.in_force, &config);
        if !self.needs_restart.is_empty() {
            telemetry::config_needs_restart(&self.needs_restart.join(", "));
        }
        let old = config::settings(&self.in_force);
        // What was changed but is not in force is compared again by the next reload.
        config.engine = self.in_force.engine.clone();
        let known: Vec<&Quarantined> = self.in_force.quarantined.iter().collect();
        let is_known = |one: &&Quarantined| known.iter().any(|two| (&one.file, &one.error) == (&two.file, &two.error));
        let mut fresh: Vec<ConfigNotice> =
            config.quarantined.iter().filter(|one| !is_known(one)).map(quarantined).collect();
        fresh.extend(reload_words::taken_out(&self.in_force, &config));
        let not_opened = host.reload(&config).await;
        let told: Vec<ConfigNotice> =
            not_opened.iter().filter(|one| !self.not_opened.contains(one)).map(|one| goes_on(one, &config)).collect();
        for one in &not_opened {
            // What is shown is what is in force, and what is written is tried again by the next reload.
            self.go_on(one, &mut config);
        }
        self.not_opened = not_opened;
        let changes = config::differences(&old, &config::settings(&config)).len();
        telemetry::config_reloaded(changes, config.quarantined.len());
        self.in_force = config;
        // The patterns may be others than those by which the files were looked at.
        self.read = Stamp::now(self.file.as_deref(), &self.env, &self.in_force.include);
        self.trouble = None;
        self.keep();
        host.tell(fresh.into_iter().chain(told).collect()).await;
    }

    /// The last good settings of what could not be opened, in the configuration that comes into force.
    fn go_on(&self, one: &NotOpened, config: &mut Config) {
        let Some(key) = &one.sink else {
            config.own = SelfConfig { canary: config.own.canary.take(), ..self.in_force.own.clone() };
            return;
        };
        if let (Some(sink), Some(known)) = (config.sinks.get_mut(key), self.in_force.sinks.get(key)) {
            let (fallback, templates) = (sink.fallback.take(), std::mem::take(&mut sink.templates));
            *sink = SinkConfig { fallback, templates, ..known.clone() };
        }
    }

    async fn refuse(&mut self, problems: &Problems, host: &Host) {
        anstream::eprintln!("{}", problems.render(true));
        let why = problems.first_error();
        telemetry::config_refused(&why);
        // Told once, however often it is read.
        if self.trouble.as_ref() != Some(&why) {
            let said = ConfigNotice {
                teams: None,
                through: Vec::new(),
                summary: "runwatch's configuration is broken; what was in force before stays".to_owned(),
                reason: why.clone(),
                next: "mend it: `runwatch check` shows all that is wrong with it".to_owned(),
            };
            host.tell(vec![said]).await;
        }
        self.trouble = Some(why);
    }

    fn keep(&self) {
        let settings = serde_json::json!(config::settings(&self.in_force)).to_string();
        if let Err(error) = config::keep(&self.in_force, &settings) {
            telemetry::config_not_kept(&error.to_string());
        }
    }

    fn show(&self, host: &Host) {
        host.show(ConfigView {
            settings: config::settings(&self.in_force),
            trouble: self.trouble.clone(),
            quarantined: self.in_force.quarantined.iter().map(view).collect(),
            not_opened: self.not_opened.iter().map(|one| (what(one), one.reason.clone())).collect(),
            needs_restart: self.needs_restart.iter().map(|key| (*key).to_owned()).collect(),
        });
    }
}

fn what(one: &NotOpened) -> String {
    one.sink.as_ref().map_or_else(|| "[self] ping_url".to_owned(), |key| format!("sink {key}"))
}

/// What those are told whom it concerns: the teams that are told through the sink, else all.
fn goes_on(one: &NotOpened, config: &Config) -> ConfigNotice {
    let teams = one.sink.as_ref().map(|key| {
        let own = config.sinks.get(key).and_then(|sink| sink.team.clone());
        own.into_iter().chain(config.teams_of(key).map(|team| team.name.clone())).collect()
    });
    let hint = one.hint.as_ref().map(|hint| format!("{hint}, and reload; ")).unwrap_or_default();
    ConfigNotice {
        teams,
        through: Vec::new(),
        summary: format!("{} cannot be opened as it is configured now; its last good settings go on", what(one)),
        reason: one.reason.clone(),
        next: format!("{hint}after a restart it would be out of work: `runwatch check` shows what is wrong"),
    }
}

fn view(file: &Quarantined) -> TeamFileView {
    TeamFileView {
        file: file.file.display().to_string(),
        teams: file.teams.iter().map(Name::to_string).collect(),
        error: file.error.clone(),
        is_kept: file.is_kept,
    }
}

fn quarantined(file: &Quarantined) -> ConfigNotice {
    telemetry::team_file_quarantined(&file.file.display().to_string(), &file.error, file.is_kept);
    reload_words::quarantined(file)
}
