// Which pages there are: the frame leads there, its keys jump there, and they are found by name.

/** needs: who may not see it is not led there. */
export const pages: readonly { key: string; segment: string; icon: string; title: string; needs?: 'admin' }[] = [
  { key: 'o', segment: '', icon: 'overview', title: 'Overview' },
  { key: 'p', segment: 'pipeline', icon: 'pipeline', title: 'Pipeline' },
  { key: 'b', segment: 'blocks', icon: 'blocks', title: 'Blocks' },
  { key: 'a', segment: 'accounts', icon: 'account', title: 'Accounts' },
  { key: 'i', segment: 'incidents', icon: 'incidents', title: 'Gaps & incidents' },
  { key: 'd', segment: 'dead-letters', icon: 'letters', title: 'Dead letters' },
  { key: 'c', segment: 'connections', icon: 'connections', title: 'Connections' },
  { key: 'm', segment: 'watchlists', icon: 'eye', title: 'Watch-lists' },
  { key: 'w', segment: 'webhooks', icon: 'hook', title: 'Webhooks' },
  { key: 'l', segment: 'alerts', icon: 'bell', title: 'Alerts' },
  { key: 'u', segment: 'audit', icon: 'audit', title: 'Audit' },
  { key: 'n', segment: 'users', icon: 'people', title: 'Users', needs: 'admin' },
  { key: 'k', segment: 'keys', icon: 'key', title: 'API keys', needs: 'admin' },
  { key: 's', segment: 'settings', icon: 'settings', title: 'Settings' },
];
