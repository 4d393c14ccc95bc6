-- A change at a root changes the positions of all that descends from it: rows that move within their page touch no index.

-- It has six values, and kept every change of a position from being one.
drop index models_position_idx;
alter table models set (fillfactor = 80);
alter table positions set (fillfactor = 80);
-- Only the licenses of obligations are searched for; paths and words made for hundreds of entries in a change at a root.
drop index positions_obligations_idx;
create index positions_licenses_idx on positions
    using gin (jsonb_path_query_array(obligations, '$[*].license') jsonb_path_ops);
