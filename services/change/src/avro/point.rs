//! `point` ⇄ Debezium's `Point`: both coordinates, and the same again as well-known binary.

use super::wire::{self, DecodeError, Reader};

const WKB_BYTES: usize = 1 + 4 + 8 + 8;
const LITTLE_ENDIAN: u8 = 1;
const WKB_POINT: u32 = 1;
/// The fields of the record, in order.
pub(super) const FIELDS: [&str; 4] = ["x", "y", "wkb", "srid"];

/// Appends the record.
pub fn write(out: &mut Vec<u8>, x: f64, y: f64) {
    wire::double(out, x);
    wire::double(out, y);
    out.push(wire::SOME);
    wire::long(out, WKB_BYTES as i64);
    out.push(LITTLE_ENDIAN);
    out.extend_from_slice(&WKB_POINT.to_le_bytes());
    out.extend_from_slice(&x.to_le_bytes());
    out.extend_from_slice(&y.to_le_bytes());
    out.push(wire::NULL);
}

/// The coordinates of `(1.5,-2e+20)`.
pub fn of_text(text: &[u8]) -> Option<(f64, f64)> {
    let inner = std::str::from_utf8(text).ok()?.strip_prefix('(')?.strip_suffix(')')?;
    let (x, y) = inner.split_once(',')?;
    Some((x.parse().ok()?, y.parse().ok()?))
}

/// Reads the record as `(x,y)`.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let (x, y) = (reader.double()?, reader.double()?);
    if reader.index()? == 1 {
        reader.bytes()?;
    }
    if reader.index()? == 1 {
        reader.int()?;
    }
    Ok(format!("({},{})", text_of(x), text_of(y)))
}

/// As the server reads numbers, too.
fn text_of(coordinate: f64) -> String {
    if coordinate.is_infinite() {
        return if coordinate > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    format!("{coordinate:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_come_back() {
        for (text, want) in [
            ("(1,2)", "(1.0,2.0)"),
            ("(-0,1e+300)", "(-0.0,1e300)"),
            ("(Infinity,-Infinity)", "(Infinity,-Infinity)"),
            ("(NaN,5e-324)", "(NaN,5e-324)"),
        ] {
            let (x, y) = of_text(text.as_bytes()).expect("a point");
            let mut out = Vec::new();
            write(&mut out, x, y);
            let mut reader = Reader::new(&out);
            assert_eq!(read(&mut reader).as_deref(), Ok(want), "{text}");
            assert_eq!(reader.finish(), Ok(()));
        }
        for text in ["", "(1)", "1,2", "(1,2", "(a,2)"] {
            assert_eq!(of_text(text.as_bytes()), None, "{text}");
        }
    }
}
