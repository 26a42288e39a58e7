// Signing in by name: access tokens are good for minutes and fetched anew before they end, by a refresh token that the browser keeps as a cookie.
import type { components } from '#api';

import { Problem, send } from './ask';
import { enterWithToken, leave, leaveElsewhere, onLeftElsewhere, session } from './session';
import { Store } from './store';

type Grant = components['schemas']['Login'];

const TRIES = 6;
const AGAIN_MS = 5000;

/** Why a session from before is not open yet, while it is tried again. */
export const openingProblem = new Store<Problem | undefined>(undefined);

let timer: ReturnType<typeof setTimeout> | undefined;
let asking: Promise<boolean> | undefined;

function enter(grant: Grant): void {
  openingProblem.set(undefined);
  enterWithToken(grant.access_token);
  later(grant.expires_in * 800); // of its 1000
}

function later(ms: number): void {
  clearTimeout(timer);
  timer = setTimeout(() => void refresh(), ms);
}

export async function login(user: string, password: string): Promise<void> {
  enter(await send('POST', '/admin/v1/login', '', { user, password, cookie: true }) as Grant);
}

/** Another tab may be exchanging the same token: then it is a moment until the cookie is the new one. */
async function exchange(): Promise<boolean> {
  for (let n = 1; ; n++) {
    try {
      enter(await send('POST', '/admin/v1/refresh', '', {}, { lasting: true }) as Grant);
      return true;
    } catch (error) {
      const status = error instanceof Problem ? error.status : 0;
      if (status === 409 && n < TRIES) {
        await new Promise((resolve) => { setTimeout(resolve, 300 * n); });
        continue;
      }
      clearTimeout(timer);
      if (status === 401 || status === 403) {
        leave(session.get().kind === 'opening' ? '' : 'The session has ended. Sign in again.', true);
        return false;
      }
      if (error instanceof Problem) openingProblem.set(error);
      later(AGAIN_MS); // the gateway is away: the session is not
      return false;
    }
  }
}

/** A newer access token; one question at a time, whoever asks. False: there is none now. */
export function refresh(): Promise<boolean> {
  asking ??= exchange().finally(() => { asking = undefined; });
  return asking;
}

export async function logout(): Promise<void> {
  clearTimeout(timer);
  if (session.get().kind !== 'user') {
    leave();
    return;
  }
  leaveElsewhere();
  try {
    await send('POST', '/admin/v1/logout', '', {}, { lasting: true });
    leave();
  } catch (error) {
    const ended = error instanceof Problem && error.status === 401;
    leave(ended ? '' : 'Signed out of this page, but the gateway does not answer: the session itself ends within hours.');
  }
}

export function startLogin(): void {
  onLeftElsewhere(() => {
    clearTimeout(timer);
    leave('Signed out in another tab.');
  });
  if (session.get().kind === 'opening') void refresh();
}
