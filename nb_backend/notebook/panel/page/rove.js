/** The keyboard in the list of messages: one stop for Tab, arrow keys inside. */

import { on } from "./dom.js";

const SCROLLS = "pre, .nbb-table, .nbb-math";

/** Take the controls inside out of the order of Tab. @param {ParentNode} box */
export function skipByTab(box) {
	for (const stop of box.querySelectorAll("button, a, summary, [tabindex]")) stop.setAttribute("tabindex", "-1");
}

/** @type {IntersectionObserver} */ let regions;

/**
 * Code, tables and formulas that are wider than the panel are stops of Tab while they are in view, to scroll them.
 * Those out of view do not scroll, so that a long chat has few stops.
 * @param {ParentNode} box
 */
export function watchWide(box) {
	regions ??= new IntersectionObserver((entries) => {
		for (const { target, isIntersecting } of entries) {
			target.setAttribute("tabindex", isIntersecting && target.scrollWidth > target.clientWidth ? "0" : "-1");
			target.classList.toggle("nbb-still", !isIntersecting);
		}
	});
	for (const region of box.querySelectorAll(SCROLLS)) regions.unobserve(region), regions.observe(region);
}

/** What Right and Left reach in a message: its actions, then what is in its text. @param {HTMLElement} message */
function stopsOf(message) {
	const all = /** @type {HTMLElement[]} */ ([...message.querySelectorAll(`button:not(:disabled), a[href], summary, ${SCROLLS}`)]);
	const shown = all.filter((stop) => stop.checkVisibility() && (!stop.matches(SCROLLS) || stop.scrollWidth > stop.clientWidth));
	const isAct = (/** @type {Element} */ stop) => Boolean(stop.closest(".nbb-foot"));
	return [...shown.filter(isAct), ...shown.filter((stop) => !isAct(stop))];
}

/** The next message that is shown, in one direction. @param {HTMLElement} message @param {"nextElementSibling" | "previousElementSibling"} side */
function neighbor(message, side) {
	let found = message[side];
	while (found instanceof HTMLElement && found.hidden) found = found[side];
	return found;
}

/**
 * Up and Down move between messages, and scroll one that is longer than the view; Home and End go to the first and the
 * last. Right and Left move between the controls of a message.
 * @param {HTMLElement} list @param {HTMLElement} scroller
 */
export function rove(list, scroller) {
	/** @type {HTMLElement | null} */ let current = null;

	/** @param {Element | null | undefined} message */
	const turn = (message) => {
		if (message === current || !(message instanceof HTMLElement)) return;
		if (current) current.tabIndex = -1;
		current = message;
		current.tabIndex = 0;
	};
	/** @param {Element | null | undefined} message */
	const go = (message) => {
		if (!(message instanceof HTMLElement)) return;
		turn(message);
		message.focus({ preventScroll: true });
		message.scrollIntoView({ block: "nearest" });
	};

	const last = () => [...list.children].filter((one) => one instanceof HTMLElement && !one.hidden).at(-1);

	on(list, "focusin", ({ target }) => turn(/** @type {Element} */ (target).closest("article")));
	on(list, "keydown", (event) => {
		const { key, target, altKey, ctrlKey, metaKey, shiftKey } = event;
		const from = /** @type {HTMLElement} */ (target);
		const message = from.closest("article");
		if (!message || altKey || ctrlKey || metaKey || shiftKey || from.matches("input, textarea") || event.defaultPrevented) return;
		const view = scroller.getBoundingClientRect();
		const box = message.getBoundingClientRect();
		if (key === "ArrowDown" && box.bottom > view.bottom + 2) return; // scrolls
		if (key === "ArrowUp" && box.top < view.top - 2) return;
		const stops = stopsOf(message);
		const at = stops.indexOf(from);
		const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
		if (step && from.matches(SCROLLS)) return; // scrolls sideways
		/** @type {Record<string, () => void>} */
		const moves = {
			ArrowDown: () => go(neighbor(message, "nextElementSibling")),
			ArrowUp: () => go(neighbor(message, "previousElementSibling")),
			Home: () => go(list.firstElementChild),
			End: () => go(last()),
		};
		if (!step && !moves[key]) return;
		event.preventDefault();
		if (step) stops.at(at < 0 ? (step > 0 ? 0 : -1) : (at + step) % stops.length)?.focus();
		else moves[key]();
	});

	/** The stop of the list is the message that had the focus last, else the last one. */
	const show = () => {
		if (!current?.isConnected || !list.contains(document.activeElement)) turn(last());
	};
	return { show };
}
