/** The head: which chat, and its menu. */

import { chatList } from "./chats.js";
import { button, confirmed, h, menuItem, popup } from "./dom.js";

/** A menu of the chats, the server, a button for a new chat, and a menu of further actions. @param {Store} store @param {() => void} focus @param {HTMLElement} docker  opens the panel beside the notebook */
export function head(store, focus, docker) {
	const chats = chatList(store, focus);
	const server = h("span.server");
	const add = button("New chat", "plus", () => store.attempt("new"));
	const more = button("More", "more");

	const save = async (/** @type {string} */ format) => {
		const reply = await store.attempt("export", { format });
		if (reply) store.notify(`The chat was written to ${reply.path}`);
	};
	const acts = popup(more, "menu", "More", () =>
		acts.replaceChildren(
			menuItem("Export as Markdown", "copy", () => save("md")),
			menuItem("Export as notebook", "copy", () => save("ipynb")),
			confirmed(menuItem("Delete all messages", "delete"), "Really delete all?", () => store.attempt("clear")),
			confirmed(menuItem("Close the panel, keep the transcript", "check"), "Really close?", () => store.attempt("finish")),
		),
	);

	const show = () => {
		chats.show();
		server.textContent = store.settings.server;
		for (const press of [add, more]) press.disabled = !store.alive;
	};
	return { node: h("header.head", {}, ...chats.nodes, server, add, docker, more, acts), show };
}
