//! What records are called, outside and in a store.

use super::store::RecordId;
use mapping::{Mapping, Record};

/// `observation/4711`; parts of a composite identity stand apart by `/`, which they do not hold.
pub fn of(mapping: &Mapping, id: &RecordId) -> String {
    let mut name = mapping.records[id.record].name.clone();
    for part in id.id.iter() {
        name.push('/');
        if part.contains(['%', '/']) {
            name.push_str(&part.replace('%', "%25").replace('/', "%2F"));
        } else {
            name.push_str(part);
        }
    }
    name
}

/// The record that has this name, if the mapping makes such records.
pub fn record(mapping: &Mapping, name: &str) -> Option<RecordId> {
    let rest = |record: &Record| name.strip_prefix(record.name.as_str())?.strip_prefix('/');
    let (record, rest) = mapping.records.iter().enumerate().find_map(|(at, record)| Some((at, rest(record)?)))?;
    let id: Vec<String> = rest.split('/').map(|part| part.replace("%2F", "/").replace("%25", "%")).collect();
    (id.len() == mapping.records[record].id.len()).then(|| RecordId { record, id: id.into() })
}
