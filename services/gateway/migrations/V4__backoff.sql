-- Until when nothing is checked for a key: the wait doubles with each failure.
alter table access.throttle add column closed_until timestamptz not null default '-infinity';
-- What is forgotten is deleted.
create index on access.throttle (window_ends_at);
