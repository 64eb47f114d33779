// The framing of the Debug Adapter Protocol: a header with the body's length in bytes, an empty line, the body as JSON.
'use strict';

/**
 * A message as it goes over the wire.
 * @param {object} message
 */
function encode(message) {
    const body = Buffer.from(JSON.stringify(message), 'utf8');
    return Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`, 'ascii'), body]);
}

/** Takes bytes as they come, and hands on each message once it is whole. */
class Decoder {
    /** @param {(message: object) => void} onMessage */
    constructor(onMessage) {
        this.onMessage = onMessage;
        this.bytes = Buffer.alloc(0);
    }

    /**
     * @param {Buffer} chunk
     * @throws {Error} if what came is no message; nothing that follows can be read then.
     */
    take(chunk) {
        this.bytes = Buffer.concat([this.bytes, chunk]);
        for (;;) {
            const end = this.bytes.indexOf('\r\n\r\n');
            if (end < 0) {
                return;
            }
            const header = this.bytes.subarray(0, end).toString('ascii');
            const length = /^Content-Length: *(\d+)$/im.exec(header);
            if (!length) {
                throw new Error(`not a message of the debug adapter protocol: ${JSON.stringify(header.slice(0, 200))}`);
            }
            const start = end + 4;
            if (this.bytes.length < start + Number(length[1])) {
                return;
            }
            const body = this.bytes.subarray(start, start + Number(length[1])).toString('utf8');
            this.bytes = this.bytes.subarray(start + Number(length[1]));
            this.onMessage(JSON.parse(body));
        }
    }
}

module.exports = { encode, Decoder };
