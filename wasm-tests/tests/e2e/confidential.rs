//! Secrets that must not be written anywhere, and a search for them.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use wasm_tests::{
    Request, Response,
    corpus::{seen, tokens},
};

/// The secrets, and the answers that clients got.
#[derive(Default)]
pub struct Record {
    pub secrets: Vec<String>,
    pub verdicts: Vec<String>,
    pub denials: Vec<String>,
}

impl Record {
    /// Adds a text that must not be written anywhere.
    pub fn secret(&mut self, text: impl Into<String>) -> String {
        let text = text.into();
        self.secrets.push(text.clone());
        text
    }

    /// Adds a token, and each of its parts that is long enough to be distinctive.
    pub fn token(&mut self, token: impl Into<String>) -> String {
        let token = self.secret(token);
        let parts = token.split(['.', '$']).filter(|part| part.len() > 8).map(str::to_owned);
        self.secrets.extend(parts.collect::<Vec<_>>());
        token
    }

    /// Sends a request and records its answer.
    pub async fn send(&mut self, request: Request) -> Response {
        let answer = request.send().await.unwrap();
        let seen = seen(&answer);
        if seen != "200" {
            self.denials.push(format!("{:?} {}", answer.headers, answer.text()));
        }
        self.verdicts.push(answer.header("grpc-message").unwrap_or(seen));
        answer
    }

    /// Adds every line of a key, and the key's bytes in hexadecimal.
    pub fn keys(&mut self, keys: Vec<String>) {
        for key in keys {
            let lines: Vec<_> = key.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect();
            let der = BASE64_STANDARD.decode(lines.concat()).unwrap();
            self.secrets.push(der.iter().map(|byte| format!("{byte:02x}")).collect());
            self.secrets.push(lines.concat());
            self.secrets.extend(lines);
        }
        // The header is the same in every JWT, so it is no secret, but it doesn't belong in a log either.
        self.secrets.push("eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9".to_owned());
    }

    /// Where secrets occur in what was written.
    pub fn found_in(&self, written: &[(&str, String)]) -> Vec<String> {
        let mut found = Vec::new();
        for (place, text) in written {
            let lower = text.to_ascii_lowercase();
            for secret in &self.secrets {
                let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
                if text.contains(secret.as_str()) || lower.contains(&hex) {
                    let line = text.lines().find(|line| line.contains(secret.as_str())).unwrap_or_default();
                    found.push(format!("{place}: {secret}: {line}"));
                }
            }
        }
        found
    }
}

/// Distinctive texts for claims.
pub const CANARIES: [&str; 6] = [
    "canary-jti-7f3a",
    "canary@secret.example",
    "canary-username",
    "Canary Client Ltd",
    "canary-group",
    "canary-entity",
];

/// Claims whose texts are all canaries.
pub fn canary_claims() -> Value {
    let mut claims = tokens::base();
    let [jti, email, username, client, group, entity] = CANARIES;
    claims["jti"] = json!(jti);
    claims["email"] = json!(email);
    claims["username"] = json!(username);
    claims["client_name"] = json!(client);
    claims["user_groups"] = json!([group]);
    claims["sso_entity"] = json!(entity);
    claims
}

/// Texts from a token's claims that a parser might quote in an error.
pub fn refused_claims() -> Vec<String> {
    let text = canary_claims().to_string();
    let broken = [("user_id", "7"), ("exp", "4102444800"), ("is_admin", "false"), ("client_id", "70")];
    let mut all: Vec<_> = broken
        .iter()
        .map(|(name, value)| {
            text.replace(&format!("\"{name}\":{value}"), &format!("\"{name}\":\"canary@secret.example\""))
        })
        .collect();
    all.extend([
        text.replacen('{', r#"{"canary-username":1,"canary-username":2,"#, 1),
        text.replacen('{', r#"{"canary-username":}"#, 1),
        text.replace("4102444800", "1600000000"),
        text.replacen('{', r#"{"nbf":4102444799,"#, 1),
        text.replace("\"access\"", "\"canary-username\""),
        text.replace("canary@secret.example", "canary@secret.example\\r\\nx: y"),
        text.replace("\"exp\"", "\"canary-jti-7f3a-exp\""),
    ]);
    all
}
