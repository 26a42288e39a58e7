-- 0004: operators who sign in by name and password, and their sessions.

create table weir_identity.users (
	name text primary key,
	password text not null,                  -- argon2id, encoded with its parameters and salt
	role text not null,                      -- viewer | operator | admin
	created_at timestamptz not null default now(),
	created_by text not null,
	password_at timestamptz not null default now(),
	disabled_at timestamptz,                 -- null: may sign in
	signed_in_at timestamptz                 -- the last time
);

-- A session lives on by refresh tokens, each good once. Kept is HMAC-SHA-256 of the newest one and of the one before, under gateway.session_secret.
create table weir_identity.sessions (
	id text primary key,                     -- 32 hex digits; part of its tokens, never listed
	user_name text not null references weir_identity.users (name),
	hash bytea not null,
	previous_hash bytea,
	rotated_at timestamptz not null default now(),
	remote text not null,
	created_at timestamptz not null default now(),
	expires_at timestamptz not null,
	ended_at timestamptz,
	ended_by text                            -- logout | reuse | password | disabled
);
create index sessions_user on weir_identity.sessions (user_name) where ended_at is null;
create index sessions_expires on weir_identity.sessions (expires_at);

do $$
begin
	grant select, insert, update, delete on weir_identity.users, weir_identity.sessions to weir_identity;
exception
	when insufficient_privilege or undefined_object then
		raise warning 'role weir_identity could not be given the tables users and sessions: grant select, insert, update, delete on them to it';
end $$;
