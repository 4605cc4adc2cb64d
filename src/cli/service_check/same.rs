//! Whether the service names the same identity in each format.

use super::findings::Findings;
use super::verify::Asking;
use crate::claims::{ClaimPath, Claims};
use crate::config::ResponseFormat;

/// What `json_header` gives, and so every format.
const IDENTITY: [ClaimPath; 5] =
    [ClaimPath::UserId, ClaimPath::ClientId, ClaimPath::Email, ClaimPath::UserType, ClaimPath::IsAdmin];

/// Compares an answer's claims with those in other formats, about the same credential.
pub fn check<'c>(asking: &Asking<'_>, others: &'c [Claims], claims: &'c Claims, findings: &mut Findings) {
    let (mut different, mut lacking) = (Vec::new(), Vec::new());
    for path in IDENTITY {
        // The filter has let it in, so each claim can be a header.
        let value = |claims: &'c Claims| claims.header_value(path).ok().flatten();
        let Some(known) = others.iter().find_map(value) else { continue };
        match value(claims) {
            None => lacking.push(name(asking, path)),
            Some(ours) if ours != known => different.push(path.to_string()),
            Some(_) => {}
        }
    }
    if !different.is_empty() {
        let found = format!("another {} than in another format", different.join(", "));
        findings.differs(asking.name(), found, "uses each answer as it is");
    }
    if !lacking.is_empty() {
        let found = format!("it lacks {}, which another format has", lacking.join(", "));
        findings.note(asking.name(), found, "needs only the ids: rules and the upstream don't get the others");
    }
}

/// How a claim is named in this format.
fn name(asking: &Asking<'_>, path: ClaimPath) -> String {
    let claim = path.to_string();
    let header = asking.answer_headers().iter().find(|(known, _)| *known == claim).map(|(_, header)| header.to_owned());
    header.filter(|_| asking.format() == ResponseFormat::JsonHeader).unwrap_or(claim)
}
