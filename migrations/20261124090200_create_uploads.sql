-- Uploads under way: REST collections, resumable parts, LFS multipart, and Xet transport.

create table uploads (
    id text primary key,
    model_id bigint not null references models (id) on delete cascade,
    user_id bigint not null references namespaces (id) on delete cascade,
    created_at timestamptz not null default now(),
    touched_at timestamptz not null default now()
);
comment on table uploads is 'A collection of files that one commit will publish.';

create table upload_files (
    upload_id text not null references uploads (id) on delete cascade,
    path text not null,
    digest bytea not null references blobs (digest),
    size bigint not null,
    primary key (upload_id, path)
);
comment on table upload_files is 'Complete files of a collection, verified and stored.';
create index upload_files_digest_idx on upload_files (digest);

create table partial_uploads (
    id bigint generated always as identity primary key,
    model_id bigint not null references models (id) on delete cascade,
    user_id bigint not null references namespaces (id) on delete cascade,
    key text not null,
    total_size bigint not null,
    created_at timestamptz not null default now(),
    touched_at timestamptz not null default now(),
    constraint partial_uploads_model_id_user_id_key_key unique (model_id, user_id, key)
);
comment on table partial_uploads is
    'A file that arrives in pieces. key: `rest:UPLOAD:PATH` or `lfs:DIGEST`.';

create table partial_parts (
    partial_id bigint not null references partial_uploads (id) on delete cascade,
    start_offset bigint not null,
    size bigint not null,
    object text not null,
    etag text not null default '',
    primary key (partial_id, start_offset)
);
comment on table partial_parts is 'Pieces held so far, each an object of its own until the file is complete.';

create table upload_grants (
    user_id bigint not null references namespaces (id) on delete cascade,
    digest bytea not null references blobs (digest) on delete cascade,
    model_id bigint not null references models (id) on delete cascade,
    created_at timestamptz not null default now(),
    primary key (user_id, digest, model_id)
);
comment on table upload_grants is
    'Blobs that a user sent for a model and has not committed yet: what a commit may name beside what the model holds.';
create index upload_grants_digest_idx on upload_grants (digest);

create table xorbs (
    hash bytea not null,
    user_id bigint not null references namespaces (id) on delete cascade,
    chunk_hashes bytea not null,
    chunk_lengths integer[] not null,
    object text, -- the serialized xorb while it waits for its shard; null: only its extents remain
    created_at timestamptz not null default now(),
    primary key (hash, user_id),
    constraint xorbs_hash_check check (octet_length(hash) = 32)
);
comment on table xorbs is 'Verified Xet xorbs by who sent them. chunk_hashes: 32 bytes a chunk, in order.';

create table xorb_extents (
    hash bytea not null,
    user_id bigint not null,
    chunk_start integer not null,
    chunk_end integer not null,
    digest bytea not null references blobs (digest) on delete cascade,
    blob_offset bigint not null,
    primary key (hash, user_id, chunk_start, chunk_end, digest, blob_offset),
    foreign key (hash, user_id) references xorbs (hash, user_id) on delete cascade
);
comment on table xorb_extents is 'Where the chunks of a xorb lie in stored blobs, so that later shards can name them.';
create index xorb_extents_digest_idx on xorb_extents (digest);

create table xet_generations (
    user_id bigint primary key references namespaces (id) on delete cascade,
    generation bigint not null default 1
);
comment on table xet_generations is
    'Part of the CAS address of a user: raised when anything their clients may remember was removed.';
