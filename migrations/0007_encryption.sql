-- What is kept of an encrypted archive because nobody here may be able to open it again: compressed, sealed, in parts.
create table if not exists portal_backup_kept_parts (
    archive_id varchar(36) not null,
    part bigint not null,
    content {longtext} not null,
    primary key (archive_id, part)
){options};
