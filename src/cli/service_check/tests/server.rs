//! A service as docs/reference.md#authentication-service says, except for what a test changes in its answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use crate::cli::service_check::now;
use crate::testing::{Signer, claims};

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub authorization: String,
}

impl Asked {
    pub fn is(&self, begin: &str) -> bool {
        format!("{} {}", self.method, self.path).starts_with(begin)
    }

    pub fn has(&self, part: &str) -> bool {
        self.path.contains(part)
    }
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// Closes the connection instead.
    pub breaks: bool,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, body: body.to_string(), ..Self::default() }
    }

    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    pub fn unauthorized() -> Self {
        Self::json(401, &json!({"error": "Invalid token", "details": "Unknown"}))
    }

    pub fn value(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Changes the answer that a good service gives.
pub type Change = fn(&Asked, Reply) -> Reply;

pub struct Server {
    pub address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(change: Change) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            let mut service = Service::new();
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                answer(&stream.unwrap(), &mut service, change);
            }
        });
        Self { address, ends, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn answer(stream: &TcpStream, service: &mut Service, change: Change) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split(' ');
    let mut asked = Asked {
        method: words.next().unwrap().into(),
        path: words.next().unwrap().into(),
        authorization: String::new(),
    };
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => asked.authorization = value.trim().to_owned(),
            "content-length" => length = value.trim().parse().unwrap(),
            _ => {}
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    let reply = change(&asked, service.reply(&asked));
    if reply.breaks {
        return;
    }
    let mut head =
        format!("HTTP/1.1 {} X\r\nconnection: close\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = stream;
    // The client may have closed the connection already.
    let _ = stream.write_all(format!("{head}\r\n{}", reply.body).as_bytes());
}

/// A service that does everything right.
struct Service {
    access: String,
    refresh: String,
    is_logged_out: bool,
    is_deleted: bool,
}

/// The one API token.
pub fn api_token() -> String {
    format!("24126${}", "mhvv84d1".repeat(16))
}

pub fn of_api_token(changes: Value) -> Value {
    let mut all = json!({"exp": now().as_secs() + 3600, "token_type": "api_token", "token_id": 24126});
    all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims(all)
}

impl Service {
    fn new() -> Self {
        let jwt = |kind, jti| {
            let exp = now().as_secs() + 3600;
            Signer::a().jwt(&claims(json!({"exp": exp, "token_type": kind, "jti": jti})))
        };
        Self { access: jwt("access", "a"), refresh: jwt("refresh", "r"), is_logged_out: false, is_deleted: false }
    }

    fn reply(&mut self, asked: &Asked) -> Reply {
        let (path, _) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        match (asked.method.as_str(), path) {
            ("GET", "/iam/public-key") => Reply::json(200, &json!({"public_key": Signer::a().public().to_pem()})),
            ("GET", "/health") => Reply::text(200, ""),
            ("POST", "/auth/jwt/login") => {
                Reply::json(200, &json!({"access": self.access, "refresh": self.refresh, "expires_in": 3600}))
            }
            ("POST", "/auth/jwt/refresh") => Reply::json(200, &json!({"access": self.access, "expires_in": 3600})),
            ("POST", "/auth/jwt/logout") => {
                self.is_logged_out = true;
                Reply::text(204, "")
            }
            ("POST", "/iam/tokens") => Reply::json(201, &json!({"id": 24126, "token": api_token()})),
            ("GET", "/iam/tokens") => {
                Reply::json(200, &json!({"count": 1, "next": null, "previous": null, "results": [{"id": 24126}]}))
            }
            ("GET", "/iam/tokens/24126") => Reply::json(200, &json!({"id": 24126})),
            ("DELETE", "/iam/tokens/24126") => {
                self.is_deleted = true;
                Reply::text(204, "")
            }
            ("GET", "/auth/verify") => self.verify(asked),
            ("GET", "/auth/blacklist") => self.list(asked),
            _ => Reply::text(404, ""),
        }
    }

    fn verify(&self, asked: &Asked) -> Reply {
        let is_wanted = |kind| asked.path.split(['=', '&', ',']).any(|word| word == kind);
        let claims = if asked.authorization == format!("APIKey {}", api_token())
            && !self.is_deleted
            && is_wanted("apikey")
        {
            of_api_token(json!({}))
        } else if asked.authorization == format!("Bearer {}", self.access) && !self.is_logged_out && is_wanted("jwt") {
            claims(json!({"exp": now().as_secs() + 3600}))
        } else {
            return Reply::unauthorized();
        };
        identity(asked, &claims)
    }

    fn list(&self, asked: &Asked) -> Reply {
        if asked.has("since=") && !asked.has("since=c-1") {
            return Reply::json(400, &json!({"error": "Bad request", "details": "Unknown cursor"}));
        }
        let exp = now().as_secs() + 7200;
        let revoked = if self.is_logged_out { json!([{"jti": "a", "exp": exp}]) } else { json!([]) };
        let purge = if self.is_deleted { json!([{"token_id": 24126}]) } else { json!([]) };
        Reply::json(200, &json!({"cursor": "c-1", "revoked": revoked, "users": [], "purge": purge}))
    }
}

/// The headers of `json_header`, and their claims.
pub const IDENTITY: [(&str, &str); 5] = [
    ("X-User-Id", "user_id"),
    ("X-Client-Id", "client_id"),
    ("X-User-Email", "email"),
    ("X-User-Type", "user_type"),
    ("X-Is-Admin", "is_admin"),
];

/// These claims, in the format that was asked for.
pub fn identity(asked: &Asked, claims: &Value) -> Reply {
    let jwt = || Signer::a().jwt(claims);
    if asked.has("jwt_body") {
        Reply::text(200, jwt())
    } else if asked.has("jwt_header") {
        Reply { status: 200, headers: vec![("Authorization", format!("Bearer {}", jwt()))], ..Reply::default() }
    } else if asked.has("json_header") {
        let value = |name: &str| claims[name].as_str().map_or_else(|| claims[name].to_string(), str::to_owned);
        let headers = IDENTITY.into_iter().filter(|(_, claim)| !claims[*claim].is_null());
        let headers = headers.map(|(header, claim)| (header, value(claim))).collect();
        Reply { status: 200, headers, ..Reply::default() }
    } else {
        Reply::json(200, claims)
    }
}
