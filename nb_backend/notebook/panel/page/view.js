/** A panel: head, messages and composer of one store. */

import { cellCode } from "./cell_code.js";
import { composer } from "./composer.js";
import { dock } from "./dock.js";
import { questionText } from "./consent.js";
import { composes, h, on } from "./dom.js";
import { head } from "./head.js";
import { transcript } from "./items.js";
import { workplace } from "./notebook.js";
import { foldTranscript } from "./record.js";
import { sendDraft } from "./sending.js";
import { addFiles } from "./uploads.js";

/** One view of a store. Changes are painted at most once in a frame. @param {Store} store @param {HTMLElement} home  the output of the cell */
export function panel(store, home) {
	const live = h("div.hidden", { "aria-live": "polite" });
	let frame = 0;
	/** @type {(() => void) | undefined} */ let unfold; // set once the view is in the page
	let pausedUntil = 0;
	let spokenAt = 0;
	/** @type {Set<string>} the questions that were read out */ const asked = new Set();
	let before = ""; // the last item when no answer was awaited
	let sendWhenReady = false; // the user sent before the kernel had answered

	/** Send the draft, or show a note why that must wait. */
	const send = () => {
		sendWhenReady = !store.ready;
		if (!store.alive || sendWhenReady) return;
		if (store.uploads.length) store.notify("An image is still being uploaded: wait a moment.", "info", [], () => store.uploads.length > 0);
		else if (!store.empty) void sendDraft(store), messages.follow();
	};

	const isFirst = () => [...store.views][0] === self;

	/** Let a screen reader read a text. Only the first view does, so that nothing is read twice. */
	const speak = (text = "") => {
		if (!text || !isFirst()) return;
		live.append(h("p", { dir: "auto" }, text));
		if (live.children.length > 4) live.firstChild?.remove();
	};

	/** Let a screen reader read the answer, by sentences and at most every two seconds. */
	const speakAnswer = (now = 0) => {
		if (!isFirst()) return;
		const { streaming, last } = store;
		store.awaited ||= streaming;
		const ended = store.awaited && !streaming && last?.role === "assistant" && last.id !== before; // the kernel's reply may come before the items
		if (ended) store.awaited = false;
		if (!store.awaited) before = last?.id ?? "";
		if (!ended && (!streaming || now - spokenAt < 2000)) return;
		spokenAt = now;
		speak(messages.unspoken(ended));
		if (ended) speak(last.error || `The answer is ${last.status}.`);
	};

	/** Let a screen reader read a question about a call. */
	const speakQuestion = () => {
		for (const { ask } of store.items.values())
			if (ask && !asked.has(ask.id)) asked.add(ask.id), speak(`${questionText(ask)} The buttons are below the message.`);
	};

	/** Paint the view. The messages get at most a fifth of the time, however long the open block is. */
	const paint = (now = 0) => {
		frame = 0;
		unfold ??= foldTranscript(home);
		if (sendWhenReady && store.ready) send();
		docker.show();
		copier.show();
		top.show();
		below.show();
		if (now < pausedUntil) return changed();
		const start = performance.now();
		const hadFocus = node.contains(document.activeElement);
		messages.show(now);
		if (hadFocus && !node.contains(document.activeElement)) below.focus(); // the element with the focus is gone
		const spent = performance.now() - start;
		pausedUntil = spent > 3 ? now + Math.min(250, 5 * spent) : 0;
		speakAnswer(now);
		speakQuestion();
	};

	const changed = () => {
		frame ||= requestAnimationFrame(paint);
	};

	/** @param {DragEvent} event */
	const dragged = (event) => {
		const { dataTransfer, type, relatedTarget } = event;
		if (!dataTransfer?.types.includes("Files")) return;
		event.preventDefault();
		const over = type !== "drop" && (type !== "dragleave" || node.contains(/** @type {Node | null} */ (relatedTarget)));
		node.classList.toggle("nbb-over", over);
		if (type === "drop") addFiles(store, dataTransfer.files);
	};

	/** Escape closes what is open, stops an answer, or leads back to the cell. @param {KeyboardEvent} event */
	const escape = (event) => {
		if (event.defaultPrevented || node.querySelector(":popover-open")) return;
		event.preventDefault();
		if (store.streaming) void store.attempt("stop");
		else work.enter();
	};

	/** Ctrl+Shift+Space leads from the notebook to the message box, and back. @param {KeyboardEvent} event */
	const shortcut = (event) => {
		if (event.code !== "Space" || !event.ctrlKey || !event.shiftKey || event.altKey || event.metaKey) return;
		const panels = [...document.querySelectorAll(".nbb-panel")].filter((panel) => panel.checkVisibility());
		const rank = (/** @type {any} */ panel) => (panel.contains(document.activeElement) ? Infinity : panel.closest(".nbb-pane") ? 1e15 : +(panel.dataset.used ?? 0));
		if (panels.sort((one, other) => rank(other) - rank(one))[0] !== node) return;
		event.preventDefault();
		event.stopPropagation();
		if (node.contains(document.activeElement)) return work.enter();
		work.leave();
		below.focus();
		node.scrollIntoView({ block: "nearest" });
	};

	const node = h("section.panel", { label: "Chat", "data-jp-suppress-context-menu": true });
	const work = workplace(store, node, home);
	const copier = cellCode(store, home);
	const docker = dock(store, node, home, () => below.focus());
	const top = head(store, () => below.focus(), docker.toggle);
	const messages = transcript(store, work.insert);
	const below = composer(store, send, speak);
	const target = h("div.target", {}, "Drop images here");
	const suppressShortcuts = "data-lm-suppress-shortcuts"; // JupyterLab looks for it on the focused element; Notebook 7 captures keys
	node.append(top.node, messages.node, below.node, target, live);
	on(node, "pointerdown", () => work.leave());
	on(node, "focusin", ({ target }) => {
		/** @type {Element} */ (target).setAttribute(suppressShortcuts, "true");
		node.dataset.used = String(Date.now());
	});
	on(node, "keydown", (event) => {
		if (event.key === "s" && (event.ctrlKey || event.metaKey)) event.preventDefault(); // the browser would save the page
		if (event.key === "Escape" && !composes(event)) escape(event);
	});
	document.addEventListener("keydown", shortcut, true);
	home.append(node);
	for (const name of /** @type {const} */ (["keydown", "keypress", "keyup", "paste", "drop", "dragover", "contextmenu"]))
		on(node, name, (event) => event.stopPropagation());
	for (const name of /** @type {const} */ (["dragenter", "dragover", "dragleave", "drop"])) on(node, name, dragged);

	const close = () => {
		cancelAnimationFrame(frame);
		store.views.delete(self);
		document.removeEventListener("keydown", shortcut, true);
		messages.close();
		docker.close();
		copier.close();
		unfold?.();
		node.remove();
	};
	const self = { node, changed, close };
	store.join(self);
	changed();
	return self;
}
