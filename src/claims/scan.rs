//! Reads a claim set in one pass, because every new JWT needs it.

use super::{Audience, Claims, IssuedBy, RoleParams, TokenType};
use crate::json::Reader;

/// Reads a claim set without checking the range of its times.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Claims> {
    let mut found = Found { user_id: None, client_id: None, token_type: None, claims: Claims::empty() };
    reader.object(&mut |reader, name| found.member(reader, name))?;
    let Found { user_id, client_id, token_type, mut claims } = found;
    claims.user_id = reader.required(user_id, "missing field `user_id`")?;
    claims.client_id = reader.required(client_id, "missing field `client_id`")?;
    claims.token_type = reader.required(token_type, "missing field `token_type`")?;
    Some(claims)
}

/// What was found so far; for each claim that every token must have, `None` until it is found.
struct Found {
    user_id: Option<i64>,
    client_id: Option<i64>,
    token_type: Option<TokenType>,
    claims: Claims,
}

impl Found {
    /// Reads the value of one claim.
    fn member(&mut self, reader: &mut Reader<'_>, name: &str) -> Option<()> {
        let claims = &mut self.claims;
        match name {
            "exp" => claims.exp = Some(reader.time()?),
            "nbf" => claims.nbf = Some(reader.time()?),
            "iat" => claims.iat = Some(reader.time()?),
            "jti" => claims.jti = Some(reader.string()?),
            "iss" => claims.iss = Some(reader.string()?),
            "sub" => claims.sub = Some(reader.string()?),
            "aud" if reader.peek() == Some(b'[') => claims.aud = Some(Audience::Many(reader.strings()?)),
            "aud" => claims.aud = Some(Audience::One(reader.string()?)),
            "user_id" => self.user_id = Some(reader.integer()?),
            "client_id" => self.client_id = Some(reader.integer()?),
            "token_id" => claims.token_id = reader.or_null(Reader::integer)?,
            "issued_by" => claims.issued_by = reader.or_null(issued_by)?,
            "token_type" => {
                self.token_type = Some(token_type(reader)?);
            }
            "user_type" => claims.user_type = reader.or_null(Reader::string)?,
            "user_groups" => claims.user_groups = reader.or_null(Reader::strings)?,
            "role_params" => claims.role_params = reader.or_null(role_params)?,
            "email" => claims.email = reader.or_null(Reader::string)?,
            "username" => claims.username = reader.or_null(Reader::string)?,
            "sso_entity" => claims.sso_entity = Some(reader.or_null(Reader::string)?),
            "is_admin" => claims.is_admin = reader.or_null(Reader::flag)?,
            "client_name" => claims.client_name = reader.or_null(Reader::string)?,
            "federation_id" => claims.federation_id = reader.or_null(Reader::integer)?,
            _ => reader.skip()?,
        }
        Some(())
    }
}

fn issued_by(reader: &mut Reader<'_>) -> Option<IssuedBy> {
    let mut found = IssuedBy::default();
    reader.object(&mut |reader, name| {
        match name {
            "user_id" => found.user_id = reader.or_null(Reader::integer)?,
            "user_type" => found.user_type = reader.or_null(Reader::string)?,
            _ => reader.skip()?,
        }
        Some(())
    })?;
    Some(found)
}

fn role_params(reader: &mut Reader<'_>) -> Option<RoleParams> {
    let mut found = RoleParams::default();
    reader.object(&mut |reader, name| {
        match name {
            "role" => found.role = reader.or_null(Reader::string)?,
            "read_only" => found.read_only = reader.or_null(Reader::flag)?,
            "federations" => found.federations = reader.or_null(Reader::integers)?,
            "alias" => found.alias = reader.or_null(Reader::string)?,
            "resellers_wl" => found.resellers_wl = reader.or_null(Reader::integers)?,
            "resellers_bl" => found.resellers_bl = reader.or_null(Reader::integers)?,
            _ => reader.skip()?,
        }
        Some(())
    })?;
    Some(found)
}

/// The type, where any string is allowed.
fn token_type(reader: &mut Reader<'_>) -> Option<TokenType> {
    let known = match reader.plain() {
        Some(name) => TokenType::from_name(name),
        None => TokenType::from_name(&reader.string()?),
    };
    Some(known.unwrap_or(TokenType::Unknown))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::everything;
    use super::*;
    use crate::json;

    /// Reads the text, and the same text with an escape in each key and each string.
    fn is_read(claims: &Value) -> bool {
        let text = claims.to_string();
        let escaped = text.replace("e", "\\u0065").replace("tru\\u0065", "true").replace("fals\\u0065", "false");
        let read = |text: &str| json::parse(text.as_bytes(), read);
        let claims = read(&text);
        assert_eq!(read(&escaped), claims, "{text}");
        claims.is_ok()
    }

    #[test]
    fn the_usual_claim_sets_are_read() {
        let least = json!({"user_id": -1, "client_id": 0, "token_type": "other"});
        let mut more = everything();
        more["aud"] = json!("one");
        more["x"] = json!({"a": [1, {"b": [null, true, false, "c"]}], "d": {}, "żółć": "\u{1f600}\u{7f}"});
        for claims in [everything(), least, more] {
            assert!(is_read(&claims), "{claims}");
            let pretty = serde_json::to_string_pretty(&claims).unwrap();
            assert!(json::parse(pretty.as_bytes(), read).is_ok(), "{claims}");
        }
        let nulls = everything().as_object().unwrap().clone().into_iter().map(|(name, value)| {
            let never_null = ["exp", "nbf", "iat", "jti", "iss", "sub", "aud", "user_id", "client_id", "token_type"];
            (name.clone(), if never_null.contains(&&*name) { value } else { Value::Null })
        });
        assert!(is_read(&Value::Object(nulls.collect())));
    }

    #[test]
    fn messages_say_what_is_missing_and_where_a_type_is_wrong() {
        for (text, told) in [
            ("{\"client_id\":1}", "missing field `user_id` at line 1, column 16"),
            ("{\"user_id\":1,\n\"client_id\":1 }", "missing field `token_type` at line 2, column 16"),
            ("{\"user_id\":1.5}", "a value has the wrong type at line 1, column 12"),
            ("{\"user_id\": \"s\"}", "a value has the wrong type at line 1, column 13"),
            ("{\"user_id\": {}}", "a value has the wrong type at line 1, column 13"),
            ("{\"user_id\":null}", "a value has the wrong type at line 1, column 12"),
            ("{\"exp\":-1}", "a value has the wrong type at line 1, column 8"),
            ("{\"user_groups\":[\"a\",1]}", "a value has the wrong type at line 1, column 21"),
            ("{\"role_params\":[]}", "a value has the wrong type at line 1, column 16"),
            ("{\"user_id\":null,\"x\":1,\"x\":2}", "a value has the wrong type at line 1, column 12"),
        ] {
            assert_eq!(json::parse(text.as_bytes(), read).unwrap_err().to_string(), told, "{text}");
        }
    }
}
