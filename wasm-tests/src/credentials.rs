//! Credentials: those that the auth service issues, and those that nobody should accept.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::Method;
use rsa::{
    RsaPrivateKey,
    pkcs1v15::SigningKey,
    pkcs8::DecodePrivateKey as _,
    sha2::Sha256,
    signature::{SignatureEncoding as _, Signer as _},
};
use serde_json::{Value, json};

use crate::{Response, Stack};

/// The header of every JWT that the service signs.
const JWT_HEADER: &str = r#"{"typ":"JWT","alg":"RS256"}"#;

/// The tokens of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// The access token, good for an hour.
    pub access: String,
    /// The refresh token, good for a day, and never an access token.
    pub refresh: String,
}

impl Stack {
    /// Signs the first user in.
    ///
    /// # Errors
    /// When the service refuses, or cannot be reached.
    pub async fn login(&self) -> Result<Tokens> {
        let (username, password) = self.user();
        let answer = self
            .service_request(Method::POST, "/auth/jwt/login")?
            .json(&json!({"username": username, "password": password}))
            .send()
            .await?;
        let tokens = success(&answer)?.json()?;
        let text = |name: &str| tokens[name].as_str().map(str::to_owned).with_context(|| format!("no {name} token"));
        Ok(Tokens { access: text("access")?, refresh: text("refresh")? })
    }

    /// Creates an API token of the first user: its id, and the token itself.
    ///
    /// # Errors
    /// When the service refuses, or cannot be reached.
    pub async fn api_token(&self, name: &str) -> Result<(u64, String)> {
        let access = self.login().await?.access;
        let answer = self
            .service_request(Method::POST, "/iam/tokens")?
            .bearer(&access)
            .json(&json!({"name": name, "description": "", "exp_date": null}))
            .send()
            .await?;
        let created = success(&answer)?.json()?;
        let id = created["id"].as_u64().context("an API token without an id")?;
        let token = created["token"].as_str().context("an API token that isn't shown")?;
        Ok((id, token.to_owned()))
    }

    /// Deletes an API token.
    ///
    /// # Errors
    /// When the service refuses, or cannot be reached.
    pub async fn delete_api_token(&self, id: u64) -> Result<()> {
        let access = self.login().await?.access;
        let path = format!("/iam/tokens/{id}");
        let answer = self.service_request(Method::DELETE, &path)?.bearer(&access).send().await?;
        success(&answer).map(drop)
    }

    /// Signs any two texts as a JWT with the service's current key.
    ///
    /// # Errors
    /// When the service doesn't give its private key.
    pub async fn mint(&self, header: &str, payload: &str) -> Result<String> {
        let pem = self.private_key().await?;
        // Reading the key and signing take tens of milliseconds of a CPU in a debug build.
        let text = signing_input(header, payload);
        tokio::task::spawn_blocking(move || sign(&pem, text)).await?
    }

    /// Signs claims as the service would.
    ///
    /// # Errors
    /// When the service doesn't give its private key.
    pub async fn mint_claims(&self, claims: &Value) -> Result<String> {
        self.mint(JWT_HEADER, &claims.to_string()).await
    }
}

/// The claims of an access token that the filter accepts, all that docs/reference.md#claims names, for a test
/// to alter.
#[must_use]
pub fn claims() -> Value {
    json!({
        "exp": now() + 3600,
        "jti": "00000000-0000-4000-8000-000000000001",
        "user_id": 7,
        "client_id": 70,
        "issued_by": {"user_id": 7, "user_type": "common"},
        "token_type": "access",
        "user_type": "common",
        "user_groups": ["Users"],
        "role_params": {
            "role": "viewer", "read_only": true, "federations": [], "alias": null,
            "resellers_wl": [], "resellers_bl": [],
        },
        "email": "seven@example.com",
        "username": "seven",
        "sso_entity": null,
        "is_admin": false,
        "client_name": "Seventy",
        "federation_id": null,
    })
}

/// The claims inside a JWT, unverified.
///
/// # Errors
/// When it isn't a JWT.
pub fn claims_of(jwt: &str) -> Result<Value> {
    let payload = jwt.split('.').nth(1).context("a JWT without a payload")?;
    Ok(serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload)?)?)
}

/// Two texts as a JWT whose signature is empty.
#[must_use]
pub fn unsigned(header: &str, payload: &str) -> String {
    format!("{}.", signing_input(header, payload))
}

/// The JWT with one bit of its signature turned.
///
/// # Errors
/// When it isn't a JWT.
pub fn forged(jwt: &str) -> Result<String> {
    let (text, signature) = jwt.rsplit_once('.').context("a JWT without a signature")?;
    let mut signature = BASE64_URL_SAFE_NO_PAD.decode(signature)?;
    *signature.last_mut().context("an empty signature")? ^= 1;
    Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn signing_input(header: &str, payload: &str) -> String {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}", part(header), part(payload))
}

fn sign(pem: &str, text: String) -> Result<String> {
    let key = SigningKey::<Sha256>::new(RsaPrivateKey::from_pkcs8_pem(pem)?);
    let signature = key.try_sign(text.as_bytes())?.to_bytes();
    Ok(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

/// The answer of the auth service, if it is a success.
pub(crate) fn success(answer: &Response) -> Result<&Response> {
    ensure!((200..300).contains(&answer.status), "the auth service answered {}: {}", answer.status, answer.text());
    Ok(answer)
}
