/** Formulas as the cells show them: by the front end's MathJax, where it has one. Elsewhere the kernel's MathML stays. */

import { h } from "./dom.js";

const MAX_FORMULA_BATCH = 50; // formulas that are typeset in one task
const MAX_FORMULA_CHARS = 2000; // as in the kernel: a longer one is not converted
const MAX_FORMULAS_KEPT = 1000;
const REFUSED = /\\[A-Za-z]/; // MathJax shows a macro that it does not know as it was written

/** What the typesetter made of a formula; null if it refused it. @type {Map<string, Element | null>} */
const formulasKept = new Map();

/** A formula with delimiters that every typesetter knows. @param {Element} node */
function delimited(node) {
	const source = node.getAttribute("alttext") ?? node.textContent?.replace(/^\$+|\$+$/g, "") ?? "";
	const display = node.getAttribute("display") === "block" || node.textContent?.startsWith("$$");
	return display ? `$$${source}$$` : `\\(${source}\\)`;
}

/**
 * Replace the formulas in `inside` by those that the typesetter has made already. If some are new, `again` is called
 * when they are made: before the next frame, unless MathJax itself has to be loaded.
 * @param {ParentNode} inside @param {Element} near an element of the panel, whose font the formulas get
 * @param {Store} store @param {() => void} again
 */
export function showFormulas(inside, near, store, again) {
	const typesetter = store.model.widget_manager?.rendermime?.latexTypesetter;
	if (!typesetter) return;
	/** @type {Set<string>} */ const wanted = new Set();
	for (const node of inside.querySelectorAll("math[alttext], code.nbb-latex")) {
		const source = delimited(node);
		const known = formulasKept.get(source);
		if (known) node.replaceWith(known.cloneNode(true));
		else if (known === undefined && source.length < MAX_FORMULA_CHARS) wanted.add(source);
	}
	if (wanted.size) void typeset(typesetter, [...wanted].slice(0, MAX_FORMULA_BATCH), near).then(again);
}

/** @param {{typeset: (node: HTMLElement) => unknown}} typesetter @param {string[]} sources @param {Element} near */
async function typeset(typesetter, sources, near) {
	const host = h("div.measure", { "aria-hidden": "true" }, ...sources.map((source) => h("span", {}, source)));
	await null; // by then, `near` is in the page
	(near.closest(".nbb-transcript") ?? document.body).append(host);
	try {
		await typesetter.typeset(host);
	} catch {
		// the kernel's MathML stays
	}
	host.remove();
	if (formulasKept.size > MAX_FORMULAS_KEPT) formulasKept.clear();
	sources.forEach((source, k) => {
		const [shown, ...others] = host.children[k].childNodes;
		const made = shown instanceof Element && !others.length && !REFUSED.test(shown.textContent ?? "") && !shown.querySelector("mjx-merror, .katex-error, a");
		formulasKept.set(source, made ? shown : null);
	});
	if (sources.length === MAX_FORMULA_BATCH) await new Promise((done) => setTimeout(done)); // the page paints in between
}
