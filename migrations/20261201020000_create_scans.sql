-- What a file would run when it is loaded, and answers that do not depend on the name under which bytes came first.

create table scans (
    digest bytea not null references blobs (digest) on delete cascade,
    read_as text not null, -- how its path says that it is read: the same bytes under another name may be worse
    version integer not null, -- of the scanner; an answer of another version is made anew
    report jsonb not null,
    created_at timestamptz not null default now(),
    constraint scans_pkey primary key (digest, read_as)
);
comment on table scans is
    'What loading a blob would run, by how it is read: imports of pickles, code, and where the walk stopped.';

-- Summaries of before were made for the first name only; nobody asks for the kind that they are given here.
alter table inspections add column kind text not null default '';
comment on column inspections.kind is 'What the path says that the blob is: the parser that made the summary.';
alter table inspections drop constraint inspections_pkey;
alter table inspections add constraint inspections_pkey primary key (digest, kind);
