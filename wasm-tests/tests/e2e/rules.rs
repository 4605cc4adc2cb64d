//! Half of the table of rules and requests, in Envoy: what becomes of each request, and what reaches the upstream.
//! `src/filter/tests/rules.rs` has all of it natively.

use std::{collections::BTreeMap, net::SocketAddr};

use http::Method;
use serde_json::{Value, json};
use wasm_tests::{
    Stack,
    corpus::{
        self,
        answers::Answer,
        keys::Signer,
        scripted::{self, Scripted},
    },
};

const TABLE: &str = include_str!("../../src/corpus/rules.json");

/// 2100-01-01, and 2020-09-13.
const TIMES: [u64; 2] = [4_102_444_800, 1_600_000_000];

const IDENTITY: [(&str, &str); 5] = [
    ("x-user-id", "user_id"),
    ("x-client-id", "client_id"),
    ("x-user-email", "email"),
    ("x-user-type", "user_type"),
    ("x-is-admin", "is_admin"),
];

/// The claims of a row: the table's base with the row's over it.
fn claims(base: &Value, changes: &Value, kind: &str) -> Value {
    let mut claims = base.clone();
    claims["exp"] = json!(TIMES[usize::from(changes["exp_in"].is_number())]);
    if kind == "api" {
        claims["token_type"] = json!("api_token");
    }
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap().iter().filter(|(name, _)| *name != "exp_in") {
        match value.as_str() {
            Some("$absent") => drop(members.remove(name)),
            _ => drop(members.insert(name.clone(), value.clone())),
        }
    }
    claims
}

fn patch(bootstrap: &mut Value, service: SocketAddr) {
    let port = "/static_resources/clusters/1/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address\
        /socket_address/port_value";
    *bootstrap.pointer_mut(port).unwrap() = json!(service.port());
}

/// One request and what has to become of it.
struct Row<'t> {
    path: &'t str,
    kind: &'t str,
    authorization: Option<String>,
    /// Whom the credential stands for.
    claims: Value,
    end: &'t str,
    /// What becomes of `Authorization`.
    credential: &'t str,
}

impl<'t> Row<'t> {
    fn new(number: usize, row: &'t Value, base: &Value, signer: &Signer) -> Self {
        let (kind, changes) = row[1]
            .as_object()
            .and_then(|spec| spec.iter().next())
            .map_or(("", &Value::Null), |(kind, changes)| (kind.as_str(), changes));
        let claims = match kind {
            "jwt" | "forged" | "api" => claims(base, changes, kind),
            _ => Value::Null,
        };
        let authorization = match kind {
            "jwt" => Some(format!("Bearer {}", signer.claims(claims.to_string()))),
            "forged" => Some(format!("Bearer {}", Signer::foreign().claims(claims.to_string()))),
            "api" => Some(format!("APIKey {}", scripted::token(number))),
            "raw" => changes.as_str().map(str::to_owned),
            _ => None,
        };
        Self {
            path: row[0].as_str().unwrap(),
            kind,
            authorization,
            claims,
            end: row[2].as_str().unwrap(),
            credential: row[3].as_str().unwrap_or("kept"),
        }
    }

    /// Sends it, with identity headers of its own, and says what is wrong with what became of it.
    async fn run(&self, stack: &Stack) -> Result<(), String> {
        let is_preflight = self.kind == "preflight";
        let method = if is_preflight { Method::OPTIONS } else { Method::GET };
        let mut request = stack.request(method, self.path).header("x-user-id", "0").header("x_is_admin", "true");
        if let Some(value) = &self.authorization {
            request = request.header("authorization", value);
        }
        if is_preflight {
            request = request.header("origin", "https://app.example").header("access-control-request-method", "GET");
        }
        let answer = request.send().await.map_err(|error| format!("{error:#}"))?;
        let goes_on = matches!(self.end, "allow" | "public") || self.end.starts_with("shadow ");
        if !goes_on {
            let is_right = answer.status == corpus::status(self.end) && answer.code().as_deref() == Some(self.end);
            let challenge = answer.header("www-authenticate");
            let is_told = self.end != "insufficient_user_authentication"
                || challenge.as_ref().is_some_and(|it| it.contains(r#"error="insufficient_user_authentication""#));
            return if is_right && is_told && challenge.is_some() == (answer.status == 401) {
                Ok(())
            } else {
                Err(format!("{} {challenge:?} {}", answer.status, answer.text()))
            };
        }
        let echo = answer.upstream().map_err(|error| format!("{error:#}"))?;
        let has_identity = self.end == "allow" || self.end.ends_with(" with identity");
        for (header, claim) in IDENTITY {
            let value = self.claims.get(claim).filter(|value| has_identity && !value.is_null());
            let expected: Vec<String> = value
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
                .into_iter()
                .collect();
            if echo.all(header) != expected {
                return Err(format!("{header}: {:?}, not {expected:?}", echo.all(header)));
            }
        }
        let kept: Vec<&str> =
            self.authorization.iter().filter(|_| self.credential == "kept").map(String::as_str).collect();
        if echo.all("authorization") != kept || !echo.all("x_is_admin").is_empty() {
            return Err(format!("{:?}", echo.headers));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_table_has_its_outcome_and_is_counted() {
    let table: Value = serde_json::from_str(TABLE).unwrap();
    let signer = Signer::trusted();
    let mut wrong = Vec::new();
    let groups = table["groups"].as_array().unwrap().iter().filter(|group| group["envoy"] == json!(true));
    for group in groups {
        let rows = group["rows"].as_array().unwrap().iter().enumerate();
        let rows: Vec<Row<'_>> = rows.map(|(number, row)| Row::new(number, row, &table["base"], &signer)).collect();
        let answers = rows.iter().enumerate().filter(|(_, row)| row.kind == "api");
        let answers: BTreeMap<_, _> =
            answers.map(|(number, row)| (number, Answer::new(200, &[], row.claims.to_string()))).collect();
        let service = Scripted::start(answers).await.unwrap();
        let address = service.address();
        // The shipped rules go.
        let builder =
            Stack::builder().config(corpus::config()).config(json!({"rules": []})).config(group["config"].clone());
        let builder = builder.without_auth_service().envoy(move |bootstrap| patch(bootstrap, address));
        let stack = builder.start().await.unwrap();
        for row in &rows {
            if let Err(problem) = row.run(&stack).await {
                wrong.push(format!("{}: {} {} {}: {problem}", group["about"], row.path, row.kind, row.end));
            }
        }
        let counted = counted_by_rule(&stack).await;
        if counted.values().sum::<u64>() != rows.len() as u64 {
            wrong.push(format!("{}: {} requests are counted as {counted:?}", group["about"], rows.len()));
        }
        if group["about"] == json!("shadow mode of the filter") {
            assert_eq!(counted.get(r#"rule="rule_0",outcome="shadow_deny""#), Some(&2), "{counted:?}");
            assert_eq!(counted.get(r#"rule="none",outcome="allow""#), Some(&1), "{counted:?}");
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

/// How many requests are counted for each rule and outcome.
async fn counted_by_rule(stack: &Stack) -> BTreeMap<String, u64> {
    let page = stack.admin("/stats/prometheus").await.unwrap().text();
    let lines = page.lines().filter_map(|line| line.strip_prefix("auth_rule_requests_total{"));
    let mut counted = BTreeMap::new();
    for line in lines {
        let (labels, times) = line.split_once("} ").unwrap();
        let label = |name: &str| labels.split(',').find(|label| label.starts_with(name)).unwrap_or_default().to_owned();
        *counted.entry(format!("{},{}", label("rule="), label("outcome="))).or_default() +=
            times.parse::<u64>().unwrap();
    }
    counted
}
