'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');
const { withDefaults, resolved } = require('../src/configuration');

const MAIN = { languageId: 'go', fileName: '/home/ada/shop/main.go' };
const TEST = { languageId: 'go', fileName: '/home/ada/shop/main_test.go' };
const TEXT = { languageId: 'markdown', fileName: '/home/ada/shop/README.md' };

test('F5 without launch.json debugs the package of a Go file', () => {
    assert.deepEqual(withDefaults({}, MAIN), {
        type: 'spelunk', request: 'launch', name: 'Debug package', mode: 'debug', program: '${fileDirname}', outputMode: 'remote',
    });
    assert.equal(withDefaults({}, TEST).mode, 'test');
});

test('F5 without launch.json does nothing where there is no Go file', () => {
    assert.equal(withDefaults({}, TEXT), undefined);
    assert.equal(withDefaults({}, undefined), undefined);
});

test('what the user wrote stays', () => {
    const written = { type: 'spelunk', request: 'launch', name: 'x', mode: 'exec', program: './bin/shop', outputMode: 'local' };
    assert.deepEqual(withDefaults(written, TEST), written);
});

test('a launch without program debugs the workspace folder when another file is open', () => {
    const filled = withDefaults({ type: 'spelunk', request: 'launch', name: 'x' }, TEXT);
    assert.equal(filled.program, '${workspaceFolder}');
    assert.equal(filled.mode, 'debug');
});

test('a program in a terminal keeps its output to itself', () => {
    assert.equal(withDefaults({ type: 'spelunk', request: 'launch', name: 'x', console: 'integratedTerminal' }, MAIN).outputMode, 'local');
});

test('an attach without process asks for one', () => {
    assert.equal(withDefaults({ type: 'spelunk', request: 'attach', name: 'x' }, MAIN).processId, '${command:pickProcess}');
    assert.equal(withDefaults({ type: 'spelunk', request: 'attach', name: 'x', waitFor: 'shop' }, MAIN).processId, undefined);
    assert.equal(withDefaults({ type: 'spelunk', request: 'attach', name: 'x', mode: 'remote', port: 1 }, MAIN).processId, undefined);
});

test('the toolchain runs in the folder of the package', () => {
    const launch = (program, mode, isFolder) => resolved({ request: 'launch', mode, program }, '/home/ada', () => isFolder);
    assert.deepEqual(launch('shop', 'debug', true), { request: 'launch', mode: 'debug', program: '/home/ada/shop', dlvCwd: '/home/ada/shop' });
    assert.equal(launch('/home/ada/shop/main.go', 'debug', false).dlvCwd, '/home/ada/shop');
    assert.equal(launch('bin/shop', 'exec', false).dlvCwd, undefined);
});

test('a process id from a list is a number', () => {
    assert.equal(resolved({ request: 'attach', processId: '4711' }, undefined, () => false).processId, 4711);
    assert.throws(() => resolved({ request: 'attach', processId: 'shop' }, undefined, () => false), /"processId" must be a number/);
});
