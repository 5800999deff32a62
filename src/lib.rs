//! Portal Backup.
