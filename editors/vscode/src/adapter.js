// The debug adapter as VS Code knows it, on a connection to the server.
'use strict';

const vscode = require('vscode');
const { Decoder, encode } = require('./frames');

/** @implements {vscode.DebugAdapter} */
class SocketAdapter {
    /** @param {import('./server').Server} server */
    constructor(server) {
        this.server = server;
        this.messages = new vscode.EventEmitter();
        this.onDidSendMessage = this.messages.event;
        this.terminated = false;
        this.disposed = false;

        const decoder = new Decoder((message) => {
            this.terminated ||= message.type === 'event' && message.event === 'terminated';
            this.messages.fire(message);
        });
        server.socket.on('data', (chunk) => {
            try {
                decoder.take(chunk);
            } catch (error) {
                this.over(error.message);
                server.socket.destroy();
            }
        });
        server.socket.on('error', (error) => this.over(`the connection broke: ${error.message}`));
        server.socket.on('close', async () => {
            if (!this.terminated && !this.disposed) {
                this.over(await server.ended);
            }
        });
    }

    /** @param {object} message */
    handleMessage(message) {
        if (!this.server.socket.destroyed) {
            this.server.socket.write(encode(message));
        }
    }

    /** Says why the session ends, and ends it; VS Code would wait for ever otherwise. */
    over(why) {
        if (this.terminated || this.disposed) {
            return;
        }
        this.terminated = true;
        const output = `The debug server is gone: ${why}\n`;
        this.messages.fire({ type: 'event', seq: 0, event: 'output', body: { category: 'important', output } });
        this.messages.fire({ type: 'event', seq: 0, event: 'terminated' });
    }

    dispose() {
        this.disposed = true;
        this.server.socket.end();
        this.server.release();
        this.messages.dispose();
    }
}

module.exports = { SocketAdapter };
