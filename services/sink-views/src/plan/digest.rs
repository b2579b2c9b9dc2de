//! What makes a result version: value, comparator, unit, code and collection time.

use event::{Body, PatientEvent};
use xxhash_rust::xxh3::Xxh3;

pub type Digest = [u8; 16];

/// Of a result that was taken back, and of every record that has no versions.
pub const NOTHING: Digest = [0; 16];

/// Status, flag, ranges and comments are not in it: preliminary → final unchanged is no new version.
pub fn of(event: &PatientEvent) -> Digest {
    let Body::Observation(observation) = &event.body else { return NOTHING };
    let value = &observation.value;
    let mut digest = Fields(Xxh3::new());
    digest.text(value.comparator.map(event::Comparator::as_str));
    // 6.70 and 6.7 are the same value.
    digest.text(value.number.map(|number| number.normalize().to_string()).as_deref());
    digest.text(value.unit.as_deref());
    digest.text(value.text.as_deref());
    digest.text(observation.code.original_system.as_deref());
    digest.text(observation.code.original_code.as_deref());
    digest.text(Some(&observation.code.text));
    digest.text(event.effective_at.map(|at| at.to_string()).as_deref());
    digest.0.digest128().to_be_bytes()
}

struct Fields(Xxh3);

impl Fields {
    /// With its length in front, so that no two lists of fields look alike.
    fn text(&mut self, field: Option<&str>) {
        let length = field.map_or(u64::MAX, |text| text.len() as u64);
        self.0.update(&length.to_be_bytes());
        self.0.update(field.unwrap_or_default().as_bytes());
    }
}
