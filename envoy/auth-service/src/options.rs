//! The options of the service.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use clap::{Parser, ValueEnum, value_parser};

/// The options of the service, which are also the command line of its binary.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "auth-service",
    version,
    about = "An authentication service for authgate on SQLite, for local use and tests"
)]
pub struct Options {
    /// Address and port to listen on; port 0 means any free port
    #[arg(long, value_name = "ADDR:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)))]
    pub listen: SocketAddr,

    /// SQLite database with users, tokens, revocations and the signing key: a file, created if missing, or `:memory:`
    #[arg(long, value_name = "PATH", default_value = ":memory:")]
    pub db: String,

    /// A user to create if there is none of this name; may be repeated
    ///
    /// Either `NAME:PASSWORD` or comma-separated fields that begin with `name=`:
    ///
    ///   name=alice,password=secret,email=alice@example.com,admin=true
    ///
    /// Fields and their defaults: name and password (both required, no commas in them), email (NAME@example.com), type
    /// (common; or reseller, sales, system_admin, video_platform), admin (false), client_id (1), client_name
    /// (Client CLIENT_ID), groups (none; a+b), sso_entity (none), federation_id (none), role (none), read_only (false; needs role).
    #[arg(long = "user", value_name = "USER", verbatim_doc_comment)]
    pub users: Vec<UserSpec>,

    /// How new API tokens are hashed; tokens hashed the other way stay valid
    #[arg(long, value_enum, default_value_t = TokenHash::Argon2id)]
    pub token_hash: TokenHash,

    /// Lifetime of access tokens, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = value_parser!(u32).range(1..))]
    pub access_ttl: u32,

    /// Lifetime of refresh tokens, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400, value_parser = value_parser!(u32).range(1..))]
    pub refresh_ttl: u32,

    /// Serve /faults, which breaks answers on demand and reveals the private key: only for tests
    #[arg(long)]
    pub faults: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)),
            db: ":memory:".to_owned(),
            users: Vec::new(),
            token_hash: TokenHash::Argon2id,
            access_ttl: 3600,
            refresh_ttl: 86_400,
            faults: false,
        }
    }
}

/// How the secret part of an API token is hashed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum TokenHash {
    /// Argon2id: 64 MB, 3 passes, 4 lanes
    Argon2id,
    /// PBKDF2-SHA256: 100,000 rounds
    Pbkdf2,
}

/// A user to create at the start.
#[derive(Clone, Eq, PartialEq)]
pub struct UserSpec {
    /// What the user signs in with, and the `username` claim.
    pub name: String,
    /// The password; only its hash is stored.
    pub password: String,
    /// The `email` claim; also good for signing in.
    pub email: String,
    /// The `user_type` claim.
    pub user_type: String,
    /// The `is_admin` claim; an administrator sees everybody's API tokens.
    pub admin: bool,
    /// The `client_id` claim.
    pub client_id: i64,
    /// The `client_name` claim.
    pub client_name: String,
    /// The `user_groups` claim.
    pub groups: Vec<String>,
    /// The `sso_entity` claim: set for a user who signs in by SAML SSO.
    pub sso_entity: Option<String>,
    /// The `federation_id` claim.
    pub federation_id: Option<i64>,
    /// The `role_params` claim, which is absent without it.
    pub role: Option<RoleSpec>,
}

/// The role of a user; the other fields of `role_params` are empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoleSpec {
    /// The role's name.
    pub role: String,
    /// Whether the role may only read.
    pub read_only: bool,
}

/// Why a `--user` is refused.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum UserSpecError {
    /// Neither of the two forms.
    #[error("expected NAME:PASSWORD or name=NAME,password=PASSWORD,…")]
    Form,
    /// A field that is required is absent or empty.
    #[error("`{0}` is required")]
    Required(&'static str),
    /// No such field.
    #[error("unknown field `{0}`")]
    Unknown(String),
    /// A field's value doesn't fit.
    #[error("`{0}` has an invalid value")]
    Value(String),
    /// A field occurs twice.
    #[error("`{0}` is given twice")]
    Twice(String),
}

const USER_TYPES: [&str; 5] = ["reseller", "sales", "common", "system_admin", "video_platform"];

impl UserSpec {
    /// A common user of client 1 with defaults for everything else.
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        let name = name.into();
        let email = if name.contains('@') { name.clone() } else { format!("{name}@example.com") };
        Self {
            name,
            password: password.into(),
            email,
            user_type: "common".to_owned(),
            admin: false,
            client_id: 1,
            client_name: "Client 1".to_owned(),
            groups: Vec::new(),
            sso_entity: None,
            federation_id: None,
            role: None,
        }
    }

    fn from_fields(text: &str) -> Result<Self, UserSpecError> {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        for field in text.split(',') {
            let (key, value) = field.split_once('=').ok_or(UserSpecError::Form)?;
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(UserSpecError::Twice(key.to_owned()));
            }
            fields.push((key, value));
        }
        let get = |key| fields.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
        let required = |key| get(key).filter(|value| !value.is_empty()).ok_or(UserSpecError::Required(key));
        let mut user = Self::new(required("name")?, required("password")?);
        let (mut client_name, mut role, mut read_only) = (None, None, None);
        for (key, value) in fields {
            let refused = || UserSpecError::Value(key.to_owned());
            match key {
                "name" | "password" => {}
                "email" => user.email = value.to_owned(),
                "type" if USER_TYPES.contains(&value) => user.user_type = value.to_owned(),
                "type" => return Err(refused()),
                "admin" => user.admin = value.parse().map_err(|_| refused())?,
                "client_id" => user.client_id = value.parse().map_err(|_| refused())?,
                "client_name" => client_name = Some(value.to_owned()),
                "groups" => {
                    user.groups = value.split('+').filter(|group| !group.is_empty()).map(str::to_owned).collect()
                }
                "sso_entity" => user.sso_entity = Some(value.to_owned()),
                "federation_id" => user.federation_id = Some(value.parse().map_err(|_| refused())?),
                "role" => role = Some(value.to_owned()),
                "read_only" => read_only = Some(value.parse().map_err(|_| refused())?),
                _ => return Err(UserSpecError::Unknown(key.to_owned())),
            }
        }
        user.client_name = client_name.unwrap_or_else(|| format!("Client {}", user.client_id));
        user.role = match (role, read_only) {
            (Some(role), read_only) => Some(RoleSpec { role, read_only: read_only.unwrap_or(false) }),
            (None, None) => None,
            (None, Some(_)) => return Err(UserSpecError::Required("role")),
        };
        Ok(user)
    }
}

impl FromStr for UserSpec {
    type Err = UserSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("name=") {
            return Self::from_fields(text);
        }
        let (name, password) = text.split_once(':').ok_or(UserSpecError::Form)?;
        if name.is_empty() {
            return Err(UserSpecError::Required("name"));
        }
        if password.is_empty() {
            return Err(UserSpecError::Required("password"));
        }
        Ok(Self::new(name, password))
    }
}

impl std::fmt::Debug for UserSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserSpec").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_the_defaults_of_options() {
        let parsed = Options::parse_from(["auth-service"]);
        assert_eq!(format!("{parsed:?}"), format!("{:?}", Options::default()));
    }

    #[test]
    fn reads_the_short_form_of_a_fault() {
        let user: UserSpec = "alice:pa:ss,word".parse().unwrap();
        assert_eq!(user, UserSpec::new("alice", "pa:ss,word"));
        assert_eq!(user.email, "alice@example.com");
        assert_eq!(UserSpec::new("bob@company.com", "x").email, "bob@company.com");
    }

    #[test]
    fn reads_the_long_form_of_a_fault() {
        let user: UserSpec =
            "name=bob,password=p=w,email=bob@x.org,type=sales,admin=true,client_name=Acme,client_id=7,groups=dev+qa,\
                              sso_entity=https://idp,federation_id=3,role=viewer,read_only=true"
                .parse()
                .unwrap();
        assert_eq!(
            user,
            UserSpec {
                email: "bob@x.org".into(),
                user_type: "sales".into(),
                admin: true,
                client_id: 7,
                client_name: "Acme".into(),
                groups: vec!["dev".into(), "qa".into()],
                sso_entity: Some("https://idp".into()),
                federation_id: Some(3),
                role: Some(RoleSpec { role: "viewer".into(), read_only: true }),
                ..UserSpec::new("bob", "p=w")
            }
        );
    }

    #[test]
    fn refuses_malformed_faults() {
        for (text, error) in [
            ("alice", UserSpecError::Form),
            (":secret", UserSpecError::Required("name")),
            ("alice:", UserSpecError::Required("password")),
            ("name=a", UserSpecError::Required("password")),
            ("name=a,password=b,c", UserSpecError::Form),
            ("name=a,password=b,admin=yes", UserSpecError::Value("admin".into())),
            ("name=a,password=b,type=root", UserSpecError::Value("type".into())),
            ("name=a,password=b,password=c", UserSpecError::Twice("password".into())),
            ("name=a,password=b,age=7", UserSpecError::Unknown("age".into())),
            ("name=a,password=b,read_only=true", UserSpecError::Required("role")),
        ] {
            assert_eq!(text.parse::<UserSpec>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        assert!(!format!("{:?}", UserSpec::new("alice", "hunter2")).contains("hunter2"));
    }
}
