-- 0011: balances whose opening nobody could tell, to ask for again: those that are known are not in it. Like 0009 it begins with an expression, so
-- that nothing else can use it.

create index balances_opening_unknown on weir.balances ((chain::int), account, asset) where not opening_known;
