//! Alertmanager as Debian has it, told to group nothing and to wait for nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::measure::wall;
use crate::webhook::RUN;

/// One that is not ready by then will not be.
const READY: Duration = Duration::from_secs(20);

/// A running Alertmanager. Killed when it is dropped.
pub struct Alertmanager {
    child: Child,
    listen: SocketAddr,
    _home: tempfile::TempDir,
}

/// The program, where it is installed.
pub fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["prometheus-alertmanager", "alertmanager"];
    let found = std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
    found.into_iter().find(|file| file.is_file())
}

impl Alertmanager {
    /// Starts one that tells the webhook at `url`.
    pub fn start(program: &PathBuf, url: &str) -> Result<Alertmanager> {
        let home = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = home.path().join("alertmanager.yml");
        let text = format!(
            "route: {{ receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1m, repeat_interval: 4h }}\n\
             receivers: [{{ name: hook, webhook_configs: [{{ url: '{url}', send_resolved: false }}] }}]\n"
        );
        fs::write(&config, text)?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", home.path().display()))
            .arg(format!("--web.listen-address={listen}"))
            .args(["--cluster.listen-address=", "--log.level=error"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut started = Alertmanager { child, listen, _home: home };
        let began = wall();
        while started.ask("GET", "/-/ready", "").is_err() {
            if started.child.try_wait()?.is_some() || wall().since(began) > READY {
                bail!("Alertmanager is not ready");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(started)
    }

    /// Gives it an alert of each of these runs, in one request.
    pub fn alert(&self, runs: std::ops::Range<usize>) -> Result<()> {
        let alert = |run| {
            format!(
                r#"{{"labels":{{"alertname":"RunUnhealthy","run":"{RUN}{run}","team":"lab","severity":"critical"}},"annotations":{{"summary":"{RUN}{run} failed: ValueError: the loss is not finite"}}}}"#
            )
        };
        let alerts: Vec<String> = runs.map(alert).collect();
        self.ask("POST", "/api/v2/alerts", &format!("[{}]", alerts.join(",")))
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<()> {
        let mut stream = TcpStream::connect(self.listen)?;
        stream.set_nodelay(true)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "Alertmanager answers: {answer}");
        Ok(())
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
