use proptest::prelude::*;

use super::lexer::{Lexer, Step};
use super::*;
use crate::source::database::Trust;

/// What the splitter gives for a text that is cut into pieces of `piece` bytes.
fn split(
    dialect: Dialect,
    text: &[u8],
    piece: usize,
    chunk: usize,
) -> Result<Vec<Vec<u8>>, SqlError> {
    let mut splitter = Splitter::new(dialect, Limits { chunk, ..Limits::default() });
    let mut all = Vec::new();
    let mut take = |splitter: &mut Splitter| {
        while let Some(found) = splitter.next()? {
            let mut statement = Vec::new();
            match found {
                Chunk::Statement(text) => statement.extend_from_slice(text),
                Chunk::Rows(rows) => rows.write(None, None, &mut statement),
            }
            all.push(statement);
        }
        Ok(())
    };
    for piece in text.chunks(piece.max(1)) {
        splitter.push(piece);
        take(&mut splitter)?;
    }
    splitter.finish();
    take(&mut splitter)?;
    assert_eq!(splitter.consumed(), text.len() as u64);
    Ok(all)
}

fn strings(dialect: Dialect, text: &str) -> Vec<String> {
    let whole = split(dialect, text.as_bytes(), usize::MAX, 1 << 20).unwrap();
    for piece in 1..=text.len().min(40) {
        assert_eq!(split(dialect, text.as_bytes(), piece, 1 << 20).unwrap(), whole, "{piece}");
    }
    whole.into_iter().map(|statement| String::from_utf8(statement).unwrap()).collect()
}

#[test]
fn statements_end_at_their_own_semicolon() {
    let text = "-- first; comment\n/* ; */ # ;\n;;DROP TABLE `a;``b`;\nCREATE TABLE x (a text COMMENT 'it''s; \\'; \\\\', b char(1) DEFAULT \";\\\"\") /*!50100 PARTITION BY KEY (a) COMMENT=';*/' */ -- ; here\n;SELECT 1--2;SELECT '\u{e4};' /* x;**/;\n-- end";
    assert_eq!(
        strings(Dialect::MySql, text),
        [
            "DROP TABLE `a;``b`",
            "CREATE TABLE x (a text COMMENT 'it''s; \\'; \\\\', b char(1) DEFAULT \";\\\"\") /*!50100 PARTITION BY KEY (a) COMMENT=';*/' */ -- ; here\n",
            "SELECT 1--2",
            "SELECT '\u{e4};' /* x;**/",
        ]
    );
}

#[test]
fn sqlite_has_rules_of_its_own() {
    let text = "--;\nCREATE TABLE \"a;\" ([b;] TEXT DEFAULT '\\');SELECT x'00';SELECT 1--;\n;\
        CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; SELECT ';END;'; END ; SELECT /* ; */ 2;\
        CREATE TABLE trigger_log (a);CREATE /**/ TRIGGER \"x\" BEGIN SELECT 1; /* */ END; SELECT 3;";
    assert_eq!(
        strings(Dialect::Sqlite, text),
        [
            "CREATE TABLE \"a;\" ([b;] TEXT DEFAULT '\\')",
            "SELECT x'00'",
            "SELECT 1--;\n",
            "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; SELECT ';END;'; END ",
            "SELECT /* ; */ 2",
            "CREATE TABLE trigger_log (a)",
            "CREATE /**/ TRIGGER \"x\" BEGIN SELECT 1; /* */ END",
            "SELECT 3",
        ]
    );
}

#[test]
fn rows_come_in_parts_that_are_statements() {
    let rows: Vec<String> = (0..50).map(|n| format!("({n},'x),(;{n}')")).collect();
    let text =
        format!("REPLACE INTO `t` (`a`,`b``c`) VALUES \n{};\nDROP TABLE t;", rows.join(",\n"));
    for piece in [1, 7, 100, 10_000] {
        let parts = split(Dialect::MySql, text.as_bytes(), piece, 120).unwrap();
        assert!(parts.iter().all(|part| part.len() <= 120));
        assert!(parts.len() > 10 && parts.len() < 30, "{}", parts.len());
        assert_eq!(parts.last().unwrap(), b"DROP TABLE t");
        let again: Vec<String> = parts[..parts.len() - 1]
            .iter()
            .map(|part| {
                let part = std::str::from_utf8(part).unwrap();
                part.strip_prefix("REPLACE INTO `t` (`a`,`b``c`) VALUES ").unwrap().to_owned()
            })
            .collect();
        assert_eq!(again.join(",\n"), rows.join(",\n"));
    }
}

#[test]
fn a_row_longer_than_a_part_stands_alone() {
    let long = format!("('{}')", "x".repeat(500));
    let text =
        format!("INSERT INTO t VALUES (1),(2),{long},{long},(3),(4);INSERT INTO t VALUES {long};");
    let parts = split(Dialect::MySql, text.as_bytes(), 64, 40).unwrap();
    let bodies: Vec<_> = parts
        .iter()
        .map(|part| std::str::from_utf8(&part["INSERT INTO t VALUES ".len()..]).unwrap())
        .collect();
    assert_eq!(bodies, ["(1),(2)", &long, &long, "(3),(4)", &long]);
}

#[test]
fn columns_can_be_left_out() {
    let mut splitter = Splitter::new(Dialect::MySql, Limits::default());
    splitter.push(b"insert ignore into `db`.`t` (`a`, b ,`c`) values (1, now(1,2) ,'x'),( 2 ,\"(\" , _utf8'\\'' 'z') ;");
    splitter.finish();
    let Some(Chunk::Rows(rows)) = splitter.next().unwrap() else { panic!() };
    assert_eq!(rows.columns().unwrap(), [b"a", b"b", b"c"]);
    assert_eq!(rows.count(), 2);
    let mut out = Vec::new();
    rows.write(Some("`x`.`y`"), Some(&[true, false]), &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "insert ignore into `x`.`y` (`a`,`c`) VALUES (1,'x'),(2,_utf8'\\'' 'z')"
    );
    let values: Vec<Vec<&[u8]>> = rows.rows().map(Iterator::collect).collect();
    assert_eq!(values[0], [&b"1"[..], b"now(1,2)", b"'x'"]);
    assert!(splitter.next().unwrap().is_none());
}

#[test]
fn what_is_no_list_of_rows_stays_whole() {
    for text in [
        "INSERT INTO t SELECT * FROM u",
        "INSERT t VALUES (1)",
        "REPLACE INTO t SET a=1",
        "INSERT INTO t /*!50000 (a) */ VALUES (1)",
    ] {
        assert_eq!(strings(Dialect::MySql, &format!("{text};")), [text]);
    }
    let empty = "REPLACE INTO `t` () VALUES \n(),\n();";
    assert_eq!(strings(Dialect::MySql, empty), ["REPLACE INTO `t` () VALUES (),\n()"]);
}

#[test]
fn damaged_members_are_refused() {
    let fails = |text: &str| {
        let whole = split(Dialect::MySql, text.as_bytes(), usize::MAX, 1000).unwrap_err();
        for piece in 1..8 {
            assert_eq!(split(Dialect::MySql, text.as_bytes(), piece, 1000).unwrap_err(), whole);
        }
        whole
    };
    for cut in [
        "SELECT 'a",
        "SELECT 1",
        "DROP TABLE `t",
        "/* a",
        "INSERT INTO t VALUES (1),",
        "INSERT INTO t VALUES (1",
        "SELECT '\\",
    ] {
        assert!(matches!(fails(cut), SqlError::Unfinished { .. }), "{cut}");
    }
    for bad in [
        "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a=1;",
        "INSERT INTO t VALUES (1),;",
        "INSERT INTO t VALUES (1,);",
        "INSERT INTO t VALUES (,1);",
        "INSERT INTO t (a,b) VALUES (1);",
        "INSERT INTO t VALUES (1;",
        "INSERT INTO t VALUES (1 /*! ,2 */);",
        "INSERT INTO t VALUES (1) (2);",
        "INSERT INTO t VALUES ROW(1);",
    ] {
        assert!(matches!(fails(bad), SqlError::BadRow { row: 1 | 2, .. }), "{bad}");
    }
    assert_eq!(fails("DELIMITER //\nSELECT 1//"), SqlError::Delimiter);
}

#[test]
fn no_more_is_held_than_the_limit() {
    let limits = Limits { statement: 1000, row: 3000, chunk: 500 };
    for begin in [
        "SELECT '",
        "/* ",
        "REPLACE INTO t VALUES ('",
        "REPLACE INTO t VALUES (1),('",
        "REPLACE INTO t VALUES (1,'",
    ] {
        let mut splitter = Splitter::new(Dialect::MySql, limits);
        splitter.push(begin.as_bytes());
        let mut error = None;
        for _ in 0..100 {
            splitter.push(&[b'x'; 100]);
            if let Err(failure) = splitter.next() {
                error = Some(failure);
                break;
            }
        }
        assert!(matches!(error, Some(SqlError::TooLong { limit: 1000, .. })), "{begin}");
    }

    // A row of several long values is longer than any of them may be; but not of any number.
    for (values, fits) in [(3, true), (4, false)] {
        let mut splitter = Splitter::new(Dialect::MySql, limits);
        let values = vec![format!("'{}'", "x".repeat(900)); values].join(",");
        splitter.push(format!("REPLACE INTO t VALUES ({values});").as_bytes());
        splitter.finish();
        match splitter.next() {
            Ok(Some(Chunk::Rows(rows))) => assert!(fits && rows.count() == 1),
            Err(SqlError::TooLong { limit: 3000, .. }) => assert!(!fits),
            other => panic!("{values}: {other:?}"),
        }
    }
}

fn guard(trust: Trust) -> Guard<'static> {
    Guard { dialect: Dialect::MySql, table: "t", trust }
}

/// The first objection to a data member.
fn rows_judged(guard: Guard<'_>, text: &str) -> Result<(), SqlError> {
    let mut splitter = Splitter::new(guard.dialect, Limits::default());
    splitter.push(text.as_bytes());
    splitter.finish();
    while let Some(chunk) = splitter.next()? {
        match chunk {
            Chunk::Statement(text) => guard.statement(text)?,
            Chunk::Rows(rows) => guard.rows(&rows)?,
        }
    }
    Ok(())
}

#[test]
fn what_dumps_define_is_accepted() {
    let create = "CREATE TABLE `t` (\n  `id` int(11) NOT NULL AUTO_INCREMENT,\n  `select` varchar(10) DEFAULT 'a.b @@x',\n  `n` decimal(10,2) DEFAULT 1.5,\n  `g` int GENERATED ALWAYS AS (json_extract(`j`,'$.a')) STORED,\n  `p` timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),\n  PRIMARY KEY (`id`),\n  KEY `k` (`select`(10)),\n  CONSTRAINT `f` FOREIGN KEY (`n`) REFERENCES `other` (`id`) ON DELETE CASCADE,\n  CHECK (`n` like '%x' and `n` in (1,2))\n) ENGINE=InnoDB AUTO_INCREMENT=5 DEFAULT CHARSET=utf8mb3 COMMENT='SELECT ; --'";
    let found = guard(Trust::Foreign).scheme(create.as_bytes()).unwrap();
    assert_eq!(found, SchemeStatement::Create { name: 13..16 });
    let ignored = "CREATE TABLE IF NOT EXISTS `t` (`a` int) ENGINE=MyISAM PARTITION BY RANGE (`a`) (PARTITION `p0` VALUES LESS THAN (10) ENGINE = MyISAM, PARTITION `p1` VALUES IN (1))";
    let found = guard(Trust::Foreign).scheme(ignored.as_bytes()).unwrap();
    assert_eq!(found, SchemeStatement::Create { name: 27..30 });
    for drop in ["DROP TABLE IF EXISTS `t`", "drop table t"] {
        assert_eq!(guard(Trust::Foreign).scheme(drop.as_bytes()), Ok(SchemeStatement::Drop));
    }
    let versioned = "CREATE TABLE `t` (a int /*!80023 INVISIBLE */) ENGINE=CONNECT";
    assert!(guard(Trust::Own).scheme(versioned.as_bytes()).is_ok());
    rows_judged(guard(Trust::Foreign), "SET time_zone='+00:00';\nSET sql_mode='NO_AUTO_VALUE_ON_ZERO';\nREPLACE INTO `t` (`a`,`b`) VALUES \n(1,'x'),\n(null,0x00FF),\n(-1.5,_latin1 0xE9);\nSET sql_mode=DEFAULT;\nSET time_zone=DEFAULT;\n").unwrap();
    rows_judged(guard(Trust::Own), "INSERT IGNORE INTO `t` VALUES (now());").unwrap();
}

#[test]
fn hostile_definitions_are_refused() {
    let both = [
        "DROP TABLE u",
        "DROP TABLE t, u",
        "DROP TABLE mysql.t",
        "DROP TABLE `t`.`t`",
        "DROP DATABASE t",
        "CREATE TABLE u (a int)",
        "CREATE TABLE mysql.t (a int)",
        "CREATE TEMPORARY TABLE t (a int)",
        "CREATE VIEW t AS SELECT 1",
        "CREATE USER t",
        "CREATE INDEX i ON t (a)",
        "GRANT ALL ON *.* TO x",
        "SET GLOBAL general_log=1",
        "SET time_zone='+00:00', GLOBAL x=1",
        "LOAD DATA INFILE '/etc/passwd' INTO TABLE t",
        "/*!50000 DROP TABLE u */",
        "/*M! DROP TABLE u */",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "CREATE TABLE t (a int); DROP TABLE u",
        "INSERT INTO t VALUES (1)",
        "PRAGMA writable_schema=1",
        "",
    ];
    for text in both {
        for trust in [Trust::Foreign, Trust::Own] {
            let error = guard(trust).scheme(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("member of table t"), "{error}");
        }
    }
    let foreign = [
        "CREATE OR REPLACE TABLE t (a int)",
        "CREATE TABLE t SELECT * FROM mysql.user",
        "CREATE TABLE t (a int) SELECT 1",
        "CREATE TABLE t (a int) AS (SELECT 1)",
        "CREATE TABLE t (a int) AS TABLE u",
        "CREATE TABLE t (a int) VALUES ROW(1)",
        "CREATE TABLE t LIKE mysql.user",
        "CREATE TABLE t (LIKE u)",
        "CREATE TABLE t (a int) DATA DIRECTORY='/tmp'",
        "CREATE TABLE t (a int) INDEX DIRECTORY '/tmp'",
        "CREATE TABLE t (a int) ENGINE=FEDERATED CONNECTION='mysql://x'",
        "CREATE TABLE t (a int) CONNECTION='x'",
        "CREATE TABLE t (a int) ENGINE = 'CONNECT'",
        "CREATE TABLE t (a int) engine spider",
        "CREATE TABLE t (a int) ENGINE=`CSV`",
        "CREATE TABLE t (a int) ENGINE=S3",
        "CREATE TABLE t (a int) ENGINE",
        "CREATE TABLE t (a int) UNION=(mysql.user)",
        "CREATE TABLE t (a int) TABLESPACE x",
        "CREATE TABLE t (a int, FOREIGN KEY (a) REFERENCES mysql.user (b))",
        "CREATE TABLE t (a int, FOREIGN KEY (a) REFERENCES `mysql` . `user` (b))",
        "CREATE TABLE t (a int DEFAULT (load_file('/etc/passwd')))",
        "CREATE TABLE t (a int DEFAULT (SLEEP(9)))",
        "CREATE TABLE t (a int DEFAULT (@@version))",
        "CREATE TABLE t (a int) /*!50100 DATA DIRECTORY='/tmp' */",
        "CREATE TABLE t (a int) /*M! DATA DIRECTORY='/tmp' */",
        "CREATE TABLE t /* x */ (a int)",
        "CREATE TABLE t (a int) -- x",
        "CREATE TABLE t (a int \0)",
        "CREATE TABLE t (a int) PARTITION BY KEY (a) (PARTITION p DATA DIRECTORY='/tmp')",
        "DROP TABLE /*!u,*/ t",
    ];
    for text in foreign {
        let judged = guard(Trust::Foreign).scheme(text.as_bytes());
        assert!(matches!(judged, Err(SqlError::Refused { .. })), "{text}");
    }
}

#[test]
fn hostile_rows_are_refused() {
    for text in [
        "INSERT INTO u VALUES (1);",
        "INSERT INTO mysql.t VALUES (1);",
        "INSERT INTO t SELECT * FROM u;",
        "REPLACE INTO t SET a=1;",
        "DELETE FROM t;",
        "SET sql_mode='ANSI_QUOTES';",
        "SET @a=1;",
        "CREATE TABLE t (a int);",
    ] {
        for trust in [Trust::Foreign, Trust::Own] {
            assert!(rows_judged(guard(trust), text).is_err(), "{text}");
        }
    }
    for text in [
        "INSERT IGNORE INTO t VALUES (1);",
        "INSERT INTO t VALUES (1, load_file('/etc/passwd'));",
        "INSERT INTO t VALUES ((SELECT 1));",
        "INSERT INTO t VALUES (@@version);",
        "INSERT INTO t VALUES ('a' or sleep(1));",
        "INSERT INTO t VALUES (1 /* x */);",
        "INSERT INTO t /* x */ VALUES (1);",
        "INSERT INTO t VALUES (a);",
    ] {
        let error = rows_judged(guard(Trust::Foreign), text).unwrap_err();
        assert!(matches!(error, SqlError::Refused { .. }), "{text}: {error}");
    }
}

#[test]
fn sqlite_definitions_are_judged_too() {
    let judge = |trust, text: &str| {
        let guard = Guard { dialect: Dialect::Sqlite, table: "it's", trust };
        let mut splitter = Splitter::new(Dialect::Sqlite, Limits::default());
        splitter.push(format!("{text}\n;").as_bytes());
        let mut last = None;
        while let Some(chunk) = splitter.next()? {
            last = Some(match chunk {
                Chunk::Statement(text) => guard.scheme(text)?,
                Chunk::Rows(rows) => guard.sequence(&rows)?,
            });
        }
        Ok::<_, SqlError>(last.unwrap())
    };
    for (text, expected) in [
        ("PRAGMA user_version=-5", SchemeStatement::Number { pragma: "user_version", value: -5 }),
        ("DROP TABLE IF EXISTS \"it's\"", SchemeStatement::Drop),
        (
            "CREATE TABLE [It's] (a AS (b.c), d DEFAULT 1.5) STRICT",
            SchemeStatement::Create { name: 13..19 },
        ),
        ("CREATE TABLE 'it''s' (a) -- edit(", SchemeStatement::Create { name: 13..20 }),
        (
            "CREATE UNIQUE INDEX \"i\" ON \"it's\" (lower(a)) WHERE b > 'edit'",
            SchemeStatement::Index,
        ),
        (
            "CREATE TABLE 'it''s' (a DEFAULT .5, b DEFAULT (hex(randomblob(16))), c DEFAULT (zeroblob(9999)))",
            SchemeStatement::Create { name: 13..20 },
        ),
        ("DELETE FROM sqlite_sequence WHERE name='it''s'", SchemeStatement::Sequence(None)),
        (
            "INSERT INTO sqlite_sequence(name,seq) VALUES('it''s',7)",
            SchemeStatement::Sequence(Some(7)),
        ),
    ] {
        assert_eq!(judge(Trust::Own, text).as_ref(), Ok(&expected), "{text}");
        if !text.contains("b.c") {
            assert_eq!(judge(Trust::Foreign, text), Ok(expected), "{text}");
        }
    }
    for text in [
        "ATTACH '/tmp/x' AS y",
        "PRAGMA writable_schema=1",
        "PRAGMA user_version=1;DROP TABLE x",
        "CREATE TABLE other (a)",
        "CREATE TEMP TABLE \"it's\" (a)",
        "CREATE VIRTUAL TABLE \"it's\" USING csv(filename='/etc/passwd')",
        "CREATE TRIGGER \"it's\" AFTER INSERT ON x BEGIN SELECT 1; END",
        "CREATE INDEX i ON other (a)",
        "DELETE FROM sqlite_sequence",
        "INSERT INTO sqlite_sequence(name,seq) VALUES('other',7)",
        "INSERT INTO sqlite_sequence(name,seq) VALUES('it''s',(SELECT 1))",
        "SET time_zone='+00:00'",
        "UPDATE sqlite_schema SET sql=''",
    ] {
        for trust in [Trust::Foreign, Trust::Own] {
            assert!(judge(trust, text).is_err(), "{text}");
        }
    }
    for text in [
        "CREATE TABLE \"it's\" AS SELECT 1",
        "CREATE TABLE \"it's\" (a DEFAULT (load_extension('x')))",
        "CREATE TABLE \"it's\" (a CHECK (\"load_extension\" ('x')))",
        "CREATE TABLE \"it's\" (a DEFAULT (zeroblob(1e9)))",
        "CREATE TABLE \"it's\" (a DEFAULT (randomblob(10000)))",
        "CREATE TABLE \"it's\" (a DEFAULT (randomblob(99+1)))",
        "CREATE TABLE \"it's\" (a DEFAULT (other.5))",
        "CREATE TABLE \"it's\" (a AS (other .b))",
        "CREATE TABLE \"it's\" (a, CHECK (a IN (SELECT 1)))",
        "CREATE INDEX i ON \"it's\" (load_extension('x'))",
    ] {
        assert!(judge(Trust::Foreign, text).is_err(), "{text}");
    }
}

#[test]
fn messages_show_the_beginning_on_one_line() {
    let error =
        guard(Trust::Own).scheme(format!("DROP\n\x07\u{202e}{}", "x".repeat(100)).as_bytes());
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains(&format!("“DROP \\u{{7}}\\u{{202e}}{}…”", "x".repeat(73))),
        "{message}"
    );
}

fn statement(dialect: Dialect) -> impl Strategy<Value = String> {
    let part = match dialect {
        Dialect::MySql => prop_oneof![
            "[a-z(),.=*@ ]{1,8}",
            r#"'([^'\\]|\\.|''){0,12}'"#,
            r#""([^"\\]|\\.|""){0,12}""#,
            "`([^`]|``){0,6}`",
            "/\\*[a-z;' \\*]{0,8}\\*/",
            "(-- |#)[a-z;'\"]{0,6}\n",
            "/\\*!50000 a ';*/' \\*/",
            "--1",
        ]
        .boxed(),
        Dialect::Sqlite => prop_oneof![
            "[a-z(),.=@#! ]{1,8}",
            r#"'([^']|''){0,12}'"#,
            r#""([^"]|""){0,12}""#,
            "`([^`]|``){0,6}`",
            "\\[[^\\]]{0,6}\\]",
            "/\\*[a-z;' \\*]{0,8}\\*/",
            "--[a-z;'\"]{0,6}\n",
        ]
        .boxed(),
    };
    let plain = proptest::collection::vec(part, 0..8)
        .prop_map(|parts| format!("SELECT {} 1", parts.join(" ")));
    let rows = "REPLACE INTO `t` \\(`a`,`b``\\)`\\) VALUES \\((1|null|0xFF|f\\(1,'\\),'\\)),'[a-z;,()]{0,20}'\\)(,\\(1,2\\)){0,5}";
    prop_oneof![plain, rows]
}

proptest! {
    #[test]
    fn mysql_statements_come_back(all in proptest::collection::vec(statement(Dialect::MySql), 0..6), piece in 1usize..40) {
        let text: String = all.iter().map(|statement| format!("{statement};\n")).collect();
        let found = split(Dialect::MySql, text.as_bytes(), piece, 1 << 20).unwrap();
        prop_assert_eq!(found, all.iter().map(|s| s.clone().into_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn sqlite_statements_come_back(all in proptest::collection::vec(statement(Dialect::Sqlite), 0..6), piece in 1usize..40) {
        let text: String = all.iter().map(|statement| format!("{statement};\n")).collect();
        let found = split(Dialect::Sqlite, text.as_bytes(), piece, 1 << 20).unwrap();
        prop_assert_eq!(found, all.iter().map(|s| s.clone().into_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(text in proptest::collection::vec(prop_oneof![any::<u8>(), proptest::sample::select(b"'\"`[]()/*!-#;,\\ \nM0x".to_vec())], 0..200), piece in 1usize..20) {
        for dialect in [Dialect::MySql, Dialect::Sqlite] {
            for begin in ["", "REPLACE INTO t VALUES ", "CREATE TABLE t "] {
                let text = [begin.as_bytes(), &text].concat();
                let whole = split(dialect, &text, usize::MAX, 50);
                prop_assert_eq!(&split(dialect, &text, piece, 50), &whole);
                let guard = Guard { dialect, table: "t", trust: Trust::Foreign };
                let _ = guard.scheme(&text);
                let _ = rows_judged(guard, &String::from_utf8_lossy(&text));
            }
        }
    }

    #[test]
    fn tokens_are_the_same_however_cut(text in "[a'\"`/*!M0-9#;\\\\ \n-]{0,60}", cut in 0usize..60) {
        for dialect in [Dialect::MySql, Dialect::Sqlite] {
            let text = text.as_bytes();
            let mut lexer = Lexer::new(dialect);
            let mut found = Vec::new();
            let mut end = false;
            let first = &text[..cut.min(text.len())];
            while let Step::Token(token) = lexer.next(first, false) {
                found.push(token);
            }
            loop {
                match lexer.next(text, true) {
                    Step::Token(token) => found.push(token),
                    step => { end |= step == Step::End; break }
                }
            }
            let whole = super::lexer::tokens(dialect, text);
            prop_assert_eq!(whole.is_some(), end);
            if let Some(whole) = whole {
                prop_assert_eq!(found, whole);
            }
        }
    }
}
