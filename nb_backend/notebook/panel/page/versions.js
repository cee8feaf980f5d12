/** What an item was before: its other versions, and the turns that were taken back. */

import { button, h, relabel } from "./dom.js";
import { skipByTab } from "./rove.js";

/** "2 of 3" between two buttons, or nothing. @param {Store} store @param {Item} item */
export function versionButtons(store, { id, version }) {
	if (!version) return [];
	const [number, count] = version;
	const step = (label = "", /** @type {"back" | "next"} */ picture, by = 0) => {
		const choose = () => {
			store.refocus = { at: store.order.indexOf(id), label };
			return store.attempt("version", { item: id, number: number + by });
		};
		return button(label, picture, choose, "", { disabled: number + by < 1 || number + by > count });
	};
	const place = h("span", {}, `${number} of ${count}`);
	return [h("span.versions", { role: "group", label: "Versions" }, step("Previous version", "back", -1), place, step("Next version", "next", 1))];
}

/** After another version was chosen: focus the same button of the item that stands in the place of the old one. @param {Store} store @param {Element | undefined} node */
export function refocusVersions(store, node) {
	const buttons = [...(node?.querySelectorAll(".nbb-versions button") ?? [])];
	const [same, other] = buttons.sort((one) => (one.getAttribute("title") === store.refocus?.label ? -1 : 1));
	if (!same) return;
	/** @type {HTMLButtonElement} */ (same.matches(":disabled") ? other : same).focus();
	store.refocus = null;
}

/** The line above turns that were taken back. It opens them, and puts them back. @param {Store} store */
export function removalView(store, id = "") {
	const fold = () => store.items.get(id)?.fold ?? "";
	const toggle = button("", "chevron", () => {
		if (!store.unfolded.delete(fold())) store.unfolded.add(fold());
		store.changed();
	}, ".wide.fold");
	const back = button("Put back", "undo", () => store.attempt("undo", { removal: fold() }), ".wide");
	const node = h("article.item.removal", { label: "Taken back" }, toggle, back);

	skipByTab(node);

	/** @param {Item} item */
	const show = ({ who }) => {
		if (toggle.title !== who) relabel(toggle, who);
		toggle.setAttribute("aria-expanded", String(store.unfolded.has(fold())));
	};
	const nothing = () => {};
	return { node, show, tick: nothing, finish: nothing, blocks: null };
}

/** Offer to undo a removal that is new, in a note that stays until the next one. @param {Store} store @param {Removal | null} before */
export function offerUndo(store, before) {
	const { removal } = store;
	if (!removal || removal.id === before?.id) return;
	const act = () => store.attempt("undo", { removal: removal.id });
	store.notify(`${removal.text}.`, "info", { label: "Undo", picture: "undo", act }, () => store.removal?.id === removal.id);
}
