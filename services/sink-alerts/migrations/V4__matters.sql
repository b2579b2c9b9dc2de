-- Alerts of one specimen of one patient are one matter. Each team answers for itself, and says what it has done; what
-- nobody acts on goes further. Nothing of this is ever deleted: each step stands here with who took it and when.

-- The same for every result of one specimen. What was raised by an older version stays a matter of its own.
alter table alert.alert add column matter uuid;
update alert.alert set matter = id;
-- A sink of the version before, which still writes while this one starts, knows no matter.
alter table alert.alert alter column matter set not null, alter column matter set default gen_random_uuid();
create index on alert.alert (matter);

-- What a team has answered; null while it has not. acted and accepted end the matter for everybody's clock: the others
-- only for the team that says so.
alter table alert.recipient
    add column added_at timestamptz not null default clock_timestamp(),
    add column answered_at timestamptz,
    add column answered_by text,
    add column outcome text check (outcome in ('acted', 'accepted', 'already-known', 'handed-over', 'not-useful')),
    add check ((answered_at is null) = (outcome is null));

-- Whoever acknowledged an alert has answered for the team that they saw it with.
update alert.recipient r set answered_at = a.acknowledged_at, answered_by = a.acknowledged_by, outcome = 'acted'
from alert.alert a
where a.id = r.alert and a.acknowledged_at is not null and exists (
    select from alert.sighting s where s.alert = a.id and s.user_id = a.acknowledged_by and s.team = r.team);

create table alert.step (
    id bigint generated always as identity primary key,
    alert uuid not null references alert.alert,
    at timestamptz not null default clock_timestamp(),
    what text not null check (what in ('answered', 'reopened', 'escalated')),
    actor text,                              -- null: Causeway itself
    team text,
    outcome text,
    to_team text,                            -- handed over, or escalated, to whom
    -- Which of the site's escalations it was: each is taken once for an alert and a team.
    rung text,
    note text                                -- the reader's own words: patient data, never logged
);
create index on alert.step (alert, id);
create unique index on alert.step (alert, rung, to_team) where what = 'escalated';
-- What was acknowledged by an older version.
insert into alert.step (alert, at, what, actor, team, outcome)
select r.alert, r.answered_at, 'answered', r.answered_by, r.team, r.outcome from alert.recipient r where r.answered_at is not null;
create function alert.steps_are_kept() returns trigger language plpgsql as $$
begin
    raise exception 'alert.step takes no % statement', tg_op;
end $$;
create trigger kept before update or delete or truncate on alert.step
    for each statement execute function alert.steps_are_kept();

-- On whose screen it has been. What reached nobody's is told to somebody else.
create table alert.delivery (
    alert uuid not null references alert.alert, user_id text not null,
    at timestamptz not null default clock_timestamp(),
    primary key (alert, user_id)
);

create function alert.mark_delivered(the_alerts uuid[], the_users text[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into alert.delivery (alert, user_id)
    select d.alert, d.user_id from unnest(the_alerts, the_users) as d (alert, user_id)
    where exists (select from alert.alert a where a.id = d.alert)
    on conflict do nothing
$$;

-- What a reader's teams say of an alert. Tells the state that it is in afterwards; null: no such alert. A team that has
-- answered stays with what it said, until it opens the matter again.
create function alert.answer(the_alert uuid, the_user text, the_teams text[], the_outcome text, the_note text, the_target text)
returns text language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    now_in text;
    answered text[];
begin
    now_in := alert.mark_seen(the_alert, the_user, the_teams[1]);
    if now_in is null or now_in = 'withdrawn' then
        return now_in;
    end if;
    with said as (
        update alert.recipient r set answered_at = clock_timestamp(), answered_by = the_user, outcome = the_outcome
        where r.alert = the_alert and r.team = any(the_teams) and r.answered_at is null returning r.team)
    select array_agg(said.team) into answered from said;
    if answered is null then
        return now_in;
    end if;
    insert into alert.step (alert, what, actor, team, outcome, to_team, note)
    select the_alert, 'answered', the_user, t.team, the_outcome, the_target, the_note
    from unnest(answered) as t (team) order by t.team;
    if the_outcome = 'handed-over' then
        insert into alert.recipient as r (alert, team, why) values (the_alert, the_target, 'handed over')
        on conflict (alert, team) do update set answered_at = null, answered_by = null, outcome = null
            where r.answered_at is not null;
        insert into alert.outbox (alert, change, actor) values (the_alert, 'escalated', the_user);
    elsif the_outcome in ('acted', 'accepted') and now_in = 'seen' then
        update alert.alert set state = 'acknowledged', acknowledged_at = clock_timestamp(), acknowledged_by = the_user
        where id = the_alert;
        now_in := 'acknowledged';
        insert into alert.outbox (alert, change, actor) values (the_alert, 'acknowledged', the_user);
    else
        -- As it stands: nobody is told of an acknowledged alert that it was only seen.
        insert into alert.outbox (alert, change, actor) values (the_alert, now_in, the_user);
    end if;
    return now_in;
end $$;

-- A gateway of the version before asks so.
create or replace function alert.acknowledge(the_alert uuid, the_user text, the_team text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    return alert.answer(the_alert, the_user, array[the_team], 'acted', null, null);
end $$;

-- A team takes its answer back. While no team has acted, the alert waits again.
create function alert.reopen(the_alert uuid, the_user text, the_teams text[], the_note text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    now_in text;
    opened text[];
begin
    now_in := alert.mark_seen(the_alert, the_user, the_teams[1]);
    if now_in is null or now_in = 'withdrawn' then
        return now_in;
    end if;
    with again as (
        update alert.recipient r set answered_at = null, answered_by = null, outcome = null
        where r.alert = the_alert and r.team = any(the_teams) and r.answered_at is not null returning r.team)
    select array_agg(again.team) into opened from again;
    if opened is null then
        return now_in;
    end if;
    insert into alert.step (alert, what, actor, team, note)
    select the_alert, 'reopened', the_user, t.team, the_note from unnest(opened) as t (team) order by t.team;
    if now_in = 'acknowledged' and not exists (
        select from alert.recipient r where r.alert = the_alert and r.outcome in ('acted', 'accepted')) then
        update alert.alert set state = 'seen', acknowledged_at = null, acknowledged_by = null where id = the_alert;
        now_in := 'seen';
    end if;
    insert into alert.outbox (alert, change, actor) values (the_alert, now_in, the_user);
    return now_in;
end $$;

-- What a reader says is wrong with an alert, and what those who look after the data have answered.
create table alert.feedback (
    id bigint generated always as identity primary key,
    alert uuid not null references alert.alert,
    -- Where the event stands in the log.
    event_id text not null,
    kind text not null check (kind in ('wrong-code', 'wrong-patient', 'wrong-value', 'not-useful', 'other')),
    note text,                               -- the reader's own words: patient data, never logged
    actor text not null, team text,
    at timestamptz not null default clock_timestamp(),
    answer text, answered_by text, answered_at timestamptz,
    -- When whoever asked has read the answer.
    read_at timestamptz
);
create index on alert.feedback (actor) where read_at is null;

create function alert.give_feedback(the_alert uuid, the_user text, the_team text, the_kind text, the_note text) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into alert.feedback (alert, event_id, kind, note, actor, team)
    select a.id, a.event_id, the_kind, the_note, the_user, the_team from alert.alert a where a.id = the_alert
    returning id
$$;

create function alert.read_answer(the_feedback bigint, the_user text) returns boolean
language sql security definer set search_path = pg_catalog, pg_temp as $$
    with had as (
        update alert.feedback set read_at = clock_timestamp()
        where id = the_feedback and actor = the_user and answered_at is not null and read_at is null returning id)
    select exists (select from had)
$$;
