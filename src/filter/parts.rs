//! The parts of a worker. Each owns its state; functions that need several of them are here.

use super::callouts::{Callouts, Purpose};
use super::journal::Journal;
use super::log_limit::LogLimits;
use super::room::Room;
use crate::cache::{self, Validity, VerificationCache};
use crate::claims::Claims;
use crate::code::Code;
use crate::config::Config;
use crate::host::Cx;
use crate::introspection::{Outage, Verifier};
use crate::jwt::UntrustedJwt;
use crate::keys::{Keys, Reason};
use crate::policy::Identity;
use crate::questions::shares::Shares;
use crate::questions::{Asking, Call, Questions, Unavailable};
use crate::revocation::Revocation;
use crate::signature::Rs256;
use crate::suspicious::Watch;
use crate::throttle::Throttle;

/// Everything that requests are decided with.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) keys: Keys,
    pub(super) cache: VerificationCache,
    pub(super) revocation: Option<Revocation>,
    pub(super) questions: Questions,
    pub(super) shares: Shares,
    pub(super) throttle: Option<Throttle>,
    pub(super) watch: Watch,
    pub(super) verifier: Box<dyn Verifier>,
    pub(super) room: Room,
    pub(super) callouts: Callouts,
    pub(super) logs: LogLimits,
    pub(super) journal: Journal,
}

impl Parts {
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub(super) fn new(config: Config, verifier: Box<dyn Verifier>) -> Self {
        let prefix = cache::prefix(&config);
        Self {
            keys: Keys::new(&config),
            cache: VerificationCache::new(&config, &prefix),
            revocation: config.revocation.clone().map(|list| {
                let prefix = cache::prefix_at(&list.host, &config.auth_service);
                Revocation::new(list, &config.auth_service, &prefix)
            }),
            questions: Questions::new(&config, &prefix),
            shares: Shares::default(),
            throttle: config.failed_auth_throttle.map(|throttle| {
                let longest = config.auth_service.longest_callout();
                Throttle::new(&format!("{prefix}t."), throttle.attempts, throttle.window, throttle.lockout, longest)
            }),
            watch: Watch::new(&format!("{prefix}a.")),
            verifier,
            room: Room::default(),
            callouts: Callouts::default(),
            logs: LogLimits::default(),
            journal: Journal::default(),
            config,
        }
    }

    /// The cache, and what decides whether its entries are valid.
    pub(super) fn cache(&mut self, cx: &Cx<'_>) -> (&mut VerificationCache, Validity<'_>) {
        (&mut self.cache, Validity::new(&mut self.keys, self.revocation.as_ref(), cx.shared))
    }

    /// Whether the first revocation list is still to come. Meanwhile, no JWT that may be on it may pass.
    pub(super) fn awaits_list(&mut self, cx: &Cx<'_>) -> bool {
        self.revocation.as_mut().is_some_and(|revocation| revocation.is_awaited(cx.shared))
    }

    /// Verifies a JWT with the known keys.
    pub(super) fn verify<'t>(&self, jwt: UntrustedJwt<'t>, cx: &Cx<'_>) -> Result<Identity, UntrustedJwt<'t>> {
        let verified = jwt.verify(&Rs256::new(cx.host), &self.keys.store().at(cx.now))?;
        Ok(verified.keeping(&self.config.kept_claims).into())
    }

    /// Begins a fetch of the key if one may begin now.
    pub(super) fn fetch_key(&mut self, reason: Reason, cx: &Cx<'_>) {
        if let Some(fetch) = self.keys.fetch(reason, cx) {
            self.callouts.send(self.keys.request(), Purpose::Key(fetch), cx);
        }
    }

    /// Begins a question.
    ///
    /// # Errors
    /// The service can't be asked.
    pub(super) fn open_question(&mut self, asking: Asking, cx: &Cx<'_>) -> Result<(), Unavailable> {
        if !self.callouts.has_room() {
            return Err(Unavailable::Overload);
        }
        if let Some(call) = self.questions.open(asking, &mut self.shares, cx)? {
            self.put(call, cx);
        }
        Ok(())
    }

    /// Puts an open question to the service.
    pub(super) fn put(&mut self, call: Call, cx: &Cx<'_>) {
        if let Some(open) = self.questions.get(&call.digest) {
            let mut request = self.verifier.question(&open.question.credential);
            request.forwarded.clone_from(&open.question.forwarded);
            self.callouts.send(request, Purpose::Verify(call), cx);
        }
    }

    /// Logs that shadow mode lets a request pass.
    pub(super) fn log_shadow(&mut self, rule: Option<usize>, code: Code, cx: &Cx<'_>) {
        if self.logs.shadow.takes(cx.now) {
            let name = self.config.rules.name(rule);
            log::info!("shadow mode lets a request pass that would be denied: {} (rule {name})", code.name());
        }
    }

    /// Logs whose technical token was let in.
    pub(super) fn log_deprecated(&mut self, claims: &Claims, cx: &Cx<'_>) {
        if self.logs.deprecated.takes(cx.now) {
            let (user, client) = (claims.user_id(), claims.client_id());
            log::warn!("a technical token of user {user} of client {client} was let in: this type is deprecated");
        }
    }

    /// Logs why the service gave no verdict.
    pub(super) fn log_outage(&mut self, outage: &Outage, cx: &Cx<'_>) {
        if self.logs.outages.takes(cx.now) {
            log::error!("auth service (cluster {}): {outage}", self.config.auth_service.cluster);
        }
    }

    /// Logs why a credential is malformed. The reason must not quote it.
    pub(super) fn log_malformed(&mut self, reason: &dyn std::fmt::Display, cx: &Cx<'_>) {
        if log::log_enabled!(log::Level::Debug) && self.logs.malformed.takes(cx.now) {
            log::debug!("a credential is malformed: {reason}");
        }
    }
}
