//! Most of the table of rules and requests, in Envoy: how each request ends, what reaches the upstream, and that
//! `authgate explain` predicts it. `src/filter/tests/rules.rs` and `src/cli/explain/tests/table.rs` run all of it
//! natively.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use http::Method;
use serde_json::{Value, json};
use wasm_tests::{
    Response, Stack, connection_manager,
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

/// The claims of a row: the row's changes applied to the table's base.
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
    // The ids in the access log identify the rows.
    connection_manager(&mut bootstrap["static_resources"]["listeners"][0])["preserve_external_request_id"] =
        json!(true);
}

/// One request and how it must end.
struct Row<'t> {
    number: usize,
    path: &'t str,
    kind: &'t str,
    authorization: Option<String>,
    /// The claims behind the credential.
    claims: Value,
    /// The body of the service's answer, if it is asked.
    answer: String,
    end: &'t str,
    /// What happens to `Authorization`.
    credential: &'t str,
}

impl<'t> Row<'t> {
    /// `is_jwt`: the service answers with a JWT.
    fn new(number: usize, row: &'t Value, base: &Value, signer: &Signer, is_jwt: bool) -> Self {
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
            number,
            path: row[0].as_str().unwrap(),
            kind,
            authorization,
            answer: if is_jwt { signer.claims(claims.to_string()) } else { claims.to_string() },
            claims,
            end: row[2].as_str().unwrap(),
            credential: row[3].as_str().unwrap_or("kept"),
        }
    }

    fn method(&self) -> Method {
        if self.kind == "preflight" { Method::OPTIONS } else { Method::GET }
    }

    /// The request's headers, with forged identity headers.
    fn headers(&self) -> Vec<(&'static str, &str)> {
        let mut headers = vec![("x-user-id", "0"), ("x_is_admin", "true")];
        headers.extend(self.authorization.iter().map(|value| ("authorization", value.as_str())));
        if self.kind == "preflight" {
            headers.extend([("origin", "https://app.example"), ("access-control-request-method", "GET")]);
        }
        headers
    }

    async fn send(&self, stack: &Stack) -> Result<Response, String> {
        let request = stack.request(self.method(), self.path).header("x-request-id", self.number.to_string());
        let request = self.headers().into_iter().fold(request, |request, (name, value)| request.header(name, value));
        request.send().await.map_err(|error| format!("{error:#}"))
    }

    /// What `authgate explain` predicts. If it needs the service's answer, it gets the one that the service gives.
    fn told(&self, stack: &Stack) -> Value {
        let file = |name: &str| stack.folder().join(name).to_str().unwrap().to_owned();
        fs::write(file("answer"), &self.answer).unwrap();
        let status = if self.kind == "api" { "200" } else { "503" };
        let mut arguments: Vec<String> = vec!["authgate".into(), "explain".into(), file("bootstrap.json")];
        for (option, value) in [
            ("--format", "json"),
            ("--key", &file("key.pem")),
            ("--method", self.method().as_str()),
            ("--path", self.path),
            ("--answer", status),
            ("--answer-body", &file("answer")),
        ] {
            arguments.extend([option.to_owned(), value.to_owned()]);
        }
        for (name, value) in self.headers() {
            arguments.extend(["--header".to_owned(), format!("{name}: {value}")]);
        }
        let mut out = Vec::new();
        let status = authgate::cli::run(arguments, &mut out, false);
        assert_eq!(status, 0, "{}", String::from_utf8_lossy(&out));
        serde_json::from_slice(&out).unwrap()
    }

    /// Compares the prediction with the answer. `logged`: the request's line of the access log.
    fn compare(&self, told: &Value, answer: &Response, logged: &Value) -> Result<(), String> {
        let decision = &told["decision"];
        for field in ["outcome", "reason"] {
            let name = |value: &Value| value.as_str().filter(|name| *name != "none").map(str::to_owned);
            if name(&decision[field]) != name(&logged[field]) {
                return Err(format!("{field}: told {decision}, logged {logged}"));
            }
        }
        let code = decision["deny"]["code"].as_str().map(str::to_owned);
        if code.is_some() || answer.code().is_some() {
            return if code == answer.code() {
                Ok(())
            } else {
                Err(format!("told {decision}, not {:?}", answer.code()))
            };
        }
        let echo = answer.upstream().map_err(|error| format!("{error:#}"))?;
        let set = decision["forward"]["set"].as_array().ok_or_else(|| decision.to_string())?;
        let converted = format!("Bearer {}", self.answer);
        let authorization = match decision["forward"]["authorization"].as_str() {
            Some("unchanged") => self.authorization.as_deref(),
            Some("the verified JWT") => Some(converted.as_str()),
            _ => None,
        };
        let told = set.iter().map(|pair| (pair[0].as_str().unwrap().to_lowercase(), pair[1].as_str().unwrap()));
        let told: BTreeMap<_, _> = told.chain(authorization.map(|value| ("authorization".to_owned(), value))).collect();
        let names = IDENTITY.iter().map(|(name, _)| *name).chain(["authorization"]);
        let names: BTreeSet<_> = names.chain(told.keys().map(String::as_str)).collect();
        for name in names {
            let expected: Vec<&str> = told.get(name).copied().into_iter().collect();
            if echo.all(name) != expected {
                return Err(format!("{name}: told {expected:?}, not {:?}", echo.all(name)));
            }
        }
        Ok(())
    }

    /// Checks how the request ended.
    fn check(&self, answer: &Response) -> Result<(), String> {
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
        let expected: Option<String> = match self.credential {
            "kept" => self.authorization.clone(),
            "replaced" => Some(format!("Bearer {}", self.answer)),
            _ => None,
        };
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        if echo.all("authorization") != expected || !echo.all("x_is_admin").is_empty() {
            return Err(format!("{:?}", echo.headers));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_table_has_its_outcome_and_is_counted() {
    let table: Value = serde_json::from_str(TABLE).unwrap();
    let signer = Signer::trusted();
    let (mut wrong, mut compared) = (Vec::new(), 0);
    let groups = table["groups"].as_array().unwrap().iter().filter(|group| group["envoy"] == json!(true));
    for group in groups {
        let format = &group["config"]["api_token"]["response_format"];
        let is_jwt = format.as_str().is_some_and(|format| format.starts_with("jwt"));
        let rows = group["rows"].as_array().unwrap().iter().enumerate();
        let rows = rows.map(|(number, row)| Row::new(number, row, &table["base"], &signer, is_jwt));
        let rows: Vec<Row<'_>> = rows.collect();
        let answers = rows.iter().enumerate().filter(|(_, row)| row.kind == "api");
        let answers: BTreeMap<_, _> =
            answers.map(|(number, row)| (number, Answer::new(200, &[], &row.answer))).collect();
        let service = Scripted::start(answers).await.unwrap();
        let address = service.address();
        // The shipped rules are removed.
        let builder =
            Stack::builder().config(corpus::config()).config(json!({"rules": []})).config(group["config"].clone());
        let builder = builder.without_auth_service().envoy(move |bootstrap| patch(bootstrap, address));
        let stack = builder.start().await.unwrap();
        fs::write(stack.folder().join("key.pem"), signer.public_pem()).unwrap();
        let mut answers = Vec::new();
        for row in &rows {
            answers.push(row.send(&stack).await.unwrap());
        }
        let log = access_log(&stack, rows.len()).await;
        for (row, answer) in rows.iter().zip(&answers) {
            let logged = log.iter().find(|line| line["request_id"].as_str() == Some(&row.number.to_string()));
            let told = row.compare(&row.told(&stack), answer, logged.unwrap_or(&Value::Null));
            for problem in [row.check(answer), told].into_iter().filter_map(Result::err) {
                wrong.push(format!("{}: {} {} {}: {problem}", group["about"], row.path, row.kind, row.end));
            }
        }
        compared += rows.len();
        let counted = counted_by_rule(&stack).await;
        if counted.values().sum::<u64>() != rows.len() as u64 {
            wrong.push(format!("{}: {} requests are counted as {counted:?}", group["about"], rows.len()));
        }
        if group["about"] == json!("shadow mode of the filter") {
            assert_eq!(counted.get(r#"rule="rule_0",outcome="shadow_deny""#), Some(&2), "{counted:?}");
            assert_eq!(counted.get(r#"rule="none",outcome="allow""#), Some(&1), "{counted:?}");
        }
    }
    assert!(compared >= 250, "{compared}");
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

/// The access log, once it has this many lines.
async fn access_log(stack: &Stack, expected: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let log = stack.access_log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line.get(line.find('{')?..)?).ok());
        let lines: Vec<_> = lines.filter(|line| line.get("outcome").is_some()).collect();
        if lines.len() >= expected {
            return lines;
        }
        assert!(Instant::now() < deadline, "{} of {expected} lines: {log}", lines.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many requests are counted for each rule and outcome.
async fn counted_by_rule(stack: &Stack) -> BTreeMap<String, u64> {
    let metrics = stack.metrics().await.unwrap();
    let page = metrics.page();
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
