//! A reader of paths that is independent of the filter, and generous.

use std::collections::BTreeSet;

/// A reading of `path` that some server might make and that `is_covered` doesn't know: decoded up to three times,
/// escaped slashes included or not, or only dots or slashes decoded, dots resolved, slashes merged, backslashes turned,
/// cut at `;`, `?` and `#`, without a slash or blanks at the end, in any order.
pub fn may_lead_to(path: &str, is_covered: impl Fn(&str) -> bool) -> Option<String> {
    let mut known: BTreeSet<(Vec<u8>, u8)> = BTreeSet::new();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut queue = vec![(path.as_bytes().to_vec(), 0)];
    while let Some((reading, decoded)) = queue.pop() {
        if known.len() > 4096 || !known.insert((reading.clone(), decoded)) {
            continue;
        }
        let segments = |keep: &dyn Fn(&[u8]) -> Vec<u8>| {
            reading.split(|byte| *byte == b'/').map(keep).collect::<Vec<_>>().join(&b'/')
        };
        let cut = |segment: &[u8]| segment.split(|byte| *byte == b';').next().unwrap_or_default().to_vec();
        let mut merged = reading.clone();
        merged.dedup_by(|next, before| *next == b'/' && *before == b'/');
        queue.push((segments(&cut), decoded));
        queue.push((cut(&reading), decoded));
        queue.push((reading.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect(), decoded));
        queue.push((merged, decoded));
        let segments_of = reading.split(|byte| *byte == b'/').count();
        queue.extend((1..=segments_of).map(|first| (resolved(&reading, first), decoded)));
        queue.push((without_authority(&reading), decoded));
        if let Some(file) = reading.strip_suffix(b"/").filter(|file| !file.is_empty()) {
            queue.push((file.to_vec(), decoded));
        }
        if let [rest @ .., last] = &reading[..]
            && !last.is_ascii_graphic()
        {
            queue.push((rest.to_vec(), decoded));
        }
        queue.push((reading.split(|byte| b"?#\0".contains(byte)).next().unwrap_or_default().to_vec(), decoded));
        if decoded < 3 {
            queue.push((unescaped(&reading, b""), decoded + 1));
            queue.push((unescaped(&reading, b"/\\"), decoded + 1));
            for only in [&b"."[..], b"/\\"] {
                let kept: Vec<u8> = (0..=255).filter(|byte| !only.contains(byte)).collect();
                queue.push((unescaped(&reading, &kept), decoded));
            }
        }
    }
    let mut readings = known.iter().map(|(reading, _)| String::from_utf8_lossy(reading));
    readings.find(|reading| !is_covered(reading)).map(|reading| reading.into_owned())
}

/// The path in `//host/path`.
fn without_authority(path: &[u8]) -> Vec<u8> {
    let end = path.iter().position(|byte| !b"/\\".contains(byte)).unwrap_or(path.len());
    if end < 2 {
        return path.to_vec();
    }
    let rest = path[end..].iter().position(|byte| *byte == b'/');
    rest.map_or_else(|| b"/".to_vec(), |rest| path[end + rest..].to_vec())
}

/// The path with the dots among its first segments resolved.
fn resolved(path: &[u8], first: usize) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for (number, segment) in path.split(|byte| *byte == b'/').enumerate().skip(1) {
        match segment {
            b"." if number <= first => {}
            b".." if number <= first => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    [b"/", kept.join(&b'/').as_slice()].concat()
}

/// Decodes all escapes but those of the bytes in `kept`.
fn unescaped(path: &[u8], kept: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(path.len());
    let mut index = 0;
    while index < path.len() {
        match (path[index], digit(path.get(index + 1)), digit(path.get(index + 2))) {
            (b'%', Some(high), Some(low)) if !kept.iter().any(|byte| u32::from(*byte) == high * 16 + low) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                index += 3;
            }
            (byte, ..) => {
                out.push(byte);
                index += 1;
            }
        }
    }
    out
}
