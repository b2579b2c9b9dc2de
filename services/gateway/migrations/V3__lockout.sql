-- From where an account has signed in before: guesses from elsewhere cannot close it there. The key is a digest of both.
create table access.known_address (
    key text primary key,
    user_id text not null references access.user on delete cascade,
    at timestamptz not null default now()
);
create index on access.known_address (user_id);
