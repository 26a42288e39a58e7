// The tables, where Subsquid looks for them: lib/model of the project's folder.
const { EntitySchema } = require("typeorm");

class Transfer { constructor(fields) { Object.assign(this, fields); } }
class Balance { constructor(fields) { Object.assign(this, fields); } }
const numeric = { type: "numeric", transformer: { to: (v) => v?.toString(), from: (v) => (v == null ? v : BigInt(v)) } };
const TransferSchema = new EntitySchema({
  name: "Transfer", target: Transfer, tableName: "transfer",
  columns: { id: { type: "text", primary: true }, height: { type: "int" }, sender: { type: "text" }, recipient: { type: "text" }, value: numeric },
});
const BalanceSchema = new EntitySchema({
  name: "Balance", target: Balance, tableName: "balance",
  columns: { id: { type: "text", primary: true }, amount: numeric },
});
module.exports = { Transfer, Balance, TransferSchema, BalanceSchema };
