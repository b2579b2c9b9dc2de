//! Avro's binary encoding: primitives appended to a buffer, and read from a slice.

/// Not a datum of the schema. Names the part, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the datum ends too early")]
    Truncated,
    #[error("bytes follow the datum")]
    Trailing,
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// Right as its writer's schema has it, and of a later version than ours: nothing is wrong with it.
    #[error("{0} that this version does not know")]
    Newer(&'static str),
}

/// The index of `T` in the union `["null", T]`.
pub const SOME: u8 = 2;
pub const NULL: u8 = 0;

#[inline]
pub fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[inline]
pub fn boolean(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

#[inline]
pub fn float(out: &mut Vec<u8>, value: f32) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[inline]
pub fn double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[inline]
pub fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    long(out, value.len() as i64);
    out.extend_from_slice(value);
}

#[inline]
pub fn string(out: &mut Vec<u8>, value: &str) {
    bytes(out, value.as_bytes());
}

/// `["null", "long"]`.
#[inline]
pub fn optional_long(out: &mut Vec<u8>, value: Option<i64>) {
    match value {
        None => out.push(NULL),
        Some(value) => {
            out.push(SOME);
            long(out, value);
        }
    }
}

/// What is left of a datum. Lengths are checked against it before anything is allocated.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub const fn new(datum: &'a [u8]) -> Self {
        Self { rest: datum }
    }

    /// Ends the datum: nothing may follow it.
    pub const fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }

    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte, rest @ ..] = self.rest else { return Err(DecodeError::Truncated) };
            self.rest = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
            }
        }
        Err(DecodeError::Malformed("integer"))
    }

    pub fn int(&mut self) -> Result<i32, DecodeError> {
        i32::try_from(self.long()?).map_err(|_| DecodeError::Malformed("int"))
    }

    pub fn index(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.long()?).map_err(|_| DecodeError::Malformed("index"))
    }

    pub fn boolean(&mut self) -> Result<bool, DecodeError> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(DecodeError::Malformed("boolean")),
        }
    }

    pub fn float(&mut self) -> Result<f32, DecodeError> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(f32::from_le_bytes(*value))
    }

    pub fn double(&mut self) -> Result<f64, DecodeError> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(f64::from_le_bytes(*value))
    }

    #[inline]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (value, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(value)
    }

    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.long()?).map_err(|_| DecodeError::Malformed("length"))?;
        self.take(length)
    }

    #[inline]
    pub fn string(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Malformed("text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_come_back(value: i64) {
            let mut out = Vec::new();
            long(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.long(), Ok(value));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_refused_or_read_but_never_panic(datum: Vec<u8>) {
            let mut reader = Reader::new(&datum);
            while reader.string().is_ok() && reader.left() > 0 {}
        }
    }
}
