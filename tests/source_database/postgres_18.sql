-- What PostgreSQL 16, 17 and 18 added, and what a dump may well leave out.
CREATE SCHEMA app; CREATE SCHEMA ext;
CREATE EXTENSION hstore SCHEMA ext; CREATE EXTENSION pg_trgm; CREATE EXTENSION citext; CREATE EXTENSION postgres_fdw; CREATE EXTENSION ltree;
CREATE EXTENSION btree_gist; CREATE EXTENSION pgcrypto SCHEMA ext; CREATE EXTENSION "uuid-ossp"; CREATE EXTENSION tablefunc; CREATE EXTENSION unaccent; CREATE EXTENSION cube; CREATE EXTENSION earthdistance; CREATE EXTENSION btree_gin; CREATE EXTENSION bloom; CREATE EXTENSION intarray; CREATE EXTENSION isn SCHEMA ext; CREATE EXTENSION lo; CREATE SCHEMA fixed_ext; CREATE EXTENSION xml2 SCHEMA fixed_ext; CREATE EXTENSION seg;
-- generated
CREATE TABLE gen (a integer, v integer GENERATED ALWAYS AS (a * 2) VIRTUAL, s integer GENERATED ALWAYS AS (a * 3) STORED, w text GENERATED ALWAYS AS (a::text || 'x'), tail text);
INSERT INTO gen (a, tail) VALUES (1, 'x'), (2, NULL), (NULL, E'\\.');
ALTER TABLE gen ADD CONSTRAINT "virtual above" CHECK (v > 0);
CREATE TABLE gen_part (a integer, v integer GENERATED ALWAYS AS (a * 2) VIRTUAL, s integer GENERATED ALWAYS AS (a * 3) STORED) PARTITION BY RANGE (a);
CREATE TABLE gen_part_1 PARTITION OF gen_part (v GENERATED ALWAYS AS (a * 5) VIRTUAL, s GENERATED ALWAYS AS (a * 7) STORED) FOR VALUES FROM (1) TO (10);
CREATE TABLE gen_part_d PARTITION OF gen_part DEFAULT; INSERT INTO gen_part VALUES (1), (2), (50);
CREATE TABLE gen_parent (a integer, b integer); CREATE TABLE gen_child (b integer, c integer GENERATED ALWAYS AS (b+1) VIRTUAL) INHERITS (gen_parent); INSERT INTO gen_child VALUES (1,2);
-- named not null
CREATE TABLE nn (a integer CONSTRAINT "a is there" NOT NULL, b integer CONSTRAINT b_alone NOT NULL NO INHERIT, c integer, d integer NOT NULL, e integer PRIMARY KEY);
INSERT INTO nn VALUES (1, 2, NULL, 4, 5); ALTER TABLE nn ADD CONSTRAINT "c late" NOT NULL c NOT VALID; COMMENT ON CONSTRAINT "c late" ON nn IS 'late not null'; COMMENT ON CONSTRAINT "a is there" ON nn IS 'named';
CREATE TABLE nn_child (CONSTRAINT "own name of a" NOT NULL a, extra text) INHERITS (nn); INSERT INTO nn_child (a,b,c,d,e,extra) VALUES (2,NULL,3,4,6,'x');
CREATE TABLE nn_only_child (a integer); CREATE TABLE nn_only_heir (CONSTRAINT heirs_own NOT NULL a) INHERITS (nn_only_child);
CREATE TABLE nn_part (a integer CONSTRAINT root_nn NOT NULL, b text) PARTITION BY LIST (a);
CREATE TABLE nn_part_1 (b text, a integer CONSTRAINT other_nn NOT NULL); ALTER TABLE nn_part ATTACH PARTITION nn_part_1 FOR VALUES IN (1); INSERT INTO nn_part VALUES (1, 'r');
CREATE TABLE nn_kid_invalid (x integer); INSERT INTO nn_kid_invalid VALUES (NULL);
CREATE TABLE nn_root_invalid (x integer); ALTER TABLE nn_root_invalid ADD CONSTRAINT nri NOT NULL x NOT VALID; ALTER TABLE nn_kid_invalid ADD CONSTRAINT kid_nri NOT NULL x NOT VALID; ALTER TABLE nn_kid_invalid INHERIT nn_root_invalid;
-- not enforced
CREATE TABLE ne_parent (id integer PRIMARY KEY); INSERT INTO ne_parent VALUES (1);
CREATE TABLE ne (a integer CONSTRAINT "a loose" CHECK (a > 0) NOT ENFORCED, b integer CONSTRAINT b_fk REFERENCES ne_parent NOT ENFORCED, c integer CHECK (c > 0) ENFORCED);
INSERT INTO ne VALUES (-1, 99, 1); ALTER TABLE ne ADD CONSTRAINT later_ne CHECK (a > 100) NOT ENFORCED;
CREATE TABLE fk_part (id integer, p integer) PARTITION BY RANGE (id); CREATE TABLE fk_part_1 PARTITION OF fk_part FOR VALUES FROM (0) TO (10); INSERT INTO fk_part VALUES (1, 77);
ALTER TABLE fk_part ADD CONSTRAINT part_nv FOREIGN KEY (p) REFERENCES ne_parent NOT VALID;
-- temporal
CREATE TABLE rooms (id integer, valid_at daterange, name text, CONSTRAINT rooms_pk PRIMARY KEY (id, valid_at WITHOUT OVERLAPS), CONSTRAINT rooms_uq UNIQUE (name, valid_at WITHOUT OVERLAPS));
INSERT INTO rooms VALUES (1, '[2020-01-01,2021-01-01)', 'a'), (1, '[2021-01-01,2022-01-01)', 'b');
CREATE TABLE bookings (id int4range, room integer, valid_at daterange, PRIMARY KEY (id, valid_at WITHOUT OVERLAPS), CONSTRAINT bookings_fk FOREIGN KEY (room, PERIOD valid_at) REFERENCES rooms (id, PERIOD valid_at));
INSERT INTO bookings VALUES ('[1,2)', 1, '[2020-06-01,2021-06-01)');
CREATE TABLE temporal_mr (id integer, at tstzmultirange, PRIMARY KEY (id, at WITHOUT OVERLAPS)); INSERT INTO temporal_mr VALUES (1, '{[2020-01-01,2020-02-01),[2020-03-01,2020-04-01)}');
CREATE TABLE rooms_part (id integer, valid_at daterange, PRIMARY KEY (id, valid_at WITHOUT OVERLAPS)) PARTITION BY LIST (id); CREATE TABLE rooms_part_1 PARTITION OF rooms_part FOR VALUES IN (1); INSERT INTO rooms_part VALUES (1, '[2020-01-01,2021-01-01)');
-- identity on partitioned; exclusion on partitioned
CREATE TABLE id_part (id bigint GENERATED ALWAYS AS IDENTITY (START 10 INCREMENT 5), at date, room integer, during tsrange, EXCLUDE USING gist (at WITH =, room WITH =, during WITH &&)) PARTITION BY RANGE (at);
CREATE TABLE id_part_a PARTITION OF id_part FOR VALUES FROM ('2020-01-01') TO ('2021-01-01'); CREATE TABLE id_part_b PARTITION OF id_part DEFAULT;
INSERT INTO id_part (at, room, during) VALUES ('2020-05-05', 1, '[2020-05-05 10:00,2020-05-05 11:00)'), ('2023-05-05', 1, '[2020-05-05 10:00,2020-05-05 11:00)');
-- access method on partitioned (17),
CREATE TABLE am_part (a integer) PARTITION BY RANGE (a) USING heap;
CREATE ACCESS METHOD heap_two TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE in_two (a integer) USING heap_two; INSERT INTO in_two VALUES (4);
CREATE TABLE am_part2 (a integer) PARTITION BY RANGE (a) USING heap_two; CREATE TABLE am_part2_1 PARTITION OF am_part2 FOR VALUES FROM (0) TO (5); INSERT INTO am_part2 VALUES (2);
-- grants
GRANT MAINTAIN ON gen TO pb_test_reader; GRANT MAINTAIN, SELECT ON nn TO pb_test_reader WITH GRANT OPTION; GRANT SELECT (a), UPDATE (b) ON gen_parent TO pb_test_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT MAINTAIN ON TABLES TO pb_test_reader; ALTER DEFAULT PRIVILEGES GRANT SELECT ON LARGE OBJECTS TO pb_test_reader; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
-- collations
CREATE COLLATION app.builtin_c (provider = builtin, locale = 'C.UTF-8'); CREATE COLLATION app.builtin_uni (provider = builtin, locale = 'PG_UNICODE_FAST');
CREATE COLLATION app.ruled (provider = icu, locale = 'und', rules = '&a < g'); CREATE COLLATION app.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE coll (a text COLLATE app.builtin_c, b text COLLATE app.builtin_uni, c text COLLATE app.ruled PRIMARY KEY, d text COLLATE app.ci UNIQUE); INSERT INTO coll VALUES ('a','b','g','ABC'), ('ä','ß','h','d');
CREATE INDEX ON coll (casefold(b));
-- storage, compression
CREATE TABLE stor (a text STORAGE EXTENDED COMPRESSION lz4, b text STORAGE MAIN COMPRESSION pglz, c integer, v text) WITH (fillfactor = 70, autovacuum_vacuum_max_threshold = 5000, vacuum_truncate = off);
ALTER TABLE stor ALTER c SET STATISTICS 500, ALTER c SET (n_distinct = -0.5); INSERT INTO stor SELECT repeat('abc', 5000), repeat('x', 9000), g, g FROM generate_series(1,20) g;
CREATE UNIQUE INDEX stor_ri ON stor (c); ALTER TABLE stor ALTER c SET NOT NULL, REPLICA IDENTITY USING INDEX stor_ri; ALTER TABLE stor CLUSTER ON stor_ri;
CREATE INDEX stor_brin ON stor USING brin (c) WITH (pages_per_range = 4); CREATE INDEX stor_stat ON stor ((c + 1)); ALTER INDEX stor_stat ALTER COLUMN 1 SET STATISTICS 700;
CREATE UNIQUE INDEX nnd ON stor (v) NULLS NOT DISTINCT; CREATE INDEX hsh ON stor USING hash (v); CREATE INDEX bl ON stor USING bloom (c) WITH (length=80);
-- RLS
CREATE TABLE rls (who text, x integer); INSERT INTO rls VALUES ('a', 1); ALTER TABLE rls ENABLE ROW LEVEL SECURITY; CREATE POLICY p1 ON rls FOR SELECT TO pb_test_reader USING (who = CURRENT_USER); CREATE POLICY p2 ON rls AS RESTRICTIVE FOR UPDATE USING (x > 0) WITH CHECK (x < 10); CREATE POLICY p3 ON rls FOR INSERT WITH CHECK (EXISTS (SELECT 1 FROM gen)); COMMENT ON POLICY p1 ON rls IS 'first';
-- publications
CREATE PUBLICATION pub_filter FOR TABLE gen (a, s) WHERE (a > 1), stor (c) WITH (publish = 'insert, update', publish_generated_columns = stored);
CREATE PUBLICATION pub_schema FOR TABLES IN SCHEMA app; CREATE PUBLICATION pub_all FOR ALL TABLES WITH (publish_via_partition_root); COMMENT ON PUBLICATION pub_all IS 'all';
-- event triggers
CREATE FUNCTION app.on_login() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$; CREATE EVENT TRIGGER at_login ON login EXECUTE FUNCTION app.on_login(); ALTER EVENT TRIGGER at_login ENABLE ALWAYS;
CREATE FUNCTION app.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'ddl %', tg_tag; END $$; CREATE EVENT TRIGGER at_ddl ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION app.on_ddl(); ALTER EVENT TRIGGER at_ddl DISABLE; COMMENT ON EVENT TRIGGER at_ddl IS 'ddl';
-- large objects
SELECT lo_from_bytea(80001, '\x00010203'), lo_from_bytea(80002, decode(repeat('0a5c27', 100000), 'hex')); GRANT SELECT, UPDATE ON LARGE OBJECT 80001 TO pb_test_reader; ALTER LARGE OBJECT 80002 OWNER TO pb_test_reader; COMMENT ON LARGE OBJECT 80001 IS 'lo';
CREATE TABLE images (id integer PRIMARY KEY, raster lo); CREATE TRIGGER t_raster BEFORE UPDATE OR DELETE ON images FOR EACH ROW EXECUTE FUNCTION lo_manage(raster); INSERT INTO images VALUES (1, 80001);
-- statistics
CREATE TABLE st (a integer, b text, c integer); INSERT INTO st SELECT g % 5, g::text, g % 7 FROM generate_series(1, 500) g; CREATE STATISTICS app.st1 (ndistinct, mcv) ON a, c FROM st; CREATE STATISTICS st2 ON lower(b), (a + c) FROM st; ALTER STATISTICS st2 SET STATISTICS 300; COMMENT ON STATISTICS st2 IS 's'; CREATE STATISTICS st3 ON (a*2) FROM st; ANALYZE;
-- casts, operators, aggregates, ts, fdw
CREATE TYPE app.colour AS ENUM ('red', 'blue'); ALTER TYPE app.colour ADD VALUE 'green' BEFORE 'blue'; ALTER TYPE app.colour ADD VALUE 'zinc'; ALTER TYPE app.colour RENAME VALUE 'red' TO 're"d''';
CREATE TABLE coloured (c app.colour, cs app.colour[]); INSERT INTO coloured VALUES ('green', '{zinc,blue}'), (E're"d''', NULL);
CREATE TYPE app.pair AS (x integer, y text); CREATE DOMAIN app.good_pair AS app.pair CHECK ((VALUE).x > 0); CREATE DOMAIN app.pairs AS app.good_pair[]; CREATE DOMAIN app.nn_domain AS text CONSTRAINT dom_nn NOT NULL CONSTRAINT dom_len CHECK (length(VALUE) < 10); CREATE TABLE doms (p app.good_pair, ps app.pairs, n app.nn_domain DEFAULT 'z'); INSERT INTO doms VALUES (ROW(1,'a'), ARRAY[ROW(2,'b,"')::app.good_pair], 'n'); COMMENT ON CONSTRAINT dom_len ON DOMAIN app.nn_domain IS 'len';
CREATE TYPE app.frange AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = app.fmulti);
CREATE TABLE mr (a app.frange, b app.fmulti, c int8multirange, d datemultirange); INSERT INTO mr VALUES ('[1,2)', '{[1,2),[3,4]}', '{[1,3),[5,)}', '{}');
CREATE FUNCTION app.col_to_int(app.colour) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT length($1::text) $$; CREATE CAST (app.colour AS integer) WITH FUNCTION app.col_to_int(app.colour) AS ASSIGNMENT; COMMENT ON CAST (app.colour AS integer) IS 'cast';
CREATE FUNCTION app.same_len(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN length($1) = length($2); CREATE OPERATOR app.=|= (LEFTARG = text, RIGHTARG = text, FUNCTION = app.same_len, COMMUTATOR = OPERATOR(app.=|=), MERGES, HASHES, RESTRICT = eqsel);
CREATE FUNCTION app.acc(integer, integer) RETURNS integer LANGUAGE sql IMMUTABLE RETURN coalesce($1, 0) + coalesce($2, 0); CREATE AGGREGATE app.my_sum(integer) (SFUNC = app.acc, STYPE = integer, COMBINEFUNC = app.acc, PARALLEL = safe, INITCOND = '0', MSFUNC = app.acc, MINVFUNC = app.acc, MSTYPE = integer); CREATE AGGREGATE app.ordered(VARIADIC "any" ORDER BY VARIADIC "any") (SFUNC = ordered_set_transition_multi, STYPE = internal, FINALFUNC = rank_final, FINALFUNC_EXTRA, HYPOTHETICAL);
CREATE TEXT SEARCH DICTIONARY app.dict (TEMPLATE = snowball, language = english, stopwords = english); CREATE TEXT SEARCH CONFIGURATION app.conf (COPY = simple); ALTER TEXT SEARCH CONFIGURATION app.conf ALTER MAPPING FOR word WITH app.dict, simple; CREATE TEXT SEARCH CONFIGURATION app.un (COPY = english); ALTER TEXT SEARCH CONFIGURATION app.un ALTER MAPPING FOR word WITH unaccent, english_stem;
CREATE TABLE docs (t text, v tsvector GENERATED ALWAYS AS (to_tsvector('app.conf', t)) STORED); INSERT INTO docs VALUES ('The running cats'); CREATE INDEX ON docs USING gin (v); CREATE INDEX ON docs USING gin (t gin_trgm_ops);
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', dbname 'elsewhere'); CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'u', password 'se''cret'); CREATE FOREIGN TABLE app.far_table (a integer OPTIONS (column_name 'x') NOT NULL, b text) SERVER far OPTIONS (schema_name 's'); CREATE FOREIGN DATA WRAPPER own_fdw OPTIONS (x 'y'); GRANT USAGE ON FOREIGN SERVER far TO pb_test_reader;
CREATE PROCEDURE app.proc(a integer, OUT b integer, INOUT c text DEFAULT 'x') LANGUAGE plpgsql AS $$ BEGIN b := a; END $$;
CREATE FUNCTION app.atomic(a integer, b text DEFAULT 'q;--') RETURNS SETOF gen LANGUAGE sql STABLE BEGIN ATOMIC SELECT g.* FROM gen g WHERE g.a = atomic.a; SELECT * FROM gen; END;
CREATE PROCEDURE app.atomic_proc(x integer) LANGUAGE sql BEGIN ATOMIC INSERT INTO ne_parent VALUES (x) ON CONFLICT DO NOTHING; END;
CREATE FUNCTION app.tab(integer) RETURNS TABLE (a integer, b text) LANGUAGE plpgsql ROWS 5 COST 7 LEAKPROOF PARALLEL RESTRICTED SET work_mem = '5MB' SET search_path = app, "od""d" AS $f$ BEGIN RETURN; END $f$;
CREATE UNLOGGED TABLE unl (id integer GENERATED BY DEFAULT AS IDENTITY, a text); INSERT INTO unl (a) VALUES ('u'); CREATE UNLOGGED SEQUENCE unl_seq; SELECT nextval('unl_seq');
CREATE TABLE base1 (a integer, b text DEFAULT 'b'); CREATE TABLE base2 (a integer, c text); CREATE TABLE multi (d integer) INHERITS (base1, base2); INSERT INTO multi VALUES (1,'b','c',4);
ALTER TABLE gen_parent ADD COLUMN late text; INSERT INTO gen_child VALUES (2,3,DEFAULT,'heir');
CREATE TABLE nothing_in_it (); INSERT INTO nothing_in_it DEFAULT VALUES;
CREATE TABLE app."we""ird, 'name' \ $$ ; -- %s ä中" ("col "" 'x" integer, "\\n" text, "select" text, "ü" text); INSERT INTO app."we""ird, 'name' \ $$ ; -- %s ä中" VALUES (1, E'\\.', E'\t\r\n\b\f\v', E'\\N'), (2, '', NULL, '\.');
CREATE TABLE dropped_cols (a integer, gone text, b integer); INSERT INTO dropped_cols VALUES (1,'x',2); ALTER TABLE dropped_cols DROP COLUMN gone, ADD COLUMN c integer DEFAULT 9;
CREATE TYPE app.typed AS (a integer, b text); CREATE TABLE of_type OF app.typed (a WITH OPTIONS PRIMARY KEY, b DEFAULT 'z'); INSERT INTO of_type VALUES (1);
CREATE TABLE app.sq_owner (a integer); CREATE SEQUENCE app.sq AS smallint INCREMENT -2 MINVALUE -100 MAXVALUE 50 START 50 CYCLE CACHE 3; SELECT nextval('app.sq'); ALTER SEQUENCE app.sq OWNED BY app.sq_owner.a;
CREATE VIEW app.v WITH (security_invoker = true, security_barrier) AS SELECT a, v FROM gen; CREATE VIEW app.jt AS SELECT * FROM JSON_TABLE('[{"a":1}]', '$[*]' COLUMNS (a integer PATH '$.a', o FOR ORDINALITY)) j; CREATE MATERIALIZED VIEW app.mv AS SELECT a, v FROM gen; CREATE UNIQUE INDEX ON app.mv (a); CREATE VIEW app.jq AS SELECT JSON_QUERY('{"a":[1]}', '$.a' WITH WRAPPER) q, JSON_EXISTS('{}'::jsonb, '$.x') e, JSON_SCALAR(1) s, JSON_OBJECT('a': 1 ABSENT ON NULL RETURNING jsonb) o; CREATE RECURSIVE VIEW rec (n) AS SELECT 1 UNION ALL SELECT n + 1 FROM rec WHERE n < 3; CREATE VIEW app.merge_old AS SELECT any_value(a) FROM gen;
CREATE FUNCTION app.mrg() RETURNS void LANGUAGE sql BEGIN ATOMIC MERGE INTO ne_parent t USING (SELECT 5 AS id) s ON t.id = s.id WHEN NOT MATCHED BY SOURCE THEN DO NOTHING WHEN NOT MATCHED THEN INSERT VALUES (s.id); END;
CREATE FUNCTION app.rno() RETURNS SETOF integer LANGUAGE sql BEGIN ATOMIC UPDATE ne_parent SET id = id RETURNING WITH (OLD AS o, NEW AS n) o.id; END;
CREATE FUNCTION app.trg() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; CREATE TRIGGER tr AFTER INSERT ON id_part REFERENCING NEW TABLE AS nt FOR EACH STATEMENT EXECUTE FUNCTION app.trg(); CREATE TRIGGER tr_row BEFORE INSERT ON id_part FOR EACH ROW EXECUTE FUNCTION app.trg('a', 'b''c'); ALTER TABLE id_part_a DISABLE TRIGGER tr_row; CREATE CONSTRAINT TRIGGER ct AFTER INSERT ON gen DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.trg();
CREATE RULE r AS ON INSERT TO base2 WHERE NEW.a > 5 DO ALSO INSERT INTO base1 VALUES (NEW.a); ALTER TABLE base2 DISABLE RULE r;
CREATE TABLE misc (i interval, x xml, j jsonpath, pglsn pg_lsn, xid8 xid8, tsq tsquery, bits bit(5), v varbit, m macaddr8, u uuid DEFAULT uuidv7(), h ext.hstore, lt ltree, ea cube, ts timestamptz, b bytea, big numeric, f double precision, nm name, oidc oid, rc regclass, ch "char", js json, eanc ext.ean13, sg seg); INSERT INTO misc VALUES ('infinity', '<a/>', '$.a[*] ? (@ > 1)', '0/16B6C50', '18446744073709551615', 'a & b', B'10101', B'1', '08:00:2b:01:02:03:04:05', DEFAULT, 'a=>1', 'a.b.c', '(1,2)', '294276-01-01', '\x00ff', 'Infinity', 1e-320, 'n', 5, 'gen', 'x', '{"a":  1}', '9780306406157', '1..2'); INSERT INTO misc (i) VALUES ('-infinity');
CREATE OPERATOR FAMILY app.fam USING btree; CREATE OPERATOR CLASS app.opc FOR TYPE text USING btree FAMILY app.fam AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 bttextcmp(text, text); CREATE INDEX opc_i ON docs (t app.opc);
CREATE CONVERSION app.conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
