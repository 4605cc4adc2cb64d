//! A service over HTTP/2 whose answer about one credential makes Envoy end the connection: what happens to the other
//! requests whose answers were due on it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::{Mutex, Notify},
};
use wasm_tests::{
    Response, Stack, auth_service_alone,
    corpus::{keys::Signer, scripted, tokens},
    frames::{frame, header},
    speak_http2,
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The number of questions before the one whose answer breaks. Their answers are held until then.
const OTHERS: usize = 3;

/// The service. It answers by the order of the questions, so that it needn't read them.
struct Service {
    asked: AtomicUsize,
    broken: Notify,
    head: Vec<(&'static str, String)>,
}

impl Service {
    async fn start(head: Vec<(&'static str, String)>) -> (u16, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let service = Arc::new(Self { asked: AtomicUsize::new(0), broken: Notify::new(), head });
        let shared = Arc::clone(&service);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&shared).serve(connection));
            }
        });
        (port, service)
    }

    async fn serve(self: Arc<Self>, connection: TcpStream) -> std::io::Result<()> {
        let (mut reader, writer) = connection.into_split();
        let writer = Arc::new(Mutex::new(writer));
        reader.read_exact(&mut [0; 24]).await?;
        let mut begin = Vec::new();
        frame(&mut begin, SETTINGS, 0, 0, &[]);
        writer.lock().await.write_all(&begin).await?;
        loop {
            let mut head = [0; 9];
            reader.read_exact(&mut head).await?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap();
            reader.read_exact(&mut vec![0; length]).await?;
            if kind == SETTINGS && flags == 0 {
                let mut taken = Vec::new();
                frame(&mut taken, SETTINGS, 1, 0, &[]);
                writer.lock().await.write_all(&taken).await?;
            } else if kind == HEADERS {
                tokio::spawn(Arc::clone(&self).answer(u32::from_be_bytes(stream), Arc::clone(&writer)));
            }
        }
    }

    async fn answer(self: Arc<Self>, stream: u32, writer: Arc<Mutex<OwnedWriteHalf>>) {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        let mut block = Vec::new();
        header(&mut block, ":status", "200");
        if number < OTHERS {
            self.broken.notified().await;
        } else if number == OTHERS {
            self.head.iter().for_each(|(name, value)| header(&mut block, name, value));
        }
        let mut answer = Vec::new();
        let parts: Vec<&[u8]> = block.chunks(16 * 1024).collect();
        for (index, part) in parts.iter().enumerate() {
            let kind = if index == 0 { HEADERS } else { CONTINUATION };
            frame(&mut answer, kind, if index + 1 == parts.len() { END_HEADERS } else { 0 }, stream, part);
        }
        let mut claims = tokens::base();
        claims["token_type"] = json!("api_token");
        frame(&mut answer, DATA, END_STREAM, stream, claims.to_string().as_bytes());
        // Envoy may have ended the connection.
        drop(writer.lock().await.write_all(&answer).await);
    }
}

/// Asks about the others' credentials, then about the one whose answer breaks. Returns the others' answers.
async fn attack(head: Vec<(&'static str, String)>, http2: Value) -> (Arc<Stack>, Vec<Response>) {
    let (port, service) = Service::start(head).await;
    let key = json!({"public_key": {"pem": [Signer::trusted().public_pem()]}});
    let asked = json!({"cluster": "auth_service", "timeout": "20s", "retries": 0});
    let config = json!({"auth_service": asked, "jwt": key, "cache": {"negative_ttl": "60s"}});
    let builder = Stack::builder().without_auth_service().replace_config(config).envoy(move |bootstrap| {
        let cluster = auth_service_alone(bootstrap, port);
        speak_http2(cluster);
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        cluster["typed_extension_protocol_options"][options]["explicit_http_config"]["http2_protocol_options"] = http2;
    });
    let stack = Arc::new(builder.start().await.unwrap());
    let ask = |number: usize| {
        let stack = Arc::clone(&stack);
        tokio::spawn(async move { stack.get("/orders").api_key(&scripted::token(number)).send().await.unwrap() })
    };
    let others: Vec<_> = (0..OTHERS).map(ask).collect();
    while service.asked.load(Ordering::SeqCst) < OTHERS {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let broken = ask(OTHERS).await.unwrap();
    assert_eq!(broken.code().as_deref(), Some("auth_service_unavailable"));
    service.broken.notify_waiters();
    let mut answers = Vec::new();
    for other in others {
        answers.push(other.await.unwrap());
    }
    (stack, answers)
}

fn heads() -> [Vec<(&'static str, String)>; 3] {
    [("x-user-email", "a\u{1}b".to_owned()), ("content-length", "x".to_owned()), ("x-large", "x".repeat(70 * 1024))]
        .map(|header| vec![header])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_delays_clients_by_a_second_at_most() {
    for head in heads() {
        let (stack, answers) = attack(head.clone(), json!({})).await;
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(answer.code().as_deref(), Some("auth_service_unavailable"), "{:?}", head[0].0);
            assert_eq!(answer.header("retry-after").as_deref(), Some("1"), "{:?}", head[0].0);
            let begin = Instant::now();
            while stack.get("/orders").api_key(&scripted::token(number)).send().await.unwrap().status != 200 {
                assert!(begin.elapsed() < Duration::from_secs(20), "{:?}\n{}", head[0].0, stack.envoy_log());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_connection_per_callout_a_broken_one_affects_no_other() {
    for head in heads() {
        let (stack, answers) = attack(head.clone(), json!({"max_concurrent_streams": 1})).await;
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200; OTHERS], "{:?}\n{}", head[0].0, stack.envoy_log());
    }
}
