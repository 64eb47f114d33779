// Starting `spelunk dap`, and getting the connection to it.
//
// The server is asked to call us (`--client-addr`) on a Unix socket in a folder that only this user can enter: no port
// is open to other users of the machine, none has to be guessed, and nothing is read from the server's standard output,
// which belongs to the debugged program.
'use strict';

const childProcess = require('child_process');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');

/** How long a server may take to call us, in ms. A terminal has to start a shell's environment first. */
const CALL_WITHIN = 30000;
/** How long a server may take to end by itself once its session is over, in ms. */
const END_WITHIN = 5000;
/** How much of what a server says is kept for an error message, in characters. */
const KEPT = 4000;

/**
 * A program by its path, or looked up in PATH.
 * @param {string} program
 * @returns {string} its path
 * @throws {Error} that says what to do
 */
function find(program) {
    const expanded = program.startsWith('~/') ? path.join(os.homedir(), program.slice(2)) : program;
    const places = expanded.includes('/')
        ? [path.resolve(expanded)]
        : (process.env.PATH || '').split(path.delimiter).filter(Boolean).map((folder) => path.join(folder, expanded));
    for (const place of places) {
        try {
            fs.accessSync(place, fs.constants.X_OK);
            if (fs.statSync(place).isFile()) {
                return place;
            }
        } catch {
            // Not here: the next place.
        }
    }
    const where = expanded.includes('/') ? 'is no program that can be run' : 'was not found in PATH';
    throw new Error(`The debug server "${program}" ${where}. Install spelunk, or set "spelunk.path" to where it is.`);
}

/** A socket to be called on, and the folder it lies in. */
class Listener {
    constructor() {
        this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'spelunk-'));
        this.path = path.join(this.folder, 'dap');
        this.server = net.createServer();
        /** @type {Promise<net.Socket>} */
        this.connection = new Promise((resolve, reject) => {
            this.server.once('connection', resolve);
            this.server.once('error', reject);
        });
        // Whoever waits gets the error; that nobody waits yet is no fault.
        this.connection.catch(() => undefined);
    }

    /** @returns {Promise<void>} once the server can call */
    listen() {
        return new Promise((resolve, reject) => {
            this.server.once('error', reject);
            this.server.listen(this.path, () => resolve());
        });
    }

    close() {
        this.server.close();
        fs.rmSync(this.folder, { recursive: true, force: true });
    }
}

/**
 * The arguments of `spelunk`.
 * @param {string} socket
 * @param {string} logOutput components to log, separated by commas
 */
function serverArguments(socket, logOutput) {
    const log = logOutput ? ['--log', `--log-output=${logOutput}`] : [];
    return ['dap', `--client-addr=unix:${socket}`, ...log];
}

/**
 * @typedef {object} Server
 * @property {net.Socket} socket the connection
 * @property {() => void} release called when the session is over: sees to it that the server ends
 * @property {Promise<string>} ended resolves when the server has ended, with how and its last words
 */

/**
 * Starts a server as a child of ours.
 * @param {{program: string, folder: string | undefined, logOutput: string, onText: (text: string, isError: boolean) => void}} options
 * @returns {Promise<Server>}
 */
async function start({ program, folder, logOutput, onText }) {
    const found = find(program);
    const listener = new Listener();
    try {
        await listener.listen();
        const child = childProcess.spawn(found, serverArguments(listener.path, logOutput), {
            cwd: folder,
            stdio: ['ignore', 'pipe', 'pipe'],
        });
        let last = '';
        const heard = (isError) => (chunk) => {
            const text = chunk.toString('utf8');
            last = (last + text).slice(-KEPT);
            onText(text, isError);
        };
        child.stdout.on('data', heard(false));
        child.stderr.on('data', heard(true));
        const ended = new Promise((resolve) => {
            child.once('error', (error) => resolve(error.message));
            child.once('close', (code, signal) => {
                const how = signal ? `was ended by ${signal}` : `ended with status ${code}`;
                resolve([how, last.trim()].filter(Boolean).join(': '));
            });
        });
        const socket = await called(listener, ended, found);
        const release = () => {
            const late = setTimeout(() => child.kill('SIGTERM'), END_WITHIN);
            child.once('close', () => clearTimeout(late));
        };
        return { socket, release, ended };
    } finally {
        listener.close();
    }
}

/**
 * Starts a server in a terminal, which the debugged program then shares.
 * @param {{program: string, logOutput: string, open: (path: string, args: string[]) => {closed: Promise<string>}}} options
 * @returns {Promise<Server>}
 */
async function startInTerminal({ program, logOutput, open }) {
    const found = find(program);
    const listener = new Listener();
    try {
        await listener.listen();
        const terminal = open(found, serverArguments(listener.path, logOutput));
        const socket = await called(listener, terminal.closed, found);
        // The terminal stays, so that the program's output can be read; the server in it ends with its connection.
        return { socket, release: () => undefined, ended: terminal.closed };
    } finally {
        listener.close();
    }
}

/** The connection, or why there is none. */
async function called(listener, ended, program) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`"${program} dap" did not connect within ${CALL_WITHIN / 1000} s.`)), CALL_WITHIN);
    });
    const early = ended.then((how) => {
        throw new Error(`"${program} dap" ${how}`);
    });
    try {
        return await Promise.race([listener.connection, early, late]);
    } finally {
        clearTimeout(timer);
        early.catch(() => undefined);
    }
}

module.exports = { start, startInTerminal, find };
