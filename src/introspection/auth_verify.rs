//! `/auth/verify` of the authentication service.

use super::{CalloutRequest, CalloutResponse, Confirmed, Destination, Outage, Verdict, Verifier};
use crate::claims::{self, ClaimName, Claims, KeptClaims, TokenType};
use crate::config::{AnswerHeaders, Config, HeaderType, ResponseFormat};
use crate::credential::{Credential, Form, Redacted};

/// `/auth/verify` of the authentication service.
#[derive(Debug, Clone)]
pub struct AuthVerify {
    /// The path for questions about JWTs. Rules may require them, even if `header_types` doesn't list JWTs.
    path_for_jwts: String,
    /// The path for questions about other credentials.
    path: String,
    format: ResponseFormat,
    required: Vec<ClaimName>,
    kept: KeptClaims,
    answer_headers: AnswerHeaders,
}

impl AuthVerify {
    /// From the configuration.
    pub fn new(config: &Config) -> Self {
        let mut kinds: Vec<&str> = config.api_token.header_types.iter().map(|kind| kind.name()).collect();
        let path = path_of(config, &kinds);
        if !kinds.contains(&HeaderType::Jwt.name()) {
            kinds.push(HeaderType::Jwt.name());
        }
        Self {
            path_for_jwts: path_of(config, &kinds),
            path,
            format: config.api_token.response_format,
            required: config.jwt.required_claims.clone(),
            kept: config.kept_claims.clone(),
            answer_headers: config.api_token.answer_headers.clone(),
        }
    }
}

impl Verifier for AuthVerify {
    /// A JWT goes to the service as the client sent it.
    fn question(&self, credential: &Credential<'_>) -> CalloutRequest {
        let text = credential.text();
        let (path, authorization) = match credential.form {
            Form::Jwt => (&self.path_for_jwts, ["Bearer ", text].concat()),
            Form::ApiToken => (&self.path, ["APIKey ", text].concat()),
            Form::Other => (&self.path, text.to_owned()),
        };
        CalloutRequest {
            headers: vec![("authorization", authorization)],
            ..CalloutRequest::get(Destination::AuthService, path.clone())
        }
    }

    fn verdict(&self, answer: CalloutResponse) -> Result<Verdict, Outage> {
        let mut verdict = read(&answer, self.format, &self.answer_headers)?;
        if let (Verdict::Identity(Confirmed(claims)), ResponseFormat::JsonBody) = (&mut verdict, self.format) {
            let body = answer.body.as_deref().unwrap_or_default();
            if let Some(name) = claims::missing(&self.required, body) {
                return Err(Outage::Lacking(name.clone()));
            }
            claims.keep(&self.kept, body);
        }
        Ok(verdict)
    }
}

/// The path with its query, for credentials of these types.
fn path_of(config: &Config, kinds: &[&str]) -> String {
    let (path, format) = (&config.auth_service.verify_path, config.api_token.response_format.name());
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}header_types={}&response_format={format}", kinds.join(","))
}

/// Reads an answer of `/auth/verify`.
///
/// - `names`: the headers from which `json_header` reads the identity.
///
/// # Errors
/// [`Outage`] if it isn't a verdict.
pub fn read(answer: &CalloutResponse, format: ResponseFormat, names: &AnswerHeaders) -> Result<Verdict, Outage> {
    match answer.status {
        200 => identity(answer, format, names),
        401 => Ok(Verdict::Rejected),
        403 => Ok(Verdict::Forbidden),
        status => Err(Outage::Status(status)),
    }
}

fn identity(answer: &CalloutResponse, format: ResponseFormat, names: &AnswerHeaders) -> Result<Verdict, Outage> {
    match format {
        ResponseFormat::JsonBody => {
            let body = answer.body.as_deref().ok_or(Outage::TooLarge)?;
            Ok(Verdict::Identity(Confirmed::new(Claims::from_json(body)?)))
        }
        ResponseFormat::JsonHeader => {
            from_headers(answer, names).map(|claims| Verdict::Identity(Confirmed::new(claims)))
        }
        ResponseFormat::JwtBody => {
            let body = answer.body.as_deref().ok_or(Outage::TooLarge)?;
            let jwt = body.trim_ascii();
            if jwt.is_empty() {
                Err(Outage::Missing("JWT in the body"))
            } else {
                Ok(Verdict::Jwt(Redacted(jwt.to_vec())))
            }
        }
        ResponseFormat::JwtHeader => {
            let missing = Outage::Missing("JWT in Authorization");
            let value = text(answer, "authorization", &missing)?.ok_or(missing.clone())?;
            let (scheme, jwt) = value.split_once(' ').ok_or(missing.clone())?;
            if scheme.eq_ignore_ascii_case("bearer") && !jwt.is_empty() {
                Ok(Verdict::Jwt(Redacted(jwt.as_bytes().to_vec())))
            } else {
                Err(missing)
            }
        }
    }
}

/// `json_header` has neither `exp` nor `token_type`: the service has checked the first, and the question implies the
/// second.
fn from_headers(answer: &CalloutResponse, names: &AnswerHeaders) -> Result<Claims, Outage> {
    let missing = |name: &str| Outage::MissingHeader(name.into());
    let integer = |name: &str| {
        let value = text(answer, name, &missing(name))?.filter(|value| !value.starts_with('+'));
        value.and_then(|value| value.parse::<i64>().ok()).ok_or_else(|| missing(name))
    };
    let (user_id, client_id) = (integer(&names.user_id)?, integer(&names.client_id)?);
    let optional = |name: &str| Ok::<_, Outage>(text(answer, name, &missing(name))?.map(Box::from));
    let (email, user_type) = (optional(&names.email)?, optional(&names.user_type)?);
    let is_admin = match text(answer, &names.is_admin, &missing(&names.is_admin))? {
        None => None,
        Some(value) if value.eq_ignore_ascii_case("true") => Some(true),
        Some(value) if value.eq_ignore_ascii_case("false") => Some(false),
        Some(_) => return Err(missing(&names.is_admin)),
    };
    Ok(Claims::from_answer_headers(TokenType::ApiToken, user_id, client_id, email, user_type, is_admin))
}

/// The header's value, if it is present. Two values are an error, and so is a value that isn't text.
fn text<'a>(answer: &'a CalloutResponse, name: &str, otherwise: &Outage) -> Result<Option<&'a str>, Outage> {
    let is_same = |known: &str| known.eq_ignore_ascii_case(name);
    let mut values = answer.headers.iter().filter(|(known, _)| is_same(known)).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => str::from_utf8(value).map(Some).map_err(|_| otherwise.clone()),
        (Some(_), Some(_)) => Err(otherwise.clone()),
    }
}
