/** The head: which chat, and its menu. */

import { button, confirmed, h, menuItem, popup, relabel } from "./dom.js";

/** A menu of the chats, the server, a button for a new chat, and a menu of further actions. @param {Store} store */
export function head(store) {
	const chat = button("Chat", "chevron", null, ".wide.chat");
	const server = h("span.server");
	const add = button("New chat", "plus", () => store.attempt("new"));
	const more = button("More", "more");

	const chats = popup(chat, "menu", "Chats", () => {
		const names = store.chats.map((name) => {
			const state = { role: "menuitemradio", "aria-checked": String(name === store.chat) };
			return menuItem(name, "check", () => store.attempt("switch", { chat: name }), state);
		});
		chats.replaceChildren(...names);
	});

	const save = async (/** @type {string} */ format) => {
		const reply = await store.attempt("export", { format });
		if (reply) store.notify(`The chat was written to ${reply.path}`);
	};
	const acts = popup(more, "menu", "More", () =>
		acts.replaceChildren(
			menuItem("Export as Markdown", "copy", () => save("md")),
			menuItem("Export as notebook", "copy", () => save("ipynb")),
			confirmed(menuItem("Clear the chat", "delete"), "Really clear?", () => store.attempt("clear")),
			confirmed(menuItem("Finish: leave the transcript", "check"), "Really finish?", () => store.attempt("finish")),
		),
	);

	const show = () => {
		relabel(chat, store.chat || "Chat");
		server.textContent = store.settings.server;
		for (const press of [chat, add, more]) press.disabled = !store.alive;
	};
	return { node: h("header.head", {}, chat, chats, server, add, more, acts), show };
}
