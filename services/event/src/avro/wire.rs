//! Avro's binary encoding: the few primitives that our schemas use.

use super::DecodeError;

pub fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7F).unwrap_or_default() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or_default());
}

pub fn boolean(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

pub fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    long(out, i64::try_from(value.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(value);
}

pub fn string(out: &mut Vec<u8>, value: &str) {
    bytes(out, value.as_bytes());
}

/// `["null", T]`.
pub fn optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        None => long(out, 0),
        Some(value) => {
            long(out, 1);
            write(out, value);
        }
    }
}

pub fn optional_string(out: &mut Vec<u8>, value: Option<&String>) {
    optional(out, value, |out, text| string(out, text));
}

pub fn optional_long(out: &mut Vec<u8>, value: Option<i64>) {
    optional(out, value, long);
}

pub fn optional_int(out: &mut Vec<u8>, value: Option<i32>) {
    optional(out, value, |out, value| long(out, i64::from(value)));
}

/// What is left of a datum. Lengths are checked against it before anything is allocated.
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

    pub fn unsigned(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.long()?).map_err(|_| DecodeError::Malformed("count"))
    }

    pub fn boolean(&mut self) -> Result<bool, DecodeError> {
        let [byte, rest @ ..] = self.rest else { return Err(DecodeError::Truncated) };
        self.rest = rest;
        match byte {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Malformed("boolean")),
        }
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.long()?).map_err(|_| DecodeError::Malformed("length"))?;
        let (value, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(value)
    }

    pub fn string(&mut self) -> Result<String, DecodeError> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Malformed("text"))?;
        Ok(text.to_owned())
    }

    /// The text parsed by whatever the field holds.
    pub fn parsed<T>(&mut self, field: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, DecodeError> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Malformed(field))?;
        parse(text).ok_or(DecodeError::Malformed(field))
    }

    /// An enum's symbol.
    pub fn symbol<T: Copy>(&mut self, field: &'static str, symbols: &[T]) -> Result<T, DecodeError> {
        let index = usize::try_from(self.long()?).map_err(|_| DecodeError::Malformed(field))?;
        symbols.get(index).copied().ok_or(DecodeError::Malformed(field))
    }

    pub fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.long()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(DecodeError::Malformed("union")),
        }
    }

    pub fn optional_string(&mut self) -> Result<Option<String>, DecodeError> {
        self.optional(Self::string)
    }

    pub fn optional_long(&mut self) -> Result<Option<i64>, DecodeError> {
        self.optional(Self::long)
    }

    pub fn optional_int(&mut self) -> Result<Option<i32>, DecodeError> {
        self.optional(Self::int)
    }

    /// The blocks of an array, entry by entry.
    pub fn blocks(
        &mut self,
        max: usize,
        mut entry: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let mut left = max;
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // The block's size in bytes, which nothing here needs.
                self.long()?;
            }
            let count = usize::try_from(count.unsigned_abs()).map_err(|_| DecodeError::Malformed("list"))?;
            left = left.checked_sub(count).ok_or(DecodeError::Malformed("list"))?;
            for _ in 0..count {
                entry(self)?;
            }
        }
    }
}
