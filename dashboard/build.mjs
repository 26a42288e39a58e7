// Builds the dashboard: types from the gateway's OpenAPI document, a strict type check against them, one script and one stylesheet whose
// names hold a digest of their content, and the page that names both.
//
//   node build.mjs WORK OUT      WORK: generated types; OUT: the folder that the gateway serves
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

// What a page load may weigh, uncompressed: see docs/decisions/0033-dashboard-states.md.
const BUDGET = { js: 192 * 1024, css: 40 * 1024 };

const here = dirname(fileURLToPath(import.meta.url));
const [work, out] = process.argv.slice(2).map((folder) => resolve(folder));
if (!work || !out) throw new Error('usage: node build.mjs WORK OUT');
const tool = (name, script) => [join(here, 'node_modules', name, script)];
const run = (script, ...args) => execFileSync(process.execPath, [...script, ...args], { cwd: here, stdio: ['ignore', 'pipe', 'inherit'] });

mkdirSync(work, { recursive: true });
const types = join(work, 'api.d.ts');
run(tool('openapi-typescript', 'bin/cli.js'), join(here, '..', 'services', 'gateway', 'api', 'openapi.json'), '--output', types);
const config = join(work, 'tsconfig.json');
writeFileSync(config, JSON.stringify({
  extends: join(here, 'tsconfig.json'),
  compilerOptions: { paths: { '#api': [types], 'preact': [join(here, 'node_modules/preact')], 'preact/*': [join(here, 'node_modules/preact/*')] } },
  include: [join(here, 'src')],
}));
try {
  run(tool('typescript', 'bin/tsc'), '--project', config);
} catch (error) {
  process.stderr.write(error.stdout ?? '');
  process.exit(1);
}

const result = await build({
  entryPoints: [join(here, 'src/main.tsx'), join(here, 'src/styles.css')],
  bundle: true, minify: true, write: false, format: 'esm', target: ['es2022'], legalComments: 'none',
  outdir: 'out', jsx: 'automatic', jsxImportSource: 'preact', charset: 'utf8',
});
rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, 'assets'), { recursive: true });
const names = {};
for (const file of result.outputFiles) {
  const kind = file.path.endsWith('.css') ? 'css' : 'js';
  if (file.contents.length > BUDGET[kind]) throw new Error(`the ${kind} is ${file.contents.length} bytes: the budget is ${BUDGET[kind]}`);
  names[kind] = `app-${createHash('sha256').update(file.contents).digest('hex').slice(0, 12)}.${kind}`;
  writeFileSync(join(out, 'assets', names[kind]), file.contents);
}
const icon = readFileSync(join(here, 'src/icon.svg'));
names.icon = `icon-${createHash('sha256').update(icon).digest('hex').slice(0, 12)}.svg`;
writeFileSync(join(out, 'assets', names.icon), icon);
writeFileSync(join(out, 'index.html'), readFileSync(join(here, 'src/index.html'), 'utf8')
  .replace('{{css}}', names.css).replace('{{js}}', names.js).replace('{{icon}}', names.icon));
for (const name of readdirSync(join(out, 'assets'))) {
  console.log(`${relative(process.cwd(), join(out, 'assets', name))} ${readFileSync(join(out, 'assets', name)).length} bytes`);
}
