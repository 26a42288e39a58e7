-- 0001: the ledger. Schema weir holds the tables (owner: reconciler); schema weir_api holds the views that are the contract with
-- readers (role weir_reader sees nothing else). Heights are bigint, hashes and addresses bytea, amounts numeric(78,0) signed.

create schema if not exists weir;
create schema if not exists weir_api;

create or replace function weir.finality_rank(name text) returns smallint language sql immutable parallel safe as
$$ select case name when 'seen' then 1 when 'safe' then 2 when 'finalized' then 3 else 0 end::smallint $$;

create table weir.chains (
	id smallint generated always as identity primary key,
	name text not null unique,
	family text not null,
	profile text not null,
	chain_id bigint not null,
	genesis_hash bytea,
	start_height bigint not null,
	fence text not null default '',          -- token of the reconciler that owns the chain: every batch checks it
	epoch bigint not null default 1,         -- grows when blocks must be fetched again (rewind)
	watermark_height bigint not null default -1, -- every block from start_height to here is in the ledger
	watermark_hash bytea,
	watermark_at timestamptz,
	head_height bigint, head_hash bytea, head_at timestamptz,
	safe_height bigint, finalized_height bigint,
	journal_sequence bigint not null default 0,
	paused boolean not null default false
);

-- One row per block ever applied. Forks at the same height have branch 0, 1, …; at most one is canonical.
create table weir.blocks (
	chain smallint not null references weir.chains,
	height bigint not null,
	branch smallint not null,
	hash bytea not null,
	parent_hash bytea not null,
	timestamp bigint not null,               -- unix seconds, as the header says
	canonical boolean not null,
	superseded_at timestamptz,
	transaction_count integer not null,
	entry_count integer not null,
	gas_used bigint not null,
	base_fee numeric(78,0),
	fee_recipient bytea,
	endpoints text[] not null,
	applied_at timestamptz not null default now(),
	primary key (chain, height, branch)
);
create unique index blocks_canonical on weir.blocks (chain, height) where canonical;
create index blocks_hash on weir.blocks using hash (hash);
create index blocks_superseded on weir.blocks (chain, height) where not canonical;

-- What was checked about the block: a packed weir.v1.Certificate, and bit sets by CheckName for SQL.
create table weir.certificates (
	chain smallint not null,
	height bigint not null,
	branch smallint not null,
	proven boolean not null,
	passed integer not null, failed integer not null, not_possible integer not null,
	body bytea not null,
	primary key (chain, height, branch)
);

create table weir.transactions (
	chain smallint not null,
	height bigint not null,
	branch smallint not null,
	tx_index integer not null,
	hash bytea not null,
	type smallint not null,
	sender bytea not null,
	recipient bytea,
	value numeric(78,0) not null,
	nonce bigint not null,
	gas_used bigint not null,
	effective_gas_price numeric(78,0),
	succeeded boolean not null,
	created bytea,
	log_count integer not null,
	primary key (chain, height, branch, tx_index)
);
create index transactions_hash on weir.transactions using hash (hash);

create table weir.accounts (
	id bigint generated always as identity primary key,
	chain smallint not null,
	address bytea not null,
	unique (chain, address)
);

create table weir.assets (
	id integer generated always as identity primary key,
	chain smallint not null,
	standard smallint not null,              -- weir.v1.TokenStandard
	contract bytea not null,                 -- empty for the native asset
	token_id numeric(78,0),                  -- null: none
	first_height bigint not null,
	non_conserving boolean not null default false,
	non_conserving_since timestamptz,
	evidence jsonb,
	symbol text, decimals smallint           -- as the contract says, untrusted; null: unknown
);
create unique index assets_key on weir.assets (chain, contract, (coalesce(token_id, -1)));
create index assets_non_conserving on weir.assets (chain) where non_conserving;

-- The journal of movements, in order. `balance` is the account's running balance of the asset after the entry.
-- Reversal entries (kind 16) follow the entries that they take back, in the superseded block's branch, and are superseded themselves.
create table weir.entries (
	chain smallint not null,
	height bigint not null,
	branch smallint not null,
	ordinal integer not null,
	tx_index integer not null,               -- -1: not of a transaction
	kind smallint not null,                  -- weir.v1.EntryKind
	superseded boolean not null default false,
	asset integer not null,
	account bigint not null,
	delta numeric(78,0) not null,
	balance numeric(78,0) not null,
	path text not null,
	primary key (chain, height, branch, ordinal)
) partition by list (chain);
-- The reconciler makes weir.entries_<chain> partitioned by range (height) and its leaves of 2^20 heights before it writes there.
-- The index has superseded rows too (they are few): readers say `not superseded`. Opening balances (kinds 14, 15) lie at the height before the ledger's first block (at block 0 when that is the first), branch 0.
create index entries_account on weir.entries (account, asset, height, ordinal);

-- The present: one row per account and asset ever touched.
create table weir.balances (
	account bigint not null,
	asset integer not null,
	chain smallint not null,
	amount numeric(78,0) not null,
	height bigint not null,                  -- of the last entry
	reconciled_height bigint,                -- last block at which the chain said the same
	reconciled_at timestamptz,
	opening_known boolean not null default true, -- false: no node had the state before the ledger's first block; amount is a change only
	primary key (account, asset)
) with (fillfactor = 80);

-- What the chain said, where the ledger's own sum is not served (non-conserving assets) or was checked.
create table weir.observations (
	account bigint not null,
	asset integer not null,
	height bigint not null,
	hash bytea not null,
	amount numeric(78,0) not null,
	observed_at timestamptz not null default now(),
	primary key (account, asset, height)
);
create index observations_height on weir.observations (height);

create table weir.gaps (
	id bigint generated always as identity primary key,
	chain smallint not null references weir.chains,
	from_height bigint not null,
	to_height bigint not null,
	reason text not null,                    -- missing | unproven | dead_letter | quarantined
	detail text not null default '',
	attempts integer not null default 0,
	opened_at timestamptz not null default now(),
	closed_at timestamptz
);
create index gaps_open on weir.gaps (chain, from_height) where closed_at is null;

create table weir.incidents (
	id bigint generated always as identity primary key,
	chain smallint not null references weir.chains,
	kind text not null,                      -- mismatch | unproven_block | finality_violation | deep_reorg
	state text not null,                     -- open | confirmed | bisected | healing | closed
	account bigint, asset integer,
	height bigint not null,
	first_wrong_height bigint,
	expected numeric(78,0), observed numeric(78,0),
	resolution text,                         -- healed | non_conserving | endpoint_lied | operator | null
	evidence jsonb not null default '{}',
	opened_at timestamptz not null default now(),
	updated_at timestamptz not null default now(),
	closed_at timestamptz
);
create index incidents_open on weir.incidents (chain) where closed_at is null;

-- What was published on topic "ledger", in order: the outbox and the resume log. body: packed weir.v1.LedgerEvent without entries.
create table weir.journal (
	chain smallint not null,
	sequence bigint not null,
	kind smallint not null,                  -- number of LedgerEvent's oneof field
	height bigint not null,
	branch smallint not null default 0,
	body bytea not null,
	primary key (chain, sequence)
);
create index journal_height on weir.journal (chain, height);

-- Views: the contract with readers.
create view weir_api.chains as
	select c.id, c.name, c.family, c.profile, c.chain_id, c.genesis_hash, c.start_height, c.watermark_height, c.watermark_hash,
	       c.watermark_at, c.head_height, c.head_hash, c.head_at, c.safe_height, c.finalized_height, c.journal_sequence, c.paused,
	       (select count(*) from weir.gaps g where g.chain = c.id and g.closed_at is null) as gaps,
	       (select count(*) from weir.incidents i where i.chain = c.id and i.closed_at is null) as incidents
	  from weir.chains c;
create view weir_api.blocks as
	select b.*, case when not b.canonical then 'superseded'
	                 when b.height <= c.finalized_height then 'finalized'
	                 when b.height <= c.safe_height then 'safe' else 'seen' end as finality
	  from weir.blocks b join weir.chains c on c.id = b.chain;
create view weir_api.certificates as select * from weir.certificates;
create view weir_api.transactions as select * from weir.transactions;
create view weir_api.accounts as select * from weir.accounts;
create view weir_api.assets as select * from weir.assets;
create view weir_api.entries as select * from weir.entries;
create view weir_api.balances as select * from weir.balances;
create view weir_api.observations as select * from weir.observations;
create view weir_api.gaps as select * from weir.gaps;
create view weir_api.incidents as select * from weir.incidents;
create view weir_api.journal as select * from weir.journal;

-- Who reads the views and nothing else. A database whose owner may not make roles does without: grant by hand then.
do $$
begin
	if not exists (select from pg_roles where rolname = 'weir_reader') then
		create role weir_reader nologin;
	end if;
	grant usage on schema weir_api to weir_reader;
	grant select on all tables in schema weir_api to weir_reader;
exception
	when insufficient_privilege or duplicate_object or unique_violation then
		raise warning 'role weir_reader was not made: create it and grant it usage and select on schema weir_api';
end $$;
