//! JWTs: the claims that the service issues, signing and reading.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{ApiError, Error};
use crate::keys::Key;
use crate::store::User;

const HEADER: &str = r#"{"typ":"JWT","alg":"RS256"}"#;

/// The types of token that the service issues.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TokenType {
    Access,
    Refresh,
    ApiToken,
}

/// The claims of an issued token.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Claims {
    pub(crate) exp: i64,
    pub(crate) jti: String,
    user_id: i64,
    client_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<i64>,
    issued_by: IssuedBy,
    token_type: TokenType,
    user_type: String,
    user_groups: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_params: Option<Value>,
    email: String,
    username: String,
    sso_entity: Option<String>,
    is_admin: bool,
    client_name: String,
    federation_id: Option<i64>,
}

#[derive(Clone, Debug, Serialize)]
struct IssuedBy {
    user_id: i64,
    user_type: String,
}

impl Claims {
    /// The claims of a user, with a new `jti`.
    pub(crate) fn new(user: &User, token_type: TokenType, exp: i64) -> Self {
        Self {
            exp,
            jti: uuid::Uuid::new_v4().to_string(),
            user_id: user.id,
            client_id: user.client_id,
            token_id: None,
            issued_by: IssuedBy { user_id: user.id, user_type: user.user_type.clone() },
            token_type,
            user_type: user.user_type.clone(),
            user_groups: user.groups.clone(),
            role_params: user.role_params.clone(),
            email: user.email.clone(),
            username: user.username.clone(),
            sso_entity: user.sso_entity.clone(),
            is_admin: user.is_admin,
            client_name: user.client_name.clone(),
            federation_id: user.federation_id,
        }
    }

    /// The claims of an API token's owner.
    pub(crate) fn of_api_token(user: &User, token_id: i64, exp: i64) -> Self {
        Self { token_id: Some(token_id), ..Self::new(user, TokenType::ApiToken, exp) }
    }

    /// The JWT of these claims.
    pub(crate) fn sign(&self, key: &Key) -> Result<String, Error> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let message = format!("{}.{}", encode(HEADER.as_bytes()), encode(&serde_json::to_vec(self)?));
        let signature = encode(&key.sign(message.as_bytes())?);
        Ok(format!("{message}.{signature}"))
    }
}

/// The claims of a JWT that the service itself reads.
#[derive(Debug, Deserialize)]
pub(crate) struct Token {
    pub(crate) exp: i64,
    pub(crate) user_id: i64,
    #[serde(rename = "client_id")]
    _client_id: i64,
    pub(crate) token_type: String,
    pub(crate) jti: Option<String>,
    pub(crate) token_id: Option<i64>,
    /// All the claims, as they were signed.
    #[serde(skip)]
    pub(crate) claims: Map<String, Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// Reads a JWT that `key` signed and that is not expired. Doesn't check whether it was revoked.
pub(crate) fn read(jwt: &str, key: &Key, now: i64) -> Result<Token, ApiError> {
    let malformed = || ApiError::Unauthorized("Token is malformed");
    let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
    let (message, signature) = jwt.rsplit_once('.').ok_or_else(malformed)?;
    let (header, payload) = message.split_once('.').ok_or_else(malformed)?;
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed())?;
    if header.alg != "RS256" {
        return Err(ApiError::Unauthorized("Token is not signed with RS256"));
    }
    let payload = decode(payload)?;
    if !key.verifies(message.as_bytes(), &decode(signature)?) {
        return Err(ApiError::Unauthorized("Token has an invalid signature"));
    }
    let mut token: Token = serde_json::from_slice(&payload).map_err(|_| malformed())?;
    token.claims = serde_json::from_slice(&payload).map_err(|_| malformed())?;
    if token.exp <= now {
        return Err(ApiError::Unauthorized("Token has expired"));
    }
    Ok(token)
}
