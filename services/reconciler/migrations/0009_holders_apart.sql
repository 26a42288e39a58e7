-- 0009: who holds an asset, by an index that nothing else can use. A planner that knows nothing of a young ledger took the one of 0008 for
-- changing the balance of an account, and read all holders of its asset for each.

drop index weir.balances_asset;
create index balances_holders on weir.balances ((asset::bigint));
