/** What is said while an answer does not go on. The page counts the seconds itself. */

const SILENCE = 5; // seconds after which the wait is counted

/** @param {Item} item */
export const isGrowing = ({ status }) => status === "waiting" || status === "streaming";

/** How long nothing has arrived of one item. */
export class Silence {
	#heard = 0; // when something arrived, in milliseconds
	#sends = 0; // when the request is sent again

	/** Something arrived: now, or if the item is new to this page, `silent` seconds ago. @param {Item} item */
	hear({ wait, silent = 0 }, isNew = false) {
		this.#heard = Date.now() - (isNew ? 1000 * silent : 0);
		this.#sends = wait === null ? 0 : Date.now() + 1000 * wait;
	}

	/** The line under what has arrived so far, or "". @param {Item} item */
	line(item) {
		if (!isGrowing(item) || item.ask) return ""; // the user is asked
		const now = Date.now();
		const left = Math.ceil((this.#sends - now) / 1000);
		const seconds = Math.floor((now - Math.max(this.#heard, this.#sends)) / 1000);
		const again = this.#sends && `asking again${left > 0 ? ` in ${left} s` : " …"}`;
		const known = [item.progress, again].filter(Boolean).join("; ");
		if (seconds >= SILENCE) return `${known ? `${known} still` : "Still"} waiting, ${seconds} s`;
		return known || (item.status === "waiting" ? "Waiting for the answer" : "");
	}
}
