-- A row is written only by an event whose place, (generation, position), exceeds the row's. How far a source has come is a
-- place, too. What was told before there were generations is generation 0, and goes by (position, revision) as it did.
alter table record.freshness add column generation bigint not null default 0;
