//! A DocSpace installation to test against: its database, made from `tests/data/docspace-schema.json` in the
//! machine's own MariaDB, with two tenants, users and API keys, and its `$STORAGE_ROOT` on disc.
//!
//! `DocSpace::create().await` makes one of its own name; dropping it drops the database and the folder.
//! The server is `mysql://root@127.0.0.1:3306`, or what `PORTAL_BACKUP_TEST_MYSQL` names.

#![allow(dead_code)]

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use mysql_async::prelude::Queryable;
use portal_backup::config::{
    Config, DatabaseConfig, FilesystemConfig, LayoutKind, Options, Secret,
};
use portal_backup::portal::docspace::keys::{hash_key, salt};
use serde::Deserialize;
use tempfile::TempDir;

pub const MACHINE_KEY: &str = "1123askdasjklasbnd";
pub const ZERO: &str = "00000000-0000-0000-0000-000000000000";
pub const ADMIN_GROUP: &str = "cd84e66b-b803-40fc-99f9-b2969a54a1de";
pub const TEAM_GROUP: &str = "77777777-0000-0000-0000-000000000007";
pub const LAST_MIGRATION: &str = "20260601120000_MigrationContext_Upgrade42";

/// A user: id, tenant, whether in the group of administrators, `status`, `removed`.
pub struct User(pub &'static str, pub i64, pub bool, pub i32, pub bool);

pub const OWNER: User = User("11111111-0000-0000-0000-000000000001", 1, false, 1, false);
pub const ADMIN: User = User("11111111-0000-0000-0000-000000000002", 1, true, 1, false);
pub const MEMBER: User = User("11111111-0000-0000-0000-000000000003", 1, false, 1, false);
/// Allowed the action of backups by name, through the team it is in.
pub const ALLOWED: User = User("11111111-0000-0000-0000-000000000004", 1, false, 1, false);
/// In the same team, and denied the action itself.
pub const DENIED: User = User("11111111-0000-0000-0000-000000000005", 1, false, 1, false);
pub const TERMINATED_ADMIN: User = User("11111111-0000-0000-0000-000000000006", 1, true, 2, false);
pub const REMOVED_ADMIN: User = User("11111111-0000-0000-0000-000000000007", 1, true, 1, true);
pub const OTHER_OWNER: User = User("22222222-0000-0000-0000-000000000001", 2, false, 1, false);
const USERS: [&User; 8] =
    [&OWNER, &ADMIN, &MEMBER, &ALLOWED, &DENIED, &TERMINATED_ADMIN, &REMOVED_ADMIN, &OTHER_OWNER];

/// An API key: the digit that its 64 are made of, its user, `permissions`, days until it ends, `IsActive`.
pub struct Key(pub char, pub &'static User, Option<&'static str>, Option<i32>, bool);

impl Key {
    /// What a client sends.
    pub fn text(&self) -> String {
        format!("sk-{}", self.0.to_string().repeat(64))
    }

    pub fn id(&self) -> String {
        format!("{0}{0}{0}{0}{0}{0}{0}{0}-0000-4000-8000-000000000000", self.0)
    }
}

pub const OWNER_KEY: Key = Key('0', &OWNER, None, None, true);
pub const ADMIN_KEY: Key = Key('1', &ADMIN, Some(r#"["*"]"#), Some(30), true);
pub const READ_KEY: Key = Key('2', &ADMIN, Some(r#"["*:read"]"#), None, true);
pub const FILES_KEY: Key = Key('3', &ADMIN, Some(r#"["files:read","files:write"]"#), None, true);
pub const MEMBER_KEY: Key = Key('4', &MEMBER, None, None, true);
pub const EXPIRED_KEY: Key = Key('5', &ADMIN, None, Some(-1), true);
pub const INACTIVE_KEY: Key = Key('6', &ADMIN, None, None, false);
pub const OTHER_KEY: Key = Key('7', &OTHER_OWNER, None, None, true);
const KEYS: [&Key; 8] = [
    &OWNER_KEY,
    &ADMIN_KEY,
    &READ_KEY,
    &FILES_KEY,
    &MEMBER_KEY,
    &EXPIRED_KEY,
    &INACTIVE_KEY,
    &OTHER_KEY,
];

/// A file of the storage: its path under `$STORAGE_ROOT`, its key in a bucket, and the member it becomes
/// (None: DocSpace leaves it out). Its content is its path on disc, so that every file is told apart.
pub struct Stored(pub &'static str, pub &'static str, pub Option<&'static str>);

#[rustfmt::skip]
pub const STORED: &[Stored] = &[
    Stored("Products/Files/00/00/01/folder_1000/file_5/v1/content.docx", "00/00/01/files/folder_1000/file_5/v1/content.docx", Some("storage/files/folder_1000/file_5/v1/content.docx")),
    Stored("Products/Files/00/00/01/folder_1000/file_5/v2/content.docx", "00/00/01/files/folder_1000/file_5/v2/content.docx", Some("storage/files/folder_1000/file_5/v2/content.docx")),
    Stored("Products/Files/00/00/01/folder_1000/file_5/v2/thumb.1280x720.webp", "00/00/01/files/folder_1000/file_5/v2/thumb.1280x720.webp", None),
    // Earlier backups: a removed record of the tenant, and one of the installation.
    Stored("Products/Files/00/00/01/folder_1000/file_7/v1/content.tar.gz", "00/00/01/files/folder_1000/file_7/v1/content.tar.gz", None),
    Stored("Products/Files/00/00/01/folder_1000/file_9/v1/content.tar.gz", "00/00/01/files/folder_1000/file_9/v1/content.tar.gz", None),
    Stored("Products/Files/00/00/01/folder_1000/file_77/v1/content.pdf", "00/00/01/files/folder_1000/file_77/v1/content.pdf", Some("storage/files/folder_1000/file_77/v1/content.pdf")),
    Stored("Products/Files/00/00/01/temp/upload.bin", "00/00/01/files/files_temp/upload.bin", None),
    Stored("Products/Files/00/00/02/folder_1000/file_8/v1/content.xlsx", "00/00/02/files/folder_1000/file_8/v1/content.xlsx", Some("storage/files/folder_1000/file_8/v1/content.xlsx")),
    // The number of the first tenant's backup is an ordinary file of the second's.
    Stored("Products/Files/00/00/02/folder_1000/file_7/v1/content.txt", "00/00/02/files/folder_1000/file_7/v1/content.txt", Some("storage/files/folder_1000/file_7/v1/content.txt")),
    Stored("Products/Files/logos/00/00/01/2_original.png", "00/00/01/room_logos/2_original.png", Some("storage/room_logos/2_original.png")),
    Stored("Products/Files/logos/00/00/01/temp/new.png", "00/00/01/room_logos/logos_temp/new.png", None),
    Stored("Products/Ai/mcp/00/00/01/icon.svg", "00/00/01/mcp_icons/icon.svg", Some("storage/mcp_icons/icon.svg")),
    Stored("Studio/00/00/01/logo/logo.png", "00/00/01/logo/logo.png", Some("storage/logo/logo.png")),
    Stored("Studio/00/00/02/logo/logo.png", "00/00/02/logo/logo.png", Some("extra/tenants/2/storage/logo/logo.png")),
    Stored("Studio/00/00/02/logo/only2.png", "00/00/02/logo/only2.png", Some("storage/logo/only2.png")),
    Stored("Studio/00/00/01/CoBranding/a & b.png", "00/00/01/whitelabel/a & b.png", Some("storage/whitelabel/a & b.png")),
    Stored("Studio/00/00/01/customnavigation/menu.png", "00/00/01/customnavigation/menu.png", Some("storage/customnavigation/menu.png")),
    Stored("Studio/00/00/01/webplugins/hello/plugin.js", "00/00/01/webplugins/hello/plugin.js", Some("storage/webplugins/hello/plugin.js")),
    Stored("Studio/00/00/02/webplugins/hello/plugin.js", "00/00/02/webplugins/hello/plugin.js", Some("extra/tenants/2/storage/webplugins/hello/plugin.js")),
    Stored("Studio/00/00/01/userphotos/me.png", "00/00/01/userphotos/me.png", None),
    Stored("Studio/00/00/01/backup/old.tar.gz", "00/00/01/backup/old.tar.gz", None),
    Stored("Studio/00/00/01/temp/backup/1-backup.tar.gz", "00/00/01/backup_temp/1-backup.tar.gz", None),
    Stored("Studio/partnerdata/partner.txt", "static_partnerdata/partner.txt", None),
    // The tenant that holds the installation's settings.
    Stored("Studio/-00/00/01/CoBranding/global.png", "-00/00/01/whitelabel/global.png", Some("storage/whitelabel/global.png")),
    // Of a tenant that is not in the database.
    Stored("Studio/00/00/03/logo/orphan.png", "00/00/03/logo/orphan.png", None),
];

/// The members that a dump must have, each with its content, in the order of their names.
pub fn expected_members() -> Vec<(String, Vec<u8>)> {
    let mut members: Vec<_> = STORED
        .iter()
        .filter_map(|stored| Some((stored.2?.to_owned(), stored.0.as_bytes().to_vec())))
        .collect();
    members.sort();
    members
}

pub struct DocSpace {
    pub database: String,
    /// With the database's name; it has no password.
    pub url: String,
    root: TempDir,
    server: String,
}

impl DocSpace {
    pub async fn create() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var("PORTAL_BACKUP_TEST_MYSQL")
            .unwrap_or_else(|_| "mysql://root@127.0.0.1:3306".to_owned());
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let database = format!("pb_docspace_{}_{number}", std::process::id());
        let url = format!("{server}/{database}");
        let root = tempfile::tempdir().expect("a folder for the storage");
        // Made now, so that a failure below drops the database too.
        let made = Self { database, url, root, server };
        run(
            &made.server,
            &[
                format!("DROP DATABASE IF EXISTS `{}`", made.database),
                format!(
                    "CREATE DATABASE `{}` CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci",
                    made.database
                ),
            ],
        )
        .await;
        made.execute(&schema()).await;
        made.execute(&seeds()).await;
        for stored in STORED {
            let path = made.root().join(stored.0);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
            std::fs::write(path, stored.0).expect("write a file");
        }
        made
    }

    /// `$STORAGE_ROOT`.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The installation as `[portal]`; storages and the catalog lie elsewhere.
    pub fn config(&self) -> Config {
        let mut config = Config::default();
        config.portal.layout = LayoutKind::Docspace;
        config.portal.docspace.machine_key = Secret::new(MACHINE_KEY);
        config.portal.database.push(DatabaseConfig {
            name: "docspace".to_owned(),
            url: Secret::new(self.url.clone()),
        });
        config.portal.filesystem.push(FilesystemConfig {
            name: "data".to_owned(),
            url: url::Url::from_directory_path(self.root()).expect("an absolute path"),
            options: Options::default(),
        });
        config
    }

    /// Runs statements in the database, one after another.
    pub async fn execute<S: AsRef<str>>(&self, statements: &[S]) {
        run(&self.url, statements).await;
    }

    /// The number that a query answers with.
    pub async fn number(&self, sql: &str) -> i64 {
        self.value(sql).await.unwrap().parse().unwrap()
    }

    /// The first column of the first row, as text.
    pub async fn value(&self, sql: &str) -> Option<String> {
        let mut connection = connect(&self.url).await;
        let value: Option<Option<String>> = connection.query_first(sql).await.expect(sql);
        connection.disconnect().await.expect("disconnect");
        value.flatten()
    }
}

impl Drop for DocSpace {
    fn drop(&mut self) {
        let (server, database) = (self.server.clone(), self.database.clone());
        // A test's own runtime cannot be waited for in a drop.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let statement = format!("DROP DATABASE IF EXISTS `{database}`");
            runtime.expect("a runtime").block_on(run(&server, &[statement]));
        });
        if dropped.join().is_err() && !std::thread::panicking() {
            panic!("database {} could not be dropped", self.database);
        }
    }
}

async fn connect(url: &str) -> mysql_async::Conn {
    let opts = mysql_async::Opts::from_url(url).expect("a mysql url");
    mysql_async::Conn::new(opts).await.expect("the machine's MariaDB answers")
}

async fn run<S: AsRef<str>>(url: &str, statements: &[S]) {
    let mut connection = connect(url).await;
    for statement in statements {
        let statement = statement.as_ref();
        if let Err(error) = connection.query_drop(statement).await {
            panic!("{error}\n{statement}");
        }
    }
    connection.disconnect().await.expect("disconnect");
}

#[derive(Deserialize)]
struct Table {
    columns: Vec<Column>,
    primary_key: Vec<String>,
    indexes: Vec<Index>,
    #[serde(default)]
    foreign_keys: Vec<ForeignKey>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    null: bool,
    #[serde(default)]
    auto: bool,
    default: Option<String>,
    computed: Option<String>,
    collation: Option<String>,
}

#[derive(Deserialize)]
struct Index {
    columns: Vec<String>,
    name: Option<String>,
    #[serde(default)]
    unique: bool,
}

#[derive(Deserialize)]
struct ForeignKey {
    column: String,
    table: String,
    references: String,
}

/// The statements that make every table of DocSpace, and one of its events.
pub fn schema() -> Vec<String> {
    let tables: std::collections::BTreeMap<String, Table> =
        serde_json::from_str(include_str!("../data/docspace-schema.json")).expect("the schema");
    let mut statements = vec!["SET FOREIGN_KEY_CHECKS = 0".to_owned()];
    statements.extend(tables.iter().map(|(name, table)| create_table(name, table)));
    statements.push(
        "CREATE TABLE `__EFMigrationsHistory` (`MigrationId` varchar(150) NOT NULL, \
         `ProductVersion` varchar(32) NOT NULL, PRIMARY KEY (`MigrationId`))"
            .to_owned(),
    );
    statements.push(
        "CREATE EVENT `identity_delete_old_consents` ON SCHEDULE EVERY 1 DAY DO \
         DELETE FROM identity_consents WHERE modified_at < NOW() - INTERVAL 30 DAY"
            .to_owned(),
    );
    statements
}

fn create_table(name: &str, table: &Table) -> String {
    let list = |columns: &[String]| {
        columns.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ")
    };
    let mut lines: Vec<_> = table.columns.iter().map(create_column).collect();
    if !table.primary_key.is_empty() {
        lines.push(format!("PRIMARY KEY ({})", list(&table.primary_key)));
    }
    for (number, index) in table.indexes.iter().enumerate() {
        let unnamed = format!("IX_{name}_{number}");
        let unique = if index.unique { "UNIQUE " } else { "" };
        let index_name = index.name.as_deref().unwrap_or(&unnamed);
        lines.push(format!("{unique}KEY `{index_name}` ({})", list(&index.columns)));
    }
    for key in &table.foreign_keys {
        lines.push(format!(
            "CONSTRAINT `FK_{name}_{}` FOREIGN KEY (`{}`) REFERENCES `{}` (`{}`) ON DELETE CASCADE",
            key.column, key.column, key.table, key.references
        ));
    }
    // The only table of DocSpace's with the whole of Unicode.
    let charset = if name == "dbip_lookup" { "utf8mb4" } else { "utf8mb3" };
    format!(
        "CREATE TABLE `{name}` (\n{}\n) ENGINE=InnoDB DEFAULT CHARSET={charset}",
        lines.join(",\n")
    )
}

fn create_column(column: &Column) -> String {
    // The list of facts has no lengths for these.
    let kind = if column.kind == "char" { "char(255)" } else { &column.kind };
    let mut line = format!("`{}` {kind}", column.name);
    if let Some(collation) = &column.collation {
        line +=
            &format!(" CHARACTER SET utf8mb3 COLLATE {}", collation.replace("utf8_", "utf8mb3_"));
    }
    if let Some(expression) = &column.computed {
        return line + &format!(" GENERATED ALWAYS AS ({expression}) STORED");
    }
    line += if column.null { " NULL" } else { " NOT NULL" };
    if column.auto {
        line += " AUTO_INCREMENT";
    }
    if let Some(default) = &column.default {
        // Of texts MySQL takes no literal.
        line += &match kind.contains("text") && default.starts_with('\'') {
            true => format!(" DEFAULT ({default})"),
            false => format!(" DEFAULT {default}"),
        };
    }
    line
}

/// Two tenants with their people, keys, files and earlier backups.
fn seeds() -> Vec<String> {
    let mut sql = vec![
        "SET time_zone = '+00:00'".to_owned(),
        format!(
            "INSERT INTO tenants_tenants \
             (id, alias, creationdatetime, last_modified, name, owner_id, status, timezone, mappeddomain) VALUES \
             (-1, 'settings', '2021-03-09 17:46:59', '2021-03-09 17:46:59', 'Web Office', '{ZERO}', 1, NULL, NULL), \
             (1, 'localhost', '2021-03-09 17:46:59', '2026-01-02 03:04:05', 'Acme', '{}', 0, 'Europe/Paris', \
              'office.example.com'), \
             (2, 'second', '2024-05-06 07:08:09', '2026-01-02 03:04:05', 'Zweite', '{}', 0, 'UTC', NULL)",
            OWNER.0, OTHER_OWNER.0
        ),
        format!(
            "INSERT INTO __EFMigrationsHistory VALUES ('20250101000000_Initial', '9.0.0'), \
             ('{LAST_MIGRATION}', '9.0.0')"
        ),
    ];
    for User(id, tenant, is_admin, status, removed) in USERS {
        sql.push(format!(
            "INSERT INTO core_user (id, tenant, username, firstname, lastname, status, removed, email, create_on, \
             last_modified) VALUES ('{id}', {tenant}, '{id}@example.com', 'Zoë', 'O''Neil', {status}, {removed}, \
             '{id}@example.com', '2025-01-02 03:04:05', '2025-01-02 03:04:05')"
        ));
        if *is_admin {
            sql.push(format!(
                "INSERT INTO core_usergroup (tenant, userid, groupid, ref_type, last_modified) \
                 VALUES ({tenant}, '{id}', '{ADMIN_GROUP}', 0, '2025-01-02 03:04:05')"
            ));
        }
    }
    sql.extend(rights());
    let salt = salt(MACHINE_KEY);
    for Key(digit, user, permissions, days, is_active) in KEYS {
        let key = Key(*digit, user, None, None, true);
        let permissions = permissions.map_or("NULL".to_owned(), |list| format!("'{list}'"));
        let expires =
            days.map_or("NULL".to_owned(), |days| format!("UTC_TIMESTAMP() + INTERVAL {days} DAY"));
        sql.push(format!(
            "INSERT INTO core_user_api_key (Id, name, key_postfix, hashed_key, permissions, create_on, \
             create_by, expires_at, IsActive, tenant_id) VALUES ('{}', 'key {digit}', '{}', '{}', {permissions}, \
             '2025-01-02 03:04:05', '{}', {expires}, {is_active}, {})",
            key.id(),
            digit.to_string().repeat(4),
            hash_key(&key.text(), &salt),
            user.0,
            user.1
        ));
    }
    sql.extend(documents());
    sql
}

/// Of the users who are not administrators.
fn rights() -> Vec<String> {
    let mut sql = vec![format!(
        "INSERT INTO core_acl (tenant, subject, action, object, acetype) VALUES \
         (1, '{TEAM_GROUP}', '60DB830E-80A8-4997-8B83-3D6EA525749B', '', 0), \
         (1, '{}', '60DB830E-80A8-4997-8B83-3D6EA525749B', '', 1)",
        DENIED.0
    )];
    for user in [ALLOWED, DENIED] {
        sql.push(format!(
            "INSERT INTO core_usergroup (tenant, userid, groupid, ref_type, last_modified) \
             VALUES (1, '{}', '{TEAM_GROUP}', 0, '2025-01-02 03:04:05')",
            user.0
        ));
    }
    // Left the group of administrators.
    sql.push(format!(
        "INSERT INTO core_usergroup (tenant, userid, groupid, ref_type, last_modified, removed) \
         VALUES (1, '{}', '{ADMIN_GROUP}', 0, '2025-01-02 03:04:05', 1)",
        MEMBER.0
    ));
    sql
}

fn documents() -> Vec<String> {
    let mut sql = Vec::new();
    for (tenant, id, version, title) in [
        (1, 5, 1, "Plan.docx"),
        (1, 5, 2, "Plan.docx"),
        (1, 7, 1, "backup.tar.gz"),
        (1, 77, 1, "Rechnung für März.pdf"),
        (2, 8, 1, "Budget.xlsx"),
    ] {
        sql.push(format!(
            "INSERT INTO files_file (tenant_id, id, version, version_group, current_version, folder_id, title, \
             content_length, create_by, create_on, modified_by, modified_on) VALUES ({tenant}, {id}, {version}, \
             {version}, 1, 2, '{title}', 58, '{0}', '2025-01-02 03:04:05', '{0}', '2025-01-02 03:04:05')",
            OWNER.0
        ));
    }
    for (id, tenant, storage_type, path, removed) in [
        ("a0000000-0000-0000-0000-000000000001", 1, 0, "7", 1),
        ("a0000000-0000-0000-0000-000000000002", -1, 0, "9", 0),
        ("a0000000-0000-0000-0000-000000000003", 1, 3, "/backups/77", 0),
    ] {
        sql.push(format!(
            "INSERT INTO backup_backup (id, tenant_id, is_scheduled, name, storage_type, storage_path, created_on, \
             hash, removed, paid, storage_params) VALUES ('{id}', {tenant}, 0, 'old.tar.gz', {storage_type}, \
             '{path}', '2025-01-02 03:04:05', '', {removed}, 0, '{{}}')"
        ));
    }
    sql.push(
        "INSERT INTO files_properties (tenant_id, entry_id, data) VALUES \
         (1, '5', '{\"FormFilling\":{\"StartFilling\":1}}'), (1, '77', '{}')"
            .to_owned(),
    );
    sql.push(
        "INSERT INTO core_settings (tenant, id, value, last_modified) VALUES \
         (1, 'CompanyWhiteLabelSettings', X'00FF5C270A0D1A', '2025-01-02 03:04:05')"
            .to_owned(),
    );
    sql
}
