-- What only a superuser can give Reverie: the owner of its schema, who is none; the role that serves, which row-level
-- security binds; the database that this runs in; and pgvector. It may run again. The name and the password come from
-- the environment, so that no list of processes shows them.
\set ON_ERROR_STOP on
\getenv owner POSTGRES_OWNER
\getenv password POSTGRES_OWNER_PASSWORD

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER PASSWORD %L', :'owner', :'password')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'owner') \gexec
SELECT 'CREATE ROLE reverie_app NOLOGIN NOSUPERUSER NOBYPASSRLS'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reverie_app') \gexec
GRANT reverie_app TO :"owner" WITH SET TRUE, INHERIT FALSE;

SELECT format('ALTER DATABASE %I OWNER TO %I', current_database(), :'owner') \gexec
CREATE EXTENSION IF NOT EXISTS vector;
