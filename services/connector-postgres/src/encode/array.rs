//! One-dimensional arrays: `{1,NULL,"a \"b\""}`.

use super::text;
use change::{
    ColumnType,
    avro::{value::ELEMENTS_MAX, wire},
};

/// False for what an Avro array cannot hold: several dimensions, or a lower bound of its own.
pub fn write(out: &mut Vec<u8>, element: &ColumnType, text: &[u8]) -> bool {
    let [b'{', inner @ .., b'}'] = text else { return false };
    if inner.is_empty() {
        out.push(0);
        return true;
    }
    let Some(count) = count(inner) else { return false };
    wire::long(out, count);
    let mut scratch = Vec::new();
    let (mut rest, mut written) = (inner, 0);
    loop {
        let Some((next, quoted)) = element_of(rest, &mut scratch) else { return false };
        if !quoted && scratch == b"NULL" {
            out.push(wire::NULL);
        } else {
            out.push(wire::SOME);
            if !text::write(out, element, &scratch) {
                return false;
            }
        }
        written += 1;
        match next {
            [] => break,
            [b',', next @ ..] => rest = next,
            _ => return false,
        }
    }
    out.push(0);
    // A quote inside of an element without quotes is no array of the server's.
    written == count
}

/// How many elements; `None` for more than one dimension.
fn count(inner: &[u8]) -> Option<i64> {
    let (mut commas, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in inner {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'}' if !quoted => return None,
            b',' if !quoted => commas += 1,
            _ => {}
        }
    }
    (commas < ELEMENTS_MAX).then_some(commas as i64 + 1)
}

/// Unescapes the first element into `scratch`; the rest, and whether it was quoted.
fn element_of<'a>(text: &'a [u8], scratch: &mut Vec<u8>) -> Option<(&'a [u8], bool)> {
    scratch.clear();
    let (mut rest, quoted) = match text {
        [b'"', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    loop {
        match rest {
            [b'\\', byte, next @ ..] => {
                scratch.push(*byte);
                rest = next;
            }
            [b'"', next @ ..] if quoted => return Some((next, true)),
            [] | [b',', ..] if !quoted => return Some((rest, false)),
            [byte, next @ ..] => {
                scratch.push(*byte);
                rest = next;
            }
            [] => return None,
        }
    }
}
