-- 0012: tokens of issuers that are refused before their end: one by its jti, or all of a subject that were issued up to a time.

create table weir_identity.token_denials (
	id bigint generated always as identity primary key,
	jti text,
	subject text,
	issued_before timestamptz,               -- of a subject
	until timestamptz not null,              -- then the tokens have ended by themselves
	created_at timestamptz not null default now(),
	created_by text not null,
	why text not null,
	check ((jti is null) <> (subject is null) and (subject is null) = (issued_before is null))
);
create index token_denials_until on weir_identity.token_denials (until);

do $$
begin
	grant select, insert, update, delete on weir_identity.token_denials to weir_identity;
exception
	when insufficient_privilege or undefined_object then
		raise warning 'role weir_identity could not be given the table token_denials: grant select, insert, update, delete on it to it';
end $$;
