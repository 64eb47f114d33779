// From what the user wrote in launch.json, or from nothing at all, to the arguments of a `launch` or `attach` request.
// No part of this needs VS Code, so that it can be tested without.
'use strict';

const path = require('path');

/**
 * Fills in what is missing before variables such as `${fileDirname}` are replaced. A configuration without any
 * attribute is what F5 passes where there is no launch.json: the package of the current file is debugged then.
 *
 * @param {Record<string, any>} config
 * @param {{languageId: string, fileName: string} | undefined} file the file in the active editor
 * @returns {Record<string, any> | undefined} nothing if there is neither a configuration nor a Go file
 */
function withDefaults(config, file) {
    const goFile = file && file.languageId === 'go' ? file.fileName : undefined;
    if (!config.type && !config.request && !config.name) {
        if (!goFile) {
            return undefined;
        }
        config = { ...config, type: 'spelunk', request: 'launch', name: 'Debug package', mode: 'auto' };
    }
    const filled = { ...config };
    if (filled.request === 'attach') {
        filled.mode = filled.mode || 'local';
        if (filled.mode === 'local' && !filled.processId && !filled.waitFor) {
            filled.processId = '${command:pickProcess}';
        }
        return filled;
    }
    filled.program = filled.program || (goFile ? '${fileDirname}' : '${workspaceFolder}');
    if (!filled.mode || filled.mode === 'auto') {
        filled.mode = goFile && goFile.endsWith('_test.go') ? 'test' : 'debug';
    }
    // In a terminal the program has the terminal's output for itself; else its output comes with the messages, where
    // standard output and standard error can be told apart.
    filled.outputMode = filled.outputMode || (filled.console === 'integratedTerminal' ? 'local' : 'remote');
    return filled;
}

/**
 * Makes paths absolute and numbers numbers, once variables have been replaced.
 *
 * @param {Record<string, any>} config
 * @param {string | undefined} folder the workspace folder
 * @param {(path: string) => boolean} isFolder
 */
function resolved(config, folder, isFolder) {
    const done = { ...config };
    if (done.request === 'attach') {
        if (typeof done.processId === 'string') {
            if (!/^\s*\d+\s*$/.test(done.processId)) {
                throw new Error(`"processId" must be a number, or "\${command:pickProcess}"; it is ${JSON.stringify(done.processId)}.`);
            }
            done.processId = Number(done.processId);
        }
        return done;
    }
    if (!path.isAbsolute(done.program) && folder) {
        done.program = path.join(folder, done.program);
    }
    // The Go toolchain finds the module from the folder it runs in.
    if (done.mode !== 'exec' && !done.dlvCwd) {
        done.dlvCwd = isFolder(done.program) ? done.program : path.dirname(done.program);
    }
    return done;
}

module.exports = { withDefaults, resolved };
