-- Who may sign in, who is signed in, who broke the glass, and who read what.
-- The schema itself is made before this history starts, because the history table lives in it.

create table access.user (
    id text primary key,
    name text not null,
    role text not null check (role in ('clinician', 'data-engineer')),
    teams text[] not null,
    -- Argon2id in PHC form. Null: no password has been set, nobody can sign in.
    password_hash text,
    disabled boolean not null default false
);

-- A session is found by the SHA-256 of its token: the token itself is only with its bearer.
create table access.session (
    token_hash bytea primary key,
    user_id text not null references access.user on delete cascade,
    csrf text not null,
    opened_at timestamptz not null default now(),
    used_at timestamptz not null default now(),
    ends_at timestamptz not null
);
create index on access.session (user_id);
create index on access.session (ends_at);

-- Failed sign-ins, per account and per address.
create table access.throttle (
    key text primary key,
    failures int not null,
    window_ends_at timestamptz not null
);

create table access.break_glass (
    id uuid primary key,
    user_id text not null references access.user,
    person uuid not null,
    reason text not null,
    from_at timestamptz not null default now(),
    until_at timestamptz not null
);
create index on access.break_glass (user_id, person, until_at);

-- Every read and every refusal, written before the answer. Rows are only ever added.
create table access.audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    request_id text not null,
    actor text not null,
    role text not null,
    action text not null,
    decision text not null check (decision in ('allow', 'refuse')),
    why text not null,
    organisation text,
    source text, patient text, person uuid,
    reason text,
    withheld boolean not null default false
);
create index on access.audit (source, patient, at);
create index on access.audit (person, at);
create index on access.audit (actor, at);

create function access.audit_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'access.audit takes no % statement', tg_op;
end $$;
create trigger append_only before update or delete or truncate on access.audit
    for each statement execute function access.audit_is_append_only();

-- What still has to go onto the audit topic.
create table access.outbox (
    id bigint generated always as identity primary key,
    audit bigint not null references access.audit
);
