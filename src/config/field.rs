//! What a field of the configuration can hold: the words in which [`super::fields`] describes each.

/// One field of an object.
#[derive(Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What stands in for it where it isn't written.
    pub given: Given,
    /// One phrase on what it does. Not in the module: only documents and the command need it.
    #[cfg(not(target_arch = "wasm32"))]
    pub about: &'static str,
    /// A value, as JSON, where neither the default nor the words make one evident.
    #[cfg(not(target_arch = "wasm32"))]
    pub example: Option<&'static str>,
}

impl Field {
    /// `about` doesn't get into the module.
    #[cfg_attr(target_arch = "wasm32", expect(unused_variables, reason = "for documents alone"))]
    pub(super) const fn new(name: &'static str, kind: Kind, given: Given, about: &'static str) -> Self {
        Self {
            name,
            kind,
            given,
            #[cfg(not(target_arch = "wasm32"))]
            about,
            #[cfg(not(target_arch = "wasm32"))]
            example: None,
        }
    }

    /// `example`, which is JSON, doesn't get into the module.
    #[cfg_attr(target_arch = "wasm32", expect(unused_variables, unused_mut, reason = "for documents alone"))]
    pub(super) const fn example(mut self, example: &'static str) -> Self {
        #[cfg(not(target_arch = "wasm32"))]
        {
            self.example = Some(example);
        }
        self
    }
}

/// What stands in for a field that isn't written.
#[derive(Debug, Clone, Copy)]
pub enum Given {
    /// Nothing: it has to be written.
    Required,
    /// Nothing, or what the field's description says.
    Nothing,
    /// For [`Kind::Flag`] and [`Kind::FlagOr`].
    Flag(bool),
    /// For [`Kind::Whole`].
    Whole(u32),
    /// The same for each profile: production, development, test.
    WholeBy([u32; 3]),
    /// For [`Kind::Duration`], [`Kind::Word`] and [`Kind::Text`].
    Text(&'static str),
    /// The same for each profile: production, development, test.
    TextBy([&'static str; 3]),
    /// For a [`Kind::List`] of texts.
    Texts(&'static [&'static str]),
}

/// What a field holds.
#[derive(Debug)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number; both bounds are possible.
    Whole {
        /// The least.
        least: u32,
        /// The most.
        most: u32,
    },
    /// A number with a unit: `ms`, `s`, `m` or `h`; both bounds are possible.
    Duration {
        /// The least.
        least: &'static str,
        /// The most.
        most: &'static str,
    },
    /// One of these strings.
    Word(&'static [&'static str]),
    /// `true`, `false` or one of these strings.
    FlagOr(&'static [&'static str]),
    /// A string.
    Text(Text),
    /// This, or null, which says that there is none.
    OrNull(&'static Kind),
    /// Any number of these.
    List(&'static Kind),
    /// At least one of these, and none twice.
    Distinct(&'static Kind),
    /// An object with these fields.
    Object(&'static [Field]),
    /// An object with these fields, or a list of such objects, one at least.
    ObjectOrObjects(&'static [Field]),
    /// An object whose keys are names of headers.
    Headers(&'static Kind),
    /// A whole number, also below 0, that a double holds exactly.
    Integer,
    /// An object whose keys are dotted paths of claims, and whose values are lists of strings, integers or booleans, one at
    /// least in each.
    Claims,
}

/// What a string has to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// Not empty.
    Some,
    /// Visible ASCII, not empty: a cluster's name.
    Visible,
    /// A host's name or address, with or without a port.
    Authority,
    /// A path of the service: visible ASCII that begins with `/` and holds no `#`.
    ServicePath,
    /// What may stand between quotes in `WWW-Authenticate`.
    Realm,
    /// A path that the filter answers itself: visible ASCII that begins with `/` and holds neither `?` nor `#`.
    OwnPath,
    /// An https URL without a fragment.
    Url,
    /// The same without a query.
    Resource,
    /// A scope of OAuth 2.0 (RFC 6749 section 3.3).
    Scope,
    /// A web origin, as a browser writes it (RFC 6454 section 6.2).
    Origin,
    /// The name of a header.
    HeaderName,
    /// The name of a cookie.
    CookieName,
    /// The dotted path of a claim that the filter knows.
    Claim,
    /// The dotted path of any claim.
    ClaimName,
    /// A rule's name.
    RuleName,
    /// A path in a rule.
    RulePath,
    /// A regular expression over a whole path.
    Regex,
    /// A method, in upper case.
    Method,
    /// A host pattern: `name`, `name:*` or `*.suffix`.
    Host,
    /// A public key in PEM.
    Pem,
}
