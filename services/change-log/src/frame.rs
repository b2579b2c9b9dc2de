//! The Confluent wire format: a zero byte, the schema id as four big-endian bytes, the Avro datum.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

/// Bytes before the datum.
pub const HEADER_BYTES: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("shorter than the {HEADER_BYTES} bytes of the Confluent wire format")]
    Short,
    #[error("does not start with the zero byte of the Confluent wire format")]
    Foreign,
}

/// A whole frame.
pub fn wrap(schema_id: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER_BYTES + body.len());
    start(schema_id, &mut frame);
    frame.extend_from_slice(body);
    frame
}

/// Appends the frame's header; the datum follows.
pub fn start(schema_id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&schema_id.to_be_bytes());
}

/// The schema id and the datum.
pub fn unwrap(frame: &[u8]) -> Result<(u32, &[u8]), FrameError> {
    let (header, body) = frame.split_first_chunk::<HEADER_BYTES>().ok_or(FrameError::Short)?;
    let [0, id @ ..] = header else { return Err(FrameError::Foreign) };
    Ok((u32::from_be_bytes(*id), body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_confluents() {
        assert_eq!(wrap(258, b"datum"), b"\0\0\0\x01\x02datum");
        assert_eq!(unwrap(b"\0\0\0\x01\x02datum"), Ok((258, &b"datum"[..])));
        assert_eq!(unwrap(b"\0\0\0\x01"), Err(FrameError::Short));
        assert_eq!(unwrap(b"{\"a\":1}"), Err(FrameError::Foreign));
    }
}
