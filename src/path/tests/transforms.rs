//! What servers do to a path, written independently of the readings.

use super::*;

/// The transforms once more, written another way: on text, with plain searching and replacing.
mod independent {
    pub fn decode_slashes(path: &str) -> String {
        let escapes = [("%2f", "/"), ("%2F", "/"), ("%5c", "\\"), ("%5C", "\\")];
        escapes.iter().fold(path.to_owned(), |path, (escape, byte)| path.replace(escape, byte))
    }

    pub fn decode_dot_segments(path: &str) -> String {
        let segments = path.split('/').map(|segment| match segment.to_lowercase().replace("%2e", ".").as_str() {
            "." => ".".to_owned(),
            ".." => "..".to_owned(),
            _ => segment.to_owned(),
        });
        segments.collect::<Vec<_>>().join("/")
    }

    pub fn decode(path: &str, keep: &[&str]) -> Result<String, ()> {
        let mut pieces = path.split('%');
        let mut decoded = pieces.next().unwrap().to_owned();
        for piece in pieces {
            let digits = piece.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let Some(digits) = digits else {
                decoded.push('%');
                decoded.push_str(piece);
                continue;
            };
            if keep.contains(&digits.to_lowercase().as_str()) {
                decoded.push('%');
                decoded.push_str(piece);
                continue;
            }
            let byte = u8::from_str_radix(digits, 16).unwrap();
            if byte < 0x20 || byte == 0x7f {
                return Err(());
            }
            decoded.push(char::from(byte));
            decoded.push_str(&piece[2..]);
        }
        Ok(decoded)
    }

    /// The loop of RFC 3986 section 5.2.4, as it stands there.
    ///
    /// With the path after each of its steps that resolved a dot segment: output and input together.
    pub fn resolve_dots(path: &str) -> Vec<String> {
        let (mut input, mut output) = (path.to_owned(), String::new());
        let mut after_each = Vec::new();
        while !input.is_empty() {
            let length = output.len() + input.len();
            if input.starts_with("/./") {
                input.replace_range(..2, "");
            } else if input == "/." {
                input = "/".to_owned();
            } else if input.starts_with("/../") || input == "/.." {
                input = format!("/{}", input.get(4..).unwrap_or_default());
                output.truncate(output.rfind('/').unwrap_or(0));
            } else {
                let end = input[1..].find('/').map_or(input.len(), |at| at + 1);
                output.push_str(&input[..end]);
                input.replace_range(..end, "");
            }
            if output.len() + input.len() < length {
                after_each.push(format!("{output}{input}"));
            }
        }
        after_each
    }

    pub fn merge_slashes(path: &str) -> String {
        let mut path = path.to_owned();
        while path.contains("//") {
            path = path.replace("//", "/");
        }
        path
    }

    pub fn without_parameters(path: &str) -> String {
        let mut kept = String::new();
        let mut in_parameters = false;
        for character in path.chars() {
            in_parameters = (in_parameters || character == ';') && character != '/';
            if !in_parameters {
                kept.push(character);
            }
        }
        kept
    }

    pub fn without_authority(path: &str) -> String {
        let rest = path.trim_start_matches(['/', '\\']);
        match rest.find('/') {
            _ if path.len() - rest.len() < 2 => path.to_owned(),
            Some(slash) => rest[slash..].to_owned(),
            None => "/".to_owned(),
        }
    }

    pub fn cut(path: &str, ends: &[char]) -> String {
        path[..path.find(ends).unwrap_or(path.len())].to_owned()
    }
}

/// All results of up to `steps` transforms of a path, at most two of them decodings, without a slash at the end that
/// wasn't sent, or with it. An error if a transform fails.
fn compositions(path: &str, steps: usize) -> Result<BTreeSet<String>, ()> {
    let sent = independent::cut(path, &['?', '#']);
    // With each, how often it was decoded, and where its end is from: `s`ent, `c`ut, or from `d`ots.
    let without_blanks = sent.trim_end_matches([' ', '\u{85}', '\u{a0}']).to_owned();
    let mut all = BTreeSet::from([(sent.clone(), 0, 's')]);
    all.extend((without_blanks != sent).then_some((without_blanks, 0, 'c')));
    for _ in 0..steps {
        let mut next = all.clone();
        for (path, decoded, end) in &all {
            let last = path.rfind('/').map_or("", |slash| &path[slash + 1..]);
            for (derived, new_end) in [
                (independent::cut(path, &['?', '#']), path.contains(['?', '#']).then_some('c')),
                (independent::cut(path, &[';']), path.contains(';').then_some('c')),
                (independent::without_parameters(path), last.contains(';').then_some('c')),
                (path.replace('\\', "/"), None),
                (independent::merge_slashes(path), None),
                (independent::without_authority(path), None),
            ] {
                next.insert((derived, *decoded, new_end.unwrap_or(*end)));
            }
            let resolved = independent::resolve_dots(path);
            for (number, derived) in resolved.iter().enumerate() {
                let is_whole = number + 1 == resolved.len() && matches!(last, "." | "..");
                next.insert((derived.clone(), *decoded, if is_whole { 'd' } else { *end }));
            }
            if *decoded < 2 {
                next.insert((independent::decode(path, &[])?, decoded + 1, *end));
                next.insert((independent::decode(path, &["2f", "5c"])?, decoded + 1, *end));
                next.insert((independent::decode_dot_segments(path), *decoded, *end));
                next.insert((independent::decode_slashes(path), *decoded, *end));
            }
        }
        all = next;
    }
    let mut cleaned = Vec::new();
    for (path, _, end) in &all {
        let was_sent = |path: &str| match end {
            's' => sent.ends_with('/'),
            'c' => sent.starts_with(path),
            _ => false,
        };
        let mut path = path.as_str();
        while path.len() > 1 && path.ends_with('/') && !was_sent(path) {
            path = &path[..path.len() - 1];
            cleaned.push(path.to_owned());
        }
    }
    Ok(all.into_iter().map(|(path, ..)| path).chain(cleaned).collect())
}

#[test]
fn any_four_transforms_lead_to_a_reading_or_the_path_is_refused() {
    const PIECES: [&str; 25] = [
        "/", "/", "/", ".", "..", "/../", "/..", "a", "b", "\\", ";", ";", "%2f", "%2F", "%2e", "%2e%2e", "%5c", "%3b",
        "%25", "%252f", "%252e", "%3f", "%23", "%", " ",
    ];
    // Every run tries the same paths.
    let mut random = fastrand::Rng::with_seed(1);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..6_000 {
        let length = 1 + random.usize(..7);
        let path: String =
            std::iter::once("/").chain((0..length).map(|_| PIECES[random.usize(..PIECES.len())])).collect();
        let Ok(found) = read(path.as_bytes()) else {
            refused += 1;
            continue;
        };
        accepted += 1;
        // Only escapes give bytes beyond ASCII. Here, each becomes the character of the same number.
        let found: BTreeSet<String> =
            found.iter().map(|reading| reading.iter().map(|byte| char::from(*byte)).collect()).collect();
        let expected = compositions(&path, 4).unwrap_or_else(|()| panic!("{path} has a broken escape: {found:?}"));
        for reading in &expected {
            assert!(found.contains(reading.as_str()), "{path} may be read as {reading}: {found:?}");
        }
    }
    assert!(accepted > 3_000, "{accepted} of {} were accepted", accepted + refused);
    assert!(refused > 300, "{refused} of {} were refused", accepted + refused);
}
