//! One context per request.

use std::cell::Cell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::injection;
use super::worker::{Received, Worker, respond, serve};
use crate::code::Code;
use crate::decision::{Client, Denial, Look};
use crate::filter::Resolution;
use crate::host::StreamId;

/// One request.
pub(super) struct Stream {
    id: StreamId,
    worker: Option<Rc<Worker>>,
    passage: Passage,
}

/// Whether a request may go on.
enum Passage {
    /// It has been answered, or hasn't arrived.
    Closed,
    Open,
    /// It waits, or has waited: open as soon as this is true.
    Held(Rc<Cell<bool>>),
}

impl Stream {
    pub(super) fn new(id: StreamId, worker: Option<Rc<Worker>>) -> Self {
        Self { id, worker, passage: Passage::Closed }
    }

    /// With `allow_on_headers_stop_iteration`, Envoy goes on with the body of a request whose head is held. The action
    /// that is returned for the body then counts for the head as well.
    fn action(&self) -> Action {
        match &self.passage {
            Passage::Open => Action::Continue,
            Passage::Held(has_passed) if has_passed.get() => Action::Continue,
            Passage::Held(_) | Passage::Closed => Action::Pause,
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        let Some(worker) = &self.worker else {
            // Envoy sends no requests to a root that refused its configuration. If it did, none would be let through.
            respond(&Denial::from(Code::Internal).response(&Client::default(), Look::plain("authgate")));
            return Action::Pause;
        };
        match worker.on_request(self.id, !end_of_stream) {
            Received::Resolved(Resolution::Forward(forward)) => {
                worker.change_headers(&forward);
                self.passage = Passage::Open;
            }
            Received::Resolved(Resolution::Deny(response)) => respond(&response),
            Received::Resolved(Resolution::Serve(page)) => serve(&page),
            Received::Held(has_passed) => self.passage = Passage::Held(has_passed),
        }
        self.action()
    }

    fn on_http_request_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        injection::point("request_body");
        self.action()
    }

    /// Some servers treat trailers as headers.
    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        injection::point("request_trailers");
        if let Some(worker) = &self.worker {
            worker.strip_trailers();
        }
        self.action()
    }
}

impl Context for Stream {}

impl Drop for Stream {
    /// The stream has ended, for whatever reason. Nothing else tells that a client left while its request was held.
    ///
    /// Envoy calls `proxy_on_done` and at once `proxy_on_delete`, with which the SDK drops the stream. The module
    /// exports only the second, since each call slows every request.
    fn drop(&mut self) {
        injection::point("done");
        // Nothing is left of a request that was resolved at once.
        if let (Some(worker), Passage::Held(_)) = (&self.worker, &self.passage) {
            worker.on_end(self.id);
        }
    }
}
