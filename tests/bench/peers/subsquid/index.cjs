// The same work as ponder/: every Transfer of one token as a row, and balances. Ends by itself at block TO.
const { EvmBatchProcessor } = require("@subsquid/evm-processor");
const { TypeormDatabase } = require("@subsquid/typeorm-store");
const { Transfer, Balance } = require("./lib/model");

const TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
const token = process.env.TOKEN.toLowerCase();
const last = Number(process.env.TO);

const processor = new EvmBatchProcessor()
  .setRpcEndpoint({ url: process.env.RPC_URL, capacity: 10, maxBatchCallSize: 100 })
  .setFinalityConfirmation(2)
  .setBlockRange({ from: 0, to: last })
  .setFields({ log: { topics: true, data: true, address: true } })
  .addLog({ address: [token], topic0: [TOPIC] });

const balances = new Map();
processor.run(new TypeormDatabase({ supportHotBlocks: true, projectDir: __dirname }), async (ctx) => {
  const transfers = [], touched = new Set();
  const add = (account, delta) => { balances.set(account, (balances.get(account) ?? 0n) + delta); touched.add(account); };
  for (const block of ctx.blocks) {
    for (const log of block.logs) {
      if (log.address !== token || log.topics[0] !== TOPIC) continue;
      const sender = "0x" + log.topics[1].slice(26), recipient = "0x" + log.topics[2].slice(26), value = BigInt(log.data);
      transfers.push(new Transfer({ id: log.id, height: block.header.height, sender, recipient, value }));
      add(sender, -value);
      add(recipient, value);
    }
  }
  await ctx.store.insert(transfers);
  await ctx.store.upsert([...touched].map((id) => new Balance({ id, amount: balances.get(id) })));
});
