//! Services that don't speak all formats, and `--response-format`.

use super::*;

#[test]
fn only_the_wanted_formats_are_tested() {
    let only_json: server::Change = |asked, reply| {
        at(VERIFY, asked, reply, |r| if r.status == 200 { Reply::json(200, &of_api_token(json!({}))) } else { r })
    };
    let with = |more: &[&str]| {
        let server = Server::start(only_json);
        found_at(&format!("http://{}", server.address), &[&["--username", "u", "--password", "p"], more].concat())
    };
    assert_eq!(with(&[]).0, 1);
    let (status, findings) = with(&["--response-format", "json_body"]);
    assert_eq!(status, 0, "{findings:#?}");
    let cases: Vec<_> = findings.iter().filter_map(|finding| finding["case"].as_str()).collect();
    for expected in ["json_body: a valid API token", "json_body: a refresh token", "another's secret"] {
        assert!(cases.iter().any(|case| case.contains(expected)), "{expected}: {cases:#?}");
    }
    assert!(!cases.iter().any(|case| case.contains("jwt_body")), "{cases:#?}");
    assert_eq!(with(&["--response-format", "json_body", "--response-format", "jwt_body"]).0, 1);
}

#[test]
fn an_unknown_format_is_refused_with_the_known_ones() {
    let arguments = ["authgate", "service-check", "http://a", "--response-format", "json"];
    let error = Arguments::try_parse_from(arguments).unwrap_err().to_string();
    assert!(error.contains("json_body, json_header, jwt_body, jwt_header"), "{error}");
}

#[test]
fn the_same_difference_of_refusals_is_told_once() {
    let bare: server::Change =
        |asked, reply| at(VERIFY, asked, reply, |r| if r.status == 401 { Reply::text(401, "") } else { r });
    let (status, findings) = found(bare);
    let is_told = |finding: &&Value| finding["found"].as_str().is_some_and(|found| found.contains("two texts"));
    assert_eq!((status, findings.iter().filter(is_told).count()), (0, 1), "{findings:#?}");
}
