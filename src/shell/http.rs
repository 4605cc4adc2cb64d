//! One context per request.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::worker::{Worker, change_headers, respond};
use crate::decision::{Client, Code, Denial};
use crate::filter::{Resolution, Step, StreamId};

/// A request on its way.
pub(super) struct Stream {
    id: StreamId,
    worker: Option<Rc<Worker>>,
}

impl Stream {
    pub(super) const fn new(id: StreamId, worker: Option<Rc<Worker>>) -> Self {
        Self { id, worker }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let Some(worker) = &self.worker else {
            // Envoy sends no requests to a root that refused its configuration; none would be let through.
            respond(&Denial::from(Code::Internal).response(&Client::default(), "authgate"));
            return Action::Pause;
        };
        match worker.on_request(self.id) {
            Step::Resolve(Resolution::Forward(forward)) => {
                change_headers(&forward);
                Action::Continue
            }
            Step::Resolve(Resolution::Deny(response)) => {
                respond(&response);
                Action::Pause
            }
            Step::Wait => Action::Pause,
        }
    }
}

impl Context for Stream {
    /// The stream is over, whoever ended it: a client that left while its request was held gets here too, and
    /// nowhere else.
    fn on_done(&mut self) -> bool {
        if let Some(worker) = &self.worker {
            worker.on_end(self.id);
        }
        true
    }
}
