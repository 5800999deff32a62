-- Who deleted a schedule whose row in the portal's own table is still to go; null: nobody that is known.
alter table portal_backup_schedules add column deleted_by {longtext};
