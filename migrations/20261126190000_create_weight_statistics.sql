-- What the values of weight files look like, summed while they were uploaded.

create table weight_statistics (
    digest bytea not null references blobs (digest) on delete cascade,
    version integer not null,
    sums jsonb not null,
    primary key (digest, version)
);
comment on table weight_statistics is
    'Counts and sums of the values of each tensor of plain floats in a weight file, by where the tensor begins.';
