-- What events have told since their schema grew; of older rows the defaults hold.
do $$
declare name text;
begin
    foreach name in array array['patient', 'observation', 'medication', 'allergy', 'condition', 'encounter'] loop
        execute format('alter table record.%I
            add column generation bigint not null default 0, add column confidential boolean not null default false,
            add column reread boolean not null default false, add column incomplete text', name);
    end loop;
end $$;
alter table record.observation add column status_text text;
alter table record.medication add column status text, add column status_reason text;
