/** Long questions are folded. */

import { button, relabel } from "./dom.js";

/** Show the first lines of a text, as many as the style sheet allows, until the button is pressed. The result is the button; it is hidden if the text is short. @param {HTMLElement} text */
export function foldButton(text) {
	let open = false;
	const more = button("Show all", "chevron", () => toggle(), ".wide.more", { "aria-expanded": "false", tabindex: -1 });
	const toggle = () => {
		open = !open;
		text.classList.toggle("nbb-open", open);
		more.setAttribute("aria-expanded", String(open));
		relabel(more, open ? "Show less" : "Show all");
		measure();
	};
	/** Called after layout, when reading sizes is cheap. */
	const measure = () => {
		more.hidden = !open && text.scrollHeight <= text.clientHeight + 2;
		text.classList.toggle("nbb-cut", !open && !more.hidden);
	};
	more.hidden = true;
	new ResizeObserver(measure).observe(text);
	return more;
}
