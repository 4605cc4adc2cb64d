//! Explanations of requests of every kind.

mod answers;
mod malformed;
mod manager;
mod require;
mod table;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use clap::Parser as _;
use serde_json::{Value, json};

use super::{check, choose, find};
use crate::cli::{Arguments, run};
use crate::testing::{NOW, Signer, claims};

const CONFIG: &str = "
auth_service: {cluster: auth}
rules:
  - match: {path: /health}
    public: true
  - match: {prefix: /webhooks, methods: [POST], hosts: [api.example.com]}
    require: {token_types: [api_token]}
  - match: {prefix: /admin}
    require: {token_types: [api_token, technical]}
  - match: {prefix: /remote}
    verification: remote
";

/// A file with this text, deleted on drop.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("authgate-explain-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

fn output(config: &str, options: &[&str]) -> (u8, String) {
    let (file, key, at) = (File::new(config), File::new(&Signer::a().public().to_pem()), NOW.to_string());
    let arguments = ["authgate", "explain", file.path(), "--at", &at];
    let options = options.iter().map(|option| if *option == "KEY" { key.path() } else { option });
    let mut out = Vec::new();
    let status = run(arguments.into_iter().chain(options), &mut out, false);
    (status, String::from_utf8(out).unwrap())
}

/// The explanation of a request, as JSON.
#[track_caller]
fn told(options: &[&str]) -> Value {
    let options: Vec<_> = options.iter().copied().chain(["--format", "json"]).collect();
    let (status, text) = output(CONFIG, &options);
    assert_eq!(status, 0, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn jwt(changes: Value) -> String {
    Signer::a().jwt(&claims(changes))
}

fn denied(told: &Value) -> &str {
    told["decision"]["deny"]["code"].as_str().unwrap_or("not denied")
}

#[test]
fn a_public_request_is_let_through() {
    let told = told(&["--path", "/health", "--header", "X_User-Id: 7", "--header", "Authorization: Basic eA=="]);
    assert_eq!(told["rule"], "rules[0]");
    assert_eq!(told["credential"]["found"], "not looked at");
    assert_eq!(
        told["decision"]["forward"],
        json!({"stripped": ["x_user-id"], "changed": [], "set": [], "authorization": "unchanged"})
    );
    assert_eq!(told["decision"]["outcome"], "public");
}

#[test]
fn each_rule_shows_which_condition_failed() {
    let told = told(&["--path", "/webhooks/a", "--method", "POST", "--host", "www.example.com"]);
    let conditions = &told["rules"][1]["conditions"];
    let holds: Vec<_> = conditions.as_array().unwrap().iter().map(|one| (&one["field"], &one["holds"])).collect();
    let expected = [
        (json!("hosts: [\"api.example.com\"]"), json!("no")),
        (json!("methods: [\"POST\"]"), json!("yes")),
        (json!("prefix: /webhooks"), json!("yes")),
    ];
    assert_eq!(holds, expected.iter().map(|(field, holds)| (field, holds)).collect::<Vec<_>>());
    assert_eq!(
        (told["rule"].as_str(), denied(&told)),
        (Some("no rule: a credential is required"), "missing_credentials")
    );
}

#[test]
fn ambiguous_requests_show_their_readings() {
    let with_port = told(&["--path", "/webhooks", "--method", "POST", "--host", "API.example.com:80"]);
    assert_eq!(with_port["host_readings"], json!(["api.example.com:80", "api.example.com"]));
    assert_eq!(denied(&with_port), "ambiguous_host");
    let told = told(&["--path", "/x%2F..%2Fadmin"]);
    assert_eq!(told["path_readings"], json!(["/x%2F..%2Fadmin", "/x/../admin", "/admin"]));
    assert_eq!(told["rules"][2]["conditions"][0]["holds"], "by some readings");
    assert_eq!((denied(&told), told["credential"]["found"].as_str()), ("ambiguous_path", Some("not looked at")));
}

#[test]
fn a_jwt_is_verified_with_the_given_key() {
    let token = jwt(json!({}));
    let good = told(&["--path", "/a", "--token", &token, "--key", "KEY"]);
    assert_eq!(good["decision"]["forward"]["set"][0], json!(["x-user-id", "17"]));
    assert_eq!((&good["claims_of"], &good["claims"]["user_id"]), (&json!("credential"), &json!(17)));
    assert_eq!(good["decision"]["source"], "jwt");
    let forged = Signer::b().jwt(&claims(json!({})));
    assert_eq!(denied(&told(&["--token", &forged, "--key", "KEY"])), "signature_invalid");
    assert_eq!(denied(&told(&["--token", &jwt(json!({"exp": 1})), "--key", "KEY"])), "token_expired");
    assert_eq!(denied(&told(&["--token", "a.b.c"])), "token_malformed");
    let unknown = told(&["--token", &token]);
    assert!(unknown["decision"]["asks"].as_str().unwrap().contains("--key"), "{unknown}");
}

#[test]
fn each_field_of_require_is_explained() {
    let denied_here = told(&["--path", "/admin", "--token", &jwt(json!({})), "--key", "KEY"]);
    let expected = json!([{"field": "token_types: [\"api_token\",\"technical\"]", "holds": "no"}]);
    assert_eq!(denied_here["require"], expected);
    assert!(denied_here["decision"]["deny"].is_object(), "{denied_here}");
    let let_in = told(&["--path", "/admin", "--token", &jwt(json!({"token_type": "api_token"})), "--key", "KEY"]);
    assert_eq!(let_in["require"][0]["holds"], "yes");
    // `require` isn't checked without an identity.
    assert_eq!(told(&["--path", "/admin"])["require"], json!([]));
}

#[test]
fn each_kind_of_rule_is_explained() {
    let config = "
auth_service: {cluster: auth}
mode: shadow
rules:
  - {name: shop, match: {prefix: /shop}, optional: true, mode: enforce}
  - {match: {prefix: /no}, deny: true, mode: enforce}
  - match: {prefix: /admin}
    require: [{user_types: [system_admin], sso: true}, {client_ids: [23]}]
    mode: enforce
  - match: {prefix: /shadow}
    require: {is_admin: true, user_types: [common]}
";
    let tell = |options: &[&str]| -> Value {
        let options: Vec<_> = options.iter().copied().chain(["--format", "json", "--key", "KEY"]).collect();
        serde_json::from_str(&output(config, &options).1).unwrap()
    };
    let token = jwt(json!({}));
    let shop = tell(&["--path", "/shop"]);
    assert_eq!((shop["rule"].as_str(), &shop["decision"]["outcome"]), (Some("rules[0] (shop)"), &json!("public")));
    assert_eq!(denied(&tell(&["--path", "/shop", "--token", "a.b.c"])), "token_malformed");
    let no = tell(&["--path", "/no", "--token", &token]);
    assert_eq!((denied(&no), no["credential"]["found"].as_str()), ("denied_by_rule", Some("not looked at")));
    let holds = |told: &Value| -> Vec<(String, String)> {
        let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
        told["require"].as_array().unwrap().iter().map(|one| (text(one, "field"), text(one, "holds"))).collect()
    };
    let expected =
        [("[0].sso: true", "no"), ("[0].user_types: [\"system_admin\"]", "no"), ("[1].client_ids: [23]", "yes")];
    let admin = tell(&["--path", "/admin", "--token", &token]);
    assert_eq!(holds(&admin), expected.map(|(field, holds)| (field.to_owned(), holds.to_owned())));
    assert_eq!(admin["decision"]["outcome"], "allow");
    let shadow = tell(&["--path", "/shadow", "--token", &token]);
    let expected = [("is_admin: true", "no"), ("user_types: [\"common\"]", "yes")];
    assert_eq!(holds(&shadow), expected.map(|(field, holds)| (field.to_owned(), holds.to_owned())));
    let decision = &shadow["decision"];
    assert_eq!((&decision["outcome"], &decision["reason"]), (&json!("shadow_deny"), &json!("claims_not_sufficient")));
    let text = output(config, &["--path", "/shadow", "--token", &token, "--key", "KEY"]).1;
    assert!(text.contains("passes only because of shadow mode: claims_not_sufficient"), "{text}");
}

#[test]
fn credentials_in_other_places_are_explained_and_removed() {
    let config = "
auth_service: {cluster: auth}
credentials: {api_key_header: X-API-Key, cookie: session, websocket_protocol: true}
forward_credential: false
status_paths: {readiness: /-/ready}
responses: {cors_origins: ['https://app.example']}
";
    let tell = |options: &[&str]| -> Value {
        let options: Vec<_> = options.iter().copied().chain(["--format", "json", "--key", "KEY"]).collect();
        serde_json::from_str(&output(config, &options).1).unwrap()
    };
    let cookie = format!("Cookie: a=1; session={}; b=2", jwt(json!({})));
    let by_cookie = tell(&["--header", &cookie]);
    assert_eq!(by_cookie["credential"]["found"], "a JWT in a cookie");
    assert_eq!(by_cookie["claims"]["user_id"], 17);
    assert_eq!(by_cookie["decision"]["forward"]["changed"], json!([["cookie", "a=1; b=2"]]));
    assert_eq!(denied(&tell(&["--header", &cookie, "--method", "POST"])), "cross_site_request");
    assert_eq!(denied(&tell(&["--header", &cookie, "--token", "a.b.c"])), "malformed_credentials");
    let key = format!("X-API-Key: 17${}", "0".repeat(128));
    let by_header = tell(&["--header", &key]);
    assert_eq!(by_header["credential"]["found"], "an API token in x-api-key");
    assert!(by_header["question"].as_str().unwrap().ends_with("with Authorization: APIKey …"), "{by_header}");
    let ready = tell(&["--path", "/-/ready"]);
    assert_eq!((&ready["decision"]["serve"]["status"], ready["rules"].as_array().unwrap().len()), (&json!(200), 0));
    let preflight = ["--method", "OPTIONS", "--header", "Origin: https://app.example"];
    let preflight = tell(&[&preflight[..], &["--header", "Access-Control-Request-Method: GET"]].concat());
    assert_eq!(preflight["decision"]["outcome"], "public");
}

#[test]
fn the_callout_is_shown_and_an_answer_can_be_supplied() {
    let token = format!("17${}", "0".repeat(128));
    let asked = told(&["--token", &token]);
    let question = "GET /auth/verify?header_types=apikey&response_format=json_body with Authorization: APIKey …";
    assert_eq!(asked["question"], question);
    assert!(asked["decision"]["asks"].as_str().unwrap().contains("--answer"), "{asked}");
    assert_eq!(denied(&told(&["--token", &token, "--answer", "401"])), "token_rejected");
    assert_eq!(denied(&told(&["--token", &token, "--answer", "503"])), "auth_service_unavailable");
    let body = File::new(&claims(json!({"token_type": "api_token"})).to_string());
    let good = told(&["--token", &token, "--answer-body", body.path()]);
    assert_eq!(good["decision"]["forward"]["set"][0], json!(["x-user-id", "17"]));
    assert_eq!((&good["claims_of"], &good["claims"]["token_type"]), (&json!("answer"), &json!("api_token")));
    let remote = told(&["--path", "/remote", "--token", &jwt(json!({})), "--key", "KEY"]);
    assert!(remote["question"].as_str().unwrap().contains("header_types=apikey,jwt"), "{remote}");
    assert!(remote["decision"]["asks"].as_str().unwrap().contains("--answer"), "{remote}");
}

#[test]
fn a_list_of_revoked_tokens_can_be_supplied() {
    let list = File::new(r#"{"cursor": "1", "revoked": [{"jti": "5f0c", "exp": 4000000000}]}"#);
    let config = "auth_service: {cluster: auth}\nrevocation: {path: /list}\n";
    let token = jwt(json!({}));
    let revoked = output(config, &["--token", &token, "--key", "KEY", "--revoked", list.path()]).1;
    assert!(revoked.contains("401 token_revoked"), "{revoked}");
    let not = output(config, &["--token", &token, "--key", "KEY"]).1;
    assert!(not.contains("the request passes"), "{not}");
}

#[test]
fn headers_alone_are_an_answer() {
    let config = "auth_service: {cluster: auth}\napi_token: {response_format: json_header}\n";
    let token = format!("17${}", "0".repeat(128));
    let ids = ["--answer-header", "X-User-Id: 5", "--answer-header", "X-Client-Id: 6"];
    let (status, text) = output(config, &[&["--token", &token][..], &ids].concat());
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("x-user-id: 5") && text.contains("the request passes"), "{text}");
}

#[test]
fn a_list_that_the_filter_cannot_read_is_refused() {
    let config = "auth_service: {cluster: auth}\nrevocation: {path: /list}\n";
    for list in [
        "",
        "[]",
        r#"{"cursor": "1", "tokens": []}"#,
        r#"{"revoked": [{"jti": "5f0c", "exp": 4000000000}]}"#,
        r#"{"cursor": "1", "revoked": [{"jti": "a", "exp": 4000000000}, {"jti": "5f0c"}]}"#,
    ] {
        let file = File::new(list);
        assert_eq!(
            output(config, &["--token", &jwt(json!({})), "--key", "KEY", "--revoked", file.path()]).0,
            2,
            "{list}"
        );
    }
    let readable = File::new(r#"{"cursor": "1", "revoked": []}"#);
    let arguments = ["--token", &jwt(json!({})), "--key", "KEY", "--revoked", readable.path()];
    assert_eq!(output(config, &arguments).0, 0);
}

#[test]
fn readable_output_quotes_no_credential() {
    let token = jwt(json!({}));
    let (status, text) = output(CONFIG, &["--path", "/remote", "--token", &token, "--key", "KEY", "--answer", "403"]);
    assert_eq!(status, 0);
    assert!(text.starts_with("request       GET localhost/remote\n"), "{text}");
    assert!(text.contains("\ndecision      403 forbidden_by_service\n"), "{text}");
    assert!(!text.contains("eyJ"), "{text}");
}

#[test]
fn a_host_header_sets_the_host() {
    let told = told(&["--path", "/webhooks/a", "--method", "POST", "--header", "Host: api.example.com"]);
    assert_eq!((&told["rule"], &told["request"]), (&json!("rules[1]"), &json!("POST api.example.com/webhooks/a")));
}

#[test]
fn errors_of_the_configuration_are_printed_as_by_check() {
    let errors = |text: &str| -> Value {
        let (status, printed) = output(text, &["--format", "json"]);
        assert_eq!(status, 1, "{printed}");
        serde_json::from_str(&printed).unwrap()
    };
    let unknown = errors("auth_service: {cluster: auth}\nx: 1\n");
    let [problem] = unknown["problems"].as_array().unwrap().as_slice() else { panic!("{unknown}") };
    assert_eq!((&problem["line"], &problem["level"], &problem["field"]), (&json!(2), &json!("error"), &json!("x")));
    let broken = errors("auth_service: {cluster: auth}\nrules: [\n");
    assert_eq!(broken["problems"][0]["level"], "error");
    let (status, printed) = output("auth_service: {cluster: auth}\nrules: [\n", &[]);
    assert_eq!(status, 1, "{printed}");
    assert!(printed.ends_with(" 1 error, 0 warnings\n"), "{printed}");
}

#[test]
fn numbers_in_options_are_explained() {
    for (option, value, expected) in [
        ("--answer", "abc", "a status is a number from 100 to 599"),
        ("--answer", "99", "a status is a number from 100 to 599"),
        ("--answer", "600", "a status is a number from 100 to 599"),
        ("--at", "tomorrow", "a time is a number of seconds since 1970, as `date +%s` prints it"),
        ("--at", "-1", "a time is a number of seconds since 1970, as `date +%s` prints it"),
    ] {
        let argument = format!("{option}={value}");
        let error = Arguments::try_parse_from(["authgate", "explain", "x", &argument]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(Arguments::try_parse_from(["authgate", "explain", "x", "--answer", "599", "--at", "0"]).is_ok());
}

#[test]
fn unusable_input_is_reported() {
    assert_eq!(output("auth_service: {cluster: auth}\nx: 1\n", &[]).0, 1);
    assert_eq!(output("kind: Service\n", &[]).0, 2);
    assert_eq!(output(CONFIG, &["--header", "x"]).0, 2);
    assert_eq!(super::split("Authorization Bearer eyJ").unwrap_err(), "a header has no colon: write Name: value");
    assert_eq!(output(CONFIG, &["--key", "/nowhere"]).0, 2);
    assert_eq!(output(CONFIG, &["--filter", "other"]).0, 2);
}

#[test]
fn the_names_of_the_filters_are_told() {
    let documents =
        check::documents("{auth_service: {cluster: c}, name: a}\n---\n{auth_service: {cluster: c}, name: b}\n");
    let plugins = find::find(documents.as_ref().unwrap());
    let problem = |name| choose(&plugins, name).unwrap_err();
    assert_eq!(problem(None), "it contains several filters: choose one with --filter (names: a, b)");
    assert_eq!(problem(Some("c")), "it contains no filter of this name (names: a, b)");
    assert!(choose(&plugins, Some("b")).is_ok());
    assert!(choose(&[], None).unwrap_err().contains("fields such as auth_service"));
}
