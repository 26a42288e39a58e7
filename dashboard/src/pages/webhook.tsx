// One receiver: its state, what an operator can do about it, and its messages.
import { useState } from 'preact/hooks';

import { get, post, type Schema } from '../api';
import { ago, count, moment, plural, words } from '../format';
import { asProblem, useAsked } from '../query';
import { filter, go, place, to } from '../router';
import { useStore } from '../store';
import { useWho } from '../who';
import { Confirm } from '../ui/dialog';
import { usePaged } from '../ui/more';
import { List, type Column } from '../ui/table';
import { Await, Badge, Button, Empty, Failed, Page, Panel, Skeleton, Tabs, useNow, type Tone } from '../ui/parts';
import { toast } from '../ui/toast';
import { Secret, stateTone, type Webhook } from './webhooks';

type Delivery = Schema<'WebhookDelivery'>;
type Action = 'enable' | 'disable' | 'rotate' | 'replay' | 'remove';

const deliveryTone: Record<Delivery['state'], Tone> = { pending: 'info', delivered: 'good', failed: 'bad' };
const states = ['', 'pending', 'failed', 'delivered'] as const;

function Actions({ hook, reload }: { hook: Webhook; reload: () => void }) {
  const { may } = useWho();
  const [open, setOpen] = useState<Action>();
  const [secret, setSecret] = useState<Schema<'WebhookWithSecret'>>();
  const failed = useAsked(open === 'replay' ? `replay ${hook.id} ${hook.failed}` : null, () => post('/admin/v1/webhooks/{id}/replay', { path: { id: String(hook.id) }, body: { state: 'failed', dry_run: true } }));
  if (!may('operator')) return null;
  const path = { id: String(hook.id) };
  const close = (): void => setOpen(undefined);
  const test = async (): Promise<void> => {
    try {
      await post('/admin/v1/webhooks/{id}/test', { path, body: {} });
      toast('A test message is on its way');
      reload();
    } catch (error) {
      toast(asProblem(error).detail, 'bad');
    }
  };
  const confirm = async (why: string): Promise<void> => {
    if (open === 'rotate') setSecret(await post('/admin/v1/webhooks/{id}/rotate', { path, body: why ? { why } : {} }));
    if (open === 'enable') await post('/admin/v1/webhooks/{id}/enable', { path, body: why ? { why } : {} });
    if (open === 'disable') await post('/admin/v1/webhooks/{id}/disable', { path, body: { why } });
    if (open === 'replay') toast(`${plural((await post('/admin/v1/webhooks/{id}/replay', { path, body: { state: 'failed', ...(why ? { why } : {}) } })).count, 'message')} sent again`);
    if (open === 'remove') {
      await post('/admin/v1/webhooks/{id}/remove', { path, body: { why } });
      toast(`Webhook ${hook.id} removed`);
      go(to(['webhooks']));
    }
    reload();
  };
  return (
    <>
      <Button icon="play" onClick={() => void test()}>Test</Button>
      {hook.state !== 'enabled' && <Button icon="check" kind="primary" onClick={() => setOpen('enable')}>Enable</Button>}
      {hook.state !== 'disabled' && <Button icon="pause" onClick={() => setOpen('disable')}>Disable</Button>}
      <Button icon="replay" disabled={hook.failed === 0} onClick={() => setOpen('replay')}>Send failed again</Button>
      {may('admin') && <Button icon="key" onClick={() => setOpen('rotate')}>New secret</Button>}
      {may('admin') && <Button icon="trash" kind="danger" onClick={() => setOpen('remove')}>Remove</Button>}
      {open === 'enable' && <Confirm title="Enable the webhook" action="Enable" reason="optional" onClose={close} onConfirm={confirm}><p>Everything that waits is sent now.</p></Confirm>}
      {open === 'disable' && <Confirm title="Disable the webhook" action="Disable" reason="required" onClose={close} onConfirm={confirm}><p>Nothing is sent until it is enabled. What happens meanwhile waits in the journal and is not lost.</p></Confirm>}
      {open === 'rotate' && <Confirm title="Make a new secret" action="Make it" reason="optional" onClose={close} onConfirm={confirm}><p>For a day each message is signed with the old and the new one. The receiver should take the new one within that time.</p></Confirm>}
      {open === 'replay' && (
        <Confirm title="Send failed messages again" action="Send" reason="optional" ready={(failed.data?.count ?? 0) > 0} onClose={close} onConfirm={confirm}>
          {failed.error ? <p class="form-error" role="alert">{failed.error.detail}</p> : <p class="preview" role="status">{failed.data ? <><b>{plural(failed.data.count, 'message')}</b> were given up.</> : 'Counting…'}</p>}
          <p>They keep their ids, and go in their old order.</p>
        </Confirm>
      )}
      {open === 'remove' && <Confirm title="Remove the webhook" action="Remove" danger reason="required" word={`remove ${hook.id}`} onClose={close} onConfirm={confirm}><p>{plural(hook.pending, 'message')} that wait are dropped, and nothing tells this receiver of anything again.</p></Confirm>}
      {secret && <Secret hook={secret} onClose={() => setSecret(undefined)} />}
    </>
  );
}

function Deliveries({ id, state }: { id: string; state: string }) {
  const now = useNow(2000);
  const list = usePaged(`deliveries ${id} ${state}`, (cursor, signal) => get('/admin/v1/webhooks/{id}/deliveries', {
    path: { id }, query: { limit: 50, ...(state ? { state } : {}), ...(cursor ? { cursor } : {}) }, ...(signal ? { signal } : {}) }), 2000);
  const columns: readonly Column<Schema<'WebhookDelivery'>>[] = [
    { head: 'Message', as: 'row', cell: (d) => <a href={to(['webhooks', id, d.id])}><code>{d.message.slice(0, 16)}…</code></a> },
    { head: 'Type', cell: (d) => d.type },
    { head: 'Account', cell: (d) => <code title={d.account ?? ''}>{d.account ? `${d.account.slice(0, 10)}…` : '–'}</code> },
    { head: 'State', cell: (d) => <Badge tone={deliveryTone[d.state]}>{d.state}</Badge> },
    { head: 'Tries', as: 'num', cell: (d) => count(d.attempts) },
    { head: 'When', title: (d) => moment(d.created_at), cell: (d) => ago(d.created_at, now) },
    { head: 'Last answer', as: 'words', cell: (d) => d.last_error ?? (d.last_status ? String(d.last_status) : '–') },
  ];
  return <List list={list} rows={6} caption="Messages, newest first" columns={columns} id={(d) => d.id} empty={<Empty title={state ? `No message is ${state}.` : 'No message yet.'} />} />;
}

export function WebhookPage({ id }: { id: string }) {
  const { query } = useStore(place);
  const now = useNow(5000);
  const state = query.get('state') ?? '';
  const asked = useAsked(`webhook ${id}`, (signal) => get('/admin/v1/webhooks/{id}', { path: { id }, signal }), 2000);
  const w = asked.data;
  return (
    <Page title="Webhook" lead={w && <>{w.id} to {w.url} {w.description && <span class="muted">{w.description}</span>}</>} actions={w && !asked.error && <Actions hook={w} reload={asked.reload} />}>
      {asked.error?.status === 404 ? <Empty icon="check" title="There is no such webhook."><a href={to(['webhooks'])}>All webhooks</a></Empty>
        : !w ? (asked.error ? <Failed problem={asked.error} retry={asked.reload} /> : <Skeleton rows={8} />) : (
          <>
            <Panel label="Receiver">
              <dl class="facts two-columns">
                <dt>State</dt><dd><Badge tone={stateTone[w.state]}>{w.state}</Badge> <span class="muted">{ago(w.state_since, now)}{w.reason && `: ${w.reason}`}</span></dd>
                <dt>Told of</dt><dd>{w.topic.replace('_', ' ')} of {w.chain}{w.account && <>, account <code>{w.account}</code></>}{w.asset && <>, asset <code>{w.asset}</code></>}{w.kind && <>, kind {words(w.kind)}</>}{w.watchlist && <>, <a href={to(['watchlists', w.watchlist])}>watch-list {w.watchlist}</a></>}</dd>
                <dt>Waiting</dt><dd>{plural(w.pending, 'message')}{w.probe_at && <span class="muted"> next try {moment(w.probe_at)}</span>}</dd>
                <dt>Given up</dt><dd class={w.failed > 0 ? 'bad' : ''}>{plural(w.failed, 'message')}</dd>
                <dt>Position</dt><dd>{w.position ? <code>{w.position}</code> : `from height ${count(w.start_height)}`} <span class="muted">of the journal</span></dd>
                <dt>Secrets</dt><dd>{plural(w.secrets, 'secret')} in use</dd>
                <dt>Registered</dt><dd>{moment(w.created_at)} by {w.created_by}</dd>
                <dt>Gateway</dt><dd>{w.gateway ? <code>{w.gateway}</code> : 'nobody delivers now'}</dd>
              </dl>
            </Panel>
            <Tabs label="Messages by state" value={state} items={states.map((s) => [s, s || 'all'] as const)} onChange={(v) => filter({ state: v || undefined }, true)} />
            <Panel label="Messages" flush><Deliveries id={id} state={state} key={state} /></Panel>
          </>
        )}
    </Page>
  );
}

export function DeliveryPage({ id, delivery }: { id: string; delivery: string }) {
  const { may } = useWho();
  const asked = useAsked(`delivery ${id} ${delivery}`, (signal) => get('/admin/v1/webhooks/{id}/deliveries/{delivery}', { path: { id, delivery }, signal }), 2000);
  const again = async (): Promise<void> => {
    try {
      await post('/admin/v1/webhooks/{id}/replay', { path: { id }, body: { ids: [delivery] } });
      toast('It is sent again');
      asked.reload();
    } catch (error) {
      toast(asProblem(error).detail, 'bad');
    }
  };
  const d = asked.data;
  return (
    <Page title="Message" lead={<><a href={to(['webhooks', id])}>Webhook {id}</a>{d && <> · <code>{d.message}</code></>}</>}
      actions={d && d.state !== 'pending' && may('operator') && <Button icon="replay" kind="primary" onClick={() => void again()}>Send again</Button>}>
      {asked.error?.status === 404 ? <Empty icon="check" title="There is no such message.">Those that were delivered are forgotten after a while. <a href={to(['webhooks', id])}>All messages of the webhook</a></Empty> : <Await asked={asked} rows={8}>
        {(m) => (
          <>
            <Panel label="Message">
              <dl class="facts two-columns">
                <dt>State</dt><dd><Badge tone={deliveryTone[m.state]}>{m.state}</Badge>{m.due_at && <span class="muted"> next try {moment(m.due_at)}</span>}</dd>
                <dt>Type</dt><dd>{m.type}</dd>
                <dt>Account</dt><dd>{m.account ? <code>{m.account}</code> : '–'}</dd>
                <dt>Made</dt><dd>{moment(m.created_at)}</dd>
              </dl>
            </Panel>
            <Panel title="Tries" flush>
              {m.history.length === 0 ? <Empty title="It was not tried yet." /> : (
                <div class="scroll">
                  <table>
                    <caption class="sr">Tries, newest first</caption>
                    <thead><tr><th scope="col" class="num">#</th><th scope="col">When</th><th scope="col" class="num">Took</th><th scope="col">Answer</th><th scope="col">Gateway</th></tr></thead>
                    <tbody>{m.history.map((t) => <tr key={t.number}><th scope="row" class="num">{t.number}</th><td>{moment(t.at)}</td><td class="num">{count(t.milliseconds)} ms</td><td class="words">{t.error ?? t.status}</td><td><code>{t.gateway}</code></td></tr>)}</tbody>
                  </table>
                </div>
              )}
            </Panel>
            <Panel title="Body"><pre class="dump" tabIndex={0} role="region" aria-label="The message's body">{JSON.stringify(m.body, null, 2)}</pre></Panel>
          </>
        )}
      </Await>}
    </Page>
  );
}
