//! Every way in which a server behind the gateway might read a path (contract section 2).
//!
//! Proxies and servers disagree on what `/public/..%2Fprivate` names. [`readings`] lists the possible answers: all
//! strings that come out of the path by decoding it up to twice, with or without its slashes, resolving dots,
//! merging slashes, taking backslashes for slashes and cutting parameters at `;`, in any order. A rule decides only
//! where it matches all of them.

use std::borrow::Cow;

/// The longest path with anything to interpret in it that is looked at, in bytes.
pub const MAX_BYTES: usize = 2048;

/// The most readings that a path may have.
pub const MAX_READINGS: usize = 64;

/// Why a path has no sure readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    /// A control character stands in the path, or comes out of decoding it.
    #[error("holds a control character")]
    Control,
    /// A `%` without two hex digits, in the path or in what comes out of decoding it once.
    #[error("holds a broken escape")]
    BrokenEscape,
    /// More than [`MAX_READINGS`], or longer than [`MAX_BYTES`] with anything to interpret in it.
    #[error("has too many readings")]
    TooMany,
}

/// All readings of `:path`, the query and the fragment cut off.
///
/// # Errors
/// [`Ambiguous`].
pub fn readings(path: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, Ambiguous> {
    let path = cut_at(path, |byte| matches!(byte, b'?' | b'#'));
    if path.iter().any(u8::is_ascii_control) {
        return Err(Ambiguous::Control);
    }
    if is_plain(path) {
        return Ok(vec![Cow::Borrowed(path)]);
    }
    if path.len() > MAX_BYTES {
        return Err(Ambiguous::TooMany);
    }
    // The number beside each reading says how often it was decoded; the list is its own queue.
    let mut found: Vec<(Cow<'_, [u8]>, u8)> = vec![(Cow::Borrowed(path), 0)];
    let mut next = 0;
    while let Some((reading, decoded)) = found.get(next).cloned() {
        next += 1;
        let mut derived: Vec<(Vec<u8>, u8)> = Vec::new();
        let mut derive = |reading: Vec<u8>| derived.push((reading, decoded));
        // What a step has nothing to do to is not worth a copy: paths come from anybody.
        if reading.iter().any(|byte| matches!(byte, b'?' | b'#')) {
            derive(cut_at(&reading, |byte| matches!(byte, b'?' | b'#')).to_vec());
        }
        if reading.contains(&b';') {
            derive(cut_at(&reading, |byte| byte == b';').to_vec());
            derive(without_parameters(&reading));
        }
        if reading.contains(&b'\\') {
            derive(backslashes_as_slashes(&reading));
        }
        if reading.windows(2).any(|pair| pair == b"//") {
            derive(merge_slashes(&reading));
        }
        if reading.windows(2).any(|pair| pair == b"/.") {
            derive(resolve_dots(&reading));
        }
        if decoded < 2 && reading.contains(&b'%') {
            // Slashes kept as Apache and Tomcat can be told to, for each kind on its own, and as every URL parser of a
            // browser does while it takes `%2e` for a dot.
            for kept in [&b""[..], b"/\\", b"/", b"\\"] {
                derived.push((decode(&reading, |byte| kept.contains(&byte))?, decoded + 1));
            }
        }
        for (reading, decoded) in derived {
            if !found.iter().any(|(known, times)| *known == reading && *times <= decoded) {
                if found.len() == MAX_READINGS {
                    return Err(Ambiguous::TooMany);
                }
                found.push((Cow::Owned(reading), decoded));
            }
        }
    }
    Ok(found.into_iter().map(|(reading, _)| reading).collect())
}

/// Whether a path has exactly one reading: itself.
pub fn is_plain(path: &[u8]) -> bool {
    if path.iter().any(|byte| matches!(byte, b'%' | b'\\' | b';' | b'?' | b'#') || byte.is_ascii_control()) {
        return false;
    }
    // What stands before the first slash and after the last one may be empty; no other segment may.
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if matches!(segment, b"." | b"..") || segment.is_empty() && segments.peek().is_some() {
            return false;
        }
    }
    true
}

fn cut_at(path: &[u8], end: impl Fn(u8) -> bool) -> &[u8] {
    path.split(|byte| end(*byte)).next().unwrap_or_default()
}

/// Decodes all escapes but those of the bytes to `keep`.
fn decode(path: &[u8], keep: impl Fn(u8) -> bool) -> Result<Vec<u8>, Ambiguous> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let Some((&[high, low], after)) = after.split_first_chunk::<2>() else {
            return Err(Ambiguous::BrokenEscape);
        };
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(Ambiguous::BrokenEscape);
        let byte = u8::try_from(digit(high)? * 16 + digit(low)?).map_err(|_| Ambiguous::BrokenEscape)?;
        if byte.is_ascii_control() {
            return Err(Ambiguous::Control);
        }
        if keep(byte) {
            decoded.extend([b'%', high, low]);
        } else {
            decoded.push(byte);
        }
        rest = after;
    }
    Ok(decoded)
}

/// `/a;v=1/b` as servlet containers read it: `/a/b`.
fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').map(|segment| cut_at(segment, |byte| byte == b';')).collect();
    segments.join(&b'/')
}

fn backslashes_as_slashes(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut merged = path.to_vec();
    merged.dedup_by(|next, before| *next == b'/' && *before == b'/');
    merged
}

/// RFC 3986 section 5.2.4; `..` at the root stays at the root.
fn resolve_dots(path: &[u8]) -> Vec<u8> {
    let Some(relative) = path.strip_prefix(b"/") else {
        return path.to_vec();
    };
    let mut resolved: Vec<&[u8]> = Vec::new();
    let mut is_folder = false;
    for segment in relative.split(|byte| *byte == b'/') {
        is_folder = matches!(segment, b"." | b"..");
        match segment {
            b"." => {}
            b".." => {
                resolved.pop();
            }
            _ => resolved.push(segment),
        }
    }
    let mut path = b"/".to_vec();
    path.extend_from_slice(&resolved.join(&b'/'));
    if is_folder && !resolved.is_empty() {
        path.push(b'/');
    }
    path
}

#[cfg(test)]
mod tests;
