//! Values for each kind of field.

use serde_json::{Value, json};

use crate::claims::ClaimPath;
use crate::config::table::{HeaderUse, Kind, Text, names};

/// Values that are wrong for most fields.
pub(super) fn wrong() -> Vec<Value> {
    vec![
        json!(null),
        json!(-1),
        json!(1.5),
        json!(300),
        json!("x y"),
        json!(""),
        json!(true),
        json!([]),
        json!({}),
        json!({"zz": 1}),
    ]
}

/// Good and bad values of this kind.
///
/// - `of`: what the headers are for, if it holds their names.
pub(super) fn of(kind: &Kind, of: HeaderUse) -> Vec<Value> {
    match kind {
        Kind::Flag => vec![json!(false), json!("true")],
        Kind::Whole { least, most } => {
            let (least, most) = (i64::from(*least), i64::from(*most));
            vec![json!(least), json!(most), json!(least - 1), json!(most + 1), json!(most.to_string())]
        }
        Kind::Duration { least, most } => {
            let others = ["0s", "9999h", "1", "1 s", "1d", "-1s", "1h30m", "1.2345s", "1.s", ".5s", "9999999999999h"];
            others.iter().chain([least, most]).map(|text| json!(text)).collect()
        }
        Kind::Word(words) | Kind::FlagOr(words) => {
            words.iter().flat_map(|word| [json!(word), json!(word.to_uppercase()), json!(format!("{word}s"))]).collect()
        }
        Kind::Text(form) => texts(*form, of).into_iter().map(Value::String).collect(),
        Kind::OrNull(inner) => self::of(inner, of),
        Kind::List(inner) | Kind::Distinct(inner) => {
            let entries: Vec<_> = self::of(inner, of).into_iter().chain(wrong()).collect();
            let pairs =
                entries.iter().take(2).flat_map(|one| entries.iter().take(9).map(move |other| json!([one, other])));
            entries.iter().map(|entry| json!([entry])).chain(pairs).collect()
        }
        Kind::Object(_) => Vec::new(),
        Kind::ObjectOrObjects(_) => {
            [r#"[{}]"#, r#"[{"sso": true}]"#, r#"[{"sso": true}, {}]"#, r#"[[]]"#].map(parsed).into()
        }
        Kind::Headers(_) => headers(of),
        Kind::Integer => ["1", "1.0", "-9007199254740991", "-9007199254740992", "9007199254740992", "1e300", "\"1\""]
            .map(parsed)
            .into(),
        Kind::Claims => claims(),
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect(text)
}

fn headers(of: HeaderUse) -> Vec<Value> {
    let named = header_names(of).into_iter().map(|name| json!({name: "jti"}));
    let of_claims = ClaimPath::NAMES.iter().map(|(_, claim)| json!({"X-A": claim}));
    let others = [
        r#"{"X-A": "userid"}"#,
        r#"{"X-A": "role_params"}"#,
        r#"{"X-A": ""}"#,
        r#"{"X-A": 1}"#,
        r#"{"X-A": null}"#,
        r#"{"X-User-Email": null}"#,
        r#"{"x_user.email": null}"#,
        r#"{"X-User-Email": "userid"}"#,
        r#"{"X-A": "jti", "X-B": "jti"}"#,
    ];
    named.chain(of_claims).chain(others.map(parsed)).collect()
}

fn claims() -> Vec<Value> {
    let typed = ClaimPath::NAMES.iter().flat_map(|(_, name)| {
        [json!(["a"]), json!([1]), json!([true])].into_iter().map(move |values| json!({*name: values}))
    });
    let long = |length: usize| json!({"x".repeat(length): [1]});
    let others = [
        r#"{"x": []}"#,
        r#"{"x": "a"}"#,
        r#"{"x": [null]}"#,
        r#"{"x": [["a"]]}"#,
        r#"{"x": [1.5]}"#,
        r#"{"x": [9007199254740992]}"#,
        r#"{"x": [-9007199254740992]}"#,
        r#"{"x": [1, 1.0]}"#,
        r#"{"x": [1.0]}"#,
        r#"{"x": ["a", "a"]}"#,
        r#"{"x": ["a", 1, true]}"#,
        r#"{"user_id": [9007199254740992]}"#,
        r#"{"user_id": [-9007199254740992]}"#,
        r#"{"user_id": []}"#,
        r#"{"user_id": 1}"#,
        r#"{"user_id": [1, 1]}"#,
        r#"{"a..b": [1]}"#,
        r#"{".a": [1]}"#,
        r#"{"a.": [1]}"#,
        r#"{"a.b.c.d.e.f.g.h": [1]}"#,
        r#"{"a.b.c.d.e.f.g.h.i": [1]}"#,
    ];
    typed.chain([long(256), long(257)]).chain(others.map(parsed)).collect()
}

/// Names of headers: those that can't be used so, others that look like them, and others that are no names.
fn header_names(of: HeaderUse) -> Vec<String> {
    let refused = names(of);
    let longer = refused.prefixes.iter().map(|prefix| format!("{prefix}a"));
    let spelled = refused.names.iter().cloned().chain(longer).flat_map(|name| {
        let upper = name.to_uppercase().replace('-', "_");
        [name.clone(), upper, format!("{name}x"), format!("x{name}")]
    });
    let others = ["X-Fine", "x.fine!", "X-Forwarded-Proxy", "X-Request-Id", "", "a b", ":path", "X-é", "a\n"];
    spelled.chain(others.map(str::to_owned)).collect()
}

/// Good and bad texts of this form.
fn texts(form: Text, of: HeaderUse) -> Vec<String> {
    let texts: &[&str] = match form {
        Text::HeaderName => return header_names(of),
        Text::Claim => return ClaimPath::NAMES.iter().map(|(_, name)| (*name).to_owned()).collect(),
        Text::ClaimName => {
            return ["jti", "a.b", "a..b", ".", "a.", "a.b.c.d.e.f.g.h", "a.b.c.d.e.f.g.h.i"]
                .map(str::to_owned)
                .into_iter()
                .chain([256, 257].map(|length| "x".repeat(length)))
                .collect();
        }
        Text::Host => {
            let label = "a.".repeat(130);
            let long = [format!("{label}b"), format!("{label}bb"), format!("*.{label}b:*")];
            return HOSTS.iter().map(|host| (*host).to_owned()).chain(long).collect();
        }
        Text::RuleName => {
            let long = [64, 65].map(|length| "a".repeat(length));
            return ["a", "Z0_-", "none", "nones", "1a", "_a", "a.b", "é"]
                .map(str::to_owned)
                .into_iter()
                .chain(long)
                .collect();
        }
        Text::Some => &["a", " ", "é"],
        Text::Cluster => &["a-b_c", "a\tb", "é", "a\n", "http://a", "outbound|80||a.b"],
        Text::Authority => AUTHORITIES,
        Text::ServicePath => &["/", "/a?b=c", "a", "/a b", "/a#b", "/é", "/a\n"],
        Text::OwnPath => &["/", "/a/b", "a", "/a?b", "/a b", "/a#b", "/é"],
        Text::Realm => &["a", "a b", "a\"b", "a\\b", "a\r\nb", "é"],
        Text::Scope => &["read", "a:b", "a\"b", "a\\b", "é"],
        Text::Url | Text::Resource => URLS,
        Text::Origin => ORIGINS,
        Text::CookieName => &["session", "__Host-session", "a=b", "a;b", "é"],
        Text::RulePath => PATHS,
        Text::Regex => &["/a", "/v[0-9]+/.*", "/c(", "a)|(?:b", "(?:a{1000}){1000}", r"\p{L}"],
        Text::Method => &["GET", "M-SEARCH", "get", "G ET", "GET\n", "PUT1"],
        Text::Pem => return keys(),
    };
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn keys() -> Vec<String> {
    let good = include_str!("../../public_key/testdata/rsa_2048.pem");
    let begin = "-----BEGIN PUBLIC KEY-----";
    let end = "-----END PUBLIC KEY-----";
    let bad = [
        begin.to_owned(),
        end.to_owned(),
        format!("{begin}{end}"),
        format!("{begin}\nAAAA\n{end}"),
        format!("{begin}\nA*AA\n{end}"),
        format!("{good}\nx"),
        good.replace("PUBLIC", "PRIVATE"),
    ];
    [good.to_owned(), format!("\n {good}\n\n"), good.replace('\n', "\r\n")].into_iter().chain(bad).collect()
}

const AUTHORITIES: &[&str] = &[
    "auth",
    "a_b",
    "auth.",
    "a:80",
    "a:00080",
    "a:0",
    "a:65535",
    "192.0.2.1:80",
    "[::1]",
    "[::1]:80",
    "[::ffff:1.2.3.4]",
    "a:65536",
    "a:99999",
    "a:100000",
    "auth:",
    "auth:+80",
    "auth:x",
    ":80",
    "::1",
    "[::1",
    "[::1]80",
    "[auth]",
    "[1]",
    "-",
    "._-",
    "u@auth",
    "auth/",
    "http://auth",
    "a:1:2",
    "outbound|80||auth",
    "a\r\nb",
    "é",
];

const HOSTS: &[&str] = &[
    "a.example",
    "A.Example",
    "a_b-c",
    "a.example:*",
    "*.example.org",
    "*.example.org:*",
    "192.0.2.1",
    "192.0.2.1:*",
    "*.192.0.2.1",
    "[::1]",
    "[::1]:*",
    "[2001:DB8::1]",
    "1.example",
    "0x.example",
    "256a",
    "a.example:80",
    "a.example:",
    "a.example.",
    "*",
    "*:*",
    "*.",
    "*a.example",
    "a.*.example",
    "a*.example",
    "**.example",
    "a..b",
    ".a",
    "a b",
    "é",
    "http://a",
    "a/b",
    "[::1]:80",
    "[::0:1]",
    "[0:0:0:0:0:0:0:1]",
    "[a]",
    "[]",
    "*.[::1]",
    "::1",
    "127.1",
    "1",
    "a.1",
    "0x7f000001",
    "a.0X",
    "01.2.3.4",
    "1.2.3.256",
    "1.2.3.4.5",
    "a:*:*",
];

const URLS: &[&str] = &[
    "https://a.example",
    "https://a.example/",
    "https://a.example:8443/b?c=d&e=%20",
    "https://a.example/b?",
    "https://[::1]/a",
    "https://a_b/~c;d",
    "https://a.example/[b]@c!$'()*+,=:",
    "https://a.example?b",
    "https://",
    "https:///a",
    "https://?a",
    "http://a.example",
    "HTTPS://a.example",
    "https://a@b.example",
    "https://a.example:65536",
    "https://a.example:/",
    "https://a.example/#b",
    "https://a.example/\"><script>",
    "https://a.example/\\",
    "https://a.example/b c",
    "https://a.example/{b}",
    "https://a.example/^",
    "https://a.example/`",
    "https://a.example/a|b",
    "https://a.example/é",
    "https://a.example?b\"c",
    "https://a.example\n",
    "javascript:alert(1)",
    "a",
];

const ORIGINS: &[&str] = &[
    "https://a.example",
    "http://a.example:8080",
    "https://a.example:80",
    "http://a.example:443",
    "app://localhost",
    "https://[::1]",
    "a://b:443",
    "https://a.example:443",
    "http://a.example:80",
    "https://a.example/",
    "https://A.example",
    "*",
    "https://*",
    "https://",
    "://a",
    "a.example",
    "null",
    "https://a.example?b",
];

const PATHS: &[&str] = &[
    "/",
    "/a",
    "/a/",
    "/a/b.c",
    "/.a",
    "/...",
    "/a/..b",
    "/a..",
    "/~a@b:c!$&'()*+,=<>^`{|}\"[]",
    "/.../b",
    "a",
    "//",
    "//a",
    "/a//b",
    "/a//",
    "/.",
    "/..",
    "/./a",
    "/../a",
    "/a/.",
    "/a/..",
    "/a/./b",
    "/a/../b",
    "/a%20b",
    "/%61",
    "/a%",
    "/a\\b",
    "/a;b",
    "/a?b",
    "/a#b",
    "/a b",
    "/é",
    "/a\n",
    "/a\tb",
];
