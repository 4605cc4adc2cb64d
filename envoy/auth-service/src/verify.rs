//! `/auth/verify`: the verdict on the credential of a request, in four formats.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::app::{App, Query, authorization};
use crate::error::ApiError;
use crate::jwt::Claims;
use crate::store::now;
use crate::tokens;

/// The claims that `json_header` answers with. `X-Platform-*` are the names in the service's integration guide.
const IDENTITY_HEADERS: [(HeaderName, &str); 7] = [
    (HeaderName::from_static("x-platform-user-id"), "user_id"),
    (HeaderName::from_static("x-platform-client-id"), "client_id"),
    (HeaderName::from_static("x-user-id"), "user_id"),
    (HeaderName::from_static("x-client-id"), "client_id"),
    (HeaderName::from_static("x-user-email"), "email"),
    (HeaderName::from_static("x-user-type"), "user_type"),
    (HeaderName::from_static("x-is-admin"), "is_admin"),
];

#[derive(Deserialize)]
pub(crate) struct VerifyQuery {
    header_types: Option<String>,
    /// `None`: the answer is both `json_body` and `json_header`.
    response_format: Option<Format>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    JsonBody,
    JsonHeader,
    JwtBody,
    JwtHeader,
}

/// The types of credential that the caller wants verified.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct HeaderTypes {
    apikey: bool,
    jwt: bool,
    other: bool,
}

impl HeaderTypes {
    fn parse(list: Option<&str>) -> Result<Self, ApiError> {
        let Some(list) = list else { return Ok(Self { apikey: true, jwt: true, other: true }) };
        let mut types = Self::default();
        for name in list.split(',') {
            match name {
                "apikey" => types.apikey = true,
                "jwt" => types.jwt = true,
                "other" => types.other = true,
                _ => {
                    return Err(ApiError::bad_request(
                        "header_types must be a comma-separated list of apikey, jwt and other",
                    ));
                }
            }
        }
        Ok(types)
    }
}

/// A credential to verify.
#[derive(Debug, Eq, PartialEq)]
enum Credential {
    ApiToken(String),
    Jwt(String),
}

/// The credential in `Authorization`, if the caller wants its type verified.
fn credential(authorization: &str, types: HeaderTypes) -> Result<Credential, ApiError> {
    let (scheme, value) = authorization.split_once(' ').unwrap_or(("", authorization));
    if types.apikey && scheme.eq_ignore_ascii_case("apikey") {
        Ok(Credential::ApiToken(value.to_owned()))
    } else if types.jwt && scheme.eq_ignore_ascii_case("bearer") {
        Ok(Credential::Jwt(value.to_owned()))
    } else if types.other {
        Ok(if value.contains('$') { Credential::ApiToken(value.to_owned()) } else { Credential::Jwt(value.to_owned()) })
    } else {
        Err(ApiError::Unauthorized("Authorization has a type that header_types does not list"))
    }
}

/// The verdict on a valid credential.
struct Verdict {
    claims: Map<String, Value>,
    jwt: Jwt,
}

/// The JWT of a verdict: the credential itself, or claims to sign if the format needs a JWT.
enum Jwt {
    Same(String),
    Sign(Box<Claims>),
}

pub(crate) async fn verify(
    State(app): State<Arc<App>>,
    Query(query): Query<VerifyQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let types = HeaderTypes::parse(query.header_types.as_deref())?;
    let verdict = match credential(authorization(&headers)?, types)? {
        Credential::ApiToken(token) => verify_api_token(&app, token).await?,
        Credential::Jwt(jwt) => verify_jwt(&app, jwt).await?,
    };
    match query.response_format {
        Some(Format::JsonBody) => Ok(axum::Json(verdict.claims).into_response()),
        Some(Format::JsonHeader) => {
            let jwt = authorization_with(&app, verdict.jwt).await?;
            Ok((jwt, identity_headers(&verdict.claims)).into_response())
        }
        None => {
            let jwt = authorization_with(&app, verdict.jwt).await?;
            Ok((jwt, identity_headers(&verdict.claims), axum::Json(verdict.claims)).into_response())
        }
        Some(Format::JwtBody) => {
            Ok(([(header::CONTENT_TYPE, "text/plain")], jwt_of(&app, verdict.jwt).await?).into_response())
        }
        Some(Format::JwtHeader) => Ok(authorization_with(&app, verdict.jwt).await?.into_response()),
    }
}

async fn verify_jwt(app: &Arc<App>, jwt: String) -> Result<Verdict, ApiError> {
    app.blocking(move |app| {
        let token = app.check_jwt(&jwt, &["access", "api_token"])?;
        Ok(Verdict { claims: token.claims, jwt: Jwt::Same(jwt) })
    })
    .await
}

async fn verify_api_token(app: &Arc<App>, token: String) -> Result<Verdict, ApiError> {
    let unknown = || ApiError::Unauthorized("API token is unknown");
    let (id, secret) = tokens::parse(&token).ok_or(ApiError::Unauthorized("API token is malformed"))?;
    let (stored, user) = app.blocking(move |app| Ok(app.store.token_and_user(id)?)).await?.ok_or_else(unknown)?;
    if !app.hasher.verify(stored.hash, secret.to_owned()).await? {
        return Err(unknown());
    }
    app.blocking(move |app| {
        let session_exp = app.access_exp(&user);
        let exp = stored.exp_date.unwrap_or(session_exp);
        if exp <= now() {
            return Err(ApiError::Unauthorized("Token has expired"));
        }
        if user.exp_before > exp {
            return Err(ApiError::Unauthorized("Token has been revoked"));
        }
        if user.disabled {
            return Err(ApiError::Disabled);
        }
        // Checked last: only the holder of the token may learn that it was deleted.
        if !app.store.touch_token(id, now())? {
            return Err(ApiError::Unauthorized("Token has been deleted"));
        }
        let mut claims = Claims::of_api_token(&user, id, exp);
        let Value::Object(map) = serde_json::to_value(&claims)? else { return Err(unknown()) };
        claims.exp = exp.min(session_exp);
        Ok(Verdict { claims: map, jwt: Jwt::Sign(Box::new(claims)) })
    })
    .await
}

/// `Authorization: Bearer <JWT>`.
async fn authorization_with(app: &Arc<App>, jwt: Jwt) -> Result<[(HeaderName, String); 1], ApiError> {
    Ok([(header::AUTHORIZATION, format!("Bearer {}", jwt_of(app, jwt).await?))])
}

async fn jwt_of(app: &Arc<App>, jwt: Jwt) -> Result<String, ApiError> {
    match jwt {
        Jwt::Same(jwt) => Ok(jwt),
        Jwt::Sign(claims) => app.blocking(move |app| Ok(claims.sign(&*app.key()?)?)).await,
    }
}

/// The identity as headers. A claim that no header can carry is left out.
fn identity_headers(claims: &Map<String, Value>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, claim) in IDENTITY_HEADERS {
        let value = match claims.get(claim) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => HeaderValue::from_str(text),
            Some(value) => HeaderValue::from_str(&value.to_string()),
        };
        if let Ok(value) = value {
            headers.insert(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(list: &str) -> HeaderTypes {
        HeaderTypes::parse(Some(list)).unwrap()
    }

    #[test]
    fn header_types_are_a_list_of_known_names() {
        assert_eq!(types("apikey"), HeaderTypes { apikey: true, jwt: false, other: false });
        assert_eq!(types("jwt,other,jwt"), HeaderTypes { apikey: false, jwt: true, other: true });
        assert_eq!(HeaderTypes::parse(None).unwrap(), types("apikey,jwt,other"));
        for list in ["", "apikey,", "basic", "APIKEY", "apikey, jwt"] {
            assert!(HeaderTypes::parse(Some(list)).is_err(), "{list}");
        }
    }

    #[test]
    fn the_scheme_decides_the_type_of_a_credential() {
        let api = |value: &str| Some(Credential::ApiToken(value.into()));
        let jwt = |value: &str| Some(Credential::Jwt(value.into()));
        for (authorization, list, expected) in [
            ("APIKey 1$a", "apikey", api("1$a")),
            ("apikey 1$a", "apikey,jwt", api("1$a")),
            ("APIKey 1$a", "jwt", None),
            ("APIKey a.b.c", "apikey", api("a.b.c")),
            ("BEARER a.b.c", "jwt", jwt("a.b.c")),
            ("Bearer a.b.c", "apikey", None),
            ("Bearer 1$a", "apikey", None),
            ("Token 1$a", "apikey,jwt", None),
            ("Token 1$a", "other", api("1$a")),
            ("Bearer 1$a", "other", api("1$a")),
            ("Token a.b.c", "other", jwt("a.b.c")),
            ("a.b.c", "other", jwt("a.b.c")),
            ("a.b.c", "jwt", None),
            ("Bearer  a.b.c", "jwt", jwt(" a.b.c")),
        ] {
            assert_eq!(credential(authorization, types(list)).ok(), expected, "{authorization} as {list}");
        }
    }
}
