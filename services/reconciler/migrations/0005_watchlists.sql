-- 0005: watch-lists. Schema weir_watch is the gateways' own: lists of addresses that clients made, and from which event of the journal on each
-- address belongs to its list. Role weir_identity may read and write it (0003).

create schema weir_watch;

create table weir_watch.lists (
	id bigint generated always as identity primary key,
	owner text not null,                     -- the key or user that made it
	chain text not null,                     -- its name
	name text not null,
	addresses bigint not null default 0,     -- that belong to it now
	created_at timestamptz not null default now(),
	deleted_at timestamptz                   -- its addresses are deleted bit by bit, then this row
);
create index lists_owner on weir_watch.lists (owner, id) where deleted_at is null;
create index lists_deleted on weir_watch.lists (id) where deleted_at is not null;

-- One row per call that changed a list, numbered in the order of their commits.
create table weir_watch.changes (
	id bigint primary key,
	list bigint not null references weir_watch.lists on delete cascade,
	position bigint not null unique,
	sequence bigint not null,                -- of the chain's journal: the change counts for events behind it
	at timestamptz not null default now()
);
create index changes_list on weir_watch.changes (list, id);
create index changes_at on weir_watch.changes (at);
create sequence weir_watch.change_ids;
create table weir_watch.state (
	one boolean primary key default true check (one),
	position bigint not null                 -- of the newest change
);
insert into weir_watch.state (position) values (0);

-- An address belongs to its list for events with added's sequence < sequence <= removed's. Blocks that are taken back are asked for by the
-- sequence of the event that applied them, so that a retraction names what was given and nothing else.
create table weir_watch.addresses (
	list bigint not null,
	address bytea not null,
	added bigint not null,                   -- changes.id
	removed bigint,                          -- changes.id; null: belongs to it still
	primary key (list, address, added)
);
create index addresses_added on weir_watch.addresses (list, added);
create index addresses_removed on weir_watch.addresses (list, removed) where removed is not null;

-- Who reads a list for an event holds this (row share); who changes lists takes it alone for the moment in which the change gets its sequence
-- and is committed. So nobody can have read an event behind a change's sequence without the change.
create table weir_watch.fence (nothing boolean);

-- The last statement of a change's transaction (read committed: each statement sees what was committed before it). Returns its sequence.
create function weir_watch.finish(of_list bigint, of_change bigint, more bigint, always boolean) returns bigint language plpgsql as $$
declare
	at_sequence bigint;
	next bigint;
begin
	lock table weir_watch.fence in exclusive mode;
	if always then
		at_sequence := 0;
	else
		select c.journal_sequence into strict at_sequence from weir_api.chains c join weir_watch.lists l on l.chain = c.name where l.id = of_list;
	end if;
	update weir_watch.state set position = position + 1 returning position into next;
	insert into weir_watch.changes (id, list, position, sequence) values (of_change, of_list, next, at_sequence);
	update weir_watch.lists set addresses = addresses + more where id = of_list;
	return at_sequence;
end $$;

-- The newest change, once all that were about to be committed are.
create function weir_watch.look() returns bigint language plpgsql as $$
begin
	lock table weir_watch.fence in row share mode;
	return (select position from weir_watch.state);
end $$;

alter table weir_webhooks.endpoints add column watchlist bigint; -- of topic watchlist; weir_watch.lists.id

do $$
begin
	grant usage on schema weir_watch to weir_identity;
	grant select, insert, update, delete on all tables in schema weir_watch to weir_identity;
	grant usage on all sequences in schema weir_watch to weir_identity;
exception
	when insufficient_privilege or undefined_object then
		raise warning 'role weir_identity could not be given schema weir_watch: grant usage on it, select, insert, update, delete on its tables and usage on its sequences';
end $$;
