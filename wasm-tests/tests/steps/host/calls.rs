//! What the host does when the module calls it.

use anyhow::{Context as _, Result, bail};
use wasmi::{Caller, Extern, Val};

use super::{Bytes, Callout, State};

const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
const CAS_MISMATCH: i32 = 8;

/// Carries out one host call.
pub(super) fn call(name: &str, mut caller: Caller<'_, State>, arguments: &[Val]) -> Result<i32> {
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
            let pairs = serialize(match int(0) {
                0 => &state.request,
                1 => &state.trailers,
                _ => &state.answer,
            });
            give(caller, &pairs, int(1), int(2))?
        }
        "proxy_set_header_map_pairs" if int(0) == 1 && take(caller, int(1), int(2))? == serialize(&[]) => {
            caller.data_mut().trailers.clear();
            OK
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
            let known = metrics.iter().position(|(known, _)| *known == name);
            let place = known.unwrap_or_else(|| {
                metrics.push((name, 0));
                metrics.len() - 1
            });
            let number = i32::try_from(place + 1)?;
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
