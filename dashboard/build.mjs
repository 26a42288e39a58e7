// Builds the dashboard: types from the gateway's OpenAPI document, a strict type check against them, one script and one stylesheet whose
// names hold a digest of their content, and the page that names both. Then the client that it is built on, as a package for everybody.
//
//   node build.mjs WORK OUT CLIENT      WORK: generated types; OUT: the folder that the gateway serves; CLIENT: the package's
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

// What a page load may weigh, uncompressed: see docs/decisions/0033-dashboard-states.md.
const BUDGET = { js: 192 * 1024, css: 40 * 1024 };

const here = dirname(fileURLToPath(import.meta.url));
const [work, out, client] = process.argv.slice(2).map((folder) => resolve(folder));
if (!work || !out || !client) throw new Error('usage: node build.mjs WORK OUT CLIENT');
const tool = (name, script) => [join(here, 'node_modules', name, script)];
const run = (script, ...args) => execFileSync(process.execPath, [...script, ...args], { cwd: here, stdio: ['ignore', 'pipe', 'inherit'] });

mkdirSync(work, { recursive: true });
const types = join(work, 'api.d.ts');
run(tool('openapi-typescript', 'bin/cli.js'), join(here, '..', 'services', 'gateway', 'api', 'openapi.json'), '--output', types);
function compile(name, options, files) {
  const config = join(work, name);
  writeFileSync(config, JSON.stringify({
    extends: join(here, 'tsconfig.json'),
    compilerOptions: { paths: { '#api': [types], 'preact': [join(here, 'node_modules/preact')], 'preact/*': [join(here, 'node_modules/preact/*')] }, ...options },
    ...files,
  }));
  try {
    run(tool('typescript', 'bin/tsc'), '--project', config);
  } catch (error) {
    process.stderr.write(error.stdout ?? '');
    process.exit(1);
  }
}
compile('tsconfig.json', {}, { include: [join(here, 'src')] });

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

rmSync(client, { recursive: true, force: true });
mkdirSync(client, { recursive: true });
compile('tsconfig.client.json', { noEmit: false, declaration: true, emitDeclarationOnly: true, rootDir: join(here, 'src'), outDir: client }, { files: [join(here, 'src/client.ts')], include: [] });
copyFileSync(types, join(client, 'api.d.ts'));
await build({ entryPoints: [join(here, 'src/client.ts')], bundle: true, format: 'esm', target: ['es2022'], charset: 'utf8', legalComments: 'none', outfile: join(client, 'client.js') });
const api = JSON.parse(readFileSync(join(here, '..', 'services', 'gateway', 'api', 'openapi.json'), 'utf8'));
writeFileSync(join(client, 'package.json'), `${JSON.stringify({
  name: 'weir-client', version: api.info.version, description: "Typed client of weir's gateway, made from its OpenAPI document", license: 'Apache-2.0', type: 'module', engines: { node: '>=18' },
  exports: { '.': { types: './client.d.ts', default: './client.js' } }, imports: { '#api': { types: './api.d.ts' } },
}, null, 2)}\n`);
