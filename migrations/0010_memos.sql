-- What the next increment needs of an encrypted archive, in parts: compressed, and sealed with server.secret_key.
create table if not exists portal_backup_memos (
    archive_id varchar(36) not null,
    part bigint not null,
    content {longtext} not null,
    primary key (archive_id, part)
){options};
