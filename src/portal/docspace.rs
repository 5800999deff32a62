//! DocSpace's layout: several tenants in one database, files in modules and domains.
