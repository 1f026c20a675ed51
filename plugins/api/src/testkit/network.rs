//! The rules for sinks that send by HTTP, against a server that answers by a script.

use std::sync::Arc;
use std::time::Duration;

use super::contract::{Http, PATIENCE, SECRET, check_answer, every_sample_is_answered, open};
use super::recorder::{Recorder, Request, Scripted};
use super::samples::{digests, firing, redelivery, samples};
use crate::sink::{Receipt, Sink, SinkError, SinkType};

/// Runs every rule.
pub(super) async fn assert_network_contract(sink: &SinkType, http: Http) {
    let bench = Bench { sink: *sink, http };
    bench.every_sample_arrives().await;
    bench.one_delivery_is_one_request().await;
    bench.answers_are_told_apart().await;
    bench.retry_after_is_passed_on().await;
    bench.broken_conversations_may_be_retried().await;
    bench.redirects_are_not_followed().await;
    bench.secrets_are_not_echoed().await;
    bench.a_delivery_can_be_given_up().await;
}

struct Bench {
    sink: SinkType,
    http: Http,
}

impl Bench {
    fn ok(&self) -> Scripted {
        Scripted::status(200, self.http.ok_body)
    }

    async fn against(&self, script: Vec<Scripted>) -> (Recorder, Arc<dyn Sink>) {
        let server = Recorder::inspecting(script, self.http.inspect).await;
        let sink = self.open(server.base()).await;
        (server, sink)
    }

    async fn open(&self, base: &str) -> Arc<dyn Sink> {
        let settings = (self.http.settings)(base);
        assert!(settings.contains(SECRET), "the case's settings must hold the kit's secret");
        open(&self.sink, &settings).await.expect("S5: the settings of the case open")
    }

    /// One delivery of a plain notification against one scripted answer.
    async fn answer_to(&self, scripted: Scripted) -> Result<Receipt, SinkError> {
        let (_server, sink) = self.against(vec![scripted.clone()]).await;
        let answer = tokio::time::timeout(PATIENCE, sink.deliver(&firing())).await;
        let answer = answer.unwrap_or_else(|_| panic!("S8: no answer to {scripted:?}"));
        check_answer(&format!("{scripted:?}"), &answer);
        answer
    }

    /// S6, S7: every kind and every hostile text arrives, as JSON, with its delivery id, and the
    /// server has nothing to object to.
    async fn every_sample_arrives(&self) {
        let (server, sink) = self.against(vec![self.ok()]).await;
        every_sample_is_answered(sink.as_ref()).await;
        assert_eq!(server.objections(), Vec::<String>::new(), "S13: the other side's limits");
        let requests = server.requests();
        let expected = samples().len() + digests().len();
        assert_eq!(requests.len(), expected, "S11: one request a delivery, digests included");
        for (request, sample) in requests.iter().zip(samples()) {
            let name = sample.name;
            assert_eq!(request.method, "POST", "S6: {name}");
            let kind = request.header("content-type").unwrap_or_default();
            assert!(kind.starts_with("application/json"), "S6: {name} is sent as {kind}");
            assert!(request.json().is_object(), "S6: {name}");
            assert!(shows(request, &sample.notification.delivery.id), "S7: {name} does not show its delivery id");
        }
        for sample in digests() {
            let (name, digest) = (sample.name, sample.digest);
            let answer = sink.deliver_digest(&digest).await;
            check_answer(name, &answer);
            assert!(answer.is_ok(), "S6: {name}: {answer:?}");
            let last = server.requests().pop().expect("a request");
            assert!(last.json().is_object(), "S6: {name}");
            assert!(shows(&last, &digest.delivery.id), "S7: {name} does not show its delivery id");
        }
        assert_eq!(server.objections(), Vec::<String>::new(), "S13: the other side's limits");
        let again = sink.deliver(&redelivery(&firing())).await;
        assert!(again.is_ok(), "S6: {again:?}");
        let last = server.requests().pop().expect("a request");
        assert!(shows(&last, &firing().delivery.id), "S7: a re-send shows another delivery id");
    }

    /// S11: a sink keeps no queue and retries nothing by itself.
    async fn one_delivery_is_one_request(&self) {
        let (server, sink) = self.against(vec![Scripted::status(503, "down")]).await;
        let answer = sink.deliver(&firing()).await;
        assert!(matches!(answer, Err(SinkError::Retry { .. })), "S8: 503 is {answer:?}");
        assert_eq!(server.requests().len(), 1, "S11: a sink retries nothing by itself");
    }

    /// S8: what may pass is told from what will not.
    async fn answers_are_told_apart(&self) {
        let done = self.answer_to(self.ok()).await;
        assert!(done.is_ok(), "S8: 200 is {done:?}");
        for status in [408, 425, 429, 500, 502, 503, 504] {
            let answer = self.answer_to(Scripted::status(status, "not now")).await;
            assert!(matches!(answer, Err(SinkError::Retry { .. })), "S8: {status} is {answer:?}");
        }
        for status in [400, 405, 413] {
            let answer = self.answer_to(Scripted::status(status, "never")).await;
            assert!(matches!(answer, Err(SinkError::Refused { .. })), "S8: {status} is {answer:?}");
        }
        for status in [401, 403, 404, 410] {
            let answer = self.answer_to(Scripted::status(status, "never")).await;
            assert!(matches!(answer, Err(SinkError::Gone { .. })), "S8: {status} is {answer:?}");
        }
    }

    /// S9: the other side's wish is passed on to the second.
    async fn retry_after_is_passed_on(&self) {
        for seconds in [0, 7, 3600] {
            let answer = self.answer_to(Scripted::too_many(seconds)).await;
            match answer {
                Err(SinkError::Retry { after, .. }) => {
                    assert_eq!(after, Some(Duration::from_secs(seconds)), "S9: Retry-After: {seconds}");
                }
                other => panic!("S9: 429 is {other:?}"),
            }
        }
    }

    /// S8: no answer, or none that can be read, may pass.
    async fn broken_conversations_may_be_retried(&self) {
        for scripted in [Scripted::Garbage, Scripted::Close, Scripted::CutShort(200)] {
            let answer = self.answer_to(scripted.clone()).await;
            assert!(matches!(answer, Err(SinkError::Retry { .. })), "S8: {scripted:?} is {answer:?}");
        }
        let gone = Recorder::start(Vec::new()).await;
        let base = gone.base().to_owned();
        drop(gone);
        // The port is given back when the aborted task is gone.
        tokio::task::yield_now().await;
        let answer = self.open(&base).await.deliver(&firing()).await;
        check_answer("a closed port", &answer);
        assert!(matches!(answer, Err(SinkError::Retry { .. })), "S8: a closed port is {answer:?}");
    }

    /// S12: a redirect would carry the message, and its secrets, to an address nobody configured.
    async fn redirects_are_not_followed(&self) {
        let elsewhere = Recorder::start(vec![self.ok()]).await;
        let location = ("Location", format!("{}/elsewhere", elsewhere.base()));
        for status in [301, 302, 307, 308] {
            let answer = self.answer_to(Scripted::Answer(status, vec![location.clone()], String::new())).await;
            assert!(matches!(answer, Err(SinkError::Refused { .. })), "S12: {status} is {answer:?}");
        }
        assert_eq!(elsewhere.requests().len(), 0, "S12: a redirect was followed");
    }

    /// S4: error pages repeat what they were asked, secrets included.
    async fn secrets_are_not_echoed(&self) {
        for status in [200, 400, 404, 500] {
            // Checked on the way: every answer is searched for the secret.
            let _ = self.answer_to(Scripted::Echo(status)).await;
        }
    }

    /// S10: whoever gives up on a delivery can go on with the next.
    async fn a_delivery_can_be_given_up(&self) {
        let (server, sink) = self.against(vec![Scripted::Silence, self.ok()]).await;
        let message = firing();
        let arrived = async {
            while server.requests().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            answer = sink.deliver(&message) => panic!("S10: an answer from a server that gives none: {answer:?}"),
            () = arrived => {}
        }
        let next = tokio::time::timeout(PATIENCE, sink.deliver(&message)).await;
        let next = next.expect("S10: the sink is stuck after a delivery that was given up");
        assert!(next.is_ok(), "S10: {next:?} after a delivery that was given up");
    }
}

fn shows(request: &Request, id: &str) -> bool {
    request.text().contains(id)
}
