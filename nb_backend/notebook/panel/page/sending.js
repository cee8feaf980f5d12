/** Sending and queueing what is in the box. */

import { joinTexts } from "./store.js";

/** Send the draft as a prompt, or queue it. If that fails, it returns to the box. @param {Store} store @param {boolean} raw  whether {{ }} is sent as typed */
export async function sendDraft(store, raw = false) {
	const { draft: text, images, queues, place: before } = store;
	clearTimeout(store.draftTimer);
	if (!queues) {
		store.sending = text;
		store.awaited = true; // a fast answer may never be seen streaming
	}
	store.images = [];
	store.notice = null;
	store.place = undefined;
	store.write();
	try {
		const { queued } = await store.request(queues ? "queue" : "send", { text, raw, images: images.map(({ id }) => id), before });
		if (queued) store.awaited = false;
	} catch (error) {
		if (!queues) store.awaited = false;
		store.images = [...images, ...store.images];
		store.write(joinTexts(text, store.draft));
		const { as_typed } = /** @type {any} */ (error);
		const again = as_typed ? { label: "Send as typed", picture: /** @type {const} */ ("send") } : { label: "Retry" };
		const { draft } = store; // what is said about its expressions is true of this text only
		if (store.alive) store.fail(/** @type {Error} */ (error), { ...again, act: () => sendDraft(store, raw || as_typed) }, () => !as_typed || store.draft === draft);
	}
	if (!queues) store.sending = null;
	store.changed();
}

/** Take a prompt out of the queue, and put it into the box if it is to be edited; it then goes back to its place. @param {Store} store */
export async function unqueue(store, prompt = "", edit = false) {
	const { prompts } = store.queue;
	const after = prompts[prompts.findIndex(({ id }) => id === prompt) + 1]?.id;
	const reply = await store.attempt("unqueue", { prompt, edit });
	if (!reply || !edit) return;
	store.place = after;
	store.typed(joinTexts(reply.text, store.draft));
}
