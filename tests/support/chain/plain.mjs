// Plain workloads for measuring: `bulk` (one transaction with many token transfers per block, as fast as the node can) and `rate`
// (a fixed number of simple transactions per block, one block per tick of the clock).

import { setTimeout as sleep } from 'node:timers/promises';
import { Interface, dataSlice, getCreateAddress, id } from 'ethers';

import { lower } from './world.mjs';

const RECIPIENTS = 2000;
const TOGETHER = 5; // transactions that come at once; so many they are spread over the time between two blocks
const NATIVE_GAS = 30_000n; // 21,000 and an access list of one slot
const recipients = () => Array.from({ length: RECIPIENTS }, (_, i) => dataSlice(id(`recipient ${i}`), 12));

async function deployToken({ driver, world, journal }) {
  const owner = world.senders[0];
  const address = lower(getCreateAddress({ from: owner, nonce: driver.nonce(owner) }));
  const data = world.deployment('StandardToken', ['Bulk', 'BULK', 18, 10n ** 30n]);
  await driver.send([driver.complete({ from: owner, data, gas: 3_000_000n })]);
  journal.addBlock(await driver.mine(), null);
  journal.tokens.push({ address, standard: 'erc20', kind: 'standard', lying: false, ids: [] });
  return { address, owner, interface: new Interface(world.contracts.StandardToken.abi) };
}

/** `blocks` blocks with one batch of `transfers` token transfers each, and five native transfers in each tenth. */
export async function bulk({ driver, world, journal, stopped, progress }, { blocks, transfers }) {
  const token = await deployToken({ driver, world, journal });
  const people = recipients();
  journal.addAccounts([token.owner, token.address, ...people, ...world.senders, ...world.feeRecipients.slice(0, 1)]);
  let next = 0;
  const taken = () => people[next++ % people.length];
  for (let i = 0; i < blocks && !stopped(); i++) {
    const to = Array.from({ length: transfers }, taken);
    const data = token.interface.encodeFunctionData('batch', [to, BigInt(i + 1)]);
    const txs = [{ from: token.owner, to: token.address, data, gas: 200_000n + 60_000n * BigInt(transfers) }];
    if (i % 10 === 0) for (let k = 0; k < 5; k++) txs.push({ from: world.senders[1], to: taken(), value: BigInt(i + 1), gas: NATIVE_GAS });
    await driver.sendAtOnce(txs.map((tx) => driver.complete(tx)));
    const head = await driver.mine();
    if (head.transactions !== txs.length) throw new Error(`block ${head.height} has ${head.transactions} of ${txs.length} transactions`);
    journal.addBlock(head, null);
    progress(head);
  }
}

/** `blocks` blocks of `size` transactions, half native and half token transfers, each mined when its tick of `blockMs` comes. */
export async function rate({ driver, world, rng, journal, stopped, progress }, { blocks, size, blockMs }) {
  const token = await deployToken({ driver, world, journal });
  const people = recipients();
  journal.addAccounts([token.owner, token.address, ...people, ...world.senders, ...world.feeRecipients.slice(0, 1)]);
  const fund = token.interface.encodeFunctionData('batch', [world.senders, 10n ** 24n]);
  await driver.send([driver.complete({ from: token.owner, to: token.address, data: fund, gas: 3_000_000n })]);
  journal.addBlock(await driver.mine(), null);

  const simple = (i) => (i % 2 === 0
    ? { to: rng.pick(people), value: rng.amount(10n ** 15n), gas: NATIVE_GAS }
    : { to: token.address, data: token.interface.encodeFunctionData('transfer', [rng.pick(people), rng.amount(10n ** 12n)]), gas: 80_000n });
  let tick = Date.now() + blockMs;
  for (let n = 0; n < blocks && !stopped(); n++) {
    for (let sent = 0; sent < size; sent += TOGETHER) {
      await sleep(Math.max(0, tick - blockMs + (0.9 * blockMs * sent) / size - Date.now()));
      await driver.sendAtOnce(Array.from({ length: Math.min(TOGETHER, size - sent) }, (_, i) => driver.complete(simple(sent + i))));
    }
    await sleep(Math.max(0, tick - Date.now()));
    tick = Math.max(tick + blockMs, Date.now());
    const head = await driver.mine();
    if (head.transactions !== size) throw new Error(`block ${head.height} has ${head.transactions} of ${size} transactions`);
    journal.addBlock(head, null);
    progress(head);
  }
}
