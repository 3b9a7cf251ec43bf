-- A database of the first release, of schema 0001, whose server was killed while a pipeline ran: sqlite3 odin.db .dump
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE attempts (
	pipeline VARCHAR(63) NOT NULL, 
	idx INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	state VARCHAR(8) NOT NULL, 
	stop VARCHAR(16), 
	cards TEXT, 
	planned_at FLOAT NOT NULL, 
	started_at FLOAT, 
	ended_at FLOAT, 
	exit_code INTEGER, 
	reason VARCHAR(16), 
	message TEXT, 
	cpu_s FLOAT, 
	rss_kb BIGINT, 
	log_bytes BIGINT, 
	PRIMARY KEY (pipeline, idx, number)
)
 WITHOUT ROWID

;
INSERT INTO "attempts" VALUES('bad-sjaz5ezj',0,1,'ended',NULL,NULL,1.79541767022296547889e+09,1.79541767022917175293e+09,1.79541767023046159746e+09,3,'exit',NULL,0.000862,NULL,0);
INSERT INTO "attempts" VALUES('flaky-bub7q5z2',0,1,'ended',NULL,NULL,1.79541767028585624692e+09,1.79541767029037714004e+09,1.79541767029413652421e+09,1,'exit',NULL,0.000826,NULL,0);
INSERT INTO "attempts" VALUES('flaky-bub7q5z2',0,2,'ended',NULL,NULL,1.79541767029535651208e+09,1.79541767029897880551e+09,1.79541767030727577214e+09,0,'exit',NULL,0.001277,NULL,0);
INSERT INTO "attempts" VALUES('good-wz6suolu',0,1,'ended',NULL,NULL,1.7954176701608855724e+09,1.79541767016672968869e+09,1.79541767016786742213e+09,0,'exit',NULL,0.000717,NULL,8);
INSERT INTO "attempts" VALUES('good-wz6suolu',1,1,'ended',NULL,NULL,1.79541767016815352435e+09,1.79541767017291235926e+09,1.79541767017727303505e+09,0,'exit',NULL,0.000673,NULL,8);
INSERT INTO "attempts" VALUES('long-4lze9liu',0,1,'ended','cancel',NULL,1.79541767034954476353e+09,1.79541767035582447049e+09,1.79541767087312746043e+09,143,'stopped','cancelled by ada',0.0009,NULL,0);
INSERT INTO "attempts" VALUES('long-v3cw6kmq',0,1,'running',NULL,NULL,1.79541767101808786392e+09,1.79541767102379846575e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE events (
	pipeline VARCHAR(63) NOT NULL, 
	seq BIGINT NOT NULL, 
	at FLOAT NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	idx INTEGER, 
	attempt INTEGER, 
	message TEXT, 
	PRIMARY KEY (pipeline, seq)
)
 WITHOUT ROWID

;
INSERT INTO "events" VALUES('bad-sjaz5ezj',1,1.79541767022296547889e+09,'submitted',NULL,NULL,'bad at c1693baf03c7');
INSERT INTO "events" VALUES('bad-sjaz5ezj',2,1.79541767022296547889e+09,'planned',0,1,NULL);
INSERT INTO "events" VALUES('bad-sjaz5ezj',3,1.79541767023068976399e+09,'started',0,1,NULL);
INSERT INTO "events" VALUES('bad-sjaz5ezj',4,1.79541767023068976399e+09,'failed',0,1,'exit code 3');
INSERT INTO "events" VALUES('bad-sjaz5ezj',5,1.79541767023068976399e+09,'skipped',1,NULL,'task "fetch" failed');
INSERT INTO "events" VALUES('bad-sjaz5ezj',6,1.79541767023068976399e+09,'failed',NULL,NULL,'task "fetch" failed: exit code 3');
INSERT INTO "events" VALUES('flaky-bub7q5z2',1,1.79541767028585624692e+09,'submitted',NULL,NULL,'flaky at c1693baf03c7');
INSERT INTO "events" VALUES('flaky-bub7q5z2',2,1.79541767028585624692e+09,'planned',0,1,NULL);
INSERT INTO "events" VALUES('flaky-bub7q5z2',3,1.79541767029440617556e+09,'started',0,1,NULL);
INSERT INTO "events" VALUES('flaky-bub7q5z2',4,1.79541767029440617556e+09,'retrying',0,1,'attempt 1 failed: exit code 1; the next one in 0 s');
INSERT INTO "events" VALUES('flaky-bub7q5z2',5,1.79541767029535651208e+09,'planned',0,2,NULL);
INSERT INTO "events" VALUES('flaky-bub7q5z2',6,1.79541767030753326422e+09,'started',0,2,NULL);
INSERT INTO "events" VALUES('flaky-bub7q5z2',7,1.79541767030753326422e+09,'executed',0,2,NULL);
INSERT INTO "events" VALUES('flaky-bub7q5z2',8,1.79541767030753326422e+09,'succeeded',NULL,NULL,NULL);
INSERT INTO "events" VALUES('good-wz6suolu',1,1.79541767015091514587e+09,'submitted',NULL,NULL,'good at c1693baf03c7');
INSERT INTO "events" VALUES('good-wz6suolu',2,1.7954176701608855724e+09,'built',NULL,NULL,NULL);
INSERT INTO "events" VALUES('good-wz6suolu',3,1.7954176701608855724e+09,'planned',0,1,NULL);
INSERT INTO "events" VALUES('good-wz6suolu',4,1.79541767016815352435e+09,'started',0,1,NULL);
INSERT INTO "events" VALUES('good-wz6suolu',5,1.79541767016815352435e+09,'executed',0,1,NULL);
INSERT INTO "events" VALUES('good-wz6suolu',6,1.79541767016815352435e+09,'planned',1,1,NULL);
INSERT INTO "events" VALUES('good-wz6suolu',7,1.7954176701775259972e+09,'started',1,1,NULL);
INSERT INTO "events" VALUES('good-wz6suolu',8,1.7954176701775259972e+09,'executed',1,1,NULL);
INSERT INTO "events" VALUES('good-wz6suolu',9,1.7954176701775259972e+09,'succeeded',NULL,NULL,NULL);
INSERT INTO "events" VALUES('long-4lze9liu',1,1.79541767034954476353e+09,'submitted',NULL,NULL,'long at c1693baf03c7');
INSERT INTO "events" VALUES('long-4lze9liu',2,1.79541767034954476353e+09,'planned',0,1,NULL);
INSERT INTO "events" VALUES('long-4lze9liu',3,1.79541767037754726411e+09,'started',0,1,NULL);
INSERT INTO "events" VALUES('long-4lze9liu',4,1.79541767085943603518e+09,'stopping',NULL,NULL,'cancelled by ada');
INSERT INTO "events" VALUES('long-4lze9liu',5,1.79541767085943603518e+09,'terminated',1,NULL,'cancelled by ada');
INSERT INTO "events" VALUES('long-4lze9liu',6,1.79541767087346458434e+09,'terminated',0,1,'cancelled by ada');
INSERT INTO "events" VALUES('long-4lze9liu',7,1.79541767087346458434e+09,'cancelled',NULL,NULL,'cancelled by ada');
INSERT INTO "events" VALUES('long-v3cw6kmq',1,1.79541767101808786392e+09,'submitted',NULL,NULL,'long at c1693baf03c7');
INSERT INTO "events" VALUES('long-v3cw6kmq',2,1.79541767101808786392e+09,'planned',0,1,NULL);
INSERT INTO "events" VALUES('long-v3cw6kmq',3,1.7954176710466811657e+09,'started',0,1,NULL);
CREATE TABLE facts (
	name VARCHAR(64) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "facts" VALUES('store_id','442bf89db3fa4fd78bd628d68082a96a');
CREATE TABLE idempotency (
	user_uid BIGINT NOT NULL, 
	route VARCHAR(128) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	body_hash VARCHAR(64) NOT NULL, 
	status INTEGER NOT NULL, 
	answer TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (user_uid, route, "key")
);
CREATE TABLE pipelines (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id VARCHAR(63) NOT NULL, 
	name VARCHAR(63) NOT NULL, 
	job TEXT NOT NULL, 
	version VARCHAR(40) NOT NULL, 
	username VARCHAR(64) NOT NULL, 
	user_uid BIGINT NOT NULL, 
	context TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	outcome VARCHAR(16), 
	error_message TEXT, 
	warnings TEXT NOT NULL, 
	on_failure VARCHAR(16) NOT NULL, 
	timeout_s FLOAT, 
	submitted_at FLOAT NOT NULL, 
	completed_at FLOAT, 
	stop VARCHAR(16), 
	stop_message TEXT, 
	deleting TEXT, 
	rerun_of VARCHAR(63), 
	task_count INTEGER NOT NULL, 
	fence BIGINT NOT NULL, 
	seq BIGINT NOT NULL, 
	UNIQUE (id)
);
INSERT INTO "pipelines" VALUES(1,'good-wz6suolu','good','good','c1693baf03c75e18ebda29ceb7aebd16188dd85b','ada',1,'{}','DONE','succeeded',NULL,'[]','stop',NULL,1.79541767015039873127e+09,1.7954176701775259972e+09,NULL,NULL,NULL,NULL,2,1,9);
INSERT INTO "pipelines" VALUES(2,'bad-sjaz5ezj','bad','bad','c1693baf03c75e18ebda29ceb7aebd16188dd85b','ada',1,'{}','TERMINATED','failed','task "fetch" failed: exit code 3','[]','stop',NULL,1.7954176702224185466e+09,1.79541767023068976399e+09,NULL,NULL,NULL,NULL,2,1,6);
INSERT INTO "pipelines" VALUES(3,'flaky-bub7q5z2','flaky','flaky','c1693baf03c75e18ebda29ceb7aebd16188dd85b','ada',1,'{}','DONE','succeeded',NULL,'[]','stop',NULL,1.79541767028536081315e+09,1.79541767030753326422e+09,NULL,NULL,NULL,NULL,1,1,8);
INSERT INTO "pipelines" VALUES(4,'long-4lze9liu','long','long','c1693baf03c75e18ebda29ceb7aebd16188dd85b','ada',1,'{}','TERMINATED','cancelled',NULL,'[]','stop',3600.0,1.79541767034902214998e+09,1.79541767087346458434e+09,'cancel','cancelled by ada',NULL,NULL,2,1,7);
INSERT INTO "pipelines" VALUES(6,'long-v3cw6kmq','long','long','c1693baf03c75e18ebda29ceb7aebd16188dd85b','ada',1,'{}','RUNNING',NULL,NULL,'[]','stop',3600.0,1.79541767101759982107e+09,NULL,NULL,NULL,NULL,NULL,2,1,3);
CREATE TABLE tasks (
	pipeline VARCHAR(63) NOT NULL, 
	idx INTEGER NOT NULL, 
	name VARCHAR(63) NOT NULL, 
	spec TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	reason TEXT, 
	attempt INTEGER NOT NULL, 
	exit_code INTEGER, 
	submitted_at FLOAT, 
	started_at FLOAT, 
	completed_at FLOAT, 
	due_at FLOAT, 
	spent TEXT, 
	PRIMARY KEY (pipeline, idx)
)
 WITHOUT ROWID

;
INSERT INTO "tasks" VALUES('bad-sjaz5ezj',0,'fetch','{"name":"fetch","command":["sh","-c"],"args":["exit 3"]}','failed','exit code 3',1,3,1.79541767022296547889e+09,1.79541767022917175293e+09,1.79541767023046159746e+09,NULL,NULL);
INSERT INTO "tasks" VALUES('bad-sjaz5ezj',1,'train','{"name":"train","command":["sh","-c"],"args":["echo trained"],"depends":["fetch"]}','skipped','task "fetch" failed',0,NULL,NULL,NULL,1.79541767023068976399e+09,NULL,NULL);
INSERT INTO "tasks" VALUES('flaky-bub7q5z2',0,'fetch','{"name":"fetch","command":["sh","-c"],"args":["test $$ODIN_ATTEMPT = 2"],"retries":{"user":1},"retry_delay_s":0.0}','executed',NULL,2,0,1.79541767028585624692e+09,1.79541767029897880551e+09,1.79541767030727577214e+09,NULL,'{"user": 1}');
INSERT INTO "tasks" VALUES('good-wz6suolu',0,'fetch','{"name":"fetch","command":["sh","-c"],"args":["echo fetched"]}','executed',NULL,1,0,1.7954176701608855724e+09,1.79541767016672968869e+09,1.79541767016786742213e+09,NULL,NULL);
INSERT INTO "tasks" VALUES('good-wz6suolu',1,'train','{"name":"train","command":["sh","-c"],"args":["echo trained"],"depends":["fetch"]}','executed',NULL,1,0,1.79541767016815352435e+09,1.79541767017291235926e+09,1.79541767017727303505e+09,NULL,NULL);
INSERT INTO "tasks" VALUES('long-4lze9liu',0,'fetch','{"name":"fetch","command":["sh","-c"],"args":["sleep 1000"]}','terminated','cancelled by ada',1,143,1.79541767034954476353e+09,1.79541767035582447049e+09,1.79541767087312746043e+09,NULL,NULL);
INSERT INTO "tasks" VALUES('long-4lze9liu',1,'train','{"name":"train","command":["sh","-c"],"args":["echo trained"],"depends":["fetch"]}','terminated','cancelled by ada',0,NULL,NULL,NULL,1.79541767085943603518e+09,NULL,NULL);
INSERT INTO "tasks" VALUES('long-v3cw6kmq',0,'fetch','{"name":"fetch","command":["sh","-c"],"args":["sleep 1000"]}','executing',NULL,1,NULL,1.79541767101808786392e+09,1.79541767102379846575e+09,NULL,NULL,NULL);
INSERT INTO "tasks" VALUES('long-v3cw6kmq',1,'train','{"name":"train","command":["sh","-c"],"args":["echo trained"],"depends":["fetch"]}','waiting',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE tombstones (
	id VARCHAR(63) NOT NULL, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID

;
INSERT INTO "tombstones" VALUES('good-kjkxiodi',1.79541767099099826808e+09);
CREATE TABLE users (
	uid INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	username VARCHAR(64) NOT NULL, 
	firstname TEXT NOT NULL, 
	lastname TEXT NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	password_hash TEXT NOT NULL, 
	not_before FLOAT NOT NULL, 
	created_at FLOAT NOT NULL, 
	UNIQUE (username)
);
INSERT INTO "users" VALUES(1,'ada','','','admin','$argon2id$v=19$m=19456,t=2,p=1$obgud57OWmhEHiMXCWqbcw$LJ+yheuL5AuIp5tvkY0p9IdetK+nWam2Moemve04tmo',0.0,1.79541766964379787439e+09);
INSERT INTO "users" VALUES(2,'bob','Bob','B','editor','$argon2id$v=19$m=19456,t=2,p=1$zIMJtaoMU6pgEStKShqcjw$82WXreHc0DC50c9qWEBWNVWINQCe8yQpkZCFx9j+EFc',0.0,1.79541766997958087922e+09);
CREATE INDEX idempotency_by_at ON idempotency (at);
CREATE INDEX pipelines_by_job ON pipelines (job, number);
CREATE INDEX pipelines_by_status ON pipelines (status, number);
CREATE INDEX pipelines_by_version ON pipelines (version);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('users',2);
INSERT INTO "sqlite_sequence" VALUES('pipelines',6);
COMMIT;
