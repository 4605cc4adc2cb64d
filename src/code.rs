//! The reasons for a denial.

macro_rules! codes {
    ($($Code:ident,)+) => {
        /// The reason for a denial, by its name in docs/reference.md#denials.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is the code of its name in docs/reference.md#denials")]
        pub enum Code {
            $($Code,)+
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: [Self; [$(stringify!($Code)),+].len()] = [$(Self::$Code),+];
        }
    };
}

codes! {
    MissingCredentials,
    MalformedCredentials,
    UnsupportedScheme,
    TokenMalformed,
    SignatureInvalid,
    TokenExpired,
    TokenNotYetValid,
    TokenTypeNotAccepted,
    TokenRevoked,
    TokenRejected,
    InsufficientUserAuthentication,
    ClaimsNotSufficient,
    DeniedByRule,
    ForbiddenByService,
    AmbiguousPath,
    AmbiguousHost,
    CrossSiteRequest,
    TooManyFailures,
    AuthServiceUnavailable,
    PublicKeyUnavailable,
    Internal,
}

impl Code {
    /// The name, as in the body's `code`.
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        self.row().0
    }

    /// The sentence in the body's `details`.
    pub const fn details(self) -> &'static str {
        self.row().2
    }

    const fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::MissingCredentials => (401, "missing_credentials", "The request has no credential."),
            Self::MalformedCredentials => {
                (401, "malformed_credentials", "The request does not contain exactly one well-formed credential.")
            }
            Self::UnsupportedScheme => {
                (401, "unsupported_scheme", "The Authorization scheme is neither Bearer nor APIKey.")
            }
            Self::TokenMalformed => (401, "token_malformed", "The token is malformed."),
            Self::SignatureInvalid => (401, "signature_invalid", "The token's signature is invalid."),
            Self::TokenExpired => (401, "token_expired", "The token has expired."),
            Self::TokenNotYetValid => (401, "token_not_yet_valid", "The token is not valid yet."),
            Self::TokenTypeNotAccepted => {
                (401, "token_type_not_accepted", "A token of this type is not accepted here.")
            }
            Self::TokenRevoked => (401, "token_revoked", "The token has been revoked."),
            Self::TokenRejected => (401, "token_rejected", "The authentication service does not accept the token."),
            Self::InsufficientUserAuthentication => {
                (401, "insufficient_user_authentication", "Access requires signing in by SSO.")
            }
            Self::ClaimsNotSufficient => {
                (403, "claims_not_sufficient", "The token does not grant access to this resource.")
            }
            Self::DeniedByRule => (403, "denied_by_rule", "Access to this resource is denied for everyone."),
            Self::ForbiddenByService => {
                (403, "forbidden_by_service", "The authentication service refuses access with this token.")
            }
            Self::AmbiguousPath => {
                (403, "ambiguous_path", "The path can be read in more than one way; send it in its plain form.")
            }
            Self::AmbiguousHost => {
                (403, "ambiguous_host", "The host can be read in more than one way; send only its name.")
            }
            Self::CrossSiteRequest => {
                (403, "cross_site_request", "A cookie is not accepted with a request that another site may have made.")
            }
            Self::TooManyFailures => {
                (429, "too_many_failures", "Too many attempts with invalid tokens; try again later.")
            }
            Self::AuthServiceUnavailable => {
                (503, "auth_service_unavailable", "The token cannot be verified at the moment.")
            }
            Self::PublicKeyUnavailable => {
                (503, "public_key_unavailable", "The token's signature cannot be verified at the moment.")
            }
            Self::Internal => (500, "internal", "The gateway failed to process the request."),
        }
    }

    /// The gRPC status that matches (docs/reference.md#denials).
    pub const fn grpc_status(self) -> GrpcStatus {
        match self.status() {
            401 => GrpcStatus::Unauthenticated,
            403 => GrpcStatus::PermissionDenied,
            429 => GrpcStatus::ResourceExhausted,
            503 => GrpcStatus::Unavailable,
            _ => GrpcStatus::Internal,
        }
    }
}

/// The gRPC statuses that a denial can have, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum GrpcStatus {
    /// The caller is known, but not allowed to do this.
    PermissionDenied = 7,
    /// The caller has to wait.
    ResourceExhausted = 8,
    /// The filter failed.
    Internal = 13,
    /// The caller can't be verified now.
    Unavailable = 14,
    /// The caller isn't authenticated.
    Unauthenticated = 16,
}
