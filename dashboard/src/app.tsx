// Signed in or not, and which page an address means.
import type { JSX } from 'preact';
import { Component } from 'preact';

import { openingProblem, refresh } from './login';
import { session } from './session';
import { place, to, type Place } from './router';
import { useStore } from './store';
import { Empty, Failed, Page, Skeleton } from './ui/parts';
import { Shell } from './ui/shell';
import { SignIn } from './pages/sign-in';
import { Overview } from './pages/overview';
import { ChainPage } from './pages/chain';
import { Pipeline } from './pages/pipeline';
import { Blocks } from './pages/blocks';
import { BlockPage } from './pages/block';
import { TransactionPage } from './pages/transaction';
import { Accounts } from './pages/accounts';
import { AccountPage } from './pages/account';
import { AssetPage } from './pages/statistics';
import { Incidents } from './pages/incidents';
import { DeadLetters } from './pages/dead-letters';
import { DeadLetterPage } from './pages/dead-letter';
import { Connections } from './pages/connections';
import { Audit } from './pages/audit';
import { Settings } from './pages/settings';
import { Users } from './pages/users';
import { Keys } from './pages/keys';
import { Alerts } from './pages/alerts';
import { Webhooks } from './pages/webhooks';
import { DeliveryPage, WebhookPage } from './pages/webhook';
import { Watchlists } from './pages/watchlists';
import { WatchlistPage } from './pages/watchlist';

function route({ segments: s, query }: Place): JSX.Element {
  const [first, second, third, fourth] = s;
  const n = s.length;
  if (n === 0) return <Overview />;
  if (first === 'pipeline' && n <= 2) return <Pipeline chain={second} />;
  if (first === 'blocks' && n === 1) return <Blocks />;
  if (first === 'accounts' && n === 1) return <Accounts />;
  if (first === 'chains' && second) {
    if (n === 2) return <ChainPage chain={second} query={query} />;
    if (third === 'blocks' && n === 3) return <Blocks chain={second} />;
    if (third === 'blocks' && fourth && n === 4) return <BlockPage chain={second} block={fourth} key={fourth} />;
    if (third === 'transactions' && fourth && n === 4) return <TransactionPage chain={second} hash={fourth} key={fourth} />;
    if (third === 'accounts' && n === 3) return <Accounts chain={second} />;
    if (third === 'accounts' && fourth && n === 4) return <AccountPage chain={second} account={fourth} query={query} key={fourth} />;
    if (third === 'assets' && fourth && n === 4) return <AssetPage chain={second} asset={fourth} query={query} key={fourth} />;
  }
  if (first === 'incidents' && n === 1) return <Incidents query={query} />;
  if (first === 'dead-letters' && n === 1) return <DeadLetters query={query} />;
  if (first === 'dead-letters' && second && third && fourth && n === 4) return <DeadLetterPage chain={second} subscription={third} id={fourth} key={fourth} />;
  if (first === 'connections' && n === 1) return <Connections query={query} />;
  if (first === 'watchlists' && n === 1) return <Watchlists />;
  if (first === 'watchlists' && second && n === 2) return <WatchlistPage id={second} key={second} />;
  if (first === 'webhooks' && n === 1) return <Webhooks />;
  if (first === 'webhooks' && second && n === 2) return <WebhookPage id={second} key={second} />;
  if (first === 'webhooks' && second && third && n === 3) return <DeliveryPage id={second} delivery={third} key={third} />;
  if (first === 'alerts' && n === 1) return <Alerts />;
  if (first === 'users' && n === 1) return <Users />;
  if (first === 'keys' && n === 1) return <Keys query={query} />;
  if (first === 'audit' && n <= 2) return <Audit chain={second} />;
  if (first === 'settings' && n === 1) return <Settings query={query} />;
  return (
    <Page title="No such page">
      <Empty icon="search" title="There is nothing at this address.">The <a href={to()}>overview</a> leads everywhere.</Empty>
    </Page>
  );
}

/** What fails while drawing is told, with a way on. */
class Guard extends Component<{ at: string; children: JSX.Element }, { error: string; at: string }> {
  override state = { error: '', at: '' };

  static override getDerivedStateFromError(error: unknown): { error: string } {
    return { error: error instanceof Error ? error.message : String(error) };
  }

  override componentDidUpdate(before: { at: string }): void {
    if (before.at !== this.props.at && this.state.error) this.setState({ error: '' });
  }

  override render(): JSX.Element {
    if (!this.state.error) return this.props.children;
    return (
      <Page title="This page failed">
        <Empty icon="alert" title={this.state.error}>The data was not changed. <a href={to()}>Back to the overview</a></Empty>
      </Page>
    );
  }
}

/** There may be a session from before. */
function Opening() {
  const problem = useStore(openingProblem);
  return <main class="door">{problem ? <div class="panel"><Failed problem={problem} retry={() => void refresh()} /></div> : <Skeleton rows={3} />}</main>;
}

export function App() {
  const { kind } = useStore(session);
  const where = useStore(place);
  if (kind === 'opening') return <Opening />;
  if (kind === 'none') return <SignIn />;
  return <Shell><Guard at={where.segments.join('/')}>{route(where)}</Guard></Shell>;
}
