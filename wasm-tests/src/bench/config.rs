//! Envoy's configuration: a gateway with one listener per contender, and an Envoy behind it that plays both the
//! upstream and the auth service.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::tokens::{REVOKED_API_TOKEN, Tokens};
use crate::{Bootstrap, bootstrap as patches, corpus::keys::Signer};

const TYPE: &str = "type.googleapis.com/envoy.extensions.filters";

/// A listener of the gateway: its filters, and the routes behind them.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) name: String,
    filters: Vec<Value>,
    routes: Vec<Value>,
}

impl Listener {
    /// All requests go to the upstream.
    pub(crate) fn new(name: &str, filters: Vec<Value>) -> Self {
        Self { name: name.to_owned(), filters, routes: vec![upstream()] }
    }

    /// The same, but requests with a JWT don't pass through ext_authz.
    pub(crate) fn without_ext_authz_for_jwts(mut self) -> Self {
        let mut jwt = upstream();
        jwt["match"]["headers"] = json!([{"name": "authorization", "string_match": {"prefix": "Bearer "}}]);
        jwt["typed_per_filter_config"]["envoy.filters.http.ext_authz"] =
            json!({"@type": format!("{TYPE}.http.ext_authz.v3.ExtAuthzPerRoute"), "disabled": true});
        self.routes.insert(0, jwt);
        self
    }
}

fn upstream() -> Value {
    json!({"match": {"prefix": "/"}, "route": {"cluster": "upstream"}})
}

/// Where the two services behind the gateway listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Services {
    pub(crate) upstream: SocketAddr,
    pub(crate) auth: SocketAddr,
}

/// The gateway.
pub(crate) fn gateway(listeners: Vec<Listener>, services: Services) -> Bootstrap {
    let listeners: Vec<Value> =
        listeners.into_iter().map(|one| listener(&one.name, one.filters, &json!(one.routes))).collect();
    let clusters = [cluster("upstream", services.upstream), cluster("auth_service", services.auth)];
    bootstrap(&json!(listeners), &json!(clusters))
}

/// The services: an upstream, an auth service that answers at once, and one that takes 20 ms. They also have revocation
/// lists of these lengths.
pub(crate) fn services(lists: &[usize]) -> Bootstrap {
    let answer = |status: u16, body: &str| json!({"status": status, "body": {"inline_string": body}});
    let always = |status, body: &str| json!({"match": {"prefix": "/"}, "direct_response": answer(status, body)});
    let routes = auth_routes(lists);
    let delay = json!({
        "name": "envoy.filters.http.fault",
        "typed_config": {
            "@type": format!("{TYPE}.http.fault.v3.HTTPFault"),
            "delay": {"fixed_delay": "0.020s", "percentage": {"numerator": 100}},
        },
    });
    let listeners = json!([
        listener("upstream", vec![], &json!([always(200, "hello")])),
        listener("auth", vec![], &routes),
        listener("slow_auth", vec![delay], &routes),
    ]);
    bootstrap(&listeners, &json!([]))
}

/// The auth service's answers: it refuses credentials with certain beginnings, and accepts the rest.
fn auth_routes(lists: &[usize]) -> Value {
    let direct = |matching: Value, status: u16, body: &Value| json!({"match": matching, "direct_response": {"status": status, "body": {"inline_string": body.to_string()}}});
    let refused = |beginning: &str| {
        let header = json!({"name": "authorization", "string_match": {"prefix": beginning}});
        direct(json!({"prefix": "/auth/verify", "headers": [header]}), 401, &json!({"error": "Invalid token"}))
    };
    let identity = super::tokens::claims("api_token", 1);
    let mut routes = Vec::new();
    for count in lists {
        // Nothing has changed since the first answer.
        let since = json!({"path": list_path(*count), "query_parameters": [{"name": "since", "present_match": true}]});
        routes.push(direct(since, 200, &Tokens::list_of(0)));
        routes.push(direct(json!({"path": list_path(*count)}), 200, &Tokens::list_of(*count)));
    }
    routes.extend([
        direct(json!({"path": "/iam/public-key"}), 200, &json!({"public_key": Signer::trusted().public_pem()})),
        direct(json!({"path": "/auth/blacklist"}), 200, &Tokens::revocation_list()),
        refused(REVOKED_API_TOKEN),
        refused(&Tokens::revoked_jwt_beginning()),
        direct(json!({"prefix": "/auth/verify"}), 200, &identity),
    ]);
    json!(routes)
}

/// The path of the revocation list of this length.
pub(crate) fn list_path(count: usize) -> String {
    format!("/auth/blacklist/{count}")
}

/// authgate as `envoy/envoy.yaml` ships it, with this module in a VM of its own.
///
/// # Errors
/// When the bootstrap has no such filter.
pub(crate) fn authgate(vm_id: &str, module: &Path, settings: &Value) -> Result<Value> {
    let mut shipped = Bootstrap::shipped()?;
    patches::merge(shipped.filter_config()?, settings);
    let filters =
        &mut crate::connection_manager(&mut shipped.value()["static_resources"]["listeners"][0])["http_filters"];
    let mut filter = filters[0].take();
    let vm = filter.pointer_mut("/typed_config/config/vm_config").context("authgate has no vm_config")?;
    vm["vm_id"] = json!(vm_id);
    vm["code"]["local"]["filename"] = json!(module);
    Ok(filter)
}

/// Another wasm filter with this configuration, in a VM of its own.
pub(crate) fn wasm(name: &str, module: &Path, configuration: &str) -> Value {
    json!({
        "name": name,
        "typed_config": {
            "@type": format!("{TYPE}.http.wasm.v3.Wasm"),
            "config": {
                "name": name,
                "failure_policy": "FAIL_RELOAD",
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration,
                },
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                },
            },
        },
    })
}

/// What [`jwt_authn`] requires of a request: a JWT.
pub(crate) fn a_jwt() -> Value {
    json!({"provider_name": "service"})
}

/// What [`jwt_authn`] requires of a request: a good JWT if it has one.
pub(crate) fn a_jwt_or_none() -> Value {
    json!({"requires_any": {"requirements": [a_jwt(), {"allow_missing": {}}]}})
}

/// Envoy's own filter for JWTs.
pub(crate) fn jwt_authn(requires: &Value, cached: bool) -> Value {
    let keys = json!({"keys": [Signer::trusted().jwk()]});
    let mut provider = json!({"local_jwks": {"inline_string": keys.to_string()}, "forward": true});
    if cached {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": 10_000});
    }
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": format!("{TYPE}.http.jwt_authn.v3.JwtAuthentication"),
            "providers": {"service": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": requires}],
        },
    })
}

/// Envoy's own filter that asks a service about every request.
pub(crate) fn ext_authz() -> Value {
    json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": format!("{TYPE}.http.ext_authz.v3.ExtAuthz"),
            "http_service": {
                "server_uri": {"uri": "http://auth_service", "cluster": "auth_service", "timeout": "1s"},
                "path_prefix": "/auth/verify",
            },
        },
    })
}

fn bootstrap(listeners: &Value, clusters: &Value) -> Bootstrap {
    Bootstrap::from(json!({
        "admin": {"address": address(SocketAddr::from(([127, 0, 0, 1], 0)))},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }))
}

fn listener(name: &str, filters: Vec<Value>, routes: &Value) -> Value {
    let mut filters = filters;
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": format!("{TYPE}.http.router.v3.Router")},
    }));
    let connection_manager = json!({
        "@type": format!("{TYPE}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": name,
        "route_config": {
            "max_direct_response_body_size_bytes": 8 << 20,
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
        },
        "http_filters": filters,
    });
    json!({
        "name": name,
        "address": address(SocketAddr::from(([127, 0, 0, 1], 0))),
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": connection_manager,
        }]}],
    })
}

fn cluster(name: &str, at: SocketAddr) -> Value {
    let limit = 10_000;
    json!({
        "name": name,
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [
            {"max_connections": limit, "max_pending_requests": limit, "max_requests": limit},
        ]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(at)}}]}],
        },
    })
}

fn address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip(), "port_value": at.port()}})
}
