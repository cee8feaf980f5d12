/** Buttons that repair a failed turn. */

import { button, composes, h, on } from "./dom.js";

/** @param {Store} store @param {Fix[]} fixes @param {() => unknown} retry */
export const fixButtons = (store, fixes, retry) =>
	fixes.map(({ label, model }) => {
		const press = button(label, model ? "check" : "key", () => (model ? change("set", { model }) : press.replaceWith(keyField(store, change))), ".wide");
		const change = async (/** @type {string} */ type, fields = {}) => {
			const reply = await store.attempt(type, fields);
			if (reply) void retry();
			return reply;
		};
		return press;
	});

/** A field for the key of the chat's server. The key goes to the kernel only, and leaves the page with the request. @param {Store} store @param {(type: string, fields: object) => unknown} change */
function keyField(store, change) {
	const label = `Key for ${store.settings.server}`;
	const field = h("input", { type: "password", label: label, placeholder: label, autocomplete: "off", spellcheck: "false" });
	const save = () => {
		const key = field.value.trim();
		field.value = "";
		if (key) void change("key", { key });
		field.focus();
	};
	on(field, "keydown", (event) => {
		if (event.key === "Enter" && !composes(event)) event.preventDefault(), save();
	});
	requestAnimationFrame(() => field.focus());
	return h("span.row.key", {}, field, button("Save and ask", "send", save, ".wide"));
}
