#!/usr/bin/env node
// Compiles contracts/*.sol with the pinned solc; the result is kept under a build folder by the hash of everything that went in.
// As a program: compiles and prints the names.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('.', import.meta.url));
export const BUILD = process.env.WEIR_CHAIN_BUILD ?? path.join(HERE, 'node_modules', '.cache', 'contracts');

// Shanghai's opcodes run under every hard fork from there on: the same contracts before and after EIP-6780.
const SETTINGS = {
  evmVersion: 'shanghai',
  optimizer: { enabled: true, runs: 200 },
  metadata: { bytecodeHash: 'none' },
  outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
};

const source = (file) => readFileSync(path.join(HERE, 'contracts', file), 'utf8');
const library = (name) => readFileSync(path.join(HERE, 'node_modules', name), 'utf8');

function compileFile(solc, file) {
  const input = {
    language: 'Solidity',
    sources: { [file]: { content: source(file) } },
    settings: SETTINGS,
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), {
    import: (name) => {
      try {
        return { contents: library(name) };
      } catch {
        return { error: `${name}: not found` };
      }
    },
  }));
  const errors = (output.errors ?? []).filter((e) => e.severity === 'error');
  if (errors.length > 0) throw new Error(errors.map((e) => e.formattedMessage).join('\n'));
  return Object.entries(output.contracts[file]).map(([name, { abi, evm }]) =>
    [name, { abi, bytecode: `0x${evm.bytecode.object}`, runtime: `0x${evm.deployedBytecode.object}` }]);
}

/** { Name: { abi, bytecode, runtime } } */
export function contracts() {
  const files = readdirSync(path.join(HERE, 'contracts')).filter((f) => f.endsWith('.sol')).sort();
  const hash = createHash('sha256');
  for (const file of ['package-lock.json', 'compile.mjs']) hash.update(readFileSync(path.join(HERE, file)));
  for (const file of files) hash.update(`${file}\0${source(file)}\0`);
  const cache = path.join(BUILD, `${hash.digest('hex').slice(0, 32)}.json`);
  if (existsSync(cache)) return JSON.parse(readFileSync(cache, 'utf8'));

  const solc = createRequire(import.meta.url)('solc'); // 9 MB of WebAssembly: only when there is something to compile
  const result = Object.fromEntries(files.flatMap((file) => compileFile(solc, file)));
  mkdirSync(BUILD, { recursive: true });
  const partial = `${cache}.${process.pid}`;
  writeFileSync(partial, JSON.stringify(result));
  renameSync(partial, cache);
  return result;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, { runtime }] of Object.entries(contracts())) process.stdout.write(`${name}\t${runtime.length / 2 - 1} bytes\n`);
}
