// What the gateway runs with: read only, secrets masked by the server.
import { useState } from 'preact/hooks';

import { get } from '../api';
import { plural } from '../format';
import { useAsked } from '../query';
import { filter } from '../router';
import { Await, Badge, Empty, Page, Panel } from '../ui/parts';

export function Settings({ query }: { query: URLSearchParams }) {
  const asked = useAsked('settings', (signal) => get('/admin/v1/settings', { signal }));
  const [text, setText] = useState('');
  const changed = query.get('show') === 'changed';
  const wanted = text.trim().toLowerCase();
  return (
    <Page title="Settings" lead="What this gateway runs with. Secrets and the inner parts of addresses are not told."
      actions={<>
        <label class="field inline"><span>Find</span><input value={text} onInput={(e) => setText(e.currentTarget.value)} spellcheck={false} /></label>
        <label class="check"><input type="checkbox" checked={changed} onChange={(e) => filter({ show: e.currentTarget.checked ? 'changed' : undefined }, true)} /> Changed only</label>
      </>}>
      <Await asked={asked} rows={10}>
        {(page) => {
          const items = page.items.filter((s) => (!changed || s.changed) && (!wanted || `${s.path} ${s.value} ${s.meaning}`.toLowerCase().includes(wanted)));
          const groups = new Map<string, typeof items>();
          for (const s of items) {
            const name = s.path.split(/[.[]/)[0] ?? '';
            groups.set(name, [...(groups.get(name) ?? []), s]);
          }
          if (items.length === 0) return <Panel label="Settings"><Empty icon="settings" title="No setting matches." /></Panel>;
          return [...groups].map(([name, group]) => (
            <Panel key={name} title={name} hint={plural(group.length, 'setting')} flush>
              <div class="scroll">
                <table class="settings">
                  <caption class="sr">Settings of {name}</caption>
                  <thead><tr><th scope="col">Setting</th><th scope="col">Value</th><th scope="col">Default</th><th scope="col">Meaning</th></tr></thead>
                  <tbody>
                    {group.map((s) => (
                      <tr key={s.path}>
                        <th scope="row"><code>{s.path}</code></th>
                        <td>{s.secret ? <Badge tone={s.value ? 'info' : 'quiet'}>{s.value ? 'secret, set' : 'secret, empty'}</Badge> : s.value === '' ? <span class="muted">empty</span> : <code class={s.changed ? 'changed' : ''}>{s.value}</code>}</td>
                        <td>{s.secret ? '' : <code class="muted">{s.default || '–'}</code>}</td>
                        <td class="words muted">{s.meaning}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            </Panel>
          ));
        }}
      </Await>
    </Page>
  );
}
