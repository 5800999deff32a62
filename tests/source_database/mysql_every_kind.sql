-- One of every kind of thing that a MariaDB database may have.
SET NAMES utf8mb4;
CREATE SEQUENCE numbers START WITH 100 INCREMENT BY 5 MINVALUE 10 MAXVALUE 1000 CACHE 20 CYCLE;
CREATE SEQUENCE `odd ``s` START WITH -1 INCREMENT BY -1 MINVALUE -9000 MAXVALUE -1 NOCACHE;
DO NEXTVAL(numbers), NEXTVAL(numbers), NEXTVAL(`odd ``s`);
CREATE TABLE parent (
  id bigint NOT NULL DEFAULT NEXTVAL(numbers) PRIMARY KEY,
  name varchar(60) COLLATE utf8mb4_bin NOT NULL,
  price decimal(10,2) CHECK (price >= 0),
  tax decimal(12,4) GENERATED ALWAYS AS (price * 0.2) STORED,
  upper_name varchar(60) AS (UPPER(name)) VIRTUAL,
  hidden int INVISIBLE DEFAULT 7,
  made timestamp NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  CONSTRAINT named_check CHECK (LENGTH(name) > 0),
  KEY by_tax (tax), FULLTEXT KEY words (name)
) COMMENT 'nextval(`x`.`y`) is only text';
INSERT INTO parent (name, price, made) VALUES ('ä', 1.5, '2024-01-02 03:04:05'), ('it''s', NULL, NULL);
CREATE TABLE child (
  id int AUTO_INCREMENT PRIMARY KEY, p bigint, self int,
  CONSTRAINT to_parent FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE SET NULL,
  CONSTRAINT to_self FOREIGN KEY (self) REFERENCES child (id)
) AUTO_INCREMENT=40;
INSERT INTO child (p, self) SELECT id, NULL FROM parent;
CREATE TABLE log_lines (line varchar(200) CHARACTER SET latin1);
CREATE TABLE by_range (id int, d date, PRIMARY KEY (id, d))
  PARTITION BY RANGE (YEAR(d)) SUBPARTITION BY HASH (id) SUBPARTITIONS 2
  (PARTITION old VALUES LESS THAN (2020), PARTITION rest VALUES LESS THAN MAXVALUE);
INSERT INTO by_range VALUES (1,'2019-05-05'),(2,'2021-06-06');
CREATE TABLE by_list (k varchar(5)) PARTITION BY LIST COLUMNS (k) (PARTITION a VALUES IN ('x','y'), PARTITION other DEFAULT);
INSERT INTO by_list VALUES ('x'),('z');
CREATE TABLE booked (room int, since date, until date, PERIOD FOR stay (since, until), UNIQUE (room, stay WITHOUT OVERLAPS));
INSERT INTO booked VALUES (1,'2024-01-01','2024-02-01');
SET timestamp=1600000000;
CREATE TABLE history (id int PRIMARY KEY, t varchar(20), untracked int WITHOUT SYSTEM VERSIONING, twice int AS (id * 2)) WITH SYSTEM VERSIONING;
INSERT INTO history (id, t) VALUES (1,'first'),(2,'gone'),(3,'same');
SET timestamp=1600000100.25; UPDATE history SET t='second' WHERE id=1; DELETE FROM history WHERE id=2;
CREATE TABLE stated (id int PRIMARY KEY, t varchar(20), since timestamp(6) GENERATED ALWAYS AS ROW START INVISIBLE,
  until timestamp(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (since, until)) WITH SYSTEM VERSIONING
  PARTITION BY SYSTEM_TIME (PARTITION past HISTORY, PARTITION present CURRENT);
INSERT INTO stated (id, t) VALUES (1,'one');
SET timestamp=1600000200.5; UPDATE stated SET t='two';
SET timestamp=DEFAULT;
DELIMITER //
CREATE FUNCTION tripled(x int) RETURNS int DETERMINISTIC COMMENT 'it''s three times' RETURN x * 3//
CREATE PROCEDURE `say ``it`(IN what varchar(50), OUT length int)
  SQL SECURITY INVOKER MODIFIES SQL DATA
BEGIN
  -- A comment; with a semicolon, and 'a quote
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET length = 0;
  INSERT INTO log_lines VALUES (CONCAT('said ', what, ';;'));
  SET length = CHAR_LENGTH(what);
END//
CREATE AGGREGATE FUNCTION added(x int) RETURNS int
BEGIN
  DECLARE total int DEFAULT 0;
  DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN total;
  LOOP FETCH GROUP NEXT ROW; SET total = total + x; END LOOP;
END//
SET sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES'//
CREATE PROCEDURE quoted() SELECT 'a\' AS "backslash"//
SET sql_mode='ORACLE'//
CREATE PACKAGE tools AS
  FUNCTION answer RETURN int;
  PROCEDURE note(what varchar(20));
END//
CREATE PACKAGE BODY tools AS
  FUNCTION answer RETURN int AS BEGIN RETURN 42; END;
  PROCEDURE note(what varchar(20)) AS BEGIN INSERT INTO log_lines VALUES (what); END;
END//
SET sql_mode='PIPES_AS_CONCAT'//
CREATE TRIGGER later BEFORE INSERT ON child FOR EACH ROW SET NEW.self = NULLIF(NEW.self, 0)//
CREATE TRIGGER sooner BEFORE INSERT ON child FOR EACH ROW PRECEDES later
BEGIN
  INSERT INTO log_lines VALUES ('before ' || COALESCE(NEW.p, 0));
END//
SET sql_mode=DEFAULT//
CREATE TRIGGER after_update AFTER UPDATE ON parent FOR EACH ROW INSERT INTO log_lines VALUES (NEW.name)//
CREATE EVENT daily ON SCHEDULE EVERY 1 DAY STARTS '2024-01-01 03:00:00' ENDS '2037-01-01 00:00:00'
  ON COMPLETION PRESERVE COMMENT 'every night' DO BEGIN DELETE FROM log_lines; DO 1; END//
SET time_zone='+05:30'//
CREATE EVENT once ON SCHEDULE AT '2037-05-05 05:05:05' DISABLE DO DELETE FROM log_lines//
SET time_zone=DEFAULT//
DELIMITER ;
-- Made before what they need, in the order of their names.
CREATE VIEW a_view AS SELECT 1 AS id, 2 AS n;
CREATE VIEW z_view AS SELECT p.id, p.name, tripled(c.id) AS three FROM parent p JOIN child c ON c.p = p.id WHERE p.name <> '`a_view`';
CREATE OR REPLACE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW a_view AS SELECT id, COUNT(*) AS n FROM z_view GROUP BY id;
CREATE VIEW m_view AS SELECT id FROM child WHERE id > 3 WITH CASCADED CHECK OPTION;
CREATE VIEW next_view AS SELECT PREVIOUS VALUE FOR numbers AS n;
