-- Claims: stated parent links, with what the weights say about them.

create table claims (
    id bigint generated always as identity primary key,
    child_id bigint not null references models (id) on delete cascade,
    parent_id bigint not null references models (id) on delete cascade,
    parent_revision text, -- commit of the parent when it was hosted; null: not pinned
    revision_id bigint references revisions (id) on delete set null, -- the child's revision that says so; null: none
    relation text not null,
    origin text not null,
    source text not null,
    verdict text not null default 'pending',
    confidence real not null default 0,
    evidence jsonb not null default '{}',
    in_cycle boolean not null default false,
    created_by text not null default '',
    created_at timestamptz not null default now(),
    withdrawn_at timestamptz, -- null: in force
    constraint claims_relation_check check (relation in (
        'finetune', 'adapter', 'merge', 'quantized', 'copy', 'pruned', 'extended', 'distill', 'unknown')),
    constraint claims_origin_check check (origin in ('declared', 'inferred', 'detected')),
    constraint claims_verdict_check check (
        verdict in ('confirmed', 'confirmed_family', 'contradicted', 'unverifiable', 'pending')),
    constraint claims_self_check check (child_id <> parent_id)
);
comment on table claims is
    'A stated parent link. source: card, adapter_config, gguf, mergekit, api, import. Withdrawn ones stay for history.';
create unique index claims_in_force_key on claims (child_id, parent_id, source) where withdrawn_at is null;
create index claims_child_id_idx on claims (child_id, parent_id) where withdrawn_at is null;
create index claims_parent_id_idx on claims (parent_id, child_id) where withdrawn_at is null;
create index claims_in_cycle_idx on claims (child_id) where in_cycle and withdrawn_at is null;
