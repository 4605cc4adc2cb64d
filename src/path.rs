//! The usual ways in which servers behind the gateway read a path (docs/reference.md#paths).
//!
//! Proxies and servers disagree on what `/public/..%2Fprivate` names. [`readings`] lists the possible answers: all
//! strings that come out of the path, with or without blanks at its end, by decoding it up to twice, with or without
//! its slashes, resolving dots up to any place, merging slashes, taking backslashes for slashes, cutting parameters at
//! `;` and dropping an authority, in any order; and the same without a slash at the end that wasn't sent. A rule
//! decides only if all of them lead to it, or to rules with equal terms.

use std::borrow::Cow;

/// Why the readings of a path can't be determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    /// The path contains a control character, as sent or after decoding.
    #[error("holds a control character")]
    Control,
    /// A `%` without two hex digits in the path as it was sent.
    #[error("holds a broken escape")]
    BrokenEscape,
    /// Finding all readings takes more than [`Budget::STEPS`].
    #[error("takes too much work to read")]
    TooMuchWork,
}

/// The work that one request's path may cost, so that no client can keep a worker busy with a path.
///
/// A step takes about ten nanoseconds: a byte of a reading that is made, a rule that is tried on a reading, a few bytes
/// of a comparison or of a lookup in a regex's table, or a state of a regex without a table. The count depends only on
/// the path and the rules.
#[derive(Debug)]
pub struct Budget {
    left: usize,
}

impl Budget {
    /// What a request may spend.
    pub const STEPS: usize = 60_000;

    /// The steps that are spent.
    pub fn spent(&self) -> usize {
        Self::STEPS - self.left
    }

    /// Spends steps.
    ///
    /// # Errors
    /// [`Ambiguous::TooMuchWork`] if fewer are left.
    pub fn spend(&mut self, steps: usize) -> Result<(), Ambiguous> {
        self.left = self.left.checked_sub(steps).ok_or(Ambiguous::TooMuchWork)?;
        Ok(())
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: Self::STEPS }
    }
}

/// The only reading of `:path`, if the path without query and fragment is plain. Only then does it spend anything of
/// the budget.
///
/// # Errors
/// [`Ambiguous::TooMuchWork`].
pub fn only_reading<'p>(path: &'p [u8], budget: &mut Budget) -> Result<Option<&'p [u8]>, Ambiguous> {
    let path = without_query(path);
    if !is_plain(path) {
        return Ok(None);
    }
    budget.spend(path.len() / 8)?;
    Ok(Some(path))
}

/// All readings of `:path`, the query and the fragment cut off. The first is the path as it was sent.
///
/// # Errors
/// [`Ambiguous`].
pub fn readings<'p>(path: &'p [u8], budget: &mut Budget) -> Result<Vec<Cow<'p, [u8]>>, Ambiguous> {
    let path = without_query(path);
    budget.spend(path.len() / 8)?;
    if is_plain(path) {
        return Ok(vec![Cow::Borrowed(path)]);
    }
    if path.iter().any(u8::is_ascii_control) {
        return Err(Ambiguous::Control);
    }
    if has_broken_escape(path) {
        return Err(Ambiguous::BrokenEscape);
    }
    let as_sent = Reading { path: Cow::Borrowed(path), decoded: 0, end: End::AsSent };
    // Python splits the request line at blanks of Latin-1. Envoy lets them pass over HTTP/2.
    let cut = as_sent.ending(End::Cut, without_last_blanks(path).to_vec());
    let mut found = Found { sent: path, readings: vec![as_sent], budget };
    if cut.path.len() < path.len() {
        found.add(cut)?;
    }
    // The list grows while the loop goes through it.
    let mut next = 0;
    while let Some(reading) = found.readings.get(next).cloned() {
        next += 1;
        found.derive(&reading)?;
    }
    found.drop_slashes()?;
    Ok(found.readings.into_iter().map(|reading| reading.path).collect())
}

/// One reading, and how it came about.
#[derive(Clone)]
struct Reading<'p> {
    path: Cow<'p, [u8]>,
    /// How often it was decoded.
    decoded: u8,
    end: End,
}

/// What a reading ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// With what the path as sent ends with.
    AsSent,
    /// With what comes before something that was cut off.
    Cut,
    /// With dots that were resolved.
    Resolved,
}

impl Reading<'_> {
    /// The result of a step that leaves the end.
    fn to(&self, path: Vec<u8>) -> Reading<'static> {
        Reading { path: path.into(), ..*self }
    }

    /// The result of a step that changes the end.
    fn ending(&self, end: End, path: Vec<u8>) -> Reading<'static> {
        Reading { end, ..self.to(path) }
    }

    fn decoded_to(&self, path: Vec<u8>) -> Reading<'static> {
        Reading { decoded: self.decoded + 1, ..self.to(path) }
    }
}

struct Found<'p, 'b> {
    sent: &'p [u8],
    readings: Vec<Reading<'p>>,
    budget: &'b mut Budget,
}

impl Found<'_, '_> {
    /// Adds the result of one step on a reading. A step that changes nothing makes no copy: clients choose the paths.
    fn derive(&mut self, reading: &Reading<'_>) -> Result<(), Ambiguous> {
        let path = &*reading.path;
        self.budget.spend(path.len())?;
        if path.iter().any(|byte| matches!(byte, b'?' | b'#')) {
            self.add(reading.ending(End::Cut, without_query(path).to_vec()))?;
        }
        if path.contains(&b';') {
            self.add(reading.ending(End::Cut, cut_at(path, |byte| byte == b';').to_vec()))?;
            let end = if last_segment(path).contains(&b';') { End::Cut } else { reading.end };
            self.add(reading.ending(end, without_parameters(path)))?;
        }
        if path.contains(&b'\\') {
            self.add(reading.to(backslashes_as_slashes(path)))?;
        }
        if path.windows(2).any(|pair| pair == b"//") {
            self.add(reading.to(merge_slashes(path)))?;
        }
        // One dot segment at a time: a server may take the first segments for a script, and the rest as they are.
        if path.windows(2).any(|pair| pair == b"/.")
            && let Some((resolved, is_last)) = resolve_first_dots(path)
        {
            self.add(reading.ending(if is_last { End::Resolved } else { reading.end }, resolved))?;
        }
        if let Some(rest) = without_authority(path) {
            self.add(reading.to(rest.to_vec()))?;
        }
        if reading.decoded < 2 && path.contains(&b'%') {
            self.decode(reading)?;
        }
        Ok(())
    }

    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    fn decode(&mut self, reading: &Reading<'_>) -> Result<(), Ambiguous> {
        let path = &*reading.path;
        let holds = |byte: &u8| escapes(path).any(|escaped| escaped == *byte);
        // The parsers of the WHATWG URL Standard decode only the dots of dot segments; Envoy can be set to decode only
        // slashes. A server behind them may decode twice.
        if holds(&b'.') {
            self.add(reading.to(decode_dot_segments(path)))?;
        }
        if holds(&b'/') || holds(&b'\\') {
            self.add(reading.to(decode(path, |byte| !matches!(byte, b'/' | b'\\'))?))?;
        }
        // Apache and Tomcat can be set to keep escaped slashes of either kind.
        for kept in [&b""[..], b"/\\", b"/", b"\\"].into_iter().filter(|kept| kept.iter().all(holds)) {
            self.add(reading.decoded_to(decode(path, |byte| kept.contains(&byte))?))?;
        }
        Ok(())
    }

    /// Adds the readings of servers that clean a path at last: `/a/.` and `/a%2f` are `/a` for Go's `path.Clean` and
    /// Python's `posixpath.normpath`. A slash that was sent stays: ordinary paths end with one, and have one before an
    /// escaped `#`.
    fn drop_slashes(&mut self) -> Result<(), Ambiguous> {
        let mut next = 0;
        while let Some(reading) = self.readings.get(next) {
            next += 1;
            let Some(file) = reading.path.strip_suffix(b"/").filter(|file| !file.is_empty()) else { continue };
            let was_sent = match reading.end {
                End::AsSent => self.sent.ends_with(b"/"),
                End::Cut => self.sent.starts_with(&reading.path),
                End::Resolved => false,
            };
            if !was_sent {
                let file = reading.to(file.to_vec());
                self.add(file)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, reading: Reading<'static>) -> Result<(), Ambiguous> {
        let length = reading.path.len();
        self.budget.spend(length + self.readings.len())?;
        for known in self.readings.iter().filter(|known| known.path.len() == length) {
            self.budget.spend(length / 8)?;
            if known.path == reading.path && known.decoded <= reading.decoded && known.end == reading.end {
                return Ok(());
            }
        }
        self.readings.push(reading);
        Ok(())
    }
}

/// Whether a path has exactly one reading: itself.
pub fn is_plain(path: &[u8]) -> bool {
    // A path without a leading slash may be a whole URL.
    if !path.starts_with(b"/") && path.contains(&b':') {
        return false;
    }
    // The segment so far; before the first slash there is none. One pass, because every request needs this.
    let (mut length, mut dots, mut is_segment) = (0_usize, 0, false);
    for byte in path {
        match byte {
            b'%' | b'\\' | b';' | b'?' | b'#' => return false,
            b'/' if is_segment && length == dots && length <= 2 => return false,
            b'/' => (length, dots, is_segment) = (0, 0, true),
            b'.' => (length, dots) = (length + 1, dots + 1),
            byte if byte.is_ascii_control() => return false,
            _ => length += 1,
        }
    }
    // The segment after the last slash may be empty.
    let ends_with_dots = is_segment && length == dots && matches!(length, 1 | 2);
    !ends_with_dots && without_last_blanks(path).len() == path.len()
}

/// `:path` up to its query or fragment.
pub fn without_query(path: &[u8]) -> &[u8] {
    cut_at(path, |byte| matches!(byte, b'?' | b'#'))
}

fn without_last_blanks(mut path: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | 0x85 | 0xa0] = path {
        path = rest;
    }
    path
}

/// What follows the last slash.
fn last_segment(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

fn cut_at(path: &[u8], end: impl Fn(u8) -> bool) -> &[u8] {
    path.split(|byte| end(*byte)).next().unwrap_or_default()
}

/// Parsers of URLs that take a path for a relative reference read `//host/a` as `/a`. The WHATWG URL Standard accepts
/// any number of slashes and backslashes there, RFC 3986 section 4.2 two slashes. Likewise `http://host/a`, whose
/// scheme is removed first.
fn without_authority(path: &[u8]) -> Option<&[u8]> {
    let is_slash = |byte: &u8| matches!(byte, b'/' | b'\\');
    let slashes = path.iter().take_while(|byte| is_slash(byte)).count();
    if slashes == 0 {
        let end = path.iter().position(|byte| is_slash(byte) || *byte == b':')?;
        return path.get(end..)?.strip_prefix(b":");
    }
    let authority = path.get(slashes..).filter(|_| slashes >= 2)?;
    let end = authority.iter().position(|byte| *byte == b'/');
    Some(end.and_then(|end| authority.get(end..)).unwrap_or(b"/"))
}

/// The byte that the escape at the beginning of `rest` stands for, and what follows the escape.
fn unescape(rest: &[u8]) -> Option<(u8, &[u8])> {
    let (&[percent, high, low], after) = rest.split_first_chunk::<3>()?;
    let byte = hex([high, low])?;
    (percent == b'%').then_some((byte, after))
}

/// The byte of two hex digits.
fn hex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// The bytes that the escapes of a path stand for.
fn escapes(path: &[u8]) -> impl Iterator<Item = u8> {
    let from_each = path.split(|byte| *byte == b'%').skip(1);
    from_each.filter_map(|rest| hex(*rest.first_chunk()?))
}

fn has_broken_escape(path: &[u8]) -> bool {
    (0..path.len()).filter_map(|at| path.get(at..)).any(|rest| rest.starts_with(b"%") && unescape(rest).is_none())
}

/// Whether a path contains bytes that a client can only send escaped, such as a space, escaped or not.
pub fn needs_escapes(path: &[u8]) -> bool {
    let escaped = |at| Some(unescape(path.get(at..)?)?.0);
    path.iter().any(|byte| !byte.is_ascii_graphic())
        || (0..path.len()).filter_map(escaped).any(|byte| byte == b' ' || !byte.is_ascii())
}

/// Decodes all escapes except those of the bytes to `keep`. A `%` that begins no escape stays, as in lenient decoders.
pub fn decode(path: &[u8], keep: impl Fn(u8) -> bool) -> Result<Vec<u8>, Ambiguous> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, others)) = rest.split_first() {
        let Some((byte, after)) = unescape(rest) else {
            decoded.push(*first);
            rest = others;
            continue;
        };
        if byte.is_ascii_control() {
            return Err(Ambiguous::Control);
        }
        if keep(byte) {
            decoded.extend_from_slice(rest.get(..3).unwrap_or_default());
        } else {
            decoded.push(byte);
        }
        rest = after;
    }
    Ok(decoded)
}

/// `%2e%2e` as a segment becomes `..`, likewise `.%2e`, `%2e.` and `%2e`. Other escapes stay, also those of dots.
fn decode_dot_segments(path: &[u8]) -> Vec<u8> {
    let as_dots = |segment| match decode(segment, |byte| byte != b'.') {
        Ok(dots) if matches!(&dots[..], b"." | b"..") => dots,
        _ => segment.to_vec(),
    };
    path.split(|byte| *byte == b'/').map(as_dots).collect::<Vec<_>>().join(&b'/')
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

/// The path with its first dot segment resolved (RFC 3986 section 5.2.4; `..` at the root stays at the root), and
/// whether that segment was the last one. `None`: it has no dot segment.
fn resolve_first_dots(path: &[u8]) -> Option<(Vec<u8>, bool)> {
    let segments: Vec<&[u8]> = path.strip_prefix(b"/")?.split(|byte| *byte == b'/').collect();
    let at = segments.iter().position(|segment| matches!(*segment, b"." | b".."))?;
    let (before, rest) = segments.split_at_checked(at)?;
    let (dots, after) = rest.split_first()?;
    let before = if *dots == b".." { before.split_last().map_or(before, |(_, others)| others) } else { before };
    let mut resolved = [b"/", [before, after].concat().join(&b'/').as_slice()].concat();
    if after.is_empty() && !before.is_empty() {
        resolved.push(b'/');
    }
    Some((resolved, after.is_empty()))
}

#[cfg(test)]
mod tests;
