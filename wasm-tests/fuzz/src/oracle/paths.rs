//! What a path may mean to a server: each reading results from another by one small step.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::bytes::Regex;

/// How often a server may decode.
pub const MAX_DECODES: u8 = 2;

/// A reading, how often it was decoded, and where its end is from.
pub type Reading = (Vec<u8>, u8, End);

/// Where the end of a reading is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// It is that of the path as sent.
    Sent,
    /// What followed was cut off.
    Cut,
    /// Dots were resolved there.
    Dots,
}

/// Why a step isn't possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It yields a control character.
    Control,
    /// The path has an invalid escape as it is sent.
    BrokenEscape,
}

/// What is wrong with a path as it is sent.
pub fn flaw_as_sent(path: &[u8]) -> Option<Flaw> {
    if has_control(path) {
        return Some(Flaw::Control);
    }
    let mut pieces = path.split(|byte| *byte == b'%').skip(1);
    let is_broken = pieces.any(|piece| escaped(piece).is_none());
    is_broken.then_some(Flaw::BrokenEscape)
}

/// The byte that the first two digits of a piece encode.
fn escaped(piece: &[u8]) -> Option<u8> {
    let digits = piece.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// All results of one step from a reading.
pub fn steps((path, decodes, end): &Reading) -> Vec<Result<Reading, Flaw>> {
    let last = &path[path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1)..];
    let cut_if = |is_cut: bool| if is_cut { End::Cut } else { *end };
    let mut steps: Vec<_> = [
        (up_to(path, b"?#"), cut_if(path.iter().any(|byte| b"?#".contains(byte)))),
        (up_to(path, b";"), cut_if(path.contains(&b';'))),
        (without_parameters(path), cut_if(last.contains(&b';'))),
        (path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect(), *end),
        (merged(path), *end),
        (without_authority(path), *end),
    ]
    .into_iter()
    .map(|(path, end)| Ok((path, *decodes, end)))
    .collect();
    let resolved = without_dots(path);
    for (number, path) in resolved.iter().enumerate() {
        let is_whole = number + 1 == resolved.len() && (last == b"." || last == b"..");
        steps.push(Ok((path.clone(), *decodes, if is_whole { End::Dots } else { *end })));
    }
    if *decodes < MAX_DECODES && path.contains(&b'%') {
        for kept in [&b""[..], b"/", b"\\", b"/\\"] {
            steps.push(decoded(path, kept).map(|path| (path, decodes + 1, *end)));
        }
        steps.push(Ok((with_dot_segments(path), *decodes, *end)));
        let all_but_slashes: Vec<u8> = (0..=255).filter(|byte| !b"/\\".contains(byte)).collect();
        steps.push(decoded(path, &all_but_slashes).map(|path| (path, *decodes, *end)));
    }
    steps
}

/// A path without the blanks of Latin-1 at its end.
fn without_blanks(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|byte| !b" \x85\xa0".contains(byte)).map_or(0, |last| last + 1);
    path[..end].to_vec()
}

/// A reading without the slashes at its end, one by one, unless they were sent.
fn without_new_slashes((path, decodes, end): &Reading, sent: &[u8]) -> Vec<Reading> {
    let mut files = Vec::new();
    let mut path = &path[..];
    while let [file @ .., b'/'] = path {
        let was_sent = match end {
            End::Sent => sent.last() == Some(&b'/'),
            End::Cut => sent.starts_with(path),
            End::Dots => false,
        };
        if was_sent || file.is_empty() {
            break;
        }
        files.push((file.to_vec(), *decodes, *end));
        path = file;
    }
    files
}

/// All readings within `rounds` steps, and the flaws on the way. It stops beyond `limit` readings.
pub fn closure(path: &[u8], rounds: usize, limit: usize) -> (BTreeSet<Reading>, Vec<Flaw>) {
    let sent = up_to(path, b"?#");
    let mut found = BTreeSet::from([(sent.clone(), 0, End::Sent)]);
    let cut = without_blanks(&sent);
    found.extend((cut != sent).then_some((cut, 0, End::Cut)));
    let mut flaws = Vec::new();
    let mut fresh: Vec<Reading> = found.iter().cloned().collect();
    for _ in 0..rounds {
        let mut next = Vec::new();
        for step in fresh.iter().flat_map(steps) {
            match step {
                Ok(reading) if found.len() < limit && found.insert(reading.clone()) => next.push(reading),
                Ok(_) => {}
                Err(flaw) => flaws.push(flaw),
            }
        }
        if next.is_empty() {
            break;
        }
        fresh = next;
    }
    let files: Vec<Reading> = found.iter().flat_map(|reading| without_new_slashes(reading, &sent)).collect();
    found.extend(files);
    (found, flaws)
}

/// Whether any of the bytes is a control character.
pub fn has_control(path: &[u8]) -> bool {
    path.iter().any(|byte| *byte < 0x20 || *byte == 0x7f)
}

fn up_to(path: &[u8], ends: &[u8]) -> Vec<u8> {
    path.iter().copied().take_while(|byte| !ends.contains(byte)).collect()
}

/// Decodes every escape except those of the `kept` bytes. Invalid escapes stay.
fn decoded(path: &[u8], kept: &[u8]) -> Result<Vec<u8>, Flaw> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let byte = if path[at] == b'%' { escaped(&path[at + 1..]) } else { None };
        match byte {
            Some(byte) if has_control(&[byte]) => return Err(Flaw::Control),
            Some(byte) if !kept.contains(&byte) => bytes.push(byte),
            Some(_) => bytes.extend_from_slice(&path[at..at + 3]),
            None => bytes.push(path[at]),
        }
        at += if byte.is_some() { 3 } else { 1 };
    }
    Ok(bytes)
}

/// Writes the dots of dot segments as such: the WHATWG URL Standard's "single-dot" and "double-dot URL path segment".
fn with_dot_segments(path: &[u8]) -> Vec<u8> {
    static SEGMENT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?i-u)\A(?:(\.|%2e)|(?:\.|%2e){2})\z").expect("a regex"));
    let segment = |segment| match SEGMENT.captures(segment) {
        None => segment,
        Some(dots) if dots.get(1).is_some() => &b"."[..],
        Some(_) => b"..",
    };
    path.split(|byte| *byte == b'/').map(segment).collect::<Vec<_>>().join(&b'/')
}

fn without_parameters(path: &[u8]) -> Vec<u8> {
    let mut is_parameter = false;
    let keep = |byte: &u8| {
        is_parameter = *byte == b';' || (is_parameter && *byte != b'/');
        !is_parameter
    };
    path.iter().copied().filter(keep).collect()
}

fn merged(path: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for byte in path {
        if *byte != b'/' || bytes.last() != Some(&b'/') {
            bytes.push(*byte);
        }
    }
    bytes
}

/// What follows `//host`, with any number of slashes of either kind, or a scheme.
fn without_authority(path: &[u8]) -> Vec<u8> {
    static AUTHORITY: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?s-u)\A(?:[/\\]{2,}(?:[^/\\][^/]*)?(/.*)?|([^/\\:]*):(.*))\z").expect("a regex")
    });
    match AUTHORITY.captures(path) {
        None => path.to_vec(),
        Some(parts) => match parts.get(3) {
            Some(rest) => rest.as_bytes().to_vec(),
            None => parts.get(1).map_or(b"/".to_vec(), |rest| rest.as_bytes().to_vec()),
        },
    }
}

/// RFC 3986 section 5.2.4 to the letter, for paths that begin with `/`: the path after each dot segment.
fn without_dots(path: &[u8]) -> Vec<Vec<u8>> {
    let mut after_each = Vec::new();
    if !path.starts_with(b"/") {
        return after_each;
    }
    let mut input = path.to_vec();
    let mut output: Vec<u8> = Vec::new();
    while !input.is_empty() {
        let length = output.len() + input.len();
        if input.starts_with(b"/./") || input == b"/." {
            input.splice(..input.len().min(3), *b"/");
        } else if input.starts_with(b"/../") || input == b"/.." {
            input.splice(..input.len().min(4), *b"/");
            output.truncate(output.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
        } else {
            let end = input.iter().skip(1).position(|byte| *byte == b'/').map_or(input.len(), |at| at + 1);
            output.extend(input.drain(..end));
        }
        if output.len() + input.len() < length {
            after_each.push([&output[..], &input].concat());
        }
    }
    after_each
}
