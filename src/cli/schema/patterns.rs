//! Patterns of texts, in the syntax of ECMA 262.

use crate::claims::ClaimName;
use crate::config::table::Refused;
use crate::matcher::{MAX_HOST_BYTES, NO_RULE};
use crate::public_key::{BEGIN, END};

/// A header's name, `token` of RFC 9110 section 5.6.2.
pub(super) const TOKEN: &str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// A port from 0 to 65535.
const PORT: &str = "0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

/// What an IPv6 address in brackets consists of.
const ADDRESS: &str = r"\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]";

/// A part of an IPv4 address.
const OCTET: &str = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";

/// The name of a cluster that Istio makes, up to the host.
fn istio() -> String {
    format!(r"outbound\|\+?{PORT}\|[^|]*\|")
}

/// A host, perhaps with a port.
fn host_and_port() -> String {
    format!("([._-]*[0-9A-Za-z][0-9A-Za-z._-]*|{ADDRESS})(:{PORT})?")
}

pub(super) fn authority() -> String {
    format!("^{}$", host_and_port())
}

/// A cluster's name that is a host or contains one.
pub(super) fn cluster_with_host() -> String {
    format!("^({})?{}$", istio(), host_and_port())
}

/// An https URL without user and fragment. `rest`: the bytes that may stand after the authority.
fn url(begin: &str, rest: &str) -> String {
    format!("^https://{}({begin}{rest}*)?$", host_and_port())
}

pub(super) fn url_with_query() -> String {
    url("[/?]", r"[!$-;=?-\[\]_a-z~]")
}

pub(super) fn url_without_query() -> String {
    url("/", r"[!$-;=@-\[\]_a-z~]")
}

/// An entry of `hosts`. The usual form of an IPv6 address is more than a pattern can describe.
pub(super) fn host() -> String {
    let labels = r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*";
    // In the last label, after which at most `:*` stands.
    let number = r"([^.]*\.)*([0-9]+|0[xX][0-9A-Fa-f]*)(:\*)?$";
    let length = format!(r"(\*\.)?.{{1,{MAX_HOST_BYTES}}}?(:\*)?$");
    format!(r"^(?={length})((\*\.)?((?!{number}){labels}|{OCTET}(\.{OCTET}){{3}})|{ADDRESS})(:\*)?$")
}

/// A path in a rule: without empty segments, `.` and `..`, and without bytes that make a second reading.
pub(super) const RULE_PATH: &str = r#"^(?!.*/\.{0,2}/)(?!.*/\.{1,2}$)/[!"$&-:<->@-\[\]-~]*$"#;

/// An origin without its scheme's default port.
pub(super) const ORIGIN: &str = r"^(?!https://.*:443$)(?!http://.*:80$)[0-9a-z.:_\[\]-]+://[0-9a-z.:_\[\]-]+$";

/// The path of a claim: names separated by dots.
pub(super) fn claim() -> String {
    format!(r"^[^.]+(\.[^.]+){{0,{}}}$", ClaimName::MAX_NAMES - 1)
}

pub(super) fn rule_name() -> String {
    format!("^(?!{NO_RULE}$)[A-Za-z][A-Za-z0-9_-]{{0,63}}$")
}

pub(super) fn pem() -> String {
    format!(r"^\s*{BEGIN}[0-9A-Za-z+/=\t\n\f\r ]+{END}\s*$")
}

/// The names that a header can't have.
pub(super) fn refused(Refused { names, prefixes }: &Refused) -> String {
    let prefixes: Vec<_> = prefixes.iter().map(|prefix| format!("|^{}", spelled(prefix))).collect();
    format!("{}{}", whole(names), prefixes.concat())
}

/// These names, in the form of [`Refused::names`].
pub(super) fn whole(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| spelled(name)).collect();
    format!("^({})$", names.join("|"))
}

/// All spellings of a name.
fn spelled(name: &str) -> String {
    let one = |letter: char| match letter {
        '-' => "[^0-9A-Za-z]".to_owned(),
        'a'..='z' => format!("[{letter}{}]", letter.to_ascii_uppercase()),
        _ => letter.to_string(),
    };
    name.chars().map(one).collect()
}
