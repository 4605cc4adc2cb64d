//! A host that acts like Envoy and counts the module's host calls and instructions.

mod calls;

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result, bail};
use wasmi::{Config, Engine, Extern, Func, Instance, Module, Store, Val};

/// More instructions than any test executes.
const FUEL: u64 = 1 << 60;
/// The module's root context.
const ROOT: i32 = 1;
/// The host's time at the start, in nanoseconds since the epoch: in the year 2023.
const BEGIN: u64 = 1_700_000_000_000_000_000;

/// A value in a header map, a property or shared data.
type Bytes = Vec<u8>;

/// The cost of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Instructions of the module, as counted by wasmi.
    pub(crate) instructions: u64,
    /// Host calls by the module, by name.
    pub(crate) host_calls: BTreeMap<String, u64>,
    /// Calls of the module by the host: callbacks, and allocations for the results of host calls.
    pub(crate) callbacks: u64,
}

/// A callout under way.
#[derive(Clone, Debug)]
pub(crate) struct Callout {
    pub(crate) token: i32,
    pub(crate) headers: Vec<(Bytes, Bytes)>,
}

impl Callout {
    /// Its `:path`.
    pub(crate) fn path(&self) -> String {
        let path = self.headers.iter().find(|(name, _)| name == b":path");
        path.map_or_else(String::new, |(_, value)| String::from_utf8_lossy(value).into_owned())
    }
}

#[derive(Default)]
struct State {
    steps: Steps,
    /// In nanoseconds since the epoch.
    now: u64,
    configuration: Bytes,
    request: Vec<(Bytes, Bytes)>,
    trailers: Vec<(Bytes, Bytes)>,
    answer: Vec<(Bytes, Bytes)>,
    answer_body: Bytes,
    shared: HashMap<Bytes, (Bytes, u32)>,
    cas: u32,
    /// The names of the metrics, by their numbers, and their values.
    metrics: Vec<(String, i64)>,
    callouts: Vec<Callout>,
    tokens: i32,
    /// The status with which the module denied the request.
    denied: Option<i32>,
    resumed: bool,
    log: Vec<String>,
}

/// The module and its host.
pub(crate) struct Host {
    store: Store<State>,
    instance: Instance,
    streams: i32,
}

/// A module, ready to be started any number of times.
pub(crate) struct Program {
    engine: Engine,
    module: Module,
}

impl Program {
    /// Reads a module.
    pub(crate) fn new(module: &[u8]) -> Result<Self> {
        let mut config = Config::default();
        config.consume_fuel(true);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, module)?;
        Ok(Self { engine, module })
    }

    /// The lines that the module logs about a configuration that it refuses. `None`: it accepts it.
    pub(crate) fn refusal(&self, configuration: &str) -> Result<Option<Vec<String>>> {
        let mut host = Host::new(self, State { now: BEGIN, ..State::default() })?;
        let is_accepted = host.configure(configuration.as_bytes())?;
        Ok((!is_accepted).then(|| std::mem::take(&mut host.store.data_mut().log)))
    }
}

impl Host {
    /// Starts the module with this configuration.
    pub(crate) fn start(module: &[u8], configuration: &str) -> Result<Self> {
        Self::start_with(module, configuration.as_bytes(), State { now: BEGIN, ..State::default() })
    }

    /// Starts the module again in place of this VM, with the same configuration, shared data and metrics, at the same
    /// time.
    pub(crate) fn replace(self, module: &[u8]) -> Result<Self> {
        let State { now, configuration, shared, cas, metrics, .. } = self.store.into_data();
        Self::start_with(module, &configuration, State { now, shared, cas, metrics, ..State::default() })
    }

    fn start_with(module: &[u8], configuration: &[u8], state: State) -> Result<Self> {
        let mut host = Self::new(&Program::new(module)?, state)?;
        if !host.configure(configuration)? {
            bail!("the configuration is refused: {:?}", host.store.data().log);
        }
        host.tick()?;
        Ok(host)
    }

    /// Starts the module without a configuration.
    fn new(Program { engine, module }: &Program, state: State) -> Result<Self> {
        let mut store = Store::new(engine, state);
        store.set_fuel(FUEL)?;
        let mut imports = Vec::new();
        for import in module.imports() {
            let name = import.name().to_owned();
            let kind = import.ty().func().context("an import that is no function")?.clone();
            imports.push(Extern::Func(Func::new(&mut store, kind, move |caller, arguments, results| {
                let status =
                    calls::call(&name, caller, arguments).map_err(|error| wasmi::Error::new(format!("{error:#}")))?;
                if let Some(result) = results.first_mut() {
                    *result = Val::I32(status);
                }
                Ok(())
            })));
        }
        let instance = Instance::new(&mut store, module, &imports)?;
        let mut host = Self { store, instance, streams: 100 };
        host.call("_initialize", &[])?;
        host.call("proxy_on_context_create", &[ROOT, 0])?;
        host.call("proxy_on_vm_start", &[ROOT, 0])?;
        Ok(host)
    }

    /// Gives the module this configuration. Returns whether it accepts it.
    fn configure(&mut self, configuration: &[u8]) -> Result<bool> {
        self.store.data_mut().configuration = configuration.to_vec();
        let size = i32::try_from(configuration.len())?;
        Ok(self.call("proxy_on_configure", &[ROOT, size])? == 1)
    }

    /// Lets the module's timer fire.
    pub(crate) fn tick(&mut self) -> Result<()> {
        self.call("proxy_on_tick", &[ROOT]).map(drop)
    }

    /// Lets a second pass.
    pub(crate) fn pass_a_second(&mut self) {
        self.store.data_mut().now += 1_000_000_000;
    }

    /// Takes the callouts that haven't been answered yet.
    pub(crate) fn callouts(&mut self) -> Vec<Callout> {
        std::mem::take(&mut self.store.data_mut().callouts)
    }

    /// Answers a callout with 200.
    pub(crate) fn answer(&mut self, callout: &Callout, body: &str) -> Result<()> {
        self.answer_with(callout, "200", body)
    }

    /// Answers a callout with this status.
    pub(crate) fn answer_with(&mut self, callout: &Callout, status: &str, body: &str) -> Result<()> {
        self.answer_under(b"date", callout, status, body)
    }

    /// Answers a callout with a header of this name.
    pub(crate) fn answer_under(&mut self, name: &[u8], callout: &Callout, status: &str, body: &str) -> Result<()> {
        let state = self.store.data_mut();
        state.answer = vec![
            (b":status".to_vec(), status.as_bytes().to_vec()),
            (b"content-type".to_vec(), b"application/json".to_vec()),
            (name.to_vec(), b"Tue, 14 Nov 2023 22:13:20 GMT".to_vec()),
        ];
        state.answer_body = body.as_bytes().to_vec();
        let (headers, size) = (i32::try_from(state.answer.len())?, i32::try_from(body.len())?);
        self.call("proxy_on_http_call_response", &[ROOT, callout.token, headers, size, 0]).map(drop)
    }

    /// Sends a request, answers its callouts by `service` until it goes on, and returns its cost.
    pub(crate) fn request(&mut self, headers: &[(&str, &str)], service: impl Fn(&Callout) -> String) -> Result<Steps> {
        self.streams += 1;
        let stream = self.streams;
        let state = self.store.data_mut();
        (state.denied, state.resumed, state.steps) = (None, false, Steps::default());
        state.request = headers.iter().map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into())).collect();
        let count = i32::try_from(headers.len())?;
        let before = self.store.get_fuel()?;
        self.call("proxy_on_context_create", &[stream, ROOT])?;
        let mut passed = self.call("proxy_on_request_headers", &[stream, count, 1])? == 0;
        for callout in self.callouts() {
            let body = service(&callout);
            self.answer(&callout, &body)?;
            passed |= self.store.data().resumed;
        }
        if let Some(status) = self.store.data().denied {
            bail!("the request is denied with {status}: {:?}", self.store.data().log);
        }
        if !passed {
            bail!("the request is held");
        }
        if self.has("proxy_on_done") {
            self.call("proxy_on_done", &[stream])?;
        }
        self.call("proxy_on_delete", &[stream])?;
        let instructions = before - self.store.get_fuel()?;
        Ok(Steps { instructions, ..self.store.data().steps.clone() })
    }

    /// Begins a request that has a body. Returns its stream, and whether its head may go on.
    pub(crate) fn begin(&mut self, headers: &[(&str, &str)]) -> Result<(i32, bool)> {
        self.streams += 1;
        let stream = self.streams;
        let state = self.store.data_mut();
        state.denied = None;
        state.request = headers.iter().map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into())).collect();
        let count = i32::try_from(headers.len())?;
        self.call("proxy_on_context_create", &[stream, ROOT])?;
        let action = self.call("proxy_on_request_headers", &[stream, count, 0])?;
        Ok((stream, action == 0))
    }

    /// Whether the request's body may go on.
    pub(crate) fn body(&mut self, stream: i32) -> Result<bool> {
        Ok(self.call("proxy_on_request_body", &[stream, 1, 1])? == 0)
    }

    /// How many trailers go on of a request that has one of this name.
    pub(crate) fn trailer(&mut self, stream: i32, name: &[u8]) -> Result<usize> {
        self.store.data_mut().trailers = vec![(name.to_vec(), b"1".to_vec())];
        self.call("proxy_on_request_trailers", &[stream, 1])?;
        Ok(self.store.data().trailers.len())
    }

    /// Ends a request, whose client may have left.
    pub(crate) fn end(&mut self, stream: i32) -> Result<()> {
        self.call("proxy_on_delete", &[stream]).map(drop)
    }

    /// The status with which the last request was answered.
    pub(crate) fn denied(&self) -> Option<i32> {
        self.store.data().denied
    }

    /// The value of a metric; 0 if it isn't defined.
    pub(crate) fn metric(&self, name: &str) -> i64 {
        let named = self.store.data().metrics.iter().filter(|(known, _)| known.starts_with(name));
        named.map(|(_, value)| value).sum()
    }

    /// The pages of the module's memory.
    pub(crate) fn pages(&self) -> Result<u64> {
        let memory = self.instance.get_memory(&self.store, "memory").context("the module has no memory")?;
        Ok(memory.size(&self.store))
    }

    fn has(&self, name: &str) -> bool {
        self.instance.get_func(&self.store, name).is_some()
    }

    fn call(&mut self, name: &str, arguments: &[i32]) -> Result<i32> {
        self.store.data_mut().steps.callbacks += 1;
        let function = self.instance.get_func(&self.store, name).with_context(|| format!("no export {name}"))?;
        let arguments: Vec<Val> = arguments.iter().copied().map(Val::I32).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        function
            .call(&mut self.store, &arguments, &mut results)
            .with_context(|| format!("{name}: {:?}", self.store.data().log))?;
        Ok(results.first().and_then(Val::i32).unwrap_or(0))
    }
}
