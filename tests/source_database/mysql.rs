//! What is loaded from a dump equals what was dumped.

use portal_backup::source::database::{DatabaseError, Engine};

use crate::support::{
    Refuse, Temporary, data, dump, is_mysql, mariadb, open, skips, try_open, unique,
};

pub const AWKWARD: &str = r#"
SET sql_mode='NO_AUTO_VALUE_ON_ZERO', time_zone='+00:00';
CREATE TABLE numbers (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, i int, t tinyint(1), z int(8) unsigned zerofill,
  d decimal(65,30), f float, g double, h float(10,3), k double(20,5), b bit(10), b64 bit(64), y year);
INSERT INTO numbers VALUES
 (0,-2147483648,2,42,-12345678901234567890123456789012345.123456789012345678901234567890,16777215,
   1.7976931348623157e308,1.234,123456789.12345,b'1000000001',0xffffffffffffffff,0),
 (1,0,1,0,0,3.4028234e38,2.2250738585072014e-308,0.1,0.00001,0,0,2155),
 (5000000000000,null,null,null,null,1.17549435e-38,4.9e-324,null,null,null,null,null),
 (18446744073709551614,7,0,1,1,1e-45,0.1,99999.125,1,1,1,1901),
 (3,1,1,1,1,-0.30000001192092896,-1e-7,1,1,1,1,1970);
CREATE TABLE texts (id int PRIMARY KEY, t longtext, u varchar(200) CHARACTER SET utf8mb3, l text CHARACTER SET latin1,
  j varchar(50) CHARACTER SET cp932, w text CHARACTER SET utf16, c char(10), a text CHARACTER SET ascii, js json);
INSERT INTO texts VALUES
 (1, CONCAT('a\\b''c\r\nd', CHAR(0), 'e', CHAR(26), '\t%_', '\\;'), 'é€', 'café', 'ｱ', '😀a', 'x ', 'plain', '{"a": "\\n\\u0000"}'),
 (2, '😀👩‍👩‍👧', '', '', '', '', '', '', '[]'), (3, null, null, null, null, null, null, null, null),
 (4, 'ends with ;', 'x;', _latin1 0x81FF00, _cp932 0x87518754, '\n;\n', ';', ';\n', 'null'),
 (5, ');\nDROP TABLE texts;\n', '\n\n', '''', '\\\\', '\\''', '''', ' ', '1');
CREATE TABLE `odd``name ünï` (`select` int, `a``b` text, `c,d` int DEFAULT 5 COMMENT 'it''s; \n;') COMMENT='x;\n';
INSERT INTO `odd``name ünï` VALUES (1,'x',2),(1,'x',2),(1,'x',2),(null,null,null);
CREATE TABLE blobs (id int AUTO_INCREMENT PRIMARY KEY, b longblob, v varbinary(300), f binary(4), p point, g geometry);
INSERT INTO blobs VALUES (1,'','','',POINT(1,2),ST_GeomFromText('LINESTRING(0 0,1 1)', 4326)),
 (2,null,null,null,null,null), (3,0x00010203FF275C0A0D,0x27,0x00,null,null);
CREATE TABLE times (id int PRIMARY KEY, d date, dt datetime(6), ts timestamp(3) NULL, t time(6), ts0 timestamp NOT NULL DEFAULT '0000-00-00 00:00:00');
INSERT INTO times VALUES (1,'0000-00-00','0000-00-00 00:00:00',null,'-838:59:59.999999','0000-00-00 00:00:00'),
 (2,'2026-00-12','2026-03-29 02:30:00.123456','2026-03-29 01:30:00.123','00:00:00.000001','2026-10-25 00:30:00'),
 (3,'9999-12-31','9999-12-31 23:59:59.999999','1970-01-01 00:00:01.001','838:59:59','2038-01-19 03:14:07');
CREATE TABLE choices (e enum('','a','é','it''s'), f enum('x','y'), s set('a','b','c d'), u uuid, i6 inet6);
INSERT INTO choices VALUES ('','x','a,b','f96e9100-e59e-11f1-9a05-02fc00000001','::1'), ('é','y','',null,null),
 (null,null,null,null,null), ('it''s','x','b',null,'ffff::');
INSERT IGNORE INTO choices VALUES ('nonsense','nonsense','nonsense',null,null);
CREATE TABLE made (a int, v int AS (a+1) VIRTUAL, h int INVISIBLE DEFAULT 9, s varchar(20) AS (concat('n',a)) STORED, z int);
INSERT INTO made (a,h,z) VALUES (1,2,3),(null,null,null);
CREATE TABLE only_made (v int AS (1+1) STORED, w int INVISIBLE DEFAULT 4);
INSERT INTO only_made () VALUES (),();
CREATE TABLE `empty` (id int PRIMARY KEY AUTO_INCREMENT, x text) AUTO_INCREMENT=77;
CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (0),(7);
CREATE TABLE child (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES parent(id)); INSERT INTO child VALUES (1,7),(2,0);
CREATE TABLE parts (id int) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO parts VALUES (1),(11);
CREATE TABLE res_words (id int); INSERT INTO res_words VALUES (1);
"#;

/// Of each table: the definition, and a checksum of its rows in any order.
fn picture(database: &Temporary) -> Vec<(String, String, String)> {
    let tables = database.run("SHOW TABLES");
    let read = |table: &str| {
        let quoted = format!("`{}`", table.replace('`', "``"));
        let definition = database.run(&format!("SHOW CREATE TABLE {quoted}"));
        let checksum = database.run(&format!("CHECKSUM TABLE {quoted} EXTENDED"));
        let checksum = checksum.rsplit('\t').next().unwrap().to_owned();
        (table.to_owned(), definition, checksum)
    };
    tables.lines().map(read).collect()
}

async fn round_trip(source: &Temporary) -> (Temporary, Vec<u8>) {
    let snapshot = open(&source.url()).snapshot(3).await.unwrap();
    let sql = dump(snapshot.as_ref()).await;
    let target = Temporary::new();
    mariadb(&target.0, &sql);
    (target, sql)
}

#[tokio::test]
async fn every_kind_of_value_comes_back() {
    let source = Temporary::new();
    source.run(AWKWARD);
    let (target, sql) = round_trip(&source).await;
    let (before, after) = (picture(&source), picture(&target));
    assert_eq!(before.len(), 13);
    assert_eq!(before, after);
    // Checksums may be alike where values are not: bytes, and numbers by their bits, are compared as well.
    for query in [
        "SELECT HEX(t),HEX(u),HEX(l),HEX(j),HEX(w),HEX(c),HEX(a),HEX(js) FROM texts ORDER BY id",
        "SELECT HEX(b),HEX(v),HEX(f),HEX(p),HEX(g) FROM blobs ORDER BY id",
        "SELECT id,i,t,z,d,f*1e0,g,h*1e0,k,HEX(b),HEX(b64),y FROM numbers ORDER BY id",
        "SELECT e+0,f+0,s+0,u,i6 FROM choices ORDER BY 1,2,3",
        "SET time_zone='+00:00'; SELECT * FROM times ORDER BY id",
        "SELECT a,v,h,s,z FROM made ORDER BY 1",
    ] {
        assert_eq!(source.run(query), target.run(query), "{query}");
    }
    assert_eq!(target.run("SELECT HEX(j) FROM texts WHERE id=4").trim(), "87518754");
    // DocSpace cuts statements at lines that end with `;`, and at empty lines.
    let text = String::from_utf8(sql).unwrap();
    for line in text.lines() {
        assert!(!line.is_empty() && !line.contains(['\0', '\r']), "{line:?}");
        let whole = line.ends_with(");") || line.starts_with("SET ") || line.starts_with("DROP ");
        assert!(
            !line.ends_with(';') || whole || line.starts_with(')') || line.starts_with(' '),
            "{line}"
        );
    }
}

#[tokio::test]
async fn statements_are_docspaces() {
    let source = Temporary::new();
    source.run("CREATE TABLE t (id int PRIMARY KEY, `b` tinyint(1), x blob); INSERT INTO t VALUES (1,1,'ab'),(2,null,'')");
    let snapshot = open(&source.url()).snapshot(2).await.unwrap();
    let table = &snapshot.tables()[0];
    let scheme = snapshot.scheme(table).await.unwrap();
    assert!(scheme.starts_with("DROP TABLE IF EXISTS `t`;\nCREATE TABLE `t` (\n"), "{scheme}");
    assert!(scheme.ends_with(";\n"), "{scheme}");
    let (rows, sql) = data(snapshot.as_ref(), "t").await;
    assert_eq!(rows, 2);
    assert_eq!(
        String::from_utf8(sql).unwrap(),
        "SET time_zone='+00:00';\nSET sql_mode='NO_AUTO_VALUE_ON_ZERO';\nSET NAMES utf8mb4;\n\
         REPLACE INTO `t` (`id`,`b`,`x`) VALUES \n(1,1,0x6162),\n(2,null,'');\n\
         SET sql_mode=DEFAULT;\nSET time_zone=DEFAULT;\n"
    );
}

#[tokio::test]
async fn tables_that_docspace_fills_carry_no_rows() {
    let source = Temporary::new();
    source.run(
        "CREATE TABLE tenants_tenants (id int); CREATE TABLE core_user (id int);
         CREATE TABLE res_data (id int); INSERT INTO res_data VALUES (1);",
    );
    let snapshot = open(&source.url()).snapshot(2).await.unwrap();
    let table = snapshot.tables().iter().find(|t| t.name == "res_data").unwrap();
    assert!(!table.with_data);
    let scheme = snapshot.scheme(table).await.unwrap();
    assert!(scheme.starts_with("CREATE TABLE IF NOT EXISTS `res_data` ("), "{scheme}");
    assert_eq!(data(snapshot.as_ref(), "res_data").await, (0, Vec::new()));
}

#[tokio::test]
async fn what_belongs_to_no_table_is_carried_and_what_may_be_wrong_is_named() {
    if skips(false) {
        return;
    }
    let source = Temporary::new();
    source.run(
        "CREATE TABLE t (id int); CREATE VIEW a_view AS SELECT * FROM t; CREATE SEQUENCE a_sequence;
         CREATE TRIGGER a_trigger BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 1;
         CREATE PROCEDURE a_procedure() SELECT 1; CREATE FUNCTION a_function() RETURNS int RETURN 1;
         CREATE EVENT an_event ON SCHEDULE EVERY 1 YEAR DISABLE DO SELECT 1;
         CREATE TABLE history (id int) WITH SYSTEM VERSIONING; CREATE TABLE old (id int) ENGINE=MyISAM;",
    );
    let snapshot = open(&source.url()).snapshot(2).await.unwrap();
    let names: Vec<_> = snapshot.tables().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["history", "old", "t"]);
    let warnings = snapshot.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].ends_with("may be of a later moment (1): old"), "{warnings:?}");
    let objects = snapshot.objects().await.unwrap();
    let objects: Vec<_> = objects.iter().map(|object| object.path()).collect();
    let carried = [
        "sequence/a_sequence.sql",
        "procedure/a_procedure.sql",
        "function/a_function.sql",
        "view/a_view.sql",
        "trigger/a_trigger.sql",
        "event/an_event.sql",
    ];
    assert_eq!(objects, carried);
}

#[tokio::test]
async fn a_value_beyond_16_mib_in_a_first_column() {
    let source = Temporary::new();
    let before = source.run("SELECT @@GLOBAL.max_allowed_packet");
    source.run("SET GLOBAL max_allowed_packet=134217728");
    source.run(
        "CREATE TABLE big (v longblob, id int);
         INSERT INTO big VALUES (REPEAT('a',20971520),1),(REPEAT(0x27,17825792),2),('small',3),(REPEAT('c',16777215),4);",
    );
    // Such values are there and must be read also when the server would no longer accept them.
    source.run(&format!("SET GLOBAL max_allowed_packet={before}"));
    let snapshot = open(&source.url()).snapshot(1).await.unwrap();
    let sql = dump(snapshot.as_ref()).await;
    source.run("SET GLOBAL max_allowed_packet=134217728");
    let target = Temporary::new();
    mariadb(&target.0, &sql);
    source.run(&format!("SET GLOBAL max_allowed_packet={before}"));
    let query = "SELECT id, LENGTH(v), SHA2(v, 256) FROM big ORDER BY id";
    assert_eq!(source.run(query), target.run(query));
    assert!(target.run(query).contains("20971520"));
}

#[tokio::test]
async fn refused_connections_say_why() {
    let secret = "hunter2hunter2";
    for (url, word) in [
        (format!("mysql://nobody:{secret}@127.0.0.1/test"), "denied"),
        (format!("mysql://root@127.0.0.1/{}", unique("missing")), "Unknown database"),
        (format!("mysql://root:{secret}@127.0.0.1:1/test"), "refused"),
        (format!("mysql://root:{secret}@no-such-host.invalid/test"), ""),
    ] {
        let error = open(&url).check().await.unwrap_err();
        assert!(matches!(error, DatabaseError::Connect { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(word) && !error.contains(secret), "{error}");
    }
    let error = try_open(&format!("mysql://root:{secret}@127.0.0.1/")).err().unwrap();
    assert!(matches!(error, DatabaseError::Configuration { .. }));
    let info = open("mysql://root@127.0.0.1/test").check().await.unwrap();
    let engine = if is_mysql() { Engine::MySql } else { Engine::MariaDb };
    assert_eq!(info.engine, engine);
}

#[tokio::test]
async fn a_changed_definition_is_told_apart() {
    let source = Temporary::new();
    source.run("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    let snapshot = open(&source.url()).snapshot(1).await.unwrap();
    source.run("ALTER TABLE t ADD COLUMN x int, ALGORITHM=COPY");
    let mut sink = crate::support::Collect::default();
    let error = snapshot.data(&snapshot.tables()[0], &mut sink).await.unwrap_err();
    assert!(matches!(error, DatabaseError::DefinitionChanged { .. }), "{error}");
}

#[tokio::test]
async fn a_sink_that_fails_ends_the_table() {
    let source = Temporary::new();
    source.run("CREATE TABLE t (id int); INSERT INTO t SELECT seq FROM seq_1_to_100000");
    let snapshot = open(&source.url()).snapshot(1).await.unwrap();
    let error = snapshot.data(&snapshot.tables()[0], &mut Refuse).await.unwrap_err();
    assert!(matches!(error, DatabaseError::SinkClosed(_)), "{error}");
    // Its only connection is gone: an error, and no endless wait.
    let again = snapshot.data(&snapshot.tables()[0], &mut Refuse).await.unwrap_err();
    assert!(again.to_string().contains("lost"), "{again}");
}

#[tokio::test]
async fn a_unix_socket_serves_and_tls_is_never_left_out_when_asked_for() {
    let source = Temporary::new();
    let user = unique("s").chars().take(30).collect::<String>();
    source.run(&format!(
        "CREATE USER {user}@'%' IDENTIFIED BY 'secret'; GRANT SELECT ON {}.* TO {user}@'%'",
        source.0
    ));
    let socket = source.run("SELECT @@socket");
    // The port is wrong, so only the socket can have answered.
    let url = format!("mysql://{user}:secret@127.0.0.1:1/{}?socket={}", source.0, socket.trim());
    let through_socket = open(&url).check().await;
    let tls = source.run("SHOW VARIABLES LIKE 'have_ssl'");
    let strict = open(&format!("{}?require_ssl=true", source.url())).check().await;
    mariadb("", format!("DROP USER {user}@'%'").as_bytes());
    through_socket.unwrap();
    assert!(matches!(strict, Err(DatabaseError::Connect { .. })), "{} {strict:?}", tls.trim());
}
