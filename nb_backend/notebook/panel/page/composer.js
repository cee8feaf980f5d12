/** The composer: images, box, model, settings. */

import { button, composes, h, icon, imageDetails, menuItem, nameWithDetails, on, popup, relabel, userText } from "./dom.js";
import { modelPicker } from "./models.js";
import { queueList } from "./queue.js";
import { KERNEL_GONE, savedDrafts, saveDraft } from "./store.js";
import { toolSwitches } from "./tools.js";
import { addFiles, cancelUpload } from "./uploads.js";

/** What the file dialog offers: browsers do not count all of these among the images. */
const IMAGE_FILES = "image/*,.heic,.heif,.avif,.tif,.tiff,.jp2,.jxl,.psd,.tga,.qoi,.ppm,.pgm,.pbm";

/** How long a model reasons before it answers, as in providers/common_fields.py. */
const EFFORTS = ["none", "low", "medium", "high"];

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
					const item = tile(upload, upload.url, () => cancelUpload(store, upload));
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
	const area = h("textarea", { rows: 1, dir: "auto", label: "Message", placeholder: "Ask anything", title: "Ctrl+Shift+Space: from the cell to this box. Escape: back to the cell." });
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
		store.write(back ? await store.typedText(sent[sent.length - back]).catch(() => "") : "");
	};

	on(area, "input", () => {
		back = 0;
		store.typed(area.value);
		grow();
	});
	on(area, "keydown", (event) => {
		if (composes(event)) return;
		const { key } = event;
		const step = key === "ArrowUp" && (back || !area.value) ? 1 : key === "ArrowDown" && back ? -1 : 0;
		if (store.sends(event)) event.preventDefault(), send(), (area.value = store.draft); // the next key may come before the next frame
		if (step) event.preventDefault(), void recall(step);
	});
	on(area, "paste", (event) => {
		const { files } = event.clipboardData ?? {};
		if (files?.length && !event.clipboardData?.getData("text/plain")) event.preventDefault(), addFiles(store, files);
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

/** The settings: system prompt, temperature, maximum tokens, effort, and what Enter does. @param {Store} store */
function settingsDialog(store) {
	const number = { type: "number", placeholder: "not set" };
	const fields = {
		system: h("textarea", { rows: 3, dir: "auto" }),
		temperature: h("input", { ...number, min: 0, max: 2, step: 0.1 }),
		max_tokens: h("input", { ...number, min: 1, step: 1 }),
		effort: h("select", {}, ...["", ...EFFORTS].map((value) => h("option", { value }, value || number.placeholder))),
		enter_sends: h("input", { type: "checkbox" }),
	};
	const tools = toolSwitches(store);
	const opener = button("Settings", "settings");
	const dialog = popup(opener, "dialog", "Settings", () => {
		for (const [name, field] of Object.entries(fields)) field.value = String(store.settings[/** @type {"model"} */ (name)] ?? "");
		fields.enter_sends.checked = store.settings.enter_sends;
		void tools.load();
	});
	dialog.classList.add("nbb-settings");
	dialog.append(
		h("label", {}, "System prompt", fields.system),
		h("label", {}, "Temperature", fields.temperature),
		h("label", {}, "Maximum tokens", fields.max_tokens),
		h("label", {}, "Effort", fields.effort),
		h("label.check", {}, fields.enter_sends, "Enter sends"),
		tools.node,
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
		addFiles(store, [...(files.files ?? [])]);
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
export function composer(store, send, speak) {
	const images = attachments(store);
	const box = promptBox(store, send);
	const model = modelPicker(store, () => focus());
	const queue = queueList(store, () => focus());
	const stop = button("Stop", "stop", () => store.attempt("stop"), ".main.send.stop");
	const press = button("Send", "send", () => send(), ".main.send");
	const row = h("div.row", {}, ...attachMenu(store), ...model.nodes, h("span.gap"), ...settingsDialog(store), stop, press);
	const frame = h("div.frame", {}, images.node, box.node, row);
	const notes = h("div.notes");
	let drawn = "";

	/** @returns {Pick<Notice, "text" | "tone" | "acts">[]} */
	const lines = () => {
		if (store.notice?.applies() === false) store.notice = null;
		const { alive, notice, settings, late } = store;
		const { model, vision, vision_model: other } = settings;
		const all = notice ? [notice] : [];
		const add = (/** @type {boolean} */ applies, text = "", tone = "", /** @type {Action[]} */ acts = []) => applies && all.push({ text, tone, acts, applies: () => true });
		add(!alive, KERNEL_GONE, "error");
		add(alive && late, store.waitReason, "info");
		const change = { label: `Switch to ${other}`, picture: /** @type {const} */ ("check"), act: () => store.attempt("set", { model: other }) };
		const blind = `${model || "This model"} does not accept images: choose another model, or remove the images.`;
		add(vision === false && store.images.length + store.uploads.length > 0, blind, "warn", other ? [change] : []);
		return all;
	};
	const showNotes = () => {
		const now = lines();
		if (drawn === JSON.stringify(now)) return;
		drawn = JSON.stringify(now);
		const hadFocus = notes.contains(document.activeElement);
		notes.replaceChildren(
			...now.map((note) => {
				const own = note === store.notice;
				const acts = note.acts.map(({ label, picture = "retry", act }) => button(label, picture, () => (own && store.notify(), act()), ".wide"));
				return h(`p.note.${note.tone}`, {}, userText(note.text), ...acts, ...(own ? [button("Dismiss", "close", () => store.notify())] : []));
			}),
		);
		if (hadFocus) focus();
		speak(now.map(({ text }) => text).join(" "));
	};
	const show = () => {
		const { alive, streaming, uploads, empty, ready, queues } = store;
		for (const part of [images, box, model]) part.show();
		for (const one of frame.querySelectorAll("button")) one.disabled = !alive;
		queue.show();
		relabel(press, queues ? "Queue" : "Send");
		const focused = [press, stop].find((one) => one === document.activeElement); // a hidden button loses the focus
		stop.hidden = !streaming;
		press.hidden = streaming && empty;
		press.disabled = !alive || !ready || empty || uploads.length > 0;
		stop.disabled = !alive || !ready;
		if (focused?.hidden || focused?.disabled) focus();
		showNotes();
	};
	const focus = () => box.node.focus();
	return { node: h("div.composer", {}, notes, queue.node, frame), show, focus };
}
