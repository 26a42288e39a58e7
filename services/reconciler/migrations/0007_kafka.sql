-- 0007: the ledger to Kafka. Schema weir_kafka is the gateways' own: how far each chain's events are with the brokers, and which gateway sends them.
-- Role weir_webhooks (0002) may read and write it: who may tell receivers of the ledger may tell brokers.

create schema weir_kafka;

create table weir_kafka.exports (
	chain text primary key,                  -- by name
	-- Unix time at which it was begun, by itself or by an operator: what follows counts as new, also where it repeats. Time, because it must grow also
	-- where this row was lost, or restored from a backup.
	epoch bigint not null default extract(epoch from now()),
	position text,                           -- everything in the journal up to here is with the brokers (an offset); null: to be found
	start_height bigint,                     -- … from this height on; null: as kafka.start says
	state text not null default 'running',   -- running | waiting (for the brokers, a topic, a right) | stopped (until an operator begins anew)
	reason text not null default '',         -- of the state
	state_at timestamptz not null default now(),
	records bigint not null default 0,       -- that the brokers acknowledged, ever
	moved_at timestamptz,                    -- when the position moved last
	owner text not null default '',          -- the gateway that sends, while lease_until is ahead
	lease_until timestamptz not null default '-infinity'
);

do $$
begin
	grant usage on schema weir_kafka to weir_webhooks;
	grant select, insert, update on all tables in schema weir_kafka to weir_webhooks;
exception
	when insufficient_privilege or undefined_object then
		raise warning 'role weir_webhooks could not be given schema weir_kafka: grant usage on it, and select, insert, update on its tables';
end $$;
