//! What the root context and the streams of one worker share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{MapType, Status};

use super::envoy::EnvoyHost;
use super::{injection, raw};
use crate::code::Code;
use crate::credential::AUTHORIZATION;
use crate::decision::{Authorization, Client, Denial, Forward, Look, Page, Response};
use crate::extractor::{Change, RequestHead, trailers_to_strip};
use crate::filter::{Action, CallId, Filter, Resolution, Step};
use crate::host::{Cx, StreamId};
use crate::introspection::{CalloutError, CalloutRequest, CalloutResponse};
use crate::limits::AT_ONCE;
use crate::map::IdMap;
use crate::report::Report;
use crate::seal::{Seal, Sealed};
use crate::time::{Instant, UnixTime};

/// The most requests that are ended in one callback: [`AT_ONCE`] of each kind that the filter resumes in a tick. More
/// would exhaust the VM's stack, and answers that break at once may leave more to end.
const MOST_RESOLVED: usize = 3 * AT_ONCE;

/// What became of a request when it arrived.
pub(super) enum Received {
    /// It ends so. The filter keeps nothing of it.
    Resolved(Resolution),
    /// It is held until this is true, or until it is answered.
    Held(Rc<Cell<bool>>),
}

/// A stream that is held.
struct Held {
    /// Set when it may go on.
    has_passed: Rc<Cell<bool>>,
    /// The last report to the access log.
    told: Report,
}

/// One filter configuration in one worker.
pub(super) struct Worker {
    root_id: u32,
    filter: RefCell<Filter>,
    host: Sealed<EnvoyHost>,
    /// The call of each callout, by the host's number.
    callouts: RefCell<IdMap<u32, CallId>>,
    /// The stream whose request callback is running. Envoy can't resume a stream from within that callback, so its
    /// resolution is returned instead. Resolutions of others wait for a tick: if any stream is denied in the callback,
    /// Envoy takes this one for denied and holds it, whatever the callback returns.
    receiving: Cell<Option<StreamId>>,
    early: RefCell<Option<(Resolution, Report)>>,
    /// Streams that are held. In boxes, as the map keeps the room of entries that are removed.
    held: RefCell<IdMap<StreamId, Box<Held>>>,
    /// The host's effective context.
    context: Cell<u32>,
    /// The time of the last event that had one.
    latest: Cell<Instant>,
    /// What both clocks showed when the wall clock was last read.
    clocks: Cell<(Instant, UnixTime)>,
    tick_period: Cell<Duration>,
    /// Whether [`Self::carry_out`] runs in the callback of a callout, whose connection may be in the middle of reading
    /// a frame. Envoy 1.40 crashes if another request is sent on it from there after a reset, so callouts wait for a
    /// tick.
    is_answering: Cell<bool>,
    has_ticked: Cell<bool>,
    is_sealed: bool,
}

impl Worker {
    pub(super) fn new(root_id: u32, filter: Filter, seal: Option<Seal>) -> Self {
        Self {
            root_id,
            has_ticked: Cell::new(false),
            is_sealed: seal.is_some(),
            filter: RefCell::new(filter),
            host: Sealed::new(EnvoyHost::new(root_id), seal),
            callouts: RefCell::default(),
            receiving: Cell::new(None),
            early: RefCell::new(None),
            held: RefCell::default(),
            context: Cell::new(root_id),
            latest: Cell::default(),
            clocks: Cell::new((EnvoyHost::now(), EnvoyHost::wall())),
            tick_period: Cell::new(Duration::ZERO),
            is_answering: Cell::new(false),
        }
    }

    /// The context of an event. Only one clock is read: ticks tell soon enough that the wall clock was set.
    fn cx(&self) -> Cx<'_> {
        let now = EnvoyHost::now();
        self.latest.set(now);
        let (then, wall) = self.clocks.get();
        Cx { now, wall: wall.after(now.since(then)), shared: &self.host, host: self.host.inner() }
    }

    /// A request has arrived. Called with the stream as the host's current context.
    pub(super) fn on_request(&self, stream: StreamId, has_body: bool) -> Received {
        let map = raw::header_map(MapType::HttpRequestHeaders);
        let Some(headers) = map.as_deref().and_then(raw::headers) else {
            // Headers that can't be read can't be stripped either.
            let denial = Denial::from(Code::Internal).response(&Client::default(), Look::plain("authgate"));
            return Received::Resolved(Resolution::Deny(denial));
        };
        self.context.set(stream);
        injection::arm(&headers);
        injection::point("request_headers");
        let head = RequestHead { headers: &headers, has_body };
        let reception = self.filter.borrow_mut().on_request(stream, &head, &self.cx());
        for name in reception.strip {
            remove_header(name);
        }
        reception.changes.iter().for_each(change);
        tell(&reception.report, None);
        match reception.step {
            Step::Wait => match self.carry_out_for(stream) {
                Some((resolution, report)) => {
                    tell(&report, Some(&reception.report));
                    Received::Resolved(resolution)
                }
                None => {
                    let has_passed = Rc::new(Cell::new(false));
                    let held = Held { has_passed: Rc::clone(&has_passed), told: reception.report };
                    self.held.borrow_mut().insert(stream, Box::new(held));
                    Received::Held(has_passed)
                }
            },
            Step::Resolve(resolution) => {
                // A cached verdict may have to be refreshed.
                if self.filter.borrow().has_actions() {
                    self.carry_out_for(stream);
                    self.become_context(stream);
                }
                self.host.inner().flush(self.latest.get());
                Received::Resolved(resolution)
            }
        }
    }

    /// Removes from the request's trailers what clients may not send; all of them, if they can't be read.
    pub(super) fn strip_trailers(&self) {
        let map = raw::header_map(MapType::HttpRequestTrailers);
        let Some(trailers) = map.as_deref().and_then(raw::headers) else {
            // If the host refuses, the SDK panics: nothing goes on then.
            return hostcalls::set_map_bytes(MapType::HttpRequestTrailers, Vec::new()).unwrap_or_default();
        };
        for name in trailers_to_strip(&trailers, &self.filter.borrow().config().stripped_headers) {
            if hostcalls::remove_map_value(MapType::HttpRequestTrailers, name).is_err() {
                log::error!("a trailer could not be removed");
            }
        }
    }

    /// A stream that was held has ended.
    pub(super) fn on_end(&self, stream: StreamId) {
        self.held.borrow_mut().remove(&stream);
        self.filter.borrow_mut().on_end(stream, self.host.inner());
        self.host.inner().flush(self.latest.get());
    }

    /// The root has ended.
    pub(super) fn on_retirement(&self) {
        self.filter.borrow_mut().on_retirement(&self.cx());
        self.host.inner().retire(self.latest.get());
    }

    /// Called with the root as the host's current context.
    pub(super) fn on_tick(&self) {
        injection::point("tick");
        self.context.set(self.root_id);
        if !self.has_ticked.replace(true) {
            self.host.inner().report_seal(self.is_sealed);
            self.host.inner().report_label();
        }
        self.clocks.set((EnvoyHost::now(), EnvoyHost::wall()));
        self.filter.borrow_mut().on_tick(&self.cx());
        self.carry_out();
        self.host.inner().tell(self.latest.get());
    }

    /// A callout has come back: `read` reads its answer, with this limit for the body. Called with the root as the
    /// host's current context.
    pub(super) fn on_answer(&self, token: u32, read: impl FnOnce(usize) -> Result<CalloutResponse, CalloutError>) {
        injection::point("call_response");
        self.context.set(self.root_id);
        let call = self.callouts.borrow_mut().remove(&token);
        if let Some(call) = call {
            let answer = read(self.filter.borrow().body_limit(call));
            let has_failed = answer.is_err();
            self.filter.borrow_mut().on_answer(call, answer, &self.cx());
            if has_failed {
                // Wait for the next tick: a resumed request may go to the service's own cluster, on this connection.
                self.adjust_tick();
                self.host.inner().flush(self.latest.get());
                return;
            }
            self.is_answering.set(true);
            self.carry_out();
            self.is_answering.set(false);
        }
    }

    /// Carries out what is pending from within the request callback of `stream`, as the root. Returns the
    /// resolution of that stream if there already is one.
    fn carry_out_for(&self, stream: StreamId) -> Option<(Resolution, Report)> {
        self.receiving.set(Some(stream));
        raw::enter_root(self.root_id);
        self.receiving.set(None);
        let early = self.early.borrow_mut().take();
        if early.is_some() {
            self.become_context(stream);
        }
        early
    }

    /// Carries out what is pending. The SDK's active context has to be the root.
    pub(super) fn carry_out(&self) {
        injection::point("carry_out");
        let mut resolved = 0;
        while resolved < MOST_RESOLVED
            && let Some(action) = self.next_action()
        {
            resolved += usize::from(matches!(action, Action::Resolve { .. }));
            match action {
                Action::Callout { call, request } => self.dispatch(call, &request),
                Action::Resolve { stream, resolution, report } if self.receiving.get() == Some(stream) => {
                    *self.early.borrow_mut() = Some((resolution, report));
                }
                Action::Resolve { stream, resolution, report } => {
                    let held = self.held.borrow_mut().remove(&stream).map(|held| *held);
                    // A stream that the host no longer knows has no client to answer.
                    if let Some(Held { has_passed, told }) = held
                        && self.become_context(stream)
                    {
                        has_passed.set(matches!(resolution, Resolution::Forward(_)));
                        tell(&report, Some(&told));
                        self.apply(resolution);
                    }
                }
            }
        }
        self.adjust_tick();
        self.host.inner().flush(self.latest.get());
    }

    fn next_action(&self) -> Option<Action> {
        let mut filter = self.filter.borrow_mut();
        match self.receiving.get() {
            Some(stream) => filter.next_action_within(stream),
            None if self.is_answering.get() => filter.next_resolution(),
            None => filter.next_action(),
        }
    }

    /// Sends a callout, from the root context.
    fn dispatch(&self, call: CallId, request: &CalloutRequest) {
        self.become_context(self.root_id);
        let sent = {
            let filter = self.filter.borrow();
            let service = &filter.config().auth_service;
            let (cluster, authority) = filter.config().host(request.to);
            let mut headers = vec![
                (":method", request.method),
                (":path", request.path.as_str()),
                (":scheme", service.scheme.name()),
                (":authority", authority),
                ("accept", "application/json, application/jwt, text/plain"),
                ("accept-encoding", "identity"),
                ("user-agent", "authgate"),
            ];
            headers.extend(request.headers.iter().map(|(name, value)| (*name, value.as_str())));
            headers.extend(request.forwarded.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            hostcalls::dispatch_http_call(cluster, headers, request.body.as_deref(), vec![], service.timeout)
        };
        match sent {
            Ok(token) => {
                self.callouts.borrow_mut().insert(token, call);
            }
            Err(status) => {
                let error = if status == Status::BadArgument { CalloutError::NoCluster } else { CalloutError::NotSent };
                self.filter.borrow_mut().on_answer(call, Err(error), &self.cx());
            }
        }
    }

    /// Ends the wait of the stream that is the host's effective context: one terminal action.
    fn apply(&self, resolution: Resolution) {
        match resolution {
            Resolution::Forward(forward) => {
                self.change_headers(&forward);
                if hostcalls::resume_http_request().is_err() {
                    log::error!("a request could not be resumed");
                }
            }
            Resolution::Deny(response) => respond(&response),
            Resolution::Serve(page) => serve(&page),
        }
    }

    /// Writes what goes upstream into the request's headers.
    pub(super) fn change_headers(&self, forward: &Forward) {
        for (name, value) in forward.set.iter() {
            add_header(name, value.as_bytes());
        }
        match &forward.authorization {
            Authorization::Keep => return,
            Authorization::Remove => remove_header(AUTHORIZATION),
            Authorization::Replace(value) => set_header(AUTHORIZATION, value.as_bytes()),
        }
        let filter = self.filter.borrow();
        let credentials = &filter.config().credentials;
        if credentials.headers().next().is_some() {
            let map = raw::header_map(MapType::HttpRequestHeaders);
            match map.as_deref().and_then(raw::headers) {
                Some(headers) => forward.taken_off(&headers, credentials).iter().for_each(change),
                None => credentials.headers().for_each(remove_header),
            }
        }
    }

    fn adjust_tick(&self) {
        let is_urgent = self.filter.borrow().has_actions();
        let period = if is_urgent { Duration::from_millis(1) } else { self.filter.borrow().tick_period() };
        if self.tick_period.replace(period) != period {
            // The timer belongs to the root.
            self.become_context(self.root_id);
            if hostcalls::set_tick_period(period).is_err() {
                log::error!("the host could not set the timer");
            }
        }
    }

    /// Makes `context` the host's effective context. False: the host no longer knows it.
    fn become_context(&self, context: u32) -> bool {
        if self.context.get() == context {
            return true;
        }
        let is_known = hostcalls::set_effective_context(context).is_ok();
        if is_known {
            self.context.set(context);
        }
        is_known
    }
}

/// Passes a report to the access log of the stream that is the host's effective context. `told`: the previous one.
fn tell(report: &Report, told: Option<&Report>) {
    report.each(told, |name, value| {
        if !raw::set_filter_state(name, value) {
            log::error!("the filter state {name} could not be set");
        }
    });
}

/// Carries out one change of the request's headers.
fn change((name, value): &Change<'_>) {
    match value {
        Some(value) => set_header(name, value),
        None => remove_header(name),
    }
}

/// Ends the stream with a response of the filter.
pub(super) fn respond(response: &Response) {
    if !raw::send_local_response(response) {
        log::error!("a response could not be sent");
    }
}

/// Ends the stream with a page of the filter.
pub(super) fn serve(page: &Page) {
    if !raw::send_page(page) {
        log::error!("a page could not be sent");
    }
}

fn set_header(name: &str, value: &[u8]) {
    if hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, Some(value)).is_err() {
        log::error!("the header {name} could not be set");
    }
}

/// Adds a header that the request doesn't have: every header that the filter sets was stripped on arrival. To replace
/// it, Envoy would make an index of all headers first, which takes as long as adding five.
fn add_header(name: &str, value: &[u8]) {
    if hostcalls::add_map_value_bytes(MapType::HttpRequestHeaders, name, value).is_err() {
        log::error!("the header {name} could not be added");
    }
}

fn remove_header(name: &str) {
    if hostcalls::remove_map_value(MapType::HttpRequestHeaders, name).is_err() {
        log::error!("a header could not be removed");
    }
}
