//! The module that only tests load: authgate with panics on demand.
//!
//! With `VERIFIER_PROBE` in its environment, it instead answers every request with the verdicts of authgate's two
//! verifiers on the RS256 signature in the headers `x-key` (SubjectPublicKeyInfo), `x-signature` and `x-message`, each in
//! base64. Many signatures of one key go into `x-cases`: `signature.message` each, with a comma between them. Test vectors
//! sign arbitrary messages, which no JWT can carry; this way they reach the code that the filter runs.
#![cfg(target_arch = "wasm32")]

use authgate::PublicKey;
use authgate::host::Signatures as _;
use authgate::internals::{EnvoyHost, verify_in_module};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

mod entry {
    use authgate::internals::{Root, vacate_at_panic};

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
        vacate_at_panic();
        proxy_wasm::set_root_context(|id| match std::env::var_os("VERIFIER_PROBE") {
            Some(_) => Box::new(super::Probe),
            None => Box::new(Root::new(id)),
        });
    }}
}

struct Probe;

impl Context for Probe {}

impl RootContext for Probe {
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream;

impl Stream {
    fn decoded(&self, name: &str) -> Option<Vec<u8>> {
        STANDARD.decode(self.get_http_request_header_bytes(name)?).ok()
    }

    /// The host's verdict and the module's, or why there is none.
    fn verdicts(&self) -> Option<String> {
        let key = match PublicKey::from_der(&self.decoded("x-key")?) {
            Ok(key) => key,
            Err(error) => return Some(format!("key: {error}")),
        };
        if let Some(cases) = self.get_http_request_header_bytes("x-cases") {
            return cases.split(|byte| *byte == b',').map(|case| both(&key, case)).collect();
        }
        let (signature, message) = (self.decoded("x-signature")?, self.decoded("x-message")?);
        let host = EnvoyHost::new(0).verify_signature(&key, &signature, &message);
        Some(format!("host: {host:?}, module: {}", verify_in_module(&key, &signature, &message)))
    }
}

/// Two letters for the host's verdict and the module's: `y` and `n`, or `-` where the host has none.
fn both(key: &PublicKey, case: &[u8]) -> Option<String> {
    let dot = case.iter().position(|byte| *byte == b'.')?;
    let (signature, message) = (STANDARD.decode(case.get(..dot)?).ok()?, STANDARD.decode(case.get(dot + 1..)?).ok()?);
    let letter = |verdict: bool| if verdict { 'y' } else { 'n' };
    let host = EnvoyHost::new(0).verify_signature(key, &signature, &message).map_or('-', letter);
    Some(String::from_iter([host, letter(verify_in_module(key, &signature, &message))]))
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let answer = self.verdicts().unwrap_or_else(|| "a header is missing or not base64".to_owned());
        self.send_http_response(200, vec![], Some(answer.as_bytes()));
        Action::Pause
    }
}
