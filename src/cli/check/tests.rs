//! Findings in every form of file.

mod agreement;
mod forms;
mod hints;
mod surroundings;
mod warnings;

use std::fs;

use serde_json::Value;

use crate::cli::run;

/// A file with this text, deleted on drop.
struct File(std::path::PathBuf);

impl File {
    fn new(text: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("authgate-check-{}-{}.yaml", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// The findings in a text, as JSON, and the exit status.
fn found(text: &str) -> (u8, Vec<Value>) {
    let file = File::new(text);
    let mut out = Vec::new();
    let status = run(["authgate", "check", file.0.to_str().unwrap(), "--format", "json"], &mut out, false);
    if status == 2 {
        return (status, Vec::new());
    }
    let found: Value = serde_json::from_slice(&out).unwrap();
    (status, found["problems"].as_array().unwrap().clone())
}

/// Line, level or name, and field of each finding.
fn brief(text: &str) -> Vec<(u64, String, String)> {
    let text_of = |problem: &Value, name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    let (_, problems) = found(text);
    let brief = problems.iter().map(|problem| {
        let level = problem["name"].as_str().map_or_else(|| text_of(problem, "level"), str::to_owned);
        (problem["line"].as_u64().unwrap(), level, text_of(problem, "field"))
    });
    brief.collect()
}

fn printed(text: &str, options: &[&str], has_colour: bool) -> (u8, String) {
    let file = File::new(text);
    let mut out = Vec::new();
    let arguments = ["authgate", "check", file.0.to_str().unwrap()];
    let status = run(arguments.iter().chain(options), &mut out, has_colour);
    (status, String::from_utf8(out).unwrap().replace(file.0.to_str().unwrap(), "FILE"))
}

#[test]
fn findings_are_printed_as_readable_lines() {
    let text = "auth_service: {cluster: c}\nrules:\n  - match: {prefix: '/a/*'}\n";
    let (status, text_found) = printed(text, &[], false);
    assert_eq!(status, 0);
    assert_eq!(
        text_found,
        "FILE:3: warning[pattern-in-prefix]: rules[0].match.prefix: `*` has no special meaning \
         here; a prefix already covers everything below it\n1 configuration: 0 errors, 1 warning\n"
    );
    assert_eq!(printed(text, &["--strict"], false).0, 1);
    assert!(printed(text, &[], true).1.contains("\x1b[33mwarning[pattern-in-prefix]\x1b[0m"));
    assert_eq!(
        printed("auth_service: {cluster: c}\n", &["--strict"], false),
        (0, "1 configuration: 0 errors, 0 warnings\n".to_owned())
    );
}

#[test]
fn a_file_that_is_no_configuration_is_a_usage_error() {
    assert_eq!(run(["authgate", "check", "/nowhere/at/all"], &mut Vec::new(), false), 2);
    assert_eq!(run(["authgate", "check"], &mut Vec::new(), false), 2);
    for text in ["", "kind: Service\nspec: {}\n", "static_resources: {listeners: []}\n", "services: {}\n", "[]\n"] {
        assert_eq!(found(text).0, 2, "{text}");
    }
}

#[test]
fn a_misspelled_auth_service_is_an_error_of_the_configuration() {
    for name in ["auth_servce", "authService", "auth-service"] {
        let (status, problems) = found(&format!("{name}: {{cluster: c}}\n"));
        let fields: Vec<_> = problems.iter().map(|problem| problem["field"].as_str().unwrap()).collect();
        assert_eq!((status, fields), (1, vec![name, "auth_service"]), "{problems:?}");
        assert_eq!(problems[0]["problem"], "is not a field; did you mean auth_service?");
    }
}

#[test]
fn a_file_that_cannot_be_read_hides_no_findings_of_others() {
    let wrong = File::new("auth_service: {cluster: c}\nx: 1\n");
    let none = File::new("kind: Service\n");
    let (wrong, none) = (wrong.0.to_str().unwrap(), none.0.to_str().unwrap());
    for files in [[wrong, "/nowhere/at/all"], ["/nowhere/at/all", wrong], [none, wrong], [wrong, none]] {
        let mut out = Vec::new();
        let status = run(["authgate", "check"].into_iter().chain(files), &mut out, false);
        let printed = String::from_utf8(out).unwrap();
        assert_eq!(status, 2, "{printed}");
        assert!(printed.contains(":2: error: x: is not a field"), "{files:?}: {printed}");
        assert!(printed.ends_with("1 configuration: 1 error, 0 warnings\n"), "{printed}");
    }
}

#[test]
fn invalid_yaml_is_an_error_with_its_line() {
    let (status, problems) = found("auth_service: {cluster: c}\nrules: [\n");
    assert_eq!((status, problems.len()), (1, 1));
    assert!(problems[0]["line"].as_u64().unwrap() >= 2, "{problems:?}");
}

#[test]
fn invalid_yaml_is_told_from_an_invalid_configuration() {
    for (text, line, problem) in [
        (
            "auth_service: {cluster: c}\nrules:\n- match: {prefix: /, hosts: [*.example.com]}\n",
            3,
            "not valid YAML: while parsing node, found unknown anchor; a text that begins with `*` needs quotes",
        ),
        (
            "auth_service: {cluster: c}\nrevocation:\n  path: /x\n  poll_interval:30s\n  cluster: z\n",
            5,
            "not valid YAML: simple key expect ':' (the mistake may be in the line before)",
        ),
        (
            "auth_service:\n  cluster: c\n\t  timeout: 1s\n",
            3,
            "not valid YAML: a tab in the indentation, where only spaces are allowed",
        ),
        (
            "auth_service:\n  cluster: c\nrules:\n- match: {prefix: /}\n\tpublic: true\n",
            5,
            "not valid YAML: a tab in the indentation, where only spaces are allowed",
        ),
        (
            "{\n\t\"auth_service\": {\"cluster\": \"c\"}\n\t\"cache\": {}\n}",
            3,
            "not valid JSON: expected `,` or `}` (the mistake may be in the line before)",
        ),
    ] {
        let (status, problems) = found(text);
        let [error] = problems.as_slice() else { panic!("{text}: {problems:?}") };
        assert_eq!(
            (status, error["line"].as_u64(), error["problem"].as_str()),
            (1, Some(line), Some(problem)),
            "{text}"
        );
    }
    let map = "kind: ConfigMap\ndata:\n  config.yaml: |\n    auth_service:\n      cluster: c\n    \tx: 1\n";
    assert_eq!(found(map).1[0]["line"], 6);
}

#[test]
fn errors_carry_the_line_and_the_filters_message() {
    for (text, line, field) in [
        ("auth_service:\n  cluster: c\n  tiemout: 1s\n", 3, "auth_service.tiemout"),
        ("auth_service: {cluster: c}\ncache:\n  ttl: 300\n", 3, "cache.ttl"),
        ("auth_service: {cluster: c}\nrules:\n- match: {path: /}\n- match:\n    path: x\n", 5, "rules[1].match.path"),
        ("{\"auth_service\": {\n\"cluster\": \"c\",\n\"retries\": 9}}", 3, "auth_service.retries"),
        ("jwt: {}\n", 1, "auth_service"),
    ] {
        let (status, problems) = found(text);
        let config = crate::cli::tree::parse(text, 1).unwrap().remove(0).to_json();
        let error = crate::config::Config::from_bytes(config.as_bytes()).unwrap_err().to_string();
        let [problem] = problems.as_slice() else { panic!("{text}: {problems:?}") };
        let message = format!("{}: {}", problem["field"].as_str().unwrap(), problem["problem"].as_str().unwrap());
        assert_eq!((status, problem["line"].as_u64(), message), (1, Some(line), error), "{text}");
        assert!(problem["field"].as_str().unwrap().starts_with(field), "{problem}");
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    let text = "auth_service:\n  cluster: c\n  retries: 9\nrules:\n  - match: {prefix: x}\n  - match: {}\nzz: 1\n";
    let fields: Vec<_> = brief(text).into_iter().map(|(line, _, field)| (line, field)).collect();
    let expected = [(3, "auth_service.retries"), (5, "rules[0].match.prefix"), (6, "rules[1].match"), (7, "zz")];
    assert_eq!(fields, expected.map(|(line, field)| (line, field.to_owned())));
}
