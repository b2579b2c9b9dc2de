//! Rows of the kinds that need nothing but their table, only those that may be shown.

use super::{
    CONFIDENTIAL, Person,
    clinical::{self, CODED, Coded, NEWEST_OTHER, Provenance},
};
use crate::{GatewayError, access::Decision};
use deadpool_postgres::GenericClient;
use event::Kind;
use tokio_postgres::types::ToSql;

/// Of one kind on a page, newest first.
pub const ENTRIES_PER_KIND_MAX: i64 = 100;

#[derive(Clone)]
pub struct Entry {
    pub kind: Kind,
    pub from: Provenance,
    pub code: Coded,
}

/// What the decision shows of them, and whether there is more than that.
pub async fn read(
    client: &impl GenericClient,
    person: &Person,
    decision: &Decision,
) -> Result<(Vec<Entry>, bool), GatewayError> {
    let (sources, patients) = person.names();
    let shown = if decision.allow { Some(&decision.shown) } else { None };
    let of_entries = shown.into_iter().flatten().filter(|(_, kind)| kind.is_entry());
    let (organisations, kinds): (Vec<&str>, Vec<&str>) =
        of_entries.map(|(organisation, kind)| (organisation.as_str(), kind.as_str())).unzip();
    if kinds.is_empty() {
        return Ok((Vec::new(), false));
    }
    let own = clinical::own(decision);
    let parameters: [&(dyn ToSql + Sync); 5] = [&sources, &patients, &organisations, &kinds, &own];
    let rows = client.query(&sql(), &parameters).await?;
    let (shown, beyond): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| row.get::<_, i64>(CODED + 1) <= ENTRIES_PER_KIND_MAX);
    let mut entries: Vec<Entry> = Vec::new();
    for row in shown {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == row.get::<_, &str>(CODED));
        entries.extend(kind.map(|kind| Entry { kind, from: clinical::from(row), code: clinical::coded(row) }));
    }
    entries.sort_by_key(|entry| entry.kind);
    Ok((entries, !beyond.is_empty()))
}

/// One more of each kind than is shown: it says that there is more.
fn sql() -> String {
    format!(
        "select {}, t.kind, t.nth from (
            select t.*, row_number() over (partition by t.kind order by {NEWEST_OTHER}) as nth
            from record.entry t join unnest($1::text[], $2::text[]) as s(source, patient) using (source, patient)
            where not t.retracted
                and (t.organisation, t.kind) in (select * from unnest($3::text[], $4::text[]))
                and (t.organisation = any($5) or not {CONFIDENTIAL})) t
         where t.nth <= {ENTRIES_PER_KIND_MAX} + 1 order by t.kind, t.nth",
        clinical::common()
    )
}
