import { createConfig } from "ponder";

// Every Transfer of one token, as docs/benchmarks.md says. All from the environment: the harness starts the chain.
export default createConfig({
  database: { kind: "postgres", connectionString: process.env.DATABASE_URL },
  chains: { bench: { id: 1, rpc: process.env.RPC_URL!, pollingInterval: 200 } },
  contracts: {
    Token: {
      chain: "bench",
      address: process.env.TOKEN as `0x${string}`,
      startBlock: 0,
      abi: [
        {
          type: "event",
          name: "Transfer",
          inputs: [
            { name: "from", type: "address", indexed: true },
            { name: "to", type: "address", indexed: true },
            { name: "value", type: "uint256", indexed: false },
          ],
        },
      ] as const,
    },
  },
});
