//! Every token of the corpus gets its verdict, from the filter and from Envoy's own `jwt_authn`.

use http::Method;
use serde_json::{Value, json};
use wasm_tests::{
    Stack,
    corpus::{self, keys::Signer, request_to, seen, tokens},
};

use crate::jwt_authn_differences::DIFFERENCES;

/// Adds a second listener, whose only filter is `jwt_authn` with the same key.
fn add_jwt_authn(bootstrap: &mut Value) {
    let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
    let mut listener = listeners[0].clone();
    listener["name"] = json!("jwt_authn");
    let filters = listener.pointer_mut("/filter_chains/0/filters/0/typed_config/http_filters").unwrap();
    let jwks = json!({"keys": [Signer::trusted().jwk()]}).to_string();
    filters[0] = json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"service": {"local_jwks": {"inline_string": jwks}, "forward": true}},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "service"}}],
        },
    });
    listeners.push(listener);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_token_gets_its_verdict_and_jwt_authn_differs_as_listed() {
    let builder = Stack::builder().config(corpus::config()).fault(corpus::trusted_key()).envoy(add_jwt_authn);
    let stack = builder.start().await.unwrap();
    let cases = tokens::all();
    let bearer = |token: &[u8]| [b"Bearer ", token].concat();

    let ours = corpus::verdicts(&cases, |case| {
        let request = stack.get("/orders").header("authorization", bearer(&case.input));
        async move { Ok(seen(&request.send().await?)) }
    });
    let ours = ours.await.unwrap();
    let wrong = cases.iter().zip(&ours).filter(|(case, seen)| !case.expected.is(seen));
    let wrong: Vec<_> = wrong
        .map(|(case, seen)| format!("{}: got {seen}, expected {} ({})", case.name, case.expected, case.reason))
        .collect();
    assert!(wrong.is_empty(), "{} of {} tokens:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    // Only allowed requests reached the upstream, and no URL in a token was fetched.
    let allowed = ours.iter().filter(|seen| *seen == "200").count();
    assert_eq!(stack.upstream_hits(), allowed as u64);
    let counters = stack.counters().await.unwrap();
    assert_eq!((&counters["verify"], &counters["other"]), (&json!(0), &json!(0)), "{counters}");
    assert_eq!(stack.scars(&tokens::good()).await, Vec::<String>::new());

    let native = stack.listeners().await.unwrap().into_iter().find(|(name, _)| name == "jwt_authn").unwrap().1;
    let theirs = corpus::verdicts(&cases, |case| {
        let request = request_to(native, Method::GET, "/orders").header("authorization", bearer(&case.input));
        async move { Ok(seen(&request.send().await?)) }
    });
    let theirs = theirs.await.unwrap();
    assert!(theirs.iter().all(|seen| matches!(seen.as_str(), "200" | "401" | "403")), "{theirs:?}");
    let differences: Vec<_> = cases
        .iter()
        .zip(ours.iter().zip(&theirs))
        .filter(|(_, (ours, theirs))| (*ours == "200") != (*theirs == "200"))
        .map(|(case, (_, theirs))| {
            (if theirs == "200" { "jwt_authn accepts" } else { "authgate accepts" }, case.name.as_str())
        })
        .collect();
    let listed: Vec<_> =
        DIFFERENCES.iter().flat_map(|group| group.cases.iter().map(|case| (group.which, *case))).collect();
    let new: Vec<_> = differences.iter().filter(|difference| !listed.contains(difference)).collect();
    let gone: Vec<_> = listed.iter().filter(|difference| !differences.contains(difference)).collect();
    assert!(new.is_empty() && gone.is_empty(), "not in the list: {new:#?}\nno longer so: {gone:#?}");
}
