-- Models, their revisions, refs and files.

create table models (
    id bigint generated always as identity primary key,
    namespace text not null,
    name text not null,
    key text not null generated always as (lower(namespace || '/' || name)) stored,
    namespace_key text not null generated always as (lower(namespace)) stored,
    kind text not null,
    visibility text not null default 'public',
    description text not null default '',
    license text, -- the declared label as written, joined with ", "; null: none declared
    license_id text, -- the label normalized; null: none declared
    license_name text, -- the card's license_name; null: not given
    license_link text, -- the card's license_link; null: not given
    card jsonb not null default '{}',
    tags text[] not null default '{}',
    pipeline_tag text, -- null: not given
    library text, -- null: not given
    architecture text, -- null: not known
    parameters bigint, -- null: not known
    dtype text, -- null: not known
    format text, -- safetensors, gguf, pytorch, adapter; null: not known
    bytes bigint not null default 0,
    downloads bigint not null default 0,
    likes bigint not null default 0,
    gated text, -- the upstream gate of a catalogued model; null: none
    sources text[] not null default '{}',
    flags jsonb not null default '[]',
    position text not null default 'unknown',
    smoke_verdict text not null default 'pending',
    lineage_status text not null default 'none',
    children integer not null default 0,
    descendants integer not null default 0,
    head_revision_id bigint, -- the tip of main; null: no revision yet
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint models_key_key unique (key),
    constraint models_kind_check check (kind in ('hosted', 'catalogued')),
    constraint models_visibility_check check (visibility in ('public', 'private')),
    constraint models_position_check check (
        position in ('clear', 'notice', 'review', 'incomplete', 'violation', 'unknown')),
    constraint models_smoke_verdict_check check (
        smoke_verdict in ('passed', 'warned', 'failed', 'skipped', 'error', 'pending', 'none')),
    constraint models_lineage_status_check check (
        lineage_status in ('none', 'declared', 'confirmed', 'contradicted', 'unverifiable', 'detected', 'pending'))
);
comment on table models is
    'A named collection of weights. hosted: its files are here; catalogued: known by metadata only.';
comment on column models.flags is 'What an import found odd: [{code, detail}].';
comment on column models.descendants is 'How many models descend from this one, public ones only; kept by a job.';
create index models_namespace_key_idx on models (namespace_key, key);
create index models_downloads_idx on models (downloads desc, id desc);
create index models_descendants_idx on models (descendants desc, id desc);
create index models_updated_at_idx on models (updated_at desc, id desc);
create index models_license_id_idx on models (license_id);
create index models_position_idx on models (position);
create index models_architecture_idx on models (architecture);
create index models_key_trgm_idx on models using gin (key gin_trgm_ops);

create table model_redirects (
    key text primary key,
    model_id bigint not null references models (id) on delete cascade,
    created_at timestamptz not null default now()
);
comment on table model_redirects is 'Former names of models that were renamed or moved.';

create table blobs (
    digest bytea primary key,
    size bigint not null,
    created_at timestamptz not null default now(),
    last_used_at timestamptz not null default now(),
    constraint blobs_digest_check check (octet_length(digest) = 32),
    constraint blobs_size_check check (size >= 0)
);
comment on table blobs is 'Stored content by SHA-256. A row exists only after its object is complete and verified.';

create table revisions (
    id bigint generated always as identity primary key,
    model_id bigint not null references models (id) on delete cascade,
    commit text not null,
    parent_id bigint references revisions (id) on delete set null, -- null: the first one
    author text not null,
    message text not null,
    description text not null default '',
    bytes bigint not null default 0,
    created_at timestamptz not null default now(),
    constraint revisions_model_id_commit_key unique (model_id, commit)
);
comment on table revisions is 'An immutable state of a model, named by a 40-hex commit id.';
create index revisions_parent_id_idx on revisions (parent_id);
alter table models add constraint models_head_revision_id_fkey
    foreign key (head_revision_id) references revisions (id) on delete set null;

create table files (
    revision_id bigint not null references revisions (id) on delete cascade,
    path text not null,
    size bigint not null,
    digest bytea not null references blobs (digest),
    git_id bytea not null,
    is_lfs boolean not null,
    last_revision_id bigint not null,
    primary key (revision_id, path)
);
comment on table files is 'The files of a revision. git_id: git blob SHA-1 of the content (regular) or of its LFS pointer.';
comment on column files.last_revision_id is 'The revision that last changed this path.';
create index files_digest_idx on files (digest);

create table refs (
    model_id bigint not null references models (id) on delete cascade,
    kind text not null,
    name text not null,
    revision_id bigint not null references revisions (id) on delete cascade,
    message text not null default '',
    created_at timestamptz not null default now(),
    primary key (model_id, kind, name),
    constraint refs_kind_check check (kind in ('branch', 'tag', 'pull'))
);
comment on table refs is 'Branches, tags and pull-request refs of a model.';
create index refs_revision_id_idx on refs (revision_id);

create table inspections (
    digest bytea primary key references blobs (digest) on delete cascade,
    summary jsonb not null,
    created_at timestamptz not null default now()
);
comment on table inspections is
    'What the parsers found in a blob: format, parameters, dtypes, pickle imports, or the error. Made at commit.';
