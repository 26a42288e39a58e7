// A receiver of webhooks with something to be seen: a message that it took, and one that it refused until it was given up.
import { connect } from './client.mjs';

const PATIENCE_MS = 60_000;

/** Returns its id, that of the message that was given up, and what removes both. */
export async function hookWithMessages(world) {
  const weir = connect(world.facts.admin, { key: world.facts.keys.admin });
  const { id } = await weir.post('/admin/v1/webhooks', { body: { url: world.facts.receiver, chain: 'dev', topic: 'chain_status', description: 'for the photographs' } });
  const path = { id: String(id) };
  async function tried(status, state) {
    await world.order({ do: 'received', status });
    await weir.post('/admin/v1/webhooks/{id}/test', { path, body: {} });
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const { items } = await weir.get('/admin/v1/webhooks/{id}/deliveries', { path, query: { state } });
      const found = items.find((d) => d.type === 'test');
      if (found) return found.id;
      if (Date.now() > deadline) throw new Error(`no message of webhook ${id} became ${state}`);
      await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
  }
  await tried(200, 'delivered');
  const message = await tried(500, 'failed');
  await world.order({ do: 'received', status: 200 });
  return { hook: id, message, remove: () => weir.post('/admin/v1/webhooks/{id}/remove', { path, body: { why: 'the photographs are taken' } }) };
}
