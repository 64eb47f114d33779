// Debugging a Go program in a real VS Code, from the first click to the last.
//
// Given by the environment: VSCODE_HOME, VSIX, CHROMIUM, SPELUNK_BIN, and OUT for what is left behind: screenshots, recorded messages.
'use strict';

const assert = require('node:assert/strict');
const childProcess = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { chromium } = require('playwright-core');
const { until } = require('./deadline');
const { VsCode } = require('./server');
const { Workbench, STACK, VARIABLES, WATCH, BREAKPOINTS, CONSOLE } = require('./workbench');

const { VSCODE_HOME, VSIX, CHROMIUM, SPELUNK_BIN, OUT } = process.env;
const SCREENSHOTS = path.join(OUT, 'screenshots');
const MESSAGES = path.join(OUT, 'messages.jsonl');
const PROGRAM = path.join(__dirname, '..', 'program');

const text = fs.readFileSync(path.join(PROGRAM, 'main.go'), 'utf8').split('\n');
/** The number of the line that has this in it. */
const line = (part) => 1 + text.findIndex((one) => one.includes(part));

let browser;
let code;

before(async () => {
    fs.mkdirSync(SCREENSHOTS, { recursive: true });
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
    code = await VsCode.start({
        home: VSCODE_HOME,
        vsix: VSIX,
        folder: fs.mkdtempSync(path.join(OUT, 'vscode-')),
        settings: { 'spelunk.path': SPELUNK_BIN, 'spelunk.recordMessages': MESSAGES },
    });
});

after(async () => {
    await browser?.close();
    code?.stop();
});

/**
 * Opens a fresh copy of the program in a fresh window, plays a scenario, and says what is to be seen if it fails.
 * @param {Record<string, string>} files further files of the program's folder, by their path; `open` names the one to open, `skip` says why the scenario cannot be
 *     played
 */
function scenario(name, { open = 'main.go', skip = false, ...files }, play) {
    test(name, { timeout: 240000, skip }, async () => {
        const folder = path.join(fs.mkdtempSync(path.join(OUT, 'src-')), 'shop');
        fs.cpSync(PROGRAM, folder, { recursive: true });
        for (const [file, contents] of Object.entries(files)) {
            fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
            fs.writeFileSync(path.join(folder, file), contents);
        }
        const page = await browser.newPage({ viewport: { width: 1360, height: 960 } });
        const slug = name.replace(/[^a-z0-9]+/gi, '-').toLowerCase();
        const shot = (what) => page.screenshot({ path: path.join(SCREENSHOTS, `${slug}-${what}.png`) });
        try {
            const bench = await Workbench.open(page, code.address(folder, open));
            await play(bench, { folder, shot });
            await until('no debug server is left behind', () => servers(folder).length === 0, { seen: () => servers(folder) });
        } catch (error) {
            await shot('failure');
            const messages = fs.existsSync(MESSAGES) ? fs.readFileSync(MESSAGES, 'utf8').trimEnd().split('\n') : [];
            console.error(`\n${name}: screenshot ${slug}-failure.png in ${SCREENSHOTS}; the last of ${messages.length} messages of ${OUT}/${slug}.jsonl:`);
            console.error(messages.slice(-25).map((one) => one.slice(0, 600)).join('\n'));
            throw error;
        } finally {
            await page.close();
            if (fs.existsSync(MESSAGES)) {
                fs.renameSync(MESSAGES, path.join(OUT, `${slug}.jsonl`));
            }
        }
    });
}

/** The debug servers and debugged programs that have to do with a folder. */
function servers(folder) {
    return childProcess
        .execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' })
        .split('\n')
        .filter((one) => one.includes(folder) && one.includes('__debug_bin'));
}

/** The messages of the session so far. */
function messages() {
    return fs.readFileSync(MESSAGES, 'utf8').trimEnd().split('\n').map((one) => JSON.parse(one).m);
}

const LAUNCH = JSON.stringify({
    version: '0.2.0',
    configurations: [{ name: 'Shop', type: 'spelunk', request: 'launch', mode: 'debug', program: '${workspaceFolder}' }],
});

scenario('a session from breakpoint to stop', { '.vscode/launch.json': LAUNCH }, async (bench, { shot }) => {
    await bench.clickBreakpoint(line('// breakpoint'));
    await bench.addLogpoint(line('// logpoint'), 'adding {item.Name} to {sum}');
    await bench.key('F5');

    await bench.stopsAt(line('// breakpoint'));
    await bench.shows(STACK, /main\.main/);
    await bench.shows(BREAKPOINTS, `main.go`);
    await bench.widenSideBar(400);
    await bench.shows(VARIABLES, /^rebate[=: ]+/);
    await bench.shows(VARIABLES, /^first[=: ]+\*main\.Order/);
    await shot('1-breakpoint');

    await bench.expand(VARIABLES, /^\s*first =/);
    await bench.expand(VARIABLES, /^\s*=main\.Order/); // what the pointer points to
    await bench.shows(VARIABLES, /^ID[=: ]+1$/);
    await bench.expand(VARIABLES, /^\s*Items =/);
    await bench.expand(VARIABLES, /^\s*\[0\] =/);
    await bench.shows(VARIABLES, /^Name[=: ]+"tea"$/);
    await bench.shows(VARIABLES, /^Cents[=: ]+350$/);

    await bench.setVariable('rebate', '100');
    await bench.watch('first.Items[1].Cents - rebate');
    await bench.shows(WATCH, /first\.Items\[1\]\.Cents - rebate[=: ]+800/);
    await bench.evaluate('len(first.Items) + 40');
    await bench.consoleShows(/^42$/);
    await shot('2-watch-and-console');

    await bench.key('F11');
    await bench.stopsAt(line('func price'));
    await bench.shows(STACK, /main\.price/);
    await bench.shows(VARIABLES, /^rebate[=: ]+100$/);
    await bench.key('Shift+F11');
    await bench.stopsAt(line('// breakpoint'));
    await bench.consoleShows('> [Go 1]: adding "tea" to 0');
    await bench.consoleShows('> [Go 1]: adding "cup" to 350');
    await bench.key('F10');
    await bench.stopsAt(line('first.ID, "costs"'));
    // The editor opens again what was open before, unless it has shown the other function's variables in between: that takes it a moment.
    await bench.shows(VARIABLES, /^total[=: ]+1150$/, () => bench.collapse(VARIABLES, /^\s*first =/));
    await bench.expand(VARIABLES, /^\s*first =/);
    await bench.expand(VARIABLES, /^\s*=main\.Order/);
    await bench.expand(VARIABLES, /^\s*Items =/);
    await shot('3-stepped-out');

    await bench.key('F5');
    await bench.shows(STACK, /PANIC/i);
    await bench.shows(STACK, /main\.ship/);
    await bench.consoleShows('order 1 costs 1150');
    await shot('4-panic');

    await bench.key('Control+Shift+F5');
    await bench.stopsAt(line('// breakpoint'));
    await bench.shows(WATCH, /first\.Items\[1\]\.Cents - rebate/);
    await bench.key('Shift+F5');
    await bench.sessionEnds();
    await shot('5-stopped');
});

scenario('F5 without launch.json debugs the package of the file', {}, async (bench) => {
    await bench.clickBreakpoint(line('sum += item'));
    await bench.key('F5');
    await bench.stopsAt(line('sum += item'));
    await bench.shows(VARIABLES, /^item[=: ]+main\.Item \{Name: "tea"/);
    const launch = messages().find((one) => one.command === 'launch');
    assert.equal(launch.arguments.mode, 'debug');
    await bench.toolbar('Stop');
    await bench.sessionEnds();
});

scenario('F5 in a test file debugs the tests', { open: 'main_test.go' }, async (bench) => {
    const inTest = 1 + fs.readFileSync(path.join(PROGRAM, 'main_test.go'), 'utf8').split('\n').findIndex((one) => one.includes('// in a test'));
    await bench.clickBreakpoint(inTest);
    await bench.key('F5');
    await bench.stopsAt(inTest);
    await bench.shows(STACK, /shop\.TestPrice|main\.TestPrice/);
    await bench.key('F10');
    await bench.shows(VARIABLES, /^got[=: ]+300$/);
    await bench.key('F5');
    await bench.sessionEnds();
    await bench.consoleShows('PASS');
});

scenario('a program with logpoints only runs to its end', { '.vscode/launch.json': LAUNCH }, async (bench) => {
    await bench.addLogpoint(line('// logpoint'), 'sum is {sum} of {len(order.Items)}');
    await bench.key('F5');
    await bench.consoleShows('> [Go 1]: sum is 350 of 2');
    // Nothing stops it before it panics by itself.
    await bench.shows(STACK, /PANIC/i);
    assert.deepEqual(
        messages().filter((one) => one.event === 'stopped').map((one) => one.body.reason),
        ['exception'],
    );
    await bench.key('Shift+F5');
    await bench.sessionEnds();
});

scenario('a conditional breakpoint stops when its condition holds', { '.vscode/launch.json': LAUNCH }, async (bench) => {
    await bench.addConditionalBreakpoint(line('// logpoint'), 'item.Cents > 500');
    await bench.key('F5');
    await bench.stopsAt(line('// logpoint'));
    await bench.shows(VARIABLES, /^item[=: ]+main\.Item \{Name: "cup", Cents: 900\}/);
    await bench.key('Shift+F5');
    await bench.sessionEnds();
});

const ATTACH = JSON.stringify({
    version: '0.2.0',
    configurations: [{ name: 'Attach', type: 'spelunk', request: 'attach', mode: 'local', processId: '${command:pickProcess}' }],
});

scenario('a process is attached to, looked at, and left alone', { '.vscode/launch.json': ATTACH }, async (bench, { folder }) => {
    const program = path.join(folder, 'open');
    childProcess.execFileSync('go', ['build', '-gcflags=all=-N -l', '-o', program, '.'], { cwd: folder, stdio: 'inherit' });
    const running = childProcess.spawn(program, ['open'], { stdio: 'ignore' });
    const tracer = () => /^TracerPid:\s*(\d+)$/m.exec(fs.readFileSync(`/proc/${running.pid}/status`, 'utf8'))[1];
    try {
        await bench.addLogpoint(line('// logpoint'), 'a {item.Name} for {rebate}');
        await bench.key('F5');
        await bench.pick('The process to attach to', String(running.pid));
        await bench.consoleShows(/> \[Go \d+\]: a "pot" for \d+/);
        await bench.clickBreakpoint(line('return sum - rebate'));
        await bench.stopsAt(line('return sum - rebate'));
        await bench.shows(VARIABLES, /^sum[=: ]+1200$/);
        await bench.toolbar('Disconnect');
        await bench.sessionEnds();
        await until('the process is let go', () => tracer() === '0');
        assert.equal(running.exitCode ?? running.signalCode, null, 'the process goes on');
    } finally {
        running.kill('SIGKILL');
    }
});

const TERMINAL = JSON.stringify({
    version: '0.2.0',
    configurations: [{ name: 'Shop', type: 'spelunk', request: 'launch', program: '${workspaceFolder}', args: ['ask'], console: 'integratedTerminal' }],
});
const noTerminal = !fs.existsSync(path.join(VSCODE_HOME, 'node_modules', 'node-pty', 'build', 'Release', 'pty.node')) && 'VS Code\'s terminal could not be built on this machine';

scenario('a program in a terminal reads what is typed', { '.vscode/launch.json': TERMINAL, skip: noTerminal }, async (bench) => {
    await bench.clickBreakpoint(line('// breakpoint'));
    await bench.key('F5');
    await bench.typeInTerminal('Ada\n');
    await bench.stopsAt(line('// breakpoint'));
    await bench.shows(STACK, /main\.main/);
    await bench.key('Shift+F5');
    await bench.sessionEnds();
});

const MISSING = JSON.stringify({ 'spelunk.path': '/nowhere/spelunk' });

scenario('a missing server is told in words that help', { '.vscode/launch.json': LAUNCH, '.vscode/settings.json': MISSING }, async (bench) => {
    await bench.clickBreakpoint(line('// breakpoint'));
    await bench.key('F5');
    await bench.dialogSays(/"\/nowhere\/spelunk" is no program that can be run\. Install spelunk, or set "spelunk\.path"/);
});
