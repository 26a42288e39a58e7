import { onchainTable } from "ponder";

export const transfer = onchainTable("transfer", (t) => ({
  id: t.text().primaryKey(),
  height: t.bigint().notNull(),
  sender: t.hex().notNull(),
  recipient: t.hex().notNull(),
  value: t.bigint().notNull(),
}));

export const balance = onchainTable("balance", (t) => ({
  account: t.hex().primaryKey(),
  amount: t.bigint().notNull(),
}));
