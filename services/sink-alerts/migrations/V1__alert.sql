-- Alerts, each once per result version and rule; their life cycle; what is still to be delivered.
create schema alert;

create table alert.alert (
    id uuid primary key,
    -- A digest of (rule, source, patient, record, version): the same alert never arises twice.
    fingerprint bytea not null unique,
    rule text not null,                      -- critical-limit | source-critical | unchecked | adrenal-crisis
    severity text not null check (severity in ('critical', 'warning')),
    source text not null, patient text not null, record text not null,
    version text collate "C" not null,       -- record.observation.version
    event_id text not null,
    analyte text,
    headline text not null,                  -- "Potassium 6.7 mmol/L (critical high, limit 6.5)": patient data, never logged
    detail jsonb not null,                   -- what the rule saw: numbers, limits, provenance
    -- paged: new and inside the site's window; late: inside the window but authorised long ago;
    -- listed: read by a snapshot at go-live, shown but never paged.
    urgency text not null check (urgency in ('paged', 'late', 'listed')),
    state text not null check (state in ('new', 'seen', 'acknowledged', 'withdrawn')),
    withdrawn_reason text,
    authorised_at timestamptz, committed_at timestamptz not null,
    raised_at timestamptz not null default clock_timestamp(),
    acknowledged_at timestamptz, acknowledged_by text,
    withdrawn_at timestamptz
);
create index on alert.alert (source, patient);
create index on alert.alert (state, raised_at);

-- The teams it goes to: the requester's, and those the patient is with now.
create table alert.recipient (
    alert uuid not null references alert.alert, team text not null, why text not null,
    primary key (alert, team)
);
create index on alert.recipient (team);

-- Who saw it, so that a withdrawal can tell them.
create table alert.sighting (
    alert uuid not null references alert.alert, user_id text not null, team text,
    seen_at timestamptz not null, told_withdrawn_at timestamptz,
    primary key (alert, user_id)
);

-- Written in the transaction that changes an alert; emptied by the deliverer onto patient.alerts.
create table alert.outbox (
    id bigint generated always as identity primary key,
    alert uuid not null references alert.alert,
    change text not null,                    -- raised | seen | acknowledged | withdrawn
    actor text,
    happened_at timestamptz not null default clock_timestamp()
);
