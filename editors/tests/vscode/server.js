// A real VS Code: its server on a free port, with our packed extension installed, and settings of its own.
'use strict';

const childProcess = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { until } = require('./deadline');

/** A port that nobody listens on. */
async function freePort() {
    const server = net.createServer();
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address();
    await new Promise((resolve) => server.close(resolve));
    return port;
}

function write(file, value) {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, JSON.stringify(value));
}

class VsCode {
    /**
     * @param {{home: string, vsix: string, folder: string, settings: object}} options where VS Code lies, the packed extension, where
     *     its data goes, and what is set for the machine
     */
    static async start({ home, vsix, folder, settings }) {
        write(path.join(folder, 'data', 'User', 'settings.json'), {
            'security.workspace.trust.enabled': false,
            'workbench.startupEditor': 'none',
            'workbench.colorTheme': 'Default Dark Modern',
            'editor.stickyScroll.enabled': false,
            'editor.minimap.enabled': false,
            'remote.autoForwardPorts': false,
            'extensions.ignoreRecommendations': true,
            'debug.openDebug': 'openOnDebugBreak',
            'debug.internalConsoleOptions': 'openOnSessionStart',
        });
        // Paths of programs belong to the machine: a workspace or a synchronised profile does not set them.
        write(path.join(folder, 'data', 'Machine', 'settings.json'), settings);
        const main = path.join(home, 'out', 'server-main.js');
        const places = ['--accept-server-license-terms', '--server-data-dir', folder, '--extensions-dir', path.join(folder, 'ext')];
        childProcess.execFileSync(process.execPath, [main, ...places, '--install-extension', vsix], { stdio: ['ignore', 'ignore', 'ignore'] });
        const port = await freePort();
        const log = fs.openSync(path.join(folder, 'server.log'), 'w');
        // A group of its own: whatever is debugged when a test fails must end with it.
        const child = childProcess.spawn(
            process.execPath,
            [main, ...places, '--host', '127.0.0.1', '--port', String(port), '--without-connection-token', '--telemetry-level', 'off'],
            { detached: true, stdio: ['ignore', log, log] },
        );
        const code = new VsCode(child, port);
        await until('VS Code listens', async () => (await fetch(`http://127.0.0.1:${port}/version`)).ok);
        return code;
    }

    constructor(child, port) {
        this.child = child;
        this.port = port;
    }

    /** The address of a folder, with a file of it open. */
    address(folder, file) {
        const authority = `127.0.0.1:${this.port}`;
        const payload = JSON.stringify([['openFile', `vscode-remote://${authority}${path.join(folder, file)}`]]);
        return `http://${authority}/?folder=${encodeURIComponent(folder)}&payload=${encodeURIComponent(payload)}`;
    }

    stop() {
        try {
            process.kill(-this.child.pid, 'SIGKILL');
        } catch {
            // It has ended.
        }
    }
}

module.exports = { VsCode };
