//! The table of rules and requests, most of which `wasm-tests/tests/e2e/rules.rs` sends through Envoy: the command has
//! to explain each row with the end that it has there.

use serde_json::{Value, json};

use super::{File, denied, output};
use crate::testing::{NOW, Signer};

const TABLE: &str = include_str!("../../../../wasm-tests/src/corpus/rules.json");

/// The claims of a row: the table's base with the row's over it.
fn claims(base: &Value, changes: &Value) -> Value {
    let mut claims = base.clone();
    claims["exp"] = json!(NOW + 3600);
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match (name.as_str(), value.as_str()) {
            ("exp_in", _) => {
                members.insert("exp".to_owned(), json!(NOW.saturating_add_signed(value.as_i64().unwrap())));
            }
            (_, Some("$absent")) => drop(members.remove(name)),
            _ => drop(members.insert(name.clone(), value.clone())),
        }
    }
    claims
}

/// A row's request, and the service's answer about its credential: status and claims.
struct Row {
    headers: Vec<String>,
    method: &'static str,
    answer: Option<(u16, Value)>,
}

fn row(spec: &Value, base: &Value) -> Row {
    let bearer = |claims: &Value| format!("Authorization: Bearer {}", Signer::a().jwt(claims));
    let api_token = || format!("Authorization: APIKey 17${}", "0".repeat(128));
    let mut confirmed = base.clone();
    confirmed["token_type"] = json!("api_token");
    let (kind, changes) = match spec.as_object().and_then(|spec| spec.iter().next()) {
        None => return Row { headers: Vec::new(), method: "GET", answer: None },
        Some((kind, changes)) => (kind.as_str(), changes),
    };
    let (header, answer) = match kind {
        "jwt" => (bearer(&claims(base, changes)), None),
        "forged" => {
            let token = bearer(&claims(base, changes));
            (format!("{}.{}", token.rsplit_once('.').unwrap().0, "A".repeat(342)), None)
        }
        "api" => (api_token(), Some((200, claims(&confirmed, changes)))),
        "own" | "remote" => (bearer(&claims(base, &spec["own"])), Some((200, claims(base, &spec["remote"])))),
        "other" => {
            let header = format!("Authorization: {}", changes.as_str().unwrap());
            (header, Some((200, claims(&confirmed, &json!({})))))
        }
        "refused" => (api_token(), Some((u16::try_from(changes.as_u64().unwrap()).unwrap(), Value::Null))),
        "raw" => (format!("Authorization: {}", changes.as_str().unwrap()), None),
        "preflight" => {
            let headers = ["Origin: https://app.example", "Access-Control-Request-Method: GET"];
            return Row { headers: headers.map(str::to_owned).to_vec(), method: "OPTIONS", answer: None };
        }
        kind => panic!("{kind}"),
    };
    Row { headers: vec![header], method: "GET", answer }
}

/// The command's explanation of a row.
fn told(config: &Value, target: &str, row: &Row) -> Value {
    let (path, host) = target.split_once(' ').unwrap_or((target, "gateway.example"));
    let list = json!({"cursor": "c", "revoked": [{"jti": "revoked", "exp": NOW + 3600}]}).to_string();
    let is_jwt = config["api_token"]["response_format"].as_str().is_some_and(|format| format.starts_with("jwt"));
    let (status, claims) = row.answer.clone().unwrap_or((503, Value::Null));
    let body = if is_jwt { Signer::a().jwt(&claims) } else { claims.to_string() };
    let (list, body, status) = (File::new(&list), File::new(&body), status.to_string());
    let mut options = vec!["--format", "json", "--key", "KEY", "--path", path, "--host", host, "--method", row.method];
    options.extend(["--revoked", list.path(), "--answer", &status, "--answer-body", body.path()]);
    options.extend(row.headers.iter().flat_map(|header| ["--header", header.as_str()]));
    let (status, text) = output(&config.to_string(), &options);
    assert_eq!(status, 0, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Whether the explanation agrees with the row; the error is the decision in it.
fn compare(told: &Value, end: &str, credential: &Value) -> Result<(), String> {
    let decision = &told["decision"];
    let code = end.strip_prefix("shadow ").map(|rest| rest.split(' ').next().unwrap());
    let goes_on = matches!(end, "allow" | "public") || code.is_some();
    if !goes_on {
        return if denied(told) == end { Ok(()) } else { Err(decision.to_string()) };
    }
    let is_counted = match code {
        Some(code) => decision["outcome"] == "shadow_deny" && decision["reason"] == code,
        None => decision["outcome"] == end,
    };
    let has_identity = end == "allow" || end.ends_with(" with identity");
    let is_set = !decision["forward"]["set"].as_array().unwrap().is_empty();
    let authorization = &decision["forward"]["authorization"];
    let is_credential = match credential.as_str() {
        Some("removed") => authorization == "removed",
        Some("replaced") => authorization == "the verified JWT",
        Some(_) => true,
        None => authorization == "unchanged" || authorization == "none",
    };
    if is_counted && has_identity == is_set && is_credential { Ok(()) } else { Err(decision.to_string()) }
}

#[test]
fn each_row_of_the_table_is_explained_with_its_outcome() {
    let table: Value = serde_json::from_str(TABLE).unwrap();
    let (mut rows, mut wrong) = (0, Vec::new());
    for group in table["groups"].as_array().unwrap() {
        let mut config = json!({"auth_service": {"cluster": "auth"}});
        config.as_object_mut().unwrap().extend(group["config"].as_object().unwrap().clone());
        for entry in group["rows"].as_array().unwrap() {
            rows += 1;
            let told = told(&config, entry[0].as_str().unwrap(), &row(&entry[1], &table["base"]));
            if let Err(problem) = compare(&told, entry[2].as_str().unwrap(), &entry[3]) {
                wrong.push(format!("{}: {entry}: {problem}", group["about"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {rows} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert!(rows >= 200, "{rows}");
}
