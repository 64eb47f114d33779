// The processes of this machine that one could attach to.
'use strict';

const fs = require('fs');
const path = require('path');

/**
 * Processes with a command line (kernel threads have none), newest first.
 * @param {string} proc the folder of procfs
 * @returns {{pid: number, name: string, commandLine: string}[]}
 */
function list(proc = '/proc') {
    const found = [];
    for (const entry of fs.readdirSync(proc)) {
        if (!/^\d+$/.test(entry) || Number(entry) === process.pid) {
            continue;
        }
        try {
            const words = fs.readFileSync(path.join(proc, entry, 'cmdline'), 'utf8').split('\0').filter(Boolean);
            if (words.length > 0) {
                found.push({ pid: Number(entry), name: path.basename(words[0]), commandLine: words.join(' ') });
            }
        } catch {
            // It ended meanwhile.
        }
    }
    return found.sort((a, b) => b.pid - a.pid);
}

module.exports = { list };
