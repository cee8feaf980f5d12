/** What all views of one panel show, in step with the kernel. */

import { composes } from "./dom.js";
import { leaveStandIn, reachesNotebook, restoreRecords, saveTranscript } from "./record.js";
import { offerUndo } from "./versions.js";

export const KERNEL_GONE = "The kernel was restarted. Run this cell again to continue; the messages stay here.";
const KERNEL_BUSY = "The kernel is running a cell and answers the panel when the cell ends (ipykernel 7.3 or newer answers at once).";
const NOTICE_TIME = 6000; // milliseconds
const SLOW_REQUESTS = /models|figures|export|picture|attach|restore|record|transcript/;

/**
 * @typedef {{draft: string, start: number, end: number, left: number}} SavedDraft  with the selection; `left`: when the box lost the focus
 * @typedef {{name: string, size: number, url: string, sent: number, stopped: boolean}} Upload
 * @typedef {{node: HTMLElement, changed: () => void}} View
 * @typedef {{label: string, picture?: import("./dom.js").Icon, act: () => unknown}} Action  a button of a note; pressing it dismisses the note
 * @typedef {{text: string, tone: string, acts: Action[], applies: () => boolean}} Notice
 * @typedef {{type: string, resolve: (reply: Reply) => void, reject: (error: Error) => void, received: boolean,
 *   late: boolean, parts: BlobPart[]}} PendingRequest
 */

/** The drafts by chat. They outlive a re-run of the cell, which creates a new model and a new instance of this module. */
export const savedDrafts = () => /** @type {Map<string, SavedDraft>} */ (
	/** @type {any} */ (globalThis)[Symbol.for("nb_backend.panels")] ??= new Map());

/** Update the saved draft of a chat. */
export const saveDraft = (key = "", /** @type {Partial<SavedDraft>} */ changes = {}) =>
	key && savedDrafts().set(key, { draft: "", start: 0, end: 0, left: 0, ...savedDrafts().get(key), ...changes });

/** The texts as one, separated by blank lines. */
export const joinTexts = (/** @type {string[]} */ ...texts) => texts.filter(Boolean).join("\n\n");

/** All that the views of one panel show, in step with the kernel. */
export class Store {
	/** @type {Map<string, Item>} */ items = new Map();
	/** @type {string[]} */ order = [];
	/** @type {Settings} */
	settings = { model: "", system: "", temperature: null, max_tokens: null, effort: null, enter_sends: true, vision: null, server: "" };
	chat = "";
	title = "";
	/** @type {Attached[]} */ images = [];
	/** @type {Queue} */ queue = { prompts: [], waits: "answer" };
	/** @type {string | undefined} the queued prompt before which the edited one in the box goes */ place;
	/** @type {Upload[]} */ uploads = [];
	removals = 0; // of images; then notes about the others no longer apply
	/** @type {Promise<void>} the end of the last upload */ uploading = Promise.resolve();
	limits = { image: Infinity, piece: 1 << 20 };
	draft = "";
	ready = false;
	alive = true;
	hasPictures = false;
	subshells = true;
	/** @type {Notice | null} */ notice = null;
	/** @type {Removal | null} the last one that can be undone */ removal = null;
	/** @type {Set<string>} the removals whose messages are shown */ unfolded = new Set();
	/** @type {{at: number, label: string} | null} the button of versions that gets the focus again */ refocus = null;
	/** @type {string | null} the prompt that is being sent */ sending = null;
	awaited = false; // whether the end of an answer is still to be read out
	/** @type {Set<string>} addresses of remote images that the user loaded */ remote = new Set();
	/** @type {Map<string, string>} object URLs by key, "" while the picture is loading */ pictures = new Map();
	/** @type {Set<View>} */ views = new Set();
	/** @type {Map<string, {text: string, typed?: string}>} the Markdown of items */ #texts = new Map();
	/** @type {string[]} */ previews = []; // object URLs of uploaded files
	/** @type {Map<string, PendingRequest>} */ #pending = new Map();
	#client = Math.random().toString(36).slice(2);
	#count = 0;
	#seq = 0;
	#saysHello = false;
	draftTimer = 0;
	/** @type {Promise<void> | undefined} settled when the notebook was searched for earlier panels */ #restored;
	#noticeTimer = 0;

	/** @param {AnyModel} model */
	constructor(model) {
		this.model = model;
		this.#listen("on");
	}

	/** @param {"on" | "off"} how */
	#listen(how) {
		this.model[how]("msg:custom", this.#receive);
		this.model[how]("comm:close", this.#end);
		this.model[how]("destroy", this.#end);
		this.model[how]("comm_live_update", this.#hello);
	}

	/** The first view says hello. A model alone does not: a reloaded page gets one for every panel that the kernel still holds. @param {View} view */
	join(view) {
		this.views.add(view);
		if (!this.ready) this.#hello();
	}

	close() {
		this.#listen("off");
		[...this.pictures.values(), ...this.previews].forEach(URL.revokeObjectURL);
	}

	/** The key of the saved draft, with the notebook's path: another notebook may have a chat of this name. */
	get draftKey() {
		return this.chat && `${this.model.widget_manager?.context?.path}:${this.chat}`;
	}

	/** The last item, which may be growing; not one that was taken back. */
	get last() {
		return this.items.get(this.order.filter((id) => !this.items.get(id)?.fold).at(-1) ?? "");
	}

	get streaming() {
		return this.sending !== null || /waiting|streaming/.test([...this.items.values()].map((item) => item.status).join());
	}

	/** Whether there is nothing to send. */
	get empty() {
		return !this.draft.trim() && !this.images.length;
	}

	/** Whether a request waits because the kernel has not received it. */
	get late() {
		return [...this.#pending.values()].some((request) => request.late);
	}

	/** Why a request waits. */
	get waitReason() {
		const { connectionStatus = "connected" } = this.model.widget_manager?.kernel ?? {};
		if (connectionStatus !== "connected") return "No connection to the server. Requests are sent when it is back.";
		return this.subshells ? "Waiting for the kernel …" : KERNEL_BUSY;
	}

	/** Whether a key sends the text in which it is pressed: Enter, or Enter with Shift, Ctrl or Cmd if Enter alone starts a new line. @param {KeyboardEvent} event */
	sends(event) {
		const { shiftKey, ctrlKey, metaKey } = event;
		return event.key === "Enter" && !composes(event) && (this.settings.enter_sends ? !shiftKey : shiftKey || ctrlKey || metaKey);
	}

	changed() {
		for (const view of this.views) view.changed();
	}

	/** Show a note above the box until `applies` is false. A note without buttons that is no error leaves after a while. @param {Action | Action[]} acts at most two @param {() => boolean} [applies] */
	notify(text = "", tone = "info", acts = [], applies) {
		const notice = { text, tone, acts: [acts].flat(), applies: applies ?? (() => true) };
		this.notice = text ? notice : null;
		clearTimeout(this.#noticeTimer);
		if (text && tone === "info" && !notice.acts.length && !applies) this.#noticeTimer = setTimeout(() => this.notify(), NOTICE_TIME);
		this.changed();
	}

	/** @param {Error} error @param {Action | Action[]} [acts] @param {() => boolean} [applies] */
	fail = ({ message }, acts, applies) => {
		if (message !== KERNEL_GONE) this.notify(message, "error", acts, applies); // the composer shows that one itself
	};

	/** Send a request. The promise rejects if the reply reports an error, or if the kernel is gone. @param {ArrayBuffer[]} [buffers] */
	request(type = "", fields = {}, buffers) {
		const id = `${this.#client}-${++this.#count}`;
		return new Promise((/** @type {(reply: Reply) => void} */ resolve, reject) => {
			if (!this.alive && type !== "hello") return reject(new Error(KERNEL_GONE));
			this.#pending.set(id, { type, resolve, reject, received: false, late: false, parts: [] });
			const status = (/** @type {any} */ message) => this.#onStatus(id, message.content.execution_state);
			if (!SLOW_REQUESTS.test(type)) setTimeout(() => this.#markLate(id), 1000);
			try {
				this.model.send({ id, client: this.#client, type, ...fields }, { iopub: { status } }, buffers);
			} catch {
				this.#end(); // "Cannot send": the kernel was restarted or is gone
			}
		});
	}

	/** Send a request; an error is shown as a note, and the result is then undefined. */
	attempt(type = "", fields = {}) {
		return this.request(type, fields).catch((error) => this.fail(error));
	}

	/** The kernel reports that it received a request ("busy") and that it handled the message ("idle"). */
	#onStatus(id = "", state = "") {
		const request = this.#pending.get(id);
		if (!request) return;
		request.received = true;
		request.late = false;
		if (state === "idle" && !SLOW_REQUESTS.test(request.type)) setTimeout(() => this.#checkReplied(id), 2000);
		this.changed();
	}

	#markLate(id = "") {
		const request = this.#pending.get(id);
		if (request && !request.received) (request.late = true), this.changed();
	}

	/** A message that was handled but not answered may mean that the kernel no longer has this panel. */
	#checkReplied(id = "") {
		const request = this.#pending.get(id);
		if (request?.type === "hello") this.#end();
		else if (request) this.#hello();
	}

	#hello = () => {
		if (this.#saysHello) return;
		this.#saysHello = true;
		this.request("hello", { notebook: reachesNotebook(this) }).catch(this.fail).finally(() => (this.#saysHello = false));
	};

	#end = () => {
		this.alive = false;
		if (this.queue.prompts.length) this.write(joinTexts(...this.queue.prompts.map(({ text }) => text), this.draft)); // no kernel holds them any more
		this.queue = { prompts: [], waits: "answer" };
		for (const { reject } of this.#pending.values()) reject(new Error(KERNEL_GONE));
		this.#pending.clear();
		this.changed();
	};

	/** @param {Broadcast | Reply | Piece} message @param {BlobPart[]} [buffers] */
	#receive = (message, buffers = []) => {
		if (message.type === "reply" || message.type === "piece") return this.#onReply(message, buffers);
		const isState = message.type === "state" && message.client === this.#client;
		if (!isState && !this.ready) return;
		const missed = !isState && message.seq !== this.#seq + 1;
		this.#seq = message.seq;
		if (isState) this.#setState(message);
		else if (missed || !this.#apply(message)) this.#hello();
		this.changed();
	};

	/** @param {Reply | Piece} message @param {BlobPart[]} buffers */
	#onReply(message, buffers) {
		const request = this.#pending.get(message.id);
		if (!request || message.client !== this.#client) return;
		if (message.type === "piece") return void (request.parts[message.piece] = buffers[0]);
		this.#pending.delete(message.id);
		if (message.ok) request.resolve({ ...message, parts: request.parts });
		else request.reject(Object.assign(new Error(message.error), { as_typed: message.as_typed }));
		this.changed();
	}

	/** @param {State} state */
	#setState(state) {
		const { order, limits, subshells, finished, panel, transcript, record, restore } = state;
		Object.assign(this, { order, limits, subshells, ready: true, alive: true });
		this.#setSettings(state);
		leaveStandIn(this, panel);
		if (restore) this.#restored ??= restoreRecords(this, panel);
		if (transcript !== null) void this.#save({ panel, version: transcript, record, finished });
	}

	/** Write the transcript into the notebook, once what it holds of earlier panels is in the kernel. */
	async #save({ panel = "", version = 0, record = 0, finished = false }) {
		await this.#restored;
		if (this.alive) await saveTranscript(this, { panel, version, record, finished }).catch(() => undefined); // the kernel is gone
	}

	/** @param {State | SettingsChange} message */
	#setSettings({ chat, title, settings, queue = this.queue, removal = this.removal, images = this.images, draft }) {
		const before = this.chat;
		const offered = this.removal;
		Object.assign(this, { chat, title, settings, queue, removal, images });
		offerUndo(this, offered);
		if (chat !== before) this.write((!before && this.draft) || savedDrafts().get(this.draftKey)?.draft || draft); // typed before the kernel had answered, saved in this browser, or stored in the kernel
		else if (draft !== undefined && !this.draft) this.write(draft);
	}

	/** Apply a broadcast; the result is false if something that it changes is missing. @param {Broadcast} message */
	#apply(message) {
		if (message.type === "items") this.#replace(message);
		if (message.type === "settings") this.#setSettings(message);
		if (message.type === "text") return this.#extend(message);
		if (message.type === "transcript") void this.#save(message);
		if (message.type !== "meta") return true;
		const item = this.items.get(message.item);
		return item && this.items.set(message.item, { ...item, ...message.meta });
	}

	/** @param {Items} message */
	#replace({ order, items }) {
		if (items.some((item) => item.role === "user" && !this.items.has(item.id))) this.sending = null;
		for (const item of items) this.items.set(item.id, item), this.#texts.delete(item.id);
		const there = new Set(order);
		for (const id of this.items.keys()) if (!there.has(id)) this.items.delete(id);
		this.order = order;
	}

	/** @param {TextChange} message */
	#extend({ item, part, from, keep, blocks }) {
		const shown = this.items.get(item)?.[part];
		const open = shown?.[from] ?? "";
		if (!shown || from > shown.length || keep > open.length) return false;
		if (keep) blocks[0] = open.slice(0, keep) + (blocks[0] ?? "");
		shown.splice(from, Infinity, ...blocks);
		return true;
	}

	/** Set the text of the box. */
	write(text = "") {
		this.draft = text;
		saveDraft(this.draftKey, { draft: text });
		this.changed();
	}

	/** The user has typed: store the draft in the kernel, for other pages and later panels. */
	typed(text = "") {
		this.write(text);
		if (!text) this.place = undefined;
		clearTimeout(this.draftTimer);
		this.draftTimer = setTimeout(() => this.request("draft", { text: this.draft }).catch(() => undefined), 300);
	}

	/** Whether a prompt is queued instead of being sent: others wait already, or an answer is being written. */
	get queues() {
		const { prompts, waits } = this.queue;
		return this.streaming || (prompts.length > 0 && /answer|cell/.test(waits));
	}

	/** The Markdown of an item, requested once. */
	async text(id = "") {
		return (await this.#textOf(id)).text;
	}

	/** The text of a question as it was typed: with its {{ }}. */
	async typedText(id = "") {
		const { text, typed = text } = await this.#textOf(id);
		return typed;
	}

	async #textOf(id = "") {
		const found = this.#texts.get(id) ?? /** @type {any} */ (await this.request("text", { item: id }));
		this.#texts.set(id, found);
		return found;
	}

	/** @param {Attached} image */
	attached(image) {
		this.images = [...this.images.filter((other) => other.id !== image.id), image];
		this.changed();
	}

	removeImage(id = "") {
		this.images = this.images.filter((image) => image.id !== id);
		this.removals++;
		this.changed();
		void this.attempt("remove", { image: id });
	}

	/** Load a picture or a sound of an item and show it; each is requested once. @param {Shown} image */
	async loadPicture(image) {
		const { picture: key = "" } = image.dataset;
		if (!this.pictures.has(key)) {
			this.pictures.set(key, "");
			const { parts, media_type: type } = (await this.attempt("picture", { key })) || /** @type {any} */ ({});
			if (parts) this.pictures.set(key, URL.createObjectURL(new Blob(parts, { type })));
			else this.pictures.delete(key), image.classList.add("nbb-lost");
			for (const { node } of this.views)
				for (const other of /** @type {NodeListOf<Shown>} */ (node.querySelectorAll("img, audio")))
					if (parts && other.dataset.picture === key) void this.loadPicture(other);
		}
		const url = this.pictures.get(key);
		if (url) image.src = url;
	}
}
