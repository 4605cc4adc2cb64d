//! Claims as the values of headers.

use std::borrow::Cow;

use super::{ClaimPath, Claims, NotAHeaderValue};

impl Claims {
    /// The claim as a header carries it: integers in decimal, booleans as `true` and `false`, lists joined by
    /// commas. `Ok(None)`: the token doesn't have the claim, or has it as null.
    ///
    /// # Errors
    /// [`NotAHeaderValue`] if the claim holds a control character or outer blanks, or an entry of a list a comma.
    pub fn header_value(&self, path: ClaimPath) -> Result<Option<Cow<'_, str>>, NotAHeaderValue> {
        let role = self.role_params.as_ref();
        let issued_by = self.issued_by.as_ref();
        let value = match path {
            ClaimPath::Exp => self.exp.map(|exp| Cow::Owned(exp.to_string())),
            ClaimPath::Nbf => self.nbf.map(|nbf| Cow::Owned(nbf.to_string())),
            ClaimPath::Jti => text(self.jti.as_deref()),
            ClaimPath::Iss => text(self.iss.as_deref()),
            ClaimPath::UserId => integer(Some(self.user_id)),
            ClaimPath::ClientId => integer(Some(self.client_id)),
            ClaimPath::TokenId => integer(self.token_id),
            ClaimPath::IssuedByUserId => integer(issued_by.and_then(|issuer| issuer.user_id)),
            ClaimPath::IssuedByUserType => text(issued_by.and_then(|issuer| issuer.user_type.as_deref())),
            ClaimPath::TokenType => Some(Cow::Borrowed(self.token_type.name())),
            ClaimPath::UserType => text(self.user_type.as_deref()),
            ClaimPath::UserGroups => list(self.user_groups.as_deref())?,
            ClaimPath::Role => text(role.and_then(|role| role.role.as_deref())),
            ClaimPath::RoleReadOnly => boolean(role.and_then(|role| role.read_only)),
            ClaimPath::RoleFederations => integers(role.and_then(|role| role.federations.as_deref())),
            ClaimPath::RoleAlias => text(role.and_then(|role| role.alias.as_deref())),
            ClaimPath::RoleResellersWl => integers(role.and_then(|role| role.resellers_wl.as_deref())),
            ClaimPath::RoleResellersBl => integers(role.and_then(|role| role.resellers_bl.as_deref())),
            ClaimPath::Email => text(self.email.as_deref()),
            ClaimPath::Username => text(self.username.as_deref()),
            ClaimPath::SsoEntity => text(self.sso_entity.as_deref()),
            ClaimPath::IsAdmin => boolean(self.is_admin),
            ClaimPath::ClientName => text(self.client_name.as_deref()),
            ClaimPath::FederationId => integer(self.federation_id),
        };
        match value {
            // Outer blanks are no part of a header's value (RFC 9110 section 5.5): it would reach the upstream changed.
            Some(value) if value.bytes().any(|byte| byte.is_ascii_control()) || value.trim_matches(' ') != value => {
                Err(NotAHeaderValue(path))
            }
            value => Ok(value),
        }
    }
}

fn text(value: Option<&str>) -> Option<Cow<'_, str>> {
    value.map(Cow::Borrowed)
}

fn integer(value: Option<i64>) -> Option<Cow<'static, str>> {
    value.map(|value| Cow::Owned(value.to_string()))
}

fn boolean(value: Option<bool>) -> Option<Cow<'static, str>> {
    value.map(|value| Cow::Borrowed(if value { "true" } else { "false" }))
}

fn integers(values: Option<&[i64]>) -> Option<Cow<'static, str>> {
    values.map(|values| Cow::Owned(values.iter().map(i64::to_string).collect::<Vec<_>>().join(",")))
}

fn list(values: Option<&[Box<str>]>) -> Result<Option<Cow<'static, str>>, NotAHeaderValue> {
    let Some(values) = values else { return Ok(None) };
    // A group named "a,admin" must not become two, and one named " admin" must not become "admin".
    if values.iter().any(|value| value.contains(',') || value.trim_matches(' ') != &**value) {
        return Err(NotAHeaderValue(ClaimPath::UserGroups));
    }
    Ok(Some(Cow::Owned(values.join(","))))
}
