/** A Copy button on the code blocks of answers in cells: JupyterLab and Notebook 7 offer none in a Markdown output. */

import { h, on, toClipboard } from "./dom.js";
import { indexOf } from "./notebook.js";

const OWNER = "nbbCopies"; // marks a notebook that has the button, so that two panels do not add two

/** The button is not in the output, which stays as it is: it lies over the block under the pointer. @param {Store} store @param {HTMLElement} home */
export function cellCode(store, home) {
	/** @type {HTMLElement | null} */ let root = null;
	/** @type {Element | null} */ let block = null;
	const copy = h("button.back.copies", { type: "button", click: () => void press() }, "Copy");

	const press = async () => {
		const copied = await toClipboard((block?.textContent ?? "").replace(/\n$/, "")).then(() => true, store.fail);
		if (copied) copy.textContent = "Copied";
	};
	/** Whether a cell shows an answer: its outputs say so in their metadata. @param {Element} inside */
	const isAnswer = (inside) => {
		const index = indexOf(inside);
		const { outputs } = (index >= 0 && store.model.widget_manager?.context?.model?.cells?.get(index)) || {};
		return Array.from({ length: outputs?.length ?? 0 }, (_, k) => outputs.get(k).metadata.nb_backend).some(Boolean);
	};
	const over = (/** @type {PointerEvent} */ { target }) => {
		const now = /** @type {Element} */ (target).closest(".jp-RenderedMarkdown pre");
		if (now === block) return;
		block = now && isAnswer(now) ? now : null;
		if (!block) return copy.remove();
		const { top, right } = block.getBoundingClientRect();
		copy.textContent = "Copy";
		copy.style.cssText = `top:${Math.max(top + 2, 0)}px; right:${innerWidth - right + 2}px`;
		document.body.append(copy);
	};
	const hide = () => {
		block = null;
		copy.remove();
	};
	on(copy, "pointerleave", ({ relatedTarget }) => block?.contains(/** @type {Node | null} */ (relatedTarget)) || hide());

	/** Offer the button, unless another panel does. */
	const show = () => {
		const notebook = /** @type {HTMLElement | null} */ (home.closest(".jp-Notebook"));
		if (root || !notebook || notebook.dataset[OWNER]) return;
		root = notebook;
		root.dataset[OWNER] = "1";
		on(root, "pointerover", over);
		document.addEventListener("scroll", hide, true);
	};
	const close = () => {
		hide();
		document.removeEventListener("scroll", hide, true);
		root?.removeEventListener("pointerover", over);
		delete root?.dataset[OWNER];
	};
	return { show, close };
}
