-- The number by which RavenDB's clients know an operation; null: they are told none.
alter table portal_backup_operations add column operation_number bigint;

update portal_backup_operations set operation_number = id where job_id is not null;

create unique index portal_backup_operations_number on portal_backup_operations (operation_number);

-- The index that was restored with a source, sealed; null: none was.
alter table portal_backup_sources add column restored_index {longtext};

-- Nothing was ever kept there.
drop table if exists portal_backup_kept_parts;
