-- The job queue and the smoke tests that it runs.

create table jobs (
    id bigint generated always as identity primary key,
    kind text not null,
    payload jsonb not null,
    dedupe text, -- null: never merged with a pending job of the same kind
    model_id bigint references models (id) on delete cascade, -- null: not about one model
    state text not null default 'pending',
    attempts integer not null default 0,
    max_attempts integer not null default 5,
    run_at timestamptz not null default now(),
    lease_until timestamptz, -- null: not running
    worker text, -- null: not running
    error text, -- the last one; null: none
    created_at timestamptz not null default now(),
    started_at timestamptz, -- null: never
    finished_at timestamptz, -- null: not yet
    constraint jobs_state_check check (state in ('pending', 'running', 'done', 'failed'))
);
comment on table jobs is 'Queued work. A running job whose lease ran out may be claimed again.';
create index jobs_runnable_idx on jobs (run_at, id) where state = 'pending';
create index jobs_lease_idx on jobs (lease_until) where state = 'running';
create unique index jobs_dedupe_key on jobs (kind, dedupe) where state = 'pending';
create index jobs_model_id_idx on jobs (model_id);

create function notify_jobs() returns trigger language plpgsql as $$
begin
    perform pg_notify('jobs', '');
    return null;
end $$;
create trigger jobs_notify after insert on jobs for each statement execute function notify_jobs();

create table smoke_tests (
    id bigint generated always as identity primary key,
    model_id bigint not null references models (id) on delete cascade,
    revision_id bigint not null references revisions (id) on delete cascade,
    verdict text not null,
    level integer not null,
    checks jsonb not null,
    metrics jsonb not null,
    stages jsonb not null default '[]',
    environment jsonb not null,
    sample text, -- the greedy text; null: none was generated
    started_at timestamptz not null default now(),
    duration_ms bigint not null,
    constraint smoke_tests_verdict_check check (verdict in ('passed', 'warned', 'failed', 'skipped', 'error'))
);
comment on table smoke_tests is 'One run over a revision: verdict, checks with reasons, metrics, environment.';
create index smoke_tests_model_id_idx on smoke_tests (model_id, id desc);
create index smoke_tests_revision_id_idx on smoke_tests (revision_id, id desc);
