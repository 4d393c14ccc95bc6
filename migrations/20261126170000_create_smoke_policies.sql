-- What a namespace does with revisions that do not pass the smoke test, and what is kept of a run beside its report.

create table smoke_policies (
    namespace text primary key,
    on_failure text not null default 'warn',
    changed_by text not null,
    changed_at timestamptz not null default now(),
    constraint smoke_policies_on_failure_check check (on_failure in ('off', 'warn', 'quarantine'))
);
comment on table smoke_policies is
    'What a namespace (lower case) does with a revision that does not pass: nothing, say so, or not serve it.';

create table smoke_releases (
    revision_id bigint primary key references revisions (id) on delete cascade,
    reason text not null,
    released_by text not null,
    created_at timestamptz not null default now()
);
comment on table smoke_releases is 'Revisions that an administrator lets be served although they did not pass.';

alter table smoke_tests add column cause text; -- why the run did not end; null: it did
alter table smoke_tests add column probe bytea; -- the likeliest next tokens at each position; null: no forward pass
alter table smoke_tests add column base_id bigint references models (id) on delete set null; -- what it was compared with
comment on column smoke_tests.probe is
    'Kept so that another revision can be compared with this one without running it again.';
create index smoke_tests_base_id_idx on smoke_tests (base_id) where base_id is not null;
