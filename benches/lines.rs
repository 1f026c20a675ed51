//! The telemetry that is sent: ordinary lines of a training run, the same for every way in.

use serde::Deserialize;

/// A line as serde_json reads it into borrowed fields: what any reader of such lines must at least do.
#[derive(Deserialize)]
#[allow(dead_code, reason = "reading them is what is measured")]
pub struct Typed<'a> {
    pub run: &'a str,
    pub r#type: &'a str,
    pub ts: &'a str,
    pub env: u32,
    pub step: u64,
    pub data: TypedData,
}

/// The metrics of a line.
#[derive(Deserialize)]
#[allow(dead_code, reason = "reading them is what is measured")]
pub struct TypedData {
    pub epoch: u32,
    pub val_accuracy: f64,
    pub loss: f64,
}

/// One body of `events` lines for each of `runs` runs, over `envs` environments each.
pub fn bodies(runs: usize, envs: usize, events: usize) -> Vec<Vec<u8>> {
    (0..runs)
        .map(|run| {
            let lines = (0..events).map(|event| {
                format!(
                    concat!(
                        r#"{{"run":"train-{run:03}","type":"EPOCH_COMPLETED","ts":"2030-01-02T03:04:05.{ms:03}Z","#,
                        r#""env":{env},"step":{step},"data":{{"epoch":{epoch},"val_accuracy":71.25,"loss":0.8125}}}}"#,
                        "\n"
                    ),
                    run = run,
                    ms = event % 1000,
                    env = event % envs,
                    step = 1000 + event,
                    epoch = event % 90,
                )
            });
            lines.collect::<String>().into_bytes()
        })
        .collect()
}

/// One short line for each of `envs` environments of `run`, from number `first` on.
pub fn touches(run: &str, first: usize, envs: usize) -> Vec<u8> {
    let line = |env| format!("{{\"run\":\"{run}\",\"type\":\"STEP\",\"env\":{env}}}\n");
    (first..first + envs).map(line).collect::<String>().into_bytes()
}
