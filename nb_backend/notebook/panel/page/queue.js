/** The prompts that wait until the answer before them ends. */

import { button, h, userText } from "./dom.js";
import { unqueue } from "./sending.js";

const WAITS = {
	answer: "Sent when the answer ends",
	cell: "Sent when the running cell ends: {{ }} is evaluated between cells",
	stopped: "Not sent, because the answer was stopped",
	failed: "Not sent, because the last answer failed",
	error: "The first one could not be sent",
};

/** The queued prompts in order, each with buttons to edit and to remove it. @param {Store} store @param {() => void} focus */
export function queueList(store, focus) {
	const list = h("ol", { label: "Queued questions" });
	const why = h("span");
	const now = button("Send now", "send", () => (focus(), store.attempt("resume")), ".wide");
	const node = h("div.queue", { hidden: true }, h("div.row", {}, why, now), list);
	let drawn = "";

	const edit = async (id = "") => {
		await unqueue(store, id, true);
		focus();
	};
	const remove = async (id = "") => {
		await unqueue(store, id);
		focus();
	};
	const entry = (/** @type {Queued} */ { id, text, images, error }) => {
		const pictures = images.map(({ name, thumbnail: src }) => (src ? h("img", { src, alt: name }) : userText(name)));
		const words = h("span.prompt", { dir: "auto", title: text }, text);
		const acts = [button("Edit", "edit", () => edit(id)), button("Remove", "close", () => remove(id))];
		return h("li", {}, ...pictures, words, ...acts, ...(error ? [h("small", {}, error)] : []));
	};
	const show = () => {
		const { queue, alive } = store;
		node.hidden = !queue.prompts.length;
		for (const press of node.querySelectorAll("button")) press.disabled = !alive;
		if (drawn === JSON.stringify(queue)) return; // so that its buttons keep the focus
		drawn = JSON.stringify(queue);
		why.textContent = WAITS[queue.waits];
		now.hidden = /answer|cell/.test(queue.waits);
		node.classList.toggle("nbb-held", !now.hidden);
		list.replaceChildren(...queue.prompts.map(entry));
	};
	return { node, show };
}
