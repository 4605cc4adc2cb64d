//! The digest that identifies a credential in the caches. It covers the credential, how it is verified, and everything
//! else that decides the verdict.

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};

use sha2::{Digest as _, Sha256};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::config::{AuthService, Config, ResponseFormat, ServiceHost};
use crate::order;
use crate::public_key::{PublicKey, short_digest};
use crate::table::RECORDS;

/// Identifies a credential in the caches: the SHA-256 of the credential, how it is verified, and the configuration that
/// its identity depends on. For a JWT that is verified locally, it is the keyed hash of [`WorkerSecret`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The first half: enough to tell the credentials of a row apart.
    pub fn half(&self) -> [u8; 16] {
        self.0.first_chunk().copied().unwrap_or_default()
    }
}

impl Hash for Digest {
    /// Eight bytes of either hash spread as well as all of them. Finding two credentials that share them takes 2^32
    /// hashes; finding many is out of reach. The hasher must still be seeded: finding a credential for a given bucket
    /// of a table of 10,000 takes only 2^14 hashes, so clients could fill one bucket.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// How many digests are remembered: a power of two.
const REMEMBERED: usize = 512;

/// Makes the digests of one filter in one worker.
pub(super) struct Digests {
    scope: Sha256,
    secret: WorkerSecret,
    /// The last digests by SHA-256. The credential's hash under the secret picks the place, and is kept there too.
    remembered: RefCell<Vec<Option<(Hash128, Digest)>>>,
}

impl Digests {
    pub(super) fn new(config: &Config) -> Self {
        Self { scope: scope(config), secret: WorkerSecret::random(), remembered: RefCell::default() }
    }

    /// The digest of a credential.
    pub(super) fn of(&self, kind: Kind, credential: &[u8]) -> Digest {
        let hash = self.secret.hash(kind, credential);
        if !kind.is_shared() {
            let mut digest = [0; 32];
            digest.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
            return Digest(digest);
        }
        let mut remembered = self.remembered.borrow_mut();
        if remembered.is_empty() {
            remembered.resize(REMEMBERED, None);
        }
        let [low, high, ..] = hash;
        let place = remembered.get_mut(usize::from(u16::from_le_bytes([low, high])) % REMEMBERED);
        match place {
            Some(Some((known, digest))) if *known == hash => *digest,
            place => {
                let digest = self.sha256(kind, credential);
                place.into_iter().for_each(|place| *place = Some((hash, digest)));
                digest
            }
        }
    }

    pub(super) fn sha256(&self, kind: Kind, credential: &[u8]) -> Digest {
        Digest(self.scope.clone().chain_update([kind.tag()]).chain_update(credential).finalize().into())
    }
}

impl fmt::Debug for Digests {
    /// Without the hashes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Digests").field("secret", &self.secret).finish_non_exhaustive()
    }
}

/// A keyed hash.
type Hash128 = [u8; 16];

/// The secret with which one worker hashes the JWTs that it has verified itself, and the credentials whose SHA-256 it
/// has computed. Other workers need not recognise these JWTs: the host verifies a signature nearly as fast as it shares
/// a verdict.
///
/// A credential that is mistaken for another gets the other's identity. So the hash is SipHash with 128 bits, a
/// pseudorandom function. The key is random for each filter in each worker, never leaves its memory, and no answer
/// reveals a hash. To be taken for somebody else, a client would need a text with the hash of a JWT that it doesn't
/// know: it has no use for one that it knows. So it can only guess: if n entries are kept, a text has one of their
/// hashes with probability n / 2^128. One round a word, as in the standard library's hash tables (SipHash-1-3), is
/// enough for that, and takes two thirds of the time of SipHash-2-4. SHA-256 would take ten times as long.
struct WorkerSecret(SipHasher13);

impl WorkerSecret {
    /// A new secret, from the random numbers that the standard library gets from the host for its hash tables.
    fn random() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self(SipHasher13::new_with_keys(random(), random()))
    }

    fn hash(&self, kind: Kind, credential: &[u8]) -> Hash128 {
        let mut hasher = self.0;
        hasher.write(credential);
        hasher.write(&[kind.tag()]);
        hasher.finish128().as_bytes()
    }
}

impl fmt::Debug for WorkerSecret {
    /// Without the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WorkerSecret").finish_non_exhaustive()
    }
}

/// How a credential is verified. A verdict reached in one way isn't used for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A JWT, by its signature.
    LocalJwt,
    /// A JWT, by the service.
    RemoteJwt,
    /// An API token, by the service.
    ApiToken,
    /// Anything else, by the service.
    Other,
}

impl Kind {
    /// Whether the credential is a JWT that the client sent.
    pub const fn is_jwt(self) -> bool {
        matches!(self, Self::LocalJwt | Self::RemoteJwt)
    }

    /// Whether workers share the verdicts of this kind.
    pub(super) const fn is_shared(self) -> bool {
        !matches!(self, Self::LocalJwt)
    }

    const fn tag(self) -> u8 {
        match self {
            Self::LocalJwt => 1,
            Self::RemoteJwt => 2,
            Self::ApiToken => 3,
            Self::Other => 4,
        }
    }
}

/// Everything that a verdict depends on besides the credential. Filters that differ in it may share a `vm_id`, but must
/// not use each other's verdicts. It leaves out what is checked at each use (expiry, the client's token types, the
/// rule, apart from the claims that it reads), and the times of the cache.
fn scope(config: &Config) -> Sha256 {
    let (service, jwt, api_token) = (&config.auth_service, &config.jwt, &config.api_token);
    let mut scope = Sha256::new();
    let mut add = |fields: &[&[u8]]| {
        let length = |length: usize| u64::try_from(length).unwrap_or(u64::MAX).to_le_bytes();
        scope.update(length(fields.len()));
        for field in fields {
            scope.update(length(field.len()));
            scope.update(field);
        }
    };
    let paths = [&service.cluster, &service.authority, &service.verify_path, &service.public_key_path];
    add(&paths.map(|field| field.as_bytes()));
    let key_host = &jwt.public_key.host;
    add(&[key_host.cluster.as_bytes(), key_host.authority.as_bytes()]);
    add(&[api_token.response_format.name().as_bytes()]);
    if api_token.response_format == ResponseFormat::JsonHeader {
        let names = api_token.answer_headers.iter().map(|(_, name)| name.to_ascii_lowercase());
        add(&names.collect::<Vec<_>>().iter().map(String::as_bytes).collect::<Vec<_>>());
    }
    add(&api_token.header_types.iter().map(|kind| kind.name().as_bytes()).collect::<Vec<_>>());
    add(&[&[u8::from(config.forwards_jwt()), u8::from(api_token.accept_technical)]]);
    let mut required: Vec<_> = jwt.required_claims.iter().map(|name| name.as_str().as_bytes()).collect();
    order::sort(&mut required);
    add(&required);
    add(&config.kept_claims.names().map(str::as_bytes).collect::<Vec<_>>());
    for list in [&jwt.issuers, &jwt.audiences] {
        let mut names: Vec<_> = list.iter().map(String::as_bytes).collect();
        order::sort(&mut names);
        add(&names);
    }
    // The claims of a JWT in the service's answer count only if one of these keys fits its signature.
    let mut pinned: Vec<_> = jwt.public_key.pem.iter().map(PublicKey::der).collect();
    pinned.retain(|_| api_token.response_format.is_jwt());
    order::sort(&mut pinned);
    add(&pinned);
    scope
}

/// The digest of a remote JWT in refusals: the same in all filters that ask the same service, however they ask.
pub(super) fn of_refusal(token: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update([0]).chain_update(token).finalize().into())
}

/// The prefix of the names of all shared data of filters that ask the same service.
pub fn prefix(config: &Config) -> String {
    let AuthService { cluster, authority, .. } = &config.auth_service;
    let host = ServiceHost { cluster: cluster.clone(), authority: authority.clone() };
    prefix_at(&host, &config.auth_service)
}

/// The prefix of the names of shared data that filters fetch from this host.
pub fn prefix_at(host: &ServiceHost, service: &AuthService) -> String {
    let origin = format!("{}\0{}\0{}", host.cluster, host.authority, service.verify_path);
    format!("{RECORDS}{}.", short_digest(origin.as_bytes()))
}
