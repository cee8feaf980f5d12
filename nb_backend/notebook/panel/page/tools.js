/** The switches of the tools that the model may use. */

import { h, nameWithDetails, on } from "./dom.js";

/** A list of switches, one for each tool. @param {Store} store */
export function toolSwitches(store) {
	const list = h("div");
	const status = h("p.word", { role: "status" });
	const node = h("fieldset.tools", {}, h("legend", {}, "Tools"), status, list);

	/** @param {Tool} tool */
	const line = ({ name, about, on: isOn, asks }) => {
		const box = h("input", { type: "checkbox", role: "switch" });
		box.checked = isOn;
		on(box, "change", async () => {
			const reply = await store.attempt("tool", { tool: name, on: box.checked });
			if (!reply) box.checked = !box.checked;
		});
		return h("label.check", {}, box, nameWithDetails(name, [asks && "asks first", about].filter(Boolean).join(" · ")));
	};

	/** Ask the kernel which tools there are. */
	const load = async () => {
		/** @type {{tools?: Tool[], off?: string, error?: string}} */
		const { tools = [], off = "", error = "" } = /** @type {any} */ (await store.request("tools").catch(({ message }) => ({ error: message })));
		node.disabled = Boolean(off);
		status.textContent = error || off || (tools.length ? "" : "There are none: make one of a function with nb_backend.tool.");
		list.replaceChildren(...tools.map(line));
	};
	return { node, load };
}
