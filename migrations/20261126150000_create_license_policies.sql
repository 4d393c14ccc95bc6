-- What a namespace means to do with models, what it accepts, and what is kept of how positions came about.

create table license_texts (
    digest bytea primary key references blobs (digest) on delete cascade,
    license text, -- key of the license whose text it is; null: not recognized
    excerpt text not null,
    catalogue text not null,
    created_at timestamptz not null default now()
);
comment on table license_texts is 'What license and notice files were recognized as, and how they begin.';
comment on column license_texts.catalogue is 'Version of the catalogue that they were compared with; another one: compare again.';

create table custom_licenses (
    key text primary key,
    entry jsonb not null,
    changed_by text not null,
    changed_at timestamptz not null default now()
);
comment on table custom_licenses is 'Licenses that administrators added to the catalogue, in its form; keys begin with LicenseRef-.';

create table license_policies (
    namespace text primary key,
    profile jsonb not null default '{}',
    allow text[] not null default '{}',
    deny text[] not null default '{}',
    block_push text not null default 'never',
    block_download text not null default 'never',
    changed_by text not null,
    changed_at timestamptz not null default now(),
    constraint license_policies_block_push_check check (block_push in ('never', 'violation', 'incomplete', 'review')),
    constraint license_policies_block_download_check check (
        block_download in ('never', 'violation', 'incomplete', 'review'))
);
comment on table license_policies is
    'Intended use of the models of a namespace (lower case), the licenses it accepts, and what findings block.';

create table waiver_rights (
    namespace text not null,
    user_id bigint not null references namespaces (id) on delete cascade,
    granted_by text not null,
    created_at timestamptz not null default now(),
    primary key (namespace, user_id)
);
comment on table waiver_rights is 'Who may accept findings of the models of a namespace (lower case).';
create index waiver_rights_user_id_idx on waiver_rights (user_id);

alter table waivers add column revoked_by text; -- null: in force
alter table waivers add column created_by text not null default '';
alter table waivers add constraint waivers_model_check check ((scope = 'model') = (model_id is not null));
create index waivers_namespace_idx on waivers (lower(namespace)) where revoked_at is null;

alter table findings add column waiver_id bigint references waivers (id) on delete set null; -- null: not accepted
create index findings_waiver_id_idx on findings (waiver_id) where waiver_id is not null;

alter table models add column is_license_held boolean not null default false;
comment on column models.is_license_held is 'The policy of its namespace keeps its files back because of its license findings.';

create table position_changes (
    id bigint generated always as identity primary key,
    model_id bigint not null references models (id) on delete cascade,
    previous text, -- null: the first judgement
    position text not null,
    reason text not null default '',
    at timestamptz not null default now()
);
comment on table position_changes is 'How the license positions of models changed; reason: the gravest finding then, as RULE@about.';
create index position_changes_model_id_idx on position_changes (model_id, id desc);
create index position_changes_at_idx on position_changes (at);

create table webhooks (
    id bigint generated always as identity primary key,
    namespace text not null,
    url text not null,
    secret text not null,
    created_by text not null,
    created_at timestamptz not null default now(),
    last_status text, -- null: nothing was delivered yet
    last_at timestamptz -- null: nothing was delivered yet
);
comment on table webhooks is 'Where changes of the models of a namespace (lower case) are told, signed with the secret.';
create index webhooks_namespace_idx on webhooks (namespace);

create index positions_obligations_idx on positions using gin (obligations jsonb_path_ops);
