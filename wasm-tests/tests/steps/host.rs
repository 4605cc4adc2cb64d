//! A host that acts like Envoy and counts the module's host calls and instructions.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result, bail};
use wasmi::{Caller, Config, Engine, Extern, Func, Instance, Module, Store, Val};

/// More instructions than any test executes.
const FUEL: u64 = 1 << 60;
/// The module's root context.
const ROOT: i32 = 1;
/// The host's time at the start, in nanoseconds since the epoch: in the year 2023.
const BEGIN: u64 = 1_700_000_000_000_000_000;

const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
const CAS_MISMATCH: i32 = 8;

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

impl Host {
    /// Starts the module with this configuration.
    pub(crate) fn start(module: &[u8], configuration: &str) -> Result<Self> {
        let mut config = Config::default();
        config.consume_fuel(true);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, module)?;
        let state = State { now: BEGIN, configuration: configuration.as_bytes().to_vec(), ..State::default() };
        let mut store = Store::new(&engine, state);
        store.set_fuel(FUEL)?;
        let mut imports = Vec::new();
        for import in module.imports() {
            let name = import.name().to_owned();
            let kind = import.ty().func().context("an import that is no function")?.clone();
            imports.push(Extern::Func(Func::new(&mut store, kind, move |caller, arguments, results| {
                let status = call(&name, caller, arguments).map_err(|error| wasmi::Error::new(format!("{error:#}")))?;
                if let Some(result) = results.first_mut() {
                    *result = Val::I32(status);
                }
                Ok(())
            })));
        }
        let instance = Instance::new(&mut store, &module, &imports)?;
        let mut host = Self { store, instance, streams: 100 };
        host.call("_initialize", &[])?;
        host.call("proxy_on_context_create", &[ROOT, 0])?;
        host.call("proxy_on_vm_start", &[ROOT, 0])?;
        let size = i32::try_from(configuration.len())?;
        if host.call("proxy_on_configure", &[ROOT, size])? != 1 {
            bail!("the configuration is refused: {:?}", host.store.data().log);
        }
        host.tick()?;
        Ok(host)
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
        let state = self.store.data_mut();
        state.answer = vec![
            (b":status".to_vec(), status.as_bytes().to_vec()),
            (b"content-type".to_vec(), b"application/json".to_vec()),
            (b"date".to_vec(), b"Tue, 14 Nov 2023 22:13:20 GMT".to_vec()),
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

/// Carries out one host call.
fn call(name: &str, mut caller: Caller<'_, State>, arguments: &[Val]) -> Result<i32> {
    *caller.data_mut().steps.host_calls.entry(name.to_owned()).or_default() += 1;
    for group in [of_streams, of_the_process, of_the_system] {
        if let Some(status) = group(name, &mut caller, arguments)? {
            return Ok(status);
        }
    }
    bail!("the host has no {name}: {:?}", caller.data().log)
}

fn integer(arguments: &[Val], index: usize) -> i32 {
    arguments.get(index).and_then(Val::i32).unwrap_or(0)
}

/// Host calls about a request or an answer, and its end. `None`: the name is none of these, as below.
fn of_streams(name: &str, caller: &mut Caller<'_, State>, arguments: &[Val]) -> Result<Option<i32>> {
    let int = |index: usize| integer(arguments, index);
    let status = match name {
        "proxy_get_header_map_pairs" => {
            let state = caller.data();
            let pairs = serialize(if int(0) == 0 { &state.request } else { &state.answer });
            give(caller, &pairs, int(1), int(2))?
        }
        "proxy_add_header_map_value" | "proxy_replace_header_map_value" => {
            let (key, value) = (take(caller, int(1), int(2))?, take(caller, int(3), int(4))?);
            let request = &mut caller.data_mut().request;
            if name == "proxy_replace_header_map_value" {
                request.retain(|(known, _)| *known != key);
            }
            request.push((key, value));
            OK
        }
        "proxy_remove_header_map_value" => {
            let name = take(caller, int(1), int(2))?;
            caller.data_mut().request.retain(|(known, _)| *known != name);
            OK
        }
        "proxy_get_buffer_bytes" => {
            let state = caller.data();
            let buffer = if int(0) == 7 { state.configuration.clone() } else { state.answer_body.clone() };
            give(caller, &buffer, int(3), int(4))?
        }
        "proxy_get_property" => {
            let value: &[u8] = match &take(caller, int(0), int(1))?[..] {
                b"plugin_name" => b"authgate",
                b"source\0address" => b"192.0.2.1:4711",
                b"connection\0id" => &[1, 0, 0, 0, 0, 0, 0, 0],
                _ => return Ok(Some(NOT_FOUND)),
            };
            give(caller, value, int(2), int(3))?
        }
        "proxy_send_local_response" => {
            caller.data_mut().denied = Some(int(0));
            OK
        }
        "proxy_continue_stream" => {
            caller.data_mut().resumed = true;
            OK
        }
        _ => return Ok(None),
    };
    Ok(Some(status))
}

/// Host calls about shared data and callouts.
fn of_the_process(name: &str, caller: &mut Caller<'_, State>, arguments: &[Val]) -> Result<Option<i32>> {
    let int = |index: usize| integer(arguments, index);
    let status = match name {
        "proxy_get_shared_data" => {
            let key = take(caller, int(0), int(1))?;
            let Some((value, cas)) = caller.data().shared.get(&key).cloned() else { return Ok(Some(NOT_FOUND)) };
            write(caller, int(4), &cas.to_le_bytes())?;
            give(caller, &value, int(2), int(3))?
        }
        "proxy_set_shared_data" => {
            let (key, value) = (take(caller, int(0), int(1))?, take(caller, int(2), int(3))?);
            let presented = u32::from_le_bytes(int(4).to_le_bytes());
            let state = caller.data_mut();
            if presented != 0 && state.shared.get(&key).is_some_and(|(_, cas)| *cas != presented) {
                return Ok(Some(CAS_MISMATCH));
            }
            state.cas += 1;
            let cas = state.cas;
            state.shared.insert(key, (value, cas));
            OK
        }
        "proxy_define_metric" => {
            let name = String::from_utf8(take(caller, int(1), int(2))?)?;
            let metrics = &mut caller.data_mut().metrics;
            metrics.push((name, 0));
            let number = i32::try_from(metrics.len())?;
            write(caller, int(3), &number.to_le_bytes())?
        }
        "proxy_increment_metric" | "proxy_record_metric" => {
            let by = arguments.get(1).and_then(Val::i64).context("no value")?;
            let place = usize::try_from(int(0) - 1)?;
            let (_, value) = caller.data_mut().metrics.get_mut(place).context("no such metric")?;
            *value = if name == "proxy_increment_metric" { *value + by } else { by };
            OK
        }
        "proxy_http_call" => {
            let headers = deserialize(&take(caller, int(2), int(3))?);
            let state = caller.data_mut();
            state.tokens += 1;
            let token = state.tokens;
            state.callouts.push(Callout { token, headers });
            write(caller, int(9), &token.to_le_bytes())?
        }
        "proxy_call_foreign_function" => give(caller, &[1 << 3, 1], int(4), int(5))?,
        "proxy_set_property" | "proxy_set_effective_context" | "proxy_set_tick_period_milliseconds" => OK,
        _ => return Ok(None),
    };
    Ok(Some(status))
}

/// Host calls for the time and the log, and those of WASI.
fn of_the_system(name: &str, caller: &mut Caller<'_, State>, arguments: &[Val]) -> Result<Option<i32>> {
    let int = |index: usize| integer(arguments, index);
    let status = match name {
        "proxy_get_current_time_nanoseconds" => {
            let now = caller.data().now;
            write(caller, int(0), &now.to_le_bytes())?
        }
        "clock_time_get" => {
            let now = caller.data().now;
            write(caller, int(2), &now.to_le_bytes())?
        }
        "proxy_get_log_level" => write(caller, int(0), &2_i32.to_le_bytes())?,
        "proxy_log" => {
            let line = take(caller, int(1), int(2))?;
            caller.data_mut().log.push(String::from_utf8_lossy(&line).into_owned());
            OK
        }
        // Not random, so that every run takes the same steps.
        "random_get" => write(caller, int(0), &vec![7; usize::try_from(int(1))?])?,
        "environ_sizes_get" => {
            write(caller, int(0), &[0; 4])?;
            write(caller, int(1), &[0; 4])?
        }
        "environ_get" => OK,
        _ => return Ok(None),
    };
    Ok(Some(status))
}

/// Passes bytes to the module, which allocates them; writes pointer and length at these addresses.
fn give(caller: &mut Caller<'_, State>, bytes: &[u8], pointer_at: i32, length_at: i32) -> Result<i32> {
    let mut pointer = [Val::I32(0)];
    let length = i32::try_from(bytes.len())?;
    // Like Envoy, it never asks for zero bytes.
    if length > 0 {
        caller.data_mut().steps.callbacks += 1;
        let allocate = caller.get_export("proxy_on_memory_allocate").and_then(Extern::into_func);
        allocate.context("the module gives no memory")?.call(&mut *caller, &[Val::I32(length)], &mut pointer)?;
    }
    let pointer = pointer[0].i32().unwrap_or(0);
    write(caller, pointer, bytes)?;
    write(caller, pointer_at, &pointer.to_le_bytes())?;
    write(caller, length_at, &length.to_le_bytes())?;
    Ok(OK)
}

fn take(caller: &Caller<'_, State>, pointer: i32, length: i32) -> Result<Bytes> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory).context("the module has no memory")?;
    let (begin, length) = (address(pointer)?, address(length)?);
    Ok(memory.data(caller).get(begin..begin + length).context("an address outside of the memory")?.to_vec())
}

fn write(caller: &mut Caller<'_, State>, pointer: i32, bytes: &[u8]) -> Result<i32> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory).context("the module has no memory")?;
    let begin = address(pointer)?;
    let place = memory.data_mut(&mut *caller).get_mut(begin..begin + bytes.len());
    place.context("an address outside of the memory")?.copy_from_slice(bytes);
    Ok(OK)
}

fn address(address: i32) -> Result<usize> {
    Ok(usize::try_from(address.cast_unsigned())?)
}

/// Headers in the form of the ABI.
fn serialize(headers: &[(Bytes, Bytes)]) -> Bytes {
    let number = |length: usize| u32::try_from(length).unwrap_or_default().to_le_bytes();
    let mut bytes = number(headers.len()).to_vec();
    for (name, value) in headers {
        bytes.extend([number(name.len()), number(value.len())].concat());
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    bytes
}

fn deserialize(bytes: &[u8]) -> Vec<(Bytes, Bytes)> {
    let number = |at: usize| {
        let digits = bytes.get(at..at + 4).and_then(|digits| digits.try_into().ok()).unwrap_or_default();
        usize::try_from(u32::from_le_bytes(digits)).unwrap_or_default()
    };
    let count = number(0);
    let mut at = 4 + 8 * count;
    let mut text = |length: usize| {
        let text = bytes.get(at..at + length).unwrap_or_default().to_vec();
        at += length + 1;
        text
    };
    (0..count).map(|index| (text(number(4 + 8 * index)), text(number(8 + 8 * index)))).collect()
}
