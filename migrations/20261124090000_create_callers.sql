-- Users, organizations, tokens and page sessions: who may ask for what.

create extension if not exists pg_trgm;

create table namespaces (
    id bigint generated always as identity primary key,
    name text not null,
    key text not null generated always as (lower(name)) stored,
    kind text not null,
    full_name text not null default '',
    is_admin boolean not null default false,
    created_at timestamptz not null default now(),
    constraint namespaces_key_key unique (key),
    constraint namespaces_kind_check check (kind in ('user', 'organization'))
);
comment on table namespaces is 'A user or an organization. Names keep their case and are compared by key.';

create table members (
    organization_id bigint not null references namespaces (id) on delete cascade,
    user_id bigint not null references namespaces (id) on delete cascade,
    role text not null,
    created_at timestamptz not null default now(),
    primary key (organization_id, user_id),
    constraint members_role_check check (role in ('read', 'write', 'admin'))
);
comment on table members is 'What a user may do in an organization.';
create index members_user_id_idx on members (user_id);

create table tokens (
    id bigint generated always as identity primary key,
    user_id bigint not null references namespaces (id) on delete cascade,
    name text not null,
    digest bytea not null,
    scope text not null,
    created_at timestamptz not null default now(),
    last_used_at timestamptz, -- null: never used
    expires_at timestamptz, -- null: does not expire
    revoked_at timestamptz, -- null: in force
    constraint tokens_digest_key unique (digest),
    constraint tokens_scope_check check (scope in ('read', 'write', 'admin'))
);
comment on table tokens is 'Secrets that identify a caller, stored as SHA-256 only and shown once.';
create index tokens_user_id_idx on tokens (user_id);

create table sessions (
    digest bytea primary key,
    token_id bigint not null references tokens (id) on delete cascade,
    csrf text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
comment on table sessions is 'Page sign-ins: the digest of the cookie, the token it stands for, and the form secret.';

create table secrets (
    name text primary key,
    value bytea not null,
    created_at timestamptz not null default now()
);
comment on table secrets is 'Server keys that all replicas share, such as the one that signs upload links.';

create table events (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    actor text not null,
    kind text not null,
    model_id bigint, -- null: not about one model; kept after the model is gone
    subject text not null,
    detail jsonb not null default '{}'
);
comment on table events is 'The audit log: who did what, append-only.';
create index events_model_id_idx on events (model_id, id desc);
