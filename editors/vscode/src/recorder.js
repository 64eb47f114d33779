// Each message between editor and server, one line of JSON each, for reports of bugs and for tests.
'use strict';

const fs = require('fs');

/**
 * @param {string} file
 * @returns {import('vscode').DebugAdapterTracker}
 */
function recorder(file) {
    const begun = Date.now();
    const note = (dir, m) => fs.appendFileSync(file, `${JSON.stringify({ ms: Date.now() - begun, dir, m })}\n`);
    return {
        onWillReceiveMessage: (message) => note('to-server', message),
        onDidSendMessage: (message) => note('from-server', message),
        onError: (error) => note('error', String(error)),
    };
}

module.exports = { recorder };
