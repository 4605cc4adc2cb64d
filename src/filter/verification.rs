//! From a request's head to the verdict on its credential, as far as this worker can tell by itself.

use std::rc::Rc;

use super::flights::Question;
use super::shares::too_many_failures;
use super::{Filter, KeyWait, Progress, StreamId, Ticket, time_code};
use crate::cache::{Digest, Entry, Kind, Lookup};
use crate::claims::OwnClaims;
use crate::config::Verification;
use crate::decision::{Code, Denial};
use crate::extractor::{self, Credential, RequestHead};
use crate::host::Host;
use crate::introspection;
use crate::jwt::UntrustedJwt;
use crate::matcher::{Require, Rule, Target, Undecided};
use crate::metrics::{BlacklistCheck, CacheEvent, Counter, Source};
use crate::policy::{self, Identity, Permit, Presenter, Verifier};
use crate::signature::Rs256;
use crate::throttle::Subject;
use crate::time::UnixTime;

impl Filter {
    /// From the head to a permit, a denial, or something to wait for.
    pub(super) fn decide(
        &mut self,
        stream: StreamId,
        head: &RequestHead<'_>,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        let target =
            Target { path: head.value(":path"), method: head.value(":method"), authority: head.value(":authority") };
        let rule = self.config.rules.find(target).map_err(|undecided| match undecided {
            Undecided::Path(_) | Undecided::DifferentPaths => Code::AmbiguousPath,
            Undecided::Host | Undecided::DifferentHosts => Code::AmbiguousHost,
        })?;
        ticket.rule = rule.map(|(index, _)| index);
        if rule.is_some_and(|(_, rule)| rule.public) || ticket.client.is_preflight(head) {
            return Ok(Progress::Done(Permit::public()));
        }
        let verification = rule.and_then(|(_, rule)| rule.verification).unwrap_or(self.config.jwt.verification);
        let credential = extractor::extract(head, &self.config.api_token);
        if self.throttle.is_some() {
            let token_id = match &credential {
                Ok(Credential::ApiToken(token)) => token.split_once('$').map(|(id, _)| id),
                _ => None,
            };
            ticket.subject = host.client_address().and_then(|address| Subject::new(&address, token_id));
        }
        if credential.as_ref().is_err_and(|code| *code == Code::TokenMalformed) {
            self.log_malformed(&"a JWT has three segments between dots, an API token is number$secret", now);
        }
        match credential? {
            Credential::Jwt(token) if verification == Verification::Local => self.verify_here(token, ticket, now, host),
            credential => self.verify_by_service(stream, credential, ticket, now, host),
        }
    }

    /// A JWT, by its signature.
    fn verify_here(
        &mut self,
        token: &[u8],
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        ticket.kind = Kind::LocalJwt;
        ticket.source = Source::Jwt;
        if !self.cache.is_off() && token.len() <= crate::jwt::MAX_TOKEN_BYTES {
            let key = self.cache.digest(Kind::LocalJwt, token);
            ticket.key = Some(key);
            if !self.awaits_list(host)
                && let Lookup::Fresh(entry) = self.cache.look_up(&key, Kind::LocalJwt, now, host)
                && let Some(permit) = self.recall(&entry, ticket, now, host)?
            {
                return Ok(Progress::Done(permit));
            }
            host.count(Counter::Cache(CacheEvent::Miss));
        }
        let jwt = self.parse(token, now)?;
        jwt.claims().check_time(now, self.config.jwt.clock_skew).map_err(time_code)?;
        self.progress(jwt, ticket, now, host)
    }

    /// Takes a client's JWT apart.
    fn parse<'t>(&mut self, token: &'t [u8], now: UnixTime) -> Result<UntrustedJwt<'t>, Denial> {
        UntrustedJwt::parse(token).map_err(|error| {
            self.log_malformed(&format_args!("JWT: {error}"), now);
            Code::TokenMalformed.into()
        })
    }

    /// What only the service can tell.
    fn verify_by_service(
        &mut self,
        stream: StreamId,
        credential: Credential<'_>,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        let (kind, bytes) = match credential {
            Credential::Jwt(token) => (Kind::RemoteJwt, token),
            Credential::ApiToken(token) => (Kind::ApiToken, token.as_bytes()),
            Credential::Other(value) => (Kind::Other, value.as_bytes()),
        };
        ticket.kind = kind;
        let key = self.cache.digest(kind, bytes);
        ticket.key = Some(key);
        if let Some((entry, permit)) = self.known(&key, kind, ticket, now, host)? {
            if self.cache.wants_refresh(&key, &entry, now, host) {
                let request = introspection::question(credential, &self.config);
                self.refresh(Question::new(key, kind, request, own_claims(credential)), now, host);
            }
            return Ok(Progress::Done(permit));
        }
        if !self.cache.is_off() {
            host.count(Counter::Cache(CacheEvent::Miss));
        }
        if let Credential::Jwt(token) = credential {
            // What can't be valid need not be asked about.
            let jwt = self.parse(token, now)?;
            jwt.claims().check_time(now, self.config.jwt.clock_skew).map_err(time_code)?;
            policy::precheck(jwt.claims(), self.require(ticket.rule), &self.config)?;
        }
        let lockout = self.throttle.as_ref().zip(ticket.subject.as_ref());
        if let Some(remaining) = lockout.and_then(|(throttle, subject)| throttle.check(subject, now, host))
            // What was good lately is no guess.
            && self.cache.stale(&key, kind, now, host).is_none()
        {
            return Err(too_many_failures(remaining));
        }
        let request = introspection::question(credential, &self.config);
        ticket.source = Source::Callout;
        ticket.connection = host.connection();
        self.ask(stream, Question::new(key, kind, request, own_claims(credential)), ticket, now, host)
    }

    /// The service's verdict on a credential, as far as it is known and still stands.
    pub(super) fn known(
        &mut self,
        key: &Digest,
        kind: Kind,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Option<(Rc<Entry>, Permit)>, Denial> {
        // Where this worker's entry is void, another worker may have brought a newer one.
        for _ in 0..2 {
            match self.cache.look_up(key, kind, now, host) {
                Lookup::Fresh(entry) => {
                    if let Some(permit) = self.recall(&entry, ticket, now, host)? {
                        return Ok(Some((entry, permit)));
                    }
                }
                Lookup::Refused(code) => {
                    ticket.source = Source::Cache;
                    return Err(code.into());
                }
                Lookup::Miss => break,
            }
        }
        Ok(None)
    }

    /// Lets a verdict of the cache be checked against everything that may have changed since. `None`: it is void.
    fn recall(
        &mut self,
        entry: &Rc<Entry>,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Option<Permit>, Denial> {
        if !self.still_stands(entry, ticket, now, host) {
            return Ok(None);
        }
        host.count(Counter::Cache(CacheEvent::Hit));
        ticket.source = Source::Cache;
        self.admit(Rc::clone(&entry.identity), ticket, now, host).map(Some)
    }

    /// Whether neither a purge nor the loss of its key has ended an entry.
    pub(super) fn still_stands(&mut self, entry: &Entry, ticket: &Ticket, now: UnixTime, host: &impl Host) -> bool {
        let has_key = match entry.identity.verifier() {
            Verifier::Service => true,
            Verifier::Key(key) => {
                // A worker that has just begun may not know yet what the others have fetched.
                self.keys.accepts(key, now) || {
                    self.keys.synchronise(now, host);
                    self.keys.accepts(key, now)
                }
            }
        };
        let claims = entry.identity.claims();
        let is_purged = self.feed.as_ref().is_some_and(|feed| feed.list.is_purged(claims, entry.verified, host));
        if has_key && !is_purged {
            return true;
        }
        if let Some(key) = &ticket.key {
            self.cache.forget(key, entry.verified, host);
        }
        false
    }

    /// Verifies a client's JWT with the keys that are known, or finds that it has to wait for one.
    pub(super) fn progress(
        &mut self,
        jwt: UntrustedJwt<'_>,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        let (jwt, tried) = if self.awaits_list(host) {
            (jwt, KeyWait::UNTRIED)
        } else {
            match self.verify(jwt, now, host) {
                Ok(identity) => return self.let_in(identity, ticket, now, now, host),
                Err(jwt) => (jwt, self.keys.generation()),
            }
        };
        ticket.connection = ticket.connection.or_else(|| host.connection());
        let wait = Box::new(KeyWait { token: jwt.into_token().into(), answer: None, since: now, tried });
        self.wait_for_key(wait, ticket, now, host)
    }

    pub(super) fn verify<'t>(
        &self,
        jwt: UntrustedJwt<'t>,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Identity, UntrustedJwt<'t>> {
        jwt.verify(&Rs256::new(host), self.keys.keys(now)).map(Identity::from)
    }

    /// The identity of a JWT whose signature fits: kept, then checked.
    pub(super) fn let_in(
        &mut self,
        identity: Identity,
        ticket: &Ticket,
        began: UnixTime,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        let is_fallback = ticket.source == Source::Fallback;
        if is_fallback && ticket.key.is_some_and(|key| self.cache.is_refused(&key, ticket.kind, host)) {
            // By an answer that came while this waited for a key.
            return Err(Code::AuthServiceUnavailable.into());
        }
        let identity = match &ticket.key {
            // What the signature alone says is no verdict of the service, and isn't kept as one.
            Some(key) if !is_fallback => self.cache.store(key, ticket.kind, identity, began, now, host)?,
            _ => Rc::new(identity),
        };
        self.admit(identity, ticket, now, host).map(Progress::Done)
    }

    /// The last checks, whichever way the identity was found: not expired, not revoked, and good for the rule.
    pub(super) fn admit(
        &self,
        identity: Rc<Identity>,
        ticket: &Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Permit, Denial> {
        identity.claims().check_time(now, self.config.jwt.clock_skew).map_err(time_code)?;
        if let Some(feed) = &self.feed {
            let result = if feed.list.is_revoked(identity.claims(), host) {
                BlacklistCheck::Revoked
            } else if feed.is_stale {
                BlacklistCheck::Stale
            } else {
                BlacklistCheck::Clear
            };
            host.count(Counter::BlacklistCheck(result));
            if result == BlacklistCheck::Revoked {
                return Err(Code::TokenRevoked.into());
            }
        }
        let presenter = if ticket.kind.is_jwt() { Presenter::Client } else { Presenter::Service };
        Ok(policy::authorise(identity, presenter, self.require(ticket.rule), &self.config)?)
    }

    fn require(&self, rule: Option<usize>) -> &Require {
        static NONE: Require = Require { token_types: None };
        rule.and_then(|index| self.config.rules.get(index)).map_or(&NONE, |Rule { require, .. }| require)
    }

    /// A denial, unless its client has failed so often that it is told so instead.
    pub(super) fn throttled(
        &self,
        denial: Denial,
        subject: Option<&Subject>,
        now: UnixTime,
        host: &impl Host,
    ) -> Denial {
        let (Some(throttle), Some(subject)) = (&self.throttle, subject) else {
            return denial;
        };
        // Who brings no credential, or one that is or was good, isn't guessing.
        let is_guess = matches!(
            denial.code,
            Code::MalformedCredentials
                | Code::UnsupportedScheme
                | Code::TokenMalformed
                | Code::SignatureInvalid
                | Code::TokenRejected
        );
        if !is_guess {
            return denial;
        }
        match throttle.check(subject, now, host) {
            Some(remaining) => too_many_failures(remaining),
            None => {
                throttle.fail(subject, now, host);
                denial
            }
        }
    }
}

fn own_claims(credential: Credential<'_>) -> OwnClaims {
    match credential {
        Credential::Jwt(token) => UntrustedJwt::parse(token).map_or_else(
            |_| OwnClaims::default(),
            |jwt| {
                let claims = jwt.claims();
                let jti = claims.jti().map(Box::from);
                OwnClaims { exp: claims.exp(), nbf: claims.nbf(), jti, token_id: None }
            },
        ),
        Credential::ApiToken(token) => {
            let token_id = token.split_once('$').and_then(|(id, _)| id.parse().ok());
            OwnClaims { token_id, ..OwnClaims::default() }
        }
        Credential::Other(_) => OwnClaims::default(),
    }
}
