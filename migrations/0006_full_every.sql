-- Of a schedule of increments: how old the last full backup may become, such as 7d; null: any age.
alter table portal_backup_schedules add column full_every varchar(64);
