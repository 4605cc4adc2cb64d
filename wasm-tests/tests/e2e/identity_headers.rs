//! A client can't set its identity: under every name that the filter sets, the upstream sees the verified value once,
//! or nothing.

use http::Method;
use serde_json::{Value, json};
use wasm_tests::{
    Echo, Stack,
    corpus::{self, tokens},
    plugin,
    upgrades::{allow_websockets, forward_to, upgrading_upstream, values},
};

/// The configured header names, and the values that the corpus' base claims give them.
type Names = &'static [(&'static str, &'static str)];

const DEFAULT: Names = &[
    ("X-User-Id", "7"),
    ("X-Client-Id", "70"),
    ("X-User-Email", "seven@example.com"),
    ("X-User-Type", "common"),
    ("X-Is-Admin", "false"),
];

const RENAMED: Names = &[
    ("Remote-User", "seven"),
    ("x_auth_client", "70"),
    ("X-Groups", "Users"),
    ("X-Role", "viewer"),
    ("X-User-Type", "common"),
];

/// A name as CGI, WSGI and the like fold it: some fold only `-` and `_`, some all but letters and digits.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
}

/// The names that a server behind the gateway may take for the header `name`.
fn twins(name: &str) -> Vec<String> {
    let lower = name.to_ascii_lowercase();
    let dashes = folded(name);
    let one_underscore = dashes.replacen('-', "_", 1);
    let mixed =
        dashes.char_indices().map(|(index, letter)| if index % 2 == 0 { letter.to_ascii_uppercase() } else { letter });
    let mut twins =
        vec![lower.replace('-', "_"), lower.to_uppercase(), dashes.clone(), mixed.collect(), one_underscore, lower];
    twins.extend([".", "!", "~", "+", "|", "'"].map(|other| dashes.replace('-', other)));
    twins.push(dashes.replacen('-', ".", 1));
    twins.sort();
    twins.dedup();
    twins
}

/// All values that arrived under names that fold to the same name.
fn arrived(echo: &Echo, name: &str) -> Vec<String> {
    let same = echo.headers.iter().filter(|header| folded(&header[0]) == folded(name));
    same.map(|header| header[1].clone()).collect()
}

/// Sends every twin of every name, on a private and on a public route, over HTTP/1 and HTTP/2, once and several times,
/// with and without a value that isn't text.
async fn only_the_verified_identity_arrives(config: Value, names: Names) {
    let builder = Stack::builder().config(corpus::config()).config(config).fault(corpus::trusted_key());
    let stack = builder.start().await.unwrap();
    let jwt = tokens::good();
    let values: [&[&[u8]]; 4] = [&[b"1"], &[b"1", b"2"], &[b""], &[b"caf\xe9"]];
    for (name, verified) in names {
        for twin in twins(name) {
            for values in values {
                for path in ["/orders", "/public/page"] {
                    for http2 in [false, true] {
                        // hyper writes every name in lower case. The raw bytes below keep their case.
                        let request = stack.request(Method::GET, path).bearer(&jwt);
                        let request = values.iter().fold(request, |request, value| request.header(&twin, value));
                        let request = if http2 { request.http2() } else { request };
                        let echo = request.send().await.unwrap().upstream().unwrap();
                        let expected: &[&str] = if path == "/orders" { &[verified] } else { &[] };
                        assert_eq!(arrived(&echo, name), expected, "{twin} {values:?} {path} HTTP/2: {http2}");
                    }
                }
            }
        }
    }
    // All twins of a name at once, in the case written here. Envoy accepts 100 headers.
    for (name, verified) in names {
        let all: String = twins(name).iter().map(|twin| format!("{twin}: 1\r\n")).collect();
        for path in ["/orders", "/public/page"] {
            let bytes = format!(
                "GET {path} HTTP/1.1\r\nHost: x\r\n{all}Authorization: Bearer {jwt}\r\n{all}Connection: close\r\n\r\n"
            );
            let answer = corpus::raw(stack.gateway(), bytes.as_bytes()).await.unwrap();
            let echo = answer.upstream().unwrap();
            let expected: &[&str] = if path == "/orders" { &[verified] } else { &[] };
            assert_eq!(arrived(&echo, name), expected, "{name} {path}");
        }
    }
    assert_eq!(stack.scars(&jwt).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_cannot_set_the_default_identity_headers() {
    only_the_verified_identity_arrives(json!({}), DEFAULT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_and_listed_headers_do_not_reach_the_upstream() {
    let builder = Stack::builder().config(corpus::config()).fault(corpus::trusted_key()).envoy(|bootstrap| {
        let config = &mut plugin(&mut bootstrap["static_resources"]["listeners"][0])["configuration"]["value"];
        config["identity_headers"] = json!({"X-Is-Admin": null, "X-Forwarded-User": "email"});
        config["strip_headers"] = json!(["X-Remote-User"]);
    });
    let stack = builder.start().await.unwrap();
    let sent = ["x-is-admin", "x.is.admin", "x-remote-user", "x_remote_user", "x!remote!user", "x-forwarded-user"];
    for path in ["/orders", "/public/page"] {
        let request = stack.get(path).bearer(&tokens::good());
        let request = sent.iter().fold(request, |request, name| request.header(name, "1"));
        let echo = request.header("x-remote", "1").send().await.unwrap().upstream().unwrap();
        for name in ["x-is-admin", "x-remote-user"] {
            assert_eq!(arrived(&echo, name), [""; 0], "{name} {path}");
        }
        let identity: &[&str] = if path == "/orders" { &["seven@example.com"] } else { &[] };
        assert_eq!(arrived(&echo, "x-forwarded-user"), identity, "{path}");
        assert_eq!(arrived(&echo, "x-remote"), ["1"], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_cannot_name_an_identity_header_in_connection() {
    let (port, mut told) = upgrading_upstream().await.unwrap();
    let builder = Stack::builder().config(corpus::config()).fault(corpus::trusted_key()).envoy(move |bootstrap| {
        allow_websockets(bootstrap);
        forward_to(bootstrap, port).unwrap();
    });
    let stack = builder.start().await.unwrap();
    let jwt = tokens::good();
    for (sent, arrives) in [
        ("Upgrade", "Upgrade"),
        ("Upgrade, X-User-Id", "Upgrade"),
        ("x_user_id,Upgrade,X.Client.Id", "Upgrade"),
        ("authorization, upgrade, X-Is-Admin", "upgrade"),
        ("Upgrade, X-Chat", "Upgrade, X-Chat"),
        ("Upgrade\r\nConnection: X-User-Id", "Upgrade"),
    ] {
        let request = format!(
            "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: {sent}\r\nX-Chat: 1\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Authorization: Bearer {jwt}\r\n\r\n"
        );
        let answer = corpus::raw(stack.gateway(), request.as_bytes()).await.unwrap();
        assert_eq!(answer.status, 101, "{sent}: {answer:?}");
        let head = told.recv().await.unwrap();
        assert_eq!(values(&head, "connection"), [arrives], "{sent}");
        assert_eq!((values(&head, "x-user-id"), values(&head, "authorization").len()), (vec!["7"], 1), "{sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_cannot_set_renamed_identity_headers() {
    let names = json!({
        "X-User-Id": null, "X-Client-Id": null, "X-User-Email": null, "X-Is-Admin": null,
        "Remote-User": "username", "x_auth_client": "client_id", "X-Groups": "user_groups", "X-Role": "role_params.role",
    });
    only_the_verified_identity_arrives(json!({"identity_headers": names}), RENAMED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_claim_leaves_no_client_header() {
    let builder = Stack::builder().config(corpus::config()).fault(corpus::trusted_key());
    let stack = builder.start().await.unwrap();
    let mut claims = tokens::base();
    for absent in ["email", "user_type", "is_admin"] {
        claims[absent] = Value::Null;
    }
    let jwt = corpus::keys::Signer::trusted().claims(claims.to_string());
    let request =
        DEFAULT.iter().fold(stack.get("/orders").bearer(&jwt), |request, (name, _)| request.header(name, "1"));
    let echo = request.send().await.unwrap().upstream().unwrap();
    let expected: [(&str, &[&str]); 5] = [
        ("x-user-id", &["7"]),
        ("x-client-id", &["70"]),
        ("x-user-email", &[]),
        ("x-user-type", &[]),
        ("x-is-admin", &[]),
    ];
    for (name, values) in expected {
        assert_eq!(arrived(&echo, name), values, "{name}");
    }
}
