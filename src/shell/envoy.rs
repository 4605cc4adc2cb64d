//! The [host's](crate::host) services over Envoy's host calls.

use std::cell::{Cell, OnceCell, RefCell};
use std::time::UNIX_EPOCH;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{MetricType, Status};

use super::root::SEAL_KEY;
use super::{counts, raw};
use crate::host::{Conflict, Metrics, Peer, SharedData, SharedValue, Signatures, Write};
use crate::label;
use crate::metrics::metric::Metric;
use crate::metrics::{Counter, Gauge, Histogram};
use crate::public_key::PublicKey;
use crate::seal::is_newly_unsealed;
use crate::secret::Secret;
use crate::tally::{GAUGES, Levels, Tally};
use crate::time::{Instant, UnixTime};

/// A compare-and-swap number that the host never gives out this century: it counts up from 1. A write that presents
/// it succeeds only where the key doesn't exist, since then the host doesn't compare.
const NO_VERSION: u32 = u32::MAX;

/// What the host has said about a metric. It assigns a new number at every definition.
#[derive(Debug, Clone, Copy)]
enum Known {
    Nothing,
    /// Its number.
    As(u32),
    /// A counter's place.
    At(counts::Place),
    Refused,
}

/// The services of the host that this VM runs in.
#[derive(Debug)]
pub struct EnvoyHost {
    has_verify_signature: Cell<bool>,
    secret: OnceCell<Secret>,
    /// What is known of each metric, by its place.
    metrics: RefCell<Vec<Known>>,
    tally: RefCell<Tally>,
    /// The filter's name in the host.
    name: Vec<u8>,
    /// The value of every metric's label `filter`.
    filter: String,
    root_id: u32,
}

impl EnvoyHost {
    /// The host of the plugin that is being configured, with this root context.
    pub fn new(root_id: u32) -> Self {
        let name = hostcalls::get_property(vec!["plugin_name"]).ok().flatten().unwrap_or_default();
        let filter = label::value(&name);
        Self {
            has_verify_signature: Cell::new(true),
            secret: OnceCell::new(),
            metrics: RefCell::default(),
            tally: RefCell::new(Tally::new(&filter)),
            name,
            filter,
            root_id,
        }
    }

    /// Warns that shared data are not sealed: once in this process, and again after they were sealed. A key that got
    /// lost on its way to the VM looks the same as a key that was never set.
    pub fn report_seal(&self, is_sealed: bool) {
        if is_sealed {
            log::debug!("shared data are sealed");
        }
        if is_newly_unsealed(is_sealed, self) {
            log::warn!(
                "shared data are not sealed: plugins with the same vm_id can read and forge them. If other plugins have this \
                 filter's vm_id, set {SEAL_KEY} in Envoy's environment and name it under \
                 vm_config.environment_variables.host_env_keys, or give this filter a vm_id of its own"
            );
        }
    }

    /// Warns that the metrics of another filter have the same label as this one's.
    pub fn report_label(&self) {
        if let Some(other) = label::newly_mixed_with(&self.name, &self.filter, self) {
            let (name, label) = (String::from_utf8_lossy(&self.name), &self.filter);
            log::warn!(
                "the metrics of the filters named {name:?} and {other:?} are mixed: both names give the label \
                 filter={label:?}. Give them names that differ in letters, digits, `_` or `-`"
            );
        }
    }

    /// Called at the end of every event: moves the gauges and tells the counters that mustn't wait for the next tick.
    #[inline]
    pub fn flush(&self, now: Instant) {
        counts::tell_now_and_then(now);
        if !self.tally.borrow().is_settled() {
            self.flush_tally(now);
        }
    }

    #[inline(never)]
    fn flush_tally(&self, now: Instant) {
        let moved = self.tally.borrow_mut().flush(now, self);
        for (gauge, by) in GAUGES.into_iter().zip(moved.unwrap_or_default()).filter(|(_, by)| *by != 0) {
            self.change(Metric::Gauge(gauge), |id| hostcalls::increment_metric(id, by));
        }
        if moved.is_some() {
            self.mark_place();
        }
    }

    /// Called at the end of every tick: tells the counters, and sets the gauges that all VMs move to the sum of their
    /// tallies.
    pub fn tell(&self, now: Instant) {
        counts::tell_now_and_then(now);
        let sum = self.tally.borrow_mut().tick(now, self);
        if let Some(sum) = sum {
            self.set_all(sum);
            self.mark_place();
        }
    }

    /// This VM stops counting.
    pub fn retire(&self, now: Instant) {
        counts::tell(now);
        let sum = self.tally.borrow_mut().end(now, self);
        self.set_all(sum);
        self.mark_place();
        let metrics = std::mem::take(&mut *self.metrics.borrow_mut());
        counts::free(
            metrics.into_iter().filter_map(|known| if let Known::At(place) = known { Some(place) } else { None }),
        );
    }

    fn set_all(&self, sum: Levels) {
        for (gauge, level) in GAUGES.into_iter().zip(sum) {
            self.set(gauge, level.unsigned_abs());
        }
    }

    fn mark_place(&self) {
        PLACES.with_borrow_mut(|places| {
            places.retain(|(root_id, _)| *root_id != self.root_id);
            places.extend(self.tally.borrow().place_name().map(|place| (self.root_id, place)));
        });
    }

    /// Changes a metric that isn't a counter, unless the host refuses to define it.
    fn change(&self, metric: Metric<'_>, change: impl FnOnce(u32) -> Result<(), Status>) {
        if let Known::As(id) = self.known(metric)
            && change(id).is_err()
        {
            log::error!("the metric {metric} could not be changed");
        }
    }

    /// What the host has said about a metric, which is defined if it hasn't been.
    fn known(&self, metric: Metric<'_>) -> Known {
        let place = metric.place();
        match self.metrics.borrow().get(place).copied() {
            None | Some(Known::Nothing) => {}
            Some(known) => return known,
        }
        self.define(metric, place)
    }

    #[inline(never)]
    fn define(&self, metric: Metric<'_>, place: usize) -> Known {
        let kind = match metric {
            Metric::Counter(_) => MetricType::Counter,
            Metric::Gauge(_) => MetricType::Gauge,
            Metric::Histogram(_) => MetricType::Histogram,
        };
        let known = match (hostcalls::define_metric(kind, &format!("{metric}.filter={}", self.filter)), metric) {
            (Err(_), _) => Known::Refused,
            (Ok(id), Metric::Counter(_)) => Known::At(counts::take_place(id)),
            (Ok(id), _) => Known::As(id),
        };
        let mut metrics = self.metrics.borrow_mut();
        if metrics.len() <= place {
            metrics.resize(place + 1, Known::Nothing);
        }
        if let Some(its) = metrics.get_mut(place) {
            *its = known;
        }
        known
    }

    /// The host's monotonic clock. A host without one has been refused: see `Root::on_configure`.
    pub fn now() -> Instant {
        Instant::from_reading(raw::monotonic_nanos().unwrap_or_default())
    }

    /// The host's wall clock; the epoch if it is set before that.
    pub fn wall() -> UnixTime {
        let since_epoch = hostcalls::get_current_time().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        UnixTime::default().after(since_epoch.unwrap_or_default())
    }
}

impl SharedData for EnvoyHost {
    fn shared_data(&self, key: &str) -> Option<SharedValue> {
        match hostcalls::get_shared_data(key) {
            // The SDK returns no bytes for an empty value, but the key exists.
            Ok((bytes, Some(cas))) => Some(SharedValue { bytes: bytes.unwrap_or_default(), cas }),
            _ => None,
        }
    }

    fn set_shared_data(&self, key: &str, value: &[u8], write: Write) -> Result<(), Conflict> {
        let cas = match write {
            Write::Always => None,
            Write::IfAbsent => Some(NO_VERSION),
            Write::IfVersion(version) => Some(version),
        };
        hostcalls::set_shared_data(key, Some(value), cas).map_err(|_| Conflict)
    }

    fn keyed_hash(&self, bytes: &[u8]) -> u64 {
        let create = || {
            let mut fresh = [0; 16];
            if getrandom::getrandom(&mut fresh).is_err() {
                log::error!("the host provides no random numbers: clients can predict where their records are kept");
            }
            Secret::of_process(fresh, self)
        };
        self.secret.get_or_init(create).hash(bytes)
    }
}

impl Signatures for EnvoyHost {
    fn verify_signature(&self, key: &PublicKey, signature: &[u8], message: &[u8]) -> Option<bool> {
        if !self.has_verify_signature.get() {
            return None;
        }
        let question = VerifySignature { public_key: key.der(), signature, text: message }.encode();
        match hostcalls::call_foreign_function("verify_signature", Some(&question)) {
            Ok(answer) => Some(is_true(answer.as_deref().unwrap_or_default())),
            Err(status) => {
                log::warn!("the host has no verify_signature ({status:?}): signatures are verified in the module");
                self.has_verify_signature.set(false);
                None
            }
        }
    }
}

impl Metrics for EnvoyHost {
    fn count(&self, counter: Counter) {
        if let Known::At(place) = self.known(Metric::Counter(&counter)) {
            counts::add(place);
        }
    }

    fn shift(&self, gauge: Gauge, by: i64) {
        self.tally.borrow_mut().count(gauge, by);
    }

    fn set(&self, gauge: Gauge, to: u64) {
        self.change(Metric::Gauge(gauge), |id| hostcalls::record_metric(id, to));
    }

    fn record(&self, histogram: Histogram, value: u64) {
        self.change(Metric::Histogram(histogram), |id| hostcalls::record_metric(id, value));
    }

    fn callouts_in_flight(&self) -> u64 {
        self.tally.borrow().level(Gauge::CalloutsInFlight, Self::now(), self)
    }
}

impl Peer for EnvoyHost {
    fn client_address(&self) -> Option<String> {
        let address = hostcalls::get_property(vec!["source", "address"]).ok()??;
        String::from_utf8(address).ok()
    }

    fn connection(&self) -> Option<u64> {
        let number = hostcalls::get_property(vec!["connection", "id"]).ok()??;
        number.try_into().ok().map(u64::from_le_bytes)
    }
}

thread_local! {
    /// Where the filters of this VM keep their tallies, by their root contexts.
    static PLACES: RefCell<Vec<(u32, String)>> = RefCell::default();
}

/// Makes a panic tell the counters and take what this VM has counted off the gauges, after its message: Envoy no longer
/// calls the VM.
pub fn vacate_at_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        counts::tell_at_panic();
        PLACES.with(|places| {
            for (_, place) in places.try_borrow().iter().flat_map(|places| places.iter()) {
                // A failure can no longer be reported.
                let _ = hostcalls::set_shared_data(place, Some(&[]), None);
            }
        });
    }));
}

/// `VerifySignatureArguments` of Envoy's `verify_signature.proto`.
struct VerifySignature<'a> {
    public_key: &'a [u8],
    signature: &'a [u8],
    text: &'a [u8],
}

impl VerifySignature<'_> {
    fn encode(&self) -> Vec<u8> {
        let fields: [(u8, &[u8]); 4] = [(1, b"sha256"), (2, self.public_key), (3, self.signature), (4, self.text)];
        let mut message = Vec::with_capacity(fields.iter().map(|(_, value)| value.len() + 6).sum());
        for (number, value) in fields {
            message.push(number << 3 | 2);
            let mut length = value.len();
            while length >= 0x80 {
                message.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
                length >>= 7;
            }
            message.push(u8::try_from(length).unwrap_or_default());
            message.extend_from_slice(value);
        }
        message
    }
}

/// Whether a `VerifySignatureResult` says `result: true`. Serialisers write fields in order and omit a false one.
fn is_true(result: &[u8]) -> bool {
    result.starts_with(&[1 << 3, 1])
}
