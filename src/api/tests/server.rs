//! The server itself: where it may listen, and how it stops.

use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{Engine, PATIENCE, config, info};
use crate::api::{ApiError, ApiServer};
use crate::sources::fakes::FakeIntake;

#[tokio::test]
async fn a_port_in_use_and_an_open_address_are_refused_with_what_to_do() {
    let engine = Engine::start(FakeIntake::default());
    let taken = engine.server.addr().to_string();
    for (listen, error, hint) in [
        (
            taken.as_str(),
            format!("cannot listen on {taken}: another program uses the port"),
            "set `[engine] listen` to another port",
        ),
        (
            "0.0.0.0:0",
            "cannot listen on 0.0.0.0:0: only loopback addresses are allowed".to_owned(),
            "reach it from afar by `ssh -L`",
        ),
        ("192.0.2.1:80", "cannot listen on 192.0.2.1:80: only loopback addresses are allowed".to_owned(), "ssh -L"),
    ] {
        let doors = (engine.intake.clone(), engine.board.clone(), engine.operator.clone());
        let refused: ApiError =
            ApiServer::bind(&config(listen), doors.0, doors.1, doors.2, info()).map(|_| ()).unwrap_err();
        assert_eq!(refused.to_string(), error);
        assert!(refused.hint().contains(hint), "{}", refused.hint());
    }
}

#[tokio::test]
async fn a_stop_lets_requests_under_way_end() {
    let engine = Engine::start(FakeIntake { answers: Semaphore::new(0), ..FakeIntake::default() });
    let url = engine.server.url();
    let under_way = tokio::spawn(engine.post("{\"run\":\"r\",\"type\":\"a\"}").send());
    while engine.intake.offers.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let stopped = tokio::spawn(engine.server.stop());
    tokio::time::sleep(Duration::from_millis(50)).await;
    engine.intake.answers.add_permits(1);
    assert_eq!(under_way.await.unwrap().unwrap().status(), StatusCode::OK);
    tokio::time::timeout(PATIENCE, stopped).await.unwrap().unwrap().unwrap();
    assert!(engine.http.get(format!("{url}/healthz")).send().await.is_err());
}

#[tokio::test]
async fn a_client_that_says_nothing_does_not_hold_up_a_stop() {
    let engine = Engine::start(FakeIntake::default());
    let _silent = TcpStream::connect(engine.server.addr()).await.unwrap();
    let mut halfway = TcpStream::connect(engine.server.addr()).await.unwrap();
    halfway
        .write_all(b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
        .await
        .unwrap();
    // One kept-alive connection that is idle, as well.
    assert_eq!(engine.ask(Method::GET, "/healthz").send().await.unwrap().status(), StatusCode::OK);
    tokio::time::timeout(Duration::from_secs(15), engine.server.stop()).await.unwrap().unwrap();
}
