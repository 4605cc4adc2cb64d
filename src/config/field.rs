//! What a field of the configuration can hold: the types in which [`super::fields`] describes each field.

/// One field of an object.
#[derive(Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Its default.
    pub given: Given,
    /// One phrase on what it does. Not in the module: only documents and the command need it.
    #[cfg(not(target_arch = "wasm32"))]
    pub about: &'static str,
    /// An example of a value, as JSON, if neither the default nor the words show one.
    #[cfg(not(target_arch = "wasm32"))]
    pub example: Option<&'static str>,
    /// What the header is for, if the field holds names of headers.
    #[cfg(not(target_arch = "wasm32"))]
    pub header_use: HeaderUse,
}

/// What a header is for: which names it can't have depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderUse {
    /// Any name will do.
    #[cfg(not(target_arch = "wasm32"))]
    Any,
    /// It carries a claim upstream.
    Identity,
    /// It holds credentials.
    Credential,
    /// No client may send it.
    Stripped,
    /// It is copied to callouts.
    Forwarded,
}

impl Field {
    /// The module doesn't contain `about`.
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
            #[cfg(not(target_arch = "wasm32"))]
            header_use: HeaderUse::Any,
        }
    }

    /// `example` is JSON. The module doesn't contain it.
    #[cfg_attr(target_arch = "wasm32", expect(unused_variables, unused_mut, reason = "for documents alone"))]
    pub(super) const fn example(mut self, example: &'static str) -> Self {
        #[cfg(not(target_arch = "wasm32"))]
        {
            self.example = Some(example);
        }
        self
    }

    /// What the header is for. Not in the module: [`super::headers`] and [`super::compile`] check the names.
    #[cfg_attr(target_arch = "wasm32", expect(unused_variables, unused_mut, reason = "for documents alone"))]
    pub(super) const fn header_use(mut self, header_use: HeaderUse) -> Self {
        #[cfg(not(target_arch = "wasm32"))]
        {
            self.header_use = header_use;
        }
        self
    }
}

/// The default of a field.
#[derive(Debug, Clone, Copy)]
pub enum Given {
    /// None: the field has to be written.
    Required,
    /// None, or what the field's description says.
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
    /// A whole number; both bounds are included.
    Whole {
        /// The least.
        least: u32,
        /// The most.
        most: u32,
    },
    /// A number with a unit: `ms`, `s`, `m` or `h`; both bounds are included.
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
    /// This, or null for none.
    OrNull(&'static Kind),
    /// Any number of these.
    List(&'static Kind),
    /// At least one of these, and none twice.
    Distinct(&'static Kind),
    /// An object with these fields.
    Object(&'static [Field]),
    /// An object with these fields, or a list of at least one such object.
    ObjectOrObjects(&'static [Field]),
    /// An object whose keys are names of headers.
    Headers(&'static Kind),
    /// A whole number, perhaps negative, that a double holds exactly.
    Integer,
    /// An object whose keys are dotted paths of claims, and whose values are lists of at least one string, integer or
    /// boolean.
    Claims,
}

#[cfg(any(test, all(any(feature = "cli", feature = "testing"), not(target_arch = "wasm32"))))]
impl Kind {
    /// The fields of such an object; none, if it is no object, or its keys are the operator's own.
    #[must_use]
    pub const fn fields(&self) -> &'static [Field] {
        match self {
            Self::Object(fields) | Self::ObjectOrObjects(fields) | Self::OrNull(Self::Object(fields)) => fields,
            _ => &[],
        }
    }
}

/// What a string has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// Not empty.
    Some,
    /// The name of an Envoy cluster: visible ASCII, not empty, and not a URL.
    Cluster,
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
