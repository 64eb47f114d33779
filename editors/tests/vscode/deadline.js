// Waiting with an end, and with words for what did not come.
'use strict';

const assert = require('node:assert/strict');

/** How long an editor may take for one thing, in ms. Two slow cores are shared with whatever else runs. */
const STEP = 30000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Asks again and again until the answer is not false, null or undefined.
 * @template T
 * @param {string} what for the message of a failure
 * @param {() => Promise<T> | T} probe
 * @param {{within?: number, seen?: () => Promise<unknown> | unknown}} options `seen` is asked, after a failure, what is there instead
 * @returns {Promise<NonNullable<T>>}
 */
async function until(what, probe, { within = STEP, seen } = {}) {
    const end = Date.now() + within;
    let last;
    for (;;) {
        try {
            const answer = await probe();
            if (answer !== false && answer !== undefined && answer !== null) {
                return answer;
            }
            last = undefined;
        } catch (error) {
            last = error;
        }
        if (Date.now() > end) {
            const instead = seen ? `; there is: ${JSON.stringify(await seen())}` : '';
            const why = last ? ` (${last.message.split('\n')[0]})` : '';
            assert.fail(`not within ${within / 1000} s: ${what}${why}${instead}`);
        }
        await pause(50);
    }
}

module.exports = { until, pause, STEP };
