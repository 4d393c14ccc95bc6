-- A number that moves whenever something changes that lists and totals count, so that counts can be kept until then.

create sequence data_version;

comment on sequence data_version is 'moves with every change that facets, totals and audit figures count';

create function bump_data_version() returns trigger language plpgsql as $$
begin
    perform nextval('data_version');
    return null;
end
$$;

create trigger models_bump_data_version
    after insert or delete or update of namespace, name, kind, visibility, license_id, position, smoke_verdict,
        lineage_status, architecture, format, bytes, descendants, tags
    on models for each statement execute function bump_data_version();

create trigger claims_bump_data_version
    after insert or delete or update of withdrawn_at, verdict
    on claims for each statement execute function bump_data_version();

create trigger findings_bump_data_version
    after insert or delete or update
    on findings for each statement execute function bump_data_version();

-- Newest uploads, which the start page shows.
create index models_hosted_updated_at_idx on models (updated_at desc, id desc) where kind = 'hosted';
