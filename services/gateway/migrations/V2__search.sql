-- What somebody searched for, for as long as they go back and forth between what was found: so that the address of the
-- answer holds an id and no name or number, and going back asks for nothing to be sent again.
create table access.search (
    id uuid primary key,
    user_id text not null references access.user on delete cascade,
    query text not null,
    at timestamptz not null default now()
);
create index on access.search (at);
