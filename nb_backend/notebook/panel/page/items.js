/** The messages: one view for each item, and the list that scrolls. */

import { Blocks, remoteImage } from "./blocks.js";
import { consentForm } from "./consent.js";
import { button, confirmed, h, imageDetails, on, relabel, timestamp, toClipboard, userText } from "./dom.js";
import { fixButtons } from "./fixes.js";
import { foldButton } from "./fold.js";
import { isCalm } from "./reveal.js";
import { rove, skipByTab } from "./rove.js";
import { isGrowing, Silence } from "./silence.js";
import { refocusVersions, removalView, versionButtons } from "./versions.js";

const MAX_GLIDE = 100; // pixels; it jumps if the end is farther away
const GLIDE_STEP = 30; // milliseconds between two steps
const GLIDE_TIME = 60; // milliseconds in which the way to the end becomes a third

/** The view of an item: a question, an answer, or another message. @param {Store} store @param {() => void} follow  scrolls to the end */
function itemView(store, id = "", follow) {
	const blocks = new Blocks();
	const reasoningBlocks = new Blocks();
	const details = h("details.reasoning", {}, h("summary", { tabindex: -1, click: () => (opened = true) }, "Reasoning"), reasoningBlocks.node);
	const pictures = h("div.pictures");
	const bubble = h("div.bubble", {}, pictures, blocks.node);
	const state = h("div.state");
	const foot = h("footer.foot");
	const silence = new Silence();
	let opened = false; // by the user, who then decides whether the reasoning is open
	let editing = false;
	/** @type {ReturnType<typeof consentForm> | undefined} */ let question;
	/** @type {Item | null} */
	let before = null;
	const node = h("article", { tabindex: -1 }, details, bubble, state, foot);

	/** @param {Item} item @param {number} now  the time of the frame */
	const show = (item, now) => {
		const { role, status, images, content, reasoning } = item;
		const streams = status === "streaming";
		const isLonger = blocks.show(content, store, streams, now);
		const isReasoned = reasoningBlocks.show(reasoning, store, streams && !content.length, now);
		bubble.hidden = editing || (!content.length && !images.length);
		details.hidden = !reasoning.length;
		if (!opened) details.open = streams && !content.length;
		const same = item === before || withoutText(item) === withoutText(before);
		if (!same || isLonger || isReasoned) silence.hear(item, !before);
		before = item;
		if (same) tick();
		if (same) return;
		node.className = `nbb-item nbb-${status} nbb-${role === "user" ? "question" : "answer"}`;
		if (role === "user" && bubble.lastChild === blocks.node) bubble.append(foldButton(blocks.node));
		node.setAttribute("aria-label", { user: "Question", assistant: "Answer" }[role] ?? role);
		pictures.hidden = !images.length;
		store.hasPictures ||= images.length > 0;
		pictures.replaceChildren(...images.map(pictureOf));
		if (item.ask || question) (question ??= consentForm(store, bubble)).show(item.ask);
		showState(item);
		showFoot(item);
		for (const part of [state, foot]) skipByTab(part);
	};

	/** @param {Item} item */
	const showState = (item) => {
		const { status, error, can, fixes = [] } = item;
		const line = { waiting: "", streaming: "", done: "", stopped: "Stopped", incomplete: error, failed: error || "The request failed." }[status];
		state.hidden = !line;
		state.replaceChildren(userText(line));
		if (isGrowing(item)) state.prepend(h("span.pulse")), tick();
		if (status === "failed" && can.includes("retry")) state.append(...fixButtons(store, fixes, () => request("retry")), retry(".wide"));
		if (can.includes("continue")) state.append(button("Continue", "continue", () => request("continue"), ".wide.continue"));
	};

	/** Say how long the answer has not gone on; called each second. */
	const tick = () => {
		if (!before || !isGrowing(before)) return;
		const line = silence.line(before);
		state.hidden = !line;
		if (state.textContent !== line) state.lastElementChild?.replaceChildren(line);
	};

	/** @param {Item} item */
	const showFoot = (item) => {
		const { time, who, source, can, status } = item;
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
		foot.replaceChildren(facts, ...versionButtons(store, item), shown);
	};

	const retry = (kinds = "") => button("Retry", "retry", () => request("retry"), kinds);

	const request = async (type = "", fields = {}) => {
		const reply = await store.attempt(type, { item: id, ...fields });
		if (reply && /retry|edit|continue/.test(type)) follow();
		return reply;
	};

	/** Replace the question by a text area. */
	const edit = async () => {
		const text = await store.typedText(id).catch(store.fail);
		if (text === undefined || editing) return;
		const pictures = h("div.pictures", {}, ...(store.items.get(id)?.images ?? []).filter(({ filled }) => !filled).map(removable));
		const area = h("textarea", { label: "Edit the question", dir: "auto", rows: 3 });
		area.value = text;
		const close = () => {
			form.remove();
			bubble.hidden = editing = false;
			/** @type {HTMLElement | null} */ (foot.querySelector("[title=Edit]"))?.focus();
		};
		const save = async () => {
			const images = [...pictures.querySelectorAll("img")].map((image) => image.dataset.picture);
			if (await request("edit", { text: area.value, images })) close();
		};
		const acts = [button("Cancel", "close", close, ".wide"), button("Save and ask", "send", save, ".wide.main")];
		const form = h("div.edit", {}, pictures, area, h("div.row", {}, ...acts));
		on(area, "keydown", (event) => {
			if (event.key === "Escape") event.preventDefault(), close();
			if (store.sends(event)) event.preventDefault(), void save();
		});
		bubble.hidden = editing = true;
		bubble.after(form);
		area.focus();
	};
	const finish = () => [blocks, reasoningBlocks].forEach((one) => one.finish());
	return { node, show, blocks, finish, tick };
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

/** All items in order. It scrolls with the end, unless the user has scrolled up. @param {Store} store @param {(source: string) => void} insert  code below the cell in which the user works */
export function transcript(store, insert) {
	/** @type {Map<string, ReturnType<typeof itemView> | ReturnType<typeof removalView>>} */ const views = new Map();
	const list = h("div.list");
	const shortcut = h("span", {}, "Ctrl+Shift+Space leads here from a cell, Escape back.");
	const empty = h("div.empty", {}, h("strong"), "Paste, drop or attach images. {{\u00a0name\u00a0}} sends the value of a variable.", shortcut, h("span"));
	const sendingNode = h("article.item.question.sending", { label: "Question, being sent" }, h("div.bubble.plain", { dir: "auto" }));
	const scroller = h("div.scroller", { role: "region", label: "Messages" }, empty, list);
	const jump = button("Jump to the end", "chevron", () => follow(), ".wide.jump", { hidden: true });
	let follows = true;
	let gliding = 0; // the frame
	let glidedAt = 0;
	let clock = 0; // ticks while an answer grows
	let top = 0;
	const sizes = new ResizeObserver(() => settle());
	const visible = new IntersectionObserver((entries) => appeared(entries), { root: scroller, rootMargin: "400px" });
	const node = h("div.transcript", {}, scroller, jump);

	const keys = rove(list, scroller);

	on(scroller, "scroll", () => scrolled());
	on(scroller, "click", (event) => clicked(event));
	on(scroller, "copy", () => finish());
	sizes.observe(list);
	sizes.observe(scroller);

	/** Show all that has arrived, before it is copied. */
	const finish = () => views.forEach((view) => view.finish());

	const close = () => {
		finish();
		cancelAnimationFrame(gliding);
		clearInterval(clock);
		[sizes, visible].forEach((observer) => observer.disconnect());
	};

	const below = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;

	const follow = () => {
		follows = true;
		scroller.scrollTop = scroller.scrollHeight;
		settle();
	};

	/** Called after layout, when reading sizes is cheap. The next lines move up smoothly. */
	const settle = () => {
		if (follows && below() > MAX_GLIDE) scroller.scrollTop = scroller.scrollHeight;
		else if (follows && !gliding) (glidedAt = 0), (gliding = requestAnimationFrame(glide));
		jump.hidden = follows;
		scroller.classList.toggle("nbb-scrolls", scroller.scrollHeight > scroller.clientHeight);
	};

	const glide = (now = 0) => {
		if (now - glidedAt < GLIDE_STEP) return void (gliding = requestAnimationFrame(glide));
		const left = follows ? below() : 0;
		const share = isCalm() ? 1 : glidedAt && 1 - Math.exp((glidedAt - now) / GLIDE_TIME);
		if (share) scroller.scrollTop += Math.max(1, left * share);
		glidedAt = now;
		gliding = left > 1 ? requestAnimationFrame(glide) : 0;
	};

	const scrolled = () => {
		const { scrollTop } = scroller;
		const far = below() > 32;
		if (!far || scrollTop < top) follows = !far;
		top = scrollTop;
		jump.hidden = follows;
	};

	/** Bring all items up to date; an item that has not changed costs one comparison. @param {number} now  the time of the frame */
	const show = (now) => {
		const { order, items, sending, ready, settings } = store;
		let at = list.firstChild;
		for (const id of order) {
			const item = items.get(id);
			if (!item) continue;
			const view = views.get(id) ?? (item.role === "removal" ? removalView(store, id) : itemView(store, id, () => follow()));
			views.set(id, view);
			view.show(item, now);
			view.node.hidden = view.blocks !== null && !!item.fold && !store.unfolded.has(item.fold);
			view.node.classList.toggle("nbb-taken", view.blocks !== null && !!item.fold);
			if (view.node === at) at = at.nextSibling;
			else list.insertBefore(view.node, at);
		}
		for (const [id, view] of views) if (!items.has(id)) view.node.remove(), views.delete(id);
		if (store.refocus) refocusVersions(store, views.get(order[store.refocus.at])?.node);
		if (store.hasPictures) for (const image of list.querySelectorAll("[data-picture]:not([src])")) visible.observe(image);
		keys.show();
		const grows = [...items.values()].some(isGrowing);
		if (!grows) clearInterval(clock), (clock = 0);
		else clock ||= setInterval(() => views.forEach((view) => view.tick()), 1000);
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
			if (isIntersecting) visible.unobserve(target), void store.loadPicture(/** @type {Shown} */ (target));
		}
	};

	const unspoken = (all = false) => {
		return views.get(store.last?.id ?? "")?.blocks?.unspoken(all);
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
		finish();
		const source = (press.closest(".nbb-code")?.querySelector("code")?.textContent ?? "").replace(/\n$/, "");
		if (press.matches(".nbb-cell")) return insert(source);
		toClipboard(source).then(() => {
			relabel(press, "Copied");
			setTimeout(() => relabel(press, "Copy"), 2000);
		}, store.fail);
	};
	return { node, show, follow, close, unspoken };
}
