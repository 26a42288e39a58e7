// Where it begins.
import { render } from 'preact';

import { App } from './app';
import { startLive } from './live';
import { startLogin } from './login';
import { forgetAll } from './query';
import { isSignedIn, session } from './session';
import { startRouter } from './router';
import { startTheme } from './theme';

startTheme();
startRouter();
session.watch(() => {
  if (!isSignedIn()) forgetAll(); // nothing is left to see
});
startLogin();
startLive();
const root = document.getElementById('app');
if (root) render(<App />, root);
