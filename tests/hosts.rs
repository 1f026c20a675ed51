//! One run on several hosts: network and host name namespaces of their own, with a network between
//! them, an engine on one and ranks on the others.

use std::fs::{self, File};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::{GENEROUS, Home, eventually, find_program, python, script, skip};

/// The engine's address, and the network of its hosts: inside namespaces made here, so nobody else's.
const HUB: &str = "10.203.0.1";

/// Hosts that can reach each other, and nothing else. Gone when they are dropped.
struct Network {
    prefix: String,
    hosts: Vec<String>,
}

impl Network {
    /// A hub, and a host of each name; `None`, with the test named as skipped, where none can be made.
    fn make(test: &str, names: &[&str]) -> Option<Network> {
        if find_program("ip").is_none() || find_program("unshare").is_none() {
            skip(test, "ip (iproute2) or unshare (util-linux) is not installed");
            return None;
        }
        let mut network = Network { prefix: format!("rw{}", std::process::id()), hosts: Vec::new() };
        if let Err(why) = network.build(names) {
            skip(test, &format!("no network namespaces can be made here: {why}"));
            return None;
        }
        Some(network)
    }

    fn build(&mut self, names: &[&str]) -> Result<(), String> {
        self.add("hub")?;
        self.within("hub", &["link", "add", "br0", "type", "bridge"])?;
        self.within("hub", &["addr", "add", &format!("{HUB}/24"), "dev", "br0"])?;
        for device in ["lo", "br0"] {
            self.within("hub", &["link", "set", device, "up"])?;
        }
        for (number, name) in (2..).zip(names) {
            self.add(name)?;
            let (hub, host, cable) = (self.namespace("hub"), self.namespace(name), format!("to-{name}"));
            ip(&["-n", &hub, "link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &host])?;
            self.within("hub", &["link", "set", &cable, "master", "br0", "up"])?;
            self.within(name, &["addr", "add", &format!("10.203.0.{number}/24"), "dev", "eth0"])?;
            self.within(name, &["link", "set", "eth0", "up"])?;
        }
        Ok(())
    }

    fn add(&mut self, name: &str) -> Result<(), String> {
        ip(&["netns", "add", &self.namespace(name)])?;
        self.hosts.push(name.to_owned());
        Ok(())
    }

    fn within(&self, name: &str, args: &[&str]) -> Result<(), String> {
        ip(&[&["-n", self.namespace(name).as_str()], args].concat())
    }

    fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// `command` on the host `name`, which calls itself `hostname`.
    fn on(&self, name: &str, hostname: &str, command: &Command) -> Command {
        let mut placed = Command::new("ip");
        placed.args(["netns", "exec", &self.namespace(name), "unshare", "--uts", "sh", "-c"]);
        placed.arg("hostname \"$0\" && exec \"$@\"").arg(hostname).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => placed.env(key, value),
                None => placed.env_remove(key),
            };
        }
        placed.stdin(Stdio::null());
        placed
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            let _gone_already = ip(&["netns", "del", &self.namespace(host)]);
        }
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let Output { status, stderr, .. } = Command::new("ip").args(args).output().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&stderr).trim().to_owned()) }
}

/// A process that ends with the test, however that ends.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

const RANK: &str = r#"
import json, os, socket, sys, urllib.request

rank, pid = int(sys.argv[1]), int(sys.argv[2])
who = {"run": "wide", "rank": rank, "pid": pid, "host": socket.gethostname()}
events = [
    {**who, "type": "run_started", "world_size": 2, "attempt_id": "job-7", "max_steps": 100},
    {**who, "type": "EPOCH_COMPLETED", "step": 10 + rank},
]
body = "\n".join(map(json.dumps, events)).encode()
request = urllib.request.Request(f"http://{sys.argv[3]}/api/v1/events", data=body)
answer = json.load(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20))
assert answer["accepted"] == 2, answer
"#;

#[test]
fn ranks_on_several_hosts_are_one_attempt_and_a_pid_from_afar_is_nobodys_here() {
    let name = "ranks_on_several_hosts_are_one_attempt_and_a_pid_from_afar_is_nobodys_here";
    let (Some(python), Some(network)) = (python(name), Network::make(name, &["a", "b"])) else { return };
    let home = Home::new();
    let config = format!("[engine]\nlisten = \"{HUB}:7171\"\ninsecure = true\n\n[freshness]\nstale = \"1h\"\n");
    let (file, log) = (script(home.path(), "engine.toml", &config), home.path().join("log"));
    let said = File::create(&log).unwrap();
    let serve = home.runwatch(["serve", "-c", file.to_str().unwrap()]);
    let mut serve = network.on("hub", "gpu-head", &serve);
    let _engine = Guarded(serve.stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap());
    eventually("the engine to serve other hosts", GENEROUS, || {
        fs::read_to_string(&log).unwrap().contains(&format!("http://{HUB}:7171")).then_some(())
    });

    // Both ranks say the pid of a process of this very host, and one says this host's name with it.
    let mut bystander = Guarded(Command::new("sleep").arg("600").spawn().unwrap());
    let rank = script(home.path(), "rank.py", RANK);
    for (host, hostname, number) in [("a", "gpu-a", "0"), ("b", "gpu-head", "1")] {
        let mut command = Command::new(&python);
        command.arg(&rank).args([number, &bystander.0.id().to_string(), &format!("{HUB}:7171")]);
        let output = network.on(host, hostname, &command).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let status = || -> Value {
        let status = home.runwatch(["status", "wide", "--json"]);
        let output = network.on("hub", "gpu-head", &status).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let shown = status();
    assert_eq!((&shown["attempt"], &shown["step"]), (&1.into(), &11.into()), "{shown:#}");
    let mut hosts: Vec<_> = shown["members"].as_array().unwrap().iter().map(|member| member["host"].clone()).collect();
    hosts.sort_by_key(Value::to_string);
    assert_eq!(hosts, ["gpu-a", "gpu-head at 10.203.0.3"], "a namesake is told apart");

    bystander.0.kill().unwrap();
    bystander.0.wait().unwrap();
    let after = status();
    assert_eq!((&after["state"], &after["liveness"]["state"]), (&"running".into(), &"unknown".into()), "{after:#}");
}
