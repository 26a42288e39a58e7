-- 0003: identity. Schema weir_identity is the gateways' own: API keys made at run time. Role weir_identity may read and write it, and nothing
-- else; grant it to the gateway's login beside weir_reader.

create schema weir_identity;

-- Each change has the next number, taken under a lock: who has seen everything up to n misses nothing by asking for what is above n.
create table weir_identity.changes (
	one boolean primary key default true check (one),
	number bigint not null
);
insert into weir_identity.changes (number) values (0);

create table weir_identity.keys (
	id text primary key,                     -- the key's public part: 12 hex digits
	name text not null,
	hash bytea not null,                     -- HMAC-SHA-256 of the whole key under gateway.key_pepper
	scopes text[] not null,                  -- read, stream, viewer, operator, admin
	addresses text not null default '',      -- ranges it may be used from; empty: anywhere
	created_at timestamptz not null default now(),
	created_by text not null,
	expires_at timestamptz,                  -- null: never
	revoked_at timestamptz,
	revoked_by text,
	last_used_at timestamptz,                -- to a minute or so
	change bigint not null
);
create index keys_change on weir_identity.keys (change);
create index keys_created on weir_identity.keys (created_at, id);

do $$
begin
	if not exists (select from pg_roles where rolname = 'weir_identity') then
		create role weir_identity nologin;
	end if;
	grant usage on schema weir_identity to weir_identity;
	grant select, insert, update, delete on all tables in schema weir_identity to weir_identity;
exception
	when insufficient_privilege or duplicate_object or unique_violation then
		raise warning 'role weir_identity was not made: create it and grant it usage on schema weir_identity, and select, insert, update, delete on its tables';
end $$;
