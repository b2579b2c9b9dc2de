//! A site of one region: its PostgreSQL, what is applied to it, and what David's sources tell.

use boot::database::{DatabaseSettings, Tls, pool};
use change::{Lsn, Position};
use deadpool_postgres::Pool;
use event::{
    Action, Body, Canonical, Code, Condition, Demographics, Encounter, Link, LinkStatus, Measurement, Observation,
    Part, PatientEvent, SourcePatient, Teams,
};
use rust_decimal::Decimal;
use sink_alerts::{Alerts, Limits};
use sink_views::plan::{Incoming, Item, Place, Plan, Topic};
use stack::{Lifetime, Postgres};

pub const HOUR: i64 = 3_600_000_000;
pub const NOW: i64 = 1_700_000_000_000_000;
pub const PERSON: u128 = 7;

pub struct Site {
    pub pool: Pool,
    pub hook: Alerts,
    /// All that was ever applied, to replay it.
    pub log: Vec<Incoming>,
    _server: Postgres,
    folder: std::path::PathBuf,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Site {
    pub async fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("causeway-sink-alerts-{name}-{}", std::process::id()));
        let server = Postgres::start(name, &folder, Lifetime::WithParent).await.expect("PostgreSQL");
        server.create_role("sinks", "login").await.expect("a role");
        server.create_database("causeway", "sinks").await.expect("a database");
        let settings = DatabaseSettings {
            url: server.url("sinks", "causeway"),
            password_file: Some(server.password_file("sinks")),
            tls: Tls::default(),
            ca_file: None,
        };
        let pool = pool(&settings, 4).expect("a pool");
        sink_alerts::migrate(&pool).await.expect("migrated");
        let hook = Alerts {
            limits: Limits::parse(include_str!("../../../../site/alerts.toml")).expect("limits"),
            teams: Teams::parse(include_str!("../../../../site/teams.toml")).expect("teams"),
            organisations: organisations().into_iter().collect(),
            encounter_grace_hours: 72,
            clock: || NOW,
        };
        Self { pool, hook, log: Vec::new(), _server: server, folder }
    }

    pub async fn write(&self, items: &[Incoming], rebuilding: bool) -> bool {
        let mut client = self.pool.get().await.expect("a connection");
        let plan = Plan::of(items.iter().cloned());
        sink_views::apply(&mut client, &plan, &self.hook, rebuilding).await.expect("applied").rebuilding
    }

    pub async fn items(&mut self, topic: Topic, items: Vec<Item>) {
        let mut batch = Vec::new();
        for item in items {
            let offset = i64::try_from(self.log.len()).expect("few");
            let incoming = Incoming { place: Place { topic, partition: 0, offset }, item };
            self.log.push(incoming.clone());
            batch.push(incoming);
        }
        self.write(&batch, false).await;
    }

    /// One transaction of a source.
    pub async fn events(&mut self, events: Vec<PatientEvent>) {
        self.items(Topic::Events, events.into_iter().map(Item::Event).collect()).await;
    }

    pub async fn link(&mut self, patient: &SourcePatient, person: u128, version: u32) {
        let link = Link {
            patient: patient.clone(),
            person: uuid::Uuid::from_u128(person),
            version,
            status: LinkStatus::Linked,
            reason: "verified number".into(),
            decided_at: NOW,
            evidence: None,
        };
        self.items(Topic::Links, vec![Item::Link(link)]).await;
    }

    /// "critical-limit result/1 new paged [riverside stmarys-ed]", in order.
    pub async fn alerts(&self) -> Vec<String> {
        let sql = "select concat_ws(' ', a.rule, a.record, a.state, a.urgency, '[' || (select string_agg(r.team, ' ' order by r.team) \
                       from alert.recipient r where r.alert = a.id) || ']') \
                   from alert.alert a order by a.raised_at, a.record, a.rule, a.id";
        let client = self.pool.get().await.expect("a connection");
        client.query(sql, &[]).await.expect("alerts").iter().map(|row| row.get(0)).collect()
    }

    pub async fn standing(&self) -> Vec<String> {
        self.alerts().await.into_iter().filter(|alert| !alert.contains(" withdrawn ")).collect()
    }

    pub async fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str) -> T {
        let client = self.pool.get().await.expect("a connection");
        client.query_one(sql, &[]).await.expect("one row").get(0)
    }
}

fn organisations() -> std::collections::BTreeMap<String, String> {
    [("riverside", "R1V01"), ("stmarys", "RSM01")].map(|(source, code)| (source.to_owned(), code.to_owned())).into()
}

pub fn david_at(source: &str) -> SourcePatient {
    SourcePatient { source: source.into(), id: "david".into() }
}

pub fn event(source: &str, commit: u64, record: &str, body: Body) -> PatientEvent {
    PatientEvent {
        patient: david_at(source),
        organisation: if source == "riverside" { "R1V01" } else { "RSM01" }.into(),
        record: record.into(),
        position: Position::new(1, Lsn(commit), 1),
        revision: 1,
        action: if matches!(body, Body::Retracted(_)) { Action::Retracted } else { Action::Recorded },
        part: Part { index: 1, of: 1 },
        committed_at: NOW + i64::try_from(commit).expect("few"),
        snapshot: false,
        entered_at: None,
        effective_at: Some(NOW - HOUR),
        body,
        traceparent: None,
        generation: 0,
        confidential: false,
        reread: false,
        incomplete: None,
        effective_precision: None,
        reinterpreted: false,
        participants: Vec::new(),
        location: None,
        made_by: None,
    }
}

pub fn result(analyte: &str, number: &str) -> Body {
    let number: Decimal = number.parse().expect("a number");
    Body::Observation(Observation {
        code: Code { text: analyte.into(), ..Code::default() },
        analyte: Some(analyte.into()),
        value: Measurement {
            number: Some(number),
            unit: Some("mmol/L".into()),
            canonical: Some(Canonical { number, unit: "mmol/L".into() }),
            ..Measurement::default()
        },
        authorised_at: Some(NOW),
        requester: Some("stmarys-amu".into()),
        ..Observation::default()
    })
}

pub fn addisons(active: bool) -> Body {
    let code = Code { text: "Addison's disease".into(), snomed: Some("363732003".into()), ..Code::default() };
    Body::Condition(Condition { code, active, ..Condition::default() })
}

pub fn registered() -> Body {
    Body::Demographics(Demographics { registered_practice: Some("R1V01".into()), ..Demographics::default() })
}

/// Fifty-three years before the results.
pub fn born() -> Body {
    Body::Demographics(Demographics { birth_date: Some(0), ..Demographics::default() })
}

pub fn seen_by(team: &str) -> Body {
    Body::Encounter(Encounter { class: "EMER".into(), team: Some(team.into()), ..Encounter::default() })
}

/// David: registered with Riverside, Addison's there; at St Mary's emergency department.
pub async fn david(name: &str) -> Site {
    let mut site = Site::start(name).await;
    let problem = event("riverside", 2, "condition/1", addisons(true));
    site.events(vec![event("riverside", 1, "patient/1", registered()), problem]).await;
    site.events(vec![
        event("stmarys", 1, "encounter/1", seen_by("stmarys-ed")),
        event("stmarys", 1, "patient/1", born()),
    ])
    .await;
    for source in ["riverside", "stmarys"] {
        site.link(&david_at(source), PERSON, 1).await;
    }
    site
}
