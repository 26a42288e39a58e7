// Where it begins.
import { render } from 'preact';

import { App } from './app';
import { forgetDrafts } from './draft';
import { startLive } from './live';
import { startLogin } from './login';
import { forgetAll } from './query';
import { isSignedIn, session } from './session';
import { startRouter } from './router';
import { startTheme } from './theme';

startTheme();
startRouter();
session.watch(() => {
  if (isSignedIn()) return;
  forgetAll(); // nothing is left to see
  if (session.get().kind === 'none' && !session.get().lapsed) forgetDrafts();
});
startLogin();
startLive();
const root = document.getElementById('app');
if (root) render(<App />, root);
