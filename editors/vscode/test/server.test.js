'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');
const { find, start } = require('../src/server');
const { list } = require('../src/processes');

/** A program of its own, written as a shell script. */
function program(t, text) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'spelunk-test-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    const file = path.join(folder, 'server');
    fs.writeFileSync(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    return file;
}

const options = (path) => ({ program: path, folder: undefined, logOutput: '', onText: () => undefined });

test('a missing server is named, with what to do', async () => {
    assert.throws(() => find('spelunk-that-is-nowhere'), /"spelunk-that-is-nowhere" was not found in PATH.*"spelunk.path"/s);
    await assert.rejects(start(options('/nowhere/spelunk')), /"\/nowhere\/spelunk" is no program that can be run/);
});

test('a server that ends at once is quoted', async (t) => {
    await assert.rejects(start(options(program(t, 'echo "no such flag" >&2; exit 3'))), /ended with status 3: no such flag/);
});

test('a server calls on a socket that only this user can reach', async (t) => {
    const script = program(t, `exec "${process.execPath}" -e 'require("net").connect(process.argv[1].replace(/.*unix:/, "")).write(process.argv[1])' -- "$2"`);
    const server = await start(options(script));
    const address = await new Promise((resolve) => server.socket.once('data', (data) => resolve(data.toString())));
    assert.match(address, /^--client-addr=unix:.*\/spelunk-.*\/dap$/);
    const folder = path.dirname(address.replace('--client-addr=unix:', ''));
    assert.equal(fs.existsSync(folder), false, 'the folder goes once the server has called');
    server.socket.end();
    server.release();
    assert.match(await server.ended, /ended with status 0/);
});

test('processes to attach to have a name and a command line', () => {
    const processes = list();
    assert.ok(processes.every(({ pid, name, commandLine }) => pid > 0 && name && commandLine));
    assert.ok(processes.some(({ pid }) => pid === process.ppid));
    assert.ok(processes.every(({ pid }) => pid !== process.pid));
});
