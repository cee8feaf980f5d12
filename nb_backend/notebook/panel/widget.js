/**
 * The page's side of ChatPanel: it shows the blocks of safe HTML that the kernel renders, and sends requests.
 * All views of a model share one Store. A view is a panel with a head, a transcript and a composer.
 *
 * Protocol: a request is {id, client, type, ...} and gets one Reply. A broadcast goes to every page and has a number, `seq`.
 *
 * @typedef {{name: string, type: string, size: number, width: number, height: number, note?: string}} ImageInfo
 * @typedef {ImageInfo & {id: string, thumbnail: string}} Attached  an image of the draft
 * @typedef {ImageInfo & {key: string}} Picture  an image of an item; the request `picture` returns its bytes
 * @typedef {ImageInfo & {key: string, cell: string, thumbnail: string}} Figure  an image that a cell shows
 * @typedef {{id: string, role: string, content: string[], reasoning: string[], images: Picture[],
 *   status: "waiting" | "streaming" | "done" | "stopped" | "incomplete" | "failed", who: string, progress: string, error: string,
 *   time: number | null, can: string[], source: string}} Item  content and reasoning are blocks of HTML
 * @typedef {{model: string, system: string, temperature: number | null, max_tokens: number | null,
 *   enter_sends: boolean, vision: boolean | null, server: string}} Settings
 * @typedef {{name: string, provider: string, label: string, vision: boolean | null}} Model
 * @typedef {{type: "state", client: string, chat: string, chats: string[], order: string[], settings: Settings,
 *   draft: string, images: Attached[], limits: {image: number, piece: number}, subshells: boolean,
 *   finished: boolean, panel: string, transcript: number | null}} State  answers the request `hello`; the items follow
 * @typedef {{type: "items", order: string[], items: Item[]}} Items  new items, or whole replacements
 * @typedef {{type: "text", item: string, part: "content" | "reasoning", from: number, keep: number,
 *   blocks: string[]}} TextChange  block `from` keeps `keep` UTF-16 units and gets blocks[0]; the other blocks replace the rest
 * @typedef {{type: "meta", item: string, meta: Partial<Item>}} MetaChange
 * @typedef {{type: "settings", chat: string, chats: string[], settings: Settings, images?: Attached[],
 *   draft?: string}} SettingsChange
 * @typedef {{type: "transcript", panel: string, version: number, finished: boolean}} TranscriptVersion  the one that the notebook must hold
 * @typedef {{seq: number} & (State | Items | TextChange | MetaChange | SettingsChange | TranscriptVersion)} Broadcast
 * @typedef {{type: "reply", client: string, id: string, ok: boolean, error?: string, [more: string]: any}} Reply
 * @typedef {{type: "piece", client: string, id: string, piece: number, pieces: number}} Piece  a chunk of the bytes that a request asked for
 *
 * @typedef {{get: (name: string) => any, on: Listen, off: Listen, widget_manager?: any,
 *   send: (content: object, callbacks?: object, buffers?: ArrayBuffer[]) => void}} AnyModel  anywidget's model
 * @typedef {(name: string, listener: (...values: any[]) => void) => void} Listen
 */

const KERNEL_GONE = "The kernel was restarted. Run this cell again to continue; the messages stay here.";
const KERNEL_BUSY = "The kernel is running a cell and answers the panel when the cell ends (ipykernel 7.3 or newer answers at once).";
/** What the file dialog offers: browsers do not count all of these among the images. */
const IMAGE_FILES = "image/*,.heic,.heif,.avif,.tif,.tiff,.jp2,.jxl,.psd,.tga,.qoi,.ppm,.pgm,.pbm";
const SLOW_REQUESTS = /models|figures|export|picture|attach/;
const ICONS = {
	send: "M12 19V5M6 11l6-6 6 6",
	stop: "M8 8h8v8H8z",
	attach: "M20 11l-8 8a5 5 0 0 1-7-7l8-8a3.5 3.5 0 0 1 5 5l-8 8",
	settings: "M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5v5M8 14.5v5",
	plus: "M12 5v14M5 12h14",
	more: "M5 12h.01M12 12h.01M19 12h.01",
	copy: "M9 9h11v11H9zM5 15H4V4h11v1",
	retry: "M4 12a8 8 0 1 0 2.6-5.9M4 4v4.5h4.5",
	edit: "M4 20h4L19.5 8.5l-4-4L4 16z",
	delete: "M4 7h16M6.5 7l1 13h9l1-13M9 7V4h6v3",
	chevron: "M7 10l5 5 5-5",
	close: "M7 7l10 10M17 7L7 17",
	check: "M5 12.5l4.5 4.5L19 7.5",
};

// --- DOM elements

/**
 * Create an element: h("p.note", {title}, "text") is <p class="nbb-note" title>text</p>. Functions become listeners, `label` becomes aria-label.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K | `${K}.${string}`} tag @param {Record<string, any>} [attributes] @param {...(Node | string)} children
 */
function h(tag, attributes = {}, ...children) {
	const [name, ...kinds] = tag.split(".");
	const node = /** @type {HTMLElementTagNameMap[K]} */ (document.createElement(name));
	for (const kind of kinds) node.classList.add(`nbb-${kind}`);
	for (const [key, value] of Object.entries(attributes)) {
		if (typeof value === "function") on(node, /** @type {any} */ (key), /** @type {any} */ (value));
		else if (value !== false && value != null) node.setAttribute(key === "label" ? "aria-label" : key, value === true ? "" : value);
	}
	node.append(...children);
	return node;
}

/**
 * @template {keyof HTMLElementEventMap} N
 * @param {HTMLElement} node @param {N} name @param {(event: HTMLElementEventMap[N]) => void} listener
 */
const on = (node, name, listener) => node.addEventListener(name, listener);

/** @typedef {keyof typeof ICONS} Icon @param {Icon} name */
function icon(name) {
	const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
	for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: "nbb-icon", "aria-hidden": "true" }))
		svg.setAttribute(key, value);
	path.setAttribute("d", ICONS[name]);
	svg.append(path);
	return svg;
}

/**
 * A button that shows only its icon, or with the kind `.wide` also its label. The label is its accessible name in both cases.
 * @param {string} label @param {Icon} picture @param {(() => unknown) | null} [press]
 */
function button(label, picture, press, kinds = "", attributes = {}) {
	const click = press && (() => void press());
	return h(`button.button${kinds}`, { type: "button", title: label, click, ...attributes }, icon(picture), h("span.words", {}, label));
}

/** @param {Element} node */
function relabel(node, label = "") {
	const words = node.querySelector(".nbb-words");
	if (words && words.textContent !== label) words.textContent = label;
	node.setAttribute("title", label);
}

/** Make a button ask for confirmation: the first press shows the question, the second calls `act`. @param {HTMLButtonElement} node @param {() => unknown} act */
function confirmed(node, question = "", act) {
	const label = node.title;
	const reset = () => (relabel(node, label), node.classList.remove("nbb-asks"));
	on(node, "blur", reset);
	on(node, "click", (event) => {
		const asks = node.classList.toggle("nbb-asks");
		if (asks) relabel(node, question), event.stopPropagation();
		else reset(), act();
	});
	return node;
}

/** The elements in a box that can have the focus. @param {Element} box */
const focusable = (box) => /** @type {HTMLElement[]} */ ([...box.querySelectorAll("input, textarea, button")]);

/**
 * A popover that a button opens. Escape, a press elsewhere, and in a menu any press close it; arrow keys move the focus.
 * @param {HTMLButtonElement} opener @param {"menu" | "dialog"} role @param {string} label @param {() => void} fill
 */
function popup(opener, role, label, fill) {
	const box = h("div.popup", { role, label: label, popover: "auto" });
	const closeOnScroll = (/** @type {Event} */ { target }) => {
		if (target instanceof Node && !box.closest(".nbb-panel")?.contains(target)) box.hidePopover();
	};
	opener.popoverTargetElement = box;
	opener.setAttribute("aria-haspopup", role);
	on(box, "beforetoggle", ({ newState }) => {
		const opens = newState === "open";
		if (opens) fill(), place(box, opener.getBoundingClientRect());
		document[`${opens ? "add" : "remove"}EventListener`]("scroll", closeOnScroll, true);
	});
	on(box, "toggle", ({ newState }) => {
		if (newState === "open" && !box.contains(document.activeElement)) focusable(box)[0]?.focus();
	});
	on(box, "click", ({ target }) => role === "menu" && target !== box && box.hidePopover());
	on(box, "keydown", (event) => {
		const all = focusable(box);
		const at = all.findIndex((stop) => stop === document.activeElement);
		const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
		if (!step || all[at]?.matches("textarea, [type=number]")) return;
		event.preventDefault();
		all.at((at + step) % all.length)?.focus();
	});
	return box;
}

/** Text of the user or the model, in its own writing direction. */
const userText = (text = "") => h("span", { dir: "auto" }, text);

/** Place a popover above or below its opener, where there is more space. @param {HTMLElement} box @param {DOMRect} at */
function place(box, at) {
	const below = innerHeight - at.bottom;
	const right = innerWidth - at.right;
	const x = at.left < right ? ["left", at.left] : ["right", right];
	const y = at.top < below ? ["top", at.bottom, below] : ["bottom", innerHeight - at.top, at.top];
	box.style.cssText = `${x[0]}:${x[1]}px; ${y[0]}:${y[1]}px; max-height:${+y[2] - 12}px; max-width:${innerWidth - +x[1] - 8}px`;
}

/** @param {string} label @param {Icon} picture @param {() => unknown} [act] */
const menuItem = (label, picture, act, more = {}) => button(label, picture, act, ".wide", { role: "menuitem", ...more });

const formatSize = (bytes = 0) =>
	Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 }).format(bytes / (bytes < 1e6 ? 1e3 : 1e6)) +
	(bytes < 1e6 ? " kB" : " MB");

/** @param {Partial<ImageInfo>} image */
const imageDetails = ({ size: bytes, width, height, note }) =>
	[bytes && formatSize(bytes), width && `${width} × ${height}`, note].filter(Boolean).join(", ");

const nameWithDetails = (name = "", details = "") =>
	h("span.about", { title: `${name}, ${details}` }, userText(name), h("small", {}, details));

function timestamp(milliseconds = 0) {
	const day = new Date(milliseconds);
	const text = day.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
	return h("time", { datetime: day.toISOString() }, text);
}

/** Copy a text. A page without HTTPS has no navigator.clipboard, so the old command is used there. */
async function toClipboard(text = "") {
	if (navigator.clipboard) return navigator.clipboard.writeText(text);
	const area = h("textarea.hidden");
	const focused = /** @type {any} */ (document.activeElement);
	document.body.append(area);
	area.value = text;
	area.select();
	const copied = document.execCommand("copy");
	area.remove();
	focused?.focus();
	if (!copied) throw new Error("The browser does not allow the panel to copy.");
}

// --- the state: one store for each model

/**
 * @typedef {{draft: string, start: number, end: number, left: number}} SavedDraft  with the selection; `left`: when the box lost the focus
 * @typedef {{name: string, size: number, url: string, sent: number, stopped: boolean}} Upload
 * @typedef {{node: HTMLElement, changed: () => void}} View
 * @typedef {{type: string, resolve: (reply: Reply) => void, reject: (error: Error) => void, received: boolean,
 *   late: boolean, parts: BlobPart[]}} PendingRequest
 */

/** The drafts by chat. They outlive a re-run of the cell, which creates a new model and a new instance of this module. */
const savedDrafts = () => /** @type {Map<string, SavedDraft>} */ (
	/** @type {any} */ (globalThis)[Symbol.for("nb_backend.panels")] ??= new Map());

/** Update the saved draft of a chat. */
const saveDraft = (key = "", /** @type {Partial<SavedDraft>} */ changes = {}) =>
	key && savedDrafts().set(key, { draft: "", start: 0, end: 0, left: 0, ...savedDrafts().get(key), ...changes });

/** All that the views of one panel show, in step with the kernel. */
class Store {
	/** @type {Map<string, Item>} */ items = new Map();
	/** @type {string[]} */ order = [];
	/** @type {Settings} */
	settings = { model: "", system: "", temperature: null, max_tokens: null, enter_sends: true, vision: null, server: "" };
	chat = "";
	/** @type {string[]} */ chats = [];
	/** @type {Attached[]} */ images = [];
	/** @type {Upload[]} */ uploads = [];
	limits = { image: Infinity, piece: 1 << 20 };
	draft = "";
	ready = false;
	alive = true;
	hasPictures = false;
	subshells = true;
	/** @type {{text: string, tone: string, again?: () => void} | null} */ notice = null;
	/** @type {string | null} the prompt that is being sent */ sending = null;
	awaited = false; // whether the end of an answer is still to be read out
	/** @type {Set<string>} addresses of remote images that the user loaded */ remote = new Set();
	/** @type {Map<string, string>} object URLs by key, "" while the picture is loading */ pictures = new Map();
	/** @type {Set<View>} */ views = new Set();
	/** @type {Map<string, string>} the Markdown of items */ #texts = new Map();
	/** @type {string[]} */ #previews = [];
	/** @type {Map<string, PendingRequest>} */ #pending = new Map();
	#client = Math.random().toString(36).slice(2);
	#count = 0;
	#seq = 0;
	#saysHello = false;
	#draftTimer = 0;

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
		[...this.pictures.values(), ...this.#previews].forEach(URL.revokeObjectURL);
	}

	/** The key of the saved draft, with the notebook's path: another notebook may have a chat of this name. */
	get draftKey() {
		return this.chat && `${this.model.widget_manager?.context?.path}:${this.chat}`;
	}

	/** The last item, which may be growing. */
	get last() {
		return this.items.get(this.order.at(-1) ?? "");
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

	changed() {
		for (const view of this.views) view.changed();
	}

	/** Show a note above the box. @param {() => void} [again] what its Retry button does */
	notify(text = "", tone = "info", again) {
		this.notice = text ? { text, tone, again } : null;
		this.changed();
	}

	/** @param {Error} error @param {() => void} [again] */
	fail = ({ message }, again) => {
		if (message !== KERNEL_GONE) this.notify(message, "error", again); // the composer shows that one itself
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
		this.request("hello").catch(this.fail).finally(() => (this.#saysHello = false));
	};

	#end = () => {
		this.alive = false;
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
		else request.reject(new Error(message.error));
		this.changed();
	}

	/** @param {State} state */
	#setState(state) {
		const { order, limits, subshells, finished, panel, transcript } = state;
		Object.assign(this, { order, limits, subshells, ready: true, alive: true });
		this.#setSettings(state);
		if (transcript !== null) void this.#saveTranscript({ panel, version: transcript, finished });
	}

	/** Write the transcript into the notebook: in a reloaded page the kernel's own updates do not reach the outputs. */
	async #saveTranscript({ panel = "", version = 0, finished = false }) {
		/** @type {any[]} */
		const old = [];
		for (const { outputs } of this.model.widget_manager?.context?.model?.cells ?? [])
			for (let k = 0; k < outputs?.length; k++) {
				const mark = outputs.get(k).metadata.nb_backend;
				const isPanel = mark?.output === "panel";
				if (mark?.panel === panel && mark.version < version && finished >= isPanel) old.push([outputs, k, mark, finished === isPanel]);
			}
		const text = old.length && (await new Blob((await this.request("transcript")).parts).text());
		for (const [outputs, k, mark, hasText] of old) {
			const data = text && hasText ? { "text/markdown": text, "text/plain": text } : {};
			outputs.set(k, { ...outputs.get(k).toJSON(), data, metadata: { nb_backend: { ...mark, version } } });
		}
	}

	/** @param {State | SettingsChange} message */
	#setSettings({ chat, chats, settings, images = this.images, draft }) {
		const before = this.chat;
		Object.assign(this, { chat, chats, settings, images });
		if (chat !== before) this.write((!before && this.draft) || savedDrafts().get(this.draftKey)?.draft || draft); // typed before the kernel had answered, saved in this browser, or stored in the kernel
		else if (draft !== undefined && !this.draft) this.write(draft);
	}

	/** Apply a broadcast; the result is false if something that it changes is missing. @param {Broadcast} message */
	#apply(message) {
		if (message.type === "items") this.#replace(message);
		if (message.type === "settings") this.#setSettings(message);
		if (message.type === "text") return this.#extend(message);
		if (message.type === "transcript") void this.#saveTranscript(message);
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
		clearTimeout(this.#draftTimer);
		this.#draftTimer = setTimeout(() => this.request("draft", { text: this.draft }).catch(() => undefined), 300);
	}

	/** Send the draft as a prompt. If that fails, it returns to the box. */
	async send() {
		const { draft: text, images } = this;
		clearTimeout(this.#draftTimer);
		this.sending = text;
		this.awaited = true; // a fast answer may never be seen streaming
		this.images = [];
		this.notice = null;
		this.write();
		await this.request("send", { text, images: images.map((image) => image.id) }).catch((error) => {
			this.awaited = false;
			this.images = [...images, ...this.images];
			this.write([text, this.draft].filter(Boolean).join("\n\n"));
			if (this.alive) this.fail(error, () => this.send());
		});
		this.sending = null;
		this.changed();
	}

	/** The Markdown of an item, requested once. */
	async text(id = "") {
		const text = this.#texts.get(id) ?? /** @type {string} */ ((await this.request("text", { item: id })).text);
		this.#texts.set(id, text);
		return text;
	}

	/** Attach files; a note lists those that cannot be attached. The kernel looks into those whose type the browser does not know (HEIC). @param {Iterable<File>} files */
	addFiles(files) {
		const wrong = [];
		const most = this.limits.image;
		for (const file of files) {
			if (file.type && !file.type.startsWith("image/")) wrong.push(`${file.name} is not an image.`);
			else if (!file.size) wrong.push(`${file.name} is empty.`);
			else if (file.size > most) wrong.push(`${file.name} is too large: ${formatSize(file.size)}, and the limit is ${formatSize(most)}.`);
			else void this.#upload(file);
		}
		this.notify(wrong.join(" "), "error");
	}

	/** @param {File} file */
	async #upload(file) {
		const url = URL.createObjectURL(file);
		const upload = { name: file.name, size: file.size, url, sent: 0, stopped: false };
		this.#previews.push(url);
		this.uploads = [...this.uploads, upload];
		try {
			const image = await this.#sendChunks(file, upload);
			if (upload.stopped) void this.attempt("remove", { image: image?.id });
			else this.attached({ ...image, thumbnail: image.type === file.type ? url : image.thumbnail }); // no browser shows a TIFF
		} catch (error) {
			if (!upload.stopped) this.notify(`${file.name}: ${/** @type {Error} */ (error).message}`, "error", () => this.addFiles([file]));
		}
		this.cancelUpload(upload);
	}

	/** Send a file in chunks, at most four at a time. @param {File} file @param {Upload} upload */
	async #sendChunks(file, upload) {
		const { piece: step } = this.limits;
		const pieces = Math.ceil(file.size / step);
		const fields = { upload: `${this.#client}-${++this.#count}`, name: file.name, size: file.size, pieces };
		/** @type {Set<Promise<void>>} */
		const open = new Set();
		/** @type {any} */
		let image;
		for (let piece = 0; piece < pieces && !upload.stopped; piece++) {
			const data = await file.slice(piece * step, (piece + 1) * step).arrayBuffer();
			if (open.size >= 4) await Promise.race(open);
			const sent = this.request("upload", { ...fields, piece }, [data]).then((reply) => {
				open.delete(sent);
				image = reply.image ?? image;
				upload.sent += data.byteLength;
			});
			sent.catch(() => undefined); // its error is reported by the await below
			open.add(sent);
		}
		await Promise.all(open);
		return image;
	}

	/** @param {Attached} image */
	attached(image) {
		this.images = [...this.images.filter((other) => other.id !== image.id), image];
		this.changed();
	}

	/** @param {Upload} upload */
	cancelUpload(upload) {
		upload.stopped = true;
		this.uploads = this.uploads.filter((other) => other !== upload);
		this.changed();
	}

	removeImage(id = "") {
		this.images = this.images.filter((image) => image.id !== id);
		this.changed();
		void this.attempt("remove", { image: id });
	}

	/** Load a picture of an item and show it; each is requested once. @param {HTMLImageElement} image */
	async loadPicture(image) {
		const { picture: key = "" } = image.dataset;
		if (!this.pictures.has(key)) {
			this.pictures.set(key, "");
			const { parts, media_type: type } = (await this.attempt("picture", { key })) || /** @type {any} */ ({});
			if (parts) this.pictures.set(key, URL.createObjectURL(new Blob(parts, { type })));
			else this.pictures.delete(key), image.classList.add("nbb-lost");
			for (const { node } of this.views)
				for (const other of node.querySelectorAll("img")) if (parts && other.dataset.picture === key) void this.loadPicture(other);
		}
		const url = this.pictures.get(key);
		if (url) image.src = url;
	}
}

// --- blocks of HTML

/** Parse a block and add the buttons and the pictures that are loaded. @param {Store} store */
function parse(html = "", store) {
	const template = h("template");
	template.innerHTML = html; // the kernel has sanitized it
	const nodes = template.content;
	for (const caption of nodes.querySelectorAll(".nbb-code > figcaption")) {
		caption.append(button("Copy", "copy", null, ".wide.copy"));
		if (notebookCells(store)) caption.append(button("To a new cell", "plus", null, ".wide.cell"));
	}
	for (const image of nodes.querySelectorAll("img")) {
		const url = store.pictures.get(image.dataset.picture ?? "");
		if (url) image.src = url;
		store.hasPictures = true;
	}
	for (const link of nodes.querySelectorAll("a")) {
		link.rel = "noopener noreferrer";
		if (store.remote.has(link.dataset.remote ?? "")) link.replaceWith(remoteImage(link));
	}
	return nodes;
}

/** @param {HTMLAnchorElement} link */
const remoteImage = ({ textContent: alt, host: title, dataset: { remote: src } }) =>
	h("img.loaded", { referrerpolicy: "no-referrer", alt, title, src });

/** Make the children of `old` equal to those of `fresh`. Nodes that stay are kept, because a selection refers to them. @param {Node} old @param {Node} fresh */
function patch(old, fresh) {
	const nodes = [...fresh.childNodes];
	let at = old.firstChild;
	for (const node of nodes) {
		const next = at?.nextSibling ?? null;
		if (at?.nodeName !== node.nodeName) old.insertBefore(node, at), at?.remove();
		else if (at instanceof Text) retext(at, node.nodeValue ?? "");
		else if (at instanceof Element) reattribute(at, /** @type {Element} */ (node)), patch(at, node);
		at = next;
	}
	while (old.childNodes.length > nodes.length) old.lastChild?.remove();
}

/** @param {Text} text */
function retext(text, data = "") {
	let same = 0;
	while (same < text.length && text.data[same] === data[same]) same++;
	if (same < text.length) text.deleteData(same, text.length - same);
	if (same < data.length) text.appendData(data.slice(same));
}

/** @param {Element} old @param {Element} fresh */
function reattribute(old, fresh) {
	for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !name.startsWith("data-lm")) old.removeAttribute(name);
	for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
}

/** Shows the blocks of a text. A block that has not changed is not touched. */
class Blocks {
	node = h("div.text");
	/** @type {string[]} */ #shown = [];
	#spoken = [0, 0]; // the block, and the position in it, up to which the text was read out

	/** @param {string[]} blocks @param {Store} store */
	show(blocks, store) {
		blocks.forEach((html, k) => {
			if (this.#shown[k] === html) return;
			const fresh = parse(html, store);
			const block = this.node.children[k] ?? this.node.appendChild(h("div.block"));
			block.setAttribute("dir", fresh.querySelector(":scope > .nbb-code, :scope > .nbb-math") ? "ltr" : "auto");
			patch(block, fresh);
		});
		this.#shown = [...blocks];
		while (this.node.children.length > blocks.length) this.node.lastChild?.remove();
	}

	/** The text since the last call, in whole sentences, or all of it. */
	unspoken(all = false) {
		const texts = [];
		for (let [k, from] = this.#spoken; k < this.#shown.length; k++, from = 0) {
			const block = this.node.children[k];
			const text = block.querySelector(".nbb-code") ? "(code)" : block.textContent ?? "";
			const ended = all || k < this.#shown.length - 1;
			const end = ended ? text.length : /^[^]*[.!?。！？…]\s/.exec(text)?.[0].length ?? 0;
			texts.push(text.slice(from, end));
			this.#spoken = ended ? [k + 1, 0] : [k, Math.max(from, end)];
		}
		return texts.join(" ").trim();
	}
}

/** The notebook's cells, if the front end gives access to them (JupyterLab, Notebook 7). @param {Store} store */
const notebookCells = (store) => store.model.widget_manager?.context?.model?.sharedModel;

/** @param {Store} store @param {Element} inside */
function toNewCell(store, inside, source = "") {
	const at = inside.closest("[data-windowed-list-index]")?.getAttribute("data-windowed-list-index");
	const index = at ? +at + 1 : notebookCells(store).cells.length;
	notebookCells(store).insertCell(index, { cell_type: "code", source, metadata: {} });
	store.notify("The code was copied to a new cell below.");
}

// --- the messages

/** The view of an item: a question, an answer, or another message. @param {Store} store */
function itemView(store, id = "") {
	const blocks = new Blocks();
	const reasoningBlocks = new Blocks();
	const details = h("details.reasoning", {}, h("summary", { click: () => (opened = true) }, "Reasoning"), reasoningBlocks.node);
	const pictures = h("div.pictures");
	const bubble = h("div.bubble", {}, pictures, blocks.node);
	const state = h("div.state");
	const foot = h("footer.foot");
	let opened = false; // by the user, who then decides whether the reasoning is open
	let editing = false;
	/** @type {Item | null} */
	let before = null;
	const node = h("article", {}, details, bubble, state, foot);

	/** @param {Item} item */
	const show = (item) => {
		const { role, status, images, content, reasoning } = item;
		blocks.show(content, store);
		reasoningBlocks.show(reasoning, store);
		bubble.hidden = editing || (!content.length && !images.length);
		details.hidden = !reasoning.length;
		if (!opened) details.open = status === "streaming" && !content.length;
		const same = item === before || withoutText(item) === withoutText(before);
		before = item;
		if (same) return;
		node.className = `nbb-item nbb-${status} nbb-${role === "user" ? "question" : "answer"}`;
		node.setAttribute("aria-label", { user: "Question", assistant: "Answer" }[role] ?? role);
		pictures.hidden = !images.length;
		store.hasPictures ||= images.length > 0;
		pictures.replaceChildren(...images.map(pictureOf));
		showState(item);
		showFoot(item);
	};

	/** @param {Item} item */
	const showState = ({ status, progress, error, can }) => {
		const waiting = progress || "Waiting for the answer";
		const line = { waiting, streaming: progress, done: "", stopped: "Stopped", incomplete: error, failed: error || "The request failed." }[status];
		state.hidden = !line;
		state.replaceChildren(userText(line));
		if (status === "waiting") state.prepend(h("span.pulse"));
		if (status === "failed" && can.includes("retry")) state.append(retry(".wide"));
	};

	/** @param {Item} item */
	const showFoot = ({ time, who, source, can, status }) => {
		const facts = h("span.facts");
		for (const fact of [source && `asked in ${source}`, who]) if (fact) facts.append(userText(fact));
		if (time !== null) facts.append(timestamp(time));
		const text = () => store.text(id);
		const acts = {
			copy: button("Copy", "copy", () => text().then(toClipboard).then(() => store.notify("Copied."), store.fail)),
			retry: status !== "failed" && retry(""),
			edit: button("Edit", "edit", () => edit()),
			delete: confirmed(button("Delete", "delete"), "Really delete?", () => request("delete")),
		};
		const shown = h("span.acts");
		for (const [name, act] of Object.entries(acts)) if (act && can.includes(name)) shown.append(act);
		foot.replaceChildren(facts, shown);
	};

	const retry = (kinds = "") => button("Retry", "retry", () => request("retry"), kinds);

	const request = (type = "", fields = {}) => store.attempt(type, { item: id, ...fields });

	/** Replace the question by a text area. */
	const edit = async () => {
		const text = await store.text(id).catch(store.fail);
		if (text === undefined || editing) return;
		const pictures = h("div.pictures", {}, ...(store.items.get(id)?.images ?? []).map(removable));
		const area = h("textarea", { label: "Edit the question", dir: "auto", rows: 3 });
		area.value = text;
		const close = () => {
			form.remove();
			bubble.hidden = editing = false;
			focusable(foot)[1]?.focus();
		};
		const save = async () => {
			const images = [...pictures.querySelectorAll("img")].map((image) => image.dataset.picture);
			if (await request("edit", { text: area.value, images })) close();
		};
		const acts = [button("Cancel", "close", close, ".wide"), button("Save and ask", "send", save, ".wide.main")];
		const form = h("div.edit", {}, pictures, area, h("div.row", {}, ...acts));
		on(area, "keydown", (event) => {
			if (event.key === "Escape") close();
			if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void save();
		});
		bubble.hidden = editing = true;
		bubble.after(form);
		area.focus();
	};
	return { node, show, blocks };
}

/** An item without its texts, for a comparison. @param {Item | null} item */
const withoutText = (item) => JSON.stringify({ ...item, content: 0, reasoning: 0 });

/** @param {Picture} image */
const pictureOf = (image) =>
	h("img", { "data-picture": image.key, alt: image.name || "attached image", title: `${image.name} ${imageDetails(image)}` });

/** An image of the edited question, with a button that removes it. @param {Picture} image */
function removable(image) {
	const node = h("span.tile", {}, pictureOf(image));
	node.append(button(`Remove ${image.name}`, "close", () => node.remove()));
	return node;
}

/** All items in order. It scrolls with the end, unless the user has scrolled up. @param {Store} store */
function transcript(store) {
	/** @type {Map<string, ReturnType<typeof itemView>>} */ const views = new Map();
	const list = h("div.list");
	const empty = h("div.empty", {}, h("strong"), "Paste, drop or attach images.", h("span"));
	const sendingNode = h("article.item.question.sending", { label: "Question, being sent" }, h("div.bubble.plain", { dir: "auto" }));
	const scroller = h("div.scroller", { tabindex: 0, role: "region", label: "Messages" }, empty, list);
	const jump = button("Jump to the end", "chevron", () => follow(), ".wide.jump", { hidden: true });
	let follows = true;
	let top = 0;
	const sizes = new ResizeObserver(() => settle());
	const visible = new IntersectionObserver((entries) => appeared(entries), { root: scroller, rootMargin: "400px" });
	const node = h("div.transcript", {}, scroller, jump);

	on(scroller, "scroll", () => scrolled());
	on(scroller, "click", (event) => clicked(event));
	sizes.observe(list);
	sizes.observe(scroller);

	const close = () => [sizes, visible].forEach((observer) => observer.disconnect());

	const follow = () => {
		follows = true;
		settle();
	};

	/** Called after layout, when reading sizes is cheap. */
	const settle = () => {
		if (follows) scroller.scrollTop = scroller.scrollHeight;
		jump.hidden = follows;
	};

	const scrolled = () => {
		const { scrollTop, scrollHeight, clientHeight } = scroller;
		const far = scrollHeight - scrollTop - clientHeight > 32;
		if (!far || scrollTop < top) follows = !far;
		top = scrollTop;
		jump.hidden = follows;
	};

	/** Bring all items up to date; an item that has not changed costs one comparison. */
	const show = () => {
		const { order, items, sending, ready, settings } = store;
		let at = list.firstChild;
		for (const id of order) {
			const item = items.get(id);
			if (!item) continue;
			const view = views.get(id) ?? itemView(store, id);
			views.set(id, view);
			view.show(item);
			if (view.node === at) at = at.nextSibling;
			else list.insertBefore(view.node, at);
		}
		for (const [id, view] of views) if (!items.has(id)) view.node.remove(), views.delete(id);
		if (store.hasPictures) for (const image of list.querySelectorAll("img[data-picture]:not([src])")) visible.observe(image);
		if (sending === null) sendingNode.remove();
		else if (!sendingNode.isConnected) list.append(sendingNode);
		/** @type {Element} */ (sendingNode.firstChild).textContent = sending;
		empty.hidden = order.length > 0 || sending !== null;
		empty.firstElementChild?.replaceChildren(ready ? "Ask about your notebook" : "Connecting to the kernel …");
		empty.lastElementChild?.replaceChildren(`${settings.enter_sends ? "Enter sends, Shift+Enter" : "Ctrl+Enter sends, Enter"} starts a new line.`);
	};

	/** @param {IntersectionObserverEntry[]} entries */
	const appeared = (entries) => {
		for (const { isIntersecting, target } of entries) {
			if (isIntersecting) visible.unobserve(target), void store.loadPicture(/** @type {HTMLImageElement} */ (target));
		}
	};

	const unspoken = (all = false) => {
		return views.get(store.last?.id ?? "")?.blocks.unspoken(all);
	};

	/** @param {MouseEvent} event */
	const clicked = (event) => {
		const target = /** @type {Element} */ (event.target);
		const press = target.closest(".nbb-copy, .nbb-cell");
		const link = /** @type {HTMLAnchorElement | null} */ (target.closest(".nbb-remote"));
		if (press) code(press);
		if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
		event.preventDefault();
		const image = remoteImage(link);
		store.remote.add(link.dataset.remote ?? "");
		link.replaceWith(image);
		on(image, "error", () => {
			store.remote.delete(link.dataset.remote ?? "");
			image.replaceWith(link);
			store.notify(`The image could not be loaded from ${link.host}.`, "error");
		});
	};

	/** @param {Element} press */
	const code = (press) => {
		const source = (press.closest(".nbb-code")?.querySelector("code")?.textContent ?? "").replace(/\n$/, "");
		if (press.matches(".nbb-cell")) return toNewCell(store, node, source);
		toClipboard(source).then(() => {
			relabel(press, "Copied");
			setTimeout(() => relabel(press, "Copy"), 2000);
		}, store.fail);
	};
	return { node, show, follow, close, unspoken };
}

// --- the head: which chat, and its menu

/** A menu of the chats, the server, a button for a new chat, and a menu of further actions. @param {Store} store */
function head(store) {
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

// --- the composer: images, box, model, settings

/** The images that will be sent with the next prompt. @param {Store} store */
function attachments(store) {
	const node = h("ul.images", { label: "Attached images" });
	/** @type {(Attached | Upload)[]} */
	let drawn = [];
	const show = () => {
		const { images, uploads } = store;
		const all = [...images, ...uploads];
		node.hidden = !all.length;
		if (all.some((one, k) => one !== drawn[k]) || all.length !== drawn.length)
			node.replaceChildren(
				...images.map((image) => tile(image, image.thumbnail, () => store.removeImage(image.id))),
				...uploads.map((upload) => {
					const item = tile(upload, upload.url, () => store.cancelUpload(upload));
					item.append(h("progress", { label: `Uploading ${upload.name}` }));
					return item;
				}),
			);
		drawn = all;
		node.querySelectorAll("progress").forEach((bar, k) => (bar.value = uploads[k].sent / uploads[k].size));
	};
	return { node, show };
}

/** @param {Partial<ImageInfo>} image @param {() => void} remove */
function tile(image, src = "", remove) {
	const picture = src ? h("img", { src, alt: "" }) : icon("attach");
	return h("li.tile", {}, picture, nameWithDetails(image.name, imageDetails(image)), button(`Remove ${image.name}`, "close", remove));
}

/** The box in which the prompt is written. @param {Store} store @param {() => void} send */
function promptBox(store, send) {
	const area = h("textarea", { rows: 1, dir: "auto", label: "Message", placeholder: "Ask anything" });
	let back = 0; // how many prompts ago the recalled one was sent; 0: none is recalled
	let first = true;

	const saveSelection = (left = Infinity) => saveDraft(store.draftKey, { start: area.selectionStart, end: area.selectionEnd, left });
	const grow = () => {
		if (CSS.supports("field-sizing", "content")) return;
		area.style.height = "auto";
		area.style.height = `${area.scrollHeight}px`;
	};
	const recall = async (step = 0) => {
		const sent = store.order.filter((id) => store.items.get(id)?.role === "user");
		back = Math.min(back + step, sent.length);
		store.write(back ? await store.text(sent[sent.length - back]).catch(() => "") : "");
	};

	on(area, "input", () => {
		back = 0;
		store.typed(area.value);
		grow();
	});
	on(area, "keydown", (event) => {
		if (event.isComposing || event.keyCode === 229) return; // an input method is composing text
		const { key, shiftKey: shift } = event;
		const sends = store.settings.enter_sends ? !shift : shift || event.ctrlKey || event.metaKey;
		const step = key === "ArrowUp" && (back || !area.value) ? 1 : key === "ArrowDown" && back ? -1 : 0;
		if (key === "Escape" && store.streaming) void store.attempt("stop");
		if (key === "Enter" && sends) event.preventDefault(), send(), (area.value = store.draft); // the next key may come before the next frame
		if (step) event.preventDefault(), void recall(step);
	});
	on(area, "paste", (event) => {
		const { files } = event.clipboardData ?? {};
		if (files?.length && !event.clipboardData?.getData("text/plain")) event.preventDefault(), store.addFiles(files);
	});
	for (const name of /** @type {const} */ (["focus", "select", "keyup", "pointerup"])) on(area, name, () => saveSelection());
	on(area, "blur", () => saveSelection(Date.now()));

	/** Show the draft. After a re-run of the cell, also restore the focus and the selection. */
	const show = () => {
		area.readOnly = !store.alive;
		if (area.value !== store.draft) (area.value = store.draft), grow();
		if (!first || !store.ready) return;
		first = false;
		const saved = savedDrafts().get(store.draftKey);
		if (!saved || Date.now() - saved.left > 3000 || document.activeElement?.matches("input, textarea, [contenteditable=true]")) return;
		area.focus({ preventScroll: true });
		area.setSelectionRange(saved.start, saved.end);
	};
	return { node: area, show };
}

/** Choose a model: one from the server's list, or any name that the user types. @param {Store} store */
function modelPicker(store) {
	/** @type {Model[] | null} */
	let models = null;
	let message = "";
	const opener = button("Model", "chevron", null, ".wide.model");
	const label = "Find a model, or type its name";
	const input = h("input", { type: "text", label: label, placeholder: label, spellcheck: "false", input: () => draw() });
	const list = h("div");
	const status = h("p.word", { role: "status" });

	const choose = (/** @type {string} */ model) => {
		dialog.hidePopover();
		return store.attempt("set", { model });
	};
	const choice = (/** @type {Model} */ { name, label, provider, vision }) =>
		h(
			"button.button.choice",
			{ type: "button", "aria-pressed": String(name === store.settings.model), click: () => void choose(name) },
			nameWithDetails(label || name, [vision && "accepts images", provider].filter(Boolean).join(" · ")),
		);
	const draw = () => {
		const typed = input.value.trim();
		const fits = (models ?? []).filter((model) => Object.values(model).join(" ").toLowerCase().includes(typed.toLowerCase()));
		const own = { name: typed, label: typed ? `“${typed}”` : "The server’s default", provider: "", vision: null };
		list.replaceChildren(...[own, ...fits.slice(0, 100)].map(choice));
		status.textContent = message || (fits.length > 100 ? `Type to find ${fits.length - 100} more.` : "");
	};
	const load = async (refresh = false) => {
		message = "Loading the list of models …";
		draw();
		await store.request("models", { refresh }).then(
			(reply) => ((models = reply.models), (message = reply.models.length ? "" : "The server does not list its models: type a name.")),
			(error) => (message = `The list could not be loaded: ${error.message}`),
		);
		draw();
	};
	const dialog = popup(opener, "dialog", "Model", () => {
		input.value = "";
		if (models) draw();
		else void load();
	});
	dialog.append(h("div.row", {}, input, button("Load again", "retry", () => load(true))), status, list);
	on(input, "keydown", (event) => {
		if (event.key === "Enter" && !event.isComposing) event.preventDefault(), void choose(input.value.trim());
	});

	const show = () => relabel(opener, store.settings.model || "Server’s default");
	return { nodes: [opener, dialog], show };
}

/** The settings: system prompt, temperature, maximum tokens, and what Enter does. @param {Store} store */
function settingsDialog(store) {
	const number = { type: "number", placeholder: "not set" };
	const fields = {
		system: h("textarea", { rows: 3, dir: "auto" }),
		temperature: h("input", { ...number, min: 0, max: 2, step: 0.1 }),
		max_tokens: h("input", { ...number, min: 1, step: 1 }),
		enter_sends: h("input", { type: "checkbox" }),
	};
	const opener = button("Settings", "settings");
	const dialog = popup(opener, "dialog", "Settings", () => {
		for (const [name, field] of Object.entries(fields)) field.value = String(store.settings[/** @type {"model"} */ (name)] ?? "");
		fields.enter_sends.checked = store.settings.enter_sends;
	});
	dialog.classList.add("nbb-settings");
	dialog.append(
		h("label", {}, "System prompt", fields.system),
		h("label", {}, "Temperature", fields.temperature),
		h("label", {}, "Maximum tokens", fields.max_tokens),
		h("label.check", {}, fields.enter_sends, "Enter sends"),
	);
	for (const [name, field] of Object.entries(fields))
		on(field, "change", () => {
			const number = field.value === "" ? null : Number(field.value);
			const value = field.type === "checkbox" ? fields.enter_sends.checked : field.type === "number" ? number : field.value;
			if (field.reportValidity()) void store.attempt("set", { [name]: value });
		});
	return [opener, dialog];
}

/** Attach an image: a file, or one that a recent cell shows. @param {Store} store */
function attachMenu(store) {
	const files = h("input", { type: "file", accept: IMAGE_FILES, multiple: true, hidden: true, label: "Image files" });
	on(files, "change", () => {
		store.addFiles([...(files.files ?? [])]);
		files.value = "";
	});
	const attach = async (/** @type {string} */ figure) => {
		const reply = await store.attempt("attach", { figure });
		if (reply) store.attached(reply.image);
	};
	const choice = (/** @type {Figure} */ figure) =>
		h(
			"button.button.figure",
			{ type: "button", role: "menuitem", click: () => void attach(figure.key) },
			figure.thumbnail ? h("img", { src: figure.thumbnail, alt: "" }) : icon("attach"),
			nameWithDetails(figure.name, `${figure.cell}, ${imageDetails(figure)}`),
		);
	const opener = button("Attach an image", "attach");
	const menu = popup(opener, "menu", "Attach an image", () => {
		const message = h("p.word", {}, "Looking for figures …");
		menu.replaceChildren(menuItem("Image files …", "attach", () => files.click()), message);
		store.request("figures").then(
			({ figures }) => {
				message.textContent = figures.length ? "From recent cells" : "No cell has shown an image yet.";
				menu.append(...figures.map(choice));
			},
			(error) => (message.textContent = error.message),
		);
	});
	return [opener, menu, files];
}

/** Notes, the images, the box, and a row of buttons. @param {Store} store @param {() => void} send @param {(text: string) => void} speak */
function composer(store, send, speak) {
	const images = attachments(store);
	const box = promptBox(store, send);
	const model = modelPicker(store);
	const sendOrStop = button("Send", "send", () => (store.streaming ? store.attempt("stop") : send()), ".main.send");
	const row = h("div.row", {}, ...attachMenu(store), ...model.nodes, h("span.gap"), ...settingsDialog(store), sendOrStop);
	const frame = h("div.frame", {}, images.node, box.node, row);
	const notes = h("div.notes");
	let drawn = "";

	const lines = () => {
		const { alive, notice, settings, late } = store;
		const hasImages = store.images.length + store.uploads.length > 0;
		const noVision = `${settings.model || "This model"} does not accept images: choose another model, or remove the images.`;
		return [
			[notice?.text, notice?.tone],
			[!alive && KERNEL_GONE, "error"],
			[alive && late && store.waitReason, "info"],
			[hasImages && settings.vision === false && noVision, "warn"],
		].filter(([text]) => text);
	};
	const showNotes = () => {
		const now = lines();
		if (drawn === JSON.stringify(now)) return;
		drawn = JSON.stringify(now);
		notes.replaceChildren(...now.map(([text, tone]) => h(`p.note.${tone}`, {}, userText(text || ""))));
		const { again } = store.notice ?? {};
		if (again) notes.firstChild?.appendChild(button("Retry", "retry", again, ".wide"));
		if (store.notice) notes.firstChild?.appendChild(button("Dismiss", "close", () => store.notify()));
		speak(now.map(([text]) => text).join(" "));
	};
	const show = () => {
		const { alive, streaming, uploads, empty } = store;
		for (const part of [images, box, model]) part.show();
		for (const press of frame.querySelectorAll("button")) press.disabled = !alive;
		relabel(sendOrStop, streaming ? "Stop" : "Send");
		sendOrStop.classList.toggle("nbb-stop", streaming);
		sendOrStop.querySelector("path")?.setAttribute("d", ICONS[streaming ? "stop" : "send"]);
		const idle = !alive || !store.ready || (!streaming && (empty || uploads.length > 0));
		if (idle && sendOrStop === document.activeElement) focus();
		sendOrStop.disabled = idle;
		showNotes();
	};
	const focus = () => box.node.focus();
	return { node: h("div.composer", {}, notes, frame), show, focus };
}

// --- a view

/** One view of a store. Changes are painted at most once in a frame. @param {Store} store */
function panel(store) {
	const live = h("div.hidden", { "aria-live": "polite" });
	let frame = 0;
	let pausedUntil = 0;
	let spokenAt = 0;
	let before = ""; // the last item when no answer was awaited
	let sendWhenReady = false; // the user sent before the kernel had answered

	/** Send the draft, or show a note why that must wait. */
	const send = () => {
		sendWhenReady = !store.ready;
		if (!store.alive || sendWhenReady) return;
		if (store.streaming) store.notify("The answer is still being written: stop it (Escape), or wait until it ends.");
		else if (store.uploads.length) store.notify("An image is still being uploaded: wait a moment.");
		else if (!store.empty) void store.send(), messages.follow();
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

	/** Paint the view. The messages get at most a fifth of the time, however long the open block is. */
	const paint = (now = 0) => {
		frame = 0;
		if (sendWhenReady && store.ready) send();
		top.show();
		below.show();
		if (now < pausedUntil) return changed();
		const start = performance.now();
		const hadFocus = node.contains(document.activeElement);
		messages.show();
		if (hadFocus && !node.contains(document.activeElement)) below.focus(); // the element with the focus is gone
		const spent = performance.now() - start;
		pausedUntil = spent > 3 ? now + Math.min(250, 5 * spent) : 0;
		speakAnswer(now);
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
		if (type === "drop") store.addFiles(dataTransfer.files);
	};

	const top = head(store);
	const messages = transcript(store);
	const below = composer(store, send, speak);
	const target = h("div.target", {}, "Drop images here");
	const suppressShortcuts = "data-lm-suppress-shortcuts"; // JupyterLab looks for it on the focused element; Notebook 7 captures keys
	const node = h(
		"section.panel",
		{
			label: "Chat",
			"data-jp-suppress-context-menu": true,
			focusin: (/** @type {any} */ { target }) => target.setAttribute(suppressShortcuts, "true"),
			keydown: (/** @type {KeyboardEvent} */ event) => {
				if (event.key === "s" && (event.ctrlKey || event.metaKey)) event.preventDefault(); // the browser would save the page
			},
		},
		...[top.node, messages.node, below.node, target, live],
	);
	for (const name of /** @type {const} */ (["keydown", "keypress", "keyup", "paste", "drop", "dragover", "contextmenu"]))
		on(node, name, (event) => event.stopPropagation());
	for (const name of /** @type {const} */ (["dragenter", "dragover", "dragleave", "drop"])) on(node, name, dragged);

	const close = () => {
		cancelAnimationFrame(frame);
		store.views.delete(self);
		messages.close();
		node.remove();
	};
	const self = { node, changed, close };
	store.join(self);
	changed();
	return self;
}

// --- the functions that anywidget calls

/** @type {Map<unknown, Store>} */
const stores = new Map();

/** initialize and render get different proxies of one model, but the same layout. @param {AnyModel} model */
const identity = (model) => model.get("layout") ?? model;

/** @param {{model: AnyModel}} context */
function initialize({ model }) {
	const store = new Store(model);
	stores.set(identity(model), store);
	return () => {
		stores.delete(identity(model));
		store.close();
	};
}

/** @param {{model: AnyModel, el: HTMLElement}} context */
function render({ model, el }) {
	if (!stores.has(identity(model))) initialize({ model });
	const { node, close } = panel(/** @type {Store} */ (stores.get(identity(model))));
	el.append(node);
	return close;
}

export default { initialize, render };
