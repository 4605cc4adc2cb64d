//! Claims as the cache stores them: the values in a fixed order, without names, which would take nearly half the space.

use super::{Audience, Claims, IssuedBy, RoleParams, Scalar, TokenType};
use crate::table::{Bytes, write_varint};

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
        let mut to = Writer(Vec::with_capacity(256));
        [exp, nbf, iat].into_iter().for_each(|time| to.integer(time.map(u64::cast_signed)));
        [Some(*user_id), Some(*client_id), *token_id, *federation_id].into_iter().for_each(|id| to.integer(id));
        [jti, iss, sub, user_type, email, username, client_name].into_iter().for_each(|text| to.text(text.as_deref()));
        to.flag(*is_admin);
        to.text(Some(token_type.name()));
        to.texts(user_groups.as_deref());
        to.audience(aud.as_ref());
        to.flag(sso_entity.as_ref().map(Option::is_some));
        to.text(sso_entity.as_ref().and_then(|entity| entity.as_deref()));
        to.issued_by(issued_by.as_ref());
        to.role_params(role_params.as_ref());
        to.length(kept.len());
        kept.iter().for_each(|value| to.value(value.as_ref()));
        to.0
    }

    /// Reads what [`Self::record`] wrote. The claims were checked before they were written, so
    /// this checks less than [`Self::from_json`]: an `exp` may be missing, as in an answer by headers.
    pub(crate) fn recall(record: &[u8]) -> Option<Self> {
        let mut from = Taker(Bytes(record));
        let [exp, nbf, iat, user_id, client_id, token_id, federation_id] = from.array(Taker::integer)?;
        let [jti, iss, sub, user_type, email, username, client_name] = from.array(Taker::string)?;
        let is_admin = from.flag()?;
        let token_type = TokenType::from_name(from.text()??).unwrap_or(TokenType::Unknown);
        let user_groups = from.texts()?;
        let (one, many) = (from.string()?, from.texts()?);
        let (has_entity, entity) = (from.flag()?, from.string()?);
        let (issued_by, role_params) = (from.issued_by()?, from.role_params()?);
        let kept: Option<_> = (0..from.length()?).map(|_| from.value()).collect();
        let claims = Self {
            exp: exp.map(i64::cast_unsigned),
            nbf: nbf.map(i64::cast_unsigned),
            iat: iat.map(i64::cast_unsigned),
            jti,
            iss,
            sub,
            aud: one.map(Audience::One).or(many.map(Audience::Many)),
            user_id: user_id?,
            client_id: client_id?,
            token_id,
            token_type,
            user_type,
            user_groups,
            email,
            username,
            sso_entity: has_entity.map(|_| entity),
            is_admin,
            client_name,
            federation_id,
            issued_by,
            role_params,
            kept: kept?,
        };
        from.0.0.is_empty().then_some(claims)
    }
}

/// Values one after the other. A text, a list and a number begin with what tells their length, or with 0 if they are
/// absent; a flag is one byte.
struct Writer(Vec<u8>);

impl Writer {
    fn length(&mut self, length: usize) {
        write_varint(&mut self.0, length as u64);
    }

    fn flag(&mut self, flag: Option<bool>) {
        self.0.push(flag.map_or(0, |flag| 1 + u8::from(flag)));
    }

    fn integer(&mut self, number: Option<i64>) {
        let Some(number) = number else { return self.0.push(0) };
        let bytes = number.to_le_bytes();
        // The higher bytes are left out if the sign tells them.
        let sign = if number < 0 { 0xff } else { 0 };
        let count = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == sign).count();
        self.0.push(count as u8 * 2 + 1 + u8::from(number < 0));
        self.0.extend(bytes.iter().take(count));
    }

    fn text(&mut self, text: Option<&str>) {
        self.length(text.map_or(0, |text| text.len() + 1));
        self.0.extend_from_slice(text.unwrap_or_default().as_bytes());
    }

    fn texts(&mut self, texts: Option<&[Box<str>]>) {
        self.length(texts.map_or(0, |texts| texts.len() + 1));
        texts.unwrap_or_default().iter().for_each(|text| self.text(Some(text)));
    }

    fn integers(&mut self, numbers: Option<&[i64]>) {
        self.length(numbers.map_or(0, |numbers| numbers.len() + 1));
        numbers.unwrap_or_default().iter().for_each(|number| self.integer(Some(*number)));
    }

    fn audience(&mut self, audience: Option<&Audience>) {
        let (one, many) = match audience {
            None => (None, None),
            Some(Audience::One(audience)) => (Some(&**audience), None),
            Some(Audience::Many(audiences)) => (None, Some(&**audiences)),
        };
        self.text(one);
        self.texts(many);
    }

    fn issued_by(&mut self, issuer: Option<&IssuedBy>) {
        self.flag(issuer.map(|_| true));
        if let Some(IssuedBy { user_id, user_type }) = issuer {
            self.integer(*user_id);
            self.text(user_type.as_deref());
        }
    }

    fn role_params(&mut self, role_params: Option<&RoleParams>) {
        self.flag(role_params.map(|_| true));
        if let Some(RoleParams { role, read_only, federations, alias, resellers_wl, resellers_bl }) = role_params {
            [role, alias].into_iter().for_each(|text| self.text(text.as_deref()));
            self.flag(*read_only);
            [federations, resellers_wl, resellers_bl].into_iter().for_each(|list| self.integers(list.as_deref()));
        }
    }

    /// A value of any type, after a byte that says which.
    fn value(&mut self, value: Option<&Scalar>) {
        match value {
            None => self.0.push(0),
            Some(Scalar::Text(text)) => {
                self.0.push(1);
                self.text(Some(text));
            }
            Some(Scalar::Number(number)) => {
                self.0.push(2);
                self.integer(Some(*number));
            }
            Some(Scalar::Flag(flag)) => {
                self.0.push(3);
                self.flag(Some(*flag));
            }
        }
    }
}

/// What is left of a record. Each method takes a value; `None`: it isn't there.
struct Taker<'r>(Bytes<'r>);

#[expect(clippy::option_option, reason = "the outer one says whether it could be read")]
impl<'r> Taker<'r> {
    /// Values of one type, each of them absent or not.
    fn array<T, const N: usize>(&mut self, take: impl Fn(&mut Self) -> Option<Option<T>>) -> Option<[Option<T>; N]> {
        let mut values = [const { None }; N];
        for value in &mut values {
            *value = take(self)?;
        }
        Some(values)
    }

    fn byte(&mut self) -> Option<u8> {
        let [byte] = self.0.bytes()?;
        Some(byte)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.0.varint()?).ok()
    }

    /// The length of what may be absent.
    fn optional_length(&mut self) -> Option<Option<usize>> {
        Some(self.length()?.checked_sub(1))
    }

    fn flag(&mut self) -> Option<Option<bool>> {
        match self.byte()? {
            0 => Some(None),
            1 => Some(Some(false)),
            2 => Some(Some(true)),
            _ => None,
        }
    }

    fn integer(&mut self) -> Option<Option<i64>> {
        let Some(form) = self.byte()?.checked_sub(1) else { return Some(None) };
        let mut bytes = [if form % 2 == 1 { 0xff } else { 0 }; 8];
        let written = self.0.take(usize::from(form / 2))?;
        bytes.get_mut(..written.len())?.copy_from_slice(written);
        Some(Some(i64::from_le_bytes(bytes)))
    }

    fn text(&mut self) -> Option<Option<&'r str>> {
        match self.optional_length()? {
            None => Some(None),
            Some(length) => str::from_utf8(self.0.take(length)?).ok().map(Some),
        }
    }

    fn string(&mut self) -> Option<Option<Box<str>>> {
        Some(self.text()?.map(Into::into))
    }

    fn texts(&mut self) -> Option<Option<Box<[Box<str>]>>> {
        let Some(count) = self.optional_length()? else { return Some(None) };
        let texts: Option<_> = (0..count).map(|_| self.string()?).collect();
        texts.map(Some)
    }

    fn integers(&mut self) -> Option<Option<Box<[i64]>>> {
        let Some(count) = self.optional_length()? else { return Some(None) };
        let numbers: Option<_> = (0..count).map(|_| self.integer()?).collect();
        numbers.map(Some)
    }

    fn issued_by(&mut self) -> Option<Option<IssuedBy>> {
        let Some(_) = self.flag()? else { return Some(None) };
        Some(Some(IssuedBy { user_id: self.integer()?, user_type: self.string()? }))
    }

    fn role_params(&mut self) -> Option<Option<RoleParams>> {
        let Some(_) = self.flag()? else { return Some(None) };
        let [role, alias] = self.array(Self::string)?;
        let read_only = self.flag()?;
        let [federations, resellers_wl, resellers_bl] = self.array(Self::integers)?;
        Some(Some(RoleParams { role, read_only, federations, alias, resellers_wl, resellers_bl }))
    }

    fn value(&mut self) -> Option<Option<Scalar>> {
        Some(match self.byte()? {
            0 => None,
            1 => Some(Scalar::Text(self.string()??)),
            2 => Some(Scalar::Number(self.integer()??)),
            3 => Some(Scalar::Flag(self.flag()??)),
            _ => return None,
        })
    }
}
