// VS Code's window, as far as one debugs with it: what a user can see and do, in the user's words.
'use strict';

const { until, pause, STEP } = require('./deadline');

class Workbench {
    /** @param {import('playwright-core').Page} page */
    constructor(page) {
        this.page = page;
    }

    /** @returns {Promise<Workbench>} once the file of the address can be edited */
    static async open(page, address) {
        await page.goto(address);
        const workbench = new Workbench(page);
        await until('the file is open', () => page.locator('.monaco-editor .view-line').first().isVisible(), { within: 2 * STEP });
        return workbench;
    }

    // The editor

    /** Brings a line into view, and answers its place on the screen. */
    async row(line) {
        const number = this.page.locator('.editor-instance .margin .line-numbers', { hasText: new RegExp(`^${line}$`) }).first();
        if (!(await number.isVisible())) {
            await this.goTo(line);
        }
        return until(`line ${line} is in view`, () => number.boundingBox({ timeout: 500 }));
    }

    async goTo(line) {
        await this.page.keyboard.press('Control+g');
        const input = this.page.locator('.quick-input-widget .quick-input-filter .monaco-inputbox input');
        await input.waitFor({ state: 'visible' });
        await input.fill(`:${line}`);
        await this.page.keyboard.press('Enter');
        await input.waitFor({ state: 'hidden' });
    }

    /** The middle of the glyph margin of a line. */
    async gutter(line) {
        const row = await this.row(line);
        const margin = await this.page.locator('.editor-instance .glyph-margin').first().boundingBox();
        return { x: margin.x + margin.width / 2, y: row.y + row.height / 2, height: row.height };
    }

    /** Whether a glyph of this class stands beside a line. */
    async hasGlyph(line, glyph) {
        const { y, height } = await this.gutter(line);
        for (const one of await this.page.locator(`.editor-instance ${glyph}`).all()) {
            const box = await one.boundingBox({ timeout: 500 });
            if (box && Math.abs(box.y + box.height / 2 - y) < height / 2) {
                return true;
            }
        }
        return false;
    }

    /** Sets a breakpoint by a click left of the line. */
    async clickBreakpoint(line) {
        await until(`a click left of line ${line} sets a breakpoint`, async () => {
            if (await this.hasGlyph(line, '.codicon-debug-breakpoint')) {
                return true;
            }
            const { x, y } = await this.gutter(line);
            await this.page.mouse.click(x, y);
            // The extension that says that Go has breakpoints may not have been read yet; a second click must not undo the first.
            await pause(300);
            return this.hasGlyph(line, '.codicon-debug-breakpoint');
        });
    }

    /** Sets a logpoint by the menu left of the line. */
    async addLogpoint(line, message) {
        await this.addByMenu(line, 'Add Logpoint...', message, '.codicon-debug-breakpoint-log');
    }

    /** Sets a breakpoint with a condition by the menu left of the line. */
    async addConditionalBreakpoint(line, condition) {
        await this.addByMenu(line, 'Add Conditional Breakpoint...', condition, '.codicon-debug-breakpoint-conditional');
    }

    async addByMenu(line, entry, text, glyph) {
        await this.fromGutterMenu(line, entry);
        const field = this.page.locator('.breakpoint-widget .inputContainer .monaco-editor.focused');
        await field.waitFor({ state: 'visible', timeout: STEP });
        await this.page.keyboard.type(text);
        await this.page.keyboard.press('Enter');
        await until(`line ${line} has ${glyph}`, () => this.hasGlyph(line, glyph));
    }

    async fromGutterMenu(line, entry) {
        const item = this.page.locator('.monaco-menu .action-item', { hasText: entry }).first();
        await until(`a menu with "${entry}" opens left of line ${line}`, async () => {
            if (!(await item.isVisible())) {
                // Before the extension that says that Go has breakpoints has been read, there is another menu, or none.
                await this.page.keyboard.press('Escape');
                const { x, y } = await this.gutter(line);
                await this.page.mouse.click(x, y, { button: 'right' });
                await item.waitFor({ state: 'visible', timeout: 1000 });
            }
            return true;
        });
        // A menu ignores its first moments, so that the click that opened it does not choose.
        await until(`the menu's "${entry}" is taken`, async () => {
            if (await item.isVisible()) {
                await item.click({ timeout: 1000 });
                await pause(200);
            }
            return !(await item.isVisible());
        });
    }

    /** The number of the line that the program is about to execute, from the yellow bar; none while it runs. */
    async yellowLine() {
        const bar = await this.page.locator('.editor-instance .view-overlays .debug-top-stack-frame-line').first().boundingBox({ timeout: 500 });
        for (const number of await this.page.locator('.editor-instance .margin .line-numbers').all()) {
            const box = await number.boundingBox({ timeout: 500 });
            if (box && Math.abs(box.y - bar.y) < box.height / 2) {
                return Number(await number.textContent());
            }
        }
        return undefined;
    }

    async stopsAt(line) {
        await until(`the yellow bar is on line ${line}`, async () => (await this.yellowLine()) === line, { seen: () => this.yellowLine().catch(() => 'none') });
    }

    // Commands

    async key(keys) {
        await this.page.keyboard.press(keys);
    }

    /** Runs a command from the palette. */
    async command(name) {
        await this.page.keyboard.press('F1');
        const input = this.page.locator('.quick-input-widget .quick-input-filter .monaco-inputbox input');
        await input.waitFor({ state: 'visible' });
        await input.fill(`>${name}`);
        await this.page.locator('.quick-input-list .monaco-list-row', { hasText: name }).first().waitFor({ state: 'visible' });
        await this.page.keyboard.press('Enter');
        await input.waitFor({ state: 'hidden' });
    }

    /** Takes the entry of an open list that a text narrows it down to. */
    async pick(title, text) {
        const input = this.page.locator('.quick-input-widget .quick-input-filter .monaco-inputbox input');
        await until(`a list asks for ${title}`, async () => (await input.getAttribute('placeholder', { timeout: 500 })) === title);
        await input.fill(text);
        await this.page.locator('.quick-input-list .monaco-list-row', { hasText: text }).first().waitFor({ state: 'visible', timeout: STEP });
        await this.page.keyboard.press('Enter');
    }

    /** Types into the terminal that has just been opened. */
    async typeInTerminal(text) {
        const terminal = this.page.locator('.terminal-wrapper.active .xterm-helper-textarea');
        await terminal.focus({ timeout: STEP });
        await this.page.keyboard.type(text);
    }

    /** Presses a button of the debug toolbar. */
    async toolbar(name) {
        await this.page.locator(`.debug-toolbar .action-label[aria-label^="${name}"]`).click({ timeout: STEP });
    }

    async isDebugging() {
        return (await this.page.locator('.debug-toolbar:not([aria-hidden="true"])').count()) > 0;
    }

    async sessionEnds() {
        await until('the session is over', async () => !(await this.isDebugging()));
    }

    /** Drags the edge between side bar and editor, so that values can be read. */
    async widenSideBar(width) {
        const { x } = await this.page.locator('.part.sidebar').boundingBox();
        const editor = await this.page.locator('.part.editor').boundingBox();
        const y = editor.y + editor.height / 2;
        await this.page.mouse.move(editor.x, y);
        await this.page.mouse.down();
        await this.page.mouse.move(x + width, y, { steps: 5 });
        await this.page.mouse.up();
    }

    // Views

    /** The texts of the rows of a view that are on the screen. */
    async rows(view) {
        const texts = await this.page.locator(`${view} .monaco-list-row`).allTextContents();
        return texts.map((text) => text.replace(/\s+/g, ' ').trim());
    }

    /** Waits for a row of a view; `otherwise` is done again and again while it is not there. */
    async shows(view, text, otherwise = async () => {}) {
        const fits = (row) => (text instanceof RegExp ? text.test(row) : row.includes(text));
        const isThere = async () => {
            const found = (await this.rows(view)).find(fits);
            if (found === undefined) {
                await otherwise();
            }
            return found;
        };
        await until(`${view} shows ${text}`, isThere, { seen: () => this.rows(view) });
    }

    /** Opens a row that has more beneath it. */
    async expand(view, text) {
        await this.#turn(view, text, 'true');
    }

    /** Closes one, so that there is room for the rows behind it. */
    async collapse(view, text) {
        await this.#turn(view, text, 'false');
    }

    async #turn(view, text, wanted) {
        const row = this.page.locator(`${view} .monaco-list-row`, { hasText: text }).first();
        const isOpen = () => row.getAttribute('aria-expanded', { timeout: 500 });
        await until(`${text} of ${view} ${wanted === 'true' ? 'opens' : 'closes'}`, async () => {
            const open = await isOpen();
            if (open !== null && open !== wanted) {
                await row.locator('.monaco-tl-twistie').click({ timeout: 1000 });
                await pause(200);
            }
            return (await isOpen()) === wanted;
        });
    }

    /** Gives a variable another value, as one does by a double click. */
    async setVariable(name, value) {
        const row = this.page.locator(`${VARIABLES} .monaco-list-row`, { hasText: new RegExp(`^\\s*${name}\\s*[=:]`) }).first();
        const input = this.page.locator(`${VARIABLES} .monaco-inputbox input`);
        await until(`${name} can be edited`, async () => {
            if (!(await input.isVisible())) {
                await row.dblclick({ timeout: 1000 });
                await pause(100);
            }
            return input.isVisible();
        });
        await input.fill(value);
        await this.page.keyboard.press('Enter');
        await this.shows(VARIABLES, new RegExp(`^${name}[=: ]+${value}`));
    }

    /** Adds an expression to be watched. */
    async watch(expression) {
        const input = this.page.locator(`${WATCH} .monaco-inputbox input`);
        await until('a watch expression can be typed', async () => {
            if (!(await input.isVisible())) {
                const header = this.page.locator('.pane', { has: this.page.locator(WATCH) }).locator('.pane-header').first();
                await header.hover({ timeout: 1000 });
                await header.locator('.action-label[aria-label="Add Expression"]').click({ timeout: 1000 });
            }
            return input.isVisible();
        });
        await input.fill(expression);
        await this.page.keyboard.press('Enter');
    }

    /** Types into the debug console. */
    async evaluate(expression) {
        const input = this.page.locator('.repl-input-wrapper .monaco-editor').first();
        await input.waitFor({ state: 'visible', timeout: STEP });
        await input.click();
        await this.page.keyboard.type(expression);
        await this.page.keyboard.press('Escape'); // closes suggestions
        await this.page.keyboard.press('Enter');
    }

    /** What stands in the debug console, as far as it is on the screen. */
    async console() {
        return (await this.rows(CONSOLE)).join('\n');
    }

    async consoleShows(text) {
        await this.shows(CONSOLE, text);
    }

    async dialogSays(text) {
        const dialog = this.page.locator('.monaco-dialog-box, .notification-toast');
        await until(`a dialog says ${text}`, async () => (await dialog.allTextContents()).some((one) => text.test(one)), { seen: () => dialog.allTextContents() });
    }
}

const STACK = '.debug-call-stack';
const VARIABLES = '.debug-variables';
const WATCH = '.debug-watch';
const BREAKPOINTS = '.debug-breakpoints';
const CONSOLE = '.repl';

module.exports = { Workbench, STACK, VARIABLES, WATCH, BREAKPOINTS, CONSOLE };
