/** A growing text appears a few characters in each frame, over the time until more is expected, and not in lumps. */

/** What appears whole: only a text appears by characters. */
const UNITS = "tr, math, mjx-container, .nbb-math, .nbb-remote, .nbb-step, img, hr, br";
const SKIPPED = "FIGCAPTION"; // of code: its buttons are no part of the text
const LATE = 1.25; // an update may come later than the last one did
const SHORTEST = 60; // milliseconds
const LONGEST = 1000;
const STEP = 30; // between two changes of the page, which cost a layout each
const FAST_STEP = 60; // if more than FAST characters come in a millisecond
const FAST = 0.8;
const PAUSE = 1500; // the first update after a pause, or after the tab was hidden, appears at once
const CLUSTER = /[\p{M}\u200d\udc00-\udfff]/u; // a character that belongs to the one before it

export const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/**
 * The texts and the units of a node, in order.
 * @param {Node} node @param {(Text | Element)[]} [pieces] @returns {(Text | Element)[]}
 */
function piecesOf(node, pieces = []) {
	for (let child = node.firstChild; child; child = child.nextSibling) {
		if (child instanceof Text) pieces.push(child);
		else if (child instanceof Element && child.matches(UNITS)) pieces.push(child);
		else if (child.nodeName !== SKIPPED) piecesOf(child, pieces);
	}
	return pieces;
}

/** How many characters a piece counts for. @param {Text | Element} piece */
const lengthOf = (piece) => (piece instanceof Text ? piece.length : Math.max(1, piece.textContent?.length ?? 0));

/** @param {(Text | Element)[]} pieces */
const lengthsOf = (pieces) => pieces.reduce((sum, piece) => sum + lengthOf(piece), 0);

/** @param {Text | Element} piece */
const isShown = (piece) => (piece instanceof Text ? piece.length > 0 : !piece.hasAttribute("hidden"));

/** @typedef {{piece: Text | Element, rest: string, left: number, hidden: Element | null}} Held
 *   what is not shown of a piece: the rest of a text, its length, and the element that is hidden until the piece begins */

/** Reveals the end of a text whose blocks are the children of `node`. */
export class Reveal {
	/** @type {Held[]} the end of the text, in order */ #held = [];
	/** @type {HTMLElement | null} */ #caret = null;
	#frame = 0;
	#updated = -Infinity; // the times are those of frames, in milliseconds
	#gap = 0; // between two updates, as expected
	#shown = 0; // when something was revealed last
	#until = 0;

	/** @param {HTMLElement} node */
	constructor(node) {
		this.node = node;
	}

	/** Call `change`, which changes blocks from `first` on, and hold back what is new, unless the text has ended. @param {() => void} change */
	update(first = 0, grows = false, now = 0, change) {
		const gap = now - this.#updated;
		const gradual = grows && gap < PAUSE && !isCalm();
		this.rewrite(first, change, gradual);
		if (gradual) this.#gap = Math.max(gap, (this.#gap + gap) / 2);
		this.#until = now + Math.min(LONGEST, Math.max(SHORTEST, LATE * this.#gap));
		if (this.node.firstChild) this.#updated = this.#shown = now; // the first text appears at once
		this.#putCaret(grows);
	}

	/** Call `change`, which changes blocks from `first` on; if `gradual`, each shows as much as before. @param {() => void} change */
	rewrite(first = 0, change, gradual = this.#held.length > 0) {
		const { children } = this.node;
		const open = this.#held.length ? [...children].findIndex((block) => block.contains(this.#held[0].piece)) : first;
		const from = Math.min(first, open);
		const shown = gradual ? [...children].slice(from).map((block) => lengthsOf(piecesOf(block).filter(isShown))) : [];
		this.finish();
		change();
		for (let k = gradual ? children.length : 0; k-- > from; ) this.#hold(children[k], shown[k - from] ?? 0);
		if (this.#held.length) this.#frame = requestAnimationFrame(this.#reveal);
	}

	/** The text of a block with what is not shown yet. @param {Node} block */
	textOf(block) {
		const rests = new Map(this.#held.map(({ piece, rest }) => [piece, rest]));
		return piecesOf(block).map((piece) => piece.textContent + (rests.get(piece) ?? "")).join("");
	}

	/** Show all that is held back. */
	finish() {
		cancelAnimationFrame(this.#frame);
		for (const held of this.#held) this.#show(held, held.left);
		this.#held = [];
	}

	/** Hold back the pieces of a block after its first characters. @param {Node} block */
	#hold(block, shown = 0) {
		const pieces = piecesOf(block);
		let start = lengthsOf(pieces);
		for (const piece of pieces.reverse()) {
			const length = lengthOf(piece);
			start -= length;
			if (start + length <= shown) return;
			const at = Math.max(0, shown - start);
			const isText = piece instanceof Text;
			if (at && !isText) return; // a table's row that grows
			const rest = isText ? piece.data.slice(at) : "";
			if (isText) piece.deleteData(at, length - at);
			else piece.toggleAttribute("hidden", true);
			this.#held.unshift({ piece, rest, left: length - at, hidden: at ? null : this.#hide(piece) });
		}
	}

	/** Hide the element, if there is one, of which nothing else is shown. @param {Node} top */
	#hide(top) {
		for (let up = top.parentElement; up && up !== this.node && !piecesOf(up).some(isShown); up = up.parentElement) top = up;
		if (!(top instanceof Element)) return null;
		top.toggleAttribute("hidden", true);
		return top;
	}

	/** @param {Held} held */
	#show(held, count = 0) {
		const { piece, hidden, rest } = held;
		hidden?.removeAttribute("hidden");
		if (piece instanceof Text) piece.appendData(rest.slice(0, count));
		else piece.removeAttribute("hidden");
		held.hidden = null;
		held.rest = rest.slice(count);
		held.left -= count;
	}

	#reveal = (now = 0) => {
		const left = this.#held.reduce((sum, held) => sum + held.left, 0);
		const share = (now - this.#shown) / Math.max(1, this.#until - this.#shown);
		const isFast = left > FAST * (this.#until - now);
		let count = share >= 1 ? left : now - this.#shown < (isFast ? FAST_STEP : STEP) ? 0 : Math.floor(left * share);
		if (count) this.#shown = now;
		while (count > 0) {
			const [held] = this.#held;
			let length = held.rest ? Math.min(count, held.left) : held.left;
			while (CLUSTER.test(held.rest[length] ?? "")) length++;
			count -= length;
			this.#show(held, length);
			if (!held.left) this.#held.shift();
			if (!this.#held.length) break;
		}
		if (this.#shown === now) this.#putCaret(true);
		if (this.#held.length) this.#frame = requestAnimationFrame(this.#reveal);
	};

	/** Put the caret after the text that is shown; not after a table or a formula. */
	#putCaret(grows = false) {
		/** @type {Node | null | undefined} */
		let last = grows ? this.#held[0]?.piece ?? this.node.lastElementChild : null;
		while (last?.lastChild) last = last.lastChild;
		let at = last instanceof Text && !last.parentElement?.closest(`${UNITS}, ${SKIPPED}`) ? last.parentElement : null;
		if (this.#held[0] && !isShown(this.#held[0].piece) && this.#caret?.isConnected) at = this.#caret; // the next element has not begun
		if (at !== this.#caret) this.#caret?.classList.remove("nbb-caret");
		at?.classList.add("nbb-caret");
		this.#caret = at;
	}
}
