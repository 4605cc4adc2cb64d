//! One thread with one filter. It handles one event at a time, and carries out the filter's actions in between.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use authgate::config::Config;
use authgate::host::{Cx, StreamId};
use authgate::{
    Action, CallId, CalloutError, CalloutRequest, CalloutResponse, Change, Filter, RequestHead, Resolution, Step,
    UnixTime, lend,
};
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder};
use tokio::runtime;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::Client;
use crate::host::{Host, Process};

/// An event for a worker.
#[derive(Debug)]
pub(crate) enum Event {
    Arrival(Arrival),
    /// A stream has ended.
    End(StreamId),
}

/// A request has arrived.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: StreamId,
    pub(crate) client: Client,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) has_body: bool,
    /// Takes the verdict to the middleware.
    pub(crate) verdict: oneshot::Sender<Verdict>,
}

/// What to do with a request.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Headers to remove first.
    pub(crate) strip: Vec<String>,
    /// Headers to change at once.
    pub(crate) changes: Vec<Change<'static>>,
    pub(crate) resolution: Resolution,
}

/// Starts a worker, which ends when all senders of its events are dropped.
pub(crate) fn start(config: Config, process: Arc<Process>) -> io::Result<UnboundedSender<Event>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, events) = mpsc::unbounded_channel();
    let run = move || runtime.block_on(Worker::new(config, process).run(events));
    thread::Builder::new().name("authgate".to_owned()).spawn(run)?;
    Ok(sender)
}

/// Sends the resolution of a waiting request, with what was known at its arrival.
type Held = Box<dyn FnOnce(Resolution)>;

struct Worker {
    filter: Filter,
    host: Host,
    service: reqwest::Client,
    callouts: JoinSet<(CallId, Result<CalloutResponse, CalloutError>)>,
    held: HashMap<StreamId, Held>,
}

impl Worker {
    fn new(config: Config, process: Arc<Process>) -> Self {
        // A redirect is no verdict, so it isn't followed.
        let service = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().unwrap_or_default();
        Self {
            filter: Filter::new(config),
            host: Host::new(process),
            service,
            callouts: JoinSet::new(),
            held: HashMap::new(),
        }
    }

    async fn run(mut self, mut events: UnboundedReceiver<Event>) {
        let mut ticked = Instant::now();
        self.filter.on_tick(&cx(&self.host));
        loop {
            self.carry_out();
            let next_tick = ticked + self.filter.tick_period();
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Arrival(arrival)) => self.on_arrival(arrival),
                    Some(Event::End(stream)) => self.on_end(stream),
                    None => break,
                },
                Some(Ok((call, answer))) = self.callouts.join_next() => {
                    self.filter.on_answer(call, answer, &cx(&self.host));
                }
                () = sleep_until(next_tick) => {
                    ticked = Instant::now();
                    self.filter.on_tick(&cx(&self.host));
                }
            }
        }
        self.filter.on_retirement(&cx(&self.host));
    }

    fn on_arrival(&mut self, arrival: Arrival) {
        let Arrival { stream, client, headers, has_body, verdict } = arrival;
        self.host.client.set(Some(client));
        let head = RequestHead { headers: &lend(&headers), has_body };
        let reception = self.filter.on_request(stream, &head, &cx(&self.host));
        self.host.client.set(None);
        let strip = reception.strip.into_iter().map(str::to_owned).collect();
        let changes = reception.changes;
        // A client that left meanwhile needs no verdict.
        let tell = move |resolution| drop(verdict.send(Verdict { strip, changes, resolution }));
        match reception.step {
            Step::Resolve(resolution) => tell(resolution),
            Step::Wait => drop(self.held.insert(stream, Box::new(tell))),
        }
    }

    fn on_end(&mut self, stream: StreamId) {
        self.held.remove(&stream);
        self.filter.on_end(stream, &self.host);
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.filter.next_action() {
            match action {
                Action::Callout { call, request } => {
                    let (request, limit) = (self.request(request), self.filter.body_limit(call));
                    self.callouts.spawn(async move { (call, answer(request, limit).await) });
                }
                Action::Resolve { stream, resolution, .. } => {
                    if let Some(tell) = self.held.remove(&stream) {
                        tell(resolution);
                    }
                }
            }
        }
    }

    /// The callout as an HTTP request. There are no clusters here: `authority` is the service's address.
    fn request(&self, callout: CalloutRequest) -> RequestBuilder {
        let config = self.filter.config();
        let (service, (_, authority)) = (&config.auth_service, config.host(callout.to));
        let url = format!("{}://{authority}{}", service.scheme.name(), callout.path);
        let method = Method::from_bytes(callout.method.as_bytes()).unwrap_or_default();
        let request = self.service.request(method, url).timeout(service.timeout);
        let request = request.header("accept", "application/json, application/jwt, text/plain");
        let request = callout.headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let forwarded = callout.forwarded.into_iter();
        let request = forwarded.fold(request, |request, (name, value)| request.header(name, value));
        match callout.body {
            Some(body) => request.body(body),
            None => request,
        }
    }
}

/// Sends a callout, and reads its answer. A body beyond the limit is left out, as the filter expects.
async fn answer(request: RequestBuilder, limit: usize) -> Result<CalloutResponse, CalloutError> {
    let mut answer = request.send().await.map_err(|error| failure(&error))?;
    let status = answer.status().as_u16();
    let header = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        (name.as_str().to_owned(), value.as_bytes().to_vec())
    };
    let headers = answer.headers().iter().map(header).collect();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| failure(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            return Ok(CalloutResponse { status, headers, body: None });
        }
    }
    Ok(CalloutResponse { status, headers, body: Some(body) })
}

/// Why there is no answer. The error itself may hold a URL, so it isn't logged.
fn failure(error: &reqwest::Error) -> CalloutError {
    if error.is_timeout() {
        CalloutError::TimedOut
    } else if error.is_connect() {
        CalloutError::NotConnected
    } else if error.is_builder() {
        CalloutError::NotSent
    } else {
        CalloutError::Reset
    }
}

/// An event that happens now. All workers read the same clocks.
fn cx(host: &Host) -> Cx<'_> {
    static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    let reading = u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Cx { wall: UnixTime::default().after(since_epoch), ..Cx::new(authgate::Instant::from_reading(reading), host) }
}
