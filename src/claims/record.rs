//! Claims as the cache stores them: their values in JSON, without their names, which would take nearly half the space.

use super::{Claims, IssuedBy, RoleParams, TokenType};

impl Claims {
    /// Writes a record for [`Self::recall`].
    pub(crate) fn record(&self) -> Vec<u8> {
        let Self {
            exp,
            nbf,
            iat,
            jti,
            iss,
            sub,
            aud,
            user_id,
            client_id,
            token_id,
            issued_by,
            token_type,
            user_type,
            user_groups,
            role_params,
            email,
            username,
            sso_entity,
            is_admin,
            client_name,
            federation_id,
            kept,
        } = self;
        let issued_by = issued_by.as_ref().map(|IssuedBy { user_id, user_type }| (user_id, user_type));
        let role_params = role_params.as_ref().map(
            |RoleParams { role, read_only, federations, alias, resellers_wl, resellers_bl }| {
                (role, read_only, federations, alias, resellers_wl, resellers_bl)
            },
        );
        let registered = (exp, nbf, iat, jti, iss, sub, aud);
        let ids = (user_id, client_id, token_id, federation_id);
        let types = (token_type.name(), user_type, user_groups, is_admin);
        // In an array, null differs from an absent claim.
        let sso_entity = sso_entity.as_ref().map(|entity| (entity,));
        let names = (email, username, sso_entity, client_name);
        // Serialising strings and numbers into memory can't fail; an empty record is unreadable.
        serde_json::to_vec(&(registered, ids, types, names, issued_by, role_params, kept)).unwrap_or_default()
    }

    /// Reads what [`Self::record`] wrote. The claims were checked before they were written, so
    /// this checks less than [`Self::from_json`]: an `exp` may be missing, as in an answer by headers.
    pub(crate) fn recall(record: &[u8]) -> Option<Self> {
        let (registered, ids, types, names, issued_by, role_params, kept) = serde_json::from_slice(record).ok()?;
        let (exp, nbf, iat, jti, iss, sub, aud) = registered;
        let (user_id, client_id, token_id, federation_id) = ids;
        let (token_type, user_type, user_groups, is_admin): (&str, _, _, _) = types;
        let (email, username, sso_entity, client_name) = names;
        let sso_entity: Option<(Option<Box<str>>,)> = sso_entity;
        let issued_by: Option<(_, _)> = issued_by;
        let role_params: Option<(_, _, _, _, _, _)> = role_params;
        Some(Self {
            exp,
            nbf,
            iat,
            jti,
            iss,
            sub,
            aud,
            user_id,
            client_id,
            token_id,
            issued_by: issued_by.map(|(user_id, user_type)| IssuedBy { user_id, user_type }),
            token_type: TokenType::from_name(token_type).unwrap_or(TokenType::Unknown),
            user_type,
            user_groups,
            role_params: role_params.map(|(role, read_only, federations, alias, resellers_wl, resellers_bl)| {
                RoleParams { role, read_only, federations, alias, resellers_wl, resellers_bl }
            }),
            email,
            username,
            sso_entity: sso_entity.map(|(entity,)| entity),
            is_admin,
            client_name,
            federation_id,
            kept,
        })
    }
}
