-- License positions, findings, waivers.

create table positions (
    model_id bigint primary key references models (id) on delete cascade,
    position text not null,
    declared text, -- null: no label
    expression text, -- null: nothing known
    detected jsonb not null default '[]',
    obligations jsonb not null default '[]',
    input_digest bytea not null,
    computed_at timestamptz not null default now(),
    constraint positions_position_check check (
        position in ('clear', 'notice', 'review', 'incomplete', 'violation', 'unknown'))
);
comment on table positions is 'A model''s license situation as last judged, with the digest of what it was judged from.';

create table findings (
    id bigint generated always as identity primary key,
    model_id bigint not null references models (id) on delete cascade,
    rule text not null,
    severity text not null,
    about text not null,
    message text not null,
    license text, -- null: not about one license
    section text, -- null: no clause
    path text[] not null,
    path_ids bigint[] not null,
    remedy text not null default '',
    created_at timestamptz not null default now(),
    constraint findings_severity_check check (severity in ('violation', 'incomplete', 'review', 'notice'))
);
comment on table findings is 'What the audit found; path is the shortest witness from the model to the ancestor.';
create index findings_model_id_idx on findings (model_id);
create index findings_rule_idx on findings (rule, severity);

create table waivers (
    id bigint generated always as identity primary key,
    scope text not null,
    model_id bigint references models (id) on delete cascade, -- null: the whole namespace
    namespace text not null,
    rule text not null,
    about text not null default '',
    path_digest bytea, -- null: any path
    reason text not null,
    owner text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz, -- null: in force
    constraint waivers_scope_check check (scope in ('model', 'namespace'))
);
comment on table waivers is 'Accepted findings, with reason, owner and expiry.';
create index waivers_model_id_idx on waivers (model_id);
