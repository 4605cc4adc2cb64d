//! Claims as the cache stores them: the values in a fixed order, without names, which would take nearly half the space.

use super::{Audience, Claims, IssuedBy, RoleParams, Scalar, TokenType};

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
        match aud {
            Some(Audience::One(audience)) => to.text(Some(audience)),
            Some(Audience::Many(_)) | None => to.text(None),
        }
        to.texts(if let Some(Audience::Many(audiences)) = aud { Some(audiences) } else { None });
        to.flag(sso_entity.as_ref().map(Option::is_some));
        to.text(sso_entity.as_ref().and_then(|entity| entity.as_deref()));
        to.flag(issued_by.as_ref().map(|_| true));
        if let Some(IssuedBy { user_id, user_type }) = issued_by {
            to.integer(*user_id);
            to.text(user_type.as_deref());
        }
        to.flag(role_params.as_ref().map(|_| true));
        if let Some(RoleParams { role, read_only, federations, alias, resellers_wl, resellers_bl }) = role_params {
            [role, alias].into_iter().for_each(|text| to.text(text.as_deref()));
            to.flag(*read_only);
            [federations, resellers_wl, resellers_bl].into_iter().for_each(|list| to.integers(list.as_deref()));
        }
        to.length(kept.len());
        for value in kept {
            let (text, number, flag) = match value {
                None => (None, None, None),
                Some(Scalar::Text(text)) => (Some(&**text), None, None),
                Some(Scalar::Number(number)) => (None, Some(*number), None),
                Some(Scalar::Flag(flag)) => (None, None, Some(*flag)),
            };
            to.text(text);
            to.integer(number);
            to.flag(flag);
        }
        to.0
    }

    /// Reads what [`Self::record`] wrote. The claims were checked before they were written, so
    /// this checks less than [`Self::from_json`]: an `exp` may be missing, as in an answer by headers.
    pub(crate) fn recall(record: &[u8]) -> Option<Self> {
        let mut from = Taker(record);
        let mut claims = Self::from_answer_headers(TokenType::Unknown, 0, 0, None, None, None);
        for time in [&mut claims.exp, &mut claims.nbf, &mut claims.iat] {
            *time = from.integer()?.map(i64::cast_unsigned);
        }
        (claims.user_id, claims.client_id) = (from.integer()??, from.integer()??);
        (claims.token_id, claims.federation_id) = (from.integer()?, from.integer()?);
        let Self { jti, iss, sub, user_type, email, username, client_name, .. } = &mut claims;
        for text in [jti, iss, sub, user_type, email, username, client_name] {
            *text = from.string()?;
        }
        claims.is_admin = from.flag()?;
        claims.token_type = TokenType::from_name(from.text()??).unwrap_or(TokenType::Unknown);
        claims.user_groups = from.texts()?;
        let (one, many) = (from.string()?, from.texts()?);
        claims.aud = one.map(Audience::One).or(many.map(Audience::Many));
        let (has_entity, entity) = (from.flag()?, from.string()?);
        claims.sso_entity = has_entity.map(|_| entity);
        if from.flag()?.is_some() {
            claims.issued_by = Some(IssuedBy { user_id: from.integer()?, user_type: from.string()? });
        }
        if from.flag()?.is_some() {
            let (role, alias, read_only) = (from.string()?, from.string()?, from.flag()?);
            let (federations, resellers_wl, resellers_bl) = (from.integers()?, from.integers()?, from.integers()?);
            claims.role_params = Some(RoleParams { role, read_only, federations, alias, resellers_wl, resellers_bl });
        }
        let mut kept = Vec::new();
        for _ in 0..from.count()? {
            let (text, number, flag) = (from.string()?, from.integer()?, from.flag()?);
            kept.push(text.map(Scalar::Text).or(number.map(Scalar::Number)).or(flag.map(Scalar::Flag)));
        }
        claims.kept = kept.into();
        from.0.is_empty().then_some(claims)
    }
}

/// Values one after the other. Before each stands a length, or 0 for one that is absent.
struct Writer(Vec<u8>);

impl Writer {
    /// A length in base 128, the lowest digits first; the high bit says that more follow.
    fn length(&mut self, mut length: usize) {
        while length > 0x7f {
            self.0.push(0x80 | (length & 0x7f) as u8);
            length >>= 7;
        }
        self.0.push((length & 0x7f) as u8);
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
}

/// What is left of a record. Each method takes a value; `None`: it isn't there.
struct Taker<'r>(&'r [u8]);

#[expect(clippy::option_option, reason = "the outer one says whether it could be read")]
impl<'r> Taker<'r> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn take(&mut self, count: usize) -> Option<&'r [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn count(&mut self) -> Option<usize> {
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(length);
            }
            shift += 7;
        }
    }

    fn length(&mut self) -> Option<Option<usize>> {
        Some(self.count()?.checked_sub(1))
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
        let written = self.take(usize::from(form / 2))?;
        bytes.get_mut(..written.len())?.copy_from_slice(written);
        Some(Some(i64::from_le_bytes(bytes)))
    }

    fn text(&mut self) -> Option<Option<&'r str>> {
        match self.length()? {
            None => Some(None),
            Some(length) => str::from_utf8(self.take(length)?).ok().map(Some),
        }
    }

    fn string(&mut self) -> Option<Option<Box<str>>> {
        Some(self.text()?.map(Into::into))
    }

    fn texts(&mut self) -> Option<Option<Box<[Box<str>]>>> {
        let Some(count) = self.length()? else { return Some(None) };
        let texts: Option<_> = (0..count).map(|_| self.string()?).collect();
        texts.map(Some)
    }

    fn integers(&mut self) -> Option<Option<Box<[i64]>>> {
        let Some(count) = self.length()? else { return Some(None) };
        let numbers: Option<_> = (0..count).map(|_| self.integer()?).collect();
        numbers.map(Some)
    }
}
