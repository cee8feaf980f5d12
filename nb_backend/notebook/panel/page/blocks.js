/** The kernel's blocks of HTML in the page. */

import { button, h } from "./dom.js";
import { showFormulas } from "./formulas.js";
import { isInsertable } from "./notebook.js";
import { Reveal } from "./reveal.js";
import { skipByTab, watchWide } from "./rove.js";

const NEAR = 40; // blocks at the end, which are in view while a text grows

/** Parse a block and add the buttons and the pictures that are loaded. @param {Store} store */
function parse(html = "", store) {
	const template = h("template");
	template.innerHTML = html; // the kernel has sanitized it
	const nodes = template.content;
	for (const caption of nodes.querySelectorAll(".nbb-code > figcaption")) {
		const insertable = isInsertable(store, caption.textContent ?? "");
		caption.append(button("Copy", "copy", null, ".wide.copy"));
		if (insertable) caption.append(button("Insert code", "plus", null, ".wide.cell"));
	}
	for (const shown of /** @type {NodeListOf<Shown>} */ (nodes.querySelectorAll("img, audio"))) {
		const url = store.pictures.get(shown.dataset.picture ?? "");
		if (url) shown.src = url;
		store.hasPictures = true;
	}
	for (const link of nodes.querySelectorAll("a")) {
		link.rel = "noopener noreferrer";
		if (store.remote.has(link.dataset.remote ?? "")) link.replaceWith(remoteImage(link));
	}
	skipByTab(nodes);
	return nodes;
}

/** @param {HTMLAnchorElement} link */
export const remoteImage = ({ textContent: alt, host: title, dataset: { remote: src } }) =>
	h("img.loaded", { referrerpolicy: "no-referrer", alt, title, src });

/** Make the children of `old` equal to those of `fresh`. Nodes that stay are kept, because a selection refers to them. @param {Node} old @param {Node} fresh */
function patch(old, fresh) {
	const nodes = [...fresh.childNodes];
	let at = old.firstChild;
	for (const node of nodes) {
		const next = at?.nextSibling ?? null;
		if (at?.nodeName !== node.nodeName) old.insertBefore(node, at), at?.remove();
		else if (at instanceof Text) retext(at, node.nodeValue ?? "");
		else if (at instanceof Element) reattribute(at, /** @type {Element} */ (node)), patch(at, node);
		at = next;
	}
	while (old.childNodes.length > nodes.length) old.lastChild?.remove();
}

/** @param {Text} text */
function retext(text, data = "") {
	let same = 0;
	while (same < text.length && text.data[same] === data[same]) same++;
	if (same < text.length) text.deleteData(same, text.length - same);
	if (same < data.length) text.appendData(data.slice(same));
}

/** @param {Element} old @param {Element} fresh */
function reattribute(old, fresh) {
	const isKept = (name = "") => name.startsWith("data-lm") || (name === "open" && old.matches("details")); // the user has opened it
	for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !isKept(name)) old.removeAttribute(name);
	for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
}

/** Shows the blocks of a text. A block that has not changed is not touched. */
export class Blocks {
	node = h("div.text");
	/** @type {string[]} */ #shown = [];
	#spoken = [0, 0]; // the block, and the position in it, up to which the text was read out
	#grew = false;
	#reveal = new Reveal(this.node);

	/**
	 * Show these blocks; return whether they are new. What is new of a text that `grows` appears gradually.
	 * @param {string[]} blocks @param {Store} store @param {number} now  the time of the frame
	 */
	show(blocks, store, grows = false, now = 0) {
		const changed = blocks.findIndex((html, k) => this.#shown[k] !== html);
		const first = changed < 0 && blocks.length < this.#shown.length ? blocks.length : changed;
		if (first < 0 && grows === this.#grew) return false;
		this.#grew = grows;
		this.#reveal.update(first < 0 ? blocks.length : first, grows, now, () => this.#change(blocks, store));
		return first >= 0;
	}

	/** Show all that has arrived at once. */
	finish() {
		this.#reveal.finish();
	}

	/** @param {string[]} blocks @param {Store} store */
	#change(blocks, store) {
		blocks.forEach((html, k) => this.#shown[k] === html || this.#write(k, html, store));
		this.#shown = [...blocks];
		while (this.node.children.length > blocks.length) this.node.lastChild?.remove();
	}

	/** @param {Store} store */
	#write(k = 0, html = "", store) {
		const fresh = parse(html, store);
		const { children } = this.node;
		if (!children[k]) children[k - NEAR]?.classList.add("nbb-far");
		const block = children[k] ?? this.node.appendChild(h("div.block"));
		const again = () => this.#shown[k] === html && this.#reveal.rewrite(k, () => this.#write(k, html, store));
		block.setAttribute("dir", fresh.querySelector(":scope > .nbb-code, :scope > .nbb-math") ? "ltr" : "auto");
		showFormulas(fresh, this.node, store, again);
		patch(block, fresh);
		watchWide(block);
	}

	/** The text since the last call, in whole sentences, or all of it. */
	unspoken(all = false) {
		const texts = [];
		for (let [k, from] = this.#spoken; k < this.#shown.length; k++, from = 0) {
			const block = this.node.children[k];
			const tool = block.querySelector(".nbb-step .nbb-tool");
			const text = tool ? `(tool ${tool.textContent})` : block.querySelector(".nbb-code") ? "(code)" : this.#reveal.textOf(block);
			const ended = all || k < this.#shown.length - 1;
			const end = ended ? text.length : /^[^]*[.!?。！？…]\s/.exec(text)?.[0].length ?? 0;
			texts.push(text.slice(from, end));
			this.#spoken = ended ? [k + 1, 0] : [k, Math.max(from, end)];
		}
		return texts.join(" ").trim();
	}
}
