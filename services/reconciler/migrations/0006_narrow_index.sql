-- 0006: the index of an account's entries without their ordinal: a quarter fewer bytes, and equal keys (a fee recipient's many entries of one
-- block) are stored once. Rows of one height are put in order when they are read. Rebuilds the index; the reconciler waits for that.

drop index weir.entries_account;
create index entries_account on weir.entries (account, asset, height);
