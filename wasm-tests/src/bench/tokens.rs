//! The credentials of the load, in files: the same ones at every run, because signing takes longer than measuring.

use std::{fs, path::PathBuf, thread};

use anyhow::{Context, Result};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::corpus::keys::{Signer, USUAL_HEADER};

/// The beginning of an API token that the auth service refuses.
pub(crate) const REVOKED_API_TOKEN: &str = "APIKey 9";
/// The beginning of a revoked JWT's payload. Its length is a multiple of three, so that its base64 is the beginning of
/// the encoded payload.
const REVOKED_JWT: &str = r#"{"jti":"revoked"#;
/// The year 2100.
const EXP: u64 = 4_102_444_800;
/// Of 10,000 clients, half have a JWT and half an API token.
const CLIENTS: usize = 5000;
/// Different credentials of each kind that is refused.
const BAD: usize = 100;
/// Requests until the sequence of [`Tokens::mix`] begins again.
const MIX: usize = 40_000;
/// Entries of the claim that makes a JWT of 7 KB.
const PERMISSIONS: u32 = 185;

/// Makes credentials and writes them into a folder.
#[derive(Debug)]
pub(crate) struct Tokens {
    folder: PathBuf,
    signer: Signer,
}

impl Tokens {
    /// Credentials in this folder, which need not exist.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub(crate) fn in_folder(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { folder, signer: Signer::trusted() })
    }

    /// No credential.
    pub(crate) fn none(&self) -> Result<PathBuf> {
        self.write("none", &[String::new()])
    }

    /// One JWT.
    pub(crate) fn jwt(&self) -> Result<PathBuf> {
        self.write("jwt", &[self.sign("client", 0, &claims("access", 1))])
    }

    /// One JWT of 7 KB.
    pub(crate) fn large_jwt(&self) -> Result<PathBuf> {
        let mut claims = claims("access", 1);
        claims["permissions"] = (0..PERMISSIONS).map(|number| format!("resource-{number:08}:read")).collect();
        self.write("large_jwt", &[self.sign("client", 1, &claims)])
    }

    /// One JWT of about this size in bytes, with little but its permissions.
    pub(crate) fn sized_jwt(&self, bytes: usize) -> Result<PathBuf> {
        let sized = |permissions: usize| {
            let mut claims = json!({"exp": EXP, "user_id": 1, "client_id": 2, "token_type": "access"});
            if permissions > 0 {
                claims["permissions"] = (0..permissions).map(|number| format!("resource-{number:08}:read")).collect();
            }
            self.sign("sized", bytes, &claims)
        };
        let (none, twenty) = (sized(0).len(), sized(20).len());
        let permissions = 20 * bytes.saturating_sub(none) / (twenty - none);
        self.write(&format!("jwt_{bytes}"), &[sized(permissions)])
    }

    /// The API tokens of these numbers, shuffled so that neighbours in the file aren't neighbours in a cache.
    pub(crate) fn some_api_tokens(&self, from: usize, to: usize) -> Result<PathBuf> {
        let mut tokens: Vec<String> = (from..to).map(|number| api_token(1_000_000 + number)).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut tokens);
        self.write(&format!("api_tokens_{from}_{to}"), &tokens)
    }

    /// JWTs that no other round has.
    pub(crate) fn new_jwts(&self, round: usize, count: usize) -> Result<PathBuf> {
        let first = first_of(round);
        let name = format!("new_jwts_{round}");
        self.signed(&name, count, |number| self.sign("client", first + number, &claims("access", 1)))?;
        Ok(self.path(&name))
    }

    /// One API token.
    pub(crate) fn api_token(&self) -> Result<PathBuf> {
        self.write("api_token", &[api_token(1)])
    }

    /// API tokens that no other round has.
    pub(crate) fn new_api_tokens(&self, round: usize, count: usize) -> Result<PathBuf> {
        let first = first_of(round);
        self.write("new_api_tokens", &(0..count).map(|number| api_token(first + number)).collect::<Vec<_>>())
    }

    /// Requests of many clients: 90 % are valid, half of them with a JWT and half with an API token, and the clients'
    /// shares follow Zipf's law; 5 % are invalid, 3 % expired, 2 % revoked. The invalid JWTs are forged or cut off.
    pub(crate) fn mix(&self, forged: bool) -> Result<PathBuf> {
        let jwts = self.signed("clients", CLIENTS, |client| self.sign("client", client, &claims("access", client)))?;
        let bad = |kind: &'static str, exp: u64| {
            self.signed(kind, BAD, move |number| {
                let mut claims = claims("access", number);
                claims["exp"] = json!(exp);
                self.sign(kind, number, &claims)
            })
        };
        let expired = bad("expired", 1_600_000_000)?;
        let revoked = bad("revoked", EXP)?;
        let spoil = if forged { forge } else { cut };
        let invalid: Vec<String> = bad("invalid", EXP)?.iter().map(|jwt| spoil(jwt)).collect();
        let mut random = fastrand::Rng::with_seed(1);
        let shares = cumulative_shares();
        let mut request = || {
            let drawn = random.f64();
            let client = shares.partition_point(|sum| *sum < drawn).min(CLIENTS - 1);
            let any = random.usize(..BAD);
            match (random.u32(..100), random.bool()) {
                (..90, true) => jwts[client].clone(),
                (..90, false) => api_token(100_000 + client),
                (90..95, true) => invalid[any].clone(),
                (90..95, false) => api_token(90_000 + any),
                (95..98, _) => expired[any].clone(),
                (98.., true) => revoked[any].clone(),
                (98.., false) => api_token(91_000 + any),
            }
        };
        let requests: Vec<String> = (0..MIX).map(|_| request()).collect();
        self.write(if forged { "mix" } else { "mix_without_forged_jwts" }, &requests)
    }

    /// The auth service's list of the revoked JWTs.
    pub(crate) fn revocation_list() -> Value {
        list((0..BAD).map(|number| jti("revoked", number)))
    }

    /// A list of this many ids, which no JWT here has.
    pub(crate) fn list_of(count: usize) -> Value {
        list((0..count).map(|number| format!("r{number}")))
    }

    /// Lines that take long to make. Reuses those of the last run if they would be the same.
    fn signed(&self, name: &str, count: usize, make: impl Fn(usize) -> String + Sync) -> Result<Vec<String>> {
        let known = fs::read_to_string(self.path(name)).unwrap_or_default();
        let known: Vec<String> = known.lines().map(str::to_owned).collect();
        if known.len() == count && known.first() == Some(&make(0)) {
            return Ok(known);
        }
        let made = in_parallel(count, make);
        self.write(name, &made)?;
        Ok(made)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.txt"))
    }

    fn write(&self, name: &str, lines: &[String]) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, lines.join("\n") + "\n").with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// The value of `Authorization` with a JWT. Its `jti` comes first, for [`REVOKED_JWT`].
    fn sign(&self, kind: &str, number: usize, claims: &Value) -> String {
        let claims = claims.to_string();
        let payload = format!(r#"{{"jti":"{}",{}"#, jti(kind, number), &claims[1..]);
        let text = format!("{}.{}", encode(USUAL_HEADER), encode(payload));
        let signature = self.signer.sign(text.as_bytes());
        format!("Bearer {text}.{}", encode(signature))
    }

    /// The beginning of a value of `Authorization` with a revoked JWT.
    pub(crate) fn revoked_jwt_beginning() -> String {
        format!("Bearer {}.{}", encode(USUAL_HEADER), encode(REVOKED_JWT))
    }
}

/// The claims of a token, all that docs/reference.md#claims names but `jti`.
pub(crate) fn claims(token_type: &str, user: usize) -> Value {
    let mut claims = crate::credentials::claims();
    claims["exp"] = json!(EXP);
    claims["user_id"] = json!(user);
    claims["token_type"] = json!(token_type);
    if let Some(fields) = claims.as_object_mut() {
        fields.remove("jti");
    }
    claims
}

/// Cumulative shares of the requests by client, by Zipf's law: the n-th client has 1/n of the first one's.
fn cumulative_shares() -> Vec<f64> {
    let mut all = 0.0;
    let sums: Vec<f64> = (1..=CLIENTS)
        .map(|rank| {
            all += 1.0 / rank as f64;
            all
        })
        .collect();
    sums.iter().map(|sum| sum / all).collect()
}

fn list(ids: impl Iterator<Item = String>) -> Value {
    let revoked: Vec<Value> = ids.map(|jti| json!({"jti": jti, "exp": EXP})).collect();
    json!({"cursor": "1", "revoked": revoked, "users": [], "purge": []})
}

/// The number of a round's first new token, which neither the mix nor another round has.
fn first_of(round: usize) -> usize {
    10_000_000_000 + 1_000_000 * round
}

fn jti(kind: &str, number: usize) -> String {
    format!("{kind}-{number:028}")
}

/// The JWT with another signature.
fn forge(jwt: &str) -> String {
    let (text, signature) = jwt.rsplit_once('.').unwrap_or((jwt, ""));
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{text}.{first}{}", signature.get(1..).unwrap_or_default())
}

/// The JWT without its signature's last letter, so that it is no base64.
fn cut(jwt: &str) -> String {
    jwt.get(..jwt.len() - 1).unwrap_or_default().to_owned()
}

fn api_token(number: usize) -> String {
    format!("APIKey {number}${number:0128}")
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// `make` of each number below `count`, on all processors.
fn in_parallel(count: usize, make: impl Fn(usize) -> String + Sync) -> Vec<String> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut made = vec![String::new(); count];
    let share = count.div_ceil(threads).max(1);
    thread::scope(|scope| {
        for (part, chunk) in made.chunks_mut(share).enumerate() {
            let make = &make;
            scope.spawn(move || {
                for (index, slot) in chunk.iter_mut().enumerate() {
                    *slot = make(part * share + index);
                }
            });
        }
    });
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revoked_jwts_have_a_recognisable_beginning() -> Result<()> {
        let tokens = Tokens::in_folder(tempfile::tempdir()?.path().to_owned())?;
        let beginning = Tokens::revoked_jwt_beginning();
        assert!(tokens.sign("revoked", 7, &claims("access", 1)).starts_with(&beginning));
        assert!(!tokens.sign("client", 7, &claims("access", 1)).starts_with(&beginning));
        Ok(())
    }

    #[test]
    fn lines_are_generated_once() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let tokens = Tokens::in_folder(folder.path().to_owned())?;
        let first = tokens.signed("some", 5, |number| format!("a{number}"))?;
        assert_eq!(first, ["a0", "a1", "a2", "a3", "a4"]);
        let again = tokens.signed("some", 5, |number| if number == 0 { "a0".to_owned() } else { "b".to_owned() })?;
        assert_eq!(again, first);
        let changed = tokens.signed("some", 5, |number| format!("c{number}"))?;
        assert_eq!(changed[4], "c4");
        Ok(())
    }
}
