-- 0008: who holds an asset. Neither column ever changes in a row, so updates of balances stay heap-only; equal keys are stored once.

create index balances_asset on weir.balances (asset);
