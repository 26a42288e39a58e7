-- 0010: webhooks that are told of one kind of entry, as live subscriptions are.

alter table weir_webhooks.endpoints add column kind text; -- of topics entries and watchlist; null: every kind
