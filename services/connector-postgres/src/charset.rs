//! The database's own encoding: what its bytes are in UTF-8.
//!
//! # Why
//! A server that is asked for UTF-8 refuses a row for one byte that its tables do not know, and with the row the whole
//! stream, for ever. It never looks at such bytes when they are written, so real databases hold them. So rows come in the
//! database's own encoding, and are converted here, to the same characters that the server has for them. A value with bytes
//! that no character has is not guessed at: it is spelt, and stands beside its row.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use encoding_rs::{self as whatwg, Encoding};
use std::{borrow::Cow, fmt, fmt::Write as _, sync::Arc};

/// The first byte and the number of the bytes that are a part of a character of several.
const EUC_FIRST: u8 = 0xA1;
const EUC_ROW: usize = 94;
/// Before a half-width kana, and before a character of JIS X 0212.
const SINGLE_SHIFTS: [u8; 2] = [0x8E, 0x8F];
/// No text of a database holds it: it stands for a byte without a character.
const NONE: char = '\0';

/// What PostgreSQL calls an encoding, and the WHATWG's nearest. LATIN1 and LATIN5 have none of their own there.
const ENCODINGS: &[(&str, &Encoding)] = &[
    ("LATIN1", whatwg::WINDOWS_1252),
    ("LATIN2", whatwg::ISO_8859_2),
    ("LATIN3", whatwg::ISO_8859_3),
    ("LATIN4", whatwg::ISO_8859_4),
    ("LATIN5", whatwg::WINDOWS_1254),
    ("LATIN6", whatwg::ISO_8859_10),
    ("LATIN7", whatwg::ISO_8859_13),
    ("LATIN8", whatwg::ISO_8859_14),
    ("LATIN9", whatwg::ISO_8859_15),
    ("LATIN10", whatwg::ISO_8859_16),
    ("ISO_8859_5", whatwg::ISO_8859_5),
    ("ISO_8859_6", whatwg::ISO_8859_6),
    ("ISO_8859_7", whatwg::ISO_8859_7),
    ("ISO_8859_8", whatwg::ISO_8859_8),
    ("KOI8R", whatwg::KOI8_R),
    ("KOI8U", whatwg::KOI8_U),
    ("WIN866", whatwg::IBM866),
    ("WIN874", whatwg::WINDOWS_874),
    ("WIN1250", whatwg::WINDOWS_1250),
    ("WIN1251", whatwg::WINDOWS_1251),
    ("WIN1252", whatwg::WINDOWS_1252),
    ("WIN1253", whatwg::WINDOWS_1253),
    ("WIN1254", whatwg::WINDOWS_1254),
    ("WIN1255", whatwg::WINDOWS_1255),
    ("WIN1256", whatwg::WINDOWS_1256),
    ("WIN1257", whatwg::WINDOWS_1257),
    ("WIN1258", whatwg::WINDOWS_1258),
    ("EUC_CN", whatwg::GBK),
    ("EUC_JP", whatwg::EUC_JP),
    ("EUC_KR", whatwg::EUC_KR),
];

/// Where PostgreSQL has another character than the WHATWG, or one of the two has none.
const DIFFERENCES: &[(&str, &[u8], char)] = &[
    ("KOI8U", b"\xAE", '\u{255D}'),
    ("KOI8U", b"\xBE", '\u{256C}'),
    ("WIN1255", b"\xCA", NONE),
    ("EUC_CN", b"\xA1\xA4", '\u{30FB}'),
    ("EUC_CN", b"\xA1\xAA", '\u{2015}'),
    ("EUC_KR", b"\xA2\xE8", '\u{327E}'),
    ("EUC_JP", b"\x8F\xA2\xC3", '\u{FFE4}'),
];
/// IBM's additions to JIS X 0212, which the WHATWG leaves out: from 8F F3 F3 to 8F F4 FE.
const IBM_BEGINS: usize = (0xF3 - 0xA1) * EUC_ROW + (0xF3 - 0xA1);
const IBM: &str = "ⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ＇＂㈱№℡炻仼僴凬匇匤﨎咊坙﨏塚增寬峵嵓﨑德悅愠敎昻晥晴朗栁﨓﨔橫櫢淸淲瀨凞猪甁皂皞益礰礼神祥福竧靖精綠緖羽荢﨟薰蘒﨡蠇諸譿賴赶﨣﨤逸郞都鄕﨧﨨閒隆﨩霻靍靑飯飼館馞髙魲鶴黑";

/// The encoding in which a database's rows come.
#[derive(Clone, Default)]
pub enum Charset {
    #[default]
    Utf8,
    /// One that is not known here: the server converts, and refuses what it cannot.
    Servers,
    /// SQL_ASCII: the server takes bytes as they come. Those that are UTF-8 are text.
    Undeclared,
    Known(Arc<Table>),
}

/// The characters of an encoding.
pub struct Table {
    name: &'static str,
    /// Of the bytes from 80.
    one: Vec<char>,
    /// Of two bytes from A1, and a further row of those behind 8E; of an encoding of single bytes, none.
    two: Vec<char>,
    /// Of two bytes from A1 behind 8F.
    three: Vec<char>,
}

impl fmt::Debug for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.own().unwrap_or("UTF8"))
    }
}

impl Charset {
    /// As the server calls it.
    pub fn of(encoding: &str) -> Self {
        match encoding {
            "UTF8" => Self::Utf8,
            "SQL_ASCII" => Self::Undeclared,
            _ => match ENCODINGS.iter().find(|(name, _)| *name == encoding) {
                Some((name, nearest)) => Self::Known(Arc::new(Table::of(name, nearest))),
                None => Self::Servers,
            },
        }
    }

    /// What the server calls the encoding in which rows are asked for. None: UTF-8, like all else.
    pub fn own(&self) -> Option<&'static str> {
        match self {
            Self::Utf8 | Self::Servers => None,
            Self::Undeclared => Some("SQL_ASCII"),
            Self::Known(table) => Some(table.name),
        }
    }

    /// The text in UTF-8. None: it has bytes that no character has.
    #[inline]
    pub fn read<'t>(&self, bytes: &'t [u8], scratch: &'t mut String) -> Option<&'t [u8]> {
        match self {
            // The server has seen to it.
            Self::Utf8 | Self::Servers => Some(bytes),
            _ if bytes.is_ascii() => Some(bytes),
            Self::Undeclared => std::str::from_utf8(bytes).ok().map(str::as_bytes),
            Self::Known(table) => {
                scratch.clear();
                let mut rest = bytes;
                while !rest.is_empty() {
                    let (character, length) = table.first(rest);
                    scratch.push(character?);
                    rest = &rest[length..];
                }
                Some(scratch.as_bytes())
            }
        }
    }

    /// The text with each byte that no character has as `\x81`, and `\\` for a backslash: as `E'…'` has it in SQL.
    pub fn spelt(&self, bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len() + 8);
        let plain = |out: &mut String, character: char| match character {
            '\\' => out.push_str("\\\\"),
            character => out.push(character),
        };
        let Self::Known(table) = self else {
            for chunk in bytes.utf8_chunks() {
                chunk.valid().chars().for_each(|character| plain(&mut out, character));
                chunk.invalid().iter().for_each(|byte| spell(&mut out, *byte));
            }
            return out;
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let (character, length) = table.first(rest);
            match character {
                Some(character) => plain(&mut out, character),
                None => rest[..length].iter().for_each(|byte| spell(&mut out, *byte)),
            }
            rest = &rest[length..];
        }
        out
    }

    /// What the stream calls something.
    pub fn name<'t>(&self, bytes: &'t [u8]) -> Cow<'t, str> {
        if let Self::Known(_) = self
            && !bytes.is_ascii()
        {
            return Cow::Owned(self.spelt(bytes));
        }
        std::str::from_utf8(bytes).map_or_else(|_| Cow::Owned(self.spelt(bytes)), Cow::Borrowed)
    }

    /// A value, kept to be asked for again: of an encoding that is read here, a character for each byte.
    pub(crate) fn kept(&self, bytes: &[u8]) -> String {
        match self.own() {
            None => String::from_utf8_lossy(bytes).into_owned(),
            Some(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
        }
    }

    /// What was kept, as SQL: the server's own bytes, whatever the session speaks.
    pub(crate) fn literal(&self, kept: &str) -> String {
        let mut out = String::from("E'");
        for character in kept.chars() {
            match (character, u8::try_from(character)) {
                ('\\', _) => out.push_str("\\\\"),
                ('\'', _) => out.push_str("''"),
                (_, Ok(byte)) if !byte.is_ascii() && self.own().is_some() => spell(&mut out, byte),
                _ => out.push(character),
            }
        }
        out.push('\'');
        out
    }
}

fn spell(out: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\x{byte:02x}");
}

impl Table {
    fn of(name: &'static str, nearest: &'static Encoding) -> Self {
        let of = |bytes: &[u8]| character_of(name, nearest, bytes);
        let bytes = || EUC_FIRST..=0xFE;
        let pairs = || bytes().flat_map(|lead| bytes().map(move |trail| (lead, trail)));
        if !name.starts_with("EUC_") {
            return Self {
                name,
                one: (0x80..=0xFF).map(|byte| of(&[byte])).collect(),
                two: Vec::new(),
                three: Vec::new(),
            };
        }
        let japanese = name == "EUC_JP";
        let mut two: Vec<char> = pairs().map(|(lead, trail)| of(&[lead, trail])).collect();
        let mut three = Vec::new();
        if japanese {
            two.extend(bytes().map(|trail| of(&[SINGLE_SHIFTS[0], trail])));
            three.extend(pairs().map(|(lead, trail)| of(&[SINGLE_SHIFTS[1], lead, trail])));
            three.iter_mut().skip(IBM_BEGINS).zip(IBM.chars()).for_each(|(place, character)| *place = character);
        }
        Self { name, one: Vec::new(), two, three }
    }

    /// The first character, and how many bytes it or what is in its place has.
    #[inline]
    fn first(&self, bytes: &[u8]) -> (Option<char>, usize) {
        let place = |byte: u8| byte.checked_sub(EUC_FIRST).map(usize::from).filter(|place| *place < EUC_ROW);
        let found = match *bytes {
            [byte, ..] if byte.is_ascii() => return (Some(char::from(byte)), 1),
            [byte, ..] if !self.one.is_empty() => (self.one.get(usize::from(byte - 0x80)), 1),
            [lead, trail, ..] if lead == SINGLE_SHIFTS[0] => {
                (place(trail).and_then(|trail| self.two.get(EUC_ROW * EUC_ROW + trail)), 2)
            }
            [shift, lead, trail, ..] if shift == SINGLE_SHIFTS[1] => {
                (place(lead).zip(place(trail)).and_then(|(lead, trail)| self.three.get(lead * EUC_ROW + trail)), 3)
            }
            [lead, trail, ..] => {
                (place(lead).zip(place(trail)).and_then(|(lead, trail)| self.two.get(lead * EUC_ROW + trail)), 2)
            }
            _ => (None, 1),
        };
        match found {
            (Some(character), length) if *character != NONE => (Some(*character), length),
            (_, length) if bytes[..length].iter().any(u8::is_ascii) => (None, 1),
            (_, length) => (None, length),
        }
    }
}

fn character_of(name: &str, nearest: &'static Encoding, bytes: &[u8]) -> char {
    if let Some((.., character)) = DIFFERENCES.iter().find(|(of, at, _)| *of == name && *at == bytes) {
        return *character;
    }
    // ISO 8859 has controls from 80 to 9F, where the nearest has more characters.
    if let ("LATIN1" | "LATIN5", [byte @ 0x80..=0x9F]) = (name, bytes) {
        return char::from(*byte);
    }
    let text = nearest.decode_without_bom_handling_and_without_replacement(bytes);
    let mut characters = text.iter().flat_map(|text| text.chars());
    let first = characters.next().filter(|_| characters.next().is_none());
    // A byte that a Windows code page leaves free is no control to PostgreSQL, nor a place of private use a character.
    let free = |character: char| {
        ('\u{E000}'..='\u{F8FF}').contains(&character) || (name.starts_with("WIN") && character.is_control())
    };
    first.filter(|character| !free(*character)).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(encoding: &str, bytes: &[u8], want: Result<&str, &str>) {
        let (charset, mut scratch) = (Charset::of(encoding), String::new());
        let read = charset.read(bytes, &mut scratch).map(|text| String::from_utf8(text.to_vec()).expect("UTF-8"));
        assert_eq!(read.as_deref(), want.ok(), "{encoding}");
        if let Err(want) = want {
            assert_eq!(charset.spelt(bytes), want, "{encoding}");
        }
    }

    #[test]
    fn text_is_read_as_the_server_reads_it_and_the_rest_is_spelt() {
        check("UTF8", "für".as_bytes(), Ok("für"));
        check("WIN1252", b"f\xFCr 5 \x80", Ok("für 5 €"));
        check("WIN1252", b"f\xFCr\\ \x81\x9D1", Err(r"für\\ \x81\x9d1"));
        check("LATIN1", b"\x80\x81\xFC", Ok("\u{80}\u{81}ü"));
        check("LATIN5", b"\x80\xFD\xDD", Ok("\u{80}ıİ"));
        check("KOI8U", b"\xAE\xA4", Ok("╝є"));
        check("SQL_ASCII", "für".as_bytes(), Ok("für"));
        check("SQL_ASCII", b"f\xC3\xBC f\xFCr\xE2\x82", Err(r"fü f\xfcr\xe2\x82"));
        check("EUC_JP", b"a\xA4\xA2\x8E\xB1\x8F\xB0\xA1\x8F\xF4\xAC", Ok("aあｱ丂№"));
        check("EUC_JP", b"\xA4\xA2\xA9\xA1a\x8F\xA1\xA1\xA4", Err(r"あ\xa9\xa1a\x8f\xa1\xa1\xa4"));
        check("EUC_KR", b"\xB0\xA1\xA2\xE8", Ok("가㉾"));
        check("EUC_CN", b"\xA1\xAA\xB0\xA1", Ok("―啊"));
    }

    #[test]
    fn what_is_spelt_tells_each_byte_from_every_other_text() {
        let charset = Charset::of("WIN1252");
        assert_ne!(charset.spelt(b"\x81"), charset.spelt(br"\x81"));
        assert_eq!(charset.name(b"f\xFCr"), "für");
        assert_eq!(Charset::of("SQL_ASCII").name(b"f\xFCr"), r"f\xfcr");
    }

    #[test]
    fn what_is_kept_is_asked_for_by_its_bytes() {
        for encoding in ["WIN1252", "SQL_ASCII", "EUC_JP"] {
            let charset = Charset::of(encoding);
            assert_eq!(charset.literal(&charset.kept(b"f\xFCr\x81'\\1")), r"E'f\xfcr\x81''\\1'");
        }
        for encoding in ["UTF8", "EUC_TW"] {
            let charset = Charset::of(encoding);
            assert_eq!(
                (charset.own(), charset.literal(&charset.kept("fü'\\".as_bytes())).as_str()),
                (None, r"E'fü''\\'")
            );
        }
    }
}
