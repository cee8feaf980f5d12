/** The list of chats: find, switch, rename, delete. */

import { button, composes, focusable, h, nameWithDetails, on, popup, relabel, timestamp } from "./dom.js";

/**
 * A button that shows the title of the chat, and a dialog with all chats. The box finds titles and texts; Enter takes
 * the first. Arrow keys move between the chats (up, down) and to the buttons of a chat (right, left).
 * @param {Store} store @param {() => void} focus
 */
export function chatList(store, focus) {
	const opener = button("Chats", "chevron", null, ".wide.chat");
	const label = "Find in all chats";
	const input = h("input", { type: "search", autofocus: true, label, placeholder: label, spellcheck: "false", input: () => load() });
	const list = h("div");
	const status = h("p.word", { role: "status" });
	/** @type {ChatEntry[]} */ let shown = [];
	let asked = 0;

	const load = async () => {
		const number = ++asked;
		const query = input.value.trim();
		const reply = await store.request("chats", { query }).catch((error) => ({ chats: [], more: 0, error: error.message }));
		if (number !== asked) return; // another text was typed meanwhile
		shown = reply.chats;
		list.replaceChildren(...shown.map(line));
		list.firstElementChild?.classList.toggle("nbb-first", Boolean(query));
		const none = query && !shown.length ? "No chat contains this." : "";
		status.textContent = reply.error || (reply.more ? `Type to find ${reply.more} more.` : none);
		turn(list.querySelector("button"));
	};

	const close = () => {
		dialog.hidePopover();
		focus();
	};
	const choose = (/** @type {ChatEntry | undefined} */ chat) => {
		close();
		if (chat && chat.name !== store.chat) void store.attempt("switch", { chat: chat.name });
	};
	const remove = async (/** @type {ChatEntry} */ { name, title }) => {
		close();
		const act = () => store.attempt("undelete_chat");
		if (await store.attempt("delete_chat", { chat: name })) store.notify(`Deleted the chat “${title}”.`, "info", { label: "Undo", picture: "undo", act });
	};

	/** A chat of the list, with its buttons. @param {ChatEntry} chat */
	const line = (chat) => {
		const { name, title, length, time, found } = chat;
		const about = nameWithDetails(title, [name !== title && name, length].filter(Boolean).join(" · "));
		if (time) about.lastElementChild?.append(" · ", timestamp(time));
		if (found) about.append(h("small.found", { dir: "auto" }, found[0], h("mark", {}, found[1]), found[2]));
		const state = { type: "button", tabindex: -1, "aria-pressed": String(name === store.chat), click: () => choose(chat) };
		const side = [button(`Rename ${title}`, "edit", () => rename(), "", { tabindex: -1 }), button(`Delete ${title}`, "delete", () => remove(chat), "", { tabindex: -1 })];
		const node = h("div.line", {}, h("button.button.choice", state, about), h("span.side", {}, ...side));
		const rename = () => {
			const area = h("input", { type: "text", label: "Title of the chat", maxlength: 100 });
			area.value = title;
			const end = (title = "") => {
				void store.attempt("rename", { chat: name, title }).then(load).then(() => input.focus());
			};
			on(area, "keydown", (event) => {
				if (event.key === "Enter" && !composes(event)) end(area.value);
				if (event.key === "Escape") node.replaceWith(line(chat)), input.focus();
				if (/Enter|Escape/.test(event.key)) event.preventDefault();
				event.stopPropagation();
			});
			node.replaceChildren(area, button("Save the title", "check", () => end(area.value)));
			area.select();
		};
		return node;
	};

	/** Move the focus stop of the list to one of its buttons. @param {HTMLElement | null} stop */
	const turn = (stop) => {
		for (const other of focusable(list)) other.tabIndex = other === stop ? 0 : -1;
		return stop;
	};

	const dialog = popup(opener, "dialog", "Chats", () => {
		input.value = "";
		void load();
	});
	dialog.append(input, status, list);
	on(input, "keydown", (event) => {
		if (event.key === "Enter" && !composes(event)) event.preventDefault(), choose(shown[0]);
	});
	on(list, "keydown", (event) => {
		const stops = focusable(document.activeElement?.closest(".nbb-line") ?? list);
		const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
		if (step) event.preventDefault(), turn(stops.at((stops.findIndex((stop) => stop === document.activeElement) + step) % stops.length) ?? null)?.focus();
	});
	on(list, "focusin", ({ target }) => turn(/** @type {HTMLElement} */ (target)));

	const show = () => {
		relabel(opener, store.title || store.chat || "Chats");
		if (store.title !== store.chat) opener.title = `${store.title} (${store.chat})`;
		opener.disabled = !store.alive;
	};
	return { nodes: [opener, dialog], show };
}
