//! A service over HTTP/2, which can end one answer without its connection: whose failure that counts as.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use h2::{Reason, server};
use http::{HeaderValue, Response};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use wasm_tests::{
    Stack, auth_service_alone,
    corpus::{self, keys::Signer, scripted, tokens},
    speak_http2,
};

/// How the service treats a question about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conduct {
    /// It answers with an identity.
    Vouch,
    /// Its answer has a header of 70 KiB.
    LargeHead,
    /// Its answer has 300 headers.
    ManyHeaders,
    /// It resets the stream.
    Reset(Reason),
    /// It closes the connection.
    HangUp,
    /// It sends GOAWAY and ends the connection.
    GoAway,
}

/// The conducts, by the thousands digit of a token's number.
const CONDUCTS: [Conduct; 9] = [
    Conduct::Vouch,
    Conduct::LargeHead,
    Conduct::ManyHeaders,
    Conduct::Reset(Reason::INTERNAL_ERROR),
    Conduct::Reset(Reason::CANCEL),
    Conduct::Reset(Reason::PROTOCOL_ERROR),
    Conduct::HangUp,
    Conduct::GoAway,
    Conduct::Reset(Reason::REFUSED_STREAM),
];

fn token(conduct: Conduct, number: usize) -> String {
    let kind = CONDUCTS.iter().position(|known| *known == conduct).unwrap();
    scripted::token(1000 * kind + number)
}

/// Starts the service. Returns its address and the count of its questions.
async fn start() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let questions = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&questions);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&counter)));
        }
    });
    (address, questions)
}

/// Answers the requests of one connection until it ends.
async fn serve(stream: TcpStream, questions: Arc<AtomicUsize>) -> Result<(), h2::Error> {
    let mut connection = server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        if request.uri().path() == "/iam/public-key" {
            let key = json!({"public_key": Signer::trusted().public_pem()}).to_string();
            say(respond, Response::new(()), key)?;
            continue;
        }
        questions.fetch_add(1, Ordering::SeqCst);
        let number = request.headers()["authorization"].to_str().ok().and_then(|value| {
            let number = value.strip_prefix("APIKey ")?.split('$').next()?;
            number.parse::<usize>().ok()
        });
        match CONDUCTS[number.unwrap() / 1000] {
            Conduct::HangUp => return Ok(()),
            Conduct::GoAway => connection.abrupt_shutdown(Reason::INTERNAL_ERROR),
            conduct => answer(respond, conduct)?,
        }
    }
    Ok(())
}

fn answer(mut respond: server::SendResponse<Bytes>, conduct: Conduct) -> Result<(), h2::Error> {
    let mut head = Response::new(());
    let headers = head.headers_mut();
    match conduct {
        Conduct::LargeHead => {
            headers.insert("x-large", HeaderValue::from_str(&"x".repeat(70 * 1024)).unwrap());
        }
        Conduct::ManyHeaders => {
            for _ in 0..300 {
                headers.append("x-many", HeaderValue::from_static("x"));
            }
        }
        Conduct::Reset(reason) => {
            respond.send_reset(reason);
            return Ok(());
        }
        _ => {}
    }
    let mut claims = tokens::base();
    claims["token_type"] = json!("api_token");
    say(respond, head, claims.to_string())
}

fn say(mut respond: server::SendResponse<Bytes>, head: Response<()>, body: String) -> Result<(), h2::Error> {
    respond.send_response(head, false)?.send_data(body.into(), true)
}

/// A gateway whose breaker opens at three failures in a row, and which asks about each token once.
async fn gateway() -> (Stack, Arc<AtomicUsize>) {
    let (address, questions) = start().await;
    let mut config = corpus::config();
    config["auth_service"] = json!({"cluster": "auth_service", "timeout": "20s", "retries": 0});
    config["circuit_breaker"] = json!({"failures": 3, "open_for": "1h"});
    let builder = Stack::builder().without_auth_service().replace_config(config).envoy(move |bootstrap| {
        speak_http2(auth_service_alone(bootstrap, address.port()));
    });
    (builder.start().await.unwrap(), questions)
}

/// How often each credential is asked about: as often as it takes failures to open the breaker.
const TIMES: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_breaks_one_answer_is_up_for_the_others() {
    let (stack, _) = gateway().await;
    for (place, conduct) in [
        Conduct::LargeHead,
        Conduct::ManyHeaders,
        Conduct::Reset(Reason::INTERNAL_ERROR),
        Conduct::Reset(Reason::CANCEL),
        Conduct::Reset(Reason::PROTOCOL_ERROR),
    ]
    .into_iter()
    .enumerate()
    {
        for number in 0..TIMES {
            let answer = stack.get("/orders").api_key(&token(conduct, number)).send().await.unwrap();
            assert_eq!(answer.code().as_deref(), Some("auth_service_unavailable"), "{conduct:?}");
        }
        let other = stack.get("/orders").api_key(&token(Conduct::Vouch, place)).send().await.unwrap();
        assert_eq!(other.status, 200, "after {conduct:?}: {}\n{}", other.text(), stack.envoy_log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_loses_connections_or_refuses_streams_is_down() {
    for conduct in [Conduct::HangUp, Conduct::GoAway, Conduct::Reset(Reason::REFUSED_STREAM)] {
        let (stack, questions) = gateway().await;
        for number in 0..TIMES {
            let answer = stack.get("/orders").api_key(&token(conduct, number)).send().await.unwrap();
            assert_eq!(answer.code().as_deref(), Some("auth_service_unavailable"), "{conduct:?}");
        }
        let asked = questions.load(Ordering::SeqCst);
        let other = stack.get("/orders").api_key(&token(Conduct::Vouch, 0)).send().await.unwrap();
        assert_eq!(other.code().as_deref(), Some("auth_service_unavailable"), "{conduct:?}\n{}", stack.envoy_log());
        assert_eq!(questions.load(Ordering::SeqCst), asked, "{conduct:?}: the breaker is open");
    }
}
