-- 0002: webhooks. Schema weir_webhooks is the gateways' own: where each receiver stands in the journal, what is to be delivered, and what
-- was tried. Role weir_webhooks may read and write it, and nothing else; grant it to the gateway's login beside weir_reader.

create schema weir_webhooks;

create table weir_webhooks.endpoints (
	id bigint generated always as identity primary key,
	url text not null,
	description text not null default '',
	chain text not null,                     -- by name: a receiver may be registered before its chain is in the ledger
	topic text not null,                     -- blocks | entries | accounts | chain_status
	account text, asset text,                -- as clients write them; null: all
	state text not null default 'enabled',   -- enabled | failing (the breaker is open: only probes) | disabled (by an operator, or the receiver is gone)
	reason text not null default '',         -- of the state
	state_at timestamptz not null default now(),
	failures integer not null default 0,     -- tries that failed in a row
	probe_at timestamptz,                    -- failing: when the receiver is tried again
	position text,                           -- everything in the journal up to here is in deliveries (an offset as WebSocket clients hold it); null: to be found by start_height
	start_height bigint,                     -- null: from the journal's end on
	journal bigint not null default 1,       -- grows when the ledger was made anew, whose sequence numbers begin again
	owner text not null default '',          -- the gateway that delivers, while lease_until is ahead
	lease_until timestamptz not null default '-infinity',
	created_at timestamptz not null default now(),
	created_by text not null
);

-- What signs. Encrypted by the gateway (AES-256-GCM, webhooks.encryption_key, bound to the endpoint): signing needs the secret itself,
-- so a hash would not do. Several at once while one is rotated.
create table weir_webhooks.secrets (
	id bigint generated always as identity primary key,
	endpoint bigint not null references weir_webhooks.endpoints on delete cascade,
	sealed bytea not null,
	created_at timestamptz not null default now(),
	expires_at timestamptz                   -- null: not rotated out
);
create index secrets_endpoint on weir_webhooks.secrets (endpoint);

-- One row per message and endpoint, in the journal's order by id. Made in the transaction that moves the endpoint's position.
create table weir_webhooks.deliveries (
	id bigint generated always as identity primary key,
	endpoint bigint not null references weir_webhooks.endpoints on delete cascade,
	message text not null,                   -- webhook-id: the same at each try and each replay
	sequence bigint not null,                -- of the journal; 0: a test
	type text not null,
	lane text,                               -- one at a time and in order within a lane; null: after all before it, before all behind it
	body text not null,
	state text not null default 'pending',   -- pending | delivered | failed
	tries integer not null default 0,        -- since it was last queued
	attempts integer not null default 0,     -- ever
	due_at timestamptz not null default now(),
	created_at timestamptz not null default now(),
	done_at timestamptz,
	unique (endpoint, message)
);
create index deliveries_pending on weir_webhooks.deliveries (endpoint, lane, id) where state = 'pending';
create index deliveries_endpoint on weir_webhooks.deliveries (endpoint, id);
create index deliveries_done on weir_webhooks.deliveries (done_at) where state <> 'pending';

create table weir_webhooks.attempts (
	delivery bigint not null references weir_webhooks.deliveries on delete cascade,
	number integer not null,
	at timestamptz not null,
	milliseconds integer not null,
	status integer not null,                 -- 0: no answer
	error text not null,                     -- empty: delivered
	gateway text not null,
	primary key (delivery, number)
);

do $$
begin
	if not exists (select from pg_roles where rolname = 'weir_webhooks') then
		create role weir_webhooks nologin;
	end if;
	grant usage on schema weir_webhooks to weir_webhooks;
	grant select, insert, update, delete on all tables in schema weir_webhooks to weir_webhooks;
exception
	when insufficient_privilege or duplicate_object or unique_violation then
		raise warning 'role weir_webhooks was not made: create it and grant it usage on schema weir_webhooks, and select, insert, update, delete on its tables';
end $$;
