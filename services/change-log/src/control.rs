//! The records beside changes: session, progress and snapshot, against `schemas/*.avsc`.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use change::{
    Lsn,
    avro::{
        DecodeError,
        wire::{self, Reader},
    },
};

/// The registry's subject of each is the record's full name.
pub const SESSION: ControlSchema =
    ControlSchema { name: "causeway.Session", text: include_str!("../../../schemas/session.avsc") };
pub const PROGRESS: ControlSchema =
    ControlSchema { name: "causeway.Progress", text: include_str!("../../../schemas/progress.avsc") };
pub const SNAPSHOT: ControlSchema =
    ControlSchema { name: "causeway.Snapshot", text: include_str!("../../../schemas/snapshot.avsc") };
/// Not a record but a key: of a row that its table's own key schema has no room for.
pub const EXACT_KEY: ControlSchema =
    ControlSchema { name: "causeway.ExactKey", text: include_str!("../../../schemas/exact_key.avsc") };

/// Tables of one snapshot.
pub const TABLES_MAX: usize = 50_000;

#[derive(Clone, Copy, Debug)]
pub struct ControlSchema {
    pub name: &'static str,
    pub text: &'static str,
}

/// A connector took over a source's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub source: String,
    pub system_id: String,
    pub timeline: u32,
    pub slot: String,
    /// 0 before the first snapshot.
    pub epoch: u32,
    pub owner: String,
    /// Microseconds since the epoch, as all times here.
    pub started_at: i64,
}

/// Everything before `lsn` is in the log.
#[derive(Clone, PartialEq, Eq)]
pub struct Progress {
    pub source: String,
    pub lsn: Lsn,
    pub at: i64,
    /// What the connector remembers of snapshots, for itself. None: see an earlier record.
    pub state: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub snapshot: String,
    /// Of a chunk: the table it is of.
    pub table: Option<String>,
    pub rows: u64,
    pub lsn: Lsn,
    pub at: i64,
    /// Which tables the snapshot reads.
    pub tables: Vec<String>,
    /// It reads some of the rows only: what it does not show may still be there.
    pub partial: bool,
    /// As of [`Progress`].
    pub state: Option<String>,
}

/// The state holds keys of rows: it is never shown.
impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("lsn", &self.lsn).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("table", &self.table).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl Session {
    pub fn encode(&self, out: &mut Vec<u8>) {
        wire::string(out, &self.source);
        wire::string(out, &self.system_id);
        wire::long(out, i64::from(self.timeline));
        wire::string(out, &self.slot);
        wire::long(out, i64::from(self.epoch));
        wire::string(out, &self.owner);
        wire::long(out, self.started_at);
    }

    pub fn decode(datum: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datum);
        let session = Self {
            source: text(&mut reader)?,
            system_id: text(&mut reader)?,
            timeline: number(&mut reader)?,
            slot: text(&mut reader)?,
            epoch: number(&mut reader)?,
            owner: text(&mut reader)?,
            started_at: reader.long()?,
        };
        reader.finish().map(|()| session)
    }
}

impl Progress {
    pub fn encode(&self, out: &mut Vec<u8>) {
        wire::string(out, &self.source);
        wire::string(out, &self.lsn.to_string());
        wire::long(out, self.at);
        optional(out, self.state.as_deref());
    }

    pub fn decode(datum: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datum);
        let progress = Self {
            source: text(&mut reader)?,
            lsn: lsn(&mut reader)?,
            at: reader.long()?,
            state: optional_text(&mut reader)?,
        };
        reader.finish().map(|()| progress)
    }
}

impl Snapshot {
    pub fn encode(&self, out: &mut Vec<u8>) {
        wire::string(out, &self.snapshot);
        optional(out, self.table.as_deref());
        wire::long(out, i64::try_from(self.rows).unwrap_or(i64::MAX));
        wire::string(out, &self.lsn.to_string());
        wire::long(out, self.at);
        if !self.tables.is_empty() {
            wire::long(out, i64::try_from(self.tables.len()).unwrap_or(i64::MAX));
            for table in &self.tables {
                wire::string(out, table);
            }
        }
        wire::long(out, 0);
        out.push(u8::from(self.partial));
        optional(out, self.state.as_deref());
    }

    pub fn decode(datum: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datum);
        let snapshot = Self {
            snapshot: text(&mut reader)?,
            table: optional_text(&mut reader)?,
            rows: u64::try_from(reader.long()?).map_err(|_| DecodeError::Malformed("count"))?,
            lsn: lsn(&mut reader)?,
            at: reader.long()?,
            tables: texts(&mut reader)?,
            partial: reader.boolean()?,
            state: optional_text(&mut reader)?,
        };
        reader.finish().map(|()| snapshot)
    }
}

fn optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.push(wire::NULL),
        Some(text) => {
            out.push(wire::SOME);
            wire::string(out, text);
        }
    }
}

fn optional_text(reader: &mut Reader<'_>) -> Result<Option<String>, DecodeError> {
    match reader.index()? {
        0 => Ok(None),
        1 => text(reader).map(Some),
        _ => Err(DecodeError::Malformed("union")),
    }
}

/// An array of strings, in as many blocks as its writer liked.
fn texts(reader: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    let mut texts = Vec::new();
    loop {
        let count = reader.long()?;
        if count == 0 {
            return Ok(texts);
        }
        // A negative count is followed by the block's bytes.
        if count < 0 {
            reader.long()?;
        }
        for _ in 0..count.unsigned_abs() {
            if texts.len() >= TABLES_MAX {
                return Err(DecodeError::Malformed("too many tables"));
            }
            texts.push(text(reader)?);
        }
    }
}

fn text(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    reader.string().map(str::to_owned)
}

fn number(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    u32::try_from(reader.long()?).map_err(|_| DecodeError::Malformed("number"))
}

fn lsn(reader: &mut Reader<'_>) -> Result<Lsn, DecodeError> {
    reader.string()?.parse().map_err(|_| DecodeError::Malformed("place in the log"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use apache_avro::{Schema, reader::datum::GenericDatumReader};

    /// apache-avro reads it to the end by the published schema.
    fn check(schema: &ControlSchema, datum: &[u8]) {
        let parsed = Schema::parse_str(schema.text).expect("a schema");
        assert_eq!(parsed.name().map(|name| name.fullname(None)), Some(schema.name.to_owned()));
        let mut rest = datum;
        GenericDatumReader::builder(&parsed).build().expect("a reader").read_value(&mut rest).expect("a datum");
        assert!(rest.is_empty());
    }

    #[test]
    fn control_records_are_as_published() {
        let mut out = Vec::new();
        let session = Session {
            source: "riverside".into(),
            system_id: "7".into(),
            timeline: 1,
            slot: "causeway_riverside".into(),
            epoch: 2,
            owner: "o".into(),
            started_at: 5,
        };
        session.encode(&mut out);
        check(&SESSION, &out);
        assert_eq!(Session::decode(&out), Ok(session));

        out.clear();
        let progress = Progress { source: "riverside".into(), lsn: Lsn(0x16_B374_D848), at: -1, state: None };
        progress.encode(&mut out);
        check(&PROGRESS, &out);
        assert_eq!(Progress::decode(&out), Ok(progress));

        for table in [None, Some("emis.patient".to_owned())] {
            out.clear();
            let tables: Vec<String> = table.iter().cloned().chain(["emis.user".to_owned()]).collect();
            let state = Some("{}".to_owned());
            let snapshot =
                Snapshot { snapshot: "s".into(), table, rows: 9, lsn: Lsn(3), at: 4, tables, partial: true, state };
            snapshot.encode(&mut out);
            check(&SNAPSHOT, &out);
            assert_eq!(Snapshot::decode(&out), Ok(snapshot));
        }
        assert_eq!(Progress::decode(b"\x02"), Err(DecodeError::Truncated));
    }
}
