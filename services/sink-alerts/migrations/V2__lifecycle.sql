-- Through which linked source patient a team receives an alert: if that link is cut, the alert went
-- to the wrong people. Null for the requester's team and where the result's own source says it.
alter table alert.recipient add column via_source text, add column via_patient text;

create index on alert.alert (source, patient, record);
create index on alert.outbox (alert);

-- The deliverer and open pages wake when something was committed here.
create function alert.wake() returns trigger language plpgsql as $$
begin
    perform pg_notify('causeway_alerts', '');
    return null;
end $$;
create trigger wake after insert on alert.outbox for each statement execute function alert.wake();

-- All source patients that are one person with the given ones; each with itself. A held link joins nobody.
create function alert.linked(sources text[], patients text[])
returns table (source text, patient text, via_source text, via_patient text, linked_at timestamptz)
language sql stable as $$
    select k.source, k.patient, k.source, k.patient, null::timestamptz
    from (select distinct * from unnest(sources, patients) as u (source, patient)) k
    union all
    select k.source, k.patient, m.source, m.patient, greatest(l.decided_at, m.decided_at)
    from (select distinct * from unnest(sources, patients) as u (source, patient)) k
    join record.link l on l.source = k.source and l.patient = k.patient and l.status <> 'held'
    join record.link m on m.person = l.person and m.status <> 'held'
        and (m.source, m.patient) <> (l.source, l.patient)
$$;

-- The life cycle: new → seen → acknowledged; withdrawn from any of them, by the sink alone. Each function
-- is idempotent, makes legal steps only, and tells the state that the alert is in afterwards (null: no such
-- alert). Gateways change alerts through these functions and in no other way.
create function alert.mark_seen(the_alert uuid, the_user text, the_team text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    now_in text;
begin
    select a.state into now_in from alert.alert a where a.id = the_alert for update;
    if not found then
        return null;
    end if;
    -- Whoever sees it withdrawn has been told so.
    insert into alert.sighting as s (alert, user_id, team, seen_at, told_withdrawn_at)
    values (the_alert, the_user, the_team, clock_timestamp(), case when now_in = 'withdrawn' then clock_timestamp() end)
    on conflict (alert, user_id) do update set told_withdrawn_at = coalesce(s.told_withdrawn_at, excluded.told_withdrawn_at)
        where excluded.told_withdrawn_at is not null and s.told_withdrawn_at is null;
    if now_in = 'new' then
        update alert.alert set state = 'seen' where id = the_alert;
        insert into alert.outbox (alert, change, actor) values (the_alert, 'seen', the_user);
        now_in := 'seen';
    end if;
    return now_in;
end $$;

create function alert.acknowledge(the_alert uuid, the_user text, the_team text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    now_in text;
begin
    now_in := alert.mark_seen(the_alert, the_user, the_team);
    if now_in = 'seen' then
        update alert.alert set state = 'acknowledged', acknowledged_at = clock_timestamp(), acknowledged_by = the_user
        where id = the_alert;
        insert into alert.outbox (alert, change, actor) values (the_alert, 'acknowledged', the_user);
        now_in := 'acknowledged';
    end if;
    return now_in;
end $$;
