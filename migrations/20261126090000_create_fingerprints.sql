-- Fingerprints of weights, what finds relatives by them, and what was concluded from them.

create table fingerprints (
    revision_id bigint primary key references revisions (id) on delete cascade,
    model_id bigint not null references models (id) on delete cascade,
    kind text not null,
    version integer not null,
    weights bytea not null,
    blob bytea references blobs (digest), -- the fingerprint file; null: not fingerprinted, or an adapter
    reason text, -- why there is none; null: there is one
    hidden bigint not null default 0,
    summary jsonb not null default '{}',
    signature bytea, -- 4 KiB of sign bits that rank candidates; null: not fingerprinted
    leader_id bigint references fingerprints (revision_id) on delete set null, -- whose bands find it; null: none yet
    created_at timestamptz not null default now(),
    constraint fingerprints_kind_check check (kind in ('model', 'adapter', 'none'))
);
comment on table fingerprints is 'What is known of each revision''s weights. The bulk is a blob; here is what queries need.';
comment on column fingerprints.weights is 'Digest of the files that the fingerprint depends on: equal ones have equal fingerprints.';
comment on column fingerprints.hidden is 'Width of the residual stream; models of other widths are compared by whole tensors only.';
alter table fingerprints alter column signature set storage external;
create index fingerprints_model_id_idx on fingerprints (model_id, revision_id desc);
create index fingerprints_weights_idx on fingerprints (weights);
create index fingerprints_blob_idx on fingerprints (blob);
create index fingerprints_leader_id_idx on fingerprints (leader_id);
create index fingerprints_version_idx on fingerprints (version);

create table fingerprint_tensors (
    revision_id bigint not null references fingerprints (revision_id) on delete cascade,
    slot text not null,
    canonical bytea not null,
    primary key (revision_id, slot)
);
comment on table fingerprint_tensors is
    'Digest of each matrix rounded to bf16, in its canonical order of rows: equal for copies, casts and shared layers.';
create index fingerprint_tensors_canonical_idx on fingerprint_tensors (canonical);

create table fingerprint_bands (
    kind smallint not null,
    band smallint not null,
    key integer not null,
    leader_id bigint not null references fingerprints (revision_id) on delete cascade,
    primary key (kind, band, key, leader_id)
);
comment on table fingerprint_bands is
    'Sign bits of leaders at fixed coordinates (locality-sensitive hashing). kind 0: weights, 1: the invariant.';
create index fingerprint_bands_leader_id_idx on fingerprint_bands (leader_id);

create table file_prints (
    digest bytea primary key references blobs (digest) on delete cascade,
    version integer not null,
    blob bytea not null references blobs (digest),
    created_at timestamptz not null default now()
);
comment on table file_prints is 'What was taken of a weight file''s tensors while it was uploaded; becomes part of fingerprints.';
create index file_prints_blob_idx on file_prints (blob);

create table judgments (
    id bigint generated always as identity primary key,
    model_id bigint not null references models (id) on delete cascade,
    revision_id bigint not null references revisions (id) on delete cascade,
    audience text, -- namespace whose private models were candidates too; null: public ones only
    algorithm integer not null,
    kind text not null,
    related bigint[] not null default '{}',
    shared_start bigint[] not null default '{}',
    detail jsonb not null default '{}',
    computed_at timestamptz not null default now(),
    superseded_at timestamptz -- null: in force
);
comment on table judgments is 'What the weights say of a revision as a whole: its kind, its relatives by revision. Append-only.';
create unique index judgments_in_force_key on judgments (model_id, coalesce(audience, '')) where superseded_at is null;
create index judgments_revision_id_idx on judgments (revision_id);

create table verdicts (
    id bigint generated always as identity primary key,
    child_id bigint not null references models (id) on delete cascade,
    child_revision_id bigint references revisions (id) on delete cascade, -- null: the child has no files
    parent_id bigint not null references models (id) on delete cascade,
    parent_revision_id bigint references revisions (id) on delete set null, -- null: not hosted
    relation text not null,
    verdict text not null,
    level text not null,
    confidence real not null,
    sentence text not null,
    nearer_id bigint references models (id) on delete set null, -- a parent that fits better; null: none
    algorithm integer not null,
    evidence jsonb not null default '{}',
    computed_at timestamptz not null default now(),
    superseded_at timestamptz, -- null: in force
    constraint verdicts_verdict_check check (
        verdict in ('confirmed', 'confirmed_family', 'contradicted', 'unverifiable', 'pending', 'detected')),
    constraint verdicts_level_check check (level in ('certain', 'probable', 'none'))
);
comment on table verdicts is 'What the weights say of a parent link, with its evidence. Append-only: a new one supersedes.';
create unique index verdicts_in_force_key on verdicts (child_id, parent_id) where superseded_at is null;
create index verdicts_child_id_idx on verdicts (child_id, id desc);
create index verdicts_parent_id_idx on verdicts (parent_id);
create index verdicts_nearer_id_idx on verdicts (nearer_id);

create table weight_comparisons (
    child_revision_id bigint not null references revisions (id) on delete cascade,
    parent_revision_id bigint not null references revisions (id) on delete cascade,
    result jsonb not null,
    created_at timestamptz not null default now(),
    primary key (child_revision_id, parent_revision_id)
);
comment on table weight_comparisons is 'All weights of two revisions, streamed and compared: what a contradiction rests on.';
create index weight_comparisons_parent_revision_id_idx on weight_comparisons (parent_revision_id);

create table link_decisions (
    id bigint generated always as identity primary key,
    child_id bigint not null references models (id) on delete cascade,
    parent_id bigint not null references models (id) on delete cascade,
    action text not null,
    reason text not null,
    decided_by text not null,
    created_at timestamptz not null default now(),
    constraint link_decisions_action_check check (action in ('dispute', 'confirm', 'overrule', 'reopen'))
);
comment on table link_decisions is 'What people say of a measured verdict: owners dispute, admins confirm or overrule.';
create index link_decisions_link_idx on link_decisions (child_id, parent_id, id desc);
create index link_decisions_parent_id_idx on link_decisions (parent_id);

create view link_standings as
    select distinct on (child_id, parent_id) child_id, parent_id, action
    from link_decisions where action in ('confirm', 'overrule', 'reopen')
    order by child_id, parent_id, id desc;
comment on view link_standings is 'What administrators decided last of each link.';

create table lineage_policies (
    namespace text primary key,
    on_contradiction text not null default 'note',
    changed_by text not null,
    changed_at timestamptz not null default now(),
    constraint lineage_policies_on_contradiction_check check (on_contradiction in ('note', 'review', 'quarantine'))
);
comment on table lineage_policies is 'What happens to a model of a namespace (lower case) when a declared parent is contradicted.';

alter table models add column hold text; -- null: served as usual
alter table models add constraint models_hold_check check (hold in ('review', 'quarantine'));
create index models_hold_idx on models (hold) where hold is not null;

-- What weights show without a claim is a verdict of its own.
alter table claims drop constraint claims_verdict_check;
alter table claims add constraint claims_verdict_check check (
    verdict in ('confirmed', 'confirmed_family', 'contradicted', 'unverifiable', 'pending', 'detected'));
