/** Elements of the page: buttons, icons, popovers, small texts. */

export const ICONS = {
	send: "M12 19V5M6 11l6-6 6 6",
	stop: "M8 8h8v8H8z",
	attach: "M20 11l-8 8a5 5 0 0 1-7-7l8-8a3.5 3.5 0 0 1 5 5l-8 8",
	settings: "M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5v5M8 14.5v5",
	plus: "M12 5v14M5 12h14",
	more: "M5 12h.01M12 12h.01M19 12h.01",
	copy: "M9 9h11v11H9zM5 15H4V4h11v1",
	retry: "M4 12a8 8 0 1 0 2.6-5.9M4 4v4.5h4.5",
	continue: "M5 12h14M13 6l6 6-6 6",
	edit: "M4 20h4L19.5 8.5l-4-4L4 16z",
	delete: "M4 7h16M6.5 7l1 13h9l1-13M9 7V4h6v3",
	chevron: "M7 10l5 5 5-5",
	back: "M14 7l-5 5 5 5",
	next: "M10 7l5 5-5 5",
	undo: "M9 14L4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3",
	close: "M7 7l10 10M17 7L7 17",
	key: "M11.8 13a4 4 0 1 1 0-2H21v4h-3v-4",
	dock: "M4 5h16v14H4zM14 5v14",
	check: "M5 12.5l4.5 4.5L19 7.5",
};

/**
 * Create an element: h("p.note", {title}, "text") is <p class="nbb-note" title>text</p>. Functions become listeners, `label` becomes aria-label.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K | `${K}.${string}`} tag @param {Record<string, any>} [attributes] @param {...(Node | string)} children
 */
export function h(tag, attributes = {}, ...children) {
	const [name, ...kinds] = tag.split(".");
	const node = /** @type {HTMLElementTagNameMap[K]} */ (document.createElement(name));
	for (const kind of kinds) node.classList.add(`nbb-${kind}`);
	for (const [key, value] of Object.entries(attributes)) {
		if (typeof value === "function") on(node, /** @type {any} */ (key), /** @type {any} */ (value));
		else if (value !== false && value != null) node.setAttribute(key === "label" ? "aria-label" : key, value === true ? "" : value);
	}
	node.append(...children);
	return node;
}

/**
 * @template {keyof HTMLElementEventMap} N
 * @param {HTMLElement} node @param {N} name @param {(event: HTMLElementEventMap[N]) => void} listener
 */
export const on = (node, name, listener) => node.addEventListener(name, listener);

/** Whether an input method is composing text, to which its keys belong. @param {KeyboardEvent} event */
export const composes = (event) => event.isComposing || event.keyCode === 229;

/** @typedef {keyof typeof ICONS} Icon @param {Icon} name */
export function icon(name) {
	const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
	for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: "nbb-icon", "aria-hidden": "true" }))
		svg.setAttribute(key, value);
	path.setAttribute("d", ICONS[name]);
	svg.append(path);
	return svg;
}

/**
 * A button that shows only its icon, or with the kind `.wide` also its label. The label is its accessible name in both cases.
 * @param {string} label @param {Icon} picture @param {(() => unknown) | null} [press]
 */
export function button(label, picture, press, kinds = "", attributes = {}) {
	const click = press && (() => void press());
	return h(`button.button${kinds}`, { type: "button", title: label, click, ...attributes }, icon(picture), h("span.words", {}, label));
}

/** @param {Element} node */
export function relabel(node, label = "") {
	const words = node.querySelector(".nbb-words");
	if (words && words.textContent !== label) words.textContent = label;
	node.setAttribute("title", label);
}

/** Make a button ask for confirmation: the first press shows the question, the second calls `act`. @param {HTMLButtonElement} node @param {() => unknown} act */
export function confirmed(node, question = "", act) {
	const label = node.title;
	const reset = () => (relabel(node, label), node.classList.remove("nbb-asks"));
	on(node, "blur", reset);
	on(node, "keydown", (event) => {
		if (event.key === "Escape" && node.classList.contains("nbb-asks")) event.preventDefault(), event.stopPropagation(), reset();
	});
	on(node, "click", (event) => {
		const asks = node.classList.toggle("nbb-asks");
		if (asks) relabel(node, question), event.stopPropagation();
		else reset(), act();
	});
	return node;
}

/** The elements in a box that can have the focus. @param {Element} box */
export const focusable = (box) => /** @type {HTMLElement[]} */ ([...box.querySelectorAll("input, textarea, button")]);

/**
 * A popover that a button opens. Escape, a press elsewhere, and in a menu any press close it; arrow keys move the focus.
 * @param {HTMLButtonElement} opener @param {"menu" | "dialog"} role @param {string} label @param {() => void} fill
 */
export function popup(opener, role, label, fill) {
	const box = h("div.popup", { role, label: label, popover: "auto" });
	const closeOnScroll = (/** @type {Event} */ { target }) => {
		if (target instanceof Node && !box.closest(".nbb-panel")?.contains(target)) box.hidePopover();
	};
	opener.popoverTargetElement = box;
	opener.setAttribute("aria-haspopup", role);
	on(box, "beforetoggle", ({ newState }) => {
		const opens = newState === "open";
		if (opens) fill(), place(box, opener.getBoundingClientRect());
		document[`${opens ? "add" : "remove"}EventListener`]("scroll", closeOnScroll, true);
	});
	on(box, "toggle", ({ newState }) => {
		if (newState === "open" && !box.contains(document.activeElement)) focusable(box)[0]?.focus();
	});
	on(box, "click", ({ target }) => role === "menu" && target !== box && box.hidePopover());
	on(box, "keydown", (event) => {
		const all = focusable(box).filter((stop) => !stop.closest(".nbb-side"));
		const at = all.findIndex((stop) => stop === document.activeElement || stop.parentElement?.matches(".nbb-line:focus-within"));
		const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
		if (!step || all[at]?.matches("textarea, [type=number]")) return;
		event.preventDefault();
		all.at((at + step) % all.length)?.focus();
	});
	return box;
}

/** Text of the user or the model, in its own writing direction. */
export const userText = (text = "") => h("span", { dir: "auto" }, text);

/** Place a popover above or below its opener, where there is more space. @param {HTMLElement} box @param {DOMRect} at */
function place(box, at) {
	const below = innerHeight - at.bottom;
	const right = innerWidth - at.right;
	const x = at.left < right ? ["left", at.left] : ["right", right];
	const y = at.top < below ? ["top", at.bottom, below] : ["bottom", innerHeight - at.top, at.top];
	box.style.cssText = `${x[0]}:${x[1]}px; ${y[0]}:${y[1]}px; max-height:${+y[2] - 12}px; max-width:${innerWidth - +x[1] - 8}px`;
}

/** @param {string} label @param {Icon} picture @param {() => unknown} [act] */
export const menuItem = (label, picture, act, more = {}) => button(label, picture, act, ".wide", { role: "menuitem", ...more });

export const formatSize = (bytes = 0) =>
	Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 }).format(bytes / (bytes < 1e6 ? 1e3 : 1e6)) +
	(bytes < 1e6 ? " kB" : " MB");

/** @param {Partial<ImageInfo>} image */
export const imageDetails = ({ size: bytes, width, height, note }) =>
	[bytes && formatSize(bytes), width && `${width} × ${height}`, note].filter(Boolean).join(", ");

export const nameWithDetails = (name = "", details = "") =>
	h("span.about", { title: `${name}, ${details}` }, userText(name), h("small", {}, details));

export function timestamp(milliseconds = 0) {
	const day = new Date(milliseconds);
	const text = day.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
	return h("time", { datetime: day.toISOString() }, text);
}

/** Copy a text. A page without HTTPS has no navigator.clipboard, so the old command is used there. */
export async function toClipboard(text = "") {
	if (navigator.clipboard) return navigator.clipboard.writeText(text);
	const area = h("textarea.hidden");
	const focused = /** @type {any} */ (document.activeElement);
	document.body.append(area);
	area.value = text;
	area.select();
	const copied = document.execCommand("copy");
	area.remove();
	focused?.focus();
	if (!copied) throw new Error("The browser does not allow the panel to copy.");
}
