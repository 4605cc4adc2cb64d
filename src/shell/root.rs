//! The root context: configuration, time, callouts.

use std::env::VarError;
use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType, LogLevel, MapType};

use super::http::Stream;
use super::worker::Worker;
use super::{injection, raw};
use crate::config::Config;
use crate::filter::Filter;
use crate::introspection::{CalloutError, CalloutResponse};
use crate::seal::Seal;

/// One per filter configuration and worker.
pub struct Root {
    id: u32,
    worker: Option<Rc<Worker>>,
}

impl Root {
    /// The context that the host numbered `id`; it serves nothing before it is configured.
    pub const fn new(id: u32) -> Self {
        Self { id, worker: None }
    }
}

impl RootContext for Root {
    fn on_vm_start(&mut self, _size: usize) -> bool {
        follow_log_level();
        true
    }

    /// Envoy calls this in every worker, in the main thread, and once more for a trial. So nothing may leave the VM
    /// here; the key is fetched from the first tick on.
    fn on_configure(&mut self, size: usize) -> bool {
        let bytes = match hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(status) => {
                log::error!("the configuration can't be read: {status:?}");
                return false;
            }
        };
        let config = match Config::from_bytes(&bytes) {
            Ok(config) => config,
            Err(errors) => {
                errors.iter().for_each(|error| log::error!("configuration refused: {error}"));
                return false;
            }
        };
        let seal = match seal() {
            Ok(seal) => seal,
            Err(problem) => {
                log::error!("configuration refused: {SEAL_KEY}: {problem}");
                return false;
            }
        };
        if raw::monotonic_nanos().is_none() {
            log::error!(
                "configuration refused: the host has no monotonic clock; a capability_restriction_config must allow \
                 clock_time_get"
            );
            return false;
        }
        self.worker = Some(Rc::new(Worker::new(self.id, Filter::new(config), seal)));
        hostcalls::set_tick_period(FIRST_TICK).is_ok()
    }

    fn on_tick(&mut self) {
        // An operator may have changed the level.
        follow_log_level();
        if let Some(worker) = &self.worker {
            worker.on_tick();
        }
    }

    /// The host doesn't call this: see [`super::raw`].
    fn on_queue_ready(&mut self, _queue_id: u32) {
        if let Some(worker) = &self.worker {
            worker.carry_out();
        }
    }

    fn create_http_context(&self, stream: u32) -> Option<Box<dyn HttpContext>> {
        injection::point("create_context");
        Some(Box::new(Stream::new(stream, self.worker.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Takes over Envoy's log level, so that lines below it are not formatted.
fn follow_log_level() {
    proxy_wasm::set_log_level(hostcalls::get_log_level().unwrap_or(LogLevel::Info));
}

/// The environment variable of the VM with the key that shared data are sealed with (docs/reference.md#seal).
pub(super) const SEAL_KEY: &str = "AUTHGATE_SEAL_KEY";

/// The seal, if the operator has set a key.
fn seal() -> Result<Option<Seal>, String> {
    let key = match std::env::var(SEAL_KEY) {
        Ok(key) => key,
        Err(VarError::NotPresent) => return Ok(None),
        Err(VarError::NotUnicode(_)) => return Err("is not text".to_owned()),
    };
    let mut prefix = [0; 16];
    getrandom::getrandom(&mut prefix).map_err(|error| format!("the host provides no random numbers: {error}"))?;
    Seal::new(&key, prefix).map(Some).map_err(|error| error.to_string())
}

/// How soon after its configuration a worker ticks for the first time.
const FIRST_TICK: std::time::Duration = std::time::Duration::from_millis(10);

impl Drop for Root {
    /// The configuration is replaced, or Envoy ends: see [`Stream`]'s for why this isn't `on_done`.
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.on_retirement();
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, num_headers: usize, body_size: usize, _num_trailers: usize) {
        if let Some(worker) = &self.worker {
            worker.on_answer(token, |limit| answer(num_headers, body_size, limit));
        }
    }
}

/// Reads a callout's answer. If an answer breaks off after its head, Envoy reports one without headers; if before,
/// Envoy answers itself.
fn answer(num_headers: usize, body_size: usize, limit: usize) -> Result<CalloutResponse, CalloutError> {
    if num_headers == 0 {
        return Err(CalloutError::Broken);
    }
    let map = raw::header_map(MapType::HttpCallResponseHeaders);
    let headers = map.as_deref().and_then(raw::headers).ok_or(CalloutError::Broken)?;
    let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    let status = headers
        .iter()
        .find(|(name, _)| name == ":status")
        .and_then(|(_, value)| str::from_utf8(value).ok()?.parse().ok())
        .unwrap_or(0);
    let body = if body_size == 0 {
        Some(Vec::new())
    } else if body_size <= limit {
        let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, body_size);
        Some(body.map_err(|_| CalloutError::Broken)?.unwrap_or_default())
    } else {
        None
    };
    let answer = CalloutResponse { status, headers, body };
    CalloutError::of(&answer).map_or(Ok(answer), Err)
}
