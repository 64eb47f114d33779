// What VS Code is told: how a configuration is completed, and what a session's debug adapter is.
'use strict';

const fs = require('fs');
const vscode = require('vscode');
const { SocketAdapter } = require('./adapter');
const { withDefaults, resolved } = require('./configuration');
const { list } = require('./processes');
const { recorder } = require('./recorder');
const { start, startInTerminal } = require('./server');

const TYPE = 'spelunk';

/** @param {vscode.ExtensionContext} context */
function activate(context) {
    const channel = vscode.window.createOutputChannel('spelunk');
    const { Initial, Dynamic } = vscode.DebugConfigurationProviderTriggerKind;
    context.subscriptions.push(
        channel,
        vscode.debug.registerDebugConfigurationProvider(TYPE, { resolveDebugConfiguration, resolveDebugConfigurationWithSubstitutedVariables }),
        vscode.debug.registerDebugConfigurationProvider(TYPE, { provideDebugConfigurations: usual }, Initial),
        vscode.debug.registerDebugConfigurationProvider(TYPE, { provideDebugConfigurations: usual }, Dynamic),
        vscode.debug.registerDebugAdapterDescriptorFactory(TYPE, { createDebugAdapterDescriptor: (session) => adapter(session, channel) }),
        vscode.debug.registerDebugAdapterTrackerFactory(TYPE, { createDebugAdapterTracker }),
        vscode.commands.registerCommand('spelunk.pickProcess', pickProcess),
    );
}

function settings(scope) {
    return vscode.workspace.getConfiguration('spelunk', scope);
}

/** What a new launch.json and the list of *Run and Debug* offer. */
function usual() {
    return [
        { type: TYPE, request: 'launch', name: 'Debug package', mode: 'auto', program: '${fileDirname}' },
        { type: TYPE, request: 'attach', name: 'Attach to process', mode: 'local', processId: '${command:pickProcess}' },
    ];
}

function resolveDebugConfiguration(folder, config) {
    const document = vscode.window.activeTextEditor?.document;
    const filled = withDefaults(config, document);
    if (!filled) {
        vscode.window.showErrorMessage('Open a Go file to debug its package, or write a launch configuration of type "spelunk".');
    }
    return filled;
}

function resolveDebugConfigurationWithSubstitutedVariables(folder, config) {
    return resolved(config, folder?.uri.fsPath, (path) => fs.statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false);
}

/**
 * @param {vscode.DebugSession} session
 * @param {vscode.OutputChannel} channel
 */
async function adapter(session, channel) {
    const config = session.configuration;
    if (config.port) {
        return new vscode.DebugAdapterServer(config.port, config.host || '127.0.0.1');
    }
    const setting = settings(session.workspaceFolder);
    const program = setting.get('path') || 'spelunk';
    const logOutput = setting.get('logOutput') || '';
    const folder = session.workspaceFolder?.uri.fsPath;
    const server =
        config.console === 'integratedTerminal'
            ? await startInTerminal({ program, logOutput, open: (path, args) => openTerminal(session.name, folder, path, args) })
            : await start({
                  program,
                  folder,
                  logOutput,
                  // With `"outputMode": "local"` the program's output is among what the server says.
                  onText: (text, isError) => (isError && logOutput ? channel.append(text) : vscode.debug.activeDebugConsole.append(text)),
              });
    return new vscode.DebugAdapterInlineImplementation(new SocketAdapter(server));
}

function openTerminal(name, cwd, shellPath, shellArgs) {
    const terminal = vscode.window.createTerminal({ name, cwd, shellPath, shellArgs, isTransient: true });
    terminal.show(true);
    const closed = new Promise((resolve) => {
        const watch = vscode.window.onDidCloseTerminal((one) => {
            if (one === terminal) {
                watch.dispose();
                resolve(`ended with status ${terminal.exitStatus?.code ?? 'unknown'} in its terminal`);
            }
        });
    });
    return { closed };
}

function createDebugAdapterTracker(session) {
    const file = settings(session.workspaceFolder).get('recordMessages');
    return file ? recorder(file) : undefined;
}

async function pickProcess() {
    const items = list().map(({ pid, name, commandLine }) => ({ label: name, description: String(pid), detail: commandLine }));
    const picked = await vscode.window.showQuickPick(items, {
        placeHolder: 'The process to attach to',
        matchOnDescription: true,
        matchOnDetail: true,
    });
    return picked?.description;
}

module.exports = { activate };
