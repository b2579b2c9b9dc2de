//! Which alerts the rules demand of what the sources hold now, worked out anew, against those that were raised.
//!
//! Covered: the numeric limits with comparators and units, the source's own critical flags, watched analytes that could
//! not be checked, and signs in a patient with known adrenal insufficiency and acute kidney injury, over both sources. Each
//! demanded alert has to stand once, and none may stand beside. A version is a row of the source as it is now: alerts of
//! earlier versions have to be withdrawn, so they count as beside.
//!
//! Left open, so that either answer passes: results whose time lies where the window began during the run (the commit
//! time is not in the rows, so the authorised or entered time stands for it), adrenal insufficiency of somebody whose NHS
//! number more than one row claims, and limits by age around a birthday, and what `aki` says of its own. Not covered: limits by sex
//! or setting, pairs and deltas (a site's file that has them is refused), how grave a sign or an injury is, whom an alert goes to, its urgency, and what was raised and
//! withdrawn in between.
//!
//! # Why
//! The SQL and the few lines of arithmetic are written for this purpose and share nothing with the rules.

mod aki;
mod judge;
mod results;

use jiff::Timestamp;
pub use judge::Rules;
use judge::Verdict;
use std::collections::BTreeMap;
use tokio_postgres::Client;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertsComparison {
    /// Alerts that the rules demand.
    pub demanded: u64,
    /// Alerts that stand.
    pub raised: u64,
    pub missing: u64,
    /// Raised more than once for one rule and record.
    pub doubled: u64,
    /// Raised where no rule asks for it.
    pub beside: u64,
    /// The first difference: rule and record, never a value.
    pub first: Option<String>,
}

impl AlertsComparison {
    pub const fn exact(&self) -> bool {
        self.missing + self.doubled + self.beside == 0
    }
}

/// Rule, source, patient, record.
type Fingerprint = (String, String, String, String);

/// `live_since`: when Causeway first read the sources.
pub async fn compare(
    gp: &Client,
    hospital: &Client,
    causeway: &Client,
    rules: &Rules,
    live_since: Timestamp,
) -> anyhow::Result<AlertsComparison> {
    let results = results::read(gp, hospital).await?;
    let people = results::people(gp, hospital).await?;
    let adrenal = people.adrenal();
    let now = Timestamp::now();
    let mut demanded: BTreeMap<Fingerprint, Verdict> = BTreeMap::new();
    let name = |rule: &str, result: &results::Result| {
        (rule.to_owned(), result.source.to_owned(), result.patient.clone(), result.record.clone())
    };
    for result in &results {
        let known = adrenal.get(&(result.source.to_owned(), result.patient.clone())).copied().unwrap_or(Verdict::No);
        for (rule, verdict) in rules.judge(result, known, live_since, now) {
            demanded.insert(name(rule, result), verdict);
        }
    }
    for (result, verdict) in rules.injuries(&results, &people.links(), live_since, now) {
        demanded.insert(name("aki", result), verdict);
    }
    let sql = "select rule, source, patient, record, count(*) from alert.alert where state <> 'withdrawn' group by 1, 2, 3, 4";
    let rows = causeway.query(sql, &[]).await?;
    let raised =
        rows.iter().map(|row| ((row.get(0), row.get(1), row.get(2), row.get(3)), row.get::<_, i64>(4).unsigned_abs()));
    Ok(held_against(&demanded, &raised.collect()))
}

fn held_against(demanded: &BTreeMap<Fingerprint, Verdict>, raised: &BTreeMap<Fingerprint, u64>) -> AlertsComparison {
    let mut found = AlertsComparison { raised: raised.values().sum(), ..AlertsComparison::default() };
    let told = |(rule, source, _, record): &Fingerprint| format!("{rule} of {source} {record}");
    for (fingerprint, verdict) in demanded {
        if *verdict == Verdict::Yes {
            found.demanded += 1;
            if !raised.contains_key(fingerprint) {
                found.missing += 1;
                found.first.get_or_insert_with(|| format!("not raised: {}", told(fingerprint)));
            }
        }
    }
    for (fingerprint, times) in raised {
        if demanded.get(fingerprint).is_none_or(|verdict| *verdict == Verdict::No) {
            found.beside += times;
            found.first.get_or_insert_with(|| format!("nothing asks for it: {}", told(fingerprint)));
        } else if *times > 1 {
            found.doubled += times - 1;
            found.first.get_or_insert_with(|| format!("raised {times} times: {}", told(fingerprint)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_demanded_alert_stands_once_and_none_beside() {
        let name = |record: &str| ("unchecked".to_owned(), "stmarys".to_owned(), "1".to_owned(), record.to_owned());
        let demanded = [
            (name("a"), Verdict::Yes),
            (name("b"), Verdict::Yes),
            (name("c"), Verdict::Open),
            (name("d"), Verdict::No),
        ];
        let check = |raised: &[(&str, u64)], want: (u64, u64, u64)| {
            let raised = raised.iter().map(|(record, times)| (name(record), *times)).collect();
            let found = held_against(&demanded.clone().into(), &raised);
            assert_eq!((found.missing, found.doubled, found.beside), want);
            assert_eq!(found.exact(), found.first.is_none());
            assert_eq!(found.demanded, 2);
        };
        check(&[("a", 1), ("b", 1)], (0, 0, 0));
        check(&[("a", 1), ("b", 1), ("c", 1)], (0, 0, 0));
        check(&[("a", 2), ("b", 1)], (0, 1, 0));
        check(&[("a", 1)], (1, 0, 0));
        check(&[("a", 1), ("b", 1), ("d", 1), ("e", 2)], (0, 0, 3));
    }
}
