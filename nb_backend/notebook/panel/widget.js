/**
 * The page's side of ChatPanel. The kernel renders, this shows: blocks of safe HTML come in, requests go out.
 * One Store per model, shared by its views; a view is a panel of a head, a transcript and a composer.
 *
 * The protocol: a request is {id, client, type, ...} and is answered by a Reply; broadcasts carry `seq`.
 *
 * @typedef {{name: string, type: string, size: number, width: number, height: number, note?: string}} Described
 * @typedef {Described & {id: string, thumbnail: string}} Attached  an image that waits to be sent
 * @typedef {Described & {key: string}} Picture  an image of an item, to be had by the request `picture`
 * @typedef {Described & {key: string, cell: string, thumbnail: string}} Figure  an image that a cell made
 * @typedef {{id: string, role: string, content: string[], reasoning: string[], images: Picture[],
 *   status: "waiting" | "streaming" | "done" | "stopped" | "failed", who: string, progress: string, error: string,
 *   time: number | null, can: string[], source: string}} Item  content and reasoning are blocks of HTML
 * @typedef {{model: string, system: string, temperature: number | null, max_tokens: number | null,
 *   enter_sends: boolean, vision: boolean | null, server: string}} Settings
 * @typedef {{name: string, provider: string, label: string, vision: boolean | null}} Model
 * @typedef {{type: "state", client: string, chat: string, chats: string[], order: string[], settings: Settings,
 *   draft: string, images: Attached[], limits: {image: number, piece: number}, subshells: boolean,
 *   finished: boolean, panel: string, transcript: number | null}} State  the answer to `hello`; the items follow
 * @typedef {{type: "items", order: string[], items: Item[]}} Items  new ones, or replaced whole
 * @typedef {{type: "text", item: string, part: "content" | "reasoning", from: number, keep: number,
 *   blocks: string[]}} Grown  block `from` keeps `keep` units and gets blocks[0]; the others follow, nothing after
 * @typedef {{type: "meta", item: string, meta: Partial<Item>}} Meta
 * @typedef {{type: "settings", chat: string, chats: string[], settings: Settings, images?: Attached[],
 *   draft?: string}} Tuned
 * @typedef {{type: "transcript", panel: string, version: number, finished: boolean}} Written  what the notebook has to hold
 * @typedef {{seq: number} & (State | Items | Grown | Meta | Tuned | Written)} Broadcast
 * @typedef {{type: "reply", client: string, id: string, ok: boolean, error?: string, [more: string]: any}} Reply
 * @typedef {{type: "piece", client: string, id: string, piece: number, pieces: number}} Piece  of a picture
 *
 * @typedef {{get: (name: string) => any, on: Hear, off: Hear, widget_manager?: any,
 *   send: (content: object, callbacks?: object, buffers?: ArrayBuffer[]) => void}} AnyModel  anywidget's
 * @typedef {(name: string, heard: (...values: any[]) => void) => void} Hear
 */

const GONE = "The kernel was restarted: run this cell again to go on. What was said stays here.";
const DEAF = "The kernel is running a cell and cannot hear the panel until that ends (ipykernel 7.3 or newer can).";
const SLOW = /models|figures|export|picture|attach/; // requests that may take a while
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

// --- pieces of DOM

/**
 * h("p.note", {title}, "text") is <p class="nbb-note" title>text</p>; functions become listeners, `label` is aria-label.
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
 * @param {HTMLElement} node @param {N} name @param {(event: HTMLElementEventMap[N]) => void} act
 */
const on = (node, name, act) => node.addEventListener(name, act);

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
 * A button that shows its icon alone, or with `.wide` among its kinds its label too; the label names it either way.
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

/** The first press turns a button into the question, the second does it. @param {HTMLButtonElement} node @param {() => unknown} act */
function asking(node, question = "", act) {
	const label = node.title;
	const calm = () => (relabel(node, label), node.classList.remove("nbb-asks"));
	on(node, "blur", calm);
	on(node, "click", (event) => {
		const asked = node.classList.toggle("nbb-asks");
		if (asked) relabel(node, question), event.stopPropagation();
		else calm(), act();
	});
	return node;
}

/** What can take the focus. @param {Element} box */
const stops = (box) => /** @type {HTMLElement[]} */ ([...box.querySelectorAll("input, textarea, button")]);

/**
 * A box in the top layer that a button opens; the browser closes it on Escape and on a press elsewhere.
 * Arrow keys walk through it. A press in a menu closes it.
 * @param {HTMLButtonElement} opener @param {"menu" | "dialog"} role @param {string} label @param {() => void} fill
 */
function popup(opener, role, label, fill) {
	const box = h("div.popup", { role, label: label, popover: "auto" });
	const away = (/** @type {Event} */ { target }) => {
		if (target instanceof Node && !box.closest(".nbb-panel")?.contains(target)) box.hidePopover();
	};
	opener.popoverTargetElement = box;
	opener.setAttribute("aria-haspopup", role);
	on(box, "beforetoggle", ({ newState }) => {
		const opens = newState === "open";
		if (opens) fill(), place(box, opener.getBoundingClientRect());
		document[`${opens ? "add" : "remove"}EventListener`]("scroll", away, true);
	});
	on(box, "toggle", ({ newState }) => {
		if (newState === "open" && !box.contains(document.activeElement)) stops(box)[0]?.focus();
	});
	on(box, "click", ({ target }) => role === "menu" && target !== box && box.hidePopover());
	on(box, "keydown", (event) => {
		const all = stops(box);
		const at = all.findIndex((stop) => stop === document.activeElement);
		const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
		if (!step || all[at]?.matches("textarea, [type=number]")) return;
		event.preventDefault();
		all.at((at + step) % all.length)?.focus();
	});
	return box;
}

/** Text of people or of the model, in its own direction. */
const said = (text = "") => h("span", { dir: "auto" }, text);

/** @param {HTMLElement} box @param {DOMRect} at */
function place(box, at) {
	const below = innerHeight - at.bottom;
	const right = innerWidth - at.right;
	const x = at.left < right ? ["left", at.left] : ["right", right];
	const y = at.top < below ? ["top", at.bottom, below] : ["bottom", innerHeight - at.top, at.top];
	box.style.cssText = `${x[0]}:${x[1]}px; ${y[0]}:${y[1]}px; max-height:${+y[2] - 12}px; max-width:${innerWidth - +x[1] - 8}px`;
}

/** @param {string} label @param {Icon} picture @param {() => unknown} [act] */
const entry = (label, picture, act, more = {}) => button(label, picture, act, ".wide", { role: "menuitem", ...more });

const size = (bytes = 0) =>
	Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 }).format(bytes / (bytes < 1e6 ? 1e3 : 1e6)) +
	(bytes < 1e6 ? " kB" : " MB");

/** @param {Partial<Described>} image */
const facts = ({ size: bytes, width, height, note }) =>
	[bytes && size(bytes), width && `${width} × ${height}`, note].filter(Boolean).join(", ");

const about = (name = "", small = "") =>
	h("span.about", { title: `${name}, ${small}` }, said(name), h("small", {}, small));

function clock(at = 0) {
	const day = new Date(at);
	const text = day.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
	return h("time", { datetime: day.toISOString() }, text);
}

/** Also where the page is not served securely, and so has no clipboard of the better kind. */
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
	if (!copied) throw new Error("The browser does not let the panel copy.");
}

// --- what is known: one store per model

/**
 * @typedef {{draft: string, start: number, end: number, left: number}} Kept  `left`: when the focus was lost
 * @typedef {{name: string, size: number, url: string, sent: number, stopped: boolean}} Upload
 * @typedef {{node: HTMLElement, changed: () => void}} View
 * @typedef {{type: string, resolve: (reply: Reply) => void, reject: (error: Error) => void, heard: boolean,
 *   late: boolean, parts: BlobPart[]}} Asked
 */

/** The boxes by chat: survives a re-run of the cell, which brings a new model and a new instance of this module. */
const memory = () => /** @type {Map<string, Kept>} */ (
	/** @type {any} */ (globalThis)[Symbol.for("nb_backend.panels")] ??= new Map());

/** Takes what is missing from what there was. */
const keep = (place = "", /** @type {Partial<Kept>} */ now = {}) =>
	place && memory().set(place, { draft: "", start: 0, end: 0, left: 0, ...memory().get(place), ...now });

/** All that the views of one panel show, kept in step with the kernel. */
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
	pictured = false;
	subshells = true;
	/** @type {{text: string, tone: string, again?: () => void} | null} */ notice = null;
	/** @type {string | null} what is on its way */ sending = null;
	/** @type {Set<string>} addresses a reader asked for */ remote = new Set();
	/** @type {Map<string, string>} */ pictures = new Map();
	/** @type {Set<View>} */ views = new Set();
	/** @type {Map<string, string>} */ #texts = new Map();
	/** @type {string[]} */ #previews = [];
	/** @type {Map<string, Asked>} */ #asked = new Map();
	#client = Math.random().toString(36).slice(2);
	#count = 0;
	#seq = 0;
	#greets = false;
	#drafting = 0;

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

	/** The first view says hello: a page that is loaded again gets a model for every panel that the kernel still holds. @param {View} view */
	join(view) {
		this.views.add(view);
		if (!this.ready) this.#hello();
	}

	close() {
		this.#listen("off");
		[...this.pictures.values(), ...this.#previews].forEach(URL.revokeObjectURL);
	}

	/** Where its draft is kept: another notebook may have a chat of this name. */
	get place() {
		return this.chat && `${this.model.widget_manager?.context?.path}:${this.chat}`;
	}

	/** The last item, which grows. */
	get last() {
		return this.items.get(this.order.at(-1) ?? "");
	}

	get streaming() {
		return this.sending !== null || /waiting|streaming/.test([...this.items.values()].map((item) => item.status).join());
	}

	/** Nothing to send. */
	get empty() {
		return !this.draft.trim() && !this.images.length;
	}

	/** Whether a request waits for a kernel that does not take it up. */
	get late() {
		return [...this.#asked.values()].some((asked) => asked.late);
	}

	/** What it waits for. */
	get reason() {
		const { connectionStatus = "connected" } = this.model.widget_manager?.kernel ?? {};
		if (connectionStatus !== "connected") return "No connection to the server: what was sent waits for it.";
		return this.subshells ? "Waiting for the kernel …" : DEAF;
	}

	changed() {
		for (const view of this.views) view.changed();
	}

	/** @param {() => void} [again] what Retry does */
	say(text = "", tone = "info", again) {
		this.notice = text ? { text, tone, again } : null;
		this.changed();
	}

	/** @param {Error} error @param {() => void} [again] */
	fail = ({ message }, again) => {
		if (message !== GONE) this.say(message, "error", again); // that stands there already
	};

	/** Ends always: by the reply, or by an error when the reply says so or the kernel is gone. @param {ArrayBuffer[]} [buffers] */
	request(type = "", fields = {}, buffers) {
		const id = `${this.#client}-${++this.#count}`;
		return new Promise((/** @type {(reply: Reply) => void} */ resolve, reject) => {
			if (!this.alive && type !== "hello") return reject(new Error(GONE));
			this.#asked.set(id, { type, resolve, reject, heard: false, late: false, parts: [] });
			const status = (/** @type {any} */ message) => this.#heard(id, message.content.execution_state);
			if (!SLOW.test(type)) setTimeout(() => this.#late(id), 1000);
			try {
				this.model.send({ id, client: this.#client, type, ...fields }, { iopub: { status } }, buffers);
			} catch {
				this.#end(); // "Cannot send": the kernel is another one, or none
			}
		});
	}

	/** Ask; what goes wrong is shown in words, and gives undefined. */
	attempt(type = "", fields = {}) {
		return this.request(type, fields).catch((error) => this.fail(error));
	}

	/** The kernel tells when it takes a message up, and when it is done with it. */
	#heard(id = "", state = "") {
		const asked = this.#asked.get(id);
		if (!asked) return;
		asked.heard = true;
		asked.late = false;
		if (state === "idle" && !SLOW.test(asked.type)) setTimeout(() => this.#doubt(id), 2000);
		this.changed();
	}

	#late(id = "") {
		const asked = this.#asked.get(id);
		if (asked && !asked.heard) (asked.late = true), this.changed();
	}

	/** The kernel is done with it and has not replied: perhaps nobody is there any more for this panel. */
	#doubt(id = "") {
		const asked = this.#asked.get(id);
		if (asked?.type === "hello") this.#end();
		else if (asked) this.#hello();
	}

	#hello = () => {
		if (this.#greets) return;
		this.#greets = true;
		this.request("hello").catch(this.fail).finally(() => (this.#greets = false));
	};

	#end = () => {
		this.alive = false;
		for (const { reject } of this.#asked.values()) reject(new Error(GONE));
		this.#asked.clear();
		this.changed();
	};

	/** @param {Broadcast | Reply | Piece} message @param {BlobPart[]} [buffers] */
	#receive = (message, buffers = []) => {
		if (message.type === "reply" || message.type === "piece") return this.#answered(message, buffers);
		const whole = message.type === "state" && message.client === this.#client;
		if (!whole && !this.ready) return;
		const missed = !whole && message.seq !== this.#seq + 1;
		this.#seq = message.seq;
		if (whole) this.#whole(message);
		else if (missed || !this.#apply(message)) this.#hello();
		this.changed();
	};

	/** @param {Reply | Piece} message @param {BlobPart[]} buffers */
	#answered(message, buffers) {
		const asked = this.#asked.get(message.id);
		if (!asked || message.client !== this.#client) return;
		if (message.type === "piece") return void (asked.parts[message.piece] = buffers[0]);
		this.#asked.delete(message.id);
		if (message.ok) asked.resolve({ ...message, parts: asked.parts });
		else asked.reject(new Error(message.error));
		this.changed();
	}

	/** @param {State} state */
	#whole(state) {
		const { order, limits, subshells, finished, panel, transcript } = state;
		Object.assign(this, { order, limits, subshells, ready: true, alive: true });
		this.#tune(state);
		if (transcript !== null) void this.#keep({ panel, version: transcript, finished });
	}

	/** In a page that was loaded again the kernel's updates reach no output: what is older there is written from here. */
	async #keep({ panel = "", version = 0, finished = false }) {
		/** @type {any[]} */
		const old = [];
		for (const { outputs } of this.model.widget_manager?.context?.model?.cells ?? [])
			for (let k = 0; k < outputs?.length; k++) {
				const mark = outputs.get(k).metadata.nb_backend;
				const place = mark?.output === "panel";
				if (mark?.panel === panel && mark.version < version && finished >= place) old.push([outputs, k, mark, finished === place]);
			}
		const text = old.length && (await new Blob((await this.request("transcript")).parts).text());
		for (const [outputs, k, mark, filled] of old) {
			const data = text && filled ? { "text/markdown": text, "text/plain": text } : {};
			outputs.set(k, { ...outputs.get(k).toJSON(), data, metadata: { nb_backend: { ...mark, version } } });
		}
	}

	/** @param {State | Tuned} message */
	#tune({ chat, chats, settings, images = this.images, draft }) {
		const before = this.chat;
		Object.assign(this, { chat, chats, settings, images });
		if (chat !== before) this.write((!before && this.draft) || memory().get(this.place)?.draft || draft); // typed before it was ready
		else if (draft !== undefined && !this.draft) this.write(draft);
	}

	/** Give false when something is missing for it. @param {Broadcast} message */
	#apply(message) {
		if (message.type === "items") this.#replace(message);
		if (message.type === "settings") this.#tune(message);
		if (message.type === "text") return this.#extend(message);
		if (message.type === "transcript") void this.#keep(message);
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

	/** @param {Grown} message */
	#extend({ item, part, from, keep, blocks }) {
		const shown = this.items.get(item)?.[part];
		const open = shown?.[from] ?? "";
		if (!shown || from > shown.length || keep > open.length) return false;
		if (keep) blocks[0] = open.slice(0, keep) + (blocks[0] ?? "");
		shown.splice(from, Infinity, ...blocks);
		return true;
	}

	/** Set what stands in the box. */
	write(text = "") {
		this.draft = text;
		keep(this.place, { draft: text });
		this.changed();
	}

	/** What a person types; the kernel keeps it for the next page. */
	typed(text = "") {
		this.write(text);
		clearTimeout(this.#drafting);
		this.#drafting = setTimeout(() => this.request("draft", { text: this.draft }).catch(() => undefined), 300);
	}

	/** Send what stands in the box; it comes back there when that fails. */
	async send() {
		const { draft: text, images } = this;
		clearTimeout(this.#drafting);
		this.sending = text;
		this.images = [];
		this.notice = null;
		this.write();
		await this.request("send", { text, images: images.map((image) => image.id) }).catch((error) => {
			this.images = [...images, ...this.images];
			this.write([text, this.draft].filter(Boolean).join("\n\n"));
			if (this.alive) this.fail(error, () => this.send());
		});
		this.sending = null;
		this.changed();
	}

	/** The Markdown of an item, asked for once. */
	async text(id = "") {
		const text = this.#texts.get(id) ?? /** @type {string} */ ((await this.request("text", { item: id })).text);
		this.#texts.set(id, text);
		return text;
	}

	/** Take files in, and say at once which ones cannot go along. @param {Iterable<File>} files */
	take(files) {
		const wrong = [];
		const most = this.limits.image;
		for (const file of files) {
			if (!file.type.startsWith("image/")) wrong.push(`${file.name} is not an image.`);
			else if (!file.size) wrong.push(`${file.name} is empty.`);
			else if (file.size > most) wrong.push(`${file.name} is too large: ${size(file.size)}, at most ${size(most)} can go along.`);
			else void this.#upload(file);
		}
		this.say(wrong.join(" "), "error");
	}

	/** @param {File} file */
	async #upload(file) {
		const url = URL.createObjectURL(file);
		const upload = { name: file.name, size: file.size, url, sent: 0, stopped: false };
		this.#previews.push(url);
		this.uploads = [...this.uploads, upload];
		try {
			const image = await this.#pieces(file, upload);
			if (upload.stopped) void this.attempt("remove", { image: image?.id });
			else this.attached({ ...image, thumbnail: url });
		} catch (error) {
			if (!upload.stopped) this.say(`${file.name}: ${/** @type {Error} */ (error).message}`, "error", () => this.take([file]));
		}
		this.drop(upload);
	}

	/** At most four pieces are under way. @param {File} file @param {Upload} upload */
	async #pieces(file, upload) {
		const { piece: step } = this.limits;
		const pieces = Math.ceil(file.size / step);
		const about = { upload: `${this.#client}-${++this.#count}`, name: file.name, size: file.size, pieces };
		/** @type {Set<Promise<void>>} */
		const open = new Set();
		/** @type {any} */
		let image;
		for (let piece = 0; piece < pieces && !upload.stopped; piece++) {
			const data = await file.slice(piece * step, (piece + 1) * step).arrayBuffer();
			if (open.size >= 4) await Promise.race(open);
			const sent = this.request("upload", { ...about, piece }, [data]).then((reply) => {
				open.delete(sent);
				image = reply.image ?? image;
				upload.sent += data.byteLength;
			});
			sent.catch(() => undefined); // it is awaited below
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
	drop(upload) {
		upload.stopped = true;
		this.uploads = this.uploads.filter((other) => other !== upload);
		this.changed();
	}

	detach(id = "") {
		this.images = this.images.filter((image) => image.id !== id);
		this.changed();
		void this.attempt("remove", { image: id });
	}

	/** Show a picture of the conversation; each is asked for once. @param {HTMLImageElement} image */
	async picture(image) {
		const { picture: key = "" } = image.dataset;
		if (!this.pictures.has(key)) {
			this.pictures.set(key, "");
			const { parts, media_type: type } = (await this.attempt("picture", { key })) || /** @type {any} */ ({});
			if (parts) this.pictures.set(key, URL.createObjectURL(new Blob(parts, { type })));
			else this.pictures.delete(key), image.classList.add("nbb-lost");
			for (const { node } of this.views)
				for (const other of node.querySelectorAll("img")) if (parts && other.dataset.picture === key) void this.picture(other);
		}
		const url = this.pictures.get(key);
		if (url) image.src = url;
	}
}

// --- blocks of HTML

/** The nodes of a block as they are shown: with buttons, and with the pictures that are there. @param {Store} store */
function parse(html = "", store) {
	const template = h("template");
	template.innerHTML = html; // made safe by the kernel
	const nodes = template.content;
	for (const caption of nodes.querySelectorAll(".nbb-code > figcaption")) {
		caption.append(button("Copy", "copy", null, ".wide.copy"));
		if (cells(store)) caption.append(button("To a new cell", "plus", null, ".wide.cell"));
	}
	for (const image of nodes.querySelectorAll("img")) {
		const url = store.pictures.get(image.dataset.picture ?? "");
		if (url) image.src = url;
		store.pictured = true;
	}
	for (const link of nodes.querySelectorAll("a")) {
		link.rel = "noopener noreferrer";
		if (store.remote.has(link.dataset.remote ?? "")) link.replaceWith(remote(link));
	}
	return nodes;
}

/** @param {HTMLAnchorElement} link */
const remote = ({ textContent: alt, host: title, dataset: { remote: src } }) =>
	h("img.loaded", { referrerpolicy: "no-referrer", alt, title, src });

/** Make `old` hold what `fresh` holds, keeping every node that stays: selections live in nodes. @param {Node} old @param {Node} fresh */
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

/** The blocks of a text; one that has not changed is not touched. */
class Blocks {
	node = h("div.text");
	/** @type {string[]} */ #shown = [];
	#said = [0, 0]; // up to which block, and how far into it, it was read out

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

	/** What is new since the last call, in whole sentences; or all of it. */
	news(all = false) {
		const texts = [];
		for (let [k, from] = this.#said; k < this.#shown.length; k++, from = 0) {
			const block = this.node.children[k];
			const text = block.querySelector(".nbb-code") ? "(code)" : block.textContent ?? "";
			const ended = all || k < this.#shown.length - 1;
			const end = ended ? text.length : /^[^]*[.!?。！？…]\s/.exec(text)?.[0].length ?? 0;
			texts.push(text.slice(from, end));
			this.#said = ended ? [k + 1, 0] : [k, Math.max(from, end)];
		}
		return texts.join(" ").trim();
	}
}

/** The notebook's cells where the front end gives them away (JupyterLab, Notebook 7). @param {Store} store */
const cells = (store) => store.model.widget_manager?.context?.model?.sharedModel;

/** @param {Store} store @param {Element} inside */
function toNewCell(store, inside, source = "") {
	const at = inside.closest("[data-windowed-list-index]")?.getAttribute("data-windowed-list-index");
	const index = at ? +at + 1 : cells(store).cells.length;
	cells(store).insertCell(index, { cell_type: "code", source, metadata: {} });
	store.say("It is in a new cell below.");
}

// --- the conversation

/** A question, an answer, or whatever else was said. @param {Store} store */
function entryOf(store, id = "") {
	const blocks = new Blocks();
	const thoughts = new Blocks();
	const folded = h("details.reasoning", {}, h("summary", { click: () => (touched = true) }, "Reasoning"), thoughts.node);
	const pictures = h("div.pictures");
	const bubble = h("div.bubble", {}, pictures, blocks.node);
	const state = h("div.state");
	const foot = h("footer.foot");
	let touched = false;
	let editing = false;
	/** @type {Item | null} */
	let before = null;
	const node = h("article", {}, folded, bubble, state, foot);

	/** @param {Item} item */
	const show = (item) => {
		const { role, status, images, content, reasoning } = item;
		blocks.show(content, store);
		thoughts.show(reasoning, store);
		bubble.hidden = editing || (!content.length && !images.length);
		folded.hidden = !reasoning.length;
		if (!touched) folded.open = status === "streaming" && !content.length;
		const same = item === before || facets(item) === facets(before);
		before = item;
		if (same) return;
		node.className = `nbb-item nbb-${status} nbb-${role === "user" ? "question" : "answer"}`;
		node.setAttribute("aria-label", { user: "Question", assistant: "Answer" }[role] ?? role);
		pictures.hidden = !images.length;
		store.pictured ||= images.length > 0;
		pictures.replaceChildren(...images.map(attachment));
		showState(item);
		showFoot(item);
	};

	/** @param {Item} item */
	const showState = ({ status, progress, error, can }) => {
		const waits = progress || "Waiting for the answer";
		const line = { waiting: waits, streaming: progress, done: "", stopped: "Stopped", failed: error || "That failed." }[status];
		state.hidden = !line;
		state.replaceChildren(said(line));
		if (status === "waiting") state.prepend(h("span.pulse"));
		if (status === "failed" && can.includes("retry")) state.append(retry(".wide"));
	};

	/** @param {Item} item */
	const showFoot = ({ time, who, source, can, status }) => {
		const facts = h("span.facts");
		for (const fact of [source && `asked in ${source}`, who]) if (fact) facts.append(said(fact));
		if (time !== null) facts.append(clock(time));
		const text = () => store.text(id);
		const acts = {
			copy: button("Copy", "copy", () => text().then(toClipboard).then(() => store.say("Copied."), store.fail)),
			retry: status !== "failed" && retry(""),
			edit: button("Edit", "edit", () => edit()),
			delete: asking(button("Delete", "delete"), "Really delete?", () => ask("delete")),
		};
		const shown = h("span.acts");
		for (const [name, act] of Object.entries(acts)) if (act && can.includes(name)) shown.append(act);
		foot.replaceChildren(facts, shown);
	};

	const retry = (kinds = "") => button("Retry", "retry", () => ask("retry"), kinds);

	const ask = (type = "", fields = {}) => store.attempt(type, { item: id, ...fields });

	/** The question becomes a text area in its place. */
	const edit = async () => {
		const text = await store.text(id).catch(store.fail);
		if (text === undefined || editing) return;
		const kept = h("div.pictures", {}, ...(store.items.get(id)?.images ?? []).map(keeping));
		const area = h("textarea", { label: "Edit the question", dir: "auto", rows: 3 });
		area.value = text;
		const close = () => {
			form.remove();
			bubble.hidden = editing = false;
			stops(foot)[1]?.focus();
		};
		const save = async () => {
			const images = [...kept.querySelectorAll("img")].map((image) => image.dataset.picture);
			if (await ask("edit", { text: area.value, images })) close();
		};
		const acts = [button("Cancel", "close", close, ".wide"), button("Save and ask", "send", save, ".wide.main")];
		const form = h("div.edit", {}, kept, area, h("div.row", {}, ...acts));
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

/** What of an item is not text. @param {Item | null} item */
const facets = (item) => JSON.stringify({ ...item, content: 0, reasoning: 0 });

/** @param {Picture} image */
const attachment = (image) =>
	h("img", { "data-picture": image.key, alt: image.name || "attached image", title: `${image.name} ${facts(image)}` });

/** An image of a question that is edited, which can be taken off. @param {Picture} image */
function keeping(image) {
	const node = h("span.tile", {}, attachment(image));
	node.append(button(`Remove ${image.name}`, "close", () => node.remove()));
	return node;
}

/** All items in their order; follows the end unless the reader has scrolled up. @param {Store} store */
function transcript(store) {
	/** @type {Map<string, ReturnType<typeof entryOf>>} */ const entries = new Map();
	const list = h("div.list");
	const empty = h("div.empty", {}, h("strong"), "Paste, drop or attach images.", h("span"));
	const ghost = h("article.item.question.sending", { label: "Question, being sent" }, h("div.bubble.plain", { dir: "auto" }));
	const scroller = h("div.scroller", { tabindex: 0, role: "region", label: "Conversation" }, empty, list);
	const jump = button("Jump to the end", "chevron", () => follow(), ".wide.jump", { hidden: true });
	let follows = true;
	let top = 0;
	const sizes = new ResizeObserver(() => settle());
	const seen = new IntersectionObserver((entries) => appeared(entries), { root: scroller, rootMargin: "400px" });
	const node = h("div.transcript", {}, scroller, jump);

	on(scroller, "scroll", () => scrolled());
	on(scroller, "click", (event) => clicked(event));
	sizes.observe(list);
	sizes.observe(scroller);

	const close = () => [sizes, seen].forEach((observer) => observer.disconnect());

	const follow = () => {
		follows = true;
		settle();
	};

	/** Called after layout, so that reading sizes costs nothing. */
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

	/** Bring all items up to date; those that have not changed cost a comparison. */
	const show = () => {
		const { order, items, sending, ready, settings } = store;
		let at = list.firstChild;
		for (const id of order) {
			const item = items.get(id);
			if (!item) continue;
			const entry = entries.get(id) ?? entryOf(store, id);
			entries.set(id, entry);
			entry.show(item);
			if (entry.node === at) at = at.nextSibling;
			else list.insertBefore(entry.node, at);
		}
		for (const [id, entry] of entries) if (!items.has(id)) entry.node.remove(), entries.delete(id);
		if (store.pictured) for (const image of list.querySelectorAll("img[data-picture]:not([src])")) seen.observe(image);
		if (sending === null) ghost.remove();
		else if (!ghost.isConnected) list.append(ghost);
		/** @type {Element} */ (ghost.firstChild).textContent = sending;
		empty.hidden = order.length > 0 || sending !== null;
		empty.firstElementChild?.replaceChildren(ready ? "Ask about your notebook" : "Connecting to the kernel …");
		empty.lastElementChild?.replaceChildren(`${settings.enter_sends ? "Enter sends, Shift+Enter" : "Ctrl+Enter sends, Enter"} starts a line.`);
	};

	/** @param {IntersectionObserverEntry[]} entries */
	const appeared = (entries) => {
		for (const { isIntersecting, target } of entries) {
			if (isIntersecting) seen.unobserve(target), void store.picture(/** @type {HTMLImageElement} */ (target));
		}
	};

	const news = (all = false) => {
		return entries.get(store.last?.id ?? "")?.blocks.news(all);
	};

	/** @param {MouseEvent} event */
	const clicked = (event) => {
		const target = /** @type {Element} */ (event.target);
		const press = target.closest(".nbb-copy, .nbb-cell");
		const link = /** @type {HTMLAnchorElement | null} */ (target.closest(".nbb-remote"));
		if (press) code(press);
		if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
		event.preventDefault();
		const image = remote(link);
		store.remote.add(link.dataset.remote ?? "");
		link.replaceWith(image);
		on(image, "error", () => {
			store.remote.delete(link.dataset.remote ?? "");
			image.replaceWith(link);
			store.say(`The image could not be loaded from ${link.host}.`, "error");
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
	return { node, show, follow, close, news };
}

// --- above: which chat, and what can be done with it

/** The chat's name with the others behind it, a new one, and a menu. @param {Store} store */
function head(store) {
	const chat = button("Chat", "chevron", null, ".wide.chat");
	const server = h("span.server");
	const add = button("New chat", "plus", () => store.attempt("new"));
	const more = button("More", "more");

	const chats = popup(chat, "menu", "Chats", () => {
		const names = store.chats.map((name) => {
			const state = { role: "menuitemradio", "aria-checked": String(name === store.chat) };
			return entry(name, "check", () => store.attempt("switch", { chat: name }), state);
		});
		chats.replaceChildren(...names);
	});

	const save = async (/** @type {string} */ format) => {
		const reply = await store.attempt("export", { format });
		if (reply) store.say(`Written to ${reply.path}`);
	};
	const acts = popup(more, "menu", "More", () =>
		acts.replaceChildren(
			entry("Export as Markdown", "copy", () => save("md")),
			entry("Export as notebook", "copy", () => save("ipynb")),
			asking(entry("Clear the chat", "delete"), "Really clear?", () => store.attempt("clear")),
			asking(entry("Finish: leave the transcript", "check"), "Really finish?", () => store.attempt("finish")),
		),
	);

	const show = () => {
		relabel(chat, store.chat || "Chat");
		server.textContent = store.settings.server;
		for (const press of [chat, add, more]) press.disabled = !store.alive;
	};
	return { node: h("header.head", {}, chat, chats, server, add, more, acts), show };
}

// --- below: the box, images, model, settings

/** The images that go along with the next question. @param {Store} store */
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
				...images.map((image) => tile(image, image.thumbnail, () => store.detach(image.id))),
				...uploads.map((upload) => {
					const item = tile(upload, upload.url, () => store.drop(upload));
					item.append(h("progress", { label: `Uploading ${upload.name}` }));
					return item;
				}),
			);
		drawn = all;
		node.querySelectorAll("progress").forEach((bar, k) => (bar.value = uploads[k].sent / uploads[k].size));
	};
	return { node, show };
}

/** @param {Partial<Described>} image @param {() => void} remove */
function tile(image, src = "", remove) {
	const picture = src ? h("img", { src, alt: "" }) : icon("attach");
	return h("li.tile", {}, picture, about(image.name, facts(image)), button(`Remove ${image.name}`, "close", remove));
}

/** Where a question is written. @param {Store} store @param {() => void} send */
function box(store, send) {
	const area = h("textarea", { rows: 1, dir: "auto", label: "Message", placeholder: "Ask anything" });
	let back = 0; // how many questions ago the one in the box was asked
	let first = true;

	const keepPlace = (left = Infinity) => keep(store.place, { start: area.selectionStart, end: area.selectionEnd, left });
	const grow = () => {
		if (CSS.supports("field-sizing", "content")) return;
		area.style.height = "auto";
		area.style.height = `${area.scrollHeight}px`;
	};
	const recall = async (step = 0) => {
		const asked = store.order.filter((id) => store.items.get(id)?.role === "user");
		back = Math.min(back + step, asked.length);
		store.write(back ? await store.text(asked[asked.length - back]).catch(() => "") : "");
	};

	on(area, "input", () => {
		back = 0;
		store.typed(area.value);
		grow();
	});
	on(area, "keydown", (event) => {
		if (event.isComposing || event.keyCode === 229) return; // an input method is at work
		const { key, shiftKey: shift } = event;
		const sends = store.settings.enter_sends ? !shift : shift || event.ctrlKey || event.metaKey;
		const step = key === "ArrowUp" && (back || !area.value) ? 1 : key === "ArrowDown" && back ? -1 : 0;
		if (key === "Escape" && store.streaming) void store.attempt("stop");
		if (key === "Enter" && sends) event.preventDefault(), send(), (area.value = store.draft); // the next key may come at once
		if (step) event.preventDefault(), void recall(step);
	});
	on(area, "paste", (event) => {
		const { files } = event.clipboardData ?? {};
		if (files?.length && !event.clipboardData?.getData("text/plain")) event.preventDefault(), store.take(files);
	});
	for (const name of /** @type {const} */ (["focus", "select", "keyup", "pointerup"])) on(area, name, () => keepPlace());
	on(area, "blur", () => keepPlace(Date.now()));

	/** The draft, and where the cursor was when the cell was run again. */
	const show = () => {
		area.readOnly = !store.alive;
		if (area.value !== store.draft) (area.value = store.draft), grow();
		if (!first || !store.ready) return;
		first = false;
		const kept = memory().get(store.place);
		if (!kept || Date.now() - kept.left > 3000 || document.activeElement?.matches("input, textarea, [contenteditable=true]")) return;
		area.focus({ preventScroll: true });
		area.setSelectionRange(kept.start, kept.end);
	};
	return { node: area, show };
}

/** Which model answers: one of the server's list, or any name that is typed. @param {Store} store */
function picker(store) {
	/** @type {Model[] | null} */
	let models = null;
	let word = "";
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
			about(label || name, [vision && "sees images", provider].filter(Boolean).join(" · ")),
		);
	const draw = () => {
		const typed = input.value.trim();
		const fits = (models ?? []).filter((model) => Object.values(model).join(" ").toLowerCase().includes(typed.toLowerCase()));
		const own = { name: typed, label: typed ? `“${typed}”` : "The server’s choice", provider: "", vision: null };
		list.replaceChildren(...[own, ...fits.slice(0, 100)].map(choice));
		status.textContent = word || (fits.length > 100 ? `${fits.length - 100} more: type to find them.` : "");
	};
	const load = async (refresh = false) => {
		word = "Loading the list of models …";
		draw();
		await store.request("models", { refresh }).then(
			(reply) => ((models = reply.models), (word = "")),
			(error) => (word = `No list: ${error.message}`),
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

	const show = () => relabel(opener, store.settings.model || "Server’s choice");
	return { nodes: [opener, dialog], show };
}

/** System prompt, temperature, maximum tokens, and what Enter does. @param {Store} store */
function tuning(store) {
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

/** Files, and what recent cells made. @param {Store} store */
function sources(store) {
	const files = h("input", { type: "file", accept: "image/*", multiple: true, hidden: true, label: "Image files" });
	on(files, "change", () => {
		store.take([...(files.files ?? [])]);
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
			about(figure.name, `${figure.cell}, ${facts(figure)}`),
		);
	const opener = button("Attach an image", "attach");
	const menu = popup(opener, "menu", "Attach an image", () => {
		const word = h("p.word", {}, "Looking for figures …");
		menu.replaceChildren(entry("Image files …", "attach", () => files.click()), word);
		store.request("figures").then(
			({ figures }) => {
				word.textContent = figures.length ? "Made by recent cells" : "No cell has made an image yet.";
				menu.append(...figures.map(choice));
			},
			(error) => (word.textContent = error.message),
		);
	});
	return [opener, menu, files];
}

/** Lines about what goes on, the box, and its row of buttons. @param {Store} store @param {() => void} send @param {(text: string) => void} speak */
function composer(store, send, speak) {
	const images = attachments(store);
	const writing = box(store, send);
	const model = picker(store);
	const go = button("Send", "send", () => (store.streaming ? store.attempt("stop") : send()), ".main.send");
	const row = h("div.row", {}, ...sources(store), ...model.nodes, h("span.gap"), ...tuning(store), go);
	const frame = h("div.frame", {}, images.node, writing.node, row);
	const notes = h("div.notes");
	let drawn = "";

	const lines = () => {
		const { alive, notice, settings, late } = store;
		const some = store.images.length + store.uploads.length > 0;
		const blind = `${settings.model || "This model"} does not see images: choose another model, or send without.`;
		return [
			[notice?.text, notice?.tone],
			[!alive && GONE, "error"],
			[alive && late && store.reason, "info"],
			[some && settings.vision === false && blind, "warn"],
		].filter(([text]) => text);
	};
	const showNotes = () => {
		const now = lines();
		if (drawn === JSON.stringify(now)) return;
		drawn = JSON.stringify(now);
		notes.replaceChildren(...now.map(([text, tone]) => h(`p.note.${tone}`, {}, said(text || ""))));
		const { again } = store.notice ?? {};
		if (again) notes.firstChild?.appendChild(button("Retry", "retry", again, ".wide"));
		if (store.notice) notes.firstChild?.appendChild(button("Dismiss", "close", () => store.say()));
		speak(now.map(([text]) => text).join(" "));
	};
	const show = () => {
		const { alive, streaming, uploads, empty } = store;
		for (const part of [images, writing, model]) part.show();
		for (const press of frame.querySelectorAll("button")) press.disabled = !alive;
		relabel(go, streaming ? "Stop" : "Send");
		go.classList.toggle("nbb-stop", streaming);
		go.querySelector("path")?.setAttribute("d", ICONS[streaming ? "stop" : "send"]);
		const idle = !alive || !store.ready || (!streaming && (empty || uploads.length > 0));
		if (idle && go === document.activeElement) focus();
		go.disabled = idle;
		showNotes();
	};
	const focus = () => writing.node.focus();
	return { node: h("div.composer", {}, notes, frame), show, focus };
}

// --- a view

/** One view of a store. What changes is painted at most once a frame. @param {Store} store */
function panel(store) {
	const live = h("div.hidden", { "aria-live": "polite" });
	let frame = 0;
	let rest = 0;
	let spoken = 0;
	let streamed = false;
	let eager = false; // it was sent before the kernel had answered

	/** Send, unless there is a reason to wait; that is said then. */
	const send = () => {
		eager = !store.ready;
		if (!store.alive || eager) return;
		if (store.streaming) store.say("The answer is still being written: stop it (Escape), or wait.");
		else if (store.uploads.length) store.say("An image is still on its way.");
		else if (!store.empty) void store.send(), said.follow();
	};

	/** Only the first view speaks. */
	const speak = (text = "") => {
		if (!text || [...store.views][0] !== self) return;
		live.append(h("p", { dir: "auto" }, text));
		if (live.children.length > 4) live.firstChild?.remove();
	};

	/** Read out what was written, by sentences and at most every two seconds. */
	const tell = (now = 0) => {
		const { streaming, last } = store;
		const ended = streamed && !streaming;
		streamed = streaming;
		if (!ended && (!streaming || now - spoken < 2000)) return;
		spoken = now;
		speak(said.news(ended));
		if (ended) speak(last?.error || `The answer is ${last?.status}.`);
	};

	/** The conversation takes at most a fifth of the time, however long its open block is. */
	const paint = (now = 0) => {
		frame = 0;
		if (eager && store.ready) send();
		top.show();
		below.show();
		if (now < rest) return changed();
		const start = performance.now();
		const held = node.contains(document.activeElement);
		said.show();
		if (held && !node.contains(document.activeElement)) below.focus(); // what had the focus is gone
		const spent = performance.now() - start;
		rest = spent > 3 ? now + Math.min(250, 5 * spent) : 0;
		tell(now);
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
		if (type === "drop") store.take(dataTransfer.files);
	};

	const top = head(store);
	const said = transcript(store);
	const below = composer(store, send, speak);
	const target = h("div.target", {}, "Drop images here");
	const quiet = "data-lm-suppress-shortcuts"; // JupyterLab reads it on what has the focus; Notebook 7 captures keys
	const node = h(
		"section.panel",
		{
			label: "Chat",
			"data-jp-suppress-context-menu": true,
			focusin: (/** @type {any} */ { target }) => target.setAttribute(quiet, "true"),
			keydown: (/** @type {KeyboardEvent} */ event) => {
				if (event.key === "s" && (event.ctrlKey || event.metaKey)) event.preventDefault(); // it would save the page
			},
		},
		...[top.node, said.node, below.node, target, live],
	);
	for (const name of /** @type {const} */ (["keydown", "keypress", "keyup", "paste", "drop", "dragover", "contextmenu"]))
		on(node, name, (event) => event.stopPropagation());
	for (const name of /** @type {const} */ (["dragenter", "dragover", "dragleave", "drop"])) on(node, name, dragged);

	const close = () => {
		cancelAnimationFrame(frame);
		store.views.delete(self);
		said.close();
		node.remove();
	};
	const self = { node, changed, close };
	store.join(self);
	changed();
	return self;
}

// --- what anywidget calls

/** @type {Map<unknown, Store>} */
const stores = new Map();

/** initialize and render get proxies of their own; the layout is what no other model has. @param {AnyModel} model */
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
