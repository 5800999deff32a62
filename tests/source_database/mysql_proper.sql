-- One of every kind of thing that a database of MySQL 9 may have, and MariaDB may not.
SET NAMES utf8mb4;
SET time_zone='+00:00';
SET sql_mode='STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';
CREATE TABLE numbers (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, t tinyint, tu tinyint unsigned, s smallint, m mediumint, i int, b bigint,
  b1 tinyint(1), z int(8) unsigned zerofill, d decimal(65,30), f float, g double, h float(10,3), k double(20,5),
  bt bit(10), bb bit(64), y year, bo boolean DEFAULT true) AUTO_INCREMENT=18446744073709551000;
INSERT INTO numbers VALUES
 (0,-128,255,-32768,-8388608,-2147483648,-9223372036854775808,2,42,-12345678901234567890123456789012345.123456789012345678901234567890,
  16777215,1.7976931348623157e308,1.234,123456789.12345,b'1000000001',0xffffffffffffffff,1901,false),
 (1,127,0,32767,8388607,2147483647,9223372036854775807,0,0,0,3.4028234e38,2.2250738585072014e-308,0.1,0.00001,0,0,2155,NULL),
 (7,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1.17549435e-38,4.9e-324,NULL,NULL,NULL,NULL,0,true),
 (18446744073709550999,0,1,2,3,4,5,6,7,8,1e-45,0.1,99999.125,-1e-7,1,1,1970,true);
CREATE TABLE times (id int PRIMARY KEY, d date, dt datetime(6), ts timestamp(6) NULL, t time(6), ts0 timestamp NULL,
  made datetime(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3));
INSERT INTO times VALUES (1,'0000-00-00','0000-00-00 00:00:00','0000-00-00 00:00:00','-838:59:59.000000','1970-01-01 00:00:01','2000-01-01 00:00:00.123'),
 (2,'9999-12-31','9999-12-31 23:59:59.499999','2038-01-19 03:14:07.499999','838:59:59','2038-01-19 03:14:07','1000-01-01 00:00:00'),
 (3,'2023-02-31','2023-02-30 01:02:03.000004',NULL,'00:00:00.000001',NULL,NULL), (4,'2024-00-00','2024-01-00 00:00:00','2024-03-31 01:30:00.5','-00:00:01',NULL,NULL);
CREATE TABLE texts (id int PRIMARY KEY, t longtext, u varchar(200) CHARACTER SET utf8mb3, l text CHARACTER SET latin1,
  j varchar(50) CHARACTER SET sjis, cp varchar(50) CHARACTER SET cp932, w text CHARACTER SET utf16, wl text CHARACTER SET utf16le, u32 text CHARACTER SET utf32,
  c char(10), a text CHARACTER SET ascii, gb varchar(50) CHARACTER SET gb18030, ai varchar(50) COLLATE utf8mb4_0900_ai_ci,
  ac varchar(50) COLLATE utf8mb4_0900_as_cs, zh varchar(50) COLLATE utf8mb4_zh_0900_as_cs, bi varchar(50) COLLATE utf8mb4_0900_bin, n national varchar(20),
  e enum('','a','é','it''s'), st set('a','b','c d'), bin binary(4), vb varbinary(300), bl longblob, el char(0), uc varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci);
INSERT INTO texts VALUES (1,'a\\b''c\r\nd\0e\Z"😀;','ü','café','表示','表示','日本😀','日本😀','x😀','pad  ','ascii','汉字','ß','ß','汉','x','n','é','a,c d',0x00ff27,0x00ff0a5c,0x095c0a00,'','ä'),
 (2,'','','','','','','','','','','','','','','','','','','','','','',''),
 (3,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),
 (4,REPEAT('long ''text''\n',20000),'',_latin1 0x80ff,_sjis 0x835c5c,_cp932 0x8740,_utf16 0xd83dde00,'','','',CHAR(127),_gb18030 0x9031bb38,'a','a','a','a','','it''s','',REPEAT(0xff,4),REPEAT(0x27,300),REPEAT(0xfe,70000),NULL,NULL);
CREATE TABLE docs (id int PRIMARY KEY, j json DEFAULT (JSON_OBJECT('a', 1)), v vector(3), big vector,
  CONSTRAINT of_schema CHECK (JSON_SCHEMA_VALID('{"type":["object","array","string","number","null","boolean"]}', j)),
  tags json, KEY by_tag ((CAST(tags->'$[*]' AS unsigned ARRAY))), KEY by_words (id, (CAST(tags->'$.w' AS char(20) ARRAY))));
INSERT INTO docs VALUES (1,'{"big":18446744073709551615,"neg":-9223372036854775808,"f":1e308,"d":1.5,"s":"it''s \\\\ \\"q\\" \\u0000 😀\\n","n":null,"t":true,"e":{},"l":[[],{"z":1,"a":2}]}',STRING_TO_VECTOR('[1,-2.5,3e10]'),STRING_TO_VECTOR('[1e-30,2]'),'[1,2,3]'),
 (2,'null',NULL,NULL,NULL),(3,'"text"',NULL,NULL,'{"w":["x","y"]}'),(4,'[]',NULL,NULL,NULL);
CREATE TABLE places (id int PRIMARY KEY, p point NOT NULL SRID 4326, g geometry NOT NULL SRID 0, a geometry, l linestring, mp multipolygon, gc geometrycollection,
  SPATIAL KEY sp (p), SPATIAL KEY sg (g));
INSERT INTO places VALUES (1,ST_GeomFromText('POINT(52.5 13.4)',4326),ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 0))'),ST_GeomFromText('POINT(1 2)',3857),
  ST_GeomFromText('LINESTRING(0 0,1 1)'),ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'),ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,2 2))')),
 (2,ST_GeomFromText('POINT(-90 180)',4326),ST_GeomFromText('POINT(1e-300 -1e300)'),NULL,NULL,NULL,ST_GeomFromText('GEOMETRYCOLLECTION EMPTY'));
CREATE TABLE shapes (
  id int NOT NULL, name varchar(60) COLLATE utf8mb4_bin NOT NULL COMMENT 'it''s; `a` "comment" 😀',
  price decimal(10,2) DEFAULT (1 + 1.5), uid binary(16) DEFAULT (UUID_TO_BIN(UUID())), hidden int DEFAULT 7 INVISIBLE,
  tax decimal(12,4) GENERATED ALWAYS AS (price * 0.2) STORED, upper_name varchar(60) GENERATED ALWAYS AS (UPPER(name)) VIRTUAL NOT NULL,
  hidden_made int GENERATED ALWAYS AS (id * 2) VIRTUAL INVISIBLE, txt text COLLATE utf8mb4_bin, expr varchar(20) DEFAULT (CONCAT('a', 'b;')),
  CONSTRAINT positive CHECK (price >= 0), CONSTRAINT lax CHECK (id > 1000) NOT ENFORCED, CHECK (LENGTH(name) > 0),
  PRIMARY KEY (id DESC), UNIQUE KEY by_upper (upper_name), KEY by_tax (tax DESC, id), KEY unseen (name) INVISIBLE, KEY fun ((LOWER(name)), (id + 1) DESC),
  KEY part (txt(10)), FULLTEXT KEY words (name, txt), FULLTEXT KEY grams (txt) WITH PARSER ngram, KEY with_comment (price) USING BTREE COMMENT 'k'
) COMMENT='it''s a table; 😀' ROW_FORMAT=DYNAMIC STATS_PERSISTENT=1 STATS_AUTO_RECALC=0 STATS_SAMPLE_PAGES=30;
INSERT INTO shapes (id,name,price,txt) VALUES (1,'ä',1.5,'some words'),(2,'it''s',NULL,NULL),(3,'c',DEFAULT,'日本語の文');
INSERT INTO shapes (id,name,hidden) VALUES (4,'h',99);
CREATE TABLE compressed (id int PRIMARY KEY, t text) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8; INSERT INTO compressed VALUES (1,REPEAT('x',5000));
CREATE TABLE paged (id int PRIMARY KEY, t text) COMPRESSION='zlib'; INSERT INTO paged VALUES (1,REPEAT('y',50000));
CREATE TABLE redundant (id int PRIMARY KEY, t char(200)) ROW_FORMAT=REDUNDANT AUTOEXTEND_SIZE=4M; INSERT INTO redundant VALUES (1,'r');
CREATE TABLE inside (id int PRIMARY KEY) TABLESPACE innodb_system; INSERT INTO inside VALUES (1);
CREATE TABLE attributed (id int PRIMARY KEY, x int SECONDARY_ENGINE_ATTRIBUTE='{"b":2}') SECONDARY_ENGINE_ATTRIBUTE='{"c":3}';
CREATE TABLE keyless (t varchar(10), n int); INSERT INTO keyless VALUES ('a',1),('a',1),(NULL,NULL);
SET sql_generate_invisible_primary_key=1;
CREATE TABLE gipk (t varchar(10), n int); INSERT INTO gipk VALUES ('a',1),('a',1),('b',2); DELETE FROM gipk WHERE t='b';
SET sql_generate_invisible_primary_key=0;
CREATE TABLE by_range (id int, d date, PRIMARY KEY (id, d)) PARTITION BY RANGE (YEAR(d)) SUBPARTITION BY HASH (id) SUBPARTITIONS 2
  (PARTITION old VALUES LESS THAN (2020) COMMENT 'it''s old', PARTITION rest VALUES LESS THAN MAXVALUE);
INSERT INTO by_range VALUES (1,'2019-05-05'),(2,'2021-06-06');
CREATE TABLE by_list (k varchar(5), n int) PARTITION BY LIST COLUMNS (k, n) (PARTITION a VALUES IN (('x',1),('y',NULL)), PARTITION b VALUES IN (('ü',2)));
INSERT INTO by_list VALUES ('x',1),('y',NULL),('ü',2);
CREATE TABLE by_key (id int PRIMARY KEY) PARTITION BY LINEAR KEY ALGORITHM=2 (id) PARTITIONS 3; INSERT INTO by_key VALUES (1),(2),(3),(4);
CREATE TABLE by_time (ts timestamp NOT NULL) PARTITION BY RANGE (UNIX_TIMESTAMP(ts)) (PARTITION a VALUES LESS THAN (UNIX_TIMESTAMP('2020-01-01 00:00:00')), PARTITION b VALUES LESS THAN MAXVALUE);
INSERT INTO by_time VALUES ('2019-01-01'),('2021-01-01');
CREATE TABLE cycle_a (id int PRIMARY KEY, b int, KEY (b)); CREATE TABLE cycle_b (id int PRIMARY KEY, a int, CONSTRAINT ba FOREIGN KEY (a) REFERENCES cycle_a (id) ON DELETE SET NULL);
ALTER TABLE cycle_a ADD CONSTRAINT ab FOREIGN KEY (b) REFERENCES cycle_b (id) ON UPDATE CASCADE ON DELETE RESTRICT;
SET foreign_key_checks=0; INSERT INTO cycle_a VALUES (1,1); INSERT INTO cycle_b VALUES (1,1); SET foreign_key_checks=1;
CREATE TABLE tree (id int AUTO_INCREMENT PRIMARY KEY, up int, made int AS (up * 2) STORED, CONSTRAINT tree_up FOREIGN KEY (up) REFERENCES tree (id) ON DELETE NO ACTION) AUTO_INCREMENT=77;
INSERT INTO tree (id, up) VALUES (0,NULL),(5,0),(6,5);
SET restrict_fk_on_non_standard_key=0;
CREATE TABLE many (a int, b int, KEY (a)); CREATE TABLE of_many (a int, CONSTRAINT to_many FOREIGN KEY (a) REFERENCES many (a)); INSERT INTO many VALUES (1,1),(1,2); INSERT INTO of_many VALUES (1);
SET restrict_fk_on_non_standard_key=1;
CREATE TABLE `odd ``name`` "ünï"; 日#p#1.-- %` (`col ``umn`` ?` int PRIMARY KEY, `sel ect` int, KEY `k ``é` (`sel ect`)); INSERT INTO `odd ``name`` "ünï"; 日#p#1.-- %` VALUES (1,2);
CREATE TABLE `$dollar` (`$c` int PRIMARY KEY); CREATE TABLE `con` (`select` int); INSERT INTO con VALUES (1);
CREATE TABLE isam (id int PRIMARY KEY, t text, FULLTEXT (t)) ENGINE=MyISAM PACK_KEYS=1 CHECKSUM=1; INSERT INTO isam VALUES (1,'one');
CREATE TABLE mem (id int PRIMARY KEY) ENGINE=MEMORY MAX_ROWS=100; INSERT INTO mem VALUES (1);
CREATE TABLE csv (id int NOT NULL, t varchar(20) NOT NULL) ENGINE=CSV; INSERT INTO csv VALUES (1,'a "q"');
CREATE TABLE arch (id int) ENGINE=ARCHIVE; INSERT INTO arch VALUES (1),(2);
CREATE TABLE hole (id int) ENGINE=BLACKHOLE;
CREATE TABLE part_1 (id int NOT NULL) ENGINE=MyISAM; CREATE TABLE part_2 LIKE part_1; INSERT INTO part_1 VALUES (1);
CREATE TABLE all_of_them (id int NOT NULL) ENGINE=MERGE UNION=(part_1,part_2) INSERT_METHOD=LAST;
CREATE TABLE log_lines (line varchar(200) CHARACTER SET latin1);
SET sql_mode=DEFAULT;
DELIMITER //
CREATE FUNCTION tripled(x int) RETURNS int DETERMINISTIC COMMENT 'it''s three times' RETURN x * 3//
CREATE PROCEDURE `say ``it`(IN what varchar(50), OUT length int) SQL SECURITY INVOKER MODIFIES SQL DATA
BEGIN
  -- A comment; with a semicolon, and 'a quote
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET length = 0;
  INSERT INTO log_lines VALUES (CONCAT('said ', what, ';;'));
  SET length = CHAR_LENGTH(what);
END//
SET sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES,TIME_TRUNCATE_FRACTIONAL'//
CREATE PROCEDURE quoted() SELECT 'a\' AS "backslash"//
SET sql_mode='PIPES_AS_CONCAT'//
SET NAMES latin1//
CREATE FUNCTION of_latin1() RETURNS varchar(10) CHARACTER SET latin1 DETERMINISTIC RETURN 'plain'//
SET NAMES utf8mb4 COLLATE utf8mb4_0900_as_cs//
CREATE TRIGGER first_one BEFORE INSERT ON tree FOR EACH ROW SET NEW.up = NULLIF(NEW.up, -1)//
CREATE TRIGGER third BEFORE INSERT ON tree FOR EACH ROW INSERT INTO log_lines VALUES ('third ' || NEW.id)//
CREATE TRIGGER second BEFORE INSERT ON tree FOR EACH ROW FOLLOWS first_one
BEGIN
  INSERT INTO log_lines VALUES ('second ' || COALESCE(NEW.up, 0));
END//
CREATE TRIGGER zeroth BEFORE INSERT ON tree FOR EACH ROW PRECEDES first_one SET @zeroth = 1//
CREATE TRIGGER after_update AFTER UPDATE ON shapes FOR EACH ROW INSERT INTO log_lines VALUES (NEW.name)//
SET NAMES utf8mb4//
SET sql_mode=DEFAULT//
CREATE EVENT daily ON SCHEDULE EVERY 1 DAY STARTS '2024-01-01 03:00:00' ENDS '2037-01-01 00:00:00'
  ON COMPLETION PRESERVE DISABLE COMMENT 'every night' DO BEGIN DELETE FROM log_lines; DO 1; END//
SET time_zone='+05:30'//
CREATE EVENT once ON SCHEDULE AT '2037-05-05 05:05:05' DISABLE ON SLAVE DO DELETE FROM log_lines//
SET time_zone='+00:00'//
CREATE LIBRARY doubling COMMENT 'it''s twice' LANGUAGE JAVASCRIPT AS $$export function f(x) { return x * 2; /* ';' `d` */ }$$//
CREATE LIBRARY `odd ``lib` LANGUAGE JAVASCRIPT AS 'export const c = "it''s";'//
CREATE FUNCTION doubled(x int) RETURNS int DETERMINISTIC LANGUAGE JAVASCRIPT USING (doubling AS d, `odd ``lib`) AS $js$ return d.f(x) $js$//
CREATE PROCEDURE logs() LANGUAGE JAVASCRIPT AS $$ console.log('a;') $$//
DELIMITER ;
CREATE JSON RELATIONAL DUALITY VIEW dual_view AS SELECT JSON_DUALITY_OBJECT(WITH(INSERT,UPDATE) '_id': id, 'a': a,
  'others': (SELECT JSON_ARRAYAGG(JSON_DUALITY_OBJECT('aid': id, 'b': b)) FROM cycle_a WHERE cycle_a.b = cycle_b.id)) FROM cycle_b;
CREATE VIEW a_view AS SELECT 1 AS id, 2 AS n;
CREATE VIEW z_view AS SELECT p.id, p.name, tripled(c.id) AS three FROM shapes p JOIN tree c ON c.id = p.id WHERE p.name <> '`a_view`';
CREATE OR REPLACE ALGORITHM=TEMPTABLE SQL SECURITY INVOKER VIEW a_view AS SELECT id, COUNT(*) AS n FROM z_view GROUP BY id;
CREATE ALGORITHM=MERGE VIEW m_view (a, `b ``c`) AS SELECT id, up FROM tree WHERE id > 3 WITH LOCAL CHECK OPTION;
CREATE VIEW c_view AS SELECT a FROM m_view WHERE a < 100 WITH CASCADED CHECK OPTION;
CREATE VIEW rec_view AS WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < 3) SELECT n, ROW_NUMBER() OVER w AS r FROM c WINDOW w AS (ORDER BY n);
CREATE VIEW json_view AS SELECT d.id, jt.x FROM docs d, JSON_TABLE(d.tags, '$[*]' COLUMNS (x int PATH '$')) AS jt;
CREATE VIEW lateral_view AS SELECT t.id, l.m FROM tree t, LATERAL (SELECT MAX(id) AS m FROM tree u WHERE u.up = t.id) AS l UNION ALL TABLE cycle_a;
ANALYZE TABLE shapes UPDATE HISTOGRAM ON price, name WITH 4 BUCKETS;
