//! `profile`: the defaults of fields that aren't written.

/// `profile` (docs/reference.md#profiles): the set of defaults. A field that is written overrides its default. The
/// defaults themselves are in the table of fields, in the order of these variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// The defaults of docs/reference.md#configuration.
    #[default]
    Production,
    /// Changes show at once, and a laptop's slow service is no outage.
    Development,
    /// Every verdict is the service's own: nothing is remembered.
    Test,
}

impl Profile {
    pub(super) const ALL: [Self; 3] = [Self::Production, Self::Development, Self::Test];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Development => "development",
            Self::Test => "test",
        }
    }
}
