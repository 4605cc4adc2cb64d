//! The JSON Schema of the configuration, in an independent validator.

use std::{
    fs,
    path::{Path, PathBuf},
};

use authgate::config::table::CONFIGURATION;
use authgate::config::{Config, mistakes};
use jsonschema::Validator;
use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn validator() -> Validator {
    let schema = fs::read_to_string(root().join("docs/authgate.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    jsonschema::draft7::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// Whether `authgate check` accepts the file.
fn is_accepted(file: &Path) -> bool {
    authgate::cli::run(["authgate", "check", file.to_str().unwrap()], &mut Vec::new(), false) == 0
}

/// A document that is a part of a configuration, with what it lacks.
fn completed(document: &Value) -> Option<Value> {
    let members =
        document.as_object().filter(|members| !members.is_empty() && !members.contains_key("auth_service"))?;
    let is_field = |name: &String| CONFIGURATION.iter().any(|field| field.name == name);
    let mut whole = members.clone();
    whole.insert("auth_service".to_owned(), json!({"cluster": "auth_service"}));
    members.keys().all(is_field).then_some(Value::Object(whole))
}

/// The configurations of the filter inside a document.
fn inside(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(members) if members.contains_key("auth_service") => found.push(value.clone()),
        Value::Object(members) => members.values().for_each(|value| inside(value, found)),
        Value::Array(entries) => entries.iter().for_each(|value| inside(value, found)),
        _ => {}
    }
}

/// The files in a folder and in those below it, except what was built, with one of these extensions.
fn files(folder: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            files(&path, extensions, found);
        } else if path.extension().is_some_and(|kind| extensions.iter().any(|extension| kind == *extension)) {
            found.push(path);
        }
    }
}

/// The configurations in the files that are shipped, and in the pages.
fn examples() -> Vec<(String, Value)> {
    let (mut shipped, mut pages) = (Vec::new(), vec![root().join("README.md")]);
    for folder in ["envoy", "examples"] {
        files(&root().join(folder), &["yaml", "json"], &mut shipped);
    }
    files(&root().join("docs"), &["md"], &mut pages);
    let named = |path: PathBuf| (path.display().to_string(), fs::read_to_string(&path).unwrap());
    let mut texts: Vec<_> = shipped.into_iter().map(named).collect();
    for (name, text) in pages.into_iter().map(named) {
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        texts.extend(blocks.map(|block| (name.clone(), block.to_owned())));
    }
    let mut examples = Vec::new();
    for (name, text) in texts {
        for document in serde_norway::Deserializer::from_str(&text) {
            let document: Value = serde::Deserialize::deserialize(document).unwrap_or_default();
            let mut found = Vec::new();
            inside(&document, &mut found);
            if name.ends_with(".md") {
                found.extend(completed(&document));
            }
            examples.extend(found.into_iter().map(|config| (name.clone(), config)));
        }
    }
    examples
}

/// Whether the block in the page has nothing but `rules`.
fn is_rules_alone(config: &Value) -> bool {
    config["rules"].is_array() && config.as_object().is_some_and(|members| members.len() == 2)
}

#[test]
fn the_schema_accepts_every_example() {
    let validator = validator();
    let examples = examples();
    assert!(examples.len() >= 15, "{} examples", examples.len());
    let rules_alone = examples.iter().filter(|(name, config)| name.ends_with("reference.md") && is_rules_alone(config));
    assert!(rules_alone.count() >= 2, "the blocks of Rules and Require");
    for (name, config) in examples {
        let bytes = config.to_string();
        assert!(Config::from_bytes(bytes.as_bytes()).is_ok(), "{name}: {bytes}");
        let errors: Vec<_> = validator.iter_errors(&config).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn each_example_names_the_schema_for_editors() {
    let folder = root().join("examples/configurations");
    let mut examples = Vec::new();
    files(&folder, &["yaml"], &mut examples);
    assert!(examples.len() >= 6, "{examples:?}");
    for file in examples {
        let text = fs::read_to_string(&file).unwrap();
        let first = text.lines().next().unwrap_or_default();
        let named = first.strip_prefix("# yaml-language-server: $schema=").map(|path| folder.join(path));
        let schema = named.unwrap_or_else(|| panic!("{}: {first}", file.display()));
        assert_eq!(schema.canonicalize().unwrap(), root().join("docs/authgate.schema.json").canonicalize().unwrap());
        let config: Value = serde_norway::from_str(&text).unwrap();
        assert!(validator().is_valid(&config), "{}: {:?}", file.display(), validator().validate(&config));
    }
}

#[test]
fn the_schema_accepts_what_the_filter_accepts() {
    let validator = validator();
    let mut accepted = 0;
    for entry in fs::read_dir(root().join("wasm-tests/fuzz/corpus/configuration")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(config) = serde_json::from_slice::<Value>(&fs::read(&path).unwrap()) else { continue };
        if is_accepted(&path) {
            accepted += 1;
            assert!(validator.is_valid(&config), "{}: {:?}", path.display(), validator.validate(&config));
        }
    }
    assert!(accepted >= 2, "{accepted}");
}

/// Each has one field that makes it invalid.
const BAD: &[&str] = &[
    "{}",
    "[]",
    "null",
    "\"auth_service\"",
    r#"{"auth_service": {}}"#,
    r#"{"auth_service": {"cluster": 1}}"#,
    r#"{"auth_service": {"cluster": ""}}"#,
    r#"{"auth_service": {"cluster": "a b"}}"#,
    r#"{"auth_service": {"cluster": "http://c"}}"#,
    r#"{"auth_service": {"cluster": "c", "authority": "http://c"}}"#,
    r#"{"auth_service": {"cluster": "c", "scheme": "HTTP"}}"#,
    r#"{"auth_service": {"cluster": "c", "verify_path": "verify"}}"#,
    r#"{"auth_service": {"cluster": "c", "verify_path": "/a#b"}}"#,
    r#"{"auth_service": {"cluster": "c", "timeout": 1}}"#,
    r#"{"auth_service": {"cluster": "c", "timeout": "1"}}"#,
    r#"{"auth_service": {"cluster": "c", "timeout": "1 s"}}"#,
    r#"{"auth_service": {"cluster": "c", "timeout": "1d"}}"#,
    r#"{"auth_service": {"cluster": "c", "retries": 4}}"#,
    r#"{"auth_service": {"cluster": "c", "retries": -1}}"#,
    r#"{"auth_service": {"cluster": "c", "retries": 0.5}}"#,
    r#"{"auth_service": {"cluster": "c", "retries": "1"}}"#,
    r#"{"auth_service": {"cluster": "c", "tiemout": "1s"}}"#,
    r#"{"auth_service": {"cluster": "c"}, "profile": "prod"}"#,
    r#"{"auth_service": {"cluster": "c"}, "jwt": null}"#,
    r#"{"auth_service": {"cluster": "c"}, "jwt": {"token_types": []}}"#,
    r#"{"auth_service": {"cluster": "c"}, "jwt": {"token_types": ["refresh"]}}"#,
    r#"{"auth_service": {"cluster": "c"}, "jwt": {"token_types": ["access", "access"]}}"#,
    r#"{"auth_service": {"cluster": "c"}, "jwt": {"issuers": [""]}}"#,
    r#"{"auth_service": {"cluster": "c"}, "jwt": {"public_key": {"pem": ["x"]}}}"#,
    r#"{"auth_service": {"cluster": "c"}, "api_token": {"response_format": "json"}}"#,
    r#"{"auth_service": {"cluster": "c"}, "cache": {"ttl": 300}}"#,
    r#"{"auth_service": {"cluster": "c"}, "cache": {"max_entries": 0}}"#,
    r#"{"auth_service": {"cluster": "c"}, "circuit_breaker": {"fallback": "true"}}"#,
    r#"{"auth_service": {"cluster": "c"}, "revocation": {"path": "list"}}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": {}}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {}}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "x"}}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a", "prefix": "/a"}}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"regex": ""}}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"methods": ["get"]}}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"methods": []}}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "public": true, "verification": "local"}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "public": true, "require": {"token_types": ["access"]}}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "require": {}}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "require": []}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "require": [{}]}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "require": {"sso": "true"}}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "require": {"client_ids": [1.5]}}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "require": {"claims": {"a": []}}}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "require": {"claims": {"a..b": [1]}}}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "require": {"claims": {"a": [null]}}}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "deny": true, "optional": true}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "deny": true, "forward_credential": true}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "name": "none"}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "name": "1a"}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "rules": [{"match": {"path": "/a"}, "mode": "off"}]}"#,
    r#"{"auth_service": {"cluster": "c"}, "identity_headers": {"X Y": "user_id"}}"#,
    r#"{"auth_service": {"cluster": "c"}, "identity_headers": {"X-Y": 1}}"#,
    r#"{"auth_service": {"cluster": "c"}, "strip_headers": ["a b"]}"#,
    r#"{"auth_service": {"cluster": "c"}, "forward_credential": "JWT"}"#,
    r#"{"auth_service": {"cluster": "c"}, "responses": {"realm": "a\"b"}}"#,
    r#"{"auth_service": {"cluster": "c"}, "responses": {"cors_origins": ["*"]}}"#,
];

#[test]
fn the_schema_refuses_values_that_are_wrong_by_themselves() {
    let validator = validator();
    let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    for bad in BAD {
        let config: Value = serde_json::from_str(bad).unwrap();
        assert!(!validator.is_valid(&config), "{bad}");
        fs::write(file.path(), bad).unwrap();
        assert!(!is_accepted(file.path()), "{bad}");
    }
}

/// What a schema can't refuse: words of the parser's message, and why.
const BEYOND: &[(&str, &str)] = &[
    (", but must be from ", "a length is a product of number and unit"),
    ("is not a valid regular expression", "only the compiler of regular expressions knows"),
    ("its compiled form is larger than", "only the compiler of regular expressions knows"),
    (r"Unicode properties like \p{L} are not supported", "only the compiler of regular expressions knows"),
    ("has several spellings; write \"[::1]\"", "only a parser of IPv6 addresses knows"),
    ("]: not an RSA public key", "only a parser of keys knows"),
    ("rules[1].name: \"a\" is already the name of rules[0]", "two texts are equal"),
    ("readiness: is already the path of health", "two texts are equal"),
    ("health: is already the path of the resource metadata", "two texts are equal"),
    ("client_id: is already the header of another claim", "two texts are equal"),
    ("identity_headers.X_API_Key: is a header that holds credentials", "two texts are equal"),
    ("\"x.api.key\" is a header that holds credentials", "two texts are equal"),
    ("\"x_a\" is a header that no client may send", "two texts are equal"),
    ("identity_headers.X_A: is listed twice", "two texts are spellings of one name"),
    ("\"x.a\" is listed twice", "two texts are spellings of one name"),
    ("\"x-a\" is given twice", "two texts are spellings of one name"),
];

#[test]
fn the_schema_and_the_filter_agree_on_good_and_bad_configurations() {
    let validator = validator();
    let (mut good, mut refused, mut accepted) = (0, 0, [0; BEYOND.len()]);
    for config in mistakes::configurations() {
        match Config::from_bytes(config.to_string().as_bytes()) {
            Ok(_) => {
                good += 1;
                assert!(validator.is_valid(&config), "{config} is good: {:?}", validator.validate(&config));
            }
            Err(_) if !validator.is_valid(&config) => refused += 1,
            Err(errors) => {
                for error in errors.iter().map(ToString::to_string) {
                    let place = BEYOND.iter().position(|(words, _)| error.contains(words));
                    accepted[place.unwrap_or_else(|| panic!("the schema accepts {config}: {error}"))] += 1;
                }
            }
        }
    }
    assert!(good >= 500 && refused >= 2000, "{good} good, {refused} refused");
    for ((words, why), count) in BEYOND.iter().zip(accepted) {
        assert!(count > 0, "no such error, or the schema refuses it: {words}: {why}");
    }
}
