-- `1984` or `1984-06`, where no more of a day is known.
alter table record.patient add column birth_partial text, add column death_partial text;
