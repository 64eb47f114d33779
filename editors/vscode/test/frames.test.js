'use strict';

const assert = require('node:assert/strict');
const test = require('node:test');
const { Decoder, encode } = require('../src/frames');

test('messages arrive whole, however the bytes are cut', () => {
    const sent = [{ seq: 1, text: 'für Ada' }, { seq: 2 }, { seq: 3, text: '…' }];
    const bytes = Buffer.concat(sent.map(encode));
    for (const size of [1, 2, 7, bytes.length]) {
        const got = [];
        const decoder = new Decoder((message) => got.push(message));
        for (let at = 0; at < bytes.length; at += size) {
            decoder.take(bytes.subarray(at, at + size));
        }
        assert.deepEqual(got, sent, `in pieces of ${size}`);
    }
});

test('the length counts bytes, not characters', () => {
    assert.match(encode({ t: 'ü' }).toString('utf8'), /^Content-Length: 10\r\n\r\n\{"t":"ü"\}$/);
});

test('what is no message is refused', () => {
    assert.throws(() => new Decoder(() => undefined).take(Buffer.from('HTTP/1.1 200 OK\r\n\r\n')), /not a message/);
});
